//! Entries of the journal, one a line: what `events` shows.

use super::words::time;
use super::{Ink, Style};
use crate::api::protocol::{Noted, NotedKind};

/// Width of the column with the kind.
const KIND_WIDTH: usize = 9;

/// An entry as one line, without its end.
#[must_use]
pub fn line(noted: &Noted, style: &Style) -> String {
    let Noted { seq: _, at, kind, object, node, message } = noted;
    let at = style.paint(Ink::Dim, &time(*at));
    let (word, ink) = kind_word(*kind);
    let kind = style.paint(ink, &format!("{word:KIND_WIDTH$}"));
    let about = match (object, node) {
        (Some(object), Some(node)) if *object == format!("node {node}") => format!("{object}: "),
        (Some(object), Some(node)) => format!("{object} on {node}: "),
        (Some(object), None) => format!("{object}: "),
        (None, Some(node)) => format!("{node}: "),
        (None, None) => String::new(),
    };
    format!("{at} {kind} {about}{message}")
}

fn kind_word(kind: NotedKind) -> (&'static str, Ink) {
    match kind {
        NotedKind::Seen => ("seen", Ink::Plain),
        NotedKind::Declared => ("declared", Ink::Plain),
        NotedKind::Decided => ("decided", Ink::Plain),
        NotedKind::Intent => ("intent", Ink::Odd),
        NotedKind::Done => ("done", Ink::Good),
        NotedKind::Failed => ("failed", Ink::Bad),
        NotedKind::Ended => ("ended", Ink::Odd),
        NotedKind::Operator => ("operator", Ink::Bold),
        NotedKind::Settled => ("settled", Ink::Good),
        NotedKind::Exec => ("exec", Ink::Bold),
        NotedKind::Commit => ("commit", Ink::Plain),
        NotedKind::Policy => ("policy", Ink::Odd),
        NotedKind::Pressed => ("pressure", Ink::Odd),
    }
}
