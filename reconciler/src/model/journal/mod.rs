//! Journal entries, and the one function that turns them into records.
//!
//! Nothing changes a record but [`Records::apply`]: the running daemon calls it as it writes an
//! entry, a restart calls it as it reads one, and both get the same records. An entry is durable
//! before the effect that it announces.

mod apply;
mod audit;
mod deed;
mod rollout;
mod verdict;

pub use self::audit::{Checkout, ExecNote};
pub use self::deed::Deed;
pub use self::verdict::{PolicySetNote, Told, VerdictNote, VerdictOutcome};

use core::net::Ipv4Addr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::links::Addresses;
use crate::model::cordon::NodeOrder;
use crate::model::desired::RootIdentity;
use crate::model::ids::{
    Digest, ImageId, ImageName, Key, Name, ObjectId, OwnerId, ReplicaKey, Revision,
};
use crate::model::record::{Approval, Failure, Life, Records};
use crate::model::rollout::Kept;
use crate::model::subnet::Net;
use crate::model::suspend::Target;
use crate::model::time::Timestamp;
use crate::pressure::Pressure;

/// Version of what entries and records say, in the journal, in the store and in what was used. Each
/// change of their form raises it, an added field too: an earlier windlass would drop that in silence.
///
/// Version 1 was the first. In version 2 the journal got salts and signed checkpoints. Version 3 says all
/// that came until it was counted so: links, rollouts, policies, quotas.
pub const SCHEMA_VERSION: u8 = 3;

/// An entry with its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// Its number; without gaps, from 1.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What it says.
    pub entry: Entry,
}

/// What the journal says: decisions, intents before their effects, and results after.
///
/// Its serial form is the journal's: `{"placed":{"replica":…}}`. The kind stands outside and not in
/// a field beside the others, since serde would then read a whole checkpoint twice, and could not
/// read maps whose keys are numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Entry {
    /// All records as of this entry: what stands before it is history.
    Checkpoint {
        /// The records.
        records: Box<Records>,
    },
    /// Who we are.
    Owner {
        /// The random id.
        owner: OwnerId,
    },
    /// The specs directory that the records belong to.
    Root {
        /// Which one.
        identity: RootIdentity,
    },
    /// The last good text of a spec file, or that the file is gone.
    Text {
        /// Its path in the specs directory.
        file: Arc<str>,
        /// Its text.
        text: Option<Arc<str>>,
    },
    /// An object is protected, or no longer: who may remove it is asked also when no spec says so
    /// any more.
    Protected {
        /// Its kind and key: `Instance shop/web`.
        object: Arc<str>,
        /// Its labels, by which policies are bound; `None` if it is not protected.
        labels: Option<BTreeMap<String, String>>,
    },
    /// Policies let a link come: what they say later cuts nobody off.
    Admitted {
        /// Its kind and key: `Link shop/web-db`.
        object: Arc<str>,
        /// The digest of its spec; `None` if it is no longer declared.
        digest: Option<Digest>,
    },
    /// A node's engine was seen for the first time.
    Node {
        /// The node.
        node: Name,
        /// The engine's id.
        engine: String,
        /// Where it listens.
        endpoint: String,
        /// The control group that containers live under.
        cgroup_root: String,
    },
    /// An instance has a new spec.
    Declared {
        /// Which instance.
        instance: Key,
        /// Its unique id.
        uid: String,
        /// Digest of the spec.
        digest: Digest,
        /// Where it stands: `web.yaml:3`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Arc<str>>,
    },
    /// What an instance waits for and what its variables of links name.
    Linked {
        /// Which instance.
        instance: Key,
        /// The instances that it waits for before it starts.
        waits_for: BTreeSet<Key>,
        /// The addresses, by the aliases of the links.
        addresses: Addresses,
    },
    /// A replica was given a node.
    Placed {
        /// Which replica.
        replica: ReplicaKey,
        /// Which node.
        node: Name,
    },
    /// A replica's next container was given an address on its project's own network.
    Addressed {
        /// Which replica.
        replica: ReplicaKey,
        /// Which address.
        address: Ipv4Addr,
    },
    /// A replica was given cpus of its own on a node, or needs none there any more.
    Cores {
        /// Which replica.
        replica: ReplicaKey,
        /// Which node.
        node: Name,
        /// Which cpus, as `2-3`; none, where nothing stands.
        cores: Option<Arc<str>>,
    },
    /// A network that windlass makes by itself was given a range.
    Subnet {
        /// The network.
        network: Key,
        /// The range.
        subnet: Net,
    },
    /// It was decided how links are put in force on a node.
    LinksBy {
        /// Which node.
        node: Name,
        /// By a network for each link, since no rules can be set; else by rules.
        networks: bool,
    },
    /// An image was resolved.
    Resolved {
        /// Which image.
        image: ImageName,
        /// The declaration that was resolved.
        source: Digest,
        /// The node that holds it.
        node: Name,
        /// The image's id there.
        id: ImageId,
        /// The reference with the digest, if a registry gave one.
        pinned: Option<Arc<str>>,
    },
    /// An engine shall do something.
    Intent {
        /// To what.
        object: ObjectId,
        /// Where.
        node: Name,
        /// What.
        deed: Deed,
        /// Why, for readers.
        cause: String,
        /// Where the object is declared: `web.yaml:3`; nowhere, if it is to go.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Arc<str>>,
    },
    /// An engine did it: it said so, or what it holds shows it.
    Done {
        /// To what.
        object: ObjectId,
        /// Where.
        node: Name,
        /// What.
        deed: Deed,
    },
    /// An engine could not do it.
    Failed {
        /// To what.
        object: ObjectId,
        /// Where.
        node: Name,
        /// What it said, and when it is tried again.
        failure: Failure,
    },
    /// What became of a replica without a step: it ended, and its restart policy lets it rest, or
    /// it runs or is stopped by another hand, as declared.
    Ended {
        /// Which replica.
        replica: ReplicaKey,
        /// What it does now.
        life: Life,
    },
    /// A replica's container is unhealthy, and another one takes its place: its intents follow.
    Unhealthy {
        /// Which replica.
        replica: ReplicaKey,
    },
    /// A replica was healthy for so long that its replacements before count no longer.
    Healthy {
        /// Which replica.
        replica: ReplicaKey,
    },
    /// Nothing is left of a replica that is no longer declared. Of an instance without replicas:
    /// nothing is left of the instance.
    Gone {
        /// Which replica.
        replica: ReplicaKey,
    },
    /// An operator agreed to removals; or some of what was agreed to is declared again, and this is
    /// left of it.
    Approved {
        /// To which.
        approval: Approval,
    },
    /// An operator asked that what is backing off be tried at once.
    Retried,
    /// An operator gave a command; what came of it follows.
    Asked {
        /// Who: `user@host`.
        by: String,
        /// Which command.
        verb: String,
        /// To what, if to something.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        what: Option<String>,
    },
    /// The specs directory stands at another commit, or at none any more.
    Checkout {
        /// Which.
        checkout: Option<Checkout>,
    },
    /// A command is about to be run in a container.
    Exec {
        /// Whose container.
        replica: ReplicaKey,
        /// What, and who wants it.
        exec: ExecNote,
    },
    /// A command in a container ended.
    ExecEnded {
        /// Whose container.
        replica: ReplicaKey,
        /// What, and who wanted it.
        exec: ExecNote,
        /// Its exit code, if it had one.
        code: Option<i64>,
        /// Why it could not be run, or what else came between.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Something is short of what it needs, or is so no longer.
    Pressed {
        /// What: a replica, or its whole node.
        replica: Option<ReplicaKey>,
        /// The node.
        node: Name,
        /// Of what.
        pressure: Pressure,
        /// What happened; none once it is over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Other policies are in force.
    PolicySet {
        /// Which.
        set: PolicySetNote,
    },
    /// A policy says something else than before.
    Verdict {
        /// What.
        verdict: Box<VerdictNote>,
    },
    /// An operator told us to leave something alone.
    Suspended {
        /// What.
        target: Target,
        /// Who: `user@host`.
        by: String,
        /// Why, if they said so.
        why: Option<String>,
    },
    /// An operator let something go on that was suspended.
    Resumed {
        /// What.
        target: Target,
    },
    /// An operator said something of a node.
    NodeOrder {
        /// Which node.
        node: Name,
        /// What.
        order: NodeOrder,
        /// Who: `user@host`.
        by: String,
    },
    /// What is needed to go back to a revision; it stands behind the intent of its first container.
    Kept {
        /// Which instance.
        instance: Key,
        /// Which revision.
        revision: Revision,
        /// What is needed.
        kept: Kept,
    },
    /// All replicas were ready in a revision.
    RolledOut {
        /// Which instance.
        instance: Key,
        /// Which revision.
        revision: Revision,
    },
    /// A replica did not get ready in a revision, and no further one gets it.
    RolloutFailed {
        /// Which instance.
        instance: Key,
        /// Which revision.
        revision: Revision,
        /// What went wrong.
        why: String,
    },
    /// A replica did not get ready in a revision, and an earlier one comes back.
    SetAside {
        /// Which instance.
        instance: Key,
        /// The revision that failed.
        revision: Revision,
        /// What the specs ask for: as long as they do, it is not tried again.
        asked: Digest,
        /// The number of the revision that comes back.
        to: u64,
        /// What went wrong.
        why: String,
    },
    /// An operator goes back to an earlier revision.
    Undone {
        /// Which instance.
        instance: Key,
        /// The revision that is left, if it is known.
        revision: Option<Revision>,
        /// What the specs ask for: as long as they do, it stays so.
        asked: Digest,
        /// The number of the revision that comes back.
        to: u64,
        /// Who: `user@host`.
        by: String,
    },
    /// What the specs ask for is in force again: they ask for something else than before, or an
    /// operator says so.
    Ahead {
        /// Which instance.
        instance: Key,
        /// Who, if an operator says so.
        by: Option<String>,
    },
    /// An operator asked that no further replica change its revision.
    RolloutPaused {
        /// Which instance.
        instance: Key,
        /// Who: `user@host`.
        by: String,
    },
    /// An operator let a rollout go on.
    RolloutResumed {
        /// Which instance.
        instance: Key,
        /// Who: `user@host`.
        by: String,
    },
    /// An operator asked for a new container of each replica.
    RestartAsked {
        /// Which instance.
        instance: Key,
        /// Who: `user@host`.
        by: String,
    },
    /// Each replica has got its new container.
    Restarted {
        /// Which instance.
        instance: Key,
    },
    /// Things have been settled for a while: removals are counted anew.
    Settled {
        /// How many replicas and volumes are managed now.
        managed: u32,
    },
}
