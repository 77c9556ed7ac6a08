//! All that one round decides from: the planner reads a snapshot and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::desired::{BrokenFile, Declared, DesiredSet, RootState};
use super::health::{HealthNote, LastLines};
use super::ids::{ContainerId, Key, Name, ObjectId, ReplicaKey};
use super::observed::{ContainerState, HealthState, ObservedContainer, ObservedNode};
use super::policies::PolicyStanding;
use super::record::Records;
use super::spec::{InstanceSpec, LinkSpec};
use super::subnet::{Net, RANGE_DEFAULT};
use super::time::Timestamp;
use super::verdicts::{PolicyNotes, Said, Verdicts, Whose};
use crate::pressure::{Pressure, PressureNote};

/// The world at one instant, as far as windlass knows it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// That instant.
    pub now: Timestamp,
    /// How rounds shall go.
    pub config: Config,
    /// What is declared.
    pub desired: DesiredSet,
    /// What specs say of the instances that an earlier revision is laid over: `desired` holds what
    /// is in force.
    pub asked: BTreeMap<Key, Declared<InstanceSpec>>,
    /// The specs directory.
    pub root: RootState,
    /// Files with errors.
    pub broken: BTreeMap<Arc<str>, BrokenFile>,
    /// How the policies stand.
    pub policies: PolicyStanding,
    /// What they say of what is declared.
    pub verdicts: Verdicts,
    /// How bindings and waivers do.
    pub policy_notes: PolicyNotes,
    /// What policies find where things run, beside what they say of the declarations.
    pub scans: BTreeMap<Whose, Vec<Said>>,
    /// Links that are declared, and that policy keeps from coming: `desired` is without them.
    pub withheld: BTreeMap<Key, Declared<LinkSpec>>,
    /// Nodes, without their containers.
    pub nodes: BTreeMap<Name, ObservedNode>,
    /// Our containers on all nodes, by the replica that they are.
    pub containers: BTreeMap<ReplicaKey, Vec<Located>>,
    /// What only windlass knows.
    pub records: Records,
    /// Why containers are in the state of health that they are in, where they have a check.
    pub health: BTreeMap<(Name, ContainerId), HealthNote>,
    /// What replicas that failed printed last. Nothing is planned from it.
    pub last_lines: BTreeMap<ReplicaKey, LastLines>,
    /// What replicas, and nodes as a whole, are short of. Nothing is planned from it.
    pub pressures: BTreeMap<(Option<ReplicaKey>, Name), BTreeMap<Pressure, PressureNote>>,
    /// Objects with a step under way, or whose last step has not been observed yet.
    pub in_flight: BTreeMap<ObjectId, InFlight>,
    /// Whether an operator asked that everything be removed.
    pub down: bool,
}

impl Snapshot {
    /// Whether nothing new is placed on a node, by its declaration or an operator's word; and if
    /// so, whether it is drained, too.
    #[must_use]
    pub fn cordon(&self, node: &Name) -> Option<bool> {
        let declared = self.desired.nodes.get(node).map(|declared| &declared.spec);
        let recorded = self.records.nodes.get(node).and_then(|record| record.cordon.as_ref());
        let drain =
            declared.is_some_and(|spec| spec.drain) || recorded.is_some_and(|one| one.drain);
        let cordon = declared.is_some_and(|spec| spec.cordon) || recorded.is_some();
        (drain || cordon).then_some(drain)
    }

    /// Whether what can be elsewhere is moved away from a node.
    #[must_use]
    pub fn is_drained(&self, node: &Name) -> bool {
        self.cordon(node) == Some(true)
    }
}

/// A container and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The node that holds it.
    pub node: Name,
    /// The engine's id.
    pub id: ContainerId,
    /// The container.
    pub container: ObservedContainer,
}

impl Located {
    /// Whether it is ready: it runs, and its health check says so, if it has one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.runs() && matches!(self.container.health, HealthState::None | HealthState::Healthy)
    }

    /// Whether it is ready as far as anybody can tell: it is, or its check cannot reach it from
    /// here. Others do not wait for what will never be known.
    #[must_use]
    pub fn may_be_ready(&self) -> bool {
        self.is_ready() || self.runs() && self.container.health == HealthState::Unknown
    }

    /// Whether it runs, and is not known yet to be ready.
    #[must_use]
    pub fn starts(&self) -> bool {
        self.runs() && self.container.health == HealthState::Starting
    }

    fn runs(&self) -> bool {
        matches!(self.container.state, ContainerState::Running { .. })
    }
}

/// What is under way for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// What it is, for readers: `create`, `pull image`.
    pub what: &'static str,
    /// Since when.
    pub since: Timestamp,
}

/// How rounds go. Every limit has its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Removals past this share of what is managed are held: a typo or a half checkout removes
    /// more than a commit that was meant.
    pub removals_percent_max: u32,
    /// So few removals are never held: small sets change as a whole.
    pub removals_free: u32,
    /// Settled for this long, removals are counted anew: a slow checkout trickles, and each drop
    /// of it would settle on its own.
    pub settled_after: Duration,
    /// The wait after the second failure in a row; it doubles with each further one.
    pub backoff_base: Duration,
    /// No wait is longer: a fault that went away is noticed within this time.
    pub backoff_max: Duration,
    /// A run at least this long was stable: the restarts before it no longer count.
    pub stable_run: Duration,
    /// So many restarts in a row are a crash loop, and shown as one.
    pub crash_loop_restarts: u32,
    /// Steps under way on one node at a time: engines get no faster with more of them.
    pub steps_per_node_max: usize,
    /// What projects' own networks are made from.
    pub addresses: Net,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            removals_percent_max: 30,
            removals_free: 3,
            settled_after: Duration::from_secs(10),
            backoff_base: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            stable_run: Duration::from_secs(60),
            crash_loop_restarts: 5,
            steps_per_node_max: 8,
            addresses: RANGE_DEFAULT,
        }
    }
}
