//! Reasons in words: one for machines, and a sentence for people.

use crate::model::ids::{Name, ObjectId, ReplicaKey};
use crate::model::observed::ContainerState;
use crate::model::quantity::Bytes;
use crate::model::record::Failure;
use crate::model::snapshot::Snapshot;
use crate::report::Reason;

/// The word for a reason, for machines.
#[must_use]
pub fn reason_word(reason: &Reason) -> &'static str {
    match reason {
        Reason::InFlight { .. } => "InFlight",
        Reason::Unknown { .. } => "NodeUnreachable",
        Reason::NodeNotDeclared => "NodeNotDeclared",
        Reason::Stays { .. } => "Stays",
        Reason::Unplaced { .. } => "Unplaced",
        Reason::OverQuota { .. } => "OverQuota",
        Reason::WaitingOn { .. } => "Waiting",
        Reason::Stalled { .. } => "Stalled",
        Reason::BackingOff { .. } => "BackingOff",
        Reason::Restarting { crash_loop: true, .. } => "CrashLooping",
        Reason::Restarting { .. } => "Restarting",
        Reason::Unhealthy { crash_loop: true, .. } => "CrashLooping",
        Reason::Unhealthy { .. } => "Unhealthy",
        Reason::Completed => "Completed",
        Reason::Failed { .. } => "Failed",
        Reason::Denied { .. } => "Denied",
        Reason::DriftReported { quarantined: false, .. } => "Drifted",
        Reason::DriftReported { quarantined: true, .. } => "Quarantined",
        Reason::SetAside { .. } | Reason::RolloutFailed { .. } => "RolloutFailed",
        Reason::Undone { .. } => "Undone",
        Reason::RolloutPaused { .. } => "RolloutPaused",
        Reason::Held => "Held",
        Reason::Retained => "Retained",
        Reason::Suspended { .. } => "Suspended",
    }
}

/// A reason in words, with what else is known of its object: why what it waits for does not come,
/// and whether the kernel ended it.
#[must_use]
pub fn explain(
    snapshot: &Snapshot,
    object: &ObjectId,
    node: Option<&Name>,
    reason: &Reason,
) -> String {
    let text = describe(reason);
    let ObjectId::Replica(key) = object else { return text };
    let more = match reason {
        Reason::WaitingOn { what } => image_failure(snapshot, key, node, what),
        Reason::Failed { .. } | Reason::Restarting { .. } => {
            let located = snapshot.containers.get(key);
            let newest = located.and_then(|located| {
                located.iter().max_by_key(|at| at.container.identity.incarnation)
            });
            let killed = newest.is_some_and(
                |at| matches!(&at.container.state, ContainerState::Exited(exit) if exit.oom_killed),
            );
            killed.then(|| {
                let limit = newest.map_or(0, |at| at.container.config.limits.memory);
                match limit {
                    0 => "killed for its use of memory".to_owned(),
                    limit => format!("killed for its use of memory, limit {}", Bytes(limit)),
                }
            })
        }
        Reason::InFlight { .. }
        | Reason::Unknown { .. }
        | Reason::NodeNotDeclared
        | Reason::Stays { .. }
        | Reason::Unplaced { .. }
        | Reason::OverQuota { .. }
        | Reason::Stalled { .. }
        | Reason::BackingOff { .. }
        | Reason::Unhealthy { .. }
        | Reason::Completed
        | Reason::Denied { .. }
        | Reason::DriftReported { .. }
        | Reason::SetAside { .. }
        | Reason::Undone { .. }
        | Reason::RolloutPaused { .. }
        | Reason::RolloutFailed { .. }
        | Reason::Held
        | Reason::Retained
        | Reason::Suspended { .. } => None,
    };
    match more {
        Some(more) => format!("{text} ({more})"),
        None => text,
    }
}

/// Why the image that a replica waits for does not come, if getting it has failed.
fn image_failure(
    snapshot: &Snapshot,
    key: &ReplicaKey,
    node: Option<&Name>,
    what: &str,
) -> Option<String> {
    let image = &snapshot.desired.instances.get(&key.instance)?.spec.image;
    if what.strip_prefix("image ") != Some(image.to_string().as_str()) {
        return None;
    }
    let failures = &snapshot.records.images.get(image)?.failures;
    let failure = match node {
        Some(node) => failures.get(node)?,
        None => failures.values().next()?,
    };
    let Failure { step, count, message, .. } = failure;
    let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
    Some(format!("{step} failed {times}: {message}"))
}

/// A reason in words.
#[must_use]
pub fn describe(reason: &Reason) -> String {
    match reason {
        Reason::InFlight { what } => format!("{what} is under way"),
        Reason::Unknown { message, .. } => format!("its node does not answer: {message}"),
        Reason::NodeNotDeclared => {
            "its node is no longer declared; it is left alone there".to_owned()
        }
        Reason::Unplaced { message }
        | Reason::OverQuota { message }
        | Reason::Stalled { message }
        | Reason::Stays { message } => message.clone(),
        Reason::WaitingOn { what } => format!("waits for {what}"),
        Reason::BackingOff { step, failures, message, .. } => {
            let times =
                if *failures == 1 { "once".to_owned() } else { format!("{failures} times") };
            format!("{step} failed {times}: {message}")
        }
        Reason::Restarting { code, streak, crash_loop, .. } => {
            let kind = if *crash_loop { "crash loop: " } else { "" };
            format!("{kind}ended with exit code {code}, started again {streak} times in a row")
        }
        Reason::Unhealthy { message, streak, retry_at, crash_loop } => {
            let kind = if *crash_loop { "crash loop: " } else { "" };
            let what = if message.is_empty() { "unhealthy" } else { message };
            match retry_at {
                Some(_) => format!("{kind}{what}, replaced {streak} times in a row"),
                None => format!("{kind}{what}; it is left so, since its restart policy is `never`"),
            }
        }
        Reason::Completed => "completed".to_owned(),
        Reason::Failed { code: Some(code) } => format!("failed with exit code {code}"),
        Reason::Failed { code: None } => {
            "ended, and its container is gone with the exit code".to_owned()
        }
        Reason::Denied { policy, message } => format!("denied by {policy}: {message}"),
        Reason::DriftReported { fields, policy, quarantined } => {
            let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
            let left = if *quarantined { "frozen, and kept" } else { "left" };
            format!("drift, {left} as {policy} says: {}", fields.join(", "))
        }
        Reason::SetAside { revision, to, why, .. } => {
            let revision = revision.map(|number| format!(" {number}")).unwrap_or_default();
            format!(
                "revision{revision} failed ({why}); back on revision {to}, revision{revision} is \
                 set aside until its spec changes"
            )
        }
        Reason::Undone { revision, to, by, .. } => {
            let from = revision.map(|number| format!(" from revision {number}"));
            format!(
                "{by} went back to revision {to}{}; it holds until its spec changes",
                from.unwrap_or_default()
            )
        }
        Reason::RolloutPaused { by, .. } => {
            format!("keeps its revision: the rollout was paused by {by}")
        }
        Reason::RolloutFailed { revision, why } => {
            format!("keeps its revision: revision {revision} failed ({why})")
        }
        Reason::Held => "its removal waits for `windlass approve`".to_owned(),
        Reason::Retained => "no longer declared; its data stays".to_owned(),
        Reason::Suspended { by, why, .. } => {
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("left alone: suspended by {by}{why}")
        }
    }
}
