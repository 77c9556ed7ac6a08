//! What a spec asks for and a node cannot enforce: said as a condition, and never as drift.

use crate::model::ids::Key;
use crate::model::observed::{EngineInfo, Limits, Missing, ObservedContainer};
use crate::model::snapshot::Snapshot;
use crate::model::spec::{InstanceSpec, ProjectSpec, Quota};
use crate::status::{Condition, Truth};

/// What of an instance's spec is not enforced on the nodes that hold it, for people.
#[must_use]
pub fn not_enforced(snapshot: &Snapshot, key: &Key) -> Vec<String> {
    let Some(declared) = snapshot.desired.instances.get(key) else { return Vec::new() };
    let first = crate::model::ids::ReplicaKey::new(key.clone(), 0);
    let containers = snapshot
        .containers
        .range(first..)
        .take_while(|(replica, _)| replica.instance == *key)
        .flat_map(|(_, located)| located);
    let mut found = Vec::new();
    for located in containers {
        let engine = snapshot.nodes.get(&located.node).and_then(|seen| seen.engine.as_ref());
        for what in of_container(&declared.spec, &located.container, engine) {
            let message = format!("{what} on node {}", located.node);
            if !found.contains(&message) {
                found.push(message);
            }
        }
    }
    found
}

/// That a project's quota is not enforced, if it has one.
#[must_use]
pub fn quota_not_enforced(project: &ProjectSpec) -> Option<Condition> {
    (project.quota != Quota::default()).then(|| Condition {
        kind: "QuotaNotEnforced".to_owned(),
        status: Truth::True,
        reason: "NotSupportedYet".to_owned(),
        message: "the quota is kept and shown; this version enforces none".to_owned(),
        last_transition_time: None,
    })
}

fn of_container(
    spec: &InstanceSpec,
    have: &ObservedContainer,
    engine: Option<&EngineInfo>,
) -> Vec<&'static str> {
    let lacks = |what: Missing| engine.is_some_and(|engine| engine.missing.contains(&what));
    let mut found = Vec::new();
    // The engine drops a weight that its kernel has no scheduler for.
    if spec.resources.io.weight.is_some() && have.config.more.io.weight.is_none() {
        found.push("resources.io.weight: the kernel has no scheduler that knows weights");
    }
    if spec.resources.memory_swap.is_some()
        && have.config.limits.memory_swap == Limits::NOT_ENFORCED
    {
        found.push("resources.memorySwap: the kernel does not limit swap");
    }
    let security = &spec.more.security;
    let asks = |profile: Option<&str>| profile.is_some_and(|profile| profile != "unconfined");
    if asks(security.apparmor.as_deref()) && lacks(Missing::Apparmor) {
        found.push("security.apparmor: the kernel has no AppArmor");
    }
    if asks(security.seccomp.as_deref()) && lacks(Missing::Seccomp) {
        found.push("security.seccomp: the engine filters no system calls");
    }
    found
}
