//! The policies that there are: scripts by their ids, and profiles, which name many at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::script::Script;
use super::script::fault::{Failure, FailureKind};
use crate::model::ids::Digest;
use crate::model::policies::{PolicySource, PolicySources, Profile, ProfileMember};
use crate::model::spec::policy::PolicyId;

/// A text that is no policy, or a profile of what is not there, with all that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPolicy {
    /// Where it stands.
    pub place: Arc<str>,
    /// What is wrong.
    pub failures: Vec<Failure>,
}

impl fmt::Display for BadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, failures } = self;
        let lines = failures.iter().map(|failure| {
            let numbers = [failure.line, failure.column].into_iter().flatten();
            let numbers: String = numbers.map(|number| format!(":{number}")).collect();
            format!("{place}{numbers}: {}", failure.message)
        });
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

/// The policies that there are. A set is good as a whole or not at all: whoever holds the last good
/// one goes on with it.
#[derive(Debug, Clone, Default)]
pub struct Library {
    scripts: BTreeMap<PolicyId, Arc<Script>>,
    profiles: BTreeMap<PolicyId, Profile>,
    digest: Option<Digest>,
}

impl Library {
    /// Compiles all scripts, and ties profiles to them.
    ///
    /// # Errors
    /// All that is wrong with any of them.
    pub fn new(sources: &PolicySources) -> Result<Self, Vec<BadPolicy>> {
        Self::made(sources, Script::compile)
    }

    /// The same, with scripts that tell which of their statements were reached.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn traced(sources: &PolicySources) -> Result<Self, Vec<BadPolicy>> {
        Self::made(sources, Script::compile_traced)
    }

    fn made(
        sources: &PolicySources,
        compile: fn(&str) -> Result<Script, Vec<Failure>>,
    ) -> Result<Self, Vec<BadPolicy>> {
        let mut scripts: BTreeMap<PolicyId, Arc<Script>> = BTreeMap::new();
        let mut places: BTreeMap<PolicyId, &Arc<str>> = BTreeMap::new();
        let mut bad = Vec::new();
        for PolicySource { path, text, .. } in &sources.policies {
            let place = Arc::clone(path);
            let script = match compile(text) {
                Ok(script) => script,
                Err(failures) => {
                    bad.push(BadPolicy { place, failures });
                    continue;
                }
            };
            let id = script.meta().id.clone();
            if let Some(first) = places.get(&id) {
                let failure = Failure::parse(format!("`{id}` is the id of {first}, too"), 1);
                bad.push(BadPolicy { place, failures: vec![failure] });
                continue;
            }
            places.insert(id.clone(), path);
            scripts.insert(id, Arc::new(script));
        }
        // If scripts are bad, profiles miss them for no reason of their own.
        if bad.is_empty() {
            for (name, profile) in &sources.profiles {
                let failures: Vec<_> =
                    profile.members.iter().filter_map(|member| wrong(member, &scripts)).collect();
                if !failures.is_empty() {
                    let place = Arc::from(format!("profile `{name}`"));
                    bad.push(BadPolicy { place, failures });
                }
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        let (profiles, digest) = (sources.profiles.clone(), Some(sources.digest()));
        Ok(Self { scripts, profiles, digest })
    }

    /// The script of that id.
    #[must_use]
    pub fn script(&self, id: &PolicyId) -> Option<&Arc<Script>> {
        self.scripts.get(id)
    }

    /// All scripts.
    pub fn scripts(&self) -> impl Iterator<Item = (&PolicyId, &Arc<Script>)> {
        self.scripts.iter()
    }

    /// The policies of a profile.
    #[must_use]
    pub fn profile(&self, id: &PolicyId) -> Option<&Profile> {
        self.profiles.get(id)
    }

    /// All profiles.
    pub fn profiles(&self) -> impl Iterator<Item = (&PolicyId, &Profile)> {
        self.profiles.iter()
    }

    /// The digest of all texts and profiles; none where there are none.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

/// What is wrong with a policy of a profile. That a parameter is not set is no fault yet: a binding
/// of the profile may set it.
fn wrong(member: &ProfileMember, scripts: &BTreeMap<PolicyId, Arc<Script>>) -> Option<Failure> {
    let ProfileMember { policy, level: _, params } = member;
    let failure = |message| Some(Failure::at(FailureKind::Parse, message, None, None));
    let Some(script) = scripts.get(policy) else {
        return failure(format!("there is no policy `{policy}`"));
    };
    for (name, value) in params {
        let Some(spec) = script.meta().params.get(name) else {
            return failure(format!("policy `{policy}` has no parameter `{name}`"));
        };
        let value = serde_json::to_value(value).unwrap_or_default();
        if let Err(why) = spec.kind.check(&value) {
            return failure(format!("policy `{policy}`, parameter `{name}`: {why}"));
        }
    }
    None
}
