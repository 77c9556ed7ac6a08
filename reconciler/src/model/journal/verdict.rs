//! What policy said, as the journal holds it: only where it changes. A verdict that stays what it was
//! is counted in reports and floods no record.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::model::ids::Digest;
use crate::model::spec::policy::{Level, Point};

/// One verdict, with all that is needed to know which policy came to it, and from what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictNote {
    /// The object, as messages name it.
    pub object: Arc<str>,
    /// The policy's id.
    pub policy: Arc<str>,
    /// Its version, as its author counts.
    pub version: Arc<str>,
    /// SHA-256 of its source.
    pub sha256: Digest,
    /// Digest of the whole set of policies that was in force.
    pub set: Digest,
    /// The binding that had it asked.
    pub binding: Arc<str>,
    /// How hard it is.
    pub level: Level,
    /// At which point it was asked.
    pub point: Point,
    /// What it said.
    pub outcome: VerdictOutcome,
    /// The waiver that lets it pass all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived_by: Option<Arc<str>>,
    /// What it found, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// Digest of all that it saw.
    pub inputs: Digest,
    /// What it took to find out, in operations.
    pub cost: u64,
    /// What was asked about, if that was an action or drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Box<serde_json::Value>>,
}

/// What a policy said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VerdictOutcome {
    /// Nothing is wrong.
    Pass,
    /// Something is.
    Fail,
    /// Something is, and a waiver lets it pass.
    Waived,
    /// Something is worth knowing, and nothing is against the rule.
    Info,
    /// It did not apply.
    Undefined,
    /// It could not be evaluated.
    Error,
}

impl VerdictOutcome {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Waived => "waived",
            Self::Info => "info",
            Self::Undefined => "undefined",
            Self::Error => "error",
        }
    }

    /// Whether there is nothing to tell.
    fn is_quiet(self) -> bool {
        match self {
            Self::Pass | Self::Undefined => true,
            Self::Fail | Self::Waived | Self::Info | Self::Error => false,
        }
    }
}

/// A set of policies: what was in force from an entry on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicySetNote {
    /// Digest of all of it: sources, bindings, parameters and waivers.
    pub digest: Digest,
    /// SHA-256 of each policy, by its id.
    pub policies: BTreeMap<Arc<str>, Digest>,
}

/// Whose verdict: object, policy, binding, point.
type Whose = (Arc<str>, Arc<str>, Arc<str>, Point);

/// What was said of a verdict when it was last on record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stand {
    outcome: VerdictOutcome,
    level: Level,
    waived_by: Option<Arc<str>>,
    findings: Digest,
}

/// What is on record of verdicts, since the start: only what differs is told again. A start tells
/// once how things stand, as far as something is wrong.
#[derive(Debug, Clone, Default)]
pub struct Told {
    set: Option<Digest>,
    stands: BTreeMap<Whose, Stand>,
    /// Everything is told, what passes too.
    tells_all: bool,
}

impl Told {
    /// The entry for a set of policies, if it is another one than is on record.
    pub fn another_set(&mut self, set: &PolicySetNote) -> Option<Entry> {
        let is_another = self.set.as_ref() != Some(&set.digest);
        self.set = Some(set.digest.clone());
        is_another.then(|| Entry::PolicySet { set: set.clone() })
    }

    /// The entries for what changed: the set first, then verdicts. One that passes, and was not on
    /// record as anything else, is none.
    pub fn news(&mut self, set: &PolicySetNote, verdicts: Vec<VerdictNote>) -> Vec<Entry> {
        let mut news: Vec<Entry> = self.another_set(set).into_iter().collect();
        for verdict in verdicts {
            let VerdictNote { object, policy, binding, level, point, outcome, .. } = &verdict;
            let whose = (Arc::clone(object), Arc::clone(policy), Arc::clone(binding), *point);
            let stand = Stand {
                outcome: *outcome,
                level: *level,
                waived_by: verdict.waived_by.clone(),
                findings: Digest::of(verdict.findings.join("\n").as_bytes()),
            };
            let is_known = if self.tells_all {
                false
            } else if outcome.is_quiet() {
                self.stands.remove(&whose).is_none()
            } else {
                self.stands.insert(whose, stand.clone()) == Some(stand)
            };
            if !is_known {
                news.push(Entry::Verdict { verdict: Box::new(verdict) });
            }
        }
        news
    }

    /// One that tells everything: for those who ask what was said.
    #[must_use]
    pub fn telling_all() -> Self {
        Self { tells_all: true, ..Self::default() }
    }

    /// Whether anything is on record of an object at a point.
    #[must_use]
    pub fn knows(&self, object: &Arc<str>, point: Point) -> bool {
        if self.tells_all {
            return true;
        }
        let first = (Arc::clone(object), Arc::from(""), Arc::from(""), Point::Plan);
        let mut of_object = self.stands.range(first..).take_while(|((of, ..), _)| of == object);
        of_object.any(|((.., at), _)| *at == point)
    }

    /// Forgets an object that is no longer there: there is nothing more to say of it.
    pub fn forget(&mut self, object: &str) {
        self.stands.retain(|(of, ..), _| &**of != object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> PolicySetNote {
        PolicySetNote { digest: Digest::of(text.as_bytes()), policies: BTreeMap::new() }
    }

    fn verdict(object: &str, outcome: VerdictOutcome, finding: &str) -> VerdictNote {
        VerdictNote {
            object: object.into(),
            policy: "CIS-5.5".into(),
            version: "1".into(),
            sha256: Digest::of(b"source"),
            set: Digest::of(b"set"),
            binding: "shop/all".into(),
            level: Level::Hard,
            point: Point::Plan,
            outcome,
            waived_by: None,
            findings: vec![finding.to_owned()],
            inputs: Digest::of(b"inputs"),
            cost: 12,
            asked: None,
        }
    }

    #[test]
    fn only_what_changes_is_on_record() {
        let mut told = Told::default();
        let mut count =
            |set_text: &str, verdicts: Vec<VerdictNote>| told.news(&set(set_text), verdicts).len();
        let (pass, fail) = (VerdictOutcome::Pass, VerdictOutcome::Fail);
        assert_eq!(count("a", vec![verdict("web", pass, "")]), 1, "the set alone");
        assert_eq!(count("a", vec![verdict("web", fail, "privileged")]), 1);
        for _ in 0..3 {
            assert_eq!(count("a", vec![verdict("web", fail, "privileged")]), 0);
        }
        assert_eq!(count("a", vec![verdict("web", fail, "privileged, twice")]), 1);
        assert_eq!(count("a", vec![verdict("db", fail, "privileged")]), 1);
        assert_eq!(count("b", vec![verdict("web", pass, ""), verdict("db", pass, "")]), 3);
        assert_eq!(count("b", vec![verdict("web", pass, "")]), 0);
    }

    #[test]
    fn a_waiver_and_an_end_are_changes() {
        let mut told = Told::default();
        let fail = verdict("web", VerdictOutcome::Fail, "privileged");
        assert_eq!(told.news(&set("a"), vec![fail.clone()]).len(), 2);
        let waived = VerdictNote {
            outcome: VerdictOutcome::Waived,
            waived_by: Some("debug-week".into()),
            ..fail.clone()
        };
        assert_eq!(told.news(&set("a"), vec![waived]).len(), 1);
        told.forget("web");
        assert_eq!(told.news(&set("a"), vec![fail]).len(), 1);
    }
}
