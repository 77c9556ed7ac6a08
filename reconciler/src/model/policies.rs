//! The texts of policies, as they were found: what is compiled, and what a restart needs to hold the
//! same policies in force. What they mean is [`policy`](crate::policy)'s affair.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::desired::BrokenFile;
use super::ids::Digest;
use super::spec::policy::{Level, Param, PolicyId};

/// All policies and profiles that can be bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySources {
    /// Policies, those that are built in first, by their folders' names.
    pub policies: Vec<PolicySource>,
    /// Profiles by their names.
    pub profiles: BTreeMap<PolicyId, Profile>,
}

impl PolicySources {
    /// Digest of all that can have a say in a verdict.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let Self { policies, profiles } = self;
        let mut text = String::new();
        for source in policies {
            let PolicySource { origin: _, path, text: _, sha256, cases: _ } = source;
            text.push_str(&format!("{sha256} {path}\n"));
        }
        // Their maps are sorted and their keys are texts, so this cannot fail.
        text.push_str(&serde_json::to_string(profiles).unwrap_or_default());
        Digest::of(text.as_bytes())
    }
}

/// Who wrote a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It comes with windlass.
    BuiltIn,
    /// The user.
    Own,
}

/// The text of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// Who wrote it.
    pub origin: Origin,
    /// Where it is, for people and records: `policies/NAME/policy.rhai`, or below the directory of
    /// own policies `NAME/policy.rhai`.
    pub path: Arc<str>,
    /// The script.
    pub text: Arc<str>,
    /// Digest of the script.
    pub sha256: Digest,
    /// The text of `cases.yaml` beside it. No verdict rests on it.
    pub cases: Option<Arc<str>>,
}

impl PolicySource {
    /// A policy without cases.
    #[must_use]
    pub fn new(origin: Origin, path: &str, text: &str) -> Self {
        let sha256 = Digest::of(text.as_bytes());
        Self { origin, path: Arc::from(path), text: Arc::from(text), sha256, cases: None }
    }

    /// The id that the script's head gives itself, `// @id SUP-DIGEST`. That it has a good head
    /// is found when it is compiled.
    #[must_use]
    pub fn id(&self) -> Option<PolicyId> {
        let head = self.text.lines().take_while(|line| line.trim_start().starts_with("//"));
        let mut words = head.flat_map(str::split_whitespace);
        words.find(|word| *word == "@id")?;
        words.next()?.parse().ok()
    }
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::BuiltIn => write!(f, "{} (built in)", self.path),
            Origin::Own => f.write_str(&self.path),
        }
    }
}

/// Several policies under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Who wrote it.
    pub origin: Origin,
    /// Its policies, in the order in which they stand there.
    pub members: Vec<ProfileMember>,
}

/// A policy of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileMember {
    /// Which one.
    pub policy: PolicyId,
    /// How much a finding weighs, where a binding of the profile says nothing; the rule's own
    /// level if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Parameters, where a binding of the profile says nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,
}

/// Begins the names under which records keep the texts of own policies, among those of spec files,
/// which never begin so.
pub const POLICY_TEXTS: &str = "/policies/";

/// How the policies stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyStanding {
    /// How many are in force, bound or not.
    pub count: usize,
    /// Digest of those in force; `None` where nobody loaded any.
    pub digest: Option<Digest>,
    /// What is wrong in their directory, if so: then what stands there is not in force.
    pub broken: Option<BrokenFile>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_the_id() {
        let id = |text: &str| PolicySource::new(Origin::Own, "a", text).id();
        let some = |text: &str| Some(text.parse().expect("an id"));
        assert_eq!(id("// @id CIS-5.5  @version 1.0.0\nfn check(o) {}"), some("CIS-5.5"));
        assert_eq!(id("// words\n//   @title a @id B\n"), some("B"));
        assert_eq!(id("fn check(o) {}\n// @id CIS-5.5"), None);
        assert_eq!(id("// @id"), None);
        assert_eq!(id("// @id a/b"), None);
    }

    #[test]
    fn the_digest_says_what_is_in_force() {
        let set = |text: &str, level: Option<Level>, cases: Option<&str>| {
            let cases = cases.map(Arc::from);
            let member = ProfileMember {
                policy: "A".parse().expect("an id"),
                level,
                params: BTreeMap::new(),
            };
            let profile = Profile { origin: Origin::Own, members: vec![member] };
            PolicySources {
                policies: vec![PolicySource { cases, ..PolicySource::new(Origin::Own, "a", text) }],
                profiles: BTreeMap::from([("p".parse().expect("an id"), profile)]),
            }
            .digest()
        };
        let one = set("x", None, None);
        assert_eq!(set("x", None, Some("cases")), one);
        assert_ne!(set("y", None, None), one);
        assert_ne!(set("x", Some(Level::Off), None), one);
    }
}
