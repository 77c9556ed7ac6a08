//! What a round found besides steps: why nothing happens where something might be expected.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::ids::{Digest, Name, ObjectId};
use crate::model::time::Timestamp;
use crate::plan::ChangeKind;
use crate::step::FieldChange;

/// The findings of one round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// One note an object that gets no step although it is not as declared, or is done for good.
    pub notes: Vec<Note>,
    /// How many objects are in which case.
    pub counts: Counts,
    /// Removals that wait for an operator.
    pub held: Option<HeldSet>,
    /// The earliest instant at which the same inputs would be planned differently.
    pub wake_at: Option<Timestamp>,
    /// Whether there is nothing to do and nothing under way.
    pub settled: bool,
}

/// Why an object gets no step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The object.
    pub object: ObjectId,
    /// Where it is placed, if it is.
    pub node: Option<Name>,
    /// Why.
    pub reason: Reason,
    /// What will be done once that is over, if it is only a matter of waiting for others.
    pub later: Option<ChangeKind>,
}

/// Why nothing happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "reason")]
pub enum Reason {
    /// A step of it is under way.
    InFlight {
        /// Which.
        what: String,
    },
    /// Its node does not answer: it is left alone.
    Unknown {
        /// Since when, if it ever answered.
        since: Option<Timestamp>,
        /// What the attempt said.
        message: String,
    },
    /// Its node is no longer declared: it is left alone.
    NodeNotDeclared,
    /// Its node is drained, and it stays there all the same.
    Stays {
        /// Why, and what to do.
        message: String,
    },
    /// No node takes it.
    Unplaced {
        /// Why.
        message: String,
    },
    /// Its project, or one that that is in, has no room for it.
    OverQuota {
        /// Who asks for what, of which quota, and how much is left.
        message: String,
    },
    /// Something that it needs is being made.
    WaitingOn {
        /// What.
        what: String,
    },
    /// Something that it needs cannot be had.
    Stalled {
        /// What, and what to do.
        message: String,
    },
    /// A step failed, and is tried again later.
    BackingOff {
        /// Which step.
        step: String,
        /// Failures in a row.
        failures: u32,
        /// When it is tried again.
        retry_at: Timestamp,
        /// What the engine said.
        message: String,
    },
    /// It ended, and is started again later.
    Restarting {
        /// Its exit code.
        code: i64,
        /// Restarts in a row.
        streak: u32,
        /// When it is started again.
        retry_at: Timestamp,
        /// Whether it is a crash loop.
        crash_loop: bool,
    },
    /// It is unhealthy, and replaced later, or not at all.
    Unhealthy {
        /// What the check found; empty if that is not known.
        message: String,
        /// Replacements in a row.
        streak: u32,
        /// When it is replaced; never, if its restart policy says so.
        retry_at: Option<Timestamp>,
        /// Whether it was replaced so often that it is shown as a crash loop.
        crash_loop: bool,
    },
    /// It ended with exit code 0, and rests.
    Completed,
    /// It ended otherwise, and rests.
    Failed {
        /// Its exit code, if it is known.
        code: Option<i64>,
    },
    /// Policy does not allow it.
    Denied {
        /// Which policy.
        policy: String,
        /// Why.
        message: String,
    },
    /// Another hand changed it, and policy says to leave it so.
    DriftReported {
        /// In which fields.
        fields: Vec<FieldChange>,
        /// Which policy.
        policy: String,
        /// Whether it is frozen until somebody looked at it.
        quarantined: bool,
    },
    /// As declared, but for its revision: that failed, and an earlier one is in force.
    SetAside {
        /// The number of the revision that failed.
        revision: Option<u64>,
        /// The number of the one that is in force.
        to: u64,
        /// Since when.
        at: Timestamp,
        /// What went wrong.
        why: String,
    },
    /// As declared, but for its revision: an operator went back to an earlier one.
    Undone {
        /// The number of the revision that was left, if it was ever rolled out.
        revision: Option<u64>,
        /// The number of the one that is in force.
        to: u64,
        /// Since when.
        at: Timestamp,
        /// Who: `user@host`.
        by: String,
    },
    /// It keeps its revision: an operator paused the rollout of another one.
    RolloutPaused {
        /// Since when.
        at: Timestamp,
        /// Who: `user@host`.
        by: String,
    },
    /// It keeps its revision: the rollout of another one failed, and stays where it is.
    RolloutFailed {
        /// The number of the revision that failed.
        revision: u64,
        /// What went wrong.
        why: String,
    },
    /// Its removal waits for an operator.
    Held,
    /// It is no longer declared, and its data stays.
    Retained,
    /// An operator told us to leave it alone.
    Suspended {
        /// Since when.
        at: Timestamp,
        /// Who: `user@host`.
        by: String,
        /// Why, if they said so.
        why: Option<String>,
    },
}

/// How many objects are in which case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// To be created.
    pub add: u32,
    /// To be changed while they live: limits, power, restarts, names.
    pub change: u32,
    /// To be replaced.
    pub replace: u32,
    /// To be removed.
    pub destroy: u32,
    /// Denied by policy.
    pub denied: u32,
    /// Unknown, since their node does not answer.
    pub unknown: u32,
    /// Removals that wait for an operator.
    pub held: u32,
    /// Waiting, backing off, stalled or unplaced.
    pub waiting: u32,
    /// Left alone, since an operator suspended them.
    #[serde(default)]
    pub suspended: u32,
    /// Of those to be created, changed or replaced, the ones that wait for others first: they have
    /// no steps yet.
    #[serde(default)]
    pub later: u32,
    /// As declared but for their revision: an earlier one is held.
    #[serde(default)]
    pub behind: u32,
    /// As declared.
    pub settled: u32,
}

/// Removals that wait for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldSet {
    /// Digest of the set: an approval names it.
    pub digest: Digest,
    /// The set.
    pub objects: BTreeSet<ObjectId>,
    /// Why they are held.
    pub why: String,
}

impl Report {
    /// Wakes at `at`, or earlier.
    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}
