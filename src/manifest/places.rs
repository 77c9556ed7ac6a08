//! Where fields of declared objects stand in their files: for whoever has an opinion of a field, and
//! knows it by its path.

use std::collections::BTreeMap;
use std::path::Path;

use reconciler::model::desired::Source;

use super::diagnostic::shown;
use super::problem::{Lines, Span};
use super::scan;
use super::tree::{self, Entry, Node, Value};

/// A piece of a line of a file. It holds nothing of what stands there, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Spot {
    /// The file, as it can be opened from where windlass runs.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters are meant, of this line.
    pub width: u32,
}

/// The places of fields of objects that were read from `root`, in the order in which they are asked
/// for. A field is `spec.ports[0].host`; one that is not written there stands where the innermost
/// thing around it does that is, and that is the object where nothing but `spec` is.
#[must_use]
pub fn spots(root: &Path, wanted: &[(&Source, Option<&str>)]) -> Vec<Spot> {
    let mut by_file: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, (source, _)) in wanted.iter().enumerate() {
        by_file.entry(&source.file).or_default().push(index);
    }
    let mut spots: Vec<(usize, Spot)> = Vec::with_capacity(wanted.len());
    for (file, indices) in by_file {
        let path = shown(root, file);
        // What was read a moment ago may be gone: then its place is known, and nothing more.
        let text = scan::read(Path::new(&path)).ok();
        let text = text.and_then(|(bytes, _)| String::from_utf8(bytes).ok()).unwrap_or_default();
        let parsed = tree::parse(&text);
        let lines = Lines::new(&text);
        let documents: BTreeMap<u32, &Node<'_>> =
            parsed.documents.iter().map(|node| (node.span.line, node)).collect();
        for index in indices {
            let Some((source, field)) = wanted.get(index) else { continue };
            let span = documents
                .get(&source.line)
                .zip(*field)
                .and_then(|(document, field)| find(document, field));
            let spot = match span {
                Some(span) => {
                    let place = lines.place(&path, span, None);
                    let skipped = place.text_column.saturating_sub(1) as usize;
                    let meant = place.text.chars().skip(skipped).take(place.width as usize);
                    // The parser takes blanks behind a value for a part of it.
                    let meant = meant.collect::<String>();
                    let width = meant.trim_end().chars().count();
                    let width = u32::try_from(width.max(1)).unwrap_or(1);
                    Spot { file: place.file, line: place.line, column: place.column, width }
                }
                None => {
                    Spot { file: path.clone(), line: source.line, column: source.column, width: 1 }
                }
            };
            spots.push((index, spot));
        }
    }
    spots.sort_by_key(|(index, _)| *index);
    spots.into_iter().map(|(_, spot)| spot).collect()
}

/// Where a field stands, or the innermost thing around it below `spec` or `metadata`.
fn find(document: &Node<'_>, path: &str) -> Option<Span> {
    let mut deepest = None;
    walk(document, path, 0, &mut deepest);
    deepest.filter(|(depth, _)| *depth > 1).map(|(_, span)| span)
}

fn walk(node: &Node<'_>, path: &str, depth: usize, deepest: &mut Option<(usize, Span)>) {
    match &node.value {
        Value::Mapping(entries) => {
            let fits = |entry: &&Entry<'_>| {
                let rest = path.strip_prefix(&*entry.key);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            // Keys of users may hold dots: the longest that fits is meant.
            let entry = entries.iter().filter(fits).max_by_key(|entry| entry.key.len());
            let Some(entry) = entry else { return };
            *deepest = Some((depth + 1, whole(entry)));
            let rest = path.get(entry.key.len()..).unwrap_or_default();
            walk(&entry.value, rest.strip_prefix('.').unwrap_or(rest), depth + 1, deepest);
        }
        Value::Sequence(items) => {
            let index = path.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let Some((index, rest)) = index else { return };
            let item = index.parse::<usize>().ok().and_then(|index| items.get(index));
            let Some(item) = item else { return };
            *deepest = Some((depth + 1, item.span));
            walk(item, rest.strip_prefix('.').unwrap_or(rest), depth + 1, deepest);
        }
        Value::Scalar { .. } => {}
    }
}

/// A key with its value, if that is one in the same line.
fn whole(entry: &Entry<'_>) -> Span {
    let (key, value) = (entry.key_span, entry.value.span);
    let end = if entry.value.is_scalar() && value.line == key.line { value.end } else { key.end };
    Span { end: end.max(key.end), ..key }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const TEXT: &str = "\
# two documents
kind: Instance
metadata:
  name: web
  labels: { example.org/owner: me, example.org: no }
spec:
  ports:
    - 80
    - { host: 8080, container: 80 }
  security:
    privileged: true
---
kind: Instance
spec: { image: \"wéb:1\", env: { A: \"b\" } }
";

    #[test]
    fn fields_are_found_where_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), TEXT).unwrap();
        let source = |line| Source { file: Arc::from("a.yaml"), line, column: 1 };
        let (first, second) = (source(2), source(13));
        let file = folder.path().join("a.yaml").display().to_string();
        for (source, field, line, column, meant) in [
            (&first, "spec.security.privileged", 11, 5, "privileged: true"),
            (&first, "spec.security", 10, 3, "security"),
            (&first, "spec.ports[1].host", 9, 9, "host: 8080"),
            (&first, "spec.ports[0]", 8, 7, "80"),
            (&first, "metadata.labels.example.org/owner", 5, 13, "example.org/owner: me"),
            (&second, "spec.image", 14, 9, "image: \"wéb:1\""),
            (&second, "spec.env.A", 14, 32, "A: \"b\""),
            // What is not written stands in what is.
            (&first, "spec.security.capDrop", 10, 3, "security"),
            (&first, "spec.ports[2].host", 7, 3, "ports"),
            (&first, "spec.ports[0].host", 8, 7, "80"),
            (&first, "spec.image", 2, 1, "k"),
            (&second, "spec.security", 13, 1, "k"),
        ] {
            let spots = spots(folder.path(), &[(source, Some(field))]);
            let [spot] = &*spots else { panic!("{spots:?}") };
            assert_eq!(
                (spot.file.as_str(), spot.line, spot.column),
                (&*file, line, column),
                "{field}"
            );
            let text = TEXT.lines().nth(line as usize - 1).unwrap();
            let text: String =
                text.chars().skip(column as usize - 1).take(spot.width as usize).collect();
            assert_eq!(text, meant, "{field}");
        }
        let gone = Source { file: Arc::from("gone.yaml"), line: 3, column: 1 };
        let both = spots(folder.path(), &[(&gone, Some("spec.image")), (&second, None)]);
        assert_eq!((both[0].line, both[1].line), (3, 13));
    }
}
