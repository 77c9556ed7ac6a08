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

/// Deepest folder below the root; nobody sorts specs that finely, and links can make endless ones.
pub(crate) const FOLDERS_DEEP_MAX: usize = 32;

/// Most folders that are looked into: more than anybody sorts specs into, while a link to `/` would
/// lead to hundreds of thousands.
pub(crate) const FOLDERS_MAX: usize = 10_000;

/// Whether windlass never looks at a file or folder of that name: hidden ones, and what editors
/// leave beside the file they write. What an editor names otherwise (`4913`, `sedAbC12`) does not end
/// as a spec does.
#[must_use]
pub(crate) fn is_ignored(name: &str) -> bool {
    name.starts_with('.')
        || name.ends_with('~')
        || [".swp", ".bak", ".orig", ".tmp"].iter().any(|ending| name.ends_with(ending))
        || (name.starts_with('#') && name.ends_with('#'))
}
