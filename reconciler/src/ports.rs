//! The traits that adapters implement. The core names futures, and never waits for one.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::health::{Probe, Probed};
use crate::model::ids::{ContainerId, ImageId, Name, OwnerId, ReplicaKey};
use crate::model::journal::Stamped;
use crate::model::observed::{NodeListing, ObservedContainer};
use crate::model::quantity::Span;
use crate::model::record::{
    ImageRecord, InstanceRecord, NetworkRecord, NodeRecord, Records, VolumeRecord,
};
use crate::model::rollout::{Kept, Rollout};
use crate::model::time::Timestamp;
use crate::policy::facts::{Signed, WhoSigned};
use crate::pressure::Readings;
use crate::step::Action;
use crate::usage::{Counters, Marks, Pending, Tally, Target};

/// What a driver answers, in a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, DriverError>> + Send + 'a>>;

/// Drives the engine of one node.
///
/// # Guarantees
/// Each call ends within a deadline of the driver's own. A call makes no decision: a name that is
/// taken is [`DriverErrorKind::Conflict`], one that is unknown is [`DriverErrorKind::NotFound`],
/// and what that means is the planner's affair.
pub trait Driver: Send + Sync {
    /// Everything that the node holds of ours, and all its images.
    ///
    /// # Errors
    /// [`DriverErrorKind::Unreachable`] and [`DriverErrorKind::TimedOut`] mean that the node is
    /// unknown.
    fn list<'a>(&'a self, owner: &'a OwnerId) -> Answer<'a, NodeListing>;

    /// One container, by id or name; `None` if there is none, or it is not ours.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    fn inspect<'a>(
        &'a self,
        owner: &'a OwnerId,
        container: &'a str,
    ) -> Answer<'a, Option<(ContainerId, ObservedContainer)>>;

    /// Does what an action says.
    ///
    /// # Errors
    /// [`DriverError`] says what the engine answered. After [`DriverErrorKind::TimedOut`] nobody
    /// knows whether it was done.
    fn execute<'a>(
        &'a self,
        action: &'a Action,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Answer<'a, Done>;

    /// Tells `sink` of events until the node is lost, then ends with the reason. The first thing
    /// that it tells is [`NodeEvent::Opened`]: from then on nothing is missed until it ends.
    fn watch<'a>(
        &'a self,
        owner: &'a OwnerId,
        sink: &'a (dyn Fn(NodeEvent) + Send + Sync),
    ) -> Pin<Box<dyn Future<Output = DriverError> + Send + 'a>>;

    /// The number of a container's first process, as its node's kernel counts; `None` if it does not
    /// run, or the engine does not say.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    fn pid<'a>(&'a self, _container: &'a str) -> Answer<'a, Option<u32>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Where the engine keeps the hosts file that is mounted into a container, as the engine names
    /// files; `None` if it does not say.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    fn hosts_path<'a>(&'a self, _container: &'a str) -> Answer<'a, Option<Arc<str>>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Hands `sink` what a container printed, line by line.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    fn logs<'a>(
        &'a self,
        container: &'a str,
        query: LogQuery,
        sink: &'a (dyn Fn(LogLine) + Send + Sync),
    ) -> Answer<'a, ()>;

    /// Runs a command in a container that runs, until the command ends or nobody listens any more.
    /// This one has no deadline once the command has begun.
    ///
    /// # Errors
    /// As [`execute`](Self::execute). That the command cannot be run is no error, but an end with
    /// [`ExecEnd::refused`].
    fn exec<'a>(
        &'a self,
        container: &'a str,
        command: &'a ExecCommand,
        talk: &'a dyn ExecTalk,
    ) -> Answer<'a, ExecEnd>;

    /// What a container has used until now, and uses.
    ///
    /// # Errors
    /// As [`list`](Self::list); [`DriverErrorKind::NotFound`] if there is no such container.
    fn usage<'a>(&'a self, container: &'a str) -> Answer<'a, Usage>;

    /// What runs in a container, and what of its root filesystem is not as in its image.
    ///
    /// # Errors
    /// As [`usage`](Self::usage).
    fn inside<'a>(&'a self, container: &'a str) -> Answer<'a, Inside>;
}

/// A look into a container that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// The programs of its processes. What they were given may hold secrets, and is left out.
    pub processes: Vec<String>,
    /// Paths that are not as in the image, sorted.
    pub changes: Vec<String>,
}

impl Inside {
    /// More processes or paths than this are not told of: the first ones say enough.
    pub const MAX: usize = 200;
}

/// Asks containers how they are, at addresses of their own.
pub trait Prober: Send + Sync {
    /// Asks one container once. `driver` is that of its node, and tells which process it is.
    ///
    /// # Guarantees
    /// It ends within the probe's timeout, once it is its turn and the way is known. What cannot be
    /// reached from here is [`Probed::Unknown`], never unhealthy.
    fn probe<'a>(
        &'a self,
        driver: &'a dyn Driver,
        node: &'a Name,
        container: &'a ContainerId,
        probe: &'a Probe,
    ) -> Pin<Box<dyn Future<Output = Probed> + Send + 'a>>;
}

/// Looks who signed images.
pub trait Verifier: Send + Sync {
    /// Looks once.
    ///
    /// # Guarantees
    /// It ends within a limit of its own, and what it says of signatures it has verified: one that
    /// cannot be verified is none.
    ///
    /// # Errors
    /// In words, if it cannot be told whether there are any.
    fn who_signed<'a>(
        &'a self,
        question: &'a WhoSigned,
    ) -> Pin<Box<dyn Future<Output = Result<Signed, String>> + Send + 'a>>;
}

/// What an action brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// What was asked for.
    AsAsked,
    /// A container.
    Container(ContainerId),
    /// An image.
    Image {
        /// Its id on the node.
        id: ImageId,
        /// The reference with the digest, if it came from a registry.
        pinned: Option<Arc<str>>,
    },
}

/// How far an image has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there.
    pub done: u64,
    /// All bytes, as far as they are known.
    pub total: u64,
}

/// Something happened on a node: a hint to look, never a fact to plan from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    /// The stream is open.
    Opened,
    /// One of our containers changed.
    Container {
        /// Its id.
        id: ContainerId,
        /// Which replica its labels say it is.
        replica: Option<ReplicaKey>,
    },
    /// Images changed.
    Images,
    /// Volumes changed.
    Volumes,
    /// Networks changed.
    Networks,
    /// Another hand changed what may talk to what.
    Rules,
    /// Another hand changed what projects may use.
    Groups,
}

/// Why a driver could not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DriverError {
    /// What kind of failure it is.
    pub kind: DriverErrorKind,
    /// What the engine or the system said, in one line.
    pub message: String,
}

/// What kind of failure a driver met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverErrorKind {
    /// Nobody answers.
    Unreachable,
    /// No answer came in time: whether it was done is unknown.
    TimedOut,
    /// What it is about does not exist.
    NotFound,
    /// The name is taken, or the object is not in a state for this.
    Conflict,
    /// The engine refuses, or failed.
    Refused,
}

/// Which lines of a container's log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on as lines come.
    pub follow: bool,
    /// Only so many of the last lines.
    pub tail: Option<u32>,
    /// Only lines of this last span of time.
    pub since: Option<Span>,
    /// Begin each line with its time.
    pub timestamps: bool,
}

/// A line that a container printed, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Whether it was printed as an error.
    pub stderr: bool,
    /// The line.
    pub text: String,
}

/// A command to be run in a container.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecCommand {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Further variables, each as `NAME=value`.
    pub env: Vec<String>,
    /// The user, as `name`, `id` or either with `:group`; the container's own if not said.
    pub user: Option<String>,
    /// The directory; the container's own if not said.
    pub workdir: Option<String>,
    /// Whether it reads what [`ExecTalk::input`] gives.
    pub stdin: bool,
    /// The size of its terminal, if it shall have one.
    pub terminal: Option<TerminalSize>,
}

impl std::fmt::Debug for ExecCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, env, user, workdir, stdin, terminal } = self;
        // Values may be secrets, and words of the command as well.
        f.debug_struct("ExecCommand")
            .field("program", &command.first())
            .field("variables", &env.len())
            .field("user", user)
            .field("workdir", workdir)
            .field("stdin", stdin)
            .field("terminal", terminal)
            .finish()
    }
}

/// How large a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// The other end of a command that runs in a container.
pub trait ExecTalk: Send + Sync {
    /// Waits for the next input; `None` once nobody is there any more.
    fn input(&self) -> Pin<Box<dyn Future<Output = Option<ExecInput>> + Send + '_>>;

    /// Hands over what the command printed, and waits until there is room for it. False once
    /// nobody is there any more.
    fn output(&self, output: ExecOutput) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// What goes to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecInput {
    /// Bytes for its standard input.
    Bytes(Vec<u8>),
    /// Its standard input ends; what it prints goes on.
    End,
    /// Its terminal has another size.
    Resize(TerminalSize),
}

/// What comes from a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Whether it was printed as an error. With a terminal, all is one.
    pub stderr: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecEnd {
    /// Its exit code; 126 if it could not be run, 127 if it was not found.
    pub code: i64,
    /// Why it could not be run at all, in one line.
    pub refused: Option<String>,
}

/// What a container has used until a moment, and uses then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The moment, by the engine's clock, in nanoseconds since 1970.
    pub at_ns: u64,
    /// Time on processors since its start, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory in use, in bytes, without file contents that can be dropped at any time.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Reads what containers have used from where their kernel keeps it, where that is this host's.
pub trait Sampler: Send {
    /// The figures of a container; `None` if no container of that id runs on this host.
    fn sample(&mut self, target: &Target) -> Option<Counters>;

    /// What this host as a whole waited for since it was started.
    fn host(&mut self) -> Readings {
        Readings::default()
    }
}

/// Keeps what was used. All of it can be lost, and nothing else is.
pub trait UsageStore: Send {
    /// The last samples that were kept; `None` if they were lost, and what was booked was not.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    fn marks(&mut self) -> Result<Option<Marks>, StoreError>;

    /// Books amounts, and keeps the samples that they end at: both, or nothing. What is old moves
    /// into coarser buckets.
    ///
    /// # Errors
    /// [`StoreError`] if nothing was written.
    fn book(&mut self, pending: &Pending, marks: &Marks, now: Timestamp) -> Result<(), StoreError>;

    /// Shows a tally all that was booked.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    fn tell(&mut self, tally: &mut Tally) -> Result<(), StoreError>;
}

/// Keeps records so that a start is quick. The journal is the durable truth: a store that is
/// behind it, or empty, is brought up to date from it.
pub trait StateStore: Send {
    /// All records, and the number of the last entry that is in them.
    ///
    /// # Errors
    /// [`StoreError`] if a record cannot be read.
    fn load(&self) -> Result<(Records, u64), StoreError>;

    /// Writes changed records together with the number of the last entry that is in them.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be written. None of them is then.
    fn save(&self, writes: &[Write], seq: u64) -> Result<(), StoreError>;

    /// What was last observed on a node.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    fn observed(&self, node: &Name)
    -> Result<BTreeMap<ContainerId, ObservedContainer>, StoreError>;
}

/// A change of the store. `None` removes the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The small ones: owner, guard and suspensions.
    Common(Box<Records>),
    /// An instance.
    Instance(crate::model::ids::Key, Option<InstanceRecord>),
    /// An image.
    Image(crate::model::ids::ImageName, Option<ImageRecord>),
    /// A volume.
    Volume(crate::model::ids::Key, Option<VolumeRecord>),
    /// A network.
    Network(crate::model::ids::Key, Option<NetworkRecord>),
    /// A node.
    Node(Name, Option<NodeRecord>),
    /// What was decided or asked for about an instance's revisions.
    Rollout(crate::model::ids::Key, Option<Rollout>),
    /// What is needed to go back to an instance's revisions, by their numbers.
    Kept(crate::model::ids::Key, Option<BTreeMap<u64, Kept>>),
    /// The last good text of a file.
    Text(Arc<str>, Option<Arc<str>>),
    /// A container as it was observed; keyed by node and id.
    Observed(Name, ContainerId, Option<Box<ObservedContainer>>),
    /// All of what was observed on a node is this.
    ObservedAll(Name, BTreeMap<ContainerId, ObservedContainer>),
}

/// Why a store or a journal could not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {message}")]
pub struct StoreError {
    /// What was tried, with the file.
    pub operation: String,
    /// What the system said.
    pub message: String,
}

/// The durable truth: entries in a row, appended and never changed.
pub trait Journal: Send {
    /// Appends entries and makes them durable. When it returns, a power cut loses none of them.
    ///
    /// # Errors
    /// [`StoreError`] if they could not be made durable: nothing that they announce may be done.
    fn append(&mut self, entries: &[Stamped]) -> Result<(), StoreError>;

    /// Whether it has grown so much since its last checkpoint that another one is due.
    fn wants_checkpoint(&self) -> bool;

    /// Nothing has come for a while, or nothing more will: time for what an append need not wait
    /// for. What goes wrong here is tried again with the next append.
    fn rest(&mut self) {}
}
