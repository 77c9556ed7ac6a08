//! Block devices: bytes and operations a second, and a weight where a scheduler knows one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use reconciler::model::quantity::Bytes;
use reconciler::model::spec::BlockIo;
use rustix::fs::{major, minor};

use super::files::{Group, Setting};
use super::hierarchy::{Controller, Hierarchy, Version};

const MAX: &str = "io.max";
const WEIGHT: &str = "io.weight";
const COST: &str = "io.cost.qos";

/// What the kernel gives who was told nothing, in version 2.
const WEIGHT_USUAL: u64 = 100;

/// The files of version 1, in the order of [`Rates`].
const THROTTLES: [&str; 4] = [
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
];

/// The same in version 2.
const KEYS: [&str; 4] = ["rbps", "wbps", "riops", "wiops"];

/// What one device may do a second: bytes read, bytes written, reads, writes. 0 is no limit.
type Rates = [u64; 4];

/// Devices by their numbers, as the kernel writes them: `254:0`.
type ByNumber = BTreeMap<String, Rates>;

/// The kernel's numbers of a device, by its path on this host.
///
/// # Errors
/// If there is no such device.
pub fn number(device: &str) -> Result<String, String> {
    let found =
        fs::metadata(device).map_err(|error| format!("look at block device {device}: {error}"))?;
    if !found.file_type().is_block_device() {
        return Err(format!("{device} is no block device"));
    }
    Ok(format!("{}:{}", major(found.rdev()), minor(found.rdev())))
}

/// The path of a device of these numbers, where the system has it.
fn path(number: &str) -> String {
    let link = fs::read_link(format!("/dev/block/{number}")).ok();
    let name = link.as_ref().and_then(|link| link.file_name()?.to_str());
    name.map_or_else(|| format!("/dev/block/{number}"), |name| format!("/dev/{name}"))
}

fn by_number(
    io: &BlockIo,
    number: impl Fn(&str) -> Result<String, String>,
) -> Result<ByNumber, String> {
    let BlockIo { weight: _, read_bps, write_bps, read_iops, write_iops } = io;
    let mut found = ByNumber::new();
    let mut add = |at: usize, device: &str, rate: u64| {
        let rates = found.entry(number(device)?).or_default();
        rates[at] = rate;
        Ok::<_, String>(())
    };
    for (at, rates) in [(0, read_bps), (1, write_bps)] {
        rates.iter().try_for_each(|(device, Bytes(rate))| add(at, device, *rate))?;
    }
    for (at, rates) in [(2, read_iops), (3, write_iops)] {
        rates.iter().try_for_each(|(device, rate)| add(at, device, *rate))?;
    }
    Ok(found)
}

/// What brings the rates of a group to these, complete: what is not named is lifted.
///
/// # Errors
/// If a device is not there, or a file cannot be read.
pub fn limits(group: &Group<'_>, io: &BlockIo) -> Result<Vec<Setting>, String> {
    let wanted = by_number(io, number)?;
    let present = read_rates(group).map_err(|error| format!("read its IO limits: {error}"))?;
    let mut settings = settings(group.version(), &present, &wanted);
    let present = read_weight(group).map_err(|error| format!("read its IO weight: {error}"))?;
    let wanted = io.weight.map_or(WEIGHT_USUAL, weight_of);
    if let Some(present) = present.filter(|present| *present != wanted) {
        let line = |weight: u64| format!("default {weight}");
        let undo = Some(line(present));
        settings.push(Setting { undo, ..Setting::new(Controller::Io, WEIGHT, line(wanted)) });
    }
    Ok(settings)
}

fn settings(version: Version, present: &ByNumber, wanted: &ByNumber) -> Vec<Setting> {
    let devices: BTreeSet<&String> = present.keys().chain(wanted.keys()).collect();
    let mut found = Vec::new();
    for device in devices {
        let rates = |all: &ByNumber| all.get(device).copied().unwrap_or_default();
        let (from, to) = (rates(present), rates(wanted));
        if from == to {
            continue;
        }
        match version {
            Version::One => {
                for (at, file) in
                    THROTTLES.into_iter().enumerate().filter(|(at, _)| from[*at] != to[*at])
                {
                    let line = |rate: u64| format!("{device} {rate}");
                    let undo = Some(line(from[at]));
                    found
                        .push(Setting { undo, ..Setting::new(Controller::Io, file, line(to[at])) });
                }
            }
            Version::Two => {
                let line = |rates: Rates| {
                    let each = KEYS.into_iter().zip(rates).map(|(key, rate)| match rate {
                        0 => format!("{key}=max"),
                        rate => format!("{key}={rate}"),
                    });
                    format!("{device} {}", each.collect::<Vec<_>>().join(" "))
                };
                let undo = Some(line(from));
                found.push(Setting { undo, ..Setting::new(Controller::Io, MAX, line(to)) });
            }
        }
    }
    found
}

/// A weight of version 2, from 1 to 10000, for one of version 1, from 10 to 1000.
fn weight_of(weight: u16) -> u64 {
    1 + u64::from(weight.clamp(10, 1000) - 10) * 9999 / 990
}

/// Whether groups of this kernel have weights, in version 2. Its root has no weight itself, but what
/// sets up who goes by them.
#[must_use]
pub fn has_weights(trees: &Hierarchy) -> bool {
    trees.path(Controller::Io, "/").is_some_and(|root| root.join(COST).is_file())
}

/// The weight of a group, as version 2 counts it; `None` if its kernel knows none.
fn read_weight(group: &Group<'_>) -> io::Result<Option<u64>> {
    let text = group.read(Controller::Io, WEIGHT)?.unwrap_or_default();
    let default = text.lines().find_map(|line| line.strip_prefix("default "));
    Ok(default.and_then(|weight| weight.trim().parse().ok()))
}

/// The weight in force of the group of a project: as it was `told`, if the kernel says that.
///
/// # Errors
/// If the file cannot be read.
pub fn live_weight(group: &Group<'_>, told: Option<u16>) -> io::Result<Option<u16>> {
    let Some(found) = read_weight(group)? else { return Ok(told) };
    if found == told.map_or(WEIGHT_USUAL, weight_of) {
        return Ok(told);
    }
    let weight = 10 + (found.saturating_sub(1) * 990).div_ceil(9999);
    Ok(u16::try_from(weight).ok().filter(|_| found != WEIGHT_USUAL))
}

/// The rates of a group, by the devices' numbers.
fn read_rates(group: &Group<'_>) -> io::Result<ByNumber> {
    let mut found = ByNumber::new();
    match group.version() {
        Version::One => {
            for (at, file) in THROTTLES.into_iter().enumerate() {
                let text = group.read(Controller::Io, file)?.unwrap_or_default();
                for (device, rate) in text.lines().filter_map(|line| line.split_once(' ')) {
                    if let Ok(rate) = rate.trim().parse() {
                        found.entry(device.to_owned()).or_default()[at] = rate;
                    }
                }
            }
        }
        Version::Two => {
            let text = group.read(Controller::Io, MAX)?.unwrap_or_default();
            for (device, rates) in text.lines().filter_map(|line| line.split_once(' ')) {
                let of = found.entry(device.to_owned()).or_default();
                for (key, rate) in rates.split(' ').filter_map(|part| part.split_once('=')) {
                    if let Some(at) = KEYS.iter().position(|known| *known == key) {
                        of[at] = rate.parse().unwrap_or(0);
                    }
                }
            }
        }
    }
    found.retain(|_, rates| *rates != Rates::default());
    Ok(found)
}

/// The rates in force: as they were `told`, device by device under the name that it was told by, if
/// the kernel says that.
///
/// # Errors
/// If a file cannot be read.
pub fn live(group: &Group<'_>, told: &BlockIo) -> io::Result<BlockIo> {
    let found = read_rates(group)?;
    if by_number(told, number).is_ok_and(|told| told == found) {
        return Ok(told.clone());
    }
    let mut live = BlockIo { weight: told.weight, ..BlockIo::default() };
    for (number, [read_bps, write_bps, read_iops, write_iops]) in found {
        let device = path(&number);
        let add = |to: &mut BTreeMap<String, Bytes>, rate: u64| {
            if rate > 0 {
                to.insert(device.clone(), Bytes(rate));
            }
        };
        add(&mut live.read_bps, read_bps);
        add(&mut live.write_bps, write_bps);
        for (to, rate) in [(&mut live.read_iops, read_iops), (&mut live.write_iops, write_iops)] {
            if rate > 0 {
                to.insert(device.clone(), rate);
            }
        }
    }
    Ok(live)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn rates(text: &str) -> ByNumber {
        let each = |part: &str| {
            let mut words = part.split(' ');
            let device = words.next().expect("a device").to_owned();
            let rates: Vec<u64> = words.map(|word| word.parse().expect("a number")).collect();
            (device, rates.try_into().expect("four"))
        };
        text.split(',').filter(|part| !part.is_empty()).map(each).collect()
    }

    fn lines(version: Version, present: &str, wanted: &str) -> Vec<String> {
        let all = settings(version, &rates(present), &rates(wanted));
        all.iter().map(|one| format!("{}: {}", one.file, one.value)).collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let one = lines(Version::One, "8:0 5 0 0 0,8:16 1 0 0 0", "8:0 5 7 0 0");
        assert_eq!(
            one,
            ["blkio.throttle.write_bps_device: 8:0 7", "blkio.throttle.read_bps_device: 8:16 0"]
        );
        let two = lines(Version::Two, "8:0 5 0 0 0", "8:0 5 7 0 0");
        assert_eq!(two, ["io.max: 8:0 rbps=5 wbps=7 riops=max wiops=max"]);
        assert!(lines(Version::Two, "8:0 5 0 0 0", "8:0 5 0 0 0").is_empty());
    }

    #[test]
    fn rates_are_read_back() {
        let room = Fixture::new(Version::Two);
        room.put(Controller::Io, "/w/a", MAX, "8:0 rbps=5 wbps=max riops=max wiops=9\n");
        assert_eq!(read_rates(&room.group("/w/a")).expect("read"), rates("8:0 5 0 0 9"));
        let room = Fixture::new(Version::One);
        room.put(Controller::Io, "/w/a", THROTTLES[0], "8:0 5\n8:16 6\n");
        room.put(Controller::Io, "/w/a", THROTTLES[3], "8:0 9\n");
        let found = read_rates(&room.group("/w/a")).expect("read");
        assert_eq!(found, rates("8:0 5 0 0 9,8:16 6 0 0 0"));
    }

    #[test]
    fn what_is_no_block_device_is_told() {
        let error = number("/dev/null").expect_err("a character device");
        assert!(error.contains("/dev/null is no block device"), "{error}");
        assert!(number("/dev/no-such-disk").is_err());
    }

    #[test]
    fn weights_have_another_range() {
        assert_eq!((weight_of(10), weight_of(1000)), (1, 10_000));
        for weight in 10..=1000 {
            let room = Fixture::new(Version::Two);
            room.put(Controller::Io, "/w/a", WEIGHT, "default 100\n");
            let group = room.group("/w/a");
            let io = BlockIo { weight: Some(weight), ..BlockIo::default() };
            group.write_all(&limits(&group, &io).expect("read")).expect("written");
            // After a restart nobody knows what was told.
            for told in [Some(weight), None] {
                let found = live_weight(&group, told).expect("read");
                assert_eq!(found, Some(weight));
            }
        }
    }

    #[test]
    fn a_weight_that_is_no_longer_asked_for_is_the_usual_one_again() {
        let room = Fixture::new(Version::Two);
        room.put(Controller::Io, "/w/a", WEIGHT, "default 3000\n");
        let group = room.group("/w/a");
        group.write_all(&limits(&group, &BlockIo::default()).expect("read")).expect("written");
        assert_eq!(room.get(Controller::Io, "/w/a", WEIGHT), "default 100");
        assert_eq!(live_weight(&group, Some(300)).expect("read"), None);
    }
}
