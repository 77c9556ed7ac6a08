//! Health: what is asked of a container, what came of it, and what is known since.
//!
//! A check that is a command is run by the engine, which says what it found. HTTP and TCP checks are
//! run by windlass; the two meet in [`ObservedContainer::health`](super::observed::ObservedContainer).

use super::ids::ContainerId;
use super::quantity::Span;
use super::spec::HealthProbe;
use super::time::Timestamp;

/// What is tried once, to find out whether a container is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is tried. Commands are the engine's affair, and never stand here.
    pub check: HealthProbe,
    /// Where it listens.
    pub at: ProbeAt,
    /// After this long it failed.
    pub timeout: Span,
}

/// Where a container listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAt {
    /// At an address of its own.
    Own(String),
    /// On its node's network, which it shares: at the node's loopback.
    Node,
    /// At its own loopback, which nobody outside reaches: it is on no network.
    Inside,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// It answers as it shall.
    Healthy,
    /// It does not.
    Unhealthy {
        /// What it did instead, in a few words: `GET / answered 500`.
        reason: String,
    },
    /// It could not be asked from here, which says nothing of it.
    Unknown {
        /// Why not.
        reason: String,
    },
}

/// What is known of a container's health besides the state that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthNote {
    /// Since when it is in that state, as far as this process has seen it.
    pub since: Timestamp,
    /// Why, where that is known: `GET / answered 500 (3 of 3)`. Empty if not.
    pub reason: String,
    /// Whether nothing was found out about this run yet: windlass runs its check, and has just begun
    /// to look. What is not known to be ready is not known to be away either.
    pub is_awaited: bool,
}

/// The last that a container printed before it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastLines {
    /// The container.
    pub container: ContainerId,
    /// The end that it was read for.
    pub finished_at: Timestamp,
    /// A few lines, the last one last.
    pub lines: Vec<String>,
}
