//! Whether a replica's container runs, is stopped or frozen, and what happens when it ends by
//! itself: windlass is the only restarter, so restarts, their waits and their end are decided here.

use super::containers::{StopFor, id, put_files, start, stop};
use super::needs::backing_off;
use super::replica::Replica;
use super::{ChangeKind, Round};
use crate::backoff;
use crate::model::journal::Entry;
use crate::model::observed::{ContainerState, Exit};
use crate::model::record::{Failure, Life, Restarts};
use crate::model::snapshot::Located;
use crate::model::spec::{Power, Restart};
use crate::report::Reason;
use crate::step::{Action, Cause};

/// A change of what a container does.
pub(super) struct PowerWork {
    pub(super) kind: ChangeKind,
    pub(super) cause: Cause,
    pub(super) actions: Vec<Action>,
    /// Whether the container is started: others have to be stopped before.
    pub(super) starts: bool,
}

impl<'a> Round<'a> {
    /// What brings the container in force to its declared power state.
    ///
    /// # Errors
    /// The reason why that has to wait, or will not be done.
    pub(super) fn power(
        &mut self,
        replica: &Replica<'a, '_>,
        target: &'a Located,
    ) -> Result<Option<PowerWork>, Reason> {
        let spec = &replica.instance.declared.spec;
        let container = || id(target);
        let power = |to: &str, actions, starts| {
            let (from, to) = (state_word(&target.container.state).to_owned(), to.to_owned());
            let cause = Cause::Power { from, to };
            Ok(Some(PowerWork { kind: ChangeKind::Power, cause, actions, starts }))
        };
        let pause = || Action::PauseContainer { container: container() };
        match (&target.container.state, spec.power) {
            (ContainerState::Removing, _) => {
                Err(Reason::WaitingOn { what: "its removal by the engine".to_owned() })
            }
            (ContainerState::Running { .. }, Power::Running)
            | (ContainerState::Paused { .. }, Power::Paused)
            | (ContainerState::Created | ContainerState::Exited(_), Power::Stopped) => Ok(None),
            (ContainerState::Paused { .. }, Power::Running) => {
                power("running", vec![Action::UnpauseContainer { container: container() }], false)
            }
            (ContainerState::Running { .. }, Power::Paused) => {
                power("paused", vec![pause()], false)
            }
            (ContainerState::Running { .. } | ContainerState::Paused { .. }, Power::Stopped) => {
                power("stopped", stop(target, spec, StopFor::Power).into_iter().collect(), false)
            }
            (ContainerState::Created, Power::Running) => {
                let (kind, cause) = (ChangeKind::Create, Cause::Unfinished);
                let actions = put_files(spec, &target.id.0).into_iter().chain([start(container())]);
                Ok(Some(PowerWork { kind, cause, actions: actions.collect(), starts: true }))
            }
            (ContainerState::Created, Power::Paused) => {
                let actions = [start(container()), pause()];
                let actions = put_files(spec, &target.id.0).into_iter().chain(actions).collect();
                power("paused", actions, true)
            }
            (ContainerState::Exited(_), Power::Paused) => {
                let actions = vec![start(container()), pause()];
                power("paused", actions, true)
            }
            (ContainerState::Exited(exit), Power::Running) => {
                let life = replica.record.map(|record| &record.life);
                if life == Some(&Life::Stopped) && !is_superseded(replica, target) {
                    return power("running", vec![start(container())], true);
                }
                self.ended(replica, target, exit).map(Some)
            }
        }
    }

    /// The container ended although it shall run.
    fn ended(
        &mut self,
        replica: &Replica<'_, '_>,
        target: &Located,
        exit: &Exit,
    ) -> Result<PowerWork, Reason> {
        let restart = replica.instance.declared.spec.restart;
        let life = replica.record.map(|record| &record.life);
        let begun = replica.record.is_some_and(|record| record.revision.is_some());
        // In the middle of a replacement that was called off it may have been stopped for that.
        let ended_by_itself =
            !(is_superseded(replica, target) || begun && life == Some(&Life::New));
        let rest = match (restart, exit.code) {
            (Restart::Always, _) => None,
            (Restart::OnFailure | Restart::Never, 0) => {
                Some((Life::Completed { at: exit.finished_at }, Reason::Completed))
            }
            (Restart::OnFailure, _) => None,
            (Restart::Never, code) => Some((
                Life::Failed { at: exit.finished_at, code: Some(code) },
                Reason::Failed { code: Some(code) },
            )),
        };
        if let Some((rests, reason)) = rest.filter(|_| ended_by_itself) {
            if life != Some(&rests) {
                let (replica, life) = (replica.key.clone(), rests);
                self.decide(Entry::Ended { replica, life });
            }
            return Err(reason);
        }
        let restarts = replica.record.map(|record| record.restarts).unwrap_or_default();
        let in_a_row = self.restarted_now(replica, exit, restarts)?;
        let container = id(target);
        let actions =
            vec![Action::StartContainer { container, restart: true, in_a_row, earlier: false }];
        let cause = Cause::Ended { code: exit.code, oom_killed: exit.oom_killed };
        Ok(PowerWork { kind: ChangeKind::Restart, cause, actions, starts: true })
    }

    /// Whether a container that ended is started again now; if so, whether the `restarts` before
    /// still count.
    ///
    /// # Errors
    /// That it is too early.
    pub(super) fn restarted_now(
        &mut self,
        replica: &Replica<'_, '_>,
        exit: &Exit,
        restarts: Restarts,
    ) -> Result<bool, Reason> {
        let config = &self.snapshot.config;
        let stable = exit.finished_at.since(exit.started_at) >= config.stable_run;
        let streak = if stable { 0 } else { restarts.streak };
        if streak == 0 {
            return Ok(false);
        }
        let (base, max) = (config.backoff_base, config.backoff_max);
        let wait = backoff::wait(base, max, streak, &replica.key.to_string());
        // Counted by our own clock: the node's may be wrong.
        let retry_at = restarts.last_at + wait;
        // A restart later than now was stamped before the clock was put back.
        if restarts.last_at <= self.snapshot.now && retry_at > self.snapshot.now {
            // One that its engine could not start has ended, too, and why says more than that.
            let failure = replica.record.and_then(|record| record.failure.as_ref());
            let is_of_start =
                |failure: &&Failure| matches!(failure.step.as_str(), "start" | "restart");
            let waits = |failure: &&Failure| failure.waits(self.snapshot.now);
            if let Some(failure) = failure.filter(is_of_start).filter(waits) {
                // An operator's word ends the wait for the failure.
                self.report.wake(retry_at.min(failure.retry_at));
                return Err(backing_off(&Failure { retry_at, ..failure.clone() }));
            }
            let crash_loop = streak >= config.crash_loop_restarts;
            self.report.wake(retry_at);
            return Err(Reason::Restarting { code: exit.code, streak, retry_at, crash_loop });
        }
        Ok(true)
    }
}

/// Whether records are of a successor of the container already.
fn is_superseded(replica: &Replica<'_, '_>, target: &Located) -> bool {
    let recorded = replica.record.and_then(|record| record.revision.as_ref());
    recorded.is_some_and(|recorded| *recorded != target.container.identity.revision)
}

/// The word for a state.
fn state_word(state: &ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running { .. } => "running",
        ContainerState::Paused { .. } => "paused",
        ContainerState::Exited(_) => "stopped",
        ContainerState::Removing => "being removed",
    }
}
