//! What happens, in lines: one when work on an object begins, one when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use reconciler::plan::ChangeKind;

use super::Ink;
use super::words::{count, count32, took};
use crate::api::protocol::Happened;

/// A line about something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its colour.
    pub ink: Ink,
    /// Its words; an error in the specs directory takes several lines.
    pub text: String,
}

/// Work on one object, from its first step to its last.
#[derive(Debug, Clone)]
pub struct Work {
    /// Where.
    pub node: String,
    /// What is done at this moment.
    pub verb: String,
    /// Why it is done at all.
    pub cause: String,
    /// Since when it goes on.
    pub began: Instant,
    /// What was done already.
    pub done: Vec<String>,
    /// Bytes that came, and all of them, of an image.
    pub bytes: Option<(u64, u64)>,
}

/// Turns happenings into lines, and keeps count.
#[derive(Debug, Default)]
pub struct Narrator {
    /// Objects that are worked on.
    pub under_way: BTreeMap<String, Work>,
    /// What went wrong last with an object, until it goes well.
    failed: BTreeMap<String, String>,
    created: BTreeSet<String>,
    changed: BTreeSet<String>,
    replaced: BTreeSet<String>,
    removed: BTreeSet<String>,
    fetched: BTreeSet<String>,
}

impl Narrator {
    /// Takes note of a happening, and says it, unless it is only a part of something.
    pub fn hear(&mut self, happened: &Happened, now: Instant) -> Option<Line> {
        let line = |ink, text: String| Some(Line { ink, text });
        match happened {
            Happened::Began { object, node, verb, cause, change: _ } => {
                if let Some(work) = self.under_way.get_mut(object) {
                    verb.clone_into(&mut work.verb);
                    work.bytes = None;
                    return None;
                }
                let work = Work {
                    node: node.clone(),
                    verb: verb.clone(),
                    cause: cause.clone(),
                    began: now,
                    done: Vec::new(),
                    bytes: None,
                };
                self.under_way.insert(object.clone(), work);
                let ink = if cause.starts_with("drift") { Ink::Drift } else { Ink::Plain };
                line(ink, format!("{} on {node} ({cause})", said(verb, object)))
            }
            Happened::Progress { object, done, total, .. } => {
                if let Some(work) = self.under_way.get_mut(object) {
                    work.bytes = Some((*done, *total));
                }
                None
            }
            Happened::Ended { object, verb, error: Some(error), .. } => {
                self.under_way.remove(object);
                // The same again is told in short: it is tried many times.
                if self.failed.insert(object.clone(), error.clone()).as_ref() == Some(error) {
                    return line(Ink::Bad, format!("{object}: {verb} failed again"));
                }
                // Drivers begin with what they tried.
                let tried = format!("{}: ", said(verb, object));
                let why = error.strip_prefix(&tried).unwrap_or(error);
                line(Ink::Bad, format!("{object}: {verb} failed: {why}"))
            }
            Happened::Ended { object, node, verb, error: None, took_ms, last, change } => {
                let began = now.checked_sub(Duration::from_millis(*took_ms)).unwrap_or(now);
                let work = self.under_way.entry(object.clone()).or_insert_with(|| Work {
                    node: node.clone(),
                    verb: verb.clone(),
                    cause: String::new(),
                    began,
                    done: Vec::new(),
                    bytes: None,
                });
                work.done.push(verb.clone());
                if !last {
                    return None;
                }
                let work = self.under_way.remove(object)?;
                self.failed.remove(object);
                let what = self.count(object, *change, verb);
                let span = took(now.saturating_duration_since(work.began));
                line(Ink::Good, format!("{object}: {what} in {span}"))
            }
            Happened::Node { node, error: Some(error) } => {
                line(Ink::Bad, format!("node {node} does not answer: {error}"))
            }
            Happened::Node { node, error: None } => line(Ink::Good, format!("node {node} answers")),
            Happened::Specs { objects, errors } if errors.is_empty() => {
                line(Ink::Plain, format!("specs: {}, no errors", count(*objects, "object")))
            }
            Happened::Specs { objects, errors } => {
                let number = count(errors.len(), "error");
                let mut text = format!("specs: {number}; {} in force", count(*objects, "object"));
                for error in errors {
                    text.push_str(&format!("\nspecs: error: {error}"));
                }
                line(Ink::Bad, text)
            }
            Happened::Policies { count: policies, errors } if errors.is_empty() => {
                line(Ink::Plain, format!("policies: {policies}, no errors"))
            }
            Happened::Policies { count: policies, errors } => {
                let number = count(errors.len(), "error");
                let mut text = format!("policies: {number}; the last good {policies} are in force");
                for error in errors {
                    text.push_str(&format!("\npolicies: error: {error}"));
                }
                line(Ink::Bad, text)
            }
            Happened::Settled { objects } => {
                line(Ink::Good, format!("settled: {}", count32(*objects, "object")))
            }
            Happened::Attention { message } => line(Ink::Odd, message.clone()),
        }
    }

    /// Counts what became of an object, and gives the word for it. `verb` is what was done last.
    fn count(&mut self, object: &str, change: ChangeKind, verb: &str) -> &'static str {
        let (word, counted) = match change {
            ChangeKind::Prepare if verb.ends_with("image") => ("fetched", &mut self.fetched),
            ChangeKind::Prepare => ("created", &mut self.created),
            ChangeKind::Create if verb == "start" => ("started", &mut self.created),
            ChangeKind::Create => ("created", &mut self.created),
            ChangeKind::Replace => ("replaced", &mut self.replaced),
            ChangeKind::Destroy => ("removed", &mut self.removed),
            ChangeKind::InPlace => ("changed", &mut self.changed),
            ChangeKind::Restart => ("started again", &mut self.changed),
            ChangeKind::Tidy => ("tidied up", &mut self.changed),
            ChangeKind::Power => {
                let word = match verb {
                    "start" | "restart" => "started",
                    "stop" => "stopped",
                    "pause" => "paused",
                    "unpause" => "unpaused",
                    _ => "changed",
                };
                (word, &mut self.changed)
            }
        };
        counted.insert(object.to_owned());
        word
    }

    /// What was done in all: `2 created, 1 changed`; empty if nothing was.
    #[must_use]
    pub fn sum(&self) -> String {
        let fetched = count(self.fetched.len(), "image");
        let parts = [
            (self.fetched.len(), format!("{fetched} fetched")),
            (self.created.len(), format!("{} created", self.created.len())),
            (self.changed.len(), format!("{} changed", self.changed.len())),
            (self.replaced.len(), format!("{} replaced", self.replaced.len())),
            (self.removed.len(), format!("{} removed", self.removed.len())),
        ];
        let parts: Vec<String> =
            parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, text)| text).collect();
        parts.join(", ")
    }
}

/// `pull image busybox:latest` rather than `pull image image busybox:latest`.
#[must_use]
pub fn said(verb: &str, object: &str) -> String {
    match (verb.split_once(' '), object.split_once(' ')) {
        (Some((verb, kind)), Some((same, name))) if kind == same => format!("{verb} {kind} {name}"),
        _ => format!("{verb} {object}"),
    }
}
