//! How things stand, as people and scripts ask for it: conditions in the manner of Kubernetes,
//! made on demand from a snapshot and the last report. Nothing decides from a status. [`words`] says
//! why something is as it is.

pub mod pressure;
mod rollout;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::enforced::not_enforced;
use crate::model::desired::Declared;
use crate::model::ids::{Key, Name, ObjectId, ReplicaKey};
use crate::model::observed::{ContainerState, HealthState, Reach};
use crate::model::record::{Life, PastRevision};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::sparse::Sparse;
use crate::model::spec::policy::ObjectKind;
use crate::model::spec::{Content, InstanceSpec, More, Power, Restart};
use crate::model::time::Timestamp;
use crate::model::verdicts::Said;
use crate::report::{Reason, Report};
use crate::want;

pub use self::rollout::RolloutStatus;
pub use self::words::{describe, explain, reason_word};

/// The word for one that runs, and whose health check cannot reach it from here.
const HEALTH_UNKNOWN: &str = "HealthUnknown";

/// Something that is true of an object, or is not, or is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Reconciling`, `Stalled`, `Degraded`, `Held`, `HeldBack`, `Paused`, `Suspended` or
    /// `NotEnforced`, `Compliant`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is.
    pub status: Truth,
    /// Why, in one word for machines.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Since when, in milliseconds since 1970, as far as that is known.
    pub last_transition_time: Option<Timestamp>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// That cannot be said.
    Unknown,
}

/// How an instance stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Which instance.
    pub key: Key,
    /// Where it is declared: `file:line`; none if it no longer is.
    pub source: Option<String>,
    /// Why an earlier version of it is in force, if one is.
    pub stale: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Counts the changes of its spec.
    pub generation: u64,
    /// The generation that its containers show; behind `generation` while work is under way.
    pub observed_generation: u64,
    /// The image, as its spec names it.
    pub image: String,
    /// How many replicas shall be there.
    pub replicas_wanted: u32,
    /// How many are ready.
    pub replicas_ready: u32,
    /// One word for all of it.
    pub phase: String,
    /// What is true of it.
    pub conditions: Vec<Condition>,
    /// Its replicas, also those that have to go.
    pub replicas: Vec<ReplicaStatus>,
    /// Its revisions, newest last.
    pub history: Vec<PastRevision>,
    /// How the rollout stands, if it is declared.
    #[serde(default)]
    pub rollout: Option<RolloutStatus>,
    /// Its spec, if it is declared. Values of variables are left out.
    pub spec: Option<InstanceSpec>,
}

/// How a replica stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Which replica.
    pub replica: ReplicaKey,
    /// Where it is placed.
    pub node: Option<Name>,
    /// All nodes that hold a container of it: more than one while it moves.
    #[serde(default)]
    pub nodes: BTreeSet<Name>,
    /// One word for what it does.
    pub state: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Whether its container runs, ready or not.
    pub running: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Its container's name.
    pub container: Option<String>,
    /// Its container's id.
    pub container_id: Option<String>,
    /// Its container's address.
    pub address: Option<String>,
    /// What its container was made from.
    pub revision: Option<String>,
    /// Its published ports: `127.0.0.1:8080->80/tcp`.
    pub ports: Vec<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// Why it is not as declared, or what is going on.
    pub message: Option<String>,
}

/// Statuses of all instances that are declared or still have containers, by key.
#[must_use]
pub fn instances(snapshot: &Snapshot, report: &Report) -> Vec<InstanceStatus> {
    let notes = notes_by_replica(report);
    let mut keys: Vec<&Key> = snapshot.desired.instances.keys().collect();
    keys.extend(snapshot.records.instances.keys());
    keys.extend(snapshot.containers.keys().map(|replica| &replica.instance));
    keys.sort();
    keys.dedup();
    keys.into_iter().map(|key| instance_with(snapshot, &notes, key)).collect()
}

/// The status of one instance; `None` if windlass knows nothing of it.
#[must_use]
pub fn instance(snapshot: &Snapshot, report: &Report, key: &Key) -> Option<InstanceStatus> {
    let known = snapshot.desired.instances.contains_key(key)
        || snapshot.records.instances.contains_key(key)
        || snapshot.containers.keys().any(|replica| replica.instance == *key);
    known.then(|| instance_with(snapshot, &notes_by_replica(report), key))
}

type Notes<'a> = BTreeMap<&'a ReplicaKey, &'a Reason>;

fn notes_by_replica(report: &Report) -> Notes<'_> {
    report
        .notes
        .iter()
        .filter_map(|note| match &note.object {
            ObjectId::Replica(replica) => Some((replica, &note.reason)),
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => None,
        })
        .collect()
}

fn instance_with(snapshot: &Snapshot, notes: &Notes<'_>, key: &Key) -> InstanceStatus {
    let declared = snapshot.desired.instances.get(key);
    let record = snapshot.records.instances.get(key);
    let wanted = declared.map_or(0, |declared| declared.spec.replicas);
    let first = ReplicaKey::new(key.clone(), 0);
    let mut ordinals: Vec<u32> = (0..wanted).collect();
    ordinals.extend(record.into_iter().flat_map(|record| record.replicas.keys().copied()));
    ordinals.extend(
        snapshot
            .containers
            .range(first..)
            .take_while(|(replica, _)| replica.instance == *key)
            .map(|(replica, _)| replica.ordinal),
    );
    ordinals.sort_unstable();
    ordinals.dedup();
    let replicas: Vec<ReplicaStatus> = ordinals
        .into_iter()
        .map(|ordinal| replica(snapshot, notes, ReplicaKey::new(key.clone(), ordinal)))
        .collect();
    let ready = replicas.iter().filter(|replica| replica.ready && replica.replica.ordinal < wanted);
    let ready = u32::try_from(ready.count()).unwrap_or(u32::MAX);
    let generation = record.map_or(0, |record| record.generation);
    let reconciling = replicas.iter().any(|replica| {
        matches!(
            notes.get(&replica.replica),
            Some(Reason::InFlight { .. } | Reason::WaitingOn { .. })
        )
    });
    let mut conditions = conditions(notes, declared.is_some(), wanted, ready, &replicas);
    let lacking = not_enforced(snapshot, key);
    if !lacking.is_empty() {
        conditions.push(Condition {
            kind: "NotEnforced".to_owned(),
            status: Truth::True,
            reason: "NodeLacksSupport".to_owned(),
            message: lacking.join("; "),
            last_transition_time: None,
        });
    }
    conditions.extend(pressure::of_instance(snapshot, key));
    conditions.extend(compliant(snapshot, ObjectKind::Instance, key));
    let mut status = InstanceStatus {
        key: key.clone(),
        source: declared.map(|declared| declared.source.to_string()),
        stale: declared.and_then(|declared| declared.stale.as_ref()).map(ToString::to_string),
        labels: declared.map(|declared| declared.labels.clone()).unwrap_or_default(),
        generation,
        observed_generation: if reconciling { generation.saturating_sub(1) } else { generation },
        image: declared.map(|declared| image(snapshot, key, declared)).unwrap_or_default(),
        replicas_wanted: wanted,
        replicas_ready: ready,
        phase: phase(notes, declared.is_some(), wanted, ready, &replicas),
        conditions,
        replicas,
        history: record.map(|record| record.history.clone()).unwrap_or_default(),
        rollout: None,
        spec: declared.map(|declared| masked(&declared.spec)),
    };
    status.rollout = rollout::rollout(snapshot, notes, &status);
    status
}

/// What policies say of an object, if they say anything.
#[must_use]
pub fn compliant(snapshot: &Snapshot, kind: ObjectKind, key: &Key) -> Option<Condition> {
    let found = snapshot.scans.get(&(kind, key.clone())).into_iter().flatten();
    let said: Vec<&Said> = snapshot.verdicts.of(kind, key).iter().chain(found).collect();
    let first = said.iter().find(|one| one.waived_by.is_none()).or(said.first())?;
    let all_waived = said.iter().all(|one| one.waived_by.is_some());
    Some(Condition {
        kind: "Compliant".to_owned(),
        status: if all_waived { Truth::True } else { Truth::False },
        reason: if all_waived { "Waived".to_owned() } else { first.policy.clone() },
        message: said.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "),
        last_transition_time: None,
    })
}

/// The image, as the spec that is in force names it, or named it.
fn image(snapshot: &Snapshot, key: &Key, declared: &Declared<InstanceSpec>) -> String {
    let record = snapshot.records.instances.get(key);
    let rollout = snapshot.records.rollouts.get(key).filter(|_| snapshot.asked.contains_key(key));
    let back = rollout.and_then(|rollout| rollout.back.as_ref());
    let past = record.zip(back).and_then(|(record, back)| record.numbered(back.to));
    past.map_or_else(|| declared.spec.image.to_string(), |past| past.image.to_string())
}

/// A spec without the values of its variables and the text of its files: they may be secrets.
fn masked(spec: &InstanceSpec) -> InstanceSpec {
    let mut spec = spec.clone();
    for value in spec.env.values_mut() {
        "(not shown)".clone_into(value);
    }
    if want::files(&spec).next().is_some() {
        let mut more = More::clone(&spec.more);
        for file in more.files.iter_mut().chain(&mut more.user_data) {
            if let Content::Text(_) = file.content {
                file.content = Content::Text(Arc::from("(not shown)"));
            }
        }
        spec.more = Sparse::new(more);
    }
    spec
}

fn phase(
    notes: &Notes<'_>,
    declared: bool,
    wanted: u32,
    ready: u32,
    replicas: &[ReplicaStatus],
) -> String {
    if let Some(replica) = replicas.first()
        && let Some(Reason::Suspended { .. }) = notes.get(&replica.replica)
    {
        return "Suspended".to_owned();
    }
    if !declared {
        let held = replicas.iter().any(|replica| replica.state == "Held");
        return if held { "Held" } else { "Removing" }.to_owned();
    }
    let odd = replicas.iter().find(|replica| !replica.ready);
    match odd {
        None if ready == wanted => "Ready".to_owned(),
        None => "Pending".to_owned(),
        Some(odd) => odd.state.clone(),
    }
}

fn conditions(
    notes: &Notes<'_>,
    declared: bool,
    wanted: u32,
    ready: u32,
    replicas: &[ReplicaStatus],
) -> Vec<Condition> {
    let since = replicas.iter().filter_map(|replica| replica.since).max();
    let of = |kind: &str, status, reason: &str, message: String| Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        last_transition_time: since,
    };
    let mut all = Vec::new();
    let told = |replica: &ReplicaStatus, note: &Reason| {
        replica.message.clone().unwrap_or_else(|| describe(note))
    };
    let unknown = replicas.iter().any(|replica| {
        matches!(
            notes.get(&replica.replica),
            Some(Reason::Unknown { .. } | Reason::NodeNotDeclared)
        )
    });
    let unasked = replicas.iter().find(|replica| replica.state == HEALTH_UNKNOWN);
    let odd = replicas.iter().find_map(|replica| {
        let note = notes.get(&replica.replica)?;
        Some((reason_word(note), told(replica, note)))
    });
    // All may be ready, and still not what is asked for.
    let failed = replicas
        .first()
        .is_some_and(|first| matches!(notes.get(&first.replica), Some(Reason::SetAside { .. })));
    let count = format!("{ready} of {wanted} replicas are ready");
    let (status, reason, message) = match odd {
        Some((reason, message)) if failed => (Truth::False, reason, message),
        _ if declared && ready == wanted => (Truth::True, "AllReplicasReady", count),
        Some((reason, message)) if unknown => (Truth::Unknown, reason, message),
        Some((reason, message)) => (Truth::False, reason, message),
        None if declared && unasked.is_some() => {
            let message = unasked.and_then(|replica| replica.message.clone()).unwrap_or(count);
            (Truth::Unknown, HEALTH_UNKNOWN, message)
        }
        None if !declared => (Truth::False, "NotDeclared", "it is no longer declared".to_owned()),
        None => (Truth::False, "ReplicasNotReady", count),
    };
    all.push(of("Ready", status, reason, message));
    for replica in replicas {
        let Some(note) = notes.get(&replica.replica) else { continue };
        let kind = match note {
            Reason::InFlight { .. } | Reason::WaitingOn { .. } => "Reconciling",
            Reason::Stalled { .. }
            | Reason::Unplaced { .. }
            | Reason::OverQuota { .. }
            | Reason::Denied { .. } => "Stalled",
            Reason::BackingOff { .. }
            | Reason::Restarting { .. }
            | Reason::Unhealthy { .. }
            | Reason::Failed { .. }
            | Reason::DriftReported { .. } => "Degraded",
            Reason::RolloutFailed { .. } => "Stalled",
            Reason::RolloutPaused { .. } => "Paused",
            Reason::Undone { .. } => "HeldBack",
            Reason::Held => "Held",
            Reason::Suspended { .. } => "Suspended",
            Reason::Unknown { .. }
            | Reason::NodeNotDeclared
            | Reason::Stays { .. }
            | Reason::Completed
            // Said by Ready.
            | Reason::SetAside { .. }
            | Reason::Retained => continue,
        };
        if !all.iter().any(|condition| condition.kind == kind) {
            all.push(of(kind, Truth::True, reason_word(note), told(replica, note)));
        }
    }
    all
}

fn replica(snapshot: &Snapshot, notes: &Notes<'_>, key: ReplicaKey) -> ReplicaStatus {
    let declared = snapshot.desired.instances.get(&key.instance);
    let record = snapshot
        .records
        .instances
        .get(&key.instance)
        .and_then(|record| record.replicas.get(&key.ordinal));
    let located = snapshot.containers.get(&key).map_or(&[][..], Vec::as_slice);
    let newest = located.iter().max_by_key(|at| at.container.identity.incarnation);
    // Where a new one starts beside an earlier one, the replica is what serves.
    let shown = located.iter().max_by_key(|at| (at.is_ready(), at.container.identity.incarnation));
    let note = notes.get(&key).copied();
    let node =
        shown.map(|at| at.node.clone()).or_else(|| record.and_then(|record| record.node.clone()));
    let reachable = node.as_ref().is_none_or(|node| {
        snapshot.nodes.get(node).is_some_and(|seen| seen.reach == Reach::Reachable)
    });
    let life = record.map(|record| &record.life);
    let spec = declared.map(|declared| &*declared.spec);
    let object = ObjectId::Replica(key.clone());
    // A report tells of what is under way only once there was another round.
    let under_way = snapshot.in_flight.get(&object);
    let under_way = under_way.map(|one| Reason::InFlight { what: one.what.to_owned() });
    let note = note.or(under_way.as_ref());
    let (state, since) = state(shown, life, spec, note, reachable);
    let message = note
        .map(|note| {
            let text = explain(snapshot, &object, node.as_ref(), note);
            with_last_lines(snapshot, newest, note, text)
        })
        .or_else(|| ended(shown, &state))
        .or_else(|| shown.and_then(|at| health_message(snapshot, at)))
        .or_else(|| declared.is_none().then(|| "it is no longer declared".to_owned()));
    ReplicaStatus {
        ready: reachable && shown.is_some_and(Located::is_ready),
        state,
        since,
        running: reachable
            && shown.is_some_and(|at| matches!(at.container.state, ContainerState::Running { .. })),
        container: shown.map(|at| at.container.name.clone()),
        container_id: shown.map(|at| at.id.to_string()),
        address: shown.and_then(|at| at.container.address.clone()),
        revision: shown.map(|at| at.container.identity.revision.to_string()),
        ports: shown.map(ports).unwrap_or_default(),
        restarts: record.map_or(0, |record| record.restarts.total),
        message,
        nodes: snapshot
            .containers
            .get(&key)
            .map(|located| located.iter().map(|at| at.node.clone()).collect())
            .unwrap_or_default(),
        node,
        replica: key,
    }
}

/// A reason in words, and what the container printed last if it failed.
fn with_last_lines(
    snapshot: &Snapshot,
    newest: Option<&Located>,
    note: &Reason,
    mut text: String,
) -> String {
    if let Reason::Restarting { .. } | Reason::Failed { .. } = note
        && let Some(at) = newest
        && let Some(last) = snapshot.last_lines.get(&at.container.identity.replica)
        && last.container == at.id
        && !last.lines.is_empty()
    {
        text.push_str("; its last lines:");
        for line in &last.lines {
            text.push_str("\n  ");
            text.push_str(line);
        }
    }
    text
}

/// Why a container that runs is not known to be healthy.
fn health_message(snapshot: &Snapshot, at: &Located) -> Option<String> {
    let note = snapshot.health.get(&(at.node.clone(), at.id.clone()))?;
    let text = match at.container.health {
        HealthState::Unknown => format!("its health is not known: {}", note.reason),
        HealthState::Unhealthy => note.reason.clone(),
        HealthState::None | HealthState::Starting | HealthState::Healthy => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

fn state(
    newest: Option<&Located>,
    life: Option<&Life>,
    spec: Option<&InstanceSpec>,
    note: Option<&Reason>,
    reachable: bool,
) -> (String, Option<Timestamp>) {
    if !reachable {
        return ("Unknown".to_owned(), None);
    }
    // Who only looks writes no record of an end that nobody saw before.
    let ended = match life {
        Some(Life::Completed { at } | Life::Failed { at, .. }) => Some(*at),
        Some(Life::New | Life::Started | Life::Stopped) | None => {
            newest.and_then(|at| match &at.container.state {
                ContainerState::Exited(exit) => Some(exit.finished_at),
                ContainerState::Created
                | ContainerState::Running { .. }
                | ContainerState::Paused { .. }
                | ContainerState::Removing => None,
            })
        }
    };
    match note {
        Some(Reason::Completed) => return ("Completed".to_owned(), ended),
        Some(Reason::Failed { .. }) => return ("Failed".to_owned(), ended),
        Some(
            Reason::Restarting { crash_loop: true, .. }
            | Reason::Unhealthy { crash_loop: true, .. },
        ) => {
            return ("CrashLooping".to_owned(), None);
        }
        Some(Reason::Held) => return ("Held".to_owned(), None),
        _ => {}
    }
    let Some(located) = newest else {
        let word = match note {
            Some(Reason::Stalled { .. } | Reason::Unplaced { .. }) => "Stalled",
            Some(Reason::OverQuota { .. }) => "OverQuota",
            Some(Reason::BackingOff { .. }) => "BackingOff",
            Some(Reason::Denied { .. }) => "Denied",
            Some(Reason::Suspended { .. }) => "Suspended",
            _ => "Pending",
        };
        return (word.to_owned(), None);
    };
    match (&located.container.state, located.container.health) {
        (ContainerState::Created, _) => ("Created".to_owned(), Some(located.container.created_at)),
        (ContainerState::Running { since }, HealthState::Unhealthy) => {
            ("Unhealthy".to_owned(), Some(*since))
        }
        (ContainerState::Running { since }, HealthState::Starting) => {
            ("Starting".to_owned(), Some(*since))
        }
        (ContainerState::Running { since }, HealthState::Unknown) => {
            (HEALTH_UNKNOWN.to_owned(), Some(*since))
        }
        (ContainerState::Running { since }, HealthState::None | HealthState::Healthy) => {
            ("Running".to_owned(), Some(*since))
        }
        (ContainerState::Paused { since }, _) => ("Paused".to_owned(), Some(*since)),
        (ContainerState::Exited(exit), _) => match note {
            Some(Reason::Restarting { .. } | Reason::BackingOff { .. }) => {
                ("BackingOff".to_owned(), Some(exit.finished_at))
            }
            None | Some(Reason::InFlight { .. }) if is_started_again(life, spec, exit.code) => {
                // Whether somebody is at it is known from the note alone.
                let word = if note.is_some() { "Restarting" } else { "Ended" };
                (word.to_owned(), Some(exit.finished_at))
            }
            _ => ("Stopped".to_owned(), Some(exit.finished_at)),
        },
        (ContainerState::Removing, _) => ("Removing".to_owned(), None),
    }
}

/// Whether a container that ended with this code shall be started again.
fn is_started_again(life: Option<&Life>, spec: Option<&InstanceSpec>, code: i64) -> bool {
    let Some(spec) = spec.filter(|_| life == Some(&Life::Started)) else { return false };
    let restarts = match spec.restart {
        Restart::Always => true,
        Restart::OnFailure => code != 0,
        Restart::Never => false,
    };
    restarts && spec.power == Power::Running
}

/// What is said of a container that ended, and that nobody is at.
fn ended(newest: Option<&Located>, state: &str) -> Option<String> {
    let exit = newest.and_then(|at| match &at.container.state {
        ContainerState::Exited(exit) => Some(exit),
        ContainerState::Created
        | ContainerState::Running { .. }
        | ContainerState::Paused { .. }
        | ContainerState::Removing => None,
    });
    exit.filter(|_| state == "Ended").map(|exit| {
        let why = if exit.oom_killed { " (killed for its use of memory)" } else { "" };
        format!("ended with exit code {}{why}, and is to be started again", exit.code)
    })
}

fn ports(located: &Located) -> Vec<String> {
    let published = located.container.config.ports.iter().filter_map(|port| {
        let host = port.host.as_ref()?;
        let address = if host.address.is_empty() { "*" } else { &host.address };
        Some(format!("{address}:{}->{}/{}", host.port, port.container, port.protocol.as_str()))
    });
    published.collect()
}
