//! The state directory, and the lock that lets one process write there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use reconciler::ports::StoreError;

use super::version;
use crate::files::{FILE_MODE, failed, is_there, make_dir, sync_name};

/// How often the lock is tried: [`StateDir::probe`] holds it for some microseconds, and that is no
/// reason to refuse a start.
const LOCK_ATTEMPTS: u32 = 10;

/// The wait between two attempts. Ten of them are not felt by who is refused in the end.
const LOCK_ATTEMPT_WAIT: Duration = Duration::from_millis(5);

/// Bytes of the lock file that are read: a pid has at most ten digits.
const PID_BYTES_MAX: u64 = 16;

/// Where things are in a state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePaths {
    root: PathBuf,
}

impl StatePaths {
    /// Those of the state directory at `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file that is locked by who writes; it holds that one's pid.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// sled.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// What was used; a sled of its own.
    #[must_use]
    pub fn usage(&self) -> PathBuf {
        self.root.join("usage")
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The version of all of it, and by which windlass it was written.
    #[must_use]
    pub fn version(&self) -> PathBuf {
        self.root.join("version")
    }

    /// The key that signs checkpoints of the journal.
    #[must_use]
    pub fn audit_key(&self) -> PathBuf {
        self.root.join("audit.key")
    }

    /// The socket that a running daemon listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("windlass.sock")
    }
}

/// Who holds a state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// There is no such directory.
    Absent,
    /// Nobody.
    Free,
    /// A running windlass.
    Held {
        /// Its pid, if it could be read.
        pid: Option<u32>,
    },
}

/// A state directory that this process alone may write to, as long as this value lives.
#[derive(Debug)]
pub struct StateDir {
    paths: StatePaths,
    _lock: File,
}

impl StateDir {
    /// Makes the directory if need be, and takes its lock.
    ///
    /// # Errors
    /// [`StoreError`] names the process that holds the lock, or the version that a newer windlass has
    /// written it in, or says what the system said. Of another version nothing was changed.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let paths = StatePaths::new(path);
        // Before anything is written there.
        version::check(&paths)?;
        if !is_there(path)? {
            make_dir(path)?;
            sync_name(path)?;
        }
        let lock_path = paths.lock();
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&lock_path)
            .map_err(|error| failed("open", &lock_path, error))?;
        let mut attempts = 1;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempts < LOCK_ATTEMPTS => {
                    attempts += 1;
                    thread::sleep(LOCK_ATTEMPT_WAIT);
                }
                Err(TryLockError::WouldBlock) => {
                    let who = read_pid(&mut lock)
                        .map_or_else(String::new, |pid| format!(" with pid {pid}"));
                    return Err(failed(
                        "lock",
                        path,
                        format!("a windlass{who} uses it; talk to it, or stop it"),
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", &lock_path, error)),
            }
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|error| failed("write the pid to", &lock_path, error))?;
        // Who had the lock until now may have been a newer one.
        version::check(&paths)?;
        version::note(&paths)?;
        Ok(Self { paths, _lock: lock })
    }

    /// Tells who holds a state directory. Changes nothing on disk.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be told.
    pub fn probe(path: &Path) -> Result<Holder, StoreError> {
        if !is_there(path)? {
            return Ok(Holder::Absent);
        }
        let lock_path = StatePaths::new(path).lock();
        let mut lock = match File::open(&lock_path) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Free),
            Err(error) => return Err(failed("open", &lock_path, error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(Holder::Free),
            Err(TryLockError::WouldBlock) => Ok(Holder::Held { pid: read_pid(&mut lock) }),
            Err(TryLockError::Error(error)) => Err(failed("lock", &lock_path, error)),
        }
    }

    /// Where things are in it.
    #[must_use]
    pub fn paths(&self) -> &StatePaths {
        &self.paths
    }
}

/// The pid in the lock file; `None` if its holder is just about to write it.
fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
