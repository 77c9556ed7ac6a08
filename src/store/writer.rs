//! A thread that writes to the store, so that the loop never waits for it: a list of a large node
//! is some thousand records.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use reconciler::ports::{StateStore, StoreError, Write};

/// Batches that may wait. All that wait are written as one, so a longer queue means that the disk
/// hangs; the loop then waits too, before memory fills up.
const QUEUED_BATCHES_MAX: usize = 1024;

type Batch = (Vec<Write>, u64);

/// Hands writes to a store on a thread of its own.
///
/// # Guarantees
/// Writes reach the store in the order in which they came. A store that cannot be written is
/// behind, no more, since the journal has it all; what it is behind by goes with the next write.
///
/// Dropping it waits until all is written.
#[derive(Debug)]
pub struct StoreWriter {
    queue: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl StoreWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`StoreError`] if the system gives no thread.
    pub fn start(store: impl StateStore + 'static) -> Result<Self, StoreError> {
        let (queue, batches) = sync_channel(QUEUED_BATCHES_MAX);
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || serve(&store, &batches))
            .map_err(|error| StoreError {
                operation: "start the store's thread".to_owned(),
                message: error.to_string(),
            })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues writes, with the number of the last entry that is in them.
    pub fn save(&self, writes: Vec<Write>, seq: u64) {
        if let Some(queue) = &self.queue {
            // If the thread has ended, the store is behind: the next start reads the journal.
            let _ = queue.send((writes, seq));
        }
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic on the thread was printed there; dropping has nobody to tell.
            let _ = thread.join();
        }
    }
}

fn serve(store: &impl StateStore, batches: &Receiver<Batch>) {
    let mut behind = Vec::new();
    while let Ok((mut writes, mut seq)) = batches.recv() {
        behind.append(&mut writes);
        for (mut more, last) in batches.try_iter().take(QUEUED_BATCHES_MAX) {
            behind.append(&mut more);
            seq = last;
        }
        match store.save(&behind, seq) {
            // Its memory goes too: the first list of a node may have needed much.
            Ok(()) => behind = Vec::new(),
            Err(error) => tracing::warn!(%error, "store records"),
        }
    }
}
