//! What earlier versions wrote must stay readable: files of version 1 are kept in
//! `tests/golden-store/v1`, and read here.
//!
//! They are written once per version, by this test with `WINDLASS_GOLDEN=write`, and never again.

use std::fs;
use std::path::{Path, PathBuf};

use reconciler::model::record::Records;
use reconciler::ports::StateStore as _;
use serde_json::Value;
use tempfile::TempDir;

use super::samples::{checkpoint, entries, fold, full_records, small, stamp};
use crate::journal::{FileJournal, check, records_from, replay};
use crate::store::{SledStore, diff};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-store/v1")
}

/// Whether all that `old` says is in `new`: later versions may add fields.
fn keeps(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            old.iter().all(|(key, old)| new.get(key).is_some_and(|new| keeps(new, old)))
        }
        (Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && new.iter().zip(old).all(|(new, old)| keeps(new, old))
        }
        (new, old) => new == old,
    }
}

fn assert_keeps(records: &Records, file: &str) {
    let old: Value =
        serde_json::from_str(&fs::read_to_string(golden().join(file)).unwrap()).unwrap();
    let new = serde_json::to_value(records).unwrap();
    assert!(keeps(&new, &old), "{file} says\n{old:#}\nand was read as\n{new:#}");
}

#[test]
fn version_1_of_the_journal_stays_readable() {
    write_if_asked();
    let dir = golden().join("journal");
    assert_eq!(check(&dir).unwrap().torn, None);
    let (records, seq) = records_from(&dir).unwrap();
    assert_keeps(&records, "records.json");

    // The first segment on its own has one entry of each kind.
    let alone = TempDir::new().unwrap();
    let first = "0000000000000001.jsonl";
    fs::copy(dir.join(first), alone.path().join(first)).unwrap();
    let (mut count, mut first_records) = (0, Records::default());
    let replayed = replay(alone.path(), 0, &mut |stamped| {
        count += 1;
        first_records.apply(stamped.at, &stamped.entry);
    })
    .unwrap();
    assert_eq!((count, replayed.last_seq), (seq - 2, seq - 2));
    assert_keeps(&first_records, "records-of-first-segment.json");
}

#[test]
fn version_1_of_the_records_stays_readable() {
    write_if_asked();
    let dir = TempDir::new().unwrap();
    let db = sled::open(dir.path()).unwrap();
    for line in fs::read_to_string(golden().join("store.txt")).unwrap().lines() {
        let (key, rest) = line.split_once('\t').unwrap();
        let (version, json) = rest.split_once('\t').unwrap();
        let value = [&[version.parse().unwrap()], json.as_bytes()].concat();
        db.insert(key, value).unwrap();
    }
    drop(db);
    let (records, seq) = SledStore::open(dir.path()).unwrap().load().unwrap();
    assert_eq!(seq, 40);
    assert_keeps(&records, "records.json");
}

fn write_if_asked() {
    if std::env::var_os("WINDLASS_GOLDEN").is_none_or(|wish| wish != "write") {
        return;
    }
    let row = stamp(1, entries());
    let journal = golden().join("journal");
    if journal.exists() {
        fs::remove_dir_all(&journal).unwrap();
    }
    let last = row.len() as u64;
    let records = full_records();
    let second = [checkpoint(last + 1, &records), small(last + 2)];
    let mut written = FileJournal::begin(&journal, &row).unwrap();
    reconciler::ports::Journal::append(&mut written, &second).unwrap();
    let mut after = records;
    after.apply(second[1].at, &second[1].entry);
    let pretty = |records: &Records| serde_json::to_string_pretty(records).unwrap() + "\n";
    fs::write(golden().join("records.json"), pretty(&after)).unwrap();
    fs::write(golden().join("records-of-first-segment.json"), pretty(&fold(&row))).unwrap();

    let dir = TempDir::new().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    store.save(&diff(&Records::default(), &after), 40).unwrap();
    drop(store);
    let mut lines = String::new();
    for item in &*sled::open(dir.path()).unwrap() {
        let (key, value) = item.unwrap();
        let (key, json) = (str::from_utf8(&key).unwrap(), str::from_utf8(&value[1..]).unwrap());
        lines += &format!("{key}\t{}\t{json}\n", value[0]);
    }
    fs::write(golden().join("store.txt"), lines).unwrap();
}
