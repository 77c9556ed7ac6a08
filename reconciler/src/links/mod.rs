//! What links bring to the containers of an instance: names by DNS, and the [classic] variables.
//!
//! What is said here follows from declarations and from the addresses that records hold; which
//! addresses these are is for the planner to decide.

pub mod classic;

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::desired::DesiredSet;
use crate::model::ids::{Key, ReplicaKey};
use crate::model::observed::Attachment;
use crate::model::snapshot::Located;
use crate::model::spec::{InstanceSpec, LinkSpec};
use crate::want;

/// The address that the variables of each link name, by its alias; none where there is none to be
/// named. A link that is not among them has no variables yet.
pub type Addresses = BTreeMap<String, Option<IpAddr>>;

/// What links bring to the containers of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Linked {
    /// Variables that are the same in all replicas: they are part of the revision.
    pub variables: BTreeMap<String, String>,
    /// The aliases of links that bring variables.
    named: BTreeSet<String>,
    /// What it calls its targets on each network that it shares with them, by the engine's name of
    /// the network: the alias, and the name that all know the target by.
    names: BTreeMap<String, BTreeMap<String, String>>,
    /// The networks of links that it is put on, and how.
    joins: BTreeMap<Key, Attachment>,
}

impl Linked {
    /// What `links` bring to `instance`, whose variables name `addresses`.
    #[must_use]
    pub fn of<'l>(
        desired: &DesiredSet,
        instance: (&Key, &InstanceSpec),
        links: impl Iterator<Item = &'l LinkSpec>,
        addresses: &Addresses,
    ) -> Self {
        let mut linked = Self::default();
        for link in links {
            let Some(target) = desired.instances.get(&link.to) else { continue };
            if let Some(address) = addresses.get(&link.alias).filter(|_| link.env) {
                let env = &target.spec.env;
                linked.variables.extend(classic::variables(
                    &link.alias,
                    &link.ports,
                    *address,
                    env,
                ));
                linked.named.insert(link.alias.clone());
            }
            let shared = shared_networks(instance, (&link.to, &target.spec));
            for network in shared.into_iter().filter(|network| want::has_names(network)) {
                let names = linked.names.entry(network).or_default();
                names.insert(link.alias.clone(), link.to.name.to_string());
            }
        }
        linked
    }

    /// The variables of one replica.
    #[must_use]
    pub fn env(&self, replica: &ReplicaKey) -> BTreeMap<String, String> {
        let names = self.named.iter().map(|alias| classic::name(alias, replica));
        names.chain(self.variables.clone()).collect()
    }

    /// Whether the variables of the link with this alias are among them.
    #[must_use]
    pub fn names_any(&self, alias: &str) -> bool {
        self.named.contains(alias)
    }

    /// The same where links have networks of their own: names lead to those, and to none on the
    /// project's network, which is `own` to the engine.
    #[must_use]
    pub fn by_networks(&self, own: &str, joins: BTreeMap<Key, Attachment>) -> Self {
        let mut linked = Self { joins, ..self.clone() };
        linked.names.remove(own);
        linked
    }

    /// The networks of links that it is put on, and how.
    #[must_use]
    pub fn joins(&self) -> &BTreeMap<Key, Attachment> {
        &self.joins
    }

    /// Whether an alias is what it calls a target on the network of a link.
    #[must_use]
    pub fn joins_call(&self, alias: &str) -> bool {
        self.joins.values().any(|attachment| attachment.links.contains_key(alias))
    }

    /// What targets are called on a network.
    #[must_use]
    pub fn names_on(&self, network: &str) -> BTreeMap<String, String> {
        self.names.get(network).cloned().unwrap_or_default()
    }
}

/// Whether both ends of a link are on their projects' own networks, where a link is what lets them
/// talk.
#[must_use]
pub fn are_on_own_networks(desired: &DesiredSet, link: &LinkSpec) -> bool {
    [&link.from, &link.to]
        .into_iter()
        .all(|end| desired.instances.get(end).is_some_and(|one| want::is_on_own_network(&one.spec)))
}

/// The links of an instance, by their names.
pub fn of_instance<'d>(
    desired: &'d DesiredSet,
    instance: &Key,
) -> impl Iterator<Item = &'d LinkSpec> {
    // Links are of the project of who uses them.
    let first = Key::first_of(&instance.project);
    let of_project = desired.links.range(first..);
    of_project
        .take_while(|(key, _)| key.project == instance.project)
        .map(|(_, declared)| &*declared.spec)
        .filter(|link| link.from == *instance)
}

/// The networks that both are on, by the engine's names.
#[must_use]
pub fn shared_networks(one: (&Key, &InstanceSpec), two: (&Key, &InstanceSpec)) -> Vec<String> {
    let mut shared = want::networks(one.1, &one.0.project);
    let other = want::networks(two.1, &two.0.project);
    shared.retain(|network| other.contains(network));
    shared
}

/// The address that a container has on the first of some networks on which it has one.
#[must_use]
pub fn address_on(located: &Located, networks: &[String]) -> Option<IpAddr> {
    let container = &located.container;
    networks.iter().find_map(|network| {
        let asked = container.config.attachments.get(network).and_then(|at| at.address);
        asked.or_else(|| container.addresses.get(network).copied())
    })
}
