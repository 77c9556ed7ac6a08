//! What one round leaves to the next: the instances for which nothing was to be done. While nothing
//! that concerns them changes they are not planned again, so that a round costs what changed and not
//! what is there.
//!
//! It is a shortcut and nothing else: a round with a memo gives the same plan and the same report as
//! one without. A build with assertions makes both, and compares.

use std::collections::BTreeSet;

use super::Round;
use crate::model::ids::Key;
use crate::model::time::Timestamp;
use crate::report::{Counts, Report};

/// What is known from earlier rounds. A new one knows nothing: all is planned.
#[derive(Debug, Clone, Default)]
pub struct Memo {
    /// The instances that are declared, by key, and what was found of those for which nothing was
    /// to be done. A round of all of them comes in that order, so it is a list that is added to.
    found: Vec<(Key, Option<Quiet>)>,
    /// All others of them, and what is left over.
    busy: BTreeSet<Key>,
    /// When something about a quiet one changes by itself.
    wakes: BTreeSet<(Timestamp, Key)>,
    /// How many replicas of quiet instances are as declared.
    settled: u32,
    /// Whether the above is what an earlier round found.
    is_filled: bool,
}

/// What a round found of an instance for which nothing was to be done.
#[derive(Debug, Clone, Copy)]
struct Quiet {
    settled: u32,
    wake_at: Option<Timestamp>,
}

impl Memo {
    /// Something about one instance changed, or about what is left of one.
    pub fn touch(&mut self, instance: &Key) {
        if self.is_filled && !self.busy.contains(instance) {
            self.forget_one(instance);
            self.busy.insert(instance.clone());
        }
    }

    /// Anything may have changed.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn forget_one(&mut self, instance: &Key) {
        let Ok(index) = self.index(instance) else { return };
        let found = self.found.get_mut(index).and_then(|(_, quiet)| quiet.take());
        let Some(Quiet { settled, wake_at }) = found else { return };
        self.settled -= settled;
        if let Some(at) = wake_at {
            self.wakes.remove(&(at, instance.clone()));
        }
    }

    /// Where an instance stands in the list, or is to be put.
    fn index(&self, instance: &Key) -> Result<usize, usize> {
        match self.found.last() {
            Some((last, _)) if last >= instance => {
                self.found.binary_search_by(|(key, _)| key.cmp(instance))
            }
            Some(_) | None => Err(self.found.len()),
        }
    }

    /// The instances that a round at `now` has to plan; `None` for all of them.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<Vec<Key>> {
        if !self.is_filled {
            return None;
        }
        while let Some((at, instance)) = self.wakes.first().cloned() {
            if at > now {
                break;
            }
            self.touch(&instance);
        }
        Some(std::mem::take(&mut self.busy).into_iter().collect())
    }

    /// All of the round's instances were planned.
    pub(super) fn filled(&mut self, report: &mut Report) {
        self.is_filled = true;
        report.counts.settled += self.settled;
        if let Some((at, _)) = self.wakes.first() {
            report.wake(*at);
        }
    }

    /// Something is left of an instance that is not declared.
    pub(super) fn note_left_over(&mut self, instance: &Key) {
        self.busy.insert(instance.clone());
    }

    /// What came of an instance in this round.
    fn note(&mut self, instance: &Key, quiet: Option<Quiet>) {
        match quiet {
            None => {
                self.busy.insert(instance.clone());
            }
            Some(Quiet { settled, wake_at }) => {
                self.settled += settled;
                if let Some(at) = wake_at {
                    self.wakes.insert((at, instance.clone()));
                }
            }
        }
        match self.index(instance) {
            Ok(index) => {
                if let Some((_, found)) = self.found.get_mut(index) {
                    *found = quiet;
                }
            }
            Err(index) => self.found.insert(index, (instance.clone(), quiet)),
        }
    }
}

/// How far a round had come before it planned an instance.
pub(super) struct Mark {
    steps: usize,
    decisions: usize,
    notes: usize,
    undeclared: usize,
    counts: Counts,
    wake_at: Option<Timestamp>,
}

impl Round<'_> {
    /// Begins with an instance.
    pub(super) fn mark(&mut self) -> Mark {
        Mark {
            steps: self.plan.steps.len(),
            decisions: self.plan.decisions.len(),
            notes: self.report.notes.len(),
            undeclared: self.undeclared.len(),
            counts: self.report.counts,
            wake_at: self.report.wake_at.take(),
        }
    }

    /// Notes whether there was anything to do for the instance that was begun with at `mark`. What
    /// is remembered of a quiet one comes into the report with [`Memo::filled`].
    pub(super) fn remember(&mut self, memo: &mut Memo, instance: &Key, mark: &Mark) {
        let wake_at = std::mem::replace(&mut self.report.wake_at, mark.wake_at);
        let settled = self.report.counts.settled - mark.counts.settled;
        // What is linked goes by how others stand.
        let is_linked = self.together.with(instance).next().is_some();
        let is_quiet = !is_linked
            && self.plan.steps.len() == mark.steps
            && self.plan.decisions.len() == mark.decisions
            && self.report.notes.len() == mark.notes
            && self.undeclared.len() == mark.undeclared
            && self.report.counts
                == Counts { settled: mark.counts.settled + settled, ..mark.counts };
        if is_quiet {
            self.report.counts = mark.counts;
            memo.note(instance, Some(Quiet { settled, wake_at }));
        } else {
            if let Some(at) = wake_at {
                self.report.wake(at);
            }
            memo.note(instance, None);
        }
    }
}
