//! What can be written in a case.

use std::collections::BTreeMap;

use reconciler::model::spec::policy::{ActionKind, Param};
use reconciler::model::time::Timestamp;
use reconciler::policy::evaluate::Verdict;
use reconciler::policy::outcome::{Outcome, Response, Weight};
use reconciler::policy::view::Running;
use serde::Deserialize;
use serde::de::{IgnoredAny, Unexpected};

/// What a policy is asked, and what it shall say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) case: String,
    pub(super) verdict: Word,
    /// What findings are about, in their order.
    #[serde(default)]
    pub(super) at: Vec<String>,
    /// Whom findings are on, in any order: `Instance/shop/web`, `Project/shop`.
    #[serde(default)]
    pub(super) on: Vec<String>,
    /// How many findings there are.
    pub(super) findings: Option<usize>,
    /// A part of what is said, of an error too.
    pub(super) says: Option<String>,
    /// What becomes of drift.
    pub(super) response: Option<Response>,
    /// Values that it gives to fields that were not said.
    pub(super) defaults: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default)]
    pub(super) params: BTreeMap<String, Param>,
    /// The spec of an Instance, `default/case`. Its place is in the tree.
    pub(super) instance: Option<IgnoredAny>,
    /// Its labels.
    pub(super) labels: Option<IgnoredAny>,
    /// Volumes that are declared beside it.
    pub(super) volumes: Option<IgnoredAny>,
    /// Whole documents.
    pub(super) objects: Option<IgnoredAny>,
    /// What is judged, if not all of it: `Instance/shop/web`.
    pub(super) about: Option<String>,
    /// What was found where it runs.
    pub(super) running: Option<Running>,
    pub(super) action: Option<Action>,
    pub(super) drift: Option<Drift>,
    #[serde(default)]
    pub(super) facts: BTreeMap<String, Facts>,
    pub(super) now: Option<Moment>,
}

/// An action, before it is done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Action {
    pub(super) kind: ActionKind,
    pub(super) target: Option<String>,
    pub(super) replica: Option<u32>,
    pub(super) node: Option<String>,
    #[serde(default)]
    pub(super) cause: String,
    #[serde(default)]
    pub(super) fields: Vec<Change>,
    #[serde(default)]
    pub(super) linked_by: Vec<String>,
    #[serde(default)]
    pub(super) round: Round,
    pub(super) exec: Option<Exec>,
}

/// Drift, before it is repaired.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drift {
    pub(super) object: Option<String>,
    pub(super) replica: Option<u32>,
    pub(super) node: Option<String>,
    pub(super) fields: Vec<Change>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pub(super) field: String,
    #[serde(default)]
    pub(super) found: String,
    #[serde(default)]
    pub(super) wanted: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Round {
    pub(super) deletes: u64,
    pub(super) replaces: u64,
    pub(super) managed: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exec {
    pub(super) command: Vec<String>,
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) privileged: bool,
}

/// What is known of an image.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    pub(super) created: Option<Moment>,
    pub(super) signers: Option<Vec<String>>,
    pub(super) fingerprints: Option<Vec<String>>,
}

/// A date, which is its beginning, or a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(pub(super) Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By a visitor, since only what it says gets a place.
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Moment;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a date such as `2026-11-30`, or `2026-11-30T08:00:00Z`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Moment, E> {
                let time = text.parse::<jiff::Timestamp>();
                let time = time.or_else(|_| format!("{text}T00:00:00Z").parse());
                let time = time.map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
                Ok(Moment(Timestamp(time.as_millisecond())))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// What a policy says, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// It is not asked: it is about other kinds, or other actions.
    Unasked,
    /// It finds nothing.
    Pass,
    /// What weighs most is worth knowing.
    Info,
    /// What weighs most is worth changing.
    Warn,
    /// What it denies is waived.
    Waived,
    /// It denies.
    Fail,
    /// It gives no verdict.
    Error,
}

impl Word {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Pass => "pass",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Waived => "waived",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }

    /// What a verdict comes to.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        match &verdict.outcome {
            Outcome::Pass { .. } => Self::Pass,
            Outcome::Error(_) => Self::Error,
            Outcome::Findings(findings) => {
                match findings.iter().map(|finding| finding.weight).max() {
                    Some(Weight::Deny) if verdict.waived_by.is_some() => Self::Waived,
                    Some(Weight::Deny) => Self::Fail,
                    Some(Weight::Warn) => Self::Warn,
                    Some(Weight::Info) => Self::Info,
                    None => Self::Pass,
                }
            }
        }
    }
}

impl Case {
    /// What is said of it that cannot be.
    pub(super) fn contradiction(&self) -> Option<&'static str> {
        let Self { instance, labels, volumes, objects, running, action, drift, .. } = self;
        if instance.is_none() && (labels.is_some() || volumes.is_some()) {
            return Some("`labels` and `volumes` stand beside an `instance`");
        }
        if instance.is_none() && objects.is_none() {
            return Some("a case needs an `instance` or `objects`");
        }
        let asked = [running.is_some(), action.is_some(), drift.is_some()];
        (asked.into_iter().filter(|is_asked| *is_asked).count() > 1)
            .then_some("a case is about what runs, about an action or about drift")
    }
}

/// The cases of a text, or what is wrong with it, with its place.
pub(super) fn read(path: &str, text: &str) -> Result<Vec<Case>, Vec<String>> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Vec::new());
    }
    serde_yaml::from_str(text).map_err(|error| {
        let place = error.location();
        let place = place.map(|place| format!(":{}:{}", place.line(), place.column()));
        let message = error.to_string();
        // The place stands in front, as it does for all errors.
        let message = message.split(" at line ").next().unwrap_or(&message);
        let message = match message.split_once(": ") {
            Some((way, message)) if way.contains('[') && !way.contains(' ') => message,
            Some(_) | None => message,
        };
        vec![format!("{path}{}: {message}", place.unwrap_or_default())]
    })
}
