//! What operators ask for about rollouts, answered with the entry that carries it out, or with why
//! not. Pure, so that a daemon and a command without one answer alike.

use serde::{Deserialize, Serialize};

use super::overlay;
use crate::model::desired::Declared;
use crate::model::ids::Key;
use crate::model::journal::Entry;
use crate::model::record::{InstanceRecord, PastRevision};
use crate::model::rollout::{BackWhy, Rollout};
use crate::model::snapshot::Snapshot;
use crate::model::spec::InstanceSpec;
use crate::plan::goal::revision_now;
use crate::plan::rollout::last_good;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Ask {
    /// Go back to an earlier revision.
    Undo {
        /// Its number; the last good one before the present one if not said.
        to: Option<u64>,
    },
    /// Let no further replica change its revision.
    Pause,
    /// Let the rollout go on.
    Resume,
    /// Give each replica a new container.
    Restart,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What to record; nothing if it is so already.
    pub entry: Option<Entry>,
    /// What to say.
    pub message: String,
}

/// Why it cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Answers an operator: `by` is who asks, as `user@host`.
///
/// # Errors
/// [`Refusal`] if it cannot be, with what to do.
pub fn answer(snapshot: &Snapshot, key: &Key, ask: &Ask, by: &str) -> Result<Answer, Refusal> {
    let declared = snapshot.asked.get(key).or_else(|| snapshot.desired.instances.get(key));
    let Some(declared) = declared else {
        let known = snapshot.records.instances.contains_key(key);
        let what = if known { "is no longer declared" } else { "is not declared" };
        return Err(refusal(format!("instance {key} {what}"), "`windlass get` lists what is"));
    };
    let rollout = snapshot.records.rollouts.get(key);
    let paused = rollout.and_then(|rollout| rollout.paused.as_ref());
    let (instance, by) = (key.clone(), by.to_owned());
    let asked_for = |entry, message: String| Ok(Answer { entry: Some(entry), message });
    match (ask, paused) {
        (Ask::Pause, Some(paused)) => {
            let message = format!("the rollout of {key} was paused already, by {}", paused.by);
            Ok(Answer { entry: None, message })
        }
        (Ask::Pause, None) => {
            let message = format!("paused the rollout of {key}");
            asked_for(Entry::RolloutPaused { instance, by }, message)
        }
        (Ask::Resume, Some(_)) => {
            let message = format!("resumed the rollout of {key}");
            asked_for(Entry::RolloutResumed { instance, by }, message)
        }
        (Ask::Resume, None) => {
            let help = format!("`windlass rollout status {key}` says how it stands");
            Err(refusal(format!("the rollout of {key} is not paused"), &help))
        }
        (Ask::Restart, _) => {
            let record = snapshot.records.instances.get(key);
            let made = record.into_iter().flat_map(|record| record.replicas.values());
            if made.filter(|replica| replica.incarnation > 0).count() == 0 {
                let help = "`windlass apply` makes its containers";
                return Err(refusal(format!("{key} has no container yet"), help));
            }
            let message = format!("each replica of {key} gets a new container");
            asked_for(Entry::RestartAsked { instance, by }, message)
        }
        (Ask::Undo { .. }, Some(paused)) => {
            let message = format!("the rollout of {key} is paused, by {}", paused.by);
            let help = format!("`windlass rollout resume {key}` lets it go on");
            Err(refusal(message, &help))
        }
        (Ask::Undo { to }, None) => undo(snapshot, declared, rollout, key, *to, by),
    }
}

fn undo(
    snapshot: &Snapshot,
    declared: &Declared<InstanceSpec>,
    rollout: Option<&Rollout>,
    key: &Key,
    to: Option<u64>,
    by: String,
) -> Result<Answer, Refusal> {
    let Snapshot { desired, records, .. } = snapshot;
    let help = format!("`windlass rollout history {key}` lists its revisions");
    let Some(record) = records.instances.get(key).filter(|record| !record.history.is_empty())
    else {
        return Err(refusal(format!("no revision of {key} was rolled out yet"), &help));
    };
    let back = rollout.and_then(|rollout| rollout.back.as_ref());
    let back = back.filter(|_| snapshot.asked.contains_key(key));
    let asked = revision_now(desired, records, key, declared);
    let past_asked = asked.as_ref().and_then(|revision| record.past(revision));
    let past = match (to, back.map(|back| &back.why)) {
        (Some(number), _) => record.numbered(number).ok_or_else(|| {
            refusal(format!("{key} has no revision {number} in its history"), &help)
        })?,
        (None, Some(BackWhy::Undone { .. })) => {
            let message = format!("{key} was taken back to an earlier revision already");
            return Err(refusal(message, "name the revision that you want: --to N"));
        }
        (None, Some(BackWhy::Failed { .. }) | None) => {
            let present = match back {
                Some(back) => record.numbered(back.to),
                None => past_asked,
            };
            earlier_good(record, present).ok_or_else(|| {
                refusal(format!("{key} has no earlier good revision to go back to"), &help)
            })?
        }
    };
    let (number, instance) = (past.number, key.clone());
    if asked.as_ref() == Some(&past.revision) {
        let message = format!("revision {number} is what the specs of {key} ask for");
        return Ok(match back {
            Some(_) => Answer {
                entry: Some(Entry::Ahead { instance, by: Some(by) }),
                message: format!("{message}: it is in force again"),
            },
            None => Answer { entry: None, message: format!("{message}, and in force") },
        });
    }
    if back.is_some_and(|back| back.to == number) {
        let message = format!("{key} is at revision {number} already");
        return Ok(Answer { entry: None, message });
    }
    let Some(kept) = records.kept.get(key).and_then(|kept| kept.get(&number)) else {
        let message = format!(
            "{key} cannot go back to revision {number}: nothing was kept of it, since it was \
             rolled out by an earlier windlass"
        );
        return Err(refusal(message, "write its spec again as it was"));
    };
    if let Some(why) = overlay::hindrance(desired, declared, kept) {
        let message = format!("{key} cannot go back to revision {number}: {why}");
        return Err(refusal(message, "put that back as it was, or write the spec anew"));
    }
    let message =
        format!("{key} goes back to revision {number}, and stays there until its spec changes");
    let (asked, revision) = (overlay::asked(desired, &declared.spec), asked);
    let entry = Entry::Undone { instance, revision, asked, to: number, by };
    Ok(Answer { entry: Some(entry), message })
}

/// The last good revision before the present one; before all that come, if that is none yet.
fn earlier_good<'r>(
    record: &'r InstanceRecord,
    present: Option<&PastRevision>,
) -> Option<&'r PastRevision> {
    match present {
        Some(present) => last_good(record, &present.revision, present.number),
        None => record
            .history
            .iter()
            .rev()
            .find(|past| past.outcome == crate::model::rollout::Outcome::Good),
    }
}

fn refusal(message: String, help: &str) -> Refusal {
    Refusal { message, help: Some(help.to_owned()) }
}
