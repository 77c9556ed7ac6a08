//! Signed checkpoints: what the journal was at a moment, said by who holds the key.
//!
//! ```text
//! {"windlass":"checkpoint","version":1,"owner":"5f…","key":"3d…","why":"end","first":1,"seq":9,
//!  "at":1763700000000,"sum":"f03…","size":2210,"sig":"92a…"}
//! ```
//!
//! on one line. The signature is of the line up to `,"sig"`, so it is checked on the bytes as they
//! are. They stand in a file of their own beside the segments ([`FILE`]): a statement about an entry
//! cannot be an entry, or the last one could never be covered.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use reconciler::model::ids::{OwnerId, hex};
use reconciler::ports::StoreError;
use serde::{Deserialize, Serialize};

use super::key::{AuditKey, PublicKey, SIGNATURE_BYTES, unhex};
use super::line::Sum;
use crate::files::failed;

/// The file of signed checkpoints in the journal's directory. No segment has such a name.
pub const FILE: &str = "checkpoints.jsonl";

/// Version of the statement. A higher one was written by a newer windlass.
const VERSION: u32 = 1;

/// What a statement begins with; nothing else that is signed does.
const MARK: &[u8] = b"{\"windlass\":\"checkpoint\",";

const SIG_KEY: &[u8] = b",\"sig\":\"";
const SIG_END: &[u8] = b"\"}";

/// Why a statement was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// The journal was opened, and its end was not under a signature.
    Open,
    /// A segment was begun.
    Segment,
    /// Old segments are about to be deleted.
    Dropping,
    /// Many entries came since the last one.
    Entries,
    /// The last one is some time ago.
    Time,
    /// Nothing came for a while, or windlass ended.
    End,
    /// Somebody asked for one, to keep it elsewhere.
    Asked,
    /// It ends an export.
    Export,
}

/// What is stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    windlass: String,
    version: u32,
    /// Whose journal it is.
    pub owner: OwnerId,
    /// Who says so: the public key, in hexadecimal digits.
    pub key: String,
    /// Why it was made.
    pub why: Why,
    /// The first entry that is kept.
    pub first: u64,
    /// The last entry.
    pub seq: u64,
    /// When it was made, in milliseconds since 1970.
    pub at: i64,
    /// The sum of the last line.
    pub sum: String,
    /// Bytes of the segment up to there.
    pub size: u64,
}

impl Statement {
    pub(super) fn sum(&self) -> Option<Sum> {
        Sum::read(self.sum.as_bytes())
    }
}

/// What a statement is made of, but for who says it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stated {
    pub(super) why: Why,
    pub(super) first: u64,
    pub(super) seq: u64,
    pub(super) at: i64,
    pub(super) sum: Sum,
    pub(super) size: u64,
}

/// Makes a signed line of a statement, with its line feed.
pub(super) fn signed(
    key: &AuditKey,
    owner: &OwnerId,
    stated: Stated,
) -> Result<(Statement, Vec<u8>), serde_json::Error> {
    let Stated { why, first, seq, at, sum, size } = stated;
    let statement = Statement {
        windlass: "checkpoint".to_owned(),
        version: VERSION,
        owner: owner.clone(),
        key: key.public().to_string(),
        why,
        first,
        seq,
        at,
        sum: sum.to_string(),
        size,
    };
    let mut line = serde_json::to_vec(&statement)?;
    line.pop();
    sign(key, &mut line);
    Ok((statement, line))
}

/// Ends a line, open so far, with a signature of all of it.
pub(super) fn sign(key: &AuditKey, line: &mut Vec<u8>) {
    let signature = key.sign(line);
    line.extend_from_slice(SIG_KEY);
    line.extend_from_slice(hex(&signature).as_bytes());
    line.extend_from_slice(SIG_END);
    line.push(b'\n');
}

/// Splits a line into what is signed and the signature.
pub(super) fn unsigned(line: &[u8]) -> Option<(&[u8], [u8; SIGNATURE_BYTES])> {
    let line = line.strip_suffix(b"\n").unwrap_or(line).strip_suffix(SIG_END)?;
    let (rest, digits) = line.split_last_chunk::<{ 2 * SIGNATURE_BYTES }>()?;
    let signature = unhex(digits)?.try_into().ok()?;
    Some((rest.strip_suffix(SIG_KEY)?, signature))
}

/// Whether a line is meant to be a statement.
pub(super) fn is_statement(line: &[u8]) -> bool {
    line.starts_with(MARK)
}

/// A statement in a file.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) statement: Statement,
    /// Its line in the file, from 1.
    pub(super) line: u64,
    /// The line.
    pub(super) bytes: Vec<u8>,
}

/// The statements of a file, and the lines that are no good ones, with their numbers.
pub(super) type Found = Vec<Result<Placed, (u64, BadStatement)>>;

/// Why a line is no good statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadStatement {
    /// It is no statement at all.
    Layout,
    /// It has this version.
    Newer(u32),
    /// The key that it names has not signed it.
    Signature,
}

/// Reads a statement, and checks that the key that it names has signed it.
pub(super) fn read(line: &[u8]) -> Result<Statement, BadStatement> {
    let (body, signature) = unsigned(line).ok_or(BadStatement::Layout)?;
    let whole = [body, b"}"].concat();
    let value: serde_json::Value =
        serde_json::from_slice(&whole).map_err(|_| BadStatement::Layout)?;
    let version = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if version > u64::from(VERSION) {
        return Err(BadStatement::Newer(u32::try_from(version).unwrap_or(u32::MAX)));
    }
    let statement: Statement = serde_json::from_value(value).map_err(|_| BadStatement::Layout)?;
    let key = PublicKey::from_hex(&statement.key).ok_or(BadStatement::Layout)?;
    if !is_statement(body) || statement.sum().is_none() {
        return Err(BadStatement::Layout);
    }
    if !key.signed(body, &signature) {
        return Err(BadStatement::Signature);
    }
    Ok(statement)
}

/// The last statement of a file.
#[derive(Debug, Clone)]
pub(super) struct Newest {
    pub(super) statement: Statement,
    /// Where its line ends.
    pub(super) end: u64,
}

/// Reads a file of checkpoints from its end, up to the first good one: the others need not be read.
pub(super) fn newest(path: &Path) -> Result<Option<Newest>, StoreError> {
    let bytes = std::fs::read(path).map_err(|error| failed("read", path, error))?;
    let mut end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    while end > 0 {
        let whole = bytes.get(..end - 1).unwrap_or_default();
        let begin = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if let Ok(statement) = read(bytes.get(begin..end).unwrap_or_default()) {
            return Ok(Some(Newest { statement, end: end as u64 }));
        }
        end = begin;
    }
    Ok(None)
}

/// All statements of a file that holds one a line, perhaps among other lines: a file of
/// checkpoints, or an export. A last line without its end is the rest of a write, and is left out.
pub(super) fn read_all(path: &Path) -> Result<Found, StoreError> {
    // An export may be larger than memory, and its checkpoints are few.
    let file = File::open(path).map_err(|error| failed("read", path, error))?;
    let (mut reader, mut bytes, mut number) = (BufReader::new(file), Vec::new(), 0);
    let mut found = Vec::new();
    loop {
        bytes.clear();
        let length =
            reader.read_until(b'\n', &mut bytes).map_err(|error| failed("read", path, error))?;
        number += 1;
        if length == 0 {
            return Ok(found);
        }
        if is_statement(&bytes) && bytes.ends_with(b"\n") {
            found.push(match read(&bytes) {
                Ok(statement) => Ok(Placed { statement, line: number, bytes: bytes.clone() }),
                Err(bad) => Err((number, bad)),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_read_as_it_was_made_and_not_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let key = AuditKey::load_or_make(&dir.path().join("key")).unwrap().0;
        let owner = OwnerId("5f".to_owned());
        let sum = Sum::NONE;
        let stated = Stated { why: Why::End, first: 1, seq: 9, at: 12, sum, size: 300 };
        let (statement, line) = signed(&key, &owner, stated).unwrap();
        assert_eq!(read(&line).as_ref(), Ok(&statement));
        let text = String::from_utf8(line).unwrap();
        let other = |from: &str, to: &str| read(text.replacen(from, to, 1).as_bytes());
        assert_eq!(other("\"seq\":9", "\"seq\":8"), Err(BadStatement::Signature));
        assert_eq!(other("\"version\":1", "\"version\":2"), Err(BadStatement::Newer(2)));
        assert_eq!(other("\"size\"", "\"more\":1,\"size\""), Err(BadStatement::Layout));
        assert_eq!(other("checkpoint", "export"), Err(BadStatement::Layout));
    }
}
