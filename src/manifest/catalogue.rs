//! Which policies there are, for whoever checks that bindings and waivers name them rightly.
//!
//! Only [`Loader::knowing`](super::Loader::knowing) asks. A loop does not: its policies change at
//! other times than its specs, and a policy that is gone must not have a spec held back. There a
//! name that leads nowhere is an error of the verdict.

use std::collections::{BTreeMap, BTreeSet};

use reconciler::model::policies::Profile;
use reconciler::model::spec::policy::{Bound, PolicyId};
use reconciler::policy::params::ParamSpec;

use super::checks::Checker;
use super::decode::{BindingDraft, WaiverDraft, did_you_mean};
use super::problem::{Problem, Span};
use super::set::Member;

/// The policies and profiles that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// The parameters of each policy.
    pub policies: BTreeMap<PolicyId, BTreeMap<String, ParamSpec>>,
    /// Profiles by their names.
    pub profiles: BTreeMap<PolicyId, Profile>,
}

impl Catalogue {
    /// What a binding binds: each policy with the parameters that are set already; or the name
    /// that leads nowhere.
    fn bound<'c>(&'c self, bound: &'c Bound) -> Result<Vec<Target<'c>>, &'c PolicyId> {
        match bound {
            Bound::Policy(id) => {
                let takes = self.policies.get(id).ok_or(id)?;
                Ok(vec![Target { takes, set: BTreeSet::new() }])
            }
            Bound::Profile(id) => {
                let profile = self.profiles.get(id).ok_or(id)?;
                let target = |member: &'c reconciler::model::policies::ProfileMember| {
                    let takes = self.policies.get(&member.policy)?;
                    Some(Target { takes, set: member.params.keys().collect() })
                };
                Ok(profile.members.iter().filter_map(target).collect())
            }
        }
    }
}

/// A policy that is bound.
struct Target<'c> {
    takes: &'c BTreeMap<String, ParamSpec>,
    set: BTreeSet<&'c String>,
}

impl Checker<'_, '_> {
    /// A binding has to name a policy that there is, with parameters as it takes them.
    pub(super) fn binding(
        &mut self,
        catalogue: &Catalogue,
        member: &Member<'_>,
        binding: &BindingDraft,
    ) {
        let spec = &binding.spec;
        let targets = match catalogue.bound(&spec.bound) {
            Ok(targets) => targets,
            Err(id) => {
                let (noun, known): (_, Vec<_>) = match &spec.bound {
                    Bound::Policy(_) => ("policy", catalogue.policies.keys().collect()),
                    Bound::Profile(_) => ("profile", catalogue.profiles.keys().collect()),
                };
                return self.note(member, unknown(binding.bound, noun, id, &known));
            }
        };
        // Of a profile each takes what it has.
        let names: BTreeSet<&str> =
            targets.iter().flat_map(|target| target.takes.keys()).map(String::as_str).collect();
        for (name, value) in &spec.params {
            let Some(span) = binding.params.get(name) else { continue };
            if !names.contains(name.as_str()) {
                self.note(member, unknown_parameter(*span, name, &names));
                continue;
            }
            // Whatever a parameter can be has a serial form.
            let value = serde_json::to_value(value).unwrap_or_default();
            let specs = targets.iter().filter_map(|target| target.takes.get(name));
            if let Some(why) = specs.map(|spec| spec.kind.check(&value)).find_map(Result::err) {
                let problem = Problem::new(*span, format!("invalid `params.{name}`"));
                self.note(member, problem.label(why));
            }
        }
        let missing: BTreeSet<&String> = targets
            .iter()
            .flat_map(|Target { takes, set }| {
                let needed = takes.iter().filter(|(_, spec)| spec.default.is_none());
                needed.map(|(name, _)| name).filter(|name| !set.contains(name))
            })
            .filter(|name| !spec.params.contains_key(*name))
            .collect();
        for name in missing {
            let problem = Problem::new(binding.bound, format!("missing parameter `{name}`"));
            self.note(member, problem.label(format!("write params: {{ {name}: … }}")));
        }
    }

    /// A waiver has to name a policy that there is.
    pub(super) fn waiver(
        &mut self,
        catalogue: &Catalogue,
        member: &Member<'_>,
        waiver: &WaiverDraft,
    ) {
        let id = &waiver.spec.policy;
        if !catalogue.policies.contains_key(id) {
            let known: Vec<&PolicyId> = catalogue.policies.keys().collect();
            self.note(member, unknown(waiver.policy, "policy", id, &known));
        }
    }
}

fn unknown(span: Span, noun: &str, id: &PolicyId, known: &[&PolicyId]) -> Problem {
    let problem = Problem::new(span, format!("unknown {noun} `{id}`"));
    match did_you_mean(id.as_str(), known.iter().map(|id| id.as_str())) {
        Some(near) => problem.label(format!("did you mean `{near}`?")),
        None => problem.label(format!("no {noun} of that name is loaded")),
    }
}

fn unknown_parameter(span: Span, name: &str, names: &BTreeSet<&str>) -> Problem {
    let problem = Problem::new(span, format!("unknown parameter `{name}`"));
    match did_you_mean(name, names.iter().copied()) {
        Some(near) => problem.label(format!("did you mean `{near}`?")),
        None if names.is_empty() => problem.label("it takes none"),
        None => {
            let names = names.iter().copied().collect::<Vec<_>>().join(", ");
            problem.label(format!("it takes {names}"))
        }
    }
}
