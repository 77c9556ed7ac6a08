//! What it costs to keep what 1,000 containers used: a minute booked, and 400 days of them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reconciler::model::ids::{ContainerId, Name, ReplicaKey};
use reconciler::model::time::Timestamp;
use reconciler::ports::{StoreError, UsageStore as _};
use reconciler::usage::{
    Amounts, Counters, Flavor, Life, Meter, Pending, Query, Series, Sighting, Tally,
};
use tempfile::TempDir;
use windlass::store::SledUsage;

use crate::lab::Lab;
use crate::table::{Failure, Row, ms};

const CONTAINERS: u32 = 1_000;
const DAYS: u32 = 400;
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);
const BEGIN: Timestamp = Timestamp(1_795_171_267_999);
const RUNS: u32 = 21;

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    let dir = TempDir::new().map_err(|error| error.to_string())?;
    let path = dir.path().join("usage");
    let said = |error: StoreError| error.to_string();
    let mut store = SledUsage::open(&path).map_err(said)?;
    let mut meter = Meter::default();
    let full = BEGIN + DAY * DAYS;
    // What was used in a day is known at its end, and gets coarser with each one that follows.
    for day in 0..DAYS {
        let (from, to) = (BEGIN + DAY * day, BEGIN + DAY * (day + 1));
        let mut pending = Pending::default();
        for number in 0..CONTAINERS {
            pending.add(&series(number)?, &a_day(), (from, to), full);
        }
        store.book(&pending, meter.marks(), full).map_err(said)?;
    }
    let mut booked = Vec::new();
    for minute in 0..RUNS {
        let at = full + MINUTE * minute;
        for number in 0..CONTAINERS {
            meter.see(sighting(number, full, at, minute)?, at);
        }
        let began = Instant::now();
        store.book(meter.pending(), meter.marks(), at).map_err(said)?;
        booked.push(ms(began.elapsed()));
        meter.booked(at);
    }
    drop(store);
    let began = Instant::now();
    let mut store = SledUsage::open(&path).map_err(said)?;
    let opened = ms(began.elapsed());
    let mut told = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        let mut tally = Tally::new(Query::default());
        store.tell(&mut tally).map_err(said)?;
        if tally.account().lines.len() != 10 {
            return Err("not all projects are there".to_owned());
        }
        told.push(ms(began.elapsed()));
    }
    let size = bytes(&path).map_err(|error| error.to_string())?;
    #[expect(clippy::cast_precision_loss, reason = "it is shown in MB")]
    let size = size as f64 / 1e6;
    Ok(vec![
        Row::new("usage", "a minute of 1,000 containers booked", "ms", booked),
        Row::new("usage", "400 days of 1,000 containers summed up", "ms", told),
        Row::new("usage", "the same, opened", "ms", vec![opened]),
        Row::new("usage", "the same, on disk", "MB", vec![size]),
    ])
}

fn replica(number: u32) -> Result<ReplicaKey, Failure> {
    let key = format!("p{}/i{}", number % 10, number / 10);
    Ok(ReplicaKey::new(key.parse().map_err(|_| "no key".to_owned())?, 0))
}

fn series(number: u32) -> Result<Series, Failure> {
    let flavor = Some(Arc::from("m1.tiny"));
    Ok(Series { replica: replica(number)?, node: Name::local_node(), flavor })
}

/// A tenth of a processor, 100 MiB, and some writing.
fn a_day() -> Amounts {
    Amounts {
        ran_ms: 86_400_000,
        cpu_ns: 8_640_000_000_000,
        memory_byte_ms: (100_u128 << 20) * 86_400_000,
        memory_peak: 120 << 20,
        read_bytes: 10 << 20,
        written_bytes: 500 << 20,
        reads: 2_000,
        writes: 100_000,
        ..Amounts::default()
    }
}

fn sighting(
    number: u32,
    since: Timestamp,
    at: Timestamp,
    minute: u32,
) -> Result<Sighting, Failure> {
    let grown = u64::from(minute);
    Ok(Sighting {
        replica: replica(number)?,
        node: Name::local_node(),
        flavor: Flavor::Named(Arc::from("m1.tiny")),
        life: Life { container: ContainerId(Arc::from(format!("{number:064x}"))), since },
        at,
        counters: Counters {
            cpu_ns: grown * 6_000_000_000,
            memory: 100 << 20,
            pids: 5,
            written_bytes: grown * 350_000,
            writes: grown * 70,
            ..Counters::default()
        },
    })
}

fn bytes(dir: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { bytes(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}
