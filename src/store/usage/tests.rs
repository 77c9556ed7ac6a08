//! What is kept of what was used, against its twin in memory, and damaged.

use super::*;
use reconciler::model::ids::ContainerId;
use reconciler::usage::ledger::{MemoryShelf, book as book_in};
use reconciler::usage::{Account, Amounts, By, Counters, Flavor, Life, Meter, Query, Sighting};

const HOUR_MS: i64 = 3_600_000;
const BEGIN: i64 = 1_795_171_267_999;

fn sighting(instance: &str, since: i64, at: i64, cpu_ns: u64) -> Sighting {
    Sighting {
        replica: ReplicaKey::new(instance.parse().expect("a key"), 0),
        node: Name::local_node(),
        flavor: Flavor::Named(Arc::from("m1.tiny")),
        life: Life { container: ContainerId(Arc::from(instance)), since: Timestamp(since) },
        at: Timestamp(at),
        counters: Counters { cpu_ns, memory: 1 << 30, pids: 2, ..Counters::default() },
    }
}

fn account(store: &mut SledUsage, by: By) -> Account {
    let mut tally = Tally::new(Query { by, ..Query::default() });
    store.tell(&mut tally).expect("told");
    tally.account()
}

/// Books a sample each hour, in sled and in memory.
fn fill(store: &mut SledUsage, shelf: &mut MemoryShelf, hours: i64) -> Meter {
    let marks = store.marks().expect("read").expect("none were lost");
    let mut meter = Meter::new(marks);
    for hour in 1..=hours {
        let at = BEGIN + hour * HOUR_MS;
        for (number, instance) in ["shop/web", "shop/db"].into_iter().enumerate() {
            let cpu_ns =
                u64::try_from(hour).expect("few") * 1000 + u64::try_from(number).expect("few");
            meter.see(sighting(instance, BEGIN, at, cpu_ns), Timestamp(at));
        }
        store.book(meter.pending(), meter.marks(), Timestamp(at)).expect("booked");
        let Ok(()) = book_in(shelf, meter.pending(), Timestamp(at));
        meter.booked(Timestamp(at));
    }
    meter
}

#[test]
fn it_keeps_what_its_twin_in_memory_keeps() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("usage");
    let mut shelf = MemoryShelf::default();
    let mut store = SledUsage::open(&path).expect("opened");
    let meter = fill(&mut store, &mut shelf, 24 * 4);
    drop(store);
    let mut store = SledUsage::open(&path).expect("opened");
    let mut kept = Vec::new();
    for level in Level::ALL {
        let mut open = Open { store: &mut store, changed: &mut BTreeMap::new() };
        for bucket in open.before(level, Timestamp(i64::MAX)).expect("read") {
            kept.push((bucket, open.read(bucket).expect("read")));
        }
    }
    assert_eq!(kept, shelf.0.into_iter().collect::<Vec<_>>());
    let total = account(&mut store, By::Project).total.amounts;
    assert_eq!(total.cpu_ns, 96_000 + 96_001);
    assert_eq!(total.ran_ms, 2 * 96 * 3_600_000);
    let lines = account(&mut store, By::Instance).lines;
    assert_eq!(lines.iter().map(|line| &*line.name).collect::<Vec<_>>(), ["shop/db", "shop/web"]);
    let mut marks = meter.marks().clone();
    for mark in marks.values_mut() {
        mark.nano_cpus = None;
    }
    assert_eq!(store.marks().expect("read"), Some(marks), "so nothing is booked twice");
}

#[test]
fn what_is_damaged_is_left_out_and_the_rest_stays() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("usage");
    let mut store = SledUsage::open(&path).expect("opened");
    fill(&mut store, &mut MemoryShelf::default(), 24 * 4);
    let whole = account(&mut store, By::Project).total.amounts.cpu_ns;
    let (key, _) = store.db.scan_prefix([BUCKET]).next().expect("a bucket").expect("read");
    store.db.insert(key, &[1, 0xff][..]).expect("written");
    store.db.insert(MARKS, &[9][..]).expect("written");
    let less = account(&mut store, By::Project).total.amounts.cpu_ns;
    assert!(0 < less && less < whole, "{less} of {whole}");
    assert_eq!(store.marks().expect("read"), None, "they are lost, and what was booked is not");
}

#[test]
fn a_store_that_is_broken_begins_anew() {
    let room = tempfile::tempdir().expect("a directory");
    let path = room.path().join("usage");
    assert!(SledUsage::open_if_there(&path).expect("looked").is_none());
    let mut store = SledUsage::open(&path).expect("opened");
    fill(&mut store, &mut MemoryShelf::default(), 3);
    store.db.insert(series_key(0), "nonsense").expect("written");
    drop(store);
    let mut store = SledUsage::open(&path).expect("begun anew");
    assert_eq!(account(&mut store, By::Project).lines, []);
    assert_eq!(store.marks().expect("read"), Some(Marks::new()));
    assert!(room.path().join("usage.broken-1").exists());
}

#[test]
fn series_that_nothing_is_booked_for_go_in_the_end() {
    let room = tempfile::tempdir().expect("a directory");
    let mut store = SledUsage::open(&room.path().join("usage")).expect("opened");
    fill(&mut store, &mut MemoryShelf::default(), 2);
    let later = Timestamp(BEGIN + 500 * 24 * HOUR_MS);
    store.book(&Pending::default(), &Marks::new(), later).expect("booked");
    assert_eq!(store.db.scan_prefix([SERIES]).count(), 0);
    assert_eq!(store.db.scan_prefix([BUCKET]).count(), 0);
    assert_eq!(account(&mut store, By::Project).total.amounts, Amounts::default());
}

#[test]
fn numbers_are_read_as_they_were_written() {
    let amounts = Amounts {
        ran_ms: u64::MAX,
        cpu_ns: 0,
        memory_byte_ms: u128::MAX,
        memory_peak: 127,
        read_bytes: 128,
        ..Amounts::default()
    };
    let mut writer = Writer::new();
    writer.amounts(u32::MAX, &amounts);
    let bytes = writer.bytes();
    let mut reader = Reader::new(&bytes).expect("of this version");
    assert_eq!(reader.amounts(), Ok(Some((u32::MAX, amounts))));
    assert_eq!(reader.amounts(), Ok(None));
    for length in 1..bytes.len() {
        let mut reader = Reader::new(&bytes[..length]).expect("of this version");
        assert!(matches!(reader.amounts(), Err(_) | Ok(None)), "cut at {length}");
    }
}

/// One bucket and the last samples, in hexadecimal digits: for those who hold the form in which they are
/// kept against what it was.
pub(crate) fn sample() -> String {
    let amounts = Amounts { ran_ms: 60_000, cpu_ns: 1 << 40, reads: 3, ..Amounts::default() };
    let mut writer = Writer::new();
    writer.amounts(7, &amounts);
    let at = Timestamp(BEGIN + 60_000);
    let mut meter = Meter::new(Marks::new());
    meter.see(sighting("shop/web", BEGIN, at.0, 1 << 40), at);
    let marks = code::write_marks(meter.marks(), |_| 7);
    let digits = reconciler::model::ids::hex;
    let series = meter.marks().values().next().map(|mark| mark.series.clone()).expect("one");
    let series = serde_json::to_string(&Numbered { series, day: 20_777 }).expect("JSON");
    format!("bucket\t{}\nmarks\t{}\nseries\t{series}\n", digits(&writer.bytes()), digits(&marks))
}
