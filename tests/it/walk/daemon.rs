//! One process holds a state directory; others ask it. Engines go away and come back under it, and
//! newer specs do not wait for older ones.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use windlass::api::protocol::{Frame, Happened, Request};
use windlass::app::{Mode, Session, Settings};

use super::room::{
    LIVE, LONG, Loop, apply_well, assert_settled, inspect, instance, lives, one, replicas, seen,
    settings,
};
use crate::lab::{Engine, Sandbox, Version, docker, eventually};

/// Asks the daemon of a state directory, as another process would: over its socket.
fn ask_daemon(settings: &Settings, request: Request) -> Vec<Frame> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let session = Session::open(settings, Mode::Act { hold: false }).await.expect("a session");
        assert!(matches!(session, Session::Daemon(_)), "it runs a loop of its own");
        let mut frames = session.ask(request).await.expect("it is asked");
        let mut all = Vec::new();
        while let Some(frame) = frames.recv().await {
            if frame == Frame::End {
                break;
            }
            all.push(frame);
        }
        all
    })
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .permissions()
        .mode()
        & 0o777
}

/// The files below a directory.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries =
        std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("one").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn one_process_holds_and_others_ask_it() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", &instance("web", LIVE));
    // A state directory that is not there yet is made for its owner alone.
    let state = room.path().join("deep/state");
    let settings = Settings { specs: room.specs(), state: state.clone(), ..settings(&room) };
    let flag = state.display().to_string();
    let mut up = room.spawn_up(&["--state", &flag]);
    let pid = up.pid();
    let socket = windlass::state::StatePaths::new(&state).socket();
    eventually("it listens", LONG, || socket.exists());
    eventually("it has begun", LONG, || {
        replicas(&room, "web", 0).iter().any(|web| web.state() == "running")
    });
    assert_eq!((mode(&state), mode(&socket)), (0o700, 0o600));
    for file in files(&state.join("journal")) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }

    // A second one is refused, and says who holds it.
    let mut second = room.command(&["up"]);
    let out = second.env("WINDLASS_STATE", &state).output().expect("windlass starts");
    assert_ne!(out.status.code(), Some(0));
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(said.contains(&pid.to_string()), "no pid {pid} in: {said}");

    // An apply beside it is its client: the daemon does the work, and goes on.
    room.spec("set.yaml", &(instance("web", LIVE) + &*instance("more", LIVE)));
    let mut apply = room.command(&["apply"]);
    let out = apply.env("WINDLASS_STATE", &state).output().expect("windlass starts");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(one(&room, "more", 0).state(), "running");
    let frames = ask_daemon(&settings, Request::Hello);
    assert!(matches!(&frames[..], [Frame::Hello { pid: of, .. }] if *of == pid), "{frames:?}");
    let frames = ask_daemon(&settings, Request::Apply);
    assert!(
        matches!(frames.last(), Some(Frame::Settled { outcome }) if outcome.is_good() && outcome.steps == 0)
    );

    // One that asks for another directory is told which one is held.
    let elsewhere = Settings { specs: room.path().to_owned(), ..settings };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one");
    let refused = runtime.block_on(Session::open(&elsewhere, Mode::Act { hold: false }));
    let message = refused.expect_err("it is refused").to_string();
    assert!(message.contains(&pid.to_string()), "{message}");

    // Asked to end, it ends, its socket goes, and containers run on.
    let lived = lives(&room);
    assert_eq!(up.end("TERM"), 0);
    assert!(!socket.exists());
    assert_eq!(lives(&room), lived);
}

#[test]
fn a_daemon_that_was_killed_leaves_no_lock() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", &instance("web", LIVE));
    let mut up = room.spawn_up(&[]);
    eventually("it runs", LONG, || {
        replicas(&room, "web", 0).iter().any(|web| web.state() == "running")
    });
    up.kill();
    assert!(settings(&room).socket().exists(), "a kill leaves the socket");
    let lived = lives(&room);
    apply_well(&room);
    let held = Loop::hold(&room);
    assert_eq!(held.apply().steps, 0);
    assert_eq!(lives(&room), lived);
    held.stop();
    assert!(!settings(&room).socket().exists(), "an end removes the socket");
}

fn survives_its_engine(engine: &Engine, lives_on: bool) {
    let room = Sandbox::new(engine);
    let set = [
        instance("web", &format!("{LIVE}\nreplicas: 2")),
        instance("off", &format!("{LIVE}\npower: stopped")),
    ];
    room.spec("set.yaml", &set.concat());
    apply_well(&room);
    let held = Loop::hold(&room);
    held.wait_until_settled();
    let before = seen(&room);
    let since = held.now();
    engine.kill();
    held.wait_for("the node is lost", since, |happened| {
        matches!(happened, Happened::Node { error: Some(_), .. })
    });
    // Unknown, and neither gone nor settled; a plan removes and makes nothing.
    let status = held.status("web");
    assert!(status.replicas.iter().all(|replica| replica.state == "Unknown"), "{status:#?}");
    assert_eq!(status.replicas_ready, 0);
    let plan = held.plan();
    assert!(plan.steps.is_empty(), "{plan:#?}");
    assert_eq!(plan.counts.unknown, 3);
    let outcome = held.apply();
    assert!(!outcome.is_good() && outcome.steps == 0, "{outcome:#?}");

    let since = held.now();
    engine.start();
    held.wait_for("the node is back", since, |happened| {
        matches!(happened, Happened::Node { error: None, .. })
    });
    eventually("all is well again", LONG, || held.apply().is_good());
    let after = seen(&room);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (name, seen) in &after {
        assert_eq!(seen.id(), before[name].id(), "{name} is another container");
        if lives_on {
            assert_eq!(seen.life(), before[name].life(), "{name} was touched");
        } else {
            assert_eq!(seen.state(), before[name].state(), "{name}");
        }
    }
    held.stop();
    assert_settled(&room);
}

#[test]
fn an_engine_dies_under_a_hold_and_comes_back() {
    match Engine::private(Version::V20_10) {
        Ok(engine) => survives_its_engine(&engine, false),
        Err(reason) => skip!("{reason}"),
    }
}

#[test]
fn an_engine_with_live_restore_dies_under_a_hold_and_comes_back() {
    match Engine::private_live_restore(Version::V26_1) {
        Ok(engine) => survives_its_engine(&engine, true),
        Err(reason) => skip!("{reason}"),
    }
}

#[test]
fn an_engine_may_come_later_than_windlass() {
    let engine = match Engine::private(Version::V20_10) {
        Ok(engine) => engine,
        Err(reason) => skip!("{reason}"),
    };
    let room = Sandbox::new(&engine);
    room.spec("set.yaml", &instance("web", LIVE));
    engine.stop();
    let held = Loop::hold(&room);
    held.wait_for("there is no engine", 0, |happened| {
        matches!(happened, Happened::Node { error: Some(_), .. })
    });
    let outcome = held.apply();
    assert!(!outcome.is_good() && !outcome.troubles.is_empty(), "{outcome:#?}");
    let message = &outcome.troubles[0].message;
    assert!(message.contains("No such file") || message.contains("refused"), "{message}");
    engine.start();
    held.wait_for_step("web/0", "start", 0);
    eventually("it runs", LONG, || one(&room, "web", 0).state() == "running");
    held.stop();
}

#[test]
fn a_newer_spec_does_not_wait_for_a_slow_stop() {
    let room = Sandbox::new(engine!(V20_10));
    let deaf = |n: u32| {
        instance(
            "deaf",
            &format!("command: [sleep, '100000']\nstop: {{ timeout: 20s }}\nenv: {{ N: '{n}' }}"),
        )
    };
    room.spec("set.yaml", &deaf(1));
    apply_well(&room);
    let first = one(&room, "deaf", 0);
    let held = Loop::hold(&room);
    held.wait_until_settled();
    room.spec("set.yaml", &deaf(2));
    drop(held.reread());
    held.wait_for_step("deaf/0", "stop", 0);
    // While that takes its time: another object, and a third wish for this one.
    let since = held.now();
    let began = Instant::now();
    room.spec("set.yaml", &(deaf(3) + &*instance("quick", LIVE)));
    drop(held.reread());
    held.wait_for_step("quick/0", "start", since);
    eventually("it runs", LONG, || {
        replicas(&room, "quick", 0).iter().any(|quick| quick.state() == "running")
    });
    assert!(began.elapsed() < Duration::from_secs(20), "it waited for the stop");
    assert!(inspect(room.engine(), first.id()).is_some_and(|first| first.state() == "running"));
    // The stop is cut short from outside; the second wish is never started.
    docker(room.engine(), &["kill", first.id()]);
    let outcome = held.apply();
    assert!(outcome.is_good(), "{outcome:#?}");
    let last = one(&room, "deaf", 0);
    assert!(last.0["Config"]["Env"].to_string().contains("N=3"));
    let starts = held.happened().iter().filter(|happened| {
        matches!(happened, Happened::Began { object, verb, .. } if object.ends_with("deaf/0") && verb == "start")
    }).count();
    assert_eq!(starts, 1, "{:#?}", held.happened());
    held.stop();
    assert_settled(&room);
}
