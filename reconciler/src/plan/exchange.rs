//! How a new container takes the place of those that are there.
//!
//! With `stop-first` they stop, and the new one starts. With `start-first` one of them goes on until
//! the new one is ready, and goes in a row of its own: whatever becomes of the new one, that one
//! serves. Which of the two it is, is told anew in each round by what is there, so a crash in the
//! middle changes nothing.

use super::Round;
use super::containers::{StopFor, is_running, remove, stop};
use super::replica::Replica;
use super::slots::bound;
use super::turns::serves;
use crate::model::observed::{ContainerState, HealthState};
use crate::model::quantity::Span;
use crate::model::snapshot::Located;
use crate::model::spec::{InstanceSpec, Order};
use crate::report::Reason;
use crate::step::Action;

/// How long a container goes on after the last one who talks to it was told of its successor: who
/// looked its address up just before that has connected by then, and has got an answer to what takes
/// no longer. Longer ones are the program's own to finish, within its `stop.timeout`.
const DRAIN: Span = Span::seconds(1);

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

    /// Ends and removes containers of the replica that nothing is expected of any more; those that
    /// others know by name once they do no more.
    pub(super) fn retire(&mut self, replica: &Replica<'a, '_>, going: &[&'a Located]) {
        let key = replica.instance.key;
        if let Some(reason) = going.iter().find_map(|at| self.is_named(key, at)) {
            return self.wait(replica.object, Some(replica.node), reason);
        }
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
