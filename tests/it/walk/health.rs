//! Health on real engines: what is asked, what follows, and what cannot be known.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use reconciler::model::health::{Probe, ProbeAt, Probed};
use reconciler::model::ids::{ContainerId, Name};
use reconciler::model::quantity::Span;
use reconciler::model::spec::{Endpoint, HealthProbe};
use reconciler::ports::Prober as _;
use reconciler::report::Reason;
use serde_json::Value;
use windlass::docker::DockerDriver;
use windlass::probe::Probes;

use super::room::{LONG, Loop, assert_settled, instance, one, replicas};
use crate::lab::{Engine, Sandbox, docker, eventually};

/// Serves `/tmp/w` at `port`, and goes on when the server ends.
fn serves(port: u16) -> String {
    format!(
        "command: [sh, -c, 'mkdir -p /tmp/w; echo ok > /tmp/w/index.html; httpd -f -p {port} -h /tmp/w & sleep 100000']\n\
         stop: {{ signal: KILL }}"
    )
}

/// Times that a test can wait for.
const QUICK: &str = "interval: 300ms, timeout: 5s, retries: 2";

fn checked(name: &str, port: u16, check: &str, more: &str) -> String {
    instance(name, &format!("{}\nhealth: {{ {check}, {QUICK} }}\n{more}", serves(port)))
}

fn is(held: &Loop, name: &str, state: &str) {
    eventually(&format!("{name} is {state}"), LONG, || {
        held.status(name).replicas.first().is_some_and(|replica| replica.state == state)
    });
}

fn inside(room: &Sandbox<'_>, id: &str, script: &str) {
    docker(room.engine(), &["exec", id, "sh", "-c", script]);
}

/// Whether the second container of a replica runs, and no other is left.
fn is_second(room: &Sandbox<'_>, name: &str, ordinal: u32) -> bool {
    let all = replicas(room, name, ordinal);
    matches!(&all[..], [only] if only.label("incarnation") == "2" && only.state() == "running")
}

fn the_unhealthy_are_replaced(engine: &Engine) {
    let room = Sandbox::new(engine);
    let kinds = [
        ("exec", "exec: [test, -e, /tmp/w/index.html]", "rm /tmp/w/index.html", "unhealthy"),
        (
            "http",
            "http: { port: 80, path: /index.html }",
            "rm /tmp/w/index.html",
            "unhealthy: GET /index.html answered 404 (2 of 2)",
        ),
        (
            "tcp",
            "tcp: 80",
            "killall httpd",
            "unhealthy: found port 80 closed (connection refused) (2 of 2)",
        ),
    ];
    let set = kinds.map(|(name, check, ..)| checked(name, 80, check, ""));
    room.spec("set.yaml", &set.concat());
    let held = Loop::hold(&room);
    for (name, ..) in kinds {
        is(&held, name, "Running");
        assert!(held.replica(name).ready, "{name}");
    }
    held.wait_until_settled();
    let since = held.now();
    for (name, _, harm, _) in kinds {
        inside(&room, one(&room, name, 0).id(), harm);
    }
    for (name, _, _, why) in kinds {
        let cause = held.wait_for_step(&format!("{name}/0"), "create", since);
        assert_eq!(cause, why);
    }
    for (name, ..) in kinds {
        eventually(&format!("another {name} is ready"), LONG, || {
            is_second(&room, name, 0) && held.status(name).replicas_ready == 1
        });
    }
    held.wait_until_settled();
    // Nothing more came of it.
    for (name, ..) in kinds {
        assert_eq!(one(&room, name, 0).label("incarnation"), "2");
    }
    held.stop();
    assert_settled(&room);
}

#[test]
fn the_unhealthy_are_replaced_on_20_10() {
    the_unhealthy_are_replaced(engine!(V20_10));
}

#[test]
fn the_unhealthy_are_replaced_on_26_1() {
    the_unhealthy_are_replaced(engine!(V26_1));
}

fn what_stays_unhealthy_backs_off(engine: &Engine) {
    let room = Sandbox::new(engine);
    let check = "http: { port: 80, path: /missing }, interval: 200ms, timeout: 5s, retries: 1";
    let spec = format!("{}\nhealth: {{ {check} }}", serves(80));
    room.spec("set.yaml", &instance("sick", &spec));
    let held = Loop::hold(&room);
    let mut waits: Vec<(u32, i64)> = Vec::new();
    eventually("it is called a crash loop", LONG * 2, || {
        for row in held.plan().rows {
            if let Some(Reason::Unhealthy { message, streak, retry_at: Some(at), crash_loop }) =
                row.reason
            {
                assert_eq!(message, "GET /missing answered 404 (1 of 1)");
                assert_eq!(crash_loop, streak >= 5);
                if waits.last().is_none_or(|(last, _)| *last < streak) {
                    waits.push((streak, at.0));
                }
            }
        }
        held.status("sick").phase == "CrashLooping"
    });
    assert!(waits.windows(2).all(|pair| pair[0].1 < pair[1].1), "{waits:?}");
    let status = held.status("sick");
    let message = status.replicas[0].message.clone().unwrap_or_default();
    assert!(message.contains("GET /missing answered 404"), "{message}");
    assert_eq!(status.conditions[0].reason, "CrashLooping");
    let incarnation = |room: &Sandbox<'_>| {
        let all = replicas(room, "sick", 0);
        all.iter().filter_map(|one| one.label("incarnation").parse::<u32>().ok()).max()
    };
    assert!(incarnation(&room) >= Some(6));
    held.stop();
    // Another start goes on with the same count.
    let held = Loop::hold(&room);
    eventually("the loop is known", LONG * 2, || held.status("sick").phase == "CrashLooping");
    assert!(incarnation(&room) <= Some(12), "{:?}", incarnation(&room));
    held.stop();
}

#[test]
fn what_stays_unhealthy_backs_off_on_20_10() {
    what_stays_unhealthy_backs_off(engine!(V20_10));
}

#[test]
fn what_stays_unhealthy_backs_off_on_26_1() {
    what_stays_unhealthy_backs_off(engine!(V26_1));
}

#[test]
fn containers_are_reached_wherever_they_are() {
    let room = Sandbox::new(engine!(V20_10));
    let port = room.port(0);
    let set = [
        checked("alone", 80, "http: 80", "networks: [none]"),
        checked("node", port, &format!("http: {port}"), "networks: [host]"),
        checked("bridged", 80, "tcp: 80", ""),
    ];
    room.spec("set.yaml", &set.concat());
    let held = Loop::hold(&room);
    for name in ["alone", "node", "bridged"] {
        is(&held, name, "Running");
        assert!(held.replica(name).ready, "{name}");
    }
    held.wait_until_settled();
    // A container that was started again has another process, in another network.
    let alone = one(&room, "alone", 0);
    let since = held.now();
    room.engine().kill_process(alone.id());
    held.wait_for_step("alone/0", "restart", since);
    eventually("it is ready again", LONG, || {
        held.replica("alone").ready && one(&room, "alone", 0).started_at() != alone.started_at()
    });
    held.stop();
}

#[test]
fn what_windlass_may_not_reach_is_unknown_and_left_alone() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", &checked("alone", 80, "http: 80", "networks: [none]\nreplicas: 2"));
    let mut up = room.spawn_with(&["--bounding-set", "-sys_admin"], &["up"]);
    let status = || -> Value {
        let out = room.windlass(&["describe", "-o", "json", &format!("{}/alone", room.project())]);
        serde_json::from_str(&out.stdout).unwrap_or_default()
    };
    // Of both: while one is still being made, it is known that not all are ready.
    eventually("its health is unknown", LONG, || {
        let now = status();
        now["phase"] == "HealthUnknown" && now["conditions"][0]["status"] == "Unknown"
    });
    let now = status();
    assert_eq!(now["replicasReady"], 0);
    let ready = &now["conditions"][0];
    assert_eq!((&ready["type"], &ready["status"]), (&"Ready".into(), &"Unknown".into()));
    let message = ready["message"].as_str().unwrap_or_default();
    assert!(message.contains("windlass may not enter networks"), "{message}");
    // A rollout goes on all the same, one replica after the other.
    let before = [0, 1].map(|ordinal| one(&room, "alone", ordinal).id().to_owned());
    let set = checked("alone", 80, "http: 80", "networks: [none]\nreplicas: 2\nenv: { N: '2' }");
    room.spec("set.yaml", &set);
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:?}");
    for (ordinal, before) in [0, 1].into_iter().zip(before) {
        let after = one(&room, "alone", ordinal);
        assert_ne!(after.id(), before);
        assert_eq!(after.label("incarnation"), "2");
    }
    assert_eq!(up.end("TERM"), 0);
}

#[test]
fn a_rollout_waits_for_health() {
    let room = Sandbox::new(engine!(V26_1));
    let set = |path: &str, n: u32| {
        let health = format!(
            "health: {{ http: {{ port: 80, path: {path} }}, interval: 300ms, timeout: 5s, startPeriod: 10m }}"
        );
        let spec = format!("{}\nreplicas: 2\nenv: {{ N: '{n}' }}\n{health}", serves(80));
        room.spec("set.yaml", &instance("web", &spec));
    };
    set("/index.html", 1);
    let held = Loop::hold(&room);
    eventually("both are ready", LONG, || held.status("web").replicas_ready == 2);
    held.wait_until_settled();
    let second = one(&room, "web", 1).id().to_owned();

    // The check changes with the rest, and the new ones are not ready by themselves.
    set("/ready", 2);
    drop(held.reread());
    eventually("the first one is replaced", LONG, || is_second(&room, "web", 0));
    let waits = || {
        held.plan().rows.into_iter().any(|row| {
            row.name.ends_with("web/1") && matches!(row.reason, Some(Reason::WaitingOn { .. }))
        })
    };
    eventually("the second one waits", LONG, || waits() && held.replica("web").state == "Starting");
    assert_eq!(one(&room, "web", 1).id(), second);
    assert!(held.status("web").replicas[1].ready, "{:#?}", held.status("web"));
    inside(&room, one(&room, "web", 0).id(), "echo yes > /tmp/w/ready");
    eventually("the second one is replaced", LONG, || is_second(&room, "web", 1));
    inside(&room, one(&room, "web", 1).id(), "echo yes > /tmp/w/ready");
    eventually("both are ready again", Duration::from_secs(30), || {
        held.status("web").replicas_ready == 2
    });
    held.stop();
}

/// The time on a cpu that this process has taken, in milliseconds.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("our own times");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    // In ticks of 10 ms, user and system.
    (ticks(11) + ticks(12)) * 10
}

#[test]
#[ignore = "measures, and decides nothing"]
#[expect(clippy::print_stderr, reason = "its output is the point")]
fn what_a_probe_costs() {
    const PROBES: u64 = 5_000;
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", &checked("alone", 80, "http: 80", "networks: [none]"));
    let held = Loop::hold(&room);
    is(&held, "alone", "Running");
    held.stop();
    let id = ContainerId(one(&room, "alone", 0).id().into());
    let path = room.engine().endpoint().trim_start_matches("unix://").to_owned();
    let driver = DockerDriver::connect(&Endpoint::Unix(path));
    let probes = Probes::default();
    let node = Name::new("lab").expect("a name");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let check = |check| Probe { check, at: ProbeAt::Inside, timeout: Span::seconds(5) };
    let http = check(HealthProbe::Http { port: 80, path: "/index.html".to_owned() });
    let tcp = check(HealthProbe::Tcp { port: 80 });
    for (name, probe) in [("http", http), ("tcp", tcp)] {
        let (before, began) = (cpu_ms(), Instant::now());
        runtime.block_on(async {
            stream::iter(0..PROBES)
                .for_each_concurrent(4, |_| async {
                    let found = probes.probe(&driver, &node, &id, &probe).await;
                    assert_eq!(found, Probed::Healthy);
                })
                .await;
        });
        let (spent, took) = (cpu_ms() - before, began.elapsed());
        eprintln!("{name}: {} us of cpu a probe, {took:?} for {PROBES}", spent * 1000 / PROBES);
    }
}
