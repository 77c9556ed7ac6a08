//! Instances that others wait for. Only the start of a new container waits: what runs goes on,
//! whatever becomes of those that it waited for.

use super::Round;
use crate::model::ids::{Key, ReplicaKey};
use crate::model::observed::ContainerState;
use crate::model::record::Life;
use crate::model::spec::{Condition, Dependency, InstanceSpec};
use crate::report::Reason;

impl Round<'_> {
    /// Whether all that `spec` waits for is there.
    ///
    /// # Errors
    /// The first of them that is not.
    pub(super) fn dependencies(&self, spec: &InstanceSpec) -> Result<(), Reason> {
        for Dependency { instance, condition } in &spec.more.depends_on {
            let Some(declared) = self.snapshot.desired.instances.get(instance) else {
                let message = format!("instance {instance} is not declared, and it waits for that");
                return Err(Reason::Stalled { message });
            };
            let met = (0..declared.spec.replicas)
                .all(|ordinal| self.meets(&ReplicaKey::new(instance.clone(), ordinal), *condition));
            if !met && let Some((target, _)) = self.snapshot.records.suspended.of_instance(instance)
            {
                let what = waits_for(instance, *condition);
                let message = format!(
                    "waits for {what}, which is suspended; `windlass resume {target}` lets it go on"
                );
                return Err(Reason::Stalled { message });
            }
            if !met {
                return Err(Reason::WaitingOn { what: waits_for(instance, *condition) });
            }
        }
        Ok(())
    }

    fn meets(&self, replica: &ReplicaKey, condition: Condition) -> bool {
        let located = self.snapshot.containers.get(replica);
        let mut located = located.into_iter().flatten();
        match condition {
            Condition::Started => {
                located.any(|at| matches!(at.container.state, ContainerState::Running { .. }))
            }
            Condition::Healthy => located.any(|at| at.is_ready()),
            Condition::Completed => {
                let record = self.snapshot.records.instances.get(&replica.instance);
                let record = record.and_then(|record| record.replicas.get(&replica.ordinal));
                record.is_some_and(|record| matches!(record.life, Life::Completed { .. }))
            }
        }
    }
}

fn waits_for(instance: &Key, condition: Condition) -> String {
    match condition {
        Condition::Started => format!("{instance} to run"),
        Condition::Healthy => format!("{instance} to be healthy"),
        Condition::Completed => format!("{instance} to complete"),
    }
}
