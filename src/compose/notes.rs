//! What is said about an import: what could not be carried over, and what became something else.

use serde::Serialize;

use super::advice;
use super::item::{Field, Item, Value};

/// Something to know about an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The service that it is about, if it is about one.
    pub service: Option<String>,
    /// The field, as `deploy.update_config.delay`.
    pub field: String,
    /// The line of the Compose file.
    pub line: u32,
    /// Whether the specs do less than the Compose file did.
    pub lost: bool,
    /// Why, and what to do instead.
    pub why: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { service, field, lost, why, .. } = self;
        if let Some(service) = service {
            write!(f, "service {service}: ")?;
        }
        write!(f, "{field}{}: {why}", if *lost { " is not carried over" } else { "" })
    }
}

/// All that was noted so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) list: Vec<Note>,
}

impl Notes {
    /// Notes what could not be carried over.
    pub(super) fn lost(&mut self, service: Option<&str>, field: &str, line: u32, why: &str) {
        self.add(service, field, line, true, why);
    }

    /// Notes what became something else.
    pub(super) fn changed(&mut self, service: Option<&str>, field: &str, line: u32, why: &str) {
        self.add(service, field, line, false, why);
    }

    fn add(&mut self, service: Option<&str>, field: &str, line: u32, lost: bool, why: &str) {
        let (service, field) = (service.map(str::to_owned), field.to_owned());
        let note = Note { service, field, line, lost, why: why.to_owned() };
        if !self.list.contains(&note) {
            self.list.push(note);
        }
    }
}

/// The fields of a mapping, each of which is taken by somebody, or noted.
pub(super) struct Part<'i> {
    service: Option<&'i str>,
    /// What stands before the fields' names: `deploy.`, or nothing.
    path: String,
    fields: &'i [Field],
    taken: Vec<&'static str>,
}

impl<'i> Part<'i> {
    pub(super) fn new(service: Option<&'i str>, path: &str, item: &'i Item) -> Self {
        Self { service, path: path.to_owned(), fields: item.fields(), taken: Vec::new() }
    }

    /// The service that it is of.
    pub(super) fn service(&self) -> Option<&'i str> {
        self.service
    }

    /// The value of a field, if there is one.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'i Item> {
        self.taken.push(name);
        let field = self.fields.iter().find(|field| field.key == name)?;
        (!matches!(field.item.value, Value::Null)).then_some(&field.item)
    }

    /// The text of a field; anything else in it is noted.
    pub(super) fn text(&mut self, name: &'static str, notes: &mut Notes) -> Option<&'i str> {
        let item = self.take(name)?;
        if item.text().is_none() {
            self.lost(notes, name, item.line, "expected a text");
        }
        item.text()
    }

    /// Whether a field is true; what is neither true nor false is noted.
    pub(super) fn truth(&mut self, name: &'static str, notes: &mut Notes) -> Option<bool> {
        let item = self.take(name)?;
        if item.truth().is_none() {
            self.lost(notes, name, item.line, "expected true or false");
        }
        item.truth()
    }

    /// Notes that a field cannot be carried over, or not all of it.
    pub(super) fn lost(&self, notes: &mut Notes, name: &str, line: u32, why: &str) {
        notes.lost(self.service, &format!("{}{name}", self.path), line, why);
    }

    /// Notes that a field became something else.
    pub(super) fn changed(&self, notes: &mut Notes, name: &str, line: u32, why: &str) {
        notes.changed(self.service, &format!("{}{name}", self.path), line, why);
    }

    /// Notes every field that nobody took. Those that begin with `x-` mean nothing to Compose either.
    pub(super) fn finish(self, notes: &mut Notes) {
        for field in self.fields {
            let key = field.key.as_str();
            let silent = key.starts_with("x-") || matches!(field.item.value, Value::Null);
            if silent || self.taken.contains(&key) {
                continue;
            }
            self.lost(notes, key, field.line, advice::on(self.service.is_some(), &self.path, key));
        }
    }
}
