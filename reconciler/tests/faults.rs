//! Particular faults, each of which was once a fault of ours.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::time::Duration;

use reconciler::engine::{Effect, Event, Operator};
use reconciler::model::desired::{DesiredSet, RootIdentity, RootState, SpecsReading};
use reconciler::model::ids::{ContainerId, Name, ReplicaKey};
use reconciler::model::observed::ContainerState;
use reconciler::model::quantity::Bytes;
use reconciler::model::spec::{InstanceSpec, Power, Restart};
use reconciler::model::time::Timestamp;
use reconciler::ports::NodeEvent;
use reconciler::report::Reason;
use reconciler::testing::{Fault, Hints, World, instance};

const HOUR: Duration = Duration::from_secs(3600);

fn n1() -> Name {
    Name::new("n1").unwrap()
}

/// A world in which this runs as `default/web`.
fn world(spec: &InstanceSpec) -> World {
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", spec.clone())]);
    run(&mut world, 1);
    world.actions.clear();
    world
}

fn run(world: &mut World, seconds: u64) {
    world.run_for(Duration::from_secs(seconds)).unwrap();
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

fn faults(world: &mut World, faults: &[Fault]) {
    world.nodes.get_mut(&n1()).unwrap().faults.extend(faults.iter().copied());
}

fn only(world: &World) -> (ContainerId, ContainerState) {
    let containers = &world.nodes[&n1()].containers;
    assert_eq!(containers.len(), 1, "{containers:#?}");
    let (id, found) = containers.iter().next().unwrap();
    (id.clone(), found.state.clone())
}

fn is_running(world: &World) -> bool {
    matches!(only(world).1, ContainerState::Running { .. })
}

#[test]
fn a_start_that_keeps_failing_waits_ever_longer() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", instance("web:1"))]);
    // Pull, network and create go well, each start is refused.
    faults(&mut world, &[Fault::None; 3]);
    faults(&mut world, &[Fault::Refused; 500]);
    world.run_for(HOUR).unwrap();
    let starts = world.actions.iter().filter(|line| line.contains("start")).count();
    // Seconds first, then five minutes at most: a few dozen in an hour.
    assert!((12..60).contains(&starts), "{starts}");
    world.nodes.get_mut(&n1()).unwrap().faults.clear();
    run(&mut world, 301);
    assert!(is_running(&world));
}

#[test]
fn a_limit_that_has_no_effect_is_not_set_for_ever() {
    let mut spec = instance("web:1");
    let mut world = world(&spec);
    world.nodes.get_mut(&n1()).unwrap().drops_memory_limits = true;
    spec.resources.memory = Some(Bytes(64 << 20));
    world.declare(&[("web", spec)]);
    run(&mut world, 3600);
    let updates = world.actions.iter().filter(|line| line.contains("update")).count();
    assert!((2..60).contains(&updates), "{updates}");
    let note = &world.engine.report().notes[0].reason;
    let Reason::BackingOff { message, .. } = note else { panic!("{note:?}") };
    assert!(message.contains("made no difference (drift: memory unlimited -> 64Mi"), "{message}");
    // It is still started again at once when it ends.
    let (id, _) = only(&world);
    world.disturb(&n1(), |now, engine| engine.end(now, &id, 1));
    world.actions.clear();
    world.run().unwrap();
    assert_eq!(world.actions, ["n1: restart default/web/0"]);
}

#[test]
fn a_hand_that_undoes_everything_is_outwaited() {
    let mut world = world(&instance("web:1"));
    for _ in 0..300 {
        let (id, _) = only(&world);
        world.disturb(&n1(), |now, engine| {
            if let Some(found) = engine.containers.get_mut(&id) {
                found.state = ContainerState::Paused { since: now };
            }
        });
        run(&mut world, 1);
    }
    // The first few at once, then ever later.
    assert!((5..30).contains(&world.actions.len()), "{}", world.actions.len());
}

#[test]
fn a_create_that_happens_late_leaves_one_container() {
    for wait in [0, 5, 200] {
        for fault in [Fault::TimedOutLate, Fault::TimedOutDone, Fault::LostDone] {
            for hints in [Hints::Once, Hints::Lost] {
                let mut world = World::new(&["n1"]);
                world.hints = hints;
                world.declare(&[("web", instance("web:1"))]);
                faults(&mut world, &[Fault::None, fault]);
                world.run_for(Duration::from_secs(wait)).unwrap();
                world.disturb(&n1(), |now, engine| engine.catch_up(now));
                run(&mut world, 200);
                assert!(is_running(&world));
            }
        }
    }
}

#[test]
fn death_at_each_point_of_a_replacement() {
    for power in [Power::Running, Power::Stopped, Power::Paused] {
        for effects in 0..60 {
            let mut spec = instance("web:1");
            let mut world = world(&spec);
            spec.image = instance("web:2").image;
            spec.power = power;
            world.declare(&[("web", spec.clone())]);
            world.dies_after = Some(effects);
            run(&mut world, 100);
            let (id, state) = only(&world);
            let as_declared = match power {
                Power::Running => matches!(state, ContainerState::Running { .. }),
                Power::Paused => matches!(state, ContainerState::Paused { .. }),
                Power::Stopped => matches!(state, ContainerState::Created),
            };
            assert!(as_declared, "{state:?}");
            let engine = &world.nodes[&n1()];
            assert!(engine.images[&engine.containers[&id].image].tags[0].ends_with(":2"));
            let creates = world.actions.iter().filter(|line| line.contains("create")).count();
            assert!(creates <= 2, "{:?}", world.actions);
        }
    }
}

#[test]
fn a_replacement_that_is_called_off_at_each_point() {
    for restart in [Restart::Always, Restart::OnFailure] {
        for steps in 0..40 {
            let mut spec = instance("web:1");
            spec.restart = restart;
            let mut world = world(&spec);
            let mut newer = spec.clone();
            newer.env.insert("A".to_owned(), "b".to_owned());
            world.declare(&[("web", newer)]);
            for _ in 0..steps {
                world.step();
            }
            world.declare(&[("web", spec)]);
            run(&mut world, 100);
            let (id, _) = only(&world);
            assert!(is_running(&world), "{steps} {restart:?}");
            assert!(world.nodes[&n1()].containers[&id].config.env.is_empty());
        }
    }
}

#[test]
fn scaled_to_nothing_and_back_keeps_its_history() {
    let mut spec = instance("web:1");
    let mut world = world(&spec);
    let of =
        |world: &World| world.engine.snapshot().records.instances[&"web".parse().unwrap()].clone();
    // Until then nobody knows whether its revision is good.
    run(&mut world, 10);
    let before = of(&world);
    spec.replicas = 0;
    world.declare(&[("web", spec.clone())]);
    run(&mut world, 100);
    assert!(world.nodes[&n1()].containers.is_empty());
    spec.replicas = 1;
    world.declare(&[("web", spec)]);
    run(&mut world, 100);
    let after = of(&world);
    assert_eq!((before.uid, before.history), (after.uid, after.history));
    assert_eq!(after.generation, 3);
    // No longer declared, nothing is left of it.
    world.declare(&[("other", instance("web:1"))]);
    run(&mut world, 100);
    let records = &world.engine.snapshot().records.instances;
    assert_eq!(records.keys().map(ToString::to_string).collect::<Vec<_>>(), ["default/other"]);
}

#[test]
fn a_clock_that_is_put_back_stops_nothing() {
    for steps in 0..30 {
        let mut world = World::new(&["n1"]);
        world.declare(&[("web", instance("web:1"))]);
        for _ in 0..steps {
            world.step();
        }
        world.now = Timestamp(world.now.0 - 7_200_000);
        run(&mut world, 10);
        assert!(is_running(&world), "{steps}");
        assert!(world.engine.is_settled());
    }
}

#[test]
fn two_nodes_with_one_engine_are_an_error_and_no_removal() {
    let mut world = World::new(&["n1", "n2"]);
    let twin = world.nodes[&n1()].clone();
    world.nodes.insert(Name::new("n2").unwrap(), twin);
    world.declare(&[("web", instance("web:1"))]);
    run(&mut world, 1);
    // Both ends lead to one engine: what the first one holds the second one shows.
    let twin = world.nodes[&n1()].clone();
    world.nodes.insert(Name::new("n2").unwrap(), twin);
    world.actions.clear();
    world.send(Event::Operator(Operator::Refresh));
    run(&mut world, 200);
    assert!(world.actions.is_empty(), "{:?}", world.actions);
    let reach = &world.engine.snapshot().nodes[&Name::new("n2").unwrap()].reach;
    assert!(format!("{reach:?}").contains("is the one of node n1"), "{reach:?}");
}

#[test]
fn a_node_that_is_gone_from_the_set_holds_nothing_up() {
    for steps in 0..40 {
        let mut world = World::new(&["n1", "n2"]);
        let mut spec = instance("web:1");
        spec.replicas = 2;
        world.declare(&[("web", spec.clone())]);
        for _ in 0..steps {
            world.step();
        }
        let n2 = world.nodes.remove(&Name::new("n2").unwrap());
        world.declare(&[("web", spec.clone())]);
        run(&mut world, 100);
        world.nodes.insert(Name::new("n2").unwrap(), n2.unwrap());
        world.declare(&[("web", spec)]);
        run(&mut world, 100);
        assert!(world.engine.is_settled(), "{steps} {:?}", world.engine.report());
        let all = world.nodes.values().flat_map(|engine| engine.containers.values());
        assert_eq!(all.count(), 2, "{steps}");
    }
}

#[test]
fn a_list_that_does_not_come_is_no_reason_to_spin() {
    let mut world = world(&instance("web:1"));
    world.holds_lists = true;
    // The time of the next list has come and gone; `run` fails on a wish for the past.
    run(&mut world, 300);
    let now = world.now;
    let effects = world.engine.handle(now, Event::Wake);
    assert_eq!(effects, [Effect::Round]);
    let effects = world.engine.handle(now, Event::Round);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::WakeAt(at) if *at <= now)));
    world.holds_lists = false;
    world.release_lists();
    run(&mut world, 300);
}

#[test]
fn what_ends_during_the_look_after_its_start_is_seen() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", instance("web:1"))]);
    let mut inspected = false;
    for _ in 0..200 {
        // It ends between the answer of the start and the end of the look.
        if !inspected && world.actions.iter().any(|line| line.contains("start")) {
            world.step();
            let (id, _) = only(&world);
            world.disturb(&n1(), |now, engine| engine.end(now, &id, 1));
            inspected = true;
        }
        world.step();
    }
    assert!(inspected && is_running(&world));
}

#[test]
fn a_list_that_overtakes_the_look_after_a_row_shows_how_it_ended() {
    let mut world = World::new(&["n1"]);
    let job = InstanceSpec { restart: Restart::Never, ..instance("job:1") };
    world.declare(&[("job", job)]);
    let mut overtaken = 0;
    for _ in 0..200 {
        if world.actions.iter().any(|line| line.contains("start")) {
            // Whatever is on its way, a list comes before it.
            let asked_at = Timestamp(world.now.0 + 1);
            world.now = Timestamp(world.now.0 + 2);
            let result = Ok(Box::new(world.nodes[&n1()].list().unwrap()));
            let _ = world.engine.handle(world.now, Event::Listed { node: n1(), asked_at, result });
            let snapshot = world.engine.snapshot();
            if snapshot.in_flight.is_empty() {
                let seen = snapshot.containers.values().flatten().count();
                assert_eq!(seen, 1, "nothing is under way, and what is there was dropped");
                overtaken += 1;
            }
        }
        world.step();
    }
    let overtaken = overtaken > 0;
    assert!(overtaken && is_running(&world));
}

#[test]
fn a_look_that_a_hint_overtakes_ends_the_row_all_the_same() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", instance("web:1"))]);
    while !world.actions.iter().any(|line| line.contains("start")) {
        assert!(world.step());
    }
    // A hint of its start, and the answer: the look at its end, by the name, is on its way then.
    world.step();
    world.step();
    assert!(!world.engine.snapshot().in_flight.is_empty());
    let (id, _) = only(&world);
    let found = world.nodes[&n1()].inspect(&id.0).unwrap().map(Box::new);
    let replica = ReplicaKey::new("default/web".parse().unwrap(), 0);
    let (now, asked_at) = (Timestamp(world.now.0 + 20), Timestamp(world.now.0 + 10));
    let event = NodeEvent::Container { id: id.clone(), replica: Some(replica) };
    let effects = world.engine.handle(now, Event::Hint { node: n1(), event });
    let looks = |effect: &Effect| matches!(effect, Effect::Inspect { container, .. } if *container == *id.0);
    assert!(effects.iter().any(looks), "{effects:?}");
    let container = id.0.to_string();
    let answer = Event::Inspected { node: n1(), container, asked_at, result: Ok(found) };
    let _ = world.engine.handle(now, answer);
    world.now = now;
    // No time passes, and no list comes.
    world.run().unwrap();
    assert!(world.engine.snapshot().in_flight.is_empty());
    assert!(is_running(&world));
}

#[test]
fn a_journal_that_refuses_stops_everything_and_nothing_else() {
    let mut world = World::new(&["n1"]);
    world.commits_to_fail = 5;
    world.declare(&[("web", instance("web:1"))]);
    world.run().unwrap();
    assert!(world.actions.is_empty());
    assert!(world.engine.degraded().is_some());
    run(&mut world, 60);
    assert!(is_running(&world));
    assert_eq!(world.engine.degraded(), None);
    // Nothing is in it twice, and nothing is missing.
    let numbers: Vec<u64> = world.journal.iter().map(|stamped| stamped.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    world.actions.clear();
    world.restart();
    run(&mut world, 60);
    assert!(world.actions.is_empty(), "{:?}", world.actions);
}

#[test]
fn an_approval_names_enough_of_what_it_approves() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("a", instance("web:1"))]);
    run(&mut world, 1);
    world.declare(&[]);
    run(&mut world, 30);
    for digest in [String::new(), "0".to_owned()] {
        world.send(Event::Operator(Operator::Approve { digest }));
        run(&mut world, 30);
        only(&world);
    }
}

#[test]
fn a_look_at_one_container_says_nothing_of_the_others() {
    // A list that was asked for first comes last, and holds a container that nobody has seen.
    let mut world = world(&instance("web:1"));
    let node = world.nodes.get_mut(&n1()).unwrap();
    let (known, second) = {
        let (id, container) = node.containers.iter().next().unwrap();
        let (mut name, mut container) = (id.0.to_string(), container.clone());
        name.replace_range(..1, "f");
        container.identity.incarnation = 2;
        container.name = "default.web.0.2".to_owned();
        container.state = ContainerState::Created;
        (id.clone(), (ContainerId(name.into()), container))
    };
    node.containers.insert(second.0.clone(), second.1.clone());
    let listing = Box::new(node.list().unwrap());
    let (list_asked, look_asked) = (Timestamp(world.now.0 + 1), Timestamp(world.now.0 + 2));
    world.now = Timestamp(world.now.0 + 3);
    let looked = Some(Box::new(second.clone()));
    let id = second.0.0.to_string();
    // A new loop has seen neither.
    let _ = world.engine.handle(
        world.now,
        Event::Listed {
            node: n1(),
            asked_at: Timestamp(world.now.0 - 3),
            result: Ok(Box::new(reconciler::model::observed::NodeListing {
                containers: Default::default(),
                ..(*listing).clone()
            })),
        },
    );
    let _ = world.engine.handle(
        world.now,
        Event::Inspected { node: n1(), container: id, asked_at: look_asked, result: Ok(looked) },
    );
    let _ = world
        .engine
        .handle(world.now, Event::Listed { node: n1(), asked_at: list_asked, result: Ok(listing) });
    let located = world.engine.snapshot().containers.values().next().unwrap();
    let seen: Vec<&ContainerId> = located.iter().map(|at| &at.id).collect();
    assert!(seen.contains(&&known) && seen.contains(&&second.0), "{seen:?}");
}

#[test]
fn an_operator_who_asks_again_is_not_made_to_wait() {
    let mut world = World::new(&["n1"]);
    faults(&mut world, &[Fault::Refused; 50]);
    world.declare(&[("web", instance("web:1"))]);
    run(&mut world, 60);
    world.nodes.get_mut(&n1()).unwrap().faults.clear();
    let waits = |world: &World| {
        let notes = &world.engine.report().notes;
        notes.iter().any(|note| matches!(note.reason, Reason::BackingOff { .. }))
    };
    assert!(waits(&world), "{:?}", world.engine.report());
    world.send(Event::Operator(Operator::Retry));
    world.run().unwrap();
    assert!(is_running(&world), "{:?}", world.engine.report());
}

#[test]
fn a_look_that_was_asked_for_is_waited_for() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", instance("web:1"))]);
    world.run().unwrap();
    assert!(world.engine.is_settled() && world.engine.is_refreshed());
    // A list is under way, and another one is asked for: the first says nothing of that.
    world.holds_lists = true;
    world.send(Event::Hint { node: Name::new("n1").unwrap(), event: NodeEvent::Images });
    world.send(Event::Operator(Operator::Refresh));
    world.run().unwrap();
    assert!(world.engine.is_settled() && !world.engine.is_refreshed());
    world.release_lists();
    world.run().unwrap();
    assert!(!world.engine.is_refreshed());
    world.holds_lists = false;
    world.release_lists();
    world.run().unwrap();
    assert!(world.engine.is_settled() && world.engine.is_refreshed());
    // One that fails is an answer.
    world.nodes.values_mut().for_each(|engine| engine.reachable = false);
    world.send(Event::Operator(Operator::Refresh));
    world.step();
    assert!(!world.engine.is_refreshed());
    world.run().unwrap();
    assert!(world.engine.is_refreshed());
}

#[test]
fn what_is_done_late_beside_a_row_is_heard_of() {
    // Whatever the row for the same replica does just then.
    for verb in ["create", "stop", "start", "remove"] {
        let mut spec = instance("web:1");
        let mut world = world(&spec);
        faults(&mut world, &[Fault::TimedOutLate]);
        spec.env.insert("N".to_owned(), "2".to_owned());
        world.declare(&[("web", spec.clone())]);
        // The look after it comes, and the next try does not.
        world.run().unwrap();
        assert_eq!(world.actions, ["n1: create default/web/0"]);
        world.actions.clear();
        spec.env.insert("N".to_owned(), "3".to_owned());
        world.declare(&[("web", spec)]);
        let line = format!("n1: {verb} default/web/0");
        while !world.actions.contains(&line) {
            assert!(world.step(), "{:?}", world.actions);
        }
        world.disturb(&n1(), |now, engine| engine.catch_up(now));
        // Sooner than anybody lists all containers.
        run(&mut world, 10);
        assert!(is_running(&world), "{verb}");
    }
}

#[test]
fn what_its_engine_starts_no_more_is_replaced() {
    let mut spec = instance("web:1");
    let mut world = world(&spec);
    let (first, _) = only(&world);
    // Another container is made, the first one is stopped, and the start leaves it behind.
    faults(&mut world, &[Fault::None, Fault::None, Fault::Conflict]);
    spec.env.insert("N".to_owned(), "2".to_owned());
    world.declare(&[("web", spec)]);
    run(&mut world, 10);
    assert!(is_running(&world));
    assert_ne!(only(&world).0, first);
    let starts = world.actions.iter().filter(|line| line.contains("start")).count();
    let creates = world.actions.iter().filter(|line| line.contains("create")).count();
    assert_eq!((creates, starts), (2, 2), "{:?}", world.actions);
}

#[test]
fn an_approval_ends_with_what_it_was_for() {
    let mut world = world(&instance("web:1"));
    let nodes = world.engine.snapshot().desired.nodes.clone();
    let lost = || SpecsReading {
        desired: DesiredSet { nodes: nodes.clone(), ..DesiredSet::default() },
        root: RootState::Missing { reason: "no such directory".to_owned() },
        ..SpecsReading::default()
    };
    world.read(lost());
    world.run().unwrap();
    let digest = world.engine.report().held.as_ref().unwrap().digest.to_string();
    world.send(Event::Operator(Operator::Approve { digest }));
    world.run().unwrap();
    assert!(world.nodes[&n1()].containers.is_empty(), "{:?}", world.actions);
    // It is declared again, and vanishes again before things have been settled for long.
    world.declare(&[("web", instance("web:1"))]);
    world.run().unwrap();
    assert!(is_running(&world));
    world.read(lost());
    world.run().unwrap();
    assert!(is_running(&world), "{:?}", world.actions);
    assert!(world.engine.report().held.is_some());
}

#[test]
fn another_directory_is_not_the_right_one_because_nobody_answers() {
    let mut world = world(&instance("web:1"));
    let nodes = world.engine.snapshot().desired.nodes.clone();
    let identity = RootIdentity { path: "/other".to_owned(), device: 1 };
    world.read(SpecsReading {
        desired: DesiredSet { nodes, ..DesiredSet::default() },
        root: RootState::Present { identity, empty: false },
        ..SpecsReading::default()
    });
    world.set_reachable(&n1(), false);
    run(&mut world, 60);
    world.set_reachable(&n1(), true);
    run(&mut world, 60);
    assert!(is_running(&world), "{:?}", world.actions);
    assert!(world.engine.report().held.is_some());
}
