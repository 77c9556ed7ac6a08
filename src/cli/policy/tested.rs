//! The cases of one policy, as rows of a report.

use std::collections::BTreeSet;
use std::sync::Arc;

use reconciler::model::policies::{Origin, PolicySource};
use reconciler::model::spec::policy::PolicyId;
use reconciler::policy::library::Library;

use crate::cli::near;
use crate::cli::show::policy::{Reached, Row, Status, Tested};
use crate::manifest::Spot;
use crate::policies::cases::{self, Ran, Word};

/// How statements are counted.
pub(super) struct Counted<'a> {
    /// Scripts that tell which of their statements were reached.
    pub(super) library: &'a Arc<Library>,
    /// The least share that has to be reached, in percent.
    pub(super) least: Option<usize>,
}

/// Runs the cases of a policy.
pub(super) fn tested(
    source: &PolicySource,
    id: &PolicyId,
    library: &Arc<Library>,
    counted: Option<Counted<'_>>,
) -> (Vec<Row>, Tested) {
    let path = place_of(source, &cases::path_of(source));
    let row = |status, object: String, message: String, spot: Option<(&str, u32, u32)>| Row {
        status,
        rule: id.to_string(),
        suite: path.clone(),
        object,
        level: None,
        message,
        at: None,
        observed: None,
        want: None,
        fix: None,
        place: spot.map(|(file, line, column)| Spot {
            file: file.to_owned(),
            line,
            column,
            width: 1,
        }),
        waiver: None,
    };
    let mut tested =
        Tested { policy: id.to_string(), cases: 0, failed: 0, ends: Vec::new(), statements: None };
    let ran = match cases::run(source, library) {
        Ok(ran) => ran,
        Err(problems) => {
            let shown = cases::path_of(source);
            let wrong = |why: String| {
                let (place, why) = placed(&shown, &why);
                let place = place.map(|(line, column)| (path.as_str(), line, column));
                row(Status::Error, "its cases".to_owned(), why.to_owned(), place)
            };
            return (problems.into_iter().map(wrong).collect(), tested);
        }
    };
    let mut rows = Vec::new();
    for Ran { case, line, column, said: _, faults } in &ran {
        let at = Some((path.as_str(), *line, *column));
        if faults.is_empty() {
            rows.push(row(Status::Passed, case.clone(), "as expected".to_owned(), at));
        }
        for fault in faults {
            rows.push(row(Status::Denied, case.clone(), fault.clone(), at));
        }
    }
    tested.cases = ran.len();
    tested.failed = ran.iter().filter(|ran| !ran.faults.is_empty()).count();
    let said: BTreeSet<Word> = ran.iter().filter_map(|ran| ran.said).collect();
    tested.ends = said.iter().map(|word| word.as_str()).collect();
    if ran.is_empty() {
        let message = "it has no cases: nobody knows what it says";
        rows.push(row(Status::Warned, "its cases".to_owned(), message.to_owned(), None));
    }
    let Some(Counted { library, least }) = counted else { return (rows, tested) };
    let ends = [
        (said.contains(&Word::Pass), "no case has it pass"),
        (
            said.iter().any(|word| (Word::Info..=Word::Fail).contains(word)),
            "no case has it find anything",
        ),
    ];
    for (_, message) in ends.iter().filter(|(is_reached, _)| !is_reached) {
        let at = Some((path.as_str(), 1, 1));
        rows.push(row(Status::Noted, "its ends".to_owned(), (*message).to_owned(), at));
    }
    // What it says then is the same.
    drop(cases::run(source, library));
    let statements = library.script(id).map(|script| script.statements()).unwrap_or_default();
    let script = place_of(source, &source.path);
    for missed in statements.iter().filter(|statement| !statement.reached) {
        let at = Some((script.as_str(), missed.line, missed.column));
        let message = "no case reaches this statement".to_owned();
        rows.push(row(Status::Noted, "a statement".to_owned(), message, at));
    }
    let reached = statements.iter().filter(|statement| statement.reached).count();
    let reached = Reached { reached, all: statements.len() };
    if let Some(least) = least.filter(|least| reached.percent() < *least) {
        let Reached { reached: count, all } = reached;
        let percent = reached.percent();
        let message =
            format!("cases reach {count} of {all} statements, {percent} %, and not {least} %");
        rows.push(row(Status::Denied, "its coverage".to_owned(), message, Some((&script, 1, 1))));
    }
    tested.statements = Some(reached);
    (rows, tested)
}

/// The line and the column that a message begins with, and the rest of it.
fn placed<'m>(path: &str, message: &'m str) -> (Option<(u32, u32)>, &'m str) {
    let parts = message.strip_prefix(path).and_then(|rest| {
        let (line, rest) = rest.strip_prefix(':')?.split_once(':')?;
        let (column, rest) = rest.split_once(": ")?;
        Some(((line.parse().ok()?, column.parse().ok()?), rest))
    });
    parts.map_or((None, message), |(place, rest)| (Some(place), rest))
}

/// A file of a policy as it can be opened from here, if it can be.
fn place_of(source: &PolicySource, path: &str) -> String {
    match source.origin {
        Origin::BuiltIn => path.to_owned(),
        Origin::Own => near(path),
    }
}
