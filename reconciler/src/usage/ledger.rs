//! Booking amounts, and moving what is old into coarser buckets, wherever these are kept.

use std::collections::BTreeMap;

use super::amounts::Amounts;
use super::bucket::{self, Bucket, Fate, Level};
use super::meter::Series;
use crate::model::time::Timestamp;

/// What a bucket holds.
pub type Block = BTreeMap<Series, Amounts>;

/// Where buckets are kept.
pub trait Shelf {
    /// Why it cannot be read or written.
    type Error;

    /// What a bucket holds; nothing if it is not there.
    ///
    /// # Errors
    /// If that cannot be read.
    fn read(&mut self, bucket: Bucket) -> Result<Block, Self::Error>;

    /// Puts something in place of what a bucket holds; an empty one goes.
    ///
    /// # Errors
    /// If that cannot be written.
    fn write(&mut self, bucket: Bucket, block: Block) -> Result<(), Self::Error>;

    /// The buckets of a level that begin before a moment.
    ///
    /// # Errors
    /// If that cannot be read.
    fn before(&mut self, level: Level, until: Timestamp) -> Result<Vec<Bucket>, Self::Error>;
}

/// A shelf in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryShelf(pub BTreeMap<Bucket, Block>);

impl Shelf for MemoryShelf {
    type Error = std::convert::Infallible;

    fn read(&mut self, bucket: Bucket) -> Result<Block, Self::Error> {
        Ok(self.0.get(&bucket).cloned().unwrap_or_default())
    }

    fn write(&mut self, bucket: Bucket, block: Block) -> Result<(), Self::Error> {
        if block.is_empty() {
            self.0.remove(&bucket);
        } else {
            self.0.insert(bucket, block);
        }
        Ok(())
    }

    fn before(&mut self, level: Level, until: Timestamp) -> Result<Vec<Bucket>, Self::Error> {
        let of = self.0.keys().filter(|one| one.level == level && one.start < until);
        Ok(of.copied().collect())
    }
}

/// What was used and is not booked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending(pub BTreeMap<Bucket, Block>);

impl Pending {
    /// Notes what a series used from one moment to another.
    pub fn add(
        &mut self,
        series: &Series,
        amounts: &Amounts,
        (from, to): (Timestamp, Timestamp),
        now: Timestamp,
    ) {
        for (bucket, part) in bucket::spread(amounts, from, to, now) {
            let block = self.0.entry(bucket).or_default();
            match block.get_mut(series) {
                Some(there) => there.add(&part),
                None => {
                    block.insert(series.clone(), part);
                }
            }
        }
    }

    /// Whether there is nothing to book.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Books what is pending, and moves what is old into coarser buckets.
///
/// # Errors
/// If the shelf cannot be read or written. What was written by then is as it should be, so a shelf
/// takes all of it or nothing.
pub fn book<S: Shelf>(shelf: &mut S, pending: &Pending, now: Timestamp) -> Result<(), S::Error> {
    for (bucket, block) in &pending.0 {
        merge(shelf, *bucket, block)?;
    }
    age(shelf, now)
}

/// Moves what is old into coarser buckets; what is too old for all of them goes.
///
/// # Errors
/// As [`book`].
pub fn age<S: Shelf>(shelf: &mut S, now: Timestamp) -> Result<(), S::Error> {
    for level in Level::ALL {
        for bucket in shelf.before(level, Bucket::may_move_before(level, now))? {
            match bucket.fate(now) {
                Fate::Stays => {}
                Fate::Into(coarser) => {
                    let block = shelf.read(bucket)?;
                    merge(shelf, coarser, &block)?;
                    shelf.write(bucket, Block::new())?;
                }
                Fate::Goes => shelf.write(bucket, Block::new())?,
            }
        }
    }
    Ok(())
}

fn merge<S: Shelf>(shelf: &mut S, bucket: Bucket, more: &Block) -> Result<(), S::Error> {
    let mut block = shelf.read(bucket)?;
    for (series, amounts) in more {
        match block.get_mut(series) {
            Some(there) => there.add(amounts),
            None => {
                block.insert(series.clone(), *amounts);
            }
        }
    }
    shelf.write(bucket, block)
}
