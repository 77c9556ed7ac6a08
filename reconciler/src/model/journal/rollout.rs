//! What entries about rollouts make of the records.

use super::Entry;
use crate::model::ids::{Key, Revision};
use crate::model::record::Records;
use crate::model::rollout::{Back, BackWhy, Outcome, Paused, RestartAsked, Rollout};
use crate::model::time::Timestamp;

impl Records {
    pub(super) fn apply_rollout(&mut self, at: Timestamp, entry: &Entry) {
        match entry {
            Entry::Kept { instance, revision, kept } => {
                let Some(record) = self.instances.get(instance) else { return };
                let Some(past) = record.past(revision) else { return };
                let all = self.kept.entry(instance.clone()).or_default();
                all.insert(past.number, kept.clone());
                all.retain(|number, _| record.numbered(*number).is_some());
            }
            Entry::RolledOut { instance, revision } => {
                self.turned_out(instance, revision, Outcome::Good);
            }
            Entry::RolloutFailed { instance, revision, why } => {
                self.turned_out(instance, revision, Outcome::Failed { at, why: why.clone() });
            }
            Entry::SetAside { instance, revision, asked, to, why } => {
                let away =
                    self.turned_out(instance, revision, Outcome::SetAside { at, why: why.clone() });
                let (asked, why) = (asked.clone(), BackWhy::Failed { why: why.clone() });
                self.rollout(instance).back = Some(Back { asked, away, to: *to, at, why });
            }
            Entry::Undone { instance, revision, asked, to, by } => {
                let record = self.instances.get_mut(instance);
                let past = record.zip(revision.as_ref()).and_then(|(record, revision)| {
                    record.history.iter_mut().rev().find(|past| past.revision == *revision)
                });
                let away = past.map(|past| {
                    // That it failed says more.
                    if !matches!(past.outcome, Outcome::SetAside { .. } | Outcome::Failed { .. }) {
                        past.outcome = Outcome::Undone { at, by: by.clone() };
                    }
                    past.number
                });
                let (asked, why) = (asked.clone(), BackWhy::Undone { by: by.clone() });
                self.rollout(instance).back = Some(Back { asked, away, to: *to, at, why });
            }
            Entry::Ahead { instance, by } => {
                let back = self.rollout(instance).back.take();
                self.tidy_rollout(instance);
                // Asked for once more, it is tried once more.
                let again = back.and_then(|back| back.away).filter(|_| by.is_some());
                if let Some(record) = self.instances.get_mut(instance)
                    && let Some(past) =
                        record.history.iter_mut().find(|past| Some(past.number) == again)
                {
                    past.outcome = Outcome::UnderWay;
                }
            }
            Entry::RolloutPaused { instance, by } => {
                self.rollout(instance).paused = Some(Paused { at, by: by.clone() });
            }
            Entry::RolloutResumed { instance, by: _ } => {
                self.rollout(instance).paused = None;
                self.tidy_rollout(instance);
            }
            Entry::RestartAsked { instance, by } => {
                let replicas =
                    self.instances.get(instance).into_iter().flat_map(|record| &record.replicas);
                let before = replicas
                    .filter(|(_, replica)| replica.incarnation > 0)
                    .map(|(ordinal, replica)| (*ordinal, replica.incarnation))
                    .collect();
                let asked = RestartAsked { at, by: by.clone(), before };
                self.rollout(instance).restart = Some(asked);
            }
            Entry::Restarted { instance } => {
                self.rollout(instance).restart = None;
                self.tidy_rollout(instance);
            }
            Entry::Checkpoint { .. }
            | Entry::Owner { .. }
            | Entry::Root { .. }
            | Entry::Text { .. }
            | Entry::Node { .. }
            | Entry::Declared { .. }
            | Entry::Placed { .. }
            | Entry::Resolved { .. }
            | Entry::Intent { .. }
            | Entry::Done { .. }
            | Entry::Failed { .. }
            | Entry::Ended { .. }
            | Entry::Unhealthy { .. }
            | Entry::Healthy { .. }
            | Entry::Gone { .. }
            | Entry::Approved { .. }
            | Entry::Retried
            | Entry::Asked { .. }
            | Entry::Checkout { .. }
            | Entry::Exec { .. }
            | Entry::ExecEnded { .. }
            | Entry::Pressed { .. }
            | Entry::PolicySet { .. }
            | Entry::Verdict { .. }
            | Entry::NodeOrder { .. }
            | Entry::Linked { .. }
            | Entry::Addressed { .. }
            | Entry::Cores { .. }
            | Entry::Subnet { .. }
            | Entry::LinksBy { .. }
            | Entry::Protected { .. }
            | Entry::Admitted { .. }
            | Entry::Suspended { .. }
            | Entry::Resumed { .. }
            | Entry::Settled { .. } => {}
        }
    }

    fn rollout(&mut self, instance: &Key) -> &mut Rollout {
        self.rollouts.entry(instance.clone()).or_default()
    }

    /// Leaves nothing where nothing is said.
    fn tidy_rollout(&mut self, instance: &Key) {
        if self.rollouts.get(instance).is_some_and(Rollout::is_empty) {
            self.rollouts.remove(instance);
        }
    }

    /// Says how the rollout of a revision turned out. Returns its number, if it is known.
    fn turned_out(&mut self, instance: &Key, revision: &Revision, outcome: Outcome) -> Option<u64> {
        let record = self.instances.get_mut(instance)?;
        let past = record.history.iter_mut().rev().find(|past| past.revision == *revision)?;
        past.outcome = outcome;
        Some(past.number)
    }
}
