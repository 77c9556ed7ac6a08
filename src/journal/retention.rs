//! How much of the journal is kept: by count, size and age of its segments.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::str::FromStr;

use reconciler::model::quantity::{Bytes, Span};
use reconciler::ports::StoreError;

use super::line;
use super::scan::Segment;
use crate::files::failed;

/// Kept if nobody says otherwise: an audit wants history, a disk wants a bound. With small records
/// this is some 600,000 entries, which `windlass events` reads within two seconds.
const RETAINED_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;

/// The newest segment and the one before it are kept in any case: the newest begins with all records,
/// and if that was cut short, reading begins one earlier.
const SEGMENTS_KEPT_MIN: usize = 2;

/// The time of an entry stands within so many bytes of the line.
const HEAD_BYTES: u64 = 128;

/// What is kept at most. Whole segments go, oldest first, once another one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So many segments.
    pub segments: Option<usize>,
    /// So many bytes.
    pub bytes: Option<u64>,
    /// Entries no older than this, in milliseconds.
    pub age_ms: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { segments: None, bytes: Some(RETAINED_BYTES_DEFAULT), age_ms: None }
    }
}

/// What was written is no bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected bounds such as `size=1Gi`, `age=400d`, `segments=100`, joined by commas, or `all`; not `{0}`"
)]
pub struct BadRetention(String);

impl FromStr for Retention {
    type Err = BadRetention;

    fn from_str(text: &str) -> Result<Self, BadRetention> {
        let mut kept = Self { segments: None, bytes: None, age_ms: None };
        if text == "all" {
            return Ok(kept);
        }
        for part in text.split(',') {
            let bad = || BadRetention(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(bad)?;
            match name {
                "size" => kept.bytes = Some(value.parse::<Bytes>().map_err(|_| bad())?.0),
                "age" => kept.age_ms = Some(value.parse::<Span>().map_err(|_| bad())?.0),
                "segments" => kept.segments = Some(value.parse().map_err(|_| bad())?),
                _ => return Err(bad()),
            }
        }
        Ok(kept)
    }
}

/// How many of the oldest segments are too many.
pub(super) fn excess(
    kept: &Retention,
    segments: &[Segment],
    now_ms: i64,
) -> Result<usize, StoreError> {
    let Retention { segments: count_max, bytes: bytes_max, age_ms } = *kept;
    let droppable = segments.len().saturating_sub(SEGMENTS_KEPT_MIN);
    let mut excess = count_max.map_or(0, |max| segments.len().saturating_sub(max));
    if let Some(max) = bytes_max {
        let mut sum = 0;
        for (newer, segment) in segments.iter().rev().enumerate() {
            let length = segment
                .path
                .metadata()
                .map_err(|error| failed("look at", &segment.path, error))?
                .len();
            sum += length;
            if sum > max {
                excess = excess.max(segments.len() - newer);
                break;
            }
        }
    }
    if let Some(age) = age_ms {
        let oldest = now_ms.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX));
        // A segment is too old when the one behind it begins before the bound.
        for (number, next) in segments.iter().enumerate().skip(1) {
            match begins_at(&next.path)? {
                Some(at) if at < oldest => excess = excess.max(number),
                Some(_) | None => break,
            }
        }
    }
    Ok(excess.min(droppable))
}

/// When the first entry of a segment was written.
pub(super) fn begins_at(path: &Path) -> Result<Option<i64>, StoreError> {
    let file = File::open(path).map_err(|error| failed("open journal", path, error))?;
    let (mut reader, mut bytes) = (BufReader::new(file), Vec::new());
    reader
        .read_until(b'\n', &mut bytes)
        .and_then(|_| {
            bytes.clear();
            reader.take(HEAD_BYTES).read_to_end(&mut bytes)
        })
        .map_err(|error| failed("read journal", path, error))?;
    Ok(line::time_of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_and_wrong_ones_told() {
        let read = |text: &str| text.parse::<Retention>();
        let kept = read("size=1Gi,age=400d").unwrap();
        assert_eq!((kept.bytes, kept.age_ms), (Some(1 << 30), Some(400 * 86_400_000)));
        assert_eq!(read("segments=3").unwrap().segments, Some(3));
        assert_eq!(read("all").unwrap().bytes, None);
        for bad in ["", "size", "size=x", "years=3", "size=1Gi,"] {
            read(bad).unwrap_err();
        }
    }

    #[test]
    fn what_is_too_much_goes_but_for_the_newest_two() {
        let dir = tempfile::tempdir().unwrap();
        let segments: Vec<Segment> = (0..5_i64)
            .map(|number| {
                let segment = Segment::new(dir.path(), u64::try_from(number).unwrap() * 10 + 1);
                let line = format!("{{\"seq\":{},\"at\":{},\"d", segment.first, number * 1000);
                std::fs::write(&segment.path, format!("{:<49}\n{line:<50}", "header")).unwrap();
                segment
            })
            .collect();
        let excess = |text: &str| excess(&text.parse().unwrap(), &segments, 10_000).unwrap();
        assert_eq!(excess("all"), 0);
        assert_eq!(excess("segments=4"), 1);
        assert_eq!(excess("segments=1"), 3);
        assert_eq!(excess("size=300"), 2);
        assert_eq!(excess("size=1"), 3);
        // The second one begins at 1 s, the third at 2 s.
        assert_eq!(excess("age=9s"), 0);
        assert_eq!(excess("age=8500ms"), 1);
        assert_eq!(excess("size=300,age=8500ms,segments=9"), 2);
    }
}
