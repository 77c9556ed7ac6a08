//! What containers run short of is told: on record, and in conditions.

use std::time::Duration;

use windlass::app::{Mode, Settings};

use super::room::{LONG, Loop, instance, settings};
use crate::lab::{Sandbox, eventually};

/// What an instance is said to be short of.
fn shortages(held: &Loop, name: &str) -> Vec<String> {
    let words = ["OutOfMemory", "CpuThrottled", "PidsRefused"];
    let conditions = held.status(name).conditions.into_iter();
    conditions.map(|one| one.kind).filter(|kind| words.contains(&kind.as_str())).collect()
}

#[test]
fn who_runs_short_of_something_is_told() {
    let room = Sandbox::new(engine!(V20_10));
    let spin = "command: [sh, -c, \"while :; do :; done\"]\nresources: { cpus: 0.2 }";
    // One process of it is ended again and again; the container lives on.
    let hog =
        "command: [sh, -c, \"while :; do tail /dev/zero; done\"]\nresources: { memory: 16Mi }";
    // The inner shell gives up where it cannot make a process.
    let many = "command: [sh, -c, \"while :; do sh -c 'sleep 9 & sleep 9 & sleep 9 & sleep 9 & sleep 9 & sleep 9'; sleep 1; done\"]\nresources: { pids: 5 }";
    let set =
        [("spin", spin), ("hog", hog), ("many", many), ("calm", "command: [sleep, '100000']")];
    room.spec("set.yaml", &set.map(|(name, spec)| instance(name, spec)).concat());
    let often = Settings { usage_every: Duration::from_secs(1), ..settings(&room) };
    let held = Loop::start(&often, Mode::Act { hold: true });
    eventually("the spinning one is throttled", LONG, || {
        shortages(&held, "spin") == ["CpuThrottled"]
    });
    eventually("the greedy one is told of", LONG, || {
        shortages(&held, "hog").contains(&"OutOfMemory".to_owned())
    });
    eventually("the fertile one is told of", LONG, || shortages(&held, "many") == ["PidsRefused"]);
    assert!(shortages(&held, "calm").is_empty());
    let describe = room.windlass(&["describe", "instance", &format!("{}/hog", room.project())]);
    assert!(describe.stdout.contains("OutOfMemory"), "{describe:?}");
    let events = room.windlass(&["events"]);
    for word in ["OutOfMemory", "CpuThrottled", "PidsRefused"] {
        let line = events.stdout.lines().find(|line| line.contains(word));
        let line = line.unwrap_or_else(|| panic!("no {word}: {events:?}"));
        assert!(line.contains(" pressure "), "{line}");
    }
    let metrics = room.windlass(&["metrics"]);
    let counted = |name: &str, instance: &str| {
        let labels = format!("instance=\"{instance}\"");
        let mut lines = metrics.stdout.lines();
        let line = lines.find(|line| line.starts_with(name) && line.contains(&labels));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    for (name, instance) in
        [("oom_kills", "hog"), ("pids_refused", "many"), ("throttled_seconds", "spin")]
    {
        let name = format!("windlass_instance_{name}_total");
        assert!(counted(&name, instance) > 0.0, "{name} of {instance}: {metrics:?}");
    }
    held.stop();
}
