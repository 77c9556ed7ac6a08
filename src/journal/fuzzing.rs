//! What may stand in a journal: of an earlier windlass, of a later one, damaged, or made up.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use reconciler::model::record::Records;

use super::line::{Header, Line, Sum, header_of_version, seal};
use super::verify::{Asked, run};
use super::{CHECKPOINTS_FILE, FileJournal, check, history, replay};
use crate::fuzzing::parts;

/// Files of an input: two segments behind the oldest one, and what was signed.
const FILES_MAX: usize = 4;

/// Reads the parts of an input as the segments of a journal, and a part of signed checkpoints for
/// those. A part that begins with `sealed VERSION` has bare entries, one a line: they get all that makes
/// a segment of them, since nobody hits on a right sum by chance.
pub(crate) fn journal(input: &[u8]) {
    let room = Room::open();
    let (mut next, mut prev) = (1, Sum::NONE);
    for part in parts(input, FILES_MAX) {
        if part.starts_with(b"{\"windlass\":") {
            room.put(CHECKPOINTS_FILE, part);
            continue;
        }
        let sealed = part.strip_prefix(b"sealed ").map(|part| sealed(part, &mut next, &mut prev));
        let bytes = sealed.as_deref().unwrap_or(part);
        let header = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let first = Header::read(header).map_or(1, |(header, ..)| header.first);
        room.put(&format!("{first:016}.jsonl"), bytes);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // Whatever is read of it, its parts are of it.
            let _ = Line::read(line).map(|line| line.is_checkpoint());
        }
    }
    let dir = room.path();
    let mut records = Records::default();
    let replayed = replay(dir, 0, &mut |stamped| records.apply(stamped.at, &stamped.entry));
    let _ = check(dir);
    let _ = history(dir, &mut |_| {});
    let (journal, checkpoint, pubkey) = (dir.to_owned(), None, None);
    let _ = run(&Asked { journal, checkpoint, pubkey, clock_tolerated_ms: 0 });
    let opened = FileJournal::open(dir, 0, &mut |_| {});
    assert_eq!(replayed.is_ok(), opened.is_ok(), "{replayed:?}, and {opened:?}");
    let (Ok(replayed), Ok(_)) = (replayed, opened) else { return };
    // What was torn is cut off by now, and nothing else.
    let mut again = Records::default();
    let second = replay(dir, 0, &mut |stamped| again.apply(stamped.at, &stamped.entry));
    let second = second.expect("it was opened");
    assert_eq!((second.last_seq, second.torn), (replayed.last_seq, None));
    assert_eq!(again, records, "what is read does not change by being opened");
    let json = serde_json::to_vec(&records).expect("a checkpoint");
    let read: Records = serde_json::from_slice(&json).expect("as written");
    assert_eq!(read, records, "what a checkpoint holds is what it was made of");
}

/// A segment of these entries: a version, then a line each.
fn sealed(part: &[u8], next: &mut u64, prev: &mut Sum) -> Vec<u8> {
    let mut lines = part.split(|byte| *byte == b'\n');
    let version = lines.next().and_then(|digits| std::str::from_utf8(digits).ok());
    let version = version.and_then(|digits| digits.trim().parse().ok()).unwrap_or(1);
    let mut out = Vec::new();
    *prev = header_of_version(&mut out, version, *next, *prev);
    for entry in lines.filter(|line| !line.is_empty()) {
        let begin = out.len();
        let at = 1_700_000_000_000 + *next;
        let durable = *next - 1;
        let head = format!(
            "{{\"seq\":{next},\"at\":{at},\"durable\":{durable},\"prev\":\"{prev}\",\"entry\":"
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(entry);
        *prev = seal(&mut out, begin);
        *next += 1;
    }
    out
}

/// A directory that each input finds empty.
struct Room(PathBuf);

impl Room {
    fn open() -> Self {
        thread_local! {
            static ROOM: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
        }
        let path = ROOM.with_borrow_mut(|room| {
            let make = || {
                let thread = format!("{:?}", std::thread::current().id());
                let name = format!("windlass-fuzz-{}-{thread}", std::process::id());
                std::env::temp_dir().join(name)
            };
            room.get_or_insert_with(make).clone()
        });
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).expect("written");
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("removed");
    }
}
