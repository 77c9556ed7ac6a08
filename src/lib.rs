//! windlass hauls containers to their declared state and holds them there.
//!
//! This package holds the effects; every decision is made in the pure `reconciler` crate. Read
//! `ARCHITECTURE.md` first, then [`app`], which puts the adapters together.

pub mod api;
pub mod app;
pub mod audit;
pub mod cgroup;
pub mod cli;
pub mod compose;
pub mod config;
pub mod crash_point;
pub mod docker;
pub mod fence;
mod files;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod hint;
pub mod journal;
pub mod manifest;
mod pass_on;
mod peer;
pub mod policies;
pub mod probe;
pub mod shell;
pub mod signatures;
mod small;
pub mod specs;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod watch;
