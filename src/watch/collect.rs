//! Events are collected until there is a short quiet, and become one hint.
//!
//! The system's events are put together where they arrive, so that ten thousand of them take no
//! more room than one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::Event;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};

use super::WatchError;
use super::armed::{Armed, explain};
use super::points::Points;
use crate::hint::{Hint, is_ignored};

/// Events are collected until nothing happened for this long: an editor's rename or a checkout of
/// several files is one change. It is a part of what a user waits for, so it is short.
const QUIET: Duration = Duration::from_millis(5);

/// Events are collected no longer than this, or a file that is written all the time would hide
/// every other change.
const COLLECT_MAX: Duration = Duration::from_millis(50);

/// Past so many paths a look at everything is cheaper than one at each.
const PATHS_MAX: usize = 256;

/// Past so many new folders it is cheaper to watch everything anew than each with what is below it.
const FOLDERS_MAX: usize = 64;

/// What the thread that hears events and the one that collects them have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    /// How many events changed the batch.
    taken: u64,
    overflows: u64,
    fault: Option<WatchError>,
    stop: bool,
}

/// What the events of one collection come to.
#[derive(Debug, Default)]
struct Batch {
    paths: BTreeSet<PathBuf>,
    /// Only a look at everything will do.
    all: bool,
    /// Watch all anew: the way to the directory changed, a link in it did, or events were lost,
    /// and with them folders that nobody watches.
    rearm: bool,
    /// Folders that came, and may hold files that came before their watch.
    folders: BTreeSet<PathBuf>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        let Self { paths, all, rearm, folders } = self;
        paths.is_empty() && folders.is_empty() && !all && !rearm
    }

    fn path(&mut self, path: PathBuf) {
        if self.all || self.rearm {
            return;
        }
        self.paths.insert(path);
        if self.paths.len() > PATHS_MAX {
            self.paths.clear();
            self.all = true;
        }
    }

    fn folder(&mut self, path: PathBuf) {
        self.folders.insert(path);
        if self.folders.len() > FOLDERS_MAX {
            self.rearm();
        }
    }

    fn rearm(&mut self) {
        self.rearm = true;
        self.paths.clear();
        self.folders.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fault(&self) -> Option<WatchError> {
        self.lock().fault.clone()
    }

    pub(super) fn overflows(&self) -> u64 {
        self.lock().overflows
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.news.notify_all();
    }

    /// Takes one event in, on the thread that hears it.
    pub(super) fn hear(&self, root: &Path, points: &Points, event: notify::Result<Event>) {
        // Opening and reading is what we do ourselves.
        if matches!(&event, Ok(Event { kind: EventKind::Access(access), .. })
            if *access != AccessKind::Close(AccessMode::Write))
        {
            return;
        }
        let mut state = self.lock();
        match event {
            Ok(event) => {
                if event.need_rescan() {
                    state.overflows += 1;
                    state.batch.rearm();
                }
                if !add(&mut state.batch, root, points, event) {
                    return;
                }
            }
            Err(error) => {
                state.fault = Some(explain(root, &error));
                state.batch.all = true;
            }
        }
        state.taken += 1;
        self.news.notify_all();
    }
}

/// Adds an event; says whether it told anything.
fn add(batch: &mut Batch, root: &Path, points: &Points, event: Event) -> bool {
    if batch.rearm {
        return true; // there is nothing more to learn
    }
    let named = match event.kind {
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(_) | EventKind::Remove(_) => {
            true
        }
        EventKind::Access(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => false,
    };
    let mut told = false;
    for path in event.paths {
        told |= add_path(batch, root, points, path, named);
    }
    told
}

/// Adds an event at `path`; `named` if it came, went, or took another's place.
fn add_path(batch: &mut Batch, root: &Path, points: &Points, path: PathBuf, named: bool) -> bool {
    if named && points.concerns(&path) {
        batch.rearm();
        return true;
    }
    let Ok(below) = path.strip_prefix(root) else { return false };
    if below.as_os_str().is_empty() {
        // The directory itself; a single file is its own.
        if root.is_file() {
            batch.path(path);
            return true;
        }
        batch.all |= named;
        return named;
    }
    // A link inside is how config maps are swapped: what hangs below it is another now.
    if named && path.is_symlink() {
        batch.rearm();
        return true;
    }
    if below.components().any(|part| is_ignored(&part.as_os_str().to_string_lossy())) {
        return false;
    }
    if named && path.is_dir() {
        batch.folder(path);
    } else {
        batch.path(path);
    }
    true
}

/// Collects events and makes hints of them.
pub(super) struct Collector {
    root: PathBuf,
    /// `None` if the system gave none when it was wanted anew.
    armed: Option<Armed>,
    shared: Arc<Shared>,
}

impl Collector {
    pub(super) fn new(root: PathBuf, mut armed: Armed, shared: Arc<Shared>) -> Self {
        shared.lock().fault = armed.fault.take();
        Self { root, armed: Some(armed), shared }
    }

    /// Runs until the watch is dropped.
    pub(super) fn run(&mut self, sink: &impl Fn(Hint)) {
        while let Some(batch) = self.collect() {
            let hint = self.hint(batch);
            sink(hint);
        }
    }

    /// The events up to the next quiet; `None` at the end.
    fn collect(&self) -> Option<Batch> {
        let wait = |state, for_at_most, until: &dyn Fn(&State) -> bool| {
            let waited =
                self.shared
                    .news
                    .wait_timeout_while(state, for_at_most, |state: &mut _| !until(state));
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        let is_due = |state: &State| state.stop || !state.batch.is_empty();
        let mut state = self.shared.lock();
        while !is_due(&state) {
            state = self.shared.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let end = Instant::now() + COLLECT_MAX;
        loop {
            let taken = state.taken;
            let left = end.saturating_duration_since(Instant::now());
            state = wait(state, QUIET.min(left), &|state| state.stop || state.taken != taken);
            if state.stop {
                return None;
            }
            if state.taken == taken || Instant::now() >= end {
                return Some(std::mem::take(&mut state.batch));
            }
        }
    }

    /// Watches what came, and says what to look at. The hint goes out only when the watches stand.
    fn hint(&mut self, batch: Batch) -> Hint {
        let Batch { paths, all, rearm, folders } = batch;
        let mut watch = |folder| self.armed.as_mut()?.watch_folder(folder).ok();
        // A folder that cannot be added may fit in when those that are gone are counted no more.
        if rearm || folders.iter().any(|folder| watch(folder).is_none()) {
            // First the old one goes: there may not be room for both.
            self.armed = None;
            let (armed, fault) = match Armed::new(&self.root, &self.shared) {
                Ok(mut armed) => {
                    let fault = armed.fault.take();
                    (Some(armed), fault)
                }
                Err(error) => (None, Some(error)),
            };
            self.armed = armed;
            self.shared.lock().fault = fault;
            return Hint::All;
        }
        if let Some(fault) = self.armed.as_mut().and_then(|armed| armed.fault.take()) {
            self.shared.lock().fault = Some(fault);
        }
        if all || !folders.is_empty() {
            return Hint::All;
        }
        Hint::Paths(paths.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, Flag};

    use super::*;

    fn created(path: String) -> notify::Result<Event> {
        Ok(Event::new(EventKind::Create(CreateKind::File)).add_path(PathBuf::from(path)))
    }

    #[test]
    fn a_burst_takes_no_more_room_than_a_few_events() {
        let (root, points, shared) =
            (Path::new("/nowhere/specs"), Points::default(), Shared::default());
        for n in 0..100_000 {
            shared.hear(root, &points, created(format!("/nowhere/specs/f{n}.yaml")));
            let Batch { paths, all, rearm, folders } = &shared.lock().batch;
            assert!(paths.len() <= PATHS_MAX && folders.is_empty() && !rearm);
            assert_eq!(*all, n >= PATHS_MAX, "{n}");
        }
    }

    #[test]
    fn dropped_events_have_everything_watched_anew() {
        let shared = Shared::default();
        let points = Points::default();
        let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        shared.hear(Path::new("/nowhere"), &points, created("/nowhere/a.yaml".to_owned()));
        shared.hear(Path::new("/nowhere"), &points, Ok(lost));
        let state = shared.lock();
        assert!(state.batch.rearm && state.batch.paths.is_empty());
        assert_eq!(state.overflows, 1);
    }
}
