//! Objects that stand inside of another file than a spec: in the cases of a policy. They are read as
//! those of specs are, and what is wrong with them has its place in that file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reconciler::model::desired::DesiredSet;
use reconciler::model::ids::Digest;

use super::decode::{self, API_VERSION, Surroundings};
use super::diagnostic::Diagnostic;
use super::problem::{Lines, Problem, Span};
use super::set::{Candidate, Now, settle};
use super::tree::{self, Node, Value};
use super::version::Version;

/// A file that is a list.
pub(crate) struct Sheet<'t> {
    file: &'t str,
    text: &'t str,
    items: Vec<Node<'t>>,
}

impl<'t> Sheet<'t> {
    /// Reads `text`; `file` is what it is called in messages.
    pub(crate) fn parse(file: &'t str, text: &'t str) -> Result<Self, Vec<Diagnostic>> {
        let parsed = tree::parse(text);
        let mut sheet = Self { file, text, items: Vec::new() };
        let mut problems = parsed.problems;
        match parsed.documents.as_slice() {
            [] => {}
            [Node { value: Value::Sequence(items), .. }] => sheet.items = items.to_vec(),
            [Node { span, .. }] => problems.push(Problem::new(*span, "this is no list")),
            [_, Node { span, .. }, ..] => {
                problems.push(Problem::new(*span, "a second document, where one list is expected"));
            }
        }
        if problems.is_empty() { Ok(sheet) } else { Err(sheet.diagnostics(&problems)) }
    }

    /// Its items.
    pub(crate) fn items(&self) -> &[Node<'t>] {
        &self.items
    }

    /// What `documents` declare together. Files that they name are taken to be there, and empty.
    pub(crate) fn desired(&self, documents: &[Node<'t>]) -> Result<DesiredSet, Vec<Diagnostic>> {
        let digest = |path: &Path| Ok(Digest::of(path.to_string_lossy().as_bytes()).0.to_string());
        let content = |path: &Path| Ok((Arc::from(""), digest(path)?));
        let around = Surroundings { folder: Path::new("/"), digest: &digest, content: &content };
        let mut problems = Vec::new();
        let drafts = documents
            .iter()
            .filter_map(|document| decode::document(&complete(document), &around, &mut problems));
        let drafts = drafts.collect();
        let text = Arc::from(self.text);
        let version = Arc::new(Version {
            text,
            drafts,
            problems,
            readable: true,
            incomplete: false,
            files: BTreeMap::new(),
            contents: BTreeMap::new(),
        });
        let file = Arc::from(self.file);
        let settled =
            settle(&[Candidate { file: &file, now: Now::Read(&version), held: None }], None);
        let between = settled.problems.into_iter().flatten();
        let problems: Vec<Problem> = version.problems.iter().cloned().chain(between).collect();
        if problems.is_empty() { Ok(settled.desired) } else { Err(self.diagnostics(&problems)) }
    }

    fn diagnostics(&self, problems: &[Problem]) -> Vec<Diagnostic> {
        let lines = Lines::new(self.text);
        let problems = problems.iter();
        problems.map(|one| lines.diagnostic(self.file, one, |_| self.file.to_owned())).collect()
    }
}

/// A document of one kind with a name, made of its spec.
pub(crate) fn document<'t>(
    span: Span,
    kind: &'t str,
    name: Node<'t>,
    labels: Option<&Node<'t>>,
    spec: Node<'t>,
) -> Node<'t> {
    let mut metadata = vec![("name", name)];
    metadata.extend(labels.map(|labels| ("labels", labels.clone())));
    let metadata = Node::mapping(span, metadata);
    Node::mapping(
        span,
        vec![("kind", Node::text(span, kind)), ("metadata", metadata), ("spec", spec)],
    )
}

/// A document with the version of the grammar, which need not be said where there is but one.
fn complete<'t>(document: &Node<'t>) -> Node<'t> {
    match document.get("apiVersion") {
        Some(_) => document.clone(),
        None => document.with("apiVersion", Node::text(document.span, API_VERSION)),
    }
}
