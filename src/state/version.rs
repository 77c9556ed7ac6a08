//! Which version a state directory has. It stands in a file of its own, since the other ones cannot be
//! asked: sled writes to its files when it opens them.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use reconciler::model::journal::SCHEMA_VERSION;
use reconciler::ports::StoreError;
use serde::{Deserialize, Serialize};

use super::StatePaths;
use crate::files::{FILE_MODE, failed, newer, sync_name};
use crate::journal;

/// What the file says. Later versions may say more.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    /// Version of what entries and records say.
    version: u32,
    /// By which windlass it was written last.
    windlass: String,
}

/// Refuses a directory that a newer windlass has written to. Changes nothing. One without the file is
/// from before it was written; then the journal tells.
pub(super) fn check(paths: &StatePaths) -> Result<(), StoreError> {
    if let Some(Version { version, windlass }) = read(paths)?
        && version > SCHEMA_VERSION.into()
    {
        let what = format!(
            "windlass {windlass} has written it in version {version}; {}",
            newer(SCHEMA_VERSION.into())
        );
        return Err(failed("read", &paths.version(), what));
    }
    journal::refuse_newer(&paths.journal())
}

/// Notes our version, before anything is written in it.
pub(super) fn note(paths: &StatePaths) -> Result<(), StoreError> {
    let windlass = env!("CARGO_PKG_VERSION").to_owned();
    let ours = Version { version: SCHEMA_VERSION.into(), windlass };
    if read(paths)?.is_some_and(|found| found == ours) {
        return Ok(());
    }
    let path = paths.version();
    let next = path.with_extension("new");
    let mut bytes = serde_json::to_vec(&ours).map_err(|error| failed("write", &path, error))?;
    bytes.push(b'\n');
    let mut open = OpenOptions::new();
    open.write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&next)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_data()))
        .and_then(|()| fs::rename(&next, &path))
        .map_err(|error| failed("write", &path, error))?;
    sync_name(&path)
}

/// What the file says; `None` without one, or if a power cut left nothing of it that can be read.
fn read(paths: &StatePaths) -> Result<Option<Version>, StoreError> {
    let path = paths.version();
    match fs::read(&path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path, error)),
    }
}
