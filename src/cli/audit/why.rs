//! `windlass audit why OBJECT`: the story of one object, newest last.

use super::{Filter, log, rows, settings};
use crate::api::protocol::NotedKind;
use crate::api::story::{Action, Actions};
use crate::cli::args::Format;
use crate::cli::events::unknown;
use crate::cli::show::trail;
use crate::cli::{Context, Ended};

/// Runs the verb.
pub(super) fn run(context: &Context, object: &str) -> Ended {
    let settings = settings(context)?;
    let filter = Filter { object: Some(object.to_owned()), ..Filter::default() };
    let (mut actions, mut names) = (Actions::default(), Vec::new());
    rows(&settings, &mut |row| {
        if filter.takes(&row) {
            // What was decided on the way to an action is in `audit log`.
            let is_news = !matches!(row.noted.kind, NotedKind::Decided | NotedKind::Seen);
            if is_news {
                actions.take(row);
            }
        } else {
            names.extend(row.noted.object);
        }
    })?;
    let actions = actions.into_vec();
    if actions.is_empty() {
        return Err(unknown(object, &names));
    }
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => {
            let all: Vec<_> = actions.iter().map(value).collect();
            out.value(format, &all)?;
        }
        Format::Name => {
            let all = actions.iter().map(|action| format!("{}\n", action.row.noted.seq));
            out.print(&all.collect::<String>())?;
        }
        Format::Text | Format::Wide => out.print(&trail::story(&actions, &out.style))?,
    }
    Ok(0)
}

/// An action as programs read it.
pub(super) fn value(action: &Action) -> serde_json::Value {
    let Action { row, ended, result, trouble } = action;
    let mut value = log::value(row);
    value["result"] = serde_json::json!(result);
    value["endedSeq"] = serde_json::json!(ended.map(|(seq, _)| seq));
    value["endedAt"] = serde_json::json!(ended.map(|(_, at)| crate::cli::show::words::time(at)));
    value["trouble"] = serde_json::json!(trouble);
    value
}
