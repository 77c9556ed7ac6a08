//! Links: which addresses the variables of an instance name, and in which order things go.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use super::Round;
use super::dependencies::waits_for;
use super::goal::revision_now;
use crate::links::{Addresses, Linked, address_on, shared_networks};
use crate::model::desired::{Declared, DesiredSet};
use crate::model::ids::{Key, ReplicaKey};
use crate::model::journal::Entry;
use crate::model::record::InstanceRecord;
use crate::model::snapshot::Located;
use crate::model::spec::{Condition, Dependency, InstanceSpec, LinkSpec};
use crate::report::Reason;

/// The links of each instance that has any.
pub(super) fn by_user(desired: &DesiredSet) -> BTreeMap<&Key, Vec<&LinkSpec>> {
    let mut links: BTreeMap<&Key, Vec<&LinkSpec>> = BTreeMap::new();
    for declared in desired.links.values() {
        links.entry(&declared.spec.from).or_default().push(&declared.spec);
    }
    links
}

impl<'a> Round<'a> {
    pub(super) fn links_of(&self, instance: &Key) -> &[&'a LinkSpec] {
        self.links_by_user.get(instance).map_or(&[], Vec::as_slice)
    }

    /// What an instance waits for: what it says itself, and its links.
    pub(super) fn waits(&self, key: &Key, spec: &InstanceSpec) -> Vec<Dependency> {
        let links = self.links_of(key).iter().filter_map(|link| {
            let (instance, condition) = (link.to.clone(), link.condition?);
            Some(Dependency { instance, condition })
        });
        spec.more.depends_on.iter().cloned().chain(links).collect()
    }

    /// What links bring to an instance. What records have to know of it is decided.
    pub(super) fn linked(
        &mut self,
        key: &'a Key,
        declared: &Declared<InstanceSpec>,
        record: Option<&InstanceRecord>,
    ) -> Linked {
        let spec = &*declared.spec;
        let is_plain = self.links_of(key).is_empty() && spec.more.depends_on.is_empty();
        let known = record.map(|record| (&record.waits_for, &record.addresses));
        if is_plain && known.is_none_or(|(waits, known)| waits.is_empty() && known.is_empty()) {
            return Linked::default();
        }
        let waits_for: BTreeSet<Key> =
            self.waits(key, spec).into_iter().map(|waits| waits.instance).collect();
        let mut addresses = Addresses::new();
        for link in self.links_of(key).iter().filter(|link| link.env) {
            let earlier = known.and_then(|(_, known)| known.get(&link.alias)).copied();
            if let Some(address) = self.address_named(key, spec, link, earlier) {
                addresses.insert(link.alias.clone(), address);
            }
        }
        let linked = Linked::of(
            &self.snapshot.desired,
            (key, spec),
            self.links_of(key).iter().copied(),
            &addresses,
        );
        let is_known = match known {
            Some(known) => known == (&waits_for, &addresses),
            None => waits_for.is_empty() && addresses.is_empty(),
        };
        if !is_known {
            self.decide(Entry::Linked { instance: key.clone(), waits_for, addresses });
        }
        linked
    }

    /// The address that the variables of a link name: the one that they name already, as long as a
    /// replica has it that is ready, or may be; else that of the first which is, and is up to date. While
    /// there is none they stay as they are: an address that is gone is no worse than none.
    fn address_named(
        &self,
        key: &Key,
        spec: &InstanceSpec,
        link: &LinkSpec,
        earlier: Option<Option<IpAddr>>,
    ) -> Option<Option<IpAddr>> {
        if link.condition == Some(Condition::Completed) {
            return Some(None); // nobody is there to be asked
        }
        let snapshot = self.snapshot;
        let Some(target) = snapshot.desired.instances.get(&link.to) else { return earlier };
        let (networks, earlier) = match self.network_named(link) {
            None => (shared_networks((key, spec), (&link.to, &target.spec)), earlier),
            Some(network) => {
                // An address of another network is one that nobody reaches by this link.
                let record = snapshot.records.networks.get(&network);
                let range = record.and_then(|record| record.subnet);
                let is_of_it = |address: &Option<IpAddr>| match (address, range) {
                    (Some(IpAddr::V4(address)), Some(range)) => range.contains(*address),
                    (Some(_) | None, _) => false,
                };
                (vec![network.engine_name()], earlier.filter(is_of_it))
            }
        };
        let ready = || {
            let ready = self.containers_of(&link.to).filter(|at| at.is_ready());
            ready.filter_map(|at| Some((at, address_on(at, &networks)?)))
        };
        // After a restart of windlass it takes a while until it knows again who is ready.
        let may_be = |at: &&Located| at.may_be_ready() || at.starts();
        if let Some(Some(named)) = earlier
            && self
                .containers_of(&link.to)
                .filter(may_be)
                .any(|at| address_on(at, &networks) == Some(named))
        {
            return earlier;
        }
        let wanted = revision_now(&snapshot.desired, &snapshot.records, &link.to, target);
        let is_current = |at: &Located| wanted.as_ref() == Some(&at.container.identity.revision);
        let next = ready().find(|(at, _)| is_current(at)).map(|(_, address)| Some(address));
        next.or(earlier)
    }

    fn containers_of(&self, instance: &Key) -> impl Iterator<Item = &'a Located> {
        let first = ReplicaKey::new(instance.clone(), 0);
        let instance = instance.clone();
        let all = self.snapshot.containers.range(first..);
        all.take_while(move |(key, _)| key.instance == instance).flat_map(|(_, located)| located)
    }

    /// Whether all variables of links are known.
    ///
    /// # Errors
    /// The first link whose are not.
    pub(super) fn variables_known(
        &self,
        key: &Key,
        spec: &InstanceSpec,
        linked: &Linked,
    ) -> Result<(), Reason> {
        for link in
            self.links_of(key).iter().filter(|link| link.env && !linked.names_any(&link.alias))
        {
            let target = self.snapshot.desired.instances.get(&link.to);
            let Some(target) = target else { continue };
            let shared = shared_networks((key, spec), (&link.to, &target.spec));
            if shared.is_empty() && self.network_named(link).is_none() {
                let message = format!(
                    "its variables shall name the address of {}, and the two share no network; put \
                     both on one, or take `env` out of the link",
                    link.to
                );
                return Err(Reason::Stalled { message });
            }
            return Err(self.waiting_on(&link.to, target, Condition::Started));
        }
        Ok(())
    }

    /// Whether what the variables of links name is up to date: who is about to be replaced is
    /// waited for, or the consumer would be replaced twice.
    ///
    /// # Errors
    /// The first that is not.
    pub(super) fn targets_current(&self, key: &Key) -> Result<(), Reason> {
        let snapshot = self.snapshot;
        for link in self.links_of(key).iter().filter(|link| link.env) {
            let Some(target) = snapshot.desired.instances.get(&link.to) else { continue };
            let wanted = revision_now(&snapshot.desired, &snapshot.records, &link.to, target);
            let mut ready = self.containers_of(&link.to).filter(|at| at.is_ready());
            let is_current =
                |at: &Located| wanted.as_ref() == Some(&at.container.identity.revision);
            if link.condition != Some(Condition::Completed) && !ready.any(is_current) {
                return Err(self.waiting_on(&link.to, target, Condition::Healthy));
            }
        }
        Ok(())
    }

    fn waiting_on(
        &self,
        instance: &Key,
        target: &Declared<InstanceSpec>,
        condition: Condition,
    ) -> Reason {
        let what = waits_for(instance, condition);
        match self.trouble(instance, target, condition) {
            Some(trouble) => {
                Reason::Stalled { message: format!("waits for {what}, and {instance} {trouble}") }
            }
            None => Reason::WaitingOn { what },
        }
    }
}
