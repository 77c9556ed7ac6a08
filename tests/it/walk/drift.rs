//! What another hand does to containers is heard, named and repaired, while a loop holds them.

use super::room::{
    LIVE, LONG, Loop, Seen, apply_well, assert_settled, inspect, instance, one, replicas,
};
use crate::lab::{Engine, Sandbox, docker, eventually};

/// Names of the instances: one for each hand, so that they do not disturb each other.
const NAMES: [&str; 5] = ["killed", "shot", "stopped", "paused", "renamed"];

fn set() -> String {
    let mut set: String = NAMES.iter().map(|name| instance(name, LIVE)).collect();
    let limits = format!("{LIVE}\nresources: {{ memory: 64Mi, cpus: 0.5, pids: 50 }}");
    set += &instance("limits", &limits);
    set + &*instance("doubled", LIVE)
}

/// The one container of an instance, once it runs again in another life than `before`.
fn runs_again(room: &Sandbox<'_>, name: &str, before: &Seen) -> Seen {
    let again = || {
        let mut all = replicas(room, name, 0);
        let one = all.pop().filter(|seen| all.is_empty() && seen.state() == "running")?;
        (one.started_at() != before.started_at()).then_some(one)
    };
    eventually(&format!("{name} runs again"), LONG, || again().is_some());
    again().expect("it runs")
}

fn other_hands_are_heard(engine: &Engine) {
    let room = Sandbox::new(engine);
    room.spec("set.yaml", &set());
    apply_well(&room);
    let held = Loop::hold(&room);
    held.wait_until_settled();
    let of = |name: &str| one(&room, name, 0);

    // Ends, each followed by an immediate restart of the same container.
    for (name, code) in [("killed", 137), ("shot", 137), ("stopped", 0)] {
        let (before, since) = (of(name), held.now());
        match name {
            "killed" => drop(docker(engine, &["kill", before.id()])),
            "shot" => engine.kill_process(before.id()),
            _ => drop(docker(engine, &["stop", before.id()])),
        }
        let cause = held.wait_for_step(&format!("{name}/0"), "restart", since);
        assert_eq!(cause, format!("ended with exit code {code}"));
        let after = runs_again(&room, name, &before);
        assert_eq!((after.id(), after.name()), (before.id(), before.name()));
        eventually("the restart is told", LONG, || held.replica(name).restarts == 1);
    }

    let (before, since) = (of("paused"), held.now());
    docker(engine, &["pause", before.id()]);
    let cause = held.wait_for_step("paused/0", "unpause", since);
    assert_eq!(cause, "power paused -> running");
    eventually("it goes on", LONG, || of("paused").life() == before.life());

    let (before, since) = (of("renamed"), held.now());
    let other = format!("{}-mine", room.project());
    docker(engine, &["rename", before.id(), &other]);
    let cause = held.wait_for_step("renamed/0", "rename", since);
    assert_eq!(cause, format!("drift: name {other} -> {}", before.name()));
    eventually("it has its name back", LONG, || of("renamed").life() == before.life());

    let before = of("limits");
    for (options, told) in [
        (&["--memory", "32m", "--memory-swap", "64m"][..], "memory 32Mi -> 64Mi"),
        (&["--cpus", "0.2"], "cpus 200m -> 500m"),
        (&["--pids-limit", "7"], "pids 7 -> 50"),
        (&["--restart", "always"], "engine restart policy always -> no"),
    ] {
        let since = held.now();
        docker(engine, &[&["update"], options, &[before.id()]].concat());
        let cause = held.wait_for_step("limits/0", "update", since);
        assert_eq!(cause, format!("drift: {told}"));
        let as_before = |now: &Seen| now.0["HostConfig"] == before.0["HostConfig"];
        eventually(told, LONG, || as_before(&of("limits")));
    }
    assert_eq!(of("limits").life(), before.life(), "limits change in place");

    held.wait_until_settled();
    held.stop();
    assert_settled(&room);
}

#[test]
fn other_hands_are_heard_on_20_10() {
    other_hands_are_heard(engine!(V20_10));
}

#[test]
fn other_hands_are_heard_on_26_1() {
    other_hands_are_heard(engine!(V26_1));
}

#[test]
fn a_removed_container_is_made_again() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", &instance("removed", LIVE));
    apply_well(&room);
    let held = Loop::hold(&room);
    held.wait_until_settled();
    let (before, since) = (one(&room, "removed", 0), held.now());
    docker(room.engine(), &["rm", "-f", before.id()]);
    let cause = held.wait_for_step("removed/0", "create", since);
    assert_eq!(cause, "removed by another hand");
    let after = runs_again(&room, "removed", &before);
    assert_eq!(after.label("incarnation"), "2");
    assert_eq!(after.label("revision"), before.label("revision"));
    held.stop();
    assert_settled(&room);
}

/// Makes a container that says of itself that it is the replica that `of` is.
fn double(room: &Sandbox<'_>, of: &Seen, incarnation: &str) -> String {
    let labels: Vec<String> =
        ["owner", "project", "instance", "ordinal", "revision", "incarnation", "uid"]
            .iter()
            .map(|name| match *name {
                "incarnation" => format!("io.windlass.incarnation={incarnation}"),
                name => format!("io.windlass.{name}={}", of.label(name)),
            })
            .collect();
    // Only created: it may be gone before it could be started.
    let mut args = vec!["create", "--cgroup-parent", room.cgroup_root()];
    args.extend(labels.iter().flat_map(|label| ["--label", label.as_str()]));
    args.extend(["busybox:latest", "sleep", "100000"]);
    docker(room.engine(), &args)
}

#[test]
fn a_double_goes() {
    let room = Sandbox::new(engine!(V20_10));
    let engine = room.engine();
    room.spec("set.yaml", &instance("web", LIVE));
    apply_well(&room);
    let held = Loop::hold(&room);
    held.wait_until_settled();
    // An older one, one of the same number, and a newer one that is not as it says it is.
    for incarnation in ["0", "1", "7"] {
        let (before, since) = (one(&room, "web", 0), held.now());
        let double = double(&room, &before, incarnation);
        held.wait_for_step("web/0", "remove", since);
        eventually("the double is gone", LONG, || inspect(engine, &double).is_none());
        held.wait_until_settled();
        let web = one(&room, "web", 0);
        assert_eq!(web.state(), "running");
        assert_eq!(web.name(), format!("{}.web.0.{}", room.project(), web.label("incarnation")));
        assert_eq!(web.label("revision"), before.label("revision"));
        assert_eq!(web.0["Config"]["Entrypoint"], before.0["Config"]["Entrypoint"]);
    }
    held.stop();
    assert_settled(&room);
}

#[test]
fn drift_while_nobody_looks_is_repaired_at_the_start() {
    let room = Sandbox::new(engine!(V20_10));
    let engine = room.engine();
    room.spec("set.yaml", &(instance("gone", LIVE) + &*instance("dead", LIVE)));
    apply_well(&room);
    docker(engine, &["rm", "-f", one(&room, "gone", 0).id()]);
    docker(engine, &["kill", one(&room, "dead", 0).id()]);
    let outcome = apply_well(&room);
    assert_eq!(outcome.steps, 3, "{outcome:#?}");
    assert_eq!(
        (one(&room, "gone", 0).state(), one(&room, "dead", 0).state()),
        ("running", "running")
    );
    assert_settled(&room);
}

/// Whether the kernel lets a container have all cpus. What its engine says is another matter: it
/// cannot take a limit back.
fn has_all_cpus(room: &Sandbox<'_>, seen: &Seen) -> bool {
    let group = format!("{}/{}/{}", room.cgroup_root(), room.project(), seen.id());
    let file = |tree: &str, file: &str| {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{tree}{group}/{file}")).ok()
    };
    let quota = file("cpu", "cpu.cfs_quota_us").or_else(|| file("", "cpu.max"));
    quota.is_some_and(|quota| quota.starts_with("-1") || quota.starts_with("max"))
}

/// Another hand sets a limit that is not declared; in the end there is none again.
fn a_limit_goes(options: &[&str]) {
    let room = Sandbox::new(engine!(V20_10));
    let engine = room.engine();
    room.spec("set.yaml", &instance("free", LIVE));
    apply_well(&room);
    let held = Loop::hold(&room);
    held.wait_until_settled();
    docker(engine, &[&["update"], options, &[one(&room, "free", 0).id()]].concat());
    eventually(&format!("{options:?} is undone"), LONG, || {
        let all = replicas(&room, "free", 0);
        let [free] = all.as_slice() else { return false };
        let pids = free.0["HostConfig"]["PidsLimit"].as_i64().unwrap_or(0);
        // Engines cannot take a limit of memory back; one that no machine reaches is none.
        let free_memory = free.memory() == 0 || free.memory() > 1 << 60;
        free_memory && free.state() == "running" && has_all_cpus(&room, free) && pids <= 0
    });
    held.stop();
    assert_settled(&room);
}

#[test]
fn a_limit_of_memory_that_nobody_declared_goes() {
    a_limit_goes(&["--memory", "32m", "--memory-swap", "64m"]);
}

#[test]
fn a_limit_of_pids_that_nobody_declared_goes() {
    a_limit_goes(&["--pids-limit", "9"]);
}

#[test]
fn a_limit_of_cpus_that_nobody_declared_goes() {
    a_limit_goes(&["--cpus", "0.5"]);
}
