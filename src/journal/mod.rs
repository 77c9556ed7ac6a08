//! The journal: the durable truth. What it acknowledged survives a kill and a power cut.
//!
//! It is a directory of segments, files of JSON lines that are only ever appended to. The first
//! line of a segment is its header, every other line one entry:
//!
//! ```text
//! {"format":"windlass journal","version":1,"first":1,"prev":"000…","sum":"8c1…"}
//! {"seq":1,"at":1763700000000,"durable":0,"prev":"8c1…","entry":{"owner":{…}},"sum":"f03…"}
//! ```
//!
//! `sum` is the SHA-256 of the line up to `,"sum"`, so a line can be checked on its own; `prev` is
//! the `sum` of the line before, across segments too, so it can be checked with its predecessor.
//! `durable` is the number of the last entry that was known to be durable when the line was
//! written: a bad line is the rest of a write that was never acknowledged, and is cut off, unless
//! a later line says that it had been durable.
//!
//! A checkpoint (all records as of that entry) begins a new segment; reading begins at the newest.
//!
//! Beside the segments stand [signed checkpoints](Statement): who has no key can neither shorten nor
//! rewrite what they cover without being found out by [`verify::run`].
//!
//! Reading order: [`line`](self), [`scan`](self), [`FileJournal`], [`JournalWriter`],
//! [`MemoryJournal`]; then [`AuditKey`], [`Statement`], [`verify`](mod@verify), [`export`].

mod attest;
pub mod export;
mod file;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod key;
mod line;
mod mask;
mod memory;
mod retention;
mod scan;
mod statement;
pub mod verify;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

pub use attest::{ATTEST_AFTER, ATTEST_AFTER_ENTRIES, contradiction};
pub use file::{CHECKPOINT_AFTER_BYTES_MIN, CHECKPOINT_AFTER_TIMES, FileJournal};
pub use key::{AuditKey, PublicKey};
pub use line::FORMAT_VERSION;
pub use memory::MemoryJournal;
pub use retention::{BadRetention, Retention};
pub(crate) use scan::replay_or_trouble;
pub use scan::{Replayed, check, exists, history, records_from, refuse_newer, replay};
pub use statement::{FILE as CHECKPOINTS_FILE, Statement, Why};
pub use writer::{JournalWriter, QUEUED_BATCHES_MAX, Written};
