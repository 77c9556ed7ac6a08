//! Writes a report in the form that was asked for, and says how it ends.

use super::world::Policies;
use crate::cli::args::{Format, Output};
use crate::cli::show::policy::{
    End, Report, Row, Rule, Status, github, html, junit, markdown, policyreport, sarif, text,
};
use crate::cli::{Context, Ended, Failure, near};
use crate::manifest::{self, Diagnostic, Spot};

/// Writes it.
pub(super) fn write(context: &Context, report: &Report) -> Ended {
    let out = &context.out;
    match context.global.asked {
        Output::Text | Output::Wide => {
            let all = context.global.asked == Output::Wide;
            out.print(&text::render(report, &out.style, all))?;
            out.note(&text::verdict(report));
        }
        Output::Name => {
            let mut names: Vec<&str> = report.shown().map(|row| row.object.as_str()).collect();
            names.dedup();
            out.print(&names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
        }
        Output::Json | Output::Yaml => out.value(context.global.output, report)?,
        Output::Sarif => out.value(Format::Json, &sarif::value(report))?,
        Output::Policyreport => out.value(Format::Yaml, &policyreport::value(report))?,
        Output::Junit => out.print(&junit::render(report))?,
        Output::Github => {
            out.print(&github::render(report))?;
            out.note(&text::verdict(report));
        }
        Output::Html => out.print(&html::render(report))?,
        // Of other reports; refused before.
        Output::Csv | Output::Markdown => out.print(&markdown::render(report))?,
    }
    Ok(report.verdict as u8)
}

/// Writes that there is no verdict, since files are wrong.
pub(super) fn broken(
    context: &Context,
    verb: &'static str,
    problems: &[String],
    diagnostics: &[Diagnostic],
) -> Ended {
    let out = &context.out;
    if matches!(context.global.asked, Output::Text | Output::Wide | Output::Name) {
        for problem in problems {
            out.complain(&format!("error: {problem}\n"));
        }
        let style = manifest::Style { color: out.color_err };
        out.complain(&manifest::render(diagnostics, style));
        out.note("error: there is no verdict while files are wrong");
        return Ok(super::NO_VERDICT);
    }
    let row = |rule: &str, object: String, message: String, place| Row {
        status: Status::Error,
        rule: rule.to_owned(),
        suite: "files".to_owned(),
        object,
        level: None,
        message,
        at: None,
        observed: None,
        want: None,
        fix: None,
        place,
        waiver: None,
    };
    let mut rows: Vec<Row> = problems
        .iter()
        .map(|problem| row("policy-error", "policies".to_owned(), problem.clone(), None))
        .collect();
    rows.extend(diagnostics.iter().map(|diagnostic| {
        let Diagnostic { message, object, place, help, also: _ } = diagnostic;
        let label = place.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
        let file = near(&place.file);
        let spot = (place.line > 0).then(|| Spot {
            file: file.clone(),
            line: place.line,
            column: place.column,
            width: place.width,
        });
        let object = object.clone().unwrap_or(file);
        Row { fix: help.clone(), ..row("spec-error", object, format!("{message}{label}"), spot) }
    }));
    let rule = |title: &str| Rule {
        title: title.to_owned(),
        level: "hard".to_owned(),
        version: None,
        help: None,
    };
    let rules = [
        ("policy-error".to_owned(), rule("policies can be read")),
        ("spec-error".to_owned(), rule("specs can be read")),
    ];
    let mut report = Report {
        verb,
        verdict: End::Error,
        at: crate::shell::now(),
        summary: Vec::new(),
        counts: Default::default(),
        asked: Vec::new(),
        tested: Vec::new(),
        rules: rules.into(),
        rows,
    };
    report.settle();
    write(context, &report)
}

/// The policies, or how it ends without them.
pub(super) fn policies(
    context: &Context,
    verb: &'static str,
    place: &crate::policies::Place,
) -> Result<Result<Policies, u8>, Failure> {
    match super::world::policies(place) {
        Ok(policies) => Ok(Ok(policies)),
        Err(problems) => broken(context, verb, &problems, &[]).map(Err),
    }
}
