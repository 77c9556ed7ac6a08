//! The waiting around the loop: select an input, hand it to the engine, perform the effects.
//!
//! The shell decides nothing. It guarantees what [`reconciler::engine`] asks for: effects in their
//! order, one event for each question, and a round once nothing else waits. Read [`Shell::run`]
//! first, then [`perform`], [`health`], then [`requests`], [`talks`] and [`used`], with the thread of
//! [`meter`] behind it.

#[cfg(test)]
mod exec_tests;
mod health;
mod meter;
mod nodes;
mod perform;
mod requests;
mod talks;
mod used;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reconciler::engine::{Engine, Event, Operator, PolicyReading};
use reconciler::model::ids::Name;
use reconciler::model::journal::Stamped;
use reconciler::model::record::Records;
use reconciler::model::spec::Endpoint;
use reconciler::model::time::Timestamp;
use reconciler::ports::{Driver, Prober, StoreError, Verifier, Write};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::api::protocol::{Frame, Happened, Noted, Request};

pub use meter::{Metering, OpenStore};
pub use requests::Asker;
pub use talks::{Talk, exec_note};

/// Makes a driver for an endpoint. It does not wait for the engine.
pub type Connect = Box<dyn Fn(&Endpoint) -> Arc<dyn Driver> + Send>;

/// What the shell needs of the outside; [`app`](crate::app) puts it together.
pub struct Ports {
    /// Has entries made durable; [`Input::Written`] follows.
    pub commit: Box<dyn FnMut(Vec<Stamped>, u64) -> Result<(), StoreError> + Send>,
    /// Says which records entries have changed.
    pub changed: fn(&Records, &[Stamped]) -> Vec<Write>,
    /// Stores records and observations; with the number of the last entry that is in them.
    pub save: Box<dyn FnMut(Vec<Write>, u64) + Send>,
    /// Makes drivers.
    pub connect: Connect,
    /// Asks containers how they are.
    pub prober: Arc<dyn Prober>,
    /// Looks who signed images.
    pub verifier: Arc<dyn Verifier>,
    /// Has the specs directory read again; [`Input::Specs`] follows, with a number at least as
    /// high as the one that is returned.
    pub reread: Box<dyn Fn() -> u64 + Send>,
    /// The directory, for people.
    pub specs: String,
    /// Looks what containers use, and keeps it.
    pub metering: Metering,
}

/// Something for the shell to deal with.
pub enum Input {
    /// Something happened.
    Event(Event),
    /// The specs directory was read.
    Specs {
        /// What changed, if anything did.
        event: Option<Event>,
        /// How many objects are in force.
        objects: usize,
        /// What is wrong, each in one line with its place; only if something changed.
        errors: Vec<String>,
        /// Counts readings.
        number: u64,
    },
    /// The policies' directory was read.
    Policies {
        /// What changed.
        reading: Box<PolicyReading>,
        /// What is wrong, each in one line with its place.
        problems: Vec<String>,
    },
    /// Entries were made durable, or could not be.
    Written {
        /// Which commit.
        ticket: u64,
        /// What the journal said.
        result: Result<(), String>,
        /// Whether a checkpoint is due.
        wants_checkpoint: bool,
    },
    /// Why changes of the specs directory are not heard of at once; `None` if they are again.
    Unwatched(Option<String>),
    /// An image comes.
    Progress(Happened),
    /// A command asks something.
    Request {
        /// What.
        request: Request,
        /// Where the answer goes.
        answer: mpsc::UnboundedSender<Frame>,
    },
    /// It is time to look what containers use.
    Look,
    /// A command wants another command run in a container.
    Talk(Box<Talk>),
    /// End now.
    Stop,
}

/// Why the shell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was asked to. Containers run on.
    Stopped,
    /// Everything was removed, as an operator asked.
    Down,
}

/// The loop with its surroundings.
pub struct Shell {
    engine: Engine,
    ports: Ports,
    inputs: mpsc::UnboundedReceiver<Input>,
    sender: mpsc::UnboundedSender<Input>,
    nodes: BTreeMap<Name, nodes::Connection>,
    /// Logs whose ends are being read.
    logs: Arc<Semaphore>,
    round_wanted: bool,
    wake_at: Option<Instant>,
    /// Writes that wait until their entries are durable, by ticket.
    unsaved: BTreeMap<u64, (Vec<Write>, u64)>,
    saved_seq: u64,
    watchers: Vec<mpsc::UnboundedSender<Frame>>,
    /// What happened before anybody listened, until somebody does: the loop may be quicker than
    /// who starts it.
    early: Option<Vec<Happened>>,
    /// Why the specs directory is not watched; for those who ask later.
    unwatched: Option<String>,
    /// Those who want to know what the journal is told.
    followers: Vec<mpsc::UnboundedSender<Frame>>,
    /// What they are told once it is durable, by ticket.
    untold: BTreeMap<u64, Vec<Noted>>,
    talks: Vec<Talk>,
    meter: meter::Handle,
    /// How many rounds were planned, and how long the last one took.
    rounds: u64,
    last_round: Duration,
    waiting: Vec<requests::Waiting>,
    read_number: u64,
    was_settled: bool,
    end: Option<End>,
}

/// So much is kept for the first who listens, who comes within a moment or never.
const EARLY_MAX: usize = 64;

impl Shell {
    /// A shell around `engine`. Inputs come through the other end of `inputs`.
    #[must_use]
    pub fn new(
        engine: Engine,
        mut ports: Ports,
        inputs: mpsc::UnboundedReceiver<Input>,
        sender: mpsc::UnboundedSender<Input>,
        last_seq: u64,
    ) -> Self {
        let metering = std::mem::replace(&mut ports.metering, Metering::none());
        Self {
            meter: meter::Handle::new(metering, sender.clone()),
            engine,
            ports,
            inputs,
            sender,
            nodes: BTreeMap::new(),
            logs: Arc::new(Semaphore::new(health::LOGS_AT_ONCE_MAX)),
            round_wanted: false,
            wake_at: None,
            unsaved: BTreeMap::new(),
            saved_seq: last_seq,
            watchers: Vec::new(),
            early: Some(Vec::new()),
            unwatched: None,
            followers: Vec::new(),
            untold: BTreeMap::new(),
            talks: Vec::new(),
            rounds: 0,
            last_round: Duration::ZERO,
            waiting: Vec::new(),
            read_number: 0,
            was_settled: false,
            end: None,
        }
    }

    /// Runs until it is asked to stop.
    pub async fn run(mut self) -> End {
        loop {
            let wake_at = self.wake_at;
            let woken = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                input = self.inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return End::Stopped,
                },
                () = woken => {
                    self.wake_at = None;
                    self.event(Event::Wake);
                }
            }
            // All that waits is taken before a round: completions that come together are planned
            // together.
            while let Ok(input) = self.inputs.try_recv() {
                self.take(input);
            }
            self.round();
            self.answer_waiting();
            self.start_talks();
            if let Some(end) = self.end {
                self.save_the_rest().await;
                return end;
            }
        }
    }

    /// Waits for entries that are on their way to the journal, so that the store ends where the
    /// journal does: it may be all that is left one day. Nothing new is begun.
    async fn save_the_rest(&mut self) {
        // A journal that hangs holds up the end no longer than this; the next start reads it.
        const WAIT_MAX: Duration = Duration::from_secs(2);
        let saved = async {
            while !self.unsaved.is_empty() {
                match self.inputs.recv().await {
                    Some(Input::Written { ticket, result, .. }) => self.written(ticket, &result),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        // What is not saved by then is in the journal.
        let _ = tokio::time::timeout(WAIT_MAX, saved).await;
    }

    /// Stores what a commit changed, if it is durable.
    fn written(&mut self, ticket: u64, result: &Result<(), String>) {
        let unsaved = self.unsaved.remove(&ticket);
        for noted in self.untold.remove(&ticket).into_iter().flatten().filter(|_| result.is_ok()) {
            self.followers
                .retain(|follower| follower.send(Frame::Noted { noted: noted.clone() }).is_ok());
        }
        if result.is_ok()
            && let Some((writes, seq)) = unsaved
        {
            self.saved_seq = seq;
            (self.ports.save)(writes, seq);
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Event(event) => self.event(event),
            Input::Specs { event, objects, errors, number } => {
                self.read_number = self.read_number.max(number);
                if let Some(event) = event {
                    self.tell(Happened::Specs { objects, errors });
                    self.event(event);
                }
            }
            Input::Policies { reading, problems } => {
                // That policies are in force from the first moment on is no news.
                let is_first = self.engine.snapshot().policies.digest.is_none();
                if !(is_first && problems.is_empty()) {
                    let count = reading.standing.count;
                    self.tell(Happened::Policies { count, errors: problems });
                }
                self.event(Event::Policies(reading));
            }
            Input::Unwatched(why) => {
                let again = "the specs directory is watched again: changes are seen at once";
                let message = why.clone().unwrap_or_else(|| again.to_owned());
                self.unwatched = why;
                self.tell(Happened::Attention { message });
            }
            Input::Written { ticket, result, wants_checkpoint } => {
                self.written(ticket, &result);
                let checkpoint = result.is_ok() && wants_checkpoint;
                self.event(Event::Committed { ticket, result });
                if checkpoint {
                    self.event(Event::Operator(Operator::Checkpoint));
                }
            }
            Input::Progress(happened) => self.tell(happened),
            Input::Request { request, answer } => self.request(request, answer),
            Input::Look => self.look(),
            Input::Talk(talk) => self.talks.push(*talk),
            Input::Stop => self.end = Some(End::Stopped),
        }
    }

    fn event(&mut self, event: Event) {
        for effect in self.engine.handle(now(), event) {
            self.perform(effect);
        }
    }

    /// Plans, if that is wanted. One round may want another.
    fn round(&mut self) {
        // Decisions lead to further rounds, each of which leaves fewer; the limit is a guard.
        const ROUNDS_IN_A_ROW_MAX: u32 = 100;
        for _ in 0..ROUNDS_IN_A_ROW_MAX {
            if !std::mem::take(&mut self.round_wanted) {
                break;
            }
            let began = Instant::now();
            self.event(Event::Round);
            (self.rounds, self.last_round) = (self.rounds + 1, began.elapsed());
        }
        let settled = self.engine.is_settled() && self.engine.degraded().is_none();
        if settled && !self.was_settled {
            let objects = self.engine.report().counts.settled;
            self.tell(Happened::Settled { objects });
        }
        self.was_settled = settled;
    }

    fn tell(&mut self, happened: Happened) {
        tracing::debug!(?happened);
        if let Some(early) = self.early.as_mut().filter(|early| early.len() < EARLY_MAX) {
            early.push(happened.clone());
        }
        self.watchers
            .retain(|watcher| watcher.send(Frame::Happened { happened: happened.clone() }).is_ok());
    }
}

/// The time, as the core counts it.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The instant at which the clock will show `at`.
fn instant(at: Timestamp) -> Instant {
    // A millisecond more: the clock counts whole ones, and a wake that comes too early would plan
    // the same again.
    Instant::now() + at.since(now()) + Duration::from_millis(1)
}

/// The number of the last of these entries.
fn last_seq(entries: &[Stamped]) -> Option<u64> {
    entries.last().map(|Stamped { seq, entry: _, at: _ }| *seq)
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("engine", &self.engine).finish_non_exhaustive()
    }
}
