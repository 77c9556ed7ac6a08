//! Networks: the one that a container is created on, and all that it is on.

use super::{Want, change};
use crate::links::Linked;
use crate::model::few::Few;
use crate::model::ids::{ReplicaKey, is_link_network};
use crate::model::observed::{Attachment, ObservedContainer};
use crate::model::spec::InstanceSpec;
use crate::step::FieldChange;
use crate::want;

/// Begins the name of a network in a difference.
const NETWORK: &str = "network ";

/// Whether a difference is that a container is not on a network as it shall be: joined and left in
/// place.
#[must_use]
pub fn is_of_a_network(change: &FieldChange) -> bool {
    change.field.starts_with(NETWORK)
}

/// The engine's name of the network that a difference is about, if it is about one.
pub(crate) fn network_of(change: &FieldChange) -> Option<&str> {
    change.field.strip_prefix(NETWORK)
}

/// Whether a difference is about this network.
pub(crate) fn is_of_network(change: &FieldChange, network: &str) -> bool {
    network_of(change) == Some(network)
}

pub(super) fn mode(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let project = &want.replica.instance.project;
    if !want::is_network_mode(&have.config.network, want.spec, project) {
        let wanted = want::network_mode(want.spec, project);
        found(change("network", have.config.network.as_str(), wanted.as_str()));
    }
}

pub(super) fn attachments(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let present = &have.config.attachments;
    if is_just_on_own(want, present) {
        return;
    }
    let wanted = want::attachments(want.spec, want.replica, want.linked);
    let parts = NetworkWant { spec: want.spec, key: want.replica, linked: want.linked };
    for (network, attachment) in &wanted {
        match present.get(network) {
            None => found(change(&format!("{NETWORK}{network}"), "left", "joined")),
            Some(present) if !is_as_wanted(&parts, (network, attachment), present) => {
                found(change(
                    &format!("{NETWORK}{network}"),
                    "joined by other names or address",
                    "joined",
                ));
            }
            Some(_) => {}
        }
    }
    for network in present.keys().filter(|network| !wanted.contains_key(*network)) {
        found(left(network));
    }
}

/// That a container is on a network which it shall leave.
pub(crate) fn left(network: &str) -> FieldChange {
    change(&format!("{NETWORK}{network}"), "joined", "left")
}

/// Whether it is on its project's own network and on no other, which is what most are: told without
/// making a text.
fn is_just_on_own(want: &Want<'_>, present: &Few<String, Attachment>) -> bool {
    let ReplicaKey { instance, ordinal } = want.replica;
    let is_replica = |alias: &String| {
        let digits =
            alias.strip_prefix(instance.name.as_str()).and_then(|rest| rest.strip_prefix('-'));
        digits.is_some_and(|digits| digits.parse() == Ok(*ordinal))
    };
    want::is_on_own_network(want.spec)
        && want.linked.joins().is_empty()
        && present.len() == 1
        && present.iter().all(|(network, Attachment { aliases, address, links: _ })| {
            want::is_own_network(network, &instance.project)
                && address.is_some()
                && aliases.contains(instance.name.as_str())
                && aliases.iter().any(is_replica)
        })
}

/// What says how a container shall be on its networks.
pub(crate) struct NetworkWant<'a> {
    /// The spec of its instance.
    pub(crate) spec: &'a InstanceSpec,
    /// Its replica.
    pub(crate) key: &'a ReplicaKey,
    /// What its links bring.
    pub(crate) linked: &'a Linked,
}

/// Whether a container is on a network as it shall be. An address that nobody asked for is the
/// engine's choice; on its project's own network each has one of ours, which is recorded.
pub(crate) fn is_as_wanted(
    want: &NetworkWant<'_>,
    (network, wanted): (&str, &Attachment),
    present: &Attachment,
) -> bool {
    // What it calls others counts from its next container on: a container that is put on a network
    // anew loses its connections, and its hosts file says it as well.
    let Attachment { aliases, address, links } = wanted;
    let is_own = want::is_on_own_network(want.spec)
        && want::is_own_network(network, &want.key.instance.project);
    let right_address =
        if is_own { present.address.is_some() } else { *address == present.address };
    // A link's network is there for the name, and a name that leads elsewhere first is none.
    let right_links = if is_own {
        !present.links.keys().any(|alias| want.linked.joins_call(alias))
    } else {
        !is_link_network(network) || *links == present.links
    };
    aliases.is_subset(&present.aliases) && right_address && right_links
}
