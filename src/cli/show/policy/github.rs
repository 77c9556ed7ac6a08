//! Workflow commands of GitHub Actions: a line for each finding, which it shows beside the line of
//! the file.

use super::{Report, Status};

/// The report as workflow commands.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for row in report.shown() {
        let command = match row.status {
            Status::Error | Status::Denied => "error",
            Status::Warned => "warning",
            Status::Waived | Status::Noted | Status::Passed => "notice",
        };
        let mut properties = Vec::new();
        if let Some(spot) = &row.place {
            properties.push(format!("file={}", property(&spot.file)));
            properties.push(format!("line={}", spot.line));
            properties.push(format!("col={}", spot.column));
            properties.push(format!("endColumn={}", spot.column + spot.width));
        }
        properties.push(format!("title={}", property(&format!("{} {}", row.rule, row.object))));
        let waiver = row.waiver.as_ref().map(|waiver| format!(" (waiver {})", waiver.words()));
        let message = format!("{}{}", row.all(), waiver.unwrap_or_default());
        text.push_str(&format!("::{command} {}::{}\n", properties.join(","), data(&message)));
    }
    text
}

/// What stands behind the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which a colon or a comma would end.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
