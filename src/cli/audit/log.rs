//! `windlass audit log`: the trail, oldest first.

use serde_json::json;

use super::{Filter, rows, settings};
use crate::api::audit::Row;
use crate::cli::args::Format;
use crate::cli::show::trail;
use crate::cli::show::words::time;
use crate::cli::{Context, Ended};

/// Runs the verb.
pub(super) fn run(context: &Context, filter: &Filter) -> Ended {
    let settings = settings(context)?;
    let mut text = String::new();
    rows(&settings, &mut |row| {
        if filter.takes(&row) {
            let line = match context.global.output {
                Format::Json | Format::Yaml => value(&row).to_string(),
                Format::Name => row.noted.seq.to_string(),
                Format::Text | Format::Wide => trail::line(&row, &context.out.style),
            };
            text.push_str(&line);
            text.push('\n');
        }
    })?;
    if text.is_empty() {
        context.out.note("no records");
        return Ok(0);
    }
    context.out.print(&text)?;
    Ok(0)
}

/// A row as programs read it.
pub(super) fn value(row: &Row) -> serde_json::Value {
    let Row { noted, actor, commit, from, cause, deed, result } = row;
    json!({
        "seq": noted.seq,
        "at": time(noted.at),
        "kind": noted.kind,
        "object": noted.object,
        "node": noted.node,
        "message": noted.message,
        "deed": deed,
        "cause": cause,
        "actor": actor,
        "commit": commit,
        "from": from,
        "result": result,
    })
}
