//! SARIF 2.1.0, for code hosts and editors. Verdicts that passed are not in it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{End, Report, Row, Rule, Status};
use crate::cli::show::words::time;

/// The report as SARIF.
#[must_use]
pub fn value(report: &Report) -> Value {
    let ids: Vec<&String> = report.rules.keys().collect();
    let rules: Vec<Value> = report.rules.iter().map(|(id, rule)| of_rule(id, rule)).collect();
    let results: Vec<Value> =
        report.shown().map(|row| of_row(row, ids.iter().position(|id| **id == row.rule))).collect();
    let properties: Map<String, Value> =
        report.summary.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "windlass",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            // Ours count characters; the usual count is that of another encoding.
            "columnKind": "unicodeCodePoints",
            "automationDetails": { "id": format!("windlass {}/", report.verb) },
            "invocations": [{
                "executionSuccessful": report.verdict != End::Error,
                "exitCode": report.verdict as u8,
                "startTimeUtc": time(report.at),
            }],
            "results": results,
            "properties": { "verdict": report.verdict.as_str(), "summary": properties },
        }],
    })
}

fn of_rule(id: &str, rule: &Rule) -> Value {
    let mut value = json!({
        "id": id,
        "shortDescription": { "text": rule.title },
        "defaultConfiguration": { "level": level_of(&rule.level) },
        "properties": { "level": rule.level },
    });
    if let Some(help) = &rule.help {
        value["help"] = json!({ "text": help, "markdown": help });
    }
    if let Some(version) = &rule.version {
        value["properties"]["version"] = json!(version);
    }
    value
}

/// What a level of ours is among theirs.
fn level_of(level: &str) -> &'static str {
    match level {
        "hard" | "soft" => "error",
        "warn" => "warning",
        _ => "note",
    }
}

fn of_row(row: &Row, rule_index: Option<usize>) -> Value {
    let level = match row.status {
        Status::Error | Status::Denied => "error",
        Status::Warned => "warning",
        // It would be an error, were it not suppressed.
        Status::Waived => row.level.as_deref().map_or("note", level_of),
        Status::Noted | Status::Passed => "note",
    };
    let mut value = json!({
        "ruleId": row.rule,
        "level": level,
        "message": { "text": row.all() },
        "partialFingerprints": { "windlass/v1": fingerprint(row) },
        "properties": {
            "status": row.status.as_str(),
            "object": row.object,
            "binding": row.suite,
            "level": row.level,
            "field": row.at,
        },
    });
    if let Some(index) = rule_index {
        value["ruleIndex"] = json!(index);
    }
    if let Some(spot) = &row.place {
        value["locations"] = json!([{
            "physicalLocation": {
                "artifactLocation": artifact(&spot.file),
                "region": {
                    "startLine": spot.line,
                    "startColumn": spot.column,
                    "endLine": spot.line,
                    "endColumn": spot.column + spot.width,
                },
            },
            "logicalLocations": [{ "fullyQualifiedName": row.object, "kind": "object" }],
        }]);
    }
    if let Some(waiver) = &row.waiver {
        value["suppressions"] = json!([{
            "kind": "external",
            "status": "accepted",
            "justification": waiver.words(),
        }]);
    }
    value
}

/// The same finding of the same field is the same one when lines move.
fn fingerprint(row: &Row) -> String {
    let words = format!("{}\n{}\n{:?}\n{}", row.rule, row.object, row.at, row.message);
    reconciler::model::ids::Digest::of(words.as_bytes()).0.to_string()
}

fn artifact(file: &str) -> Value {
    let path = Path::new(file);
    let uri: String = path.to_string_lossy().bytes().map(percent).collect();
    if path.is_absolute() {
        json!({ "uri": format!("file://{uri}") })
    } else {
        json!({ "uri": uri, "uriBaseId": "%SRCROOT%" })
    }
}

/// A byte of a path as URIs have it.
fn percent(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    }
}
