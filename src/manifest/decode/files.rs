//! Files that are put into containers, and files beside the spec that are read for it.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};
use std::sync::Arc;

use reconciler::model::spec::{Content, FileSpec, LocalFile, defaults};

use super::super::problem::Problem;
use super::super::tree::{Node, Value};
use super::fields::{Context, Fields};
use super::instance::check_env_name;
use super::{Surroundings, value};

/// All bits that permissions have.
const MODE_MAX: u32 = 0o7777;

/// A file for a container.
pub(super) fn file(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    around: &Surroundings<'_>,
) -> Option<FileSpec> {
    decode(context, node, field, defaults::file_mode(), around)
}

/// The file for whatever the image does with it at its first start.
pub(super) fn user_data(
    context: &mut Context<'_>,
    node: &Node<'_>,
    around: &Surroundings<'_>,
) -> Option<FileSpec> {
    decode(context, node, "userData", defaults::user_data_mode(), around)
}

fn decode(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    default_mode: u32,
    around: &Surroundings<'_>,
) -> Option<FileSpec> {
    let prefix = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &prefix)?;
    let path = fields.require(context, "path", "the absolute path inside the container");
    let path = path.and_then(|node| {
        let path = value::absolute_path(context, node, &fields.name("path"))?;
        if path == "/" {
            context.invalid(node.span, &fields.name("path"), "expected the path of a file");
            return None;
        }
        Some(path)
    });
    let (content, source) = (fields.entry("content"), fields.entry("source"));
    let content = match (content, source) {
        (Some(content), Some(source)) => {
            let problem = Problem::new(source.key_span, format!("two contents of `{field}`"));
            let problem = problem.label("either `content`, or a `source` beside the spec");
            context.note(problem.also(content.key_span, "this is one already"));
            None
        }
        (Some(entry), None) => text(context, &entry.value, &fields.name("content")),
        (None, Some(entry)) => source_of(context, &entry.value, &fields.name("source"), around),
        (None, None) => {
            let problem = Problem::new(fields.span, format!("missing content of `{field}`"));
            let label = "expected `content` (its text) or `source` (a file beside the spec)";
            context.note(problem.label(label));
            None
        }
    };
    let mode = fields.take("mode").map(|node| mode(context, node, &fields.name("mode")));
    let mut number = |context: &mut Context<'_>, name: &'static str| {
        let Some(node) = fields.take(name) else { return Some(0) };
        let name = format!("{field}.{name}");
        let number = value::integer(context, node, &name, (0, u64::from(u32::MAX)))?;
        u32::try_from(number).ok()
    };
    let (uid, gid) = (number(context, "uid"), number(context, "gid"));
    fields.finish(context, &["owner", "template", "secret", "config"]);
    let mode = mode.unwrap_or(Some(default_mode))?;
    Some(FileSpec { path: path?, content: content?, mode, uid: uid?, gid: gid? })
}

/// The text of a file; an empty one has to be said with quotes.
fn text(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Content> {
    let text = value::text(context, node, field, "the text of the file")?;
    Some(Content::Text(Arc::from(text)))
}

fn source_of(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    around: &Surroundings<'_>,
) -> Option<Content> {
    let given = value::text(context, node, field, "the path of a file")?;
    let path = beside(around, given);
    match (around.digest)(&path) {
        Ok(digest) => {
            Some(Content::File(LocalFile { path: path.to_string_lossy().into_owned(), digest }))
        }
        Err(why) => {
            unreadable(context, node, field, &path, &why);
            None
        }
    }
}

/// Permissions as `chmod` takes them: `0644`, with or without quotes.
fn mode(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<u32> {
    let expected = "permissions such as `0644`";
    let given = value::text(context, node, field, expected)?;
    let digits = given.strip_prefix("0o").unwrap_or(given);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= MODE_MAX);
    if mode.is_none() {
        context.invalid(node.span, field, format!("expected {expected}, in base 8"));
    }
    mode
}

/// The path of a file that a spec names.
pub(super) fn beside(around: &Surroundings<'_>, given: &str) -> PathBuf {
    // `./` goes; `..` stays, since only the system knows where it leads behind a symlink.
    let joined = around.folder.join(given);
    joined.components().filter(|part| *part != Component::CurDir).collect()
}

pub(super) fn unreadable(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    path: &std::path::Path,
    why: &str,
) {
    let problem = Problem::new(node.span, format!("cannot read the file of `{field}`"));
    let shown = path.display();
    let help = if why.contains("a folder") && field.contains("archive") {
        // Tools that build images write a layout as a folder, too.
        format!("pack what is in it, and name that file: tar -C {shown} -cf {shown}.tar .")
    } else {
        format!("it was looked for at {shown}")
    };
    context.note(problem.label(why).help(help));
}

/// The text of a small file beside the spec, with its path.
pub(super) fn content(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    given: &str,
    around: &Surroundings<'_>,
) -> Option<(Arc<str>, LocalFile)> {
    let path = beside(around, given);
    match (around.content)(&path) {
        Ok((text, digest)) => {
            Some((text, LocalFile { path: path.to_string_lossy().into_owned(), digest }))
        }
        Err(why) => {
            unreadable(context, node, field, &path, &why);
            None
        }
    }
}

/// Files of variables, and all that they say; a later file goes before an earlier one.
pub(super) fn env_files(
    context: &mut Context<'_>,
    node: &Node<'_>,
    around: &Surroundings<'_>,
) -> Option<(BTreeMap<String, String>, Vec<LocalFile>)> {
    let mut variables = BTreeMap::new();
    let mut read = |context: &mut Context<'_>, node: &Node<'_>, field: &str| {
        let given = value::text(context, node, field, "the path of a file of variables")?;
        let (text, file) = content(context, node, field, given, around)?;
        for (number, line) in (1..).zip(text.lines()) {
            match variable(line) {
                Ok(Some((name, value))) => {
                    variables.insert(name.to_owned(), value.to_owned());
                }
                Ok(None) => {}
                // Never the line: it may hold a secret.
                Err(why) => {
                    let label = format!("{given}:{number}: {why}");
                    context.invalid(node.span, field, label);
                    return None;
                }
            }
        }
        Some(file)
    };
    let files = match &node.value {
        // One alone, as other tools take it.
        Value::Scalar { .. } => read(context, node, "envFiles").map(|file| vec![file]),
        Value::Sequence(_) | Value::Mapping(_) => value::items(context, node, "envFiles", read),
    }?;
    Some((variables, files))
}

/// One line of a file of variables: nothing, a comment, or `NAME=value`. The value is taken as it
/// stands, quotes included, as engines' own tools take it.
fn variable(line: &str) -> Result<Option<(&str, &str)>, String> {
    let line = line.trim_start().trim_end_matches('\r');
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, value) = line.split_once('=').ok_or("expected NAME=value, or # and a comment")?;
    check_env_name(name)?;
    if value.contains('\0') {
        return Err("a zero byte can stand in no variable".to_owned());
    }
    Ok(Some((name, value)))
}
