//! The audit trail, for people: a line a record, or the story of an object.

use std::fmt::Write as _;
use std::time::Duration;

use super::words::{minute, took};
use super::{Ink, Style, noted};
use crate::api::audit::{Row, RowResult};
use crate::api::story::Action;

/// Digits of a commit's id that are shown.
const COMMIT_DIGITS: usize = 12;

/// A record as one line: its number, what `events` shows, and who is behind it.
#[must_use]
pub fn line(row: &Row, style: &Style) -> String {
    let said = noted::line(&row.noted, style);
    let behind = behind(row);
    let behind = if behind.is_empty() {
        String::new()
    } else {
        format!("  {}", style.paint(Ink::Dim, &format!("[{behind}]")))
    };
    format!("{:>6} {said}{behind}", row.noted.seq)
}

/// Who is behind something, of which commit and place: `Dev <dev@example.org>, commit 4be21c7,
/// web.yaml:3`.
#[must_use]
pub fn behind(row: &Row) -> String {
    let Row { actor, commit, from, .. } = row;
    let commit = commit.as_ref().map(|commit| format!("commit {}", short(commit)));
    let parts = [actor.clone(), commit, from.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A commit's id, cut, with what stands behind it.
#[must_use]
pub fn short(commit: &str) -> String {
    let (id, rest) = commit.split_once(',').map_or((commit, ""), |(id, rest)| (id, rest));
    let id = id.get(..COMMIT_DIGITS).unwrap_or(id);
    if rest.is_empty() { id.to_owned() } else { format!("{id} with{rest} files") }
}

/// Actions, one below the other, each with what came of it, its cause, and who is behind it.
#[must_use]
pub fn story(actions: &[Action], style: &Style) -> String {
    let mut text = String::new();
    for action in actions {
        let Action { row, ended, result, trouble } = action;
        let at = style.paint(Ink::Dim, &minute(row.noted.at));
        // The cause stands on a line of its own.
        let cause = row.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        let what = row.noted.message.strip_suffix(&cause).unwrap_or(&row.noted.message);
        let object = row.noted.object.as_deref().unwrap_or_default();
        let outcome = match (result, ended) {
            (Some(result), Some((_, end))) => {
                let span = Duration::from_millis(end.0.abs_diff(row.noted.at.0));
                let word = style.paint(ink(*result), result.word());
                format!(": {word} in {}", took(span))
            }
            (Some(result), None) => format!(": {}", style.paint(ink(*result), result.word())),
            (None, _) => String::new(),
        };
        let _ = writeln!(text, "{at}  {object} {what}{outcome}");
        let margin = " ".repeat(18);
        if let Some(trouble) = trouble {
            let _ = writeln!(text, "{margin}{trouble}");
        }
        if let Some(cause) = &row.cause {
            let _ = writeln!(text, "{margin}because: {cause}");
        }
        let behind = behind(row);
        if !behind.is_empty() {
            let _ = writeln!(text, "{margin}by: {behind}");
        }
    }
    text
}

fn ink(result: RowResult) -> Ink {
    match result {
        RowResult::Done => Ink::Good,
        RowResult::Failed | RowResult::Denied => Ink::Bad,
        RowResult::Waived | RowResult::Found => Ink::Odd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_cut_and_say_what_is_not_in_them() {
        let id = "4be21c7a4be21c7a4be21c7a4be21c7a4be21c7a";
        assert_eq!(short(id), "4be21c7a4be2");
        assert_eq!(short(&format!("{id}, changed")), "4be21c7a4be2 with changed files");
        assert_eq!(short("4be"), "4be");
    }
}
