//! Too few files, and too few watches: what is declared comes all the same, or once there are more.

use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::super::room::{
    LIVE, LONG, apply_well, assert_settled, instance, one, replicas, verify_journal,
};
use crate::lab::{Sandbox, eventually, skipped};

/// Folders of specs; each is watched by itself.
const FOLDERS: u32 = 16;

/// Watches for half of them.
const WATCHES: u32 = 8;

fn set(n: u32) -> String {
    let spec = format!("{LIVE}\nenv: {{ N: '{n}' }}");
    [instance("web", &format!("{spec}\nreplicas: 2")), instance("db", &spec)].concat()
}

fn runs(room: &Sandbox<'_>, name: &str, n: u32) -> bool {
    let variable = format!("N={n}");
    replicas(room, name, 0).iter().any(|seen| {
        seen.state() == "running" && seen.0["Config"]["Env"].to_string().contains(&variable)
    })
}

#[test]
fn without_files_it_waits_for_some_and_loses_nothing() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", &set(1));
    apply_well(&room);
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled", LONG);
    let pid = i32::try_from(up.pid()).ok().and_then(Pid::from_raw);
    let open = std::fs::read_dir(format!("/proc/{}/fd", up.pid())).expect("its files").count();
    let limit = |files: u64| {
        let limit = Rlimit { current: Some(files), maximum: Some(1024) };
        prlimit(pid, Resource::Nofile, limit).expect("a limit");
    };
    // Fewer than it has: whatever it wants to open, it cannot.
    limit(u64::try_from(open).expect("few") / 2);
    room.spec("set.yaml", &set(2));
    up.wait_for_line("Too many open files", LONG);
    assert!(up.runs(), "{:#?}", up.lines());
    limit(1024);
    eventually("it goes on by itself", LONG, || runs(&room, "db", 2) && runs(&room, "web", 2));
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:#?}");
    assert_eq!(up.end("TERM"), 0);
    assert_settled(&room);
    verify_journal(&room.state());
    // Started with too few, it says so, and what runs runs on.
    let before = one(&room, "db", 0).life();
    for files in [4, 8, 12, 16] {
        let words = ["prlimit", &format!("--nofile={files}:{files}")];
        let mut up = room.spawn_by(&[], &words, &["apply", "--timeout", "10s"]);
        eventually("it ends", LONG, || !up.runs());
        let said = up.lines().join("\n");
        assert!(!said.contains("panicked"), "{files}: {said}");
        assert_eq!(one(&room, "db", 0).life(), before, "{files}: {said}");
    }
    assert_eq!(apply_well(&room).steps, 0);
    verify_journal(&room.state());
}

#[test]
fn without_watches_what_is_declared_comes_by_scans() {
    let limit = "/proc/sys/user/max_inotify_watches";
    let probe = format!("echo {WATCHES} > {limit}");
    let there = Command::new("unshare").args(["-U", "-r", "sh", "-c", &probe]).output();
    if !there.is_ok_and(|out| out.status.success()) {
        return skipped("this system gives no user namespace whose inotify limits can be lowered");
    }
    let room = Sandbox::new(engine!(V20_10));
    let folder = |at: u32, n: u32| {
        let spec = format!("{LIVE}\nenv: {{ N: '{n}' }}\nnetworks: [none]");
        room.spec(&format!("d{at}/set.yaml"), &instance(&format!("in{at}"), &spec));
    };
    for at in 0..FOLDERS {
        std::fs::create_dir(room.specs().join(format!("d{at}"))).expect("a folder");
    }
    let script = format!("{probe} && exec setpriv --pdeathsig KILL \"$@\"");
    let words = ["unshare", "-U", "-r", "sh", "-c", &script, "sh"];
    let mut up = room.spawn_by(&[], &words, &["up"]);
    up.wait_for_line("all inotify watches are in use", LONG);
    let ends = [0, FOLDERS / 2, FOLDERS - 1];
    for n in [1, 2] {
        ends.iter().for_each(|at| folder(*at, n));
        eventually("what is declared runs", LONG, || {
            ends.iter().all(|at| runs(&room, &format!("in{at}"), n))
        });
    }
    up.wait_for_line("settled", LONG);
    assert_eq!(up.end("TERM"), 0);
    assert_settled(&room);
    verify_journal(&room.state());
}
