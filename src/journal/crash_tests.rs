//! Tests of the journal that need a process to kill, or a disk to fill.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reconciler::model::journal::Stamped;
use reconciler::ports::Journal as _;
use tempfile::TempDir;

use super::{FileJournal, replay};
use crate::crash_point::CRASH_AT;
use crate::state::samples::{checkpoint, full_records, small};

/// Tells the child where its journal is; without it the child's test does nothing.
const CHILD_DIR: &str = "WINDLASS_TEST_JOURNAL_DIR";

/// Entries that the child appends at most: it never ends by itself before it is killed.
const CHILD_ENTRIES_MAX: u64 = 1_000_000;

const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// The other process of the tests below: appends, and says what was acknowledged.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let (mut journal, _) = FileJournal::open(&PathBuf::from(dir), 0, &mut |_| {}).unwrap();
    let records = full_records();
    let mut stdout = std::io::stdout();
    while journal.last_seq() < CHILD_ENTRIES_MAX {
        let next = journal.last_seq() + 1;
        // Segments change under fire, too.
        let second = if next % 5 == 0 { checkpoint(next + 1, &records) } else { small(next + 1) };
        journal.append(&[small(next), second]).unwrap();
        writeln!(stdout, "acknowledged {}", journal.last_seq()).unwrap();
    }
}

fn spawn_child(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "journal::crash_tests::child", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env_remove(CRASH_AT)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("acknowledged ")?.parse().ok()
}

fn entries_in(dir: &Path) -> Vec<Stamped> {
    let mut found = Vec::new();
    FileJournal::open(dir, 0, &mut |stamped| found.push(stamped)).unwrap();
    found
}

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let mut last = 0;
    for round in 1..=5_u64 {
        let mut child = spawn_child(dir.path()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = last + 7 * round;
        while last < wanted {
            last = acknowledged(&lines.next().unwrap().unwrap()).unwrap_or(last);
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
        // What it said between our last look and its end.
        last = lines
            .map_while(Result::ok)
            .filter_map(|line| acknowledged(&line))
            .max()
            .unwrap_or(last);
        let found = entries_in(dir.path()).last().unwrap().seq;
        assert!(found >= last, "round {round}: {last} was acknowledged, {found} was found");
        last = found;
    }
}

#[test]
fn a_crash_point_ends_the_process_right_after_that_append() {
    if !cfg!(debug_assertions) {
        return;
    }
    for count in 1..=6_u64 {
        let dir = TempDir::new().unwrap();
        let output =
            spawn_child(dir.path()).env(CRASH_AT, format!("journal:{count}")).output().unwrap();
        assert_eq!(output.status.signal(), Some(SIGABRT));
        let said = String::from_utf8(output.stdout).unwrap();
        let last = said.lines().filter_map(acknowledged).max().unwrap_or(0);
        assert_eq!(last, 2 * (count - 1));
        assert_eq!(entries_in(dir.path()).last().unwrap().seq, 2 * count);
    }
}

/// A mount that is gone when the test is.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// A disk of 256 KiB; `None` where mounting is not allowed.
    fn mount() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_cleanly_and_goes_on_when_there_is_space() {
    let Some(disk) = SmallDisk::mount() else {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "skipped: mounting a small disk needs root").unwrap();
        return;
    };
    let dir = disk.0.path().join("journal");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1; 128 * 1024]).unwrap();
    let (mut journal, _) = FileJournal::open(&dir, 0, &mut |_| {}).unwrap();
    let batch = |journal: &FileJournal| -> Vec<Stamped> {
        (1..=20).map(|more| small(journal.last_seq() + more)).collect()
    };
    let error = loop {
        let entries = batch(&journal);
        if let Err(error) = journal.append(&entries) {
            break error;
        }
    };
    assert!(error.to_string().contains("0000000000000001.jsonl"), "{error}");
    let good = journal.last_seq();
    assert_eq!(good % 20, 0);
    // Again and again, in the current segment and in a new one, and nothing half is left.
    for _ in 0..3 {
        journal.append(&batch(&journal)).unwrap_err();
        let mut with_checkpoint = batch(&journal);
        with_checkpoint[0] = checkpoint(good + 1, &full_records());
        with_checkpoint.extend((21..=60).map(|more| small(good + more)));
        journal.append(&with_checkpoint).unwrap_err();
        let replayed = replay(&dir, 0, &mut |_| {}).unwrap();
        assert_eq!((replayed.last_seq, replayed.torn), (good, None));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }
    fs::remove_file(&ballast).unwrap();
    journal.append(&batch(&journal)).unwrap();
    journal.append(&[checkpoint(good + 21, &full_records())]).unwrap();
    drop(journal);
    assert_eq!(entries_in(&dir).last().unwrap().seq, good + 21);
}
