//! Networks: the one that a container is created on, and all that it is on.

use super::{Want, change};
use crate::model::observed::{Attachment, ObservedContainer};
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

pub(super) fn mode(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let wanted = want::network_mode(want.spec);
    if have.config.network != wanted {
        found(change("network", have.config.network.as_str(), wanted));
    }
}

pub(super) fn attachments(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let wanted = want::attachments(want.spec, want.replica);
    let present = &have.config.more.attachments;
    for (network, attachment) in &wanted {
        match present.get(network) {
            None => found(change(&format!("{NETWORK}{network}"), "left", "joined")),
            Some(present) if !is_as_wanted(attachment, present) => {
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
        found(change(&format!("{NETWORK}{network}"), "joined", "left"));
    }
}

/// Whether a container is on a network as it shall be. An address that nobody asked for is the
/// engine's choice.
pub(crate) fn is_as_wanted(wanted: &Attachment, present: &Attachment) -> bool {
    let Attachment { aliases, address } = wanted;
    aliases.is_subset(&present.aliases) && *address == present.address
}
