//! Drives a Docker engine: one implementation of the port [`Driver`](reconciler::ports::Driver).
//!
//! It decides nothing. An action is one call of the engine; what the engine answers is normalised
//! once, here, so that nothing else in windlass knows the engine's own forms.
//!
//! Reading order: `connect` (the driver, its session and its deadlines), `observe` (what a node
//! holds) with `cache`, `execute` (what is done) with `images` (and
//! `credentials`, `archive`, `upload`, `progress`), `networks`, `files`, `events`, `logs`, `exec` and
//! `stats`; `convert`
//! (our model and the engine's, both directions, pure); `error` (what went wrong, in one line).

mod archive;
mod cache;
mod connect;
mod convert;
mod credentials;
mod error;
mod events;
mod exec;
mod execute;
mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod images;
mod inside;
mod logs;
mod networks;
mod observe;
mod pid;
mod progress;
mod stats;
mod upload;

pub use connect::{Deadlines, DockerDriver};
pub use convert::labels;
