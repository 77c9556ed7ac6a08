//! Addresses and their ranges.

use core::net::IpAddr;

use rhai::{Dynamic, ImmutableString};

use super::subject;
use crate::policy::script::fault::{Answer, FailureKind, raise};
use crate::policy::script::language::words::Words;

pub(super) fn register(module: &mut Words) {
    module.set_native_fn("cidr_contains", |range: ImmutableString, address: Dynamic| {
        let address = parse(&subject(&address)?)?;
        contains(&range, address)
    });
    module.set_native_fn("is_loopback", |address: Dynamic| {
        Ok(parse(&subject(&address)?)?.is_loopback())
    });
    module.set_native_fn("is_unspecified", |address: Dynamic| {
        Ok(parse(&subject(&address)?)?.is_unspecified())
    });
}

fn parse(text: &str) -> Answer<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse() {
        Ok(address) => Ok(address),
        Err(_) => raise(FailureKind::Runtime, format!("{text:?} is no address")),
    }
}

fn contains(range: &str, address: IpAddr) -> Answer<bool> {
    let wrong = || raise(FailureKind::Runtime, format!("{range:?} is no range of addresses"));
    let Some((base, bits)) = range.split_once('/') else { return wrong() };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return wrong();
    };
    let (base, address, size): (_, _, u32) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            (u128::from(base.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits(), address.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Ok(false),
    };
    match size.checked_sub(bits) {
        Some(128) => Ok(true),
        Some(rest) => Ok(base >> rest == address >> rest),
        None => wrong(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_addresses() {
        let holds = |range: &str, address: &str| {
            contains(range, address.parse().expect("an address")).expect("a range")
        };
        assert!(holds("10.0.0.0/8", "10.1.2.3"));
        assert!(holds("0.0.0.0/0", "10.1.2.3"));
        assert!(holds("::/0", "fe80::1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(!holds("10.0.0.0/8", "fe80::1"));
        for bad in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1"] {
            assert!(contains(bad, IpAddr::from([10, 0, 0, 1])).is_err(), "{bad}");
        }
    }
}
