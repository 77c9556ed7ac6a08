//! A thread that appends, so that the loop never waits for a disk, and so that all entries that
//! are ready share one sync.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use reconciler::model::journal::Stamped;
use reconciler::ports::{Journal, StoreError};

/// Batches that may wait for the disk. The loop has a few steps under way on each node, so a longer
/// queue means that the disk hangs, and more intents make no sense.
pub const QUEUED_BATCHES_MAX: usize = 1024;

/// The journal may rest when nothing has come for this long: much longer than the row of a
/// replacement pauses, and no burst of work is left unsigned for longer.
const REST_AFTER: Duration = Duration::from_secs(10);

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Which batch.
    pub ticket: u64,
    /// Whether all of it is durable; else none of it is.
    pub result: Result<(), StoreError>,
    /// Whether a checkpoint is due.
    pub wants_checkpoint: bool,
}

/// Hands batches to a journal on a thread of its own.
///
/// # Guarantees
/// Batches are appended in the order in which they were submitted, and every one that was accepted
/// is answered, in that order. One that comes after a batch that failed fails too, since its
/// numbers leave a gap: it can be submitted again, as can the first.
///
/// Dropping it waits until all is answered.
#[derive(Debug)]
pub struct JournalWriter {
    queue: Option<SyncSender<(Vec<Stamped>, u64)>>,
    thread: Option<JoinHandle<()>>,
}

impl JournalWriter {
    /// Starts the thread. `done` is called there, once a batch.
    ///
    /// # Errors
    /// [`StoreError`] if the system gives no thread.
    pub fn start<J, F>(journal: J, done: F) -> Result<Self, StoreError>
    where
        J: Journal + 'static,
        F: FnMut(Written) + Send + 'static,
    {
        let (queue, batches) = sync_channel(QUEUED_BATCHES_MAX);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || serve(journal, &batches, done))
            .map_err(|error| StoreError {
                operation: "start the journal's thread".to_owned(),
                message: error.to_string(),
            })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues a batch; `done` will be called with its ticket. Never waits.
    ///
    /// # Errors
    /// [`StoreError`] if the queue is full, or the thread has ended: `done` is not called then.
    pub fn submit(&self, entries: Vec<Stamped>, ticket: u64) -> Result<(), StoreError> {
        let refuse = |message: String| {
            Err(StoreError { operation: "queue entries for the journal".to_owned(), message })
        };
        let Some(queue) = &self.queue else { return refuse("it is closed".to_owned()) };
        match queue.try_send((entries, ticket)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                refuse(format!("{QUEUED_BATCHES_MAX} batches wait already: the disk hangs"))
            }
            Err(TrySendError::Disconnected(_)) => refuse("its thread has ended".to_owned()),
        }
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic on the thread was printed there; dropping has nobody to tell.
            let _ = thread.join();
        }
    }
}

fn serve<J, F>(mut journal: J, batches: &Receiver<(Vec<Stamped>, u64)>, mut done: F)
where
    J: Journal,
    F: FnMut(Written),
{
    let mut rests = true;
    loop {
        let received = match rests {
            true => batches.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => batches.recv_timeout(REST_AFTER),
        };
        let (first, ticket) = match received {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => {
                journal.rest();
                rests = true;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        rests = false;
        let (mut entries, mut tickets) = (first, vec![ticket]);
        for (more, ticket) in batches.try_iter().take(QUEUED_BATCHES_MAX) {
            entries.extend(more);
            tickets.push(ticket);
        }
        let result = journal.append(&entries);
        let wants_checkpoint = journal.wants_checkpoint();
        for ticket in tickets {
            done(Written { ticket, result: result.clone(), wants_checkpoint });
        }
    }
    journal.rest();
}
