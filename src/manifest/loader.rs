//! The specs directory, read again and again: [`Loader`] remembers what it read, so that a change
//! of one file costs that file, and keeps the last good version of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reconciler::model::desired::{RootIdentity, RootState, SpecsReading};

use super::catalogue::Catalogue;
use super::diagnostic::Diagnostic;
use super::digests::Digests;
use super::news::{Told, is_clean};
use super::scan::{self, Found, OpenError, Stat};
use super::set::{self, Candidate, Choice, Now, Settled};
use super::version::{Beside, Held, Version};
use crate::hint::Hint;

/// One reading: the objects in force, and all errors with their places.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// What is declared, and the state of the directory.
    pub specs: SpecsReading,
    /// All errors of all files, by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a specs directory.
#[derive(Debug)]
pub struct Loader {
    pub(super) root: PathBuf,
    pub(super) files: BTreeMap<Arc<str>, File>,
    /// Files whose state is another one than when all of them were settled last.
    pub(super) changed: BTreeSet<Arc<str>>,
    /// Files that name image files.
    with_images: BTreeSet<Arc<str>>,
    /// What was told last, if anybody asks for news.
    pub(super) told: Option<Told>,
    /// Folders that could not be read.
    pub(super) blind: BTreeMap<String, String>,
    digests: Digests,
    /// The policies that there are, if anybody wants to know that they are named rightly.
    catalogue: Option<Catalogue>,
}

/// What is remembered of a file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// Its state when it was read; `None` if it must be read again.
    stat: Option<Stat>,
    pub(super) now: State,
    pub(super) held: Option<Held>,
    /// The last good text of an earlier run, until it is looked at.
    stored: Option<Arc<str>>,
    /// The last good text as it was reported last.
    reported: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    Gone,
    Unknown(String),
    Read(Arc<Version>),
}

/// Most threads that read: past this the file system is what takes the time.
const THREADS_MAX: usize = 8;

/// Files below which one thread is faster than several.
const FILES_PER_THREAD: usize = 16;

impl Loader {
    /// A loader of the directory or the file `root`. `last_good` are the last good texts of an
    /// earlier run, as [`SpecsReading::texts`] reported them; they hold where a file is broken.
    #[must_use]
    pub fn new(root: PathBuf, last_good: BTreeMap<Arc<str>, Arc<str>>) -> Self {
        let mut loader = Self {
            files: BTreeMap::new(),
            changed: BTreeSet::new(),
            with_images: BTreeSet::new(),
            told: None,
            blind: BTreeMap::new(),
            digests: Digests::default(),
            catalogue: None,
            root,
        };
        loader.remember(last_good);
        loader
    }

    /// Parses what is there, and tells nothing: the first reading looks again, and finds the most of
    /// it done.
    pub fn read_ahead(&mut self) {
        self.look_and_update(&Hint::All);
    }

    /// Takes in the last good texts of an earlier run. It comes before the first reading.
    pub fn remember(&mut self, last_good: BTreeMap<Arc<str>, Arc<str>>) {
        for (name, text) in last_good {
            let path = self.root.join(&*name);
            let file = self.files.entry(name).or_insert_with(|| File::absent(path));
            (file.stored, file.reported) = (Some(Arc::clone(&text)), Some(text));
        }
    }

    /// Has bindings and waivers looked through for policies that there are not.
    #[must_use]
    pub fn knowing(self, catalogue: Catalogue) -> Self {
        Self { catalogue: Some(catalogue), ..self }
    }

    /// The directory or file that is read, as it was given.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads what `hint` says may have changed; the first time, that must be [`Hint::All`].
    ///
    /// It never fails: what cannot be read is an error of that file or of the root, and what was
    /// in force stays so.
    pub fn read(&mut self, hint: &Hint) -> Reading {
        let root = self.look_and_update(hint);
        self.told = None;
        self.settled(root).0
    }

    /// Brings what is known of the files up to date.
    pub(super) fn look_and_update(&mut self, hint: &Hint) -> RootState {
        match self.look(hint) {
            Ok((found, empty, identity)) => {
                self.update(found);
                RootState::Present { identity, empty }
            }
            Err(reason) => {
                self.rootless(&reason);
                RootState::Missing { reason }
            }
        }
    }

    /// Settles what is in force, and reports it; says too whether all of it is good.
    pub(super) fn settled(&mut self, root: RootState) -> (Reading, bool) {
        self.restore();
        self.changed.clear();
        self.reading(root)
    }

    /// Finds the files that may have changed, and notes those that went away.
    fn look(&mut self, hint: &Hint) -> Result<(Vec<Found>, bool, RootIdentity), String> {
        let metadata = fs::metadata(&self.root).map_err(|error| error.to_string())?;
        let path = std::path::absolute(&self.root).unwrap_or_else(|_| self.root.clone());
        let path = path.to_string_lossy().into_owned();
        let identity = RootIdentity { path, device: metadata.dev() };
        let found = match hint {
            Hint::Paths(paths) if metadata.is_dir() => self.look_at(paths),
            Hint::Paths(_) | Hint::All => None,
        };
        let found = match found {
            Some(found) => found,
            None => {
                let walk = scan::walk(&self.root, &metadata)?;
                self.blind = walk.blind.into_iter().collect();
                self.note_absent(&walk.files);
                walk.files
            }
        };
        let there = |file: &File| !matches!(file.now, State::Gone);
        let empty = found.is_empty() && !self.files.values().any(there) && self.blind.is_empty();
        Ok((found, empty, identity))
    }

    /// The files at `paths`; `None` if only a look at everything can tell.
    fn look_at(&mut self, paths: &[PathBuf]) -> Option<Vec<Found>> {
        let absolute = std::path::absolute(&self.root).ok()?;
        let mut found = Vec::new();
        for path in paths {
            let below = path.strip_prefix(&absolute).or_else(|_| path.strip_prefix(&self.root));
            let below = match below {
                Ok(below) => below.to_str()?,
                Err(_) if path.is_absolute() => return None,
                Err(_) => path.to_str()?,
            };
            if below.split('/').any(crate::hint::is_ignored) {
                continue;
            }
            let is_folder = |name: &Arc<str>| {
                name.strip_prefix(below).is_some_and(|rest| rest.starts_with('/'))
            };
            let path = self.root.join(below);
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => return None,
                Ok(metadata) if scan::is_spec(below.rsplit('/').next()?) => {
                    found.push(Found::new(below.to_owned(), path, &metadata));
                }
                Ok(_) => {}
                Err(_) if self.files.keys().any(is_folder) => return None,
                Err(_) if scan::is_spec(below.rsplit('/').next()?) => {
                    // Gone, or in a state that only opening it tells.
                    found.push(Found { name: below.to_owned(), path, stat: Err(String::new()) });
                }
                Err(_) => {}
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.dedup_by(|a, b| a.name == b.name);
        Some(found)
    }

    /// Notes for each file that was not found whether it is gone or out of sight.
    fn note_absent(&mut self, found: &[Found]) {
        let found: BTreeSet<&str> = found.iter().map(|found| found.name.as_str()).collect();
        for (name, file) in &mut self.files {
            if found.contains(&**name) {
                continue;
            }
            let hidden = self.blind.iter().find(|(folder, _)| {
                name.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
            });
            file.stat = None;
            let now = match hidden {
                Some((folder, why)) => State::Unknown(format!("cannot read {folder}: {why}")),
                None => State::Gone,
            };
            if !(file.now.is_gone() && now.is_gone()) {
                self.changed.insert(Arc::clone(name));
            }
            file.now = now;
        }
    }

    /// Reads the files that changed, and those whose image files did.
    fn update(&mut self, found: Vec<Found>) {
        let mut todo: BTreeMap<Arc<str>, Found> = BTreeMap::new();
        for found in found {
            let known = self.files.get(found.name.as_str());
            let same = known
                .is_some_and(|file| file.stat.is_some() && file.stat == found.stat.clone().ok());
            if !same {
                todo.insert(Arc::from(found.name.as_str()), found);
            }
        }
        for name in &self.with_images {
            let Some(file) = self.files.get(name) else { continue };
            let State::Read(version) = &file.now else { continue };
            let stale = |(path, known): (&PathBuf, &Result<String, String>)| {
                self.digests.of(path) != *known
            };
            if !todo.contains_key(name) && version.files.iter().any(stale) {
                let (name, path) = (Arc::clone(name), file.path.clone());
                let found = Found { name: name.to_string(), path, stat: Err(String::new()) };
                todo.insert(name, found);
            }
        }
        let todo: Vec<_> = todo.into_iter().collect();
        let read = self.read_all(&todo);
        for ((name, found), (now, stat)) in todo.into_iter().zip(read) {
            if now.is_gone() && !self.files.contains_key(&name) {
                continue; // it came and went
            }
            let absent = || File::absent(PathBuf::new());
            let file = self.files.entry(Arc::clone(&name)).or_insert_with(absent);
            if !file.now.is_same(&now) {
                self.changed.insert(Arc::clone(&name));
            }
            match &now {
                State::Read(version) if !version.files.is_empty() => self.with_images.insert(name),
                State::Read(_) | State::Gone | State::Unknown(_) => self.with_images.remove(&name),
            };
            file.path = found.path;
            file.stat = stat;
            file.now = now;
        }
    }

    /// Reads files, on all cores if there are many.
    fn read_all(&self, todo: &[(Arc<str>, Found)]) -> Vec<(State, Option<Stat>)> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(THREADS_MAX).min(todo.len() / FILES_PER_THREAD + 1);
        if threads <= 1 {
            return todo.iter().map(|(name, found)| self.read_one(name, found)).collect();
        }
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((name, found)) = todo.get(index) else { return done };
                done.push((index, self.read_one(name, found)));
            }
        };
        let mut done: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let results = threads.into_iter().map(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            results.flatten().collect()
        });
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, read)| read).collect()
    }

    fn read_one(&self, name: &Arc<str>, found: &Found) -> (State, Option<Stat>) {
        if let Err(why) = &found.stat
            && !why.is_empty()
        {
            return (State::Read(Arc::new(Version::unreadable(why))), None);
        }
        let (bytes, stat) = match scan::read(&found.path) {
            Ok(read) => read,
            Err(OpenError::Gone) if found.path.is_symlink() => {
                let why = "the link leads to a file that is not there";
                return (State::Read(Arc::new(Version::unreadable(why))), None);
            }
            Err(OpenError::Gone) => return (State::Gone, None),
            Err(OpenError::Other(why)) => {
                return (State::Read(Arc::new(Version::unreadable(&why))), None);
            }
        };
        let known = self.files.get(name);
        let version = self.version(&found.path, bytes, known);
        (State::Read(version), stat)
    }

    /// The version that `bytes` are; the one that is known already, if they say the same.
    fn version(&self, path: &Path, bytes: Vec<u8>, known: Option<&File>) -> Arc<Version> {
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return Arc::new(Version::not_utf8(&error)),
        };
        let now = known.and_then(|file| match &file.now {
            State::Read(version) => Some(version),
            State::Gone | State::Unknown(_) => None,
        });
        let held = known.and_then(|file| file.held.as_ref()).map(|held| &held.version);
        for version in [now, held].into_iter().flatten() {
            let same =
                |(path, then): (&PathBuf, &Result<String, String>)| self.digests.of(path) == *then;
            if *version.text == *text && version.readable && version.files.iter().all(same) {
                return Arc::clone(version);
            }
        }
        // An editor or a copy that is half way empties the file first. Whoever wants its objects
        // gone removes it.
        let holds = held.is_some_and(|held| !held.drafts.is_empty())
            || known.is_some_and(|file| file.stored.as_ref().is_some_and(|text| !text.is_empty()));
        if text.trim().is_empty() && holds {
            let why = "the file is empty; remove it if its objects shall go";
            return Arc::new(Version::unreadable(why));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        let text: Arc<str> = Arc::from(text);
        let digest = |path: &Path| self.digests.of(path);
        let content = |path: &Path| self.digests.content(path);
        let read = || Version::read(text, &folder, &Beside { digest: &digest, content: &content });
        // A fault of the parser, which is not ours, may cost this file and nothing else.
        let version = catch_unwind(AssertUnwindSafe(read));
        Arc::new(version.unwrap_or_else(|_| Version::unreadable("the YAML parser gave up on it")))
    }

    /// Makes versions of the last good texts of an earlier run.
    fn restore(&mut self) {
        for file in self.files.values_mut() {
            let Some(stored) = file.stored.take() else { continue };
            let same = match &file.now {
                State::Read(version) if version.text == stored && version.files.is_empty() => {
                    Some(Arc::clone(version))
                }
                State::Read(_) | State::Gone | State::Unknown(_) => None,
            };
            file.held = Some(match same {
                Some(version) => Held { version, images: BTreeSet::new(), stored },
                None => {
                    let folder = file.path.parent().unwrap_or(Path::new(""));
                    let folder =
                        std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
                    Held::restore(&stored, &folder)
                }
            });
        }
    }

    /// What holds while the root cannot be read: all that was in force.
    fn rootless(&mut self, reason: &str) {
        for (name, file) in &mut self.files {
            // What was gone before stays so.
            let known = !matches!(file.now, State::Gone) || file.stored.is_some();
            if known {
                file.now = State::Unknown(format!("cannot read the specs directory: {reason}"));
                file.stat = None;
                self.changed.insert(Arc::clone(name));
            }
        }
        self.blind.clear();
    }

    /// What all files together come to, and whether all of it is good.
    pub(super) fn settle(&self) -> (Settled, bool) {
        let candidates: Vec<Candidate<'_>> = self.files.iter().map(File::candidate).collect();
        let settled = set::settle(&candidates, self.catalogue.as_ref());
        let clean = self.blind.is_empty() && is_clean(&settled);
        (settled, clean)
    }

    fn reading(&mut self, root: RootState) -> (Reading, bool) {
        let (settled, clean) = self.settle();
        let candidates: Vec<Candidate<'_>> = self.files.iter().map(File::candidate).collect();
        let diagnostics = self.diagnostics(&candidates, &settled);
        let broken = self.broken(&candidates, &settled);
        let read = |candidate: &&Candidate<'_>| !matches!(candidate.now, Now::Gone);
        let files = candidates.iter().filter(read).count();
        let projects = candidates.iter().flat_map(Candidate::projects);
        // Thousands of objects share a few projects: compare first, clone then.
        let projects: BTreeSet<_> = projects.collect();
        let projects = projects.into_iter().cloned().collect();
        drop(candidates);
        let texts = self.hold(&settled);
        let specs = SpecsReading { desired: settled.desired, root, texts, broken, files, projects };
        (Reading { specs, diagnostics }, clean)
    }

    /// Makes the versions that are in force the last good ones, and reports which texts changed.
    fn hold(&mut self, settled: &Settled) -> BTreeMap<Arc<str>, Option<Arc<str>>> {
        let mut texts = BTreeMap::new();
        let mut gone = Vec::new();
        for (index, (name, file)) in self.files.iter_mut().enumerate() {
            match (&settled.choices[index], &file.now) {
                (Choice::Current, State::Read(version)) => {
                    let images = &settled.images[index];
                    let same = file.held.as_ref().is_some_and(|held| {
                        Arc::ptr_eq(&held.version, version) && held.images == *images
                    });
                    if !same {
                        file.held = Some(Held::new(Arc::clone(version), images.clone()));
                    }
                }
                (Choice::Gone, _) if !settled.needed.contains(&index) => {
                    gone.push(Arc::clone(name))
                }
                (Choice::Current | Choice::Gone | Choice::Held(_), _) => {}
            }
            if let Some(text) = file.report() {
                texts.insert(Arc::clone(name), Some(text));
            }
        }
        for name in gone {
            let file = self.files.remove(&name);
            self.with_images.remove(&name);
            if file.is_some_and(|file| file.reported.is_some()) {
                texts.insert(name, None);
            }
        }
        texts
    }
}

impl State {
    fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }

    /// Whether it is the very same state, so that nothing has to be compared.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gone, Self::Gone) => true,
            (Self::Read(one), Self::Read(two)) => Arc::ptr_eq(one, two),
            (Self::Gone | Self::Unknown(_) | Self::Read(_), _) => false,
        }
    }
}

impl File {
    /// One that is not there.
    fn absent(path: PathBuf) -> Self {
        let now = State::Gone;
        Self { path, stat: None, now, held: None, stored: None, reported: None }
    }

    /// The last good text, if it was not reported yet; it counts as reported then.
    pub(super) fn report(&mut self) -> Option<Arc<str>> {
        let stored = &self.held.as_ref()?.stored;
        let known = self.reported.as_ref();
        if known.is_some_and(|text| Arc::ptr_eq(text, stored)) {
            return None;
        }
        let news = known.is_none_or(|text| **text != **stored);
        self.reported = Some(Arc::clone(stored));
        news.then(|| Arc::clone(stored))
    }

    fn candidate<'a>((file, known): (&'a Arc<str>, &'a Self)) -> Candidate<'a> {
        let now = match &known.now {
            State::Gone => Now::Gone,
            State::Unknown(why) => Now::Unknown(why),
            State::Read(version) => Now::Read(version),
        };
        Candidate { file, now, held: known.held.as_ref() }
    }
}
