//! Being on a network, in the twin of an engine.

use core::net::IpAddr;
use std::collections::BTreeSet;

use super::engine::{FakeEngine, error};
use crate::model::observed::Attachment;
use crate::plan::range_of;
use crate::ports::{Done, DriverError, DriverErrorKind};
use crate::want::DEFAULT_NETWORK;

impl FakeEngine {
    /// Puts a container on a network, or takes it off.
    pub(super) fn attach(
        &mut self,
        container: &str,
        network: &str,
        attachment: Option<&Attachment>,
    ) -> Result<Done, DriverError> {
        let is_there = network == DEFAULT_NETWORK || self.networks.contains_key(network);
        if !is_there {
            return Err(error(DriverErrorKind::NotFound, format!("no network {network}")));
        }
        let given = self.next_address(network);
        self.change(container, |found| {
            let present = &mut found.config.attachments;
            let before = match attachment {
                Some(attachment) => {
                    let address = attachment.address.or(given);
                    found.addresses.extend(address.map(|address| (network.to_owned(), address)));
                    present.insert(network.to_owned(), attachment.clone())
                }
                None => {
                    found.addresses.remove(network);
                    present.remove(network)
                }
            };
            before.is_some() != attachment.is_some()
        })
    }

    /// The first free address of a network whose range is known; the very first is the engine's own.
    fn next_address(&self, network: &str) -> Option<IpAddr> {
        let range = range_of(self.networks.get(network)?)?;
        let all = self.containers.values();
        let held: BTreeSet<&IpAddr> =
            all.filter_map(|found| found.addresses.get(network)).collect();
        range.hosts().skip(1).map(IpAddr::V4).find(|address| !held.contains(address))
    }
}
