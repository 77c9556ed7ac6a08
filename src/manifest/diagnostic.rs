//! Errors in spec files as users see them: for a terminal, a pipe, or a program.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use reconciler::model::desired::SpecsReading;
use serde::{Deserialize, Serialize};

/// An error in a spec file, complete: it can be shown without the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnostic {
    /// What is wrong, in one line.
    pub message: String,
    /// The object that it is in, `Instance shop/web`, if it is in one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub object: Option<String>,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What would succeed, if it takes more words than the label has room for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub help: Option<String>,
    /// Further places that the error is about, such as the first of two declarations.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub also: Vec<Place>,
}

/// A piece of a line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file, as it can be opened from where windlass runs.
    pub file: String,
    /// The line, from 1; 0 if the file as a whole is meant.
    pub line: u32,
    /// The column in characters, from 1; 0 if the file as a whole is meant.
    pub column: u32,
    /// How many characters are meant.
    pub width: u32,
    /// The line, or the part of it around the place if it is very long.
    pub text: String,
    /// The column in `text`; another than `column` only if the line was cut.
    pub text_column: u32,
    /// What is to say about the place.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<String>,
}

/// In one line, with the place, for logs and lists.
impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { file, line, column, label, .. } = &self.place;
        match line {
            0 => write!(f, "{file}: {}", self.message)?,
            _ => write!(f, "{file}:{line}:{column}: {}", self.message)?,
        }
        match label {
            Some(label) => write!(f, " ({label})"),
            None => Ok(()),
        }
    }
}

/// How diagnostics are rendered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Whether to use terminal colours. Nothing else decides that: neither the environment nor
    /// what standard output is.
    pub color: bool,
}

/// Renders `diagnostics` with their source lines, one empty line between them.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], style: Style) -> String {
    let renderer = if style.color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for diagnostic in diagnostics {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(renderer.render(&[group(diagnostic)]).trim_end());
        text.push('\n');
    }
    text
}

/// Says in one line how many errors there are in how many files, and what stays in force.
///
/// `1 error in 1 of 14 files; the last good version of specs/shop/web.yaml stays in force.`
#[must_use]
pub fn summary(specs: &SpecsReading, root: &Path) -> String {
    let errors: u64 = specs.broken.values().map(|broken| u64::from(broken.errors)).sum();
    let files = specs.files;
    if errors == 0 {
        return format!("no errors in {}.", count(files, "file"));
    }
    let faulty: BTreeMap<_, _> =
        specs.broken.iter().filter(|(_, broken)| broken.errors > 0).collect();
    let total = files.max(faulty.len());
    let errors = count(usize::try_from(errors).unwrap_or(usize::MAX), "error");
    let mut text = format!("{errors} in {} of {}", faulty.len(), count(total, "file"));
    let mut held = faulty.iter().filter(|(_, broken)| broken.last_good).map(|(file, _)| file);
    match (held.next(), held.count()) {
        (None, _) => text.push('.'),
        (Some(file), 0) => {
            let file = shown(root, file);
            text.push_str(&format!("; the last good version of {file} stays in force."));
        }
        (Some(_), more) => {
            let files = more + 1;
            text.push_str(&format!("; the last good versions of {files} files stay in force."));
        }
    }
    text
}

/// The path of `file` of the specs directory `root`, as it can be opened from here.
pub(crate) fn shown(root: &Path, file: &str) -> String {
    if file.is_empty() || root.is_file() {
        return root.display().to_string();
    }
    root.join(file).display().to_string()
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let Diagnostic { message, object: _, place, help, also } = diagnostic;
    let mut group = Level::ERROR.primary_title(message.as_str()).elements(origin(place));
    if place.line > 0 {
        let mut same = snippet(place, AnnotationKind::Primary);
        // Places in the same line share its picture.
        let here = |other: &&Place| other.file == place.file && other.line == place.line;
        for other in also.iter().filter(here) {
            same = same.annotation(annotation(other, AnnotationKind::Context));
        }
        group = group.element(same);
    }
    for other in also {
        if other.file == place.file && other.line == place.line && place.line > 0 {
            continue;
        }
        group = group.elements(origin(other));
        if other.line > 0 {
            group = group.element(snippet(other, AnnotationKind::Context));
        }
    }
    if place.line == 0
        && let Some(label) = &place.label
    {
        group = group.element(Level::NOTE.message(label.as_str()));
    }
    match help {
        Some(help) => group.element(Level::HELP.message(help.as_str())),
        None => group,
    }
}

/// The line that only names a file, where no line of it can be shown.
fn origin(place: &Place) -> Option<Origin<'_>> {
    (place.line == 0).then(|| Origin::path(place.file.as_str()))
}

fn snippet(place: &Place, kind: AnnotationKind) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    // What was cut off an overlong line counts in the column all the same.
    let cut = usize::try_from(place.column.saturating_sub(place.text_column)).unwrap_or(0);
    let text = match cut {
        0 => Cow::Borrowed(place.text.as_str()),
        _ => Cow::Owned(format!("{}{}", " ".repeat(cut), place.text)),
    };
    Snippet::source(text)
        .path(place.file.as_str())
        .line_start(usize::try_from(place.line).unwrap_or(1))
        .fold(false)
        .annotation(annotation(place, kind))
}

fn annotation(place: &Place, kind: AnnotationKind) -> annotate_snippets::Annotation<'_> {
    let number = |value: u32| usize::try_from(value).unwrap_or(0);
    let cut = number(place.column.saturating_sub(place.text_column));
    let offset = |chars: usize| {
        let at = place.text.char_indices().nth(chars).map_or(place.text.len(), |(at, _)| at);
        at + cut
    };
    let first = number(place.text_column.saturating_sub(1));
    let range = offset(first)..offset(first.saturating_add(number(place.width)));
    kind.span(range).label(place.label.as_deref())
}
