//! Images: exactly one source, and when it is asked for.

use reconciler::model::spec::{ImageSource, ImageSpec, LocalFile, Pull};

use super::super::problem::Problem;
use super::super::tree::{Node, Value};
use super::fields::{Context, Fields, list};
use super::files::{beside, unreadable};
use super::instance::check_env_name;
use super::{Surroundings, reference, value, verify};

/// Decodes the spec of an Image.
pub(crate) fn decode(
    context: &mut Context<'_>,
    node: &Node<'_>,
    around: &Surroundings<'_>,
) -> Option<ImageSpec> {
    let mut fields = Fields::of(context, node, "spec", "")?;
    let source = fields.require(context, "source", "`{ registry: … }`, `archive` or `rootfs`");
    let source = source.and_then(|node| self::source(context, node, around));
    let pull = fields.take("pull").and_then(|node| {
        let words = [("always", Pull::Always), ("missing", Pull::Missing), ("never", Pull::Never)];
        let synonyms = [("IfNotPresent", "missing"), ("if-not-present", "missing")];
        value::choice(context, node, "pull", &words, &synonyms)
    });
    let verify = fields.take("verify").map(|node| verify::decode(context, node, around));
    fields.finish(context, &["push", "retention", "prefetch", "platform"]);
    let verify = verify.map_or(Some(None), |verify| verify.map(Some))?;
    Some(ImageSpec { source: source?, pull: pull.unwrap_or_default(), verify })
}

fn source(
    context: &mut Context<'_>,
    node: &Node<'_>,
    around: &Surroundings<'_>,
) -> Option<ImageSource> {
    let mut fields = Fields::of(context, node, "source", "source.")?;
    let registry = fields.entry("registry");
    let archive = fields.entry("archive");
    let rootfs = fields.entry("rootfs");
    let unbuilt = ["build", "snapshot"];
    let has_unbuilt = match &node.value {
        Value::Mapping(entries) => entries.iter().any(|entry| unbuilt.contains(&&*entry.key)),
        Value::Sequence(_) | Value::Scalar { .. } => false,
    };
    let given: Vec<_> = [registry, archive, rootfs].into_iter().flatten().collect();
    if let [first, second, ..] = given.as_slice() {
        let keys = list(given.iter().map(|entry| &*entry.key));
        let problem = Problem::new(second.key_span, "more than one `source`");
        let problem =
            problem.label(format!("an Image has one source, these are {}: {keys}", given.len()));
        context.note(problem.also(first.key_span, "this is one already"));
    }
    if given.is_empty() && !has_unbuilt {
        let problem = Problem::new(fields.span, "missing field `source`");
        context.note(problem.label("expected one of registry, archive, rootfs"));
    }
    fields.finish(context, &unbuilt);
    if let Some(entry) = registry {
        let expected = "a reference such as `registry.example/web:1.4`";
        let text = value::text(context, &entry.value, "source.registry", expected)?;
        return match reference::normalise(text) {
            Ok(text) => Some(ImageSource::Registry(text.into())),
            Err(why) => {
                context.invalid(entry.value.span, "source.registry", why);
                None
            }
        };
    }
    if let Some(entry) = archive {
        let file = file(context, &entry.value, "source.archive", around);
        return file.map(ImageSource::Archive);
    }
    self::rootfs(context, &rootfs?.value, around)
}

/// The long form is a mapping, the short one is only the file.
fn rootfs(
    context: &mut Context<'_>,
    node: &Node<'_>,
    around: &Surroundings<'_>,
) -> Option<ImageSource> {
    if let Value::Scalar { .. } = &node.value {
        let file = file(context, node, "source.rootfs", around)?;
        return Some(ImageSource::Rootfs { file, command: None, env: Default::default() });
    }
    let path = "source.rootfs.";
    let mut fields = Fields::of(context, node, "source.rootfs", path)?;
    let file = fields.require(context, "file", "the path of a tar file");
    let file = file.and_then(|node| self::file(context, node, "source.rootfs.file", around));
    let command = fields.take("command");
    let command = command.and_then(|node| value::words(context, node, "source.rootfs.command"));
    let env = fields
        .take("env")
        .and_then(|node| value::texts(context, node, "source.rootfs.env", check_env_name));
    fields.finish(context, &[]);
    Some(ImageSource::Rootfs { file: file?, command, env: env.unwrap_or_default() })
}

fn file(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    around: &Surroundings<'_>,
) -> Option<LocalFile> {
    let given = value::text(context, node, field, "the path of a tar file")?;
    let path = beside(around, given);
    match (around.digest)(&path) {
        Ok(digest) => Some(LocalFile { path: path.to_string_lossy().into_owned(), digest }),
        Err(why) => {
            unreadable(context, node, field, &path, &why);
            None
        }
    }
}
