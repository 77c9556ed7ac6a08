//! Drift that policy is asked about: repaired, left, or frozen for somebody to look at.

use super::replica::{Replica, Work};
use super::{ChangeKind, Round};
use crate::model::observed::ContainerState;
use crate::model::snapshot::Located;
use crate::model::verdicts::Said;
use crate::policy::answers::Drift;
use crate::policy::outcome::Response;
use crate::policy::{Subject, Verdict};
use crate::report::Reason;
use crate::step::{Action, Cause, FieldChange};

impl<'a> Round<'a> {
    /// Why drift in these fields is left as it is, if policy says so.
    pub(super) fn drift_left(
        &mut self,
        replica: &Replica<'_, '_>,
        fields: &[FieldChange],
    ) -> Option<Reason> {
        let (object, node) = (replica.object.clone(), replica.node.clone());
        let drift = Drift { object, node, fields: fields.to_vec() };
        let answers = self.policies.answers();
        let answer = answers.of_drift(&drift);
        if answers.asks_of_drift {
            self.plan.drift.push(drift);
        }
        let fields = fields.to_vec();
        match answer {
            Some((Response::Revert, _)) => return None,
            Some((response, Said { policy, .. })) => {
                let quarantined = response == Response::Quarantine;
                return Some(Reason::DriftReported { fields, policy, quarantined });
            }
            None => {}
        }
        let subject = Subject::Drift { object: replica.object, fields: &fields };
        match self.policies.judge(&subject) {
            Verdict::Deny { policy, .. } => {
                Some(Reason::DriftReported { fields, policy, quarantined: false })
            }
            Verdict::Allow => None,
        }
    }

    /// Freezes a container that another hand changed: it serves nobody, and what it is and holds
    /// stays as it is until somebody looked at it.
    pub(super) fn quarantine(
        &mut self,
        replica: &Replica<'a, '_>,
        target: &Located,
        fields: Vec<FieldChange>,
        reason: Reason,
    ) {
        if !matches!(target.container.state, ContainerState::Running { .. }) {
            return self.wait(replica.object, Some(replica.node), reason);
        }
        let actions = vec![Action::PauseContainer { container: target.id.0.to_string() }];
        let (kind, cause) = (ChangeKind::Power, Cause::Drifted { fields });
        self.commit(replica, Work { kind, cause, actions, after: Vec::new() });
    }
}

/// Whether drift that is left is frozen, too.
pub(super) fn is_quarantined(reason: &Reason) -> bool {
    matches!(reason, Reason::DriftReported { quarantined: true, .. })
}
