//! What holds whatever happens: worlds in which random things go wrong, and settle once nothing
//! does any more.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod stories;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use reconciler::engine::{Event, Operator};
use reconciler::model::cordon::NodeOrder;
use reconciler::model::desired::{DesiredSet, RootIdentity, RootState, SpecsReading};
use reconciler::model::health::Probed;
use reconciler::model::ids::{Digest, ImageId, Key, Name, ReplicaKey};
use reconciler::model::journal::Entry;
use reconciler::model::observed::{ContainerState, Limits};
use reconciler::model::spec::{Power, Restart};
use reconciler::model::time::Timestamp;
use reconciler::plan::plan;
use reconciler::policy::Policies;
use reconciler::saved::{Made, SavedPlan};
use reconciler::testing::{Hints, NEVER_WELL, World};
use reconciler::want;

use stories::{Drift, NODES, Op, Small, desired, drift, op, set};

fn world() -> World {
    let mut world = World::new(&NODES);
    for (name, engine) in &mut world.nodes {
        engine.foreign = vec!["somebody".to_owned(), format!("p.a.0.{}", name.as_str().len())];
    }
    world
}

fn node(which: bool) -> Name {
    Name::new(NODES[usize::from(which)]).unwrap()
}

fn apply(world: &mut World, op: &Op) {
    match op {
        Op::Declare(set) => world.declare_set(desired(set)),
        Op::Drift(which, drift) => disturb(world, *which, *drift),
        Op::Faults(which, faults) => {
            world.nodes.get_mut(&node(*which)).unwrap().faults.extend(faults.iter().copied());
        }
        Op::Node(which, up) => world.set_reachable(&node(*which), *up),
        Op::Drain(which, drain) => order(world, &node(*which), *drain),
        Op::Steps(steps) => {
            for _ in 0..*steps {
                world.step();
            }
        }
        Op::DieAfter(effects) => world.dies_after = Some(u32::from(*effects)),
        Op::Restart => world.restart(),
        Op::FailCommits(commits) => world.commits_to_fail = u32::from(*commits),
        Op::Hints(hints) => world.hints = *hints,
        Op::HoldLists(holds) => {
            world.holds_lists = *holds;
            world.release_lists();
        }
        Op::Jump(by) => world.now = Timestamp(world.now.0 + i64::from(*by)),
        Op::Pass(seconds) => {
            let passed = world.run_for(Duration::from_secs(u64::from(*seconds)));
            passed.unwrap_or_else(|why| panic!("{why}\n{}", story(world)));
        }
        Op::Refresh => world.send(Event::Operator(Operator::Refresh)),
        Op::CatchUp => {
            for name in NODES {
                let node = Name::new(name).unwrap();
                world.disturb(&node, |now, engine| engine.catch_up(now));
            }
        }
        Op::Feel(which, health) => {
            let replicas: Vec<ReplicaKey> =
                world.engine.snapshot().containers.keys().cloned().collect();
            if replicas.is_empty() {
                return;
            }
            let replica = &replicas[usize::from(*which) % replicas.len()];
            feel(world, replica, *health);
        }
    }
}

/// Has a node emptied, or open again.
fn order(world: &mut World, node: &Name, drain: bool) {
    let order =
        if drain { NodeOrder::Cordon { drain: true, why: None } } else { NodeOrder::Uncordon };
    let (node, by) = (node.clone(), "ops@host".to_owned());
    world.send(Event::Operator(Operator::Node { node, order, by }));
}

/// From now on the checks of a replica find this, wherever it is.
fn feel(world: &mut World, replica: &ReplicaKey, health: u8) {
    let reason = "no".to_owned();
    let found = match health {
        0 => Probed::Healthy,
        1 => Probed::Unhealthy { reason },
        _ => Probed::Unknown { reason },
    };
    for name in NODES {
        let node = Name::new(name).unwrap();
        world.disturb(&node, |_, engine| engine.feel(replica, found.clone()));
    }
}

fn disturb(world: &mut World, which: u16, drift: Drift) {
    let all: Vec<_> = world
        .nodes
        .iter()
        .flat_map(|(node, engine)| engine.containers.keys().map(|id| (node.clone(), id.clone())))
        .collect();
    if all.is_empty() {
        return;
    }
    let (node, id) = all[usize::from(which) % all.len()].clone();
    world.disturb(&node, |now, engine| {
        let copy = format!("copy-{which}");
        match drift {
            Drift::Kill => engine.end(now, &id, 137),
            Drift::Succeed => engine.end(now, &id, 0),
            Drift::Remove => {
                engine.containers.remove(&id);
            }
            Drift::Copy => engine.copy(&id, &copy),
            Drift::Pause
            | Drift::Unpause
            | Drift::Start
            | Drift::Rename
            | Drift::Limits
            | Drift::RestartPolicy
            | Drift::Image
            | Drift::Removing => {
                let found = engine.containers.get_mut(&id).unwrap();
                match drift {
                    Drift::Pause => found.state = ContainerState::Paused { since: now },
                    Drift::Unpause | Drift::Start => {
                        found.state = ContainerState::Running { since: now };
                    }
                    Drift::Rename => found.name = copy,
                    Drift::Limits => {
                        found.config.limits = Limits { memory: 7 << 20, ..Limits::default() };
                    }
                    Drift::RestartPolicy => {
                        "always".clone_into(&mut found.config.restart_policy);
                    }
                    Drift::Image => found.image = ImageId(Arc::from("sha256:other")),
                    Drift::Removing => found.state = ContainerState::Removing,
                    Drift::Kill | Drift::Succeed | Drift::Remove | Drift::Copy => {}
                }
            }
        }
    });
}

/// Nothing goes wrong any more, and an operator agrees to whatever is held.
fn heal(world: &mut World) {
    world.hints = Hints::Once;
    world.holds_lists = false;
    world.release_lists();
    world.commits_to_fail = 0;
    world.dies_after = None;
    for name in NODES {
        let node = Name::new(name).unwrap();
        world.nodes.get_mut(&node).unwrap().faults.clear();
        order(world, &node, false);
        world.set_reachable(&node, true);
        world.disturb(&node, |now, engine| engine.catch_up(now));
        let felt: Vec<ReplicaKey> = world.nodes[&node].health.keys().cloned().collect();
        for replica in felt {
            feel(world, &replica, 0);
        }
    }
    for _ in 0..6 {
        world.run_for(Duration::from_secs(400)).unwrap_or_else(|why| panic!("{why}"));
        if let Some(held) = world.engine.report().held.clone() {
            let digest = held.digest.to_string();
            world.send(Event::Operator(Operator::Approve { digest }));
        }
    }
}

fn story(world: &World) -> String {
    let last = world.actions.iter().rev().take(40).rev();
    let last: Vec<&str> = last.map(String::as_str).collect();
    format!(
        "last actions:\n{}\nplan:\n{}decisions: {:#?}\nreport: {:#?}\ndegraded: {:?}",
        last.join("\n"),
        world.engine.plan(),
        world.engine.plan().decisions,
        world.engine.report(),
        world.engine.degraded()
    )
}

/// Whether the world is as declared, told without the planner.
fn is_as_declared(
    world: &World,
    set: &DesiredSet,
    held_back: &BTreeSet<Key>,
) -> Result<(), String> {
    let mut left: Vec<_> = world
        .nodes
        .iter()
        .flat_map(|(node, engine)| engine.containers.iter().map(move |found| (node, found)))
        .filter(|(_, (_, found))| !held_back.contains(&found.identity.replica.instance))
        .collect();
    for (key, declared) in &set.instances {
        let spec = &declared.spec;
        for ordinal in 0..spec.replicas {
            let is_it = |(_, (_, found)): &(&Name, (_, &_))| {
                let found: &reconciler::model::observed::ObservedContainer = found;
                let replica = &found.identity.replica;
                replica.instance == *key && replica.ordinal == ordinal
            };
            let (mine, others) = left.into_iter().partition::<Vec<_>, _>(|found| is_it(found));
            left = others;
            let what = format!("{key}/{ordinal}");
            let [(_, (_, found))] = &mine[..] else {
                if mine.is_empty() && spec.restart == Restart::Never {
                    continue;
                }
                return Err(format!("{what}: {} containers", mine.len()));
            };
            // What the registry of this world serves is known by its name.
            let content = Digest::of(spec.image.to_string().as_bytes());
            let is_right = *found.image.0 == *format!("sha256:{content}");
            if !is_right && spec.restart == Restart::Always {
                return Err(format!("{what}: runs {}", found.image));
            }
            let state = &found.state;
            let as_declared = match spec.power {
                Power::Running if spec.restart == Restart::Always => {
                    matches!(state, ContainerState::Running { .. })
                }
                Power::Running => {
                    matches!(state, ContainerState::Running { .. } | ContainerState::Exited(_))
                }
                Power::Paused => matches!(state, ContainerState::Paused { .. }),
                Power::Stopped => {
                    matches!(state, ContainerState::Created | ContainerState::Exited(_))
                }
            };
            if !as_declared {
                return Err(format!("{what}: is {state:?}"));
            }
            if matches!(state, ContainerState::Exited(_)) && spec.restart != Restart::Always {
                continue;
            }
            if found.config.limits != want::limits(&spec.resources) {
                return Err(format!("{what}: limits {:?}", found.config.limits));
            }
            if found.config.restart_policy != "no" || found.config.env != spec.env {
                return Err(format!("{what}: {:?}", found.config));
            }
            let parts: Vec<&str> = found.name.split('.').collect();
            let (project, name) = (key.project.as_str(), key.name.as_str());
            if parts[..3] != [project, name, ordinal.to_string().as_str()] {
                return Err(format!("{what}: is called {}", found.name));
            }
        }
    }
    match left.first() {
        Some((node, (_, found))) => Err(format!("{} is left over on {node}", found.name)),
        None => Ok(()),
    }
}

/// `PROPTEST_CASES` hunts longer; what was found is kept in a file beside this one, and tried first.
fn config() -> ProptestConfig {
    #[expect(clippy::disallowed_methods, reason = "a hunt is asked for by the environment")]
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(300),
        max_shrink_iters: 4_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    // Most of them are checked, and replaced, for an hour each: a few of them take as long as many
    // of the others.
    #![proptest_config(ProptestConfig { cases: config().cases / 5, ..config() })]

    #[test]
    fn a_bad_revision_is_tried_once_and_settles(
        before in set(),
        ops in prop::collection::vec(op(), 0..8),
        last in set(),
    ) {
        // Each of them serves, has a check, and is all of one kind: what is under test is that its
        // rollout fails.
        let serving = |set: Vec<Small>, bad| -> Vec<Small> {
            // A volume that is no longer declared would keep it from going back.
            let of = |small: Small| {
                let health = small.health % 2;
                Small { health, restart: 3, power: 3, volume: false, bad, ..small }
            };
            set.into_iter().map(of).collect()
        };
        let (before, last) = (desired(&serving(before, false)), desired(&serving(last, true)));
        let mut world = world();
        world.declare_set(before.clone());
        world.run_for(Duration::from_secs(100)).unwrap();
        let good: Vec<Key> = before.instances.keys().cloned().collect();
        world.actions.clear();
        world.declare_set(last.clone());
        for op in ops.iter().filter(|op| !matches!(op, Op::Declare(_) | Op::Feel(..))) {
            apply(&mut world, op);
        }
        heal(&mut world);
        prop_assert!(world.faults.is_empty(), "{:?}\n{}", world.faults, story(&world));
        let snapshot = world.engine.snapshot();
        for (key, declared) in &last.instances {
            let of = |set: &DesiredSet| set.instances.get(key).map_or(0, |at| at.spec.slots());
            // The host ports of the earlier one have to be enough.
            if good.contains(key) && (1..=of(&before)).contains(&declared.spec.slots()) {
                let is_bad = |at: &reconciler::model::snapshot::Located| {
                    at.container.config.env.contains_key(NEVER_WELL)
                };
                let of_it = snapshot.containers.iter().filter(|(at, _)| at.instance == *key);
                let bad = of_it.flat_map(|(_, located)| located).filter(|at| is_bad(at)).count();
                prop_assert_eq!(bad, 0, "{}\n{}", key, story(&world));
                let asides = world.journal.iter().filter(|stamped| {
                    matches!(&stamped.entry, Entry::SetAside { instance, .. } if instance == key)
                });
                prop_assert_eq!(asides.count(), 1, "{}\n{}", key, story(&world));
            }
        }
        // What went back stays so, also through a restart.
        let moves = |world: &World| -> Vec<String> {
            let back = |line: &&String| {
                world.engine.snapshot().asked.keys().any(|key| line.contains(&format!(" {key}/")))
            };
            world.actions.iter().filter(back).cloned().collect()
        };
        world.actions.clear();
        world.run_for(Duration::from_secs(100)).unwrap();
        prop_assert_eq!(moves(&world), Vec::<String>::new());
        world.restart();
        world.run_for(Duration::from_secs(100)).unwrap();
        prop_assert_eq!(moves(&world), Vec::<String>::new());
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn when_nothing_fails_any_more_the_world_settles_as_declared(
        ops in prop::collection::vec(op(), 1..40),
        last in set(),
    ) {
        // What is bad for ever does not settle as declared; that has a property of its own.
        let last = good(last);
        let mut world = world();
        for op in &ops {
            apply(&mut world, op);
        }
        let last = desired(&last);
        world.declare_set(last.clone());
        heal(&mut world);
        prop_assert!(world.faults.is_empty(), "{:?}\n{}", world.faults, story(&world));
        let empty = last.instances.is_empty();
        prop_assert!(world.engine.is_settled(), "not settled\n{}", story(&world));
        prop_assert!(world.engine.plan().is_empty());
        if !empty || world.engine.report().held.is_none() {
            // In all that went wrong, a revision may have been set aside.
            let snapshot = world.engine.snapshot();
            let mut asked = last.clone();
            asked.instances.retain(|key, _| !snapshot.asked.contains_key(key));
            let result = is_as_declared(&world, &asked, &snapshot.asked.keys().cloned().collect());
            prop_assert!(result.is_ok(), "{:?}\n{}", result, story(&world));
        }
        // And it stays so, without a hand being moved; also through a restart.
        world.actions.clear();
        world.run_for(Duration::from_secs(600)).unwrap();
        prop_assert!(world.actions.is_empty(), "{}", story(&world));
        world.restart();
        world.run_for(Duration::from_secs(600)).unwrap();
        prop_assert!(world.actions.is_empty(), "after a restart\n{}", story(&world));
        prop_assert!(world.faults.is_empty(), "{:?}", world.faults);
    }

    #[test]
    fn what_is_not_read_is_not_removed(
        before in set(),
        after in set(),
        doubt in 0..4_u8,
    ) {
        let mut world = world();
        world.declare_set(desired(&before));
        world.run_for(Duration::from_secs(60)).unwrap();
        let held: Vec<_> = containers(&world);
        let identity = RootIdentity { path: "/specs".to_owned(), device: 1 };
        let root = match doubt {
            0 => RootState::Missing { reason: "no such directory".to_owned() },
            1 => RootState::Present { identity, empty: true },
            2 => RootState::Present {
                identity: RootIdentity { path: "/other".to_owned(), device: 1 },
                empty: false,
            },
            _ => RootState::Present { identity: RootIdentity { device: 2, ..identity }, empty: false },
        };
        if before.is_empty() {
            return Ok(());
        }
        // Whatever the set says: no replica disappears.
        world.read(SpecsReading { desired: desired(&after), root, ..SpecsReading::default() });
        world.run_for(Duration::from_secs(600)).unwrap();
        let left = containers(&world);
        for replica in held {
            prop_assert!(left.contains(&replica), "{replica} is gone\n{}", story(&world));
        }
    }

    #[test]
    fn a_saved_plan_lists_what_happens_and_nothing_else_does(
        before in set(),
        drifts in prop::collection::vec((any::<u16>(), drift()), 0..4),
        after in set(),
    ) {
        // Without volumes: which of them the guard holds depends on whose user goes first.
        let without = |set: Vec<Small>| -> Vec<Small> {
            good(set).into_iter().map(|small| Small { volume: false, ..small }).collect()
        };
        let (before, after) = (without(before), without(after));
        let mut world = world();
        world.declare_set(desired(&before));
        world.run_for(Duration::from_secs(600)).unwrap();
        // Bound to a plan of nothing, it does nothing, whatever happens.
        let nothing = save(&world);
        prop_assert!(nothing.steps.is_empty(), "{:?}\n{}", nothing.steps, story(&world));
        world.send(Event::Operator(Operator::Bind(Box::new(nothing))));
        world.run().unwrap();
        world.actions.clear();
        // A copy may go with one row or with another, as it comes; what an engine is removing goes
        // by itself.
        let is_left = |drift: &Drift| matches!(drift, Drift::Copy | Drift::Removing);
        for (which, drift) in drifts.iter().filter(|(_, drift)| !is_left(drift)) {
            disturb(&mut world, *which, *drift);
        }
        world.declare_set(desired(&after));
        world.run().unwrap();
        prop_assert!(world.actions.is_empty(), "{}", story(&world));
        // Bound to the plan of what is to be done, it does that, and then it is settled. A row
        // that an image cuts short as it comes may leave steps out.
        let saved = save(&world);
        let plan = world.engine.plan();
        prop_assert_eq!(saved.changes_since(world.engine.snapshot(), plan), Vec::<String>::new());
        let listed = format!("{:#?}", saved.steps);
        world.send(Event::Operator(Operator::Bind(Box::new(saved))));
        world.run_for(Duration::from_secs(1200)).unwrap();
        prop_assert_eq!(world.engine.stopped(), None, "{}\n{}", listed, story(&world));
        prop_assert!(world.engine.is_settled(), "{}", story(&world));
        prop_assert!(world.faults.is_empty(), "{:?}", world.faults);
    }

    #[test]
    fn the_order_of_the_input_is_irrelevant(ops in prop::collection::vec(op(), 1..12), last in set()) {
        let mut world = world();
        for op in &ops {
            apply(&mut world, op);
        }
        world.declare_set(desired(&last));
        for _ in 0..6 {
            world.step();
        }
        let snapshot = world.engine.snapshot().clone();
        let mut other = snapshot.clone();
        for located in other.containers.values_mut() {
            located.reverse();
        }
        for node in other.nodes.values_mut() {
            node.foreign.reverse();
            for image in node.images.values_mut() {
                image.tags.reverse();
                image.digests.reverse();
            }
        }
        let policies = Policies::allow_all();
        prop_assert_eq!(plan(&snapshot, &policies), plan(&other, &policies));
        prop_assert_eq!(plan(&snapshot, &policies), plan(&snapshot, &policies));
    }
}

/// Without what never gets well.
fn good(set: Vec<Small>) -> Vec<Small> {
    set.into_iter().map(|small| Small { bad: false, ..small }).collect()
}

fn save(world: &World) -> SavedPlan {
    let (by, windlass, specs) = (String::new(), String::new(), "/specs".to_owned());
    let made = Made { at: world.now, by, windlass, specs };
    world.engine.save_plan(made, "salt".to_owned(), false)
}

fn containers(world: &World) -> Vec<String> {
    let all = world.nodes.values().flat_map(|engine| engine.containers.values());
    let mut all: Vec<String> = all.map(|found| found.identity.replica.to_string()).collect();
    all.sort();
    all.dedup();
    all
}
