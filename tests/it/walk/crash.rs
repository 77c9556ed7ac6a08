//! Killed at any moment, windlass starts again and converges: nothing is lost, nothing done twice.
//!
//! The moments are enumerated: after the first durable append, the second, and so on until a run
//! comes to its end; likewise after each answer of an engine.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use windlass::crash_point::CRASH_AT;

use super::room::{
    Seen, apply, apply_well, assert_settled, inspect, instance, lives, network, networks, one,
    owner, seen, stranger, verify_journal, volume, volumes,
};
use crate::lab::{Engine, Sandbox, docker};

/// Crashed runs at once, each in a sandbox of its own.
const AT_ONCE: usize = 3;

/// No apply here has nearly as many moments.
const MOMENTS_MAX: u32 = 100;

/// A change of specs in the middle of which windlass is killed.
struct Change {
    /// Set up beforehand; none for a first apply.
    before: Option<fn() -> String>,
    after: fn() -> String,
    /// Instance and ordinal of the containers that are there at the end.
    containers: &'static [(&'static str, u32)],
    volumes: &'static [&'static str],
    /// What else holds at the end.
    also: fn(&Sandbox<'_>),
}

/// A container that ends as soon as it is asked to.
fn quick(name: &str, spec: &str) -> String {
    instance(name, &format!("command: [sleep, '100000']\nstop: {{ signal: KILL }}\n{spec}"))
}

const FIRST: Change = Change {
    before: None,
    after: || {
        let keep = "volumes: [{ volume: data, target: /data }]\nnetworks: [front, back]\nfiles: [{ path: /etc/keep, content: kept }]";
        let web = "replicas: 2\ndependsOn: [keep]";
        let networks = [network("front"), network("back")].concat();
        [networks, volume("data", false), quick("keep", keep), quick("web", web)].concat()
    },
    containers: &[("keep", 0), ("web", 0), ("web", 1)],
    volumes: &["data"],
    also: |room| {
        let keep = one(room, "keep", 0);
        let text = docker(room.engine(), &["exec", keep.id(), "cat", "/etc/keep"]);
        assert_eq!(text, "kept");
        let on = keep.0["NetworkSettings"]["Networks"].as_object().expect("networks");
        let names = ["back", "front"].map(|name| format!("{}.{name}", room.project()));
        assert_eq!(on.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
        assert_eq!(networks(room), names);
    },
};

const SECOND: Change = Change {
    before: Some(|| {
        let user = "volumes: [{ volume: scratch, target: /data }]";
        [
            quick("changed", "env: { N: '1' }"),
            quick("limited", "resources: { memory: 64Mi }"),
            volume("scratch", false),
            network("old"),
            quick("moved", "networks: [old]"),
            quick("removed", user),
            quick("scaled", "replicas: 2"),
        ]
        .concat()
    }),
    after: || {
        [
            quick("changed", "env: { N: '2' }"),
            quick("limited", "resources: { memory: 32Mi }"),
            quick("moved", ""),
            quick("scaled", "replicas: 3"),
        ]
        .concat()
    },
    containers: &[
        ("changed", 0),
        ("limited", 0),
        ("moved", 0),
        ("scaled", 0),
        ("scaled", 1),
        ("scaled", 2),
    ],
    volumes: &[],
    also: |room| {
        let all = seen(room);
        let of = |name: &str| all.values().find(|seen| seen.label("instance") == name).cloned();
        let changed = of("changed").expect("changed");
        let env = changed.0["Config"]["Env"].as_array().expect("variables");
        assert!(env.iter().any(|line| line.as_str() == Some("N=2")), "{env:?}");
        let limited = of("limited").expect("limited");
        assert_eq!((limited.memory(), limited.label("incarnation")), (32 << 20, "1"));
        assert!(networks(room).is_empty(), "{:?}", networks(room));
    },
};

/// Kills an apply at one moment, and lets another one go on. Whether there was such a moment.
fn crash_at(engine: &Engine, change: &Change, moment: &str) -> bool {
    let room = Sandbox::new(engine);
    let foreign = [
        stranger(&room, &[]),
        stranger(&room, &["--label", "io.windlass.owner=somebody-else"]),
        // A name as ours are, of an instance that is not declared.
        stranger(&room, &["--name", &format!("{}.other.0.1", room.project())]),
    ];
    let look = |ids: &[String]| -> Vec<_> {
        ids.iter().filter_map(|id| inspect(engine, id)).map(|seen| seen.life()).collect()
    };
    let foreign_before = look(&foreign);
    if let Some(before) = change.before {
        room.spec("set.yaml", &before());
        apply_well(&room);
    }
    room.spec("set.yaml", &(change.after)());
    let mut command = room.command(&["apply"]);
    let out = command.env(CRASH_AT, moment).output().expect("windlass starts");
    let crashed = out.status.code().is_none();

    let outcome = apply(&room);
    assert!(outcome.is_good(), "{moment}: {outcome:#?}");
    assert_converged(&room, change, moment);
    assert_eq!(look(&foreign), foreign_before, "{moment}");
    let lived = lives(&room);
    assert_eq!(apply_well(&room).steps, 0, "{moment}");
    assert_eq!(lives(&room), lived, "{moment}");
    crashed
}

fn assert_converged(room: &Sandbox<'_>, change: &Change, moment: &str) {
    let all = seen(room);
    let us = owner(&room.state());
    let found: Vec<_> = all.values().map(|seen| replica(room, &us, seen)).collect();
    let wanted = change.containers.iter().map(|(name, ordinal)| ((*name).to_owned(), *ordinal));
    assert_eq!(found, wanted.collect::<Vec<_>>(), "{moment}: {:?}", all.keys());
    let revisions: BTreeSet<_> =
        all.values().map(|seen| (seen.label("instance"), seen.label("revision"))).collect();
    let instances: BTreeSet<_> = change.containers.iter().map(|(name, _)| *name).collect();
    assert_eq!(revisions.len(), instances.len(), "{moment}: {revisions:?}");
    let wanted = change.volumes.iter().map(|name| format!("{}.{name}", room.project()));
    assert_eq!(volumes(room), wanted.collect::<Vec<_>>(), "{moment}");
    (change.also)(room);
    assert_settled(room);
    verify_journal(&room.state());
}

/// Which replica a container is; all that it says of itself has to fit.
fn replica(room: &Sandbox<'_>, us: &str, seen: &Seen) -> (String, u32) {
    let (instance, ordinal) = (seen.label("instance"), seen.label("ordinal"));
    let incarnation = seen.label("incarnation");
    assert_eq!(seen.name(), format!("{}.{instance}.{ordinal}.{incarnation}", room.project()));
    assert_eq!((seen.state(), seen.label("owner")), ("running", us));
    (instance.to_owned(), ordinal.parse().expect("a number"))
}

/// Kills applies at each moment of a kind, until one comes to its end.
fn enumerate(engine: &Engine, change: &Change, kind: &str) {
    let next = AtomicU32::new(1);
    let end = AtomicU32::new(u32::MAX);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    assert!(at < MOMENTS_MAX, "an apply has no end");
                    if at > end.load(Ordering::SeqCst) {
                        return;
                    }
                    if !crash_at(engine, change, &format!("{kind}:{at}")) {
                        end.fetch_min(at, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let moments = end.load(Ordering::SeqCst) - 1;
    assert!(moments >= 3, "only {moments} moments of {kind}");
}

#[test]
fn a_first_apply_survives_a_kill_after_each_append() {
    enumerate(engine!(V20_10), &FIRST, "journal");
}

#[test]
fn a_first_apply_survives_a_kill_after_each_answer() {
    enumerate(engine!(V20_10), &FIRST, "reply");
}

#[test]
fn a_change_survives_a_kill_after_each_append() {
    enumerate(engine!(V20_10), &SECOND, "journal");
}

#[test]
fn a_change_survives_a_kill_after_each_answer() {
    enumerate(engine!(V20_10), &SECOND, "reply");
}

#[test]
fn a_change_survives_kills_on_26_1() {
    let engine = engine!(V26_1);
    for moment in ["journal:3", "reply:2", "reply:5"] {
        assert!(crash_at(engine, &SECOND, moment), "there is no {moment}");
    }
}
