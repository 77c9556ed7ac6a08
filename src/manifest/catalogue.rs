//! Which policies there are, for whoever checks that bindings and waivers name them rightly.
//!
//! Only [`Loader::knowing`](super::Loader::knowing) asks. A loop does not: its policies change at
//! other times than its specs, and a policy that is gone must not have a spec held back. There a
//! name that leads nowhere is an error of the verdict.

use std::collections::BTreeMap;

use reconciler::model::spec::policy::{Bound, Param, PolicyId};

use super::checks::Checker;
use super::decode::{BindingDraft, WaiverDraft, did_you_mean};
use super::problem::{Problem, Span};
use super::set::Member;

/// The policies and profiles that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// The parameters of each policy.
    pub policies: BTreeMap<PolicyId, BTreeMap<String, ParamType>>,
    /// The policies of each profile.
    pub profiles: BTreeMap<PolicyId, Vec<PolicyId>>,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamType {
    /// A text, a quantity as well.
    Text,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A list of texts.
    List,
}

impl ParamType {
    fn takes(self, value: &Param) -> bool {
        match (self, value) {
            (Self::Text, Param::Text(_) | Param::Integer(_))
            | (Self::Integer, Param::Integer(_))
            | (Self::Boolean, Param::Boolean(_))
            | (Self::List, Param::List(_)) => true,
            (
                Self::Text | Self::Integer | Self::Boolean | Self::List,
                Param::Text(_) | Param::Integer(_) | Param::Boolean(_) | Param::List(_),
            ) => false,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number, without quotes",
            Self::Boolean => "true or false, without quotes",
            Self::List => "a list of texts",
        }
    }
}

impl Checker<'_, '_> {
    /// A binding has to name a policy that there is, and parameters that it takes.
    pub(super) fn binding(
        &mut self,
        catalogue: &Catalogue,
        member: &Member<'_>,
        binding: &BindingDraft,
    ) {
        let Catalogue { policies, profiles } = catalogue;
        let members = match &binding.spec.bound {
            Bound::Policy(id) => policies.get(id).map(|_| vec![id]).ok_or(("policy", id)),
            Bound::Profile(id) => {
                let members = profiles.get(id).map(|members| members.iter().collect());
                members.ok_or(("profile", id))
            }
        };
        let members = match members {
            Ok(members) => members,
            Err((noun, id)) => {
                let known = if noun == "policy" {
                    policies.keys().collect::<Vec<_>>()
                } else {
                    profiles.keys().collect()
                };
                return self.note(member, unknown(binding.bound, noun, id, &known));
            }
        };
        let taken = members.into_iter().filter_map(|id| policies.get(id)).flatten();
        // Of a profile some take it perhaps, and others do not.
        let mut types: BTreeMap<&str, Vec<ParamType>> = BTreeMap::new();
        for (name, of) in taken {
            types.entry(name).or_default().push(*of);
        }
        for (name, value) in &binding.spec.params {
            let Some(span) = binding.params.get(name) else { continue };
            let Some(of) = types.get(name.as_str()) else {
                let problem = Problem::new(*span, format!("unknown parameter `{name}`"));
                let near = did_you_mean(name, types.keys().copied());
                let label = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if types.is_empty() => "it takes none".to_owned(),
                    None => {
                        let names = types.keys().copied().collect::<Vec<_>>().join(", ");
                        format!("it takes {names}")
                    }
                };
                self.note(member, problem.label(label));
                continue;
            };
            if let Some(of) = of.iter().find(|of| !of.takes(value)) {
                let problem = Problem::new(*span, format!("wrong type of `params.{name}`"));
                self.note(member, problem.label(format!("expected {}", of.noun())));
            }
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
        None => problem
            .label(format!("no {noun} of that name is loaded"))
            .help("`windlass policy list` shows those that there are"),
    }
}
