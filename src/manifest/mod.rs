//! Specs: YAML text → tree with places → all errors of all files → typed objects.
//!
//! Read in this order: [`loader`] (the directory, read again and again), `scan` (which files
//! there are), `version` (one text of one file), `tree` (YAML with places), `decode` (typed
//! objects), `set` and `checks` (all files together, and what is in force),
//! [`news`] (when that need not be asked anew), `problem` and
//! [`diagnostic`] (what users see when something is wrong).

mod checks;
mod decode;
pub mod diagnostic;
mod digests;
pub mod loader;
pub mod news;
mod problem;
mod report;
mod scan;
mod set;
mod tree;
mod version;

#[cfg(test)]
mod tests;

pub use self::diagnostic::{Diagnostic, Place, Style, render, summary};
pub use self::loader::{Loader, Reading};
pub use self::news::News;
