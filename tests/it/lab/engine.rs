//! Engines: `tests/lab/engine` as a child, which ends when its standard input does.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::repository;

/// The engines that windlass is tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Debian 12's.
    V20_10,
    /// Debian 13's.
    V26_1,
}

impl Version {
    /// As `tests/lab/engine` wants it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V20_10 => "20.10",
            Self::V26_1 => "26.1",
        }
    }

    /// Why this machine cannot have it, if `tests/lab/setup` found that out.
    fn missing(self) -> Option<String> {
        let note = repository().join(format!("target/lab/engine-{}.missing", self.as_str()));
        std::fs::read_to_string(note).ok().map(|text| text.trim().to_owned())
    }
}

/// The shared engine of that version, started on first use. It ends with this process.
///
/// # Errors
/// The reason, if this machine cannot have that engine: the test is to be skipped.
pub(crate) fn shared(version: Version) -> Result<&'static Engine, String> {
    static V20_10: OnceLock<Result<Engine, String>> = OnceLock::new();
    static V26_1: OnceLock<Result<Engine, String>> = OnceLock::new();
    let cell = match version {
        Version::V20_10 => &V20_10,
        Version::V26_1 => &V26_1,
    };
    cell.get_or_init(|| Engine::launch(version, &[])).as_ref().map_err(Clone::clone)
}

/// Runs the docker command line against `engine`.
///
/// # Panics
/// If the command fails.
pub(crate) fn docker(engine: &Engine, args: &[&str]) -> String {
    match engine.try_docker(args) {
        Ok(out) => out,
        Err(err) => panic!("docker {args:?} failed: {err}"),
    }
}

/// A private engine: own network namespace, roots, socket and control group.
pub(crate) struct Engine {
    facts: Facts,
    control: Mutex<Control>,
    busybox: OnceLock<()>,
    next_port: AtomicU16,
}

/// What the script says about the engine that it runs.
#[derive(serde::Deserialize)]
struct Facts {
    endpoint: String,
    version: String,
    netns: String,
    cgroup: String,
    docker: String,
    dir: String,
}

struct Control {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Engine {
    /// An engine of one's own, for tests that break it. It ends when it is dropped.
    ///
    /// # Errors
    /// The reason, if this machine cannot have that engine: the test is to be skipped.
    pub(crate) fn private(version: Version) -> Result<Self, String> {
        Self::launch(version, &[])
    }

    /// The same, with containers that outlive dockerd.
    ///
    /// # Errors
    /// As for [`Engine::private`].
    pub(crate) fn private_live_restore(version: Version) -> Result<Self, String> {
        Self::launch(version, &["--live-restore"])
    }

    /// One whose data are on a disk of their own, of so many MiB.
    ///
    /// # Errors
    /// As for [`Engine::private`].
    pub(crate) fn private_on_a_small_disk(version: Version, mib: u32) -> Result<Self, String> {
        Self::launch(version, &[&format!("--data-mib={mib}")])
    }

    /// Takes all room that is left on the disk of its data, or gives that back.
    pub(crate) fn fill_disk(&self, is_full: bool) {
        let mounts = self.netns().replace("/ns/net", "/ns/mnt");
        let ballast = format!("{}/data/ballast", self.dir());
        // What is left in the end is less than a block; each write ends with the room.
        let script = match is_full {
            true => {
                "for size in 1M 64k 4k; do dd if=/dev/zero bs=$size >>$0 || true; done; sync $0"
            }
            false => "rm -f $0",
        };
        let mut command = as_root("nsenter");
        command.arg(format!("--mount={mounts}")).args(["sh", "-c", script, &ballast]);
        let out = command.stdin(Stdio::null()).output().expect("nsenter starts");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    fn launch(version: Version, options: &[&str]) -> Result<Self, String> {
        if let Some(reason) = version.missing() {
            return Err(reason);
        }
        let mut child = as_root(repository().join("tests/lab/engine"))
            .arg(version.as_str())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/lab/engine starts");
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("tests/lab/engine says where its engine is");
        let facts: Facts = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("engine {} did not start; `make test` sets up what it needs", version.as_str())
        });
        Ok(Self {
            facts,
            control: Mutex::new(Control { child, stdin, stdout }),
            busybox: OnceLock::new(),
            next_port: AtomicU16::new(20_000),
        })
    }

    /// Where it listens: `unix:///…`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.facts.endpoint
    }

    /// Its exact version.
    pub(crate) fn version(&self) -> &str {
        &self.facts.version
    }

    /// Its network namespace, as a path for `nsenter --net=`.
    pub(crate) fn netns(&self) -> &str {
        &self.facts.netns
    }

    /// The control group that goes when the engine does, with all that is below it.
    pub(crate) fn cgroup(&self) -> &str {
        &self.facts.cgroup
    }

    /// The directory that holds its roots and its log, `dockerd.log`.
    pub(crate) fn dir(&self) -> &str {
        &self.facts.dir
    }

    /// So many host ports that no other test of this process uses on this engine; the first of them.
    pub(crate) fn ports(&self, count: u16) -> u16 {
        self.next_port.fetch_add(count, Ordering::Relaxed)
    }

    /// Makes sure that the engine holds the lab's image, and says its reference.
    pub(crate) fn import_busybox(&self) -> &'static str {
        self.busybox.get_or_init(|| {
            let status = Command::new(repository().join("tests/lab/image"))
                .arg(repository().join("target/lab"))
                .args(["-H", self.endpoint()])
                .env("DOCKER", &self.facts.docker)
                .status()
                .expect("tests/lab/image starts");
            assert!(status.success(), "busybox could not be imported");
        });
        "busybox:latest"
    }

    /// Runs the docker command line against this engine.
    ///
    /// # Errors
    /// What the command said when it failed.
    pub(crate) fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        let out = Command::new(&self.facts.docker)
            .args(["-H", self.endpoint()])
            .args(args)
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::null())
            .output()
            .map_err(|err| err.to_string())?;
        if out.status.success() {
            Ok(String::from_utf8_lossy(&out.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&out.stderr).trim_end().to_owned())
        }
    }

    /// The docker command line for this engine, ready to be run.
    pub(crate) fn docker_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.facts.docker);
        command.args(["-H", self.endpoint()]).args(args);
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").stdin(Stdio::null());
        command
    }

    /// The process id, on this host, of a container's first process; `None` if it does not run.
    pub(crate) fn container_pid(&self, container: &str) -> Option<u32> {
        let text = self.try_docker(&["inspect", "--format", "{{.State.Pid}}", container]).ok()?;
        text.parse().ok().filter(|pid| *pid != 0)
    }

    /// Kills a container's first process from the host, as an accident would: the engine is not asked.
    pub(crate) fn kill_process(&self, container: &str) {
        let pid = self.container_pid(container).expect("the container runs");
        let status = as_root("kill").args(["-KILL", &pid.to_string()]).status();
        assert!(status.expect("kill starts").success(), "process {pid} of {container} is gone");
    }

    /// What a published port answers to `GET path`, seen from the engine's host; `None` if nothing.
    pub(crate) fn http_get(&self, port: u16, path: &str) -> Option<String> {
        let out = as_root("nsenter")
            .arg(format!("--net={}", self.netns()))
            .args(["busybox", "wget", "-q", "-O", "-"])
            .arg(format!("http://127.0.0.1:{port}{path}"))
            .output()
            .expect("nsenter starts");
        out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Kills dockerd with SIGKILL. Its containers live on, until [`Engine::start`] at least.
    pub(crate) fn kill(&self) {
        self.obey("kill");
    }

    /// Ends dockerd with SIGTERM, and its containers too unless it is one with live restore.
    pub(crate) fn stop(&self) {
        self.obey("stop");
    }

    /// Starts dockerd again, on the roots that it had.
    pub(crate) fn start(&self) {
        self.obey("start");
    }

    /// The same, and whether it did: what was killed with it may keep it from starting at once.
    pub(crate) fn try_start(&self) -> bool {
        self.ask("start") == "ok"
    }

    /// The processes of this engine besides containers: dockerd, containerd, its shims.
    pub(crate) fn helpers(&self) -> Vec<u32> {
        let mounts = std::fs::read_to_string(format!("{}/mounts", self.dir())).unwrap_or_default();
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let ours = |pid: &u32| {
            std::fs::read_link(format!("/proc/{pid}/ns/mnt"))
                .is_ok_and(|link| link.to_string_lossy() == mounts.trim())
        };
        pids.filter(ours).collect()
    }

    fn obey(&self, verb: &str) {
        assert_eq!(self.ask(verb), "ok", "engine: {verb}");
    }

    fn ask(&self, verb: &str) -> String {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let stdin = control.stdin.as_mut().expect("the engine was not ended");
        writeln!(stdin, "{verb}").expect("the engine's script lives");
        let mut answer = String::new();
        control.stdout.read_line(&mut answer).expect("the engine's script answers");
        answer.trim().to_owned()
    }

    /// Removes the containers whose control group is below `cgroup_root`, and that group.
    pub(crate) fn remove_below(&self, cgroup_root: &str) {
        let Ok(ids) = self.try_docker(&["ps", "-aq", "--no-trunc"]) else { return };
        if !ids.is_empty() {
            let mut args = vec!["inspect", "--format", "{{.Id}} {{.HostConfig.CgroupParent}}"];
            args.extend(ids.lines());
            // Containers of other tests may go meanwhile: what could be inspected is still printed.
            let out = Command::new(&self.facts.docker)
                .args(["-H", self.endpoint()])
                .args(args)
                .output()
                .expect("docker starts");
            let text = String::from_utf8_lossy(&out.stdout);
            let ours: BTreeSet<&str> = text
                .lines()
                .filter_map(|line| line.split_once(' '))
                .filter(|(_, group)| below(group, cgroup_root))
                .map(|(id, _)| id)
                .collect();
            if !ours.is_empty() {
                let mut args = vec!["rm", "-f", "-v"];
                args.extend(ours);
                let _ = self.try_docker(&args);
            }
        }
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_groups(&hierarchy.path().join(cgroup_root.trim_start_matches('/')));
        }
        remove_groups(&std::path::Path::new("/sys/fs/cgroup").join(&cgroup_root[1..]));
    }
}

impl Engine {
    /// Removes the networks of a project.
    pub(crate) fn remove_networks(&self, project: &str) {
        let label = format!("label=io.windlass.project={project}");
        let Ok(ids) = self.try_docker(&["network", "ls", "-q", "--filter", &label]) else { return };
        for id in ids.lines() {
            let _ = self.try_docker(&["network", "rm", id]);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let control = self.control.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(control.stdin.take());
        let _ = control.child.wait();
    }
}

fn below(group: &str, root: &str) -> bool {
    group.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Removes empty control groups, innermost first. The engine removes what this leaves.
fn remove_groups(dir: &std::path::Path) {
    for inner in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&inner.path());
        }
    }
    let _ = std::fs::remove_dir(dir);
}

/// A command that runs as root: by itself if we are, else by sudo, which must not ask.
pub(crate) fn as_root(program: impl AsRef<std::ffi::OsStr>) -> Command {
    static ROOT: OnceLock<bool> = OnceLock::new();
    let root = *ROOT.get_or_init(|| {
        std::fs::metadata("/proc/self")
            .is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
    });
    if root {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    command
}
