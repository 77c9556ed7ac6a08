//! How objects stand that are no instances and no nodes.

use std::collections::BTreeMap;

use reconciler::model::ids::{Key, Name};
use reconciler::status::Condition;
use serde::{Deserialize, Serialize};

/// How an image stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// Its name: `project/name` of a declared one, else the reference.
    pub name: String,
    /// Its labels, if it is declared.
    pub labels: BTreeMap<String, String>,
    /// Where it is declared.
    pub source: Option<String>,
    /// Where it comes from.
    pub from: String,
    /// What it was resolved to.
    pub content: Option<String>,
    /// The nodes that hold it.
    pub nodes: Vec<Name>,
    /// What went wrong with it last.
    pub message: Option<String>,
}

/// How a volume stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// Its name.
    pub key: Key,
    /// Its labels, if it is declared.
    pub labels: BTreeMap<String, String>,
    /// Where it is declared.
    pub source: Option<String>,
    /// Its driver.
    pub driver: String,
    /// Whether its data stays when the declaration goes.
    pub retain: bool,
    /// The nodes that hold it.
    pub nodes: Vec<Name>,
    /// What is to be said of it.
    pub message: Option<String>,
}

/// How a network, a flavor or a project stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlainStatus {
    /// Its name: `project/name`, or the name alone of what is in no project.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is declared.
    pub source: Option<String>,
    /// What it says.
    pub spec: serde_json::Value,
    /// The nodes that hold it.
    pub nodes: Vec<Name>,
    /// How many instances use it; of a project, how many replicas it has.
    pub used_by: u32,
    /// What is to be known of it.
    pub conditions: Vec<Condition>,
    /// The same in one line.
    pub message: Option<String>,
    /// Of a project, what it has of all that its quota counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quota: Vec<QuotaUse>,
}

/// What a project has of one kind, and may have, as specs write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaUse {
    /// The field of its quota.
    pub kind: String,
    /// What is there, and what was admitted and comes.
    pub used: String,
    /// What is there.
    pub made: String,
    /// What may be.
    pub limit: String,
}
