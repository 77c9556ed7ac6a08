//! The state directory: who may write there, and how its journal and its store become records.
//!
//! The journal is the durable truth; the store is brought up to date from it, and made anew where it
//! is lost. Reading order: [`StateDir`], [`open_records`], [`rebuild`].

mod dir;
mod open;
mod rebuild;
mod version;

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use self::dir::{Holder, StateDir, StatePaths};
pub use self::open::{Opened, open_records};
pub use self::rebuild::{RebuildReport, rebuild};
