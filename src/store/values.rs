//! How records stand in the store: a key and a value each. A value is a version byte and JSON. Pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reconciler::model::ids::{ContainerId, ImageName, Key, Name};
use reconciler::model::journal::SCHEMA_VERSION;
use reconciler::model::record::Records;
use reconciler::ports::Write;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::files::{Trouble, failed, newer};

/// Version of what values say. A higher one is refused: it was written by a newer windlass.
pub const RECORD_VERSION: u8 = SCHEMA_VERSION;

const COMMON: &str = "common";
pub(super) const HEAD: &str = "head";
const INSTANCE: &str = "instance/";
const IMAGE: &str = "image/";
const VOLUME: &str = "volume/";
const NETWORK: &str = "network/";
const NODE: &str = "node/";
const ROLLOUT: &str = "rollout/";
const KEPT: &str = "kept/";
const TEXT: &str = "text/";
pub(super) const OBSERVED: &str = "observed/";
/// The first key behind all of those: `0` follows `/`.
pub(super) const AFTER_OBSERVED: &str = "observed0";

/// What to do about a store that cannot be read.
pub(super) const ADVICE: &str = "`windlass store rebuild` makes it anew from the journal";

/// Written with each change.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    /// The number of the last entry that is in the records.
    pub(super) seq: u64,
    /// The sum of all records but the observed ones, in hexadecimal digits.
    pub(super) sum: String,
}

/// Reads keys and values, wherever they come from; errors name the store at `path`.
pub(super) struct Values<'p> {
    pub(super) path: &'p Path,
}

/// What keys and values hold.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) records: Records,
    pub(super) head: Option<Head>,
    pub(super) sum: u128,
}

impl Values<'_> {
    /// Adds what a key with its value says, but for what was observed.
    pub(super) fn gather(
        &self,
        key: &[u8],
        value: &[u8],
        into: &mut Gathered,
    ) -> Result<(), Trouble> {
        if key == HEAD.as_bytes() {
            into.head = Some(self.decode::<Head>(key, value)?);
            return Ok(());
        }
        if !self.add(key, value, &mut into.records)? {
            return Err(self.unreadable(key, "it is of no kind that this windlass knows"));
        }
        into.sum = sum_of(key, value).wrapping_add(into.sum);
        Ok(())
    }

    pub(super) fn unreadable(&self, key: &[u8], what: impl ToString) -> Trouble {
        let key = String::from_utf8_lossy(key);
        let what = what.to_string();
        let message = format!("record `{key}`: {what}; {ADVICE}");
        Trouble::damage(failed("read store", self.path, message))
    }

    pub(super) fn decode<T: DeserializeOwned>(
        &self,
        key: &[u8],
        value: &[u8],
    ) -> Result<T, Trouble> {
        match value.split_first() {
            Some((&(1..=RECORD_VERSION), json)) => {
                serde_json::from_slice(json).map_err(|error| self.unreadable(key, error))
            }
            Some((&version, _)) if version > RECORD_VERSION => {
                let message = format!(
                    "record `{}` has version {version}; {}",
                    String::from_utf8_lossy(key),
                    newer(RECORD_VERSION.into())
                );
                Err(failed("read store", self.path, message).into())
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
}

/// What a save changes.
#[derive(Debug, Default)]
pub(super) struct Changes(pub(super) BTreeMap<Vec<u8>, Option<Vec<u8>>>);

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

    /// Adds what a write changes, but for what was observed before.
    pub(super) fn add(&mut self, write: &Write) -> Result<(), serde_json::Error> {
        match write {
            Write::Common(common) => self.put(COMMON.to_owned(), Some(common)),
            Write::Instance(key, record) => self.put(format!("{INSTANCE}{key}"), record.as_ref()),
            Write::Image(name, record) => {
                let name = String::from(name.clone());
                self.put(format!("{IMAGE}{name}"), record.as_ref())
            }
            Write::Volume(key, record) => self.put(format!("{VOLUME}{key}"), record.as_ref()),
            Write::Network(key, record) => self.put(format!("{NETWORK}{key}"), record.as_ref()),
            Write::Node(name, record) => self.put(format!("{NODE}{name}"), record.as_ref()),
            Write::Rollout(key, rollout) => self.put(format!("{ROLLOUT}{key}"), rollout.as_ref()),
            Write::Kept(key, kept) => self.put(format!("{KEPT}{key}"), kept.as_ref()),
            Write::Text(file, text) => self.put(format!("{TEXT}{file}"), text.as_ref()),
            Write::Observed(node, id, container) => {
                self.put(observed_key(node, id), container.as_ref())
            }
            Write::ObservedAll(node, all) => all
                .iter()
                .try_for_each(|(id, container)| self.put(observed_key(node, id), Some(container))),
        }
    }
}

pub(super) fn observed_prefix(node: &Name) -> String {
    format!("{OBSERVED}{node}/")
}

pub(super) fn observed_key(node: &Name, id: &ContainerId) -> String {
    format!("{}{id}", observed_prefix(node))
}

pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut value = vec![RECORD_VERSION];
    serde_json::to_writer(&mut value, record)?;
    Ok(value)
}

/// What a record adds to the sum of all: half of a SHA-256, so that no loss goes unnoticed.
pub(super) fn sum_of(key: &[u8], value: &[u8]) -> u128 {
    let hash = sha2::Sha256::new().chain_update(key).chain_update([0]).chain_update(value);
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

pub(super) fn digits(sum: u128) -> String {
    format!("{sum:032x}")
}
