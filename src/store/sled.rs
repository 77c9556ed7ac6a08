//! Records in sled.
//!
//! One tree with a prefix for each kind, so that one batch changes all kinds at once, and the
//! number of the last entry with them. A value is a version byte and JSON. The journal is the
//! durable truth, so nothing here waits for a disk.
//!
//! sled does not notice when a power cut took some of its pages: it opens, and records are missing
//! or old (of 150 stores with one page of 4 KiB zeroed, 15 to 25 opened so). Therefore a sum of all
//! records is written with each change, and compared when they are read.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use reconciler::model::ids::{ContainerId, Name};
use reconciler::model::observed::ObservedContainer;
use reconciler::model::record::Records;
use reconciler::ports::{StateStore, StoreError, Write};
use sled::{Batch, IVec};

use super::quiet::quietly;
use super::values::{
    ADVICE, AFTER_OBSERVED, Changes, Gathered, HEAD, Head, OBSERVED, Values, digits, encode,
    observed_prefix, sum_of,
};
use crate::files::{Trouble, failed};

/// sled's cache, in bytes. The daemon holds the records itself and reads sled once, so the cache
/// would only weigh: with 1,000 instances the whole process shall stay below 23 MB.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// How often sled writes out what it has, in milliseconds. What a kill or a power cut loses of it
/// is read again from the journal; once a second keeps that short and an idle process idle.
const FLUSH_EVERY_MS: u64 = 1000;

/// How often sled's own lock is tried. We hold the lock of the directory, so who holds sled's is
/// about to let go: threads of a store that was just dropped, or a process between fork and exec.
const LOCK_ATTEMPTS: u32 = 40;

/// The wait between two attempts: 0.2 s together, longer than any of these takes.
const LOCK_ATTEMPT_WAIT: Duration = Duration::from_millis(5);

/// What is said where sled gives up by a panic.
pub(super) const FOUND_DAMAGED: &str = "sled finds its files damaged";

/// Records in sled.
///
/// # Assumptions
/// One process has it open: [`StateDir`](crate::state::StateDir) holds the lock.
#[derive(Debug)]
pub struct SledStore {
    path: PathBuf,
    db: sled::Db,
    /// The sum of all records, once it is known.
    sum: Mutex<Option<u128>>,
}

impl SledStore {
    /// Opens the store at `path`, or makes an empty one.
    ///
    /// # Errors
    /// [`StoreError`] if sled finds its files damaged, or cannot read or write them.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::open_or_trouble(path)?)
    }

    /// [`open`](Self::open), with errors that tell damage from the rest.
    pub(crate) fn open_or_trouble(path: &Path) -> Result<Self, Trouble> {
        let config =
            sled::Config::new().cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
        let db = open_db(config, path)?;
        Ok(Self { path: path.to_owned(), db, sum: Mutex::new(None) })
    }

    /// [`load`](StateStore::load), with errors that tell damage from the rest.
    pub(crate) fn load_or_trouble(&self) -> Result<(Records, u64), Trouble> {
        quietly(|| self.read_all()).unwrap_or_else(|| {
            Err(Trouble::damage(failed("read store", &self.path, FOUND_DAMAGED)))
        })
    }

    /// Writes out what sled still has in memory.
    ///
    /// # Errors
    /// [`StoreError`] if that fails.
    pub fn flush(&self) -> Result<(), StoreError> {
        match self.db.flush() {
            Ok(_) => Ok(()),
            Err(error) => Err(failed("flush store", &self.path, error)),
        }
    }

    fn values(&self) -> Values<'_> {
        Values { path: &self.path }
    }

    fn read_all(&self) -> Result<(Records, u64), Trouble> {
        let mut gathered = Gathered::default();
        // What was observed is most of what is there, and no record.
        let before = self.db.range(..OBSERVED.as_bytes());
        let after = self.db.range(AFTER_OBSERVED.as_bytes()..);
        for item in before.chain(after) {
            let (key, value): (IVec, IVec) =
                item.map_err(|error| trouble("read store", &self.path, &error))?;
            self.values().gather(&key, &value, &mut gathered)?;
        }
        let Gathered { records, head, sum } = gathered;
        let head = head.unwrap_or_else(|| Head { seq: 0, sum: digits(0) });
        if head.sum != digits(sum) {
            let what = format!("some records are lost or old; {ADVICE}");
            return Err(Trouble::damage(failed("read store", &self.path, what)));
        }
        *self.sum.lock().unwrap_or_else(PoisonError::into_inner) = Some(sum);
        Ok((records, head.seq))
    }

    /// The sum of all records before a change, as it was written with the last one.
    fn sum_before(&self) -> Result<u128, StoreError> {
        let value = self.db.get(HEAD).map_err(|error| failed("read store", &self.path, error))?;
        let Some(value) = value else { return Ok(0) };
        let Head { sum, .. } = self.values().decode(HEAD.as_bytes(), &value)?;
        u128::from_str_radix(&sum, 16)
            .map_err(|error| self.values().unreadable(HEAD.as_bytes(), error).into())
    }

    /// All changes by their keys; of two changes of one key, the later one counts.
    fn changes(&self, writes: &[Write]) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        for write in writes {
            if let Write::ObservedAll(node, _) = write {
                let prefix = observed_prefix(node);
                changes.0.retain(|key, _| !key.starts_with(prefix.as_bytes()));
                for key in self.db.scan_prefix(&prefix).keys() {
                    let key = key.map_err(|error| failed("read store", &self.path, error))?;
                    changes.0.insert(key.to_vec(), None);
                }
            }
            changes
                .add(write)
                .map_err(|error| failed("write a record for store", &self.path, error))?;
        }
        Ok(changes)
    }
}

impl StateStore for SledStore {
    fn load(&self) -> Result<(Records, u64), StoreError> {
        Ok(self.load_or_trouble()?)
    }

    fn save(&self, writes: &[Write], seq: u64) -> Result<(), StoreError> {
        let failure = |error| failed("write to store", &self.path, error);
        let changes = self.changes(writes)?;
        // Held to the end: two saves at once would lose one of their sums.
        let mut known = self.sum.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = match *known {
            Some(sum) => sum,
            None => self.sum_before()?,
        };
        let mut batch = Batch::default();
        for (key, value) in changes.0 {
            if !key.starts_with(OBSERVED.as_bytes()) {
                let before = self.db.get(&key).map_err(failure)?;
                sum = sum.wrapping_sub(before.map_or(0, |before| sum_of(&key, &before)));
                sum = sum.wrapping_add(value.as_ref().map_or(0, |value| sum_of(&key, value)));
            }
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let head = encode(&Head { seq, sum: digits(sum) })
            .map_err(|error| failed("write a record for store", &self.path, error))?;
        batch.insert(HEAD, head);
        self.db.apply_batch(batch).map_err(failure)?;
        *known = Some(sum);
        Ok(())
    }

    fn observed(
        &self,
        node: &Name,
    ) -> Result<BTreeMap<ContainerId, ObservedContainer>, StoreError> {
        let prefix = observed_prefix(node);
        let mut found = BTreeMap::new();
        for item in self.db.scan_prefix(&prefix) {
            let (key, value) = item.map_err(|error| failed("read store", &self.path, error))?;
            let id = String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default());
            found.insert(
                ContainerId(Arc::from(id)),
                self.values().decode(&key, &value).map_err(StoreError::from)?,
            );
        }
        Ok(found)
    }
}

/// Opens a database at `path`.
pub(super) fn open_db(config: sled::Config, path: &Path) -> Result<sled::Db, Trouble> {
    let config = config.path(path);
    let mut attempts = 1;
    let opened = loop {
        // sled checks some of what it reads by assertions.
        match quietly(|| config.open()) {
            Some(Err(error)) if is_locked(&error) && attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                thread::sleep(LOCK_ATTEMPT_WAIT);
            }
            opened => break opened,
        }
    };
    match opened {
        Some(Ok(db)) => Ok(db),
        Some(Err(error)) => Err(trouble("open store", path, &error)),
        None => Err(Trouble::damage(failed("open store", path, FOUND_DAMAGED))),
    }
}

/// sled gives this error no kind of its own.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

/// Tells damage from the rest: a file that ends too early is damaged, one that may not be opened,
/// or is locked, is not.
pub(super) fn trouble(operation: &str, path: &Path, cause: &sled::Error) -> Trouble {
    let damaged = match cause {
        sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => true,
        sled::Error::Io(error) => {
            matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
        }
        sled::Error::CollectionNotFound(_) | sled::Error::Unsupported(_) => false,
    };
    Trouble { damaged, error: failed(operation, path, cause) }
}
