//! Decides what to do: one function from a snapshot to a plan and a report.
//!
//! Read in this order: this file (what a plan is, and the walk over all objects), [`replica`] (the
//! life of one replica; [`place`] says where; [`rest`] and [`settle`] are its ends), [`containers`] (which of them is in
//! force), [`quota`] (whether its project has room), [`cores`] (which cpus are its own), [`make`] (another container), [`exchange`] (how it takes the place of one that is there),
//! [`turns`] (how many at once), [`rollout`] (what becomes of a revision), [`slots`] (with which host ports), [`power`] (whether it runs, rests
//! or is started again), [`health`] (what is unhealthy gets another
//! container), [`needs`] (images, volumes and networks that come first), [`dependencies`] (other
//! instances that do), [`links`] (what they bring), [`own_network`] (projects' networks and addresses),
//! [`ranges`] (which ranges networks get), [`fence`] (links in force by rules), [`link_network`] (by
//! networks of their own, where there can be no rules), [`group`] (quotas in the kernel; [`shares`] of nodes), [`drain`] (off a node that shall be empty), [`drift`] (what another hand did, as policy has it), [`removal`] (what is no
//! longer declared, and the guard that holds removals back), [`memo`] (who need not be planned again).

mod containers;
mod cores;
mod dependencies;
mod drain;
mod drift;
mod exchange;
mod fence;
pub mod goal;
mod group;
mod health;
mod link_network;
mod links;
mod make;
mod memo;
mod needs;
mod own_network;
mod place;
mod power;
mod quota;
mod ranges;
mod removal;
mod replica;
mod rest;
pub mod rollout;
mod settle;
mod shares;
mod slots;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::Peekable;

use crate::model::ids::{Digest, ImageName, Key, Name, ObjectId, ReplicaKey};
use crate::model::journal::Entry;
use crate::model::observed::Reach;
use crate::model::record::{InstanceRecord, ReplicaRecord};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::LinkSpec;
use crate::model::spec::policy::{ActionKind, ObjectKind};
use crate::model::suspend::Suspension;
use crate::model::verdicts::Said;
use crate::placement::Load;
use crate::placement::together::Together;
use crate::policy::answers::{Drift, action_of};
use crate::policy::{Policies, Subject, Verdict};
use crate::report::{Note, Reason, Report};
use crate::step::{Action, Cause, Step, StepId};

pub use fence::ways_of;
pub use group::{group_seen, not_yet_held};
pub use link_network::{has_rules, link_network, link_network_spec};
pub use memo::Memo;
pub use own_network::{BRIDGE_PREFIX, address_of, bridge, own_network_spec};
pub use ranges::range_of;
pub use removal::managed;
pub use shares::is_on;

/// What to do, as data. Steps of one object stand in a row; steps of different objects may run at
/// once unless one waits for the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Steps, in an order in which each comes after those that it waits for.
    pub steps: Vec<Step>,
    /// What the steps amount to, one change an object.
    pub changes: Vec<Change>,
    /// Records that follow without a step: placements, resolutions, ends.
    pub decisions: Vec<Entry>,
    /// Drift that was found, where policies are asked about it.
    pub drift: Vec<Drift>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Plans read as text: one line a step. This is what golden cases hold.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

/// What the steps of one object amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub object: ObjectId,
    /// Where.
    pub node: Name,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// Why.
    pub cause: Cause,
    /// Digest of what is wanted of the object: a failure counts against the same wish only, and
    /// steps go on only while it is still the wish.
    pub goal: Digest,
}

/// Why nothing is done, by a verdict.
fn denied(said: Said) -> Reason {
    Reason::Denied { policy: said.policy, message: said.message }
}

/// What kind of change it is; the rows of a rendered plan.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// An image or a volume that something needs.
    Prepare,
    /// There is none, and there shall be one.
    Create,
    /// Its container lives on, with other limits or another name.
    InPlace,
    /// It is started, stopped, frozen or thawed.
    Power,
    /// It ended, and is started again.
    Restart,
    /// Another container takes its place.
    Replace,
    /// Leftovers of it are removed; its container lives on.
    Tidy,
    /// It goes.
    Destroy,
}

/// Decides what to do.
///
/// # Guarantees
/// The same snapshot gives the same plan, whatever order it was put together in. An object gets no
/// step while one of its steps is under way, while its node does not answer, or while policy
/// denies it; the report says so. It cannot fail.
#[must_use]
pub fn plan(snapshot: &Snapshot, policies: &Policies) -> (Plan, Report) {
    plan_again(snapshot, policies, &mut Memo::default())
}

/// As [`plan`], without a look at instances that nothing happened to since the last round with
/// this memo. Whoever keeps the memo tells it of each change of the snapshot.
#[must_use]
pub fn plan_again(snapshot: &Snapshot, policies: &Policies, memo: &mut Memo) -> (Plan, Report) {
    let mut round = Round::new(snapshot, policies);
    round.decide_links_by();
    round.fences();
    round.forsaken_cores();
    round.groups();
    if snapshot.down {
        memo.forget();
    }
    match memo.due(snapshot.now) {
        None => round.walk(memo),
        Some(instances) => round.visit(memo, &instances),
    }
    memo.filled(&mut round.report);
    round.declared_volumes();
    round.undeclared_volumes();
    round.doubled_networks();
    round.undeclared_networks();
    round.removals();
    round.finish()
}

/// A round under way.
struct Round<'a> {
    snapshot: &'a Snapshot,
    policies: &'a Policies,
    plan: Plan,
    report: Report,
    images: BTreeMap<&'a ImageName, needs::ImageState<'a>>,
    needs: BTreeMap<ObjectId, needs::Need>,
    own: own_network::Own,
    ranges: ranges::Ranges,
    by_networks: link_network::ByNetworks<'a>,
    /// The links of each instance that has any.
    links_by_user: BTreeMap<&'a Key, Vec<&'a LinkSpec>>,
    load: Option<Load<'a>>,
    /// Who finds room in the quotas of projects, once somebody asks; never, where there are none.
    admission: quota::Asked<'a>,
    /// Which cpus are whose.
    cores: cores::Cores,
    /// Which instances are on one node, since they are linked.
    together: Together<'a>,
    /// Replicas that were given another node in this round, since theirs is drained.
    moved: BTreeSet<ReplicaKey>,
    /// Of the instance whose replicas are being planned.
    standing: Option<turns::Standing>,
    links: fence::Links<'a>,
    groups: group::GroupsOf,
    undeclared: BTreeMap<ReplicaKey, removal::Undeclared<'a>>,
    candidates: Vec<removal::Candidate>,
    /// A node that is declared and answers: most replicas are on the same one.
    answering: std::cell::RefCell<Option<Name>>,
}

/// A replica's containers beside its key, as the snapshot holds them.
type Group<'a> = Vec<(&'a ReplicaKey, &'a [Located])>;

impl<'a> Round<'a> {
    fn new(snapshot: &'a Snapshot, policies: &'a Policies) -> Self {
        Self {
            snapshot,
            policies,
            plan: Plan::default(),
            report: Report::default(),
            images: BTreeMap::new(),
            needs: BTreeMap::new(),
            own: own_network::Own::default(),
            ranges: ranges::Ranges::default(),
            by_networks: link_network::ByNetworks::default(),
            links_by_user: links::by_user(&snapshot.desired),
            links: fence::Links::of(snapshot),
            groups: group::GroupsOf::default(),
            load: None,
            cores: cores::Cores::of(snapshot),
            admission: quota::Asked::of(&snapshot.desired),
            together: Together::of(&snapshot.desired),
            moved: BTreeSet::new(),
            standing: None,
            undeclared: BTreeMap::new(),
            candidates: Vec::new(),
            answering: std::cell::RefCell::default(),
        }
    }

    /// Walks declarations, records and containers side by side: all three are sorted by key.
    fn walk(&mut self, memo: &mut Memo) {
        let snapshot = self.snapshot;
        let mut records = snapshot.records.instances.iter().peekable();
        let mut containers = snapshot.containers.iter().peekable();
        let mut group: Group<'a> = Vec::new();
        if !snapshot.down {
            for (key, declared) in &snapshot.desired.instances {
                // Hardly ever is anything left over: one look at each says so.
                if records.peek().is_some_and(|(at, _)| *at < key)
                    || containers.peek().is_some_and(|(at, _)| at.instance < *key)
                {
                    self.left_over_before(memo, Some(key), &mut records, &mut containers);
                }
                let record = records.next_if(|(at, _)| *at == key).map(|(_, record)| record);
                group.clear();
                while let Some((replica, located)) =
                    containers.next_if(|(replica, _)| replica.instance == *key)
                {
                    group.push((replica, located));
                }
                let mark = self.mark();
                self.instance(key, declared, record, &group);
                self.remember(memo, key, &mark);
            }
        }
        self.left_over_before(memo, None, &mut records, &mut containers);
    }

    /// Looks at these instances alone. What is left of one that is not declared stands among them.
    fn visit(&mut self, memo: &mut Memo, instances: &[Key]) {
        let snapshot = self.snapshot;
        let mut group: Group<'a> = Vec::new();
        for key in instances {
            let record = snapshot.records.instances.get_key_value(key);
            group.clear();
            group.extend(
                snapshot
                    .containers
                    .range(ReplicaKey::new(key.clone(), 0)..)
                    .take_while(|(replica, _)| replica.instance == *key)
                    .map(|(replica, located)| (replica, &**located)),
            );
            match snapshot.desired.instances.get_key_value(key) {
                Some((key, declared)) => {
                    let mark = self.mark();
                    self.instance(key, declared, record.map(|(_, record)| record), &group);
                    self.remember(memo, key, &mark);
                }
                None => self.left_over(memo, key, record.map(|(_, record)| record), &group),
            }
        }
    }

    /// Notes what stands before `key` in records and containers: no declaration is left for it.
    fn left_over_before(
        &mut self,
        memo: &mut Memo,
        key: Option<&Key>,
        records: &mut Peekable<impl Iterator<Item = (&'a Key, &'a InstanceRecord)>>,
        containers: &mut Peekable<impl Iterator<Item = (&'a ReplicaKey, &'a Vec<Located>)>>,
    ) {
        let is_before = |at: &Key| key.is_none_or(|key| at < key);
        let mut group: Group<'a> = Vec::new();
        loop {
            let recorded = records.peek().map(|(at, _)| *at);
            let held = containers.peek().map(|(at, _)| &at.instance);
            let first = recorded.into_iter().chain(held).min().filter(|first| is_before(first));
            let Some(instance) = first else { return };
            let record = records.next_if(|(at, _)| *at == instance).map(|(_, record)| record);
            group.clear();
            while let Some((replica, located)) =
                containers.next_if(|(replica, _)| replica.instance == *instance)
            {
                group.push((replica, located));
            }
            self.left_over(memo, instance, record, &group);
        }
    }

    /// Notes what is left of an instance that is not declared.
    fn left_over(
        &mut self,
        memo: &mut Memo,
        instance: &Key,
        record: Option<&'a InstanceRecord>,
        group: &Group<'a>,
    ) {
        if record.is_none() && group.is_empty() {
            return;
        }
        memo.note_left_over(instance);
        for (ordinal, replica) in record.into_iter().flat_map(|record| &record.replicas) {
            self.undeclared(ReplicaKey::new(instance.clone(), *ordinal)).record = Some(replica);
        }
        for (replica, located) in group {
            self.undeclared((*replica).clone()).containers = located;
        }
        if group.is_empty() && record.is_some_and(|record| record.replicas.is_empty()) {
            self.decide(Entry::Gone { replica: ReplicaKey::new(instance.clone(), 0) });
        }
    }

    fn undeclared(&mut self, replica: ReplicaKey) -> &mut removal::Undeclared<'a> {
        self.undeclared.entry(replica).or_default()
    }

    /// Adds the steps of one object in a row, unless policy denies one of them.
    ///
    /// The first step waits for `after`, each further one for the one before it.
    fn chain(&mut self, change: Change, actions: Vec<Action>, after: &[StepId]) -> Option<StepId> {
        if let Some(reason) = self.suspended(&change.object) {
            self.wait(&change.object, Some(&change.node), reason);
            return None;
        }
        let action = action_of(&change, &actions);
        let asked =
            action.and_then(|action| self.policies.answers().denial(&change.object, action));
        let makes_one = actions.iter().any(|action| action.created().is_some());
        let sent = || self.policies.answers().of_what_is_sent(&change.object);
        let asked = asked.or_else(|| makes_one.then(sent).flatten());
        if let Some(said) = asked.or_else(|| self.not_admitted(&change)) {
            self.wait(&change.object, Some(&change.node), denied(said));
            return None;
        }
        for action in &actions {
            let subject = Subject::Action { object: &change.object, action };
            if let Verdict::Deny { policy, message } = self.policies.judge(&subject) {
                self.report.counts.denied += 1;
                let reason = Reason::Denied { policy, message };
                self.note(&change.object, Some(&change.node), reason);
                return None;
            }
        }
        let mut after = after.to_vec();
        let mut last = None;
        for action in actions {
            let id = StepId(u32::try_from(self.plan.steps.len()).unwrap_or(u32::MAX - 1) + 1);
            self.plan.steps.push(Step {
                id,
                object: change.object.clone(),
                node: change.node.clone(),
                action,
                cause: change.cause.clone(),
                after: std::mem::replace(&mut after, vec![id]),
            });
            last = Some(id);
        }
        self.count(change.kind);
        self.plan.changes.push(change);
        last
    }

    /// Who says that what is needed and is not there yet shall not come.
    fn not_admitted(&self, change: &Change) -> Option<Said> {
        let (kind, key) = match &change.object {
            ObjectId::Image { image: ImageName::Declared(key), .. } => (ObjectKind::Image, key),
            ObjectId::Volume { volume, .. } => (ObjectKind::Volume, volume),
            ObjectId::Network { network, .. } => (ObjectKind::Network, network),
            ObjectId::Image { image: ImageName::Reference(_), .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. }
            | ObjectId::Replica(_) => return None,
        };
        let is_new = change.kind == ChangeKind::Prepare;
        self.snapshot.verdicts.denial(kind, key).filter(|_| is_new).cloned()
    }

    /// Whether policies deny it that an object is changed in place.
    fn has_no_changes_in_place(&self, object: &ObjectId) -> bool {
        self.policies.answers().denial(object, ActionKind::Update).is_some()
    }

    /// Counts a change that is to be made, now or later.
    fn count(&mut self, kind: ChangeKind) {
        let counts = &mut self.report.counts;
        match kind {
            ChangeKind::Create => counts.add += 1,
            ChangeKind::InPlace | ChangeKind::Power | ChangeKind::Restart => counts.change += 1,
            ChangeKind::Replace => counts.replace += 1,
            ChangeKind::Destroy => counts.destroy += 1,
            ChangeKind::Prepare | ChangeKind::Tidy => {}
        }
    }

    fn note(&mut self, object: &ObjectId, node: Option<&Name>, reason: Reason) {
        let (object, node) = (object.clone(), node.cloned());
        self.report.notes.push(Note { object, node, reason, later: None });
    }

    /// Notes why a replica gets no step now that is to be changed so. One that only waits for others
    /// is changed later.
    fn wait_to(
        &mut self,
        kind: ChangeKind,
        object: &ObjectId,
        node: Option<&Name>,
        reason: Reason,
    ) {
        let waits = matches!(reason, Reason::WaitingOn { .. });
        if !waits || matches!(kind, ChangeKind::Prepare | ChangeKind::Tidy) {
            return self.wait(object, node, reason);
        }
        self.count(kind);
        self.report.counts.later += 1;
        let (object, node, later) = (object.clone(), node.cloned(), Some(kind));
        self.report.notes.push(Note { object, node, reason, later });
    }

    /// Notes why a replica that is not as declared gets no step.
    fn wait(&mut self, object: &ObjectId, node: Option<&Name>, reason: Reason) {
        match &reason {
            Reason::Unknown { .. } | Reason::NodeNotDeclared => self.report.counts.unknown += 1,
            Reason::Denied { .. } => self.report.counts.denied += 1,
            Reason::Held => self.report.counts.held += 1,
            Reason::Suspended { .. } => self.report.counts.suspended += 1,
            Reason::Completed | Reason::Retained | Reason::Failed { .. } | Reason::Stays { .. } => {
                self.report.counts.settled += 1;
            }
            Reason::SetAside { .. } | Reason::Undone { .. } | Reason::RolloutPaused { .. } => {
                self.report.counts.behind += 1;
            }
            Reason::InFlight { .. }
            | Reason::RolloutFailed { .. }
            | Reason::Unplaced { .. }
            | Reason::OverQuota { .. }
            | Reason::WaitingOn { .. }
            | Reason::Stalled { .. }
            | Reason::BackingOff { .. }
            | Reason::Restarting { .. }
            | Reason::Unhealthy { .. }
            | Reason::DriftReported { .. } => self.report.counts.waiting += 1,
        }
        self.note(object, node, reason);
    }

    fn decide(&mut self, entry: Entry) {
        self.plan.decisions.push(entry);
    }

    /// Why nothing can be done on `node` now, if so.
    fn blocked_node(&self, node: &Name) -> Option<Reason> {
        if self.answering.borrow().as_ref() == Some(node) {
            return None;
        }
        if !self.snapshot.desired.nodes.contains_key(node) {
            return Some(Reason::NodeNotDeclared);
        }
        match self.snapshot.nodes.get(node).map(|seen| &seen.reach) {
            Some(Reach::Reachable) => {
                *self.answering.borrow_mut() = Some(node.clone());
                None
            }
            Some(Reach::Unreachable { since, reason }) => {
                Some(Reason::Unknown { since: Some(*since), message: reason.clone() })
            }
            None | Some(Reach::Unseen) => {
                Some(Reason::Unknown { since: None, message: "it has not answered yet".to_owned() })
            }
        }
    }

    /// What is under way for `object`, if anything is.
    fn under_way(&self, object: &ObjectId) -> Option<Reason> {
        let in_flight = self.snapshot.in_flight.get(object)?;
        Some(Reason::InFlight { what: in_flight.what.to_owned() })
    }

    /// Why `object` is left alone, if an operator suspended it.
    fn suspended(&self, object: &ObjectId) -> Option<Reason> {
        let (_, suspension) = self.snapshot.records.suspended.of(object)?;
        let Suspension { at, by, why } = suspension.clone();
        Some(Reason::Suspended { at, by, why })
    }

    fn finish(mut self) -> (Plan, Report) {
        if let Some(at) = self.policies.answers().again_at {
            self.report.wake(at);
        }
        if let Some(at) = self.snapshot.verdicts.wake_at {
            self.report.wake(at);
        }
        self.report.settled = self.plan.steps.is_empty()
            && self.plan.decisions.iter().all(only_notes)
            && self.snapshot.in_flight.is_empty();
        (self.plan, self.report)
    }
}

/// Whether a decision only notes what is so: nothing is planned otherwise for it.
fn only_notes(decision: &Entry) -> bool {
    matches!(decision, Entry::RolledOut { .. })
}

/// The record of one replica.
fn replica_record(record: Option<&InstanceRecord>, ordinal: u32) -> Option<&ReplicaRecord> {
    record.and_then(|record| record.replicas.get(&ordinal))
}
