//! A world around one loop: its engines, its journal, its clock, its specs directory. All that the
//! loop asks for takes its time, and comes back late, twice, wrong or not at all, as the dice say.
//!
//! One thread, and one row of what is due ([`Due`]), sorted by time: a seed plays the same world
//! each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reconciler::engine::{Effect, Engine, Event, PolicyReading};
use reconciler::model::desired::SpecsReading;
use reconciler::model::health::Probed;
use reconciler::model::ids::{ContainerId, Name, ObjectId, OwnerId};
use reconciler::model::journal::Stamped;
use reconciler::model::observed::ObservedContainer;
use reconciler::model::record::Records;
use reconciler::model::snapshot::Config;
use reconciler::model::spec::Endpoint;
use reconciler::model::time::Timestamp;
use reconciler::policy::Policies;
use reconciler::ports::{DriverError, DriverErrorKind, NodeEvent};
use reconciler::step::Action;
use reconciler::testing::{FakeEngine, Fault};

use crate::checks::Checks;
use crate::dice::Dice;
use crate::odds::Odds;
use crate::say;
use crate::specs::Shape;
use crate::trace::Trace;

/// The time at which worlds begin.
const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// So many things in one world mean that it does not settle.
const EVENTS_MAX: u64 = 2_000_000;

/// So many things at one instant mean the same.
const EVENTS_AT_ONCE_MAX: u64 = 20_000;

/// Something that is due.
#[derive(Debug)]
enum Due {
    /// The loop hears of this.
    Event(Event),
    /// The loop hears of this reading.
    Specs(Arc<SpecsReading>, Event),
    /// The journal is through with this commit.
    Commit(u64, Vec<Stamped>),
    /// A node does this.
    Do(ObjectId, Name, Action),
    /// A node is looked at.
    List(Name, Timestamp),
    /// A container is looked at.
    Inspect(Name, String, Timestamp),
    /// The loop is woken, if it still wants to be.
    Wake(u64),
    /// Windlass starts.
    Start,
}

/// The world around one loop.
#[derive(Debug)]
pub struct World {
    /// What kind of world it is.
    pub shape: Shape,
    /// What goes wrong how often.
    pub odds: Odds,
    /// Its chance.
    pub dice: Dice,
    /// The loop.
    pub engine: Engine,
    /// The engines of its nodes.
    pub nodes: BTreeMap<Name, FakeEngine>,
    /// What is durable.
    pub journal: Vec<Stamped>,
    /// What the specs directory holds.
    pub reading: Arc<SpecsReading>,
    /// What the loop was told of it last.
    pub handed: Arc<SpecsReading>,
    /// The policies that are in force from the start on.
    pub policies: Option<PolicyReading>,
    /// What happened.
    pub trace: Trace,
    /// What is checked.
    pub checks: Checks,
    /// So many commits fail before the next one succeeds.
    pub commits_to_fail: u64,
    /// The loop dies when it has asked for so many more things.
    pub dies_after: Option<u64>,
    /// Whether windlass runs.
    pub is_up: bool,
    /// How many things happened.
    pub events: u64,
    /// How many rounds were planned.
    pub rounds: u64,
    /// How many steps were asked for.
    pub steps: u64,
    instant_ms: u64,
    skew_ms: i64,
    due: BTreeMap<(u64, u64), (u64, Due)>,
    next: u64,
    /// Which start of windlass this is.
    life: u64,
    committed_at: u64,
    read_at: u64,
    wakes: u64,
    round_wanted: bool,
    at_once: u64,
}

impl World {
    /// The world of a seed, before anything happened.
    #[must_use]
    pub fn new(shape: Shape, odds: Odds, dice: Dice, policies: Option<PolicyReading>) -> Self {
        let nodes = shape.node_names().map(|node| {
            let mut engine = FakeEngine::new(node.as_str());
            engine.foreign = vec!["somebody".to_owned(), "team.i-0.0.2".to_owned()];
            (node, engine)
        });
        let reading = Arc::new(SpecsReading::default());
        Self {
            nodes: nodes.collect(),
            shape,
            odds,
            dice,
            engine: start(Records::default(), 0),
            journal: Vec::new(),
            handed: Arc::clone(&reading),
            reading,
            policies,
            trace: Trace::default(),
            checks: Checks::default(),
            commits_to_fail: 0,
            dies_after: None,
            is_up: false,
            events: 0,
            rounds: 0,
            steps: 0,
            instant_ms: 0,
            skew_ms: 0,
            due: BTreeMap::new(),
            next: 0,
            life: 0,
            committed_at: 0,
            read_at: 0,
            wakes: 0,
            round_wanted: false,
            at_once: 0,
        }
    }

    /// The time as clocks show it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(BEGIN.0 + i64::try_from(self.instant_ms).unwrap_or(0) + self.skew_ms)
    }

    /// How long this world has been there, whatever its clock shows.
    #[must_use]
    pub fn instant_ms(&self) -> u64 {
        self.instant_ms
    }

    /// Clocks are put forward or back.
    pub fn jump(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
        self.say(&format!("the clock jumps by {by_ms} ms"));
    }

    /// Puts a line into the trace.
    pub fn say(&mut self, what: &str) {
        self.trace.say(self.instant_ms, what);
    }

    fn push(&mut self, in_ms: u64, due: Due) {
        self.push_at(self.instant_ms + in_ms, due);
    }

    fn push_at(&mut self, at_ms: u64, due: Due) {
        self.next += 1;
        self.due.insert((at_ms, self.next), (self.life, due));
    }

    /// The loop hears of something in a moment.
    pub fn send(&mut self, event: Event) {
        let in_ms = self.dice.between(0, 5);
        self.push(in_ms, Due::Event(event));
    }

    /// The specs directory is like this from now on.
    pub fn write(&mut self, reading: SpecsReading) {
        let reading = Arc::new(reading);
        let before = std::mem::replace(&mut self.reading, Arc::clone(&reading));
        let event = match reconciler::testing::change(&before, &reading) {
            Some(change) if before.desired.projects.keys().eq(reading.desired.projects.keys()) => {
                Event::SpecsChanged(Box::new(change))
            }
            Some(_) | None => Event::Specs(Box::new((*reading).clone())),
        };
        // One thread reads them, one reading after the other.
        self.read_at = self.read_at.max(self.instant_ms + self.dice.between(1, 40));
        self.push_at(self.read_at, Due::Specs(reading, event));
    }

    /// Windlass starts.
    pub fn start(&mut self, in_ms: u64) {
        self.push(in_ms, Due::Start);
    }

    /// Windlass dies here and now. Of what it wanted to have written a part is durable, as it
    /// comes; of what it asked nodes for some is done all the same.
    pub fn crash(&mut self) {
        self.say("windlass dies");
        self.life += 1;
        self.is_up = false;
        self.round_wanted = false;
        self.dies_after = None;
        self.wakes += 1;
        let mut written = Vec::new();
        let mut kept = BTreeMap::new();
        for (at, (life, due)) in std::mem::take(&mut self.due) {
            match due {
                Due::Commit(_, entries) => written.extend(entries),
                Due::Do(..) if self.dice.says(500) => {
                    kept.insert(at, (life, due));
                }
                Due::Start => {
                    kept.insert(at, (life, due));
                }
                Due::Do(..)
                | Due::Event(_)
                | Due::Specs(..)
                | Due::List(..)
                | Due::Inspect(..)
                | Due::Wake(_) => {}
            }
        }
        self.due = kept;
        let last = self.journal.last().map_or(0, |stamped| stamped.seq);
        let follows = written.first().is_none_or(|first: &Stamped| first.seq == last + 1);
        let whole = self.dice.index(written.len() + 1);
        if follows && self.commits_to_fail == 0 {
            written.truncate(whole);
            self.say(&format!("{whole} entries are durable"));
            self.journal.extend(written);
        }
        let down_ms = self.dice.between(1, 20_000);
        self.start(down_ms);
    }

    /// The directory of policies is read. While it is not good, those that were go on, through
    /// restarts too.
    pub fn read_policies(&mut self, reading: PolicyReading) {
        if reading.policies.is_some() {
            self.policies = Some(reading.clone());
        }
        if self.is_up {
            self.send(Event::Policies(Box::new(reading)));
        }
    }

    /// A node stops answering, or answers again.
    pub fn set_reachable(&mut self, node: &Name, reachable: bool) {
        let Some(engine) = self.nodes.get_mut(node) else { return };
        if engine.reachable == reachable {
            return;
        }
        engine.reachable = reachable;
        self.say(&format!("{node} {}", if reachable { "answers again" } else { "is lost" }));
        let node = node.clone();
        self.send(match reachable {
            true => Event::Hint { node, event: NodeEvent::Opened },
            false => Event::Lost { node, error: unreachable() },
        });
    }

    /// Another hand changes a node, and its engine tells of what changed.
    pub fn disturb(&mut self, node: &Name, how: impl FnOnce(Timestamp, &mut FakeEngine)) {
        let now = self.now();
        let Some(engine) = self.nodes.get_mut(node) else { return };
        let before = engine.containers.clone();
        how(now, engine);
        self.hint(node, &before);
        let mut checks = std::mem::take(&mut self.checks);
        checks.disturbed(self);
        self.checks = checks;
    }

    fn hint(&mut self, node: &Name, before: &BTreeMap<ContainerId, ObservedContainer>) {
        let Some(engine) = self.nodes.get(node).filter(|engine| engine.reachable) else { return };
        let after = &engine.containers;
        let ids: BTreeSet<&ContainerId> = before.keys().chain(after.keys()).collect();
        let changed = ids.into_iter().filter(|id| before.get(*id) != after.get(*id)).map(|id| {
            let found = after.get(id).or_else(|| before.get(id));
            let replica = found.map(|found| found.identity.replica.clone());
            NodeEvent::Container { id: id.clone(), replica }
        });
        for event in changed.collect::<Vec<_>>() {
            if self.dice.says(self.odds.hint_lost) {
                continue;
            }
            let times = if self.dice.says(self.odds.hint_twice) { 2 } else { 1 };
            for _ in 0..times {
                let late = self.dice.says(self.odds.late);
                let in_ms = self.dice.between(1, if late { 20_000 } else { 20 });
                let (node, event) = (node.clone(), event.clone());
                self.push(in_ms, Due::Event(Event::Hint { node, event }));
            }
        }
    }

    /// Goes on until this instant.
    ///
    /// # Errors
    /// If a rule was broken, or it does not come to an end.
    pub fn run_until(&mut self, end_ms: u64) -> Result<(), String> {
        loop {
            let at = self.due.first_key_value().map(|(at, _)| *at);
            let waits = at.is_some_and(|(at, _)| at <= self.instant_ms);
            if self.round_wanted && self.is_up && !waits {
                self.round_wanted = false;
                self.hand(Event::Round);
            } else if let Some(at) = at.filter(|(at, _)| *at <= end_ms) {
                let Some((life, due)) = self.due.remove(&at) else { continue };
                if at.0 > self.instant_ms {
                    (self.instant_ms, self.at_once) = (at.0, 0);
                }
                self.happens(life, due);
            } else {
                self.instant_ms = self.instant_ms.max(end_ms);
                return Ok(());
            }
            self.events += 1;
            self.at_once += 1;
            if self.events > EVENTS_MAX || self.at_once > EVENTS_AT_ONCE_MAX {
                self.checks.broken.push("it goes on and on".to_owned());
            }
            if let Some(broken) = self.checks.broken.first() {
                return Err(broken.clone());
            }
        }
    }

    /// Goes on for so long.
    ///
    /// # Errors
    /// As [`run_until`](Self::run_until).
    pub fn run_for(&mut self, ms: u64) -> Result<(), String> {
        self.run_until(self.instant_ms + ms)
    }

    fn happens(&mut self, life: u64, due: Due) {
        let is_of_now = life == self.life;
        match due {
            Due::Start => self.starts(),
            Due::Do(object, node, action) => self.does(is_of_now, object, node, &action),
            // What an earlier life asked for, or was told.
            _ if !is_of_now || !self.is_up => {}
            Due::Event(event) => self.hand(event),
            Due::Specs(reading, event) => {
                self.handed = reading;
                self.hand(event);
            }
            Due::Commit(ticket, entries) => {
                let result = self.append(entries);
                self.hand(Event::Committed { ticket, result });
            }
            Due::List(node, asked_at) => {
                let result =
                    self.nodes.get(&node).map_or_else(|| Err(unreachable()), FakeEngine::list);
                let in_ms = self.reply_ms();
                let event = Event::Listed { node, asked_at, result: result.map(Box::new) };
                self.push(in_ms, Due::Event(event));
            }
            Due::Inspect(node, container, asked_at) => {
                let engine = self.nodes.get(&node);
                let result =
                    engine.map_or_else(|| Err(unreachable()), |engine| engine.inspect(&container));
                let result = result.map(|found| found.map(Box::new));
                let in_ms = self.reply_ms();
                let event = Event::Inspected { node, container, asked_at, result };
                self.push(in_ms, Due::Event(event));
            }
            Due::Wake(number) if number == self.wakes => self.hand(Event::Wake),
            Due::Wake(_) => {}
        }
    }

    fn starts(&mut self) {
        let mut records = Records::default();
        for stamped in &self.journal {
            records.apply(stamped.at, &stamped.entry);
        }
        let last = self.journal.last().map_or(0, |stamped| stamped.seq);
        self.say("windlass starts");
        self.engine = start(records, last);
        self.is_up = true;
        self.wakes += 1;
        self.read_at = self.instant_ms;
        self.committed_at = self.instant_ms;
        let owner = OwnerId(format!("00112233445566{:02x}", self.life % 256));
        let now = self.now();
        self.engine.adopt_owner(now, owner);
        let mut checks = std::mem::take(&mut self.checks);
        checks.started(self);
        self.checks = checks;
        if let Some(policies) = self.policies.clone() {
            self.push(0, Due::Event(Event::Policies(Box::new(policies))));
        }
        let reading = Arc::clone(&self.reading);
        let event = Event::Specs(Box::new((*reading).clone()));
        self.push(0, Due::Specs(reading, event));
    }

    /// The loop takes in an event.
    fn hand(&mut self, event: Event) {
        let is_round = matches!(event, Event::Round);
        if !is_round {
            self.say(&say::event(&event));
        }
        let now = self.now();
        let mut checks = std::mem::take(&mut self.checks);
        checks.hears(self, &event);
        self.checks = checks;
        let effects = self.engine.handle(now, event);
        if is_round && !self.engine.plan().is_empty() {
            let plan = self.engine.plan().to_string();
            self.trace.plan(self.instant_ms, &plan);
            let mut checks = std::mem::take(&mut self.checks);
            checks.planned(self);
            self.checks = checks;
        }
        for effect in effects {
            if self.dies_after == Some(0) {
                self.crash();
                return;
            }
            self.dies_after = self.dies_after.map(|left| left - 1);
            self.perform(effect);
        }
        let mut checks = std::mem::take(&mut self.checks);
        checks.after(self);
        self.checks = checks;
    }

    fn perform(&mut self, effect: Effect) {
        let asked_at = self.now();
        match effect {
            Effect::Commit { ticket, entries } => {
                // One after the other, as a file is written.
                let takes_ms = self.dice.between(1, 8);
                self.committed_at = self.committed_at.max(self.instant_ms) + takes_ms;
                self.push_at(self.committed_at, Due::Commit(ticket, entries));
            }
            Effect::Run { object, node, action } => {
                self.steps += 1;
                let limits = say::limits(&action);
                self.say(&format!("  {node}: {} {object}{limits}", action.verb()));
                let mut checks = std::mem::take(&mut self.checks);
                checks.asks(self, &object, &node, &action);
                self.checks = checks;
                let late = self.dice.says(self.odds.late);
                let in_ms = self.dice.between(1, if late { 15_000 } else { 80 });
                self.push(in_ms, Due::Do(object, node, action));
            }
            Effect::List { node } => {
                let in_ms = self.reply_ms();
                self.push(in_ms, Due::List(node, asked_at));
            }
            Effect::Inspect { node, container } => {
                let in_ms = self.reply_ms();
                self.push(in_ms, Due::Inspect(node, container, asked_at));
            }
            Effect::Probe { ticket, node, container, .. } => {
                let unknown = || Probed::Unknown { reason: "no such node".to_owned() };
                let engine = self.nodes.get(&node);
                let result = engine.map_or_else(unknown, |engine| engine.probe(&container));
                self.reply(Event::Probed { ticket, node, container, result });
            }
            Effect::ReadLog { replica, node, container, .. } => {
                let engine = self.nodes.get(&node);
                let lines = engine.map(|engine| engine.log.clone()).unwrap_or_default();
                self.reply(Event::LogRead { replica, container, lines });
            }
            Effect::LookInside { replica, node, container } => {
                let engine = self.nodes.get(&node);
                let result = engine
                    .map_or_else(|| Err(unreachable()), |engine| engine.look_inside(&container));
                self.reply(Event::LookedInside { replica, container, result });
            }
            Effect::WhoSigned(question) => {
                let result = Err("nobody knows".to_owned());
                let (image, declared) = (question.image.clone(), question.declared.clone());
                self.reply(Event::WhoSigned { image, declared, result });
            }
            Effect::Connect { node, .. } => {
                let is_there = self.nodes.get(&node).is_some_and(|engine| engine.reachable);
                let event = NodeEvent::Opened;
                self.reply(match is_there {
                    true => Event::Hint { node, event },
                    false => Event::Lost { node, error: unreachable() },
                });
            }
            Effect::WakeAt(at) => {
                self.wakes += 1;
                if at <= asked_at {
                    let why = format!("wants to be woken at {at:?}, and it is {asked_at:?}");
                    self.checks.broken.push(why);
                }
                let in_ms = u64::try_from(at.0 - asked_at.0).unwrap_or(0);
                let number = self.wakes;
                self.push(in_ms, Due::Wake(number));
            }
            Effect::Round => self.round_wanted = true,
            Effect::Planned => self.rounds += 1,
            Effect::Disconnect { .. } | Effect::Store(_) | Effect::Tell(_) => {}
        }
    }

    fn reply_ms(&mut self) -> u64 {
        let late = self.dice.says(self.odds.late);
        self.dice.between(1, if late { 5_000 } else { 30 })
    }

    fn reply(&mut self, event: Event) {
        let in_ms = self.reply_ms();
        self.push(in_ms, Due::Event(event));
    }

    /// A node does what it was asked for, maybe by a windlass that is no more.
    fn does(&mut self, is_of_now: bool, object: ObjectId, node: Name, action: &Action) {
        let fault = self.odds.fault(&mut self.dice);
        let now = self.now();
        let mut checks = std::mem::take(&mut self.checks);
        let known = is_of_now && self.is_up;
        let before = checks.before(self, known, &object, action);
        let mut held = BTreeMap::new();
        let result = match self.nodes.get_mut(&node) {
            None => Err(unreachable()),
            Some(engine) => {
                held.clone_from(&engine.containers);
                if fault != Fault::None {
                    engine.faults.push_front(fault);
                }
                engine.execute(now, action)
            }
        };
        let word = result.as_ref().map_or_else(|why| why.to_string(), |_| "done".to_owned());
        self.say(&format!("  {node}: {} {object}: {word}", action.verb()));
        checks.done(self, before, (&object, &node), action);
        self.checks = checks;
        self.hint(&node, &held);
        if known {
            let in_ms = self.reply_ms();
            self.push(in_ms, Due::Event(Event::Finished { object, result }));
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
            return Err(format!("entry {last} is the last one, and another one comes"));
        }
        self.checks.committed(&entries);
        self.journal.extend(entries);
        Ok(())
    }
}

fn start(records: Records, last: u64) -> Engine {
    let endpoint = Endpoint::Unix("/local.sock".to_owned());
    Engine::new(Config::default(), records, last, Policies::allow_all(), endpoint)
}

fn unreachable() -> DriverError {
    let message = "connection refused".to_owned();
    DriverError { kind: DriverErrorKind::Unreachable, message }
}
