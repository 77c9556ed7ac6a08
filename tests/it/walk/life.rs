//! The lives of containers: ends and restarts, power, health, and being asked to stop.

use std::time::Duration;

use reconciler::report::Reason;
use windlass::api::protocol::Happened;

use super::room::{LIVE, LONG, Loop, apply_well, assert_settled, instance, lives, one, replicas};
use crate::lab::{Sandbox, docker, eventually};

#[test]
fn ends_are_dealt_with_as_declared() {
    let room = Sandbox::new(engine!(V20_10));
    let ends = |name: &str, code: u32, restart: &str| {
        instance(name, &format!("command: [sh, -c, exit {code}]\nrestart: {restart}"))
    };
    let set = [
        ends("done", 0, "never"),
        ends("broken", 4, "never"),
        ends("enough", 0, "on-failure"),
        ends("again", 5, "on-failure"),
        instance("loops", "command: [sh, -c, 'echo about \"to\" fail; exit 3']\nrestart: always"),
        instance(
            "hungry",
            "command: [sh, -c, 'x=x; while :; do x=$x$x; done']\nresources: { memory: 16Mi }\nrestart: always",
        ),
    ];
    room.spec("set.yaml", &set.concat());
    let held = Loop::hold(&room);
    let state = |name: &str, wanted: &str| {
        eventually(&format!("{name} is {wanted}"), LONG, || held.status(name).phase == wanted);
    };
    for (name, code) in [("again", 5), ("loops", 3)] {
        let cause = held.wait_for_step(&format!("{name}/0"), "restart", 0);
        assert_eq!(cause, format!("ended with exit code {code}"));
    }
    // The engine learns of that and of the end on two ways, and says only "137" where the end was
    // the faster: it is killed again, and one of its restarts names the cause.
    held.wait_for("a restart of hungry/0 after it used too much memory", 0, |happened| {
        matches!(happened, Happened::Began { object, verb, cause, .. }
            if object.ends_with("hungry/0") && verb == "restart"
                && cause == "killed for its use of memory")
    });
    state("done", "Completed");
    state("enough", "Completed");
    state("broken", "Failed");
    let broken = held.replica("broken");
    assert_eq!(broken.message.as_deref(), Some("failed with exit code 4"));
    for name in ["done", "enough", "broken"] {
        assert_eq!(held.replica(name).restarts, 0, "{name}");
    }

    // Waits before restarts grow, until it is called what it is. The container stays the same.
    let mut waits: Vec<(u32, i64)> = Vec::new();
    eventually("it is a crash loop", LONG, || {
        for row in held.plan().rows {
            if let Some(Reason::Restarting { code, streak, retry_at, crash_loop }) = row.reason
                && row.name.ends_with("loops/0")
            {
                assert_eq!((code, crash_loop), (3, streak >= 5));
                if waits.last().is_none_or(|(last, _)| *last < streak) {
                    waits.push((streak, retry_at.0));
                }
            }
        }
        held.status("loops").phase == "CrashLooping"
    });
    assert!(waits.windows(2).all(|pair| pair[0].1 < pair[1].1), "{waits:?}");
    // Its last words are shown, and written down nowhere.
    eventually("its last lines are shown", LONG, || {
        let message = held.replica("loops").message.unwrap_or_default();
        message.contains("exit code 3") && message.contains("\n  about to fail")
    });
    let journal = windlass::state::StatePaths::new(&room.state()).journal();
    for segment in std::fs::read_dir(journal).expect("a journal").flatten() {
        let text = std::fs::read_to_string(segment.path()).expect("a segment");
        // The spec itself, whose text is kept, has the words in pieces.
        assert!(!text.contains("about to fail"));
    }
    let loops = one(&room, "loops", 0);
    assert_eq!((loops.label("incarnation"), loops.state()), ("1", "exited"));
    held.stop();
    // Another start goes on with the same count: no restart for free.
    let held = Loop::hold(&room);
    eventually("the loop is known", LONG, || held.status("loops").phase == "CrashLooping");
    assert!(held.replica("loops").restarts >= 5);
    held.stop();
}

#[test]
fn a_completed_job_stays_completed() {
    let room = Sandbox::new(engine!(V20_10));
    let job = |n: u32| {
        instance("job", &format!("command: [sh, -c, exit 0]\nrestart: never\nenv: {{ N: '{n}' }}"))
    };
    room.spec("set.yaml", &job(1));
    let held = Loop::hold(&room);
    let completed = |held: &Loop| {
        eventually("it is completed", LONG, || held.status("job").phase == "Completed");
    };
    completed(&held);
    docker(room.engine(), &["rm", one(&room, "job", 0).id()]);
    held.wait_until_settled();
    completed(&held);
    held.stop();
    let held = Loop::hold(&room);
    completed(&held);
    assert_eq!(held.apply().steps, 0);
    assert!(replicas(&room, "job", 0).is_empty(), "it ran again");
    // A new revision runs.
    room.spec("set.yaml", &job(2));
    assert!(held.apply().steps >= 2);
    completed(&held);
    assert_eq!(one(&room, "job", 0).label("incarnation"), "2");
    held.stop();
    assert_settled(&room);
}

#[test]
fn power_goes_where_it_is_declared() {
    let room = Sandbox::new(engine!(V20_10));
    let declare =
        |power: &str| room.spec("set.yaml", &instance("web", &format!("{LIVE}\npower: {power}")));
    declare("running");
    apply_well(&room);
    let id = one(&room, "web", 0).id().to_owned();
    for (power, state) in [
        ("paused", "paused"),
        ("running", "running"),
        ("stopped", "exited"),
        ("paused", "paused"),
        ("stopped", "exited"),
        ("running", "running"),
    ] {
        declare(power);
        apply_well(&room);
        let web = one(&room, "web", 0);
        assert_eq!((web.state(), web.id()), (state, &*id), "{power}");
        let lived = lives(&room);
        assert_eq!(apply_well(&room).steps, 0, "{power}");
        assert_eq!(lives(&room), lived, "{power}");
    }
    // None of this was a restart.
    let held = Loop::hold(&room);
    held.wait_until_settled();
    assert_eq!(held.replica("web").restarts, 0);
    held.stop();
}

#[test]
fn a_container_is_asked_before_it_is_killed() {
    let room = Sandbox::new(engine!(V20_10));
    let set = |power: &str| {
        let polite = "command: [sh, -c, \"trap 'exit 7' TERM; sleep 100000 & wait\"]";
        let other = "command: [sh, -c, \"trap 'exit 8' USR1; sleep 100000 & wait\"]\nstop: { signal: USR1 }";
        let deaf = "command: [sleep, '100000']\nstop: { timeout: 1s }";
        let all = [("polite", polite), ("other", other), ("deaf", deaf)];
        let all = all.map(|(name, spec)| instance(name, &format!("{spec}\npower: {power}")));
        room.spec("set.yaml", &all.concat());
    };
    set("running");
    apply_well(&room);
    set("stopped");
    apply_well(&room);
    for (name, code) in [("polite", 7), ("other", 8), ("deaf", 137)] {
        let stopped = one(&room, name, 0);
        assert_eq!(stopped.0["State"]["ExitCode"].as_i64(), Some(code), "{name}");
    }
    assert_settled(&room);
}

#[test]
fn health_decides_whether_it_is_ready() {
    let room = Sandbox::new(engine!(V20_10));
    let health = "health: { exec: [test, -e, /tmp/ok], interval: 500ms, timeout: 5s, retries: 2, startPeriod: 60s }\nrestart: never";
    room.spec("set.yaml", &instance("web", &format!("{LIVE}\n{health}")));
    let held = Loop::hold(&room);
    let state = |wanted: &str, ready: bool| {
        eventually(&format!("it is {wanted}"), Duration::from_secs(30), || {
            let web = held.status("web");
            web.replicas.first().is_some_and(|web| web.state == wanted)
                && (web.replicas_ready == 1) == ready
        });
    };
    state("Starting", false);
    let id = one(&room, "web", 0).id().to_owned();
    let run = |script: &str| docker(room.engine(), &["exec", &id, "sh", "-c", script]);
    run("touch /tmp/ok");
    state("Running", true);
    run("rm /tmp/ok");
    state("Unhealthy", false);
    run("touch /tmp/ok");
    state("Running", true);
    assert_eq!(one(&room, "web", 0).id(), id);
    // What the check found is decided in a round, and seen before that.
    held.wait_until_settled();
    held.stop();
    assert_settled(&room);
}
