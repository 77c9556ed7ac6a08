//! Policies are asked about what a round would do, and it is planned again where they say no.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::policies::said;
use crate::model::ids::{Digest, ImageName, Key, Name, ObjectId, ReplicaKey};
use crate::model::spec::policy::{ActionKind, ObjectKind};
use crate::model::time::Timestamp;
use crate::model::verdicts::Said;
use crate::plan::{self, Change, managed};
use crate::policy::answers::{Answers, Drift, DriftAnswer, action_of};
use crate::policy::evaluate::{Decision, Verdict};
use crate::policy::found;
use crate::policy::last;
use crate::policy::outcome::Response;
use crate::policy::view::{
    AskedAction, AskedDrift, AskedExec, AskedNote, AskedRound, Object, ObjectRef,
};
use crate::step::{Action, Cause};

/// So often a round is planned. Each time something else may take the place of what was denied; what
/// nobody was asked about in the end is not done.
const TRIES_MAX: u32 = 8;

/// What a script that asked for the time said of an action is asked again after so long, in
/// milliseconds: windows open and close.
const ASKED_AGAIN_AFTER_MS: i64 = 60_000;

impl Engine {
    /// Plans, and asks policies about what is planned, until nothing that is denied is left in it.
    pub(super) fn plan_as_allowed(&mut self) {
        let has_bindings = !self.snapshot.desired.bindings.is_empty();
        let mut answers = Answers {
            asks_of_actions: has_bindings && self.evaluator.asks_of_actions(),
            asks_of_drift: has_bindings && self.evaluator.asks_of_drift(),
            asks_of_what_is_sent: has_bindings && self.evaluator.asks_of_objects(),
            ..Answers::default()
        };
        if has_bindings && self.policies.library().is_none() {
            // Nobody has read policies yet, so nobody can say that something may be done.
            answers = Answers {
                asks_of_actions: true,
                asks_of_drift: true,
                asks_of_what_is_sent: true,
                is_closed: true,
                ..Answers::default()
            };
        }
        for tries in 1.. {
            self.policies.answer(answers.clone());
            (self.plan, self.report) =
                plan::plan_again(&self.snapshot, &self.policies, &mut self.memo);
            if answers.is_closed || !self.ask(&mut answers) {
                break;
            }
            answers.is_closed = tries >= TRIES_MAX;
        }
    }

    /// Asks about what is planned and was not asked about yet. Whether an answer changes something.
    fn ask(&mut self, answers: &mut Answers) -> bool {
        let mut changes = false;
        let now = self.snapshot.now;
        if answers.asks_of_drift {
            for drift in self.plan.drift.clone() {
                let known = answers.drift.get(&drift.object);
                if known.is_some_and(|known| known.fields == drift.fields) {
                    continue;
                }
                let asked = Arc::new(self.asked_of_drift(&drift));
                let decision = self.evaluator.drift(&asked, now);
                let response = response(&decision);
                changes |= response.is_some();
                self.note_decision(&decision, asked.note());
                let answer = DriftAnswer { fields: drift.fields, response };
                answers.drift.insert(drift.object, answer);
            }
        }
        if answers.asks_of_what_is_sent {
            changes |= self.ask_of_what_is_sent(answers);
        }
        if answers.asks_of_actions {
            let unasked: Vec<(Change, ActionKind)> = self
                .planned()
                .filter(|(change, action)| {
                    !answers.actions.contains_key(&(change.object.clone(), *action))
                })
                .collect();
            let denied = answers.actions.iter().filter(|(_, answer)| answer.is_some());
            let earlier: Vec<ActionKind> = denied.map(|((_, action), _)| *action).collect();
            let round = self.round_in_numbers(&earlier);
            for (change, kind) in unasked {
                let asked = Arc::new(self.asked_of(&change, kind, round));
                let decision = self.evaluator.action(&asked, now);
                let answer = decision.denials().next().map(|verdict| said(verdict, true));
                if answer.is_some() {
                    changes = true;
                    if decision.asked_for_time {
                        let at = Timestamp(now.0 + ASKED_AGAIN_AFTER_MS);
                        answers.again_at = Some(at);
                    }
                }
                self.note_decision(&decision, asked.note());
                answers.actions.insert((change.object, kind), answer);
            }
        }
        changes
    }

    /// Asks about containers as they would be made: whatever was done to a declaration on its way,
    /// what is sent is what was judged. What stands in the way of the declaration itself is not
    /// asked about again: a revision that was admitted may come anew.
    fn ask_of_what_is_sent(&mut self, answers: &mut Answers) -> bool {
        let goals: BTreeMap<&ObjectId, &Digest> =
            self.plan.changes.iter().map(|change| (&change.object, &change.goal)).collect();
        let (mut made, mut changes) = (Vec::new(), false);
        for step in &self.plan.steps {
            let (Action::CreateContainer { config, .. }, ObjectId::Replica(replica)) =
                (&step.action, &step.object)
            else {
                continue;
            };
            if answers.sent.contains_key(&step.object) {
                continue;
            }
            let desired = &self.snapshot.desired;
            let Some(declared) = desired.instances.get(&replica.instance) else { continue };
            let goal = goals.get(&step.object).map_or(&declared.digest, |goal| *goal);
            let of = Digest(format!("{goal} {}", declared.digest).into());
            if let Some((known, answer)) = self.sent.get(&step.object)
                && *known == of
            {
                // A round comes with each step that ends; most of what it makes was asked about.
                changes |= answer.is_some();
                answers.sent.insert(step.object.clone(), answer.clone());
                continue;
            }
            let image = match &declared.spec.image {
                ImageName::Declared(key) => desired.images.get(key),
                ImageName::Reference(_) => None,
            };
            let spec = found::spec(&declared.spec, config);
            let object = Object::instance(&replica.instance, &declared.with(spec), image);
            let (id, node) = (step.object.clone(), step.node.clone());
            made.push((id, of, replica.clone(), node, Arc::new(object)));
        }
        for (id, of, replica, node, object) in made {
            let decision = self.evaluator.sent(&object, &node, self.snapshot.now);
            let known = self.snapshot.verdicts.of(ObjectKind::Instance, &replica.instance);
            let is_new = |verdict: &&Verdict| {
                !known.iter().any(|said| said.denies && *said.policy == *verdict.policy.as_str())
            };
            let denial = decision.denials().find(is_new).map(|verdict| said(verdict, true));
            if denial.is_some() {
                changes = true;
                let (object, replica) = (object.name().clone(), Some(replica.ordinal));
                self.note_decision(&decision, AskedNote::Sent { object, replica });
            }
            self.sent.insert(id.clone(), (of, denial.clone()));
            answers.sent.insert(id, denial);
        }
        changes
    }

    /// What is planned that policies are asked about.
    fn planned(&self) -> impl Iterator<Item = (Change, ActionKind)> + '_ {
        let mut steps = self.plan.steps.iter().peekable();
        self.plan.changes.iter().filter_map(move |change| {
            let mut actions: Vec<Action> = Vec::new();
            while let Some(step) = steps.next_if(|step| step.object == change.object) {
                actions.push(step.action.clone());
            }
            Some((change.clone(), action_of(change, &actions)?))
        })
    }

    /// How much the round removes and replaces, with what was denied in it so far: who may not
    /// remove ten at once may not remove nine of them in its place.
    fn round_in_numbers(&self, denied: &[ActionKind]) -> AskedRound {
        let planned = self.planned().map(|(_, action)| action);
        let all: Vec<ActionKind> = planned.chain(denied.iter().copied()).collect();
        let count = |kind| all.iter().filter(|action| **action == kind).count() as u64;
        AskedRound {
            deletes: count(ActionKind::Delete),
            replaces: count(ActionKind::Replace),
            managed: u64::from(managed(&self.snapshot)),
        }
    }

    fn asked_of(&self, change: &Change, kind: ActionKind, round: AskedRound) -> AskedAction {
        let fields = match &change.cause {
            Cause::Changed { fields } | Cause::Drifted { fields } => fields.clone(),
            Cause::Declared
            | Cause::Needed { .. }
            | Cause::Missing
            | Cause::Ended { .. }
            | Cause::Unhealthy { .. }
            | Cause::Restarted { .. }
            | Cause::Power { .. }
            | Cause::Unfinished
            | Cause::Superseded
            | Cause::Drained { .. }
            | Cause::NotDeclared
            | Cause::ScaledDown
            | Cause::Down => Vec::new(),
        };
        let target = match (&change.object, &change.cause) {
            // No Image stands for a plain reference: it is pulled for an instance.
            (ObjectId::Image { image: ImageName::Reference(_), .. }, Cause::Needed { by }) => {
                match by.parse() {
                    Ok(key) => self.target_named(&ObjectRef { kind: ObjectKind::Instance, key }),
                    Err(_) => self.target(&change.object),
                }
            }
            _ => self.target(&change.object),
        };
        let linked_by = match &change.object {
            ObjectId::Replica(replica) => self.linked_by(&replica.instance),
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => Vec::new(),
        };
        AskedAction {
            kind,
            target,
            replica: ordinal(&change.object),
            node: Some(change.node.clone()),
            cause: change.cause.to_string(),
            fields,
            linked_by,
            round,
            exec: None,
        }
    }

    fn asked_of_drift(&self, drift: &Drift) -> AskedDrift {
        AskedDrift {
            object: self.target(&drift.object),
            replica: ordinal(&drift.object),
            node: Some(drift.node.clone()),
            fields: drift.fields.clone(),
        }
    }

    /// What policies are asked about: what is declared, or what was declared last.
    fn target(&self, object: &ObjectId) -> Arc<Object> {
        self.target_named(&declared_as(object))
    }

    pub(super) fn target_named(&self, name: &ObjectRef) -> Arc<Object> {
        let declared = self.evaluator.inventory().and_then(|all| all.get(name));
        declared.cloned().unwrap_or_else(|| Arc::new(last::object(&self.snapshot.records, name)))
    }

    /// Whether a command may be run in a replica.
    ///
    /// # Errors
    /// Who says that it may not.
    pub fn may_run(
        &mut self,
        replica: &ReplicaKey,
        exec: AskedExec,
        by: &str,
    ) -> Result<(), Box<Said>> {
        if self.snapshot.desired.bindings.is_empty() {
            return Ok(());
        }
        if self.policies.library().is_none() {
            return Err(Box::new(Said::unasked()));
        }
        // It waits for no round, and what is bound may have changed since the last one.
        self.judge();
        let object = ObjectId::Replica(replica.clone());
        let node = self.snapshot.containers.get(replica).and_then(|all| all.first());
        let asked = Arc::new(AskedAction {
            kind: ActionKind::Exec,
            target: self.target(&object),
            replica: Some(replica.ordinal),
            node: node.map(|at| at.node.clone()),
            cause: format!("asked for by {by}"),
            fields: Vec::new(),
            linked_by: self.linked_by(&replica.instance),
            round: AskedRound {
                managed: u64::from(managed(&self.snapshot)),
                ..AskedRound::default()
            },
            exec: Some(exec),
        });
        let decision = self.evaluator.action(&asked, self.snapshot.now);
        self.note_decision(&decision, asked.note());
        match decision.denials().next() {
            Some(verdict) => Err(Box::new(said(verdict, true))),
            None => Ok(()),
        }
    }

    /// Who talks to an instance by a Link, and is declared.
    fn linked_by(&self, instance: &Key) -> Vec<String> {
        let links = self.snapshot.desired.links.values();
        let to_it = links.filter(|declared| declared.spec.to == *instance);
        let mut from: Vec<String> = to_it.map(|declared| declared.spec.from.to_string()).collect();
        from.sort_unstable();
        from.dedup();
        from
    }
}

/// Which replica it is.
fn ordinal(object: &ObjectId) -> Option<u32> {
    if let ObjectId::Replica(replica) = object { Some(replica.ordinal) } else { None }
}

/// What is declared that it comes from; the node, where nothing is.
fn declared_as(object: &ObjectId) -> ObjectRef {
    let (kind, key) = match object {
        ObjectId::Replica(replica) => (ObjectKind::Instance, replica.instance.clone()),
        ObjectId::Volume { volume, .. } => (ObjectKind::Volume, volume.clone()),
        ObjectId::Network { network, .. } => (ObjectKind::Network, network.clone()),
        ObjectId::Image { image: ImageName::Declared(key), .. } => (ObjectKind::Image, key.clone()),
        ObjectId::Image { image: ImageName::Reference(_), node }
        | ObjectId::Fence { node }
        | ObjectId::Group { node, .. } => {
            (ObjectKind::Node, Key::new(Name::default_project(), node.clone()))
        }
    };
    ObjectRef { kind, key }
}

/// What becomes of drift, and who says so.
fn response(decision: &Decision) -> Option<(Response, Said)> {
    if let Some(verdict) = decision.denials().next() {
        let response = decision.response.unwrap_or(Response::Report).max(Response::Report);
        return Some((response, said(verdict, true)));
    }
    let response = decision.response?;
    let verdict = decision.verdicts.iter().find(|verdict| verdict.level.denies())?;
    Some((response, said(verdict, false)))
}
