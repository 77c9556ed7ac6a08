//! A table for other programs (RFC 4180). A cell that a spreadsheet would take for a formula is marked
//! as text.

use super::{COLUMNS, Report, cells};

/// The report as a table; what stands above its sections is left out.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut table = String::from("section");
    for column in COLUMNS {
        table.push(',');
        table.push_str(column);
    }
    table.push_str("\r\n");
    for section in &report.sections {
        for action in &section.actions {
            table.push_str(section.id);
            for cell in cells(action) {
                table.push(',');
                table.push_str(&quoted(&cell));
            }
            table.push_str("\r\n");
        }
    }
    table
}

/// A cell as it stands in such a table.
pub(in crate::cli::show) fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mark = if is_formula { "'" } else { "" };
    if is_formula || cell.contains([',', '"', '\n', '\r']) {
        format!("\"{mark}{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
