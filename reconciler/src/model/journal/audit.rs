//! What stands in the journal for whoever audits it: who asked, where the specs come from, which
//! commands ran in containers. None of it changes what is planned.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;

/// The commit that the specs directory stands at, where it is a Git checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkout {
    /// The commit's id.
    pub commit: Arc<str>,
    /// The branch, unless the commit stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Arc<str>>,
    /// Who wrote the commit: `Name <mail>`; unknown without `git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Arc<str>>,
    /// When it was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Whether the directory differs from it; unknown without `git`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dirty: Option<bool>,
}

/// Digits of a commit's id that are shown.
const COMMIT_DIGITS: usize = 12;

impl std::fmt::Display for Checkout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { commit, branch, author, at: _, dirty } = self;
        let short = commit.get(..COMMIT_DIGITS).unwrap_or(commit);
        write!(f, "commit {short}")?;
        if let Some(branch) = branch {
            write!(f, " of {branch}")?;
        }
        if let Some(author) = author {
            write!(f, " by {author}")?;
        }
        match dirty {
            Some(true) => f.write_str(", with changes that are not committed"),
            Some(false) => Ok(()),
            None => f.write_str(", perhaps with changes that are not committed"),
        }
    }
}

/// A command that an operator ran in a container. Its arguments may hold secrets: none of them is
/// on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecNote {
    /// Who: `user@host`.
    pub by: String,
    /// The program's name.
    pub program: String,
    /// How many arguments it had.
    pub arguments: usize,
    /// As which user of the container, if not its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether it had a terminal.
    pub terminal: bool,
}
