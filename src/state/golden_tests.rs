//! What earlier versions wrote must stay readable, and what a later one wrote is refused. Files of each
//! version are kept in `tests/golden-store`, and read here.
//!
//! Whoever changes what entries or records say raises [`SCHEMA_VERSION`], and writes the files of the new
//! version with `cargo test --lib golden -- --ignored`. Those of earlier versions never change again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reconciler::model::journal::SCHEMA_VERSION;
use reconciler::model::record::Records;
use reconciler::ports::{Journal as _, StateStore as _};
use serde_json::Value;
use tempfile::TempDir;

use super::samples::{checkpoint, entries, fold, full_records, small, stamp};
use super::{StateDir, open_records, rebuild};
use crate::journal::{FileJournal, Retention, check, history, records_from, replay};
use crate::store::{SledStore, diff};

/// The number of the last entry in the stores; it says nothing of the journals beside them.
const STORED_SEQ: u64 = 40;

fn golden(version: u8) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden-store/v{version}"))
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

fn assert_keeps(records: &Records, file: &Path) {
    let old: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let new = serde_json::to_value(records).unwrap();
    let file = file.display();
    assert!(keeps(&new, &old), "{file} says\n{old:#}\nand was read as\n{new:#}");
}

/// Puts a store in a directory, with `seq` as the number of its last entry.
fn put_store(version: u8, dir: &Path, seq: u64) {
    let db = sled::open(dir).unwrap();
    for line in fs::read_to_string(golden(version).join("store.txt")).unwrap().lines() {
        let (key, rest) = line.split_once('\t').unwrap();
        let (version, json) = rest.split_once('\t').unwrap();
        let json = match key {
            // The sum is of all other values.
            "head" => json.replace(&format!("\"seq\":{STORED_SEQ}"), &format!("\"seq\":{seq}")),
            _ => json.to_owned(),
        };
        let value = [&[version.parse().unwrap()], json.as_bytes()].concat();
        db.insert(key, value).unwrap();
    }
    db.flush().unwrap();
}

fn put_journal(version: u8, dir: &Path) {
    fs::create_dir(dir).unwrap();
    for file in fs::read_dir(golden(version).join("journal")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), dir.join(file.file_name())).unwrap();
    }
}

#[test]
fn journals_of_each_version_stay_readable() {
    for version in 1..=SCHEMA_VERSION {
        let dir = golden(version).join("journal");
        assert_eq!(check(&dir).unwrap().torn, None);
        let (records, seq) = records_from(&dir).unwrap();
        assert_keeps(&records, &golden(version).join("records.json"));

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
        assert_eq!((count, replayed.last_seq), (seq - 2, seq - 2), "version {version}");
        assert_keeps(&first_records, &golden(version).join("records-of-first-segment.json"));
    }
}

#[test]
fn stores_of_each_version_stay_readable() {
    for version in 1..=SCHEMA_VERSION {
        let dir = TempDir::new().unwrap();
        put_store(version, dir.path(), STORED_SEQ);
        let (records, seq) = SledStore::open(dir.path()).unwrap().load().unwrap();
        assert_eq!(seq, STORED_SEQ);
        assert_keeps(&records, &golden(version).join("records.json"));
    }
}

/// A directory as a version left it: journal and store say the same, and nobody has to repair anything.
#[test]
fn state_directories_of_each_version_are_taken_up() {
    for version in 1..=SCHEMA_VERSION {
        let dir = TempDir::new().unwrap();
        put_journal(version, &dir.path().join("journal"));
        let (before, seq) = records_from(&dir.path().join("journal")).unwrap();
        put_store(version, &dir.path().join("store"), seq);
        for attempt in 0..2 {
            let state = StateDir::open(dir.path()).unwrap();
            let opened = open_records(&state, Retention::default()).unwrap();
            assert_eq!(opened.repaired, Vec::<String>::new(), "version {version}");
            assert_eq!(opened.records, before, "version {version}");
            // A segment of our own begins once, so that an earlier windlass reads none of it.
            assert_eq!(opened.seq, seq + u64::from(version < SCHEMA_VERSION), "{attempt}");
            assert_eq!(opened.store.load().unwrap(), (opened.records, opened.seq));
        }
        let newest =
            fs::read_dir(dir.path().join("journal")).unwrap().map(|file| file.unwrap().path());
        // Signed checkpoints stand beside the segments.
        let is_segment = |path: &PathBuf| {
            path.file_stem().is_some_and(|name| name.to_string_lossy().parse::<u64>().is_ok())
        };
        let newest = newest.filter(is_segment).max();
        let text = fs::read_to_string(newest.unwrap()).unwrap();
        assert!(text.contains(&format!("\"version\":{SCHEMA_VERSION}")), "{text}");
    }
}

/// The very first stores had no sum.
#[test]
fn a_store_without_a_sum_is_made_anew_from_its_journal() {
    let dir = TempDir::new().unwrap();
    put_journal(1, &dir.path().join("journal"));
    let (before, seq) = records_from(&dir.path().join("journal")).unwrap();
    put_store(1, &dir.path().join("store"), seq);
    let db = sled::open(dir.path().join("store")).unwrap();
    db.insert("head", format!("\u{1}{{\"seq\":{seq}}}").as_bytes()).unwrap();
    drop(db);
    let state = StateDir::open(dir.path()).unwrap();
    let opened = open_records(&state, Retention::default()).unwrap();
    assert!(opened.repaired[0].contains("store.broken-1"), "{:?}", opened.repaired);
    assert_eq!(opened.records, before);
}

/// All files below a directory, with their contents.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            all.extend(contents(&path));
            all.insert(path, Vec::new());
        } else {
            all.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    all
}

/// A state directory of today, filled.
fn today() -> TempDir {
    let dir = TempDir::new().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let mut opened = open_records(&state, Retention::default()).unwrap();
    opened.journal.append(&stamp(opened.seq + 1, entries())).unwrap();
    opened.store.flush().unwrap();
    dir
}

#[test]
fn what_a_newer_windlass_wrote_is_refused_and_stays_as_it_is() {
    let (ours, later) = (SCHEMA_VERSION, SCHEMA_VERSION + 1);
    let segment = "journal/0000000000000001.jsonl";
    let (by_file, by_journal) = (today(), today());
    let file = by_file.path().join("version");
    fs::write(&file, format!("{{\"version\":{later},\"windlass\":\"7.5.3\",\"more\":[]}}"))
        .unwrap();
    let path = by_journal.path().join(segment);
    let text = fs::read_to_string(&path).unwrap();
    let header = format!("\"version\":{ours}");
    assert!(text.contains(&header));
    fs::write(&path, text.replacen(&header, &format!("\"version\":{later}"), 1)).unwrap();
    fs::remove_file(by_journal.path().join("version")).unwrap();

    for (dir, name, what) in [
        (&by_file, "version", format!("windlass 7.5.3 has written it in version {later}; ")),
        (&by_journal, segment, format!("it has version {later}; ")),
    ] {
        let before = contents(dir.path());
        let opened = StateDir::open(dir.path()).map(drop).unwrap_err().to_string();
        let rebuilt = rebuild(dir.path(), None).map(drop).unwrap_err().to_string();
        for said in [opened, rebuilt] {
            let known = format!("this windlass reads 1 to {ours}: it was written by a newer");
            let place = dir.path().join(name).display().to_string();
            for part in [&place, &what, &known, "use that one"] {
                assert!(said.contains(part), "{part} is not in: {said}");
            }
        }
        assert_eq!(contents(dir.path()), before, "{name}");
    }
    let error = records_from(&by_journal.path().join("journal")).unwrap_err().to_string();
    assert!(error.contains("newer windlass"), "{error}");
}

/// A store whose journal is older, as after a copy that went wrong. sled writes to its own files when it
/// opens them, but what they hold stays, and nothing is put aside.
#[test]
fn records_of_a_later_version_are_refused() {
    let dir = today();
    let store = dir.path().join("store");
    let value = [&[SCHEMA_VERSION + 1], &b"{}"[..]].concat();
    let db = sled::open(&store).unwrap();
    db.insert("instance/shop/new", value.clone()).unwrap();
    drop(db);
    let others = |dir: &Path| {
        let mut all = contents(dir);
        all.retain(|path, _| !path.starts_with(&store) && !path.ends_with("lock"));
        all
    };
    let before = others(dir.path());
    let state = StateDir::open(dir.path()).unwrap();
    let opened = open_records(&state, Retention::default()).map(drop).unwrap_err().to_string();
    drop(state);
    let rebuilt = rebuild(dir.path(), None).map(drop).unwrap_err().to_string();
    for said in [opened, rebuilt] {
        let (later, ours) = (SCHEMA_VERSION + 1, SCHEMA_VERSION);
        let what = format!(
            "record `instance/shop/new` has version {later}; this windlass reads 1 to {ours}"
        );
        assert!(said.contains(&what) && said.contains("use that one"), "{said}");
    }
    assert_eq!(others(dir.path()), before);
    let found = sled::open(&store).unwrap().get("instance/shop/new").unwrap();
    assert_eq!(found.as_deref(), Some(&value[..]));
}

/// Changes that are not counted would be read by an earlier windlass, as far as it knows the words.
#[test]
fn what_is_written_today_is_what_its_version_says() {
    let room = TempDir::new().unwrap();
    write(room.path());
    let kept = golden(SCHEMA_VERSION);
    let advice = "the form of entries or records is another one than that of its version: raise \
                  SCHEMA_VERSION, and write what it looks like now by `cargo test --lib golden -- \
                  --ignored`";
    for file in ["records.json", "records-of-first-segment.json", "store.txt", "used.txt"] {
        let read = |dir: &Path| fs::read_to_string(dir.join(file)).unwrap_or_default();
        assert_eq!(read(room.path()), read(&kept), "{file}: {advice}");
    }
    // Salts are random, so the lines differ.
    let entries = |dir: &Path| {
        let mut all = Vec::new();
        let read = history(&dir.join("journal"), &mut |stamped| {
            all.push(serde_json::to_string(&stamped).unwrap());
        });
        read.map(|_| all).unwrap_or_default()
    };
    assert_eq!(entries(room.path()), entries(&kept), "{advice}");
    let raw = |dir: &Path| {
        let text =
            fs::read_to_string(dir.join("journal/0000000000000001.jsonl")).unwrap_or_default();
        let entry = |line: &str| line.split_once("\"entry\":").map(|(_, rest)| rest.to_owned());
        let without_sum = |rest: String| rest.rsplit_once(",\"sum\":").map(|(e, _)| e.to_owned());
        text.lines().filter_map(entry).filter_map(without_sum).collect::<Vec<_>>()
    };
    assert!(!raw(&kept).is_empty() && raw(room.path()) == raw(&kept), "{advice}");
}

#[test]
#[ignore = "it writes the files of a new version"]
fn write_what_this_version_looks_like() {
    let kept = golden(SCHEMA_VERSION);
    assert!(!kept.exists(), "{} is there: raise SCHEMA_VERSION", kept.display());
    fs::create_dir(&kept).unwrap();
    write(&kept);
}

/// Writes the samples as they are written today.
fn write(dir: &Path) {
    let row = stamp(1, entries());
    let last = row.len() as u64;
    let records = full_records();
    let second = [checkpoint(last + 1, &records), small(last + 2)];
    let mut written = FileJournal::begin(&dir.join("journal"), &row).unwrap();
    written.append(&second).unwrap();
    let mut after = records;
    after.apply(second[1].at, &second[1].entry);
    let pretty = |records: &Records| serde_json::to_string_pretty(records).unwrap() + "\n";
    fs::write(dir.join("records.json"), pretty(&after)).unwrap();
    fs::write(dir.join("records-of-first-segment.json"), pretty(&fold(&row))).unwrap();

    let room = TempDir::new().unwrap();
    let store = SledStore::open(room.path()).unwrap();
    store.save(&diff(&Records::default(), &after), STORED_SEQ).unwrap();
    drop(store);
    let mut lines = String::new();
    for item in &*sled::open(room.path()).unwrap() {
        let (key, value) = item.unwrap();
        let (key, json) = (str::from_utf8(&key).unwrap(), str::from_utf8(&value[1..]).unwrap());
        lines += &format!("{key}\t{}\t{json}\n", value[0]);
    }
    fs::write(dir.join("store.txt"), lines).unwrap();
    fs::write(dir.join("used.txt"), crate::store::used_sample()).unwrap();
}
