//! Asks, and compares what is said with what shall be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reconciler::model::ids::{Key, Name};
use reconciler::model::spec::policy::{Point, PolicyId};
use reconciler::policy::evaluate::{Decision, Verdict};
use reconciler::policy::outcome::{Finding, Outcome, Response};
use reconciler::policy::view::{AskedAction, AskedDrift, AskedExec, AskedRound, Object, ObjectRef};
use reconciler::step::FieldChange;
use serde_json::Value;

use super::form::{Action, Case, Change, Drift, Word};
use super::world::{INSTANCE, World};
use crate::policies::object::object_ref;

/// All that a policy said.
#[derive(Default)]
struct Said {
    verdicts: Vec<Verdict>,
    response: Option<Response>,
    defaults: BTreeMap<String, Value>,
}

/// Asks a case; returns what was said, and what is otherwise than it shall be.
pub(super) fn ask(
    case: &Case,
    world: &mut World,
    policy: &PolicyId,
) -> (Option<Word>, Vec<String>) {
    let said = match said(case, world) {
        Ok(said) => said,
        Err(why) => return (None, vec![why]),
    };
    let verdicts: Vec<&Verdict> = said
        .verdicts
        .iter()
        .filter(|verdict| verdict.policy == *policy && verdict.binding == world.binding)
        .collect();
    let word = verdicts.iter().map(|verdict| Word::of(verdict)).max().unwrap_or(Word::Unasked);
    let mut faults = Vec::new();
    if word != case.verdict {
        let words: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
        let (wanted, words) = (case.verdict.as_str(), words.join("; "));
        let words = if words.is_empty() { "the policy is not asked".to_owned() } else { words };
        faults.push(format!("expected {wanted}, found {}: {words}", word.as_str()));
    }
    let findings = findings(&verdicts);
    differs("findings", case.findings, Some(findings.len()), &mut faults);
    if !case.at.is_empty() {
        let at: Vec<&str> = findings.iter().filter_map(|finding| finding.at.as_deref()).collect();
        let wanted: Vec<&str> = case.at.iter().map(String::as_str).collect();
        if at != wanted {
            faults.push(format!("expected at {}, found {}", list(&wanted), list(&at)));
        }
    }
    if !case.on.is_empty() {
        on(case, &findings, &mut faults);
    }
    if let Some(part) = &case.says
        && !verdicts.iter().any(|verdict| verdict.to_string().contains(part.as_str()))
    {
        let words: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
        faults.push(format!("expected words `{part}`, found {}", words.join("; ")));
    }
    let shown = |response: Response| response.as_str();
    differs("response", case.response.map(shown), said.response.map(shown), &mut faults);
    let show =
        |defaults: &BTreeMap<String, Value>| serde_json::to_string(defaults).unwrap_or_default();
    differs("defaults", case.defaults.as_ref().map(show), Some(show(&said.defaults)), &mut faults);
    (Some(word), faults)
}

fn differs<T: PartialEq + std::fmt::Display>(
    what: &str,
    wanted: Option<T>,
    found: Option<T>,
    faults: &mut Vec<String>,
) {
    let Some(wanted) = wanted else { return };
    match found {
        Some(found) if found == wanted => {}
        Some(found) => faults.push(format!("expected {what} {wanted}, found {found}")),
        None => faults.push(format!("expected {what} {wanted}, found none")),
    }
}

fn list(texts: &[&str]) -> String {
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}

fn findings<'a>(verdicts: &[&'a Verdict]) -> Vec<&'a Finding> {
    let findings = verdicts.iter().map(|verdict| match &verdict.outcome {
        Outcome::Findings(findings) => findings.as_slice(),
        Outcome::Pass { .. } | Outcome::Error(_) => &[],
    });
    findings.flatten().collect()
}

fn on(case: &Case, findings: &[&Finding], faults: &mut Vec<String>) {
    let mut wanted = BTreeSet::new();
    for text in &case.on {
        match object_ref(text) {
            Ok(object) => drop(wanted.insert(object)),
            Err(why) => faults.push(format!("on: {why}")),
        }
    }
    let found: BTreeSet<ObjectRef> =
        findings.iter().filter_map(|finding| finding.on.clone()).collect();
    if wanted != found {
        let show = |objects: &BTreeSet<ObjectRef>| {
            let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
            if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
        };
        faults.push(format!("expected findings on {}, found on {}", show(&wanted), show(&found)));
    }
}

/// Asks about what runs, the action or the drift, if there is one, and else about what is declared.
fn said(case: &Case, world: &mut World) -> Result<Said, String> {
    let about = case.about.as_deref();
    match (&case.action, &case.drift) {
        (Some(action), _) => {
            let action = asked_action(action, about, world)?;
            Ok(Said::of(world.evaluator.action(&Arc::new(action), world.now)))
        }
        (None, Some(drift)) => {
            let drift = asked_drift(drift, about, world)?;
            Ok(Said::of(world.evaluator.drift(&Arc::new(drift), world.now)))
        }
        (None, None) => match &case.running {
            Some(running) => {
                let object = subject(None, about, world)?.seen_running(Arc::new(running.clone()));
                let node = node(running.node.as_ref())?;
                let said = world.evaluator.running(&Arc::new(object), node.as_ref(), world.now);
                Ok(Said::of(said))
            }
            None => declared(case, world),
        },
    }
}

/// What is said of what `about` names; else of the case's instance, or of all objects if it has none,
/// and of the whole.
fn declared(case: &Case, world: &mut World) -> Result<Said, String> {
    let about = case.about.as_deref().map(object_ref).transpose()?;
    if let Some(about) = &about {
        object(about, world)?;
    }
    let own = match (&about, &case.instance) {
        (Some(about), _) => Some(about.clone()),
        (None, Some(_)) => Some(object_ref(INSTANCE)?),
        (None, None) => None,
    };
    let evaluation = world.evaluator.evaluate(Point::Plan, world.now, |_| None);
    let mut said = Said::default();
    for (name, decision) in &evaluation.decisions {
        if own.as_ref().is_none_or(|own| own == name) {
            said.add(decision);
        }
    }
    for (name, decision) in &evaluation.as_parts {
        if about.as_ref().is_none_or(|about| about == name) {
            said.add(decision);
        }
    }
    if about.is_none() {
        said.add(&evaluation.set);
    }
    Ok(said)
}

impl Said {
    fn of(decision: Decision) -> Self {
        let mut said = Self::default();
        said.add(&decision);
        said
    }

    fn add(&mut self, decision: &Decision) {
        let Decision { verdicts, patches, response, asked_for_time: _ } = decision;
        self.verdicts.extend(verdicts.iter().cloned());
        let patches = patches.iter().map(|patch| &patch.patch);
        self.defaults.extend(patches.map(|patch| (patch.path.clone(), patch.value.clone())));
        self.response = self.response.max(*response);
    }
}

/// A declared object.
fn object(name: &ObjectRef, world: &World) -> Result<Arc<Object>, String> {
    let inventory = world.evaluator.inventory();
    let found = inventory.and_then(|inventory| inventory.get(name)).cloned();
    found.ok_or_else(|| format!("the case declares no {name}"))
}

fn subject(named: Option<&str>, about: Option<&str>, world: &World) -> Result<Arc<Object>, String> {
    object(&object_ref(named.or(about).unwrap_or(INSTANCE))?, world)
}

fn node(name: Option<&String>) -> Result<Option<Name>, String> {
    name.map(|name| Name::new(name).map_err(|error| format!("node `{name}`: {error}"))).transpose()
}

fn changes(fields: &[Change]) -> Vec<FieldChange> {
    let change = |Change { field, found, wanted }: &Change| FieldChange {
        field: field.clone(),
        from: found.clone(),
        to: wanted.clone(),
    };
    fields.iter().map(change).collect()
}

fn asked_action(
    action: &Action,
    about: Option<&str>,
    world: &World,
) -> Result<AskedAction, String> {
    let Action { kind, target, replica, node: on, cause, fields, linked_by, round, exec } = action;
    let linked_by = linked_by.iter().map(|name| {
        name.parse::<Key>().map(|key| key.to_string()).map_err(|error| format!("linkedBy: {error}"))
    });
    Ok(AskedAction {
        kind: *kind,
        target: subject(target.as_deref(), about, world)?,
        replica: *replica,
        node: node(on.as_ref())?,
        cause: cause.clone(),
        fields: changes(fields),
        linked_by: linked_by.collect::<Result<_, _>>()?,
        round: AskedRound {
            deletes: round.deletes,
            replaces: round.replaces,
            managed: round.managed,
        },
        exec: exec.as_ref().map(|exec| AskedExec {
            command: exec.command.clone(),
            user: exec.user.clone(),
            privileged: exec.privileged,
        }),
    })
}

fn asked_drift(drift: &Drift, about: Option<&str>, world: &World) -> Result<AskedDrift, String> {
    let Drift { object, replica, node: on, fields } = drift;
    Ok(AskedDrift {
        object: subject(object.as_deref(), about, world)?,
        replica: *replica,
        node: node(on.as_ref())?,
        fields: changes(fields),
    })
}
