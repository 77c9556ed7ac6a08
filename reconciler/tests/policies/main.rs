//! Policies that are bound, in a world of memory: what they keep from coming, and what they leave alone.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod act;
mod seen;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reconciler::engine::{Event, PolicyReading};
use reconciler::model::desired::{Declared, DesiredSet, Source, Spec};
use reconciler::model::ids::Key;
use reconciler::model::policies::{Origin, PolicySource, PolicySources, PolicyStanding};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::InstanceSpec;
use reconciler::model::spec::policy::{
    Bound, Level, Levels, PolicyBindingSpec, Select, WaiverSpec,
};
use reconciler::policy::Policies;
use reconciler::policy::library::Library;
use reconciler::report::Reason;
use reconciler::status;
use reconciler::testing::{World, instance};

const SMALL: &str = "// @id SMALL @version 1.0.0 @title few replicas @level hard\n\
                     // @match kinds=Instance\n\
                     fn check(o) { require(o.replicas < 3, \"too many replicas\").at(\"spec.replicas\"); }\n";

const BROKEN: &str = "// @id SMALL @version 1.0.1 @title few replicas @level hard\n\
                      // @match kinds=Instance\n\
                      fn check(o) { require(o.replicas < \"3\", \"too many replicas\"); }\n";

fn policies(text: &str) -> Event {
    all_of(&[text])
}

fn all_of(texts: &[&str]) -> Event {
    let source = |(at, text): (usize, &&str)| {
        PolicySource::new(Origin::Own, &format!("{at}/policy.rhai"), text)
    };
    let policies = texts.iter().enumerate().map(source).collect();
    let sources = PolicySources { policies, profiles: BTreeMap::new() };
    let library = Library::new(&sources).unwrap();
    Event::Policies(Box::new(PolicyReading {
        policies: Some(Arc::new(Policies::of(Arc::new(library)))),
        standing: PolicyStanding { count: 1, digest: Some(sources.digest()), broken: None },
        texts: BTreeMap::new(),
    }))
}

fn declared<S: Spec>(spec: S) -> Declared<S> {
    Declared::new(spec, Source { file: Arc::from("set.yaml"), line: 1, column: 1 })
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn web(replicas: u32) -> InstanceSpec {
    InstanceSpec { replicas, ..instance("web:1") }
}

fn set(level: Level, instances: &[(&str, InstanceSpec)]) -> DesiredSet {
    let mut desired = DesiredSet::default();
    for (name, spec) in instances {
        desired.instances.insert(key(name), declared(spec.clone()));
    }
    bind(&mut desired, "SMALL", level);
    desired
}

fn bind(desired: &mut DesiredSet, policy: &str, level: Level) {
    let binding = PolicyBindingSpec {
        bound: Bound::Policy(policy.parse().unwrap()),
        level: Some(level),
        levels: Levels::default(),
        params: BTreeMap::new(),
        matches: Sparse::default(),
    };
    let name = format!("shop/{}", policy.to_lowercase());
    desired.bindings.insert(key(&name), declared(binding));
}

fn waiver(approver: Option<&str>, expires: &str) -> WaiverSpec {
    WaiverSpec {
        policy: "SMALL".parse().unwrap(),
        select: Select { name: Some("web".parse().unwrap()), ..Select::default() },
        reason: "a busy week".to_owned(),
        ticket: None,
        approver: approver.map(str::to_owned),
        expires: expires.parse().unwrap(),
    }
}

fn denied(world: &World) -> Option<String> {
    let notes = &world.engine.report().notes;
    notes.iter().find_map(|note| {
        let Reason::Denied { policy, message } = &note.reason else { return None };
        Some(format!("{policy}: {message}"))
    })
}

fn running(world: &World, instance: &str) -> usize {
    world.engine.snapshot().containers.keys().filter(|at| at.instance == key(instance)).count()
}

/// What the status of an instance says of policies.
fn compliant(world: &World, instance: &str) -> Option<(String, String)> {
    let (snapshot, report) = (world.engine.snapshot(), world.engine.report());
    let status = status::instance(snapshot, report, &key(instance)).unwrap();
    let found = status.conditions.into_iter().find(|one| one.kind == "Compliant")?;
    Some((format!("{:?}", found.status), found.message))
}

#[test]
fn what_is_denied_does_not_come_and_what_runs_runs_on() {
    let mut world = World::new(&["n1"]);
    world.send(policies(SMALL));
    world.declare_set(set(Level::Hard, &[("shop/web", web(2)), ("shop/big", web(3))]));
    world.run().unwrap();
    assert_eq!((running(&world, "shop/web"), running(&world, "shop/big")), (2, 0));
    assert_eq!(denied(&world).as_deref(), Some("SMALL: too many replicas (spec.replicas)"));
    // One that was there before it was denied: told, and left alone, also where one is lost.
    world.declare_set(set(Level::Warn, &[("shop/web", web(2)), ("shop/big", web(3))]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/big"), 3);
    let said = compliant(&world, "shop/big").unwrap();
    assert!(said.0 == "False" && said.1.contains("SMALL (warn, by shop/small)"), "{said:?}");
    world.declare_set(set(Level::Hard, &[("shop/web", web(2)), ("shop/big", web(3))]));
    world.run().unwrap();
    assert_eq!((running(&world, "shop/big"), denied(&world)), (3, None));
    world.disturb(&"n1".parse().unwrap(), |_, engine| {
        let lost = engine.containers.iter().find(|(_, one)| one.name.contains("big"));
        let lost = lost.map(|(id, _)| id.clone()).unwrap();
        engine.containers.remove(&lost);
    });
    world.run_for(Duration::from_secs(90)).unwrap();
    assert_eq!(running(&world, "shop/big"), 3);
    // Another revision of it is new, and does not come.
    let mut changed = web(3);
    changed.env.insert("N".to_owned(), "1".to_owned());
    world.actions.clear();
    world.declare_set(set(Level::Hard, &[("shop/web", web(2)), ("shop/big", changed)]));
    world.run().unwrap();
    assert!(denied(&world).is_some());
    assert!(world.actions.is_empty(), "{:?}", world.actions);
    assert_eq!(compliant(&world, "shop/web"), None);
}

#[test]
fn a_waiver_lets_pass_until_it_is_over() {
    let mut world = World::new(&["n1"]);
    world.send(policies(SMALL));
    let mut desired = set(Level::Hard, &[("shop/web", web(3))]);
    desired.waivers.insert(key("shop/busy"), declared(waiver(None, "2100-01-01")));
    world.declare_set(desired.clone());
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 0, "hard findings need somebody who approves");
    desired.waivers.insert(key("shop/busy"), declared(waiver(Some("sec"), "2100-01-01")));
    world.declare_set(desired.clone());
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 3);
    let said = compliant(&world, "shop/web").unwrap();
    assert!(said.0 == "True" && said.1.contains("waived by shop/busy"), "{said:?}");
    desired.waivers.insert(key("shop/busy"), declared(waiver(Some("sec"), "1970-01-01")));
    let mut changed = web(3);
    changed.env.insert("N".to_owned(), "1".to_owned());
    desired.instances.insert(key("shop/web"), declared(changed));
    world.actions.clear();
    world.declare_set(desired);
    world.run().unwrap();
    assert!(denied(&world).is_some() && world.actions.is_empty(), "{:?}", world.actions);
    assert_eq!(running(&world, "shop/web"), 3);
}

#[test]
fn what_gives_no_verdict_denies() {
    let mut world = World::new(&["n1"]);
    // A binding, and nobody has read policies.
    world.declare_set(set(Level::Hard, &[("shop/web", web(1))]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 0);
    assert!(denied(&world).unwrap().contains("no policies are loaded"));
    // One that errs.
    world.send(policies(BROKEN));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 0);
    assert!(denied(&world).unwrap().contains("no verdict"), "{:?}", denied(&world));
    world.send(policies(SMALL));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 1);
    // One that is not there.
    let mut desired = set(Level::Hard, &[("shop/web", web(1)), ("shop/db", web(1))]);
    let binding = desired.bindings.get_mut(&key("shop/small")).unwrap();
    let mut spec = (*binding.spec).clone();
    spec.bound = Bound::Policy("MISSING".parse().unwrap());
    *binding = declared(spec);
    world.declare_set(desired);
    world.run().unwrap();
    assert_eq!((running(&world, "shop/web"), running(&world, "shop/db")), (1, 0));
}
