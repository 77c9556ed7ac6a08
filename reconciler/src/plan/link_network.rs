//! Links where no rules can be set: a network for each, on which its two ends are and nobody else.
//!
//! Which way a node goes is decided once, when its engine was looked at and rules cannot be had, and
//! holds until no link is left: two ways at once, or one after the other, would let those through
//! that neither lets through.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Round;
use super::replica::Instance;
use crate::links::{Linked, are_on_own_networks};
use crate::model::desired::{Declared, Source};
use crate::model::fence::{Fence, Rules};
use crate::model::ids::{Key, Name};
use crate::model::journal::Entry;
use crate::model::observed::{Attachment, Reach};
use crate::model::record::NodeRecord;
use crate::model::snapshot::Snapshot;
use crate::model::spec::{LinkSpec, NetworkSpec, Subnet};
use crate::model::subnet::{Net, PROJECT_BITS};
use crate::report::Reason;

use super::own_network::own_network_spec;

/// A replica has two containers while one takes the place of the other.
const CONTAINERS_PER_REPLICA: u64 = 2;

/// Links of the nodes where no rules can be set.
#[derive(Debug, Default)]
pub(super) struct ByNetworks<'a> {
    nodes: BTreeSet<&'a Name>,
    /// The links of each instance that is an end of any, if there is such a node.
    by_end: BTreeMap<&'a Key, Vec<(&'a Key, &'a LinkSpec)>>,
}

impl ByNetworks<'_> {
    /// Whether links have networks of their own on a node.
    pub(super) fn holds(&self, node: &Name) -> bool {
        self.nodes.contains(node)
    }
}

/// Whether rules were asked for on a node.
#[must_use]
pub fn has_rules(record: &NodeRecord) -> bool {
    record.rules.as_ref().is_some_and(|rules| *rules != Rules::default().digest())
}

/// The network of a link: the smallest one that was made for it and has room for all who may be on
/// it, or a new one. What grows moves to a larger one, since engines change no network.
#[must_use]
pub fn link_network(snapshot: &Snapshot, key: &Key, link: &LinkSpec) -> Key {
    let instances = &snapshot.desired.instances;
    let replicas =
        |end: &Key| instances.get(end).map_or(0, |declared| u64::from(declared.spec.replicas));
    let all = (replicas(&link.from) + replicas(&link.to)) * CONTAINERS_PER_REPLICA;
    let needed = Net::bits_for(all);
    let of = |bits| Key::link_network(key, bits);
    let recorded = (PROJECT_BITS..=needed).rev().map(of);
    let mut recorded = recorded.filter(|one| snapshot.records.networks.contains_key(one));
    recorded.next().unwrap_or_else(|| of(needed))
}

/// What a link's network is. It leads nowhere else: who is on it goes on to reach the world by the
/// network that it was created on.
#[must_use]
pub fn link_network_spec(subnet: Net) -> NetworkSpec {
    NetworkSpec {
        driver: "bridge".to_owned(),
        options: BTreeMap::new(),
        internal: true,
        ipv6: false,
        subnets: vec![Subnet { subnet: subnet.to_string(), ..Subnet::default() }],
        protected: false,
    }
}

impl<'a> Round<'a> {
    /// Decides how links are put in force on each node. That windlass was not looking yet, or could
    /// not look just now, says nothing; and where there are rules, they stay.
    pub(super) fn decide_links_by(&mut self) {
        let snapshot = self.snapshot;
        let mut any: Option<bool> = None;
        for (node, seen) in &snapshot.nodes {
            let record = snapshot.records.nodes.get(node);
            let is_decided = record.is_some_and(|record| record.link_networks);
            let networks = match &seen.fence {
                Fence::Elsewhere { .. } if !is_decided => {
                    let is_free = seen.reach == Reach::Reachable && !record.is_some_and(has_rules);
                    is_free && *any.get_or_insert_with(|| has_links(snapshot, None))
                }
                // Rules can be had by now. Who talks already goes on as it is.
                Fence::InForce { .. } if is_decided => {
                    has_links(snapshot, Some(node)) || has_link_networks(snapshot, node)
                }
                Fence::Elsewhere { .. } | Fence::InForce { .. } | Fence::Unknown { .. } => {
                    is_decided
                }
            };
            if networks != is_decided {
                self.decide(Entry::LinksBy { node: node.clone(), networks });
            }
            if networks {
                self.by_networks.nodes.insert(node);
            }
        }
        if !self.by_networks.nodes.is_empty() && !snapshot.down {
            for (key, declared) in &snapshot.desired.links {
                let link = &*declared.spec;
                if link.from == link.to || !are_on_own_networks(&snapshot.desired, link) {
                    continue;
                }
                for end in [&link.from, &link.to] {
                    self.by_networks.by_end.entry(end).or_default().push((key, link));
                }
            }
        }
    }

    /// What links bring to an instance on a node, where that is something else than elsewhere.
    pub(super) fn linked_on(&self, instance: &Instance<'_, '_>, node: &Name) -> Option<Linked> {
        if !self.by_networks.holds(node) {
            return None;
        }
        let links = self.by_networks.by_end.get(instance.key)?;
        let joins = links.iter().map(|(key, link)| {
            let network = link_network(self.snapshot, key, link);
            let name = link.to.name.to_string();
            // Names are the consumer's own, and the target is known to nobody else.
            let attachment = if link.to == *instance.key {
                Attachment { aliases: [name].into(), ..Attachment::default() }
            } else {
                let links = [(link.alias.clone(), name)].into();
                Attachment { links, ..Attachment::default() }
            };
            (network, attachment)
        });
        let own = Key::own_network(&instance.key.project).engine_name();
        Some(instance.linked.by_networks(&own, joins.collect()))
    }

    /// The network whose addresses variables of a link name, if one end of it is where links have
    /// networks of their own.
    pub(super) fn network_named(&self, link: &LinkSpec) -> Option<Key> {
        let snapshot = self.snapshot;
        let ends = self.by_networks.by_end.get(&link.from)?;
        let (key, _) = ends.iter().find(|(_, other)| *other == link)?;
        let is_there = |end: &Key| {
            let record = snapshot.records.instances.get(end);
            let mut replicas = record.into_iter().flat_map(|record| record.replicas.values());
            replicas.any(|replica| {
                replica.node.as_ref().is_some_and(|node| self.by_networks.holds(node))
            })
        };
        (is_there(&link.from) || is_there(&link.to)).then(|| link_network(snapshot, key, link))
    }

    /// Whether a network is that of a link which has an end on this node.
    pub(super) fn needs_link_network(&self, network: &Key, node: &Name) -> bool {
        let snapshot = self.snapshot;
        let Some((key, _)) = network.link_of_network() else { return false };
        let Some(declared) = snapshot.desired.links.get(&key) else { return false };
        let link = &*declared.spec;
        !snapshot.down
            && self.by_networks.holds(node)
            && are_on_own_networks(&snapshot.desired, link)
            && link_network(snapshot, &key, link) == *network
            && (is_placed(snapshot, &link.from, node) || is_placed(snapshot, &link.to, node))
    }

    /// What a network that windlass makes by itself shall be, in the form of a declaration.
    pub(super) fn built_in_network(
        &mut self,
        network: &Key,
        node: &Name,
    ) -> Result<Declared<NetworkSpec>, Reason> {
        let subnet = self.subnet(network, node)?;
        Ok(self.built_in_declaration(network, subnet))
    }

    pub(super) fn built_in_declaration(&self, network: &Key, subnet: Net) -> Declared<NetworkSpec> {
        let owner = self.snapshot.records.owner.as_ref().map_or("", |owner| owner.0.as_str());
        let spec = match network.link_of_network() {
            Some(_) => link_network_spec(subnet),
            None => own_network_spec(owner, &network.project, subnet),
        };
        Declared::new(spec, Source { file: Arc::from("(built in)"), line: 0, column: 0 })
    }
}

/// Whether any link is declared that needs something to be in force, with an end on a node if one is
/// named.
fn has_links(snapshot: &Snapshot, node: Option<&Name>) -> bool {
    let mut links = snapshot.desired.links.values().map(|declared| &*declared.spec);
    let is_there = |end: &Key| node.is_none_or(|node| is_placed(snapshot, end, node));
    !snapshot.down
        && links.any(|link| {
            are_on_own_networks(&snapshot.desired, link)
                && (is_there(&link.from) || is_there(&link.to))
        })
}

/// Whether a replica of an instance has its place on a node.
fn is_placed(snapshot: &Snapshot, instance: &Key, node: &Name) -> bool {
    let declared = snapshot.desired.instances.get(instance);
    let replicas = declared.map_or(0, |declared| declared.spec.replicas);
    let record = snapshot.records.instances.get(instance);
    let mut placed = record.into_iter().flat_map(|record| record.replicas.range(..replicas));
    placed.any(|(_, replica)| replica.node.as_ref() == Some(node))
}

/// Whether a link has a network on a node, or may have one.
fn has_link_networks(snapshot: &Snapshot, node: &Name) -> bool {
    let networks = &snapshot.records.networks;
    networks
        .iter()
        .any(|(key, record)| record.nodes.contains(node) && key.link_of_network().is_some())
}
