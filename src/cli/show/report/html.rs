//! A page that stands alone: no script, nothing from elsewhere, all texts escaped.

use crate::cli::show::escape::escaped;
use std::fmt::Write as _;

use super::{COLUMNS, Report, cells, summary};

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:80em;\
padding:0 1em;color:#222}table{border-collapse:collapse;width:100%;margin:.5em 0 2em}\
th,td{text-align:left;vertical-align:top;padding:.3em .6em;border-bottom:1px solid #ddd;\
overflow-wrap:anywhere}th{background:#f4f4f4}.failed,.denied{color:#a00}.done{color:#060}\
.waived,.found{color:#850}dt{font-weight:600;float:left;min-width:10em}";

/// The report as a page.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Audit report of windlass</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>Audit report</h1>\n<dl>\n"
    );
    for (name, value) in summary(report) {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(&value));
    }
    page.push_str("</dl>\n");
    for section in &report.sections {
        let _ = write!(page, "<h2>{}</h2>\n<table>\n<tr>", escaped(section.title));
        for column in COLUMNS {
            let _ = write!(page, "<th>{column}</th>");
        }
        page.push_str("</tr>\n");
        for action in &section.actions {
            // One of our own words.
            let class = action.result.map(|result| result.word()).unwrap_or_default();
            let _ = write!(page, "<tr class=\"{class}\">");
            for cell in cells(action) {
                let _ = write!(page, "<td>{}</td>", escaped(&cell));
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</table>\n");
    }
    for note in &report.verified.notes {
        let _ = writeln!(page, "<p>{}</p>", escaped(note));
    }
    page.push_str("</body>\n</html>\n");
    page
}
