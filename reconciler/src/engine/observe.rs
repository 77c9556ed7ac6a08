//! What is seen of nodes. An observation counts from the moment at which it was asked for: of an
//! object whose step was under way then, or came to its end later, it says nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::chain::{Chain, ChainState};
use super::{
    Effect, Engine, Happening, LATENCIES_KEPT, RELIST_AFTER, RETRY_NODE_AFTER,
    RETRY_NODE_AFTER_MAX, replica_of,
};
use crate::backoff;
use crate::model::ids::{ContainerId, Name, ObjectId, ReplicaKey};
use crate::model::journal::Entry;
use crate::model::observed::{NodeListing, ObservedContainer, Reach};
use crate::model::snapshot::Located;
use crate::model::spec::Endpoint;
use crate::model::time::Timestamp;
use crate::ports::{DriverError, DriverErrorKind, NodeEvent, Write};
use crate::want;

/// What the loop knows of a node besides what it observed.
#[derive(Debug)]
pub(super) struct NodeState {
    pub(super) endpoint: Endpoint,
    /// A list was asked for and has not come.
    listing: bool,
    /// Another list is wanted after that.
    list_again: bool,
    /// So many lists have to come before it is known how it stands since an operator asked. One that
    /// fails says so for all of them.
    lists_due: u8,
    pub(super) relist_at: Timestamp,
    /// Lists that failed in a row.
    failures: u32,
    /// How long the last lists took, in milliseconds, the latest one last.
    latencies: VecDeque<u64>,
    /// When it was connected to, or stopped answering: what was asked for before was asked of another
    /// endpoint, or misses what was done since and is looked at by nobody any more.
    trusted_since: Timestamp,
    /// When the last list was asked for that was taken in.
    listed_at: Timestamp,
    /// Containers that are being inspected because of a hint.
    inspecting: BTreeSet<String>,
    /// Of these, those for which another hint came meanwhile.
    inspect_again: BTreeSet<String>,
}

impl NodeState {
    pub(super) fn clock_was_put_back(&mut self, now: Timestamp) {
        self.trusted_since = self.trusted_since.min(now);
        self.listed_at = self.listed_at.min(now);
        self.relist_at = self.relist_at.min(now + RELIST_AFTER);
    }

    /// How long a list takes, in milliseconds.
    fn latency(&self) -> Option<u64> {
        let mut all: Vec<u64> = self.latencies.iter().copied().collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    /// When it has to be listed again, unless a list is on its way.
    pub(super) fn relist_due_at(&self) -> Option<Timestamp> {
        (!self.listing).then_some(self.relist_at)
    }
}

impl Engine {
    pub(super) fn connect(&mut self, node: &Name, endpoint: Endpoint) {
        self.stop_looking(node);
        let state = NodeState {
            endpoint: endpoint.clone(),
            listing: false,
            list_again: false,
            lists_due: 0,
            relist_at: self.snapshot.now + RELIST_AFTER,
            failures: 0,
            latencies: VecDeque::new(),
            trusted_since: self.snapshot.now,
            listed_at: Timestamp(0),
            inspecting: BTreeSet::new(),
            inspect_again: BTreeSet::new(),
        };
        self.nodes.insert(node.clone(), state);
        self.memo.forget();
        self.snapshot.nodes.entry(node.clone()).or_default().reach = Reach::Unseen;
        self.effects.push(Effect::Connect { node: node.clone(), endpoint });
    }

    /// Asks for a list that somebody waits for.
    pub(super) fn refresh(&mut self, node: &Name) {
        if let Some(state) = self.nodes.get_mut(node) {
            // One that is on its way says how it was before.
            state.lists_due = if state.listing { 2 } else { 1 };
        }
        self.list(node);
    }

    /// Whether each node has answered, or failed to, since an operator last asked how it stands.
    #[must_use]
    pub fn is_refreshed(&self) -> bool {
        self.nodes.values().all(|state| state.lists_due == 0)
    }

    /// Asks for a list, or for another one if one is on its way.
    pub(super) fn list(&mut self, node: &Name) {
        let Some(state) = self.nodes.get_mut(node) else { return };
        if state.listing {
            state.list_again = true;
            return;
        }
        state.listing = true;
        self.effects.push(Effect::List { node: node.clone() });
    }

    pub(super) fn hint(&mut self, node: &Name, event: NodeEvent) {
        match event {
            NodeEvent::Opened
            | NodeEvent::Images
            | NodeEvent::Volumes
            | NodeEvent::Networks
            | NodeEvent::Rules
            | NodeEvent::Groups => self.list(node),
            NodeEvent::Container { id, replica } => {
                let replica = replica.or_else(|| replica_of(&self.snapshot, node, &id.0).cloned());
                let object = replica.map(ObjectId::Replica);
                let chain = object.and_then(|object| self.chains.get_mut(&object));
                let id = id.0.to_string();
                match chain.filter(|chain| chain.node == *node) {
                    None => self.inspect_hinted(node, id),
                    Some(chain) => match &mut chain.state {
                        // It is looked at when the chain has come to its end.
                        ChainState::Committing { .. } | ChainState::Running { .. } => {
                            chain.heard_of.insert(id);
                        }
                        // That look is on its way, and may have missed this.
                        ChainState::Looking { waiting, .. } => {
                            waiting.insert(id.clone());
                            self.inspect_hinted(node, id);
                        }
                    },
                }
            }
        }
    }

    fn inspect_hinted(&mut self, node: &Name, container: String) {
        let Some(state) = self.nodes.get_mut(node) else { return };
        if !state.inspecting.insert(container.clone()) {
            state.inspect_again.insert(container);
            return;
        }
        self.effects.push(Effect::Inspect { node: node.clone(), container });
    }

    pub(super) fn unreachable(&mut self, node: &Name, error: &DriverError) {
        let now = self.snapshot.now;
        self.memo.forget();
        let Some(seen) = self.snapshot.nodes.get_mut(node) else { return };
        let since = match &seen.reach {
            Reach::Unreachable { since, .. } => *since,
            Reach::Unseen | Reach::Reachable => now,
        };
        let news = !matches!(&seen.reach, Reach::Unreachable { .. });
        seen.reach = Reach::Unreachable { since, reason: error.message.clone() };
        // Its event stream may be alive, and tell nothing of its being back.
        if let Some(state) = self.nodes.get_mut(node) {
            state.trusted_since = now;
            state.inspecting.clear();
            state.inspect_again.clear();
            let attempt = state.failures.max(1);
            let span = backoff::span(RETRY_NODE_AFTER, RETRY_NODE_AFTER_MAX, attempt);
            // Half of it is jitter: nodes that were lost together are not asked together.
            let jitter = backoff::wait(span / 2, span / 2, 1, &format!("{node} {}", now.0));
            state.relist_at = state.relist_at.min(now + span / 2 + jitter);
        }
        self.stop_looking(node);
        if news {
            let (node, error) = (node.clone(), Some(error.message.clone()));
            self.effects.push(Effect::Tell(Happening::Node { node, error }));
        }
        self.want_round();
    }

    pub(super) fn listed(
        &mut self,
        node: &Name,
        asked_at: Timestamp,
        result: Result<Box<NodeListing>, DriverError>,
    ) {
        let now = self.snapshot.now;
        let Some(state) = self.nodes.get_mut(node) else { return };
        state.listing = false;
        // Asked of an earlier endpoint, before it stopped answering, or by a clock that has been put
        // back since: it cannot be told how old this is.
        if asked_at <= state.trusted_since || asked_at > now {
            state.list_again = false;
            self.list(node);
            return;
        }
        let jitter =
            backoff::wait(RELIST_AFTER / 5, RELIST_AFTER / 5, 1, &format!("{node} {}", now.0));
        state.relist_at = now + RELIST_AFTER - RELIST_AFTER / 10 + jitter;
        let again = std::mem::take(&mut state.list_again);
        state.lists_due = if result.is_ok() { state.lists_due.saturating_sub(1) } else { 0 };
        match result {
            Ok(listing) => {
                let took = u64::try_from(now.since(asked_at).as_millis()).unwrap_or(u64::MAX);
                state.latencies.push_back(took);
                if state.latencies.len() > LATENCIES_KEPT {
                    state.latencies.pop_front();
                }
                self.take_listing(node, asked_at, *listing);
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                self.unreachable(node, &error);
            }
        }
        if again {
            self.list(node);
        }
    }

    fn take_listing(&mut self, node: &Name, asked_at: Timestamp, listing: NodeListing) {
        let NodeListing { engine, containers, foreign, images, volumes, networks, fence, groups } =
            listing;
        if let Some(state) = self.nodes.get_mut(node) {
            state.failures = state.failures.saturating_add(1);
        }
        if !self.is_our_engine(node, &engine.id) {
            return;
        }
        self.memo.forget();
        self.scans.touch_all();
        let latency = self.nodes.get_mut(node).and_then(|state| {
            state.failures = 0;
            state.listed_at = asked_at;
            state.latency()
        });
        let Some(seen) = self.snapshot.nodes.get_mut(node) else { return };
        let news = seen.reach != Reach::Reachable;
        seen.reach = Reach::Reachable;
        seen.another = None;
        seen.latency_ms = latency;
        seen.engine = Some(engine);
        seen.seen_at = asked_at;
        seen.foreign = foreign;
        let other_images = seen.images != images;
        seen.images = images;
        seen.volumes = volumes;
        seen.networks = networks;
        seen.fence = fence;
        seen.groups = groups;
        if other_images {
            self.images_changed();
        }
        self.effects
            .push(Effect::Store(vec![Write::ObservedAll(node.clone(), containers.clone())]));
        self.replace_containers(node, asked_at, containers);
        self.ended_at.retain(|_, ended| *ended >= asked_at);
        self.looked_at.retain(|(at, _), looked| at != node || *looked >= asked_at);
        // What waited for a look at this node has had it.
        self.seen_after_steps(node, asked_at);
        if news {
            let (node, error) = (node.clone(), None);
            self.effects.push(Effect::Tell(Happening::Node { node, error }));
        }
        self.want_round();
    }

    /// Whether the engine that answers is the one that the node has always been.
    fn is_our_engine(&mut self, node: &Name, engine: &str) -> bool {
        let Some(state) = self.nodes.get(node) else { return false };
        let recorded =
            self.snapshot.records.nodes.get(node).and_then(|record| record.engine.clone());
        let records = &self.snapshot.records.nodes;
        let twin = self.snapshot.desired.nodes.keys().find(|other| {
            *other != node
                && records.get(*other).and_then(|record| record.engine.as_deref()) == Some(engine)
        });
        if let Some(twin) = twin {
            // Each container would be there twice, and one of them too many.
            let message = format!(
                "the engine at {} is the one of node {twin}: one engine is one node; remove one of \
                 the two declarations",
                state.endpoint
            );
            let kind = DriverErrorKind::Refused;
            self.unreachable(node, &DriverError { kind, message });
            return false;
        }
        match recorded {
            Some(recorded) if recorded != engine => {
                let message = format!(
                    "another engine ({engine}) answers at {} than before ({recorded}); its \
                     containers are left alone. Bring the earlier engine back, declare this one as \
                     a node of another name, or take it in its place: windlass node accept {node}",
                    state.endpoint
                );
                let kind = DriverErrorKind::Refused;
                self.unreachable(node, &DriverError { kind, message });
                if let Some(seen) = self.snapshot.nodes.get_mut(node) {
                    seen.another = Some(engine.to_owned());
                }
                false
            }
            Some(_) => true,
            None => {
                let endpoint = state.endpoint.to_string();
                let declared = self.snapshot.desired.nodes.get(node);
                let cgroup_root = declared
                    .and_then(|declared| declared.spec.cgroup_root.clone())
                    .or_else(|| {
                        let owner = self.snapshot.records.owner.as_ref()?;
                        Some(want::cgroup_root(owner, node))
                    })
                    .unwrap_or_default();
                let (node, engine) = (node.clone(), engine.to_owned());
                self.record(Entry::Node { node, engine, endpoint, cgroup_root });
                true
            }
        }
    }

    /// Puts what a list holds in place of what was known of a node's containers.
    fn replace_containers(
        &mut self,
        node: &Name,
        asked_at: Timestamp,
        containers: BTreeMap<ContainerId, ObservedContainer>,
    ) {
        let stale: BTreeSet<ReplicaKey> = {
            // A list that was asked for after a row's last step shows how that row ended.
            let shown = |chain: &Chain| chain.node == *node && chain.is_over_before(asked_at);
            let under_way =
                self.chains.iter().filter(|(_, chain)| !shown(chain)).map(|(object, _)| object);
            let ended_later = self
                .ended_at
                .iter()
                .filter(|(_, ended)| **ended >= asked_at)
                .map(|(object, _)| object);
            under_way
                .chain(ended_later)
                .filter_map(|object| match object {
                    ObjectId::Replica(replica) => Some(replica.clone()),
                    ObjectId::Image { .. }
                    | ObjectId::Volume { .. }
                    | ObjectId::Network { .. }
                    | ObjectId::Fence { .. }
                    | ObjectId::Group { .. } => None,
                })
                .collect()
        };
        // Answers overtake each other: what was asked for later says more, of its one container.
        let looked_at = &self.looked_at;
        let looked_later = |id: &ContainerId, name: &str| {
            [&*id.0, name].into_iter().any(|asked_for| {
                let key = (node.clone(), asked_for.to_owned());
                looked_at.get(&key).is_some_and(|looked| *looked >= asked_at)
            })
        };
        for (replica, located) in &mut self.snapshot.containers {
            if !stale.contains(replica) {
                located.retain(|at| at.node != *node || looked_later(&at.id, &at.container.name));
            }
        }
        for (id, container) in containers {
            let replica = container.identity.replica.clone();
            if !stale.contains(&replica) && !looked_later(&id, &container.name) {
                let located = Located { node: node.clone(), id, container };
                self.snapshot.containers.entry(replica).or_insert_with(one).push(located);
            }
        }
        self.snapshot.containers.retain(|_, located| !located.is_empty());
        for located in self.snapshot.containers.values_mut() {
            located.sort_by(|a, b| (&a.node, &a.id).cmp(&(&b.node, &b.id)));
        }
    }

    pub(super) fn inspected(
        &mut self,
        node: &Name,
        container: &str,
        asked_at: Timestamp,
        result: Result<Option<Box<(ContainerId, ObservedContainer)>>, DriverError>,
    ) {
        if asked_at > self.snapshot.now {
            // By a clock that has been put back since: it cannot be told how old this is.
            let (node, container) = (node.clone(), container.to_owned());
            self.effects.push(Effect::Inspect { node, container });
            return;
        }
        if self.nodes.get(node).is_some_and(|state| asked_at < state.trusted_since) {
            return;
        }
        if let Some(state) = self.nodes.get_mut(node)
            && state.inspecting.remove(container)
            && state.inspect_again.remove(container)
        {
            self.inspect_hinted(node, container.to_owned());
        }
        let found = match result {
            Ok(found) => found,
            Err(error) => {
                self.look_by_list(node);
                self.list(node);
                if error.kind == DriverErrorKind::Unreachable {
                    self.unreachable(node, &error);
                }
                return;
            }
        };
        let replica = match &found {
            Some(found) => Some(found.1.identity.replica.clone()),
            None => replica_of(&self.snapshot, node, container).cloned(),
        };
        if let Some(replica) = replica {
            let object = ObjectId::Replica(replica.clone());
            let id =
                found.as_ref().map_or_else(|| container.to_owned(), |found| found.0.to_string());
            let key = (node.clone(), id);
            let listed_at = self.nodes.get(node).map(|state| state.listed_at);
            let looked_at = self.looked_at.get(&key).copied().max(listed_at);
            let is_older = looked_at.is_some_and(|looked| asked_at < looked);
            if is_older {
                // What is known says more already. So whoever waits for this look has it: a hint's
                // look, by the id, may overtake the one at the end of a chain, by the name.
                self.seen_one_after_step(node, container, asked_at);
                self.want_round();
                return;
            }
            if self.may_be_stale(&object, node, container, asked_at) {
                return;
            }
            self.put_container(node, container, replica, found.map(|found| *found));
            self.looked_at.insert(key, asked_at);
        }
        self.seen_one_after_step(node, container, asked_at);
        self.want_round();
    }

    /// Forgets what a node holds.
    pub(super) fn forget_containers(&mut self, node: &Name) {
        self.memo.forget();
        self.scans.touch_all();
        self.snapshot.containers.retain(|_, located| {
            located.retain(|at| at.node != *node);
            !located.is_empty()
        });
    }

    /// Forgets a container that the engine confirmed to be removed.
    pub(super) fn drop_container(&mut self, replica: &ReplicaKey, node: &Name, container: &str) {
        self.put_container(node, container, replica.clone(), None);
    }

    fn put_container(
        &mut self,
        node: &Name,
        asked_for: &str,
        replica: ReplicaKey,
        found: Option<(ContainerId, ObservedContainer)>,
    ) {
        self.memo.touch(&replica.instance);
        self.scans.touch(&replica.instance);
        let located = self.snapshot.containers.entry(replica.clone()).or_insert_with(one);
        let mut writes = Vec::new();
        located.retain(|at| {
            let is_it = at.node == *node
                && (&*at.id.0 == asked_for
                    || at.container.name == asked_for
                    || found.as_ref().is_some_and(|(id, _)| *id == at.id));
            if is_it && found.is_none() {
                writes.push(Write::Observed(node.clone(), at.id.clone(), None));
            }
            !is_it
        });
        if let Some((id, container)) = found {
            let boxed = Some(Box::new(container.clone()));
            writes.push(Write::Observed(node.clone(), id.clone(), boxed));
            located.push(Located { node: node.clone(), id, container });
            located.sort_by(|a, b| (&a.node, &a.id).cmp(&(&b.node, &b.id)));
        }
        if located.is_empty() {
            self.snapshot.containers.remove(&replica);
        }
        if !writes.is_empty() {
            self.effects.push(Effect::Store(writes));
        }
    }
}

/// Room for one container, which is what nearly every replica has: a list that is grown from
/// nothing has room for four.
fn one() -> Vec<Located> {
    Vec::with_capacity(1)
}
