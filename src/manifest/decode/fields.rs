//! The decoder's toolkit: the fields of a mapping, and what to say when one is wrong.
//!
//! Nothing here stops at an error: each is noted at its own place, the value becomes `None`, and
//! decoding goes on, so that one run shows them all.

use std::sync::Arc;

use super::super::problem::{PROBLEMS_MAX, Problem, Span};
use super::super::tree::{Entry, Node, Value};

/// Where problems go, and which object they are in.
pub(crate) struct Context<'p> {
    pub(crate) problems: &'p mut Vec<Problem>,
    pub(crate) object: Option<Arc<str>>,
}

impl Context<'_> {
    /// Notes a problem in the present object.
    pub(crate) fn note(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.within(self.object.as_ref()));
        }
    }

    /// Notes that a value has another type than the field needs.
    pub(crate) fn wrong_type(&mut self, node: &Node<'_>, field: &str, expected: &str) {
        let message = format!("wrong type of `{field}`");
        self.note(
            Problem::new(node.span, message)
                .label(format!("expected {expected}, found {}", found(node))),
        );
    }

    /// Notes that a value has the right type, and cannot be accepted all the same.
    pub(crate) fn invalid(&mut self, span: Span, field: &str, why: impl Into<String>) {
        self.note(Problem::new(span, format!("invalid `{field}`")).label(why));
    }

    /// Notes that a number or quantity is too small or too large.
    pub(crate) fn out_of_range(&mut self, span: Span, field: &str, why: impl Into<String>) {
        self.note(Problem::new(span, format!("`{field}` is out of range")).label(why));
    }

    /// Notes that something is designed, but not built yet.
    pub(crate) fn unsupported(&mut self, span: Span, what: &str) {
        self.note(
            Problem::new(span, format!("`{what}` is not supported yet"))
                .label("this version would have to ignore it; take it out"),
        );
    }
}

/// What a node is, for the reader of an error.
pub(crate) fn found(node: &Node<'_>) -> String {
    match &node.value {
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Scalar { text, plain: true } if is_null(text) => "nothing".to_owned(),
        Value::Scalar { text, plain } => {
            let kind = if *plain { "" } else { "the text " };
            format!("{kind}`{}`", short(text))
        }
    }
}

/// Characters of a value that a message repeats.
const QUOTED_CHARS_MAX: usize = 40;

/// `text` as it can stand in a message.
pub(crate) fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    let mut cut: String = line.chars().take(QUOTED_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

/// Whether a plain scalar means nothing, by the core schema of YAML 1.2.
pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// The fields of a mapping. Each is asked for by its name; what nobody asked for is unknown.
pub(crate) struct Fields<'n, 't> {
    /// The path of the mapping, such as `resources.`, or nothing.
    path: &'n str,
    /// Whether it is a whole document, whose path is nothing too.
    is_document: bool,
    pub(crate) span: Span,
    entries: &'n [Entry<'t>],
    asked: Vec<&'static str>,
    /// Fields that were spoken of already.
    done: Vec<&'static str>,
    #[cfg(test)]
    record: super::record::Mapping,
}

impl<'n, 't> Fields<'n, 't> {
    /// The fields of `node`, which must be a mapping. `path` stands before their names in
    /// messages: `resources.`; `field` is the name of the mapping itself.
    pub(crate) fn of(
        context: &mut Context<'_>,
        node: &'n Node<'t>,
        field: &str,
        path: &'n str,
    ) -> Option<Self> {
        match &node.value {
            Value::Mapping(entries) => Some(Self {
                path,
                is_document: field == "document",
                span: node.span,
                entries,
                asked: Vec::new(),
                done: Vec::new(),
                #[cfg(test)]
                record: super::record::Mapping::new(field, path),
            }),
            Value::Sequence(_) | Value::Scalar { .. } => {
                context.wrong_type(node, field, "a mapping");
                None
            }
        }
    }

    /// The value of the field, if it is there.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'n Node<'t>> {
        self.entry(name).map(|entry| &entry.value)
    }

    /// The field with its key, if it is there.
    pub(crate) fn entry(&mut self, name: &'static str) -> Option<&'n Entry<'t>> {
        self.asked.push(name);
        #[cfg(test)]
        self.record.asked(name);
        self.entries.iter().find(|entry| entry.key == name)
    }

    /// The value of a field that must be there; `expected` says what should stand in it.
    pub(crate) fn require(
        &mut self,
        context: &mut Context<'_>,
        name: &'static str,
        expected: &str,
    ) -> Option<&'n Node<'t>> {
        let node = self.take(name);
        #[cfg(test)]
        self.record.required(name);
        // A slip of the fingers is one error: the field that it made is unknown, and told as such.
        let is_slip = |entry: &Entry<'_>| did_you_mean(&entry.key, [name].into_iter()).is_some();
        if node.is_none() && !self.entries.iter().any(is_slip) {
            let place = self.entries.first().map_or(self.span, |entry| entry.key_span);
            context.note(
                Problem::new(place, format!("missing field `{}{name}`", self.path))
                    .label(format!("`{name}` belongs here: {expected}")),
            );
        }
        node
    }

    /// Notes fields that stand elsewhere: `(field, the mapping that holds it)`.
    pub(crate) fn moved(&mut self, context: &mut Context<'_>, names: &[(&'static str, &str)]) {
        for (name, place) in names {
            if let Some(entry) = self.entries.iter().find(|entry| entry.key == *name) {
                let problem = Problem::new(entry.key_span, format!("unknown field `{name}`"));
                context.note(problem.label(format!("it stands in `{place}: {{ {name}: … }}`")));
                self.done.push(name);
            }
        }
    }

    /// Notes a field for what stands in no field here; `where_then` says where.
    pub(crate) fn apart(
        &mut self,
        context: &mut Context<'_>,
        name: &'static str,
        where_then: &str,
    ) {
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == name) {
            let problem = Problem::new(entry.key_span, format!("unknown field `{name}`"));
            context.note(problem.label(where_then));
            self.done.push(name);
        }
    }

    /// The full name of a field.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// Notes every field that nobody asked for; `unbuilt` ones are known but cannot be used yet.
    pub(crate) fn finish(self, context: &mut Context<'_>, unbuilt: &[&'static str]) {
        #[cfg(test)]
        self.record.unbuilt(unbuilt);
        for entry in self.entries {
            let key = &*entry.key;
            if self.asked.contains(&key) || self.done.contains(&key) {
                continue;
            }
            if context.problems.len() >= PROBLEMS_MAX {
                return;
            }
            let name = self.name(&short(key));
            if unbuilt.contains(&key) {
                context.unsupported(entry.key_span, &name);
                continue;
            }
            let usable = list(self.asked.iter().copied());
            let known = self.asked.iter().chain(unbuilt).copied();
            let problem = Problem::new(entry.key_span, format!("unknown field `{name}`"));
            let more = self.explained(context.object.as_deref());
            context.note(match (did_you_mean(key, known), more) {
                (Some(near), Some(more)) => {
                    problem.label(format!("did you mean `{near}`?")).help(more)
                }
                (Some(near), None) => problem.label(format!("did you mean `{near}`?")),
                (None, Some(more)) => {
                    let help = format!("known fields: {usable}; {more}");
                    problem.label("no such field").help(help)
                }
                (None, None) => {
                    problem.label("no such field").help(format!("known fields: {usable}"))
                }
            });
        }
    }

    /// The command that tells about these fields of `object`, `Instance shop/web`.
    fn explained(&self, object: Option<&str>) -> Option<String> {
        let word = object?.split(' ').next()?;
        let kind = super::KINDS.iter().find(|(known, _)| *known == word)?.0.to_ascii_lowercase();
        if self.is_document {
            return Some(format!("windlass explain {kind}"));
        }
        let mut way =
            if self.path.starts_with("metadata.") { kind } else { format!("{kind}.spec") };
        for part in self.path.split('.').filter(|part| !part.is_empty()) {
            // Which one of a list it is says nothing about its fields.
            let name = part.split('[').next().unwrap_or(part);
            way.push_str(&format!(".{name}"));
        }
        Some(format!("windlass explain {way}"))
    }
}

/// `a, b, c`.
pub(crate) fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// What other tools call our fields.
const SYNONYMS: [(&str, &str); 29] = [
    ("environment", "env"),
    ("entrypoint", "command"),
    ("cmd", "args"),
    ("volumemounts", "volumes"),
    ("mounts", "volumes"),
    ("limits", "resources"),
    ("livenessprobe", "health"),
    ("healthcheck", "health"),
    ("containerport", "container"),
    ("hostport", "host"),
    ("published", "host"),
    ("hostip", "address"),
    ("mountpath", "target"),
    ("path", "target"),
    ("destination", "target"),
    ("source", "bind"),
    ("hostpath", "bind"),
    ("cpu", "cpus"),
    ("mem", "memory"),
    ("pidslimit", "pids"),
    ("restartpolicy", "restart"),
    ("state", "power"),
    ("scale", "replicas"),
    ("test", "exec"),
    ("namespace", "project"),
    ("imagepullpolicy", "pull"),
    ("pullpolicy", "pull"),
    ("graceperiod", "timeout"),
    ("securitycontext", "security"),
];

/// Share of equal characters from which two words count as a slip of the fingers.
const NEAR_ENOUGH: f64 = 0.6;

/// The one of `known` that `word` may have been meant to be.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let wanted = plain(word);
    if let Some(same) = known.clone().find(|name| plain(name) == wanted) {
        return Some(same);
    }
    let synonym = SYNONYMS.iter().find(|(theirs, _)| *theirs == wanted).map(|(_, ours)| *ours);
    if let Some(same) = known.clone().find(|name| Some(*name) == synonym) {
        return Some(same);
    }
    let begins = |name: &&str| wanted.len() >= 3 && plain(name).starts_with(&wanted);
    if let Some(longer) = known.clone().find(begins) {
        return Some(longer);
    }
    if word.len() > 64 {
        return None; // comparing costs the product of both lengths, and this is no slip
    }
    let rated =
        known.map(|name| (strsim::normalized_damerau_levenshtein(&wanted, &plain(name)), name));
    let near = rated.filter(|(rate, _)| *rate >= NEAR_ENOUGH);
    near.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, name)| name)
}
