//! Rounds, and the rows of steps that they bring under way.
//!
//! The steps of one object form a chain. Its intents are made durable together, then its steps run
//! one after the other, each only while what is wanted of the object is what it was planned for.
//! At the end the containers that it touched are looked at, and only then may the object be
//! planned again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::chain::{Chain, ChainState, takes_a_place};
use super::{Effect, Engine, Happening};
use crate::backoff;
use crate::check::check;
use crate::model::ids::{Digest, Key, Name, ObjectId, Revision};
use crate::model::journal::Entry;
use crate::model::record::Failure;
use crate::model::snapshot::{InFlight, Snapshot};
use crate::model::time::Timestamp;
use crate::plan::{self, Change};
use crate::ports::{Done, DriverError, DriverErrorKind};
use crate::rollout::overlay;
use crate::step::{Action, Cause, Step};

impl Engine {
    /// Plans, verifies, and brings what is ready under way.
    pub(super) fn round(&mut self) {
        if !std::mem::take(&mut self.round_wanted) {
            return;
        }
        let now = self.snapshot.now;
        self.judge();
        self.look_inside();
        self.scan();
        self.watch_health();
        self.ask_due();
        self.read_last_lines();
        self.plan_as_allowed();
        self.assert_planned();
        let violations: Vec<String> =
            check(&self.snapshot, &self.plan).into_iter().map(|rule| rule.0).collect();
        if !violations.is_empty() && violations != self.violations {
            let rules = violations.clone();
            self.effects.push(Effect::Tell(Happening::Violated { rules }));
        }
        self.violations = violations;
        self.watch_repeats();
        let may_act = self.acts && self.is_oriented() && self.journal_error.is_none();
        if may_act && self.violations.is_empty() && self.may_begin() {
            for decision in self.plan.decisions.clone() {
                self.tell_of(&decision);
                let decision = self.with_place(decision);
                self.record(decision);
                self.want_round();
            }
            self.lay();
            self.start_chains();
        }
        self.relist_due(now);
        self.watch_settling(now);
        self.effects.push(Effect::Planned);
    }

    /// A build with assertions plans without the memo, too: both must come to the same.
    fn assert_planned(&self) {
        if cfg!(debug_assertions) {
            let (plan, report) = plan::plan(&self.snapshot, &self.policies);
            assert!(
                plan == self.plan && report == self.report,
                "the memo was not told of a change:\n{}{:#?}\ninstead of\n{plan}{report:#?}",
                self.plan,
                self.report
            );
        }
    }

    /// Brings those chains under way whose first step waits for nothing.
    fn start_chains(&mut self) {
        let mut busy: BTreeMap<Name, usize> = BTreeMap::new();
        for chain in self.chains.values().filter(|chain| chain.takes_a_place()) {
            *busy.entry(chain.node.clone()).or_default() += 1;
        }
        let mut rows: Vec<(Change, Vec<Step>)> = Vec::new();
        let mut steps = self.plan.steps.iter().peekable();
        for change in &self.plan.changes {
            let mut row = Vec::new();
            while let Some(step) = steps.next_if(|step| step.object == change.object) {
                row.push(step.clone());
            }
            let is_ready = row.first().is_some_and(|step| step.after.is_empty());
            if is_ready {
                let busy = busy.entry(change.node.clone()).or_default();
                let takes_a_place = row.iter().any(|step| takes_a_place(&step.action));
                if takes_a_place && *busy >= self.snapshot.config.steps_per_node_max {
                    continue;
                }
                *busy += usize::from(takes_a_place);
                rows.push((change.clone(), row));
            }
        }
        rows.retain(|(change, row)| !self.repeats_in_vain(change, row));
        if rows.is_empty() {
            return;
        }
        let ticket = self.next_ticket;
        for (change, row) in rows {
            self.start_chain(&change, row, ticket);
        }
        self.flush();
    }

    fn start_chain(&mut self, change: &Change, row: Vec<Step>, ticket: u64) {
        let cause = change.cause.to_string();
        let makes_another = row.iter().any(|step| step.action.created().is_some());
        if let (Cause::Unhealthy { .. }, ObjectId::Replica(replica), true) =
            (&change.cause, &change.object, makes_another)
        {
            self.record(Entry::Unhealthy { replica: replica.clone() });
        }
        let from = self.snapshot.desired.place_of(&change.object).map(|at| at.to_string().into());
        for step in &row {
            self.record(Entry::Intent {
                object: step.object.clone(),
                node: step.node.clone(),
                deed: step.action.deed(),
                cause: cause.clone(),
                from: Option::clone(&from),
            });
            self.keep_revision(step);
        }
        let signature = super::repeat::signature(change, &row);
        let steps: VecDeque<Action> = row.into_iter().map(|step| step.action).collect();
        let what = steps.front().map_or("nothing", Action::verb);
        let since = self.snapshot.now;
        self.touch(&change.object);
        self.snapshot.in_flight.insert(change.object.clone(), InFlight { what, since });
        let chain = Chain {
            node: change.node.clone(),
            goal: change.goal.clone(),
            signature,
            cause,
            change: change.kind,
            steps,
            state: ChainState::Committing { ticket },
            touched: BTreeSet::new(),
            known: BTreeSet::new(),
            heard_of: BTreeSet::new(),
        };
        self.chains.insert(change.object.clone(), chain);
    }

    /// What is decided about a rollout that failed is told to whoever watches.
    fn tell_of(&mut self, decision: &Entry) {
        let number = |instance: &Key, revision: &Revision| {
            let record = self.snapshot.records.instances.get(instance);
            record.and_then(|record| record.past(revision)).map_or(0, |past| past.number)
        };
        let message = if let Entry::SetAside { instance, revision, to, why, .. } = decision {
            let number = number(instance, revision);
            format!(
                "{instance}: revision {number} failed ({why}); back to revision {to}, and revision \
                 {number} is set aside until its spec changes"
            )
        } else if let Entry::RolloutFailed { instance, revision, why } = decision {
            format!("{instance}: revision {} failed ({why})", number(instance, revision))
        } else {
            return;
        };
        self.effects.push(Effect::Tell(Happening::Attention { message }));
    }

    /// With the first container of a revision goes what is needed to come back to it.
    fn keep_revision(&mut self, step: &Step) {
        let (ObjectId::Replica(replica), Action::CreateContainer { revision, .. }) =
            (&step.object, &step.action)
        else {
            return;
        };
        let Snapshot { records, desired, .. } = &self.snapshot;
        let instance = &replica.instance;
        let past = records.instances.get(instance).and_then(|record| record.past(revision));
        let kept = records.kept.get(instance);
        if past.is_none_or(|past| kept.is_some_and(|kept| kept.contains_key(&past.number))) {
            return;
        }
        let Some(declared) = desired.instances.get(instance) else { return };
        let Some(kept) = overlay::keep(records, declared) else { return };
        let (instance, revision) = (instance.clone(), revision.clone());
        self.record(Entry::Kept { instance, revision, kept });
    }

    /// Runs the first step that is left of a chain, or ends it.
    pub(super) fn next_step(&mut self, object: &ObjectId) {
        let now = self.snapshot.now;
        let still_wanted = |chain: &Chain| {
            plan::goal::now(&self.snapshot, object).is_none_or(|goal| goal == chain.goal)
        };
        let Some(chain) = self.chains.get(object) else { return };
        let go_on = !chain.steps.is_empty() && still_wanted(chain);
        let Some(chain) = self.chains.get_mut(object) else { return };
        let Some(action) = chain.steps.front().filter(|_| go_on).cloned() else {
            self.look(object);
            return;
        };
        chain.state = ChainState::Running { since: now };
        if let Some(container) = action.container().or(action.created()) {
            chain.touched.insert(container.to_owned());
        }
        let verb = action.verb();
        let (node, cause, change) = (chain.node.clone(), chain.cause.clone(), chain.change);
        if let Some(in_flight) = self.snapshot.in_flight.get_mut(object) {
            in_flight.what = verb;
        }
        let object = object.clone();
        let (of, at) = (object.clone(), node.clone());
        let began = Happening::Began { object: of, node: at, verb, cause, change };
        self.effects.push(Effect::Tell(began));
        self.effects.push(Effect::Run { object, node, action });
    }

    pub(super) fn finished(&mut self, object: ObjectId, result: Result<Done, DriverError>) {
        let now = self.snapshot.now;
        let Some(chain) = self.chains.get_mut(&object) else { return };
        let ChainState::Running { since } = chain.state else { return };
        let Some(action) = chain.steps.pop_front() else { return };
        let (node, goal) = (chain.node.clone(), chain.goal.clone());
        let last = chain.steps.is_empty() || result.is_err();
        let over = chain.steps.is_empty().then(|| chain.signature.clone()).flatten();
        let ended = Happening::Ended {
            object: object.clone(),
            node: node.clone(),
            verb: action.verb(),
            error: result.as_ref().err().map(|error| error.message.clone()),
            took: now.since(since),
            last,
            change: chain.change,
        };
        self.effects.push(Effect::Tell(ended));
        match result {
            Ok(done) => {
                self.record(Entry::Done {
                    object: object.clone(),
                    node: node.clone(),
                    deed: action.deed(),
                });
                self.count_off(&object, &node, &action);
                self.take_result(&object, &node, &action, &goal, done);
                if let Some(signature) = over {
                    self.row_is_done(&object, &signature);
                }
                self.next_step(&object);
            }
            Err(error) => {
                chain.steps.clear();
                self.failed(&object, &node, &action, goal, &error);
                self.look(&object);
            }
        }
    }

    fn take_result(
        &mut self,
        object: &ObjectId,
        node: &Name,
        action: &Action,
        goal: &Digest,
        done: Done,
    ) {
        match (object, done) {
            (ObjectId::Image { image, .. }, Done::Image { id, pinned }) => {
                let (image, source, node) = (image.clone(), goal.clone(), node.clone());
                self.record(Entry::Resolved { image, source, node, id, pinned });
            }
            (ObjectId::Replica(replica), done) => {
                if let Done::Container(id) = done
                    && let Some(chain) = self.chains.get_mut(object)
                {
                    chain.known.insert(id.0.to_string());
                }
                if let Action::RemoveContainer { container, .. } = action {
                    if let Some(chain) = self.chains.get_mut(object) {
                        chain.touched.remove(container);
                        chain.known.insert(container.clone());
                    }
                    self.drop_container(replica, node, container);
                }
            }
            (
                ObjectId::Image { .. }
                | ObjectId::Volume { .. }
                | ObjectId::Network { .. }
                | ObjectId::Fence { .. }
                | ObjectId::Group { .. },
                _,
            ) => {}
        }
    }

    fn failed(
        &mut self,
        object: &ObjectId,
        node: &Name,
        action: &Action,
        goal: Digest,
        error: &DriverError,
    ) {
        if error.kind == DriverErrorKind::Unreachable {
            // Not the object's fault: its node is unknown now.
            self.unreachable(node, error);
            return;
        }
        let records = &self.snapshot.records;
        let earlier = match object {
            ObjectId::Replica(replica) => records
                .instances
                .get(&replica.instance)
                .and_then(|record| record.replicas.get(&replica.ordinal))
                .and_then(|record| record.failure.as_ref()),
            ObjectId::Image { image, .. } => {
                records.images.get(image).and_then(|record| record.failures.get(node))
            }
            ObjectId::Volume { volume, .. } => {
                records.volumes.get(volume).and_then(|record| record.failures.get(node))
            }
            ObjectId::Network { network, .. } => {
                records.networks.get(network).and_then(|record| record.failures.get(node))
            }
            ObjectId::Fence { .. } => {
                records.nodes.get(node).and_then(|record| record.failure.as_ref())
            }
            ObjectId::Group { project, .. } => {
                let groups = records.nodes.get(node).map(|record| &record.groups);
                let group = groups.and_then(|groups| groups.get(project));
                group.and_then(|group| group.failure.as_ref())
            }
        };
        let config = &self.snapshot.config;
        let now = self.snapshot.now;
        // One that is long ago is not in a row with this one: what failed then went well since.
        let recent = config.backoff_max * 2;
        let earlier =
            earlier.filter(|failure| failure.goal == goal && now.since(failure.retry_at) <= recent);
        let count = earlier.map_or(0, |failure| failure.count).saturating_add(1);
        let wait = match error.kind {
            // Another state than expected is an outcome: the next look decides. But not for ever.
            DriverErrorKind::NotFound | DriverErrorKind::Conflict if count == 1 => {
                std::time::Duration::ZERO
            }
            DriverErrorKind::NotFound
            | DriverErrorKind::Conflict
            | DriverErrorKind::Refused
            | DriverErrorKind::TimedOut
            | DriverErrorKind::Unreachable => {
                backoff::wait(config.backoff_base, config.backoff_max, count, &object.to_string())
            }
        };
        let failure = Failure {
            goal,
            count,
            at: now,
            retry_at: now + wait,
            step: action.verb().to_owned(),
            message: error.message.clone(),
            name_taken: error.kind == DriverErrorKind::Conflict && action.created().is_some(),
            unstartable: error.kind == DriverErrorKind::Conflict && action.is_called("start"),
        };
        self.record(Entry::Failed { object: object.clone(), node: node.clone(), failure });
    }

    /// Looks at what a chain touched: until that is seen, nothing is planned for its object.
    fn look(&mut self, object: &ObjectId) {
        let now = self.snapshot.now;
        let Some(chain) = self.chains.get_mut(object) else { return };
        let mut waiting = std::mem::take(&mut chain.touched);
        let heard_of = std::mem::take(&mut chain.heard_of);
        waiting.extend(heard_of.into_iter().filter(|id| !chain.known.contains(id)));
        let node = chain.node.clone();
        let list = !matches!(object, ObjectId::Replica(_));
        chain.state = ChainState::Looking { since: now, waiting: waiting.clone(), list };
        self.ended_at.insert(object.clone(), now);
        if list {
            self.list(&node);
        } else if waiting.is_empty() {
            self.forget_chain(object);
            self.want_round();
        }
        for container in waiting {
            self.effects.push(Effect::Inspect { node: node.clone(), container });
        }
    }

    /// Whether an observation of `container` says nothing, since it was asked for too early.
    pub(super) fn may_be_stale(
        &self,
        object: &ObjectId,
        node: &Name,
        container: &str,
        asked_at: Timestamp,
    ) -> bool {
        match self.chains.get(object) {
            Some(chain) => match &chain.state {
                ChainState::Committing { .. } | ChainState::Running { .. } => true,
                ChainState::Looking { since, waiting, .. } => {
                    chain.node != *node || asked_at < *since || !waiting.contains(container)
                }
            },
            None => self.ended_at.get(object).is_some_and(|ended| asked_at < *ended),
        }
    }

    /// A container that a chain touched was looked at.
    pub(super) fn seen_one_after_step(
        &mut self,
        node: &Name,
        container: &str,
        asked_at: Timestamp,
    ) {
        let mut over = Vec::new();
        for (object, chain) in &mut self.chains {
            if let ChainState::Looking { since, waiting, list: false } = &mut chain.state
                && chain.node == *node
                && asked_at >= *since
            {
                waiting.remove(container);
                if waiting.is_empty() {
                    over.push(object.clone());
                }
            }
        }
        for object in over {
            self.forget_chain(&object);
        }
    }

    /// A node was listed: chains whose end it shows are over.
    pub(super) fn seen_after_steps(&mut self, node: &Name, asked_at: Timestamp) {
        let over: Vec<ObjectId> = self
            .chains
            .iter()
            .filter(|(_, chain)| chain.node == *node && chain.is_over_before(asked_at))
            .map(|(object, _)| object.clone())
            .collect();
        let pending = self.chains.values().any(|chain| {
            chain.node == *node
                && matches!(&chain.state, ChainState::Looking { since, list, .. }
                    if *list && asked_at <= *since)
        });
        for object in over {
            self.forget_chain(&object);
        }
        if pending {
            self.list(node);
        }
    }

    /// A node stopped answering: what happened to what was being looked at there is unknown, like
    /// all else on it.
    pub(super) fn stop_looking(&mut self, node: &Name) {
        let over: Vec<ObjectId> = self
            .chains
            .iter()
            .filter(|(_, chain)| {
                chain.node == *node && matches!(chain.state, ChainState::Looking { .. })
            })
            .map(|(object, _)| object.clone())
            .collect();
        for object in over {
            self.forget_chain(&object);
        }
    }

    /// A look at one container failed: a list has to show how the chains on its node ended.
    pub(super) fn look_by_list(&mut self, node: &Name) {
        for chain in self.chains.values_mut().filter(|chain| chain.node == *node) {
            if let ChainState::Looking { list, .. } = &mut chain.state {
                *list = true;
            }
        }
    }

    pub(super) fn forget_chain(&mut self, object: &ObjectId) {
        self.touch(object);
        self.chains.remove(object);
        self.snapshot.in_flight.remove(object);
    }

    /// Results ride on the next commit; where none comes they get one of their own. Settled for a
    /// while, removals are counted anew.
    fn watch_settling(&mut self, now: Timestamp) {
        let settled = self.report.settled && self.is_oriented() && !self.round_wanted;
        if self.journal_error.is_some() {
            // Until it can be written again that is all there is to do.
            self.settled_since = None;
            if self.commits_under_way == 0 {
                self.flush();
            }
        } else if !settled {
            self.settled_since = None;
        } else {
            let since = *self.settled_since.get_or_insert(now);
            let again = since + self.snapshot.config.settled_after;
            let guard = &self.snapshot.records.guard;
            let news = guard.managed != plan::managed(&self.snapshot)
                || !guard.removed.is_empty()
                || guard.approval.is_some();
            if self.report.held.is_none() && news {
                if now >= again {
                    self.conclude();
                } else {
                    self.report.wake(again);
                }
            }
            if !self.riding.is_empty() {
                self.flush();
            }
        }
        let relist = self.nodes.values().filter_map(super::observe::NodeState::relist_due_at).min();
        self.round_at = [self.report.wake_at, relist].into_iter().flatten().min();
        self.wake_told = None;
        self.tell_wake();
    }

    fn relist_due(&mut self, now: Timestamp) {
        let due: Vec<Name> = self
            .nodes
            .iter()
            .filter(|(_, state)| state.relist_at <= now)
            .map(|(node, _)| node.clone())
            .collect();
        for node in due {
            self.list(&node);
        }
    }
}
