//! Records in sled, so that a start is quick, and what was observed.
//!
//! Everything here follows from the journal: losing it loses nothing. Reading order: [`Touched`]
//! (what to write), [`SledStore`], [`MemoryStore`], [`StoreWriter`].

mod memory;
mod quiet;
mod sled;
mod touched;
mod writer;

pub use self::memory::MemoryStore;
pub use self::sled::{RECORD_VERSION, SledStore};
pub use self::touched::{RecordKey, Touched, diff, touched, writes};
pub use self::writer::StoreWriter;
