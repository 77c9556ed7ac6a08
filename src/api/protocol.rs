//! The words that commands and a daemon exchange. Answers come as frames; the last one of an answer
//! is [`Frame::End`] or [`Frame::Error`].

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::cordon::NodeOrder;
use reconciler::model::desired::BrokenFile;
use reconciler::model::ids::{Key, Name, ObjectId, ReplicaKey};
use reconciler::model::journal::Entry;
use reconciler::model::suspend::{Suspension, Target};
use reconciler::model::time::Timestamp;
use reconciler::model::verdicts::Said;
use reconciler::plan::ChangeKind;
use reconciler::ports::ExecCommand;
use reconciler::report::{Counts, HeldSet, Reason};
use reconciler::rollout::ask::Ask;
use reconciler::saved::{Made, SavedPlan};
use reconciler::status::InstanceStatus;
use reconciler::step::Cause;
use reconciler::usage::{Account, Query};
use serde::{Deserialize, Serialize};

pub use super::told::{Noted, NotedKind};

pub use super::logs_of::LogsOf;
pub use super::node::NodeStatus;
pub use super::object::{ImageStatus, PlainStatus, QuotaUse, VolumeStatus};
pub use super::used::{ProjectUse, UsageRow};

/// Longest line of a request, in bytes: a stray client must not fill the memory. All requests are
/// small but a saved plan, which takes some 800 bytes an instance: this is for 20,000 of them.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Pieces of output or input that wait for who is slower. A piece has some kilobytes, so this
/// bounds the memory that a command can take; beyond it, whoever writes waits.
pub const PIECES_MAX: usize = 16;

/// What a command asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "ask")]
pub enum Request {
    /// Who is there: answered by [`Frame::Hello`].
    Hello,
    /// What would be done now: [`Frame::Plan`].
    Plan,
    /// How things stand: [`Frame::Overview`].
    Overview {
        /// Only this instance.
        only: Option<Key>,
    },
    /// Read the specs again, and tell when all is done or nothing more can be: happenings, then
    /// [`Frame::Settled`].
    Apply,
    /// The plan, to be saved: [`Frame::Saved`].
    Save {
        /// Who asks.
        made: Made,
        /// Random digits.
        salt: String,
        /// Whether the state directory is still new.
        is_new: bool,
    },
    /// Apply a saved plan as it stands: happenings, then [`Frame::Settled`]; or [`Frame::Refused`].
    ApplyPlan {
        /// The plan.
        plan: Box<SavedPlan>,
    },
    /// Leave these alone: [`Frame::Recorded`], once no step of them is under way any more.
    Suspend {
        /// What.
        targets: Vec<Target>,
        /// Who says so.
        by: String,
        /// Why.
        why: Option<String>,
    },
    /// Let these go on: [`Frame::Recorded`].
    Resume {
        /// What.
        targets: Vec<Target>,
    },
    /// Take this order about a node: [`Frame::Recorded`].
    Node {
        /// Which node.
        node: Name,
        /// What.
        order: NodeOrder,
        /// Who says so.
        by: String,
    },
    /// Have something done about the rollout of an instance: [`Frame::Answered`].
    Rollout {
        /// Which instance.
        instance: Key,
        /// What.
        what: Ask,
        /// Who asks.
        by: String,
    },
    /// Let the removals go that were shown under this digest: [`Frame::Approved`].
    Approve {
        /// The digest, or its beginning; none to be shown what is held.
        digest: Option<String>,
    },
    /// What somebody asks, to be on record with their name; answered as that is.
    By {
        /// Who: `user@host`.
        by: String,
        /// What they ask.
        request: Box<Request>,
    },
    /// Remove everything and end: happenings, then [`Frame::Settled`].
    Down,
    /// What containers printed: lines.
    Logs {
        /// The replicas: all of these instances, or one each.
        of: Vec<LogsOf>,
        /// Go on as lines come.
        follow: bool,
        /// Only so many of the last lines of each.
        tail: Option<u32>,
        /// Only lines of so many last milliseconds.
        since_ms: Option<u64>,
        /// Begin each line with its time.
        timestamps: bool,
    },
    /// What happens from now on: happenings, until the client goes.
    Watch,
    /// What the journal is told from now on: [`Frame::Hello`], from which on nothing is missed, then
    /// [`Frame::Noted`] until the client goes.
    Follow,
    /// What containers use: [`Frame::Used`].
    Usage,
    /// What was used: [`Frame::Accounted`].
    Account {
        /// Of what, when, and by what to sum.
        query: Query,
    },
    /// All metrics: [`Frame::Metrics`].
    Metrics,
    /// Run a command in a replica's container: its output, then [`Frame::Exited`]. Lines that
    /// follow the request on its connection are [`Input`](super::input::Input)s.
    Exec {
        /// The replica.
        replica: ReplicaKey,
        /// The command.
        command: ExecCommand,
        /// Who wants it: `user@host`.
        by: String,
    },
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "frame")]
pub enum Frame {
    /// Who is there.
    Hello {
        /// The daemon's version.
        version: String,
        /// The directory that it watches.
        specs: String,
        /// Its process id.
        pid: u32,
    },
    /// What would be done.
    Plan {
        /// The plan.
        plan: Box<PlanView>,
    },
    /// What would be done, to be saved.
    Saved {
        /// The plan to show.
        plan: Box<PlanView>,
        /// The plan to save.
        saved: Box<SavedPlan>,
    },
    /// A saved plan is not applied: nothing was done.
    Refused {
        /// What changed since it was made.
        changes: Vec<String>,
        /// Whether everything is as declared without it.
        is_settled: bool,
    },
    /// It is on record.
    Recorded,
    /// What comes of a wish about a rollout.
    Answered {
        /// What whoever asked has to put on record; nothing if it is, or if it was so already.
        entry: Option<Box<Entry>>,
        /// What to tell people.
        message: String,
    },
    /// How things stand.
    Overview {
        /// The overview.
        overview: Box<Overview>,
    },
    /// Something happened.
    Happened {
        /// What.
        happened: Happened,
    },
    /// Nothing more will happen by itself.
    Settled {
        /// How it ended.
        outcome: Box<Outcome>,
    },
    /// Removals were approved.
    Approved {
        /// Which.
        objects: Vec<ObjectId>,
    },
    /// Removals are held, and none was approved.
    Held {
        /// Which, if any are.
        held: Option<HeldSet>,
    },
    /// A line that a container printed.
    Line {
        /// Which container: `project/name/ordinal`.
        of: String,
        /// Whether it was printed as an error.
        stderr: bool,
        /// The line.
        text: String,
    },
    /// Something was written into the journal.
    Noted {
        /// What.
        noted: Noted,
    },
    /// What containers use.
    Used {
        /// Those that run, by replica.
        rows: Vec<UsageRow>,
        /// Nodes, by name.
        nodes: Vec<NodeStatus>,
        /// Projects, by name.
        projects: Vec<ProjectUse>,
    },
    /// What was used.
    Accounted {
        /// The sums.
        account: Account,
        /// What projects use just now, and may use.
        projects: Vec<ProjectUse>,
    },
    /// All metrics.
    Metrics {
        /// In the text format of Prometheus.
        text: String,
    },
    /// What a command printed.
    Output {
        /// Whether it was printed as an error.
        stderr: bool,
        /// The bytes, in base64.
        #[serde(with = "super::input::bytes")]
        bytes: Vec<u8>,
    },
    /// A command ended.
    Exited {
        /// Its exit code; 126 if it could not be run, 127 if it was not found.
        code: i64,
        /// Why it could not be run, if so.
        refused: Option<String>,
    },
    /// It could not be done; nothing follows.
    Error {
        /// What failed, and why.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// Nothing follows.
    End,
}

/// What would be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Objects that would change, and objects that would not although they are not as declared.
    pub rows: Vec<PlanRow>,
    /// The steps, as text.
    pub steps: Vec<String>,
    /// How many objects are in which case.
    pub counts: Counts,
    /// Removals that wait for an operator.
    pub held: Option<HeldSet>,
    /// What policies say of instances in the rows, beside what they deny: by instance.
    #[serde(default)]
    pub policies: Vec<(String, Said)>,
    /// Files with errors.
    pub broken: BTreeMap<Arc<str>, BrokenFile>,
    /// Why nothing is done at all, if so.
    pub degraded: Option<String>,
    /// Whether there is nothing to do and nothing under way.
    pub settled: bool,
}

/// One object of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanRow {
    /// The object.
    pub object: ObjectId,
    /// Its name, as people write it.
    pub name: String,
    /// Where it is placed.
    pub node: Option<Name>,
    /// Where it is declared.
    pub source: Option<String>,
    /// What would happen to it, if something would.
    pub change: Option<ChangeKind>,
    /// Why that would happen.
    pub cause: Option<Cause>,
    /// Why nothing would.
    pub reason: Option<Reason>,
    /// What would happen to it once that is over, if it only waits for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later: Option<ChangeKind>,
    /// The same in words.
    pub why: String,
    /// What would be done, in order: `create`, `start`.
    pub steps: Vec<String>,
}

/// How things stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// The directory that is watched.
    pub specs: String,
    /// Instances.
    pub instances: Vec<InstanceStatus>,
    /// Images, declared and named.
    pub images: Vec<ImageStatus>,
    /// Volumes.
    pub volumes: Vec<VolumeStatus>,
    /// Networks.
    pub networks: Vec<PlainStatus>,
    /// Links.
    #[serde(default)]
    pub links: Vec<PlainStatus>,
    /// Flavors, those that are built in last.
    pub flavors: Vec<PlainStatus>,
    /// Projects.
    pub projects: Vec<PlainStatus>,
    /// Bindings of policies.
    #[serde(default)]
    pub bindings: Vec<PlainStatus>,
    /// Waivers.
    #[serde(default)]
    pub waivers: Vec<PlainStatus>,
    /// Nodes.
    pub nodes: Vec<NodeStatus>,
    /// Files with errors.
    pub broken: BTreeMap<Arc<str>, BrokenFile>,
    /// Removals that wait for an operator.
    pub held: Option<HeldSet>,
    /// What is left alone.
    #[serde(default)]
    pub suspended: Vec<Suspended>,
    /// Why nothing is done at all, if so.
    pub degraded: Option<String>,
    /// Whether there is nothing to do and nothing under way.
    pub settled: bool,
}

/// Something that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspended {
    /// What.
    pub target: Target,
    /// Since when, by whom, and why.
    #[serde(flatten)]
    pub suspension: Suspension,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "what")]
pub enum Happened {
    /// Policies were read.
    Policies {
        /// How many are in force, bound or not.
        count: usize,
        /// What is wrong, each in one line with its place; then nothing of what was read is in
        /// force.
        errors: Vec<String>,
    },
    /// A step began.
    Began {
        /// Its object.
        object: String,
        /// Where.
        node: String,
        /// What is done.
        verb: String,
        /// Why.
        cause: String,
        /// What becomes of the object by all of its steps.
        change: ChangeKind,
    },
    /// An image comes.
    Progress {
        /// The image.
        object: String,
        /// Where.
        node: String,
        /// Bytes that are there.
        done: u64,
        /// All bytes, as far as they are known.
        total: u64,
    },
    /// A step ended.
    Ended {
        /// Its object.
        object: String,
        /// Where.
        node: String,
        /// What was done.
        verb: String,
        /// What went wrong, if something did.
        error: Option<String>,
        /// How long it took.
        took_ms: u64,
        /// Whether it was the object's last one.
        last: bool,
        /// What becomes of the object by all of its steps.
        change: ChangeKind,
    },
    /// A node answers, or does not.
    Node {
        /// Which.
        node: String,
        /// Why it does not.
        error: Option<String>,
    },
    /// The specs directory was read, and something changed.
    Specs {
        /// How many objects are declared.
        objects: usize,
        /// Errors, each with its place, in one line.
        errors: Vec<String>,
    },
    /// Nothing is left to do.
    Settled {
        /// How many objects are as declared.
        objects: u32,
    },
    /// Something that an operator has to know.
    Attention {
        /// What.
        message: String,
    },
}

/// How an apply or a removal ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Objects that are not as declared, and why.
    pub troubles: Vec<Trouble>,
    /// How many objects are in which case.
    pub counts: Counts,
    /// Removals that wait for an operator.
    pub held: Option<HeldSet>,
    /// Files with errors.
    pub broken: BTreeMap<Arc<str>, BrokenFile>,
    /// Why nothing is done at all, if so.
    pub degraded: Option<String>,
    /// Why a saved plan could not go on, if so.
    #[serde(default)]
    pub stopped: Option<String>,
    /// Steps of a saved plan that were not done.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// How many steps were taken.
    pub steps: u32,
    /// When it was asked for.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
}

impl Outcome {
    /// Whether everything is as declared.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let Self { troubles, held, broken, degraded, stopped, .. } = self;
        troubles.is_empty()
            && held.is_none()
            && broken.is_empty()
            && degraded.is_none()
            && stopped.is_none()
    }
}

/// An object that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trouble {
    /// The object.
    pub object: String,
    /// Why, in one word for machines: `BackingOff`, `NodeUnreachable`.
    pub reason: String,
    /// Why.
    pub message: String,
}
