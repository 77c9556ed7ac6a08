//! Policies in force: bindings, which say what rules hold for what, and waivers, which say for how
//! long somebody may break one.
//!
//! The rules themselves stand in no spec. That a binding names one there is, and gives it the
//! parameters that it takes, is known where the rules are loaded.

mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::form;
use crate::model::glob::Glob;
use crate::model::ids::Name;
use crate::model::sparse::{Sparse, empty};
use crate::model::time::Expiry;

pub use self::words::{
    ActionKind, Level, ObjectKind, POLICY_ID_BYTES_MAX, Point, PolicyId, PolicyIdError,
};

/// A policy in force: which one, how strictly, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyBindingSpec {
    /// What is bound: exactly one of the two stands in the spec.
    #[serde(flatten)]
    pub bound: Bound,
    /// How much a finding weighs; the rule's own level if not said.
    pub level: Option<Level>,
    /// The same at single points, where it differs from `level`.
    #[serde(default, skip_serializing_if = "Levels::is_empty")]
    pub levels: Levels,
    /// Parameters of the policy by their names: texts (quantities too), whole numbers, truth values
    /// and lists of texts. Those of a profile go to each of its policies that
    /// has one of that name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }))
    )]
    pub params: BTreeMap<String, Param>,
    /// What it is about, beside what the policy itself is about. All that is said must hold;
    /// without it all objects of the binding's own project.
    #[serde(default, rename = "match", skip_serializing_if = "Sparse::is_empty")]
    pub matches: Sparse<Match>,
}

impl PolicyBindingSpec {
    /// The level that the binding sets at a point; `None` leaves it to the rule.
    #[must_use]
    pub fn level_at(&self, point: Point) -> Option<Level> {
        self.levels.at(point).or(self.level)
    }
}

/// Levels at single points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Levels {
    /// Of what is declared, before anything is planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Level>,
    /// Of an action, before it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Level>,
    /// Of drift, before it is repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Level>,
    /// Of what runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scan: Option<Level>,
}

impl Levels {
    /// The level at a point, if one is said.
    #[must_use]
    pub fn at(&self, point: Point) -> Option<Level> {
        match point {
            Point::Plan => self.plan,
            Point::Act => self.act,
            Point::Drift => self.drift,
            Point::Scan => self.scan,
        }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a binding puts in force.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Bound {
    /// One policy, by its id: `CIS-5.5`.
    Policy(PolicyId),
    /// All policies of a profile, by its name: `baseline`.
    Profile(PolicyId),
}

/// The value of a parameter. Quantities are texts, `500m`; the policy says what it takes them for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Param {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A list of texts.
    List(Vec<String>),
    /// A text.
    Text(String),
}

/// What a binding is about. What is left out does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Match {
    /// Objects of these kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<ObjectKind>,
    /// Objects of these projects, or `"*"` for all. Only a binding in the project `default` names
    /// others than its own; without it a binding is about its own project.
    #[serde(skip_serializing_if = "Projects::is_own")]
    #[cfg_attr(feature = "schema", schemars(with = "form::Projects"))]
    pub projects: Projects,
    /// Objects with these labels in their `metadata`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, form::Text>"))]
    pub labels: BTreeMap<String, String>,
    /// Objects with one of these names; `*` stands for any characters, `?` for one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Glob>,
    /// What is on one of these nodes; what is on none yet counts, since it may come there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Name>,
    /// Only these actions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionKind>,
}

empty!(Match);

/// What is matched. What is not known, or is nothing that the object has, is `None`.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its kind.
    pub kind: ObjectKind,
    /// The project that it is in. A Project is taken to be in itself, a Node is in none.
    pub project: Option<&'a Name>,
    /// Its name.
    pub name: &'a str,
    /// The labels of its `metadata`. Of what is no longer declared they may not be known.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The node that it is on.
    pub node: Option<&'a Name>,
    /// What is about to be done to it.
    pub action: Option<ActionKind>,
}

impl Match {
    /// Whether a binding of project `own` is about `candidate`. What is not known of it does not
    /// leave it out: a policy that is asked in vain is better than one that is not asked.
    #[must_use]
    pub fn covers(&self, own: &Name, candidate: &Candidate<'_>) -> bool {
        let Self { kinds, projects, labels, names, nodes, actions } = self;
        let Candidate { kind, project, name, labels: has, node, action } = *candidate;
        (kinds.is_empty() || kinds.contains(&kind))
            && projects.cover(own, project)
            && has.is_none_or(|has| labels.iter().all(|(key, value)| has.get(key) == Some(value)))
            && (names.is_empty() || names.iter().any(|glob| glob.matches(name)))
            && (nodes.is_empty() || node.is_none_or(|node| nodes.contains(node)))
            && (actions.is_empty() || action.is_none_or(|action| actions.contains(&action)))
    }
}

/// The projects that a binding is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Projects {
    /// That of the binding.
    #[default]
    Own,
    /// All of them, those that are declared later too, and what is in none.
    All,
    /// These.
    Named(Vec<Name>),
}

impl Projects {
    fn is_own(&self) -> bool {
        *self == Self::Own
    }

    /// Whether they hold `project`, for a binding of project `own`. What is in no project, which
    /// is what all projects share, is the affair of the project `default`.
    #[must_use]
    pub fn cover(&self, own: &Name, project: Option<&Name>) -> bool {
        match (self, project) {
            (Self::All, _) => true,
            (Self::Own, Some(project)) => project == own,
            (Self::Named(names), Some(project)) => names.contains(project),
            (Self::Own, None) => *own == Name::default_project(),
            (Self::Named(names), None) => names.contains(&Name::default_project()),
        }
    }
}

/// A dated exception: what a policy says of some objects denies nothing until then. The policy is
/// asked all the same, and what it finds is recorded as waived.
///
/// A finding of level `soft` is waived by any waiver that is not over, one of level `hard` only by
/// one that names an `approver`. A waiver that is over, or that covers nothing that its policy
/// finds, is a finding itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct WaiverSpec {
    /// The policy that may be broken, by its id.
    pub policy: PolicyId,
    /// By what. All that is said must hold; something has to be said.
    pub select: Select,
    /// Why, for those who read the record later.
    #[cfg_attr(feature = "schema", schemars(with = "form::Text", length(min = 1)))]
    pub reason: String,
    /// Where that was discussed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Text>"))]
    pub ticket: Option<String>,
    /// Who agreed to it. Without one, findings of level `hard` stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Text>"))]
    pub approver: Option<String>,
    /// The last day on which it holds, in UTC, or the instant at which it ends.
    pub expires: Expiry,
}

impl WaiverSpec {
    /// Whether it can waive a finding of that level, once it covers it and is not over.
    #[must_use]
    pub fn waives(&self, level: Level) -> bool {
        match level {
            Level::Off | Level::Audit | Level::Warn | Level::Soft => true,
            Level::Hard => self.approver.is_some(),
        }
    }
}

/// What a waiver is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "schema", schemars(extend("minProperties" = 1)))]
pub struct Select {
    /// Objects of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ObjectKind>,
    /// Objects of this name; `*` stands for any characters, `?` for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Glob>,
    /// Objects of this project; the waiver's own if not said. Only a waiver in the project
    /// `default` names another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<Name>,
    /// Objects with these labels in their `metadata`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, form::Text>"))]
    pub labels: BTreeMap<String, String>,
}

impl Select {
    /// Whether a waiver of project `own` is for `candidate`. Here what is not known does leave it
    /// out: an exception has to be said.
    #[must_use]
    pub fn covers(&self, own: &Name, candidate: &Candidate<'_>) -> bool {
        let Self { kind, name, project, labels } = self;
        let of = project.as_ref().unwrap_or(own);
        kind.is_none_or(|kind| kind == candidate.kind)
            && name.as_ref().is_none_or(|glob| glob.matches(candidate.name))
            && match candidate.project {
                Some(project) => project == of,
                None => *of == Name::default_project(),
            }
            && (labels.is_empty()
                || candidate.labels.is_some_and(|has| {
                    labels.iter().all(|(key, value)| has.get(key) == Some(value))
                }))
    }
}

#[cfg(test)]
mod tests;
