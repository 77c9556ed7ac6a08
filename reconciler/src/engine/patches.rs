//! Values that policies give to fields that were not said: they are part of what is declared from
//! then on, and of the revision that is made of it.

use std::collections::BTreeSet;

use super::Engine;
use super::policies::said;
use crate::model::desired::{Declared, DesiredSet};
use crate::model::spec::InstanceSpec;
use crate::model::spec::policy::ObjectKind;
use crate::model::verdicts::Said;
use crate::policy::evaluate::{Decision, PolicyPatch, patched};
use crate::policy::view::ObjectRef;

/// An instance that was given values.
#[derive(Debug)]
pub(super) struct Patched {
    /// As it is declared.
    declared: Declared<InstanceSpec>,
    /// What was given, by whom; or why it cannot be, which denies.
    pub(super) said: Vec<Said>,
}

impl Engine {
    /// Gives instances the values that policies say, among those that were looked at. Whether any
    /// got one: policies look at those again, as they are then.
    pub(super) fn put_patches_on(&mut self, looked_at: &BTreeSet<ObjectRef>) -> bool {
        let evaluation = self.evaluator.evaluation();
        let mut changed = DesiredSet::default();
        for object in looked_at.iter().filter(|object| object.kind == ObjectKind::Instance) {
            let key = &object.key;
            let Some(decision) = evaluation.decisions.get(object) else { continue };
            if decision.patches.is_empty() || self.patched.contains_key(key) {
                continue;
            }
            let Some(declared) = self.snapshot.desired.instances.get(key) else { continue };
            let given: Vec<Said> = match patched(declared, &decision.patches) {
                Ok(None) => continue,
                Ok(Some(with)) => {
                    changed.instances.insert(key.clone(), with);
                    decision
                        .patches
                        .iter()
                        .filter_map(|patch| told(decision, patch, None))
                        .collect()
                }
                Err(error) => {
                    let named = decision.patches.iter().find(|one| {
                        one.policy.to_string() == error.policy && one.patch.path == error.path
                    });
                    let named = named.or(decision.patches.first());
                    let why = Some(error.to_string());
                    named.and_then(|patch| told(decision, patch, why)).into_iter().collect()
                }
            };
            let patched = Patched { declared: declared.clone(), said: given };
            self.patched.insert(key.clone(), patched);
        }
        if changed.instances.is_empty() {
            return false;
        }
        for key in changed.instances.keys() {
            self.memo.touch(key);
        }
        self.snapshot.desired.renew(changed.clone());
        self.evaluator.change(&self.snapshot.desired, &changed);
        true
    }

    /// Takes all values off again: other policies may give others.
    pub(super) fn take_patches_off(&mut self) {
        for (key, Patched { declared, .. }) in std::mem::take(&mut self.patched) {
            if let Some(laid) = self.snapshot.desired.instances.get_mut(&key) {
                *laid = declared;
                self.memo.touch(&key);
            }
        }
    }
}

/// What a policy gives, or why it cannot.
fn told(decision: &Decision, patch: &PolicyPatch, why: Option<String>) -> Option<Said> {
    let of = decision.verdicts.iter().find(|verdict| verdict.policy == patch.policy)?;
    let denies = why.is_some();
    let message =
        why.unwrap_or_else(|| format!("it sets {} to {}", patch.patch.path, patch.patch.value));
    Some(Said { message, denies, ..said(of, denies) })
}
