//! What may talk to what on a node: the rules between the bridges of projects' own networks.

use core::net::Ipv4Addr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{Digest, OwnerId};
use super::spec::Protocol;

/// A way that is open, and the answers to what came along it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Way {
    /// The bridge that it begins at.
    pub from_bridge: Arc<str>,
    /// Who may talk.
    pub from: Ipv4Addr,
    /// The bridge that it leads to.
    pub to_bridge: Arc<str>,
    /// To whom.
    pub to: Ipv4Addr,
    /// To which port.
    pub port: u16,
    /// Of which protocol.
    pub protocol: Protocol,
}

/// All rules of one owner on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rules {
    /// What is open.
    pub open: BTreeSet<Way>,
    /// Bridges from which nothing else gets to a bridge of ours, not even what goes on since a time
    /// when it was open. Published ports are another matter.
    pub closed: BTreeSet<Arc<str>>,
}

impl Rules {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { open, closed } = self;
        open.is_empty() && closed.is_empty()
    }

    /// Whether they are about a bridge.
    #[must_use]
    pub fn name(&self, bridge: &str) -> bool {
        let Self { open, closed } = self;
        closed.contains(bridge)
            || open.iter().any(|way| &*way.from_bridge == bridge || &*way.to_bridge == bridge)
    }

    /// Tells them from others.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Its sets are sorted, and its keys are texts.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The rules of a node as they were seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fence {
    /// These are in force.
    InForce {
        /// The rules.
        rules: Rules,
        /// Whether that is all, as it was written: no rule of another hand is among them, and what
        /// passes is led through them.
        intact: bool,
    },
    /// Nobody can tell just now, or rules cannot be set as things are.
    Unknown {
        /// Why, and what to do about it.
        reason: String,
    },
    /// Rules cannot be had from where windlass runs: it is not on the engine's host, or lacks the
    /// rights or the tools. That does not change by itself.
    Elsewhere {
        /// Why, and what to do about it.
        reason: String,
    },
}

impl Default for Fence {
    /// Where no network of a project is there is nothing to fence.
    fn default() -> Self {
        Self::InForce { rules: Rules::default(), intact: true }
    }
}

/// Names that a container knows, beside those that its engine gave it, with their addresses.
pub type HostNames = BTreeMap<String, BTreeSet<Ipv4Addr>>;

/// The chain of an owner's rules. Its name is short enough for every version of the tools.
#[must_use]
pub fn chain(owner: &OwnerId) -> String {
    let digits = owner.0.get(..8).unwrap_or(&owner.0);
    format!("WINDLASS-{digits}")
}
