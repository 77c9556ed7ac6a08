//! Reading segments: strictly read-only, tolerant of a torn tail, and of nothing else.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use reconciler::model::journal::{Entry, Stamped};
use reconciler::model::record::Records;
use reconciler::model::time::Timestamp;
use reconciler::ports::StoreError;

use super::attest::Found;
use super::line::{FORMAT_VERSION, Header, HeaderFlaw, Line, Sum};
use crate::files::{Trouble, failed, newer};

/// Bytes read at a time: a few dozen entries a call, and little memory.
const READ_BYTES: usize = 64 * 1024;

/// Longest first line of a segment, in bytes: ours have 200, and a later version may say more.
const HEADER_BYTES_MAX: u64 = 4096;

/// What the names of segments end with.
const SUFFIX: &str = ".jsonl";

/// Digits in the name of a segment: all of a `u64` that is ever reached, and sorted as text.
const NAME_DIGITS: usize = 16;

/// What to do about a journal that cannot be read.
const ADVICE: &str = "`windlass store rebuild` keeps this file aside and goes on from what can \
                      still be read";

/// How a replay went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The number of the last entry; 0 if there is none.
    pub last_seq: u64,
    /// What was left out at the end: the rest of a write that was never acknowledged.
    pub torn: Option<String>,
}

impl Replayed {
    fn of(tail: Option<Tail>) -> Self {
        tail.map_or(Self { last_seq: 0, torn: None }, |tail| Self {
            last_seq: tail.last_seq,
            torn: tail.torn,
        })
    }
}

/// Whether a directory holds a journal.
///
/// # Errors
/// [`StoreError`] if the directory cannot be read.
pub fn exists(dir: &Path) -> Result<bool, StoreError> {
    Ok(!segments(dir)?.is_empty())
}

/// Shows `visit` the entries after number `after`, in order. The first of them is the newest
/// checkpoint if that is later than `after`: what stands before it is history.
///
/// A directory that is not there is an empty journal. Changes nothing on disk.
///
/// # Errors
/// [`StoreError`] names the segment, the line and the entry where the journal is damaged. The
/// entries before it were shown.
pub fn replay(
    dir: &Path,
    after: u64,
    visit: &mut dyn FnMut(Stamped),
) -> Result<Replayed, StoreError> {
    Ok(replay_or_trouble(dir, after, visit)?)
}

/// [`replay`], with errors that tell damage from the rest.
pub(crate) fn replay_or_trouble(
    dir: &Path,
    after: u64,
    visit: &mut dyn FnMut(Stamped),
) -> Result<Replayed, Trouble> {
    Ok(Replayed::of(walk(dir, after, visit)?.map(|walked| walked.tail)))
}

/// Checks every line of every segment that is kept, and that each follows the one before it.
///
/// # Errors
/// [`StoreError`] names the first place that is damaged.
pub fn check(dir: &Path) -> Result<Replayed, StoreError> {
    let tail = walk_from(&segments(dir)?, 0, u64::MAX, &mut |_| {})?;
    Ok(Replayed::of(tail))
}

/// Shows `visit` every entry of every segment that is kept, oldest first. Unlike [`replay`] it begins
/// before the newest checkpoint. Changes nothing on disk.
///
/// # Errors
/// As [`replay`].
pub fn history(dir: &Path, visit: &mut dyn FnMut(Stamped)) -> Result<Replayed, StoreError> {
    Ok(Replayed::of(walk_from(&segments(dir)?, 0, 0, visit)?))
}

/// The records as the journal tells them, and the number of its last entry.
///
/// # Errors
/// As [`replay`].
pub fn records_from(dir: &Path) -> Result<(Records, u64), StoreError> {
    let mut records = Records::default();
    let replayed = replay(dir, 0, &mut |stamped| records.apply(stamped.at, &stamped.entry))?;
    Ok((records, replayed.last_seq))
}

/// The sum of the line of one entry, as far as the lines of its segment are whole.
pub(super) fn sum_at(dir: &Path, seq: u64) -> Result<Found, StoreError> {
    let segments = segments(dir)?;
    let Some(segment) = segments.iter().rev().find(|segment| segment.first <= seq) else {
        return Ok(if segments.is_empty() { Found::Ends(0) } else { Found::Before });
    };
    let path = &segment.path;
    let file = File::open(path).map_err(|error| failed("open journal", path, error))?;
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let (mut bytes, mut last, mut is_header) = (Vec::new(), segment.first - 1, true);
    loop {
        bytes.clear();
        let length = reader
            .read_until(b'\n', &mut bytes)
            .map_err(|error| failed("read journal", path, error))?;
        match Line::read(&bytes) {
            Ok(line) if line.seq == seq => return Ok(Found::Sum(line.sum)),
            Ok(line) => last = line.seq,
            Err(_) if is_header && length > 0 => {}
            Err(_) => return Ok(Found::Ends(last)),
        }
        is_header = false;
    }
}

/// A segment in its directory.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

impl Segment {
    pub(super) fn new(dir: &Path, first: u64) -> Self {
        Self { first, path: dir.join(format!("{first:0NAME_DIGITS$}{SUFFIX}")) }
    }
}

/// How a segment ends.
#[derive(Debug)]
pub(super) struct Tail {
    /// The number of the last good entry, here or in an earlier segment.
    pub(super) last_seq: u64,
    /// The sum of the last good line.
    pub(super) last_sum: Sum,
    /// Bytes up to the end of the last good line.
    pub(super) good_bytes: u64,
    /// Bytes of the checkpoint that the segment begins with; 0 if it does not.
    pub(super) checkpoint_bytes: u64,
    /// What follows the last good line.
    pub(super) torn: Option<String>,
    /// Whether the newest segment holds no entry, and this is the end of the one before it.
    pub(super) abandoned: bool,
    /// The version of the layout of the newest segment.
    pub(super) version: u32,
    entries: u64,
}

/// All segments, and how the last one ends.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) segments: Vec<Segment>,
    pub(super) tail: Tail,
}

/// The segments of a directory, oldest first. Other files are not looked at.
pub(super) fn segments(dir: &Path) -> Result<Vec<Segment>, StoreError> {
    let names = match fs::read_dir(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read directory", dir, error)),
    };
    let mut found = Vec::new();
    for name in names {
        let name = name.map_err(|error| failed("read directory", dir, error))?.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
        let segment = first.map(|first| Segment::new(dir, first));
        found.extend(segment.filter(|segment| segment.path.file_name() == Some(&name)));
    }
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

/// Reads from the newest checkpoint to the end; `None` if there is no segment.
pub(super) fn walk(
    dir: &Path,
    after: u64,
    visit: &mut dyn FnMut(Stamped),
) -> Result<Option<Walked>, Trouble> {
    let segments = segments(dir)?;
    // Each segment but the first begins with a checkpoint, unless a copy of it was cut short: then
    // it has no entry, and reading begins one earlier.
    for begin in (0..segments.len()).rev() {
        let tail = walk_from(&segments, begin, after, visit)?;
        if let Some(tail) = tail.filter(|tail| begin == 0 || tail.last_seq >= segments[begin].first)
        {
            return Ok(Some(Walked { segments, tail }));
        }
    }
    Ok(None)
}

/// Reads the segments from number `begin` on.
fn walk_from(
    segments: &[Segment],
    begin: usize,
    after: u64,
    visit: &mut dyn FnMut(Stamped),
) -> Result<Option<Tail>, Trouble> {
    let mut end: Option<Tail> = None;
    for (index, segment) in segments.iter().enumerate().skip(begin) {
        let place = Place { oldest: index == 0, newest: index + 1 == segments.len() };
        let tail = scan(segment, place, end.as_ref(), after, visit)?;
        end = match end {
            // A checkpoint that was cut short: the journal goes on in the segment before it.
            Some(before) if tail.entries == 0 => {
                let torn =
                    tail.torn.or_else(|| Some(format!("{}: it is empty", segment.path.display())));
                Some(Tail { torn, abandoned: true, ..before })
            }
            Some(_) | None => Some(tail),
        };
    }
    Ok(end)
}

/// Where a segment stands among the others.
#[derive(Debug, Clone, Copy)]
struct Place {
    oldest: bool,
    newest: bool,
}

/// Reads one segment, and checks every line of it.
fn scan(
    segment: &Segment,
    place: Place,
    before: Option<&Tail>,
    after: u64,
    visit: &mut dyn FnMut(Stamped),
) -> Result<Tail, Trouble> {
    let Segment { first, path } = segment;
    let file = File::open(path).map_err(|error| failed("open journal", path, error))?;
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let mut bytes = Vec::new();
    let mut next = |bytes: &mut Vec<u8>| {
        bytes.clear();
        reader.read_until(b'\n', bytes).map_err(|error| failed("read journal", path, error))
    };

    let header_bytes = next(&mut bytes)? as u64;
    let mut tail = begin(segment, before, &bytes, header_bytes)?;
    let mut number = 1;
    loop {
        let length = next(&mut bytes)? as u64;
        if length == 0 {
            break;
        }
        number += 1;
        let seq = tail.last_seq + 1;
        match Line::read(&bytes) {
            // Behind a bad line: if that one had been durable, it was damaged later.
            Ok(line) if tail.torn.is_some() && line.durable >= seq => {
                let what = format!("entry {seq} is damaged, and later entries follow it");
                return Err(damage(path, tail.entries + 2, &what));
            }
            Ok(_) | Err(_) if tail.torn.is_some() => {}
            Ok(line) if line.seq == seq && line.prev == tail.last_sum => {
                if tail.entries == 0 && line.is_checkpoint() {
                    tail.checkpoint_bytes = length;
                } else if tail.entries == 0 && *first > 1 && before.is_none() {
                    return Err(damage(path, number, "what came before this segment is gone"));
                }
                if seq > after {
                    visit(stamped(path, number, &line)?);
                }
                tail.last_seq = seq;
                tail.last_sum = line.sum;
                tail.good_bytes += length;
                tail.entries += 1;
            }
            // No cut leaves a whole line in a wrong place.
            Ok(line) => {
                let what = format!("entry {seq} is missing, entry {} stands here", line.seq);
                return Err(damage(path, number, &what));
            }
            Err(flaw) if place.newest => {
                tail.torn = Some(format!(
                    "{}: line {number} (entry {seq}): {flaw}; it was never acknowledged, and is \
                     left out",
                    path.display()
                ));
            }
            Err(flaw) => return Err(damage(path, number, &format!("entry {seq}: {flaw}"))),
        }
    }
    if tail.entries == 0 && *first > 1 && place.oldest {
        return Err(damage(path, 1, "no entry is left, and what came before is gone"));
    }
    Ok(tail)
}

/// Checks the header of a segment, and that it follows the one before it.
fn begin(
    segment: &Segment,
    before: Option<&Tail>,
    bytes: &[u8],
    length: u64,
) -> Result<Tail, Trouble> {
    let Segment { first, path } = segment;
    let (header, prev, sum) = Header::read(bytes).map_err(|flaw| match flaw {
        HeaderFlaw::Damaged(what) => damage(path, 1, what),
        HeaderFlaw::Newer(version) => Trouble::from(failed("read journal", path, later(version))),
    })?;
    if header.first != *first {
        return Err(damage(path, 1, "the header does not match the name of the file"));
    }
    if before.is_some_and(|before| before.last_sum != prev || before.last_seq + 1 != *first) {
        return Err(damage(path, 1, "the segment does not follow the one before it"));
    }
    Ok(Tail {
        last_seq: first - 1,
        last_sum: sum,
        good_bytes: length,
        checkpoint_bytes: 0,
        torn: None,
        abandoned: false,
        version: header.version,
        entries: 0,
    })
}

fn damage(path: &Path, line: u64, what: &str) -> Trouble {
    Trouble::damage(failed("read journal", path, format!("line {line}: {what}; {ADVICE}")))
}

fn later(version: u32) -> String {
    format!("it has version {version}; {}", newer(FORMAT_VERSION))
}

/// Refuses a journal of which a segment has a later version than ours. Reads their first lines, and
/// changes nothing.
///
/// # Errors
/// [`StoreError`] names the segment and its version.
pub fn refuse_newer(dir: &Path) -> Result<(), StoreError> {
    for Segment { path, .. } in segments(dir)? {
        let file = File::open(&path).map_err(|error| failed("open journal", &path, error))?;
        let mut header = Vec::new();
        BufReader::new(file)
            .take(HEADER_BYTES_MAX)
            .read_until(b'\n', &mut header)
            .map_err(|error| failed("read journal", &path, error))?;
        // What else may be wrong with it is for those who read it.
        if let Err(HeaderFlaw::Newer(version)) = Header::read(&header) {
            return Err(failed("read journal", &path, later(version)));
        }
    }
    Ok(())
}

fn stamped(path: &Path, number: u64, line: &Line<'_>) -> Result<Stamped, StoreError> {
    let entry: Entry = serde_json::from_slice(line.entry).map_err(|error| {
        let what = format!(
            "line {number}: entry {} is whole, but this windlass cannot read it: {error}; it was \
             written by a newer windlass, use that one",
            line.seq
        );
        failed("read journal", path, what)
    })?;
    Ok(Stamped { seq: line.seq, at: Timestamp(line.at), entry })
}
