//! A replica without a container in force: it came to its end and rests, or another one is made.

use super::containers::{removals_of_others, stale_joins};
use super::replica::{Replica, Work};
use super::{ChangeKind, Round};
use crate::model::journal::Entry;
use crate::model::observed::ContainerState;
use crate::model::record::Life;
use crate::model::spec::{Power, Restart};
use crate::report::Reason;
use crate::step::Cause;

impl<'a> Round<'a> {
    /// Whether the replica came to its end in this revision and rests.
    pub(super) fn rests(&self, replica: &Replica<'_, '_>) -> bool {
        let Some(record) = replica.record else { return false };
        if self.asked_to_restart(replica).is_some() {
            return false;
        }
        let of_this_revision =
            replica.revision.is_none() || record.revision.as_ref() == replica.revision;
        let spec = &replica.instance.declared.spec;
        // The restart policy may have changed since.
        let may_rest = match (&record.life, spec.restart) {
            (Life::Completed { .. }, Restart::OnFailure | Restart::Never)
            | (Life::Failed { .. }, Restart::Never) => true,
            (Life::Completed { .. }, Restart::Always)
            | (Life::Failed { .. }, Restart::Always | Restart::OnFailure)
            | (Life::New | Life::Started | Life::Stopped, _) => false,
        };
        of_this_revision
            && may_rest
            && spec.power != Power::Paused
            && replica
                .target
                .is_none_or(|target| matches!(target.container.state, ContainerState::Exited(_)))
    }

    /// Notes how the replica rests; leftovers beside it go.
    pub(super) fn rest(&mut self, replica: &Replica<'a, '_>) {
        let removals = removals_of_others(replica);
        if !removals.is_empty() {
            return self.tidy(replica, removals);
        }
        if let Some((fields, actions)) = replica.target.and_then(|at| stale_joins(replica, at)) {
            let (kind, cause) = (ChangeKind::InPlace, Cause::Changed { fields });
            return self.commit(replica, Work { kind, cause, actions, after: vec![] });
        }
        let reason = match replica.record.map(|record| &record.life) {
            Some(Life::Failed { code, .. }) => Reason::Failed { code: *code },
            _ => Reason::Completed,
        };
        self.wait(replica.object, Some(replica.node), reason);
    }

    /// No container is in force: makes one, unless the replica rests without.
    pub(super) fn absent(&mut self, replica: &Replica<'a, '_>) {
        if self.rests(replica) {
            return self.rest(replica);
        }
        let record = replica.record;
        let made = record.filter(|record| {
            record.confirmed
                && replica.revision.is_some()
                && record.revision.as_ref() == replica.revision
        });
        if let Some(made) = made
            && made.life == Life::Started
            && replica.instance.declared.spec.restart == Restart::Never
        {
            // It ran, it is gone, and nobody knows how it ended.
            let life = Life::Failed { at: self.snapshot.now, code: None };
            self.decide(Entry::Ended { replica: replica.key.clone(), life });
            let reason = Reason::Failed { code: None };
            return self.wait(replica.object, Some(replica.node), reason);
        }
        if let Some(left) = replica.all.iter().find(|at| self.is_left(replica, at)) {
            let cause = Cause::Drained { node: left.node.clone() };
            return self.make(replica, ChangeKind::Replace, cause);
        }
        // One of the very revision is not in force only if the engine is removing it.
        let newest = replica
            .others
            .iter()
            .rfind(|at| Some(&at.container.identity.revision) != replica.revision);
        let (kind, cause) = match newest {
            Some(present) => (ChangeKind::Replace, self.why_replaced(replica, present)),
            None if made.is_some() => match self.asked_to_restart(replica) {
                Some(by) => (ChangeKind::Create, Cause::Restarted { by: by.to_owned() }),
                None => (ChangeKind::Create, Cause::Missing),
            },
            None if record.is_some_and(|record| {
                record.incarnation > 0 && record.revision.as_ref() == replica.revision
            }) =>
            {
                (ChangeKind::Create, Cause::Unfinished)
            }
            None => (ChangeKind::Create, Cause::Declared),
        };
        self.make(replica, kind, cause);
    }
}
