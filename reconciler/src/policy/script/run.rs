//! One run of a script: what it may ask for, and what it has said so far.

use std::cell::Cell;
use std::sync::Arc;
#[expect(
    clippy::disallowed_types,
    reason = "native functions of the engine are shared between threads; a run is of one thread, \
              so the lock is never waited for"
)]
use std::sync::Mutex;

use rhai::NativeCallContext;

use super::fault::{Answer, FailureKind, raise, too_much};
use super::limits::WORK_MAX;
use crate::model::time::Timestamp;
use crate::policy::facts::Facts;
use crate::policy::inventory::Inventory;
use crate::policy::outcome::{Finding, Patch, Response};
use crate::policy::view::MaskKey;

/// What is the same for all runs of a round.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The time, as scripts see it.
    pub now: Timestamp,
    /// What is known of images from outside.
    pub facts: Arc<Facts>,
    /// All that is declared.
    pub inventory: Option<Inventory>,
    /// The key of digests that stand for secrets.
    pub mask: MaskKey,
}

/// What a run has said so far.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) findings: Vec<Finding>,
    pub(crate) patches: Vec<Patch>,
    pub(crate) response: Option<Response>,
    pub(crate) asserted: bool,
    /// Whether it asked for the time: then its verdict holds for as long as that is the same.
    pub(crate) asked_for_time: bool,
    /// Whether it asked for facts about images.
    pub(crate) asked_for_facts: bool,
    work: u64,
}

/// A handle to a run, which native functions find in their context.
#[derive(Clone)]
pub(crate) struct Run(Arc<Inner>);

#[expect(clippy::disallowed_types, reason = "as above")]
struct Inner {
    around: Surroundings,
    said: Mutex<Said>,
}

impl Run {
    pub(crate) fn new(around: &Surroundings) -> Self {
        #[expect(clippy::disallowed_types, reason = "as above")]
        let said = Mutex::new(Said::default());
        Self(Arc::new(Inner { around: around.clone(), said }))
    }

    /// The run that a native function is called by.
    pub(crate) fn of(context: &NativeCallContext<'_>) -> Answer<Self> {
        let run = context.tag().and_then(|tag| tag.read_lock::<Self>().map(|run| run.clone()));
        match run {
            Some(run) => Ok(run),
            None => raise(FailureKind::Runtime, "this can only be called while a rule is run"),
        }
    }

    /// What is the same for all runs.
    pub(crate) fn around(&self) -> &Surroundings {
        &self.0.around
    }

    /// Changes what was said so far.
    pub(crate) fn say<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        // A panic in the middle of a change ends the process anyway.
        let mut said = self.0.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut said)
    }

    /// Counts work that the engine does not count.
    pub(crate) fn work(&self, bytes: usize) -> Answer<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let work = self.say(|said| {
            said.work = said.work.saturating_add(bytes).saturating_add(1);
            said.work
        });
        if work > WORK_MAX {
            return too_much("it matches and joins too much text");
        }
        Ok(())
    }

    /// What was said in all.
    pub(crate) fn finish(&self) -> Said {
        self.say(std::mem::take)
    }
}

thread_local! {
    /// Operations of the run that is under way. The engine tells them to a function that knows no
    /// run, and a run is of one thread from its beginning to its end.
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Takes note of how many operations there were.
pub(crate) fn count(operations: u64) {
    OPERATIONS.set(operations);
}

/// How many there were since the last time.
pub(crate) fn counted() -> u64 {
    OPERATIONS.take()
}
