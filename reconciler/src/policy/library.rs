//! The policies that there are: scripts by their ids, and profiles, which name many at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::script::Script;
use super::script::fault::Failure;
use crate::model::ids::Digest;
use crate::model::spec::policy::PolicyId;

/// A text that is no policy, with all that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadScript {
    /// Where it comes from, as whoever brought it calls it.
    pub origin: String,
    /// What is wrong.
    pub failures: Vec<Failure>,
}

impl fmt::Display for BadScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, failures } = self;
        let lines = failures.iter().map(|failure| match failure.line {
            Some(line) => format!("{origin}:{line}: {}", failure.message),
            None => format!("{origin}: {}", failure.message),
        });
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

/// The policies that there are. A set is good as a whole or not at all: whoever holds the last good
/// one goes on with it.
#[derive(Debug, Clone, Default)]
pub struct Library {
    scripts: BTreeMap<PolicyId, Arc<Script>>,
    profiles: BTreeMap<PolicyId, BTreeSet<PolicyId>>,
    digest: Option<Digest>,
}

impl Library {
    /// Compiles all scripts, each with a word for where it comes from, and ties profiles to them.
    ///
    /// # Errors
    /// All that is wrong with any of them.
    pub fn new<'a>(
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
        profiles: BTreeMap<PolicyId, BTreeSet<PolicyId>>,
    ) -> Result<Self, Vec<BadScript>> {
        let mut scripts: BTreeMap<PolicyId, Arc<Script>> = BTreeMap::new();
        let mut origins: BTreeMap<PolicyId, &str> = BTreeMap::new();
        let mut bad = Vec::new();
        for (origin, text) in texts {
            let script = match Script::compile(text) {
                Ok(script) => script,
                Err(failures) => {
                    bad.push(BadScript { origin: origin.to_owned(), failures });
                    continue;
                }
            };
            let id = script.meta().id.clone();
            if let Some(first) = origins.get(&id) {
                let failure = Failure::parse(format!("`{id}` is the id of {first}, too"), 1);
                bad.push(BadScript { origin: origin.to_owned(), failures: vec![failure] });
                continue;
            }
            origins.insert(id.clone(), origin);
            scripts.insert(id, Arc::new(script));
        }
        for (profile, policies) in &profiles {
            let missing = policies.iter().find(|policy| !scripts.contains_key(*policy));
            // If scripts are bad, profiles miss them for no reason of their own.
            if let (Some(missing), true) = (missing, bad.is_empty()) {
                let message = format!("there is no policy `{missing}`");
                bad.push(BadScript {
                    origin: format!("profile {profile}"),
                    failures: vec![Failure::parse(message, 1)],
                });
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        let digests: Vec<_> = scripts.iter().map(|(id, script)| (id, script.digest())).collect();
        let digest = Digest::of(&serde_json::to_vec(&(digests, &profiles)).unwrap_or_default());
        Ok(Self { scripts, profiles, digest: Some(digest) })
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
    pub fn profile(&self, id: &PolicyId) -> Option<&BTreeSet<PolicyId>> {
        self.profiles.get(id)
    }

    /// All profiles.
    pub fn profiles(&self) -> impl Iterator<Item = (&PolicyId, &BTreeSet<PolicyId>)> {
        self.profiles.iter()
    }

    /// The digest of all texts and profiles; none where there are none.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}
