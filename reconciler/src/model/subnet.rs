//! Ranges of addresses that windlass gives out itself.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// The range that projects' own networks are made from, if nobody says: it stays clear of the pools
/// that engines make networks from by themselves, and of what clusters of containers use.
pub const RANGE_DEFAULT: Net = Net { base: 0x0a90_0000, bits: 12 };

/// A project's network is so large: 2,046 addresses for us, and as many for the engine.
pub const PROJECT_BITS: u8 = 20;

/// The network of a link is so large, if that is enough: 13 addresses beside the engine's own.
pub const LINK_BITS: u8 = 28;

/// Addresses of a range that no container gets: the first, the last, and the engine's own.
const RESERVED: u64 = 3;

/// The smallest range that can be split in two halves with an address each.
const BITS_MAX: u8 = 28;

/// Addresses that begin alike: `10.144.0.0/20`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Net {
    base: u32,
    bits: u8,
}

/// A text is not a [`Net`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no range of IPv4 addresses; write one such as 10.144.0.0/12, of at most {BITS_MAX} bits"
)]
pub struct NetError(String);

impl Net {
    /// How many leading bits its addresses share.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The `bits` long ranges that it is made of, in order; itself if it is no longer than that.
    pub fn split(self, bits: u8) -> impl Iterator<Item = Net> {
        let bits = bits.max(self.bits);
        let step = 1u64 << (32 - bits);
        let first = u64::from(self.base);
        let end = first + (1u64 << (32 - self.bits));
        (first..end)
            .step_by(usize::try_from(step).unwrap_or(usize::MAX))
            .filter_map(move |base| Some(Net { base: u32::try_from(base).ok()?, bits }))
    }

    /// How long the leading part of a link's network is that so many containers are on at most.
    #[must_use]
    pub fn bits_for(containers: u64) -> u8 {
        let fits = |bits: &u8| (1u64 << (32 - bits)) - RESERVED >= containers;
        (PROJECT_BITS..=LINK_BITS).rev().find(fits).unwrap_or(PROJECT_BITS)
    }

    /// Its first address and its last one, as numbers.
    #[must_use]
    pub fn bounds(self) -> (u32, u32) {
        (self.base, self.base | u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0))
    }

    /// How many ranges of `bits` it is made of; one if it is no longer than that.
    #[must_use]
    pub fn parts(self, bits: u8) -> u32 {
        1 << (bits.max(self.bits) - self.bits)
    }

    /// The range of `bits` at `index` among those that it is made of.
    #[must_use]
    pub fn part(self, bits: u8, index: u32) -> Self {
        let bits = bits.max(self.bits);
        Self { base: self.base | index.checked_shl(32 - u32::from(bits)).unwrap_or(0), bits }
    }

    /// Which of the ranges of its own length that `whole` is made of it is.
    #[must_use]
    pub fn index_in(self, whole: Net) -> Option<u32> {
        whole.contains(Ipv4Addr::from_bits(self.base)).then(|| {
            let offset = self.base - whole.base;
            offset.checked_shr(32 - u32::from(self.bits)).unwrap_or(0)
        })
    }

    /// Its lower half, which is the engine's, and its upper half, which is ours.
    #[must_use]
    pub fn halves(self) -> (Net, Net) {
        let bits = self.bits + 1;
        (Net { base: self.base, bits }, Net { base: self.base | 1 << (32 - bits), bits })
    }

    /// Addresses that a container can have, in order: neither the first one nor the last.
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let size = 1u32 << (32 - self.bits);
        (self.base + 1..self.base + size - 1).map(Ipv4Addr::from_bits)
    }

    /// Whether an address is of it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() >> (32 - self.bits) == self.base >> (32 - self.bits)
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Net) -> bool {
        let bits = self.bits.min(other.bits);
        bits == 0 || self.base >> (32 - bits) == other.base >> (32 - bits)
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from_bits(self.base), self.bits)
    }
}

impl FromStr for Net {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let parsed = text.split_once('/').and_then(|(address, bits)| {
            let base = address.parse::<Ipv4Addr>().ok()?.to_bits();
            let bits = bits.parse::<u8>().ok().filter(|bits| (1..=BITS_MAX).contains(bits))?;
            let is_start = base.checked_shl(u32::from(bits)).unwrap_or(0) == 0;
            is_start.then_some(Net { base, bits })
        });
        parsed.ok_or_else(|| NetError(text.to_owned()))
    }
}

impl TryFrom<String> for Net {
    type Error = NetError;
    fn try_from(text: String) -> Result<Self, NetError> {
        text.parse()
    }
}

impl From<Net> for String {
    fn from(net: Net) -> Self {
        net.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        text.parse().expect("a range")
    }

    #[test]
    fn a_range_is_split_without_gaps() {
        assert_eq!(RANGE_DEFAULT.to_string(), "10.144.0.0/12");
        let parts: Vec<Net> = RANGE_DEFAULT.split(PROJECT_BITS).collect();
        assert_eq!(parts.len(), 256);
        assert_eq!(parts[1].to_string(), "10.144.16.0/20");
        assert!(parts.windows(2).all(|pair| !pair[0].overlaps(pair[1])));
        assert!(parts.iter().all(|part| part.overlaps(RANGE_DEFAULT)));
        assert_eq!(net("10.1.0.0/24").split(20).collect::<Vec<_>>(), [net("10.1.0.0/24")]);
    }

    #[test]
    fn halves_hold_addresses_of_their_own() {
        let (lower, upper) = net("10.144.16.0/20").halves();
        assert_eq!((lower, upper), (net("10.144.16.0/21"), net("10.144.24.0/21")));
        assert_eq!(upper.hosts().count(), 2046);
        assert_eq!(upper.hosts().next(), Some(Ipv4Addr::new(10, 144, 24, 1)));
        assert!(upper.contains(Ipv4Addr::new(10, 144, 31, 254)));
        assert!(!upper.contains(Ipv4Addr::new(10, 144, 23, 255)));
    }

    #[test]
    fn parts_are_those_that_it_is_split_into() {
        let whole = net("10.144.0.0/20");
        let all: Vec<Net> = whole.split(28).collect();
        assert_eq!(all.len(), whole.parts(28) as usize);
        for (index, part) in all.iter().enumerate() {
            let index = u32::try_from(index).expect("few");
            assert_eq!((whole.part(28, index), part.index_in(whole)), (*part, Some(index)));
            let (first, last) = part.bounds();
            assert_eq!(last - first, 15);
        }
        assert_eq!(net("10.145.0.0/28").index_in(whole), None);
        assert_eq!((whole.parts(20), whole.part(16, 0)), (1, whole));
    }

    #[test]
    fn a_links_network_has_room_for_all_and_no_more_than_that() {
        let sizes = [(0, 28), (13, 28), (14, 27), (29, 27), (30, 26), (4093, 20), (9999, 20)];
        for (containers, bits) in sizes {
            assert_eq!(Net::bits_for(containers), bits, "{containers}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in ["", "10.0.0.0", "10.0.0.0/29", "10.0.0.0/0", "10.0.0.1/24", "fd00::/64"] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
    }
}
