//! Health in a world of memory: who is asked when, and what follows from what is found.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::time::Duration;

use reconciler::engine::Engine;
use reconciler::model::health::Probed;
use reconciler::model::ids::{Name, ReplicaKey};
use reconciler::model::quantity::Span;
use reconciler::model::record::Records;
use reconciler::model::snapshot::Config;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{
    Endpoint, Health, HealthProbe, InstanceSpec, More, OnFailure, Restart, Update,
};
use reconciler::policy::Policies;
use reconciler::report::Reason;
use reconciler::status::{self, Truth};
use reconciler::testing::{World, instance};

fn n1() -> Name {
    Name::new("n1").unwrap()
}

fn web(ordinal: u32) -> ReplicaKey {
    ReplicaKey::new("web".parse().unwrap(), ordinal)
}

fn with_check(check: HealthProbe) -> InstanceSpec {
    let health = Health {
        check,
        interval: Span::seconds(10),
        timeout: Span::seconds(1),
        retries: 3,
        start_period: Span::seconds(0),
    };
    InstanceSpec { health: Some(health), ..instance("web:1") }
}

fn http() -> HealthProbe {
    HealthProbe::Http { port: 80, path: "/".to_owned() }
}

fn exec() -> HealthProbe {
    HealthProbe::Exec(vec!["true".to_owned()])
}

fn bad() -> Probed {
    Probed::Unhealthy { reason: "GET / answered 500".to_owned() }
}

/// A revision that fails stays, and is given time.
fn held(spec: InstanceSpec) -> InstanceSpec {
    let (on_failure, health_timeout) = (OnFailure::Hold, Span::seconds(3600));
    let update = Some(Update { on_failure, health_timeout, ..Update::default() });
    InstanceSpec { more: Sparse::new(More { update, ..More::default() }), ..spec }
}

fn world(spec: &InstanceSpec) -> World {
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", spec.clone())]);
    run(&mut world, 30);
    world.actions.clear();
    world
}

fn run(world: &mut World, seconds: u64) {
    world.run_for(Duration::from_secs(seconds)).unwrap();
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

fn feel(world: &mut World, ordinal: u32, found: Probed) {
    world.disturb(&n1(), |_, engine| engine.feel(&web(ordinal), found));
}

fn replacements(world: &World) -> usize {
    world.actions.iter().filter(|line| line.contains("create")).count()
}

fn state(world: &World) -> String {
    let engine = &world.engine;
    let all = status::instances(engine.snapshot(), engine.report());
    all[0].replicas[0].state.clone()
}

#[test]
fn results_that_change_nothing_plan_nothing() {
    let mut world = world(&with_check(http()));
    run(&mut world, 60);
    assert_eq!(state(&world), "Running");
    (world.rounds, world.probes) = (0, 0);
    run(&mut world, 600);
    assert!((55..65).contains(&world.probes), "{}", world.probes);
    // Nodes are listed each minute, and each list is a round.
    assert!(world.rounds <= 24, "{} rounds", world.rounds);
    assert!(world.actions.is_empty());
    // One that is not healthy changes something once.
    feel(&mut world, 0, bad());
    world.rounds = 0;
    run(&mut world, 25);
    assert!(world.rounds <= 4, "{} rounds", world.rounds);
}

#[test]
fn hundreds_are_asked_without_a_round_each() {
    let mut spec = with_check(http());
    spec.replicas = 300;
    let mut world = world(&spec);
    run(&mut world, 60);
    (world.rounds, world.probes) = (0, 0);
    let mut wakes = 0;
    let end = world.now + Duration::from_secs(100);
    while world.now < end {
        world.run().unwrap();
        let at = world.wake_at.take().unwrap();
        assert!(at > world.now, "{at:?}");
        world.now = at;
        world.send(reconciler::engine::Event::Wake);
        wakes += 1;
    }
    assert!((2_700..3_300).contains(&world.probes), "{}", world.probes);
    assert!(wakes <= 1_100, "{wakes} wakes");
    assert!(world.rounds <= 10, "{} rounds", world.rounds);
}

#[test]
fn it_is_asked_soon_after_its_start() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", with_check(http()))]);
    world.disturb(&n1(), |_, engine| engine.feel(&web(0), bad()));
    run(&mut world, 1);
    assert_eq!(state(&world), "Starting");
    feel(&mut world, 0, Probed::Healthy);
    run(&mut world, 1);
    assert_eq!(state(&world), "Running");
}

#[test]
fn what_is_unhealthy_is_replaced_ever_later() {
    for check in [http(), exec()] {
        for restart in [Restart::Always, Restart::OnFailure] {
            let mut world = world(&InstanceSpec { restart, ..with_check(check.clone()) });
            feel(&mut world, 0, bad());
            if check == http() {
                run(&mut world, 15);
                assert_eq!((replacements(&world), state(&world)), (0, "Running".to_owned()));
                run(&mut world, 16);
            } else {
                run(&mut world, 1);
            }
            let done: Vec<_> = world.actions.iter().take(4).cloned().collect();
            let verbs = ["create", "stop", "start", "remove"];
            assert_eq!(done, verbs.map(|verb| format!("n1: {verb} default/web/0")));
            assert!(world.journal.iter().any(|entry| {
                let text = serde_json::to_string(&entry.entry).unwrap();
                let why = if check == http() {
                    "unhealthy: GET / answered 500 (3 of 3)"
                } else {
                    "unhealthy"
                };
                text.contains("\"cause\":\"") && text.contains(why)
            }));
            run(&mut world, 3600);
            let all = replacements(&world);
            assert!((10..60).contains(&all), "{all} in an hour");
            assert_eq!(world.nodes[&n1()].containers.len(), 1);
            // A loop that starts goes on counting.
            let record = |world: &World| {
                let records = &world.engine.snapshot().records.instances;
                records[&web(0).instance].replicas[&0].replaced
            };
            let before = record(&world);
            assert!(before.streak >= 9, "{before:?}");
            world.restart();
            run(&mut world, 1);
            assert_eq!(record(&world), before);
            // Healthy for a while it is as new.
            feel(&mut world, 0, Probed::Healthy);
            run(&mut world, 400);
            assert_eq!(record(&world).streak, 0);
            assert_eq!(state(&world), "Running");
            world.actions.clear();
            run(&mut world, 600);
            assert!(world.actions.is_empty(), "{:?}", world.actions);
        }
    }
}

#[test]
fn a_loop_of_unhealthy_ones_says_so() {
    let mut world = world(&held(with_check(exec())));
    feel(&mut world, 0, bad());
    let mut seen = Vec::new();
    for _ in 0..120 {
        run(&mut world, 1);
        seen.push(state(&world));
        if let Some(Reason::Unhealthy { streak, crash_loop, retry_at, .. }) =
            world.engine.report().notes.first().map(|note| &note.reason)
        {
            assert_eq!(*crash_loop, *streak >= 5);
            assert!(retry_at.is_some());
        }
    }
    assert!(seen.contains(&"Unhealthy".to_owned()) && seen.contains(&"CrashLooping".to_owned()));
    // Another revision begins anew, and at once.
    let mut spec = held(with_check(exec()));
    spec.env.insert("A".to_owned(), "b".to_owned());
    world.actions.clear();
    world.declare(&[("web", spec)]);
    world.run().unwrap();
    let streak = world.engine.snapshot().records.instances[&web(0).instance].replicas[&0].replaced;
    assert_eq!((replacements(&world), streak.streak), (2, 1), "{:?}", world.actions);
}

#[test]
fn it_is_left_alone_where_it_is_not_restarted() {
    let spec = InstanceSpec { restart: Restart::Never, ..with_check(http()) };
    let mut world = world(&spec);
    feel(&mut world, 0, bad());
    run(&mut world, 600);
    assert!(world.actions.is_empty(), "{:?}", world.actions);
    assert_eq!(state(&world), "Unhealthy");
    assert!(world.engine.is_settled());
}

#[test]
fn replicas_are_not_replaced_together() {
    let mut spec = with_check(http());
    spec.replicas = 3;
    let mut world = world(&spec);
    for ordinal in 0..3 {
        feel(&mut world, ordinal, bad());
    }
    let mut most = 0;
    for _ in 0..3000 {
        run(&mut world, 1);
        let down = |found: &&reconciler::model::observed::ObservedContainer| {
            found.health == reconciler::model::observed::HealthState::Starting
        };
        let snapshot = world.engine.snapshot();
        let starting = snapshot.containers.values().flatten().map(|at| &at.container);
        most = most.max(starting.filter(down).count());
    }
    assert_eq!(most, 1);
    // Each got its turn: one that stays unhealthy holds nobody up.
    for ordinal in 0..3 {
        let name = format!("n1: create default/web/{ordinal}");
        assert!(world.actions.iter().filter(|line| **line == name).count() > 3, "{name}");
    }
}

#[test]
fn a_rollout_waits_for_health_and_not_for_what_cannot_be_known() {
    let unknown = Probed::Unknown { reason: "no route to host".to_owned() };
    for (found, goes_on) in [(bad(), false), (unknown, true), (Probed::Healthy, true)] {
        let mut spec = with_check(http());
        spec.replicas = 2;
        let mut world = world(&spec);
        spec.env.insert("A".to_owned(), "b".to_owned());
        feel(&mut world, 0, found.clone());
        feel(&mut world, 1, found.clone());
        world.declare(&[("web", spec)]);
        run(&mut world, 8);
        let other = world.actions.iter().any(|line| line == "n1: create default/web/1");
        assert_eq!(other, goes_on, "{found:?} {:?}", world.actions);
    }
}

#[test]
fn what_goes_is_not_judged_by_the_check_of_what_comes() {
    let mut spec = held(with_check(http()));
    spec.replicas = 2;
    let mut world = world(&spec);
    for starts_anew in [false, true] {
        // Both the program and its check change, and the new ones do not come up.
        let n = world.journal.len();
        spec.env.insert("N".to_owned(), n.to_string());
        let path = format!("/{n}");
        spec.health.as_mut().unwrap().check = HealthProbe::Http { port: 80, path };
        spec.health.as_mut().unwrap().start_period = Span::seconds(1000);
        feel(&mut world, 0, bad());
        world.actions.clear();
        world.declare(&[("web", spec.clone())]);
        run(&mut world, 100);
        if starts_anew {
            world.restart();
            run(&mut world, 100);
        }
        assert_eq!(replacements(&world), 1, "{:?}", world.actions);
        feel(&mut world, 0, Probed::Healthy);
        run(&mut world, 300);
        assert_eq!(replacements(&world), 2, "{:?}", world.actions);
        let all = status::instances(world.engine.snapshot(), world.engine.report());
        assert_eq!(all[0].replicas_ready, 2, "{all:#?}");
    }
}

#[test]
fn what_cannot_be_reached_is_shown_as_unknown_and_left_alone() {
    let mut world = world(&with_check(http()));
    feel(&mut world, 0, Probed::Unknown { reason: "no route to host".to_owned() });
    run(&mut world, 600);
    assert!(world.actions.is_empty());
    let engine = &world.engine;
    let web = &status::instances(engine.snapshot(), engine.report())[0];
    assert_eq!((web.phase.as_str(), web.replicas_ready), ("HealthUnknown", 0));
    assert_eq!(
        (web.conditions[0].status, &*web.conditions[0].reason),
        (Truth::Unknown, "HealthUnknown")
    );
    assert!(web.conditions[0].message.contains("no route to host"), "{web:#?}");
}

#[test]
fn a_container_that_is_paused_or_out_of_reach_is_not_asked() {
    let mut world = world(&with_check(http()));
    world.set_reachable(&n1(), false);
    run(&mut world, 1);
    world.probes = 0;
    run(&mut world, 300);
    assert_eq!(world.probes, 0);
    world.set_reachable(&n1(), true);
    run(&mut world, 30);
    assert!(world.probes > 0);
    let mut spec = with_check(http());
    spec.power = reconciler::model::spec::Power::Paused;
    world.declare(&[("web", spec)]);
    run(&mut world, 1);
    world.probes = 0;
    run(&mut world, 300);
    assert_eq!(world.probes, 0);
}

#[test]
fn another_check_is_asked_at_once_of_the_same_container() {
    let mut world = world(&with_check(http()));
    feel(&mut world, 0, bad());
    run(&mut world, 15);
    let probes = world.probes;
    world.declare(&[("web", with_check(HealthProbe::Tcp { port: 1 }))]);
    world.run().unwrap();
    assert!(world.probes > probes);
    assert_eq!(state(&world), "Starting");
    assert!(world.actions.is_empty(), "{:?}", world.actions);
}

#[test]
fn one_that_only_looks_asks_nobody() {
    let mut world = world(&with_check(http()));
    world.restart();
    let endpoint = Endpoint::Unix("/local.sock".to_owned());
    let nobody =
        Engine::new(Config::default(), Records::default(), 0, Policies::allow_all(), endpoint);
    world.engine = std::mem::replace(&mut world.engine, nobody).looking();
    (world.probes, world.logs_read) = (0, 0);
    run(&mut world, 300);
    assert_eq!((world.probes, world.logs_read), (0, 0));
    assert_eq!(state(&world), "HealthUnknown");
}

#[test]
fn a_clock_that_is_put_back_stops_no_check() {
    let mut world = world(&with_check(http()));
    world.now = reconciler::model::time::Timestamp(world.now.0 - 7_200_000);
    world.send(reconciler::engine::Event::Wake);
    run(&mut world, 1);
    world.probes = 0;
    run(&mut world, 60);
    assert!((4..10).contains(&world.probes), "{}", world.probes);
}

#[test]
fn last_lines_are_read_once_an_end_and_never_written_down() {
    let mut world = world(&instance("web:1"));
    world.nodes.get_mut(&n1()).unwrap().log = vec!["panic: s3cret".to_owned()];
    world.logs_read = 0;
    let end = |world: &mut World, code: i64| {
        world.disturb(&n1(), |now, engine| {
            let id = engine.containers.keys().next().unwrap().clone();
            engine.end(now, &id, code);
        });
    };
    end(&mut world, 0);
    run(&mut world, 2);
    assert_eq!(world.logs_read, 0);
    for ends in 1..=6 {
        end(&mut world, 7);
        world.run().unwrap();
        assert_eq!(world.logs_read, ends);
        let engine = &world.engine;
        if let Some(note) = engine.report().notes.first() {
            assert!(matches!(note.reason, Reason::Restarting { code: 7, .. }), "{note:?}");
            let web = &status::instances(engine.snapshot(), engine.report())[0];
            let message = web.replicas[0].message.as_deref().unwrap();
            assert!(
                message.contains("exit code 7") && message.contains("panic: s3cret"),
                "{message}"
            );
        }
        run(&mut world, 50);
        assert_eq!(world.logs_read, ends);
    }
    let journal = format!("{:?}", world.journal);
    assert!(!journal.contains("s3cret"));
    // What was stopped did not fail.
    let read = world.logs_read;
    let mut spec = instance("web:1");
    spec.power = reconciler::model::spec::Power::Stopped;
    world.declare(&[("web", spec)]);
    run(&mut world, 400);
    assert_eq!(world.actions.last().unwrap(), "n1: stop default/web/0");
    assert_eq!(world.logs_read, read);
}

#[test]
fn death_at_each_point_of_a_replacement_for_being_unhealthy() {
    for effects in 0..50 {
        let mut world = world(&with_check(exec()));
        feel(&mut world, 0, bad());
        world.dies_after = Some(effects);
        run(&mut world, 3);
        feel(&mut world, 0, Probed::Healthy);
        run(&mut world, 300);
        let engine = &world.nodes[&n1()];
        let all: Vec<_> = engine.containers.values().collect();
        assert_eq!(all.len(), 1, "{effects} {all:#?}");
        assert!(all[0].identity.incarnation >= 2, "{effects}");
        assert_eq!(state(&world), "Running", "{effects}");
        // The one who died had counted what it announced, and nothing else.
        let creates = replacements(&world);
        let record = &world.engine.snapshot().records.instances[&web(0).instance].replicas[&0];
        assert!(record.replaced.total as usize >= creates, "{effects} {record:?}");
        assert!(record.replaced.total as usize <= creates + 1, "{effects} {record:?}");
    }
}
