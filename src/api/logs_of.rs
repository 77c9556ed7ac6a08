//! Whose log is asked for, in the words of the protocol.

use reconciler::model::ids::Key;
use serde::{Deserialize, Serialize};

/// Whose log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogsOf {
    /// The instance.
    pub instance: Key,
    /// One replica of it; all of them if not said.
    pub ordinal: Option<u32>,
}
