//! Tests of the journal: cut, flipped, full and killed.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use reconciler::model::journal::Stamped;
use reconciler::ports::{Journal, StoreError};
use tempfile::TempDir;

use super::{
    CHECKPOINT_AFTER_BYTES_MIN, FileJournal, JournalWriter, MemoryJournal, Retention, check,
    records_from, replay, scan,
};
use crate::state::samples::{checkpoint, entries, fold, full_records, small, stamp};

fn open(dir: &Path) -> (FileJournal, Vec<Stamped>, Option<String>) {
    let mut found = Vec::new();
    let (journal, torn) = FileJournal::open(dir, 0, &mut |stamped| found.push(stamped)).unwrap();
    (journal, found, torn)
}

fn all(dir: &Path) -> Vec<Stamped> {
    let mut found = Vec::new();
    replay(dir, 0, &mut |stamped| found.push(stamped)).unwrap();
    found
}

fn newest(dir: &Path) -> PathBuf {
    scan::segments(dir).unwrap().pop().unwrap().path
}

/// A journal with these batches, each one acknowledged.
fn journal_of(dir: &Path, batches: &[Vec<Stamped>]) {
    let (mut journal, ..) = open(dir);
    for batch in batches {
        journal.append(batch).unwrap();
    }
}

fn one_by_one(entries: &[Stamped]) -> Vec<Vec<Stamped>> {
    entries.iter().map(|stamped| vec![stamped.clone()]).collect()
}

#[test]
fn what_is_appended_is_read() {
    let dir = TempDir::new().unwrap();
    let row = stamp(1, entries());
    journal_of(dir.path(), &[row[..3].to_vec(), row[3..].to_vec()]);
    assert_eq!(all(dir.path()), row);
    let (journal, found, torn) = open(dir.path());
    assert_eq!((journal.last_seq(), found, torn), (row.len() as u64, row.clone(), None));
    assert_eq!(records_from(dir.path()).unwrap(), (fold(&row), row.len() as u64));
    let mut late = Vec::new();
    replay(dir.path(), 30, &mut |stamped| late.push(stamped)).unwrap();
    assert_eq!(late, row[30..]);
}

#[test]
fn only_the_owner_reads_it() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("journal");
    journal_of(&dir, &[vec![small(1)]]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&newest(&dir)), 0o600);
}

#[test]
fn no_directory_is_an_empty_journal_and_stays_away() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("journal");
    assert_eq!(records_from(&dir).unwrap().1, 0);
    assert!(!dir.exists());
}

#[test]
fn a_gap_in_the_numbers_is_refused() {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = open(dir.path());
    journal.append(&[small(1), small(2)]).unwrap();
    for wrong in [vec![small(2)], vec![small(4)], vec![small(3), small(5)]] {
        journal.append(&wrong).unwrap_err();
    }
    journal.append(&[small(3)]).unwrap();
    assert_eq!(all(dir.path()).len(), 3);
}

/// A power cut may leave any prefix of what was written after the last sync.
#[test]
fn a_cut_at_any_byte_leaves_what_was_whole() {
    let dir = TempDir::new().unwrap();
    let row = stamp(1, entries()[20..28].to_vec());
    journal_of(dir.path(), &one_by_one(&row));
    let bytes = fs::read(newest(dir.path())).unwrap();
    let ends: Vec<usize> =
        (0..bytes.len()).filter(|at| bytes[*at] == b'\n').map(|at| at + 1).collect();
    assert_eq!(ends.len(), row.len() + 1);

    let cut_dir = TempDir::new().unwrap();
    let cut_path = cut_dir.path().join(newest(dir.path()).file_name().unwrap());
    // The last four entries; and one cut that takes all of them.
    for cut in std::iter::once(ends[0]).chain(ends[4]..=bytes.len()) {
        fs::write(&cut_path, &bytes[..cut]).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
        assert_eq!(all(cut_dir.path()), row[..whole], "read-only, cut at {cut}");
        assert_eq!(fs::metadata(&cut_path).unwrap().len(), cut as u64, "reading changed it");

        let (mut journal, found, torn) = open(cut_dir.path());
        assert_eq!(found, row[..whole], "cut at {cut}");
        assert_eq!(torn.is_some(), !ends.contains(&cut), "cut at {cut}");
        // It goes on as if nothing had been.
        journal.append(&row[whole..]).unwrap();
        assert_eq!(all(cut_dir.path()), row);
    }
    for cut in 0..ends[0] {
        fs::write(&cut_path, &bytes[..cut]).unwrap();
        let error = FileJournal::open(cut_dir.path(), 0, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}

/// A disk may write the pages of one append in any order before it is acknowledged.
#[test]
fn a_hole_in_the_last_write_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let row = stamp(1, entries());
    journal_of(dir.path(), &[row[..2].to_vec(), row[2..].to_vec()]);
    let path = newest(dir.path());
    let good = fs::read(&path).unwrap();
    let third = line_range(&good, 3);
    let mut bytes = good.clone();
    bytes[third.start + 40..third.end + 200].fill(0);
    fs::write(&path, &bytes).unwrap();
    let (_, found, torn) = open(dir.path());
    assert_eq!(found, row[..2]);
    assert!(torn.unwrap().contains("entry 3"));
    assert_eq!(fs::read(&path).unwrap(), good[..third.start]);
}

/// The bytes of a line, counted from 0: the header is line 0.
fn line_range(bytes: &[u8], line: usize) -> std::ops::Range<usize> {
    let mut ends =
        bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let start = if line == 0 { 0 } else { ends.nth(line - 1).unwrap() };
    start..ends.next().unwrap()
}

#[test]
fn a_flipped_bit_in_the_middle_is_named() {
    let dir = TempDir::new().unwrap();
    let row = stamp(1, entries()[..6].to_vec());
    journal_of(dir.path(), &one_by_one(&row));
    let path = newest(dir.path());
    let good = fs::read(&path).unwrap();
    let range = line_range(&good, 3);
    for at in range {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        let mut found = Vec::new();
        let error = replay(dir.path(), 0, &mut |s| found.push(s)).unwrap_err().to_string();
        assert!(error.contains("entry 3") && error.contains("line 4"), "byte {at}: {error}");
        assert!(error.contains("0001.jsonl") && error.contains("store rebuild"), "{error}");
        assert_eq!(found, row[..2]);
        FileJournal::open(dir.path(), 0, &mut |_| {}).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), bytes, "a failed open changed it");
    }
}

#[test]
fn lines_that_are_whole_but_misplaced_are_named() {
    let dir = TempDir::new().unwrap();
    let row = stamp(1, entries()[..6].to_vec());
    journal_of(dir.path(), &one_by_one(&row));
    let path = newest(dir.path());
    let good = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let cases = [
        ("deleted", [&lines[..3], &lines[4..]].concat()),
        ("doubled", [&lines[..4], &lines[3..]].concat()),
        ("doubled at the end", [&lines[..], &lines[6..]].concat()),
        ("swapped", [&lines[..3], &[lines[4], lines[3]], &lines[5..]].concat()),
    ];
    for (what, lines) in cases {
        fs::write(&path, lines.concat()).unwrap();
        let error = records_from(dir.path()).unwrap_err().to_string();
        assert!(error.contains("stands here"), "{what}: {error}");
    }
}

#[test]
fn a_newer_format_is_refused() {
    let dir = TempDir::new().unwrap();
    journal_of(dir.path(), &[vec![small(1)]]);
    let path = newest(dir.path());
    let version = |version: u32| format!("\"version\":{version}");
    let text = fs::read_to_string(&path).unwrap();
    let newer =
        text.replacen(&version(super::FORMAT_VERSION), &version(super::FORMAT_VERSION + 1), 1);
    fs::write(&path, newer).unwrap();
    let error = records_from(dir.path()).unwrap_err().to_string();
    assert!(error.contains("newer windlass") && !error.contains("rebuild"), "{error}");
}

#[test]
fn a_checkpoint_begins_a_segment_and_bounds_their_number() {
    let dir = TempDir::new().unwrap();
    const KEPT: usize = 8;
    let (mut journal, ..) = open(dir.path());
    journal.keep(Retention { segments: Some(KEPT), bytes: None, age_ms: None });
    let records = full_records();
    let mut seq = 0;
    for round in 1..=12_usize {
        journal.append(&[small(seq + 1), checkpoint(seq + 2, &records), small(seq + 3)]).unwrap();
        seq += 3;
        let segments = scan::segments(dir.path()).unwrap();
        assert_eq!(segments.len(), (round + 1).min(KEPT));
        assert_eq!(segments.last().unwrap().first, seq - 1);
    }
    drop(journal);
    assert_eq!(all(dir.path()), [checkpoint(35, &records), small(36)]);
    assert_eq!(check(dir.path()).unwrap().last_seq, 36);
    let (mut journal, found, _) = open(dir.path());
    assert_eq!(found.len(), 2);
    journal.append(&[small(37)]).unwrap();
    drop(journal);

    // A segment that is gone, or was taken from another row, breaks the chain.
    let third = scan::segments(dir.path()).unwrap()[2].path.clone();
    let kept = fs::read(&third).unwrap();
    fs::remove_file(&third).unwrap();
    assert!(check(dir.path()).unwrap_err().to_string().contains("does not follow"));
    let other = TempDir::new().unwrap();
    let before = checkpoint(seq_of(&third), &full_records());
    FileJournal::begin(other.path(), &[before]).unwrap();
    fs::copy(newest(other.path()), &third).unwrap();
    assert!(check(dir.path()).unwrap_err().to_string().contains("does not follow"));
    fs::write(&third, kept).unwrap();
    assert_eq!(check(dir.path()).unwrap().last_seq, 37);
}

fn seq_of(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn a_cut_in_a_checkpoint_falls_back_to_the_segment_before() {
    let dir = TempDir::new().unwrap();
    let row = stamp(1, entries()[..6].to_vec());
    let records = fold(&row);
    journal_of(dir.path(), &[row.clone(), vec![checkpoint(7, &records)]]);
    let path = newest(dir.path());
    let length = fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 10).unwrap();
    assert_eq!(records_from(dir.path()).unwrap(), (records, 6));
    let (mut journal, found, torn) = open(dir.path());
    assert_eq!(found, row);
    assert!(torn.is_some());
    journal.append(&[small(7)]).unwrap();
    drop(journal);
    assert_eq!(all(dir.path()).len(), 7);
}

#[test]
fn a_checkpoint_needs_nothing_before_it_and_other_entries_do() {
    let dir = TempDir::new().unwrap();
    let records = full_records();
    journal_of(dir.path(), &[vec![small(1), small(2)], vec![checkpoint(3, &records)]]);
    fs::remove_file(&scan::segments(dir.path()).unwrap()[0].path).unwrap();
    assert_eq!(records_from(dir.path()).unwrap(), (records, 3));

    let dir = TempDir::new().unwrap();
    FileJournal::begin(dir.path(), &[small(3)]).unwrap();
    let error = records_from(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is gone"), "{error}");
}

#[test]
fn a_checkpoint_is_due_after_enough_bytes() {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = open(dir.path());
    let mut seq = 0;
    while !journal.wants_checkpoint() {
        let batch: Vec<Stamped> = (seq + 1..=seq + 2000).map(small).collect();
        journal.append(&batch).unwrap();
        seq += 2000;
    }
    let length = fs::metadata(newest(dir.path())).unwrap().len();
    assert!(length > CHECKPOINT_AFTER_BYTES_MIN);
    drop(journal);
    let (mut journal, ..) = open(dir.path());
    assert!(journal.wants_checkpoint(), "a restart forgets it");
    journal.append(&[checkpoint(seq + 1, &full_records())]).unwrap();
    assert!(!journal.wants_checkpoint());
}

#[test]
fn an_unfinished_segment_is_removed() {
    let dir = TempDir::new().unwrap();
    journal_of(dir.path(), &[vec![small(1)]]);
    let leftover = dir.path().join("0000000000000002.jsonl.tmp");
    fs::write(&leftover, "{\"format").unwrap();
    assert_eq!(all(dir.path()).len(), 1);
    assert!(leftover.exists());
    open(dir.path());
    assert!(!leftover.exists());
}

#[test]
fn an_append_that_fails_half_way_is_taken_back() {
    let dir = TempDir::new().unwrap();
    let (mut journal, ..) = open(dir.path());
    journal.append(&[small(1), small(2)]).unwrap();
    let batch = [small(3), checkpoint(4, &full_records()), small(5)];
    // Something stands where the new segment is written, after entry 3 was.
    let obstacle = dir.path().join("0000000000000004.jsonl.tmp");
    fs::write(&obstacle, "").unwrap();
    journal.append(&batch).unwrap_err();
    assert_eq!(all(dir.path()), [small(1), small(2)]);
    journal.append(&batch).unwrap();
    assert_eq!(check(dir.path()).unwrap().last_seq, 5);

    // What cannot be taken back ends it: nothing is done that is not on record.
    let obstacle = dir.path().join("0000000000000006.jsonl.tmp");
    fs::create_dir(&obstacle).unwrap();
    journal.append(&[checkpoint(6, &full_records())]).unwrap_err();
    fs::remove_dir(&obstacle).unwrap();
    let error = journal.append(&[small(6)]).unwrap_err().to_string();
    assert!(error.contains("could not be taken back"), "{error}");
    drop(journal);
    assert_eq!(open(dir.path()).0.last_seq(), 5);
}

#[test]
fn the_thread_writes_what_is_ready_with_one_sync() {
    /// Waits for leave before each append.
    struct Gated(MemoryJournal, mpsc::Receiver<()>);
    impl Journal for Gated {
        fn append(&mut self, entries: &[Stamped]) -> Result<(), StoreError> {
            self.1.recv().unwrap();
            self.0.append(entries)
        }
        fn wants_checkpoint(&self) -> bool {
            self.0.wants_checkpoint()
        }
    }
    let journal = MemoryJournal::new();
    let (leave, gate) = mpsc::channel();
    let (told, answers) = mpsc::channel();
    let writer = JournalWriter::start(Gated(journal.clone(), gate), move |written| {
        told.send(written).unwrap();
    })
    .unwrap();
    writer.submit(vec![small(1)], 10).unwrap();
    leave.send(()).unwrap();
    assert_eq!(answers.recv().unwrap().ticket, 10);
    // The second append waits, or has taken only the first of these; the rest is one append.
    for seq in 2..=50 {
        writer.submit(vec![small(seq)], 10 + seq).unwrap();
    }
    leave.send(()).unwrap();
    leave.send(()).unwrap();
    let tickets: Vec<u64> = (2..=50).map(|_| answers.recv().unwrap().ticket).collect();
    assert_eq!(tickets, (12..=60).collect::<Vec<_>>());
    assert!(journal.appends() <= 3, "{} appends", journal.appends());
    assert_eq!(journal.records().1, 50);

    // A failure is told, and what comes behind it cannot slip past.
    journal.fail_next(1);
    writer.submit(vec![small(51)], 1).unwrap();
    leave.send(()).unwrap();
    assert!(answers.recv().unwrap().result.is_err());
    writer.submit(vec![small(52)], 2).unwrap();
    leave.send(()).unwrap();
    assert!(answers.recv().unwrap().result.is_err());
    writer.submit(vec![small(51), small(52)], 3).unwrap();
    leave.send(()).unwrap();
    assert_eq!(answers.recv().unwrap().result, Ok(()));
    drop(writer);
    assert_eq!(journal.records().1, 52);
}
