//! The end of a change: leftovers go, records say how the replica lives, and it is settled.

use super::containers::{StopFor, is_running, remove, stop};
use super::needs::backing_off;
use super::replica::{Instance, Replica, Work};
use super::{Change, ChangeKind, Round, goal};
use crate::model::journal::Entry;
use crate::model::record::Life;
use crate::model::snapshot::Located;
use crate::model::spec::Power;
use crate::placement;
use crate::report::Reason;
use crate::step::{Action, Cause};

impl<'a> Round<'a> {
    pub(super) fn tidy(&mut self, replica: &Replica<'a, '_>, actions: Vec<Action>) {
        let (kind, cause) = (ChangeKind::Tidy, Cause::Superseded);
        self.commit(replica, Work { kind, cause, actions, after: vec![] });
    }

    pub(super) fn settle(&mut self, replica: &Replica<'_, '_>, target: &Located) {
        if let Some(reason) = &replica.pending {
            // It waits for its image, or for its turn to move.
            let (kind, reason) = (ChangeKind::Replace, reason.clone());
            return self.wait_to(kind, replica.object, Some(replica.node), reason);
        }
        self.note_life(replica, target);
        if replica.all.len() > 1 && self.tidy_elsewhere(replica, target) {
            return;
        }
        if let Some(reason) = &replica.tight {
            return self.wait(replica.object, Some(replica.node), reason.clone());
        }
        let placement = replica.instance.declared.spec.more.placement.as_ref();
        if !placement::allows(self.snapshot, placement, replica.node) {
            let message = format!(
                "it is on {}, and its placement asks for {}; it stays there until it is removed",
                replica.node,
                placement::asked(placement)
            );
            return self.wait(replica.object, Some(replica.node), Reason::Stalled { message });
        }
        if let Some(reason) = self.split(replica) {
            return self.wait(replica.object, Some(replica.node), reason);
        }
        match &replica.instance.gate.back {
            Some(reason) => self.wait(replica.object, Some(replica.node), reason.clone()),
            None => self.report.counts.settled += 1,
        }
    }

    /// Why a replica is not as its links want it: what it is linked with is on another node.
    fn split(&self, replica: &Replica<'_, '_>) -> Option<Reason> {
        let (key, node) = (replica.instance.key, replica.node);
        self.together.with(key).next()?;
        let nodes = self.together.nodes(self.snapshot, key);
        let (elsewhere, other) = nodes.into_iter().find(|(other, _)| other != node)?;
        let message = format!(
            "it is on {node}, and {other}, which it is linked with, on {elsewhere}: linked \
             instances are on one node, and nobody is moved for a link; set `replicas: 0` for one \
             of the two until it is gone, and it is placed beside the other, or take the link away"
        );
        Some(Reason::Stalled { message })
    }

    /// Has records say what another hand did to it.
    pub(super) fn note_life(&mut self, replica: &Replica<'_, '_>, target: &Located) {
        let runs = is_running(target);
        let life = match replica.record.map(|record| &record.life) {
            // It ended before it was asked to stop: the next start is no restart.
            Some(Life::Started) if !runs => Some(Life::Stopped),
            // Another hand started it, or its stop was called off: should it end, it ended by
            // itself.
            Some(life) if runs && *life != Life::Started => Some(Life::Started),
            Some(_) | None => None,
        };
        if let Some(life) = life {
            self.decide(Entry::Ended { replica: replica.key.clone(), life });
        }
    }

    /// Removes the replica's containers on other nodes than its own, now that all is well there.
    fn tidy_elsewhere(&mut self, replica: &Replica<'_, '_>, target: &Located) -> bool {
        let elsewhere = |at: &&Located| at.node != *replica.node;
        let mut strays: Vec<&Located> = replica.all.iter().filter(elsewhere).collect();
        strays.sort_by_key(|at| (&at.node, &at.id));
        let answers = |at: &&&Located| self.blocked_node(&at.node).is_none();
        let Some(first) = strays.iter().find(answers).copied() else {
            return false;
        };
        let Instance { declared, limits, .. } = replica.instance;
        let serves = declared.spec.power == Power::Running;
        if serves && strays.iter().any(|at| is_running(at)) && !target.may_be_ready() {
            let what = format!("{} to be ready on {}", replica.key, replica.node);
            self.wait(replica.object, Some(replica.node), Reason::WaitingOn { what });
            return true;
        }
        let here = || strays.iter().copied().filter(|at| at.node == first.node);
        let mut actions: Vec<Action> =
            here().filter_map(|at| stop(at, &declared.spec, StopFor::Retirement)).collect();
        actions.extend(here().map(remove));
        let goal = goal::replica(replica.revision, declared.spec.power, limits);
        let failure = replica.record.and_then(|record| record.failure.as_ref());
        if let Some(failure) = failure
            && failure.waits(self.snapshot.now)
            && failure.goal == goal
        {
            self.report.wake(failure.retry_at);
            self.wait(replica.object, Some(&first.node), backing_off(failure));
            return true;
        }
        let (object, node) = (replica.object.clone(), first.node.clone());
        let cause = self.why_gone(&node);
        let kind = ChangeKind::Tidy;
        self.chain(Change { object, node, kind, cause, goal }, actions, &[]);
        true
    }
}
