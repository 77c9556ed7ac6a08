//! Watching the specs directory: file events become hints that something may have changed.
//!
//! Read [`Watch`] first, then `run`, the thread that collects events, then `Points`, which says
//! what is watched: the directory and, so that its replacement is seen, every folder in which a
//! link or a name on the way to it stands.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use crate::hint::{Hint, is_ignored};

/// Events are collected until nothing happened for this long: an editor's rename or a checkout of
/// several files is one change. It is a part of what a user waits for, so it is short.
const QUIET: Duration = Duration::from_millis(5);

/// Events are collected no longer than this, or a file that is written all the time would hide
/// every other change.
const COLLECT_MAX: Duration = Duration::from_millis(50);

/// Past so many paths a look at everything is cheaper than one at each.
const PATHS_MAX: usize = 256;

/// Links on the way to the directory, as the kernel follows them at most.
const LINKS_MAX: usize = 40;

/// How often the way to the directory may change while watches are set before we take it as it
/// is. A checkout makes a handful of folders; what still changes after that sends events anyway.
const ARM_TRIES_MAX: usize = 16;

/// Watches a directory until it is dropped.
#[derive(Debug)]
pub struct Watch {
    events: Sender<Message>,
    thread: Option<JoinHandle<()>>,
    fault: Arc<Mutex<Option<WatchError>>>,
}

/// Why a directory cannot be watched. It can still be looked at now and then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The system lets this user watch no more folders.
    #[error(
        "watch {path}: all inotify watches are in use; \
         raise them with `sysctl fs.inotify.max_user_watches=1048576`"
    )]
    Watches {
        /// What was to be watched.
        path: String,
    },
    /// The system lets this user have no more watchers.
    #[error(
        "watch {path}: all inotify instances are in use; \
         raise them with `sysctl fs.inotify.max_user_instances=1024`"
    )]
    Instances {
        /// What was to be watched.
        path: String,
    },
    /// Anything else.
    #[error("watch {path}: {reason}")]
    Other {
        /// What was to be watched.
        path: String,
        /// What the system said.
        reason: String,
    },
}

enum Message {
    Event(notify::Result<Event>),
    Stop,
}

impl Watch {
    /// Watches `root`, a directory or a file, whether it is there already or not, and calls `sink`
    /// on a thread of its own for every change.
    ///
    /// Everything is watched when this returns, so what is read afterwards is either up to date or
    /// followed by a hint.
    ///
    /// # Errors
    /// [`WatchError`]; it says what to raise where a limit is the cause.
    pub fn start(root: PathBuf, sink: impl Fn(Hint) + Send + 'static) -> Result<Self, WatchError> {
        let root = std::path::absolute(&root).map_err(|error| WatchError::Other {
            path: root.display().to_string(),
            reason: error.to_string(),
        })?;
        let (events, received) = channel();
        let armed = Armed::new(&root, &events)?;
        let fault = Arc::new(Mutex::new(None));
        let mut collector =
            Collector { root, armed, events: events.clone(), fault: Arc::clone(&fault) };
        let thread = std::thread::Builder::new().name("watch".to_owned());
        let thread = thread.spawn(move || collector.run(&received, &sink));
        let thread = thread.map_err(|error| WatchError::Other {
            path: "the specs directory".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { events, thread: Some(thread), fault })
    }

    /// Why part of the directory is no longer watched, if so: a folder was added past a limit, or
    /// the directory was replaced and its successor cannot be watched.
    #[must_use]
    pub fn fault(&self) -> Option<WatchError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Whether the thread is still there to hear it or not, it ends.
        let _ = self.events.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Collects events and makes hints of them.
struct Collector {
    root: PathBuf,
    armed: Armed,
    events: Sender<Message>,
    fault: Arc<Mutex<Option<WatchError>>>,
}

/// What the events of one collection come to.
#[derive(Default)]
struct Batch {
    paths: BTreeSet<PathBuf>,
    /// Only a look at everything will do.
    all: bool,
    /// The way to the directory changed, or a link in it: watch all anew.
    rearm: bool,
    /// Folders that came, and may hold files that came before their watch.
    folders: BTreeSet<PathBuf>,
}

impl Collector {
    fn run(&mut self, received: &Receiver<Message>, sink: &impl Fn(Hint)) {
        while let Ok(Message::Event(event)) = received.recv() {
            let mut batch = Batch::default();
            self.add(&mut batch, event);
            if batch.is_empty() {
                continue; // such as our own reading
            }
            let end = Instant::now() + COLLECT_MAX;
            loop {
                let wait = QUIET.min(end.saturating_duration_since(Instant::now()));
                match received.recv_timeout(wait) {
                    Ok(Message::Event(event)) => self.add(&mut batch, event),
                    Err(RecvTimeoutError::Timeout) => break,
                    Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                }
                if Instant::now() >= end {
                    break;
                }
            }
            sink(self.hint(batch));
        }
    }

    /// Watches what came, and says what to look at. The hint goes out only when the watches stand.
    fn hint(&mut self, batch: Batch) -> Hint {
        if batch.rearm {
            match Armed::new(&self.root, &self.events) {
                Ok(armed) => self.armed = armed,
                Err(error) => self.fail(error),
            }
            return Hint::All;
        }
        for folder in &batch.folders {
            // It may be gone again; then there is nothing to watch.
            if let Err(error) = self.armed.watcher.watch(folder, RecursiveMode::Recursive)
                && folder.is_dir()
            {
                self.fail(explain(folder, &error));
            }
        }
        if batch.all || !batch.folders.is_empty() || batch.paths.len() > PATHS_MAX {
            return Hint::All;
        }
        Hint::Paths(batch.paths.into_iter().collect())
    }

    fn fail(&self, error: WatchError) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn add(&self, batch: &mut Batch, event: notify::Result<Event>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                self.fail(explain(&self.root, &error));
                batch.all = true;
                return;
            }
        };
        if event.need_rescan() {
            batch.all = true;
        }
        // Opening and reading is what we do ourselves.
        let named = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Create(_)
            | EventKind::Remove(_) => true,
            EventKind::Modify(_) | EventKind::Any | EventKind::Other => false,
        };
        for path in event.paths {
            self.path(batch, path, named);
        }
    }

    /// Adds an event at `path`; `named` if it came, went, or took another's place.
    fn path(&self, batch: &mut Batch, path: PathBuf, named: bool) {
        if named && self.armed.points.concerns(&path) {
            batch.rearm = true;
            return;
        }
        let Ok(below) = path.strip_prefix(&self.root) else { return };
        if below.as_os_str().is_empty() {
            // The directory itself; a single file is its own.
            if self.root.is_file() {
                batch.paths.insert(path);
            } else {
                batch.all |= named;
            }
            return;
        }
        // A link inside is how config maps are swapped: what hangs below it is another now.
        if named && path.is_symlink() {
            batch.rearm = true;
            return;
        }
        if below.components().any(|part| is_ignored(&part.as_os_str().to_string_lossy())) {
            return;
        }
        if named && path.is_dir() {
            batch.folders.insert(path);
            return;
        }
        batch.paths.insert(path);
    }
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.folders.is_empty() && !self.all && !self.rearm
    }
}

/// A watcher with all its watches.
struct Armed {
    watcher: RecommendedWatcher,
    points: Points,
}

impl Armed {
    fn new(root: &Path, events: &Sender<Message>) -> Result<Self, WatchError> {
        let mut tries = 0;
        loop {
            let before = Points::on_the_way_to(root);
            let watcher = Self::watcher(root, &before, events)?;
            // What came while the watches were set may have come before its watch.
            let now = Points::on_the_way_to(root);
            tries += 1;
            if now == before || tries == ARM_TRIES_MAX {
                return Ok(Self { watcher, points: now });
            }
        }
    }

    fn watcher(
        root: &Path,
        points: &Points,
        events: &Sender<Message>,
    ) -> Result<RecommendedWatcher, WatchError> {
        let events = events.clone();
        let watcher = notify::recommended_watcher(move |event| {
            // Fails only when the collector has ended, and then nobody wants to know.
            let _ = events.send(Message::Event(event));
        });
        let mut watcher = watcher.map_err(|error| explain(root, &error))?;
        for folder in points.folders() {
            if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive)
                && folder.is_dir()
            {
                return Err(explain(&folder, &error));
            }
        }
        if let Err(error) = watcher.watch(root, RecursiveMode::Recursive)
            && root.exists()
        {
            return Err(explain(root, &error));
        }
        Ok(watcher)
    }
}

/// The names that lead to the directory, each with the folder that it stands in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Points {
    names: BTreeSet<(PathBuf, OsString)>,
    /// Which directory they lead to, as device and inode.
    target: Option<(u64, u64)>,
}

impl Points {
    /// Follows `root` name by name. A link counts, since it can be swapped, and so does what it
    /// leads to; the last name counts, since the directory can be replaced; and the first name
    /// that is missing, since it may come.
    fn on_the_way_to(root: &Path) -> Self {
        let target = std::fs::metadata(root).ok().map(|found| (found.dev(), found.ino()));
        let mut points = Self { names: BTreeSet::new(), target };
        let mut todo: Vec<OsString> = names(root);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let path = at.join(&name);
            let last = todo.is_empty();
            let target = std::fs::read_link(&path).ok();
            if last || target.is_some() || !path.exists() {
                points.names.insert((at.clone(), name));
            }
            match target {
                Some(_) if links == LINKS_MAX => break,
                Some(target) => {
                    links += 1;
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    todo.extend(names(&target));
                }
                None if path.exists() => at = path,
                None => break,
            }
        }
        points
    }

    fn folders(&self) -> BTreeSet<PathBuf> {
        self.names.iter().map(|(folder, _)| folder.clone()).collect()
    }

    /// Whether what happened at `path` may change the way: one of its names, or one of the folders
    /// that hold them, came or went.
    fn concerns(&self, path: &Path) -> bool {
        let mut names = self.names.iter();
        let at = path.parent().zip(path.file_name());
        names.any(|(folder, name)| folder == path || Some((&**folder, &**name)) == at)
    }
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    let mut names: Vec<_> = path.components().filter_map(name).collect();
    names.reverse();
    names
}

/// What the system says when there are too many inotify instances: `EMFILE`.
const EMFILE: i32 = 24;

fn explain(path: &Path, error: &notify::Error) -> WatchError {
    let shown = error.paths.first().map_or(path, PathBuf::as_path).display().to_string();
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => WatchError::Watches { path: shown },
        notify::ErrorKind::Io(cause) if cause.raw_os_error() == Some(EMFILE) => {
            WatchError::Instances { path: shown }
        }
        notify::ErrorKind::Io(cause) => {
            WatchError::Other { path: shown, reason: cause.to_string() }
        }
        notify::ErrorKind::Generic(_)
        | notify::ErrorKind::PathNotFound
        | notify::ErrorKind::WatchNotFound
        | notify::ErrorKind::InvalidConfig(_) => {
            WatchError::Other { path: shown, reason: error.to_string() }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Longer than any machine under load needs; a test that passes does not wait for it.
    const LONG: Duration = Duration::from_secs(20);

    struct Fixture {
        folder: tempfile::TempDir,
        hints: Receiver<Hint>,
        _watch: Watch,
    }

    impl Fixture {
        /// Watches `root` in a new folder that `prepare` fills.
        fn new(root: &str, prepare: impl Fn(&Path)) -> Self {
            let folder = tempfile::tempdir().unwrap();
            prepare(folder.path());
            let (sender, hints) = channel();
            let root = folder.path().join(root);
            let watch = Watch::start(root, move |hint| sender.send(hint).unwrap()).unwrap();
            Self { folder, hints, _watch: watch }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// Waits for a hint that covers `name`.
        fn expect(&self, name: &str) {
            let path = self.path(name);
            loop {
                match self.hints.recv_timeout(LONG).expect("a hint") {
                    Hint::All => return,
                    Hint::Paths(paths) if paths.contains(&path) => return,
                    Hint::Paths(_) => {}
                }
            }
        }

        fn expect_all(&self) {
            while self.hints.recv_timeout(LONG).expect("a hint") != Hint::All {}
        }
    }

    fn one_file(folder: &Path) {
        fs::create_dir(folder.join("specs")).unwrap();
        fs::write(folder.join("specs/a.yaml"), "one").unwrap();
    }

    #[test]
    fn writes_renames_and_removals_are_seen() {
        let it = Fixture::new("specs", one_file);
        fs::write(it.path("specs/a.yaml"), "two").unwrap();
        it.expect("specs/a.yaml");
        fs::write(it.path("specs/.a.yaml.swp"), "three").unwrap();
        fs::rename(it.path("specs/.a.yaml.swp"), it.path("specs/b.yaml")).unwrap();
        it.expect("specs/b.yaml");
        fs::remove_file(it.path("specs/b.yaml")).unwrap();
        it.expect("specs/b.yaml");
    }

    #[test]
    fn reading_is_no_event() {
        let it = Fixture::new("specs", one_file);
        fs::read(it.path("specs/a.yaml")).unwrap();
        fs::write(it.path("specs/b.yaml"), "").unwrap();
        let first = it.hints.recv_timeout(LONG).unwrap();
        assert_eq!(first, Hint::Paths(vec![it.path("specs/b.yaml")]));
    }

    #[test]
    fn a_new_folder_is_watched_too() {
        let it = Fixture::new("specs", one_file);
        fs::create_dir_all(it.path("specs/x/y")).unwrap();
        it.expect_all();
        fs::write(it.path("specs/x/y/c.yaml"), "").unwrap();
        it.expect("specs/x/y/c.yaml");
    }

    #[test]
    fn a_swapped_link_to_the_directory_is_seen() {
        let it = Fixture::new("specs/inner", |folder| {
            for version in ["one", "two"] {
                fs::create_dir_all(folder.join(version).join("inner")).unwrap();
            }
            symlink("one", folder.join("specs")).unwrap();
        });
        symlink("two", it.path("tmp")).unwrap();
        fs::rename(it.path("tmp"), it.path("specs")).unwrap();
        it.expect_all();
        fs::write(it.path("two/inner/a.yaml"), "").unwrap();
        it.expect("specs/inner/a.yaml");
    }

    #[test]
    fn a_swapped_link_inside_is_seen() {
        let it = Fixture::new("specs", |folder| {
            for version in ["..one", "..two"] {
                fs::create_dir_all(folder.join("specs").join(version)).unwrap();
                fs::write(folder.join("specs").join(version).join("a.yaml"), version).unwrap();
            }
            symlink("..one", folder.join("specs/..data")).unwrap();
            symlink("..data/a.yaml", folder.join("specs/a.yaml")).unwrap();
        });
        symlink("..two", it.path("specs/..tmp")).unwrap();
        fs::rename(it.path("specs/..tmp"), it.path("specs/..data")).unwrap();
        it.expect_all();
    }

    #[test]
    fn a_directory_that_comes_goes_and_comes_back_is_seen() {
        let it = Fixture::new("not/yet/there", |_| {});
        for _ in 0..2 {
            fs::create_dir_all(it.path("not/yet/there")).unwrap();
            fs::write(it.path("not/yet/there/a.yaml"), "").unwrap();
            it.expect("not/yet/there/a.yaml");
            fs::rename(it.path("not/yet/there"), it.path("not/yet/gone")).unwrap();
            it.expect_all();
            fs::remove_dir_all(it.path("not")).unwrap();
            it.expect_all();
        }
    }

    #[test]
    fn dropping_it_ends_it() {
        let Fixture { folder, hints, _watch: watch } = Fixture::new("specs", one_file);
        drop(watch);
        fs::write(folder.path().join("specs/a.yaml"), "two").unwrap();
        while hints.recv().is_ok() {} // ends, since the only sender is gone with the thread
    }
}
