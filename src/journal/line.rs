//! One line of a segment: how it is written, and how it is checked.
//!
//! The layout is fixed to the byte, so that a line is checked, and its number read, without
//! reading the JSON of its entry.
//!
//! Since version 2 a line whose entry may hold a secret has a `salt`, random digits before the entry:
//! where the entry is withheld from an export, its sum stays, and tells nothing that could be
//! guessed at.

use std::fmt;

use reconciler::model::ids::hex;
use reconciler::model::journal::{SCHEMA_VERSION, Stamped};
use serde::Deserialize;
use sha2::Digest as _;

/// Version of the layout and of what entries say. A higher one is refused: it was written by a newer
/// windlass. Version 1 had neither salts nor signed checkpoints.
pub const FORMAT_VERSION: u32 = SCHEMA_VERSION as u32;

/// The first version with signed checkpoints.
pub(super) const SIGNED_SINCE: u32 = 2;

/// What the first line of a segment begins with.
const FORMAT: &str = "windlass journal";

/// Hexadecimal digits of a sum.
const SUM_DIGITS: usize = 64;

/// Hexadecimal digits of a salt: enough that nobody guesses it.
const SALT_DIGITS: usize = 32;

/// What the first line of a segment begins with.
pub(super) const HEADER_MARK: &[u8] = b"{\"format\":\"windlass journal\",";

pub(super) const SUM_KEY: &[u8] = b",\"sum\":\"";
const SUM_END: &[u8] = b"\"}";

/// The SHA-256 that a line carries of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum([u8; 32]);

impl Sum {
    /// What the very first segment links to.
    pub(super) const NONE: Self = Self([0; 32]);

    fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    pub(super) fn read(digits: &[u8]) -> Option<Self> {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let mut sum = [0; 32];
        if digits.len() != SUM_DIGITS {
            return None;
        }
        for (byte, pair) in sum.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(sum))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It does not end with a line feed.
    Incomplete,
    /// Its sum is not that of its bytes.
    Sum,
    /// Its sum is right, but it is not laid out as a line is.
    Layout,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "the line is incomplete",
            Self::Sum => "the line does not match its sum",
            Self::Layout => "the line is not laid out as an entry",
        })
    }
}

/// A line that matches its sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) seq: u64,
    pub(super) at: i64,
    pub(super) durable: u64,
    pub(super) prev: Sum,
    /// The JSON of the entry.
    pub(super) entry: &'a [u8],
    pub(super) sum: Sum,
}

impl<'a> Line<'a> {
    /// Checks a line, given with its line feed.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let (body, sum) = checked(bytes)?;
        parts(body, sum).ok_or(Flaw::Layout)
    }

    /// Whether the entry is a checkpoint; cheap.
    pub(super) fn is_checkpoint(&self) -> bool {
        self.entry.starts_with(b"{\"checkpoint\":")
    }
}

/// Appends the line of an entry to `out`, and gives its sum. `salt` is for entries that may hold a
/// secret.
pub(super) fn write(
    out: &mut Vec<u8>,
    stamped: &Stamped,
    durable: u64,
    prev: Sum,
    salt: Option<[u8; SALT_DIGITS / 2]>,
) -> Result<Sum, serde_json::Error> {
    let Stamped { seq, at, entry } = stamped;
    let begin = out.len();
    let salt = salt.map(|salt| format!("\"salt\":\"{}\",", hex(&salt))).unwrap_or_default();
    let head = format!(
        "{{\"seq\":{seq},\"at\":{},\"durable\":{durable},\"prev\":\"{prev}\",{salt}\"entry\":",
        at.0
    );
    out.extend_from_slice(head.as_bytes());
    serde_json::to_writer(&mut *out, entry)?;
    Ok(seal(out, begin))
}

/// The first line of a segment.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    format: String,
    pub(super) version: u32,
    /// The number of the segment's first entry.
    pub(super) first: u64,
    prev: String,
}

impl Header {
    /// Checks the first line of a segment, given with its line feed. Gives what it links to, and
    /// its own sum.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, Sum, Sum), HeaderFlaw> {
        let damaged = HeaderFlaw::Damaged("the header of the segment is damaged");
        let header = bytes.strip_suffix(b"\n").and_then(|text| serde_json::from_slice(text).ok());
        let Some(header) = header else { return Err(damaged) };
        let Self { format, version, first: _, prev } = &header;
        if format != FORMAT {
            return Err(HeaderFlaw::Damaged("this is no windlass journal"));
        }
        // Before the sum: a later version may take it in another way.
        if *version > FORMAT_VERSION {
            return Err(HeaderFlaw::Newer(*version));
        }
        match (checked(bytes), Sum::read(prev.as_bytes())) {
            (Ok((_, sum)), Some(prev)) => Ok((header, prev, sum)),
            (Err(_), _) | (_, None) => Err(damaged),
        }
    }
}

/// Why a segment cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFlaw {
    /// What is wrong with its header.
    Damaged(&'static str),
    /// It has this version.
    Newer(u32),
}

/// Appends a header to `out`, and gives its sum.
pub(super) fn write_header(out: &mut Vec<u8>, first: u64, prev: Sum) -> Sum {
    header_of_version(out, FORMAT_VERSION, first, prev)
}

/// [`write_header`], of any version.
pub(super) fn header_of_version(out: &mut Vec<u8>, version: u32, first: u64, prev: Sum) -> Sum {
    let begin = out.len();
    let head = format!(
        "{{\"format\":\"{FORMAT}\",\"version\":{version},\"first\":{first},\"prev\":\"{prev}\""
    );
    out.extend_from_slice(head.as_bytes());
    seal(out, begin)
}

/// Ends a line that began at `begin` with its sum.
pub(super) fn seal(out: &mut Vec<u8>, begin: usize) -> Sum {
    let sum = Sum::of(&out[begin..]);
    out.extend_from_slice(SUM_KEY);
    out.extend_from_slice(sum.to_string().as_bytes());
    out.extend_from_slice(SUM_END);
    out.push(b'\n');
    sum
}

/// Splits a line into what its sum is of, and the sum, if they match.
fn checked(bytes: &[u8]) -> Result<(&[u8], Sum), Flaw> {
    let line = bytes.strip_suffix(b"\n").ok_or(Flaw::Incomplete)?;
    let rest = line.strip_suffix(SUM_END).ok_or(Flaw::Sum)?;
    let (rest, digits) = rest.split_last_chunk::<SUM_DIGITS>().ok_or(Flaw::Sum)?;
    let body = rest.strip_suffix(SUM_KEY).ok_or(Flaw::Sum)?;
    let sum = Sum::of(body);
    if Sum::read(digits) == Some(sum) { Ok((body, sum)) } else { Err(Flaw::Sum) }
}

fn parts(body: &[u8], sum: Sum) -> Option<Line<'_>> {
    let (seq, rest) = number(body.strip_prefix(b"{\"seq\":")?)?;
    let (at, rest) = number(rest.strip_prefix(b",\"at\":")?)?;
    let (durable, rest) = number(rest.strip_prefix(b",\"durable\":")?)?;
    let (prev, rest) = rest.strip_prefix(b",\"prev\":\"")?.split_at_checked(SUM_DIGITS)?;
    let rest = rest.strip_prefix(b"\",")?;
    let rest = match rest.strip_prefix(b"\"salt\":\"") {
        Some(rest) => rest.split_at_checked(SALT_DIGITS)?.1.strip_prefix(b"\",")?,
        None => rest,
    };
    let entry = rest.strip_prefix(b"\"entry\":")?;
    let (seq, durable) = (u64::try_from(seq).ok()?, u64::try_from(durable).ok()?);
    Some(Line { seq, at: i64::try_from(at).ok()?, durable, prev: Sum::read(prev)?, entry, sum })
}

fn number(bytes: &[u8]) -> Option<(i128, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b',')?;
    let (digits, rest) = bytes.split_at(end);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

/// The time in the line of an entry, of which the beginning is enough.
pub(super) fn time_of(bytes: &[u8]) -> Option<i64> {
    let (_, rest) = number(bytes.strip_prefix(b"{\"seq\":")?)?;
    let (at, _) = number(rest.strip_prefix(b",\"at\":")?)?;
    i64::try_from(at).ok()
}

/// What the line of an entry from which something is withheld begins with.
const WITHHELD_MARK: &[u8] = b"{\"withheld\":[";

/// The line of an entry from which something is withheld, in an export: as far as it tells, in a form
/// that can be signed.
pub(super) fn write_withheld(out: &mut Vec<u8>, line: &Line<'_>, withheld: &[&str], entry: &str) {
    let Line { seq, at, durable, prev, entry: _, sum } = line;
    let withheld = withheld.join("\",\"");
    let text = format!(
        "{{\"withheld\":[\"{withheld}\"],\"seq\":{seq},\"at\":{at},\"durable\":{durable},\
         \"prev\":\"{prev}\",\"entry\":{entry},\"sum\":\"{sum}\""
    );
    out.extend_from_slice(text.as_bytes());
}

/// Whether a line is of an entry from which something is withheld.
pub(super) fn is_withheld(bytes: &[u8]) -> bool {
    bytes.starts_with(WITHHELD_MARK)
}

/// Reads what [`write_withheld`] wrote, without checking its signature.
pub(super) fn read_withheld(signed: &[u8]) -> Option<Line<'_>> {
    let (rest, digits) = signed.strip_suffix(b"\"")?.split_last_chunk::<SUM_DIGITS>()?;
    let body = rest.strip_suffix(SUM_KEY)?;
    let end = body.iter().position(|byte| *byte == b']')?;
    let (seq, rest) = number(body.get(end..)?.strip_prefix(b"],\"seq\":")?)?;
    let (at, rest) = number(rest.strip_prefix(b",\"at\":")?)?;
    let (durable, rest) = number(rest.strip_prefix(b",\"durable\":")?)?;
    let (prev, rest) = rest.strip_prefix(b",\"prev\":\"")?.split_at_checked(SUM_DIGITS)?;
    let entry = rest.strip_prefix(b"\",\"entry\":")?;
    let (seq, durable) = (u64::try_from(seq).ok()?, u64::try_from(durable).ok()?);
    let (prev, sum) = (Sum::read(prev)?, Sum::read(digits)?);
    Some(Line { seq, at: i64::try_from(at).ok()?, durable, prev, entry, sum })
}
