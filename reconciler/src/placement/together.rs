//! Linked instances are on one node, and so are those that they are linked with in turn.
//!
//! The first of a set that is placed chooses for all of it; the others follow. Nobody moves for a
//! link: a set that is on several nodes stays there, and is told so.

use std::collections::{BTreeMap, BTreeSet};

use super::capacity::Amounts;
use super::{Load, Wish, allows, asked};
use crate::model::desired::DesiredSet;
use crate::model::ids::{Key, Name, ReplicaKey};
use crate::model::record::ReplicaRecord;
use crate::model::snapshot::Snapshot;
use crate::model::spec::{InstanceSpec, Placement};

/// So many members of a set are named in a reason: more is no reading.
const MEMBERS_NAMED_MAX: usize = 4;

/// The sets of instances that are linked with each other.
#[derive(Debug, Default)]
pub struct Together<'a> {
    /// The set that each linked instance is in.
    of: BTreeMap<&'a Key, usize>,
    sets: Vec<BTreeSet<&'a Key>>,
    /// The nodes that were chosen for whole sets in this round.
    chosen: BTreeMap<usize, Name>,
}

impl<'a> Together<'a> {
    /// Of all links between instances that are declared.
    #[must_use]
    pub fn of(desired: &'a DesiredSet) -> Self {
        let mut together = Self::default();
        let declared = |key: &Key| desired.instances.contains_key(key);
        for link in desired.links.values().map(|link| &link.spec) {
            if declared(&link.from) && declared(&link.to) {
                together.join(&link.from, &link.to);
            }
        }
        together
    }

    fn join(&mut self, one: &'a Key, two: &'a Key) {
        let known = [one, two].map(|key| self.of.get(key).copied());
        let into = known.into_iter().flatten().next().unwrap_or(self.sets.len());
        if into == self.sets.len() {
            self.sets.push(BTreeSet::new());
        }
        let joined = match known {
            [_, Some(other)] if other != into => {
                self.sets.get_mut(other).map(std::mem::take).unwrap_or_default()
            }
            [_, Some(_) | None] => BTreeSet::new(),
        };
        for key in joined.into_iter().chain([one, two]) {
            self.of.insert(key, into);
            if let Some(set) = self.sets.get_mut(into) {
                set.insert(key);
            }
        }
    }

    /// The instances that are together with `instance`, itself among them; none if it is not linked.
    pub fn with(&self, instance: &Key) -> impl Iterator<Item = &'a Key> + use<'_, 'a> {
        let set = self.of.get(instance).and_then(|set| self.sets.get(*set));
        set.into_iter().flatten().copied()
    }

    /// The nodes on which something was made of the set of `instance`, each with a replica that is
    /// there. Where nothing was, that which the first of them was given. Nodes that shall be empty
    /// do not count.
    #[must_use]
    pub fn nodes(&self, snapshot: &Snapshot, instance: &Key) -> BTreeMap<Name, ReplicaKey> {
        let (mut made, mut given) = (BTreeMap::new(), None);
        for key in self.with(instance) {
            for (ordinal, record) in replicas(snapshot, key) {
                let Some(node) = record.node.as_ref().filter(|node| !snapshot.is_drained(node))
                else {
                    continue;
                };
                let replica = ReplicaKey::new(key.clone(), ordinal);
                if record.incarnation > 0 {
                    made.entry(node.clone()).or_insert(replica);
                } else {
                    given.get_or_insert((node.clone(), replica));
                }
            }
        }
        if made.is_empty() {
            made.extend(given);
        }
        made
    }

    /// Chooses a node for a replica that is linked.
    ///
    /// # Errors
    /// The reason why there is none, for people.
    pub fn choose(
        &mut self,
        snapshot: &Snapshot,
        load: &mut Load<'_>,
        replica: &ReplicaKey,
        spec: &InstanceSpec,
    ) -> Result<Name, String> {
        let Some(set) = self.of.get(&replica.instance).copied() else {
            return Err(format!("{} is not linked", replica.instance));
        };
        if let Some(node) = self.chosen.get(&set) {
            return Ok(node.clone()); // with room for all of them
        }
        let own = spec.more.placement.as_ref();
        let there = self.nodes(snapshot, &replica.instance);
        if there.len() > 1 {
            let there: Vec<String> =
                there.iter().map(|(node, replica)| format!("{replica} on {node}")).collect();
            return Err(format!(
                "it is linked with {}: linked instances are on one node, so set `replicas: 0` for \
                 those that shall be placed anew, or take a link away",
                there.join(" and ")
            ));
        }
        if let Some((node, other)) = there.into_iter().next() {
            if !allows(snapshot, own, &node) {
                let asked = asked(own);
                return Err(format!(
                    "it is linked with {other}, which is on {node}, and its placement asks for {asked}"
                ));
            }
            let selector = own.map(|placement| placement.selector.clone()).unwrap_or_default();
            let pinned = Placement { node: Some(node.clone()), selector, spread: None };
            let ask = Amounts::of(&spec.resources);
            let wish = Wish { replica, placement: Some(&pinned), ask };
            let chosen = load.choose(&wish);
            return chosen.map_err(|why| {
                format!("it is linked with {other}, so only {node} can take it: {why}")
            });
        }
        let whole = self.whole(snapshot, &replica.instance)?;
        let wish = Wish { replica, placement: Some(&whole.placement), ask: whole.ask };
        let node = load.choose(&wish).map_err(|why| {
            let members = whole.members.join(", ");
            format!("{members} are linked, so one node has to take them all: {why}")
        })?;
        self.chosen.insert(set, node.clone());
        Ok(node)
    }

    /// What all of a set asks for that is on no node yet.
    fn whole(&self, snapshot: &Snapshot, instance: &Key) -> Result<Whole, String> {
        let mut whole = Whole::default();
        let mut pinned: Option<&Key> = None;
        let mut more = 0_usize;
        for key in self.with(instance) {
            let Some(declared) = snapshot.desired.instances.get(key) else { continue };
            let spec = &declared.spec;
            let ask = Amounts::of(&spec.resources);
            let is_there = |ordinal: &u32| {
                replicas(snapshot, key).any(|(at, record)| {
                    at == *ordinal
                        && record.node.as_ref().is_some_and(|node| !snapshot.is_drained(node))
                })
            };
            let mut asks = Amounts::default();
            for _ in (0..spec.replicas).filter(|ordinal| !is_there(ordinal)) {
                asks = asks.and(ask);
            }
            whole.ask = whole.ask.and(asks);
            if whole.members.len() < MEMBERS_NAMED_MAX {
                whole.members.push(format!("{key} ({asks})"));
            } else {
                more += 1;
            }
            let Some(Placement { node, selector, spread: _ }) = &spec.more.placement else {
                continue;
            };
            if let Some(node) = node {
                if let (Some(other), Some(earlier)) = (&whole.placement.node, pinned)
                    && other != node
                {
                    return Err(format!(
                        "{earlier} is pinned to {other} and {key} to {node}, and they are linked: \
                         linked instances are on one node, so name the same one, or none"
                    ));
                }
                whole.placement.node = Some(node.clone());
                pinned = Some(key);
            }
            for (name, value) in selector {
                let earlier = whole.placement.selector.insert(name.clone(), value.clone());
                if let Some(earlier) = earlier.filter(|earlier| earlier != value) {
                    return Err(format!(
                        "its placement and those of what it is linked with ask for label {name} to \
                         be {earlier} and {value}: linked instances are on one node"
                    ));
                }
            }
        }
        if more > 0 {
            whole.members.push(format!("and {more} more"));
        }
        Ok(whole)
    }
}

/// All of a set, as far as it has to be placed.
#[derive(Default)]
struct Whole {
    placement: Placement,
    ask: Amounts,
    members: Vec<String>,
}

/// The replicas of an instance that are declared and recorded.
fn replicas<'s>(
    snapshot: &'s Snapshot,
    instance: &Key,
) -> impl Iterator<Item = (u32, &'s ReplicaRecord)> {
    let declared = snapshot.desired.instances.get(instance);
    let count = declared.map_or(0, |declared| declared.spec.replicas);
    let record = snapshot.records.instances.get(instance);
    let replicas = record.into_iter().flat_map(move |record| record.replicas.range(..count));
    replicas.map(|(ordinal, record)| (*ordinal, record))
}
