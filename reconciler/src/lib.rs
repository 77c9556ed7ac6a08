//! The pure core of windlass: it decides what to do, and does nothing.
//!
//! No function here reads a file, a clock, a socket or the environment; all that a decision rests
//! on comes in through its arguments, and all that it brings about goes out as data.

pub mod model;
pub mod ports;
pub mod revision;
pub mod step;
