//! A page that stands alone: no script, nothing from elsewhere, all texts escaped.

use std::fmt::Write as _;

use super::Report;
use crate::cli::show::escape::escaped;
use crate::cli::show::words::time;

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:80em;\
padding:0 1em;color:#222}table{border-collapse:collapse;width:100%;margin:.5em 0 2em}\
th,td{text-align:left;vertical-align:top;padding:.3em .6em;border-bottom:1px solid #ddd;\
overflow-wrap:anywhere}th{background:#f4f4f4}.error,.denied,.fail{color:#a00}.passed,.pass{color:#060}\
.waived,.warned,.undefined{color:#850}dt{font-weight:600;float:left;min-width:10em}";

/// The report as a page.
#[must_use]
pub fn render(report: &Report) -> String {
    let verdict = report.verdict.as_str();
    let title = escaped(&format!("windlass {}", report.verb));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{title}: {verdict}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}: <span class=\"{verdict}\">{verdict}</span></h1>\n<dl>\n"
    );
    let made = ("as of", time(report.at));
    for (name, value) in report.summary.iter().chain([&made]) {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
    }
    page.push_str("</dl>\n");
    let heads =
        ["result", "policy", "level", "object", "place", "what", "allowed", "to do", "waiver"];
    table(&mut page, "Findings", &heads, |page| {
        for row in report.shown() {
            let status = row.status.as_str();
            let rule = report.rules.get(&row.rule);
            let rule =
                rule.map_or(row.rule.clone(), |rule| format!("{}: {}", row.rule, rule.title));
            let waiver = row.waiver.as_ref().map(super::WaivedBy::words);
            let cells = [
                status.to_owned(),
                rule,
                row.level.clone().unwrap_or_default(),
                row.object.clone(),
                row.where_().unwrap_or_default(),
                row.found(),
                row.want.clone().unwrap_or_default(),
                row.fix.clone().unwrap_or_default(),
                waiver.unwrap_or_default(),
            ];
            line(page, status, &cells);
        }
    });
    if !report.asked.is_empty() {
        let heads = ["binding", "policy", "level", "asked", "passed", "found", "waived", "errors"];
        table(&mut page, "What was asked", &heads, |page| {
            for asked in &report.asked {
                let count = &asked.count;
                let cells = [
                    asked.binding.clone(),
                    asked.policy.clone(),
                    asked.level.clone(),
                    count.asked.to_string(),
                    count.passed.to_string(),
                    count.found.to_string(),
                    count.waived.to_string(),
                    count.errors.to_string(),
                ];
                line(page, "asked", &cells);
            }
        });
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn table(page: &mut String, title: &str, heads: &[&str], rows: impl FnOnce(&mut String)) {
    let _ = write!(page, "<h2>{title}</h2>\n<table>\n<tr>");
    for head in heads {
        let _ = write!(page, "<th>{head}</th>");
    }
    page.push_str("</tr>\n");
    rows(page);
    page.push_str("</table>\n");
}

fn line(page: &mut String, class: &str, cells: &[String]) {
    let _ = write!(page, "<tr class=\"{class}\">");
    for cell in cells {
        let _ = write!(page, "<td>{}</td>", escaped(cell));
    }
    page.push_str("</tr>\n");
}
