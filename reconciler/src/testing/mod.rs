//! A world in memory: engines, a journal and a clock that obey at once. Property tests and the
//! simulator drive [`Engine`] with it.
//!
//! [`engine`] is the twin of an engine; this file is the twin of the shell.

mod engine;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use engine::FakeEngine;

use crate::engine::{Effect, Engine, Event};
use crate::model::desired::{Declared, DesiredSet, RootIdentity, RootState, Source, SpecsReading};
use crate::model::ids::{ImageName, Key, Name, OwnerId};
use crate::model::journal::Stamped;
use crate::model::quantity::Span;
use crate::model::record::Records;
use crate::model::snapshot::Config;
use crate::model::spec::{Endpoint, InstanceSpec, NodeSpec, Power, Resources, Restart, Stop};
use crate::model::time::Timestamp;
use crate::policy::Policies;
use crate::ports::{DriverError, DriverErrorKind};

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
    queue: VecDeque<Event>,
    round_wanted: bool,
    policies: fn() -> Policies,
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
            queue: VecDeque::new(),
            round_wanted: false,
            policies,
        };
        world.engine.adopt_owner(now, OwnerId("0011223344556677".to_owned()));
        world
    }

    /// The loop dies here and now, and another one starts from what was durable.
    pub fn restart(&mut self) {
        let mut records = Records::default();
        for stamped in &self.journal {
            records.apply(stamped.at, &stamped.entry);
        }
        let last = self.journal.last().map_or(0, |stamped| stamped.seq);
        self.queue.clear();
        self.round_wanted = false;
        self.wake_at = None;
        self.engine = start(records, last, (self.policies)());
        self.engine.adopt_owner(self.now, OwnerId("8899aabbccddeeff".to_owned()));
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
                let spec = NodeSpec { endpoint, cgroup_root: None };
                desired.nodes.insert(node.clone(), Declared::new(spec, source));
            }
        }
        let empty = desired.instances.is_empty();
        let identity = RootIdentity { path: "/specs".to_owned(), device: 1 };
        let root = RootState::Present { identity, empty };
        self.send(Event::Specs(Box::new(SpecsReading { desired, root, ..Default::default() })));
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
            match self.wake_at.take().filter(|at| *at <= end) {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.send(Event::Wake);
                }
                None => return Ok(()),
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
        for effect in self.engine.handle(self.now, event) {
            self.perform(effect);
        }
        true
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Commit { ticket, entries } => {
                self.journal.extend(entries);
                self.send(Event::Committed { ticket, result: Ok(()) });
            }
            Effect::Run { object, node, action } => {
                self.actions.push(format!("{node}: {} {object}", action.verb()));
                let now = self.now;
                let result = match self.nodes.get_mut(&node) {
                    Some(engine) => engine.execute(now, &action),
                    None => Err(unreachable()),
                };
                self.send(Event::Finished { object, result });
            }
            Effect::List { node } => {
                let result =
                    self.nodes.get(&node).map_or_else(|| Err(unreachable()), FakeEngine::list);
                let asked_at = self.tick();
                self.send(Event::Listed { node, asked_at, result: result.map(Box::new) });
            }
            Effect::Inspect { node, container } => {
                let engine = self.nodes.get(&node);
                let result =
                    engine.map_or_else(|| Err(unreachable()), |engine| engine.inspect(&container));
                let asked_at = self.tick();
                let result = result.map(|found| found.map(Box::new));
                self.send(Event::Inspected { node, container, asked_at, result });
            }
            Effect::Connect { node, .. } => {
                self.send(Event::Hint { node, event: crate::ports::NodeEvent::Opened });
            }
            Effect::WakeAt(at) => self.wake_at = Some(at),
            Effect::Round => self.round_wanted = true,
            Effect::Disconnect { .. } | Effect::Store(_) | Effect::Tell(_) | Effect::Planned => {}
        }
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

fn unreachable() -> DriverError {
    let message = "connection refused".to_owned();
    DriverError { kind: DriverErrorKind::Unreachable, message }
}

/// An instance with defaults that runs `image`.
#[must_use]
pub fn instance(image: &str) -> InstanceSpec {
    InstanceSpec {
        image: ImageName::Reference(Arc::from(image)),
        resources: Resources::default(),
        flavor: None,
        replicas: 1,
        power: Power::Running,
        command: None,
        args: None,
        env: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        restart: Restart::Always,
        health: None,
        stop: Stop { signal: None, timeout: Span::seconds(10) },
        labels: BTreeMap::new(),
    }
}
