//! What the watch of the specs directory and its reader have in common: what may have changed, and
//! what neither of them ever looks at.

use std::path::PathBuf;

/// What may have changed. A hint only: a wrong one costs time, never truth, as long as a reading
/// of all follows some day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Anything.
    All,
    /// Files at these paths, absolute or below the root.
    Paths(Vec<PathBuf>),
}

/// Whether windlass never looks at a file or folder of that name: hidden ones, and what editors
/// leave beside the file they write.
#[must_use]
pub(crate) fn is_ignored(name: &str) -> bool {
    name.starts_with('.')
        || name.ends_with('~')
        || name.ends_with(".swp")
        || (name.starts_with('#') && name.ends_with('#'))
}
