//! What an Instance mounts.

use reconciler::model::ids::{Key, Name};
use reconciler::model::quantity::Bytes;
use reconciler::model::spec::{Mount, MountSource};

use super::super::problem::{Problem, Span};
use super::super::tree::{Node, Value};
use super::fields::{Context, Fields, list};
use super::value;

/// A Volume that an instance names, and where.
#[derive(Debug, Clone)]
pub(crate) struct VolumeUse {
    pub(crate) span: Span,
    pub(crate) key: Key,
}

/// A mount, the Volume that it names, and where its target stands.
pub(crate) type Mounted = (Mount, Option<VolumeUse>, Span);

/// Decodes a mount of an instance in `project`.
pub(crate) fn decode(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    project: &Name,
) -> Option<Mounted> {
    if let Value::Scalar { text, .. } = &node.value {
        // The short form of other tools: `data:/data`.
        let mut parts = text.splitn(3, ':');
        let (source, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or("/path"));
        let kind = if source.starts_with(['/', '.', '~']) { "bind" } else { "volume" };
        context.wrong_type(node, field, &format!("{{ {kind}: {source}, target: {target} }}"));
        return None;
    }
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let sources = ["volume", "bind", "tmpfs"].map(|name| fields.entry(name));
    let target_node = fields.require(context, "target", "the path inside the container");
    let target = target_node.and_then(|node| {
        let target = value::absolute_path(context, node, &format!("{field}.target"))?;
        if target == "/" {
            context.invalid(
                node.span,
                &format!("{field}.target"),
                "nothing can be mounted over `/`",
            );
            return None;
        }
        Some(target)
    });
    let read_only = fields.take("readOnly");
    let read_only =
        read_only.map(|node| value::boolean(context, node, &format!("{field}.readOnly")));
    let shared_entry = fields.entry("shared");
    let shared =
        shared_entry.map(|entry| value::boolean(context, &entry.value, &format!("{field}.shared")));
    let span = fields.span;
    fields.finish(context, &["propagation", "subPath", "options"]);
    let given: Vec<_> = sources.into_iter().flatten().collect();
    let entry = match given.as_slice() {
        [one] => *one,
        [] => {
            let problem = Problem::new(span, format!("missing source of `{field}`"));
            context.note(problem.label("expected one of volume, bind, tmpfs"));
            return None;
        }
        [first, second, ..] => {
            let keys = list(given.iter().map(|entry| &*entry.key));
            let problem =
                Problem::new(second.key_span, format!("more than one source of `{field}`"));
            let problem = problem.label(format!("a mount shows one thing, not {keys}"));
            context.note(problem.also(first.key_span, "this is one already"));
            return None;
        }
    };
    let name = format!("{field}.{}", entry.key);
    let mut used = None;
    let source = match &*entry.key {
        "volume" => {
            let key = volume(context, &entry.value, &name, project)?;
            used = Some(VolumeUse { span: entry.value.span, key: key.clone() });
            MountSource::Volume(key)
        }
        "bind" => MountSource::Bind(value::absolute_path(context, &entry.value, &name)?),
        _ => {
            if let Some(shared) = shared_entry {
                let label = "memory is each container's own; take it out";
                context.invalid(shared.key_span, &format!("{field}.shared"), label);
            }
            MountSource::Tmpfs(tmpfs(context, &entry.value, &name)?)
        }
    };
    let mount = Mount {
        source,
        target: target?,
        read_only: read_only.unwrap_or(Some(false))?,
        shared: shared.unwrap_or(Some(false))?,
    };
    Some((mount, used, target_node.map_or(span, |node| node.span)))
}

fn volume(context: &mut Context<'_>, node: &Node<'_>, field: &str, project: &Name) -> Option<Key> {
    if let Value::Scalar { text, .. } = &node.value
        && let Some((other, name)) = text.split_once('/')
        && let (Ok(other), Ok(name)) = (Name::new(other), Name::new(name))
    {
        return Some(Key::new(other, name));
    }
    value::name(context, node, field).map(|name| Key::new(project.clone(), name))
}

/// `true` for memory without a limit of its own, or a size.
fn tmpfs(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Option<Bytes>> {
    match &node.value {
        Value::Scalar { text, plain: true } if matches!(&**text, "true" | "True" | "TRUE") => {
            Some(None)
        }
        Value::Scalar { text, plain: true } if matches!(&**text, "false" | "False" | "FALSE") => {
            context.invalid(
                node.span,
                field,
                "expected `true` or a size; without it, take the mount out",
            );
            None
        }
        Value::Scalar { .. } => {
            let size: Bytes = value::quantity(context, node, field)?;
            if size.0 == 0 {
                context.out_of_range(node.span, field, "a size of 0 holds nothing");
                return None;
            }
            Some(Some(size))
        }
        Value::Sequence(_) | Value::Mapping(_) => {
            context.wrong_type(node, field, "`true` or a size such as `64Mi`");
            None
        }
    }
}

/// Two things cannot be mounted at one place.
pub(crate) fn check_targets(
    context: &mut Context<'_>,
    mounts: Vec<Mounted>,
) -> Vec<(Mount, Option<VolumeUse>)> {
    for (index, (mount, _, span)) in mounts.iter().enumerate() {
        let mut before = mounts.iter().take(index);
        if let Some((_, _, first)) = before.find(|(other, ..)| other.target == mount.target) {
            let problem = Problem::new(*span, format!("two mounts at `{}`", mount.target));
            let problem = problem.label("one would hide the other");
            context.note(problem.also(*first, "the first stands here"));
        }
    }
    mounts.into_iter().map(|(mount, used, _)| (mount, used)).collect()
}
