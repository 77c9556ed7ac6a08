//! Admission to quotas: what it costs a round that somebody asks in.

use std::hint::black_box;
use std::sync::Arc;

use reconciler::model::desired::{Declared, Source};
use reconciler::model::ids::{Name, ReplicaKey};
use reconciler::model::quantity::{Bytes, Cpus};
use reconciler::model::snapshot::Snapshot;
use reconciler::model::spec::{ProjectSpec, Quota};
use reconciler::quota::Admission;

use crate::lab::Lab;
use crate::placing;
use crate::planning::cpu_ms;
use crate::table::{Failure, Row};

/// Projects with a quota, ten in each project further out; and the goal in ms.
const PROJECTS: usize = 100;
const GOAL_MS: f64 = 20.0;

/// Runs, after those that do not count.
const RUNS: usize = 21;
const WARM_UP: usize = 3;

/// How much of what is asked for has room, in percent.
const WAYS: [(&str, u64); 2] = [("all find room", 100), ("half find none", 50)];

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (how, percent) in WAYS {
        let snapshot = snapshot(percent)?;
        let keys: Vec<ReplicaKey> =
            snapshot.desired.instances.keys().map(|key| ReplicaKey::new(key.clone(), 0)).collect();
        let mut samples = Vec::with_capacity(RUNS);
        for run in 0..WARM_UP + RUNS {
            let began = cpu_ms();
            let admission = black_box(Admission::of(black_box(&snapshot)));
            let refused = keys.iter().filter_map(|key| admission.replica(key));
            let said = refused.map(|refusal| admission.explain(refusal).len());
            let told = black_box(said.collect::<Vec<_>>()).len();
            let took = cpu_ms() - began;
            if (percent == 100) != (told == 0) {
                return Err(format!("{how}: {told} were refused"));
            }
            if run >= WARM_UP {
                samples.push(took);
            }
        }
        let what = format!("{} instances in {PROJECTS} projects, {how}", keys.len());
        rows.push(Row::new("admit", what, "ms", samples).at_most(GOAL_MS));
    }
    Ok(rows)
}

/// The instances of [`placing`], in projects that have room for so much of them.
fn snapshot(percent: u64) -> Result<Snapshot, Failure> {
    let mut snapshot = placing::snapshot(None, true)?;
    let source = Source { file: Arc::from("projects.yaml"), line: 1, column: 1 };
    let named = |text: String| Name::new(&text).map_err(|error| format!("{text}: {error}"));
    // A hundred instances a project, of four sizes from 64 to 512 MiB, with a tenth of a cpu.
    let quota = |projects: u64| Quota {
        memory: Some(Bytes(projects * ((100 * 512) << 20) * percent / 100)),
        cpus: Some(Cpus(projects * 10 * Cpus::NANO)),
        instances: Some(projects * percent),
        ..Quota::default()
    };
    for outer in 0..PROJECTS / 10 {
        let spec = ProjectSpec { quota: quota(10), ..ProjectSpec::default() };
        let name = named(format!("team{outer}"))?;
        snapshot.desired.projects.insert(name, Declared::new(spec, source.clone()));
    }
    for number in 0..PROJECTS {
        let parent = Some(named(format!("team{}", number % 10))?);
        let spec = ProjectSpec { quota: quota(1), parent, ..ProjectSpec::default() };
        let name = named(format!("p{number}"))?;
        snapshot.desired.projects.insert(name, Declared::new(spec, source.clone()));
    }
    Ok(snapshot)
}
