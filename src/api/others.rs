//! How networks, links, flavors, projects, bindings and waivers stand: what they say, where they are,
//! and who uses them.

use std::collections::BTreeMap;

use reconciler::enforced::{self, quota_in_force, quota_not_enforced};
use reconciler::model::desired::{Declared, DesiredSet};
use reconciler::model::ids::{Key, Name};
use reconciler::model::snapshot::Snapshot;
use reconciler::model::spec::policy::ObjectKind;
use reconciler::model::spec::{
    BUILT_IN_FLAVORS, FlavorSpec, LinkSpec, NetworkName, PolicyBindingSpec, WaiverSpec,
};
use reconciler::quota::{self, Admission, Standing};
use reconciler::status::{Condition, Truth, compliant};
use reconciler::want::is_on_own_network;
use serde::Serialize;

use super::protocol::{PlainStatus, QuotaUse};

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
        quota: Vec::new(),
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
        let on_it = snapshot.desired.instances.iter().filter(|(user, instance)| {
            let of = |network: &NetworkName| *network == NetworkName::Declared(key.clone());
            let is_there = key.is_own_network()
                && user.project == key.project
                && is_on_own_network(&instance.spec);
            is_there || instance.spec.more.networks.iter().any(|one| of(&one.network))
        });
        let record = snapshot.records.networks.get(key);
        let failure = record.and_then(|record| record.failures.values().next());
        let own = declared.is_some_and(|declared| declared.spec.is_engines_own());
        let message = match (declared, failure) {
            (_, Some(failure)) => Some(failure.message.clone()),
            (None, None) if key.is_own_network() => {
                Some("the project's own, for who names no networks".to_owned())
            }
            (None, None) => Some("no longer declared".to_owned()),
            (Some(_), None) if own => Some("every engine has it".to_owned()),
            (Some(_), None) if nodes.is_empty() => {
                Some("made on a node when an instance there needs it".to_owned())
            }
            (Some(_), None) => None,
        };
        let conditions: Vec<Condition> =
            compliant(snapshot, ObjectKind::Network, key).into_iter().collect();
        let message = message.or_else(|| said(&conditions));
        let used_by = count(on_it);
        PlainStatus { nodes, used_by, conditions, message, ..plain(key.to_string(), declared) }
    };
    keys.into_iter().map(status).collect()
}

/// Links.
pub(super) fn links(snapshot: &Snapshot) -> Vec<PlainStatus> {
    let desired = &snapshot.desired;
    let status = |(key, declared): (&Key, &Declared<LinkSpec>)| {
        let LinkSpec { from, to, .. } = &*declared.spec;
        let gone = [from, to].into_iter().find(|key| !desired.instances.contains_key(*key));
        let condition = if snapshot.withheld.contains_key(key) {
            Condition {
                kind: "NotInForce".to_owned(),
                status: Truth::True,
                reason: "Denied".to_owned(),
                message: "policy keeps it from coming".to_owned(),
                last_transition_time: None,
            }
        } else {
            enforced::link(snapshot, key, &declared.spec)
        };
        let compliant = compliant(snapshot, ObjectKind::Link, key);
        let message = match gone {
            Some(key) => Some(format!("Instance {key} is not declared")),
            None if condition.kind == enforced::IN_FORCE => None,
            None => said(compliant.as_slice()).or_else(|| Some(condition.message.clone())),
        };
        PlainStatus {
            used_by: desired.instances.get(from).map_or(0, |instance| instance.spec.replicas),
            conditions: [condition].into_iter().chain(compliant).collect(),
            message,
            ..plain(key.to_string(), Some(declared))
        }
    };
    let all: BTreeMap<_, _> = desired.links.iter().chain(&snapshot.withheld).collect();
    all.into_iter().map(status).collect()
}

/// Flavors that are declared, and those that are built in.
pub(super) fn flavors(snapshot: &Snapshot) -> Vec<PlainStatus> {
    let desired = &snapshot.desired;
    let users = |flavor: &str| {
        count(desired.instances.iter().filter(|(key, instance)| {
            let named = instance.spec.flavor.as_deref();
            named.is_some_and(|named| flavor_meant(desired, &key.project, named) == flavor)
        }))
    };
    let declared = desired.flavors.iter().map(|(key, declared)| {
        let name = key.to_string();
        PlainStatus { used_by: users(&name), ..plain(name, Some(declared)) }
    });
    let built_in = BUILT_IN_FLAVORS.into_iter().map(|flavor| {
        let spec = FlavorSpec { resources: flavor.resources() };
        PlainStatus {
            spec: serde_json::to_value(spec).unwrap_or_default(),
            used_by: users(flavor.name),
            ..plain::<FlavorSpec>(flavor.name.to_owned(), None)
        }
    });
    declared.chain(built_in).collect()
}

/// The full name of the flavor that an instance of `project` names: its project's own, else the
/// one of all projects, else a built-in one.
fn flavor_meant(desired: &DesiredSet, project: &Name, named: &str) -> String {
    let Ok(name) = Name::new(named) else { return named.to_owned() };
    let own = Key::new(project.clone(), name.clone());
    let key = if desired.flavors.contains_key(&own) {
        own
    } else {
        Key::new(Name::default_project(), name)
    };
    key.to_string()
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
    let admission = quota::is_any(desired).then(|| Admission::of(snapshot));
    let over = |project: &Name| {
        let (reason, message) = admission.as_ref()?.over(project)?;
        Some(Condition {
            kind: "OverQuota".to_owned(),
            status: Truth::True,
            reason: reason.to_owned(),
            message,
            last_transition_time: None,
        })
    };
    let standing = |project: &Name| {
        let standing = admission.iter().flat_map(|admission| admission.standing(project));
        let row = |Standing { kind, used, made, limit }: Standing| QuotaUse {
            kind: kind.as_str().to_owned(),
            used: kind.show(used),
            made: kind.show(made),
            limit: kind.show(limit),
        };
        standing.map(row).collect()
    };
    let status = |(project, used_by): (&Name, u32)| {
        let declared = desired.projects.get(project);
        let over = over(project);
        let condition = quota_not_enforced(snapshot, project);
        let key = Key::new(project.clone(), project.clone());
        let compliant = compliant(snapshot, ObjectKind::Project, &key);
        let of_over = over.as_ref().map(|condition| condition.message.clone());
        let of_quota = condition.as_ref().map(|condition| condition.message.clone());
        PlainStatus {
            used_by,
            message: said(compliant.as_slice()).or(of_over).or(of_quota),
            conditions: over
                .into_iter()
                .chain(condition)
                .chain(quota_in_force(snapshot, project))
                .chain(compliant)
                .collect(),
            quota: standing(project),
            ..plain(project.to_string(), declared)
        }
    };
    replicas.into_iter().map(status).collect()
}

/// Bindings of policies.
pub(super) fn bindings(snapshot: &Snapshot) -> Vec<PlainStatus> {
    // What is bound is not what stands in the directory of policies.
    let degraded = snapshot.policies.broken.as_ref().map(|broken| Condition {
        kind: "Degraded".to_owned(),
        status: Truth::True,
        reason: "PoliciesRejected".to_owned(),
        message: format!("the last good policies are in force: {}", broken.first),
        last_transition_time: None,
    });
    let status = |(key, declared): (&Key, &Declared<PolicyBindingSpec>)| {
        let asked = snapshot.policy_notes.bindings.get(key).map(ToString::to_string);
        PlainStatus {
            message: degraded.as_ref().map(|condition| condition.message.clone()).or(asked),
            conditions: degraded.iter().cloned().collect(),
            ..plain(key.to_string(), Some(declared))
        }
    };
    snapshot.desired.bindings.iter().map(status).collect()
}

/// Waivers; what is over says so.
pub(super) fn waivers(snapshot: &Snapshot) -> Vec<PlainStatus> {
    let status = |(key, declared): (&Key, &Declared<WaiverSpec>)| {
        let over = declared.spec.expires.is_over(snapshot.now);
        let found = snapshot.policy_notes.waivers.get(key).cloned();
        let message = found.or_else(|| over.then(|| "it is over".to_owned()));
        PlainStatus { message, ..plain(key.to_string(), Some(declared)) }
    };
    snapshot.desired.waivers.iter().map(status).collect()
}

/// What policies say against it, if they do.
fn said(conditions: &[Condition]) -> Option<String> {
    let against =
        conditions.iter().find(|one| one.kind == "Compliant" && one.status == Truth::False);
    against.map(|one| one.message.clone())
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
