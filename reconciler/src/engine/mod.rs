//! The loop, without the waiting: events come in, effects go out, and nothing else happens.
//!
//! [`Engine::handle`] is synchronous and deterministic, so the production shell and a simulator
//! drive the very same code. Read in this order: [`events`] (what comes in and goes out), this file,
//! [`observe`] (what is seen of nodes), [`health`] (who is asked when), [`last_lines`], [`act`]
//! (rounds, [chains](chain) of steps, and their ends), [`commits`] (what is durable), what policies say ([`policies`] of declarations, [`patches`] that they
//! give to them, [`answers`] of actions and drift, [`scan`] and [`inside`] of what runs, [`facts`] by which they go, [`verdicts`] on record, [`replay`]), [`repeat`] (what is done again and again, and
//! makes no difference), [`audit`] (what is only put on record), [`bound`] (only the steps of a saved plan), [`approval`] (of removals), [`wake`] (when to go on).
//!
//! # What the shell guarantees
//! It performs effects in the order in which they are given; it answers each
//! [`Effect::Commit`], [`Effect::Run`], [`Effect::List`], [`Effect::Inspect`], [`Effect::Probe`], [`Effect::WhoSigned`]
//! [`Effect::ReadLog`] and [`Effect::LookInside`] with exactly one event; and after [`Effect::Round`] it hands over [`Event::Round`] once no other event waits.

mod act;
mod answers;
mod approval;
mod audit;
mod bound;
mod chain;
mod commits;
mod events;
mod facts;
mod health;
mod inside;
mod last_lines;
mod observe;
mod patches;
mod policies;
mod pressure;
mod repeat;
mod replay;
mod scan;
mod verdicts;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::model::cordon::NodeOrder;
use crate::model::desired::{RootState, SpecsChange, SpecsReading};
use crate::model::ids::{Digest, Key, Name, ObjectId, OwnerId, ReplicaKey};
use crate::model::journal::{Entry, PolicySetNote, Stamped, Told};
use crate::model::record::Records;
use crate::model::snapshot::{Config, Snapshot};
use crate::model::spec::Endpoint;
use crate::model::time::Timestamp;
use crate::model::verdicts::Said;
use crate::plan::{Memo, Plan};
use crate::policy::Policies;
use crate::policy::evaluate::Evaluator;
use crate::report::Report;
use crate::rollout::overlay;

pub use self::events::{Effect, Event, Happening, Operator};
pub use self::policies::PolicyReading;

/// Nodes are listed again after this long, give or take a tenth: what events missed is found then.
const RELIST_AFTER: Duration = Duration::from_secs(60);

/// A node that did not answer is tried again after about this long, and twice as long after each
/// further time. Its events say more when they come.
const RETRY_NODE_AFTER: Duration = Duration::from_millis(500);

/// A node is tried again at least this often: to ask costs one connection.
const RETRY_NODE_AFTER_MAX: Duration = Duration::from_secs(30);

/// So many lists of a node are remembered for how long they took: the median of them leaves out one
/// that met a busy moment.
const LATENCIES_KEPT: usize = 5;

/// A journal that could not be written is tried again after this long.
const JOURNAL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// An approval names at least so many digits of the digest that it means: fewer could be another's.
const APPROVAL_DIGITS_MIN: usize = 8;

/// The state of the loop.
#[derive(Debug)]
pub struct Engine {
    snapshot: Snapshot,
    policies: Policies,
    /// Remembers what they said.
    evaluator: Evaluator,
    /// What they have not looked at yet.
    unjudged: policies::Unjudged,
    /// What they said of containers that are about to be made, and of which; until they look at
    /// declarations again.
    sent: BTreeMap<ObjectId, (Digest, Option<Said>)>,
    /// What was seen inside of containers.
    looks: inside::Looks,
    /// What they said of what runs.
    scans: scan::Scans,
    /// Instances that policies gave values to: as they are declared, and what was given.
    patched: BTreeMap<Key, patches::Patched>,
    /// The set of them that is in force.
    policy_set: Option<PolicySetNote>,
    /// What is known of images from outside.
    known: facts::Known,
    /// What is on record of verdicts.
    told: Told,
    plan: Plan,
    report: Report,
    /// Who need not be planned again. Each change of the snapshot is told to it.
    memo: Memo,
    effects: Vec<Effect>,
    chains: BTreeMap<ObjectId, chain::Chain>,
    nodes: BTreeMap<Name, observe::NodeState>,
    /// Where the node `local` listens, if no Node is declared.
    default_endpoint: Endpoint,
    next_seq: u64,
    next_ticket: u64,
    /// Entries that are not known to be durable, oldest first, with the ticket of their commit.
    uncommitted: Vec<(u64, Stamped)>,
    /// Entries that wait to ride on the next commit.
    riding: Vec<Stamped>,
    /// Commits whose answer has not come.
    commits_under_way: u32,
    journal_error: Option<String>,
    /// A commit failed while others were under way behind it: nothing is sent until all of them
    /// were answered.
    journal_drains: bool,
    /// When steps of an object last came to their end, or it was last looked at: older
    /// observations do not count.
    ended_at: BTreeMap<ObjectId, Timestamp>,
    /// When the look at one container was asked for, by node and by the id or name that it was
    /// asked for: older observations of that container do not count. It says nothing of the other
    /// containers of its replica.
    looked_at: BTreeMap<(Name, String), Timestamp>,
    /// What was done to objects of late.
    repeats: BTreeMap<ObjectId, repeat::Repeat>,
    /// What is known of the health of containers.
    health: health::Watched,
    round_wanted: bool,
    /// When the last round wants another one.
    round_at: Option<Timestamp>,
    /// The wake that was last asked for, while it is still to come.
    wake_told: Option<Timestamp>,
    settled_since: Option<Timestamp>,
    violations: Vec<String>,
    specs_read: bool,
    acts: bool,
    bound: bound::Bound,
    /// Once a saved plan is over, nothing more is begun.
    starts_bound: bool,
}

impl Engine {
    /// A loop over these records; `last_seq` is the number of the journal's last entry.
    #[must_use]
    pub fn new(
        config: Config,
        records: Records,
        last_seq: u64,
        policies: Policies,
        default_endpoint: Endpoint,
    ) -> Self {
        let snapshot = Snapshot { config, records, ..Snapshot::default() };
        Self {
            snapshot,
            policies,
            evaluator: Evaluator::default(),
            unjudged: policies::Unjudged::default(),
            sent: BTreeMap::new(),
            looks: inside::Looks::default(),
            scans: scan::Scans::default(),
            patched: BTreeMap::new(),
            policy_set: None,
            known: facts::Known::default(),
            told: Told::default(),
            plan: Plan::default(),
            report: Report::default(),
            memo: Memo::default(),
            effects: Vec::new(),
            chains: BTreeMap::new(),
            nodes: BTreeMap::new(),
            default_endpoint,
            next_seq: last_seq + 1,
            next_ticket: 1,
            uncommitted: Vec::new(),
            riding: Vec::new(),
            commits_under_way: 0,
            journal_error: None,
            journal_drains: false,
            ended_at: BTreeMap::new(),
            looked_at: BTreeMap::new(),
            repeats: BTreeMap::new(),
            health: health::Watched::default(),
            round_wanted: false,
            round_at: None,
            wake_told: None,
            settled_since: None,
            violations: Vec::new(),
            specs_read: false,
            acts: true,
            bound: bound::Bound::default(),
            starts_bound: false,
        }
    }

    /// A loop that looks, plans and does nothing: no step, no decision, no entry.
    #[must_use]
    pub fn looking(mut self) -> Self {
        self.acts = false;
        self
    }

    /// Whether it looks and plans, and does nothing.
    #[must_use]
    pub fn only_looks(&self) -> bool {
        !self.acts
    }

    /// Names the owner, where records have none yet.
    pub fn adopt_owner(&mut self, now: Timestamp, owner: OwnerId) {
        if self.snapshot.records.owner.is_none() {
            self.snapshot.now = now;
            self.record(Entry::Owner { owner });
        }
    }

    /// Takes one event in, and says what shall be done about it.
    #[must_use]
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        if now < self.snapshot.now {
            self.memo.forget();
            self.clock_was_put_back(now);
        }
        self.snapshot.now = now;
        match event {
            Event::Specs(reading) => self.specs(*reading),
            Event::SpecsChanged(change) => self.specs_changed(*change),
            Event::Policies(reading) => self.policies_read(*reading),
            Event::Listed { node, asked_at, result } => self.listed(&node, asked_at, result),
            Event::Inspected { node, container, asked_at, result } => {
                self.inspected(&node, &container, asked_at, result);
            }
            Event::Hint { node, event } => self.hint(&node, event),
            Event::Lost { node, error } => self.unreachable(&node, &error),
            Event::Committed { ticket, result } => self.committed(ticket, result),
            Event::Finished { object, result } => self.finished(object, result),
            Event::Probed { ticket, node, container, result } => {
                self.probed(ticket, node, container, result);
            }
            Event::LookedInside { replica, container, result } => {
                self.looked_inside(replica, container, result);
            }
            Event::LogRead { replica, container, lines } => {
                self.log_read(&replica, &container, lines);
            }
            Event::Pressed(news) => self.pressed(news),
            Event::WhoSigned { image, declared, result } => {
                self.told_who_signed(&image, &declared, result);
            }
            // What is only noted changes nothing of what is planned.
            Event::Operator(Operator::Note { entry, at_once }) => self.note(*entry, at_once),
            Event::Operator(operator) => self.operator(operator),
            Event::Checkout(checkout) => self.stands_at(checkout),
            Event::Wake => self.woken(),
            Event::Round => self.round(),
        }
        std::mem::take(&mut self.effects)
    }

    /// Whether another round is wanted before plan and report are up to date.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.round_wanted
    }

    /// What the last round decided.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the last round found besides.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// All that the next round will decide from.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Why nothing is done at all, if so.
    #[must_use]
    pub fn degraded(&self) -> Option<String> {
        if let Some(error) = &self.journal_error {
            return Some(format!("the journal cannot be written, so nothing is done: {error}"));
        }
        (!self.violations.is_empty()).then(|| {
            format!("the plan broke a rule and was not executed: {}", self.violations.join("; "))
        })
    }

    /// Whether every node has answered or failed once, the specs were read, and whoever was asked
    /// about signatures answered: from then on the report means something.
    #[must_use]
    pub fn is_oriented(&self) -> bool {
        self.specs_read
            && self.known.is_answered()
            && self.snapshot.desired.nodes.keys().all(|node| {
                self.snapshot
                    .nodes
                    .get(node)
                    .is_some_and(|seen| seen.reach != crate::model::observed::Reach::Unseen)
            })
    }

    /// Whether a round would change nothing: nothing is planned, under way, or about to be.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.is_oriented() && !self.round_wanted && self.report.settled && self.chains.is_empty()
    }

    fn specs(&mut self, reading: SpecsReading) {
        let SpecsReading { mut desired, root, texts, broken, files: _, projects: _ } = reading;
        desired.ensure_node(self.default_endpoint.clone());
        self.texts(texts);
        if let RootState::Present { identity, empty: false } = &root
            && self.snapshot.records.guard.root.is_none()
        {
            self.record(Entry::Root { identity: identity.clone() });
        }
        let before: BTreeSet<Name> = self.nodes.keys().cloned().collect();
        for (node, declared) in &desired.nodes {
            let endpoint = declared.spec.endpoint.clone();
            let state = self.nodes.get(node);
            if state.is_none_or(|state| state.endpoint != endpoint) {
                if state.is_some() {
                    self.effects.push(Effect::Disconnect { node: node.clone() });
                }
                self.connect(node, endpoint);
            }
        }
        for node in before.iter().filter(|node| !desired.nodes.contains_key(*node)) {
            // No look at it will come back any more, and what it holds is unknown from now on.
            self.stop_looking(node);
            self.nodes.remove(node);
            self.snapshot.nodes.remove(node);
            self.forget_containers(node);
            self.effects.push(Effect::Disconnect { node: node.clone() });
        }
        self.snapshot.asked.clear();
        self.snapshot.withheld.clear();
        self.patched.clear();
        self.note_protected(&desired);
        self.snapshot.desired = desired;
        self.withdraw_approvals();
        self.unjudged = policies::Unjudged::All;
        self.forget_protected();
        self.lay();
        self.snapshot.root = root;
        self.snapshot.broken = broken;
        self.specs_read = true;
        self.ask_who_signed();
        self.memo.forget();
        self.want_round();
    }

    /// Nodes are the same ones, so nothing is connected or given up.
    fn specs_changed(&mut self, change: SpecsChange) {
        let SpecsChange { objects, texts } = change;
        self.texts(texts);
        if objects.len() == objects.instances.len() {
            objects.instances.keys().for_each(|key| self.memo.touch(key));
        } else {
            self.memo.forget();
        }
        overlay::forget(&mut self.snapshot, &objects);
        self.unjudged.add(&objects);
        objects.links.keys().for_each(|key| drop(self.snapshot.withheld.remove(key)));
        objects.instances.keys().for_each(|key| drop(self.patched.remove(key)));
        self.note_protected(&objects);
        self.snapshot.desired.renew(objects);
        self.ask_who_signed();
        self.lay();
        self.want_round();
    }

    fn texts(&mut self, texts: BTreeMap<Arc<str>, Option<Arc<str>>>) {
        for (file, text) in texts {
            if self.snapshot.records.texts.get(&file) != text.as_ref() {
                self.record(Entry::Text { file, text });
            }
        }
    }

    fn operator(&mut self, operator: Operator) {
        self.memo.forget();
        match operator {
            Operator::Approve { digest } => self.approve(&digest),
            Operator::Down => self.snapshot.down = true,
            Operator::Conclude => self.conclude(),
            Operator::Retry => {
                let records = &self.snapshot.records;
                if records.failures().any(|failure| failure.waits(self.snapshot.now)) {
                    self.record(Entry::Retried);
                }
            }
            Operator::Bind(plan) => self.bind(*plan),
            Operator::Release => self.release(),
            Operator::Suspend { targets, by, why } => {
                for target in targets {
                    self.record(Entry::Suspended { target, by: by.clone(), why: why.clone() });
                }
                self.flush();
            }
            Operator::Resume { targets } => {
                for target in targets {
                    self.record(Entry::Resumed { target });
                }
                self.flush();
            }
            Operator::Node { node, order, by } => {
                let accepts = matches!(order, NodeOrder::Accept { .. });
                self.record(Entry::NodeOrder { node: node.clone(), order, by });
                self.flush();
                if accepts {
                    // What was known of the earlier engine's containers is so no more.
                    self.forget_containers(&node);
                    self.list(&node);
                }
            }
            Operator::Rollout(entry) => {
                self.record(*entry);
                self.lay();
                self.flush();
            }
            Operator::Note { .. } => {}
            Operator::Checkpoint => {
                let records = Box::new(self.snapshot.records.clone());
                self.record(Entry::Checkpoint { records });
                self.flush();
            }
            Operator::Refresh => {
                for node in self.nodes.keys().cloned().collect::<Vec<_>>() {
                    self.refresh(&node);
                }
            }
        }
        self.want_round();
    }

    /// Changes records by an entry, which rides on the next commit.
    fn record(&mut self, entry: Entry) {
        self.remember_change(&entry);
        self.snapshot.records.apply(self.snapshot.now, &entry);
        self.riding.push(Stamped { seq: self.next_seq, at: self.snapshot.now, entry });
        self.next_seq += 1;
    }
}

impl Engine {
    /// Lays what instances went back to over what is declared.
    fn lay(&mut self) {
        let Snapshot { records, asked, .. } = &self.snapshot;
        records.rollouts.keys().chain(asked.keys()).for_each(|key| self.memo.touch(key));
        overlay::lay(&mut self.snapshot);
    }

    /// Has the next round plan whatever an entry changes something for.
    fn remember_change(&mut self, entry: &Entry) {
        match entry {
            Entry::Declared { instance, .. }
            | Entry::Kept { instance, .. }
            | Entry::Linked { instance, .. }
            | Entry::RolledOut { instance, .. }
            | Entry::RolloutFailed { instance, .. }
            | Entry::SetAside { instance, .. }
            | Entry::Undone { instance, .. }
            | Entry::Ahead { instance, .. }
            | Entry::RolloutPaused { instance, .. }
            | Entry::RolloutResumed { instance, .. }
            | Entry::RestartAsked { instance, .. }
            | Entry::Restarted { instance } => self.memo.touch(instance),
            Entry::Placed { replica, .. }
            | Entry::Addressed { replica, .. }
            | Entry::Ended { replica, .. }
            | Entry::Unhealthy { replica }
            | Entry::Healthy { replica }
            | Entry::Gone { replica } => self.memo.touch(&replica.instance),
            Entry::Intent { object, .. }
            | Entry::Done { object, .. }
            | Entry::Failed { object, .. } => self.touch(object),
            // Texts are for the next start, the rest for what is removed, which no memo leaves out.
            Entry::Text { .. }
            | Entry::Protected { .. }
            | Entry::Admitted { .. }
            | Entry::Root { .. }
            | Entry::Settled { .. } => {}
            // Looked at where something is about to be made.
            Entry::Subnet { .. } => {}
            // Nothing follows from these.
            Entry::Asked { .. }
            | Entry::Checkout { .. }
            | Entry::Exec { .. }
            | Entry::ExecEnded { .. }
            | Entry::Pressed { .. }
            | Entry::PolicySet { .. }
            | Entry::Verdict { .. } => {}
            Entry::Checkpoint { .. }
            | Entry::Owner { .. }
            | Entry::Node { .. }
            | Entry::NodeOrder { .. }
            | Entry::LinksBy { .. }
            // Others on the node leave these cpus, or may have them again.
            | Entry::Cores { .. }
            | Entry::Resolved { .. }
            | Entry::Approved { .. }
            | Entry::Retried
            | Entry::Suspended { .. }
            | Entry::Resumed { .. } => self.memo.forget(),
        }
    }

    /// Has the next round plan an object. Images, volumes and networks are looked at by each round
    /// for those that wait for them, and nobody else.
    fn touch(&mut self, object: &ObjectId) {
        if let ObjectId::Replica(replica) = object {
            self.memo.touch(&replica.instance);
        }
    }
}

/// The replica that an id or a name belongs to, as far as the snapshot knows.
fn replica_of<'s>(snapshot: &'s Snapshot, node: &Name, container: &str) -> Option<&'s ReplicaKey> {
    snapshot.containers.iter().find_map(|(replica, located)| {
        let is_it = |at: &&crate::model::snapshot::Located| {
            at.node == *node && (&*at.id.0 == container || at.container.name == container)
        };
        located.iter().find(is_it).map(|_| replica)
    })
}
