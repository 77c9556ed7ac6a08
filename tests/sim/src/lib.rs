//! The simulator: a seed makes a world of nodes, a journal, a clock and a directory of specs around
//! [`Engine::handle`](reconciler::engine::Engine::handle), and plays it in two phases. In the first
//! one all goes wrong that can, and nothing bad may come of it ([`checks`]); in the second one nothing
//! goes wrong any more, and within a bounded time the world is as declared, and stays so.
//!
//! Read in this order: [`world`] (what is due, and who answers), [`specs`] (what is declared), [`chaos`]
//! (what goes wrong), [`checks`] (what never may be), [`play`] (the two phases).

pub mod chaos;
pub mod checks;
pub mod dice;
pub mod law;
pub mod odds;
pub mod play;
mod say;
pub mod specs;
pub mod trace;
pub mod world;

use std::io::Write as _;

/// Prints a line.
pub fn print(line: &str) {
    // Who closed the pipe does not want to read on.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Why a seed is known to fail, if it is. Each is printed when it is played; one that no longer fails is
/// to be taken off the list.
#[must_use]
pub fn known(seed: u64) -> Option<&'static str> {
    let lines = include_str!("../known").lines().filter(|line| !line.starts_with('#'));
    let mut pairs = lines.filter_map(|line| line.split_once(' '));
    pairs.find(|(known, _)| known.parse() == Ok(seed)).map(|(_, reason)| reason)
}
