//! The policies that there are: scripts by their ids, and profiles, which name many at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::meta::PolicyMeta;
use super::script::Script;
use super::script::fault::{Failure, FailureKind};
use crate::model::ids::Digest;
use crate::model::policies::{Origin, PolicySource, PolicySources, Profile, ProfileMember};
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

/// A text of which the header was read.
#[derive(Debug, Clone)]
struct Held {
    meta: PolicyMeta,
    text: Arc<str>,
    place: Arc<str>,
    traced: bool,
    /// What is made of it, once somebody asked.
    script: OnceLock<Result<Arc<Script>, Failure>>,
}

/// The policies that there are. A set is good as a whole or not at all: whoever holds the last good
/// one goes on with it.
///
/// Own scripts are compiled when the set is made, so that all that is wrong with them is told then.
/// Of those that are built in, most are bound by nobody, and all were compiled by tests: each is
/// compiled when it is asked for first, since a command is to start in a few milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Library {
    held: BTreeMap<PolicyId, Held>,
    profiles: BTreeMap<PolicyId, Profile>,
    digest: Option<Digest>,
}

impl Held {
    fn new(source: &PolicySource, traced: bool) -> Result<Self, Vec<Failure>> {
        let PolicySource { origin, path, text, .. } = source;
        let (text, place) = (Arc::clone(text), Arc::clone(path));
        let (meta, script) = match origin {
            Origin::BuiltIn => (PolicyMeta::read(&text)?, OnceLock::new()),
            Origin::Own => {
                let script = compiled(&text, traced)?;
                (script.meta().clone(), OnceLock::from(Ok(Arc::new(script))))
            }
        };
        Ok(Self { meta, text, place, traced, script })
    }

    fn script(&self) -> Result<&Arc<Script>, Failure> {
        let make = || match compiled(&self.text, self.traced) {
            Ok(script) => Ok(Arc::new(script)),
            Err(failures) => {
                let bad = BadPolicy { place: Arc::clone(&self.place), failures };
                Err(Failure::at(FailureKind::Parse, bad.to_string(), None, None))
            }
        };
        self.script.get_or_init(make).as_ref().map_err(Clone::clone)
    }
}

fn compiled(text: &str, traced: bool) -> Result<Script, Vec<Failure>> {
    if traced { Script::compile_traced(text) } else { Script::compile(text) }
}

impl Library {
    /// Reads all texts, compiles own ones, and ties profiles to them.
    ///
    /// # Errors
    /// All that is wrong with any of them.
    pub fn new(sources: &PolicySources) -> Result<Self, Vec<BadPolicy>> {
        Self::made(sources, false)
    }

    /// The same, with scripts that tell which of their statements were reached.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn traced(sources: &PolicySources) -> Result<Self, Vec<BadPolicy>> {
        Self::made(sources, true)
    }

    fn made(sources: &PolicySources, traced: bool) -> Result<Self, Vec<BadPolicy>> {
        let mut all: BTreeMap<PolicyId, Held> = BTreeMap::new();
        let mut bad = Vec::new();
        for source in &sources.policies {
            let place = Arc::clone(&source.path);
            let held = match Held::new(source, traced) {
                Ok(held) => held,
                Err(failures) => {
                    bad.push(BadPolicy { place, failures });
                    continue;
                }
            };
            let id = held.meta.id.clone();
            if let Some(first) = all.get(&id) {
                let message = format!("`{id}` is the id of {}, too", first.place);
                bad.push(BadPolicy { place, failures: vec![Failure::parse(message, 1)] });
                continue;
            }
            all.insert(id, held);
        }
        // If scripts are bad, profiles miss them for no reason of their own.
        if bad.is_empty() {
            for (name, profile) in &sources.profiles {
                let failures: Vec<_> =
                    profile.members.iter().filter_map(|member| wrong(member, &all)).collect();
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
        Ok(Self { held: all, profiles, digest })
    }

    /// The script of that id; none if there is no such policy, or it is built in and wrong.
    #[must_use]
    pub fn script(&self, id: &PolicyId) -> Option<&Arc<Script>> {
        self.held.get(id)?.script().ok()
    }

    /// The same.
    ///
    /// # Errors
    /// Why there is none.
    pub fn compiled(&self, id: &PolicyId) -> Result<&Arc<Script>, Failure> {
        match self.held.get(id) {
            Some(held) => held.script(),
            None => {
                let message = format!("there is no policy `{id}`");
                Err(Failure::at(FailureKind::Parse, message, None, None))
            }
        }
    }

    /// What the header of a policy says.
    #[must_use]
    pub fn meta(&self, id: &PolicyId) -> Option<&PolicyMeta> {
        self.held.get(id).map(|held| &held.meta)
    }

    /// The headers of all policies.
    pub fn metas(&self) -> impl Iterator<Item = (&PolicyId, &PolicyMeta)> {
        self.held.iter().map(|(id, held)| (id, &held.meta))
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
fn wrong(member: &ProfileMember, all: &BTreeMap<PolicyId, Held>) -> Option<Failure> {
    let ProfileMember { policy, level: _, params } = member;
    let failure = |message| Some(Failure::at(FailureKind::Parse, message, None, None));
    let Some(held) = all.get(policy) else {
        return failure(format!("there is no policy `{policy}`"));
    };
    for (name, value) in params {
        let Some(spec) = held.meta.params.get(name) else {
            return failure(format!("policy `{policy}` has no parameter `{name}`"));
        };
        let value = serde_json::to_value(value).unwrap_or_default();
        if let Err(why) = spec.kind.check(&value) {
            return failure(format!("policy `{policy}`, parameter `{name}`: {why}"));
        }
    }
    None
}
