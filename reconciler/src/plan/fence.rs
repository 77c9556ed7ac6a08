//! Links in force: the rules of each node, and the names that those who are linked know.
//!
//! Rules are made of addresses that records and containers have, so they are known before a
//! container is there; one that talks over a link is made once its rules are seen in force. An
//! address is free again when no rule and no name means it any more.

use core::net::Ipv4Addr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::goal::revision_now;
use super::own_network::{address_of, bridge};
use super::replica::Replica;
use super::{Change, ChangeKind, Round, goal};
use crate::model::fence::{Fence, HostNames, Rules, Way, chain};
use crate::model::ids::{Key, Name, ObjectId, ReplicaKey};
use crate::model::observed::{ContainerState, Reach};
use crate::model::record::Failure;
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::LinkSpec;
use crate::report::Reason;
use crate::step::{Action, Cause, FieldChange};
use crate::want;

/// What a failure to tell names is called.
const SET_HOSTS: &str = "set hosts";

/// What this round knows of links.
#[derive(Debug, Default)]
pub(super) struct Links<'a> {
    /// By who talks.
    by_user: BTreeMap<&'a Key, Vec<&'a LinkSpec>>,
    /// The rules that each node shall have.
    wanted: BTreeMap<&'a Name, Rules>,
}

impl<'a> Links<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut links = Self::default();
        if snapshot.down {
            return links;
        }
        for declared in snapshot.desired.links.values() {
            let spec = &*declared.spec;
            links.by_user.entry(&spec.from).or_default().push(spec);
        }
        links
    }

    /// Whether an instance talks over a link.
    pub(super) fn talks(&self, instance: &Key) -> bool {
        self.by_user.contains_key(instance)
    }
}

impl<'a> Round<'a> {
    /// Brings the rules of each node to what links say.
    pub(super) fn fences(&mut self) {
        let snapshot = self.snapshot;
        for (node, seen) in &snapshot.nodes {
            if self.by_networks.holds(node) {
                continue;
            }
            let is_bare =
                matches!(&seen.fence, Fence::InForce { rules, intact: true } if rules.is_empty());
            if snapshot.desired.links.is_empty() && is_bare || seen.reach != Reach::Reachable {
                continue;
            }
            let wanted = self.wanted_rules(node);
            self.fence(node, &seen.fence, &wanted);
            self.links.wanted.insert(node, wanted);
        }
    }

    fn fence(&mut self, node: &'a Name, fence: &Fence, wanted: &Rules) {
        let snapshot = self.snapshot;
        let object = ObjectId::Fence { node: node.clone() };
        let (rules, intact) = match fence {
            Fence::InForce { rules, intact } => (rules, *intact),
            Fence::Unknown { reason } | Fence::Elsewhere { reason } => {
                if !wanted.open.is_empty() {
                    let message = format!("links are not in force on node {node}: {reason}");
                    self.wait(&object, Some(node), Reason::Stalled { message });
                }
                return;
            }
        };
        if intact && rules == wanted || self.under_way(&object).is_some() {
            return;
        }
        if self.blocked_node(node).is_some() {
            return;
        }
        let record = snapshot.records.nodes.get(node);
        let goal = wanted.digest();
        let failure = record.and_then(|record| record.failure.as_ref());
        if let Some(failure) = failure.filter(|failure| failure.goal == goal)
            && failure.waits(snapshot.now)
        {
            self.report.wake(failure.retry_at);
            return self.wait(&object, Some(node), super::needs::backing_off(failure));
        }
        let Some(owner) = &snapshot.records.owner else { return };
        let fields = changes(rules, wanted);
        let was_asked_for =
            record.and_then(|record| record.rules.as_ref()).is_some_and(|asked| *asked == goal);
        let cause = if was_asked_for || !intact {
            Cause::Drifted { fields }
        } else {
            Cause::Changed { fields }
        };
        let action = Action::SetRules { chain: chain(owner), rules: wanted.clone() };
        let (node, kind) = (node.clone(), ChangeKind::InPlace);
        self.chain(Change { object, node, kind, cause, goal }, vec![action], &[]);
    }

    /// The rules that a node shall have.
    fn wanted_rules(&self, node: &Name) -> Rules {
        let snapshot = self.snapshot;
        let mut rules = Rules::default();
        let links = snapshot.desired.links.values().filter(|_| !snapshot.down);
        let mut known: BTreeMap<&Key, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        for declared in links {
            let link = &*declared.spec;
            for end in [&link.from, &link.to] {
                known.entry(end).or_insert_with(|| addresses(snapshot, node, end));
            }
            if let (Some(talkers), Some(targets)) = (known.get(&link.from), known.get(&link.to)) {
                rules.open.extend(ways(snapshot, node, link, talkers, targets));
            }
        }
        let seen = snapshot.nodes.get(node);
        let present = match seen.map(|seen| &seen.fence) {
            Some(Fence::InForce { rules, .. }) => Some(rules),
            Some(Fence::Unknown { .. } | Fence::Elsewhere { .. }) | None => None,
        };
        // From a project's first link on, what was open once is cut off where it is open no longer.
        for held in seen.into_iter().flat_map(|seen| seen.networks.values()) {
            let Some(bridge) = bridge(held) else { continue };
            let project = &held.network.project;
            if !rules.name(bridge) && !present.is_some_and(|present| present.name(bridge)) {
                continue;
            }
            if self.needs_own_network(project, node) || is_used(snapshot, node, project) {
                rules.closed.insert(Arc::from(bridge));
            }
        }
        rules
    }

    /// Whether the rules that a new container at `address` talks by are in force, or nobody can
    /// tell. `is_new` if the address was given out just now: nothing is known of it yet.
    pub(super) fn rules_first(
        &mut self,
        replica: &Replica<'_, '_>,
        address: Option<Ipv4Addr>,
        is_new: bool,
    ) -> Result<(), Reason> {
        let Some(address) = address.filter(|_| self.links.talks(&replica.key.instance)) else {
            return Ok(());
        };
        let fence = self.snapshot.nodes.get(replica.node).map(|seen| &seen.fence);
        let fence = fence.filter(|_| !self.by_networks.holds(replica.node));
        let Some(Fence::InForce { rules, .. }) = fence else {
            return Ok(());
        };
        let wanted = self.links.wanted.get(replica.node);
        let missing = wanted.is_some_and(|wanted| {
            wanted.open.iter().any(|way| way.from == address && !rules.open.contains(way))
        });
        if is_new || missing {
            // The rules are made of what is recorded.
            self.record_address(replica.key);
            return Err(Reason::WaitingOn { what: format!("the rules of node {}", replica.node) });
        }
        Ok(())
    }

    /// Whether rules that were seen still name a network's bridge: they go before it does.
    pub(super) fn has_rules_of(&self, node: &Name, network: &Key) -> bool {
        let snapshot = self.snapshot;
        let Some(seen) = snapshot.nodes.get(node) else { return false };
        let Fence::InForce { rules, .. } = &seen.fence else { return false };
        let failed =
            snapshot.records.nodes.get(node).is_some_and(|record| record.failure.is_some());
        let bridge = seen.networks.get(&network.engine_name()).and_then(bridge);
        !failed && bridge.is_some_and(|bridge| rules.name(bridge))
    }

    /// The names that containers of an instance shall know on a node, and know by now; `None` where they
    /// cannot be told them. They lead to who is ready. Who was, and may be: after a restart of windlass
    /// it takes a while to know, and until then names stay. Of a replica that has two ready containers
    /// the one that stays is named, so that nobody is led to the other one when it ends.
    fn host_names(&self, key: &Key, node: &Name, present: &HostNames) -> Option<HostNames> {
        let snapshot = self.snapshot;
        let declared = snapshot.desired.instances.get(key)?;
        if !want::is_on_own_network(&declared.spec) {
            return None;
        }
        let mut names = HostNames::new();
        if self.by_networks.holds(node) {
            // The engine's names lead to another network.
            return Some(names);
        }
        for link in self.links.by_user.get(key).into_iter().flatten() {
            let target = snapshot.desired.instances.get(&link.to);
            let wanted = target.and_then(|target| {
                revision_now(&snapshot.desired, &snapshot.records, &link.to, target)
            });
            let named = present.get(&link.alias);
            let is_named = |address: &Ipv4Addr| named.is_some_and(|named| named.contains(address));
            let first = ReplicaKey::new(link.to.clone(), 0);
            let replicas = snapshot.containers.range(first..);
            let known: BTreeSet<Ipv4Addr> = replicas
                .take_while(|(replica, _)| replica.instance == link.to)
                .filter_map(|(_, located)| {
                    let here = located.iter().filter(|at| at.node == *node);
                    let known = here.filter_map(|at| Some((at, address_of(at)?))).filter(
                        |(at, address)| at.may_be_ready() || at.starts() && is_named(address),
                    );
                    known.max_by_key(|(at, _)| {
                        let identity = &at.container.identity;
                        let is_current = wanted.as_ref() == Some(&identity.revision);
                        (at.may_be_ready(), is_current, identity.incarnation, &at.id)
                    })
                })
                .map(|(_, address)| address)
                .collect();
            if !known.is_empty() {
                names.entry(link.alias.clone()).or_default().extend(known);
            }
        }
        Some(names)
    }

    /// What tells a container that runs the names that it shall know, if it knows others.
    pub(super) fn renames(&self, key: &Key, at: &Located) -> Option<(FieldChange, Action)> {
        let ContainerState::Running { .. } = at.container.state else { return None };
        let present = at.container.hosts.as_ref()?;
        if present.is_empty() && !self.links.talks(key) {
            return None;
        }
        let wanted = self.host_names(key, &at.node, present)?;
        if *present == wanted {
            return None;
        }
        let words = |names: &HostNames| {
            let list: Vec<String> = names
                .iter()
                .map(|(name, known)| {
                    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
                    format!("{name}={}", known.join("+"))
                })
                .collect();
            if list.is_empty() { "none".to_owned() } else { list.join(" ") }
        };
        let field =
            FieldChange { field: "hosts".to_owned(), from: words(present), to: words(&wanted) };
        let container = at.id.0.to_string();
        Some((field, Action::SetHosts { container, names: wanted }))
    }

    /// Tells all containers of a replica that run the names that they shall know, in a row of its
    /// own: whatever else the replica waits for, others wait until it knows them.
    pub(super) fn rename_all(&mut self, key: &ReplicaKey, containers: &[Located]) {
        let object = ObjectId::Replica(key.clone());
        let (mut fields, mut actions) = (Vec::new(), Vec::new());
        let mut on: Option<&Name> = None;
        for at in containers {
            if on.is_none_or(|node| *node == at.node)
                && let Some((field, action)) = self.renames(&key.instance, at)
            {
                on = Some(&at.node);
                fields.push(field);
                actions.push(action);
            }
        }
        let Some(node) = on else { return };
        let snapshot = self.snapshot;
        if self.under_way(&object).is_some()
            || self.suspended(&object).is_some()
            || self.blocked_node(node).is_some()
        {
            return;
        }
        let Some(goal) = goal::now(snapshot, &object) else { return };
        if let Some(failure) = self.cannot_be_told(key) {
            return self.report.wake(failure.retry_at);
        }
        let (node, kind, cause) = (node.clone(), ChangeKind::InPlace, Cause::Changed { fields });
        self.chain(Change { object, node, kind, cause, goal }, actions, &[]);
    }

    /// The failure for which a replica is not told names now.
    fn cannot_be_told(&self, key: &ReplicaKey) -> Option<&'a Failure> {
        let snapshot = self.snapshot;
        let record = snapshot.records.instances.get(&key.instance)?;
        let failure = record.replicas.get(&key.ordinal)?.failure.as_ref()?;
        (failure.step == SET_HOSTS && failure.waits(snapshot.now)).then_some(failure)
    }

    /// Why a container shall not be stopped yet: somebody who talks to it still knows it by name, and
    /// is about to be told of another one. Who cannot be told is not waited for.
    pub(super) fn is_named(&self, instance: &Key, going: &Located) -> Option<Reason> {
        let address = address_of(going).filter(|_| going.may_be_ready())?;
        let snapshot = self.snapshot;
        let users = snapshot.desired.links.values().filter(|link| link.spec.to == *instance);
        for user in users.map(|link| &link.spec.from) {
            let replicas = snapshot.desired.instances.get(user)?.spec.replicas;
            let range = ReplicaKey::new(user.clone(), 0)..ReplicaKey::new(user.clone(), replicas);
            for (key, containers) in snapshot.containers.range(range) {
                let knows = |at: &Located| {
                    let names = at.container.hosts.as_ref();
                    let runs = matches!(at.container.state, ContainerState::Running { .. });
                    let known = names.into_iter().flat_map(BTreeMap::values).flatten();
                    runs && at.node == going.node && known.into_iter().any(|of| *of == address)
                };
                let is_left_alone = || {
                    self.suspended(&ObjectId::Replica(key.clone())).is_some()
                        || self.cannot_be_told(key).is_some()
                };
                if containers.iter().any(knows) && !is_left_alone() {
                    let what = format!("{key} to know {} no more", going.container.name);
                    return Some(Reason::WaitingOn { what });
                }
            }
        }
        None
    }

    /// The step that tells a container the names that it shall know, right after its start: its
    /// engine has just written that file anew.
    pub(super) fn names_after_start(
        &self,
        replica: &Replica<'_, '_>,
        container: &str,
    ) -> Option<Action> {
        if !self.links.talks(&replica.key.instance) {
            return None;
        }
        let fence = self.snapshot.nodes.get(replica.node).map(|seen| &seen.fence)?;
        let Fence::InForce { .. } = fence else { return None };
        let names = self.host_names(&replica.key.instance, replica.node, &HostNames::new())?;
        if names.is_empty() {
            return None;
        }
        Some(Action::SetHosts { container: container.to_owned(), names })
    }
}

/// What makes rules others than those that are wanted.
fn changes(present: &Rules, wanted: &Rules) -> Vec<FieldChange> {
    let change = |field: &str, from: String, to: String| {
        let field = field.to_owned();
        FieldChange { field, from, to }
    };
    let count = |number: usize, noun: &str| {
        format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
    };
    let mut fields = Vec::new();
    if present.open != wanted.open {
        let new = wanted.open.difference(&present.open).count();
        let all = wanted.open.len();
        let to = match new {
            0 => count(all, "way"),
            new if new == all && present.open.is_empty() => count(all, "way"),
            new => format!("{}, {new} of them new", count(all, "way")),
        };
        fields.push(change("open", count(present.open.len(), "way"), to));
    }
    if present.closed != wanted.closed {
        let networks = |rules: &Rules| count(rules.closed.len(), "network");
        fields.push(change("fenced", networks(present), networks(wanted)));
    }
    if fields.is_empty() {
        fields.push(change("rules", "another hand's".to_owned(), "as declared".to_owned()));
    }
    fields
}

/// The ways that a link opens on a node.
#[must_use]
pub fn ways_of(snapshot: &Snapshot, node: &Name, link: &LinkSpec) -> BTreeSet<Way> {
    let talkers = addresses(snapshot, node, &link.from);
    let targets = addresses(snapshot, node, &link.to);
    ways(snapshot, node, link, &talkers, &targets)
}

fn ways(
    snapshot: &Snapshot,
    node: &Name,
    link: &LinkSpec,
    talkers: &BTreeSet<Ipv4Addr>,
    targets: &BTreeSet<Ipv4Addr>,
) -> BTreeSet<Way> {
    let mut ways = BTreeSet::new();
    if talkers.is_empty() || targets.is_empty() {
        return ways;
    }
    // Before its network is there nobody can be on it.
    let (Some(from_bridge), Some(to_bridge)) =
        (bridge_of(snapshot, node, &link.from), bridge_of(snapshot, node, &link.to))
    else {
        return ways;
    };
    for port in &link.ports {
        let pairs = talkers.iter().flat_map(|from| targets.iter().map(move |to| (*from, *to)));
        for (from, to) in pairs.filter(|(from, to)| from != to) {
            ways.insert(Way {
                from_bridge: Arc::clone(&from_bridge),
                from,
                to_bridge: Arc::clone(&to_bridge),
                to,
                port: port.port,
                protocol: port.protocol,
            });
        }
    }
    ways
}

/// The addresses that an instance has on a node, or is about to have.
fn addresses(snapshot: &Snapshot, node: &Name, instance: &Key) -> BTreeSet<Ipv4Addr> {
    let declared = snapshot.desired.instances.get(instance);
    let Some(declared) = declared.filter(|one| want::is_on_own_network(&one.spec)) else {
        return BTreeSet::new();
    };
    let record = snapshot.records.instances.get(instance);
    let recorded = record
        .into_iter()
        .flat_map(|record| record.replicas.range(..declared.spec.replicas))
        .filter(|(_, replica)| replica.node.as_ref() == Some(node))
        .filter_map(|(_, replica)| replica.address);
    let containers = snapshot.containers.range(ReplicaKey::new(instance.clone(), 0)..);
    let held = containers
        .take_while(|(replica, _)| replica.instance == *instance)
        .flat_map(|(_, located)| located)
        .filter(|at| at.node == *node && at.container.state != ContainerState::Removing)
        .filter_map(address_of);
    recorded.chain(held).collect()
}

/// The bridge of an instance's project on a node.
fn bridge_of(snapshot: &Snapshot, node: &Name, instance: &Key) -> Option<Arc<str>> {
    let network = Key::own_network(&instance.project).engine_name();
    let held = snapshot.nodes.get(node)?.networks.get(&network)?;
    bridge(held).map(Arc::from)
}

/// Whether a container is on its project's own network on a node.
fn is_used(snapshot: &Snapshot, node: &Name, project: &Name) -> bool {
    let first = ReplicaKey::new(Key::first_of(project), 0);
    let containers = snapshot.containers.range(first..);
    containers
        .take_while(|(replica, _)| replica.instance.project == *project)
        .flat_map(|(_, located)| located)
        .any(|at| at.node == *node && address_of(at).is_some())
}
