//! CPU time: a hard cap as so much of each period, and a weight among those who want it at once.

use std::io;

use reconciler::model::groups::is_same_cpus;
use reconciler::want::CPU_SHARES_USUAL;

use super::files::{Group, Setting};
use super::hierarchy::{Controller, Version};

/// The kernel's usual period, in microseconds; engines use it as well.
const PERIOD_US: u64 = 100_000;

/// Billionths of a cpu in a quota as long as its period.
const NANO: u64 = 1_000_000_000;

/// The smallest quota that the kernel takes, in microseconds.
const QUOTA_US_MIN: u64 = 1000;

const QUOTA: &str = "cpu.cfs_quota_us";
const PERIOD: &str = "cpu.cfs_period_us";
const SHARES: &str = "cpu.shares";
const MAX: &str = "cpu.max";
const WEIGHT: &str = "cpu.weight";

/// A cap of so many billionths of a cpu; 0 is none.
#[must_use]
pub fn cap(version: Version, nano_cpus: u64) -> Vec<Setting> {
    let us = u64::try_from(u128::from(nano_cpus) * u128::from(PERIOD_US) / u128::from(NANO));
    let us = us.unwrap_or(u64::MAX).max(QUOTA_US_MIN);
    let set = |file, value: String| Setting::new(Controller::Cpu, file, value);
    match (version, nano_cpus) {
        (Version::One, 0) => vec![set(QUOTA, "-1".to_owned())],
        // The usual period first: with another one the quota would be another share.
        (Version::One, _) => vec![set(PERIOD, PERIOD_US.to_string()), set(QUOTA, us.to_string())],
        (Version::Two, 0) => vec![set(MAX, format!("max {PERIOD_US}"))],
        (Version::Two, _) => vec![set(MAX, format!("{us} {PERIOD_US}"))],
    }
}

/// The cap of a group, in billionths of a cpu; 0 for none, `None` if the kernel does not say.
///
/// # Errors
/// If a file cannot be read.
pub fn read_cap(group: &Group<'_>) -> io::Result<Option<u64>> {
    let share = |quota: &str, period: &str| {
        let (quota, period) = (quota.parse::<u128>().ok()?, period.parse::<u128>().ok()?);
        u64::try_from(quota * u128::from(NANO) / period.max(1)).ok()
    };
    match group.version() {
        Version::One => {
            let Some(quota) = group.read(Controller::Cpu, QUOTA)? else { return Ok(None) };
            if quota.starts_with('-') {
                return Ok(Some(0));
            }
            let period = group.read(Controller::Cpu, PERIOD)?;
            Ok(period.and_then(|period| share(&quota, &period)))
        }
        Version::Two => {
            let Some(text) = group.read(Controller::Cpu, MAX)? else { return Ok(None) };
            let Some((quota, period)) = text.split_once(' ') else { return Ok(None) };
            Ok(if quota == "max" { Some(0) } else { share(quota, period) })
        }
    }
}

/// The cap in force: as it was `configured`, if the kernel says that.
///
/// # Errors
/// If a file cannot be read.
pub fn live_cap(group: &Group<'_>, configured: u64) -> io::Result<u64> {
    Ok(as_configured(read_cap(group)?, configured))
}

/// What was found, as it was `configured` if it is the same to the kernel.
#[must_use]
pub fn as_configured(found: Option<u64>, configured: u64) -> u64 {
    found.filter(|found| !is_same_cpus(configured, *found)).unwrap_or(configured)
}

/// A weight in shares, as engines count it; 0 is the usual one.
#[must_use]
pub fn weight(version: Version, shares: u64) -> Setting {
    let shares = if shares == 0 { CPU_SHARES_USUAL } else { shares };
    match version {
        Version::One => Setting::new(Controller::Cpu, SHARES, shares),
        Version::Two => Setting::new(Controller::Cpu, WEIGHT, weight_of(shares)),
    }
}

/// The weight of version 2 that stands for so many shares, as runtimes have it: from 2 to 262144
/// becomes from 1 to 10000.
fn weight_of(shares: u64) -> u64 {
    1 + shares.clamp(2, 262_144).saturating_sub(2) * 9999 / 262_142
}

/// The weight in force, in shares; 0 for the usual one. As it was `configured`, if the kernel says
/// that.
///
/// # Errors
/// If a file cannot be read.
pub fn live_weight(group: &Group<'_>, configured: u64) -> io::Result<u64> {
    let expected = weight(group.version(), configured);
    let Some(text) = group.read(Controller::Cpu, expected.file)? else { return Ok(configured) };
    if text == expected.value {
        return Ok(configured);
    }
    // Newer runtimes map by another curve, and the kernel's own usual weight is 100.
    if group.version() == Version::Two && configured == 0 {
        return Ok(0);
    }
    let Ok(found) = text.parse::<u64>() else { return Ok(configured) };
    let shares = match group.version() {
        Version::One => found,
        Version::Two => 2 + found.saturating_sub(1) * 262_142 / 9999,
    };
    Ok(if shares == CPU_SHARES_USUAL { 0 } else { shares })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn lines(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|one| format!("{}={}", one.file, one.value)).collect()
    }

    #[test]
    fn caps_are_files() {
        let one = |nano| lines(&cap(Version::One, nano));
        let two = |nano| lines(&cap(Version::Two, nano));
        assert_eq!(one(500_000_000), ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000"]);
        assert_eq!(one(0), ["cpu.cfs_quota_us=-1"]);
        assert_eq!(one(1), ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=1000"]);
        assert_eq!(two(1_500_000_000), ["cpu.max=150000 100000"]);
        assert_eq!(two(0), ["cpu.max=max 100000"]);
        assert_eq!(two(u64::MAX), ["cpu.max=1844674407370955 100000"]);
    }

    #[test]
    fn caps_are_read_back() {
        for version in [Version::One, Version::Two] {
            for nano in [0, 10_000_000, 123_450_000, 500_000_000, 64_000_000_000] {
                let room = Fixture::new(version);
                for one in cap(version, nano) {
                    room.put(one.controller, "/w/a", one.file, &format!("{}\n", one.value));
                }
                let group = room.group("/w/a");
                assert_eq!(read_cap(&group).expect("read"), Some(nano), "{version:?} {nano}");
            }
        }
    }

    #[test]
    fn what_the_kernel_rounds_is_as_configured() {
        let room = Fixture::new(Version::Two);
        room.put(Controller::Cpu, "/w/a", "cpu.max", "12345 100000\n");
        let group = room.group("/w/a");
        assert_eq!(live_cap(&group, 123_456_789).expect("read"), 123_456_789);
        assert_eq!(live_cap(&group, 200_000_000).expect("read"), 123_450_000);
        assert_eq!(live_cap(&group, 0).expect("read"), 123_450_000);
    }

    #[test]
    fn weights_are_as_configured_or_as_found() {
        for (version, file, text) in
            [(Version::One, "cpu.shares", "512\n"), (Version::Two, "cpu.weight", "20\n")]
        {
            let room = Fixture::new(version);
            room.put(Controller::Cpu, "/w/a", file, text);
            let group = room.group("/w/a");
            assert_eq!(live_weight(&group, 512).expect("read"), 512, "{version:?}");
            let found = live_weight(&group, 2048).expect("read");
            assert!((490..=520).contains(&found), "{version:?} {found}");
        }
        assert_eq!(weight(Version::Two, 0).value, "39");
    }
}
