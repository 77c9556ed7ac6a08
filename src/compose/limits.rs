//! Limits: those of a service, and those of its `deploy.resources`.

use reconciler::model::quantity::{Bytes, Cpus, cpuset};
use reconciler::model::spec::limits::{CPU_SHARES, IO_WEIGHTS, PIDS_MAX};
use serde_yaml::Mapping;

use super::item::Item;
use super::notes::Part;
use super::write::{put, put_some, texts};
use super::{Set, words};

/// The `resources` of an Instance.
pub(super) fn of<'i>(
    part: &mut Part<'i>,
    deploy: Option<&mut Part<'i>>,
    set: &mut Set<'_>,
) -> Mapping {
    let service = part.service();
    let resources = deploy.and_then(|deploy| deploy.take("resources"));
    let mut resources = resources.map(|item| Part::new(service, "deploy.resources.", item));
    let limits = resources.as_mut().and_then(|resources| resources.take("limits"));
    let mut limits = limits.map(|item| Part::new(service, "deploy.resources.limits.", item));
    let mut either = |own: Option<&'i Item>, theirs: &'static str| {
        limits.as_mut().and_then(|limits| limits.take(theirs)).or(own)
    };
    let mut spec = Mapping::new();
    let cpus = either(part.take("cpus"), "cpus");
    let memory = either(part.take("mem_limit"), "memory");
    let pids = either(part.take("pids_limit"), "pids");
    let cpus = self::cpus(part, cpus, set);
    put_some(&mut spec, "cpus", cpus);
    if let Some(item) = part.take("cpu_shares") {
        match item.number().and_then(|number| u64::try_from(number).ok()) {
            Some(0) => {}
            Some(number) if (CPU_SHARES.0..=CPU_SHARES.1).contains(&number) => {
                put(&mut spec, "cpuShares", number);
            }
            Some(_) | None => {
                part.lost(&mut set.notes, "cpu_shares", item.line, "expected 2 to 262144");
            }
        }
    }
    if let Some(item) = part.take("cpuset") {
        match cpuset(item.text().unwrap_or_default()) {
            Ok(cpus) => put(&mut spec, "cpuset", cpus),
            Err(why) => part.lost(&mut set.notes, "cpuset", item.line, &why.to_string()),
        }
    }
    let memory_line = memory.map_or(0, |item| item.line);
    let memory = memory.and_then(|item| bytes(part, "mem_limit", item, set));
    let memory = memory.filter(|bytes| *bytes > 0);
    if let Some(bytes) = memory {
        if bytes < Bytes::MEMORY_MIN.0 {
            let why = format!("it is {}: engines need as much", Bytes::MEMORY_MIN);
            part.changed(&mut set.notes, "mem_limit", memory_line, &why);
        }
        let bytes = Bytes(bytes).max(Bytes::MEMORY_MIN);
        put(&mut spec, "memory", bytes.to_string());
    }
    swap(part, memory, &mut spec, set);
    if let Some(item) = pids {
        match item.number() {
            Some(number) if number > PIDS_MAX.try_into().unwrap_or(i64::MAX) => {
                part.lost(&mut set.notes, "pids_limit", item.line, "no kernel has so many");
            }
            Some(number) if number > 0 => put(&mut spec, "pids", number),
            // There is no limit, as there is none if nothing is said.
            Some(_) => {}
            None => part.lost(&mut set.notes, "pids_limit", item.line, "expected a whole number"),
        }
    }
    disk(part, &mut spec, set);
    put(&mut spec, "io", io(part, set));
    for part in [limits, resources].into_iter().flatten() {
        part.finish(&mut set.notes);
    }
    spec
}

fn cpus(part: &mut Part<'_>, item: Option<&Item>, set: &mut Set<'_>) -> Option<String> {
    let (quota, period) = (part.take("cpu_quota"), part.take("cpu_period"));
    if let Some(item) = item {
        let text = item.text().unwrap_or_default();
        return match text.parse::<Cpus>() {
            Ok(cpus) => Some(cpus.to_string()),
            Err(_) if text.parse::<f64>() == Ok(0.0) => None,
            Err(why) => {
                part.lost(&mut set.notes, "cpus", item.line, &why.to_string());
                None
            }
        };
    }
    let quota = u64::try_from(quota?.number()?).ok().filter(|quota| *quota > 0)?;
    // Engines' own period is 100 ms.
    let period = period.and_then(Item::number).and_then(|period| u64::try_from(period).ok());
    let period = period.filter(|period| *period > 0).unwrap_or(100_000);
    let cpus = Cpus(quota.saturating_mul(Cpus::NANO) / period).clamp(Cpus::MIN, Cpus::MAX);
    Some(cpus.to_string())
}

fn swap(part: &mut Part<'_>, memory: Option<u64>, spec: &mut Mapping, set: &mut Set<'_>) {
    let Some(item) = part.take("memswap_limit") else { return };
    let Some(memory) = memory else {
        let why = "it counts memory and swap together, and there is no limit of memory";
        return part.lost(&mut set.notes, "memswap_limit", item.line, why);
    };
    if item.text() == Some("-1") {
        return put(spec, "memorySwap", "unlimited");
    }
    let Some(bytes) = bytes(part, "memswap_limit", item, set).filter(|bytes| *bytes > 0) else {
        return;
    };
    let least = Bytes(memory).max(Bytes::MEMORY_MIN);
    put(spec, "memorySwap", Bytes(bytes).max(least).to_string());
}

fn bytes(part: &Part<'_>, name: &str, item: &Item, set: &mut Set<'_>) -> Option<u64> {
    let found = words::size(item.text().unwrap_or_default());
    if found.is_none() {
        part.lost(&mut set.notes, name, item.line, "expected a size such as 512m");
    }
    found
}

/// `storage_opt`, of which the size is known.
fn disk(part: &mut Part<'_>, spec: &mut Mapping, set: &mut Set<'_>) {
    let Some(item) = part.take("storage_opt") else { return };
    let mut options = Part::new(part.service(), "storage_opt.", item);
    if let Some(item) = options.take("size")
        && let Some(bytes) = bytes(&options, "size", item, set)
    {
        put(spec, "disk", Bytes(bytes).max(Bytes::DISK_MIN).to_string());
    }
    options.finish(&mut set.notes);
}

/// `blkio_config`.
fn io(part: &mut Part<'_>, set: &mut Set<'_>) -> Mapping {
    let mut spec = Mapping::new();
    let Some(item) = part.take("blkio_config") else { return spec };
    let mut io = Part::new(part.service(), "blkio_config.", item);
    if let Some(item) = io.take("weight") {
        let (min, max) = IO_WEIGHTS;
        match item.number().and_then(|weight| u64::try_from(weight).ok()) {
            Some(weight) if (min..=max).contains(&weight) => put(&mut spec, "weight", weight),
            Some(0) => {}
            Some(_) | None => io.lost(&mut set.notes, "weight", item.line, "expected 10 to 1000"),
        }
    }
    let rates = [
        ("device_read_bps", "readBps"),
        ("device_write_bps", "writeBps"),
        ("device_read_iops", "readIops"),
        ("device_write_iops", "writeIops"),
    ];
    for (theirs, ours) in rates {
        let items = io.take(theirs).map(Item::items).unwrap_or_default();
        let counts = ours.ends_with("Iops");
        let mut numbers = Mapping::new();
        let mut amounts = Vec::new();
        for item in items {
            let path = item.field("path").and_then(Item::text).unwrap_or_default();
            let rate = item.field("rate").and_then(Item::text).and_then(words::size);
            match rate.filter(|rate| *rate > 0 && path.starts_with("/dev/")) {
                Some(rate) if counts => put(&mut numbers, path, rate),
                Some(rate) => amounts.push((path.to_owned(), Bytes(rate).to_string())),
                None => io.lost(&mut set.notes, theirs, item.line, "expected a device and a rate"),
            }
        }
        put(&mut spec, ours, numbers);
        put(&mut spec, ours, texts(amounts));
    }
    io.finish(&mut set.notes);
    spec
}
