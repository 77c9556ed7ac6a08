//! What was used, in a sled of its own: it is opened once somebody books or asks, so no start waits for
//! it, and whatever happens to it happens to no record.
//!
//! A bucket of time is one value, with all series in it: a minute is written once, and what is old goes
//! with one key. Series have numbers. It all can be lost, and then begins anew; what of it is damaged is
//! told and left out.

mod code;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reconciler::model::ids::{Key, Name, ReplicaKey};
use reconciler::model::time::Timestamp;
use reconciler::ports::{StoreError, UsageStore};
use reconciler::usage::ledger::book;
use reconciler::usage::{Block, Bucket, Level, Marks, Pending, Series, Shelf, Tally};
use serde::{Deserialize, Serialize};
use sled::Batch;

use self::code::{Reader, Writer};
use super::quiet::quietly;
use super::sled::{FOUND_DAMAGED, open_db};
use crate::files::{Trouble, failed, is_there, move_aside, newer};

/// sled's cache, in bytes. Values are read once a minute, or for somebody who asks: they would only
/// weigh.
const CACHE_BYTES: u64 = 1024 * 1024;

/// So many series have numbers: a hundred thousand replicas, nodes and flavors of the last 400 days.
/// Further ones of a project are booked as one, so that its sums are right.
const SERIES_MAX: usize = 100_000;

/// The instance that those stand for.
const OTHERS: &str = "others";

const MARKS: &[u8] = b"marks";
const SERIES: u8 = b's';
const BUCKET: u8 = b'b';

/// What was used, in sled.
///
/// # Assumptions
/// One process has it open: [`StateDir`](crate::state::StateDir) holds the lock.
#[derive(Debug)]
pub struct SledUsage {
    path: PathBuf,
    db: sled::Db,
    series: Numbers,
    told: Vec<String>,
}

/// Numbers of series.
#[derive(Debug, Default)]
struct Numbers {
    known: BTreeMap<Series, (u32, i64)>,
    names: BTreeMap<u32, Series>,
    next: u32,
    /// Those that have to be written.
    changed: Vec<u32>,
}

/// A series with the last day on which it was booked.
#[derive(Debug, Serialize, Deserialize)]
struct Numbered {
    series: Series,
    day: i64,
}

impl SledUsage {
    /// Opens what is at `path`, or makes an empty one; what is damaged is put aside.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be opened or made.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        match Self::try_open(path) {
            Ok(opened) => Ok(opened),
            Err(Trouble { damaged: true, error }) => {
                let aside = move_aside(path)?;
                let told = format!(
                    "what was used until now is lost: {error}; it is kept in {}",
                    aside.display()
                );
                Ok(Self { told: vec![told], ..Self::try_open(path)? })
            }
            Err(trouble) => Err(trouble.error),
        }
    }

    /// As [`open`](Self::open), if there is something.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_if_there(path: &Path) -> Result<Option<Self>, StoreError> {
        if is_there(path)? { Self::open(path).map(Some) } else { Ok(None) }
    }

    fn try_open(path: &Path) -> Result<Self, Trouble> {
        // It is flushed after each booking: nothing has to wake up for that.
        let config = sled::Config::new().cache_capacity(CACHE_BYTES).flush_every_ms(None);
        let db = open_db(config, path)?;
        let marks = quietly(|| db.get(MARKS).ok().flatten()).flatten();
        if let Some(version) = marks.and_then(|value| value.first().copied())
            && version > code::VERSION
        {
            let what = format!("it has version {version}; {}", newer(code::VERSION.into()));
            return Err(failed("read", path, what).into());
        }
        let series = quietly(|| Numbers::read(&db, path))
            .unwrap_or_else(|| Err(Trouble::damage(failed("read", path, FOUND_DAMAGED))))?;
        Ok(Self { path: path.to_owned(), db, series, told: Vec::new() })
    }

    /// What was found damaged since this was asked last, for the operator.
    fn take_told(&mut self) {
        for message in self.told.drain(..) {
            tracing::warn!("{message}");
        }
    }

    /// Calls sled, which gives up by a panic where it finds damage.
    fn guarded<T>(
        &mut self,
        operation: &str,
        f: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let result =
            quietly(|| f(self)).unwrap_or_else(|| Err(failed(operation, &path, FOUND_DAMAGED)));
        self.take_told();
        result
    }

    fn error(&self, error: &sled::Error) -> StoreError {
        failed("use", &self.path, error)
    }

    fn write(
        &mut self,
        pending: &Pending,
        marks: &Marks,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut changed = BTreeMap::new();
        book(&mut Open { store: self, changed: &mut changed }, pending, now)?;
        let day = now.day();
        let marks = code::write_marks(marks, |series| self.series.number(series, day));
        let mut batch = Batch::default();
        for (bucket, block) in changed {
            let key = bucket_key(bucket);
            if block.is_empty() {
                batch.remove(key);
                continue;
            }
            let mut writer = Writer::new();
            for (series, amounts) in &block {
                writer.amounts(self.series.number(series, day), amounts);
            }
            batch.insert(key, writer.bytes());
        }
        batch.insert(MARKS, marks);
        let (kept, gone) = self.series.changes(day);
        for (number, numbered) in kept {
            let value = serde_json::to_vec(&numbered)
                .map_err(|error| failed("write to", &self.path, error))?;
            batch.insert(series_key(number), value);
        }
        for number in gone {
            batch.remove(series_key(number));
        }
        self.db.apply_batch(batch).map_err(|error| self.error(&error))?;
        self.db.flush().map_err(|error| self.error(&error))?;
        Ok(())
    }

    fn block(&mut self, bucket: Bucket, value: &[u8]) -> Block {
        let mut block = Block::new();
        let read = Reader::new(value).and_then(|mut reader| {
            while let Some((number, amounts)) = reader.amounts()? {
                let series = self.series.names.get(&number).ok_or(code::Damaged)?;
                block.insert(series.clone(), amounts);
            }
            Ok(())
        });
        if read.is_err() {
            let Bucket { level, start } = bucket;
            self.told.push(format!(
                "what was used in the {level:?} from {} ms is damaged, and left out in part",
                start.0
            ));
        }
        block
    }
}

impl UsageStore for SledUsage {
    fn marks(&mut self) -> Result<Option<Marks>, StoreError> {
        self.guarded("read", |store| {
            let value = store.db.get(MARKS).map_err(|error| store.error(&error))?;
            let Some(value) = value else {
                return Ok(store.db.is_empty().then(Marks::new));
            };
            let marks = code::read_marks(&value, &store.series.names).ok();
            if marks.is_none() {
                let told = "the last samples are damaged: what containers use counts from now on";
                store.told.push(told.to_owned());
            }
            Ok(marks)
        })
    }

    fn book(&mut self, pending: &Pending, marks: &Marks, now: Timestamp) -> Result<(), StoreError> {
        self.guarded("write to", |store| store.write(pending, marks, now))
    }

    fn tell(&mut self, tally: &mut Tally) -> Result<(), StoreError> {
        self.guarded("read", |store| {
            for item in store.db.scan_prefix([BUCKET]) {
                let (key, value) = item.map_err(|error| store.error(&error))?;
                let Some(bucket) = bucket_of(&key).filter(|one| tally.query().touches(*one)) else {
                    continue;
                };
                for (series, amounts) in &store.block(bucket, &value) {
                    tally.add(bucket, series, amounts);
                }
            }
            Ok(())
        })
    }
}

/// The store while it is booked in.
struct Open<'a> {
    store: &'a mut SledUsage,
    changed: &'a mut BTreeMap<Bucket, Block>,
}

impl Shelf for Open<'_> {
    type Error = StoreError;

    fn read(&mut self, bucket: Bucket) -> Result<Block, StoreError> {
        if let Some(block) = self.changed.get(&bucket) {
            return Ok(block.clone());
        }
        let value = self.store.db.get(bucket_key(bucket));
        let value = value.map_err(|error| self.store.error(&error))?;
        Ok(value.map(|value| self.store.block(bucket, &value)).unwrap_or_default())
    }

    fn write(&mut self, bucket: Bucket, block: Block) -> Result<(), StoreError> {
        self.changed.insert(bucket, block);
        Ok(())
    }

    fn before(&mut self, level: Level, until: Timestamp) -> Result<Vec<Bucket>, StoreError> {
        let (first, end) = (bucket_key(Bucket { level, start: Timestamp(0) }), until);
        let end = bucket_key(Bucket { level, start: end });
        let mut found = Vec::new();
        for key in self.store.db.range(first..end).keys() {
            let key = key.map_err(|error| self.store.error(&error))?;
            found.extend(bucket_of(&key));
        }
        // Those that were written just now are not old.
        Ok(found)
    }
}

impl Numbers {
    fn read(db: &sled::Db, path: &Path) -> Result<Self, Trouble> {
        let mut numbers = Self::default();
        for item in db.scan_prefix([SERIES]) {
            let (key, value) = item.map_err(|error| super::sled::trouble("read", path, &error))?;
            let damaged =
                || Trouble::damage(failed("read", path, "the name of a series is damaged"));
            let digits = key.get(1..).and_then(|digits| digits.try_into().ok());
            let number = u32::from_be_bytes(digits.ok_or_else(damaged)?);
            let Numbered { series, day } = serde_json::from_slice(&value).map_err(|_| damaged())?;
            numbers.known.insert(series.clone(), (number, day));
            numbers.names.insert(number, series);
            numbers.next = numbers.next.max(number.wrapping_add(1));
        }
        Ok(numbers)
    }

    /// The number of a series that is booked on a day.
    fn number(&mut self, series: &Series, day: i64) -> u32 {
        if let Some((number, last)) = self.known.get_mut(series) {
            if *last < day {
                *last = day;
                self.changed.push(*number);
            }
            return *number;
        }
        if self.known.len() >= SERIES_MAX && &*series.replica.instance.name.to_string() != OTHERS {
            return self.number(&others(series), day);
        }
        let number = self.next;
        self.next += 1;
        self.known.insert(series.clone(), (number, day));
        self.names.insert(number, series.clone());
        self.changed.push(number);
        number
    }

    /// The series that have to be written, and the numbers of those that no bucket holds any more.
    fn changes(&mut self, day: i64) -> (Vec<(u32, Numbered)>, Vec<u32>) {
        let kept_days = Level::Day.kept_ms() / Level::Day.width_ms() + 2;
        let old = |(_, (number, last)): (&Series, &(u32, i64))| {
            (day - *last > kept_days).then_some(*number)
        };
        let gone: Vec<u32> = self.known.iter().filter_map(old).collect();
        for number in &gone {
            if let Some(series) = self.names.remove(number) {
                self.known.remove(&series);
            }
        }
        let changed = std::mem::take(&mut self.changed);
        let kept = changed.into_iter().filter_map(|number| {
            let series = self.names.get(&number)?.clone();
            let (_, day) = *self.known.get(&series)?;
            Some((number, Numbered { series, day }))
        });
        (kept.collect(), gone)
    }
}

/// The series that stands for those of the same project that have no number of their own.
fn others(series: &Series) -> Series {
    let project = series.replica.instance.project.clone();
    let name = Name::new(OTHERS).unwrap_or_else(|_| project.clone());
    let replica = ReplicaKey::new(Key::new(project, name), 0);
    Series { replica, node: series.node.clone(), flavor: None::<Arc<str>> }
}

fn series_key(number: u32) -> Vec<u8> {
    [&[SERIES][..], &number.to_be_bytes()].concat()
}

fn bucket_key(Bucket { level, start }: Bucket) -> Vec<u8> {
    let level = match level {
        Level::Minute => b'1',
        Level::Minutes => b'2',
        Level::Hour => b'3',
        Level::Day => b'4',
    };
    // Nothing was used before 1970.
    let start = u64::try_from(start.0).unwrap_or(0);
    [&[BUCKET, level][..], &start.to_be_bytes()].concat()
}

fn bucket_of(key: &[u8]) -> Option<Bucket> {
    let [BUCKET, level, start @ ..] = key else { return None };
    let level = match level {
        b'1' => Level::Minute,
        b'2' => Level::Minutes,
        b'3' => Level::Hour,
        b'4' => Level::Day,
        _ => return None,
    };
    let start = i64::try_from(u64::from_be_bytes(start.try_into().ok()?)).ok()?;
    Some(Bucket { level, start: Timestamp(start) })
}
