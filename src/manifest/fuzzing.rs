//! Specs as outsiders may write them: files of a directory, now and as they are after a change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reconciler::model::desired::DesiredSet;
use reconciler::model::ids::Digest;

use super::diagnostic::{Style, render};
use super::loader::Loader;
use super::problem::Span;
use super::set::{Candidate, Choice, Now, Settled, settle};
use super::version::{Beside, Held, Version};
use super::{problem, tree};
use crate::fuzzing::parts;

/// Files of an input: enough for objects that name each other across files.
const FILES_MAX: usize = 4;

/// Reads the parts of an input as files of a directory; then each file says what the next one said,
/// and the last one cannot be read.
pub(crate) fn specs(input: &[u8]) {
    let parts = parts(input, FILES_MAX);
    let names: Vec<Arc<str>> = (0..parts.len()).map(|n| Arc::from(format!("{n}.yaml"))).collect();
    let beside = parts.last().map(|part| String::from_utf8_lossy(part).into_owned());
    let versions: Vec<_> = parts.iter().map(|part| Arc::new(version(part, &beside))).collect();

    let none = || versions.iter().map(|_| None);
    let first = settled(&names, versions.iter().map(Now::Read), none().collect());
    let held: Vec<Option<Held>> = versions
        .iter()
        .zip(first.choices.iter().zip(&first.images))
        .map(|(version, (choice, images))| {
            let is_good = *choice == Choice::Current;
            is_good.then(|| Held::new(Arc::clone(version), images.clone()))
        })
        .collect();
    // A restart knows what was in force before, though no file can be read.
    let restored = held
        .iter()
        .map(|held| held.as_ref().map(|held| Held::restore(&held.stored, Path::new("/specs"))));
    let restored: Vec<_> = restored.collect();
    let before = settled(&names, names.iter().map(|_| Now::Unknown("gone")), borrowed(&held));
    let after = settled(&names, names.iter().map(|_| Now::Unknown("gone")), borrowed(&restored));
    assert_eq!(before.desired, after.desired, "a restart changes what is in force");

    let next = versions.iter().cycle().skip(1).zip(&names);
    let next =
        next.enumerate().map(
            |(index, (version, _))| {
                if index + 1 == names.len() { Now::Gone } else { Now::Read(version) }
            },
        );
    settled(&names, next, borrowed(&held));
}

fn borrowed(held: &[Option<Held>]) -> Vec<Option<&Held>> {
    held.iter().map(Option::as_ref).collect()
}

/// Settles files, and shows all that is wrong with them.
fn settled<'a>(
    names: &'a [Arc<str>],
    now: impl Iterator<Item = Now<'a>>,
    held: Vec<Option<&'a Held>>,
) -> Settled {
    let candidates = names.iter().zip(now).zip(held);
    let candidates: Vec<_> =
        candidates.map(|((file, now), held)| Candidate { file, now, held }).collect();
    let settled = settle(&candidates, None);
    let loader = Loader::new(PathBuf::from("/specs"), BTreeMap::new());
    let diagnostics = loader.diagnostics(&candidates, &settled);
    for color in [false, true] {
        let text = render(&diagnostics, Style { color });
        assert_eq!(diagnostics.is_empty(), text.is_empty(), "what is wrong is shown");
    }
    loader.broken(&candidates, &settled);
    for candidate in &candidates {
        candidate.projects().for_each(drop);
    }
    settled
}

/// A file as the loader reads it, without what catches panics there.
fn version(bytes: &[u8], beside: &Option<String>) -> Version {
    let text = match String::from_utf8(bytes.to_vec()) {
        Ok(text) => text,
        Err(error) => return Version::not_utf8(&error),
    };
    let digest = |path: &Path| match path.to_string_lossy().contains("missing") {
        true => Err("there is no such file".to_owned()),
        false => Ok(Digest::of(path.to_string_lossy().as_bytes()).0.to_string()),
    };
    let content = |path: &Path| {
        let text = beside.as_deref().unwrap_or_default();
        Ok((Arc::from(text), digest(path)?))
    };
    let beside = Beside { digest: &digest, content: &content };
    let version = Version::read(Arc::from(text), Path::new("/specs"), &beside);
    places(&version.text);
    version
}

/// Finds and shows the place of each node.
fn places(text: &str) {
    let lines = problem::Lines::new(text);
    let parsed = tree::parse(text);
    let mut open: Vec<&tree::Node<'_>> = parsed.documents.iter().collect();
    // Aliases may show the same nodes again and again.
    let mut left = 1_000;
    while let Some(node) = open.pop().filter(|_| left > 0) {
        left -= 1;
        let Span { line, column, .. } = node.span;
        let place = lines.place("a.yaml", node.span, None);
        assert!(place.line == line && place.column == column, "{place:?} of {:?}", node.span);
        match &node.value {
            tree::Value::Scalar { text, plain } => {
                // Plain texts stand there as they are, but for the ends of lines in them.
                let word = text.split_whitespace().next().filter(|_| *plain).unwrap_or_default();
                let found = place.text.chars().skip(place.text_column.saturating_sub(1) as usize);
                let found: String = found.take(word.chars().count()).collect();
                let is_cut = place.text_column != place.column;
                // One with a tag begins with that.
                let is_tagged = found.starts_with('!');
                assert!(
                    is_cut || is_tagged || found == word,
                    "`{found}` stands where `{word}` should"
                );
            }
            tree::Value::Sequence(items) => open.extend(items.iter()),
            tree::Value::Mapping(entries) => open.extend(entries.iter().map(|entry| &entry.value)),
        }
    }
}

/// What texts declare that have no faults.
pub(crate) fn declared(text: &str) -> Option<DesiredSet> {
    let version = Arc::new(version(text.as_bytes(), &None));
    let names = [Arc::from("0.yaml")];
    let settled = settled(&names, std::iter::once(Now::Read(&version)), vec![None]);
    (settled.choices == [Choice::Current]).then_some(settled.desired)
}

/// Whether a text is written as specs are; whether they mean anything is not asked.
pub(crate) fn written(text: &str) -> Result<(), String> {
    let parsed = tree::parse(text);
    parsed.problems.first().map_or(Ok(()), |problem| Err(problem.line("a.yaml")))
}
