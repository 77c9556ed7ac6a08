//! A plan as people read it: one row an object, then the sum.

use reconciler::plan::ChangeKind;
use reconciler::report::{Counts, HeldSet, Reason};
use reconciler::status;
use reconciler::step::{Cause, FieldChange};

use super::table::{Cell, Table, cell};
use super::words::{age, count, place};
use super::{Ink, Style};
use crate::api::protocol::{PlanRow, PlanView};

/// Renders a plan. `specs` is the specs directory, for places that can be opened from here.
#[must_use]
pub fn render(plan: &PlanView, specs: &str, steps: bool, style: &Style) -> String {
    let mut text = String::new();
    let mut table = Table::default().flexible(3);
    for row in &plan.rows {
        if let Some(cells) = cells(row, specs, style) {
            table.row(cells);
        }
    }
    text.push_str(&table.render(style));
    if steps && !plan.steps.is_empty() {
        text.push_str("\nSteps, each with those that it waits for:\n");
        for step in &plan.steps {
            text.push_str(&format!("  {step}\n"));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    if !plan.policies.is_empty() {
        text.push_str(&policies(plan, style));
        text.push('\n');
    }
    if let Some(held) = &plan.held {
        text.push_str(&render_held(held, style));
        text.push('\n');
    }
    if let Some(why) = &plan.degraded {
        text.push_str(&format!("{} {why}\n", style.paint(Ink::Bad, "Nothing is done:")));
    }
    text.push_str(&style.paint(Ink::Bold, &sum(plan)));
    text.push('\n');
    text
}

/// So many findings are shown; a profile that is bound anew finds something everywhere.
const FINDINGS_SHOWN: usize = 12;

/// What policies say and do not deny.
fn policies(plan: &PlanView, style: &Style) -> String {
    let mut table = Table::default().flexible(3);
    for (instance, said) in plan.policies.iter().take(FINDINGS_SHOWN) {
        let (sign, ink) = if said.waived_by.is_some() { ("", Ink::Dim) } else { ("!", Ink::Odd) };
        table.row(vec![
            cell(ink, format!("{sign:>3}")),
            cell(ink, instance.clone()),
            cell(Ink::Dim, said.level.clone()),
            said.words().into(),
        ]);
    }
    let mut text = format!("{}\n{}", style.paint(Ink::Bold, "Policies say:"), table.render(style));
    if let Some(more) = plan.policies.len().checked_sub(FINDINGS_SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!(
            "  … and {}: `windlass policy check`\n",
            count(more, "more finding")
        ));
    }
    text
}

/// `Plan: 0 to add, …`, or that there is nothing to do.
fn sum(plan: &PlanView) -> String {
    let Counts {
        add,
        change,
        replace,
        destroy,
        denied,
        unknown,
        held,
        waiting,
        suspended,
        later,
        behind,
        settled,
    } = plan.counts;
    let rest = [
        (denied, "denied"),
        (unknown, "unknown"),
        (held, "held"),
        (waiting, "waiting"),
        (suspended, "suspended"),
    ];
    let rest: Vec<String> =
        rest.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    let has_steps = plan.rows.iter().any(|row| row.change.is_some());
    if !has_steps && rest.is_empty() && later == 0 {
        return match settled {
            _ if behind > 0 => format!(
                "Nothing to do: {settled} as declared, {behind} held at an earlier revision."
            ),
            0 => "No changes. Nothing is declared, and nothing is there.".to_owned(),
            1 => "No changes. 1 object is as declared.".to_owned(),
            _ => format!("No changes. {settled} objects are as declared."),
        };
    }
    let mut rest = rest;
    if behind > 0 {
        rest.push(format!("{behind} held at an earlier revision"));
    }
    rest.push(format!("{settled} settled"));
    let first = match later {
        0 => String::new(),
        1 => " (1 of them waits for others first)".to_owned(),
        more => format!(" ({more} of them wait for others first)"),
    };
    format!(
        "Plan: {add} to add, {change} to change in place, {replace} to replace, {destroy} to \
         destroy{first}; {}.",
        rest.join(", ")
    )
}

/// What is held, why, and what to do.
#[must_use]
pub fn render_held(held: &HeldSet, style: &Style) -> String {
    let HeldSet { digest, objects, why } = held;
    let removals = count(objects.len(), "removal");
    let (wait, they) = if objects.len() == 1 { ("waits", "it") } else { ("wait", "them") };
    let command = style.paint(Ink::Bold, &format!("windlass approve {}", digest.short()));
    format!("Held: {removals} {wait} for your word: {why}.\n  {command}   lets {they} go\n")
}

fn cells(row: &PlanRow, specs: &str, style: &Style) -> Option<Vec<Cell>> {
    let (sign, ink, what, note) = match (&row.change, &row.reason) {
        (Some(kind), _) => change(row, *kind, specs),
        (None, Some(reason)) => match row.later {
            Some(kind) => later(kind, reason),
            None => held_back(reason, style)?,
        },
        (None, None) => return None,
    };
    let node = row.node.as_ref().map(ToString::to_string).unwrap_or_default();
    Some(vec![
        cell(ink, format!("{sign:>3}")),
        cell(ink, row.name.clone()),
        cell(Ink::Dim, node),
        what.into(),
        cell(Ink::Dim, note),
    ])
}

type Words = (&'static str, Ink, String, String);

fn change(row: &PlanRow, kind: ChangeKind, specs: &str) -> Words {
    let drift = matches!(row.cause, Some(Cause::Drifted { .. }));
    let what = match &row.cause {
        Some(Cause::Changed { fields }) => changed(fields),
        Some(Cause::Drifted { fields }) => drifted(fields),
        Some(Cause::Declared) => row.source.as_ref().map_or_else(
            || row.why.clone(),
            |source| format!("declared at {}", place(specs, source)),
        ),
        Some(
            Cause::Needed { .. }
            | Cause::Missing
            | Cause::Ended { .. }
            | Cause::Unhealthy { .. }
            | Cause::Power { .. }
            | Cause::Unfinished
            | Cause::Restarted { .. }
            | Cause::Superseded
            | Cause::Drained { .. }
            | Cause::NotDeclared
            | Cause::ScaledDown
            | Cause::Down,
        )
        | None => row.why.clone(),
    };
    // What goes on for now is neither stopped nor removed while the new one starts.
    let has = |verbs: &[&str]| row.steps.iter().any(|verb| verbs.contains(&verb.as_str()));
    let goes_on = has(&["start"]) && !has(&["stop", "remove"]);
    let replacement =
        if goes_on { "# forces replacement, start-first" } else { "# forces replacement" };
    let (sign, ink, note) = match kind {
        ChangeKind::Prepare => (">", Ink::Dim, row.steps.join(", ")),
        ChangeKind::Create => ("+", Ink::Good, String::new()),
        ChangeKind::InPlace => ("~", Ink::Odd, "in place".to_owned()),
        ChangeKind::Power | ChangeKind::Restart => ("~", Ink::Odd, row.steps.join(", ")),
        ChangeKind::Replace => ("-/+", Ink::Bad, replacement.to_owned()),
        ChangeKind::Tidy => ("-", Ink::Dim, "only leftovers of it".to_owned()),
        ChangeKind::Destroy => ("-", Ink::Bad, String::new()),
    };
    match (drift, kind) {
        (true, ChangeKind::Replace) => ("!", Ink::Drift, what, format!("drift  {replacement}")),
        (true, ChangeKind::Power | ChangeKind::Restart | ChangeKind::InPlace) => {
            ("!", Ink::Drift, what, "drift, repaired in place".to_owned())
        }
        (true, ChangeKind::Prepare | ChangeKind::Create | ChangeKind::Tidy)
        | (true, ChangeKind::Destroy)
        | (false, _) => (sign, ink, what, note),
    }
}

/// What is done once others are.
fn later(kind: ChangeKind, reason: &Reason) -> Words {
    let (sign, ink) = match kind {
        ChangeKind::Create => ("+", Ink::Good),
        ChangeKind::Replace => ("-/+", Ink::Bad),
        ChangeKind::InPlace | ChangeKind::Power | ChangeKind::Restart => ("~", Ink::Odd),
        ChangeKind::Destroy => ("-", Ink::Bad),
        ChangeKind::Prepare | ChangeKind::Tidy => ("..", Ink::Odd),
    };
    (sign, ink, status::describe(reason), "# later".to_owned())
}

/// Why nothing is done; `None` if nothing has to be.
fn held_back(reason: &Reason, style: &Style) -> Option<Words> {
    let words = status::describe(reason);
    let left_alone = || "left alone".to_owned();
    Some(match reason {
        Reason::Completed | Reason::Retained => return None,
        Reason::Unknown { since: Some(since), message } => {
            let span = age(style.now.since(*since));
            ("?", Ink::Odd, format!("its node does not answer for {span}: {message}"), left_alone())
        }
        Reason::Unknown { since: None, .. } | Reason::NodeNotDeclared => {
            ("?", Ink::Odd, words, left_alone())
        }
        Reason::Suspended { at, by, why } => {
            let since = age(style.now.since(*at));
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            ("=", Ink::Odd, format!("left alone: suspended {since} ago{why}"), format!("by {by}"))
        }
        Reason::Stays { .. } => ("=", Ink::Odd, words, "stays".to_owned()),
        Reason::SetAside { revision, to, why, .. } => {
            let away = revision.map_or(String::new(), |number| format!(" {number}"));
            let what = format!("at revision {to}: revision{away} is set aside");
            ("=", Ink::Bad, what, why.clone())
        }
        Reason::Undone { revision, to, at, by } => {
            let away = revision.map_or(String::new(), |number| format!(", not {number}"));
            let since = age(style.now.since(*at));
            let what = format!("at revision {to}{away}: undone {since} ago");
            ("=", Ink::Odd, what, format!("by {by}, until its spec changes"))
        }
        Reason::RolloutPaused { at, by } => {
            let since = age(style.now.since(*at));
            ("=", Ink::Odd, format!("keeps its revision: paused {since} ago"), format!("by {by}"))
        }
        Reason::RolloutFailed { .. } => ("x", Ink::Bad, words, String::new()),
        Reason::Held => {
            let note = "# held".to_owned();
            ("-", Ink::Bad, "no longer declared".to_owned(), note)
        }
        Reason::Denied { .. }
        | Reason::Unplaced { .. }
        | Reason::OverQuota { .. }
        | Reason::Stalled { .. } => ("x", Ink::Bad, words, String::new()),
        Reason::Failed { .. } => ("x", Ink::Bad, words, "rests, as `restart` says".to_owned()),
        Reason::DriftReported { fields, policy, quarantined } => {
            let left = if *quarantined { "frozen" } else { "left" };
            ("!", Ink::Drift, drifted(fields), format!("{left}, as {policy} says"))
        }
        Reason::Unhealthy { retry_at: None, .. } => ("x", Ink::Bad, words, String::new()),
        Reason::BackingOff { retry_at, .. }
        | Reason::Restarting { retry_at, .. }
        | Reason::Unhealthy { retry_at: Some(retry_at), .. } => {
            let span = age(retry_at.since(style.now));
            ("..", Ink::Odd, words, format!("again in {span}"))
        }
        Reason::InFlight { .. } | Reason::WaitingOn { .. } => {
            ("..", Ink::Odd, words, String::new())
        }
    })
}

fn changed(fields: &[FieldChange]) -> String {
    lines(fields.iter().map(ToString::to_string))
}

fn drifted(fields: &[FieldChange]) -> String {
    lines(fields.iter().map(|change| {
        let FieldChange { field, from, to } = change;
        match (from.is_empty(), to.is_empty()) {
            (true, true) => field.clone(),
            (true, false) => format!("{field} not set, {to} declared"),
            (false, true) => format!("{field} {from} found, not declared"),
            (false, false) => format!("{field} {from} found, {to} declared"),
        }
    }))
}

/// One line each: several fields in one line cannot be read.
fn lines(fields: impl Iterator<Item = String>) -> String {
    fields.collect::<Vec<_>>().join("\n")
}
