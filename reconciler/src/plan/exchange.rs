//! How a new container takes the place of those that are there.
//!
//! With `stop-first` they stop, and the new one starts. With `start-first` one of them goes on until
//! the new one is ready, and goes in a row of its own: whatever becomes of the new one, that one
//! serves. Which of the two it is, is told anew in each round by what is there, so a crash in the
//! middle changes nothing.
//!
//! What a replica left on a node that it moves away from takes part in this: it goes on, or stops
//! before. Then the new one is made in a row of its own, the old one stops in another, and only then
//! the new one starts.

use super::containers::{StopFor, id, is_running, remove, stop};
use super::replica::{Replica, Work};
use super::slots::bound;
use super::turns::serves;
use super::{ChangeKind, Round};
use crate::model::ids::Name;
use crate::model::observed::{ContainerState, HealthState};
use crate::model::quantity::Span;
use crate::model::rollout::Outcome;
use crate::model::snapshot::Located;
use crate::model::spec::{InstanceSpec, Order};
use crate::report::Reason;
use crate::step::{Action, Cause};

/// How long a container goes on after the last one who talks to it was told of its successor: who
/// looked its address up just before that has connected by then, and has got an answer to what takes
/// no longer. Longer ones are the program's own to finish, within its `stop.timeout`.
const DRAIN: Span = Span::seconds(1);

impl<'a> Round<'a> {
    /// The one of these containers that goes on while another one starts, if one does; those that
    /// the replica left on other nodes are among them. `again`: that other one has run before, or
    /// was to.
    ///
    /// # Errors
    /// What the other one waits for.
    pub(super) fn goes_on(
        &mut self,
        replica: &Replica<'a, '_>,
        present: &[&'a Located],
        again: bool,
    ) -> Result<Option<&'a Located>, Reason> {
        let spec = &replica.instance.declared.spec;
        let all: Vec<&Located> = present.iter().copied().chain(elsewhere(replica)).collect();
        let Some(best) = best(&all).filter(|_| starts_first(spec)) else { return Ok(None) };
        let Replica { instance, key, .. } = *replica;
        match self.room_beside(instance, key, again) {
            Ok(()) => Ok(Some(best)),
            // What is not ready waits for nobody: it gives way.
            Err(_) if !best.may_be_ready() => Ok(None),
            Err(reason) => match self.room_to_be_away(instance, key) {
                Ok(()) => Ok(None),
                Err(_) => Err(reason),
            },
        }
    }

    /// The other container that serves while the one in force is not ready, and stays until it is.
    pub(super) fn kept(
        &mut self,
        replica: &Replica<'a, '_>,
        target: &Located,
    ) -> Option<&'a Located> {
        let spec = &replica.instance.declared.spec;
        if !serves(spec) || target.may_be_ready() {
            return None;
        }
        let best = best(&replica.others)?;
        // The order may have changed meanwhile.
        let Replica { instance, key, .. } = *replica;
        let stays = starts_first(spec)
            || best.may_be_ready() && self.room_to_be_away(instance, key).is_err();
        stays.then_some(best)
    }

    /// The container that served until it ended, while its successor is in force and not ready: it
    /// is to serve on. One that is gone for good reasons is none of these: what was set aside, or
    /// never got well.
    pub(super) fn ended_early(
        &self,
        replica: &Replica<'a, '_>,
        target: &Located,
    ) -> Option<&'a Located> {
        let spec = &replica.instance.declared.spec;
        if !starts_first(spec) || target.may_be_ready() || best(&replica.others).is_some() {
            return None;
        }
        let record = replica.instance.record;
        let outcome = |at: &Located| {
            let of = &at.container.identity.revision;
            let past = record.and_then(|record| record.past(of));
            past.map_or(&Outcome::Unknown, |past| &past.outcome)
        };
        let served = |at: &&Located| match outcome(at) {
            Outcome::Unknown | Outcome::UnderWay | Outcome::Good | Outcome::Undone { .. } => true,
            Outcome::Failed { .. } | Outcome::SetAside { .. } => false,
        };
        let incarnation = |at: &Located| at.container.identity.incarnation;
        let taken = &target.container.config.ports;
        let is_free = |at: &&Located| {
            bound(&at.container.config.ports).all(|port| bound(taken).all(|other| other != port))
        };
        let ended = replica.others.iter().copied().filter_map(|at| match &at.container.state {
            ContainerState::Exited(exit) => Some((at, exit.finished_at)),
            ContainerState::Created
            | ContainerState::Running { .. }
            | ContainerState::Paused { .. }
            | ContainerState::Removing => None,
        });
        ended
            .filter(|(at, _)| incarnation(at) < incarnation(target) && served(at) && is_free(at))
            .max_by_key(|(at, ended)| {
                (*outcome(at) == Outcome::Good, *ended, incarnation(at), &at.id)
            })
            .map(|(at, _)| at)
    }

    /// Starts a container again that served until it ended, while its successor is not ready.
    ///
    /// # Errors
    /// What that waits for.
    pub(super) fn serve_again(
        &mut self,
        replica: &Replica<'a, '_>,
        ended: &'a Located,
    ) -> Result<(), Reason> {
        let ContainerState::Exited(exit) = &ended.container.state else { return Ok(()) };
        if let Some(reason) = self.no_surge(replica.instance.key) {
            return Err(reason);
        }
        let restarts = replica.record.map(|record| record.earlier).unwrap_or_default();
        let in_a_row = self.restarted_now(replica, exit, restarts)?;
        let container = id(ended);
        let start = Action::StartContainer { container, restart: true, in_a_row, earlier: true };
        let names = self.names_after_start(replica, &ended.id.0);
        let actions = [start].into_iter().chain(names).collect();
        let cause = Cause::Ended { code: exit.code, oom_killed: exit.oom_killed };
        let kind = ChangeKind::Restart;
        self.try_commit(replica, Work { kind, cause, actions, after: vec![] })
    }

    /// Whether the container in force cannot start beside the one that goes on, since both have one
    /// host port: nobody knew that the other one runs when it was made.
    pub(super) fn collides(&self, replica: &Replica<'a, '_>, target: &Located) -> bool {
        let spec = &replica.instance.declared.spec;
        let Some(best) = best(&replica.others).filter(|_| starts_first(spec)) else { return false };
        let taken = &best.container.config.ports;
        !is_running(target)
            && bound(&target.container.config.ports)
                .any(|port| bound(taken).any(|other| other == port))
    }

    /// Stops what the replica left on another node and what does not go on, before another one
    /// starts. A row is on one node: they stop in one of their own.
    pub(super) fn stop_elsewhere(&mut self, replica: &Replica<'a, '_>, goes: &[&'a Located]) {
        let Some(first) = goes.first() else { return };
        if let Some(reason) = self.blocked_node(&first.node) {
            return self.wait(replica.object, Some(&first.node), reason);
        }
        let spec = &replica.instance.declared.spec;
        let here = goes.iter().filter(|at| at.node == first.node);
        let actions = here.filter_map(|at| stop(at, spec, StopFor::Successor)).collect();
        let cause = self.why_gone(&first.node);
        let work = Work { kind: ChangeKind::Tidy, cause, actions, after: vec![] };
        if let Err(reason) = self.try_commit_on(replica, &first.node, work) {
            self.wait(replica.object, Some(&first.node), reason);
        }
    }

    /// Why a container goes that a replica left on another node.
    pub(super) fn why_gone(&self, node: &Name) -> Cause {
        if self.snapshot.is_drained(node) {
            Cause::Drained { node: node.clone() }
        } else {
            Cause::Superseded
        }
    }

    /// Ends and removes containers of the replica that nothing is expected of any more; those that
    /// others know by name once they do no more.
    pub(super) fn retire(&mut self, replica: &Replica<'a, '_>, going: &[&'a Located]) {
        let key = replica.instance.key;
        if let Some(reason) = going.iter().find_map(|at| self.is_named(key, at)) {
            return self.wait(replica.object, Some(replica.node), reason);
        }
        let row = self.ends_of(replica, going);
        self.tidy(replica, row);
    }

    /// While the replica waits for its next container, one of those that run is enough: the others
    /// are another hand's copies, or what an unfinished replacement left. They count as second
    /// containers, so replicas that have some would wait for each other for ever. Returns whether
    /// that takes a step.
    pub(super) fn thin_out(&mut self, replica: &Replica<'a, '_>) -> bool {
        let runs = || replica.all.iter().filter(|at| is_running(at));
        let all: Vec<&Located> = runs().collect();
        let newest = runs().max_by_key(|at| at.container.identity.incarnation);
        let Some(stays) = best(&all).or(newest) else { return false };
        let answers = |at: &&&Located| self.blocked_node(&at.node).is_none();
        let mut goes: Vec<&Located> =
            all.iter().filter(|at| at.id != stays.id).filter(answers).copied().collect();
        goes.sort_by_key(|at| (at.node != *replica.node, &at.node, &at.id));
        let Some(first) = goes.first() else { return false };
        let node = &first.node;
        let going: Vec<&Located> = goes.iter().copied().filter(|at| at.node == *node).collect();
        let (cause, actions) = (self.why_gone(node), self.ends_of(replica, &going));
        let work = Work { kind: ChangeKind::Tidy, cause, actions, after: vec![] };
        self.try_commit_on(replica, node, work).is_ok()
    }

    /// What ends and removes these containers; those that serve have time to finish what they do.
    fn ends_of(&self, replica: &Replica<'a, '_>, going: &[&'a Located]) -> Vec<Action> {
        let key = replica.instance.key;
        let spec = &replica.instance.declared.spec;
        let is_asked = self.snapshot.desired.links.values().any(|link| link.spec.to == *key);
        let row = going.iter().flat_map(|at| {
            let mut stop = stop(at, spec, StopFor::Retirement);
            if let Some(Action::StopContainer { drain, .. }) = &mut stop
                && is_asked
                && at.may_be_ready()
            {
                *drain = DRAIN;
            }
            stop.into_iter().chain([remove(at)])
        });
        row.collect()
    }
}

/// The containers of a replica on other nodes than its own that run.
pub(super) fn elsewhere<'a>(replica: &Replica<'a, '_>) -> impl Iterator<Item = &'a Located> {
    let node = replica.node;
    replica.all.iter().filter(move |at| at.node != *node && is_running(at))
}

/// Those of them that have to stop before another one starts: all but the one that goes on.
pub(super) fn stop_first<'a>(
    replica: &Replica<'a, '_>,
    goes_on: Option<&Located>,
) -> Vec<&'a Located> {
    let stays = |at: &&Located| goes_on.is_some_and(|goes_on| goes_on.id == at.id);
    let mut goes: Vec<&Located> = elsewhere(replica).filter(|at| !stays(at)).collect();
    goes.sort_by_key(|at| (&at.node, &at.id));
    goes
}

pub(super) fn starts_first(spec: &InstanceSpec) -> bool {
    serves(spec) && spec.update().order == Order::StartFirst
}

/// The one that serves best: a ready one before one that gets there, and that before others.
fn best<'a>(present: &[&'a Located]) -> Option<&'a Located> {
    let runs = |at: &&Located| matches!(at.container.state, ContainerState::Running { .. });
    present.iter().copied().filter(runs).max_by_key(|at| {
        let is_starting = at.container.health == HealthState::Starting;
        (at.may_be_ready(), is_starting, at.container.identity.incarnation, &at.id)
    })
}
