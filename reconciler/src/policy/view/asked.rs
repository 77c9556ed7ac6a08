//! What scripts see of actions and of drift.

use std::sync::Arc;

use super::object::Object;
use super::table::{maybe, maybe_part, part, shown, table, text, texts};
use crate::model::ids::Name;
use crate::model::spec::policy::ActionKind;
use crate::step::FieldChange;

/// An action, before it is done.
#[derive(Debug, Clone)]
pub struct AskedAction {
    /// What is done.
    pub kind: ActionKind,
    /// To what. Of what is no longer declared, the last good declaration.
    pub target: Arc<Object>,
    /// To which replica of it.
    pub replica: Option<u32>,
    /// Where.
    pub node: Option<Name>,
    /// Why, in words.
    pub cause: String,
    /// The fields that change, if it is a change.
    pub fields: Vec<FieldChange>,
    /// Who talks to it by a Link: `project/name`.
    pub linked_by: Vec<String>,
    /// What else the round does.
    pub round: AskedRound,
    /// Of a command that is run in it: who runs it there.
    pub exec: Option<AskedExec>,
}

/// What a round does, in numbers of replicas.
#[derive(Debug, Clone, Copy, Default)]
pub struct AskedRound {
    /// How many it removes.
    pub deletes: u64,
    /// How many it replaces.
    pub replaces: u64,
    /// How many there are.
    pub managed: u64,
}

/// A command that is run in a container.
#[derive(Debug, Clone, Default)]
pub struct AskedExec {
    /// The command.
    pub command: Vec<String>,
    /// Who runs it, if that is said.
    pub user: Option<String>,
    /// Whether it may do all that the node's root may.
    pub privileged: bool,
}

/// Drift, before it is repaired.
#[derive(Debug, Clone)]
pub struct AskedDrift {
    /// Of what.
    pub object: Arc<Object>,
    /// Of which replica of it.
    pub replica: Option<u32>,
    /// Where.
    pub node: Option<Name>,
    /// In which fields.
    pub fields: Vec<FieldChange>,
}

impl AskedDrift {
    /// Whether a field is among those that drifted, or a field below it, or one of a kind (`network`
    /// is touched by `network front`).
    pub(crate) fn touches(&self, field: &str) -> bool {
        let below =
            |name: &str| name.strip_prefix(field).is_some_and(|rest| rest.starts_with(['.', ' ']));
        self.fields.iter().any(|change| change.field == field || below(&change.field))
    }
}

table! {
    /// An action.
    ACTION = "action": AskedAction {
        "kind": Text |action| text(action.kind.as_str());
        "target": Object |action| Some(&action.target);
        "replica": Number |action| action.replica.map(u64::from);
        "node": Text |action| action.node.as_ref().and_then(shown);
        "cause": Text |action| text(&action.cause);
        "fields": Parts(&CHANGE) |action, at| maybe_part(action.fields.get(at));
        "linkedBy": Texts |action| texts(&action.linked_by);
        "round": Part(&ROUND) |action| part(&action.round);
        "exec": Part(&EXEC) |action| maybe_part(action.exec.as_ref());
    }
}

table! {
    /// What a round does.
    ROUND = "round": AskedRound {
        "deletes": Number |round| Some(round.deletes);
        "replaces": Number |round| Some(round.replaces);
        "managed": Number |round| Some(round.managed);
    }
}

table! {
    /// A command.
    EXEC = "exec": AskedExec {
        "command": Texts |exec| texts(&exec.command);
        "user": Text |exec| maybe(&exec.user);
        "privileged": Flag |exec| Some(exec.privileged);
    }
}

table! {
    /// Drift.
    DRIFT = "drift": AskedDrift {
        "object": Object |drift| Some(&drift.object);
        "replica": Number |drift| drift.replica.map(u64::from);
        "node": Text |drift| drift.node.as_ref().and_then(shown);
        "fields": Parts(&CHANGE) |drift, at| maybe_part(drift.fields.get(at));
    }
}

table! {
    /// A field whose value is not what it shall be.
    CHANGE = "change": FieldChange {
        "field": Text |change| text(&change.field);
        "found": Text |change| text(&change.from);
        "wanted": Text |change| text(&change.to);
    }
}
