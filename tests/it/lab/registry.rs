//! Registries: Debian's, on the loopback of an engine's network, where engines take plain HTTP.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use super::engine::{Engine, as_root, docker};
use super::wait::eventually;

/// Longer than a registry takes to listen on a starved machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Attempts to find a port that is free in two networks.
const PAIRS_MAX: u32 = 20;

/// Who may pull from a locked registry.
pub(crate) const USER: &str = "puller";

/// With what. In base64 it has letters in which the alphabets of base64 differ.
pub(crate) const PASSWORD: &str = "~~~???>>>sesame";

/// The same, as registries keep it.
const HTPASSWD: &str = "puller:$2y$05$abcdefghijklmnopqrstuuiuMv/cmcdRzKrEMn0hw2HrAlf6VI7NK\n";

/// A registry that runs in the network of an engine. It ends when it is dropped.
pub(crate) struct Registry<'e> {
    engine: &'e Engine,
    child: Child,
    address: String,
    root: Rc<tempfile::TempDir>,
}

impl<'e> Registry<'e> {
    /// An empty one, on a port that the system chooses. Everybody may push and pull.
    pub(crate) fn start(engine: &'e Engine) -> Self {
        let root = Rc::new(tempfile::tempdir().expect("a temporary directory"));
        Self::run(engine, root, "127.0.0.1:0", false).expect("a registry listens")
    }

    /// Two with the same address and content, each in the network of its engine.
    pub(crate) fn start_pair(one: &'e Engine, other: &'e Engine) -> (Self, Self) {
        for _ in 0..PAIRS_MAX {
            let first = Self::start(one);
            if let Some(second) = Self::run(other, Rc::clone(&first.root), &first.address, false) {
                return (first, second);
            }
        }
        panic!("no port is free in both networks");
    }

    /// Another one with the same content, for [`USER`] with [`PASSWORD`] only.
    pub(crate) fn locked(&self) -> Self {
        let root = Rc::clone(&self.root);
        Self::run(self.engine, root, "127.0.0.1:0", true).expect("a registry listens")
    }

    /// `None` if the address is taken.
    fn run(
        engine: &'e Engine,
        root: Rc<tempfile::TempDir>,
        address: &str,
        locked: bool,
    ) -> Option<Self> {
        let dir = tempfile::tempdir_in(root.path()).expect("a directory").keep();
        let (config, log, users) = (dir.join("config.yml"), dir.join("log"), dir.join("users"));
        let auth = format!("auth: {{ htpasswd: {{ realm: lab, path: '{}' }} }}\n", users.display());
        fs::write(&users, HTPASSWD).expect("written");
        let text = format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: '{}' }} }}\nhttp: {{ addr: '{address}' }}\n{}",
            root.path().join("data").display(),
            if locked { &auth } else { "" },
        );
        fs::write(&config, text).expect("written");
        let into = || Stdio::from(fs::OpenOptions::new().append(true).open(&log).expect("a log"));
        fs::write(&log, "").expect("written");
        let child = as_root("nsenter")
            .arg(format!("--net={}", engine.netns()))
            .args(["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(into())
            .stderr(into())
            .spawn()
            .expect("nsenter starts");
        let mut registry = Self { engine, child, address: String::new(), root };
        let mut taken = false;
        eventually("the registry listens", START_TIMEOUT, || {
            let text = fs::read_to_string(&log).expect("a log");
            registry.address = listens_on(&text).unwrap_or_default().to_owned();
            taken = text.contains("address already in use");
            let ended = registry.child.try_wait().expect("it can be asked").is_some();
            assert!(taken || !ended, "the registry ended: {text}");
            taken || !registry.address.is_empty()
        });
        (!taken).then_some(registry)
    }

    /// `127.0.0.1:PORT`, in the network of its engine.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What `shop/web` is called here.
    pub(crate) fn reference(&self, tag: &str) -> String {
        format!("{}/shop/web:{tag}", self.address)
    }

    /// Pushes an image of its own as `shop/web`, and removes it from the engine; its digest.
    pub(crate) fn push(&self, tag: &str, mark: &str) -> String {
        let reference = self.reference(tag);
        let made = docker(self.engine, &["create", "--net", "none", "busybox:latest", "true"]);
        let label = format!("LABEL mark={mark}");
        docker(self.engine, &["commit", "--change", &label, &made, &reference]);
        docker(self.engine, &["rm", &made]);
        self.push_made(&reference)
    }

    /// Pushes what the engine holds under `reference`, and removes it there; its digest.
    pub(crate) fn push_made(&self, reference: &str) -> String {
        let said = docker(self.engine, &["push", reference]);
        let digest = said.split_whitespace().find(|word| word.starts_with("sha256:"));
        let digest = digest.expect("a push says the digest").to_owned();
        docker(self.engine, &["rmi", reference]);
        digest
    }

    /// Loses all that was pushed.
    pub(crate) fn lose_all(&self) {
        let status = as_root("rm").arg("-rf").arg(self.root.path().join("data/docker")).status();
        assert!(status.expect("rm starts").success());
    }
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory for `DOCKER_CONFIG`, with that `config.json`.
pub(crate) fn docker_config(dir: &Path, config: &serde_json::Value) {
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("config.json"), config.to_string()).expect("written");
}

/// A program that runs `script`. A child writes it: one that this process has open may be busy when
/// it is run.
pub(crate) fn script(path: &Path, script: &str) {
    let plain = path.with_extension("plain");
    fs::write(&plain, format!("#!/bin/sh\n{script}\n")).expect("written");
    let status = Command::new("install").args(["-m", "755"]).arg(&plain).arg(path).status();
    assert!(status.expect("install starts").success());
}

/// The address in the log of a registry that listens.
pub(crate) fn listens_on(log: &str) -> Option<&str> {
    let rest = log.split("listening on ").nth(1)?;
    let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit())?;
    rest.get(..end)
}

#[test]
fn the_log_says_the_port() {
    let log = "time=\"x\" level=info msg=\"listening on 127.0.0.1:41461\" go.version=go1.19.8\n";
    assert_eq!(listens_on(log), Some("127.0.0.1:41461"));
    assert_eq!(listens_on("time=\"x\" msg=\"listening on 127.0."), None);
}
