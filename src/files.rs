//! Small things that the store and the journal do with files, with errors that name the file.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use reconciler::ports::StoreError;

/// Only the owner reads and writes: entries and records tell what runs where.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Only the owner enters.
pub(crate) const DIR_MODE: u32 = 0o700;

/// An error, and whether it says that what is stored is damaged: then it can be made anew. All other
/// errors (no permission, a newer format) are no reason to put anything aside.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) damaged: bool,
    pub(crate) error: StoreError,
}

impl Trouble {
    pub(crate) fn damage(error: StoreError) -> Self {
        Self { damaged: true, error }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self { damaged: false, error }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        trouble.error
    }
}

/// "`operation` `path`: `cause`".
pub(crate) fn failed(operation: &str, path: &Path, cause: impl ToString) -> StoreError {
    StoreError { operation: format!("{operation} {}", path.display()), message: cause.to_string() }
}

/// What to do about something of a later version than `known`: it reads after that version.
pub(crate) fn newer(known: u32) -> String {
    format!(
        "this windlass reads 1 to {known}: it was written by a newer windlass, use that one, or a copy \
         of the state directory from before it"
    )
}

/// Makes a directory, and those above it, for the owner alone. One that is there stays as it is.
pub(crate) fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
        .map_err(|error| failed("create directory", path, error))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| failed("sync directory", path, error))
}

/// Makes the name of `path` durable.
pub(crate) fn sync_name(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        None => Ok(()),
        Some(here) if here.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
    }
}

/// Whether something is there.
pub(crate) fn is_there(path: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("look at", path, error)),
    }
}

/// Renames `path` to `path.broken-N` with the first free N: what cannot be read is kept for those
/// who want to look at it.
pub(crate) fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let mut number = 1_u32;
    let aside = loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".broken-{number}"));
        let aside = PathBuf::from(name);
        if !is_there(&aside)? {
            break aside;
        }
        number += 1;
    };
    fs::rename(path, &aside).map_err(|error| failed("move aside", path, error))?;
    sync_name(path)?;
    Ok(aside)
}
