//! The audit trail of real work: what stands in it, and whether it can be verified.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::room::{LIVE, apply_well, instance, verify_journal};
use crate::lab::{Sandbox, docker};

/// A sandbox whose specs are committed.
fn committed() -> Option<Sandbox<'static>> {
    let room =
        Sandbox::new(crate::lab::engine::shared(crate::lab::Version::V20_10).expect("an engine"));
    room.spec("web.yaml", &instance("web", &format!("{LIVE}\nenv: {{ TOKEN: s3cret }}")));
    let git = |arguments: &[&str]| {
        Command::new("git")
            .args(["-c", "user.name=Dev", "-c", "user.email=dev@example.org", "-C"])
            .arg(room.specs())
            .args(arguments)
            .output()
            .is_ok_and(|out| out.status.success())
    };
    let is_there = git(&["init", "-q", "-b", "main"]);
    (is_there && git(&["add", "."]) && git(&["commit", "-q", "-m", "web"])).then_some(room)
}

fn log(room: &Sandbox<'_>, filters: &[&str]) -> Vec<Value> {
    let out = room.windlass(&[&["audit", "log", "-o", "json"][..], filters].concat());
    assert_eq!(out.code, 0, "{out:?}");
    out.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn who_did_what_and_why_is_on_record_and_can_be_verified_elsewhere() {
    let _ = engine!(V20_10);
    let Some(room) = committed() else { return };
    apply_well(&room);
    assert_eq!(room.windlass(&["apply"]).code, 0);
    let out = room.windlass(&["exec", "web", "--", "sh", "-c", "echo s3cret"]);
    assert_eq!((out.code, out.stdout.as_str()), (0, "s3cret\n"), "{out:?}");

    // A step is its author's, a command its operator's.
    let made = log(&room, &["--kind", "intent", "--object", "web"]);
    let create = &made[0];
    assert_eq!(create["deed"], "create", "{create:#}");
    assert_eq!(create["actor"], "Dev <dev@example.org>");
    assert!(create["from"].as_str().is_some_and(|from| from.starts_with("web.yaml:")));
    assert_eq!(create["commit"].as_str().map(str::len), Some(40));
    assert!(log(&room, &["--kind", "operator"]).iter().any(|row| row["actor"].is_string()));
    let execs = log(&room, &["--kind", "exec"]);
    assert_eq!(execs.len(), 2, "{execs:#?}");
    assert_eq!(execs[1]["result"], "done");

    // What another hand changes is repaired, and nobody but windlass is behind that.
    let name = docker(room.engine(), &["ps", "--format", "{{.Names}}"]);
    let name = name.lines().find(|name| name.contains(room.project())).expect("a container");
    docker(room.engine(), &["rm", "-f", name]);
    apply_well(&room);
    let out = room.windlass(&["audit", "why", "web"]);
    assert!(out.stdout.contains("because: removed by another hand"), "{out:?}");
    assert!(out.stdout.contains("by: windlass"), "{out:?}");

    verify_journal(&room.state());
    let out = room.windlass(&["audit", "verify"]);
    assert!(out.code == 0 && out.stdout.starts_with("whole: entries 1 to "), "{out:?}");

    // Away from here nothing but the file is needed; and it holds no secret.
    let (export, key) = (room.path().join("log.export"), room.path().join("pub.pem"));
    let path = |path: &std::path::Path| path.display().to_string();
    let out = room.windlass(&["audit", "export", "--out", &path(&export)]);
    assert_eq!(out.code, 0, "{out:?}");
    fs::write(&key, room.windlass(&["audit", "key"]).stdout).expect("the key is written");
    fs::remove_dir_all(room.state().join("journal")).expect("the journal is removed");
    let check = ["audit", "verify", "--journal", &path(&export), "--pubkey", &path(&key)];
    let out = room.windlass(&check);
    assert_eq!(out.code, 0, "{out:?}");
    let text = fs::read_to_string(&export).expect("an export");
    assert!(!text.contains("s3cret") && text.contains("withheld"));
    fs::write(&export, text.replacen("dev@example.org", "ops@example.org", 1)).expect("a change");
    let out = room.windlass(&check);
    assert!(out.code == 1 && out.stdout.contains("edited: entry"), "{out:?}");
    fs::write(&export, "no export").expect("a change");
    assert_eq!(room.windlass(&check).code, 2);
}
