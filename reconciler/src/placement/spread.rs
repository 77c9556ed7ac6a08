//! Spreads the replicas of one instance over nodes, or over the values of a label of nodes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{Name, ReplicaKey};
use crate::model::snapshot::Snapshot;
use crate::model::spec::Placement;

/// What a node is, as far as replicas are spread by `by`: its own name, or the value of its label.
pub(super) fn value<'s>(snapshot: &'s Snapshot, by: &str, node: &Name) -> Option<&'s str> {
    let (name, declared) = snapshot.desired.nodes.get_key_value(node)?;
    if by == Placement::SPREAD_NODES {
        return Some(name.as_str());
    }
    declared.labels.get(by).map(String::as_str)
}

/// Where replicas of the instance are that was asked about last, and what was placed in this round.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// Nodes, by their place among all.
    known: BTreeMap<ReplicaKey, usize>,
    of: Option<crate::model::ids::Key>,
    new: BTreeMap<ReplicaKey, usize>,
}

impl Placed {
    /// The nodes of the other replicas of its instance.
    pub(super) fn others<'p>(
        &'p mut self,
        snapshot: &Snapshot,
        index: &BTreeMap<&Name, usize>,
        replica: &'p ReplicaKey,
    ) -> impl Iterator<Item = usize> + 'p {
        let instance = &replica.instance;
        if self.of.as_ref() != Some(instance) {
            let record = snapshot.records.instances.get(instance);
            let recorded = record.into_iter().flat_map(|record| &record.replicas);
            let recorded = recorded.filter_map(|(ordinal, record)| {
                let at = index.get(record.node.as_ref()?)?;
                Some((ReplicaKey::new(instance.clone(), *ordinal), *at))
            });
            self.known = recorded.collect();
            let first = ReplicaKey::new(instance.clone(), 0);
            let new = self.new.range(first..).take_while(|(key, _)| key.instance == *instance);
            self.known.extend(new.map(|(key, at)| (key.clone(), *at)));
            self.of = Some(instance.clone());
        }
        self.known.iter().filter(move |(key, _)| *key != replica).map(|(_, at)| *at)
    }

    /// Notes a choice.
    pub(super) fn note(&mut self, replica: &ReplicaKey, node: usize) {
        if self.of.as_ref() == Some(&replica.instance) {
            self.known.insert(replica.clone(), node);
        }
        self.new.insert(replica.clone(), node);
    }
}

/// How many replicas there are by value.
#[derive(Debug)]
pub(super) struct Counts<'s> {
    on: BTreeMap<&'s str, u32>,
    least: u32,
}

impl<'s> Counts<'s> {
    /// Counts `values`; the least counts among those of `among` only.
    pub(super) fn of(values: impl Iterator<Item = &'s str>, among: &BTreeSet<String>) -> Self {
        let mut on: BTreeMap<&str, u32> = BTreeMap::new();
        for value in values {
            *on.entry(value).or_default() += 1;
        }
        let used = on.iter().filter(|(value, _)| among.contains(**value)).map(|(_, count)| *count);
        // A value that none of them is on is not among the counts.
        let least = if used.clone().count() < among.len() { 0 } else { used.min().unwrap_or(0) };
        Self { on, least }
    }

    pub(super) fn on(&self, value: &str) -> u32 {
        self.on.get(value).copied().unwrap_or(0)
    }

    /// As few as there are anywhere.
    pub(super) fn least(&self) -> u32 {
        self.least
    }
}
