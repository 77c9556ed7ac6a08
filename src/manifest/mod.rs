//! Specs: YAML text → tree with places → all errors of all files → typed objects.
//!
//! Read in this order: [`loader`] (the directory, read again and again), `scan` (which files
//! there are), `version` (one text of one file), `tree` (YAML with places), `decode` (typed
//! objects), `set` and `checks` (all files together, and what is in force), `problem` and
//! [`diagnostic`] (what users see when something is wrong). [`grammar`] is the same grammar as a
//! schema, for editors and `windlass explain`.

mod checks;
mod decode;
pub mod diagnostic;
mod digests;
pub mod grammar;
pub mod loader;
mod problem;
mod scan;
mod set;
mod tree;
mod version;

#[cfg(test)]
mod tests;

pub use self::diagnostic::{Diagnostic, Place, Style, render, summary};
pub use self::loader::{Loader, Reading};
