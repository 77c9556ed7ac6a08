//! What comes of a run of a script.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::script::fault::Failure;
use super::view::ObjectRef;

/// How much a finding weighs. What becomes of it is for the level that a binding sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Worth knowing.
    Info,
    /// Worth changing.
    Warn,
    /// Against the rule.
    Deny,
}

impl Weight {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

/// What a script found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// What is found.
    pub message: String,
    /// What it is about, where that is not what the script was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<ObjectRef>,
    /// The field that it is about: `spec.image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// What may stand there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub want: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The line of the script that says so, from 1.
    pub line: Option<u32>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (&self.at, &self.observed) {
            (Some(at), Some(observed)) => write!(f, " ({at} is {observed})")?,
            (Some(at), None) => write!(f, " ({at})")?,
            (None, Some(observed)) => write!(f, " ({observed})")?,
            (None, None) => {}
        }
        if let Some(want) = &self.want {
            write!(f, "; allowed: {want}")?;
        }
        if let Some(fix) = &self.fix {
            write!(f, "; {fix}")?;
        }
        Ok(())
    }
}

/// A value that a policy gives to a field that was not said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// The field: `spec.security.readOnlyRoot`.
    pub path: String,
    /// Its value, as YAML would have it.
    pub value: Value,
    /// The line of the script that says so, from 1.
    pub line: Option<u32>,
}

/// What shall become of drift. The strongest word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// It is left, and told.
    Report,
    /// It is repaired at once.
    Revert,
    /// The container is taken out of service and kept as it is.
    Quarantine,
}

impl Response {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Revert => "revert",
            Self::Quarantine => "quarantine",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Nothing was found.
    Pass {
        /// Whether the run came by an assertion at all: a `require` that held. A rule that only
        /// denies under conditions passes without one.
        asserted: bool,
    },
    /// This was found.
    Findings(Vec<Finding>),
    /// The script gave no verdict: neither pass nor denial, and closed by default.
    Error(Failure),
}

/// A run: how it ended, and what else came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// How it ended.
    pub outcome: Outcome,
    /// Fields that it gives values to; none if it erred.
    pub patches: Vec<Patch>,
    /// What shall become of drift, if it was asked and said so.
    pub response: Option<Response>,
    /// What it cost, in operations of the engine.
    pub operations: u64,
    /// Whether it asked for the time.
    pub asked_for_time: bool,
    /// Whether it asked for facts about images.
    pub asked_for_facts: bool,
}

impl Judgement {
    /// A run that could not begin.
    #[must_use]
    pub fn failed(failure: Failure) -> Self {
        Self::of(Outcome::Error(failure))
    }

    /// A run of which nothing else is to be told.
    #[must_use]
    pub(crate) fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            patches: Vec::new(),
            response: None,
            operations: 0,
            asked_for_time: false,
            asked_for_facts: false,
        }
    }
}
