//! The journal's twin in memory, for tests and the simulator.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reconciler::model::journal::Stamped;
use reconciler::model::record::Records;
use reconciler::ports::{Journal, StoreError};

/// A journal in memory. Clones share it: one goes to who writes, one stays to look on.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Stamped>,
    appends: u64,
    failures: u64,
    wants_checkpoint: bool,
}

impl MemoryJournal {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All entries so far.
    #[must_use]
    pub fn entries(&self) -> Vec<Stamped> {
        self.lock().entries.clone()
    }

    /// The records as the entries tell them, and the number of the last one.
    #[must_use]
    pub fn records(&self) -> (Records, u64) {
        let inner = self.lock();
        let mut records = Records::default();
        for stamped in &inner.entries {
            records.apply(stamped.at, &stamped.entry);
        }
        (records, inner.entries.last().map_or(0, |stamped| stamped.seq))
    }

    /// How many appends succeeded: each one is a sync on a real disk.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.lock().appends
    }

    /// Lets the next `count` appends fail.
    pub fn fail_next(&self, count: u64) {
        self.lock().failures = count;
    }

    /// Sets what [`wants_checkpoint`](Journal::wants_checkpoint) says.
    pub fn want_checkpoint(&self, wanted: bool) {
        self.lock().wants_checkpoint = wanted;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, entries: &[Stamped]) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let refuse = |message: String| {
            Err(StoreError { operation: "append to journal in memory".to_owned(), message })
        };
        if inner.failures > 0 {
            inner.failures -= 1;
            return refuse("no space left on device (injected)".to_owned());
        }
        let next = inner.entries.last().map_or(1, |stamped| stamped.seq + 1);
        for (wanted, stamped) in (next..).zip(entries) {
            if stamped.seq != wanted {
                let seq = stamped.seq;
                return refuse(format!("entry {seq} was handed over where {wanted} is next"));
            }
        }
        if !entries.is_empty() {
            inner.entries.extend_from_slice(entries);
            inner.appends += 1;
        }
        Ok(())
    }

    fn wants_checkpoint(&self) -> bool {
        self.lock().wants_checkpoint
    }
}
