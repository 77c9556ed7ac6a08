//! What is unhealthy gets another container: at once the first time, then ever later, as restarts
//! do. Whose check it was, the engine's or windlass's, makes no difference.

use std::time::Duration;

use super::Round;
use super::replica::Replica;
use crate::backoff;
use crate::model::journal::Entry;
use crate::model::observed::{ContainerState, HealthState};
use crate::model::snapshot::Located;
use crate::model::spec::{Power, Restart};
use crate::report::Reason;
use crate::step::Cause;

impl<'a> Round<'a> {
    /// Whether the container in force runs and is unhealthy, and what follows: it is replaced for
    /// that cause, or has to wait for the reason that is given.
    pub(super) fn ill(
        &mut self,
        replica: &Replica<'a, '_>,
        target: &'a Located,
    ) -> Option<Result<Cause, Reason>> {
        let spec = &replica.instance.declared.spec;
        let runs = matches!(target.container.state, ContainerState::Running { .. });
        if !runs || spec.power != Power::Running {
            return None;
        }
        match target.container.health {
            HealthState::Unhealthy => {}
            HealthState::Healthy => {
                self.count_anew(replica, target);
                return None;
            }
            HealthState::None | HealthState::Starting | HealthState::Unknown => return None,
        }
        // While its image is not resolved there is nothing to make another one from.
        replica.revision?;
        Some(self.replaced_now(replica, target))
    }

    fn replaced_now(
        &mut self,
        replica: &Replica<'a, '_>,
        target: &'a Located,
    ) -> Result<Cause, Reason> {
        let config = &self.snapshot.config;
        let note = self.snapshot.health.get(&(target.node.clone(), target.id.clone()));
        let message = note.map(|note| note.reason.clone()).unwrap_or_default();
        let replaced = replica.record.map(|record| record.replaced).unwrap_or_default();
        let streak = replaced.streak;
        let crash_loop = streak >= config.crash_loop_restarts;
        match replica.instance.declared.spec.restart {
            Restart::Always | Restart::OnFailure => {}
            Restart::Never => {
                return Err(Reason::Unhealthy { message, streak, retry_at: None, crash_loop });
            }
        }
        if streak > 0 {
            let (base, max) = (config.backoff_base, config.backoff_max);
            let wait = backoff::wait(base, max, streak, &replica.key.to_string());
            let retry_at = replaced.last_at + wait;
            // One later than now was stamped before the clock was put back.
            if replaced.last_at <= self.snapshot.now && retry_at > self.snapshot.now {
                self.report.wake(retry_at);
                let retry_at = Some(retry_at);
                return Err(Reason::Unhealthy { message, streak, retry_at, crash_loop });
            }
        }
        self.turn_of_ill(replica)?;
        Ok(Cause::Unhealthy { reason: message })
    }

    /// Forgets earlier replacements of what has been healthy for long.
    fn count_anew(&mut self, replica: &Replica<'_, '_>, target: &Located) {
        if replica.record.is_none_or(|record| record.replaced.streak == 0) {
            return;
        }
        let note = self.snapshot.health.get(&(target.node.clone(), target.id.clone()));
        let Some(since) = note.map(|note| note.since) else { return };
        // What stays healthy until its retries would have been used up has answered well since.
        let retries =
            replica.instance.declared.spec.health.as_ref().map_or(Duration::ZERO, |check| {
                let each = check.interval.duration().saturating_add(check.timeout.duration());
                each.saturating_mul(check.retries)
            });
        let stable_at = since + self.snapshot.config.stable_run.saturating_add(retries);
        if stable_at <= self.snapshot.now {
            self.decide(Entry::Healthy { replica: replica.key.clone() });
        } else {
            self.report.wake(stable_at);
        }
    }
}
