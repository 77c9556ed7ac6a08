//! Along the chain: line by line, from the oldest that is kept to the newest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use reconciler::ports::StoreError;

use super::stated::Statements;
use super::{CLOCK_FINDINGS_MAX, Finding, What, diagnose};
use crate::files::failed;
use crate::journal::export;
use crate::journal::key::PublicKey;
use crate::journal::line::{self, Flaw, HEADER_MARK, Header, HeaderFlaw, Line, Sum};
use crate::journal::scan;
use crate::journal::statement::{self, BadStatement, is_statement};

/// Bytes read at a time: large, since all of it is read.
const READ_BYTES: usize = 1 << 20;

/// What was found along the chain, as far as it went.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) segments: usize,
    /// The first entry.
    pub(super) first: u64,
    /// The last one.
    pub(super) last: u64,
    /// The sum of its line.
    pub(super) last_sum: Option<Sum>,
    /// What the last line says was durable when it was written.
    pub(super) durable: u64,
    /// The highest version of a segment's layout.
    pub(super) version: u32,
    /// The owner that an entry names last.
    pub(super) owner: Option<String>,
    /// The sums and owners at the entries that statements are about.
    pub(super) at: BTreeMap<u64, Option<(Sum, Option<String>)>>,
    /// Clocks that were set back: by how many milliseconds.
    pub(super) clock: Vec<(u64, Finding)>,
    /// How often.
    pub(super) clock_times: u64,
    pub(super) withheld: u64,
    /// An unfinished write at the end.
    pub(super) torn: Option<String>,
    /// The file and line where the last entry stands.
    pub(super) end: (PathBuf, u64),
    /// In an export: the line of its last statement, and of the last line at all.
    pub(super) last_lines: (u64, u64),
}

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    line: u64,
}

impl Place<'_> {
    fn finding(&self, what: What, seq: u64, message: String) -> Finding {
        Finding { what, seq, file: self.path.to_owned(), line: self.line, message }
    }
}

/// Goes along.
pub(super) struct Walk {
    walked: Walked,
    last_at: Option<i64>,
    /// The next entry that a statement is about.
    next_stated: Option<u64>,
}

impl Walk {
    pub(super) fn new(own: &Statements, other: Option<&Statements>) -> Self {
        let all = own.good().chain(other.into_iter().flat_map(Statements::good));
        let at: BTreeMap<u64, _> = all.map(|placed| (placed.statement.seq, None)).collect();
        let next_stated = at.keys().next().copied();
        Self { walked: Walked { at, ..Walked::default() }, last_at: None, next_stated }
    }

    pub(super) fn finish(self) -> Walked {
        self.walked
    }

    /// Along the segments of a directory. Gives the first thing that is wrong, where it stopped.
    pub(super) fn directory(&mut self, dir: &Path) -> Result<Option<Finding>, StoreError> {
        let segments = scan::segments(dir)?;
        let newest = segments.last().map(|segment| segment.first);
        for segment in &segments {
            let path = &segment.path;
            let mut lines = Lines::open(path)?;
            while let Some((line, bytes)) = lines.next()? {
                let place = Place { path, line };
                if !bytes.ends_with(b"\n") && newest == Some(segment.first) && line > 1 {
                    self.walked.torn = Some(format!(
                        "{}: line {line}: {} bytes at the end are the rest of a write that was \
                         never acknowledged; the next start cuts them off",
                        path.display(),
                        bytes.len()
                    ));
                    break;
                }
                let fits = if line == 1 {
                    self.header(bytes, Some(segment.first), place)?
                } else {
                    self.entry(bytes, place)
                };
                if let Err(misfit) = fits {
                    return Ok(Some(self.explain(misfit, place)?));
                }
            }
        }
        Ok(None)
    }

    /// Along an export.
    pub(super) fn export(
        &mut self,
        path: &Path,
        keys: &[PublicKey],
    ) -> Result<Option<Finding>, StoreError> {
        let mut lines = Lines::open(path)?;
        let mut named: Vec<PublicKey> = keys.to_vec();
        while let Some((line, bytes)) = lines.next()? {
            let place = Place { path, line };
            self.walked.last_lines.1 = line;
            if line == 1 {
                let key =
                    export::read_head(bytes).map_err(|why| failed("read the export", path, why))?;
                if named.is_empty() {
                    named.push(key);
                }
                continue;
            }
            let fits = if is_statement(bytes) {
                if statement::read(bytes) == Err(BadStatement::Layout) {
                    let message = "the checkpoint cannot be read".to_owned();
                    return Ok(Some(place.finding(What::Edited, self.walked.last, message)));
                }
                self.walked.last_lines.0 = line;
                Ok(())
            } else if bytes.starts_with(HEADER_MARK) {
                self.header(bytes, None, place)?
            } else if line::is_withheld(bytes) {
                self.withheld(bytes, &named, place)
            } else {
                self.entry(bytes, place)
            };
            if let Err(misfit) = fits {
                return Ok(Some(self.explain(misfit, place)?));
            }
        }
        Ok(None)
    }

    fn explain(&self, misfit: Misfit, place: Place<'_>) -> Result<Finding, StoreError> {
        match misfit {
            Misfit::Plain(finding) => Ok(*finding),
            Misfit::Place { found, prev } => {
                diagnose::misplaced(place.path, place.line, self.walked.last + 1, found, prev)
            }
        }
    }

    fn header(
        &mut self,
        bytes: &[u8],
        named: Option<u64>,
        place: Place<'_>,
    ) -> Result<Result<(), Misfit>, StoreError> {
        let next = self.walked.last + 1;
        let bad = |what, seq, message: String| Ok(Err(place.finding(what, seq, message).into()));
        let (header, prev, sum) = match Header::read(bytes) {
            Ok(read) => read,
            Err(HeaderFlaw::Newer(version)) => {
                let why =
                    format!("it has format {version}: a newer windlass wrote it, use that one");
                return Err(failed("read journal", place.path, why));
            }
            Err(HeaderFlaw::Damaged(what)) => {
                let seq = named.unwrap_or(next);
                return bad(What::Edited, seq, format!("{what}: entries from {seq} on follow it"));
            }
        };
        let first = header.first;
        if named.is_some_and(|named| named != first) {
            let message = format!("the file is named for entry {named:?}, and holds {first}");
            return bad(What::Reordered, first, message);
        }
        if let Some(last_sum) = self.walked.last_sum {
            if first > next {
                let message = format!("entries {next} to {} are missing before it", first - 1);
                return bad(What::Deleted, next, message);
            }
            if first < next {
                let message = format!("it begins with entry {first}, which was there already");
                return bad(What::Duplicated, first, message);
            }
            if prev != last_sum {
                let message = format!("the segment does not follow entry {}", first - 1);
                return bad(What::Spliced, first, message);
            }
        } else {
            self.walked.first = first;
            self.walked.last = first - 1;
            self.note_sum(first - 1, prev);
        }
        self.walked.segments += 1;
        self.walked.version = self.walked.version.max(header.version);
        self.walked.last_sum = Some(sum);
        self.walked.end = (place.path.to_owned(), place.line);
        Ok(Ok(()))
    }

    fn entry(&mut self, bytes: &[u8], place: Place<'_>) -> Result<(), Misfit> {
        let seq = self.walked.last + 1;
        match Line::read(bytes) {
            Ok(line) => self.follow(line, place),
            Err(flaw) => {
                let message = match flaw {
                    Flaw::Incomplete => "the line has no end".to_owned(),
                    Flaw::Sum => "the line does not match its own sum".to_owned(),
                    Flaw::Layout => "the line is not laid out as a record".to_owned(),
                };
                Err(place.finding(What::Edited, seq, message).into())
            }
        }
    }

    fn withheld(
        &mut self,
        bytes: &[u8],
        keys: &[PublicKey],
        place: Place<'_>,
    ) -> Result<(), Misfit> {
        let seq = self.walked.last + 1;
        let read = statement::unsigned(bytes);
        let line = read.and_then(|(body, signature)| {
            keys.iter().any(|key| key.signed(body, &signature)).then_some(body)
        });
        match line.and_then(line::read_withheld) {
            Some(line) => {
                self.walked.withheld += 1;
                self.follow(line, place)
            }
            None => {
                let message = "what is left of the record is not what was signed".to_owned();
                Err(place.finding(What::Edited, seq, message).into())
            }
        }
    }

    fn follow(&mut self, line: Line<'_>, place: Place<'_>) -> Result<(), Misfit> {
        let Line { seq, at, durable, prev, entry, sum } = line;
        if seq != self.walked.last + 1 || Some(prev) != self.walked.last_sum {
            return Err(Misfit::Place { found: seq, prev });
        }
        if let Some(before) = self.last_at.filter(|before| at < *before) {
            let by = before.abs_diff(at);
            self.walked.clock_times += 1;
            if self.walked.clock.len() < CLOCK_FINDINGS_MAX {
                let message = format!("it is {by} ms older than the record before it");
                self.walked.clock.push((by, place.finding(What::ClockSetBack, seq, message)));
            }
        }
        self.last_at = Some(at);
        self.walked.last = seq;
        self.walked.last_sum = Some(sum);
        self.walked.durable = durable;
        if let Some(owner) = owner_of(entry) {
            self.walked.owner = Some(owner);
        }
        self.walked.end.1 = place.line;
        self.note_sum(seq, sum);
        Ok(())
    }

    fn note_sum(&mut self, seq: u64, sum: Sum) {
        if self.next_stated.is_none_or(|next| next > seq) {
            return;
        }
        if let Some(noted) = self.walked.at.get_mut(&seq) {
            *noted = Some((sum, self.walked.owner.clone()));
        }
        self.next_stated = self.walked.at.range(seq + 1..).next().map(|(next, _)| *next);
    }
}

/// Why a line does not fit.
enum Misfit {
    /// As told.
    Plain(Box<Finding>),
    /// It is whole, and does not belong there.
    Place { found: u64, prev: Sum },
}

impl From<Finding> for Misfit {
    fn from(finding: Finding) -> Self {
        Self::Plain(Box::new(finding))
    }
}

/// The owner that an entry names.
fn owner_of(entry: &[u8]) -> Option<String> {
    if !entry.starts_with(b"{\"owner\":{") {
        return None;
    }
    let value: serde_json::Value = serde_json::from_slice(entry).ok()?;
    Some(value.get("owner")?.get("owner")?.as_str()?.to_owned())
}

/// The lines of a file, with their numbers and their ends.
pub(in super::super) struct Lines<'a> {
    path: &'a Path,
    reader: BufReader<File>,
    bytes: Vec<u8>,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(in super::super) fn open(path: &'a Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| failed("open", path, error))?;
        let reader = BufReader::with_capacity(READ_BYTES, file);
        Ok(Self { path, reader, bytes: Vec::new(), number: 0 })
    }

    pub(in super::super) fn next(&mut self) -> Result<Option<(u64, &[u8])>, StoreError> {
        self.bytes.clear();
        let length = self
            .reader
            .read_until(b'\n', &mut self.bytes)
            .map_err(|error| failed("read", self.path, error))?;
        self.number += 1;
        Ok((length > 0).then_some((self.number, self.bytes.as_slice())))
    }
}
