//! What operators say of nodes: take nothing new, be emptied, be another engine from now on.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Why a node takes nothing new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cordon {
    /// Whether what can be elsewhere is moved to other nodes, too.
    pub drain: bool,
    /// When an operator said so.
    pub at: Timestamp,
    /// Who: `user@host`.
    pub by: String,
    /// Why, if they said so.
    pub why: Option<String>,
}

/// What an operator says of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum NodeOrder {
    /// Take nothing new.
    Cordon {
        /// Whether what can be elsewhere is moved to other nodes, too.
        drain: bool,
        /// Why, if they said so.
        why: Option<String>,
    },
    /// Take what comes again.
    Uncordon,
    /// Be this engine from now on. What the earlier one held is forgotten.
    Accept {
        /// The engine's own id.
        engine: String,
    },
}

/// As a history tells it: `cordoned: its disk is old`.
impl fmt::Display for NodeOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cordon { drain, why } => {
                f.write_str(if *drain { "drained" } else { "cordoned" })?;
                why.iter().try_for_each(|why| write!(f, ": {why}"))
            }
            Self::Uncordon => f.write_str("uncordoned"),
            Self::Accept { engine } => write!(f, "accepted engine {engine}"),
        }
    }
}
