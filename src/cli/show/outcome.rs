//! How an apply ended.

use std::collections::BTreeMap;
use std::time::Duration;

use super::words::{some, took};
use super::{Ink, Style};
use crate::api::protocol::{Outcome, Trouble};

/// The closing line: `Applied: 2 created, 1 changed, 40 settled (0.9 s).`
#[must_use]
pub fn closing(verb: &str, outcome: &Outcome, sum: &str, style: &Style) -> String {
    let span = outcome.ended_at.since(outcome.began_at);
    let span = if span.is_zero() { Duration::from_millis(1) } else { span };
    let settled = outcome.counts.settled;
    let good = outcome.is_good();
    let (ink, word) =
        if good { (Ink::Good, verb.to_owned()) } else { (Ink::Bad, format!("{verb} in part")) };
    let text = match (sum, good) {
        ("", true) => format!("nothing to do, {settled} settled"),
        ("", false) => format!("{settled} settled"),
        (sum, _) => format!("{sum}, {settled} settled"),
    };
    let text = match outcome.counts.suspended {
        0 => text,
        suspended => format!("{text}, {suspended} suspended"),
    };
    let text = match outcome.counts.behind {
        0 => text,
        behind => format!("{text}, {behind} held at an earlier revision"),
    };
    format!("{} {text} ({}).\n", style.paint(ink, &format!("{word}:")), took(span))
}

/// What is not as declared, with what to do; objects with the same trouble are told together.
#[must_use]
pub fn troubles(outcome: &Outcome, style: &Style) -> String {
    let mut by_message: BTreeMap<&str, Vec<&Trouble>> = BTreeMap::new();
    for trouble in &outcome.troubles {
        by_message.entry(&trouble.message).or_default().push(trouble);
    }
    let mut text = String::new();
    let error = style.paint(Ink::Bad, "error:");
    for (message, troubles) in by_message {
        let objects: Vec<&str> = troubles.iter().map(|trouble| trouble.object.as_str()).collect();
        text.push_str(&format!("{error} {}: {message}\n", some(&objects, 4)));
        if let Some(help) = troubles.first().and_then(|trouble| advice(trouble)) {
            text.push_str(&format!("help: {help}\n"));
        }
    }
    if let Some(why) = &outcome.degraded {
        text.push_str(&format!("{error} {why}\n"));
    }
    text
}

/// What to do about a trouble.
fn advice(trouble: &Trouble) -> Option<String> {
    let Trouble { object, message, reason } = trouble;
    match reason.as_str() {
        "NodeUnreachable" => Some(engine_advice(message).to_owned()),
        "Unplaced" if no_node_answers(message) => Some(engine_advice(message).to_owned()),
        "NodeNotDeclared" => {
            Some("declare its Node again, or remove the containers there".to_owned())
        }
        "CrashLooping" | "Restarting" | "Failed" => {
            Some(format!("`windlass logs {object} --tail 20` shows what it printed last"))
        }
        "BackingOff" if message.contains("image") => {
            Some("is the reference right, and can the node reach the registry?".to_owned())
        }
        _ => None,
    }
}

/// Whether an instance has no place because no engine answers.
#[must_use]
pub fn no_node_answers(message: &str) -> bool {
    message.starts_with("no node answers")
}

/// What to do about an engine that does not answer.
#[must_use]
pub fn engine_advice(message: &str) -> &'static str {
    if message.to_ascii_lowercase().contains("permission denied") {
        return "join the group that may use the engine (`usermod -aG docker $USER`, then log in \
                again), or run as root";
    }
    "start the engine (`systemctl start docker`), or name another: DOCKER_HOST=unix:///path, or \
     `endpoint` of a Node spec"
}
