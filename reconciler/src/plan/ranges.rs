//! Ranges of addresses for the networks that windlass makes by itself: a project's own, and those of
//! links. Each is chosen once and recorded before its network is made.

use std::collections::BTreeMap;

use super::Round;
use crate::model::ids::{Digest, Key, Name};
use crate::model::journal::Entry;
use crate::model::observed::ObservedNetwork;
use crate::model::snapshot::Snapshot;
use crate::model::subnet::{Net, PROJECT_BITS};
use crate::report::Reason;

/// What engines say of a range that they cannot give.
const OVERLAP: &str = "overlap";

/// What this round knows and decided of ranges.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    chosen: BTreeMap<Key, Net>,
    taken: Option<Taken>,
}

/// Addresses that are taken: ranges that do not overlap, the last address of each by its first.
#[derive(Debug, Default)]
struct Taken(BTreeMap<u32, u32>);

impl Taken {
    fn of(snapshot: &Snapshot) -> Self {
        let recorded = snapshot.records.networks.values().filter_map(|record| record.subnet);
        let held = snapshot.nodes.values().flat_map(|seen| seen.networks.values());
        let held = held.flat_map(|held| &held.spec.subnets);
        let held = held.filter_map(|range| range.subnet.parse::<Net>().ok());
        let mut taken = Self::default();
        recorded.chain(held).for_each(|net| taken.add(net));
        taken
    }

    fn add(&mut self, net: Net) {
        let (mut first, mut last) = net.bounds();
        while let Some((start, end)) = self.met_by(first, last) {
            self.0.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.0.insert(first, last);
    }

    /// The last range that has an address among these.
    fn met_by(&self, first: u32, last: u32) -> Option<(u32, u32)> {
        let (start, end) = self.0.range(..=last).next_back()?;
        (*end >= first).then_some((*start, *end))
    }

    fn is_free(&self, net: Net) -> bool {
        let (first, last) = net.bounds();
        self.met_by(first, last).is_none()
    }
}

/// The range of a network of ours, as an engine shows it.
#[must_use]
pub fn range_of(network: &ObservedNetwork) -> Option<Net> {
    network.spec.subnets.first()?.subnet.parse().ok()
}

impl Round<'_> {
    /// The range of a network of ours: that of a network which is there, the recorded one, or the
    /// next free one.
    pub(super) fn subnet(&mut self, network: &Key, node: &Name) -> Result<Net, Reason> {
        if let Some(known) = self.ranges.chosen.get(network) {
            return Ok(*known);
        }
        let snapshot = self.snapshot;
        let record = snapshot.records.networks.get(network);
        let recorded = record.and_then(|record| record.subnet);
        let failure = record.and_then(|record| record.failures.get(node));
        let refused = recorded.zip(failure).is_some_and(|(recorded, failure)| {
            // One that was refused before says nothing of the one that is tried now.
            failure.message.contains(OVERLAP)
                && failure.goal == self.built_in_declaration(network, recorded).digest
        });
        let name = network.engine_name();
        let held = snapshot.nodes.values().find_map(|seen| seen.networks.get(&name));
        let subnet = match (held.and_then(range_of), recorded) {
            (Some(present), _) => present,
            (None, Some(recorded)) if !refused => recorded,
            (None, recorded) => self.free_subnet(network, recorded)?,
        };
        if recorded != Some(subnet) {
            self.decide(Entry::Subnet { network: network.clone(), subnet });
        }
        self.ranges.chosen.insert(network.clone(), subnet);
        Ok(subnet)
    }

    /// The first free range, or the first one behind `refused` and then round from the start.
    fn free_subnet(&mut self, network: &Key, refused: Option<Net>) -> Result<Net, Reason> {
        let snapshot = self.snapshot;
        let link = network.link_of_network();
        let range = snapshot.config.addresses;
        let bits = link.as_ref().map_or(PROJECT_BITS, |(_, bits)| *bits).max(range.bits());
        let count = range.parts(bits);
        // What was refused, and what was tried before it, comes last.
        let refused = refused.filter(|net| net.bits() == bits).and_then(|net| net.index_in(range));
        let (start, tries) = match refused {
            Some(index) => (index + 1, count - 1),
            None => {
                // Several owners may share an engine, and each begins elsewhere: they seldom meet.
                let owner = snapshot.records.owner.as_ref().map_or("", |owner| owner.0.as_str());
                let digest = Digest::of(owner.as_bytes());
                (u32::from_str_radix(&digest.0[..8], 16).unwrap_or(0) % count, count)
            }
        };
        let taken = self.ranges.taken.get_or_insert_with(|| Taken::of(snapshot));
        let at = |step: u32| {
            let index = (u64::from(start) + u64::from(step)) % u64::from(count);
            range.part(bits, u32::try_from(index).unwrap_or(0))
        };
        if let Some(found) = (0..tries).map(at).find(|net| taken.is_free(*net)) {
            taken.add(found);
            return Ok(found);
        }
        let message = match link {
            Some((link, _)) => format!(
                "no range is left for the network of link {link} in {range}: name another range \
                 with --addresses, or take links away that nobody needs"
            ),
            None => format!(
                "no range is left for the network of project {} in {range}: name another range \
                 with --addresses, or put its instances on a network that is declared",
                network.project
            ),
        };
        Err(Reason::Stalled { message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_become_one() {
        let net = |text: &str| text.parse::<Net>().expect("a range");
        let mut taken = Taken::default();
        for text in ["10.0.0.16/28", "10.0.1.0/24", "10.0.0.0/28", "10.0.0.0/22", "10.9.0.0/28"] {
            taken.add(net(text));
        }
        assert_eq!(taken.0.len(), 2);
        for (text, is_free) in [
            ("10.0.3.240/28", false),
            ("10.0.4.0/28", true),
            ("10.0.0.0/8", false),
            ("10.8.255.240/28", true),
            ("10.9.0.0/20", false),
        ] {
            assert_eq!(taken.is_free(net(text)), is_free, "{text}");
        }
    }
}
