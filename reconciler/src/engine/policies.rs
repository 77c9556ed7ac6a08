//! Policies change while the loop runs: all of them at once, between two rounds. And before each
//! round they look at what is declared, as far as something about it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use crate::model::desired::DesiredSet;
use crate::model::ids::{Key, Name};
use crate::model::policies::PolicyStanding;
use crate::model::spec::policy::{Level, ObjectKind, Point};
use crate::model::verdicts::{Said, Verdicts};
use crate::policy::Policies;
use crate::policy::evaluate::{Decision, Evaluation, Verdict};
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
        let unjudged = std::mem::replace(&mut self.unjudged, Unjudged::Changes(Vec::new()));
        let desired = &self.snapshot.desired;
        if desired.bindings.is_empty() {
            // One that comes finds nothing that it was told of before.
            self.unjudged = Unjudged::All;
            return self.say(Verdicts::default());
        }
        let Some(library) = self.policies.library() else {
            self.unjudged = Unjudged::All;
            return self.say(unjudged_all(desired.instances.keys(), desired.bindings.keys()));
        };
        let is_anew = match unjudged {
            Unjudged::All => {
                self.evaluator.replace(Arc::clone(library));
                self.evaluator.renew(desired);
                self.policy_set = Some(self.evaluator.set());
                true
            }
            Unjudged::Changes(changes) => {
                for change in &changes {
                    self.evaluator.change(desired, change);
                    if !change.bindings.is_empty() || !change.waivers.is_empty() {
                        self.policy_set = Some(self.evaluator.set());
                    }
                }
                false
            }
        };
        let placed = |object: &ObjectRef| node_of(desired, object);
        let before: BTreeSet<ObjectRef> =
            self.evaluator.evaluation().as_parts.keys().cloned().collect();
        let set_before = self.evaluator.evaluation().set.clone();
        let evaluation = self.evaluator.evaluate(Point::Plan, self.snapshot.now, placed);
        let mut seen: BTreeSet<ObjectRef> = before;
        seen.extend(evaluation.as_parts.keys().cloned());
        // What is said of a project, or of the whole, is said of each instance.
        let is_wide = seen.iter().any(|object| object.kind == ObjectKind::Project)
            || set_before != evaluation.set
            || is_anew;
        seen.extend(evaluation.looked_at.iter().cloned());
        if is_wide {
            let all = verdicts(evaluation, desired.instances.keys());
            self.say(all);
        } else {
            let mut instances = BTreeMap::new();
            for object in seen.iter().filter(|object| object.kind == ObjectKind::Instance) {
                if desired.instances.contains_key(&object.key) {
                    instances.insert(object.key.clone(), said_of(evaluation, &object.key));
                }
            }
            let wake_at = evaluation.wake_at;
            for (key, said) in instances {
                self.say_of(key, said);
            }
            self.snapshot.verdicts.wake_at = wake_at;
        }
        self.note_verdicts(&seen);
    }

    /// Takes what is said of all instances.
    fn say(&mut self, verdicts: Verdicts) {
        if self.snapshot.verdicts != verdicts {
            self.snapshot.verdicts = verdicts;
            self.memo.forget();
        }
    }

    /// Takes what is said of one.
    fn say_of(&mut self, key: Key, said: Vec<Said>) {
        if self.snapshot.verdicts.of(&key) == said {
            return;
        }
        self.memo.touch(&key);
        if said.is_empty() {
            self.snapshot.verdicts.instances.remove(&key);
        } else {
            self.snapshot.verdicts.instances.insert(key, said);
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

/// What stands in the way, and what people are to hear of.
fn verdicts<'k>(evaluation: &Evaluation, instances: impl Iterator<Item = &'k Key>) -> Verdicts {
    let said = instances.map(|key| (key.clone(), said_of(evaluation, key)));
    let instances = said.filter(|(_, said)| !said.is_empty()).collect();
    Verdicts { instances, wake_at: evaluation.wake_at }
}

fn said_of(evaluation: &Evaluation, key: &Key) -> Vec<Said> {
    let object = ObjectRef { kind: ObjectKind::Instance, key: key.clone() };
    let own = evaluation.decisions.get(&object).map(|decision| &**decision);
    let part = evaluation.as_parts.get(&object);
    let shown = own.into_iter().chain(part).flat_map(|decision| &decision.verdicts);
    let shown = shown.filter(|verdict| verdict.is_shown() && !verdict.denies());
    evaluation
        .denials(&object)
        .map(|verdict| said(verdict, true))
        .chain(own.into_iter().flat_map(unset))
        .chain(shown.map(|verdict| said(verdict, false)))
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

/// Values that policies give to fields are not carried out yet. What was asked for would be missing,
/// so it does not come.
fn unset(decision: &Decision) -> impl Iterator<Item = Said> + '_ {
    decision.patches.iter().filter_map(|patch| {
        let of = decision.verdicts.iter().find(|verdict| verdict.policy == patch.policy)?;
        let message = format!(
            "it sets {}, which is not supported yet; write that into the spec",
            patch.patch.path
        );
        Some(Said { message, ..said(of, true) })
    })
}

/// There are bindings, and nobody has read policies: what nobody judged does not come.
fn unjudged_all<'k>(
    instances: impl Iterator<Item = &'k Key>,
    mut bindings: impl Iterator<Item = &'k Key>,
) -> Verdicts {
    let Some(binding) = bindings.next() else { return Verdicts::default() };
    let said = Said {
        policy: "policies".to_owned(),
        binding: binding.clone(),
        level: Level::Hard.as_str().to_owned(),
        message: "no policies are loaded, so nobody can judge it".to_owned(),
        waived_by: None,
        denies: true,
    };
    let instances = instances.map(|key| (key.clone(), vec![said.clone()])).collect();
    Verdicts { instances, wake_at: None }
}
