//! One version of one file: its text, what it declares, and what is wrong with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use reconciler::model::ids::Key;

use super::decode::{self, Draft, Surroundings};
use super::problem::{Problem, Span};
use super::tree;

/// What a file said at some time.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) text: Arc<str>,
    /// What it declares, as far as that can be told.
    pub(crate) drafts: Vec<Draft>,
    pub(crate) problems: Vec<Problem>,
    /// Whether `text` is what the file holds, and not a stand-in.
    pub(crate) readable: bool,
    /// Whether it may declare more than `drafts` says.
    pub(crate) incomplete: bool,
    /// The files that it names, with the digests of their content where they were readable.
    pub(crate) files: BTreeMap<PathBuf, Result<String, String>>,
    /// The text of those of them that are read for what they say.
    pub(crate) contents: BTreeMap<PathBuf, Arc<str>>,
}

/// How the files beside a spec are read.
pub(crate) struct Beside<'b> {
    /// Gives the digest of a file's content, or says why there is none.
    pub(crate) digest: &'b dyn Fn(&Path) -> Result<String, String>,
    /// Gives the text of a small file and its digest, or says why there is none.
    pub(crate) content: &'b dyn Fn(&Path) -> decode::Content,
}

impl Version {
    /// Reads `text`. Relative paths begin at `folder`.
    pub(crate) fn read(text: Arc<str>, folder: &Path, beside: &Beside<'_>) -> Self {
        let files = RefCell::new(BTreeMap::new());
        let contents = RefCell::new(BTreeMap::new());
        let digest = |path: &Path| {
            let found = (beside.digest)(path);
            files.borrow_mut().insert(path.to_path_buf(), found.clone());
            found
        };
        let content = |path: &Path| {
            let found = (beside.content)(path);
            let digest = found.as_ref().map(|(_, digest)| digest.clone()).map_err(String::clone);
            files.borrow_mut().insert(path.to_path_buf(), digest);
            if let Ok((text, _)) = &found {
                contents.borrow_mut().insert(path.to_path_buf(), Arc::clone(text));
            }
            found
        };
        let around = Surroundings { folder, digest: &digest, content: &content };
        let parsed = tree::parse(&text);
        let mut problems = parsed.problems;
        let decode = |node| decode::document(node, &around, &mut problems);
        let drafts: Vec<Draft> = parsed.documents.iter().filter_map(decode).collect();
        let incomplete = parsed.incomplete;
        problems.sort_by_key(|problem| problem.span);
        // What an alias shows several times is wrong several times at one place.
        problems.dedup_by(|a, b| a.span == b.span && a.message == b.message);
        let (files, contents) = (files.into_inner(), contents.into_inner());
        Self { drafts, problems, readable: true, incomplete, files, contents, text }
    }

    /// A file that could not be read.
    pub(crate) fn unreadable(why: &str) -> Self {
        let problem = Problem::new(Span::default(), "cannot read the file").label(why);
        Self {
            text: Arc::from(""),
            drafts: Vec::new(),
            problems: vec![problem],
            readable: false,
            incomplete: true,
            files: BTreeMap::new(),
            contents: BTreeMap::new(),
        }
    }

    /// A file that holds something else than text.
    pub(crate) fn not_utf8(error: &FromUtf8Error) -> Self {
        let bytes = error.as_bytes();
        let good = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(bytes.get(..good).unwrap_or(&[]));
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let start = number(before.chars().count());
        let span = Span {
            line: number(line),
            column: number(column),
            start,
            end: start.saturating_add(1),
        };
        let byte = bytes.get(good).copied().unwrap_or(0);
        let problem = Problem::new(span, "this is not UTF-8")
            .label(format!("the byte 0x{byte:02x} does not belong here"))
            .help("save the file as UTF-8");
        let text = Arc::from(String::from_utf8_lossy(bytes));
        Self { text, problems: vec![problem], ..Self::unreadable("") }
    }

    /// Whether both say the same, the content of image files included.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.text == other.text && self.files == other.files
    }
}

/// The last good version of a file.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) version: Arc<Version>,
    /// The declared Images that its instances run. A name among them does not become a reference
    /// to some registry when the Image's own file is gone or broken.
    pub(crate) images: BTreeSet<Key>,
    /// The text with all that a restart needs to make the same version of it.
    pub(crate) stored: Arc<str>,
}

/// Begins a line, before the text itself, that tells what the text alone does not.
const MARK: &str = "# windlass held: ";

impl Held {
    pub(crate) fn new(version: Arc<Version>, images: BTreeSet<Key>) -> Self {
        let mut head = String::new();
        for key in &images {
            head.push_str(&format!("{MARK}image {key}\n"));
        }
        for (path, digest) in &version.files {
            if let Ok(digest) = digest {
                head.push_str(&format!("{MARK}file {digest} {}\n", path.display()));
            }
        }
        for (path, text) in &version.contents {
            // In JSON a text has no line end.
            let text = serde_json::Value::from(&**text);
            head.push_str(&format!("{MARK}text {text} {}\n", path.display()));
        }
        let stored = if head.is_empty() {
            Arc::clone(&version.text)
        } else {
            head.push_str(&version.text);
            Arc::from(head)
        };
        Self { version, images, stored }
    }

    /// Makes the version again that [`Held::new`] stored. Image files are taken to be as they
    /// were, whether they can be read now or not.
    pub(crate) fn restore(stored: &Arc<str>, folder: &Path) -> Self {
        let mut images = BTreeSet::new();
        let mut files = BTreeMap::new();
        let mut texts = BTreeMap::new();
        let mut rest: &str = stored;
        while let Some((line, tail)) =
            rest.strip_prefix(MARK).and_then(|rest| rest.split_once('\n'))
        {
            if let Some(key) = line.strip_prefix("image ") {
                images.extend(key.parse::<Key>());
            }
            let file = line.strip_prefix("file ").and_then(|line| line.split_once(' '));
            if let Some((digest, path)) = file {
                files.insert(PathBuf::from(path), digest.to_owned());
            }
            if let Some(line) = line.strip_prefix("text ") {
                let mut values = serde_json::Deserializer::from_str(line).into_iter::<String>();
                if let Some(Ok(text)) = values.next() {
                    let path = line.get(values.byte_offset()..).unwrap_or("").trim_start();
                    texts.insert(PathBuf::from(path), Arc::<str>::from(text));
                }
            }
            rest = tail;
        }
        let digest = |path: &Path| {
            let found = files.get(path).cloned();
            found.ok_or_else(|| "its digest was not recorded".to_owned())
        };
        let content = |path: &Path| {
            let text = texts.get(path).map(Arc::clone);
            let text = text.ok_or_else(|| "its text was not recorded".to_owned())?;
            Ok((text, digest(path)?))
        };
        let text = if rest.len() == stored.len() { Arc::clone(stored) } else { Arc::from(rest) };
        let version =
            Arc::new(Version::read(text, folder, &Beside { digest: &digest, content: &content }));
        Self { version, images, stored: Arc::clone(stored) }
    }
}
