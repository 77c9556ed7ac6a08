//! What a saved plan lists, what it keeps to itself, and which changes it notices.

use super::*;
use crate::engine::{Engine, Event};
use crate::foresee::foresee;
use crate::model::desired::{DesiredSet, RootIdentity, RootState, Source};
use crate::model::ids::{ContainerId, Key};
use crate::model::sparse::Sparse;
use crate::model::spec::policy::{Bound, Level, Levels, ObjectKind, Select};
use crate::model::spec::{Endpoint, InstanceSpec, NodeSpec, PolicyBindingSpec, WaiverSpec};
use crate::plan::plan;
use crate::policy::Policies;
use crate::testing;
use std::sync::Arc;

const SECRET: &str = "hunter2-of-the-test";

fn source() -> Source {
    Source { file: Arc::from("web.yaml"), line: 3, column: 1 }
}

fn key() -> Key {
    "shop/web".parse().unwrap()
}

fn set(change: impl Fn(&mut InstanceSpec)) -> DesiredSet {
    let mut spec = testing::instance("web:1");
    spec.replicas = 2;
    spec.env.insert("TOKEN".to_owned(), SECRET.to_owned());
    change(&mut spec);
    let mut desired = DesiredSet::default();
    desired.instances.insert(key(), Declared::new(spec, source()));
    let node = NodeSpec::at(Endpoint::Unix("/n1".to_owned()));
    desired.nodes.insert(Name::new("n1").unwrap(), Declared::new(node, source()));
    desired
}

/// A world in which nothing is there yet, on a node that holds no image.
fn fresh() -> Snapshot {
    let mut snapshot =
        Snapshot { now: Timestamp(1_000_000), desired: set(|_| {}), ..Snapshot::default() };
    snapshot.records.owner = Some(OwnerId("0011".to_owned()));
    let identity = RootIdentity { path: "/specs".to_owned(), device: 1 };
    snapshot.root = RootState::Present { identity, empty: false };
    let seen = crate::model::observed::ObservedNode {
        reach: Reach::Reachable,
        ..crate::model::observed::ObservedNode::default()
    };
    snapshot.nodes.insert(Name::new("n1").unwrap(), seen);
    snapshot
}

fn save(snapshot: &Snapshot) -> SavedPlan {
    let policies = Policies::allow_all();
    let made = Made {
        at: snapshot.now,
        by: "ops@n1".to_owned(),
        windlass: "0".to_owned(),
        specs: "/specs".to_owned(),
    };
    let (first, _) = plan(snapshot, &policies);
    let steps = foresee(snapshot, &policies);
    SavedPlan::new(snapshot, &first, steps, made, "salt".to_owned(), false)
}

fn since(saved: &SavedPlan, snapshot: &Snapshot) -> Vec<String> {
    saved.changes_since(snapshot, &plan(snapshot, &Policies::allow_all()).0)
}

fn verbs(saved: &SavedPlan) -> Vec<String> {
    saved.steps.iter().map(|step| format!("{} {}", step.verb, step.object)).collect()
}

#[test]
fn steps_of_later_rounds_are_listed_and_no_value_is() {
    let saved = save(&fresh());
    // The image comes in one round, the containers in the next.
    assert_eq!(
        verbs(&saved),
        [
            "pull image image web:1",
            "create network network of project shop",
            "create shop/web/0",
            "start shop/web/0",
            "create shop/web/1",
            "start shop/web/1"
        ]
    );
    let text = serde_json::to_string(&saved).unwrap();
    assert!(!text.contains(SECRET) && !text.contains("0011"), "{text}");
    let again: SavedPlan = serde_json::from_str(&text).unwrap();
    assert_eq!(again, saved);
    // A guess cannot be checked without the owner's id.
    let spec = set(|_| {}).instances[&key()].digest.clone();
    assert!(!text.contains(&*spec.0), "{text}");
}

#[test]
fn each_change_is_named() {
    let before = fresh();
    let saved = save(&before);
    assert_eq!(since(&saved, &before), Vec::<String>::new());
    let mut later = before.clone();
    later.now = Timestamp(9_000_000);
    assert_eq!(since(&saved, &later), Vec::<String>::new(), "time alone changes nothing");

    let mut edited = before.clone();
    edited.desired = set(|spec| drop(spec.env.insert("TOKEN".to_owned(), "other".to_owned())));
    assert_eq!(
        since(&saved, &edited),
        ["Instance shop/web is declared otherwise now (web.yaml:3)"]
    );

    let mut gone = before.clone();
    gone.desired.instances.clear();
    assert_eq!(
        since(&saved, &gone),
        ["Instance shop/web is no longer declared (it was in web.yaml:3)"]
    );

    let mut down = before.clone();
    down.nodes.get_mut(&Name::new("n1").unwrap()).unwrap().reach = Reach::Unseen;
    assert_eq!(since(&saved, &down), ["node n1: was answering, is not answering"]);

    let mut other = before.clone();
    other.records.owner = Some(OwnerId("2233".to_owned()));
    assert_eq!(since(&saved, &other), ["it was made for another state directory"]);

    let mut worked = before;
    let replica = crate::model::ids::ReplicaKey::new(key(), 0);
    let node = Name::new("n1").unwrap();
    worked.records.apply(Timestamp(1), &Entry::Placed { replica, node });
    let found = since(&saved, &worked);
    assert_eq!(found, ["the record of instance shop/web is new: windlass worked meanwhile"]);
}

#[test]
fn what_verdicts_go_by_is_part_of_it() {
    let binding = |level| PolicyBindingSpec {
        bound: Bound::Profile("baseline".parse().unwrap()),
        level,
        levels: Levels::default(),
        params: BTreeMap::new(),
        matches: Sparse::default(),
    };
    let mut before = fresh();
    let declared = Declared::new(binding(None), source());
    before.desired.bindings.insert("shop/base".parse().unwrap(), declared);
    before.policies.digest = Some(Digest::of(b"one"));
    let saved = save(&before);
    assert_eq!(since(&saved, &before), Vec::<String>::new());

    let mut laxer = before.clone();
    let declared = Declared::new(binding(Some(Level::Off)), source());
    laxer.desired.bindings.insert("shop/base".parse().unwrap(), declared);
    assert_eq!(
        since(&saved, &laxer),
        ["PolicyBinding shop/base is declared otherwise now (web.yaml:3)"]
    );

    let mut waived = before.clone();
    let waiver = WaiverSpec {
        policy: "CIS-5.5".parse().unwrap(),
        select: Select { kind: Some(ObjectKind::Instance), ..Select::default() },
        reason: "tracing".to_owned(),
        ticket: None,
        approver: None,
        expires: "2027-01-31".parse().unwrap(),
    };
    let declared = Declared::new(waiver, source());
    waived.desired.waivers.insert("shop/debug".parse().unwrap(), declared);
    assert_eq!(since(&saved, &waived), ["Waiver shop/debug is newly declared (web.yaml:3)"]);

    let mut other = before;
    other.policies.digest = Some(Digest::of(b"two"));
    assert_eq!(since(&saved, &other), ["the policies are others now"]);
}

#[test]
fn a_plan_for_a_new_state_directory_waits_for_no_owner() {
    let before = fresh();
    let mut first = save(&before);
    let (begun, _) = plan(&before, &Policies::allow_all());
    let (made, salt) = (first.made.clone(), first.salt.clone());
    first = SavedPlan::new(&before, &begun, first.steps, made, salt, true);
    let mut opened = before;
    opened.records.owner = Some(OwnerId("2233".to_owned()));
    let entry = Entry::Node {
        node: Name::new("n1").unwrap(),
        engine: "e".to_owned(),
        endpoint: "/n1".to_owned(),
        cgroup_root: "/windlass/n1-2233".to_owned(),
    };
    opened.records.apply(Timestamp(1), &entry);
    assert_eq!(since(&first, &opened), Vec::<String>::new());
    let target = crate::model::suspend::Target::Instance(key());
    let entry = Entry::Suspended { target, by: String::new(), why: None };
    opened.records.apply(Timestamp(1), &entry);
    assert_eq!(since(&first, &opened), ["shop/web was suspended"]);
}

#[test]
fn a_container_that_is_another_one_is_named() {
    let mut before = fresh();
    let replica = crate::model::ids::ReplicaKey::new(key(), 0);
    let node = Name::new("n1").unwrap();
    let container = crate::model::observed::ObservedContainer {
        name: "shop.web.0.1".to_owned(),
        identity: crate::model::observed::Identity {
            replica: replica.clone(),
            revision: crate::model::ids::Revision(Arc::from("old")),
            incarnation: 1,
            uid: "u".to_owned(),
        },
        state: ContainerState::Running { since: Timestamp(5) },
        health: crate::model::observed::HealthState::None,
        image: crate::model::ids::ImageId(Arc::from("i")),
        config: crate::model::observed::ContainerConfig::default(),
        address: None,
        addresses: Default::default(),
        created_at: Timestamp(5),
        masked_paths: None,
        shared_mounts: None,
        hosts_path: None,
        hosts: None,
    };
    let id = ContainerId(Arc::from("c1"));
    let located = crate::model::snapshot::Located { node, id, container };
    before.containers.insert(replica.clone(), vec![located]);
    let saved = save(&before);
    let with = |change: &dyn Fn(&mut crate::model::snapshot::Located)| {
        let mut world = before.clone();
        world.containers.get_mut(&replica).unwrap().iter_mut().for_each(change);
        since(&saved, &world)
    };
    // It was started again: its state is the same.
    let again = with(&|at| at.container.state = ContainerState::Running { since: Timestamp(7) });
    assert_eq!(again, Vec::<String>::new());
    let paused = with(&|at| at.container.state = ContainerState::Paused { since: Timestamp(7) });
    assert_eq!(paused, ["container shop.web.0.1 on n1: was running, is paused"]);
    let drifted = with(&|at| at.container.config.limits.memory = 7);
    assert_eq!(drifted, ["container shop.web.0.1 on n1 is another one, or was changed"]);
    let mut gone = before.clone();
    gone.containers.clear();
    assert_eq!(since(&saved, &gone), ["container shop.web.0.1 on n1 is gone"]);
}

#[test]
fn a_loop_that_waits_for_a_plan_begins_nothing() {
    let snapshot = fresh();
    let config = crate::model::snapshot::Config::default();
    let endpoint = Endpoint::Unix("/n1".to_owned());
    let mut engine =
        Engine::new(config, snapshot.records.clone(), 0, Policies::allow_all(), endpoint).waiting();
    let reading = crate::model::desired::SpecsReading {
        desired: snapshot.desired.clone(),
        root: snapshot.root,
        ..Default::default()
    };
    let _ = engine.handle(Timestamp(1), Event::Specs(Box::new(reading)));
    let effects = engine.handle(Timestamp(2), Event::Round);
    let runs = effects.iter().any(|effect| matches!(effect, crate::engine::Effect::Run { .. }));
    assert!(!runs && !engine.is_bound() && engine.stopped().is_none());
}

/// What version 1 looks like must stay readable: a change of this text is a new version.
const VERSION_1: &str = r#"{
    "windlassPlan": 1,
    "made": { "at": 1, "by": "ops@n1", "windlass": "0.1.0", "specs": "/specs" },
    "salt": "00ff",
    "state": "aa",
    "rests": {
        "specs": { "Instance shop/web": { "note": "web.yaml:3", "digest": "bb" } },
        "observed": { "node n1": { "note": "answering", "digest": "cc" } },
        "records": {}
    },
    "steps": [
        {
            "object": { "replica": { "instance": "shop/web", "ordinal": 0 } },
            "node": "n1", "verb": "remove", "forGood": true, "cause": "no longer declared"
        },
        {
            "object": { "volume": { "node": "n1", "volume": "shop/data" } },
            "node": "n1", "verb": "remove volume", "forGood": true, "cause": "no longer declared"
        }
    ]
}"#;

#[test]
fn version_1_stays_readable() {
    let read: SavedPlan = serde_json::from_str(VERSION_1).unwrap();
    let steps: Vec<String> = read.steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        steps,
        [
            "shop/web/0: remove on n1 (no longer declared)",
            "volume shop/data: remove volume on n1 (no longer declared)"
        ]
    );
    let written: serde_json::Value = serde_json::to_value(&read).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(VERSION_1).unwrap());
}
