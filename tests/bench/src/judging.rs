//! Policies: what seventeen checks of a container cost, what a scan of everything costs, and what is
//! left of that when one thing changed.
//!
//! As with plans, the time is that of the thread on a core.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet};
use reconciler::model::policies::{Origin, PolicySource, PolicySources};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::policy::{Bound, Levels, Match, Point, Projects};
use reconciler::model::spec::{InstanceSpec, PolicyBindingSpec};
use reconciler::model::time::Timestamp;
use reconciler::policy::evaluate::Evaluator;
use reconciler::policy::library::Library;
use reconciler::policy::script::{Program, Script, Surroundings};
use reconciler::policy::view::{MaskKey, Object};

use crate::lab::Lab;
use crate::planning::cpu_ms;
use crate::settled;
use crate::table::{Failure, Row};

/// The checks, as the tests of the core have them too.
const SEVENTEEN: &str = include_str!("../../../reconciler/tests/policy/seventeen.rhai");

/// Specs that are judged, and how often.
const SPECS: usize = 1_000;
const RUNS: usize = 61;

/// Instances of a scan, as many rules as the strictest profile has, and how often.
const INSTANCES: usize = 10_000;
const RULES: usize = 14;
const SCANS: usize = 7;

/// Rounds after one change.
const CHANGES: usize = 31;

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    Ok(vec![seventeen()?, scan()?, change()?])
}

fn seventeen() -> Result<Row, Failure> {
    let script = Script::compile(SEVENTEEN).map_err(|wrong| format!("{wrong:?}"))?;
    let program = Program::new(&Arc::new(script), &BTreeMap::new())?;
    let desired = settled::snapshot(SPECS)?.desired;
    let objects: Vec<_> = desired
        .instances
        .iter()
        .map(|(key, declared)| Arc::new(Object::instance(key, declared, None)))
        .collect();
    let around = Surroundings::default();
    let mut samples = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let began = cpu_ms();
        for object in &objects {
            black_box(program.check(black_box(object), &around));
        }
        samples.push((cpu_ms() - began) * 1000.0 / objects.len() as f64);
    }
    let what = format!("17 checks of a container, {SPECS} specs, each");
    Ok(Row::new("policy", what, "µs", samples).at_most(12.0))
}

/// A set of instances under rules of their own, each of which looks at a field or two.
fn bound() -> Result<(Evaluator, DesiredSet), Failure> {
    let fields = ["privileged", "readOnlyRoot", "noNewPrivileges"];
    let mut desired = settled::snapshot(INSTANCES)?.desired;
    let mut sources = PolicySources::default();
    for rule in 0..RULES {
        let field = fields[rule % fields.len()];
        let text = format!(
            "// @id RULE-{rule} @version 1.0.0 @title one of many @level soft\n\
             // @match kinds=Instance\n\
             fn check(o) {{ if o.security.{field} {{ deny(\"so\").at(\"spec.security.{field}\"); }} \
             require(has(o.resources.memory), \"no limit\"); }}"
        );
        let path = format!("{rule}/policy.rhai");
        sources.policies.push(PolicySource::new(Origin::Own, &path, &text));
        let spec = PolicyBindingSpec {
            bound: Bound::Policy(format!("RULE-{rule}").parse().map_err(|e| format!("{e}"))?),
            level: None,
            levels: Levels::default(),
            params: BTreeMap::new(),
            matches: Sparse::new(Match { projects: Projects::All, ..Match::default() }),
        };
        let key = format!("default/rule-{rule}").parse().map_err(|e| format!("{e}"))?;
        let source = desired.instances.values().next().map(|one| one.source.clone());
        let source = source.ok_or("nothing is declared")?;
        desired.bindings.insert(key, Declared::new(spec, source));
    }
    let library = Library::new(&sources).map_err(|bad| format!("{bad:?}"))?;
    Ok((Evaluator::new(Arc::new(library), MaskKey::new(b"bench")), desired))
}

fn scan() -> Result<Row, Failure> {
    let (fresh, desired) = bound()?;
    let mut samples = Vec::with_capacity(SCANS);
    for _ in 0..SCANS {
        let library = Arc::clone(fresh.library());
        let mut evaluator = Evaluator::new(library, MaskKey::new(b"bench"));
        let began = cpu_ms();
        evaluator.renew(&desired);
        black_box(evaluator.evaluate(Point::Scan, Timestamp(0), |_| None));
        samples.push(cpu_ms() - began);
    }
    let what = format!("a scan of {INSTANCES} instances under {RULES} rules");
    Ok(Row::new("policy", what, "ms", samples).at_most(1000.0))
}

fn change() -> Result<Row, Failure> {
    let (mut evaluator, mut desired) = bound()?;
    evaluator.renew(&desired);
    evaluator.evaluate(Point::Scan, Timestamp(0), |_| None);
    let keys: Vec<_> = desired.instances.keys().take(CHANGES).cloned().collect();
    let mut samples = Vec::with_capacity(CHANGES);
    for key in keys {
        let mut changed = DesiredSet::default();
        if let Some(declared) = desired.instances.get(&key) {
            let mut spec: InstanceSpec = (*declared.spec).clone();
            spec.replicas += 1;
            changed.instances.insert(key, Declared::new(spec, declared.source.clone()));
        }
        desired.renew(changed.clone());
        let began = cpu_ms();
        evaluator.change(&desired, &changed);
        let runs = evaluator.evaluate(Point::Scan, Timestamp(0), |_| None).runs;
        samples.push(cpu_ms() - began);
        if runs != RULES as u64 {
            return Err(format!("{runs} scripts were run for one change"));
        }
    }
    let what = format!("one of {INSTANCES} instances changed under {RULES} rules");
    Ok(Row::new("policy", what, "ms", samples).at_most(5.0))
}
