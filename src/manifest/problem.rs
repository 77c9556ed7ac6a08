//! What is wrong where, while a file is being read: spans, and problems that point at them.
//!
//! A [`Problem`] is cheap and knows no text; [`Lines`] turns it into a
//! [`Diagnostic`](super::diagnostic::Diagnostic) once somebody will read it.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, Place};

/// A piece of a text. Offsets count characters, as YAML parsers do; lines and columns begin at 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// The line that it begins in.
    pub(crate) line: u32,
    /// The column that it begins at.
    pub(crate) column: u32,
    /// Characters of the text before it.
    pub(crate) start: u32,
    /// Characters of the text before its end.
    pub(crate) end: u32,
}

/// Problems that are noted of one file. Someone who mends that many errors runs again anyway, and
/// a megabyte of something else that looks like YAML must cost neither memory nor seconds.
pub(crate) const PROBLEMS_MAX: usize = 1000;

/// An error in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) label: Option<String>,
    pub(crate) help: Option<String>,
    pub(crate) object: Option<Arc<str>>,
    pub(crate) also: Vec<Also>,
}

/// A second place that a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Also {
    /// Its file and the text of it that is meant, if it is another one.
    pub(crate) file: Option<(Arc<str>, Arc<str>)>,
    pub(crate) span: Span,
    pub(crate) label: String,
}

impl Problem {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { span, message, label: None, help: None, object: None, also: Vec::new() }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place in the same file.
    pub(crate) fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also.push(Also { file: None, span, label: label.into() });
        self
    }

    /// Says which object the problem is in, in the message too.
    pub(crate) fn within(mut self, object: Option<&Arc<str>>) -> Self {
        if let Some(object) = object {
            self.message.push_str(" in ");
            self.message.push_str(object);
            self.object = Some(Arc::clone(object));
        }
        self
    }

    /// The problem in one line, with its place.
    pub(crate) fn line(&self, file: &str) -> String {
        let Span { line, column, .. } = self.span;
        if line == 0 {
            return format!("{file}: {}", self.message);
        }
        format!("{file}:{line}:{column}: {}", self.message)
    }
}

/// Where the lines of a text begin, so that many problems in a large file cost one pass over it.
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

/// Characters of a source line that a diagnostic carries: more than any terminal shows. A line of
/// megabytes, as attackers and minifiers make them, is not copied into every report.
const LINE_CHARS_MAX: usize = 1000;

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let mut starts = vec![0];
        for (at, byte) in bytes.iter().enumerate() {
            // YAML takes a lone carriage return for a line break too.
            let lone_return = *byte == b'\r' && bytes.get(at + 1) != Some(&b'\n');
            if *byte == b'\n' || lone_return {
                starts.push(at + 1);
            }
        }
        Self { text, starts }
    }

    fn line(&self, number: u32) -> &'t str {
        let index = usize::try_from(number).unwrap_or(0).saturating_sub(1);
        let Some(&start) = self.starts.get(index) else { return "" };
        let end = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or("").trim_end_matches(['\n', '\r'])
    }

    /// The place of `span` in the file shown as `file`.
    pub(crate) fn place(&self, file: &str, span: Span, label: Option<&str>) -> Place {
        let line = self.line(span.line);
        let label = label.map(str::to_owned);
        let length = line.chars().count();
        let column = usize::try_from(span.column).unwrap_or(1);
        let wanted = usize::try_from(span.end.saturating_sub(span.start)).unwrap_or(1);
        // A span over several lines is marked to the end of its first.
        let rest = (length + 1).saturating_sub(column);
        let width = wanted.min(rest).max(1);
        let (text, shift) = window(line, length, column);
        let width = width.min(LINE_CHARS_MAX);
        Place {
            file: file.to_owned(),
            line: span.line,
            column: span.column,
            width: u32::try_from(width).unwrap_or(1),
            text,
            text_column: u32::try_from(column.saturating_sub(shift)).unwrap_or(1),
            label,
        }
    }

    /// The diagnostic of `problem` in `file`; `shown` says how a file's name is shown.
    pub(crate) fn diagnostic(
        &self,
        file: &str,
        problem: &Problem,
        shown: impl Fn(&str) -> String,
    ) -> Diagnostic {
        let file = &shown(file);
        let also = problem.also.iter().map(|Also { file: other, span, label }| match other {
            None => self.place(file, *span, Some(label)),
            Some((other, text)) => Lines::new(text).place(&shown(other), *span, Some(label)),
        });
        Diagnostic {
            message: problem.message.clone(),
            object: problem.object.as_ref().map(ToString::to_string),
            place: self.place(file, problem.span, problem.label.as_deref()),
            help: problem.help.clone(),
            also: also.collect(),
        }
    }
}

/// The part of an overlong line around `column`, and how many characters were cut before it.
fn window(line: &str, length: usize, column: usize) -> (String, usize) {
    if length <= LINE_CHARS_MAX {
        return (line.to_owned(), 0);
    }
    let shift = column.saturating_sub(LINE_CHARS_MAX / 4);
    (line.chars().skip(shift).take(LINE_CHARS_MAX).collect(), shift)
}
