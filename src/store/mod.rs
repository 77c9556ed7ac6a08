//! Records in sled, so that a start is quick, and what was observed.
//!
//! Records follow from the journal: losing them loses nothing. What was used is in no journal, and kept
//! apart. Reading order: [`Touched`] (what to write), [`SledStore`], [`MemoryStore`], [`StoreWriter`],
//! then [`SledUsage`].

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod memory;
mod quiet;
mod sled;
mod touched;
mod usage;
mod values;
mod writer;

pub use self::memory::MemoryStore;
pub use self::sled::SledStore;
pub use self::touched::{RecordKey, Touched, diff, touched, writes};
pub use self::usage::SledUsage;
pub use self::values::RECORD_VERSION;
pub use self::writer::StoreWriter;

#[cfg(test)]
pub(crate) use self::usage::tests::sample as used_sample;
