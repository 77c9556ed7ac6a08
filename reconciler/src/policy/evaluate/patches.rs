//! Values that policies give to fields that were not said.

use std::collections::BTreeMap;

use serde_json::Value;

use super::verdict::{Decision, PolicyPatch};
use crate::model::desired::Declared;
use crate::model::spec::InstanceSpec;
use crate::policy::outcome::Outcome;
use crate::policy::script::fault::{Failure, FailureKind};

/// Why a patch cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{policy} sets `{path}`: {message}")]
pub struct PatchError {
    /// The policy.
    pub policy: String,
    /// The field.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// Takes out what is said twice. Policies that disagree are an error of each of them, and none of
/// them gets its way.
pub(super) fn settle(decision: &mut Decision) {
    let mut by_path: BTreeMap<String, Vec<PolicyPatch>> = BTreeMap::new();
    for patch in std::mem::take(&mut decision.patches) {
        by_path.entry(patch.patch.path.clone()).or_default().push(patch);
    }
    for (path, patches) in by_path {
        let Some(first) = patches.first() else { continue };
        if patches.iter().all(|other| other.patch.value == first.patch.value) {
            decision.patches.push(first.clone());
            continue;
        }
        let policies: Vec<_> = patches.iter().map(|patch| patch.policy.to_string()).collect();
        let message = format!("{} set different values for `{path}`", policies.join(" and "));
        for verdict in &mut decision.verdicts {
            if patches.iter().any(|patch| patch.policy == verdict.policy) {
                let failure = Failure::at(FailureKind::Runtime, message.clone(), None, None);
                verdict.outcome = Outcome::Error(failure);
                verdict.waived_by = None;
            }
        }
    }
}

/// The declaration with those patches of which nothing is said in it; `None` if there are none. It
/// has digests of its own, so that it is a revision of its own.
///
/// A field is not said if it has no value, or the one that it has by default: a flag that is false
/// counts as not said.
///
/// # Errors
/// A patch of a field that is not there, or with a value that it cannot have.
pub fn patched(
    declared: &Declared<InstanceSpec>,
    patches: &[PolicyPatch],
) -> Result<Option<Declared<InstanceSpec>>, PatchError> {
    let mut spec = serde_json::to_value(&*declared.spec).unwrap_or(Value::Null);
    let mut changed = false;
    for PolicyPatch { policy, patch } in patches {
        let wrong = |message: String| PatchError {
            policy: policy.to_string(),
            path: patch.path.clone(),
            message,
        };
        if set(&mut spec, &patch.path, &patch.value).map_err(wrong)? {
            changed = true;
            // Each is tried by itself, so that an error names the one that makes it.
            let read: Result<InstanceSpec, _> = serde_json::from_value(spec.clone());
            let read = read.map_err(|error| wrong(error.to_string()))?;
            let again = serde_json::to_value(&read).unwrap_or(Value::Null);
            if !is_set(&again, &patch.path, &patch.value) {
                return Err(wrong("there is no such field of a spec".to_owned()));
            }
        }
    }
    if !changed {
        return Ok(None);
    }
    let spec: InstanceSpec = serde_json::from_value(spec).map_err(|error| PatchError {
        policy: String::new(),
        path: "spec".to_owned(),
        message: error.to_string(),
    })?;
    Ok(Some(declared.with(spec)))
}

/// Sets a field of which nothing is said. `Ok(false)` if something is.
fn set(spec: &mut Value, path: &str, value: &Value) -> Result<bool, String> {
    let fields = fields(path)?;
    let Some((last, outer)) = fields.split_last() else { return Err("it is no field".to_owned()) };
    let mut place = spec;
    for name in outer {
        let Value::Object(map) = place else { return Err("it is below no mapping".to_owned()) };
        place = map.entry(*name).or_insert_with(|| Value::Object(serde_json::Map::new()));
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
    }
    let Value::Object(map) = place else { return Err("it is below no mapping".to_owned()) };
    let said = match map.get(*last) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(Value::Bool(true) | Value::Number(_) | Value::String(_)) => true,
    };
    if !said {
        map.insert((*last).to_owned(), value.clone());
    }
    Ok(!said)
}

/// Whether the field is there after a spec was read and written again. Quantities may be written
/// otherwise by then.
fn is_set(spec: &Value, path: &str, value: &Value) -> bool {
    // A flag that is set to what it is anyway is not written.
    if *value == Value::Bool(false) {
        return true;
    }
    let Ok(fields) = fields(path) else { return false };
    let found = fields.iter().try_fold(spec, |place, name| place.get(name));
    found.is_some_and(|found| !found.is_null())
}

fn fields(path: &str) -> Result<Vec<&str>, String> {
    match path.strip_prefix("spec.") {
        Some(rest) if !rest.contains('[') && !rest.is_empty() => Ok(rest.split('.').collect()),
        Some(_) | None => {
            Err("a default is set for a field such as `spec.security.readOnlyRoot`".to_owned())
        }
    }
}
