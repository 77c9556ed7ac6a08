//! The revisions of an instance, as `describe` and `rollout history` show them.

use reconciler::model::record::PastRevision;
use reconciler::model::rollout::Outcome;
use reconciler::status::InstanceStatus;

use super::table::{Table, cell};
use super::words::minute;
use super::{Ink, Style};

/// One line a revision, the latest one first: number, what became of it, image, when, why.
#[must_use]
pub fn history(status: &InstanceStatus, style: &Style) -> String {
    let mut table = Table::default();
    let shown =
        |hash: &str| status.replicas.iter().any(|one| one.revision.as_deref() == Some(hash));
    for past in status.history.iter().rev() {
        let PastRevision { number, revision, image, at, outcome } = past;
        let is_latest = status
            .history
            .iter()
            .rev()
            .find(|one| one.revision == *revision)
            .is_some_and(|one| one.number == *number);
        let current = if is_latest && shown(&revision.0) { "current" } else { "" };
        let (words, ink) = match outcome {
            Outcome::Unknown | Outcome::Good => (current, Ink::Plain),
            Outcome::UnderWay | Outcome::Undone { .. } => (outcome.word(), Ink::Odd),
            Outcome::Failed { .. } | Outcome::SetAside { .. } => (outcome.word(), Ink::Bad),
        };
        table.row(vec![
            number.to_string().into(),
            cell(ink, words),
            image.to_string().into(),
            format!("{} UTC", minute(*at)).into(),
            revision.0.get(..8).unwrap_or_default().into(),
            why(outcome).unwrap_or_default().into(),
        ]);
    }
    table.render(style)
}

/// What is to be said of how a revision turned out.
fn why(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Unknown | Outcome::UnderWay | Outcome::Good => None,
        Outcome::Failed { why, .. } | Outcome::SetAside { why, .. } => Some(why.clone()),
        Outcome::Undone { by, .. } => Some(format!("by {by}")),
    }
}
