//! Instances that others wait for. Only the start of a new container waits: what runs goes on,
//! whatever becomes of those that it waited for.

use super::Round;
use super::goal::revision_now;
use crate::model::desired::Declared;
use crate::model::ids::{Key, ReplicaKey};
use crate::model::observed::ContainerState;
use crate::model::record::{Failure, Life};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::{Condition, Dependency, InstanceSpec, Power};
use crate::report::Reason;

/// So many failures in a row are more than bad luck.
const FAILURES_MIN: u32 = 3;

impl Round<'_> {
    /// Whether all that an instance waits for is there.
    ///
    /// # Errors
    /// The first of them that is not.
    pub(super) fn dependencies(&self, key: &Key, spec: &InstanceSpec) -> Result<(), Reason> {
        for Dependency { instance, condition } in &self.waits(key, spec) {
            let Some(declared) = self.snapshot.desired.instances.get(instance) else {
                let message = format!("instance {instance} is not declared, and it waits for that");
                return Err(Reason::Stalled { message });
            };
            let met = (0..declared.spec.replicas).all(|ordinal| {
                self.meets(&ReplicaKey::new(instance.clone(), ordinal), declared, *condition)
            });
            if met {
                continue;
            }
            let what = waits_for(instance, *condition);
            if let Some((target, _)) = self.snapshot.records.suspended.of_instance(instance) {
                let message = format!(
                    "waits for {what}, which is suspended; `windlass resume {target}` lets it go on"
                );
                return Err(Reason::Stalled { message });
            }
            return Err(match self.trouble(instance, declared, *condition) {
                // It may never come: who waits for the end of this round shall not wait for that.
                Some(trouble) => {
                    let message = format!("waits for {what}, and {instance} {trouble}");
                    Reason::Stalled { message }
                }
                None => Reason::WaitingOn { what },
            });
        }
        Ok(())
    }

    /// What is wrong with an instance, if it is not just on its way.
    pub(super) fn trouble(
        &self,
        instance: &Key,
        declared: &Declared<InstanceSpec>,
        condition: Condition,
    ) -> Option<String> {
        let spec = &declared.spec;
        if spec.power != Power::Running {
            return Some("is declared not to run".to_owned());
        }
        let records = &self.snapshot.records;
        let image = records.images.get(&spec.image);
        let image = image.into_iter().flat_map(|record| record.failures.values());
        let record = records.instances.get(instance);
        // What became of an earlier revision says nothing of the one that is wanted.
        let wanted = revision_now(&self.snapshot.desired, records, instance, declared);
        let replicas = || {
            let replicas = record.into_iter().flat_map(|record| record.replicas.values());
            replicas.filter(|record| record.incarnation == 0 || record.revision == wanted)
        };
        let failed = |failure: &&Failure| failure.count >= FAILURES_MIN;
        let failures = replicas().filter_map(|record| record.failure.as_ref()).chain(image);
        if let Some(failure) = failures.filter(|failure| failed(failure)).max_by_key(|one| one.at) {
            return Some(format!("does not get on: {}", failure.message));
        }
        let streak = self.snapshot.config.crash_loop_restarts;
        if replicas().any(|record| record.restarts.streak >= streak) {
            return Some("ends again and again".to_owned());
        }
        replicas().find_map(|record| match (&record.life, condition) {
            (Life::Failed { code: Some(code), .. }, _) => {
                Some(format!("failed with exit code {code}"))
            }
            (Life::Failed { code: None, .. }, _) => Some("failed".to_owned()),
            (Life::Completed { .. }, Condition::Healthy) => Some("has completed".to_owned()),
            (
                Life::Completed { .. } | Life::New | Life::Started | Life::Stopped,
                Condition::Started | Condition::Healthy | Condition::Completed,
            ) => None,
        })
    }

    fn meets(
        &self,
        replica: &ReplicaKey,
        declared: &Declared<InstanceSpec>,
        condition: Condition,
    ) -> bool {
        let located = self.snapshot.containers.get(replica);
        let mut located = located.into_iter().flatten();
        let Snapshot { desired, records, .. } = self.snapshot;
        let record = records.instances.get(&replica.instance);
        let record = record.and_then(|record| record.replicas.get(&replica.ordinal));
        // A job that completed in an earlier revision has to run again.
        let completed = record.is_some_and(|record| {
            matches!(record.life, Life::Completed { .. })
                && record.revision.is_some()
                && record.revision == revision_now(desired, records, &replica.instance, declared)
        });
        let mut runs =
            located.clone().map(|at| matches!(at.container.state, ContainerState::Running { .. }));
        match condition {
            // What has come to its end had been started.
            Condition::Started => completed || runs.any(|runs| runs),
            Condition::Healthy => located.any(Located::is_ready),
            Condition::Completed => completed,
        }
    }
}

pub(super) fn waits_for(instance: &Key, condition: Condition) -> String {
    match condition {
        Condition::Started => format!("{instance} to run"),
        Condition::Healthy => format!("{instance} to be healthy"),
        Condition::Completed => format!("{instance} to complete"),
    }
}
