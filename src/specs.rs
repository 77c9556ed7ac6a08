//! The thread that reads the specs directory: when it is told that something changed, when it is
//! asked, and every few seconds anyway, since hints can be missed and a scan cannot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use reconciler::model::desired::SpecsReading;
use tokio::sync::mpsc::UnboundedSender;

use crate::hint::Hint;
use crate::manifest::{Loader, Reading};
use crate::shell::Input;
use crate::watch::Watch;

/// The directory is scanned again after this long: a scan costs one look at each file.
const RESCAN_AFTER: Duration = Duration::from_secs(10);

/// A watch that could not be had is tried again after so many scans.
const WATCH_AGAIN_AFTER_SCANS: u32 = 6;

/// Whether the directory is read once, or held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    /// Only when asked.
    Once,
    /// When it changes, and every few seconds.
    Hold,
}

enum Wanted {
    Hint(Hint),
    All(u64),
}

/// Asks the thread to read.
#[derive(Debug)]
pub struct Reader {
    wanted: Sender<Wanted>,
    number: AtomicU64,
}

impl Reader {
    /// Starts the thread; a first reading follows at once.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        specs: &Path,
        texts: BTreeMap<Arc<str>, Arc<str>>,
        watching: Watching,
        inputs: UnboundedSender<Input>,
    ) -> std::io::Result<Self> {
        let (wanted, queue) = channel();
        let root = specs.to_owned();
        let hints = wanted.clone();
        thread::Builder::new().name("specs".to_owned()).spawn(move || {
            let loader = Loader::new(root.clone(), texts);
            let mut thread =
                Thread { root, loader, hints, inputs, last: None, watch: None, number: 0 };
            thread.run(&queue, watching);
        })?;
        Ok(Self { wanted, number: AtomicU64::new(0) })
    }

    /// Has everything read again; the number is that of the reading that follows.
    pub fn reread(&self) -> u64 {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        // If the thread has ended, so has the loop that would take its reading.
        let _ = self.wanted.send(Wanted::All(number));
        number
    }
}

struct Thread {
    root: PathBuf,
    loader: Loader,
    hints: Sender<Wanted>,
    inputs: UnboundedSender<Input>,
    /// The last reading, so that one that brings nothing new wakes nobody.
    last: Option<SpecsReading>,
    watch: Option<Watch>,
    number: u64,
}

impl Thread {
    fn run(&mut self, queue: &Receiver<Wanted>, watching: Watching) {
        // The watch comes before the first scan: what changes in between is hinted at.
        if watching == Watching::Hold {
            self.try_watch();
        }
        self.read(&Hint::All);
        let mut scans = 0;
        loop {
            let hint = match watching {
                Watching::Once => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Watching::Hold => queue.recv_timeout(RESCAN_AFTER),
            };
            match hint {
                Ok(Wanted::Hint(hint)) => self.read(&hint),
                Ok(Wanted::All(number)) => {
                    self.number = number;
                    self.read(&Hint::All);
                }
                Err(RecvTimeoutError::Timeout) => {
                    scans += 1;
                    if self.watch.is_none() && scans % WATCH_AGAIN_AFTER_SCANS == 0 {
                        self.try_watch();
                    }
                    self.read(&Hint::All);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.inputs.is_closed() {
                return;
            }
        }
    }

    fn try_watch(&mut self) {
        let hints = self.hints.clone();
        let sink = move |hint| {
            let _ = hints.send(Wanted::Hint(hint));
        };
        match Watch::start(self.root.clone(), sink) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                let seconds = RESCAN_AFTER.as_secs();
                let message = format!("{error}; until then it is scanned every {seconds} s");
                let happened = crate::api::protocol::Happened::Attention { message };
                let _ = self.inputs.send(Input::Progress(happened));
            }
        }
    }

    fn read(&mut self, hint: &Hint) {
        let Reading { specs, diagnostics } = self.loader.read(hint);
        let is_news = self.last.as_ref().is_none_or(|last| {
            last.desired != specs.desired || last.root != specs.root || last.broken != specs.broken
        }) || !specs.texts.is_empty();
        let mut errors = Vec::new();
        let mut reading = None;
        if is_news {
            errors = diagnostics.iter().map(ToString::to_string).collect();
            self.last = Some(SpecsReading { texts: BTreeMap::new(), ..specs.clone() });
            reading = Some(Box::new(specs));
        }
        let _ = self.inputs.send(Input::Specs { reading, errors, number: self.number });
    }
}
