//! What scripts see of actions and of drift.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::object::{Object, ObjectRef};
use super::running::Running;
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedRound {
    /// How many it removes.
    pub deletes: u64,
    /// How many it replaces.
    pub replaces: u64,
    /// How many there are.
    pub managed: u64,
}

/// A command that is run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedExec {
    /// The program. What it is given may hold secrets, and nobody sees it.
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

/// What was asked about, as records hold it: all but the declaration, which stands in them anyway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AskedNote {
    /// An action.
    Action {
        /// What is done.
        kind: ActionKind,
        /// To what.
        target: ObjectRef,
        /// To which replica of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replica: Option<u32>,
        /// Where.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        /// Why.
        cause: String,
        /// The fields that change.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fields: Vec<FieldChange>,
        /// Who talks to it.
        #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "linkedBy")]
        linked_by: Vec<String>,
        /// What else the round did.
        round: AskedRound,
        /// Of a command, which one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec: Option<AskedExec>,
    },
    /// A container, as it would be made.
    Sent {
        /// Of which instance.
        object: ObjectRef,
        /// Of which replica of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replica: Option<u32>,
    },
    /// What was found where it runs.
    Found {
        /// Of what.
        object: ObjectRef,
        /// Of which replica of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replica: Option<u32>,
        /// What is not declared anywhere.
        running: Running,
    },
    /// Drift.
    Drift {
        /// Of what.
        object: ObjectRef,
        /// Of which replica of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replica: Option<u32>,
        /// Where.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<Name>,
        /// In which fields.
        fields: Vec<FieldChange>,
    },
}

impl AskedNote {
    /// Which replica it is about, if about one.
    #[must_use]
    pub fn replica(&self) -> Option<u32> {
        match self {
            Self::Action { replica, .. }
            | Self::Sent { replica, .. }
            | Self::Found { replica, .. }
            | Self::Drift { replica, .. } => *replica,
        }
    }
}

impl AskedNote {
    /// The object that it is about.
    #[must_use]
    pub fn object(&self) -> &ObjectRef {
        match self {
            Self::Action { target: object, .. }
            | Self::Sent { object, .. }
            | Self::Found { object, .. }
            | Self::Drift { object, .. } => object,
        }
    }

    /// What was asked, with the object as it was declared then.
    ///
    /// # Errors
    /// Why it cannot be asked again: of what was found in a container nothing but that is on record.
    pub fn asked(self, object: Arc<Object>) -> Result<AskedAgain, &'static str> {
        match self {
            Self::Action {
                kind,
                target: _,
                replica,
                node,
                cause,
                fields,
                linked_by,
                round,
                exec,
            } => {
                let target = object;
                Ok(AskedAgain::Action(AskedAction {
                    kind,
                    target,
                    replica,
                    node,
                    cause,
                    fields,
                    linked_by,
                    round,
                    exec,
                }))
            }
            Self::Drift { object: _, replica, node, fields } => {
                Ok(AskedAgain::Drift(AskedDrift { object, replica, node, fields }))
            }
            Self::Sent { .. } | Self::Found { .. } => {
                Err("what a container was, in all its fields, is not on record")
            }
        }
    }
}

/// What was asked once.
#[derive(Debug)]
pub enum AskedAgain {
    /// About an action.
    Action(AskedAction),
    /// About drift.
    Drift(AskedDrift),
}

impl AskedAction {
    /// It, as records hold it.
    #[must_use]
    pub fn note(&self) -> AskedNote {
        let Self { kind, target, replica, node, cause, fields, linked_by, round, exec } = self;
        AskedNote::Action {
            kind: *kind,
            target: target.name().clone(),
            replica: *replica,
            node: node.clone(),
            cause: cause.clone(),
            fields: fields.clone(),
            linked_by: linked_by.clone(),
            round: *round,
            exec: exec.clone(),
        }
    }
}

impl AskedDrift {
    /// It, as records hold it.
    #[must_use]
    pub fn note(&self) -> AskedNote {
        let Self { object, replica, node, fields } = self;
        let (object, replica, node) = (object.name().clone(), *replica, node.clone());
        AskedNote::Drift { object, replica, node, fields: fields.clone() }
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
