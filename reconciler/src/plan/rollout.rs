//! What becomes of a revision: whether its rollout is over and good, fails, is paused, or is held
//! back; and whose turn it is to get a new container because an operator asked for one.

use std::time::Duration;

use super::containers::in_force;
use super::dependencies::FAILURES_MIN;
use super::goal::{self, revision_now};
use super::replica::{Instance, Replica};
use super::{Group, Round, replica_record};
use crate::model::ids::{Key, ObjectId, ReplicaKey, Revision};
use crate::model::journal::Entry;
use crate::model::observed::{ContainerState, Exit, HealthState};
use crate::model::record::{InstanceRecord, Life, PastRevision, ReplicaRecord};
use crate::model::rollout::{Back, BackWhy, Outcome, Paused, Rollout};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::{InstanceSpec, OnFailure, Power, Restart};
use crate::model::time::Timestamp;
use crate::report::Reason;
use crate::revision::revision;
use crate::rollout::overlay;

/// What has no check is ready as soon as it runs; good it is when it has run for this long. What
/// dies of its configuration does so in its first seconds, and longer nobody wants to wait.
pub const GOOD_AFTER: Duration = Duration::from_secs(5);

/// What holds for the replicas of an instance in this round.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate {
    /// Why no further replica changes its revision, if so.
    pub(super) shut: Option<Reason>,
    /// Why an earlier revision than the one that specs ask for is in force, if so.
    pub(super) back: Option<Reason>,
    /// Why nothing is done for it in this round: what is wanted is about to change.
    pub(super) over: Option<Reason>,
    /// The revision that is wanted by what is on record, where that had to be known.
    pub(super) wanted: Option<Revision>,
}

/// How a replica does in a revision that is being rolled out.
enum Doing {
    /// It is ready.
    Well,
    /// Its turn has not come, or it is on its way.
    Starting,
    /// It will not get ready.
    Badly(String),
}

impl<'a> Round<'a> {
    /// Decides how the rollout of an instance goes on.
    pub(super) fn gate(&mut self, instance: Instance<'a, '_>, group: &Group<'a>) -> Gate {
        let key = instance.key;
        let mut gate = Gate::default();
        let rollouts = &self.snapshot.records.rollouts;
        let asked = if rollouts.is_empty() { None } else { rollouts.get(key) };
        if let Some(Rollout { back, paused, restart: _ }) = asked {
            match back {
                Some(back) if self.snapshot.asked.contains_key(key) => {
                    gate.back = Some(held_back(back));
                }
                Some(back) => self.ahead(instance, back),
                None => {}
            }
            if let Some(Paused { at, by }) = paused {
                gate.shut = Some(Reason::RolloutPaused { at: *at, by: by.clone() });
            }
            self.restarted(instance, group);
        }
        let Some(record) = instance.record else { return gate };
        if gate.shut.is_some() || self.suspended_instance(key) {
            return gate;
        }
        // The wanted revision is the latest one, unless nothing was made of it yet.
        let Some(past) = record.history.last() else { return gate };
        match &past.outcome {
            Outcome::UnderWay | Outcome::Failed { .. } => {}
            Outcome::Unknown
            | Outcome::Good
            | Outcome::SetAside { .. }
            | Outcome::Undone { .. } => return gate,
        }
        if instance.declared.spec.power != Power::Running {
            return gate;
        }
        gate.wanted = self.revision_wanted(instance, record);
        if gate.wanted.as_ref() != Some(&past.revision) {
            return gate;
        }
        self.judge(instance, record, past, group, gate)
    }

    /// As [`revision_now`], by what this round has found of the image already.
    fn revision_wanted(
        &mut self,
        instance: Instance<'a, '_>,
        record: &InstanceRecord,
    ) -> Option<Revision> {
        let Instance { key, declared, .. } = instance;
        if !record.addresses.is_empty() {
            let Snapshot { desired, records, .. } = self.snapshot;
            return revision_now(desired, records, key, declared);
        }
        let content = self.recorded_content(&declared.spec.image)?;
        Some(revision(&declared.basis, content))
    }

    /// What the specs ask for is not what was left alone: it is in force again.
    fn ahead(&mut self, instance: Instance<'_, '_>, back: &Back) {
        let asked = overlay::asked(&self.snapshot.desired, &instance.declared.spec);
        if asked != back.asked {
            self.decide(Entry::Ahead { instance: instance.key.clone(), by: None });
        }
    }

    /// Looks at all replicas, and decides what follows for the revision.
    fn judge(
        &mut self,
        instance: Instance<'a, '_>,
        record: &InstanceRecord,
        past: &PastRevision,
        group: &Group<'a>,
        mut gate: Gate,
    ) -> Gate {
        let spec = &instance.declared.spec;
        let mut groups = group.iter().peekable();
        let (mut well, mut badly, mut all_begun_well) = (0, None, true);
        for ordinal in 0..spec.replicas {
            let containers = groups
                .next_if(|(at, _)| at.ordinal == ordinal)
                .map_or(&[][..], |(_, containers)| *containers);
            let Some(replica) = replica_record(Some(record), ordinal) else { continue };
            match self.doing(instance, ordinal, replica, &past.revision, containers) {
                Doing::Well => well += 1,
                Doing::Starting => {
                    all_begun_well &= replica.revision.as_ref() != Some(&past.revision);
                }
                Doing::Badly(why) => {
                    all_begun_well = false;
                    badly.get_or_insert_with(|| format!("{}/{ordinal}: {why}", instance.key));
                }
            }
        }
        let (key, revision) = (instance.key.clone(), past.revision.clone());
        if well == spec.replicas {
            if spec.replicas > 0 {
                self.decide(Entry::RolledOut { instance: key, revision });
            }
            return gate;
        }
        match (&past.outcome, badly) {
            (Outcome::UnderWay, Some(why)) => match self.way_back(instance, record, past) {
                Ok(to) => {
                    let asked = overlay::asked(&self.snapshot.desired, spec);
                    let what = format!("{key} to go back to revision {to}");
                    self.decide(Entry::SetAside { instance: key, revision, asked, to, why });
                    gate.over = Some(Reason::WaitingOn { what });
                }
                Err(no_way) => {
                    let why = format!("{why}; {no_way}");
                    gate.shut = Some(stopped(past.number, why.clone()));
                    self.decide(Entry::RolloutFailed { instance: key, revision, why });
                }
            },
            // Those that have it got well after all: it goes on.
            (Outcome::Failed { .. }, _) if all_begun_well => {}
            (Outcome::Failed { why, .. }, _) => {
                gate.shut = Some(stopped(past.number, why.clone()));
            }
            (
                Outcome::UnderWay
                | Outcome::Unknown
                | Outcome::Good
                | Outcome::SetAside { .. }
                | Outcome::Undone { .. },
                _,
            ) => {}
        }
        gate
    }

    /// The number of the revision to go back to.
    ///
    /// # Errors
    /// Why there is none.
    fn way_back(
        &self,
        instance: Instance<'_, '_>,
        record: &InstanceRecord,
        past: &PastRevision,
    ) -> Result<u64, String> {
        let spec = &instance.declared.spec;
        if spec.update().on_failure == OnFailure::Hold {
            return Err("it is held there, as `onFailure: hold` says".to_owned());
        }
        if spec.restart != Restart::Always {
            // It may have completed long ago.
            return Err("an earlier revision of a job is not run again by itself".to_owned());
        }
        let Some(good) = last_good(record, &past.revision, past.number) else {
            return Err("there is no earlier good revision to go back to".to_owned());
        };
        let kept = self.snapshot.records.kept.get(instance.key);
        let Some(kept) = kept.and_then(|kept| kept.get(&good.number)) else {
            let number = good.number;
            return Err(format!("nothing was kept of revision {number} to go back to it"));
        };
        match overlay::hindrance(&self.snapshot.desired, instance.declared, kept) {
            Some(why) => Err(format!("it cannot go back to revision {}: {why}", good.number)),
            None => Ok(good.number),
        }
    }

    /// How one replica does.
    fn doing(
        &mut self,
        instance: Instance<'a, '_>,
        ordinal: u32,
        record: &ReplicaRecord,
        revision: &Revision,
        containers: &'a [Located],
    ) -> Doing {
        let key = ReplicaKey::new(instance.key.clone(), ordinal);
        let of_it = record.revision.as_ref() == Some(revision);
        let Some(node) = record.node.as_ref().filter(|_| of_it) else { return Doing::Starting };
        let object = ObjectId::Replica(key.clone());
        let in_flight = &self.snapshot.in_flight;
        let works = !in_flight.is_empty() && in_flight.contains_key(&object);
        if works || self.blocked_node(node).is_some() {
            // What is seen of it may be old.
            return Doing::Starting;
        }
        if let Some(failure) = &record.failure {
            let wanted =
                goal::replica(Some(revision), instance.declared.spec.power, instance.limits);
            let starts = matches!(&*failure.step, "create" | "put files" | "connect" | "start");
            if starts && failure.goal == wanted && failure.count >= FAILURES_MIN {
                let (step, count, message) = (&failure.step, failure.count, &failure.message);
                return Doing::Badly(format!("{step} failed {count} times: {message}"));
            }
        }
        let (target, _) = in_force(&key, containers, node, Some(revision));
        let Some(target) = target else {
            return match &record.life {
                Life::Completed { .. } => Doing::Well,
                Life::Failed { code, .. } => Doing::Badly(failed(*code)),
                Life::New | Life::Started | Life::Stopped => Doing::Starting,
            };
        };
        match &target.container.state {
            ContainerState::Running { .. } => self.running(&instance.declared.spec, record, target),
            ContainerState::Exited(exit) => self.ended_in(&instance.declared.spec, record, exit),
            ContainerState::Created | ContainerState::Paused { .. } | ContainerState::Removing => {
                Doing::Starting
            }
        }
    }

    fn running(&mut self, spec: &InstanceSpec, record: &ReplicaRecord, at: &Located) -> Doing {
        let now = self.snapshot.now;
        match at.container.health {
            HealthState::Healthy => return Doing::Well,
            HealthState::Unhealthy => {
                let note = self.snapshot.health.get(&(at.node.clone(), at.id.clone()));
                let reason = note.map(|note| note.reason.clone()).unwrap_or_default();
                let plain = || "its health check failed".to_owned();
                return Doing::Badly(
                    Some(reason).filter(|why| !why.is_empty()).unwrap_or_else(plain),
                );
            }
            // Its time may be over; first it is asked.
            HealthState::Starting if self.is_awaited(at) => return Doing::Starting,
            HealthState::Starting => return self.before_deadline(spec, record),
            HealthState::None | HealthState::Unknown => {}
        }
        // Started by another hand, or before starts were recorded: it has run for long enough.
        let Some(started) = record.started_at else { return Doing::Well };
        let again = [record.restarts, record.replaced].into_iter().filter(|one| one.total > 0);
        let last = again.map(|one| one.last_at).fold(started, Timestamp::max);
        let good_at = last + GOOD_AFTER;
        if good_at <= now || last > now {
            return Doing::Well;
        }
        self.report.wake(good_at);
        Doing::Starting
    }

    fn ended_in(&mut self, spec: &InstanceSpec, record: &ReplicaRecord, exit: &Exit) -> Doing {
        match (spec.restart, exit.code) {
            (Restart::OnFailure | Restart::Never, 0) => return Doing::Well,
            (Restart::Never, code) => return Doing::Badly(failed(Some(code))),
            (Restart::Always, _) | (Restart::OnFailure, _) => {}
        }
        let streak = record.restarts.streak;
        if streak >= self.snapshot.config.crash_loop_restarts {
            let code = exit.code;
            return Doing::Badly(format!(
                "crash loop: ended with exit code {code}, started again {streak} times in a row"
            ));
        }
        self.before_deadline(spec, record)
    }

    /// It is not ready: there is time left for it, or not. Without a check it is ready when it
    /// runs, so there is no time to be counted.
    fn before_deadline(&mut self, spec: &InstanceSpec, record: &ReplicaRecord) -> Doing {
        let Some(started) = record.started_at.filter(|_| spec.health.is_some()) else {
            return Doing::Starting;
        };
        let allowed = spec.update().health_timeout;
        let deadline = started + allowed.duration();
        if deadline <= self.snapshot.now {
            return Doing::Badly(format!("not healthy within {allowed}"));
        }
        self.report.wake(deadline);
        Doing::Starting
    }

    /// Whether a replica gets another container since an operator asked for that.
    pub(super) fn asked_to_restart(&self, replica: &Replica<'_, '_>) -> Option<&'a str> {
        let rollouts = &self.snapshot.records.rollouts;
        if rollouts.is_empty() {
            return None;
        }
        let asked = rollouts.get(replica.instance.key)?.restart.as_ref()?;
        let before = *asked.before.get(&replica.key.ordinal)?;
        let recorded = replica.record.map_or(0, |record| record.incarnation);
        let present = replica.target.map(|at| at.container.identity.incarnation);
        (present.unwrap_or(recorded) <= before).then_some(asked.by.as_str())
    }

    /// Forgets that an operator asked for new containers once all are there.
    fn restarted(&mut self, instance: Instance<'a, '_>, group: &Group<'a>) {
        let Some(asked) = self.snapshot.records.rollouts.get(instance.key) else { return };
        let Some(asked) = &asked.restart else { return };
        let is_left = |(ordinal, before): (&u32, &u64)| {
            if *ordinal >= instance.declared.spec.replicas {
                return false;
            }
            let old = group
                .iter()
                .filter(|(replica, _)| replica.ordinal == *ordinal)
                .flat_map(|(_, containers)| *containers)
                .any(|at| at.container.identity.incarnation <= *before);
            let record = replica_record(instance.record, *ordinal);
            old || record.is_none_or(|record| record.incarnation <= *before || !record.confirmed)
        };
        if !asked.before.iter().any(is_left) {
            self.decide(Entry::Restarted { instance: instance.key.clone() });
        }
    }

    fn suspended_instance(&self, key: &Key) -> bool {
        self.snapshot.records.suspended.of_instance(key).is_some()
    }
}

/// The last good revision before `number` that is another one than `revision`.
#[must_use]
pub fn last_good<'r>(
    record: &'r InstanceRecord,
    revision: &Revision,
    number: u64,
) -> Option<&'r PastRevision> {
    record.history.iter().rev().find(|past| {
        past.number < number && past.outcome == Outcome::Good && past.revision != *revision
    })
}

/// Why an earlier revision is in force.
fn held_back(back: &Back) -> Reason {
    let Back { asked: _, away, to, at, why } = back.clone();
    match why {
        BackWhy::Failed { why } => Reason::SetAside { revision: away, to, at, why },
        BackWhy::Undone { by } => Reason::Undone { revision: away, to, at, by },
    }
}

fn stopped(revision: u64, why: String) -> Reason {
    Reason::RolloutFailed { revision, why }
}

fn failed(code: Option<i64>) -> String {
    match code {
        Some(code) => format!("failed with exit code {code}"),
        None => "ended, and its container is gone with the exit code".to_owned(),
    }
}
