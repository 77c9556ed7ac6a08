//! `plan()` of instances that have no node yet: what a round costs in which all of them are placed.

use std::hint::black_box;
use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet, Source};
use reconciler::model::ids::{Key, Name};
use reconciler::model::observed::{ObservedNode, Reach};
use reconciler::model::quantity::{Bytes, Cpus};
use reconciler::model::snapshot::Snapshot;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{Endpoint, More, NodeSpec, Placement, Room};
use reconciler::model::time::Timestamp;
use reconciler::plan::plan;
use reconciler::policy::Policies;
use reconciler::testing::{FakeEngine, instance};

use crate::lab::Lab;
use crate::planning::cpu_ms;
use crate::table::{Failure, Row};

/// Instances and nodes, and the goal in ms.
const INSTANCES: usize = 10_000;
const NODES: usize = 1_000;
const GOAL_MS: f64 = 200.0;

/// Runs, after those that do not count.
const RUNS: usize = 11;
const WARM_UP: usize = 2;

/// How the replicas ask to be placed.
const WAYS: [(&str, Option<&str>, bool); 4] = [
    ("anywhere", None, true),
    ("in one of ten zones", None, false),
    ("spread over zones", Some("zone"), true),
    ("spread over nodes", Some("node"), true),
];

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    let policies = Policies::allow_all();
    let mut rows = Vec::new();
    for (how, spread, anywhere) in WAYS {
        let snapshot = snapshot(spread, anywhere)?;
        let mut samples = Vec::with_capacity(RUNS);
        for run in 0..WARM_UP + RUNS {
            let began = cpu_ms();
            let (planned, report) = black_box(plan(black_box(&snapshot), &policies));
            let took = cpu_ms() - began;
            // One entry that declares an instance, and one that places it.
            if planned.decisions.len() < 2 * INSTANCES || report.counts.unknown > 0 {
                return Err(format!("{how}: not all were placed: {:?}", report.counts));
            }
            if run >= WARM_UP {
                samples.push(took);
            }
        }
        let what = format!("{INSTANCES} instances on {NODES} nodes, {how}");
        rows.push(Row::new("place", what, "ms", samples).at_most(GOAL_MS));
    }
    Ok(rows)
}

/// Nodes of three sizes in ten zones, and instances of four sizes that are on none of them.
pub(crate) fn snapshot(spread: Option<&str>, anywhere: bool) -> Result<Snapshot, Failure> {
    let mut desired = DesiredSet::default();
    let source = |what: &str| Source { file: Arc::from(what), line: 1, column: 1 };
    let named = |text: String| Name::new(&text).map_err(|error| format!("{text}: {error}"));
    let mut snapshot = Snapshot { now: Timestamp(1_700_000_000_000), ..Snapshot::default() };
    let engine = FakeEngine::new("bench");
    for number in 0..NODES {
        let name = named(format!("n{number}"))?;
        let size = 1 << (number % 3);
        let capacity = Room {
            cpus: Some(Cpus(8 * size * Cpus::NANO)),
            memory: Some(Bytes((16 * size) << 30)),
            ..Room::default()
        };
        let spec = NodeSpec { capacity, ..NodeSpec::at(Endpoint::Unix(format!("/{name}.sock"))) };
        let mut declared = Declared::new(spec, source("nodes.yaml"));
        declared.labels.insert("zone".to_owned(), format!("z{}", number % 10));
        desired.nodes.insert(name.clone(), declared);
        let info = engine.list().ok().map(|listing| listing.engine);
        let seen =
            ObservedNode { reach: Reach::Reachable, engine: info, ..ObservedNode::default() };
        snapshot.nodes.insert(name, seen);
    }
    for number in 0..INSTANCES {
        let key = Key::new(named(format!("p{}", number % 100))?, named(format!("web-{number}"))?);
        let mut spec = instance("web:1");
        spec.resources.memory = Some(Bytes((64 << (number % 4)) << 20));
        spec.resources.cpus = Some(Cpus(Cpus::NANO / 10));
        let mut placement = Placement { spread: spread.map(str::to_owned), ..Placement::default() };
        if !anywhere {
            placement.selector.insert("zone".to_owned(), format!("z{}", number % 10));
        }
        spec.more = Sparse::new(More { placement: Some(placement), ..More::default() });
        let file = source("set.yaml");
        desired.instances.insert(key, Declared::new(spec, file));
    }
    snapshot.desired = desired;
    Ok(snapshot)
}
