//! The pure core of windlass: it decides what to do, and does nothing.
//!
//! No function here reads a file, a clock, a socket or the environment; all that a decision rests
//! on comes in through its arguments, and all that it brings about goes out as data.

//!
//! The way of a round: [`model`] holds the nouns, [`diff`] compares a declaration with a container,
//! [`policy`] is asked, [`plan`] decides, [`check`] verifies, and [`engine`] turns events into
//! effects around all of that. [`ports`] are what the outside implements.

pub mod backoff;
pub mod check;
pub mod diff;
pub mod enforced;
pub mod engine;
pub mod foresee;
pub mod links;
pub mod model;
pub mod placement;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod pressure;
pub mod quota;
pub mod report;
pub mod revision;
pub mod rollout;
pub mod saved;
pub mod status;
pub mod step;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod usage;
pub mod want;
