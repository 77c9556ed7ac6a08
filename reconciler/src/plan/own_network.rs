//! A project's own network on each node, and the addresses on it.
//!
//! Instances that name no network are on it. Nobody reaches anybody there: that is what links are
//! for. Its range and every address on it are chosen here and recorded, so that they are known
//! before a container is there.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::{BTreeMap, BTreeSet};

use super::Round;
use super::replica::Replica;
use crate::model::fence::Fence;
use crate::model::ids::{Digest, Key, Name, ReplicaKey};
use crate::model::journal::Entry;
use crate::model::observed::ObservedNetwork;
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::{NetworkSpec, Subnet};
use crate::model::subnet::Net;
use crate::report::Reason;
use crate::want;

/// The driver's option that names the bridge.
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// The driver's option that lets everybody on a bridge reach everybody.
const BRIDGE_ICC: &str = "com.docker.network.bridge.enable_icc";

/// Begins the names of bridges of ours. With ten digits it is a name that Linux takes: 15 bytes at
/// most.
pub const BRIDGE_PREFIX: &str = "wdl-";

/// Digits of a digest in the name of a bridge.
const BRIDGE_DIGITS: usize = 10;

/// What this round knows and decided of own networks.
#[derive(Debug, Default)]
pub(super) struct Own {
    addresses: BTreeMap<(Name, Name), Addresses>,
    /// Given out just now, and not on record yet.
    chosen: Option<(ReplicaKey, Ipv4Addr)>,
}

/// The addresses of one network on one node.
#[derive(Debug, Default)]
struct Addresses {
    /// Containers have them.
    held: BTreeSet<Ipv4Addr>,
    /// They have been given out.
    given: BTreeSet<Ipv4Addr>,
}

/// The name of the bridge of a network of ours, as an engine shows it; `None` for a network that is
/// not a project's own.
#[must_use]
pub fn bridge(network: &ObservedNetwork) -> Option<&str> {
    let named = network.spec.options.get(BRIDGE_NAME);
    named.filter(|_| network.network.is_own_network()).map(String::as_str)
}

/// The address that a container has on its project's own network.
#[must_use]
pub fn address_of(located: &Located) -> Option<Ipv4Addr> {
    let project = &located.container.identity.replica.instance.project;
    let mut attachments = located.container.config.attachments.iter();
    match attachments.find(|(network, _)| want::is_own_network(network, project))?.1.address {
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(_)) | None => None,
    }
}

/// The name of the bridge of a project's own network.
fn bridge_name(owner: &str, project: &Name) -> String {
    let digest = Digest::of(format!("{owner} {project}").as_bytes());
    let digits = digest.0.get(..BRIDGE_DIGITS).unwrap_or(&digest.0);
    format!("{BRIDGE_PREFIX}{digits}")
}

/// What a project's own network is.
#[must_use]
pub fn own_network_spec(owner: &str, project: &Name, subnet: Net) -> NetworkSpec {
    let options = [
        (BRIDGE_NAME.to_owned(), bridge_name(owner, project)),
        (BRIDGE_ICC.to_owned(), "false".to_owned()),
    ];
    let (engines, _) = subnet.halves();
    let (subnet, range) = (subnet.to_string(), Some(engines.to_string()));
    NetworkSpec {
        driver: "bridge".to_owned(),
        options: options.into(),
        internal: false,
        ipv6: false,
        subnets: vec![Subnet { subnet, range, ..Subnet::default() }],
        protected: false,
    }
}

impl Round<'_> {
    /// The address of a replica's next container on its project's own network, if it is on that, and
    /// whether it was given out just now.
    pub(super) fn address(
        &mut self,
        replica: &Replica<'_, '_>,
    ) -> Result<(Option<Ipv4Addr>, bool), Reason> {
        let key = &replica.key.instance;
        if !want::is_on_own_network(&replica.instance.declared.spec) {
            return Ok((None, false));
        }
        let network = Key::own_network(&key.project);
        let (_, ours) = self.subnet(&network, replica.node)?.halves();
        let snapshot = self.snapshot;
        let place = (replica.node.clone(), key.project.clone());
        let known = self
            .own
            .addresses
            .entry(place)
            .or_insert_with(|| Addresses::on(snapshot, replica.node, &key.project));
        let recorded = replica.record.and_then(|record| record.address);
        if let Some(recorded) = recorded
            && ours.contains(recorded)
            && !known.held.contains(&recorded)
        {
            return Ok((Some(recorded), false));
        }
        let is_free =
            |address: &Ipv4Addr| !known.held.contains(address) && !known.given.contains(address);
        let Some(address) = ours.hosts().find(is_free) else {
            let message = format!(
                "all addresses of project {} on node {} are taken; put some of its instances on a \
                 network that is declared",
                key.project, replica.node
            );
            return Err(Reason::Stalled { message });
        };
        known.given.insert(address);
        self.own.chosen = Some((replica.key.clone(), address));
        Ok((Some(address), true))
    }

    /// Has records say which address was given out just now: its container is about to be made, or
    /// waits for the rules that name it. Who waits for a turn is given none.
    pub(super) fn record_address(&mut self, replica: &ReplicaKey) {
        if let Some((replica, address)) = self.own.chosen.take_if(|(key, _)| key == replica) {
            self.decide(Entry::Addressed { replica, address });
        }
    }

    /// Whether a project's own network is wanted on a node: an instance of it is placed there that
    /// names no other.
    pub(super) fn needs_own_network(&self, project: &Name, node: &Name) -> bool {
        let snapshot = self.snapshot;
        let mut records = of_project(&snapshot.records.instances, project);
        !snapshot.down
            && records.any(|(key, record)| {
                let declared = snapshot.desired.instances.get(key);
                declared.is_some_and(|declared| {
                    want::is_on_own_network(&declared.spec)
                        && record.replicas.iter().any(|(ordinal, replica)| {
                            *ordinal < declared.spec.replicas && replica.node.as_ref() == Some(node)
                        })
                })
            })
    }
}

impl Addresses {
    fn on(snapshot: &Snapshot, node: &Name, project: &Name) -> Self {
        let first = ReplicaKey::new(Key::first_of(project), 0);
        let containers = snapshot.containers.range(first..);
        let held = containers
            .take_while(|(replica, _)| replica.instance.project == *project)
            .flat_map(|(_, located)| located)
            .filter(|at| at.node == *node)
            .filter_map(address_of);
        let records = of_project(&snapshot.records.instances, project);
        let given = records
            .flat_map(|(_, record)| record.replicas.values())
            .filter_map(|record| record.address);
        // Whoever gets one of these would be taken for who had it before.
        let fence = snapshot.nodes.get(node).map(|seen| &seen.fence);
        let ruled = fence.into_iter().flat_map(|fence| match fence {
            Fence::InForce { rules, .. } => rules.open.iter(),
            Fence::Unknown { .. } | Fence::Elsewhere { .. } => Default::default(),
        });
        let ruled = ruled.flat_map(|way| [way.from, way.to]);
        let named = snapshot
            .containers
            .values()
            .flatten()
            .filter(|at| at.node == *node)
            .filter_map(|at| at.container.hosts.as_ref())
            .flat_map(|names| names.values().flatten().copied());
        let given = given.chain(ruled).chain(named);
        Self { held: held.collect(), given: given.collect() }
    }
}

/// The entries of a project in a map that is sorted by key.
fn of_project<'m, V>(
    map: &'m BTreeMap<Key, V>,
    project: &Name,
) -> impl Iterator<Item = (&'m Key, &'m V)> {
    map.range(Key::first_of(project)..).take_while(move |(key, _)| key.project == *project)
}
