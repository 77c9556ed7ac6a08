//! How networks, flavors and projects stand: what they say, where they are, and who uses them.

use std::collections::BTreeMap;

use reconciler::model::desired::Declared;
use reconciler::model::ids::{Key, Name};
use reconciler::model::snapshot::Snapshot;
use reconciler::model::spec::{BUILT_IN_FLAVORS, FlavorSpec, NetworkName, ProjectSpec, Quota};
use reconciler::status::{Condition, Truth};
use serde::Serialize;

use super::protocol::PlainStatus;

fn plain<S: Serialize>(name: String, declared: Option<&Declared<S>>) -> PlainStatus {
    PlainStatus {
        name,
        labels: declared.map(|declared| declared.labels.clone()).unwrap_or_default(),
        source: declared.map(|declared| declared.source.to_string()),
        // A spec always has a serial form.
        spec: declared
            .and_then(|declared| serde_json::to_value(&*declared.spec).ok())
            .unwrap_or_default(),
        nodes: Vec::new(),
        used_by: 0,
        conditions: Vec::new(),
        message: None,
    }
}

/// Networks that are declared, and those that are still there.
pub(super) fn networks(snapshot: &Snapshot) -> Vec<PlainStatus> {
    let mut keys: Vec<&Key> = snapshot.desired.networks.keys().collect();
    keys.extend(snapshot.records.networks.keys());
    keys.sort();
    keys.dedup();
    let status = |key: &Key| {
        let declared = snapshot.desired.networks.get(key);
        let name = key.engine_name();
        let holds = snapshot.nodes.iter().filter(|(_, seen)| seen.networks.contains_key(&name));
        let nodes: Vec<Name> = holds.map(|(node, _)| node.clone()).collect();
        let on_it = snapshot.desired.instances.values().filter(|instance| {
            let of = |network: &NetworkName| *network == NetworkName::Declared(key.clone());
            instance.spec.more.networks.iter().any(|one| of(&one.network))
        });
        let record = snapshot.records.networks.get(key);
        let failure = record.and_then(|record| record.failures.values().next());
        let own = declared.is_some_and(|declared| declared.spec.is_engines_own());
        let message = match (declared, failure) {
            (_, Some(failure)) => Some(failure.message.clone()),
            (None, None) => Some("no longer declared".to_owned()),
            (Some(_), None) if own => Some("every engine has it".to_owned()),
            (Some(_), None) if nodes.is_empty() => {
                Some("made on a node when an instance there needs it".to_owned())
            }
            (Some(_), None) => None,
        };
        PlainStatus { nodes, used_by: count(on_it), message, ..plain(key.to_string(), declared) }
    };
    keys.into_iter().map(status).collect()
}

/// Flavors that are declared, and those that are built in.
pub(super) fn flavors(snapshot: &Snapshot) -> Vec<PlainStatus> {
    let users = |name: &str, declared: Option<&FlavorSpec>| {
        count(snapshot.desired.instances.values().filter(|instance| {
            let named = instance.spec.flavor.as_deref().map(|named| named.rsplit('/').next());
            named.flatten() == Some(name)
                && declared.is_none_or(|flavor| flavor.resources == instance.spec.resources)
        }))
    };
    let declared = snapshot.desired.flavors.iter().map(|(key, declared)| PlainStatus {
        used_by: users(key.name.as_str(), Some(&declared.spec)),
        ..plain(key.to_string(), Some(declared))
    });
    let built_in = BUILT_IN_FLAVORS.into_iter().map(|flavor| {
        let spec = FlavorSpec { resources: flavor.resources() };
        PlainStatus {
            spec: serde_json::to_value(spec).unwrap_or_default(),
            used_by: users(flavor.name, None),
            ..plain::<FlavorSpec>(flavor.name.to_owned(), None)
        }
    });
    declared.chain(built_in).collect()
}

/// Projects that are declared, and those that objects name.
pub(super) fn projects(snapshot: &Snapshot) -> Vec<PlainStatus> {
    let desired = &snapshot.desired;
    let mut replicas: BTreeMap<&Name, u32> =
        desired.projects.keys().map(|project| (project, 0)).collect();
    for (key, instance) in &desired.instances {
        *replicas.entry(&key.project).or_default() += instance.spec.replicas;
    }
    for key in desired.images.keys().chain(desired.volumes.keys()).chain(desired.networks.keys()) {
        replicas.entry(&key.project).or_default();
    }
    let status = |(project, used_by): (&Name, u32)| {
        let declared = desired.projects.get(project);
        let limited = declared.filter(|declared| declared.spec.quota != Quota::default());
        let conditions = limited.map(|_: &Declared<ProjectSpec>| Condition {
            kind: "QuotaNotEnforced".to_owned(),
            status: Truth::True,
            reason: "NotSupportedYet".to_owned(),
            message: "the quota is kept and shown; this version enforces none".to_owned(),
            last_transition_time: None,
        });
        PlainStatus {
            used_by,
            message: conditions.as_ref().map(|condition| condition.message.clone()),
            conditions: conditions.into_iter().collect(),
            ..plain(project.to_string(), declared)
        }
    };
    replicas.into_iter().map(status).collect()
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
