//! What comes in and what goes out.

use std::sync::Arc;
use std::time::Duration;

use super::policies::PolicyReading;
use crate::model::cordon::NodeOrder;
use crate::model::desired::{SpecsChange, SpecsReading};
use crate::model::health::{Probe, Probed};
use crate::model::ids::{ContainerId, Digest, Key, Name, ObjectId, ReplicaKey};
use crate::model::journal::{Checkout, Entry, Stamped};
use crate::model::observed::{NodeListing, ObservedContainer};
use crate::model::spec::Endpoint;
use crate::model::suspend::Target;
use crate::model::time::Timestamp;
use crate::plan::ChangeKind;
use crate::policy::facts::{Signed, WhoSigned};
use crate::ports::{Done, DriverError, Inside, NodeEvent, Write};
use crate::pressure::News;
use crate::saved::SavedPlan;
use crate::step::Action;

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The specs directory was read.
    Specs(Box<SpecsReading>),
    /// It was read again, and objects of the reading before changed.
    SpecsChanged(Box<SpecsChange>),
    /// The policies' directory was read.
    Policies(Box<PolicyReading>),
    /// The specs directory stands at this commit; what is read next is of it.
    Checkout(Option<Checkout>),
    /// A node was listed, or could not be.
    Listed {
        /// The node.
        node: Name,
        /// When the list was asked for.
        asked_at: Timestamp,
        /// What came.
        result: Result<Box<NodeListing>, DriverError>,
    },
    /// A container was inspected, or could not be.
    Inspected {
        /// Its node.
        node: Name,
        /// The id or name that was asked for.
        container: String,
        /// When it was asked for.
        asked_at: Timestamp,
        /// What came; `None` if there is no such container of ours.
        result: Result<Option<Box<(ContainerId, ObservedContainer)>>, DriverError>,
    },
    /// A node told of something: a hint to look.
    Hint {
        /// The node.
        node: Name,
        /// What it told.
        event: NodeEvent,
    },
    /// A node's event stream ended: what happens there is not heard any more.
    Lost {
        /// The node.
        node: Name,
        /// Why.
        error: DriverError,
    },
    /// Entries were made durable, or could not be.
    Committed {
        /// Which commit.
        ticket: u64,
        /// What the journal said.
        result: Result<(), String>,
    },
    /// A step came to its end.
    Finished {
        /// The object that it worked on.
        object: ObjectId,
        /// What the driver said.
        result: Result<Done, DriverError>,
    },
    /// A container was asked how it is.
    Probed {
        /// Names the probe that was asked for.
        ticket: u64,
        /// The container's node.
        node: Name,
        /// The container.
        container: ContainerId,
        /// What was found.
        result: Probed,
    },
    /// Somebody began to be short of something, or is so no longer.
    Pressed(Vec<(Option<ReplicaKey>, Name, News)>),
    /// The last lines of a container's log were read; none if they could not be.
    LogRead {
        /// The replica that it is, or was, of.
        replica: ReplicaKey,
        /// The container.
        container: ContainerId,
        /// The lines, the last one last.
        lines: Vec<String>,
    },
    /// Somebody looked into a container, or could not.
    LookedInside {
        /// The replica that it is, or was, of.
        replica: ReplicaKey,
        /// The container.
        container: ContainerId,
        /// What was seen.
        result: Result<Inside, DriverError>,
    },
    /// Somebody looked who signed an image, or could not.
    WhoSigned {
        /// The Image.
        image: Key,
        /// The digest of the declaration that was asked about.
        declared: Digest,
        /// What was found.
        result: Result<Signed, String>,
    },
    /// An operator wants something.
    Operator(Operator),
    /// The time that [`Effect::WakeAt`] named has come.
    Wake,
    /// No other event waits: the moment to plan.
    Round,
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// Let the removals go that were shown under this digest.
    Approve {
        /// The digest, or at least its first 8 digits.
        digest: String,
    },
    /// Remove everything, and keep it so.
    Down,
    /// This is how it shall be: count removals anew.
    Conclude,
    /// Look at all nodes again.
    Refresh,
    /// Try again at once what is backing off: someone may have mended what was wrong.
    Retry,
    /// Do what this saved plan lists, and no more; try again at once what is backing off.
    Bind(Box<SavedPlan>),
    /// The saved plan is over.
    Release,
    /// Leave these alone.
    Suspend {
        /// What.
        targets: Vec<Target>,
        /// Who says so.
        by: String,
        /// Why.
        why: Option<String>,
    },
    /// Let these go on.
    Resume {
        /// What.
        targets: Vec<Target>,
    },
    /// Take this order about a node.
    Node {
        /// Which node.
        node: Name,
        /// What.
        order: NodeOrder,
        /// Who says so.
        by: String,
    },
    /// What was asked for about a rollout, as [`rollout::ask`](crate::rollout::ask) answered it.
    Rollout(Box<Entry>),
    /// Put this on record; nothing else follows from it.
    Note {
        /// What.
        entry: Box<Entry>,
        /// Whether it is made durable at once, or with what comes next.
        at_once: bool,
    },
    /// Write all records into the journal, so that what stands before is history.
    Checkpoint,
}

/// Something shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make these entries durable, all of them or none.
    Commit {
        /// Names the commit in the answer.
        ticket: u64,
        /// What to append. Empty if only the order matters.
        entries: Vec<Stamped>,
    },
    /// Have a driver do this.
    Run {
        /// The object; it names the step in the answer.
        object: ObjectId,
        /// Whose driver.
        node: Name,
        /// What to do.
        action: Action,
    },
    /// List a node.
    List {
        /// Which.
        node: Name,
    },
    /// Inspect a container.
    Inspect {
        /// Its node.
        node: Name,
        /// Its id or name.
        container: String,
    },
    /// Ask a container how it is.
    Probe {
        /// Names the probe in the answer.
        ticket: u64,
        /// The container's node.
        node: Name,
        /// The container.
        container: ContainerId,
        /// What to try.
        probe: Probe,
    },
    /// Read the end of a container's log.
    ReadLog {
        /// The replica that it is of.
        replica: ReplicaKey,
        /// The container's node.
        node: Name,
        /// The container.
        container: ContainerId,
        /// So many of its last lines.
        lines: u32,
    },
    /// Look into a container that runs.
    LookInside {
        /// The replica that it is of.
        replica: ReplicaKey,
        /// The container's node.
        node: Name,
        /// The container.
        container: ContainerId,
    },
    /// Look who signed an image.
    WhoSigned(Arc<WhoSigned>),
    /// Connect to a node, hear its events, and list it once they are heard.
    Connect {
        /// Which.
        node: Name,
        /// Where its engine listens.
        endpoint: Endpoint,
    },
    /// Let go of a node.
    Disconnect {
        /// Which.
        node: Name,
    },
    /// Store what was observed.
    Store(Vec<Write>),
    /// Tell whoever watches.
    Tell(Happening),
    /// Hand over [`Event::Wake`] at this time; it replaces an earlier wish.
    WakeAt(Timestamp),
    /// Hand over [`Event::Round`] once no other event waits.
    Round,
    /// A round is over: plan and report are new.
    Planned,
}

/// Something that whoever watches may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A step began.
    Began {
        /// Its object.
        object: ObjectId,
        /// Where.
        node: Name,
        /// What: `create`, `pull image`.
        verb: &'static str,
        /// Why.
        cause: String,
        /// What becomes of its object by the whole row of steps.
        change: ChangeKind,
    },
    /// A step ended.
    Ended {
        /// Its object.
        object: ObjectId,
        /// Where.
        node: Name,
        /// What.
        verb: &'static str,
        /// What went wrong, if something did.
        error: Option<String>,
        /// How long it took.
        took: Duration,
        /// Whether it was the last one of its row.
        last: bool,
        /// What becomes of its object by the whole row.
        change: ChangeKind,
    },
    /// Something that an operator has to know.
    Attention {
        /// What.
        message: String,
    },
    /// A node answers, or does not.
    Node {
        /// Which.
        node: Name,
        /// Why it does not; `None` if it does.
        error: Option<String>,
    },
    /// The journal cannot be written, so nothing is done; or it can again.
    Journal {
        /// What went wrong.
        error: Option<String>,
    },
    /// A plan broke a rule and was not executed. This is a fault of windlass.
    Violated {
        /// Which rules.
        rules: Vec<String>,
    },
}
