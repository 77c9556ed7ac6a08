//! Rules: policies that bindings put in force, with their parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::desired::{Declared, DesiredSet};
use crate::model::ids::{Digest, Key};
use crate::model::spec::PolicyBindingSpec;
use crate::model::spec::policy::{Bound, Candidate, Level, Point, PolicyId};
use crate::policy::library::Library;
use crate::policy::script::fault::{Failure, FailureKind};
use crate::policy::script::{Program, Script};

/// A policy in force.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// The binding.
    pub(super) binding: Key,
    spec: Arc<PolicyBindingSpec>,
    /// The policy; of a binding that names what is not there, that name.
    pub(super) policy: PolicyId,
    /// What is run; or why nothing can be, which is an error wherever the rule would be asked.
    pub(super) program: Result<Arc<Program>, Failure>,
    /// The version of the policy.
    pub(super) version: Option<Arc<str>>,
}

/// Level of a rule of which nothing is known but that somebody wants it.
const LEVEL_OF_UNKNOWN: Level = Level::Hard;

impl Rule {
    /// Whether it is the same rule, so that nothing said under it has to be said again.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same_program = match (&self.program, &other.program) {
            (Ok(one), Ok(another)) => Arc::ptr_eq(one, another),
            (Err(one), Err(another)) => one == another,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        same_program
            && self.binding == other.binding
            && self.policy == other.policy
            && self.spec == other.spec
    }

    /// The level at a point.
    pub(super) fn level_at(&self, point: Point) -> Level {
        let usual = match &self.program {
            Ok(program) => program.script().meta().level,
            Err(_) => LEVEL_OF_UNKNOWN,
        };
        self.spec.level_at(point).unwrap_or(usual)
    }

    /// Whether it is about `candidate`.
    pub(super) fn covers(&self, candidate: &Candidate<'_>) -> bool {
        let by_policy = self.program.as_ref().map_or(true, |program| {
            let meta = program.script().meta();
            meta.is_about(candidate.kind)
                && candidate.action.is_none_or(|action| meta.is_about_action(action))
        });
        by_policy && self.spec.matches.covers(&self.binding.project, candidate)
    }
}

/// Programs by script and parameters: a binding that did not change is not compiled again.
pub(super) type Programs = BTreeMap<(Digest, Digest), Arc<Program>>;

/// The rules that the bindings of `desired` put in force.
pub(super) fn rules(library: &Library, desired: &DesiredSet, programs: &mut Programs) -> Vec<Rule> {
    let earlier = std::mem::take(programs);
    let mut rules = Vec::new();
    for (key, declared) in &desired.bindings {
        let set = values(&declared.spec);
        for (policy, script) in bound(library, &declared.spec) {
            let program = match script {
                Ok(script) => program(&script, &set, &declared.spec.bound, &earlier, programs),
                Err(failure) => Err(failure),
            };
            rules.push(rule(key, declared, policy, program));
        }
        if let Some(failure) = unused(library, &declared.spec) {
            let (Bound::Policy(id) | Bound::Profile(id)) = &declared.spec.bound;
            rules.push(rule(key, declared, id.clone(), Err(failure)));
        }
    }
    rules
}

fn rule(
    key: &Key,
    declared: &Declared<PolicyBindingSpec>,
    policy: PolicyId,
    program: Result<Arc<Program>, Failure>,
) -> Rule {
    let version = program.as_ref().ok().map(|program| program.script().meta().version.to_string());
    let version = version.map(Arc::from);
    Rule { binding: key.clone(), spec: Arc::clone(&declared.spec), policy, program, version }
}

fn values(spec: &PolicyBindingSpec) -> BTreeMap<String, Value> {
    let value = |(name, param): (&String, _)| {
        (name.clone(), serde_json::to_value(param).unwrap_or(Value::Null))
    };
    spec.params.iter().map(value).collect()
}

/// The scripts that a binding names.
fn bound(
    library: &Library,
    spec: &PolicyBindingSpec,
) -> Vec<(PolicyId, Result<Arc<Script>, Failure>)> {
    let script = |id: &PolicyId| match library.script(id) {
        Some(script) => Ok(Arc::clone(script)),
        None => Err(missing(format!("there is no policy `{id}`"))),
    };
    match &spec.bound {
        Bound::Policy(id) => vec![(id.clone(), script(id))],
        Bound::Profile(id) => match library.profile(id) {
            Some(policies) => policies.iter().map(|id| (id.clone(), script(id))).collect(),
            None => vec![(id.clone(), Err(missing(format!("there is no profile `{id}`"))))],
        },
    }
}

fn missing(message: String) -> Failure {
    Failure::at(FailureKind::Parse, message, None, None)
}

/// A parameter that no policy of a profile has.
fn unused(library: &Library, spec: &PolicyBindingSpec) -> Option<Failure> {
    let Bound::Profile(profile) = &spec.bound else { return None };
    let policies = library.profile(profile)?;
    let has = |name: &String| {
        policies
            .iter()
            .filter_map(|id| library.script(id))
            .any(|script| script.meta().params.contains_key(name))
    };
    let name = spec.params.keys().find(|name| !has(name))?;
    Some(missing(format!("no policy of profile `{profile}` has a parameter `{name}`")))
}

fn program(
    script: &Arc<Script>,
    set: &BTreeMap<String, Value>,
    bound: &Bound,
    earlier: &Programs,
    programs: &mut Programs,
) -> Result<Arc<Program>, Failure> {
    let mut set = set.clone();
    // The parameters of a profile are for those who have them.
    if let Bound::Profile(_) = bound {
        set.retain(|name, _| script.meta().params.contains_key(name));
    }
    let words = serde_json::to_vec(&set).unwrap_or_default();
    let key = (script.digest().clone(), Digest::of(&words));
    let known = programs.get(&key).or_else(|| earlier.get(&key)).cloned();
    let program = match known {
        Some(program) => program,
        None => Arc::new(Program::new(script, &set).map_err(missing)?),
    };
    programs.insert(key, Arc::clone(&program));
    Ok(program)
}
