//! How a node stands, as commands and a daemon tell each other.

use std::collections::BTreeMap;

use reconciler::model::cordon::Cordon;
use reconciler::model::ids::Name;
use reconciler::model::spec::{Overcommit, Room};
use reconciler::model::time::Timestamp;
use reconciler::status::Condition;
use serde::{Deserialize, Serialize};

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is declared.
    pub source: Option<String>,
    /// Where its engine listens.
    pub endpoint: String,
    /// Whether it answers.
    pub ready: bool,
    /// Why it does not.
    pub message: Option<String>,
    /// Its engine's version.
    pub version: Option<String>,
    /// Its engine's own id.
    pub engine: Option<String>,
    /// How many cpus it has.
    pub cpus: Option<u32>,
    /// How much memory it has, in bytes.
    pub memory: Option<u64>,
    /// `Ready`, `Unknown`, `Cordoned`, `Drained`, or `Held` where another engine answers.
    #[serde(default)]
    pub status: String,
    /// What an operator said of it, if it takes nothing new for that.
    #[serde(default)]
    pub cordon: Option<Cordon>,
    /// Whether its declaration says that it takes nothing new.
    #[serde(default)]
    pub cordoned_by_spec: bool,
    /// How many replicas are placed there.
    #[serde(default)]
    pub replicas: u32,
    /// Cpus that their limits sum up to, in billionths.
    #[serde(default)]
    pub cpus_used: u64,
    /// Memory that their limits sum up to, in bytes.
    #[serde(default)]
    pub memory_used: u64,
    /// What is declared of its capacity.
    #[serde(default, skip_serializing_if = "Room::is_empty")]
    pub capacity: Room,
    /// How much of it is for others than windlass.
    #[serde(default, skip_serializing_if = "Room::is_empty")]
    pub reserved: Room,
    /// How many times the rest may be promised.
    #[serde(default, skip_serializing_if = "Overcommit::is_empty")]
    pub overcommit: Overcommit,
    /// Cpus for replicas, after what is reserved, as often as they may be promised, in billionths.
    #[serde(default)]
    pub cpus_room: Option<u64>,
    /// Memory for replicas, after what is reserved, as often as it may be promised, in bytes.
    #[serde(default)]
    pub memory_room: Option<u64>,
    /// Whether cpus, and whether memory, are borders: else they are only weighed.
    #[serde(default)]
    pub borders: (bool, bool),
    /// How long a look at all of it takes, in milliseconds.
    #[serde(default)]
    pub latency_ms: Option<u64>,
    /// When it was last looked at.
    #[serde(default)]
    pub seen_at: Option<Timestamp>,
    /// The id of another engine that answers in its place, and is refused.
    #[serde(default)]
    pub another: Option<String>,
    /// How many of our containers it holds.
    pub containers: u32,
    /// How many others it holds.
    pub foreign: u32,
    /// What is not as it should be, while it answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
