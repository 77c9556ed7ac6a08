//! Policies change while the loop runs: all of them at once, between two rounds. And before each
//! round they look at what is declared, as far as something about it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use super::patches::Patched;
use crate::model::desired::DesiredSet;
use crate::model::ids::{Key, Name};
use crate::model::journal::Entry;
use crate::model::policies::PolicyStanding;
use crate::model::snapshot::Snapshot;
use crate::model::spec::policy::{Level, ObjectKind, Point};
use crate::model::verdicts::{Asked, PolicyNotes, Said, Verdicts, Whose};
use crate::policy::Policies;
use crate::policy::evaluate::{Evaluation, Verdict};
use crate::policy::library::Library;
use crate::policy::outcome::Outcome;
use crate::policy::view::ObjectRef;

/// What came of reading the policies' directory.
#[derive(Debug, Clone)]
pub struct PolicyReading {
    /// The policies from now on; `None` if those in force go on.
    pub policies: Option<Arc<Policies>>,
    /// How they stand.
    pub standing: PolicyStanding,
    /// Texts whose last good version changed, by the names that records keep them under; `None`
    /// where one is gone.
    pub texts: BTreeMap<Arc<str>, Option<Arc<str>>>,
}

/// What policies have not looked at yet.
#[derive(Debug, Default)]
pub(super) enum Unjudged {
    /// All of it may be other than before.
    #[default]
    All,
    /// These objects are.
    Changes(Vec<DesiredSet>),
}

impl Unjudged {
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Changes(changes) if changes.is_empty())
    }

    pub(super) fn add(&mut self, change: &DesiredSet) {
        match self {
            Self::All => {}
            Self::Changes(changes) => changes.push(change.clone()),
        }
    }
}

impl Engine {
    pub(super) fn policies_read(&mut self, reading: PolicyReading) {
        let PolicyReading { policies, standing, texts } = reading;
        self.texts(texts);
        self.snapshot.policies = standing;
        if let Some(policies) = policies {
            self.policies = (*policies).clone();
            self.unjudged = Unjudged::All;
            // What was settled by others may not be by these.
            self.memo.forget();
            self.want_round();
        }
    }

    /// Has policies look at what is declared. Without a binding that costs nothing; what nothing
    /// happened to since is not asked about again.
    pub(super) fn judge(&mut self) {
        let has_bindings = !self.snapshot.desired.bindings.is_empty();
        let is_learned = has_bindings && self.learn();
        let is_due = self.snapshot.verdicts.wake_at.is_some_and(|at| at <= self.snapshot.now);
        if self.unjudged.is_nothing() && !is_learned && !is_due {
            return;
        }
        let unjudged = std::mem::replace(&mut self.unjudged, Unjudged::Changes(Vec::new()));
        self.sent.clear();
        self.lay_bare();
        if matches!(unjudged, Unjudged::All) {
            self.take_patches_off();
        }
        if !has_bindings {
            self.say(Verdicts::default());
            self.snapshot.policy_notes = PolicyNotes::default();
        } else if let Some(library) = self.policies.library().cloned() {
            self.judge_by(library, unjudged);
        } else {
            self.unjudged = Unjudged::All;
            let said = unjudged_all(&self.snapshot.desired);
            self.say(said);
        }
        self.withhold();
        self.lay();
    }

    /// Has the policies of a library look at what was not judged yet.
    fn judge_by(&mut self, library: Arc<Library>, unjudged: Unjudged) {
        let desired = &self.snapshot.desired;
        let is_anew = match unjudged {
            Unjudged::All => {
                self.evaluator.replace(library);
                self.evaluator.renew(desired);
                self.another_set();
                true
            }
            Unjudged::Changes(changes) => {
                for change in &changes {
                    self.evaluator.change(&self.snapshot.desired, change);
                    if !change.bindings.is_empty() || !change.waivers.is_empty() {
                        self.another_set();
                    } else if change.len() == change.instances.len() {
                        change.instances.keys().for_each(|key| self.scans.touch(key));
                    } else {
                        self.scans.touch_all();
                    }
                }
                false
            }
        };
        let before = self.evaluator.evaluation();
        let set_before = before.set.clone();
        let mut seen: BTreeSet<ObjectRef> = before.as_parts.keys().cloned().collect();
        self.evaluate(&mut seen);
        if self.put_patches_on(&seen) {
            self.evaluate(&mut seen);
        }
        let evaluation = self.evaluator.evaluation();
        // What is said of a project, or of the whole, is said of each instance.
        let is_wide = seen.iter().any(|object| object.kind == ObjectKind::Project)
            || set_before != evaluation.set
            || is_anew;
        let wake_at = evaluation.wake_at;
        self.snapshot.policy_notes = notes(evaluation);
        if is_wide {
            let objects = said_of_all(evaluation, &self.snapshot.desired, &self.patched);
            self.say(Verdicts { objects, wake_at });
        } else {
            let said_of = |object: &ObjectRef| said_of(evaluation, object, &self.patched);
            let said: Vec<(ObjectRef, Vec<Said>)> =
                seen.iter().map(|object| (object.clone(), said_of(object))).collect();
            for (object, said) in said {
                self.say_of(object, said);
            }
            self.snapshot.verdicts.wake_at = wake_at;
        }
        self.note_verdicts(&seen);
    }

    /// Other rules may be in force.
    fn another_set(&mut self) {
        let set = Some(self.evaluator.set());
        if set == self.policy_set {
            self.scans.touch_all();
        } else {
            self.scans.forget();
        }
        self.policy_set = set;
    }

    /// Has policies evaluated, and adds what was looked at.
    fn evaluate(&mut self, seen: &mut BTreeSet<ObjectRef>) {
        let desired = &self.snapshot.desired;
        let placed = |object: &ObjectRef| node_of(desired, object);
        let evaluation = self.evaluator.evaluate(Point::Plan, self.snapshot.now, placed);
        seen.extend(evaluation.as_parts.keys().chain(&evaluation.looked_at).cloned());
    }

    /// Takes what is said of all instances.
    fn say(&mut self, verdicts: Verdicts) {
        if self.snapshot.verdicts != verdicts {
            self.snapshot.verdicts = verdicts;
            self.memo.forget();
        }
    }

    /// Takes what is said of one.
    fn say_of(&mut self, ObjectRef { kind, key }: ObjectRef, said: Vec<Said>) {
        if self.snapshot.verdicts.of(kind, &key) == said {
            return;
        }
        match kind {
            ObjectKind::Instance => self.memo.touch(&key),
            // Others are needed by instances, or open a way to them.
            ObjectKind::Image
            | ObjectKind::Volume
            | ObjectKind::Network
            | ObjectKind::Link
            | ObjectKind::Node
            | ObjectKind::Flavor
            | ObjectKind::Project
            | ObjectKind::PolicyBinding
            | ObjectKind::Waiver => self.memo.forget(),
        }
        if said.is_empty() {
            self.snapshot.verdicts.objects.remove(&(kind, key));
        } else {
            self.snapshot.verdicts.objects.insert((kind, key), said);
        }
    }

    /// Takes off what is laid over the declarations, for policies to look at those.
    fn lay_bare(&mut self) {
        let Snapshot { desired, withheld, asked, .. } = &mut self.snapshot;
        desired.links.append(withheld);
        for (key, declared) in std::mem::take(asked) {
            if let Some(laid) = desired.instances.get_mut(&key) {
                *laid = declared;
                self.memo.touch(&key);
            }
        }
    }

    /// Keeps links from coming that are denied. One that came before it was denied stays in force:
    /// what gets stricter is told, and cuts nobody off.
    fn withhold(&mut self) {
        let Snapshot { desired, verdicts, records, .. } = &self.snapshot;
        let mut kept_out = Vec::new();
        let mut admitted = Vec::new();
        for (key, declared) in &desired.links {
            let object: Arc<str> = format!("Link {key}").into();
            let is_known = records.guard.admitted.get(&object) == Some(&declared.digest);
            let is_denied = verdicts.denial(ObjectKind::Link, key).is_some();
            if is_denied && !is_known {
                kept_out.push(key.clone());
            } else if !is_known {
                admitted.push((object, declared.digest.clone()));
            }
        }
        let is_gone = |object: &&Arc<str>| {
            let key = object.strip_prefix("Link ").and_then(|key| key.parse::<Key>().ok());
            key.is_none_or(|key| !desired.links.contains_key(&key))
        };
        let gone: Vec<Arc<str>> =
            records.guard.admitted.keys().filter(is_gone).map(Arc::clone).collect();
        for (object, digest) in admitted {
            self.record(Entry::Admitted { object, digest: Some(digest) });
        }
        for object in gone {
            self.record(Entry::Admitted { object, digest: None });
        }
        let Snapshot { desired, withheld, .. } = &mut self.snapshot;
        for key in kept_out {
            if let Some(declared) = desired.links.remove(&key) {
                withheld.insert(key, declared);
            }
        }
    }
}

/// Where an object may be, if that is one node: a binding of some nodes is about what may come
/// there, wherever it is now.
fn node_of(desired: &DesiredSet, object: &ObjectRef) -> Option<Name> {
    let declared = desired.instances.get(&object.key);
    let declared = declared.filter(|_| object.kind == ObjectKind::Instance)?;
    declared.spec.more.placement.as_ref()?.node.clone()
}

/// How bindings and waivers do.
fn notes(evaluation: &Evaluation) -> PolicyNotes {
    let mut bindings: BTreeMap<Key, Asked> = BTreeMap::new();
    for ((_, binding), count) in &evaluation.counts {
        let of = bindings.entry(binding.clone()).or_default();
        of.asked += count.asked;
        of.passed += count.passed;
        of.found += count.found;
        of.waived += count.waived;
        of.errors += count.errors;
    }
    let waivers = evaluation.waivers.iter();
    let waivers = waivers.map(|found| (found.waiver.clone(), found.message.clone())).collect();
    PolicyNotes { bindings, waivers }
}

/// What stands in the way, and what people are to hear of.
fn said_of_all(
    evaluation: &Evaluation,
    desired: &DesiredSet,
    patched: &BTreeMap<Key, Patched>,
) -> BTreeMap<Whose, Vec<Said>> {
    let own = evaluation.decisions.keys().chain(evaluation.as_parts.keys());
    let own: BTreeSet<ObjectRef> = own.cloned().collect();
    // What is said of a project, or of the whole, is said of those that no rule looks at, too.
    let instances = desired.instances.keys();
    let instances = instances.map(|key| ObjectRef { kind: ObjectKind::Instance, key: key.clone() });
    let all = own.into_iter().chain(instances);
    let said = all.map(|object| {
        let said = said_of(evaluation, &object, patched);
        ((object.kind, object.key), said)
    });
    said.filter(|(_, said)| !said.is_empty()).collect()
}

fn said_of(
    evaluation: &Evaluation,
    object: &ObjectRef,
    patched: &BTreeMap<Key, Patched>,
) -> Vec<Said> {
    let own = evaluation.decisions.get(object).map(|decision| &**decision);
    let part = evaluation.as_parts.get(object);
    let shown = own.into_iter().chain(part).flat_map(|decision| &decision.verdicts);
    let shown = shown.filter(|verdict| verdict.is_shown() && !verdict.denies());
    let given = patched.get(&object.key).filter(|_| object.kind == ObjectKind::Instance);
    let given = given.into_iter().flat_map(|patched| &patched.said);
    let denials = given.clone().filter(|said| said.denies).cloned();
    evaluation
        .denials(object)
        .map(|verdict| said(verdict, true))
        .chain(denials)
        .chain(shown.map(|verdict| said(verdict, false)))
        .chain(given.filter(|said| !said.denies).cloned())
        .collect()
}

/// A verdict, as plans and people go by it.
pub(super) fn said(verdict: &Verdict, denies: bool) -> Said {
    let message = match &verdict.outcome {
        Outcome::Findings(findings) if !denies => {
            findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        Outcome::Pass { .. } | Outcome::Findings(_) | Outcome::Error(_) => verdict.message(),
    };
    Said {
        policy: verdict.policy.to_string(),
        binding: verdict.binding.clone(),
        level: verdict.level.as_str().to_owned(),
        message,
        waived_by: verdict.waived_by.clone(),
        denies,
    }
}

/// There are bindings, and nobody has read policies: what nobody judged does not come.
fn unjudged_all(desired: &DesiredSet) -> Verdicts {
    let Some(binding) = desired.bindings.keys().next() else { return Verdicts::default() };
    let said = Said {
        policy: "policies".to_owned(),
        binding: binding.clone(),
        level: Level::Hard.as_str().to_owned(),
        message: "no policies are loaded, so nobody can judge it".to_owned(),
        waived_by: None,
        denies: true,
    };
    let of = |kind: ObjectKind, key: &Key| ((kind, key.clone()), vec![said.clone()]);
    let instances = desired.instances.keys().map(|key| of(ObjectKind::Instance, key));
    let links = desired.links.keys().map(|key| of(ObjectKind::Link, key));
    Verdicts { objects: instances.chain(links).collect(), wake_at: None }
}
