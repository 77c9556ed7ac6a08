//! What `audit verify` found, for people.

use super::words::count;
use super::{Ink, Style};
use crate::app::audit::{Finding, Verdict, Verified};

/// One line that says it all, then each finding with its place, then notes.
#[must_use]
pub fn render(verified: &Verified, style: &Style) -> String {
    let Verified { verdict, findings, owner, keys, first, last, withheld, .. } = verified;
    let Verified { checkpoints, signed_to, notes, .. } = verified;
    let (word, ink) = match verdict {
        Verdict::Whole => ("whole", Ink::Good),
        Verdict::NotWhole => ("not whole", Ink::Bad),
        Verdict::Unchecked => ("could not be checked", Ink::Odd),
    };
    let mut text = format!("{}: entries {first} to {last}", style.paint(ink, word));
    if let Some(owner) = owner {
        text.push_str(&format!(" of owner {owner}"));
    }
    text.push_str(&format!(
        ", {}, signed up to entry {signed_to}",
        count(*checkpoints, "signed checkpoint")
    ));
    if *withheld > 0 {
        text.push_str(&format!(", {withheld} partly withheld"));
    }
    text.push('\n');
    for Finding { what, seq, file, line, message } in findings {
        let word = serde_json::to_value(what).ok();
        let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default();
        text.push_str(&format!(
            "{} entry {seq}: {message}\n  --> {}:{line}\n  it means: {}\n",
            style.paint(Ink::Bad, &format!("{word}:")),
            file.display(),
            what.meaning(),
        ));
    }
    for key in keys {
        text.push_str(&format!("key: {key}\n"));
    }
    for note in notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}
