//! Policies look at what runs: each round, at what changed, and at all of it. They find, and end
//! nothing: what runs was admitted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use super::policies::said;
use crate::model::desired::Declared;
use crate::model::ids::{ContainerId, Digest, ImageName, Key, Name, ReplicaKey};
use crate::model::snapshot::Located;
use crate::model::spec::InstanceSpec;
use crate::model::spec::policy::ObjectKind;
use crate::model::verdicts::Said;
use crate::policy::evaluate::Decision;
use crate::policy::found;
use crate::policy::outcome::Outcome;
use crate::policy::view::{AskedNote, Object, ObjectRef, Running};

/// What has been looked at.
#[derive(Debug, Default)]
pub(super) struct Scans {
    /// What was said of containers, and of what.
    containers: BTreeMap<(ReplicaKey, ContainerId), Scanned>,
    nodes: BTreeMap<Name, Scanned>,
    /// The day on which that was; scripts may have gone by it.
    day: i64,
    /// What has to be looked at again; all of it if there is none.
    due: Option<BTreeSet<Key>>,
}

#[derive(Debug)]
struct Scanned {
    of: Digest,
    said: Vec<Said>,
}

impl Scans {
    /// Something about containers of an instance changed.
    pub(super) fn touch(&mut self, instance: &Key) {
        if let Some(due) = &mut self.due {
            due.insert(instance.clone());
        }
    }

    /// Anything may have changed.
    pub(super) fn touch_all(&mut self) {
        self.due = None;
    }

    /// All that was said no longer counts: other rules are in force.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Engine {
    /// Has policies look at what runs, as far as it changed.
    pub(super) fn scan(&mut self) {
        if self.snapshot.desired.bindings.is_empty() || !self.evaluator.asks_of_what_runs() {
            if !self.snapshot.scans.is_empty() {
                self.snapshot.scans.clear();
            }
            return self.scans.forget();
        }
        let day = self.snapshot.now.day();
        if self.scans.day != day {
            self.scans.forget();
            self.scans.day = day;
        }
        let due = self.scans.due.replace(BTreeSet::new());
        if due.as_ref().is_some_and(BTreeSet::is_empty) {
            return;
        }
        let replicas: Vec<ReplicaKey> = match &due {
            None => self.snapshot.containers.keys().cloned().collect(),
            Some(instances) => {
                let of = |instance: &Key| {
                    let first = ReplicaKey::new(instance.clone(), 0);
                    let all = self.snapshot.containers.range(first..).map(|(replica, _)| replica);
                    let of_it = all.take_while(|replica| replica.instance == *instance);
                    of_it.cloned().collect::<Vec<_>>()
                };
                instances.iter().flat_map(of).collect()
            }
        };
        for replica in &replicas {
            self.scan_replica(replica);
        }
        let is_there = |replica: &ReplicaKey, id: &ContainerId| {
            let located = self.snapshot.containers.get(replica);
            located.is_some_and(|located| located.iter().any(|at| at.id == *id))
        };
        self.scans.containers.retain(|(replica, id), _| is_there(replica, id));
        if due.is_none() {
            self.scan_nodes();
        }
        self.tell_of_scans();
    }

    fn scan_replica(&mut self, replica: &ReplicaKey) {
        let Some(declared) = self.snapshot.desired.instances.get(&replica.instance).cloned() else {
            return;
        };
        let located = self.snapshot.containers.get(replica).cloned().unwrap_or_default();
        for at in &located {
            let inside = self.looks.of(replica, &at.id);
            let running = found::running(&self.snapshot, replica, &declared, at, inside);
            let of = digest(&declared, &running, at);
            let key = (replica.clone(), at.id.clone());
            if self.scans.containers.get(&key).is_some_and(|scanned| scanned.of == of) {
                continue;
            }
            let said = self.scanned(&replica.instance, &declared, running, at);
            self.scans.containers.insert(key, Scanned { of, said });
        }
    }

    /// What policies say of a container: of what is declared, beside what was found, and of what was
    /// found in its place.
    fn scanned(
        &mut self,
        instance: &Key,
        declared: &Declared<InstanceSpec>,
        running: Running,
        at: &Located,
    ) -> Vec<Said> {
        let found = found::spec(&declared.spec, &at.container.config);
        let found = declared.with(found);
        let running = Arc::new(running);
        let object = |declared: &Declared<InstanceSpec>| {
            let image = match &declared.spec.image {
                ImageName::Declared(key) => self.snapshot.desired.images.get(key),
                ImageName::Reference(_) => None,
            };
            Arc::new(Object::instance(instance, declared, image).seen_running(Arc::clone(&running)))
        };
        let now = self.snapshot.now;
        let asked = self.evaluator.running(&object(declared), Some(&at.node), now);
        let found = self.evaluator.running(&object(&found), Some(&at.node), now);
        let decision = worse(asked, found);
        let replica = running.replica;
        let object = ObjectRef { kind: ObjectKind::Instance, key: instance.clone() };
        let note = AskedNote::Found { object, replica, running: (*running).clone() };
        self.note_decision(&decision, note);
        shown(&decision)
    }

    fn scan_nodes(&mut self) {
        let nodes: Vec<_> = self.snapshot.desired.nodes.keys().cloned().collect();
        self.scans.nodes.retain(|node, _| nodes.contains(node));
        for node in nodes {
            let (Some(seen), Some(declared)) =
                (self.snapshot.nodes.get(&node), self.snapshot.desired.nodes.get(&node))
            else {
                continue;
            };
            let running = Running {
                node: Some(node.to_string()),
                foreign: Some(seen.foreign.clone()),
                ..Running::default()
            };
            let words = serde_json::to_vec(&(&running, &declared.digest)).unwrap_or_default();
            let of = Digest::of(&words);
            if self.scans.nodes.get(&node).is_some_and(|scanned| scanned.of == of) {
                continue;
            }
            let object = Object::node(&node, declared).seen_running(Arc::new(running.clone()));
            let name = object.name().clone();
            let decision =
                self.evaluator.running(&Arc::new(object), Some(&node), self.snapshot.now);
            let note = AskedNote::Found { object: name, replica: None, running };
            self.note_decision(&decision, note);
            self.scans.nodes.insert(node, Scanned { of, said: shown(&decision) });
        }
    }

    /// Lays out what was found for those who ask how things stand. What is said of the declaration
    /// as well is said there.
    fn tell_of_scans(&mut self) {
        let mut all: BTreeMap<(ObjectKind, Key), Vec<Said>> = BTreeMap::new();
        let verdicts = &self.snapshot.verdicts;
        let is_new = |kind: ObjectKind, key: &Key, said: &Said| {
            !verdicts.of(kind, key).iter().any(|known| known.policy == said.policy)
        };
        let mut add = |kind: ObjectKind, key: Key, said: &Said| {
            if is_new(kind, &key, said) {
                let of = all.entry((kind, key)).or_default();
                if !of.contains(said) {
                    of.push(said.clone());
                }
            }
        };
        for ((replica, _), scanned) in &self.scans.containers {
            scanned
                .said
                .iter()
                .for_each(|said| add(ObjectKind::Instance, replica.instance.clone(), said));
        }
        for (node, scanned) in &self.scans.nodes {
            let key = Key::new(Name::default_project(), node.clone());
            scanned.said.iter().for_each(|said| add(ObjectKind::Node, key.clone(), said));
        }
        if self.snapshot.scans != all {
            self.snapshot.scans = all;
        }
    }
}

/// Digest of all that a look at a container goes by, beside the rules.
fn digest(declared: &Declared<InstanceSpec>, running: &Running, at: &Located) -> Digest {
    let parts = (&declared.digest, &declared.labels, running, &at.container.config);
    Digest::of(&serde_json::to_vec(&parts).unwrap_or_default())
}

/// Of two verdicts of each rule the one that finds something.
fn worse(mut asked: Decision, found: Decision) -> Decision {
    for (verdict, other) in asked.verdicts.iter_mut().zip(found.verdicts) {
        if matches!(verdict.outcome, Outcome::Pass { .. }) {
            *verdict = other;
        }
    }
    asked
}

fn shown(decision: &Decision) -> Vec<Said> {
    let shown = decision.verdicts.iter().filter(|verdict| verdict.is_shown());
    shown.map(|verdict| said(verdict, false)).collect()
}
