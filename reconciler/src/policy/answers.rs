//! What policies say of what one round would do: actions, and drift that it would repair.
//!
//! The planner makes a plan as if all were allowed, and so asks; the loop has policies answer, and
//! has it plan again where an answer stands in the way. So planning stays a function of what it is
//! given, and rules see the round as a whole: how much it removes is known once it is planned.

use std::collections::BTreeMap;

use super::outcome::Response;
use crate::model::ids::{Name, ObjectId};
use crate::model::spec::policy::ActionKind;
use crate::model::time::Timestamp;
use crate::model::verdicts::Said;
use crate::plan::{Change, ChangeKind};
use crate::step::{Action, FieldChange};

/// Drift that a plan repairs, or would repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Of what.
    pub object: ObjectId,
    /// Where.
    pub node: Name,
    /// In which fields.
    pub fields: Vec<FieldChange>,
}

/// What becomes of drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftAnswer {
    /// In which fields it was found. It is asked about again when it is found in others.
    pub fields: Vec<FieldChange>,
    /// What to do, and who says so; nobody says anything of what is repaired as usual.
    pub response: Option<(Response, Said)>,
}

/// What policies say of what a round would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// Whether a rule is asked about actions.
    pub asks_of_actions: bool,
    /// Whether a rule is asked about drift.
    pub asks_of_drift: bool,
    /// Whether nothing is asked any more: what was not answered is not done.
    pub is_closed: bool,
    /// When what is denied may be allowed: a script that denied it went by the time.
    pub again_at: Option<Timestamp>,
    /// By object and action, who stands in the way, if anybody does.
    pub actions: BTreeMap<(ObjectId, ActionKind), Option<Said>>,
    /// Whether a rule is asked about what an engine is sent.
    pub asks_of_what_is_sent: bool,
    /// By object, who stands in the way of a container as it would be made.
    pub sent: BTreeMap<ObjectId, Option<Said>>,
    /// Of drift, by object.
    pub drift: BTreeMap<ObjectId, DriftAnswer>,
}

impl Answers {
    /// Who stands in the way of an action.
    #[must_use]
    pub fn denial(&self, object: &ObjectId, action: ActionKind) -> Option<Said> {
        if !self.asks_of_actions {
            return None;
        }
        match self.actions.get(&(object.clone(), action)) {
            Some(answer) => answer.clone(),
            // What keeps running what was admitted is let alone, also where nobody can be asked.
            None => (self.is_closed && !is_of_power(action)).then(Said::unasked),
        }
    }

    /// Who stands in the way of a container as it would be made.
    #[must_use]
    pub fn of_what_is_sent(&self, object: &ObjectId) -> Option<Said> {
        if !self.asks_of_what_is_sent {
            return None;
        }
        match self.sent.get(object) {
            Some(answer) => answer.clone(),
            None => self.is_closed.then(Said::unasked),
        }
    }

    /// What becomes of drift, where it is not repaired as usual.
    #[must_use]
    pub fn of_drift(&self, drift: &Drift) -> Option<(Response, Said)> {
        if !self.asks_of_drift {
            return None;
        }
        match self.drift.get(&drift.object).filter(|answer| answer.fields == drift.fields) {
            Some(answer) => answer.response.clone(),
            None => self.is_closed.then(|| (Response::Report, Said::unasked())),
        }
    }
}

/// What policies call a change; `None` for what they are not asked about: rules of nodes, groups of projects, and what
/// is left over of what was replaced.
#[must_use]
pub fn action_of(change: &Change, actions: &[Action]) -> Option<ActionKind> {
    match (&change.object, change.kind) {
        (ObjectId::Fence { .. } | ObjectId::Group { .. }, _) | (_, ChangeKind::Tidy) => None,
        (ObjectId::Network { network, .. }, _) if network.is_built_in_network() => None,
        (ObjectId::Image { .. }, ChangeKind::Destroy) => Some(ActionKind::Delete),
        (ObjectId::Image { .. }, _) => Some(ActionKind::Pull),
        (_, ChangeKind::Prepare | ChangeKind::Create) => Some(ActionKind::Create),
        (_, ChangeKind::InPlace) => Some(ActionKind::Update),
        (_, ChangeKind::Restart) => Some(ActionKind::Restart),
        (_, ChangeKind::Replace) => Some(ActionKind::Replace),
        (_, ChangeKind::Destroy) => Some(ActionKind::Delete),
        (_, ChangeKind::Power) => {
            let stops = |action: &Action| {
                matches!(action, Action::StopContainer { .. } | Action::PauseContainer { .. })
            };
            Some(if actions.iter().any(stops) { ActionKind::Stop } else { ActionKind::Start })
        }
    }
}

/// Whether an action only starts or stops what was admitted. Policies are asked about it where they
/// name it.
#[must_use]
pub fn is_of_power(action: ActionKind) -> bool {
    match action {
        ActionKind::Start | ActionKind::Stop | ActionKind::Restart => true,
        ActionKind::Create
        | ActionKind::Update
        | ActionKind::Replace
        | ActionKind::Delete
        | ActionKind::Exec
        | ActionKind::Pull => false,
    }
}
