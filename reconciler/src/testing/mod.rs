//! A world in memory: engines, a journal and a clock that obey at once. Property tests and the
//! simulator drive [`Engine`] with it.
//!
//! [`engine`] is the twin of an engine; this file is the twin of the shell.

mod attach;
mod engine;
mod kernel;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use engine::{FakeEngine, Fault, NEVER_WELL};
pub use turns::{Before, Turns};

use crate::engine::{Effect, Engine, Event};
use crate::model::desired::{
    Declared, DesiredSet, RootIdentity, RootState, Source, SpecsChange, SpecsReading,
};
use crate::model::health::Probed;
use crate::model::ids::{ContainerId, ImageName, Key, Name, OwnerId};
use crate::model::journal::Stamped;
use crate::model::observed::ObservedContainer;
use crate::model::record::Records;
use crate::model::snapshot::Config;
use crate::model::spec::{Endpoint, InstanceSpec, NodeSpec};
use crate::model::time::Timestamp;
use crate::policy::Policies;
use crate::policy::facts::Signed;
use crate::ports::{DriverError, DriverErrorKind, NodeEvent};

/// So many effects in one go mean that the loop does not settle.
const EFFECTS_MAX: usize = 200_000;

/// The world around one loop.
#[derive(Debug)]
pub struct World {
    /// The loop.
    pub engine: Engine,
    /// The engines of its nodes.
    pub nodes: BTreeMap<Name, FakeEngine>,
    /// What was made durable.
    pub journal: Vec<Stamped>,
    /// The time.
    pub now: Timestamp,
    /// When the loop wants to be woken.
    pub wake_at: Option<Timestamp>,
    /// Actions that engines were asked for, as text: `node: verb object`.
    pub actions: Vec<String>,
    /// So many commits fail before the next one succeeds.
    pub commits_to_fail: u32,
    /// The loop dies when it has performed so many more effects, in the midst of what one event
    /// brought about.
    pub dies_after: Option<u32>,
    /// What becomes of hints.
    pub hints: Hints,
    /// Lists are held back until [`release_lists`](Self::release_lists).
    pub holds_lists: bool,
    /// Who signed which Images, for whoever asks.
    pub signed: BTreeMap<Key, Signed>,
    /// How many probes were asked for.
    pub probes: u32,
    /// How many rounds were planned.
    pub rounds: u32,
    /// How often the end of a log was read.
    pub logs_read: u32,
    /// What the loop did that it never may; a test looks here.
    pub faults: Vec<String>,
    reading: SpecsReading,
    held_lists: Vec<Event>,
    handled_at: Timestamp,
    queue: VecDeque<Event>,
    round_wanted: bool,
    policies: fn() -> Policies,
    turns: Turns,
}

/// What becomes of hints that engines give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hints {
    /// Each comes once.
    Once,
    /// None comes.
    Lost,
    /// Each comes twice.
    Twice,
}

impl World {
    /// A world with these nodes, in which everything is allowed.
    #[must_use]
    pub fn new(nodes: &[&str]) -> Self {
        Self::with_policies(nodes, Policies::allow_all)
    }

    /// A world with these nodes and policies.
    #[must_use]
    pub fn with_policies(nodes: &[&str], policies: fn() -> Policies) -> Self {
        let now = Timestamp(1_700_000_000_000);
        let nodes =
            nodes.iter().filter_map(|node| Some((Name::new(node).ok()?, FakeEngine::new(node))));
        let mut world = Self {
            engine: start(Records::default(), 0, policies()),
            nodes: nodes.collect(),
            journal: Vec::new(),
            now,
            wake_at: None,
            actions: Vec::new(),
            commits_to_fail: 0,
            dies_after: None,
            hints: Hints::Once,
            holds_lists: false,
            signed: BTreeMap::new(),
            probes: 0,
            rounds: 0,
            logs_read: 0,
            faults: Vec::new(),
            reading: SpecsReading::default(),
            held_lists: Vec::new(),
            handled_at: now,
            queue: VecDeque::new(),
            round_wanted: false,
            policies,
            turns: Turns::default(),
        };
        world.engine.adopt_owner(now, OwnerId("0011223344556677".to_owned()));
        world
    }

    /// The loop dies here and now, and another one starts from what was durable and reads the same
    /// specs.
    pub fn restart(&mut self) {
        let mut records = Records::default();
        for stamped in &self.journal {
            records.apply(stamped.at, &stamped.entry);
        }
        let last = self.journal.last().map_or(0, |stamped| stamped.seq);
        self.queue.clear();
        self.held_lists.clear();
        self.round_wanted = false;
        self.wake_at = None;
        self.dies_after = None;
        self.engine = start(records, last, (self.policies)());
        self.engine.adopt_owner(self.now, OwnerId("8899aabbccddeeff".to_owned()));
        self.send(Event::Specs(Box::new(self.reading.clone())));
    }

    /// Another hand changes a node, and its engine tells of what changed.
    pub fn disturb(&mut self, node: &Name, how: impl FnOnce(Timestamp, &mut FakeEngine)) {
        let now = self.now;
        let Some(engine) = self.nodes.get_mut(node) else { return };
        let before = engine.containers.clone();
        how(now, engine);
        self.hint_changes(node, &before);
    }

    /// A node stops answering, or answers again.
    pub fn set_reachable(&mut self, node: &Name, reachable: bool) {
        let Some(engine) = self.nodes.get_mut(node) else { return };
        if engine.reachable == reachable {
            return;
        }
        engine.reachable = reachable;
        let node = node.clone();
        if reachable {
            self.send(Event::Hint { node, event: NodeEvent::Opened });
        } else {
            self.send(Event::Lost { node, error: unreachable() });
        }
    }

    /// Lists that were held back arrive now.
    pub fn release_lists(&mut self) {
        self.queue.extend(std::mem::take(&mut self.held_lists));
    }

    /// The next look at the specs directory finds this.
    pub fn read(&mut self, reading: SpecsReading) {
        let before = std::mem::replace(&mut self.reading, reading.clone());
        self.send(match change(&before, &reading) {
            Some(change) => Event::SpecsChanged(Box::new(change)),
            None => Event::Specs(Box::new(reading)),
        });
    }

    fn hint_changes(&mut self, node: &Name, before: &BTreeMap<ContainerId, ObservedContainer>) {
        let Some(engine) = self.nodes.get(node).filter(|engine| engine.reachable) else { return };
        let times = match self.hints {
            Hints::Once => 1,
            Hints::Lost => 0,
            Hints::Twice => 2,
        };
        let after = &engine.containers;
        let ids: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for id in ids.into_iter().filter(|id| before.get(id) != after.get(id)) {
            let found = after.get(id).or_else(|| before.get(id));
            let replica = found.map(|found| found.identity.replica.clone());
            let event = NodeEvent::Container { id: id.clone(), replica };
            for _ in 0..times {
                self.queue.push_back(Event::Hint { node: node.clone(), event: event.clone() });
            }
        }
    }

    /// The specs directory holds these instances now.
    pub fn declare(&mut self, instances: &[(&str, InstanceSpec)]) {
        let mut desired = DesiredSet::default();
        for (index, (key, spec)) in instances.iter().enumerate() {
            if let Ok(key) = key.parse::<Key>() {
                let file = Arc::from(format!("{}.yaml", key.name));
                let line = u32::try_from(index).unwrap_or(0) + 1;
                let source = Source { file, line, column: 1 };
                desired.instances.insert(key, Declared::new(spec.clone(), source));
            }
        }
        self.declare_set(desired);
    }

    /// The specs directory holds this now; nodes are added where none is declared.
    pub fn declare_set(&mut self, mut desired: DesiredSet) {
        if desired.nodes.is_empty() {
            for node in self.nodes.keys() {
                let endpoint = Endpoint::Unix(format!("/{node}.sock"));
                let source = Source { file: Arc::from("nodes.yaml"), line: 1, column: 1 };
                let spec = NodeSpec::at(endpoint);
                desired.nodes.insert(node.clone(), Declared::new(spec, source));
            }
        }
        let empty = desired.instances.is_empty();
        let identity = RootIdentity { path: "/specs".to_owned(), device: 1 };
        let root = RootState::Present { identity, empty };
        self.read(SpecsReading { desired, root, ..Default::default() });
    }

    /// Hands over an event.
    pub fn send(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Goes on until nothing is left to do at this instant.
    ///
    /// # Errors
    /// If that does not come to an end.
    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..EFFECTS_MAX {
            if !self.step() {
                return Ok(());
            }
        }
        Err(format!("it does not settle; the last plan:\n{}", self.engine.plan()))
    }

    /// Goes on until nothing is left to do, letting time pass where the loop waits for it, for
    /// `limit` at most.
    ///
    /// # Errors
    /// If that does not come to an end.
    pub fn run_for(&mut self, limit: std::time::Duration) -> Result<(), String> {
        let end = self.now + limit;
        loop {
            self.run()?;
            match self.wake_at.filter(|at| *at <= end) {
                Some(at) => {
                    self.wake_at = None;
                    self.now = self.now.max(at);
                    self.send(Event::Wake);
                }
                None => {
                    self.now = self.now.max(end);
                    return Ok(());
                }
            }
        }
    }

    /// Handles one event. Returns false if there is none.
    pub fn step(&mut self) -> bool {
        let event = match self.queue.pop_front() {
            Some(event) => event,
            None if std::mem::take(&mut self.round_wanted) => Event::Round,
            None => return false,
        };
        self.handled_at = self.now;
        for effect in self.engine.handle(self.now, event) {
            if self.dies_after == Some(0) {
                self.restart();
                return true;
            }
            self.dies_after = self.dies_after.map(|left| left - 1);
            self.perform(effect);
        }
        if let Some(degraded) = self.engine.degraded().filter(|why| why.contains("broke a rule")) {
            self.faults.push(degraded);
        }
        true
    }

    fn perform(&mut self, effect: Effect) {
        self.turns.look(self.engine.snapshot(), &self.nodes);
        match effect {
            Effect::Commit { ticket, entries } => {
                let result = self.append(entries);
                self.send(Event::Committed { ticket, result });
            }
            Effect::Run { object, node, action } => {
                self.actions.push(format!("{node}: {} {object}", action.verb()));
                let now = self.now;
                let turn = Turns::before(self.engine.snapshot(), &self.nodes, &object);
                let Some(engine) = self.nodes.get_mut(&node) else {
                    return self.send(Event::Finished { object, result: Err(unreachable()) });
                };
                let touched = action.container();
                if touched.is_some_and(|name| engine.foreign.iter().any(|foreign| foreign == name))
                {
                    self.faults.push(format!("touches what is not ours: {action:?}"));
                }
                let before = engine.containers.clone();
                let result = engine.execute(now, &action);
                let snapshot = self.engine.snapshot();
                let broken =
                    turn.and_then(|turn| self.turns.after(snapshot, &self.nodes, turn, &action));
                self.faults.extend(broken);
                self.turns.look(snapshot, &self.nodes);
                self.hint_changes(&node, &before);
                self.send(Event::Finished { object, result });
            }
            Effect::List { node } => {
                let result =
                    self.nodes.get(&node).map_or_else(|| Err(unreachable()), FakeEngine::list);
                let asked_at = self.tick();
                let event = Event::Listed { node, asked_at, result: result.map(Box::new) };
                if self.holds_lists {
                    self.held_lists.push(event);
                } else {
                    self.send(event);
                }
            }
            Effect::Inspect { node, container } => {
                let engine = self.nodes.get(&node);
                let result =
                    engine.map_or_else(|| Err(unreachable()), |engine| engine.inspect(&container));
                let asked_at = self.tick();
                let result = result.map(|found| found.map(Box::new));
                self.send(Event::Inspected { node, container, asked_at, result });
            }
            Effect::Probe { ticket, node, container, .. } => {
                self.probes += 1;
                let unknown = || Probed::Unknown { reason: "no such node".to_owned() };
                let engine = self.nodes.get(&node);
                let result = engine.map_or_else(unknown, |engine| engine.probe(&container));
                self.send(Event::Probed { ticket, node, container, result });
            }
            Effect::ReadLog { replica, node, container, .. } => {
                self.logs_read += 1;
                let engine = self.nodes.get(&node);
                let lines = engine.map(|engine| engine.log.clone()).unwrap_or_default();
                self.send(Event::LogRead { replica, container, lines });
            }
            Effect::LookInside { replica, node, container } => {
                let engine = self.nodes.get(&node);
                let result = engine
                    .map_or_else(|| Err(unreachable()), |engine| engine.look_inside(&container));
                self.send(Event::LookedInside { replica, container, result });
            }
            Effect::WhoSigned(question) => {
                let result = self.signed.get(&question.image).cloned();
                let result = result.ok_or_else(|| "nobody knows".to_owned());
                let (image, declared) = (question.image.clone(), question.declared.clone());
                self.send(Event::WhoSigned { image, declared, result });
            }
            Effect::Connect { node, .. } => {
                let is_there = self.nodes.get(&node).is_some_and(|engine| engine.reachable);
                let event = NodeEvent::Opened;
                self.send(match is_there {
                    true => Event::Hint { node, event },
                    false => Event::Lost { node, error: unreachable() },
                });
            }
            Effect::WakeAt(at) => {
                let now = self.handled_at;
                if at <= now {
                    self.faults.push(format!("wants to be woken at {at:?}, and it is {now:?}"));
                }
                self.wake_at = Some(at);
            }
            Effect::Round => self.round_wanted = true,
            Effect::Planned => self.rounds += 1,
            Effect::Disconnect { .. } | Effect::Store(_) | Effect::Tell(_) => {}
        }
    }

    /// Appends to the journal, which takes entries in a row only.
    fn append(&mut self, entries: Vec<Stamped>) -> Result<(), String> {
        if self.commits_to_fail > 0 {
            self.commits_to_fail -= 1;
            return Err("no space left on device".to_owned());
        }
        let last = self.journal.last().map_or(0, |stamped| stamped.seq);
        if entries.first().is_some_and(|first| first.seq != last + 1) {
            return Err(format!("entry {last} is the last one, and {:?} comes", entries.first()));
        }
        self.journal.extend(entries);
        Ok(())
    }

    /// Time passes with each look at a node, as it does outside.
    fn tick(&mut self) -> Timestamp {
        self.now = Timestamp(self.now.0 + 1);
        self.now
    }
}

fn start(records: Records, last_seq: u64, policies: Policies) -> Engine {
    let endpoint = Endpoint::Unix("/local.sock".to_owned());
    Engine::new(Config::default(), records, last_seq, policies, endpoint)
}

/// What changed between two readings of which a shell would tell no more than that.
#[must_use]
pub fn change(before: &SpecsReading, after: &SpecsReading) -> Option<SpecsChange> {
    let (old, new) = (&before.desired, &after.desired);
    let same_objects = old.instances.keys().eq(new.instances.keys())
        && old.images.keys().eq(new.images.keys())
        && old.volumes.keys().eq(new.volumes.keys())
        && old.links.keys().eq(new.links.keys())
        && old.bindings.keys().eq(new.bindings.keys())
        && old.waivers.keys().eq(new.waivers.keys())
        && old.nodes == new.nodes;
    let same_files = matches!(before.root, RootState::Present { .. })
        && before.root == after.root
        && before.broken.is_empty()
        && after.broken.is_empty()
        && after.texts.values().all(Option::is_some);
    (same_objects && same_files)
        .then(|| SpecsChange { objects: new.clone(), texts: after.texts.clone() })
}

fn unreachable() -> DriverError {
    let message = "connection refused".to_owned();
    DriverError { kind: DriverErrorKind::Unreachable, message }
}

/// An instance with defaults that runs `image`.
#[must_use]
pub fn instance(image: &str) -> InstanceSpec {
    InstanceSpec::of(ImageName::Reference(Arc::from(image)))
}
