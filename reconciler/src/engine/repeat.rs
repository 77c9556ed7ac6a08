//! What is done again and again, and makes no difference.
//!
//! A row of steps that succeeds, and is planned again at the next look, changes nothing: an engine
//! that drops a limit that its kernel cannot set, say. And two hands may pull at one object. Either
//! would keep the loop busy for ever, so such a row backs off like one that failed.

use std::time::Duration;

use super::Engine;
use crate::backoff;
use crate::model::ids::{Digest, ObjectId};
use crate::model::journal::Entry;
use crate::model::record::Failure;
use crate::model::time::Timestamp;
use crate::plan::{Change, ChangeKind};
use crate::step::{Cause, Step};

/// What another hand undoes is done again this often at once: a person who tries things out, or a
/// script that is replaced, ends before that.
const FREE_REPEATS: u32 = 5;

/// A row that came to its end without a failure.
#[derive(Debug)]
pub(super) struct Repeat {
    /// What it was.
    signature: Digest,
    /// How often it was done, each time soon after the last.
    times: u32,
    /// When it last ended, and how long it had waited before that.
    at: Timestamp,
    waited: Duration,
    /// Whether a round found nothing to do for the object since.
    took_effect: bool,
}

impl Repeat {
    pub(super) fn clock_was_put_back(&mut self, now: Timestamp) {
        self.at = self.at.min(now);
    }
}

impl Engine {
    /// Notes that a row came to its end without a failure.
    pub(super) fn row_is_done(&mut self, object: &ObjectId, signature: &Digest) {
        let now = self.snapshot.now;
        let stable = self.snapshot.config.stable_run;
        let earlier = self.repeats.remove(object).filter(|earlier| {
            earlier.signature == *signature && now.since(earlier.at) <= stable + earlier.waited
        });
        let (times, waited) =
            earlier.map_or((0, Duration::ZERO), |earlier| (earlier.times, earlier.waited));
        let (signature, took_effect) = (signature.clone(), false);
        let repeat = Repeat { signature, times: times + 1, at: now, waited, took_effect };
        self.repeats.insert(object.clone(), repeat);
    }

    /// Notes which objects a round has nothing to do for, and forgets what is long ago.
    pub(super) fn watch_repeats(&mut self) {
        if self.repeats.is_empty() {
            return;
        }
        let now = self.snapshot.now;
        let stable = self.snapshot.config.stable_run;
        self.repeats.retain(|_, repeat| now.since(repeat.at) <= stable + repeat.waited);
        let busy: std::collections::BTreeSet<&ObjectId> = {
            let planned = self.plan.changes.iter().map(|change| &change.object);
            let noted = self.report.notes.iter().map(|note| &note.object);
            planned.chain(noted).chain(self.chains.keys()).collect()
        };
        for (object, repeat) in &mut self.repeats {
            repeat.took_effect |= !busy.contains(object);
        }
    }

    /// Whether a row has to wait, since it was done before and made no difference. Says so in
    /// records, where the next round finds it.
    pub(super) fn repeats_in_vain(&mut self, change: &Change, row: &[Step]) -> bool {
        let now = self.snapshot.now;
        let Some(repeat) = self.repeats.get_mut(&change.object) else { return false };
        if signature(change, row).as_ref() != Some(&repeat.signature) {
            return false;
        }
        let free = if repeat.took_effect { FREE_REPEATS } else { 0 };
        let count = repeat.times.saturating_sub(free);
        let config = &self.snapshot.config;
        if count == 0 {
            return false;
        }
        // At least half of it: without a failure there is nothing else that slows the loop down.
        let span = backoff::span(config.backoff_base, config.backoff_max, count);
        let what = change.object.to_string();
        let wait =
            span / 2 + backoff::wait(config.backoff_base, config.backoff_max, count, &what) / 2;
        let retry_at = repeat.at + wait;
        if now >= retry_at {
            return false;
        }
        repeat.waited = wait;
        let message = if repeat.took_effect {
            format!("done {} times of late, and undone each time ({})", repeat.times, change.cause)
        } else {
            format!("done, and it made no difference ({})", change.cause)
        };
        let failure = Failure {
            goal: change.goal.clone(),
            count,
            at: now,
            retry_at,
            step: row.first().map_or("", |step| step.action.verb()).to_owned(),
            message,
            name_taken: false,
            unstartable: false,
        };
        let (object, node) = (change.object.clone(), change.node.clone());
        self.record(Entry::Failed { object, node, failure });
        self.want_round();
        true
    }
}

/// What makes a row the same as another one: all but the numbers and ids of containers. Restarts
/// and replacements of what is unhealthy have waits of their own, and none.
pub(super) fn signature(change: &Change, row: &[Step]) -> Option<Digest> {
    if change.kind == ChangeKind::Restart || matches!(change.cause, Cause::Unhealthy { .. }) {
        return None;
    }
    let mut text = format!("{} {:?} {}", change.goal, change.kind, change.cause);
    for step in row {
        text.push(' ');
        text.push_str(step.action.verb());
    }
    Some(Digest::of(text.as_bytes()))
}
