//! Policies change while the loop runs: all of them at once, between two rounds. And before each
//! round they look at what is declared.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use crate::model::ids::Key;
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

impl Engine {
    pub(super) fn policies_read(&mut self, reading: PolicyReading) {
        let PolicyReading { policies, standing, texts } = reading;
        self.texts(texts);
        self.snapshot.policies = standing;
        if let Some(policies) = policies {
            self.policies = policies;
            // What was settled by others may not be by these.
            self.memo.forget();
            self.want_round();
        }
    }

    /// Has policies look at what is declared. Without a binding that costs nothing; what nothing
    /// happened to since is not asked about again.
    pub(super) fn judge(&mut self) {
        if !self.snapshot.desired.bindings.is_empty() {
            self.learn();
        }
        let desired = &self.snapshot.desired;
        let verdicts = if desired.bindings.is_empty() {
            Verdicts::default()
        } else if let Some(library) = self.policies.library() {
            self.evaluator.replace(Arc::clone(library));
            self.evaluator.renew(desired);
            // Where it is does not matter, but where it may be: a binding of some nodes is about what
            // may come there.
            let pinned = |object: &ObjectRef| {
                let declared = desired.instances.get(&object.key);
                let declared = declared.filter(|_| object.kind == ObjectKind::Instance)?;
                declared.spec.more.placement.as_ref()?.node.clone()
            };
            let evaluation = self.evaluator.evaluate(Point::Plan, self.snapshot.now, pinned);
            verdicts(evaluation, desired.instances.keys())
        } else {
            unjudged(desired.instances.keys(), desired.bindings.keys())
        };
        if self.snapshot.verdicts != verdicts {
            self.snapshot.verdicts = verdicts;
            self.memo.forget();
        }
    }
}

/// What stands in the way, and what people are to hear of.
fn verdicts<'k>(evaluation: &Evaluation, instances: impl Iterator<Item = &'k Key>) -> Verdicts {
    let mut by_instance = BTreeMap::new();
    for key in instances {
        let object = ObjectRef { kind: ObjectKind::Instance, key: key.clone() };
        let own = evaluation.decisions.get(&object).map(|decision| &**decision);
        let part = evaluation.as_parts.get(&object);
        let shown = own.into_iter().chain(part).flat_map(|decision| &decision.verdicts);
        let shown = shown.filter(|verdict| verdict.is_shown() && !verdict.denies());
        let said: Vec<Said> = evaluation
            .denials(&object)
            .map(|verdict| said(verdict, true))
            .chain(own.into_iter().flat_map(unset))
            .chain(shown.map(|verdict| said(verdict, false)))
            .collect();
        if !said.is_empty() {
            by_instance.insert(key.clone(), said);
        }
    }
    Verdicts { instances: by_instance, wake_at: evaluation.wake_at }
}

fn said(verdict: &Verdict, denies: bool) -> Said {
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
fn unjudged<'k>(
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
