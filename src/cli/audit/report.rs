//! `windlass audit report`: what changed, who was behind it and why, for an auditor.

use serde_json::json;

use super::{Filter, When, rows, settings, why};
use crate::api::protocol::NotedKind;
use crate::api::story::{Action, Actions};
use crate::app::audit::{self, Asked, CLOCK_BACK_TOLERATED_MS};
use crate::cli::args::Output;
use crate::cli::show::report::{self, Report, Section};
use crate::cli::show::words::time;
use crate::cli::{Context, Ended};
use crate::shell::now;

/// Runs the verb.
pub(super) fn run(context: &Context, since: Option<When>, until: Option<When>) -> Ended {
    let settings = settings(context)?;
    let filter = Filter { since, until, ..Filter::default() };
    let mut actions = Actions::default();
    rows(&settings, &mut |row| {
        if filter.takes(&row) {
            actions.take(row);
        }
    })?;
    let asked = Asked {
        journal: audit::journal(&settings),
        checkpoint: None,
        pubkey: None,
        clock_tolerated_ms: CLOCK_BACK_TOLERATED_MS,
    };
    let verified = audit::verify(&asked)?;
    let (mut sections, settled) = sorted(actions.into_vec());
    sections.retain(|section| !section.actions.is_empty());
    let report = Report {
        made_at: now(),
        since_ms: since.map(|when| when.0),
        until_ms: until.map(|when| when.0),
        verified,
        settled,
        sections,
    };
    let out = &context.out;
    match context.global.asked {
        Output::Html => out.print(&report::html::render(&report))?,
        Output::Csv => out.print(&report::csv::render(&report))?,
        Output::Markdown => out.print(&report::markdown::render(&report))?,
        Output::Json | Output::Yaml => {
            let format = context.global.output;
            out.value(format, &value(&report))?;
        }
        // The others are refused before.
        Output::Text
        | Output::Wide
        | Output::Name
        | Output::Sarif
        | Output::Junit
        | Output::Policyreport
        | Output::Github => {
            out.print(&report::markdown::render(&report))?;
        }
    }
    Ok(0)
}

/// Actions by what an auditor asks for, and how often everything was as declared.
fn sorted(actions: Vec<Action>) -> (Vec<Section>, usize) {
    let mut sections: Vec<Section> = [
        ("denied", "What policy denied or found"),
        ("waived", "What a waiver let pass"),
        ("changed", "What changed"),
        ("drift", "What another hand changed, and was repaired"),
        ("failed", "What failed"),
        ("operators", "What operators asked for"),
        ("exec", "Commands run in containers"),
        ("commits", "Commits and specs"),
    ]
    .map(|(id, title)| Section { id, title, actions: Vec::new() })
    .into();
    let mut settled = 0;
    for action in actions {
        use crate::api::audit::RowResult;
        let id = match (action.row.noted.kind, action.result) {
            (_, Some(RowResult::Denied | RowResult::Found)) => "denied",
            (_, Some(RowResult::Waived)) => "waived",
            (NotedKind::Exec, _) => "exec",
            (NotedKind::Operator, _) => "operators",
            (_, Some(RowResult::Failed)) => "failed",
            (NotedKind::Intent, _) if action.is_drift() => "drift",
            (NotedKind::Commit, _) | (NotedKind::Declared, _) => "commits",
            (NotedKind::Intent | NotedKind::Done | NotedKind::Ended | NotedKind::Policy, _) => {
                "changed"
            }
            (NotedKind::Settled, _) => {
                settled += 1;
                continue;
            }
            // Steps on the way, and what the kernel did: `audit log` has them.
            (NotedKind::Seen | NotedKind::Decided | NotedKind::Failed | NotedKind::Pressed, _) => {
                continue;
            }
        };
        if let Some(section) = sections.iter_mut().find(|section| section.id == id) {
            section.actions.push(action);
        }
    }
    (sections, settled)
}

fn value(report: &Report) -> serde_json::Value {
    let Report { made_at, since_ms, until_ms, verified, settled, sections } = report;
    let moment = |ms: &Option<i64>| ms.map(|ms| time(reconciler::model::time::Timestamp(ms)));
    let sections: serde_json::Map<String, serde_json::Value> = sections
        .iter()
        .map(|section| {
            let actions = section.actions.iter().map(why::value).collect();
            (section.id.to_owned(), serde_json::Value::Array(actions))
        })
        .collect();
    json!({
        "madeAt": time(*made_at),
        "since": moment(since_ms),
        "until": moment(until_ms),
        "verified": verified,
        "settled": settled,
        "sections": sections,
    })
}
