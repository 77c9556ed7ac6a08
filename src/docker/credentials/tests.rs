//! Configuration files, helpers, and how both go wrong.

use std::fs;

use super::*;

struct Room {
    dir: tempfile::TempDir,
    config: DockerConfig,
}

impl Room {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("config.json");
        fs::write(&file, config).expect("written");
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        // Long enough for a starved machine; what hangs is tested with a short one.
        let deadline = Duration::from_secs(60);
        let config = DockerConfig { file: Some(file), path: Some(path.into()), deadline };
        Self { dir, config }
    }

    /// A helper `docker-credential-NAME` that runs `script`.
    fn helper(&self, name: &str, script: &str) {
        let plain = self.dir.path().join("script");
        fs::write(&plain, format!("#!/bin/sh\n{script}\n")).expect("written");
        // Written by a child: a file that this process writes may be busy when it is run.
        let status = std::process::Command::new("install")
            .args(["-m", "755"])
            .arg(&plain)
            .arg(self.dir.path().join(format!("docker-credential-{name}")))
            .status();
        assert!(status.expect("install starts").success());
    }

    fn find(&self, reference: &str) -> Result<Option<DockerCredentials>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = runtime.expect("a runtime").block_on(self.config.find(reference))?;
        if let Some(found) = &found {
            assert!(!format!("{found:?}").contains("geheim"), "{found:?}");
        }
        Ok(found.map(Found::into_credentials))
    }
}

fn login(found: Option<DockerCredentials>) -> (String, String) {
    let found = found.expect("credentials");
    (found.username.expect("a user"), found.password.expect("a password"))
}

fn pair(user: &str, password: &str) -> (String, String) {
    (user.to_owned(), password.to_owned())
}

#[test]
fn registries_are_named_as_docker_names_them() {
    for (reference, server) in [
        ("busybox:1", HUB),
        ("account/web", HUB),
        ("docker.io/library/busybox", HUB),
        ("127.0.0.1:5000/shop/web:1.4", "127.0.0.1:5000"),
        ("localhost/web", "localhost"),
        ("registry.example/web@sha256:00", "registry.example"),
    ] {
        assert_eq!(server_of(reference), server, "{reference}");
    }
}

#[test]
fn the_file_itself_holds_passwords_and_tokens() {
    // Y2FybDpnZWhlaW06eA== is carl:geheim:x; YW5uYTpnZWhlaW0 is anna:geheim without its padding.
    let room = Room::new(
        r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "Y2FybDpnZWhlaW06eA=="},
            "one.example": {"auth": "YW5uYTpnZWhlaW0", "email": "a@example"},
            "https://two.example/v2/": {"username": "berta", "password": "geheim"},
            "three.example": {"identitytoken": "geheim-3"},
            "four.example": {}
        }}"#,
    );
    assert_eq!(login(room.find("web").expect("read")), pair("carl", "geheim:x"));
    assert_eq!(login(room.find("one.example/web").expect("read")), pair("anna", "geheim"));
    assert_eq!(login(room.find("two.example/web").expect("read")), pair("berta", "geheim"));
    let token = room.find("three.example/web").expect("read").expect("a token");
    assert_eq!(token.identitytoken.as_deref(), Some("geheim-3"));
    assert_eq!(token.serveraddress.as_deref(), Some("three.example"));
    assert_eq!(room.find("four.example/web"), Ok(None));
    assert_eq!(room.find("five.example/web"), Ok(None));
}

#[test]
fn no_file_is_no_credentials_and_a_broken_one_is_named() {
    let room = Room::new("");
    assert_eq!(room.find("one.example/web"), Ok(None));
    let file = room.dir.path().join("config.json");
    for broken in [
        "{\"auths\": geheim}",
        "{\"auths\": \"geheim\"}",
        "{\"auths\": {\"one.example\": {\"auth\": \"geheim!\"}}}",
        "{\"credHelpers\": {\"one.example\": [\"geheim\"]}}",
        "{\"credsStore\": 7}",
    ] {
        fs::write(&file, broken).expect("written");
        let error = room.find("one.example/web").expect_err(broken);
        assert!(error.starts_with(&file.display().to_string()), "{error}");
        assert!(error.contains("docker login") && !error.contains("geheim"), "{error}");
    }
    fs::remove_file(&file).expect("removed");
    assert_eq!(room.find("one.example/web"), Ok(None));
    fs::create_dir(&file).expect("made");
    let error = room.find("one.example/web").expect_err("it is a directory");
    assert!(error.contains("cannot read") && error.contains("config.json"), "{error}");
}

#[test]
fn helpers_are_asked_by_registry() {
    let room = Room::new(
        r#"{"credsStore": "all", "credHelpers": {"one.example": "one"},
            "auths": {"two.example": {"auth": "YW5uYTpnZWhlaW0="}}}"#,
    );
    let answer = |user: &str| {
        format!(
            "test $1 = get && read -r at; printf '{{\"ServerURL\":\"%s\",\"Username\":\"{user}\",\"Secret\":\"geheim-%s\"}}' $at $at"
        )
    };
    room.helper("one", &answer("berta"));
    room.helper("all", &answer("<token>"));
    assert_eq!(
        login(room.find("one.example/web").expect("asked")),
        pair("berta", "geheim-one.example")
    );
    let token = room.find("two.example/web").expect("asked").expect("a token");
    assert_eq!(token.identitytoken.as_deref(), Some("geheim-two.example"));
    let hub = room.find("web").expect("asked").expect("a token");
    assert_eq!(hub.identitytoken.as_deref(), Some("geheim-https://index.docker.io/v1/"));

    room.helper("all", "echo 'credentials not found in native keychain'; exit 1");
    assert_eq!(room.find("two.example/web"), Ok(None));
}

#[test]
fn what_goes_wrong_with_a_helper_names_it_and_no_secret() {
    let room = Room::new(r#"{"credsStore": "bad"}"#);
    for (script, part) in [
        ("echo '{\"Secret\":\"geheim\"}'; exit 3", "failed (exit status: 3)"),
        ("echo geheim", "something else than credentials"),
        ("echo '{\"Secret\":\"geheim\"}'", "something else than credentials"),
        ("kill -KILL $$", "failed (signal"),
    ] {
        room.helper("bad", script);
        let error = room.find("one.example/web").expect_err(script);
        assert!(error.contains("docker-credential-bad") && error.contains(part), "{error}");
        assert!(!error.contains("geheim"), "{error}");
    }
    for (name, part) in [("none", "is not in the PATH"), ("../bad", "cannot be the name")] {
        let room = Room::new(&format!(r#"{{"credsStore": "{name}"}}"#));
        let error = room.find("one.example/web").expect_err(name);
        assert!(error.contains(name) && error.contains(part), "{error}");
    }
}

#[test]
fn a_helper_that_hangs_is_ended_with_all_that_it_started() {
    let mut room = Room::new(r#"{"credsStore": "slow"}"#);
    room.config.deadline = Duration::from_millis(200);
    // What it starts holds the lock, and its output, for as long as it lives.
    let lock = room.dir.path().join("lock");
    fs::write(&lock, "").expect("written");
    room.helper("slow", &format!("flock {} sleep 100000", lock.display()));
    let error = room.find("one.example/web").expect_err("it does not answer");
    assert!(error.contains("docker-credential-slow"), "{error}");
    assert!(error.contains("did not answer within 0.2 s"), "{error}");
    let freed =
        std::process::Command::new("flock").args(["-w", "60"]).arg(&lock).arg("true").status();
    assert!(freed.expect("flock starts").success(), "what it started lives on");
}
