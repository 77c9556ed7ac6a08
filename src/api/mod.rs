//! How commands and a running daemon talk: requests and frames, one JSON document a line, over a
//! unix socket that only its owner may use. A command that finds no daemon asks a loop in its own
//! process, in the same words.
//!
//! Read in this order: [`protocol`] (the words), [`view`] (answers made from a snapshot), [`noted`]
//! (entries of the journal in words), [`audit`] and [`story`] (who is behind them, and what came of
//! them), [`input`] (what goes to a command in a container),
//! [`server`], [`client`]; then [`metrics`] and [`scrape`], which serves them over HTTP.

pub mod audit;
pub mod client;
pub mod input;
mod logs_of;
pub mod metrics;
mod node;
pub mod noted;
mod object;
mod others;
pub mod protocol;
pub mod scrape;
pub mod server;
pub mod story;
mod told;
pub mod used;
pub mod view;

/// Begins what is said of a command that may not be run; who says so follows.
pub(crate) const NOT_RUN: &str = "the command is not run: ";
