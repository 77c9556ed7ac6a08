//! The state directory: who may write there, and the records in it.
//!
//! The journal is the durable truth; sled holds what follows from it, so that a start is quick, and
//! what was observed. Losing sled loses nothing: [`open_records`] makes it anew.
//!
//! Reading order: [`StateDir`], [`open_records`], [`rebuild`], [`Touched`], [`SledStore`],
//! [`MemoryStore`].

mod memory;
mod open;
mod quiet;
mod rebuild;
mod sled;
mod state_dir;
mod touched;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use self::memory::MemoryStore;
pub use self::open::{Opened, open_records};
pub use self::rebuild::{RebuildReport, rebuild};
pub use self::sled::{RECORD_VERSION, SledStore};
pub use self::state_dir::{Holder, StateDir, StatePaths};
pub use self::touched::{RecordKey, Touched, diff, touched, writes};
