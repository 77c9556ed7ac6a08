//! The report of an audit, in three forms: a page, a table, and text.

pub mod csv;
pub mod html;
pub mod markdown;

use reconciler::model::time::Timestamp;

use super::trail::short;
use super::words::{count, time};
use crate::api::story::Action;
use crate::app::audit::{Verdict, Verified};

/// What is reported.
#[derive(Debug)]
pub struct Report {
    /// When it was made.
    pub made_at: Timestamp,
    /// From when on, if not from the beginning.
    pub since_ms: Option<i64>,
    /// Until when, if not until now.
    pub until_ms: Option<i64>,
    /// Whether the record that it rests on is whole.
    pub verified: Verified,
    /// How often everything was as declared.
    pub settled: usize,
    /// What happened, by what an auditor asks for; none of them is empty.
    pub sections: Vec<Section>,
}

/// Actions of one sort.
#[derive(Debug)]
pub struct Section {
    /// A word for programs.
    pub id: &'static str,
    /// A heading for people.
    pub title: &'static str,
    /// The actions, oldest first.
    pub actions: Vec<Action>,
}

/// The columns of a table of actions.
const COLUMNS: [&str; 9] =
    ["seq", "time", "object", "node", "what", "why", "who", "commit", "result"];

/// An action in those columns.
fn cells(action: &Action) -> [String; 9] {
    let Action { row, ended: _, result, trouble } = action;
    let noted = &row.noted;
    let cause = row.cause.clone().unwrap_or_default();
    let suffix = format!(" ({cause})");
    let what = noted.message.strip_suffix(&suffix).unwrap_or(&noted.message);
    let what = match trouble {
        Some(trouble) => format!("{what}: {trouble}"),
        None => what.to_owned(),
    };
    let commit = row.commit.as_deref().map(short).unwrap_or_default();
    let commit = match &row.from {
        Some(from) if commit.is_empty() => from.clone(),
        Some(from) => format!("{commit}, {from}"),
        None => commit,
    };
    [
        noted.seq.to_string(),
        time(noted.at),
        noted.object.clone().unwrap_or_default(),
        noted.node.as_ref().map(ToString::to_string).unwrap_or_default(),
        what,
        cause,
        row.actor.clone().unwrap_or_default(),
        commit,
        result.map(|result| result.word().to_owned()).unwrap_or_default(),
    ]
}

/// What stands above all sections: a name and its value each.
fn summary(report: &Report) -> Vec<(&'static str, String)> {
    let Report { made_at, since_ms, until_ms, verified, settled, sections } = report;
    let moment = |ms: &Option<i64>, else_: &str| {
        ms.map_or_else(|| else_.to_owned(), |ms| time(Timestamp(ms)))
    };
    let verdict = match verified.verdict {
        Verdict::Whole => "whole".to_owned(),
        Verdict::Unchecked => "could not be checked".to_owned(),
        Verdict::NotWhole => {
            let found = verified.findings.first();
            let why = found.map(|found| format!(": entry {}: {}", found.seq, found.message));
            format!("NOT WHOLE{}", why.unwrap_or_default())
        }
    };
    let Verified { first, last, signed_to, owner, keys, .. } = verified;
    let counted = sections
        .iter()
        .map(|section| format!("{} {}", section.actions.len(), section.id))
        .collect::<Vec<_>>()
        .join(", ");
    vec![
        ("made", time(*made_at)),
        ("period", format!("{} to {}", moment(since_ms, "the beginning"), moment(until_ms, "now"))),
        ("state directory of", owner.clone().unwrap_or_default()),
        (
            "record",
            format!("{verdict}; entries {first} to {last} are kept, signed up to {signed_to}"),
        ),
        ("key", keys.join(", ")),
        ("settled", format!("{} that everything was as declared", count(*settled, "time"))),
        ("in it", counted),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::audit::{Row, RowResult};
    use crate::api::protocol::{Noted, NotedKind};

    fn report(message: &str) -> Report {
        let noted = Noted {
            seq: 3,
            at: Timestamp(0),
            kind: NotedKind::Intent,
            object: Some("shop/web/0".to_owned()),
            node: None,
            message: format!("{message} (declared)"),
        };
        let row = Row {
            noted,
            actor: Some("Dev <dev@example.org>".to_owned()),
            commit: Some("4be21c7".to_owned()),
            from: Some("web.yaml:3".to_owned()),
            cause: Some("declared".to_owned()),
            deed: None,
            result: None,
        };
        let result = Some(RowResult::Done);
        let action = Action { row, ended: None, result, trouble: None };
        let verified = Verified {
            verdict: Verdict::Whole,
            findings: Vec::new(),
            owner: Some("5f".to_owned()),
            keys: vec!["3d".to_owned()],
            first: 1,
            last: 9,
            withheld: 0,
            checkpoints: 2,
            signed_to: 9,
            notes: Vec::new(),
        };
        let sections =
            vec![Section { id: "changed", title: "What changed", actions: vec![action] }];
        let (made_at, since_ms, until_ms) = (Timestamp(0), None, None);
        Report { made_at, since_ms, until_ms, verified, settled: 1, sections }
    }

    #[test]
    fn a_page_runs_nothing_and_shows_all_as_it_is() {
        let page = html::render(&report("<script>alert('x')</script> & \"more\""));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
        assert!(page.contains("Dev &lt;dev@example.org&gt;") && page.contains("&amp; &quot;more"));
        // It needs nothing from elsewhere.
        for other in ["http://", "https://", "src=", "href=", "url("] {
            assert!(!page.contains(other), "{other}");
        }
    }

    #[test]
    fn a_table_is_no_program_for_who_opens_it() {
        let table = csv::render(&report("=cmd(), \"x\"\nnext"));
        assert!(table.starts_with("section,seq,time,object,"), "{table}");
        assert!(table.contains(",\"'=cmd(), \"\"x\"\"\nnext\","), "{table}");
        assert_eq!(table.matches("\r\n").count(), 2);
    }

    #[test]
    fn text_keeps_its_columns() {
        let text = markdown::render(&report("create | remove\nall"));
        let row = text.lines().find(|line| line.starts_with("| 3 ")).expect("a row");
        assert!(row.contains("create \\| remove all") && row.contains("Dev \\<dev@example.org>"));
        assert_eq!(row.replace("\\|", "").matches('|').count(), COLUMNS.len() + 1);
    }
}
