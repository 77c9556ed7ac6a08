//! Specs as text, with what there is to know about them as comments.

use serde_yaml::{Mapping, Value as Yaml};

use super::notes::Note;

/// A spec that was made.
#[derive(Debug)]
pub(super) struct Document {
    /// The service that it came from, if it came from one and says all of it.
    pub(super) service: Option<String>,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) project: String,
    pub(super) labels: Mapping,
    pub(super) spec: Mapping,
}

/// Adds a field, unless it says nothing.
pub(super) fn put(spec: &mut Mapping, name: &str, value: impl Into<Yaml>) {
    let value = value.into();
    let empty = match &value {
        Yaml::Null => true,
        Yaml::Sequence(items) => items.is_empty(),
        Yaml::Mapping(fields) => fields.is_empty(),
        Yaml::Bool(_) | Yaml::Number(_) | Yaml::String(_) | Yaml::Tagged(_) => false,
    };
    if !empty {
        spec.insert(name.into(), value);
    }
}

/// Adds a field, if there is something to say in it.
pub(super) fn put_some(spec: &mut Mapping, name: &str, value: Option<impl Into<Yaml>>) {
    if let Some(value) = value {
        put(spec, name, value);
    }
}

/// A list of texts.
pub(super) fn list(texts: impl IntoIterator<Item = String>) -> Yaml {
    Yaml::Sequence(texts.into_iter().map(Yaml::from).collect())
}

/// A mapping of texts.
pub(super) fn texts(pairs: impl IntoIterator<Item = (String, String)>) -> Yaml {
    let pairs = pairs.into_iter().map(|(name, value)| (Yaml::from(name), Yaml::from(value)));
    Yaml::Mapping(pairs.collect())
}

/// Puts documents into files. What is about a service stands where its Instance is, and what is
/// about none at the top of the first file.
pub(super) fn files(
    documents: Vec<(String, Document)>,
    notes: &[Note],
    source: &str,
) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    let mut general: Vec<&Note> = notes.iter().filter(|note| note.service.is_none()).collect();
    for (file, document) in documents {
        let place = match files.iter().position(|(name, _)| *name == file) {
            Some(place) => place,
            None => {
                let head = format!("# Made of {source} by `windlass import compose`.\n");
                files.push((file, head));
                files.len() - 1
            }
        };
        let Some((_, text)) = files.get_mut(place) else { continue };
        if text.contains("\nkind: ") {
            text.push_str("---\n");
        }
        for note in general.drain(..) {
            comment(text, note);
        }
        let about = |note: &&Note| document.service.is_some() && note.service == document.service;
        for note in notes.iter().filter(about) {
            comment(text, note);
        }
        text.push_str(&render(document));
    }
    files
}

fn comment(text: &mut String, note: &Note) {
    let line = format!("line {}: {note}", note.line).replace(['\n', '\r'], " ");
    text.push_str(&format!("# {line}\n"));
}

fn render(document: Document) -> String {
    let Document { kind, name, project, labels, spec, .. } = document;
    let mut metadata = Mapping::new();
    put(&mut metadata, "name", name);
    put(&mut metadata, "project", project);
    put(&mut metadata, "labels", labels);
    let mut whole = Mapping::new();
    put(&mut whole, "apiVersion", "windlass/v1");
    put(&mut whole, "kind", kind);
    put(&mut whole, "metadata", metadata);
    put(&mut whole, "spec", spec);
    serde_yaml::to_string(&whole).unwrap_or_default()
}
