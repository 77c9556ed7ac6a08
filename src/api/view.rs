//! Answers, made from what the loop knows. Nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reconciler::enforced::node_without_quotas;
use reconciler::engine::{Engine, Happening};
use reconciler::model::desired::BrokenFile;
use reconciler::model::ids::{ImageName, Key, Name, ObjectId};
use reconciler::model::observed::Reach;
use reconciler::model::snapshot::Snapshot;
use reconciler::model::spec::ImageSource;
use reconciler::model::spec::policy::ObjectKind;
use reconciler::model::time::Timestamp;
use reconciler::model::verdicts::Said;
use reconciler::placement::Load;
use reconciler::report::Reason;
use reconciler::status;

use super::others;
use super::protocol::{
    Happened, ImageStatus, NodeStatus, Outcome, Overview, PlanRow, PlanView, Suspended, Trouble,
    VolumeStatus,
};

/// An apply waits for another attempt while an object failed less often than this: a fault that
/// passes is none, one that stays is told.
const PATIENCE_FAILURES: u32 = 3;

/// What would be done.
#[must_use]
pub fn plan(engine: &Engine) -> PlanView {
    let (plan, report, snapshot) = (engine.plan(), engine.report(), engine.snapshot());
    let mut rows: Vec<PlanRow> = Vec::new();
    let mut steps: BTreeMap<&ObjectId, Vec<String>> = BTreeMap::new();
    for step in &plan.steps {
        steps.entry(&step.object).or_default().push(step.action.verb().to_owned());
    }
    for change in &plan.changes {
        rows.push(PlanRow {
            object: change.object.clone(),
            name: change.object.to_string(),
            node: Some(change.node.clone()),
            source: source(snapshot, &change.object),
            change: Some(change.kind),
            why: change.cause.to_string(),
            cause: Some(change.cause.clone()),
            reason: None,
            later: None,
            steps: steps.remove(&change.object).unwrap_or_default(),
        });
    }
    for note in &report.notes {
        rows.push(PlanRow {
            object: note.object.clone(),
            name: note.object.to_string(),
            node: note.node.clone(),
            source: source(snapshot, &note.object),
            change: None,
            cause: None,
            why: status::explain(snapshot, &note.object, note.node.as_ref(), &note.reason),
            reason: Some(note.reason.clone()),
            later: note.later,
            steps: Vec::new(),
        });
    }
    rows.sort_by(|a, b| a.object.cmp(&b.object));
    let policies = said(snapshot, &rows);
    PlanView {
        rows,
        policies,
        steps: plan.steps.iter().map(ToString::to_string).collect(),
        counts: report.counts,
        held: report.held.clone(),
        broken: broken(snapshot),
        degraded: engine.degraded(),
        settled: report.settled,
    }
}

/// Under this name what is wrong with policies stands beside the spec files that are wrong; no spec
/// file can have it.
pub const POLICIES: &str = "policies";

/// All that is wrong with what was read.
pub(super) fn broken(snapshot: &Snapshot) -> BTreeMap<Arc<str>, BrokenFile> {
    let mut broken = snapshot.broken.clone();
    let policies = snapshot.policies.broken.clone();
    broken.extend(policies.map(|policies| (Arc::from(POLICIES), policies)));
    broken
}

fn source(snapshot: &Snapshot, object: &ObjectId) -> Option<String> {
    let desired = &snapshot.desired;
    let source = match object {
        ObjectId::Replica(replica) => &desired.instances.get(&replica.instance)?.source,
        ObjectId::Volume { volume, .. } => &desired.volumes.get(volume)?.source,
        ObjectId::Network { network, .. } => &desired.networks.get(network)?.source,
        ObjectId::Image { image: ImageName::Declared(key), .. } => &desired.images.get(key)?.source,
        ObjectId::Group { project, .. } => &desired.projects.get(project)?.source,
        ObjectId::Image { image: ImageName::Reference(_), .. } | ObjectId::Fence { .. } => {
            return None;
        }
    };
    Some(source.to_string())
}

/// How things stand.
#[must_use]
pub fn overview(engine: &Engine, specs: &str, only: Option<&Key>) -> Overview {
    let (report, snapshot) = (engine.report(), engine.snapshot());
    let instances = match only {
        Some(key) => status::instance(snapshot, report, key).into_iter().collect(),
        None => status::instances(snapshot, report),
    };
    Overview {
        specs: specs.to_owned(),
        instances,
        images: images(snapshot),
        volumes: volumes(snapshot),
        networks: others::networks(snapshot),
        links: others::links(snapshot),
        flavors: others::flavors(snapshot),
        projects: others::projects(snapshot),
        bindings: others::bindings(snapshot),
        waivers: others::waivers(snapshot),
        nodes: nodes(snapshot),
        broken: broken(snapshot),
        held: report.held.clone(),
        suspended: suspended(snapshot),
        degraded: engine.degraded(),
        settled: report.settled,
    }
}

/// What policies say of instances in the rows, and does not deny them.
fn said(snapshot: &Snapshot, rows: &[PlanRow]) -> Vec<(String, Said)> {
    let instances: BTreeSet<&Key> = rows
        .iter()
        .filter_map(|row| match &row.object {
            ObjectId::Replica(replica) => Some(&replica.instance),
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => None,
        })
        .collect();
    let of = |key: &Key| {
        let all = snapshot.verdicts.of(ObjectKind::Instance, key).iter();
        let name = key.to_string();
        all.filter(|said| !said.denies).map(|said| (name.clone(), said.clone())).collect::<Vec<_>>()
    };
    instances.into_iter().flat_map(of).collect()
}

fn suspended(snapshot: &Snapshot) -> Vec<Suspended> {
    let all = snapshot.records.suspended.all();
    all.map(|(target, found)| Suspended { target, suspension: found.clone() }).collect()
}

fn images(snapshot: &Snapshot) -> Vec<ImageStatus> {
    let mut names: Vec<ImageName> =
        snapshot.desired.images.keys().cloned().map(ImageName::Declared).collect();
    names.extend(snapshot.desired.instances.values().map(|declared| declared.spec.image.clone()));
    names.sort();
    names.dedup();
    let status = |name: ImageName| {
        let declared = match &name {
            ImageName::Declared(key) => snapshot.desired.images.get(key),
            ImageName::Reference(_) => None,
        };
        let from = match declared.map(|declared| &declared.spec.source) {
            Some(ImageSource::Registry(reference)) => format!("registry {reference}"),
            Some(ImageSource::Archive(file)) => format!("archive {}", file.path),
            Some(ImageSource::Rootfs { file, .. }) => format!("rootfs {}", file.path),
            None => format!("registry {name}"),
        };
        let record = snapshot.records.images.get(&name);
        let denial = match &name {
            ImageName::Declared(key) => snapshot.verdicts.denial(ObjectKind::Image, key),
            ImageName::Reference(_) => None,
        };
        let holds = |(node, id): (&Name, &reconciler::model::ids::ImageId)| {
            let seen = snapshot.nodes.get(node)?;
            seen.images.contains_key(id).then(|| node.clone())
        };
        ImageStatus {
            source: declared.map(|declared| declared.source.to_string()),
            from,
            content: record.and_then(|record| record.content.as_ref()).map(ToString::to_string),
            nodes: record.into_iter().flat_map(|record| &record.ids).filter_map(holds).collect(),
            message: denial.map(ToString::to_string).or_else(|| {
                let failure = record.and_then(|record| record.failures.values().next());
                failure.map(|failure| failure.message.clone())
            }),
            labels: declared.map(|declared| declared.labels.clone()).unwrap_or_default(),
            name: name.to_string(),
        }
    };
    names.into_iter().map(status).collect()
}

fn volumes(snapshot: &Snapshot) -> Vec<VolumeStatus> {
    let mut keys: Vec<&Key> = snapshot.desired.volumes.keys().collect();
    keys.extend(snapshot.records.volumes.keys());
    keys.sort();
    keys.dedup();
    let status = |key: &Key| {
        let declared = snapshot.desired.volumes.get(key);
        let record = snapshot.records.volumes.get(key);
        let name = key.engine_name();
        let nodes: Vec<Name> = snapshot
            .nodes
            .iter()
            .filter(|(_, seen)| seen.volumes.contains_key(&name))
            .map(|(node, _)| node.clone())
            .collect();
        let is_suspended = snapshot.records.suspended.of_volume(key).is_some();
        let message = match (declared, record) {
            _ if is_suspended => Some("suspended".to_owned()),
            (None, Some(record)) if record.retain => {
                Some("no longer declared; its data stays".to_owned())
            }
            (None, _) => Some("no longer declared".to_owned()),
            (Some(_), _) if nodes.is_empty() => {
                Some("made on a node when an instance there needs it".to_owned())
            }
            (Some(_), _) => None,
        };
        let denial = snapshot.verdicts.denial(ObjectKind::Volume, key);
        let message = denial.map(ToString::to_string).or(message);
        VolumeStatus {
            key: key.clone(),
            labels: declared.map(|declared| declared.labels.clone()).unwrap_or_default(),
            source: declared.map(|declared| declared.source.to_string()),
            driver: declared.map_or("local", |declared| &declared.spec.driver).to_owned(),
            retain: declared
                .map(|declared| declared.spec.retain)
                .or(record.map(|record| record.retain))
                .unwrap_or(true),
            nodes,
            message,
        }
    };
    keys.into_iter().map(status).collect()
}

/// How nodes stand.
#[must_use]
pub fn nodes(snapshot: &Snapshot) -> Vec<NodeStatus> {
    let load = Load::of(snapshot);
    let status = |(name, declared): (
        &Name,
        &reconciler::model::desired::Declared<reconciler::model::spec::NodeSpec>,
    )| {
        let seen = snapshot.nodes.get(name);
        let engine = seen.and_then(|seen| seen.engine.as_ref());
        let message = match seen.map(|seen| &seen.reach) {
            Some(Reach::Reachable) => None,
            Some(Reach::Unreachable { reason, .. }) => Some(reason.clone()),
            Some(Reach::Unseen) | None => Some("it has not answered yet".to_owned()),
        };
        let recorded = snapshot.records.nodes.get(name);
        let another = seen.and_then(|seen| seen.another.clone());
        let status = match (&message, &another, snapshot.cordon(name)) {
            (Some(_), Some(_), _) => "Held",
            (Some(_), None, _) => "Unknown",
            (None, _, Some(true)) => "Drained",
            (None, _, Some(false)) => "Cordoned",
            (None, _, None) => "Ready",
        };
        let (replicas, used, room) = load.on(name).unwrap_or_default();
        let ours = snapshot.containers.values().flatten().filter(|at| at.node == *name).count();
        NodeStatus {
            name: name.clone(),
            labels: declared.labels.clone(),
            source: Some(declared.source.to_string()).filter(|_| declared.source.line > 0),
            endpoint: declared.spec.endpoint.to_string(),
            ready: message.is_none(),
            message,
            version: engine.map(|engine| engine.version.clone()),
            engine: engine.map(|engine| engine.id.clone()),
            cpus: engine.map(|engine| engine.cpus),
            memory: engine.map(|engine| engine.memory),
            status: status.to_owned(),
            cordon: recorded.and_then(|record| record.cordon.clone()),
            cordoned_by_spec: declared.spec.cordon || declared.spec.drain,
            replicas,
            cpus_used: used.cpus,
            memory_used: used.memory,
            cpus_room: room.cpus(),
            memory_room: room.memory(),
            borders: room.hard(),
            capacity: declared.spec.capacity,
            reserved: declared.spec.reserved,
            overcommit: declared.spec.overcommit,
            latency_ms: seen.and_then(|seen| seen.latency_ms),
            seen_at: seen.map(|seen| seen.seen_at).filter(|at| at.0 > 0),
            another,
            containers: u32::try_from(ours).unwrap_or(u32::MAX),
            foreign: seen.map_or(0, |seen| u32::try_from(seen.foreign.len()).unwrap_or(u32::MAX)),
            conditions: node_without_quotas(snapshot, name)
                .into_iter()
                .chain(status::pressure::of_node(snapshot, name))
                .collect(),
        }
    };
    snapshot.desired.nodes.iter().map(status).collect()
}

/// How things ended, if nothing more will happen by itself for now.
#[must_use]
pub fn outcome(engine: &Engine) -> Option<Outcome> {
    let report = engine.report();
    let degraded = engine.degraded();
    // What a node that hangs holds may be as declared, or not: it is waited for, or found missing.
    if degraded.is_none() && !(engine.is_settled() && engine.is_refreshed()) {
        return None;
    }
    let is_passing = |reason: &Reason| match reason {
        Reason::BackingOff { failures, .. } => *failures < PATIENCE_FAILURES,
        Reason::Restarting { streak, .. } | Reason::Unhealthy { streak, retry_at: Some(_), .. } => {
            *streak < PATIENCE_FAILURES
        }
        Reason::InFlight { .. } | Reason::WaitingOn { .. } => true,
        Reason::Unknown { .. }
        | Reason::NodeNotDeclared
        | Reason::Stays { .. }
        | Reason::Unplaced { .. }
        | Reason::OverQuota { .. }
        | Reason::Stalled { .. }
        | Reason::Unhealthy { retry_at: None, .. }
        | Reason::Completed
        | Reason::Failed { .. }
        | Reason::Denied { .. }
        | Reason::DriftReported { .. }
        | Reason::SetAside { .. }
        | Reason::Undone { .. }
        | Reason::RolloutPaused { .. }
        | Reason::RolloutFailed { .. }
        | Reason::Held
        | Reason::Retained
        | Reason::Suspended { .. } => false,
    };
    if degraded.is_none() && report.notes.iter().any(|note| is_passing(&note.reason)) {
        return None;
    }
    Some(outcome_now(engine))
}

/// How a saved plan ended, if it could not go on and nothing that it began is under way.
#[must_use]
pub fn stopped(engine: &Engine) -> Option<Outcome> {
    let stopped = engine.stopped()?.to_owned();
    // What else is not as declared is not the plan's affair.
    let troubles = Vec::new();
    Some(Outcome { stopped: Some(stopped), troubles, held: None, ..outcome_now(engine) })
}

fn outcome_now(engine: &Engine) -> Outcome {
    let (report, snapshot) = (engine.report(), engine.snapshot());
    let is_trouble = |reason: &Reason| {
        !matches!(
            reason,
            Reason::Completed
                | Reason::Retained
                | Reason::Held
                | Reason::Stays { .. }
                | Reason::Suspended { .. }
                | Reason::Undone { .. }
                | Reason::RolloutPaused { .. }
        )
    };
    let troubles = report
        .notes
        .iter()
        .filter(|note| is_trouble(&note.reason))
        .map(|note| Trouble {
            object: note.object.to_string(),
            reason: status::reason_word(&note.reason).to_owned(),
            message: status::explain(snapshot, &note.object, note.node.as_ref(), &note.reason),
        })
        .collect();
    Outcome {
        troubles,
        counts: report.counts,
        held: report.held.clone(),
        broken: broken(snapshot),
        degraded: engine.degraded(),
        stopped: None,
        left_out: engine.steps_left(),
        steps: 0,
        began_at: Timestamp(0),
        ended_at: snapshot.now,
    }
}

/// A happening in the words of the protocol.
#[must_use]
pub fn happened(happening: &Happening) -> Happened {
    match happening {
        Happening::Began { object, node, verb, cause, change } => Happened::Began {
            object: object.to_string(),
            node: node.to_string(),
            verb: (*verb).to_owned(),
            cause: cause.clone(),
            change: *change,
        },
        Happening::Ended { object, node, verb, error, took, last, change } => Happened::Ended {
            object: object.to_string(),
            node: node.to_string(),
            verb: (*verb).to_owned(),
            error: error.clone(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            last: *last,
            change: *change,
        },
        Happening::Attention { message } => Happened::Attention { message: message.clone() },
        Happening::Node { node, error } => {
            Happened::Node { node: node.to_string(), error: error.clone() }
        }
        Happening::Journal { error: Some(error) } => Happened::Attention {
            message: format!("the journal cannot be written, so nothing is done: {error}"),
        },
        Happening::Journal { error: None } => {
            Happened::Attention { message: "the journal can be written again".to_owned() }
        }
        Happening::Violated { rules } => Happened::Attention {
            message: format!(
                "the plan broke a rule and was not executed; this is a fault of windlass: {}",
                rules.join("; ")
            ),
        },
    }
}
