//! YAML text to a tree in which every node knows its place.
//!
//! Scalars keep their text and their style, and nothing is guessed about their type: that is the
//! decoder's to say, since it knows which field it reads. Aliases and merge keys are applied here,
//! within a budget. Read [`parse`] first, then [`Builder`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::problem::{PROBLEMS_MAX, Problem, Span};

/// Deepest nesting. Specs need about ten levels; what is deeper is an attack or a mistake, and
/// would cost stack in whatever walks the tree.
pub(crate) const DEPTH_MAX: usize = 64;

/// Most nodes that the aliases and merge keys of one file may add. A spec is some ten nodes, so
/// this allows for thousands of shared parts, while ten nested levels of ten aliases each, the
/// usual bomb, would be ten thousand million.
pub(crate) const ALIAS_NODES_MAX: u64 = 100_000;

/// A mapping of up to so many keys is searched for duplicates one by one, which is faster there
/// than a set.
const FEW_KEYS: usize = 16;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node<'t> {
    pub(crate) span: Span,
    pub(crate) value: Value<'t>,
    /// How many nodes it is with all aliases written out.
    size: u64,
}

impl<'t> Node<'t> {
    /// Whether it is a single value.
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self.value, Value::Scalar { .. })
    }

    /// A text that is written nowhere, and stands for what is at `span`.
    pub(crate) fn text(span: Span, text: &'t str) -> Self {
        Self { span, value: Value::Scalar { text: Cow::Borrowed(text), plain: true }, size: 1 }
    }

    /// A mapping that is written nowhere, of nodes that may be.
    pub(crate) fn mapping(span: Span, fields: Vec<(&'t str, Self)>) -> Self {
        let entries = fields.into_iter().map(|(key, value)| Entry {
            key: Cow::Borrowed(key),
            key_span: value.span,
            key_plain: true,
            value,
        });
        Self { span, value: Value::Mapping(Rc::new(entries.collect())), size: 1 }
    }

    /// The same mapping with one more field, which is written nowhere.
    pub(crate) fn with(&self, key: &'t str, value: Self) -> Self {
        let more = Self::mapping(self.span, vec![(key, value)]);
        match (&self.value, &more.value) {
            (Value::Mapping(own), Value::Mapping(more)) => {
                let entries = more.iter().chain(own.iter()).cloned().collect();
                Self { value: Value::Mapping(Rc::new(entries)), ..self.clone() }
            }
            (Value::Scalar { .. } | Value::Sequence(_) | Value::Mapping(_), _) => self.clone(),
        }
    }

    /// The value of a field, if it is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Mapping(entries) => {
                entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
            }
            Value::Scalar { .. } | Value::Sequence(_) => None,
        }
    }

    /// Its items, if it is a list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::Sequence(items) => items,
            Value::Scalar { .. } | Value::Mapping(_) => &[],
        }
    }
}

/// What a node is. Children are shared, so an alias costs no memory.
#[derive(Debug, Clone)]
pub(crate) enum Value<'t> {
    /// A text, and whether it was written without quotes.
    Scalar {
        /// The text, without quotes and escapes.
        text: Cow<'t, str>,
        /// Whether it could be a number, a truth value or nothing.
        plain: bool,
    },
    Sequence(Rc<Vec<Node<'t>>>),
    Mapping(Rc<Vec<Entry<'t>>>),
}

/// A key of a mapping with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'t> {
    pub(crate) key: Cow<'t, str>,
    pub(crate) key_span: Span,
    key_plain: bool,
    pub(crate) value: Node<'t>,
}

/// What a text holds.
#[derive(Debug, Default)]
pub(crate) struct Parsed<'t> {
    /// The documents that hold anything.
    pub(crate) documents: Vec<Node<'t>>,
    pub(crate) problems: Vec<Problem>,
    /// Whether part of the text could not be read, so that it may hold objects that nobody knows.
    pub(crate) incomplete: bool,
}

/// Reads all documents of `text`. After an error it goes on with the next document.
pub(crate) fn parse(text: &str) -> Parsed<'_> {
    let mut parsed = Parsed::default();
    // A mark of byte order is no content; editors of another system write it.
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut origin = Origin { lines: 0, chars: u32::from(rest.len() != text.len()) };
    loop {
        let mut builder = Builder::new(origin, text);
        let failed = builder.run(rest);
        parsed.documents.append(&mut builder.documents);
        parsed.problems.append(&mut builder.problems);
        let Some(line) = failed else { return parsed };
        parsed.incomplete = true;
        let Some((bytes, lines, chars)) = next_document(rest, line) else { return parsed };
        rest = rest.get(bytes..).unwrap_or("");
        origin = Origin { lines: origin.lines + lines, chars: origin.chars + chars };
    }
}

/// Where the next document begins, at line `line` or after it, as bytes, lines and characters before it.
fn next_document(text: &str, line: u32) -> Option<(usize, u32, u32)> {
    let (mut bytes, mut lines, mut chars) = (0, 0, 0);
    for piece in lines_of(text) {
        if bytes > 0
            && lines + 1 >= line
            && (piece.trim_end() == "---" || piece.starts_with("--- "))
        {
            return Some((bytes, lines, chars));
        }
        bytes += piece.len();
        lines += 1;
        chars += u32::try_from(piece.chars().count()).ok()?;
    }
    None
}

/// Lines with their ends, as YAML has them: a lone carriage return ends one, too.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.find(['\r', '\n']).map_or(rest.len(), |end| {
            let both = rest.get(end..).is_some_and(|end| end.starts_with("\r\n"));
            end + if both { 2 } else { 1 }
        });
        let (line, after) = rest.split_at_checked(end).filter(|(line, _)| !line.is_empty())?;
        rest = after;
        Some(line)
    })
}

/// What lies before the piece of text that a parser sees.
#[derive(Debug, Clone, Copy)]
struct Origin {
    lines: u32,
    chars: u32,
}

/// Makes nodes of events, without recursion.
struct Builder<'t> {
    origin: Origin,
    text: &'t str,
    stack: Vec<Frame<'t>>,
    anchors: HashMap<usize, Node<'t>>,
    /// Nodes that aliases and merge keys added so far.
    added: u64,
    documents: Vec<Node<'t>>,
    problems: Vec<Problem>,
}

/// A collection that is not complete yet.
struct Frame<'t> {
    span: Span,
    anchor: usize,
    content: Content<'t>,
}

enum Content<'t> {
    Sequence(Vec<Node<'t>>),
    Mapping { entries: Vec<Entry<'t>>, key: Option<Key<'t>> },
}

/// A key that waits for its value; `None` as text if it cannot be a key.
struct Key<'t> {
    text: Option<Cow<'t, str>>,
    span: Span,
    plain: bool,
}

impl<'t> Builder<'t> {
    fn new(origin: Origin, text: &'t str) -> Self {
        Self {
            origin,
            text,
            stack: Vec::new(),
            anchors: HashMap::new(),
            added: 0,
            documents: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Reads `rest`. If it must give up it returns the line, within `rest`, that it came to.
    fn run(&mut self, rest: &'t str) -> Option<u32> {
        let mut parser = Parser::<StrInput<'t>>::new_from_str(rest);
        while let Some(event) = parser.next_event() {
            let (event, place) = match event {
                Ok(event) => event,
                Err(error) => {
                    self.problems.push(self.syntax(&error));
                    return Some(line_of(error.marker()));
                }
            };
            let span = self.span(place);
            if let Err(problem) = self.take(event, span) {
                self.problems.push(*problem);
                return Some(line_of(&place.start));
            }
        }
        None
    }

    fn take(&mut self, event: Event<'t>, span: Span) -> Result<(), Box<Problem>> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            // Anchors are known in their own document only.
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    let (message, label) = if self.stack.iter().any(|frame| frame.anchor == id) {
                        ("an alias to what it is part of", "this would never end")
                    } else {
                        ("an alias to another document", "its anchor is not known here")
                    };
                    return Err(Box::new(Problem::new(span, message).label(label)));
                };
                self.spend(node.size, span)?;
                self.value(node, 0, true);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.tag(tag.as_deref(), span);
                let value = Value::Scalar { text, plain };
                let empty =
                    matches!(&value, Value::Scalar { text, plain: true } if text.is_empty());
                // A document with nothing in it, as a file that ends in `---` has one.
                if !(empty && self.stack.is_empty()) {
                    self.value(Node { span, value, size: 1 }, anchor, false);
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), span);
                self.open(Frame { span, anchor, content: Content::Sequence(Vec::new()) })?;
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), span);
                let content = Content::Mapping { entries: Vec::new(), key: None };
                self.open(Frame { span, anchor, content })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame<'t>) -> Result<(), Box<Problem>> {
        if self.stack.len() >= DEPTH_MAX {
            return Err(Box::new(too_deep(frame.span)));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Box<Problem>> {
        let Some(Frame { mut span, anchor, content }) = self.stack.pop() else { return Ok(()) };
        span.end = end.end.max(span.end);
        let node = match content {
            Content::Sequence(items) => {
                let size = items.iter().fold(1_u64, |sum, item| sum.saturating_add(item.size));
                Node { span, value: Value::Sequence(Rc::new(items)), size }
            }
            Content::Mapping { entries, .. } => {
                self.refuse_duplicates(&entries);
                let entries = self.merge(entries)?;
                let sizes = entries.iter().map(|entry| entry.value.size.saturating_add(1));
                let size = sizes.fold(1, u64::saturating_add);
                Node { span, value: Value::Mapping(Rc::new(entries)), size }
            }
        };
        self.value(node, anchor, false);
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn value(&mut self, node: Node<'t>, anchor: usize, alias: bool) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.documents.push(node),
            Some(Content::Sequence(items)) => items.push(node),
            Some(Content::Mapping { entries, key }) => match key.take() {
                None => {
                    let (text, plain) = match node.value {
                        Value::Scalar { text, plain } if !alias => (Some(text), plain),
                        Value::Scalar { .. } | Value::Sequence(_) | Value::Mapping(_) => {
                            let problem = Problem::new(node.span, "a key that is not a text");
                            self.problems.push(problem.label("only a text can be a key"));
                            (None, false)
                        }
                    };
                    *key = Some(Key { text, span: node.span, plain });
                }
                Some(Key { text: Some(text), span, plain }) => {
                    entries.push(Entry {
                        key: text,
                        key_span: span,
                        key_plain: plain,
                        value: node,
                    });
                }
                Some(Key { text: None, .. }) => {}
            },
        }
    }

    /// Counts nodes that were not written, but came by an alias.
    fn spend(&mut self, nodes: u64, span: Span) -> Result<(), Box<Problem>> {
        self.added = self.added.saturating_add(nodes);
        if self.added > ALIAS_NODES_MAX {
            let message = format!("aliases that unfold to more than {ALIAS_NODES_MAX} values");
            let problem = Problem::new(span, message).label("one too many");
            let help = "write the values out, or spread them over several files";
            return Err(Box::new(problem.help(help)));
        }
        Ok(())
    }

    fn refuse_duplicates(&mut self, entries: &[Entry<'t>]) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let first = if entries.len() <= FEW_KEYS {
                let mut before = entries.iter().take(index);
                before.find(|other| other.key == entry.key).map(|other| other.key_span)
            } else {
                let first = seen.get(&*entry.key).copied();
                seen.entry(&entry.key).or_insert(entry.key_span);
                first
            };
            if let Some(first) = first
                && self.problems.len() < PROBLEMS_MAX
            {
                let problem = Problem::new(entry.key_span, format!("key `{}` twice", entry.key));
                self.problems.push(
                    problem.label("take one of them out").also(first, "it stands here first"),
                );
            }
        }
    }

    /// Applies `<<` keys: what they name is added, unless the mapping says it itself.
    fn merge(&mut self, entries: Vec<Entry<'t>>) -> Result<Vec<Entry<'t>>, Box<Problem>> {
        let is_merge = |entry: &Entry<'_>| entry.key_plain && entry.key == "<<";
        if !entries.iter().any(is_merge) {
            return Ok(entries);
        }
        let (merges, mut entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_merge);
        for merge in merges {
            let sources = match &merge.value.value {
                Value::Sequence(items) => items.to_vec(),
                Value::Mapping(_) | Value::Scalar { .. } => vec![merge.value.clone()],
            };
            for source in sources {
                let Value::Mapping(added) = &source.value else {
                    self.problems.push(
                        Problem::new(source.span, "`<<` with something else than a mapping")
                            .label("expected an alias of a mapping, or a list of them"),
                    );
                    continue;
                };
                self.spend(source.size, merge.key_span)?;
                for entry in added.iter() {
                    if !entries.iter().any(|own| own.key == entry.key) {
                        entries.push(entry.clone());
                    }
                }
            }
        }
        Ok(entries)
    }

    /// Refuses tags that would change a value's meaning; says whether the value must be a text.
    fn tag(&mut self, tag: Option<&Tag>, span: Span) -> bool {
        let Some(tag) = tag else { return false };
        let known = ["str", "int", "float", "bool", "null", "map", "seq"];
        if !tag.is_yaml_core_schema() || !known.contains(&tag.suffix.as_str()) {
            let problem = Problem::new(span, format!("tag `{tag}` is not supported"));
            self.problems.push(problem.label("take the tag out"));
        }
        tag.suffix == "str"
    }

    fn span(&self, place: saphyr_parser::Span) -> Span {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Span {
            line: number(place.start.line()).saturating_add(self.origin.lines),
            column: number(place.start.col()).saturating_add(1),
            start: number(place.start.index()).saturating_add(self.origin.chars),
            end: number(place.end.index()).saturating_add(self.origin.chars),
        }
    }

    /// A problem made of what the parser says.
    fn syntax(&self, error: &ScanError) -> Problem {
        let marker = *error.marker();
        let span = first_char(self.span(saphyr_parser::Span::empty(marker)));
        let line = usize::try_from(span.line).unwrap_or(1).saturating_sub(1);
        let line = lines_of(self.text).nth(line).unwrap_or("");
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        let tab = line.get(..indent).and_then(|indent| indent.find('\t'));
        if let Some(tab) = tab {
            let back = span.column.saturating_sub(1);
            let tab = u32::try_from(tab).unwrap_or(0);
            let start = span.start.saturating_sub(back).saturating_add(tab);
            let span = Span { column: tab + 1, start, end: start + 1, ..span };
            return Problem::new(span, "a tab in the indentation")
                .label("YAML takes only spaces here");
        }
        let info = error.info();
        if info.contains("recursion limit") {
            // The parser looks ahead, and has a limit of its own.
            return too_deep(span);
        }
        let problem = Problem::new(span, format!("this is not YAML: {info}"));
        if info.contains("mapping values are not allowed") {
            problem.help("a text that holds `: ` needs quotes; check the indentation too")
        } else if info.contains("unknown anchor") {
            problem.help("an anchor is known only in its own document, after it was set with `&`")
        } else {
            problem
        }
    }
}

fn too_deep(span: Span) -> Problem {
    let message = format!("more than {DEPTH_MAX} levels inside each other");
    Problem::new(first_char(span), message).label("too deep: no spec needs this")
}

fn line_of(marker: &Marker) -> u32 {
    u32::try_from(marker.line()).unwrap_or(u32::MAX)
}

fn first_char(span: Span) -> Span {
    Span { end: span.start.saturating_add(1), ..span }
}
