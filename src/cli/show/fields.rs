//! What is not as declared, field by field, in the manner of a unified diff.

use reconciler::model::ids::{Key, ObjectId};
use reconciler::model::spec::InstanceSpec;
use reconciler::plan::ChangeKind;
use reconciler::report::Reason;
use reconciler::step::{Cause, FieldChange};
use serde_yaml::{Mapping, Value};

use super::words::place;
use super::{Ink, Style};
use crate::api::protocol::{Overview, PlanRow, PlanView};

/// Renders all differences; nothing if there is none. The overview says what new objects look like.
#[must_use]
pub fn render(plan: &PlanView, overview: &Overview, style: &Style) -> String {
    let mut text = String::new();
    // Replicas are alike: the first new one shows their spec.
    let mut shown: Option<(&Key, String)> = None;
    for row in plan.rows.iter().filter(|row| differs(row)) {
        if !text.is_empty() {
            text.push('\n');
        }
        let is_new = row.change == Some(ChangeKind::Create);
        let like = match (&row.object, &shown) {
            (ObjectId::Replica(replica), Some((key, name)))
                if is_new && replica.instance == **key =>
            {
                Some(name.clone())
            }
            (ObjectId::Replica(replica), _) if is_new => {
                shown = Some((&replica.instance, row.name.clone()));
                None
            }
            (
                ObjectId::Replica(_)
                | ObjectId::Image { .. }
                | ObjectId::Volume { .. }
                | ObjectId::Network { .. }
                | ObjectId::Fence { .. }
                | ObjectId::Group { .. },
                _,
            ) => None,
        };
        text.push_str(&render_row(row, like.as_deref(), overview, style));
    }
    text
}

/// Whether the object itself is not as declared; images and volumes that others need do not count.
#[must_use]
pub fn differs(row: &PlanRow) -> bool {
    match (&row.change, &row.reason) {
        (Some(ChangeKind::Prepare), _) => false,
        (Some(_), _) => true,
        (None, Some(reason)) => match reason {
            // Nobody looks at what is left alone.
            Reason::Completed
            | Reason::Retained
            | Reason::Unknown { .. }
            | Reason::Stays { .. }
            | Reason::Suspended { .. } => false,
            Reason::NodeNotDeclared
            | Reason::InFlight { .. }
            | Reason::Unplaced { .. }
            | Reason::OverQuota { .. }
            | Reason::WaitingOn { .. }
            | Reason::Stalled { .. }
            | Reason::BackingOff { .. }
            | Reason::Restarting { .. }
            | Reason::Unhealthy { .. }
            | Reason::Failed { .. }
            | Reason::Denied { .. }
            | Reason::SetAside { .. }
            | Reason::Undone { .. }
            | Reason::RolloutPaused { .. }
            | Reason::RolloutFailed { .. }
            | Reason::DriftReported { .. }
            | Reason::Held => true,
        },
        (None, None) => false,
    }
}

fn render_row(row: &PlanRow, like: Option<&str>, overview: &Overview, style: &Style) -> String {
    let node = row.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let at = row.source.as_ref().map(|source| format!("   {}", place(&overview.specs, source)));
    let head = format!("{}{node}", row.name);
    let mut text = style.paint(Ink::Bold, &head);
    text.push_str(&style.paint(Ink::Dim, &at.unwrap_or_default()));
    text.push('\n');
    let mut line = |ink: Ink, sign: char, words: &str| {
        text.push_str(&style.paint(ink, &format!("{sign} {words}")));
        text.push('\n');
    };
    match (&row.cause, &row.reason) {
        (Some(Cause::Changed { fields } | Cause::Drifted { fields }), _)
        | (None, Some(Reason::DriftReported { fields, .. })) => {
            for FieldChange { field, from, to } in fields {
                // Variables come without their values.
                if from.is_empty() && to.is_empty() {
                    line(Ink::Odd, '~', &format!("{field}: (not shown)"));
                }
                if !from.is_empty() {
                    line(Ink::Bad, '-', &format!("{field}: {from}"));
                }
                if !to.is_empty() {
                    line(Ink::Good, '+', &format!("{field}: {to}"));
                }
            }
        }
        (Some(Cause::Power { from, to }), _) => {
            line(Ink::Bad, '-', &format!("power: {from}"));
            line(Ink::Good, '+', &format!("power: {to}"));
        }
        (cause, _) if row.change == Some(ChangeKind::Create) => {
            if !matches!(cause, Some(Cause::Declared)) {
                line(Ink::Odd, ' ', &row.why);
            }
            match (like, spec(row, overview)) {
                (Some(like), _) => line(Ink::Good, '+', &format!("as {like}")),
                (None, Some(spec)) => {
                    spec.lines().for_each(|words| line(Ink::Good, '+', words));
                }
                (None, None) => line(Ink::Good, '+', "declared"),
            }
        }
        (Some(_), _) if row.change == Some(ChangeKind::Destroy) => line(Ink::Bad, '-', &row.why),
        (None, Some(Reason::Held)) => {
            line(Ink::Bad, '-', &format!("no longer declared; {}", row.why))
        }
        (Some(_) | None, _) => line(Ink::Odd, '~', &row.why),
    }
    text
}

/// The spec of a new replica as YAML, without what says nothing.
fn spec(row: &PlanRow, overview: &Overview) -> Option<String> {
    let ObjectId::Replica(replica) = &row.object else { return None };
    let instance = overview.instances.iter().find(|one| one.key == replica.instance)?;
    yaml(instance.spec.as_ref()?)
}

/// A spec as YAML, without what is not set.
#[must_use]
pub fn yaml(spec: &InstanceSpec) -> Option<String> {
    // Without this, YAML would have tags where JSON has keys.
    let serializer = serde_yaml::value::Serializer;
    let mut value = serde_yaml::with::singleton_map_recursive::serialize(spec, serializer).ok()?;
    prune(&mut value);
    serde_yaml::to_string(&value).ok()
}

/// Removes fields that are null, empty lists and empty maps, and writes ranges as users do.
fn prune(value: &mut Value) {
    match value {
        Value::Sequence(items) => items.iter_mut().for_each(prune),
        Value::Mapping(fields) => {
            fields.iter_mut().for_each(|(_, field)| prune(field));
            fields.retain(|_, field| {
                let is_empty = field.is_null()
                    || field.as_sequence().is_some_and(Vec::is_empty)
                    || field.as_mapping().is_some_and(Mapping::is_empty);
                !is_empty
            });
            let end = |name: &str| fields.get(name).and_then(Value::as_u64);
            if let (Some(first), Some(last), 2) = (end("first"), end("last"), fields.len()) {
                let alone = first == last;
                let text = if alone { first.to_string() } else { format!("{first}-{last}") };
                *value = Value::String(text);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {}
    }
}
