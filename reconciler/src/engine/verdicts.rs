//! What policies say comes on record, where it changes; and what has to be known of objects that are
//! no longer declared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use crate::model::desired::{Declared, DesiredSet};
use crate::model::ids::{Digest, Key};
use crate::model::journal::{Entry, PolicySetNote, VerdictNote, VerdictOutcome};
use crate::model::snapshot::Snapshot;
use crate::model::spec::policy::{ObjectKind, Point};
use crate::model::time::Timestamp;
use crate::policy::evaluate::{Decision, Verdict};
use crate::policy::outcome::{Outcome, Weight};
use crate::policy::view::{AskedNote, ObjectRef};

impl Engine {
    /// Puts on record what is said of these objects, as far as it is other than before. What passes,
    /// and always did, is not.
    pub(super) fn note_verdicts(&mut self, objects: &BTreeSet<ObjectRef>) {
        let Some(set) = self.policy_set.clone() else { return };
        let mut notes = Vec::new();
        let day = self.snapshot.now.day_begun();
        let Self { evaluator, told, patched, .. } = self;
        let (evaluation, inventory) = (evaluator.evaluation(), evaluator.inventory());
        let mut note = |verdict: &Verdict, inputs: &Digest| {
            let object: Arc<str> = verdict.object.to_string().into();
            let outcome = outcome_of(verdict);
            let given = patched.get(&verdict.object.key);
            let given = given.filter(|_| verdict.object.kind == ObjectKind::Instance);
            let given = given.into_iter().flat_map(|given| &given.said);
            let given = given.filter(|said| *said.policy == *verdict.policy.as_str());
            let given: Vec<String> = given.map(|said| said.message.clone()).collect();
            if outcome != VerdictOutcome::Pass
                || !given.is_empty()
                || told.knows(&object, Point::Plan)
            {
                let mut note = note_of(verdict, &set, inputs_of(verdict, inputs, day), None);
                if outcome == VerdictOutcome::Pass && !given.is_empty() {
                    note.outcome = VerdictOutcome::Info;
                }
                note.findings.extend(given);
                notes.push(note);
            }
        };
        for object in objects {
            let own = evaluation.decisions.get(object);
            if let Some(of) = inventory.and_then(|all| all.get(object)) {
                let verdicts = own.iter().flat_map(|decision| &decision.verdicts);
                verdicts.for_each(|verdict| note(verdict, of.digest()));
            }
        }
        let parts = evaluation.as_parts.values().chain([&evaluation.set]);
        let parts: Vec<&Verdict> = parts.flat_map(|decision| &decision.verdicts).collect();
        if let (Some(all), false) = (inventory, parts.is_empty()) {
            parts.iter().for_each(|verdict| note(verdict, all.digest()));
        }
        let is_gone = |object: &&ObjectRef| {
            !evaluation.decisions.contains_key(object) && !evaluation.as_parts.contains_key(object)
        };
        let gone: Vec<String> = objects.iter().filter(is_gone).map(ToString::to_string).collect();
        gone.iter().for_each(|object| told.forget(object));
        self.judged(&set, notes);
    }

    /// Puts on record what is said of an action or of drift, before anything comes of it.
    pub(super) fn note_decision(&mut self, decision: &Decision, asked: AskedNote) {
        let Some(set) = self.policy_set.clone() else { return };
        let words = serde_json::to_string(&asked).unwrap_or_default();
        let replica = asked.replica();
        let value = serde_json::to_value(asked).unwrap_or_default();
        let inputs = Digest::of(words.as_bytes());
        let now = self.snapshot.now;
        let mut notes = Vec::new();
        for verdict in &decision.verdicts {
            let object: Arc<str> = match replica {
                Some(replica) => format!("{}/{replica}", verdict.object).into(),
                None => verdict.object.to_string().into(),
            };
            if outcome_of(verdict) != VerdictOutcome::Pass
                || self.told.knows(&object, verdict.point)
            {
                let inputs = inputs_of(verdict, &inputs, now);
                let note = note_of(verdict, &set, inputs, Some(value.clone()));
                notes.push(VerdictNote { object, ..note });
            }
        }
        self.judged(&set, notes);
    }

    /// What was protected, and is neither declared nor there any more, has nothing left to protect.
    pub(super) fn forget_protected(&mut self) {
        let Snapshot { records, desired, .. } = &self.snapshot;
        let is_left = |object: &str| {
            let Some((kind, key)) = object.split_once(' ') else { return false };
            let Ok(key) = key.parse::<Key>() else { return false };
            match kind {
                "Instance" => {
                    records.instances.contains_key(&key) || desired.instances.contains_key(&key)
                }
                "Volume" => {
                    records.volumes.contains_key(&key) || desired.volumes.contains_key(&key)
                }
                "Network" => {
                    records.networks.contains_key(&key) || desired.networks.contains_key(&key)
                }
                _ => false,
            }
        };
        let gone = records.guard.protected.keys().filter(|object| !is_left(object));
        for object in gone.cloned().collect::<Vec<_>>() {
            self.record(Entry::Protected { object, labels: None });
        }
    }

    /// What is protected is remembered for the time when no spec says so any more.
    pub(super) fn note_protected(&mut self, objects: &DesiredSet) {
        let DesiredSet { instances, volumes, networks, .. } = objects;
        let mut all: Vec<(ObjectRef, bool, BTreeMap<String, String>)> = Vec::new();
        of_kind(ObjectKind::Instance, instances, |spec| spec.more.protected, &mut all);
        of_kind(ObjectKind::Volume, volumes, |spec| spec.protected, &mut all);
        of_kind(ObjectKind::Network, networks, |spec| spec.protected, &mut all);
        for (object, protected, labels) in all {
            let object: Arc<str> = object.to_string().into();
            let labels = protected.then_some(labels);
            if self.snapshot.records.guard.protected.get(&object) != labels.as_ref() {
                self.record(Entry::Protected { object, labels });
            }
        }
    }
}

fn of_kind<S>(
    kind: ObjectKind,
    declared: &BTreeMap<Key, Declared<S>>,
    is_protected: impl Fn(&S) -> bool,
    all: &mut Vec<(ObjectRef, bool, BTreeMap<String, String>)>,
) {
    for (key, declared) in declared {
        let object = ObjectRef { kind, key: key.clone() };
        let protected = is_protected(&declared.spec);
        let labels = if protected { declared.labels.clone() } else { BTreeMap::new() };
        all.push((object, protected, labels));
    }
}

fn outcome_of(verdict: &Verdict) -> VerdictOutcome {
    match &verdict.outcome {
        Outcome::Pass { .. } => VerdictOutcome::Pass,
        Outcome::Error(_) => VerdictOutcome::Error,
        Outcome::Findings(_) if verdict.waived_by.is_some() => VerdictOutcome::Waived,
        Outcome::Findings(findings) => {
            let denies = findings.iter().any(|finding| finding.weight == Weight::Deny);
            if denies { VerdictOutcome::Fail } else { VerdictOutcome::Info }
        }
    }
}

/// Digest of all that a verdict goes by.
fn inputs_of(verdict: &Verdict, subject: &Digest, now: Timestamp) -> Digest {
    let text = |digest: &Option<Digest>| digest.as_ref().map(ToString::to_string);
    let (script, params) = (text(&verdict.script), text(&verdict.params));
    let words = format!("{subject} {script:?} {params:?} {}", now.0);
    Digest::of(words.as_bytes())
}

fn note_of(
    verdict: &Verdict,
    set: &PolicySetNote,
    inputs: Digest,
    asked: Option<serde_json::Value>,
) -> VerdictNote {
    let findings = match &verdict.outcome {
        Outcome::Pass { .. } => Vec::new(),
        Outcome::Findings(findings) => findings.iter().map(ToString::to_string).collect(),
        Outcome::Error(_) => vec![verdict.message()],
    };
    VerdictNote {
        object: verdict.object.to_string().into(),
        policy: verdict.policy.as_str().into(),
        version: verdict.version.clone().unwrap_or_else(|| Arc::from("")),
        sha256: verdict.script.clone().unwrap_or_else(|| Digest::of(b"")),
        set: set.digest.clone(),
        binding: verdict.binding.to_string().into(),
        level: verdict.level,
        point: verdict.point,
        outcome: outcome_of(verdict),
        waived_by: verdict.waived_by.as_ref().map(|key| key.to_string().into()),
        findings,
        inputs,
        cost: verdict.operations,
        asked: asked.map(Box::new),
    }
}
