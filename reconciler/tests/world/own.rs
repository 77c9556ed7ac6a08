//! Projects' own networks, and the ranges that they were given.

use std::collections::BTreeSet;
use std::time::Duration;

use reconciler::model::desired::Spec;
use reconciler::model::ids::{Key, Name};
use reconciler::model::observed::{Attachment, ObservedNetwork};
use reconciler::model::record::Failure;
use reconciler::model::snapshot::Snapshot;
use reconciler::model::subnet::PROJECT_BITS;
use reconciler::plan::own_network_spec;

use super::{NOW, Observed, n1};

/// Each project's own network is on all nodes, since most cases are about something else.
pub(super) fn networks(snapshot: &mut Snapshot) {
    let projects: BTreeSet<Name> = snapshot
        .desired
        .instances
        .keys()
        .map(|key| key.project.clone())
        .chain(snapshot.containers.keys().map(|replica| replica.instance.project.clone()))
        .collect();
    let owner = snapshot.records.owner.clone().map(|owner| owner.0).unwrap_or_default();
    let ranges = snapshot.config.addresses.split(PROJECT_BITS);
    for (project, subnet) in projects.iter().zip(ranges) {
        let network = Key::own_network(project);
        let spec = own_network_spec(&owner, project, subnet);
        for seen in snapshot.nodes.values_mut() {
            let held =
                ObservedNetwork { network: network.clone(), spec: spec.clone(), copies: vec![] };
            seen.networks.insert(network.engine_name(), held);
        }
        snapshot.records.networks.entry(network).or_default().subnet = Some(subnet);
    }
}

/// How an instance is on the network of a link.
pub(super) fn of_link(snapshot: &Snapshot, instance: &Key, network: &str) -> Option<Attachment> {
    let links = snapshot.desired.links.iter();
    let mut links = links.filter(|(key, _)| Key::link_network(key, 28).engine_name() == network);
    let link = &links.next()?.1.spec;
    let name = link.to.name.to_string();
    Some(if link.to == *instance {
        Attachment { aliases: [name].into(), ..Attachment::default() }
    } else {
        Attachment { links: [(link.alias.clone(), name)].into(), ..Attachment::default() }
    })
}

/// Those of some networks that are links'.
pub(super) fn joined<'n>(networks: impl Iterator<Item = &'n String>) -> BTreeSet<String> {
    networks.filter(|name| name.contains("._") && !name.ends_with('_')).cloned().collect()
}

pub(super) fn subnets(snapshot: &mut Snapshot, observed: &Observed) {
    let owner = snapshot.records.owner.clone().map(|owner| owner.0).unwrap_or_default();
    for (project, subnet) in &observed.own_subnets {
        let record = snapshot.records.networks.entry(Key::own_network(project)).or_default();
        record.subnet = Some(*subnet);
        if observed.refused_subnets.contains(project) {
            let spec = own_network_spec(&owner, project, *subnet);
            let failure = Failure {
                goal: Spec::digest(&spec),
                count: 1,
                at: NOW,
                retry_at: NOW + Duration::from_secs(1),
                step: "create network".to_owned(),
                message: "Pool overlaps with other one on this address space".to_owned(),
                name_taken: false,
                unstartable: false,
            };
            record.failures.insert(n1(), failure);
        }
    }
}
