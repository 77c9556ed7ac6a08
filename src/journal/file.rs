//! The journal on disk: appending, and what happens when that fails.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use reconciler::model::ids::OwnerId;
use reconciler::model::journal::{Entry, Stamped};
use reconciler::ports::{Journal, StoreError};

use super::attest::{self, Attester, now_ms};
use super::key::AuditKey;
use super::line::{self, FORMAT_VERSION, Sum};
use super::mask;
use super::retention::{self, Retention};
use super::scan::{self, Segment, Walked};
use super::statement::{Stated, Why};
use crate::crash_point;
use crate::files::{FILE_MODE, failed, make_dir, sync_dir, sync_name};

/// A checkpoint is not due before so many bytes: below this a start reads the journal within some
/// 20 ms, and small setups would rewrite their records all the time.
pub const CHECKPOINT_AFTER_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Nor before the entries outweigh the last checkpoint so many times: writing checkpoints then
/// costs at most half of what writing entries does, however large the records are.
pub const CHECKPOINT_AFTER_TIMES: u64 = 2;

/// What the names of unfinished segments end with.
const UNFINISHED: &str = ".tmp";

/// The journal in a directory.
///
/// # Guarantees
/// What [`append`](Journal::append) acknowledged survives a kill and a power cut. What it refused
/// is not there. If that cannot be brought about, it refuses everything from then on.
///
/// # Assumptions
/// Nobody else writes: [`StateDir`](crate::state::StateDir) holds the lock.
#[derive(Debug)]
pub struct FileJournal {
    dir: PathBuf,
    tail: Tail,
    /// The first entry that is kept.
    first: u64,
    /// How much of it is kept.
    retention: Retention,
    /// Who signs what it holds; nobody until [`attest`](Self::attest) was called.
    attester: Option<Attester>,
    /// Why nothing can be appended any more.
    refusing: Option<String>,
}

/// Where the journal ends.
#[derive(Debug)]
struct Tail {
    file: File,
    path: PathBuf,
    /// Bytes of the segment, all of them durable.
    bytes: u64,
    last_seq: u64,
    last_sum: Sum,
    checkpoint_bytes: u64,
    /// Bytes of entries since the last checkpoint.
    since_checkpoint: u64,
    /// Of the segment's layout.
    version: u32,
}

impl FileJournal {
    /// Opens the journal in `dir`, or begins one there, and shows `visit` the entries after number
    /// `after`, which is the last one that the caller has, as [`replay`](super::replay) does. Cuts
    /// off the rest of a write that was never acknowledged, and gives a note of it.
    ///
    /// # Errors
    /// [`StoreError`] if the journal is damaged, cannot be opened, or ends before `after`. Nothing
    /// was changed then.
    pub fn open(
        dir: &Path,
        after: u64,
        visit: &mut dyn FnMut(Stamped),
    ) -> Result<(Self, Option<String>), StoreError> {
        let Some(Walked { segments, tail }) = scan::walk(dir, after, visit)? else {
            return Ok((Self::begin(dir, &[])?, None));
        };
        if tail.last_seq < after {
            return Err(failed(
                "open journal",
                dir,
                format!(
                    "it ends with entry {}, but entry {after} was acknowledged: its end is lost; \
                     `windlass store rebuild` goes on from the store, which has that entry",
                    tail.last_seq
                ),
            ));
        }
        remove_unfinished(dir)?;
        let first = segments.first().map_or(1, |segment| segment.first);
        let mut paths = segments.into_iter().rev().map(|segment| segment.path);
        if tail.abandoned
            && let Some(empty) = paths.next()
        {
            fs::remove_file(&empty).map_err(|error| failed("remove", &empty, error))?;
            sync_dir(dir)?;
        }
        let path = paths.next().ok_or_else(|| failed("open journal", dir, "it has no segment"))?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(|error| failed("open journal", &path, error))?;
        if tail.torn.is_some() {
            file.set_len(tail.good_bytes)
                .and_then(|()| file.sync_data())
                .map_err(|error| failed("cut off an unfinished write of", &path, error))?;
        }
        let tail_now = Tail {
            file,
            path,
            bytes: tail.good_bytes,
            last_seq: tail.last_seq,
            last_sum: tail.last_sum,
            checkpoint_bytes: tail.checkpoint_bytes,
            since_checkpoint: tail.good_bytes - tail.checkpoint_bytes,
            version: tail.version,
        };
        Ok((Self::new(dir, tail_now, first), tail.torn))
    }

    /// Begins a journal in a directory that has none, with these entries. The first of them may
    /// have any number if it is a checkpoint.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written. None of it is there then.
    pub fn begin(dir: &Path, entries: &[Stamped]) -> Result<Self, StoreError> {
        make_dir(dir)?;
        sync_name(dir)?;
        remove_unfinished(dir)?;
        let first = entries.first().map_or(1, |entry| entry.seq.max(1));
        check_numbers(dir, first, entries)?;
        let tail = begin_segment(dir, first, Sum::NONE, entries).inspect_err(|_| {
            // The error that is told is the first one; a leftover would be found by the next open.
            let _ = fs::remove_file(Segment::new(dir, first).path);
            let _ = remove_unfinished(dir);
        })?;
        if !entries.is_empty() {
            crash_point::reached("journal");
        }
        Ok(Self::new(dir, tail, first))
    }

    fn new(dir: &Path, tail: Tail, first: u64) -> Self {
        let (retention, attester) = (Retention::default(), None);
        Self { dir: dir.to_owned(), tail, first, retention, attester, refusing: None }
    }

    /// Has it keep so much.
    pub fn keep(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// Whether its newest segment has an older layout: the next checkpoint begins one of ours.
    #[must_use]
    pub fn is_older(&self) -> bool {
        self.tail.version < FORMAT_VERSION
    }

    /// Has what it holds signed from now on, and at once if its end is not.
    ///
    /// # Errors
    /// [`StoreError`] if it is not what was signed before, or nothing can be signed.
    pub fn attest(&mut self, key: AuditKey, owner: OwnerId) -> Result<(), StoreError> {
        let end = Some((self.tail.last_seq, self.tail.last_sum));
        if let Some(why) = attest::contradiction_of(&self.dir, end)? {
            let why = format!(
                "{why}; `windlass audit verify` says more, `windlass store rebuild` keeps it aside \
                 and goes on from what is left"
            );
            return Err(failed("open journal", &self.dir, why));
        }
        self.attester = Some(Attester::open(&self.dir, key, owner)?);
        let is_covered =
            |attester: &Attester| attester.last.is_some_and(|(seq, _)| seq == self.tail.last_seq);
        if self.attester.as_ref().is_some_and(is_covered) {
            return Ok(());
        }
        self.state(Why::Open)
    }

    /// States what it holds now, if anybody signs.
    fn state(&mut self, why: Why) -> Result<(), StoreError> {
        let Tail { bytes: size, last_seq: seq, last_sum: sum, .. } = self.tail;
        let stated = Stated { why, first: self.first, seq, at: now_ms(), sum, size };
        self.attester.as_mut().map_or(Ok(()), |attester| attester.state(stated))
    }

    /// The number of the last entry; 0 before the first.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.tail.last_seq
    }

    /// Writes entries up to the first checkpoint to the current segment, and each checkpoint with
    /// what follows it to a new one. Gives where the journal ends then, if in a new segment.
    fn write(
        &mut self,
        entries: &[Stamped],
        begun: &mut Vec<PathBuf>,
    ) -> Result<Option<Tail>, StoreError> {
        let is_checkpoint = |stamped: &Stamped| matches!(stamped.entry, Entry::Checkpoint { .. });
        let split = entries.iter().position(is_checkpoint).unwrap_or(entries.len());
        let (head, mut rest) = entries.split_at(split);
        if !head.is_empty() {
            extend(&mut self.tail, head)?;
        }
        let mut newest: Option<Tail> = None;
        while let Some((checkpoint, more)) = rest.split_first() {
            let length = 1 + more.iter().position(is_checkpoint).unwrap_or(more.len());
            let (part, others) = rest.split_at(length);
            let sum = newest.as_ref().unwrap_or(&self.tail).last_sum;
            begun.push(Segment::new(&self.dir, checkpoint.seq).path);
            newest = Some(begin_segment(&self.dir, checkpoint.seq, sum, part)?);
            rest = others;
        }
        Ok(newest)
    }

    /// Takes back what an append that failed has written.
    fn take_back(&mut self, before: &Mark, begun: &[PathBuf]) -> Result<(), StoreError> {
        for path in begun {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", path, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        if !begun.is_empty() {
            sync_dir(&self.dir)?;
        }
        let tail = &mut self.tail;
        tail.file
            .set_len(before.bytes)
            .and_then(|()| tail.file.sync_data())
            .map_err(|error| failed("cut", &tail.path, error))?;
        tail.bytes = before.bytes;
        tail.last_seq = before.last_seq;
        tail.last_sum = before.last_sum;
        tail.since_checkpoint = before.since_checkpoint;
        remove_unfinished(&self.dir)
    }

    /// Deletes the oldest segments beyond the bound. What cannot be done is tried again at the next
    /// checkpoint: a segment more does no harm.
    fn delete_oldest(&mut self) {
        if let Err(error) = self.try_delete_oldest() {
            tracing::warn!(%error, "an old segment stays");
        }
    }

    fn try_delete_oldest(&mut self) -> Result<(), StoreError> {
        let segments = scan::segments(&self.dir)?;
        let excess = retention::excess(&self.retention, &segments, now_ms())?;
        let Some(kept) = segments.get(excess).filter(|_| excess > 0) else { return Ok(()) };
        // First it is signed from where on it is kept: what goes without is missed.
        self.first = kept.first;
        self.state(Why::Dropping)?;
        if let Some(attester) = &mut self.attester {
            attester.sync()?;
        }
        for segment in segments.iter().take(excess) {
            // In their order: a gap in the row would be worse than one file more.
            fs::remove_file(&segment.path)
                .map_err(|error| failed("remove", &segment.path, error))?;
        }
        let first = self.first;
        self.attester.as_mut().map_or(Ok(()), |attester| attester.prune(first))
    }
}

impl Journal for FileJournal {
    fn append(&mut self, entries: &[Stamped]) -> Result<(), StoreError> {
        if let Some(why) = &self.refusing {
            return Err(failed("append to journal", &self.tail.path, why));
        }
        check_numbers(&self.tail.path, self.tail.last_seq + 1, entries)?;
        if entries.is_empty() {
            return Ok(());
        }
        if self.attester.as_ref().is_some_and(|attester| attester.owed) {
            // What cannot be signed for long is as bad as what cannot be written.
            self.state(Why::Entries)?;
        }
        let before = Mark {
            bytes: self.tail.bytes,
            last_seq: self.tail.last_seq,
            last_sum: self.tail.last_sum,
            since_checkpoint: self.tail.since_checkpoint,
        };
        let mut begun = Vec::new();
        match self.write(entries, &mut begun) {
            Ok(None) => {}
            Ok(Some(tail)) => self.tail = tail,
            Err(error) => {
                if let Err(second) = self.take_back(&before, &begun) {
                    self.refusing = Some(format!(
                        "an earlier append failed ({error}) and could not be taken back \
                         ({second}); nothing is done until windlass is started again on a disk \
                         that can be written"
                    ));
                }
                return Err(error);
            }
        }
        crash_point::reached("journal");
        let due = self.attester.as_ref();
        let due = due.and_then(|signer| signer.due(self.tail.last_seq, !begun.is_empty()));
        if let Some(why) = due
            && let Err(error) = self.state(why)
        {
            // The entries are durable all the same.
            tracing::warn!(%error, "it is tried again with the next entries");
        }
        if !begun.is_empty() {
            self.delete_oldest();
        }
        Ok(())
    }

    fn rest(&mut self) {
        let last_seq = self.tail.last_seq;
        let Some(attester) = &self.attester else { return };
        let is_covered = attester.last.is_some_and(|(seq, _)| seq == last_seq);
        // Without a sync: a power cut loses a signature, and the next start makes another one.
        let stated = if is_covered { Ok(()) } else { self.state(Why::End) };
        if let Err(error) = stated {
            tracing::warn!(%error, "it is tried again with the next entries");
        }
    }

    fn wants_checkpoint(&self) -> bool {
        let Tail { since_checkpoint, checkpoint_bytes, .. } = &self.tail;
        let due = CHECKPOINT_AFTER_BYTES_MIN.max(CHECKPOINT_AFTER_TIMES * checkpoint_bytes);
        *since_checkpoint > due
    }
}

/// Where the segment ended before an append.
#[derive(Debug)]
struct Mark {
    bytes: u64,
    last_seq: u64,
    last_sum: Sum,
    since_checkpoint: u64,
}

/// Appends entries to a segment: one write, one sync.
fn extend(tail: &mut Tail, entries: &[Stamped]) -> Result<(), StoreError> {
    let mut bytes = Vec::new();
    let (sum, _) = encode(&mut bytes, &tail.path, tail.last_seq, tail.last_sum, entries)?;
    tail.file
        .write_all(&bytes)
        .and_then(|()| tail.file.sync_data())
        .map_err(|error| failed("append to journal", &tail.path, error))?;
    tail.bytes += bytes.len() as u64;
    tail.since_checkpoint += bytes.len() as u64;
    tail.last_seq += entries.len() as u64;
    tail.last_sum = sum;
    Ok(())
}

/// Writes a new segment. It has its name only once it is durable: there is never half a header.
fn begin_segment(
    dir: &Path,
    first: u64,
    prev: Sum,
    entries: &[Stamped],
) -> Result<Tail, StoreError> {
    let path = Segment::new(dir, first).path;
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);

    let mut bytes = Vec::new();
    let header = line::write_header(&mut bytes, first, prev);
    let (sum, checkpoint_bytes) = encode(&mut bytes, &path, first - 1, header, entries)?;

    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&unfinished)
        .map_err(|error| failed("create", &unfinished, error))?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| failed("write", &unfinished, error))?;
    fs::rename(&unfinished, &path).map_err(|error| failed("rename", &unfinished, error))?;
    sync_dir(dir)?;

    let length = bytes.len() as u64;
    Ok(Tail {
        file,
        path,
        bytes: length,
        last_seq: first - 1 + entries.len() as u64,
        last_sum: sum,
        checkpoint_bytes,
        since_checkpoint: length - checkpoint_bytes,
        version: FORMAT_VERSION,
    })
}

/// Adds the lines of `entries`. Gives the sum of the last one, and the bytes of the first one if
/// it is a checkpoint.
fn encode(
    bytes: &mut Vec<u8>,
    path: &Path,
    durable: u64,
    prev: Sum,
    entries: &[Stamped],
) -> Result<(Sum, u64), StoreError> {
    let (mut sum, mut checkpoint_bytes) = (prev, 0);
    for (index, stamped) in entries.iter().enumerate() {
        let begin = bytes.len();
        let salt = mask::salt_of(&stamped.entry)
            .map_err(|error| failed("make random digits for", path, error))?;
        sum = line::write(bytes, stamped, durable, sum, salt)
            .map_err(|error| failed("write an entry for", path, error))?;
        if index == 0 && matches!(stamped.entry, Entry::Checkpoint { .. }) {
            checkpoint_bytes = (bytes.len() - begin) as u64;
        }
    }
    Ok((sum, checkpoint_bytes))
}

/// Entries come in a row without gaps: a hole could never be told from a loss.
fn check_numbers(path: &Path, first: u64, entries: &[Stamped]) -> Result<(), StoreError> {
    for (wanted, stamped) in (first..).zip(entries) {
        if stamped.seq != wanted {
            return Err(failed(
                "append to journal",
                path,
                format!("entry {} was handed over where {wanted} is next", stamped.seq),
            ));
        }
    }
    Ok(())
}

/// Removes segments that a crash left unfinished: nothing in them was acknowledged.
fn remove_unfinished(dir: &Path) -> Result<(), StoreError> {
    let names = fs::read_dir(dir).map_err(|error| failed("read directory", dir, error))?;
    for name in names {
        let path = name.map_err(|error| failed("read directory", dir, error))?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes()) {
            fs::remove_file(&path).map_err(|error| failed("remove", &path, error))?;
        }
    }
    Ok(())
}
