//! Values that are not there.

use std::fmt;
use std::sync::Arc;

/// What a script gets for a field that was not said, or for a fact that nobody knows. It can be
/// asked for with `has(…)` and replaced with `??`; whatever else is done with it is an error that
/// names it.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    path: Arc<str>,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Absent,
    Unknown,
}

impl Missing {
    /// A field that was not said.
    pub(crate) fn absent(path: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), why: Why::Absent }
    }

    /// A fact that nobody knows. That is neither yes nor no: even `has` is an error.
    pub(crate) fn unknown(path: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), why: Why::Unknown }
    }

    /// Whether it is a fact that nobody knows.
    pub(crate) fn is_unknown(&self) -> bool {
        self.why == Why::Unknown
    }

    /// What to say if a script goes on as if it were there.
    pub(crate) fn complaint(&self) -> String {
        let path = &self.path;
        match self.why {
            Why::Absent => format!(
                "`{path}` is absent: ask with `has(…)` first, or give a value for it with `??`"
            ),
            Why::Unknown => format!("`{path}` is not known: ask with `known(…)` first"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.why {
            Why::Absent => "absent",
            Why::Unknown => "unknown",
        })
    }
}
