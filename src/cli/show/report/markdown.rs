//! Text with tables, as code hosts show it.

use crate::cli::show::escape;
use std::fmt::Write as _;

use super::{COLUMNS, Report, cells, summary};

/// The report as text.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = "# Audit report\n\n".to_owned();
    for (name, value) in summary(report) {
        let _ = writeln!(text, "- {name}: {}", escaped(&value));
    }
    for section in &report.sections {
        let _ = write!(text, "\n## {}\n\n|", section.title);
        for column in COLUMNS {
            let _ = write!(text, " {column} |");
        }
        text.push_str("\n|");
        text.push_str(&"---|".repeat(COLUMNS.len()));
        text.push('\n');
        for action in &section.actions {
            text.push('|');
            for cell in cells(action) {
                let _ = write!(text, " {} |", escaped(&cell));
            }
            text.push('\n');
        }
    }
    for note in &report.verified.notes {
        let _ = write!(text, "\n{}\n", escaped(note));
    }
    text
}

/// What would be read as markup stands as it is.
fn escaped(text: &str) -> String {
    escape::markdown(text, "")
}
