//! Specs: YAML text → tree with places → all errors of all files → typed objects.
//!
//! Read in this order: [`loader`] (the directory, read again and again), `scan` (which files
//! there are), `version` (one text of one file), `tree` (YAML with places), `decode` (typed
//! objects), `set`, `checks` and `links` (all files together, and what is in force),
//! [`news`] (when that need not be asked anew), [`catalogue`] (which policies there are), `problem` and
//! [`diagnostic`] (what users see when something is wrong). [`places`] tells where fields stand,
//! `inside` reads objects that stand in other files than specs. [`grammar`] is the same grammar as a
//! schema, for editors and `windlass explain`.

pub mod catalogue;
mod checks;
mod decode;
pub mod diagnostic;
mod digests;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub mod grammar;
pub(crate) mod inside;
mod links;
pub mod loader;
pub mod news;
pub mod places;
pub(crate) mod problem;
mod report;
mod scan;
mod set;
pub(crate) mod tree;
mod version;

#[cfg(test)]
mod tests;

pub use self::catalogue::Catalogue;
pub(crate) use self::decode::did_you_mean;
pub use self::diagnostic::{Diagnostic, Place, Style, render, summary};
pub use self::loader::{Loader, Reading};
pub use self::news::News;
pub use self::places::{Spot, spots};

use std::path::Path;
use std::sync::Arc;

/// What is wrong with a text on its own, `line: message`; what refers to other objects is not looked
/// up. Relative paths begin at `folder`.
#[must_use]
pub fn errors_of(text: &str, folder: &Path) -> Vec<String> {
    let digest = |path: &Path| {
        if path.is_file() {
            Ok(String::new())
        } else {
            Err(format!("{} is no file", path.display()))
        }
    };
    let content = |path: &Path| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        Ok((Arc::from(text), String::new()))
    };
    let beside = version::Beside { digest: &digest, content: &content };
    let version = version::Version::read(Arc::from(text), folder, &beside);
    let shown = |problem: &problem::Problem| {
        let label = problem.label.as_deref().map_or(String::new(), |label| format!(": {label}"));
        format!("{}: {}{label}", problem.span.line, problem.message)
    };
    version.problems.iter().map(shown).collect()
}
