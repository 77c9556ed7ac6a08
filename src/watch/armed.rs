//! What is watched: every folder of the directory that is read, and the way that leads there.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::WatchError;
use super::collect::Shared;
use super::points::Points;
use crate::hint::{FOLDERS_DEEP_MAX, FOLDERS_MAX, is_ignored};

/// How often the way to the directory may change while watches are set before we take it as it
/// is. A checkout makes a handful of folders; what still changes after that sends events anyway.
const ARM_TRIES_MAX: usize = 16;

/// A watcher with all its watches.
pub(super) struct Armed {
    watcher: RecommendedWatcher,
    /// Folders that were watched, whether they are still there or not.
    folders: usize,
    /// Why not all of it is watched, if so.
    pub(super) fault: Option<WatchError>,
}

impl Armed {
    /// Watches `root` and the way to it, and has `shared` hear of all that happens. What cannot be
    /// watched is a fault of an otherwise good watch.
    ///
    /// # Errors
    /// If the system gives no watcher at all.
    pub(super) fn new(root: &Path, shared: &Arc<Shared>) -> Result<Self, WatchError> {
        let mut tries = 0;
        loop {
            let points = Arc::new(Points::on_the_way_to(root));
            let armed = Self::with(root, &points, shared)?;
            // What came while the watches were set may have come before its watch.
            tries += 1;
            if Points::on_the_way_to(root) == *points || tries == ARM_TRIES_MAX {
                return Ok(armed);
            }
        }
    }

    fn with(root: &Path, points: &Arc<Points>, shared: &Arc<Shared>) -> Result<Self, WatchError> {
        let hear = {
            let (root, points, shared) = (root.to_owned(), Arc::clone(points), Arc::clone(shared));
            move |event| shared.hear(&root, &points, event)
        };
        let watcher = notify::recommended_watcher(hear).map_err(|error| explain(root, &error))?;
        let mut armed = Self { watcher, folders: 0, fault: None };
        let mut points = points.folders().into_iter();
        let way = points.try_for_each(|folder| armed.watch(&folder));
        let limit = way.and_then(|()| armed.watch_folder(root)).err();
        armed.fault = limit.or(armed.fault.take());
        Ok(armed)
    }

    /// Watches `folder` and all folders below it that are read, links included. It may be a file,
    /// and it may be gone again; then there is nothing to watch. What cannot be watched for a reason
    /// of its own is a fault, and the rest is watched.
    ///
    /// # Errors
    /// A limit that leaves no room for more.
    pub(super) fn watch_folder(&mut self, folder: &Path) -> Result<(), WatchError> {
        let mut above = Vec::new();
        self.below(folder, &mut above)
    }

    /// `above` holds the ids of all folders that `folder` is in, as far as they were walked.
    fn below(&mut self, folder: &Path, above: &mut Vec<(u64, u64)>) -> Result<(), WatchError> {
        // The watch comes first: what is added while the folder is listed sends an event.
        match self.watch(folder) {
            Err(error @ WatchError::Other { .. }) => {
                self.fault.get_or_insert(error);
            }
            limit @ Err(_) => return limit,
            Ok(()) => {}
        }
        let Ok(metadata) = std::fs::metadata(folder) else { return Ok(()) };
        let id = (metadata.dev(), metadata.ino());
        // What leads back to itself, or is this deep, is an error of the reading.
        if !metadata.is_dir() || above.contains(&id) || above.len() > FOLDERS_DEEP_MAX {
            return Ok(());
        }
        // One that cannot be listed is an error of the reading, too.
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
        above.push(id);
        for entry in entries.flatten() {
            if is_ignored(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
                self.below(&path, above)?;
            }
        }
        above.pop();
        Ok(())
    }

    fn watch(&mut self, path: &Path) -> Result<(), WatchError> {
        if self.folders >= FOLDERS_MAX {
            let path = path.display().to_string();
            return Err(WatchError::Folders { path, limit: FOLDERS_MAX });
        }
        match self.watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => self.folders += 1,
            Err(error) if path.exists() => return Err(explain(path, &error)),
            Err(_) => {}
        }
        Ok(())
    }
}

/// What the system says when there are too many inotify instances: `EMFILE`.
const EMFILE: i32 = 24;

/// Says in words what could not be watched.
pub(super) fn explain(path: &Path, error: &notify::Error) -> WatchError {
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
