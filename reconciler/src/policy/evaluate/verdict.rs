//! Verdicts: what one policy says of one thing, and what that means.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::ids::{Digest, Key};
use crate::model::spec::policy::{Level, Point, PolicyId};
use crate::policy::outcome::{Finding, Outcome, Patch, Response, Weight};
use crate::policy::view::ObjectRef;

/// What one policy says of one thing, under one binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Of what.
    pub object: ObjectRef,
    /// Where it was asked.
    pub point: Point,
    /// The policy. Of a binding that names a profile that is not there, the profile.
    pub policy: PolicyId,
    /// The version of the policy; none if there is no such policy.
    pub version: Option<Arc<str>>,
    /// The SHA-256 of its text.
    pub script: Option<Digest>,
    /// The digest of its parameters.
    pub params: Option<Digest>,
    /// The binding that put it in force.
    pub binding: Key,
    /// The level that holds here.
    pub level: Level,
    /// What came of it.
    pub outcome: Outcome,
    /// The waiver that lets it pass all the same.
    pub waived_by: Option<Key>,
    /// What it took to find out, in operations; also where an earlier verdict still held.
    pub operations: u64,
}

impl Verdict {
    /// Whether it stands in the way: errors do, and findings that deny, at a level that denies. A
    /// waiver is for what a policy says; one that says nothing is not waived.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.level.denies()
            && match &self.outcome {
                Outcome::Pass { .. } => false,
                Outcome::Findings(findings) => self.waived_by.is_none() && has_denial(findings),
                Outcome::Error(_) => true,
            }
    }

    /// Whether people are to hear of it: it denies, or would at another level, or is waived.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.level >= Level::Warn && !matches!(self.outcome, Outcome::Pass { .. })
    }

    /// Why it stands in the way, in a line.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.outcome {
            Outcome::Pass { .. } => "passed".to_owned(),
            Outcome::Findings(findings) => {
                let denials = findings.iter().filter(|finding| finding.weight == Weight::Deny);
                denials.map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            Outcome::Error(failure) => {
                format!("no verdict, {} error: {failure}", failure.kind.as_str())
            }
        }
    }
}

/// Whether one of them denies.
pub(super) fn has_denial(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.weight == Weight::Deny)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, policy, level, outcome, waived_by, .. } = self;
        write!(f, "{object} {policy} {}: ", level.as_str())?;
        match outcome {
            Outcome::Pass { asserted: true } => f.write_str("pass")?,
            Outcome::Pass { asserted: false } => f.write_str("pass, nothing asserted")?,
            Outcome::Findings(findings) => {
                let findings = findings
                    .iter()
                    .map(|finding| format!("{}: {finding}", finding.weight.as_str()));
                f.write_str(&findings.collect::<Vec<_>>().join(" | "))?;
            }
            Outcome::Error(failure) => write!(f, "{} error: {failure}", failure.kind.as_str())?,
        }
        match waived_by {
            Some(waiver) => write!(f, " (waived by {waiver})"),
            None => Ok(()),
        }
    }
}

/// A patch with the policy that it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyPatch {
    /// The policy.
    pub policy: PolicyId,
    /// The patch.
    pub patch: Patch,
}

/// What all policies together say of one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Each verdict, in the order of bindings and policies.
    pub verdicts: Vec<Verdict>,
    /// Values for fields that were not said. None stands in the way of another one: policies that
    /// disagree are an error of each of them.
    pub patches: Vec<PolicyPatch>,
    /// What shall become of drift; the strongest word of those whose level denies.
    pub response: Option<Response>,
    /// Whether a script asked for the time, so that it may say otherwise later.
    #[serde(skip)]
    pub asked_for_time: bool,
}

impl Decision {
    /// Whether it may be done.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.denials().next().is_none()
    }

    /// The verdicts that stand in the way.
    pub fn denials(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.denies())
    }
}
