//! The thread that reads the specs directory: when it is told that something changed, when it is
//! asked, and every few seconds anyway, since hints can be missed and a scan cannot.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use reconciler::engine::Event;
use tokio::sync::mpsc::UnboundedSender;

use crate::api::protocol::Happened;
use crate::audit::Checkouts;
use crate::hint::Hint;
use crate::manifest::{Loader, News};
use crate::shell::Input;
use crate::watch::{Watch, WatchError};

#[cfg(test)]
mod tests;

/// The directory is scanned again after this long: a scan costs one look at each file. A watch that
/// cannot be had, or not for all of it, is tried again then, too.
const RESCAN_AFTER: Duration = Duration::from_secs(10);

/// A hint at what a scan found comes this soon, if it comes: much later than the watch collects.
const HINT_WITHIN: Duration = Duration::from_millis(500);

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
    texts: Sender<Texts>,
    number: AtomicU64,
}

/// The last good texts of an earlier run.
type Texts = BTreeMap<Arc<str>, Arc<str>>;

impl Reader {
    /// Starts the thread. It parses the files at once, beside what else a start has to do; the first
    /// reading follows when it is told to [`begin`](Self::begin).
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        specs: &Path,
        watching: Watching,
        inputs: UnboundedSender<Input>,
    ) -> std::io::Result<Self> {
        Self::start_with(specs, watching, inputs, RESCAN_AFTER)
    }

    fn start_with(
        specs: &Path,
        watching: Watching,
        inputs: UnboundedSender<Input>,
        rescan_after: Duration,
    ) -> std::io::Result<Self> {
        let ((wanted, queue), (texts, last_good)) = (channel(), channel());
        let root = specs.to_owned();
        let hints = wanted.clone();
        thread::Builder::new().name("specs".to_owned()).spawn(move || {
            let loader = Loader::new(root.clone(), BTreeMap::new());
            let mut thread = Thread {
                root,
                loader,
                hints,
                inputs,
                rescan_after,
                watch: None,
                overflows: 0,
                unwatched: None,
                objects: 0,
                number: 0,
                checkouts: Checkouts::default(),
            };
            thread.run(&last_good, &queue, watching);
        })?;
        Ok(Self { wanted, texts, number: AtomicU64::new(0) })
    }

    /// Has the first reading made, with the last good texts of an earlier run.
    pub fn begin(&self, texts: Texts) {
        // If the thread has ended, so has the loop that would take its reading.
        let _ = self.texts.send(texts);
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
    rescan_after: Duration,
    watch: Option<Watch>,
    /// Overflows of the watch that were told of.
    overflows: u64,
    /// Why not all is watched, as it was told last.
    unwatched: Option<WatchError>,
    /// Objects in force.
    objects: usize,
    /// The number of the last reading that was asked for.
    number: u64,
    /// Which commit the directory stands at.
    checkouts: Checkouts,
}

impl Thread {
    fn run(&mut self, texts: &Receiver<Texts>, queue: &Receiver<Wanted>, watching: Watching) {
        // The watch comes before the first scan: what changes in between is hinted at.
        if watching == Watching::Hold {
            self.watch_anew();
        }
        self.loader.read_ahead();
        let Ok(texts) = texts.recv() else { return };
        self.loader.remember(texts);
        self.read(&Hint::All);
        loop {
            let wanted = match watching {
                Watching::Once => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Watching::Hold => queue.recv_timeout(self.rescan_after),
            };
            match wanted {
                Ok(wanted) => self.follow(wanted, queue),
                Err(RecvTimeoutError::Timeout) => self.scan(queue),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.inputs.is_closed() {
                return;
            }
        }
    }

    /// All that is wanted by now, as one hint: while a large change is read, more of it comes.
    fn together(&mut self, first: Wanted, queue: &Receiver<Wanted>) -> Hint {
        let (mut paths, mut all) = (BTreeSet::new(), false);
        for wanted in std::iter::once(first).chain(queue.try_iter()) {
            match wanted {
                Wanted::Hint(Hint::All) => all = true,
                Wanted::Hint(Hint::Paths(more)) => paths.extend(more),
                Wanted::All(number) => (self.number, all) = (number, true),
            }
        }
        if all { Hint::All } else { Hint::Paths(paths.into_iter().collect()) }
    }

    /// Looks at everything unasked, and mends the watch.
    fn scan(&mut self, queue: &Receiver<Wanted>) {
        if self.unwatched.is_some() {
            // First the old one goes: there may not be room for both.
            self.watch = None;
        }
        let is_news = self.read(&Hint::All);
        if is_news && self.unwatched.is_none() {
            // The hint may just be on its way.
            if let Ok(wanted) = queue.recv_timeout(HINT_WITHIN) {
                return self.follow(wanted, queue);
            }
        }
        // News that nobody hinted at: the watch is not what it should be. Some file systems never
        // say anything, others forget a watch.
        if self.unwatched.is_some() || is_news {
            tracing::debug!(is_news, "the specs directory is watched anew after a scan");
            self.watch_anew();
            self.read(&Hint::All);
        }
    }

    fn follow(&mut self, wanted: Wanted, queue: &Receiver<Wanted>) {
        let hint = self.together(wanted, queue);
        self.look_at_watch();
        self.read(&hint);
    }

    fn watch_anew(&mut self) {
        let hints = self.hints.clone();
        let sink = move |hint| {
            // If the thread has ended, nobody wants to know.
            let _ = hints.send(Wanted::Hint(hint));
        };
        self.overflows = 0;
        match Watch::start(self.root.clone(), sink) {
            Ok(watch) => {
                self.watch = Some(watch);
                self.look_at_watch();
            }
            Err(error) => {
                self.watch = None;
                self.tell_unwatched(Some(error));
            }
        }
    }

    /// Tells what became of the watch meanwhile.
    fn look_at_watch(&mut self) {
        let Some(watch) = &self.watch else { return };
        let (fault, overflows) = (watch.fault(), watch.overflows());
        if overflows != self.overflows {
            self.overflows = overflows;
            let root = self.root.display();
            let message = format!(
                "more changed in {root} at once than the system could tell; all of it is scanned \
                 (`sysctl fs.inotify.max_queued_events` says how much it can)"
            );
            let _ = self.inputs.send(Input::Progress(Happened::Attention { message }));
        }
        self.tell_unwatched(fault);
    }

    /// Tells why not all is watched, once: which folder it was that did not fit in is chance.
    fn tell_unwatched(&mut self, why: Option<WatchError>) {
        let kind = |why: &Option<WatchError>| why.as_ref().map(std::mem::discriminant);
        let known = kind(&why) == kind(&self.unwatched);
        let said = why.as_ref().map(|why| {
            let seconds = self.rescan_after.as_secs();
            format!("{why}; meanwhile changes are found by a scan every {seconds} s")
        });
        self.unwatched = why;
        if !known {
            let _ = self.inputs.send(Input::Unwatched(said));
        }
    }

    /// Reads, and says whether that brought anything new.
    fn read(&mut self, hint: &Hint) -> bool {
        let mut errors = Vec::new();
        let event = self.loader.news(hint).map(|news| match news {
            News::All(reading) => {
                self.objects = reading.specs.desired.len();
                errors = reading.diagnostics.iter().map(ToString::to_string).collect();
                Event::Specs(Box::new(reading.specs))
            }
            News::Objects(change) => Event::SpecsChanged(Box::new(change)),
        });
        let (is_news, objects, number) = (event.is_some(), self.objects, self.number);
        // What changed is of this commit: it comes first.
        if let Some(checkout) = self.checkouts.look(&self.root, is_news) {
            let _ = self.inputs.send(Input::Event(Event::Checkout(checkout)));
        }
        let _ = self.inputs.send(Input::Specs { event, objects, errors, number });
        is_news
    }
}
