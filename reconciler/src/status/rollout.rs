//! How the rollout of an instance stands.

use serde::{Deserialize, Serialize};

use super::{HEALTH_UNKNOWN, InstanceStatus, Notes, ReplicaStatus, describe};
use crate::model::ids::{ReplicaKey, Revision};
use crate::model::record::PastRevision;
use crate::model::rollout::{Back, BackWhy, Outcome, Rollout};
use crate::model::snapshot::Snapshot;
use crate::model::spec::Power;
use crate::plan::goal::revision_now;
use crate::report::Reason;

/// So many failures of a step in a row are no bad luck: who waits is told.
const FAILURES_TOLD: u32 = 3;

/// How the rollout of an instance stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// One word: `UnderWay`, `Good`, `GoingBack`, `SetAside`, `Undone`, `Paused`, `Failed`,
    /// `Stuck`, `Restarting`.
    pub phase: String,
    /// The same in a sentence.
    pub message: String,
    /// The number of the revision that is in force, if a container of it was ever asked for.
    pub revision: Option<u64>,
    /// How many replicas have it.
    pub updated: u32,
    /// Whether nothing more comes of it by itself.
    pub over: bool,
    /// Whether it is as it was asked for.
    pub good: bool,
}

/// How the rollout of `of` stands; `None` if it is not declared.
#[must_use]
pub(super) fn rollout(
    snapshot: &Snapshot,
    notes: &Notes<'_>,
    of: &InstanceStatus,
) -> Option<RolloutStatus> {
    let declared = snapshot.desired.instances.get(&of.key)?;
    let Snapshot { desired, records, .. } = snapshot;
    let record = records.instances.get(&of.key);
    let wanted = revision_now(desired, records, &of.key, declared);
    let past = record.zip(wanted.as_ref()).and_then(|(record, revision)| record.past(revision));
    let has = |revision: &Revision| {
        let mine = of.replicas.iter().filter(|one| one.replica.ordinal < of.replicas_wanted);
        mine.filter(|one| one.revision.as_deref() == Some(&*revision.0)).count()
    };
    let updated = wanted.as_ref().map_or(0, has);
    let updated = u32::try_from(updated).unwrap_or(u32::MAX);
    let asked = records.rollouts.get(&of.key);
    let (phase, message, over, good) = standing(snapshot, notes, of, past, asked, updated);
    let (phase, revision) = (phase.to_owned(), past.map(|past| past.number));
    Some(RolloutStatus { phase, message, revision, updated, over, good })
}

type Standing = (&'static str, String, bool, bool);

fn standing(
    snapshot: &Snapshot,
    notes: &Notes<'_>,
    of: &InstanceStatus,
    past: Option<&PastRevision>,
    asked: Option<&Rollout>,
    updated: u32,
) -> Standing {
    let wanted = of.replicas_wanted;
    let count = format!("{updated} of {wanted} replicas have it, {} are ready", of.replicas_ready);
    let revision =
        past.map_or("the new revision".to_owned(), |past| format!("revision {}", past.number));
    let runs = snapshot.desired.instances.get(&of.key);
    let runs = runs.is_some_and(|declared| declared.spec.power == Power::Running);
    let rests = |reason: &Reason| matches!(reason, Reason::Completed);
    let reason = |ordinal: u32| notes.get(&ReplicaKey::new(of.key.clone(), ordinal)).copied();
    let reasons: Vec<&Reason> = (0..wanted).filter_map(reason).collect();
    let completed = reasons.iter().filter(|reason| rests(reason)).count();
    // Nobody waits for what is not known from here.
    let is_up = |one: &&ReplicaStatus| one.ready || one.state == HEALTH_UNKNOWN;
    let mine = of.replicas.iter().filter(|one| one.replica.ordinal < wanted);
    let up = u32::try_from(mine.filter(is_up).count()).unwrap_or(u32::MAX);
    let all_there = updated == wanted && (!runs || up == wanted)
        || wanted > 0 && completed == usize::try_from(wanted).unwrap_or(usize::MAX);
    let back = asked.and_then(|asked| asked.back.as_ref());
    let back = back.filter(|_| snapshot.asked.contains_key(&of.key));
    let stuck = reasons.iter().find(|reason| is_stuck(reason));
    if let Some(reason) = stuck {
        return ("Stuck", describe(reason), true, false);
    }
    if let Some(Back { away, to, why, .. }) = back {
        let away =
            away.map_or("what the specs ask for".to_owned(), |away| format!("revision {away}"));
        return match (why, all_there) {
            (BackWhy::Failed { why }, false) => (
                "GoingBack",
                format!("{away} failed ({why}); back to revision {to}: {count}"),
                false,
                false,
            ),
            (BackWhy::Failed { why }, true) => {
                let rest =
                    format!("back on revision {to}, {away} is set aside until its spec changes");
                ("SetAside", format!("{away} failed ({why}); {rest}"), true, false)
            }
            (BackWhy::Undone { by }, false) => {
                ("GoingBack", format!("{by} goes back to revision {to}: {count}"), false, false)
            }
            (BackWhy::Undone { by }, true) => {
                let what =
                    format!("{by} went back to revision {to}; it holds until its spec changes");
                ("Undone", what, true, true)
            }
        };
    }
    if let Some(paused) = asked.and_then(|asked| asked.paused.as_ref())
        && !all_there
    {
        return ("Paused", format!("paused by {}: {count}", paused.by), true, false);
    }
    if let Some(restart) = asked.and_then(|asked| asked.restart.as_ref()) {
        let left = restart.before.keys().filter(|ordinal| **ordinal < wanted).count();
        let what = format!("new containers for {left} replicas, asked for by {}", restart.by);
        return ("Restarting", what, false, false);
    }
    match past.map(|past| &past.outcome) {
        Some(Outcome::Failed { why, .. }) => {
            ("Failed", format!("{revision} failed: {why}; {count}"), true, false)
        }
        Some(Outcome::UnderWay) if runs && wanted > 0 => {
            ("UnderWay", format!("{revision} is being rolled out: {count}"), false, false)
        }
        Some(
            Outcome::UnderWay
            | Outcome::Good
            | Outcome::Unknown
            | Outcome::SetAside { .. }
            | Outcome::Undone { .. },
        )
        | None => match all_there {
            true => ("Good", format!("{revision} is rolled out: {count}"), true, true),
            false => ("UnderWay", format!("{revision} is on its way: {count}"), false, false),
        },
    }
}

/// Whether nothing more comes of it unless somebody does something, or a node answers again.
fn is_stuck(reason: &Reason) -> bool {
    match reason {
        Reason::BackingOff { failures, .. } => *failures >= FAILURES_TOLD,
        Reason::Unknown { .. }
        | Reason::NodeNotDeclared
        | Reason::Unplaced { .. }
        | Reason::OverQuota { .. }
        | Reason::Stalled { .. }
        | Reason::Denied { .. }
        | Reason::Held
        | Reason::Suspended { .. } => true,
        Reason::InFlight { .. }
        | Reason::Stays { .. }
        | Reason::WaitingOn { .. }
        | Reason::Restarting { .. }
        | Reason::Unhealthy { .. }
        | Reason::Completed
        | Reason::Failed { .. }
        | Reason::DriftReported { .. }
        | Reason::SetAside { .. }
        | Reason::Undone { .. }
        | Reason::RolloutPaused { .. }
        | Reason::RolloutFailed { .. }
        | Reason::Retained => false,
    }
}
