//! Tests of the state directory, the store, and of what opening them repairs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use reconciler::model::ids::OwnerId;
use reconciler::model::journal::{Entry, Stamped};
use reconciler::model::record::Records;
use reconciler::ports::{Journal as _, StateStore, Write};
use tempfile::TempDir;

use super::samples::{checkpoint, containers, entries, fold, full_records, name, small, stamp};
use super::{Holder, Opened, StateDir, open_records, rebuild};
use crate::journal::verify::{Asked, Verdict, Verified, run};
use crate::journal::{Retention, records_from};
use crate::store::{MemoryStore, SledStore, Touched, diff, touched, writes};

/// sled without us. A store that was just dropped may hold its lock for a moment more.
fn raw(path: &Path) -> sled::Db {
    loop {
        match sled::open(path) {
            Ok(db) => return db,
            Err(error) => assert!(error.to_string().contains("could not acquire lock"), "{error}"),
        }
    }
}

fn error_of<T>(result: Result<T, reconciler::ports::StoreError>) -> String {
    result.err().expect("an error").to_string()
}

fn open(path: &Path) -> (StateDir, Opened) {
    let state = StateDir::open(path).unwrap();
    let opened = open_records(&state, Retention::default()).unwrap();
    (state, opened)
}

/// A state directory with the sample entries in its journal, and the store behind by `behind`.
fn filled(behind: u64) -> (TempDir, Records, u64) {
    let dir = TempDir::new().unwrap();
    let (_state, Opened { mut journal, store, seq, .. }) = open(dir.path());
    let all = entries();
    let row = stamp(seq + 1, all[..all.len() - 5].to_vec());
    journal.append(&row).unwrap();
    let records = fold(&row);
    let stored = row.len() as u64 + seq - behind;
    let known: Vec<Stamped> = row.iter().filter(|s| s.seq <= stored).cloned().collect();
    store.save(&diff(&Records::default(), &fold(&known)), stored).unwrap();
    store.flush().unwrap();
    (dir, records, row.len() as u64 + seq)
}

// The lock.

#[test]
fn the_second_opener_learns_who_the_first_one_is() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a/state");
    assert_eq!(StateDir::probe(&path).unwrap(), Holder::Absent);
    assert!(!path.exists());
    let state = StateDir::open(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&state.paths().lock())), (0o700, 0o600));

    let pid = std::process::id();
    assert_eq!(StateDir::probe(&path).unwrap(), Holder::Held { pid: Some(pid) });
    let error = error_of(StateDir::open(&path));
    assert!(error.contains(&format!("a windlass with pid {pid} uses it")), "{error}");
    drop(state);
    assert_eq!(StateDir::probe(&path).unwrap(), Holder::Free);
    StateDir::open(&path).unwrap();
}

#[test]
fn a_probe_leaves_no_trace() {
    let dir = TempDir::new().unwrap();
    assert_eq!(StateDir::probe(dir.path()).unwrap(), Holder::Free);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

// The stores.

fn check_store(store: &dyn StateStore) {
    assert_eq!(store.load().unwrap(), (Records::default(), 0));
    let records = full_records();
    store.save(&diff(&Records::default(), &records), 28).unwrap();
    assert_eq!(store.load().unwrap(), (records.clone(), 28));
    store.save(&diff(&records, &Records::default()), 29).unwrap();
    assert_eq!(store.load().unwrap(), (Records::default(), 29));

    let (node, all) = (name("n1"), containers());
    let (id, container) = all.iter().next().unwrap();
    let one = Write::Observed(node.clone(), id.clone(), Some(Box::new(container.clone())));
    let none = Write::ObservedAll(node.clone(), BTreeMap::new());
    store.save(std::slice::from_ref(&one), 29).unwrap();
    assert_eq!(store.observed(&node).unwrap(), all);
    assert_eq!(store.observed(&name("n")).unwrap(), BTreeMap::new());
    store.save(&[one.clone(), none.clone()], 29).unwrap();
    assert_eq!(store.observed(&node).unwrap(), BTreeMap::new());
    store.save(&[none, one], 29).unwrap();
    assert_eq!(store.observed(&node).unwrap(), all);
    store.save(&[Write::Observed(node.clone(), id.clone(), None)], 29).unwrap();
    assert_eq!(store.observed(&node).unwrap(), BTreeMap::new());
    assert_eq!(store.load().unwrap(), (Records::default(), 29));
}

#[test]
fn both_stores_keep_what_they_are_given() {
    let dir = TempDir::new().unwrap();
    check_store(&SledStore::open(&dir.path().join("store")).unwrap());
    check_store(&MemoryStore::new());
}

#[test]
fn writing_what_entries_touch_is_enough() {
    let dir = TempDir::new().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    let memory = MemoryStore::new();
    let mut records = Records::default();
    let row = stamp(1, entries());
    // One by one, and once more on top of what is there.
    for stamped in row.iter().chain(&row).chain([&checkpoint(99, &full_records())]) {
        records.apply(stamped.at, &stamped.entry);
        let mut touched = Touched::default();
        touched.add(&stamped.entry);
        let changes = writes(&records, &touched);
        store.save(&changes, stamped.seq).unwrap();
        memory.save(&changes, stamped.seq).unwrap();
        assert_eq!(store.load().unwrap(), (records.clone(), stamped.seq), "{stamped:?}");
        assert_eq!(memory.load().unwrap(), (records.clone(), stamped.seq));
    }
    assert_eq!(touched(&checkpoint(1, &records).entry), Touched::Everything);
}

#[test]
fn records_that_cannot_be_read_are_named() {
    let dir = TempDir::new().unwrap();
    let put = |key: &str, value: &[u8]| {
        let db = raw(dir.path());
        db.insert(key, value).unwrap();
        db.flush().unwrap();
    };
    put("instance/shop/web", b"\x01{\"generation\":");
    let error = error_of(SledStore::open(dir.path()).unwrap().load());
    assert!(error.contains("`instance/shop/web`") && error.contains("store rebuild"), "{error}");
    put("instance/shop/web", b"\x63whatever");
    let error = error_of(SledStore::open(dir.path()).unwrap().load());
    assert!(error.contains("newer windlass") && !error.contains("rebuild"), "{error}");
}

// Opening.

#[test]
fn a_new_directory_gets_an_owner_and_keeps_it() {
    let dir = TempDir::new().unwrap();
    let (state, opened) = open(dir.path());
    assert_eq!((opened.seq, opened.repaired.len()), (1, 0));
    let owner = opened.records.owner.clone().unwrap();
    assert_eq!(owner.0.len(), 32);
    drop((state, opened));
    let (_state, again) = open(dir.path());
    assert_eq!((again.records.owner, again.seq, again.repaired), (Some(owner), 1, vec![]));
}

#[test]
fn a_store_that_is_behind_catches_up() {
    for behind in [0, 1, 7, 20] {
        let (dir, records, seq) = filled(behind);
        let (state, opened) = open(dir.path());
        assert_eq!((&opened.records, opened.seq), (&records, seq));
        assert_eq!(opened.repaired, Vec::<String>::new());
        assert_eq!(opened.store.load().unwrap(), (records, seq));
        drop((state, opened));
    }
}

#[test]
fn a_store_that_is_older_than_the_checkpoint_loses_what_is_gone() {
    let (dir, _, seq) = filled(0);
    let (state, mut opened) = open(dir.path());
    let fewer = Records { owner: opened.records.owner.clone(), ..Records::default() };
    opened.journal.append(&[checkpoint(seq + 1, &fewer), small(seq + 2)]).unwrap();
    drop((state, opened));
    let (_state, opened) = open(dir.path());
    assert!(opened.records.instances.is_empty());
    assert_eq!(opened.store.load().unwrap(), (opened.records, seq + 2));
}

#[test]
fn a_store_that_is_gone_is_made_anew() {
    let (dir, records, seq) = filled(3);
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let (_state, opened) = open(dir.path());
    assert_eq!((opened.records, opened.seq), (records.clone(), seq));
    assert!(opened.repaired[0].contains("missing"), "{:?}", opened.repaired);
    assert_eq!(opened.store.load().unwrap(), (records, seq));
}

/// Writes over the middle of sled's file.
fn damage_store(dir: &Path) {
    let path = dir.join("store/db");
    let mut bytes = fs::read(&path).unwrap();
    for byte in &mut bytes[16..4096] {
        *byte ^= 0x55;
    }
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_store_with_an_unreadable_record_is_kept_aside_and_made_anew() {
    let (dir, records, seq) = filled(0);
    let db = raw(&dir.path().join("store"));
    db.insert("instance/shop/web", b"\x01nonsense").unwrap();
    db.flush().unwrap();
    drop(db);
    let (_state, opened) = open(dir.path());
    assert_eq!((opened.records, opened.seq), (records, seq));
    assert!(opened.repaired[0].contains("store.broken-1"), "{:?}", opened.repaired);
    assert!(dir.path().join("store.broken-1").is_dir());
}

/// Whatever becomes of sled's files, the records come back, and nothing panics.
#[test]
fn damaged_files_of_the_store_cost_nothing() {
    let (dir, records, seq) = filled(0);
    damage_store(dir.path());
    let (_state, opened) = open(dir.path());
    assert_eq!((opened.records, opened.seq), (records, seq));
    assert!(!opened.repaired.is_empty());
}

#[test]
fn a_journal_that_is_gone_is_missed() {
    let (dir, records, seq) = filled(0);
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let error = error_of(open_records(&state, Retention::default()));
    assert!(error.contains("it is gone") && error.contains("store rebuild"), "{error}");
    drop(state);

    let report = rebuild(dir.path(), None).unwrap();
    assert_eq!((&report.records, report.seq), (&records, seq + 1));
    let (_state, opened) = open(dir.path());
    assert_eq!((opened.records, opened.seq, opened.repaired), (records, seq + 1, vec![]));
    assert!(dir.path().join("store.broken-1").is_dir());
}

#[test]
fn a_journal_that_lost_its_end_is_not_believed() {
    let (dir, records, seq) = filled(0);
    let path = dir.path().join("journal/0000000000000001.jsonl");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 30]).unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let error = error_of(open_records(&state, Retention::default()));
    assert!(error.contains(&format!("entry {seq} was acknowledged")), "{error}");
    assert_eq!(fs::read(&path).unwrap().len(), bytes.len() - 30);
    drop(state);
    let report = rebuild(dir.path(), None).unwrap();
    assert_eq!((report.records, report.seq), (records, seq + 1));
    assert!(dir.path().join("journal.broken-1").is_dir());
    open(dir.path());
}

#[test]
fn a_damaged_journal_is_rebuilt_from_the_store() {
    let (dir, records, seq) = filled(0);
    let (state, mut opened) = open(dir.path());
    opened.journal.append(&[small(seq + 1)]).unwrap();
    drop((state, opened));
    let path = dir.path().join("journal/0000000000000001.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    rebuild(dir.path(), None).unwrap();
    let (_state, opened) = open(dir.path());
    assert_eq!((opened.records, opened.seq), (records, seq + 1));
}

fn verified(dir: &Path) -> Verified {
    run(&Asked {
        journal: dir.to_owned(),
        checkpoint: None,
        pubkey: None,
        // The samples are from another year.
        clock_tolerated_ms: u64::MAX,
    })
    .unwrap()
}

#[test]
fn a_journal_that_its_signatures_contradict_is_refused_and_rebuilt() {
    let (dir, records, seq) = filled(0);
    // A start signs what it finds.
    drop(open(dir.path()));
    let before = verified(dir.path());
    assert_eq!((before.verdict, before.signed_to), (Verdict::Whole, seq), "{before:?}");
    // Its end goes, and the store with it, which would have missed it as well.
    let path = dir.path().join("journal/0000000000000001.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    fs::write(&path, lines[..lines.len() - 1].concat()).unwrap();
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    let error = error_of(open_records(&state, Retention::default()));
    assert!(error.contains("its end is lost") && error.contains("store rebuild"), "{error}");
    drop(state);
    let report = rebuild(dir.path(), None).unwrap();
    assert!(report.notes.iter().any(|note| note.contains("contradicted")), "{:?}", report.notes);
    // What was cut off is lost; what is there is whole and signed, before any start.
    assert_eq!(report.records.owner, records.owner);
    assert_eq!((report.seq, verified(dir.path()).verdict), (seq, Verdict::Whole));
}

#[test]
fn a_journal_of_version_1_goes_on_in_a_segment_of_its_own() {
    let dir = TempDir::new().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-store/v1/journal");
    fs::create_dir(dir.path().join("journal")).unwrap();
    for file in fs::read_dir(golden).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), dir.path().join("journal").join(file.file_name())).unwrap();
    }
    let (records, seq) = records_from(&dir.path().join("journal")).unwrap();
    let (state, opened) = open(dir.path());
    assert_eq!((&opened.records, opened.seq), (&records, seq + 1));
    let own = dir.path().join(format!("journal/{:016}.jsonl", seq + 1));
    assert!(fs::read_to_string(&own).unwrap().contains("\"version\":3"));
    drop((state, opened));
    let verified = verified(dir.path());
    assert_eq!((verified.verdict, verified.signed_to), (Verdict::Whole, seq + 1), "{verified:?}");
    // Once is enough.
    assert_eq!(open(dir.path()).1.seq, seq + 1);
}

#[test]
fn with_nothing_left_an_owner_is_needed() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state");
    let error = error_of(rebuild(&path, None));
    assert!(error.contains("--owner"), "{error}");
    assert!(!path.exists());
    let owner = OwnerId("feedbeef".to_owned());
    let report = rebuild(&path, Some(owner.clone())).unwrap();
    assert_eq!((report.seq, report.records.owner.as_ref()), (1, Some(&owner)));
    let (_state, opened) = open(&path);
    assert_eq!((opened.seq, opened.records.owner), (1, Some(owner)));
}

#[test]
fn a_rebuild_can_take_over_another_owner() {
    let (dir, records, seq) = filled(0);
    let owner = OwnerId("feedbeef".to_owned());
    let report = rebuild(dir.path(), Some(owner.clone())).unwrap();
    assert_eq!((report.seq, report.records.owner.as_ref()), (seq + 1, Some(&owner)));
    assert_eq!(report.records.instances, records.instances);
    assert_eq!(records_from(&dir.path().join("journal")).unwrap(), (report.records, seq + 1));
}

#[test]
fn a_record_that_sled_lost_is_missed() {
    let (dir, records, seq) = filled(0);
    let db = raw(&dir.path().join("store"));
    db.remove("text/a/web.yaml").unwrap().unwrap();
    db.flush().unwrap();
    drop(db);
    let error = error_of(SledStore::open(&dir.path().join("store")).unwrap().load());
    assert!(error.contains("lost or old"), "{error}");
    let (_state, opened) = open(dir.path());
    assert_eq!((opened.records, opened.seq), (records, seq));
    assert!(opened.repaired[0].contains("store.broken-1"), "{:?}", opened.repaired);
}

/// sled's flush does not reach the disk, so a power cut may leave any page of its file unwritten.
#[test]
fn pages_that_a_power_cut_took_from_the_store_cost_nothing() {
    let dir = TempDir::new().unwrap();
    let (state, mut opened) = open(dir.path());
    for number in 0..400_u32 {
        let file = Arc::from(format!("{}.yaml", number % 150));
        let text = Some(Arc::from(format!("{number} {}", "x".repeat(400))));
        let row = stamp(opened.seq + 1, vec![Entry::Text { file, text }]);
        opened.journal.append(&row).unwrap();
        opened.seq += 1;
        opened.records.apply(row[0].at, &row[0].entry);
        opened.store.save(&writes(&opened.records, &touched(&row[0].entry)), opened.seq).unwrap();
    }
    opened.store.flush().unwrap();
    let (records, seq) = (opened.records, opened.seq);
    drop((state, opened.journal, opened.store));

    let good = fs::read(dir.path().join("store/db")).unwrap();
    let sites = (0..good.len()).step_by(good.len() / 16);
    for at in sites {
        let mut bytes = good.clone();
        let end = bytes.len().min(at + 4096);
        bytes[at..end].fill(0);
        let copy = TempDir::new().unwrap();
        copy_files(&dir.path().join("journal"), &copy.path().join("journal"));
        copy_files(&dir.path().join("store"), &copy.path().join("store"));
        fs::write(copy.path().join("store/db"), bytes).unwrap();
        let (_state, opened) = open(copy.path());
        assert_eq!((opened.records, opened.seq), (records.clone(), seq), "page at {at}");
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}
