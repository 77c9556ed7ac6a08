//! What is wrong with a line that is whole and does not follow the one before it.

use std::path::Path;

use reconciler::ports::StoreError;

use super::walk::Lines;
use super::{Finding, What};
use crate::journal::line::{Line, Sum};

/// Looks at all of the file, to tell what was done: `wanted` is the entry that is next, `found` the
/// one that stands in `line`, `prev` what that one says it follows.
pub(super) fn misplaced(
    path: &Path,
    line: u64,
    wanted: u64,
    found: u64,
    prev: Sum,
) -> Result<Finding, StoreError> {
    let (mut comes_later, mut was_there, mut follows) = (false, false, None);
    let mut lines = Lines::open(path)?;
    while let Some((number, bytes)) = lines.next()? {
        let Ok(other) = Line::read(bytes) else { continue };
        if number == line {
            continue;
        }
        comes_later |= number > line && other.seq == wanted;
        was_there |= number < line && other.seq == found && other.prev == prev;
        if other.seq + 1 == found {
            follows = Some(other.sum == prev);
        }
    }
    let (what, seq, message) = if found == wanted {
        let before = wanted - 1;
        (What::Spliced, wanted, format!("it does not follow entry {before}, which is whole"))
    } else if was_there {
        let message = format!("entry {found} stands here again, where {wanted} is next");
        (What::Duplicated, found, message)
    } else if found > wanted && !comes_later {
        let missing = match found - wanted {
            1 => format!("entry {wanted} is"),
            _ => format!("entries {wanted} to {} are", found - 1),
        };
        (What::Deleted, wanted, format!("{missing} missing: entry {found} stands here"))
    } else if follows == Some(true) {
        let message = format!("entry {found} stands here, where {wanted} is next");
        (What::Reordered, found, message)
    } else {
        let message = format!(
            "an entry {found} stands here, where {wanted} is next, and follows none of this journal"
        );
        (What::Spliced, found, message)
    };
    Ok(Finding { what, seq, file: path.to_owned(), line, message })
}
