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

use reconciler::model::ids::{ContainerId, ImageName, Key, Name};
use reconciler::model::observed::ObservedContainer;
use reconciler::model::record::Records;
use reconciler::ports::{StateStore, StoreError, Write};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use sled::{Batch, IVec};

use super::quiet::quietly;
use crate::files::{Trouble, failed};

/// Version of the form of values. A higher one is refused: it was written by a newer windlass.
pub const RECORD_VERSION: u8 = 1;

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

const COMMON: &str = "common";
const HEAD: &str = "head";
const INSTANCE: &str = "instance/";
const IMAGE: &str = "image/";
const VOLUME: &str = "volume/";
const NETWORK: &str = "network/";
const NODE: &str = "node/";
const ROLLOUT: &str = "rollout/";
const KEPT: &str = "kept/";
const TEXT: &str = "text/";
const OBSERVED: &str = "observed/";
/// The first key behind all of those: `0` follows `/`.
const AFTER_OBSERVED: &str = "observed0";

/// What to do about a store that cannot be read.
const ADVICE: &str = "`windlass store rebuild` makes it anew from the journal";

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

/// Written with each change.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Head {
    /// The number of the last entry that is in the records.
    seq: u64,
    /// The sum of all records but the observed ones, in hexadecimal digits.
    sum: String,
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

    fn unreadable(&self, key: &[u8], what: impl ToString) -> Trouble {
        let key = String::from_utf8_lossy(key);
        let what = what.to_string();
        let message = format!("record `{key}`: {what}; {ADVICE}");
        Trouble::damage(failed("read store", &self.path, message))
    }

    fn decode<T: DeserializeOwned>(&self, key: &[u8], value: &[u8]) -> Result<T, Trouble> {
        match value.split_first() {
            Some((&RECORD_VERSION, json)) => {
                serde_json::from_slice(json).map_err(|error| self.unreadable(key, error))
            }
            Some((&version, _)) if version > RECORD_VERSION => {
                let message = format!(
                    "record `{}` has version {version}, this windlass reads up to \
                     {RECORD_VERSION}: it was written by a newer windlass, use that one",
                    String::from_utf8_lossy(key)
                );
                Err(failed("read store", &self.path, message).into())
            }
            Some((version, _)) => Err(self.unreadable(key, format!("unknown version {version}"))),
            None => Err(self.unreadable(key, "it is empty")),
        }
    }

    /// Adds one record to `records`, or gives `false` if its key is of no kind that we know.
    fn add(&self, key: &[u8], value: &[u8], records: &mut Records) -> Result<bool, Trouble> {
        let Ok(text) = std::str::from_utf8(key) else { return Ok(false) };
        let named = |error: reconciler::model::ids::NameError| self.unreadable(key, error);
        if let Some(name) = text.strip_prefix(INSTANCE) {
            records.instances.insert(name.parse().map_err(named)?, self.decode(key, value)?);
        } else if let Some(name) = text.strip_prefix(IMAGE) {
            let name = ImageName::try_from(name.to_owned()).map_err(named)?;
            records.images.insert(name, self.decode(key, value)?);
        } else if let Some(name) = text.strip_prefix(VOLUME) {
            records.volumes.insert(name.parse().map_err(named)?, self.decode(key, value)?);
        } else if let Some(name) = text.strip_prefix(NETWORK) {
            records
                .networks
                .insert(Key::try_from(name.to_owned()).map_err(named)?, self.decode(key, value)?);
        } else if let Some(name) = text.strip_prefix(NODE) {
            records.nodes.insert(name.parse().map_err(named)?, self.decode(key, value)?);
        } else if let Some(name) = text.strip_prefix(ROLLOUT) {
            records.rollouts.insert(name.parse().map_err(named)?, self.decode(key, value)?);
        } else if let Some(name) = text.strip_prefix(KEPT) {
            records.kept.insert(name.parse().map_err(named)?, self.decode(key, value)?);
        } else if let Some(file) = text.strip_prefix(TEXT) {
            records.texts.insert(Arc::from(file), self.decode(key, value)?);
        } else if text == COMMON {
            let Records { owner, guard, suspended, .. } = self.decode(key, value)?;
            records.owner = owner;
            records.guard = guard;
            records.suspended = suspended;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn read_all(&self) -> Result<(Records, u64), Trouble> {
        let (mut records, mut head, mut sum) = (Records::default(), None, 0);
        // What was observed is most of what is there, and no record.
        let before = self.db.range(..OBSERVED.as_bytes());
        let after = self.db.range(AFTER_OBSERVED.as_bytes()..);
        for item in before.chain(after) {
            let (key, value): (IVec, IVec) =
                item.map_err(|error| trouble("read store", &self.path, &error))?;
            if key == HEAD {
                head = Some(self.decode::<Head>(&key, &value)?);
                continue;
            }
            if !self.add(&key, &value, &mut records)? {
                return Err(self.unreadable(&key, "it is of no kind that this windlass knows"));
            }
            sum = sum_of(&key, &value).wrapping_add(sum);
        }
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
        let Head { sum, .. } = self.decode(HEAD.as_bytes(), &value)?;
        u128::from_str_radix(&sum, 16)
            .map_err(|error| self.unreadable(HEAD.as_bytes(), error).into())
    }

    /// All changes by their keys; of two changes of one key, the later one counts.
    fn changes(&self, writes: &[Write]) -> Result<Changes, StoreError> {
        let mut changes = Changes::default();
        for write in writes {
            match write {
                Write::Common(common) => changes.put(COMMON.to_owned(), Some(common)),
                Write::Instance(key, record) => {
                    changes.put(format!("{INSTANCE}{key}"), record.as_ref())
                }
                Write::Image(name, record) => {
                    let name = String::from(name.clone());
                    changes.put(format!("{IMAGE}{name}"), record.as_ref())
                }
                Write::Volume(key, record) => {
                    changes.put(format!("{VOLUME}{key}"), record.as_ref())
                }
                Write::Network(key, record) => {
                    changes.put(format!("{NETWORK}{key}"), record.as_ref())
                }
                Write::Node(name, record) => changes.put(format!("{NODE}{name}"), record.as_ref()),
                Write::Rollout(key, rollout) => {
                    changes.put(format!("{ROLLOUT}{key}"), rollout.as_ref())
                }
                Write::Kept(key, kept) => changes.put(format!("{KEPT}{key}"), kept.as_ref()),
                Write::Text(file, text) => changes.put(format!("{TEXT}{file}"), text.as_ref()),
                Write::Observed(node, id, container) => {
                    changes.put(observed_key(node, id), container.as_ref())
                }
                Write::ObservedAll(node, all) => {
                    let prefix = observed_prefix(node);
                    changes.0.retain(|key, _| !key.starts_with(prefix.as_bytes()));
                    for key in self.db.scan_prefix(&prefix).keys() {
                        let key = key.map_err(|error| failed("read store", &self.path, error))?;
                        changes.0.insert(key.to_vec(), None);
                    }
                    all.iter().try_for_each(|(id, container)| {
                        changes.put(observed_key(node, id), Some(container))
                    })
                }
            }
            .map_err(|error| failed("write a record for store", &self.path, error))?;
        }
        Ok(changes)
    }
}

/// What a save changes.
#[derive(Debug, Default)]
struct Changes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Changes {
    fn put<T: Serialize>(
        &mut self,
        key: String,
        record: Option<&T>,
    ) -> Result<(), serde_json::Error> {
        let value = record.map(encode).transpose()?;
        self.0.insert(key.into_bytes(), value);
        Ok(())
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
                self.decode(&key, &value).map_err(StoreError::from)?,
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

fn observed_prefix(node: &Name) -> String {
    format!("{OBSERVED}{node}/")
}

fn observed_key(node: &Name, id: &ContainerId) -> String {
    format!("{}{id}", observed_prefix(node))
}

/// sled gives this error no kind of its own.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut value = vec![RECORD_VERSION];
    serde_json::to_writer(&mut value, record)?;
    Ok(value)
}

/// What a record adds to the sum of all: half of a SHA-256, so that no loss goes unnoticed.
fn sum_of(key: &[u8], value: &[u8]) -> u128 {
    let hash = sha2::Sha256::new().chain_update(key).chain_update([0]).chain_update(value);
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

fn digits(sum: u128) -> String {
    format!("{sum:032x}")
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
