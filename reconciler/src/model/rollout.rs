//! What is remembered of rollouts: how each revision turned out, what is needed to go back to one,
//! and what was decided or asked for since.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::Digest;
use super::time::Timestamp;

/// How the rollout of a revision turned out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// Nobody knows: it was rolled out before outcomes were recorded.
    #[default]
    Unknown,
    /// Not all replicas were ready in it yet.
    UnderWay,
    /// All replicas were ready in it.
    Good,
    /// A replica did not get ready in it, and there was nothing to go back to, or its spec says to
    /// hold.
    Failed {
        /// When.
        at: Timestamp,
        /// What went wrong.
        why: String,
    },
    /// A replica did not get ready in it, and an earlier revision came back.
    SetAside {
        /// When.
        at: Timestamp,
        /// What went wrong.
        why: String,
    },
    /// An operator went back to an earlier one.
    Undone {
        /// When.
        at: Timestamp,
        /// Who: `user@host`.
        by: String,
    },
}

impl Outcome {
    /// One or two words for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::UnderWay => "under way",
            Self::Good => "good",
            Self::Failed { .. } => "failed",
            Self::SetAside { .. } => "set aside",
            Self::Undone { .. } => "undone",
        }
    }
}

/// What is needed to go back to a revision.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The spec, in its serial form. It holds values of variables, so it is treated as the text of
    /// a spec file is: it stands in journal and store, and is never shown.
    pub text: Arc<str>,
    /// What the image's content is known by.
    pub content: Arc<str>,
    /// The reference with the digest, if a registry gave one.
    pub pinned: Option<Arc<str>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { text, content, pinned } = self;
        f.debug_struct("Kept")
            .field("text", &format_args!("({} bytes)", text.len()))
            .field("content", content)
            .field("pinned", pinned)
            .finish()
    }
}

/// What was decided or asked for about an instance's revisions. There is none where nothing was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// It is held at an earlier revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<Back>,
    /// No further replica changes its revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Each replica gets a new container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartAsked>,
}

impl Rollout {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { back, paused, restart } = self;
        back.is_none() && paused.is_none() && restart.is_none()
    }
}

/// An earlier revision is in force, for as long as the specs ask for the same as now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Back {
    /// What the specs asked for: as long as they do, it is left alone.
    pub asked: Digest,
    /// The number of that revision, if a container of it was ever asked for.
    pub away: Option<u64>,
    /// The number of the revision that is in force.
    pub to: u64,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub why: BackWhy,
}

/// Why an earlier revision is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum BackWhy {
    /// The later one failed.
    Failed {
        /// What went wrong.
        why: String,
    },
    /// An operator asked for it.
    Undone {
        /// Who: `user@host`.
        by: String,
    },
}

/// Who paused a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Paused {
    /// When.
    pub at: Timestamp,
    /// Who: `user@host`.
    pub by: String,
}

/// Who asked for new containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartAsked {
    /// When.
    pub at: Timestamp,
    /// Who: `user@host`.
    pub by: String,
    /// The incarnation of each replica at that time, by ordinal: a later one is a new container.
    /// Incarnations count, and not times, since clocks are put back.
    pub before: BTreeMap<u32, u64>,
}
