//! What never may be, whatever goes wrong. These checks look at what the loop asks for and at what
//! nodes hold, and use nothing of the planner: not its reasons, not its counts.
//!
//! Checked with each event: an intent is durable before its effect; one object has one step in flight;
//! what is not ours is not touched; what is declared is not removed, and nothing is where the specs
//! directory is in doubt; what is on a node that does not answer is not made elsewhere; what is denied
//! is not made; what is made is not made twice; replicas keep to their turns ([`Turns`]); no step takes a project past its quota
//! ([`quota`]), or its groups past it together. What holds at rest is in [`rest`].

mod quota;
pub mod rest;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use reconciler::engine::{Event, Operator};
use reconciler::model::desired::{RootState, SpecsReading};
use reconciler::model::ids::{Name, ObjectId, ReplicaKey};
use reconciler::model::journal::{Deed, Entry, Stamped};
use reconciler::model::observed::{ContainerState, Reach};
use reconciler::model::record::Records;
use reconciler::model::snapshot::{Located, Snapshot};
use reconciler::model::time::Timestamp;
use reconciler::step::{Action, Cause};
use reconciler::testing::{Before as Turn, Turns};

use crate::specs::DENIED;
use crate::world::World;

/// What is known of a world, apart from what its loop knows.
#[derive(Debug, Default)]
pub struct Checks {
    /// Rules that were broken, in words.
    pub broken: Vec<String>,
    turns: Turns,
    quotas: quota::Quotas,
    /// Intents that are durable, and were not asked for yet.
    intents: BTreeMap<ObjectId, VecDeque<(Name, Deed)>>,
    /// Objects that a step was asked for and has not come back.
    running: BTreeSet<ObjectId>,
    /// Those of them that were not declared when it was asked for: it may be by now.
    ending: BTreeSet<ObjectId>,
    /// Where each replica was made last.
    homes: BTreeMap<ReplicaKey, Name>,
    /// What this windlass was told is made, by the names of containers.
    made: BTreeMap<String, ObjectId>,
    /// What is being made.
    making: BTreeMap<ObjectId, String>,
    /// Since when the specs directory is in doubt, as far as the loop was told.
    doubtful_since: Option<Timestamp>,
    /// What it was before the doubt.
    root: Option<RootState>,
    /// What an operator agreed to have removed, and nobody declared since.
    approved: BTreeSet<ObjectId>,
    /// What follows from all that was made durable.
    folded: Records,
}

/// How things stood before a step.
#[derive(Debug, Default)]
pub struct Before {
    turn: Option<Turn>,
    used: quota::Used,
    groups: quota::Used,
}

impl Checks {
    fn broke(&mut self, what: String) {
        self.broken.push(what);
    }

    /// Windlass starts.
    pub fn started(&mut self, world: &World) {
        self.intents.clear();
        self.running.clear();
        self.made.clear();
        self.making.clear();
        self.root = None;
        self.doubtful_since = None;
        // What was durable when it died need not have been told.
        self.folded = world.engine.snapshot().records.clone();
        self.quotas.renew(world);
    }

    /// Entries are durable now.
    pub fn committed(&mut self, entries: &[Stamped]) {
        for stamped in entries {
            if let Entry::Intent { object, node, deed, .. } = &stamped.entry {
                let row = self.intents.entry(object.clone()).or_default();
                row.push_back((node.clone(), deed.clone()));
            }
            if let Entry::Checkpoint { records } = &stamped.entry
                && **records != self.folded
            {
                let (mine, theirs) = (format!("{:#?}", self.folded), format!("{records:#?}"));
                let differs =
                    mine.lines().zip(theirs.lines()).find(|(mine, theirs)| mine != theirs);
                self.broke(format!("a checkpoint is not what was journaled: {differs:?}"));
            }
            self.folded.apply(stamped.at, &stamped.entry);
        }
    }

    /// The loop is about to hear of something.
    pub fn hears(&mut self, world: &World, event: &Event) {
        match event {
            Event::Finished { object, result } => {
                self.running.remove(object);
                if let Some(name) = self.making.remove(object).filter(|_| result.is_ok()) {
                    self.made.insert(name, object.clone());
                }
            }
            Event::Operator(Operator::Approve { digest }) => {
                let held = world.engine.report().held.as_ref();
                let held = held.filter(|held| held.digest.to_string() == *digest);
                self.approved.extend(held.into_iter().flat_map(|held| held.objects.clone()));
            }
            Event::Specs(_) | Event::SpecsChanged(_) => self.told(world, &world.handed),
            Event::Policies(_)
            | Event::Checkout(_)
            | Event::Listed { .. }
            | Event::Inspected { .. }
            | Event::Hint { .. }
            | Event::Lost { .. }
            | Event::Committed { .. }
            | Event::Probed { .. }
            | Event::Pressed(_)
            | Event::LogRead { .. }
            | Event::LookedInside { .. }
            | Event::WhoSigned { .. }
            | Event::Operator(_)
            | Event::Wake
            | Event::Round => {}
        }
    }

    fn told(&mut self, world: &World, reading: &SpecsReading) {
        self.quotas.renew(world);
        let is_good = match (&reading.root, &world.engine.snapshot().records.guard.root) {
            (RootState::Missing { .. } | RootState::Present { empty: true, .. }, _) => false,
            (RootState::Present { identity, .. }, Some(known)) => identity == known,
            (RootState::Present { .. }, None) => true,
        };
        if is_good {
            self.doubtful_since = None;
        } else {
            self.doubtful_since.get_or_insert(world.now());
        }
        self.root = Some(reading.root.clone());
        let declared = &reading.desired;
        self.approved.retain(|object| match object {
            ObjectId::Replica(replica) => declared
                .instances
                .get(&replica.instance)
                .is_none_or(|found| replica.ordinal >= found.spec.replicas),
            ObjectId::Volume { volume, .. } => !declared.volumes.contains_key(volume),
            ObjectId::Image { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => true,
        });
    }

    /// The loop took an event in.
    pub fn after(&mut self, world: &World) {
        if let Some(why) = world.engine.degraded().filter(|why| why.contains("broke a rule")) {
            self.broke(why);
        }
        self.turns.look(world.engine.snapshot(), &world.nodes);
    }

    /// The loop asks for a step.
    pub fn asks(&mut self, world: &World, object: &ObjectId, node: &Name, action: &Action) {
        let verb = action.verb();
        // An intent that was given up is passed over: the steps of a row come in their order.
        let deed = action.deed();
        let row = self.intents.entry(object.clone()).or_default();
        let at = row.iter().position(|(at, intent)| at == node && *intent == deed);
        match at {
            Some(at) => drop(row.drain(..=at)),
            None => self.broke(format!("{verb} {object}: its intent is not durable")),
        }
        if !self.running.insert(object.clone()) {
            self.broke(format!("{verb} {object}: another step of it is in flight"));
        }
        let found = match object {
            ObjectId::Replica(replica) => world.handed.desired.instances.get(&replica.instance),
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => None,
        };
        if found.is_none() {
            self.ending.insert(object.clone());
        } else {
            self.ending.remove(object);
        }
        if let Action::CreateContainer { name, .. } = action {
            self.making.insert(object.clone(), name.clone());
        }
        self.touches(world, node, action);
        self.removes(world, object, action);
        self.makes(world, object, node, action);
    }

    /// The loop has a plan: what it was told is there is not made a second time.
    pub fn planned(&mut self, world: &World) {
        for change in &world.engine.plan().changes {
            if !matches!(change.cause, Cause::Declared | Cause::Missing) {
                continue;
            }
            let Some(engine) = world.nodes.get(&change.node) else { continue };
            let is_there = |name: &str| {
                let mut all = engine.containers.values();
                all.any(|found| found.name == name && found.state != ContainerState::Removing)
            };
            let mut made = self.made.iter().filter(|(_, object)| **object == change.object);
            if let Some((name, object)) = made.find(|(name, _)| is_there(name)) {
                let what =
                    format!("{object} is made since it is {:?}, and {name} is there", change.cause);
                self.broke(what);
            }
        }
    }

    /// What is not ours is not touched.
    fn touches(&mut self, world: &World, node: &Name, action: &Action) {
        let Some(engine) = world.nodes.get(node) else { return };
        let touched = action.container();
        if touched.is_some_and(|name| engine.foreign.iter().any(|foreign| foreign == name)) {
            self.broke(format!("touches what is not ours: {action:?}"));
        }
    }

    /// What is declared is not removed, and nothing is while the directory is in doubt.
    fn removes(&mut self, world: &World, object: &ObjectId, action: &Action) {
        let declared = &world.handed.desired;
        let snapshot = world.engine.snapshot();
        let is_removal = match (object, action) {
            (ObjectId::Replica(replica), Action::RemoveContainer { for_good: true, .. }) => {
                let found = declared.instances.get(&replica.instance);
                if found.is_some_and(|found| replica.ordinal < found.spec.replicas) {
                    self.broke(format!("removes {replica}, which is declared"));
                }
                found.is_none()
            }
            (ObjectId::Volume { volume, .. }, Action::RemoveVolume { .. }) => {
                if declared.volumes.contains_key(volume) {
                    self.broke(format!("removes volume {volume}, which is declared"));
                }
                true
            }
            (
                ObjectId::Replica(_)
                | ObjectId::Volume { .. }
                | ObjectId::Image { .. }
                | ObjectId::Network { .. }
                | ObjectId::Fence { .. }
                | ObjectId::Group { .. },
                _,
            ) => false,
        };
        if let Some(since) =
            self.doubtful_since.filter(|_| is_removal && !self.approved.contains(object))
            && snapshot.in_flight.get(object).is_some_and(|flight| flight.since > since)
        {
            self.broke(format!("removes {object} while the specs directory is {:?}", self.root));
        }
    }

    /// Nothing is made elsewhere while its node does not answer, and nothing that is denied.
    fn makes(&mut self, world: &World, object: &ObjectId, node: &Name, action: &Action) {
        let (ObjectId::Replica(replica), Action::CreateContainer { config, .. }) = (object, action)
        else {
            return;
        };
        let snapshot = world.engine.snapshot();
        let begun = snapshot.in_flight.get(object).map(|flight| flight.since);
        // What leaves a drained node is made before it stops there, and starts after that.
        if let Some(home) = self.homes.get(replica).filter(|home| *home != node)
            && !snapshot.is_drained(home)
            && let Some(Reach::Unreachable { since, .. }) =
                snapshot.nodes.get(home).map(|seen| &seen.reach)
            && begun.is_some_and(|begun| begun > *since)
            && world.nodes.get(home).is_some_and(|engine| {
                engine.containers.values().any(|found| found.identity.replica == *replica)
            })
        {
            self.broke(format!("{replica} is made on {node}, and {home} does not answer"));
        }
        if config.env.contains_key(DENIED) {
            self.broke(format!("{replica} is made, and it is denied"));
        }
    }

    /// Another hand changed something.
    pub fn disturbed(&mut self, world: &World) {
        self.quotas.renew(world);
    }

    /// A node is about to do something. Of what an earlier windlass asked for the loop need not
    /// know.
    pub fn before(
        &mut self,
        world: &World,
        known: bool,
        object: &ObjectId,
        action: &Action,
    ) -> Before {
        let snapshot = world.engine.snapshot();
        self.turns.look(snapshot, &world.nodes);
        let is_of_turns = known && !self.ending.contains(object);
        let turn = is_of_turns.then(|| Turns::before(snapshot, &world.nodes, object)).flatten();
        let sets_group = matches!(action, Action::SetGroup { .. });
        if sets_group && !known {
            self.quotas.came_late();
        }
        let groups = if sets_group { quota::groups(world) } else { quota::Used::default() };
        Before { turn, used: quota::used(world), groups }
    }

    /// It did it, or it did not.
    pub fn done(
        &mut self,
        world: &World,
        before: Before,
        (object, node): (&ObjectId, &Name),
        action: &Action,
    ) {
        let snapshot = world.engine.snapshot();
        if let Some(turn) = before.turn
            && let Some(broken) = self.turns.after(snapshot, &world.nodes, turn, action)
            && !another_looks_ready(snapshot, object, action)
        {
            self.broke(broken);
        }
        self.turns.look(snapshot, &world.nodes);
        if let Action::CreateContainer { name, .. } = action {
            let engine = world.nodes.get(node);
            let all = engine.into_iter().flat_map(|engine| engine.containers.values());
            for found in all.filter(|found| found.name == *name) {
                self.homes.insert(found.identity.replica.clone(), node.clone());
            }
        }
        // A copy that gets the name of what it is a copy of counts from then on.
        let renames = matches!(action, Action::RenameContainer { .. });
        if let Some(broken) = self.quotas.passed(world, &before.used).filter(|_| !renames) {
            self.broke(format!("{} on {node}: {broken}", action.verb()));
        }
        if let Action::SetGroup { .. } = action
            && let Some(broken) = self.quotas.passed_by_groups(world, &before.groups)
        {
            self.broke(broken);
        }
    }
}

/// Whether the loop has to take another container of the replica for ready: what happened to that one
/// meanwhile is news.
fn another_looks_ready(snapshot: &Snapshot, object: &ObjectId, action: &Action) -> bool {
    let ObjectId::Replica(replica) = object else { return false };
    let all = snapshot.containers.get(replica).into_iter().flatten();
    let is_touched =
        |id: &str, name: &str| action.container().is_some_and(|of| of == id || of == name);
    all.filter(|at| !is_touched(&at.id.0, &at.container.name)).any(Located::may_be_ready)
}
