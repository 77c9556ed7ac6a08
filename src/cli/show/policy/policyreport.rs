//! A PolicyReport, as other policy engines write it (`wgpolicyk8s.io/v1alpha2`), for tools that collect
//! those.

use serde_json::{Value, json};

use super::{Report, Row, Status};

/// The report as a PolicyReport.
#[must_use]
pub fn value(report: &Report) -> Value {
    let seconds = report.at.0.div_euclid(1000);
    let results: Vec<Value> = report.rows.iter().map(|row| of_row(row, seconds)).collect();
    let count = |word: &str| report.rows.iter().filter(|row| result(row.status) == word).count();
    let name = report.verb.replace(' ', "-");
    json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2",
        "kind": "PolicyReport",
        "metadata": {
            "name": format!("windlass-{name}"),
            "labels": { "app.kubernetes.io/managed-by": "windlass" },
        },
        "summary": {
            "pass": count("pass"),
            "fail": count("fail"),
            "warn": count("warn"),
            "error": count("error"),
            "skip": count("skip"),
        },
        "results": results,
    })
}

/// There is no word for what is only recorded; a warning is the nearest.
fn result(status: Status) -> &'static str {
    match status {
        Status::Error => "error",
        Status::Denied => "fail",
        Status::Warned | Status::Noted => "warn",
        Status::Waived => "skip",
        Status::Passed => "pass",
    }
}

fn of_row(row: &Row, seconds: i64) -> Value {
    let severity = match row.level.as_deref() {
        Some("hard") => "high",
        Some("soft") => "medium",
        Some("warn") => "low",
        Some(_) | None => "info",
    };
    let (kind, name) = row.object.split_once(' ').unwrap_or(("", &row.object));
    let resource = match name.split_once('/') {
        Some((project, name)) => json!({
            "apiVersion": "windlass/v1", "kind": kind, "namespace": project, "name": name,
        }),
        None => json!({ "apiVersion": "windlass/v1", "kind": kind, "name": name }),
    };
    let mut properties = serde_json::Map::new();
    let waiver = row.waiver.as_ref().map(super::WaivedBy::words);
    let said = [
        ("binding", Some(row.suite.clone())),
        ("level", row.level.clone()),
        ("field", row.at.clone()),
        ("place", row.where_()),
        ("waiver", waiver),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            properties.insert(name.to_owned(), json!(value));
        }
    }
    json!({
        "source": "windlass",
        "policy": row.rule,
        "rule": row.rule,
        "result": result(row.status),
        "severity": severity,
        "scored": row.status == Status::Denied || row.status == Status::Error,
        "message": row.all(),
        "timestamp": { "seconds": seconds, "nanos": 0 },
        "resources": [resource],
        "properties": properties,
    })
}
