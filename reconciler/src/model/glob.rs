//! Patterns of names, as shells have them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest pattern, in bytes: longer than any name, and short enough to be compared in no time.
pub const GLOB_BYTES_MAX: usize = 256;

/// Why a text is not a [`Glob`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// It would match nothing.
    #[error("an empty pattern matches no name")]
    Empty,
    /// It is longer than [`GLOB_BYTES_MAX`].
    #[error("a pattern has at most {GLOB_BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
}

/// A pattern of names: `*` stands for any characters, `?` for one, everything else for itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(Arc<str>);

impl Glob {
    /// Checks `text` and makes a pattern of it.
    ///
    /// # Errors
    /// [`GlobError`] says why it is none.
    pub fn new(text: &str) -> Result<Self, GlobError> {
        match text.len() {
            0 => Err(GlobError::Empty),
            1..=GLOB_BYTES_MAX => Ok(Self(Arc::from(text))),
            long => Err(GlobError::TooLong(long)),
        }
    }

    /// The text of the pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for `name`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        glob_matches(&self.0, name)
    }
}

/// Whether `pattern` stands for `text`, in at most the product of both lengths.
#[must_use]
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (Chars::of(pattern), Chars::of(text));
    let (mut at, mut seen) = (0, 0);
    // Where the last star stood, and how much of the text it has taken: what follows it is tried
    // again with one character more. Earlier stars need no second try, whatever they took.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(seen) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(one) if one == '?' || one == c => {
                at += 1;
                seen += 1;
            }
            Some(_) | None => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                at = place + 1;
                seen = taken + 1;
            }
        }
    }
    pattern.rest(at).iter().all(|c| *c == '*')
}

/// Characters by their place.
struct Chars(Vec<char>);

impl Chars {
    fn of(text: &str) -> Self {
        Self(text.chars().collect())
    }

    fn get(&self, at: usize) -> Option<char> {
        self.0.get(at).copied()
    }

    fn rest(&self, at: usize) -> &[char] {
        self.0.get(at..).unwrap_or(&[])
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Glob {
    type Err = GlobError;
    fn from_str(text: &str) -> Result<Self, GlobError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Glob {
    type Error = GlobError;
    fn try_from(text: String) -> Result<Self, GlobError> {
        Self::new(&text)
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_the_whole_name() {
        for (pattern, good, bad) in [
            ("web", vec!["web"], vec!["webs", "we", "", "aweb"]),
            ("web-*", vec!["web-", "web-1", "web-a-b"], vec!["web", "xweb-1"]),
            ("*", vec!["", "web"], vec![]),
            ("?b", vec!["ab", "éb"], vec!["b", "aab"]),
            ("*-db-*", vec!["a-db-b", "-db-", "db-db-db"], vec!["db", "a-db"]),
            ("a*b*c", vec!["abc", "axxbxbc"], vec!["acb", "abcd"]),
            ("**", vec!["", "a"], vec![]),
        ] {
            let glob = Glob::new(pattern).expect("a pattern");
            for name in good {
                assert!(glob.matches(name), "{pattern} {name}");
            }
            for name in bad {
                assert!(!glob.matches(name), "{pattern} {name}");
            }
        }
        assert_eq!(Glob::new(""), Err(GlobError::Empty));
    }

    #[test]
    fn stars_do_not_multiply() {
        // With a try of each star for each character this would not end in a lifetime.
        let (pattern, text) = ("a*".repeat(120) + "b", "a".repeat(60_000));
        assert!(!glob_matches(&pattern, &text));
    }
}
