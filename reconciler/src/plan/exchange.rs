//! How a new container takes the place of those that are there.
//!
//! With `stop-first` they stop, and the new one starts. With `start-first` one of them goes on until
//! the new one is ready, and goes in a row of its own: whatever becomes of the new one, that one
//! serves. Which of the two it is, is told anew in each round by what is there, so a crash in the
//! middle changes nothing.

use super::Round;
use super::containers::{StopFor, remove, stop};
use super::replica::Replica;
use super::turns::serves;
use crate::model::observed::{ContainerState, HealthState};
use crate::model::snapshot::Located;
use crate::model::spec::{InstanceSpec, Order};
use crate::report::Reason;

impl<'a> Round<'a> {
    /// The one of these containers that goes on while another one starts, if one does. `again`: that
    /// other one has run before, or was to.
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
        let Some(best) = best(present).filter(|_| starts_first(spec)) else { return Ok(None) };
        match self.room_beside(replica, again) {
            Ok(()) => Ok(Some(best)),
            // What is not ready waits for nobody: it gives way.
            Err(_) if !best.may_be_ready() => Ok(None),
            Err(reason) => match self.room_to_be_away(replica) {
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
        let stays =
            starts_first(spec) || best.may_be_ready() && self.room_to_be_away(replica).is_err();
        stays.then_some(best)
    }

    /// Ends and removes containers of the replica that nothing is expected of any more.
    pub(super) fn retire(&mut self, replica: &Replica<'a, '_>, going: &[&'a Located]) {
        let spec = &replica.instance.declared.spec;
        let row = going.iter().flat_map(|at| {
            let stop = stop(at, spec, StopFor::Retirement);
            stop.into_iter().chain([remove(at)])
        });
        self.tidy(replica, row.collect());
    }
}

fn starts_first(spec: &InstanceSpec) -> bool {
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
