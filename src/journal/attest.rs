//! Has the journal state, signed, what it holds: at each segment, every so many entries, after some
//! time, and at its end.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reconciler::model::ids::OwnerId;
use reconciler::ports::StoreError;

use super::key::AuditKey;
use super::line::Sum;
use super::scan;
use super::statement::{self, FILE, Newest, Stated, Why};
use crate::files::{FILE_MODE, failed, is_there, sync_dir};

/// A checkpoint is signed after so many entries at the latest. Who has no key can rewrite at most
/// these unseen; a signature costs some 20 µs and 450 bytes, so an entry pays a few per cent of a
/// microsecond and one byte.
pub const ATTEST_AFTER_ENTRIES: u64 = 500;

/// And after this long while entries come: a quiet system is not left unsigned for hours.
pub const ATTEST_AFTER: Duration = Duration::from_secs(5 * 60);

/// Who signs, and where to.
#[derive(Debug)]
pub(super) struct Attester {
    key: AuditKey,
    owner: OwnerId,
    file: File,
    path: PathBuf,
    /// Bytes of the file, all of them whole statements.
    bytes: u64,
    /// The last entry that is under a signature, and since when.
    pub(super) last: Option<(u64, Instant)>,
    /// A statement that was due could not be written.
    pub(super) owed: bool,
}

impl Attester {
    /// Opens the file of checkpoints, or begins one. The rest of an unfinished write is cut off.
    pub(super) fn open(dir: &Path, key: AuditKey, owner: OwnerId) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let is_new = !is_there(&path)?;
        let newest = if is_new { None } else { statement::newest(&path)? };
        let good = newest.as_ref().map_or(0, |newest| newest.end);
        // Signed by another key, it is not ours to rely on.
        let ours = key.public().to_string();
        let last = newest
            .filter(|newest| newest.statement.key == ours)
            .map(|newest| (newest.statement.seq, Instant::now()));
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(|error| failed("open", &path, error))?;
        file.set_len(good)
            .map_err(|error| failed("cut off an unfinished write of", &path, error))?;
        if is_new {
            sync_dir(dir)?;
        }
        Ok(Self { key, owner, file, path, bytes: good, last, owed: false })
    }

    /// Why a statement is due, if one is.
    pub(super) fn due(&self, seq: u64, begun: bool) -> Option<Why> {
        let (last, since) = match self.last {
            Some((last, since)) => (last, since.elapsed()),
            None => return Some(Why::Open),
        };
        if begun {
            Some(Why::Segment)
        } else if self.owed || seq.saturating_sub(last) >= ATTEST_AFTER_ENTRIES {
            Some(Why::Entries)
        } else {
            (since >= ATTEST_AFTER).then_some(Why::Time)
        }
    }

    /// States something. All of it is durable in the journal already. So is the statement, where one
    /// that a power cut took away would look like one that somebody removed: the first one of all,
    /// and one that is due because of so many entries. The others are made anew at the next start.
    pub(super) fn state(&mut self, stated: Stated) -> Result<(), StoreError> {
        let is_missed = self.bytes == 0 || stated.why == Why::Entries;
        let written = statement::signed(&self.key, &self.owner, stated)
            .map_err(std::io::Error::from)
            .and_then(|(_, line)| {
                self.file.write_all(&line)?;
                if is_missed {
                    self.file.sync_data()?;
                }
                Ok(line.len() as u64)
            });
        match written {
            Ok(length) => {
                self.bytes += length;
                self.last = Some((stated.seq, Instant::now()));
                self.owed = false;
                Ok(())
            }
            Err(error) => {
                self.owed = true;
                // Half a statement would spoil the next one; the next start cuts off what stays.
                let _ = self.file.set_len(self.bytes);
                Err(failed("write a signed checkpoint to", &self.path, error))
            }
        }
    }

    /// Makes what was stated durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| failed("write", &self.path, error))
    }

    /// Forgets statements about entries before `first`, which are no longer kept.
    pub(super) fn prune(&mut self, first: u64) -> Result<(), StoreError> {
        let bytes = fs::read(&self.path).map_err(|error| failed("read", &self.path, error))?;
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        // What is no good statement is for `verify` to tell of.
        let is_kept = |line: &&[u8]| {
            statement::read(line).map_or(true, |statement| statement.seq + 1 >= first)
        };
        let kept: Vec<u8> = lines.filter(is_kept).flatten().copied().collect();
        let unfinished = self.path.with_extension("jsonl.tmp");
        let _ = fs::remove_file(&unfinished);
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&unfinished)
            .map_err(|error| failed("create", &unfinished, error))?;
        file.write_all(&kept)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, &self.path))
            .map_err(|error| failed("write", &unfinished, error))?;
        (self.file, self.bytes) = (file, kept.len() as u64);
        self.path.parent().map_or(Ok(()), sync_dir)
    }
}

/// The time, as the statements say it.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What the newest signed checkpoint says and the journal does not bear out, if anything: it was
/// shortened or rewritten while nobody looked.
///
/// # Errors
/// [`StoreError`] if either cannot be read.
pub fn contradiction(dir: &Path) -> Result<Option<String>, StoreError> {
    contradiction_of(dir, None)
}

/// The same; `end` is the last entry and its sum, where these are known: mostly it is that one that
/// was signed last, and nothing has to be read.
pub(super) fn contradiction_of(
    dir: &Path,
    end: Option<(u64, Sum)>,
) -> Result<Option<String>, StoreError> {
    let path = dir.join(FILE);
    if !is_there(&path)? {
        return Ok(None);
    }
    let Some(Newest { statement, end: _ }) = statement::newest(&path)? else { return Ok(None) };
    let at = path.display();
    let seq = statement.seq;
    let known = end.filter(|(last, _)| *last == seq).map(|(_, sum)| Found::Sum(sum));
    let found = match known.map_or_else(|| scan::sum_at(dir, seq), Ok)? {
        Found::Sum(sum) if Some(sum) == statement.sum() => return Ok(None),
        Found::Sum(_) => format!("entry {seq} is not the one that was signed"),
        Found::Ends(last) => format!("the journal ends with entry {last}: its end is lost"),
        Found::Before => return Ok(None),
    };
    Ok(Some(format!("{at}: the signed checkpoint of entry {seq} is contradicted: {found}")))
}

/// What a journal has for the sum of an entry.
pub(super) enum Found {
    /// This.
    Sum(Sum),
    /// It ends before, with this entry.
    Ends(u64),
    /// It begins after.
    Before,
}
