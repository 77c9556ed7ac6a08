//! Entries of the journal, as they are told.

use reconciler::model::ids::Name;
use reconciler::model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// An entry of the journal, for people: without texts of specs, and without any value of a
/// variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Noted {
    /// Its number.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Its kind, in one word: `intent`, `done`, `failed`, `declared`.
    pub kind: NotedKind,
    /// What it is about, if it is about one object.
    pub object: Option<String>,
    /// Where, if it is about one node.
    pub node: Option<Name>,
    /// What, for people.
    pub message: String,
}

/// The kinds of entries that are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NotedKind {
    /// windlass began to be, or another engine, directory or spec was seen.
    Seen,
    /// An instance has a new spec.
    Declared,
    /// Something was decided.
    Decided,
    /// An engine shall do something.
    Intent,
    /// An engine did it.
    Done,
    /// An engine could not do it.
    Failed,
    /// A container ended, or nothing is left of an object.
    Ended,
    /// An operator said something.
    Operator,
    /// Nothing was left to do.
    Settled,
    /// A command in a container.
    Exec,
    /// The specs directory stands at another commit.
    Commit,
    /// Policy said something.
    Policy,
    /// Something is short of what it needs, or is so no longer.
    Pressed,
}
