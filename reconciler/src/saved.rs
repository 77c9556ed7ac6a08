//! Saved plans: what a plan rests on, as digests, and what has changed since.
//!
//! A saved plan lists steps by object, node and verb; what a step needs beyond that (the value of
//! a variable, the content of a file) is taken from the specs again when it is applied, and has to
//! have the same digest. So it holds no secret value. Digests are keyed by the owner's id, which is
//! not in the file, so that a short secret cannot be guessed from one.
//!
//! It rests on all declarations, all of our containers, what records say of them, and on which
//! nodes answer. What images, volumes and networks a node holds is not among that: nodes are
//! shared, and a step that is needed for one of them, and not listed, stops the plan anyway
//! (`engine/bound.rs`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::desired::{Declared, Spec};
use crate::model::ids::{Digest, Name, ObjectId, OwnerId};
use crate::model::journal::Entry;
use crate::model::observed::{ContainerState, Reach};
use crate::model::record::{
    GuardRecord, ImageRecord, InstanceRecord, NetworkRecord, NodeRecord, Records, ReplicaRecord,
    VolumeRecord,
};
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;
use crate::plan::Plan;
use crate::step::Step;

/// Version of the form of saved plans. A higher one is refused: a newer windlass wrote it.
pub const PLAN_VERSION: u32 = 1;

/// A plan, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedPlan {
    /// Version of the form: [`PLAN_VERSION`].
    pub windlass_plan: u32,
    /// Where it comes from.
    pub made: Made,
    /// Random; makes the same plan have other digests in another file.
    pub salt: String,
    /// Tells the state directory that it was made for; none if that was still new.
    pub state: Option<Digest>,
    /// What it rests on.
    pub rests: Rests,
    /// All steps until everything is as declared, those of later rounds included.
    pub steps: Vec<ListedStep>,
}

/// Where a plan comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// When, in milliseconds since 1970.
    pub at: Timestamp,
    /// By whom: `user@host`.
    pub by: String,
    /// By which version of windlass.
    pub windlass: String,
    /// From which specs directory: an absolute path.
    pub specs: String,
}

/// What a plan rests on, by what people call it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rests {
    /// Declarations: `Instance shop/web`; the note is their place.
    pub specs: BTreeMap<String, Part>,
    /// Containers and nodes: `container shop.web.0.1 on n1`; the note is their state.
    pub observed: BTreeMap<String, Part>,
    /// Records: `instance shop/web`.
    pub records: BTreeMap<String, Part>,
}

/// One thing that a plan rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What people want to know of it when it has changed.
    pub note: String,
    /// Its keyed digest.
    pub digest: Digest,
}

/// A step of a saved plan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedStep {
    /// What it works on.
    pub object: ObjectId,
    /// Where.
    pub node: Name,
    /// What is done: `create`, `pull image`.
    pub verb: String,
    /// Whether nothing comes in the place of what it removes.
    pub for_good: bool,
    /// Why, in words.
    pub cause: String,
}

impl ListedStep {
    /// What a saved plan says of a step.
    #[must_use]
    pub fn of(step: &Step) -> Self {
        use crate::step::Action;
        let for_good = match &step.action {
            Action::RemoveContainer { for_good, .. } => *for_good,
            Action::RemoveVolume { .. }
            | Action::RemoveNetwork { .. }
            | Action::RemoveCopy { .. } => true,
            Action::PullImage { .. }
            | Action::LoadImage { .. }
            | Action::ImportImage { .. }
            | Action::CreateVolume { .. }
            | Action::CreateNetwork { .. }
            | Action::ConnectNetwork { .. }
            | Action::DisconnectNetwork { .. }
            | Action::PutFiles { .. }
            | Action::SetRules { .. }
            | Action::SetGroup { .. }
            | Action::SetHosts { .. }
            | Action::CreateContainer { .. }
            | Action::StartContainer { .. }
            | Action::StopContainer { .. }
            | Action::PauseContainer { .. }
            | Action::UnpauseContainer { .. }
            | Action::UpdateContainer { .. }
            | Action::RenameContainer { .. } => false,
        };
        Self {
            object: step.object.clone(),
            node: step.node.clone(),
            verb: step.action.verb().to_owned(),
            for_good,
            cause: step.cause.to_string(),
        }
    }
}

impl std::fmt::Display for ListedStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { object, node, verb, for_good: _, cause } = self;
        write!(f, "{object}: {verb} on {node} ({cause})")
    }
}

/// Makes the digests of one saved plan.
#[derive(Debug, Clone)]
pub struct Seal {
    key: String,
}

impl Seal {
    /// A seal for plans of this owner; none while the state directory is new.
    #[must_use]
    pub fn new(salt: &str, owner: Option<&OwnerId>) -> Self {
        let owner = owner.map_or("", |owner| owner.0.as_str());
        // Hashed first: then the key is no prefix that a longer text could go on from.
        Self { key: Digest::of(format!("{salt}\n{owner}").as_bytes()).0.to_string() }
    }

    fn digest(&self, text: &str) -> Digest {
        let inner = Digest::of(format!("{}\n{text}", self.key).as_bytes());
        Digest::of(format!("{}\n{inner}", self.key).as_bytes())
    }

    fn part(&self, note: String, what: &impl Serialize) -> Part {
        // Models have sorted maps and keys that are texts: the same value always has the same
        // form, and writing it cannot fail.
        let text = serde_json::to_string(what).unwrap_or_default();
        Part { note, digest: self.digest(&text) }
    }
}

impl SavedPlan {
    /// Saves what `plan` began and `steps` go on with. `is_new`: the state directory holds nothing
    /// yet, so the owner in `snapshot` is not the one that it will have.
    #[must_use]
    pub fn new(
        snapshot: &Snapshot,
        plan: &Plan,
        steps: Vec<ListedStep>,
        made: Made,
        salt: String,
        is_new: bool,
    ) -> Self {
        let owner = snapshot.records.owner.as_ref().filter(|_| !is_new);
        let seal = Seal::new(&salt, owner);
        let removes = steps.iter().any(|step| step.for_good);
        let rests = Rests::of(snapshot, plan, &seal, owner.is_some(), removes);
        let state = owner.map(|_| seal.digest("owner"));
        Self { windlass_plan: PLAN_VERSION, made, salt, state, rests, steps }
    }

    fn seal(&self, snapshot: &Snapshot) -> Seal {
        Seal::new(&self.salt, snapshot.records.owner.as_ref().filter(|_| self.state.is_some()))
    }

    /// What changed since it was made, in words; nothing if it can be applied as it stands.
    #[must_use]
    pub fn changes_since(&self, snapshot: &Snapshot, plan: &Plan) -> Vec<String> {
        let seal = self.seal(snapshot);
        if self.state.as_ref().is_some_and(|state| *state != seal.digest("owner")) {
            return vec!["it was made for another state directory".to_owned()];
        }
        let (has_owner, removes) = (self.state.is_some(), self.rests.records.contains_key(GUARD));
        let now = Rests::of(snapshot, plan, &seal, has_owner, removes);
        let Rests { specs, observed, records } = &now;
        let mut found = specs_changed(&self.rests.specs, specs);
        found.extend(changed(&self.rests.observed, observed).filter_map(observed_changed));
        found.extend(changed(&self.rests.records, records).map(record_changed));
        found
    }

    /// What changed of the declarations alone, in words.
    #[must_use]
    pub fn specs_changed_since(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut specs = BTreeMap::new();
        declarations(snapshot, &self.seal(snapshot), &mut specs);
        specs_changed(&self.rests.specs, &specs)
    }
}

fn specs_changed(was: &BTreeMap<String, Part>, is: &BTreeMap<String, Part>) -> Vec<String> {
    let words = |(what, was, is): Difference<'_>| match (was, is) {
        (_, None) => {
            format!("{what} is no longer declared (it was in {})", was.map_or("", |was| &was.note))
        }
        (None, Some(is)) => format!("{what} is newly declared ({})", is.note),
        (Some(_), Some(is)) => format!("{what} is declared otherwise now ({})", is.note),
    };
    changed(was, is).map(words).collect()
}

fn observed_changed((what, was, is): Difference<'_>) -> Option<String> {
    Some(match (was, is) {
        // A record says it by now, and is told.
        (Some(_), None) if what.starts_with(IMAGE) => return None,
        (None, _) => format!("{what} is new"),
        (Some(_), None) => format!("{what} is gone"),
        (Some(was), Some(is)) if was.note != is.note => {
            format!("{what}: was {}, is {}", was.note, is.note)
        }
        (Some(_), Some(_)) => format!("{what} is another one, or was changed"),
    })
}

fn record_changed((what, was, is): Difference<'_>) -> String {
    if what == POLICIES {
        return format!("{what} are others now");
    }
    match (what.strip_prefix(SUSPENSION), was, is) {
        (Some(target), None, _) => format!("{target} was suspended"),
        (Some(target), Some(_), _) => format!("{target} was resumed"),
        (None, None, _) => format!("the record of {what} is new: windlass worked meanwhile"),
        (None, Some(_), None) => format!("the record of {what} is gone: windlass worked meanwhile"),
        (None, Some(_), Some(_)) => {
            format!("the record of {what} changed: windlass worked meanwhile")
        }
    }
}

/// What it is, what it was, and what it is now.
type Difference<'a> = (&'a str, Option<&'a Part>, Option<&'a Part>);

/// What is in one and not in the other, or not the same.
fn changed<'a>(
    was: &'a BTreeMap<String, Part>,
    is: &'a BTreeMap<String, Part>,
) -> impl Iterator<Item = Difference<'a>> {
    let old = was.iter().filter_map(|(what, part)| {
        let now = is.get(what);
        let same = now.is_some_and(|now| now.digest == part.digest);
        (!same).then_some((what.as_str(), Some(part), now))
    });
    let new = is.iter().filter(|(what, _)| !was.contains_key(*what));
    old.chain(new.map(|(what, part)| (what.as_str(), None, Some(part))))
}

/// How parts are called that say what is suspended.
const SUSPENSION: &str = "suspension of ";

/// How parts are called that say what an image is, where no record says it yet.
const IMAGE: &str = "image ";

/// What the guard against mass deletion goes by; only removals rest on it.
const GUARD: &str = "removals so far";

/// What verdicts go by.
const POLICIES: &str = "the policies";

impl Rests {
    fn of(
        snapshot: &Snapshot,
        plan: &Plan,
        seal: &Seal,
        has_owner: bool,
        with_guard: bool,
    ) -> Self {
        let mut rests = Self::default();
        declarations(snapshot, seal, &mut rests.specs);
        rests.observed = observed(snapshot, plan, seal);
        rests.records = records(&snapshot.records, seal, has_owner);
        // Another policy may say otherwise of the very same steps.
        if let Some(digest) = &snapshot.policies.digest {
            let part = seal.part(String::new(), digest);
            rests.records.insert(POLICIES.to_owned(), part);
        }
        if with_guard {
            let GuardRecord {
                root,
                managed: _,
                removed,
                approval,
                protected: _,
                admitted: _,
                checkout: _,
            } = &snapshot.records.guard;
            let part = seal.part(String::new(), &(&snapshot.root, root, removed, approval));
            rests.records.insert(GUARD.to_owned(), part);
        }
        rests
    }
}

fn declarations(snapshot: &Snapshot, seal: &Seal, parts: &mut BTreeMap<String, Part>) {
    let crate::model::desired::DesiredSet {
        instances,
        images,
        volumes,
        networks,
        links,
        flavors,
        projects,
        nodes,
        bindings,
        waivers,
    } = &snapshot.desired;
    each("Instance", instances, seal, parts);
    each("Image", images, seal, parts);
    each("Volume", volumes, seal, parts);
    each("Network", networks, seal, parts);
    each("Link", links, seal, parts);
    each("Flavor", flavors, seal, parts);
    each("Project", projects, seal, parts);
    each("Node", nodes, seal, parts);
    each("PolicyBinding", bindings, seal, parts);
    each("Waiver", waivers, seal, parts);
}

fn each<K: std::fmt::Display, S: Spec>(
    kind: &str,
    all: &BTreeMap<K, Declared<S>>,
    seal: &Seal,
    parts: &mut BTreeMap<String, Part>,
) {
    for (key, declared) in all {
        let Declared { labels, annotations: _, spec: _, digest, basis: _, source, stale: _ } =
            declared;
        // Labels of nodes decide on placement. Annotations, and where it stands, decide on nothing.
        let part = seal.part(source.to_string(), &(digest, labels));
        parts.insert(format!("{kind} {key}"), part);
    }
}

fn observed(snapshot: &Snapshot, plan: &Plan, seal: &Seal) -> BTreeMap<String, Part> {
    let mut parts = BTreeMap::new();
    for (node, seen) in &snapshot.nodes {
        let (answers, note) = match &seen.reach {
            Reach::Reachable => (true, "answering"),
            Reach::Unseen | Reach::Unreachable { .. } => (false, "not answering"),
        };
        let engine = seen.engine.as_ref().filter(|_| answers).map(|engine| &engine.id);
        parts.insert(format!("node {node}"), seal.part(note.to_owned(), &(answers, engine)));
    }
    for at in snapshot.containers.values().flatten() {
        let container = &at.container;
        // Since when it runs decides on nothing.
        let (state, exit) = match &container.state {
            ContainerState::Created => ("created", None),
            ContainerState::Running { .. } if at.is_ready() => ("running", None),
            ContainerState::Running { .. } => ("running and not ready", None),
            ContainerState::Paused { .. } => ("paused", None),
            ContainerState::Exited(exit) => ("ended", Some(exit)),
            ContainerState::Removing => ("being removed", None),
        };
        let what = (&at.id, state, exit, &container.identity, &container.image, &container.config);
        let mut name = format!("container {} on {}", container.name, at.node);
        // Two with one name cannot be on one node; should an engine say so, none hides the other.
        while parts.contains_key(&name) {
            name.push('\'');
        }
        parts.insert(name, seal.part(state.to_owned(), &what));
    }
    for entry in &plan.decisions {
        if let Entry::Resolved { image, source: _, node, id, pinned } = entry {
            let part = seal.part(id.to_string(), &(id, pinned));
            parts.insert(format!("{IMAGE}{image} on {node}"), part);
        }
    }
    parts
}

fn records(records: &Records, seal: &Seal, has_owner: bool) -> BTreeMap<String, Part> {
    // Failures are left out: to apply is to try again.
    let Records {
        owner: _,
        instances,
        images,
        volumes,
        networks,
        nodes,
        guard: _, // stands apart: see GUARD
        suspended,
        rollouts,
        kept: _,  // nothing is planned from it but what rollouts name
        texts: _, // stand in the declarations
    } = records;
    let mut parts = BTreeMap::new();
    let mut add = |name: String, part: Part| parts.insert(name, part);
    for (key, record) in instances {
        let InstanceRecord {
            uid,
            generation: _,
            digest: _,
            history: _,
            waits_for: _, // follows from what is declared
            addresses: _, // stand in revisions
            replicas,
        } = record;
        let replicas: Vec<_> = replicas
            .iter()
            .map(|(ordinal, record)| {
                let ReplicaRecord {
                    node,
                    incarnation,
                    address: _, // is chosen anew for what is made
                    joined: _,  // containers show it
                    revision,
                    confirmed,
                    slot,
                    applied,
                    life,
                    restarts,
                    started_at: _, // says when, not what
                    replaced: _,   // how often says when, not what
                    earlier: _,
                    failure: _,
                } = record;
                let made = (node, incarnation, revision, confirmed, slot);
                (ordinal, made, applied, life, restarts)
            })
            .collect();
        add(format!("instance {key}"), seal.part(String::new(), &(uid, replicas)));
    }
    for (name, record) in images {
        let ImageRecord { source, content, pinned, ids, at: _, failures: _ } = record;
        if content.is_some() || !ids.is_empty() {
            let part = seal.part(String::new(), &(source, content, pinned, ids));
            add(format!("image {name}"), part);
        }
    }
    for (key, record) in volumes {
        let VolumeRecord { retain, nodes, failures: _ } = record;
        if !nodes.is_empty() {
            add(format!("volume {key}"), seal.part(String::new(), &(retain, nodes)));
        }
    }
    for (key, record) in networks {
        let NetworkRecord { nodes, failures: _, subnet: _ } = record;
        if !nodes.is_empty() {
            add(format!("network {key}"), seal.part(String::new(), nodes));
        }
    }
    // A new state directory has no owner yet, and control groups are called after it.
    for (name, record) in nodes.iter().filter(|_| has_owner) {
        let NodeRecord {
            engine,
            endpoint: _,
            cgroup_root,
            cordon: _,
            rules: _,
            link_networks: _, // rests on what is seen
            cores: _,         // are chosen anew for what is made; containers show them
            failure: _,
            groups: _, // rests on what is declared
        } = record;
        add(format!("node {name}"), seal.part(String::new(), &(engine, cgroup_root)));
    }
    for (name, record) in nodes {
        if let Some(cordon) = &record.cordon {
            add(format!("cordon of node {name}"), seal.part(String::new(), &cordon.drain));
        }
    }
    for (key, rollout) in rollouts {
        add(format!("rollout {key}"), seal.part(String::new(), rollout));
    }
    for (target, _) in suspended.all() {
        add(format!("{SUSPENSION}{target}"), seal.part(String::new(), &()));
    }
    parts
}

#[cfg(test)]
mod tests;
