//! Rollouts in a world of memory: what becomes of a revision, and what operators make of it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::time::Duration;

use reconciler::engine::{Event, Operator};
use reconciler::model::ids::{Key, Name};
use reconciler::model::journal::Entry;
use reconciler::model::observed::ContainerState;
use reconciler::model::quantity::Span;
use reconciler::model::rollout::Outcome;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{
    Content, FileSpec, Health, HealthProbe, InstanceSpec, LocalFile, More, OnFailure, Restart,
    Update,
};
use reconciler::report::Reason;
use reconciler::rollout::ask::{Ask, Refusal, answer};
use reconciler::status::{self, Truth};
use reconciler::testing::{NEVER_WELL, World, instance};

fn n1() -> Name {
    Name::new("n1").unwrap()
}

fn key() -> Key {
    "web".parse().unwrap()
}

/// Three replicas with a check, told apart by `which`; one of which containers never get well if
/// `is_bad`.
fn spec(which: &str, is_bad: bool) -> InstanceSpec {
    let health = Health {
        check: HealthProbe::Http { port: 80, path: "/".to_owned() },
        interval: Span::seconds(1),
        timeout: Span::seconds(1),
        retries: 3,
        start_period: Span::seconds(0),
    };
    let mut spec = InstanceSpec { replicas: 3, health: Some(health), ..instance("web:1") };
    spec.env.insert("WHICH".to_owned(), which.to_owned());
    if is_bad {
        spec.env.insert(NEVER_WELL.to_owned(), "yes".to_owned());
    }
    spec
}

fn declare(world: &mut World, spec: &InstanceSpec) {
    world.declare(&[("web", spec.clone())]);
}

fn run(world: &mut World, seconds: u64) {
    world.run_for(Duration::from_secs(seconds)).unwrap();
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

fn world(spec: &InstanceSpec) -> World {
    let mut world = World::new(&["n1"]);
    declare(&mut world, spec);
    run(&mut world, 60);
    world.actions.clear();
    world
}

/// What runs, by ordinal: the word that tells specs apart.
fn running(world: &World) -> BTreeMap<u32, Vec<String>> {
    let mut all: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for found in world.nodes[&n1()].containers.values() {
        if let ContainerState::Running { .. } = found.state {
            let which = found.config.env["WHICH"].clone();
            all.entry(found.identity.replica.ordinal).or_default().push(which);
        }
    }
    all
}

fn all_run(world: &World, which: &str, replicas: u32) -> bool {
    running(world) == (0..replicas).map(|ordinal| (ordinal, vec![which.to_owned()])).collect()
}

fn creates(world: &World) -> usize {
    world.actions.iter().filter(|line| line.contains("create")).count()
}

fn outcomes(world: &World) -> Vec<(u64, &'static str)> {
    let record = &world.engine.snapshot().records.instances[&key()];
    record.history.iter().map(|past| (past.number, past.outcome.word())).collect()
}

fn ask(world: &mut World, ask: &Ask) -> Result<(), Refusal> {
    let answer = answer(world.engine.snapshot(), &key(), ask, "ops@n1")?;
    if let Some(entry) = answer.entry {
        world.send(Event::Operator(Operator::Rollout(Box::new(entry))));
        world.run().unwrap();
    }
    Ok(())
}

fn settled_for(world: &mut World, seconds: u64) {
    world.actions.clear();
    run(world, seconds);
    assert_eq!(world.actions, Vec::<String>::new());
    world.restart();
    run(world, seconds);
    assert_eq!(world.actions, Vec::<String>::new(), "after a restart");
}

#[test]
fn a_bad_revision_is_tried_once_and_the_last_good_one_comes_back() {
    let mut world = world(&spec("good", false));
    assert_eq!(outcomes(&world), [(1, "good")]);
    declare(&mut world, &spec("bad", true));
    run(&mut world, 60);
    assert!(all_run(&world, "good", 3), "{:?}", running(&world));
    // One replica tried it, and came back.
    assert_eq!(creates(&world), 2, "{:#?}", world.actions);
    assert_eq!(outcomes(&world), [(1, "good"), (2, "set aside")]);
    let status = status::instance(world.engine.snapshot(), world.engine.report(), &key()).unwrap();
    let ready = &status.conditions[0];
    assert_eq!((ready.status, &*ready.reason), (Truth::False, "RolloutFailed"));
    assert_eq!(
        ready.message,
        "revision 2 failed (default/web/0: GET / answered 500 (3 of 3)); back on revision 1, \
         revision 2 is set aside until its spec changes"
    );
    assert_eq!(status.replicas_ready, 3);
    let rollout = status.rollout.unwrap();
    assert_eq!((&*rollout.phase, rollout.over, rollout.good), ("SetAside", true, false));
    settled_for(&mut world, 600);

    // How many there are, and what is killed, is no matter of the revision.
    declare(&mut world, &InstanceSpec { replicas: 4, ..spec("bad", true) });
    run(&mut world, 60);
    assert!(all_run(&world, "good", 4), "{:?}", running(&world));
    assert_eq!(outcomes(&world), [(1, "good"), (2, "set aside")]);

    // Another one rolls out as ever; the bad one, asked for anew, is tried anew.
    declare(&mut world, &InstanceSpec { replicas: 4, ..spec("better", false) });
    run(&mut world, 60);
    assert!(all_run(&world, "better", 4), "{:?}", running(&world));
    assert_eq!(outcomes(&world), [(1, "good"), (2, "set aside"), (3, "good")]);
    world.actions.clear();
    declare(&mut world, &InstanceSpec { replicas: 4, ..spec("bad", true) });
    run(&mut world, 60);
    assert!(all_run(&world, "better", 4), "{:?}", running(&world));
    assert_eq!(creates(&world), 2);
    settled_for(&mut world, 600);
}

#[test]
fn all_others_stay_ready_while_it_fails() {
    let mut world = world(&spec("good", false));
    declare(&mut world, &spec("bad", true));
    let mut least = 3;
    for _ in 0..600 {
        while world.step() {
            let running = running(&world);
            let well = running.values().filter(|all| all.contains(&"good".to_owned()));
            least = well.count().min(least);
        }
        world.run_for(Duration::from_millis(100)).unwrap();
    }
    assert_eq!(least, 2);
    assert!(all_run(&world, "good", 3));
}

#[test]
fn killed_at_any_point_it_comes_back_all_the_same() {
    for effects in 0..120 {
        let mut world = world(&spec("good", false));
        world.dies_after = Some(effects);
        declare(&mut world, &spec("bad", true));
        run(&mut world, 60);
        assert!(all_run(&world, "good", 3), "{effects}: {:?}", running(&world));
        assert_eq!(outcomes(&world), [(1, "good"), (2, "set aside")], "{effects}");
        let bad = world.actions.iter().filter(|line| line.contains("create")).count();
        // A create whose confirmation was lost is asked for again under the same number.
        assert!(bad <= 3, "{effects}: {:#?}", world.actions);
        settled_for(&mut world, 100);
    }
}

#[test]
fn one_that_takes_too_long_fails_by_its_deadline() {
    let slow = |timeout| {
        let update = Update { health_timeout: Span::seconds(timeout), ..Update::default() };
        let more = Sparse::new(More { update: Some(update), ..More::default() });
        let mut spec = InstanceSpec { more, ..spec("slow", true) };
        // Its failures do not count for a while, so it is neither healthy nor unhealthy.
        spec.health.as_mut().unwrap().start_period = Span::seconds(3600);
        spec
    };
    let mut world = world(&spec("good", false));
    declare(&mut world, &slow(40));
    run(&mut world, 39);
    assert!(!all_run(&world, "good", 3));
    run(&mut world, 2);
    assert!(all_run(&world, "good", 3), "{:?}", running(&world));
    let record = &world.engine.snapshot().records.instances[&key()];
    let Outcome::SetAside { why, .. } = &record.history[1].outcome else { panic!("{record:?}") };
    assert_eq!(why, "default/web/0: not healthy within 40s");
    settled_for(&mut world, 600);
    // More time is another wish.
    world.actions.clear();
    declare(&mut world, &slow(80));
    run(&mut world, 1);
    assert_eq!(creates(&world), 1);
    run(&mut world, 81);
    assert!(all_run(&world, "good", 3), "{:?}", running(&world));
}

#[test]
fn held_it_stays_where_it_is() {
    let held = |which, is_bad| {
        let update = Update { on_failure: OnFailure::Hold, ..Update::default() };
        let more = Sparse::new(More { update: Some(update), ..More::default() });
        InstanceSpec { more, ..spec(which, is_bad) }
    };
    let mut world = world(&held("good", false));
    declare(&mut world, &held("bad", true));
    run(&mut world, 600);
    assert_eq!(running(&world)[&0], ["bad"]);
    assert_eq!(
        (&*running(&world)[&1], &*running(&world)[&2]),
        (&["good".to_owned()][..], &["good".to_owned()][..])
    );
    assert_eq!(outcomes(&world), [(1, "good"), (2, "failed")]);
    let report = world.engine.report();
    let is_stopped = |reason: &Reason| matches!(reason, Reason::RolloutFailed { .. });
    assert_eq!(report.notes.iter().filter(|note| is_stopped(&note.reason)).count(), 2);
    declare(&mut world, &held("better", false));
    run(&mut world, 60);
    assert!(all_run(&world, "better", 3), "{:?}", running(&world));
}

#[test]
fn the_first_revision_has_nothing_to_go_back_to() {
    let mut world = World::new(&["n1"]);
    declare(&mut world, &spec("bad", true));
    run(&mut world, 60);
    assert_eq!(outcomes(&world), [(1, "failed")]);
    assert_eq!(running(&world).len(), 3);
    let refused = ask(&mut world, &Ask::Undo { to: None }).unwrap_err();
    assert!(refused.message.contains("no earlier good revision"), "{refused:?}");
}

#[test]
fn a_job_that_fails_in_a_new_revision_is_not_gone_back_from() {
    let job = |which: &str| {
        let spec = InstanceSpec { replicas: 1, health: None, ..spec(which, false) };
        InstanceSpec { restart: Restart::Never, ..spec }
    };
    let mut world = world(&job("good"));
    let end = |world: &mut World, code| {
        let (id, _) = world.nodes[&n1()].containers.iter().next().unwrap();
        let id = id.clone();
        world.disturb(&n1(), |now, engine| engine.end(now, &id, code));
        run(world, 60);
    };
    end(&mut world, 0);
    declare(&mut world, &job("bad"));
    run(&mut world, 1);
    end(&mut world, 3);
    // The one before has completed, and nobody asked for it to run once more.
    assert_eq!(outcomes(&world), [(1, "good"), (2, "failed")]);
    let found = world.nodes[&n1()].containers.values().next().unwrap();
    assert_eq!(found.config.env["WHICH"], "bad");
    settled_for(&mut world, 600);
}

#[test]
fn a_tag_that_moved_does_not_keep_it_from_going_back() {
    let mut world = world(&spec("good", false));
    let before = world.nodes[&n1()].containers.values().next().unwrap().image.clone();
    let registry = &mut world.nodes.get_mut(&n1()).unwrap().registry;
    registry.insert("web:1".to_owned(), "another content".to_owned());
    let mut bad = spec("bad", true);
    bad.image = instance("web:2").image;
    declare(&mut world, &bad);
    run(&mut world, 60);
    assert!(all_run(&world, "good", 3), "{:?}", running(&world));
    let images: Vec<_> =
        world.nodes[&n1()].containers.values().map(|found| found.image.clone()).collect();
    assert_eq!(images, vec![before; 3]);
}

#[test]
fn an_operator_goes_back_and_forth() {
    let mut world = world(&spec("one", false));
    declare(&mut world, &spec("two", false));
    run(&mut world, 60);
    ask(&mut world, &Ask::Undo { to: None }).unwrap();
    run(&mut world, 60);
    assert!(all_run(&world, "one", 3), "{:?}", running(&world));
    assert_eq!(outcomes(&world), [(1, "good"), (2, "undone")]);
    let is_undone = |reason: &Reason| matches!(reason, Reason::Undone { .. });
    assert!(world.engine.report().notes.iter().all(|note| is_undone(&note.reason)));
    settled_for(&mut world, 100);
    let refused = ask(&mut world, &Ask::Undo { to: None }).unwrap_err();
    assert_eq!(refused.help.as_deref(), Some("name the revision that you want: --to N"));
    assert!(ask(&mut world, &Ask::Undo { to: Some(9) }).is_err());
    ask(&mut world, &Ask::Undo { to: Some(2) }).unwrap();
    run(&mut world, 60);
    assert!(all_run(&world, "two", 3), "{:?}", running(&world));
    assert!(world.engine.snapshot().records.rollouts.is_empty());
    // It holds until the spec changes.
    ask(&mut world, &Ask::Undo { to: Some(1) }).unwrap();
    run(&mut world, 60);
    declare(&mut world, &spec("three", false));
    run(&mut world, 60);
    assert!(all_run(&world, "three", 3), "{:?}", running(&world));
    assert!(world.engine.snapshot().records.rollouts.is_empty());
    assert_eq!(outcomes(&world), [(1, "good"), (2, "undone"), (3, "good")]);
}

#[test]
fn what_came_before_it_was_kept_cannot_be_gone_back_to() {
    let mut world = world(&spec("one", false));
    declare(&mut world, &spec("two", false));
    run(&mut world, 60);
    let mut snapshot = world.engine.snapshot().clone();
    snapshot.records.kept.clear();
    let ask = Ask::Undo { to: Some(1) };
    let refused = answer(&snapshot, &key(), &ask, "ops@n1").unwrap_err();
    assert!(refused.message.contains("rolled out by an earlier windlass"), "{refused:?}");
}

#[test]
fn a_paused_rollout_waits_and_all_else_goes_on() {
    let mut world = world(&spec("one", false));
    ask(&mut world, &Ask::Pause).unwrap();
    declare(&mut world, &spec("two", false));
    run(&mut world, 60);
    assert!(all_run(&world, "one", 3), "{:?}", running(&world));
    // What is killed is started again.
    let (id, _) = world.nodes[&n1()].containers.iter().next().unwrap();
    let id = id.clone();
    world.disturb(&n1(), |now, engine| engine.end(now, &id, 1));
    run(&mut world, 60);
    assert!(all_run(&world, "one", 3), "{:?}", running(&world));
    settled_for(&mut world, 100);
    assert!(ask(&mut world, &Ask::Undo { to: None }).is_err());
    ask(&mut world, &Ask::Resume).unwrap();
    run(&mut world, 60);
    assert!(all_run(&world, "two", 3), "{:?}", running(&world));
}

#[test]
fn a_restart_gives_each_replica_a_new_container_whenever_it_is_killed() {
    for effects in 0..100 {
        let mut world = world(&spec("one", false));
        world.dies_after = Some(effects);
        ask(&mut world, &Ask::Restart).unwrap();
        run(&mut world, 60);
        let asked = world.journal.iter();
        let asked = asked.filter(|stamped| matches!(stamped.entry, Entry::RestartAsked { .. }));
        if asked.count() == 0 {
            // It was not on record yet: whoever asked was told nothing.
            continue;
        }
        assert!(all_run(&world, "one", 3), "{effects}: {:?}", running(&world));
        for found in world.nodes[&n1()].containers.values() {
            assert_eq!(found.identity.incarnation, 2, "{effects}");
        }
        assert!(world.engine.snapshot().records.rollouts.is_empty(), "{effects}");
        settled_for(&mut world, 100);
    }
}

#[test]
fn a_restart_runs_a_completed_job_again() {
    let spec = InstanceSpec { replicas: 1, health: None, ..spec("one", false) };
    let mut world = world(&InstanceSpec { restart: Restart::OnFailure, ..spec });
    let (id, _) = world.nodes[&n1()].containers.iter().next().unwrap();
    let id = id.clone();
    world.disturb(&n1(), |now, engine| engine.end(now, &id, 0));
    run(&mut world, 60);
    assert!(running(&world).is_empty());
    ask(&mut world, &Ask::Restart).unwrap();
    run(&mut world, 60);
    assert!(all_run(&world, "one", 1), "{:?}", running(&world));
}

#[test]
fn what_is_kept_is_nowhere_shown() {
    let mut world = world(&spec("s3cret", false));
    declare(&mut world, &spec("two", false));
    run(&mut world, 60);
    ask(&mut world, &Ask::Undo { to: None }).unwrap();
    run(&mut world, 60);
    let snapshot = world.engine.snapshot();
    assert!(snapshot.records.kept[&key()].values().any(|kept| kept.text.contains("s3cret")));
    assert!(!format!("{:?}", snapshot.records.kept).contains("s3cret"));
    let status = status::instance(snapshot, world.engine.report(), &key()).unwrap();
    assert!(!serde_json::to_string(&status).unwrap().contains("s3cret"));
    assert!(!format!("{:?}{:?}", world.engine.plan(), world.engine.report()).contains("s3cret"));
}

#[test]
fn what_is_no_longer_there_keeps_it_from_going_back() {
    let local = |digest: &str| {
        let local = LocalFile { path: "a.conf".to_owned(), digest: digest.to_owned() };
        let content = Content::File(local);
        FileSpec { path: "/etc/a.conf".to_owned(), content, mode: 0o644, uid: 0, gid: 0 }
    };
    let with = |which, is_bad, digest| {
        let more = Sparse::new(More { files: vec![local(digest)], ..More::default() });
        InstanceSpec { more, ..spec(which, is_bad) }
    };
    let mut world = world(&with("good", false, "sha256:one"));
    declare(&mut world, &with("bad", true, "sha256:two"));
    run(&mut world, 60);
    let record = &world.engine.snapshot().records.instances[&key()];
    let Outcome::Failed { why, .. } = &record.history[1].outcome else { panic!("{record:?}") };
    assert!(why.ends_with("its file a.conf has another content by now"), "{why}");
    let refused = ask(&mut world, &Ask::Undo { to: Some(1) }).unwrap_err();
    assert!(refused.message.ends_with("its file a.conf has another content by now"), "{refused:?}");
    // With the same content it can.
    declare(&mut world, &with("bad", true, "sha256:one"));
    run(&mut world, 60);
    assert!(all_run(&world, "good", 3), "{:?}", running(&world));
}

#[test]
fn one_that_was_never_in_the_good_revision_comes_to_it_too() {
    let mut world = World::new(&["n1", "n2"]);
    declare(&mut world, &InstanceSpec { replicas: 1, ..spec("good", false) });
    run(&mut world, 60);
    world.actions.clear();
    declare(&mut world, &InstanceSpec { replicas: 2, ..spec("bad", true) });
    run(&mut world, 60);
    let all: Vec<_> = world.nodes.values().flat_map(|engine| engine.containers.values()).collect();
    assert_eq!(all.len(), 2);
    for found in all {
        assert_eq!(found.config.env["WHICH"], "good", "{:#?}", world.actions);
    }
    settled_for(&mut world, 600);
}
