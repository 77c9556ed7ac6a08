//! One file that can be checked on its own: a head, the segments as they are, the signed checkpoints
//! about them, and one more that ends it.
//!
//! ```text
//! {"windlass":"export","version":1,"owner":"5f…","key":"3d…","masked":true,"at":1763700000000}
//! {"format":"windlass journal",…}
//! {"seq":1,…}
//! {"withheld":["entry.text.text"],"seq":2,…,"entry":{…},"sum":"f03…","sig":"92a…"}
//! {"windlass":"checkpoint",…,"why":"export",…}
//! ```
//!
//! What may be secret is withheld: the line keeps its sum, so that the chain goes on, and what is
//! left of it is signed.

use std::io::Write;
use std::path::Path;

use reconciler::model::ids::OwnerId;
use reconciler::ports::StoreError;
use serde::{Deserialize, Serialize};

use super::attest::{contradiction, now_ms};
use super::key::{AuditKey, PublicKey};
use super::line::{self, Header, Line, Sum};
use super::mask;
use super::retention::begins_at;
use super::scan::{self, Segment};
use super::statement::{self, FILE, Placed, Stated, Statement, Why};
use super::verify::Lines;
use crate::files::{failed, is_there};

/// Version of the form of an export.
const VERSION: u32 = 1;

/// The first line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    windlass: String,
    version: u32,
    owner: OwnerId,
    key: String,
    masked: bool,
    at: i64,
}

/// Reads the first line of an export: the key that it names.
pub(super) fn read_head(bytes: &[u8]) -> Result<PublicKey, String> {
    let no_export = || "it is no export of `windlass audit export`".to_owned();
    let head: Head = serde_json::from_slice(bytes).map_err(|_| no_export())?;
    if head.windlass != "export" {
        return Err(no_export());
    }
    if head.version > VERSION {
        let version = head.version;
        return Err(format!("it has version {version}: a newer windlass wrote it, use that one"));
    }
    PublicKey::from_hex(&head.key).ok_or_else(|| "the key that it names is none".to_owned())
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// The first entry.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// Entries from which something is withheld.
    pub withheld: u64,
}

/// Writes an export of the journal in `dir` to `out`: of whole segments, from the one on that was
/// in use at `since_ms`.
///
/// # Errors
/// [`StoreError`] if the journal cannot be read or is not whole, or `out` cannot be written.
pub fn write(
    dir: &Path,
    key: &AuditKey,
    since_ms: Option<i64>,
    mask: bool,
    out: &mut dyn Write,
) -> Result<Exported, StoreError> {
    let owner = owner(dir)?;
    let stated = statement::read_all(&dir.join(FILE))?;
    let segments = scan::segments(dir)?;
    let mut begin = 0;
    for (number, segment) in segments.iter().enumerate().skip(1) {
        let starts = begins_at(&segment.path)?;
        if since_ms.is_some_and(|since| starts.is_some_and(|at| at <= since)) {
            begin = number;
        }
    }
    let segments = segments.get(begin..).unwrap_or_default();
    let Some(first) = segments.first().map(|segment| segment.first) else {
        return Err(failed("export journal", dir, "there is none"));
    };
    let head = Head {
        windlass: "export".to_owned(),
        version: VERSION,
        owner: owner.clone(),
        key: key.public().to_string(),
        masked: mask,
        at: now_ms(),
    };
    let put = |out: &mut dyn Write, bytes: &[u8]| {
        out.write_all(bytes).map_err(|error| failed("write the export of", dir, error))
    };
    let mut line =
        serde_json::to_vec(&head).map_err(|error| failed("write the export of", dir, error))?;
    line.push(b'\n');
    put(out, &line)?;

    let mut end = End { seq: first - 1, sum: None, size: 0, withheld: 0 };
    for segment in segments {
        let is_newest = segments.last().is_some_and(|last| last.first == segment.first);
        end.copy(segment, is_newest, mask.then_some(key), &mut |bytes| put(out, bytes))?;
    }
    let End { seq, sum, size, withheld } = end;
    let Some(sum) = sum else { return Err(failed("export journal", dir, "it is empty")) };
    for placed in stated.into_iter().filter_map(Result::ok) {
        let Placed { statement: Statement { seq: about, .. }, line: _, bytes } = placed;
        if about + 1 >= first && about <= seq {
            put(out, &bytes)?;
        }
    }
    let stated = Stated { why: Why::Export, first, seq, at: now_ms(), sum, size };
    let (_, line) = statement::signed(key, &owner, stated)
        .map_err(|error| failed("sign the export of", dir, error))?;
    put(out, &line)?;
    Ok(Exported { first, last: seq, withheld })
}

/// A signed checkpoint of a journal as it is now, to be kept elsewhere.
///
/// # Errors
/// [`StoreError`] if the journal cannot be read, or is not what was signed before.
pub fn checkpoint(dir: &Path, key: &AuditKey) -> Result<(Statement, String), StoreError> {
    if let Some(why) = contradiction(dir)? {
        return Err(failed("sign a checkpoint of", dir, why));
    }
    let owner = owner(dir)?;
    let Some(scan::Walked { segments, tail }) = scan::walk(dir, u64::MAX, &mut |_| {})? else {
        return Err(failed("sign a checkpoint of", dir, "there is no journal"));
    };
    let first = segments.first().map_or(1, |segment| segment.first);
    let (seq, sum, size) = (tail.last_seq, tail.last_sum, tail.good_bytes);
    let stated = Stated { why: Why::Asked, first, seq, at: now_ms(), sum, size };
    let (statement, line) = statement::signed(key, &owner, stated)
        .map_err(|error| failed("sign a checkpoint of", dir, error))?;
    Ok((statement, String::from_utf8_lossy(&line).into_owned()))
}

/// Whose journal it is, as its newest signed checkpoint says.
fn owner(dir: &Path) -> Result<OwnerId, StoreError> {
    let path = dir.join(FILE);
    let newest = if is_there(&path)? { statement::newest(&path)? } else { None };
    newest.map(|newest| newest.statement.owner).ok_or_else(|| {
        let why = "nothing in it is signed yet: `windlass up` or `windlass apply` does that";
        failed("read journal", dir, why)
    })
}

/// How far an export has come.
struct End {
    seq: u64,
    sum: Option<Sum>,
    size: u64,
    withheld: u64,
}

impl End {
    /// Copies a segment. `mask` signs what is left of lines that are not copied whole.
    fn copy(
        &mut self,
        segment: &Segment,
        is_newest: bool,
        mask: Option<&AuditKey>,
        put: &mut dyn FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = &segment.path;
        let damaged = |line: u64| {
            let why = format!("line {line} is damaged; `windlass audit verify` says more");
            failed("export journal", path, why)
        };
        self.size = 0;
        let mut lines = Lines::open(path)?;
        while let Some((number, bytes)) = lines.next()? {
            if number == 1 {
                let Ok((_, prev, sum)) = Header::read(bytes) else { return Err(damaged(1)) };
                if self.sum.is_some_and(|before| before != prev) {
                    return Err(damaged(1));
                }
                self.sum = Some(sum);
                put(bytes)?;
            } else {
                if !bytes.ends_with(b"\n") && is_newest {
                    // It is just being written, or never was to the end.
                    break;
                }
                let line = Line::read(bytes).map_err(|_| damaged(number))?;
                if Some(line.prev) != self.sum || line.seq != self.seq + 1 {
                    return Err(damaged(number));
                }
                (self.seq, self.sum) = (line.seq, Some(line.sum));
                let masked = mask
                    .and_then(|key| Some((key, mask::masked(line.entry, &line.sum.to_string())?)));
                match masked {
                    None => put(bytes)?,
                    Some((key, mask::Masked { entry, withheld })) => {
                        let mut left = Vec::new();
                        line::write_withheld(&mut left, &line, &withheld, &entry.to_string());
                        statement::sign(key, &mut left);
                        self.withheld += 1;
                        put(&left)?;
                    }
                }
            }
            self.size += bytes.len() as u64;
        }
        Ok(())
    }
}
