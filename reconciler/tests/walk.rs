//! The loop in a world of memory: what it does from the first declaration to the last removal.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reconciler::engine::{Event, Operator, PolicyReading};
use reconciler::model::desired::BrokenFile;
use reconciler::model::ids::Digest;
use reconciler::model::policies::PolicyStanding;
use reconciler::model::quantity::Bytes;
use reconciler::model::spec::{Power, Restart};
use reconciler::model::suspend::Target;
use reconciler::policy::{Policies, Policy, Subject, Verdict};
use reconciler::report::Reason;
use reconciler::saved::{Made, SavedPlan};
use reconciler::testing::{World, instance};

fn settled(world: &mut World) {
    world.run().unwrap();
    assert!(world.engine.is_settled(), "{}\n{:?}", world.engine.plan(), world.engine.report());
    assert_eq!(world.engine.degraded(), None);
}

#[test]
fn declared_runs_changed_is_replaced_gone_is_removed() {
    let mut world = World::new(&["n1"]);
    let mut web = instance("web:1");
    web.replicas = 2;
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    let done = std::mem::take(&mut world.actions);
    assert_eq!(
        done,
        [
            "n1: pull image image web:1",
            "n1: create network network of project shop",
            "n1: create shop/web/0",
            "n1: create shop/web/1",
            "n1: start shop/web/0",
            "n1: start shop/web/1"
        ]
    );

    // Nothing changed: nothing is done, also after a restart.
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    world.restart();
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    assert!(world.actions.is_empty(), "{:?}", world.actions);

    // Limits change in place.
    web.resources.memory = Some(Bytes(64 << 20));
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    let done = std::mem::take(&mut world.actions);
    assert_eq!(done, ["n1: update shop/web/0", "n1: update shop/web/1"]);

    // Another image needs another container; the new one is there before the old one goes.
    web.image = instance("web:2").image;
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    let done: Vec<String> = std::mem::take(&mut world.actions)
        .into_iter()
        .filter(|line| line.ends_with("web/0") || line.contains("image"))
        .collect();
    assert_eq!(
        done,
        [
            "n1: pull image image web:2",
            "n1: create shop/web/0",
            "n1: stop shop/web/0",
            "n1: start shop/web/0",
            "n1: remove shop/web/0"
        ]
    );

    web.power = Power::Stopped;
    web.replicas = 1;
    world.declare(&[("shop/web", web)]);
    settled(&mut world);
    let mut done = std::mem::take(&mut world.actions);
    done.sort();
    assert_eq!(done, ["n1: remove shop/web/1", "n1: stop shop/web/0", "n1: stop shop/web/1"]);

    world.declare(&[("shop/other", instance("web:1"))]);
    settled(&mut world);
    let engine = world.nodes.values().next().unwrap();
    let names: Vec<&str> = engine.containers.values().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["shop.other.0.1"]);
}

#[test]
fn what_ends_is_started_again_at_once_and_then_ever_later() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", instance("web:1"))]);
    settled(&mut world);
    for round in 0..8 {
        let node = world.nodes.values_mut().next().unwrap();
        let id = node.containers.keys().next().unwrap().clone();
        node.end(world.now, &id, 1);
        world.actions.clear();
        let node = world.nodes.keys().next().unwrap().clone();
        let event = reconciler::ports::NodeEvent::Container { id, replica: None };
        world.send(Event::Hint { node, event });
        world.run().unwrap();
        if round == 0 {
            assert_eq!(world.actions, ["n1: restart default/web/0"]);
        }
        let before = world.now;
        while world.actions.is_empty() {
            world.now = world.now.max(world.wake_at.take().unwrap());
            world.send(Event::Wake);
            world.run().unwrap();
        }
        assert_eq!(world.actions, ["n1: restart default/web/0"]);
        assert!(world.now.since(before) <= Duration::from_secs(301));
    }
}

#[test]
fn a_job_completes_once() {
    let mut world = World::new(&["n1"]);
    let mut job = instance("job:1");
    job.restart = Restart::Never;
    world.declare(&[("job", job.clone())]);
    settled(&mut world);
    let node = world.nodes.values_mut().next().unwrap();
    let id = node.containers.keys().next().unwrap().clone();
    node.end(world.now, &id, 0);
    world.actions.clear();
    world.restart();
    world.declare(&[("job", job.clone())]);
    settled(&mut world);
    assert!(world.actions.is_empty());
    assert_eq!(world.engine.report().notes[0].reason, Reason::Completed);
    // Its container goes: it stays completed.
    world.nodes.values_mut().next().unwrap().containers.clear();
    world.restart();
    world.declare(&[("job", job)]);
    settled(&mut world);
    assert!(world.actions.is_empty());
}

#[test]
fn mass_removal_waits_for_approval() {
    let mut world = World::new(&["n1"]);
    let names: Vec<String> = (0..10).map(|n| format!("shop/web{n}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), instance("web:1"))).collect();
    world.declare(&all);
    settled(&mut world);
    world.run_for(Duration::from_secs(30)).unwrap();
    world.actions.clear();
    world.declare(&all[..2]);
    settled(&mut world);
    assert!(world.actions.is_empty(), "{:?}", world.actions);
    let held = world.engine.report().held.clone().unwrap();
    assert_eq!(held.objects.len(), 8);
    // A restart forgets nothing of it.
    world.restart();
    world.declare(&all[..2]);
    settled(&mut world);
    assert_eq!(world.engine.report().held.as_ref().unwrap().digest, held.digest);
    let digest = held.digest.short().to_owned();
    let approve = Operator::Approve { digest };
    world.send(Event::Operator(approve));
    settled(&mut world);
    assert_eq!(world.nodes.values().next().unwrap().containers.len(), 2);
    // An empty directory removes nothing at all.
    world.run_for(Duration::from_secs(30)).unwrap();
    world.declare(&[]);
    settled(&mut world);
    assert_eq!(world.nodes.values().next().unwrap().containers.len(), 2);
}

fn save(world: &World) -> Box<SavedPlan> {
    let (by, windlass, specs) = (String::new(), String::new(), "/specs".to_owned());
    let made = Made { at: world.now, by, windlass, specs };
    Box::new(world.engine.save_plan(made, "salt".to_owned(), false))
}

#[test]
fn a_bound_loop_stops_where_the_specs_change_or_a_step_is_not_listed() {
    let mut world = World::new(&["n1"]);
    let web = instance("web:1");
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    world.actions.clear();

    // The same verbs, and another declaration than the plan was made for.
    let mut second = web.clone();
    second.env.insert("MODE".to_owned(), "second".to_owned());
    let nothing = save(&world);
    world.send(Event::Operator(Operator::Bind(nothing.clone())));
    world.declare(&[("shop/web", second.clone())]);
    world.run().unwrap();
    let replacement = save(&world);
    world.send(Event::Operator(Operator::Bind(replacement)));
    second.env.insert("MODE".to_owned(), "third".to_owned());
    world.declare(&[("shop/web", second.clone())]);
    world.run().unwrap();
    let why = world.engine.stopped().unwrap();
    assert!(why.contains("changed under way: Instance shop/web"), "{why}");
    assert!(world.actions.is_empty(), "{:?}", world.actions);

    // Released, the loop goes on as it would have.
    world.send(Event::Operator(Operator::Release));
    settled(&mut world);
    let done = std::mem::take(&mut world.actions);
    assert_eq!(done.len(), 4, "{done:?}");

    // A step that the plan does not list.
    let nothing = save(&world);
    assert!(nothing.steps.is_empty());
    world.send(Event::Operator(Operator::Bind(nothing)));
    let node = world.nodes.keys().next().unwrap().clone();
    world.disturb(&node, |now, engine| {
        let id = engine.containers.keys().next().unwrap().clone();
        engine.end(now, &id, 1);
    });
    world.run().unwrap();
    let why = world.engine.stopped().unwrap();
    assert!(why.contains("shop/web/0: restart on n1 (ended with exit code 1)"), "{why}");
    assert!(world.actions.is_empty(), "{:?}", world.actions);
}

#[test]
fn what_is_suspended_comes_to_the_end_of_its_row_and_no_further() {
    let mut world = World::new(&["n1"]);
    let mut web = instance("web:1");
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    world.actions.clear();
    web.env.insert("MODE".to_owned(), "second".to_owned());
    world.declare(&[("shop/web", web.clone())]);
    while world.actions.is_empty() {
        assert!(world.step());
    }
    let targets = vec![Target::Instance("shop/web".parse().unwrap())];
    let (by, why) = ("ops@n1".to_owned(), None);
    let suspend = Operator::Suspend { targets: targets.clone(), by, why };
    world.send(Event::Operator(suspend));
    settled(&mut world);
    let done = std::mem::take(&mut world.actions);
    assert_eq!(done.len(), 4, "a replacement was cut in two: {done:?}");
    // Also through a restart, and when it is no longer declared.
    world.restart();
    world.declare(&[("shop/other", instance("web:1"))]);
    settled(&mut world);
    assert!(!world.actions.iter().any(|action| action.contains("web")), "{:?}", world.actions);
    world.actions.clear();
    world.send(Event::Operator(Operator::Resume { targets }));
    settled(&mut world);
    assert_eq!(world.actions, ["n1: stop shop/web/0", "n1: remove shop/web/0"]);
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

/// Refuses new revisions.
struct Nothing;

impl Policy for Nothing {
    fn judge(&self, subject: &Subject<'_>) -> Verdict {
        if !matches!(subject, Subject::Revision { .. }) {
            return Verdict::Allow;
        }
        Verdict::Deny { policy: "NOTHING".to_owned(), message: "not now".to_owned() }
    }
}

fn read(policies: Option<Policies>, what: &str, broken: Option<BrokenFile>) -> Event {
    let text: Option<Arc<str>> = policies.is_some().then(|| what.into());
    let texts = text.map(|text| (Arc::from("/policies/a/policy.rhai"), Some(text)));
    Event::Policies(Box::new(PolicyReading {
        policies: policies.map(Arc::new),
        standing: PolicyStanding { count: 1, digest: Some(Digest::of(what.as_bytes())), broken },
        texts: texts.into_iter().collect::<BTreeMap<_, _>>(),
    }))
}

#[test]
fn policies_change_while_it_runs() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("shop/web", instance("web:1"))]);
    settled(&mut world);
    world.actions.clear();
    // What runs is left alone by stricter policies; what is new is held to them.
    world.send(read(Some(Policies::new(vec![Box::new(Nothing)])), "strict", None));
    settled(&mut world);
    assert!(world.actions.is_empty(), "{:?}", world.actions);
    world.declare(&[("shop/web", instance("web:1")), ("shop/db", instance("web:2"))]);
    world.run().unwrap();
    let denied = |world: &World| {
        let notes = &world.engine.report().notes;
        notes.iter().any(|note| matches!(note.reason, Reason::Denied { .. }))
    };
    assert!(denied(&world), "{:?}", world.engine.report());
    // A set that is rejected changes nothing but how policies stand.
    let broken = BrokenFile { errors: 1, first: "a: it is broken".to_owned(), last_good: true };
    world.send(read(None, "strict", Some(broken.clone())));
    world.run().unwrap();
    assert!(denied(&world), "{:?}", world.engine.report());
    assert_eq!(world.engine.snapshot().policies.broken, Some(broken));
    world.send(read(Some(Policies::allow_all()), "lax", None));
    settled(&mut world);
    assert!(world.actions.contains(&"n1: start shop/db/0".to_owned()), "{:?}", world.actions);
    // A restart finds the texts that were in force last.
    world.restart();
    let texts = &world.engine.snapshot().records.texts;
    assert_eq!(texts.get("/policies/a/policy.rhai").map(|text| &**text), Some("lax"));
}
