//! JUnit's XML: a suite for each policy under a binding, a test for each verdict. What is waived is
//! skipped, with why.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Report, Row, Status};
use crate::cli::show::escape::escaped;

/// The report as XML.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut suites: BTreeMap<(&str, &str), BTreeMap<&str, Vec<&Row>>> = BTreeMap::new();
    for row in &report.rows {
        let suite = suites.entry((&row.suite, &row.rule)).or_default();
        suite.entry(&row.object).or_default().push(row);
    }
    let number = |status: fn(Status) -> bool| {
        let tests = suites.values().flat_map(BTreeMap::values);
        tests.filter(|rows| status(worst(rows))).count()
    };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"windlass {}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n",
        escaped(report.verb),
        number(|_| true),
        number(|status| status == Status::Denied),
        number(|status| status == Status::Error),
        number(|status| status == Status::Waived),
    );
    for ((suite, rule), tests) in &suites {
        let number = |wanted: Status| tests.values().filter(|rows| worst(rows) == wanted).count();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
            escaped(&format!("{rule} {suite}")),
            tests.len(),
            number(Status::Denied),
            number(Status::Error),
            number(Status::Waived),
        );
        for (object, rows) in tests {
            of_test(&mut xml, rule, object, rows);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn worst(rows: &[&Row]) -> Status {
    rows.iter().map(|row| row.status).min().unwrap_or(Status::Passed)
}

fn of_test(xml: &mut String, rule: &str, object: &str, rows: &[&Row]) {
    let (rule, object) = (escaped(rule), escaped(object));
    let _ = write!(xml, "    <testcase classname=\"{rule}\" name=\"{object}\"");
    let place = rows.iter().find_map(|row| row.place.as_ref());
    if let Some(place) = place {
        let _ = write!(xml, " file=\"{}\" line=\"{}\"", escaped(&place.file), place.line);
    }
    let status = worst(rows);
    if status == Status::Passed {
        xml.push_str("/>\n");
        return;
    }
    let first = rows.iter().find(|row| row.status == status);
    let message = first.map(|row| escaped(&row.found())).unwrap_or_default();
    let lines: Vec<String> = rows.iter().map(|row| line(row)).collect();
    let body = escaped_lines(&lines);
    let (open, close) = match status {
        Status::Error => (format!("<error type=\"{rule}\" message=\"{message}\">"), "</error>"),
        Status::Denied => {
            (format!("<failure type=\"{rule}\" message=\"{message}\">"), "</failure>")
        }
        Status::Waived => {
            // It takes a message and no text.
            let waiver = first.and_then(|row| row.waiver.as_ref());
            let words = waiver.map(|waiver| escaped(&format!("waiver {}", waiver.words())));
            let _ = writeln!(
                xml,
                ">\n      <skipped message=\"{}\"/>\n    </testcase>",
                words.unwrap_or_default()
            );
            return;
        }
        Status::Warned | Status::Noted | Status::Passed => {
            ("<system-out>".to_owned(), "</system-out>")
        }
    };
    let _ = writeln!(xml, ">\n      {open}{body}{close}\n    </testcase>");
}

fn line(row: &Row) -> String {
    let place = row.where_().map(|place| format!("{place}: ")).unwrap_or_default();
    format!("{place}{}: {}", row.status.as_str(), row.all())
}

fn escaped_lines(lines: &[String]) -> String {
    lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\n")
}
