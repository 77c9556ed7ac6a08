//! Rules: policies that bindings put in force, with their parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::desired::{Declared, DesiredSet};
use crate::model::ids::{Digest, Key};
use crate::model::policies::{Profile, ProfileMember};
use crate::model::spec::PolicyBindingSpec;
use crate::model::spec::policy::{ActionKind, Bound, Candidate, Level, Param, Point, PolicyId};
use crate::policy::library::Library;
use crate::policy::script::fault::{Failure, FailureKind};
use crate::policy::script::{Entry, Program, Script};

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
    /// The level that its profile gives it.
    level: Option<Level>,
}

/// Level of a rule of which nothing is known but that somebody wants it.
const LEVEL_OF_UNKNOWN: Level = Level::Hard;

impl Rule {
    fn new(
        key: &Key,
        declared: &Declared<PolicyBindingSpec>,
        policy: PolicyId,
        level: Option<Level>,
        program: Result<Arc<Program>, Failure>,
    ) -> Self {
        let version =
            program.as_ref().ok().map(|program| program.script().meta().version.to_string());
        let (version, spec) = (version.map(Arc::from), Arc::clone(&declared.spec));
        Self { binding: key.clone(), spec, policy, program, version, level }
    }

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
            && self.level == other.level
            && self.spec == other.spec
    }

    /// All that it goes by, in a line.
    pub(super) fn words(&self) -> String {
        let (script, params) = match &self.program {
            Ok(program) => {
                (program.script().digest().to_string(), program.params_digest().to_string())
            }
            Err(failure) => (failure.to_string(), String::new()),
        };
        let spec = serde_json::to_string(&*self.spec).unwrap_or_default();
        let level = self.level.map_or("", Level::as_str);
        format!("{} {} {script} {params} {level} {spec}", self.binding, self.policy)
    }

    /// The level at a point.
    pub(super) fn level_at(&self, point: Point) -> Level {
        let usual = match &self.program {
            Ok(program) => program.script().meta().level,
            Err(_) => LEVEL_OF_UNKNOWN,
        };
        self.spec.level_at(point).or(self.level).unwrap_or(usual)
    }

    /// Whether the policy or its binding names an action.
    pub(super) fn names(&self, action: ActionKind) -> bool {
        let by_policy = |program: &Arc<Program>| program.script().meta().actions.contains(&action);
        self.program.as_ref().is_ok_and(by_policy) || self.spec.matches.actions.contains(&action)
    }

    /// Whether it may be asked at `entry`. Nobody knows where one would have been entered that
    /// cannot be run.
    pub(super) fn is_entered_at(&self, entry: Entry) -> bool {
        self.program.as_ref().map_or(true, |program| program.script().entries().contains(&entry))
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
        let spec = &declared.spec;
        for Wanted { policy, level, script, mut set } in wanted(library, spec) {
            let program = script.and_then(|script| {
                // The parameters of a profile are for those who have them.
                let has = |name: &String| script.meta().params.contains_key(name);
                let is_profile = matches!(spec.bound, Bound::Profile(_));
                set.extend(values(&spec.params).filter(|(name, _)| !is_profile || has(name)));
                program(&script, &set, &earlier, programs)
            });
            rules.push(Rule::new(key, declared, policy, level, program));
        }
        if let Some(failure) = unused(library, spec) {
            let (Bound::Policy(id) | Bound::Profile(id)) = &spec.bound;
            rules.push(Rule::new(key, declared, id.clone(), None, Err(failure)));
        }
    }
    rules
}

/// A policy that a binding names.
struct Wanted {
    policy: PolicyId,
    level: Option<Level>,
    script: Result<Arc<Script>, Failure>,
    set: BTreeMap<String, Value>,
}

fn values(params: &BTreeMap<String, Param>) -> impl Iterator<Item = (String, Value)> {
    let value = |param| serde_json::to_value(param).unwrap_or(Value::Null);
    params.iter().map(move |(name, param)| (name.clone(), value(param)))
}

/// The policies that a binding names.
fn wanted(library: &Library, spec: &PolicyBindingSpec) -> Vec<Wanted> {
    let wanted = |policy: &PolicyId, level, params: &BTreeMap<String, Param>| Wanted {
        policy: policy.clone(),
        level,
        script: library.compiled(policy).map(Arc::clone),
        set: values(params).collect(),
    };
    match &spec.bound {
        Bound::Policy(id) => vec![wanted(id, None, &BTreeMap::new())],
        Bound::Profile(id) => match library.profile(id) {
            Some(Profile { members, .. }) => members
                .iter()
                .map(|ProfileMember { policy, level, params }| wanted(policy, *level, params))
                .collect(),
            None => {
                let script = Err(missing(format!("there is no profile `{id}`")));
                vec![Wanted { policy: id.clone(), level: None, script, set: BTreeMap::new() }]
            }
        },
    }
}

fn missing(message: String) -> Failure {
    Failure::at(FailureKind::Parse, message, None, None)
}

/// A parameter that no policy of a profile has.
fn unused(library: &Library, spec: &PolicyBindingSpec) -> Option<Failure> {
    let Bound::Profile(profile) = &spec.bound else { return None };
    let members = &library.profile(profile)?.members;
    let has = |name: &String| {
        members
            .iter()
            .filter_map(|member| library.meta(&member.policy))
            .any(|meta| meta.params.contains_key(name))
    };
    let name = spec.params.keys().find(|name| !has(name))?;
    Some(missing(format!("no policy of profile `{profile}` has a parameter `{name}`")))
}

fn program(
    script: &Arc<Script>,
    set: &BTreeMap<String, Value>,
    earlier: &Programs,
    programs: &mut Programs,
) -> Result<Arc<Program>, Failure> {
    let words = serde_json::to_vec(set).unwrap_or_default();
    let key = (script.digest().clone(), Digest::of(&words));
    let known = programs.get(&key).or_else(|| earlier.get(&key)).cloned();
    let program = match known {
        Some(program) => program,
        None => Arc::new(Program::new(script, set).map_err(missing)?),
    };
    programs.insert(key, Arc::clone(&program));
    Ok(program)
}
