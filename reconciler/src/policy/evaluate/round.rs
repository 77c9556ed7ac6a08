//! A round over everything that is declared, and what it leaves for the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rules::Rule;
use super::verdict::{Decision, PolicyPatch, Verdict};
use super::waivers::Waivers;
use super::{Evaluation, Evaluator, Place, patches, verdict};
use crate::model::ids::{Digest, Key, Name};
use crate::model::spec::policy::{Level, ObjectKind, Point};
use crate::model::time::Timestamp;
use crate::policy::inventory::Inventory;
use crate::policy::outcome::{Finding, Judgement, Outcome};
use crate::policy::script::{Entry, Program, Surroundings};
use crate::policy::view::{Object, ObjectRef};

/// So many waivers may be for one another. In a longer row those at its end count for nothing one
/// round later.
const WAIVERS_IN_A_ROW: usize = 4;

/// What is left of the last round.
#[derive(Debug, Default)]
pub(super) struct Memory {
    objects: BTreeMap<ObjectRef, Held>,
    set: Vec<Judged<u64>>,
    /// What decisions rested on, beside the objects.
    rules: Vec<Rule>,
    waivers: Waivers,
    point: Option<Point>,
    now: Timestamp,
    day: i64,
    facts: Option<Digest>,
    evaluation: Evaluation,
}

/// What was said of one object.
#[derive(Debug)]
struct Held {
    object: Arc<Object>,
    node: Option<Name>,
    judged: Vec<Judged<()>>,
    used: BTreeSet<Key>,
}

/// What a script said, and what that rests on beside the object.
#[derive(Debug)]
struct Judged<S> {
    program: Arc<Program>,
    /// Of the set, which one; objects are compared by themselves.
    subject: S,
    day: Option<i64>,
    facts: Option<Digest>,
    judgement: Judgement,
}

/// What is the same for all runs of a round.
struct Round<'a> {
    point: Point,
    now: Timestamp,
    day: i64,
    facts: Option<&'a Digest>,
    around: Surroundings,
    runs: u64,
}

impl Memory {
    pub(super) fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }
}

impl Evaluator {
    /// What all policies say of all that is declared. `node_of` says where an object is, if it is
    /// on one node.
    ///
    /// After [`renew`](Self::renew) all objects are looked at, and asked about where something about
    /// them changed; after [`change`](Self::change) and [`touch`](Self::touch) only those that they
    /// name, unless time or facts ask for more.
    pub fn evaluate(
        &mut self,
        point: Point,
        now: Timestamp,
        node_of: impl Fn(&ObjectRef) -> Option<Name>,
    ) -> &Evaluation {
        self.evaluate_once(point, now, &node_of);
        // Waivers are objects too. Those that are denied count for nothing, which may change what is
        // said of the rest; of another waiver only where one is for the other, and so on.
        for _ in 0..WAIVERS_IN_A_ROW {
            let decisions = &self.memory.evaluation.decisions;
            let denied = decisions.iter().filter(|(object, decision)| {
                object.kind == ObjectKind::Waiver && !decision.is_allowed()
            });
            let denied: BTreeSet<Key> = denied.map(|(object, _)| object.key.clone()).collect();
            if !self.waivers.deny(denied) {
                break;
            }
            let runs = self.memory.evaluation.runs;
            let seen = std::mem::take(&mut self.memory.evaluation.looked_at);
            self.dirty = None;
            self.evaluate_once(point, now, &node_of);
            self.memory.evaluation.runs += runs;
            self.memory.evaluation.looked_at.extend(seen);
        }
        &self.memory.evaluation
    }

    fn evaluate_once(
        &mut self,
        point: Point,
        now: Timestamp,
        node_of: &dyn Fn(&ObjectRef) -> Option<Name>,
    ) {
        let day = now.day();
        let around = self.around(Timestamp::of_day(day));
        let Self { rules, waivers, inventory, facts_digest, memory, dirty, .. } = self;
        let Some(inventory) = inventory.clone() else { return };
        let facts = facts_digest.as_ref();
        let mut round = Round { point, now, day, facts, around, runs: 0 };
        let is_same = memory.point == Some(point)
            && memory.waivers.is_same(waivers, memory.now, now)
            && memory.rules.len() == rules.len()
            && memory.rules.iter().zip(&*rules).all(|(one, other)| one.is_same(other));
        let Memory { objects, set, evaluation, .. } = memory;
        evaluation.looked_at.clear();
        if !is_same {
            evaluation.counts = rules
                .iter()
                .map(|rule| ((rule.policy.clone(), rule.binding.clone()), Default::default()))
                .collect();
            evaluation.decisions.clear();
        }
        for decision in evaluation.as_parts.values().chain([&evaluation.set]) {
            count(&mut evaluation.counts, decision, false);
        }
        let holds = is_same && memory.day == day && memory.facts.as_ref() == facts;
        let looked_at = dirty.take().filter(|_| holds);
        let look = |name: &ObjectRef,
                    object: &Arc<Object>,
                    node: Option<Name>,
                    objects: &mut BTreeMap<ObjectRef, Held>,
                    evaluation: &mut Evaluation,
                    round: &mut Round<'_>| {
            if let Some(held) = objects.get_mut(name) {
                if is_same && held.is_as(object, node.as_ref()) && held.holds(round) {
                    return;
                }
                held.forget(name, evaluation);
                if !Arc::ptr_eq(&held.object, object) {
                    *held = Held::new(object);
                }
            }
            let held = objects.entry(name.clone()).or_insert_with(|| Held::new(object));
            held.node = node;
            let decision = held.decide(rules, waivers, round);
            count(&mut evaluation.counts, &decision, true);
            evaluation.decisions.insert(name.clone(), Arc::new(decision));
            evaluation.looked_at.insert(name.clone());
        };
        match looked_at {
            Some(names) => {
                for name in &names {
                    if let Some(object) = inventory.get(name) {
                        look(name, object, node_of(name), objects, evaluation, &mut round);
                    }
                }
            }
            None => {
                objects.retain(|name, held| {
                    let stays = inventory.get(name).is_some();
                    if !stays {
                        held.forget(name, evaluation);
                        evaluation.looked_at.insert(name.clone());
                    }
                    stays
                });
                for (name, object) in inventory.objects() {
                    look(name, object, node_of(name), objects, evaluation, &mut round);
                }
            }
        }
        let mut used = BTreeSet::new();
        (evaluation.as_parts, evaluation.set) =
            whole_set(set, rules, waivers, &inventory, &mut round, &mut used);
        for decision in evaluation.as_parts.values().chain([&evaluation.set]) {
            count(&mut evaluation.counts, decision, true);
        }
        for held in objects.values().filter(|held| !held.used.is_empty()) {
            used.extend(held.used.iter().cloned());
        }
        evaluation.waivers = waivers.findings(&used, evaluation.verdicts(), now);
        let of_the_day =
            objects.values().any(|held| held.judged.iter().any(|one| one.day.is_some()))
                || set.iter().any(|one| one.day.is_some());
        let midnight = of_the_day.then_some(Timestamp::of_day(day + 1));
        evaluation.wake_at = waivers.next_expiry(now).into_iter().chain(midnight).min();
        evaluation.runs = round.runs;
        // After this only what is named has to be looked at.
        *dirty = Some(BTreeSet::new());
        memory.point = Some(point);
        memory.now = now;
        memory.day = day;
        memory.facts = facts_digest.clone();
        if !is_same {
            memory.rules = rules.clone();
            memory.waivers = waivers.clone();
        }
    }
}

fn count(
    counts: &mut BTreeMap<(crate::model::spec::policy::PolicyId, Key), super::Count>,
    decision: &Decision,
    add: bool,
) {
    for verdict in &decision.verdicts {
        let key = (verdict.policy.clone(), verdict.binding.clone());
        if let Some(count) = counts.get_mut(&key) {
            count.change(verdict, add);
        }
    }
}

impl<S> Judged<S> {
    /// Whether it would be said again.
    fn holds(&self, round: &Round<'_>) -> bool {
        self.day.is_none_or(|day| day == round.day)
            && (!self.judgement.asked_for_facts || self.facts.as_ref() == round.facts)
    }

    fn new(program: &Arc<Program>, subject: S, judgement: Judgement, round: &Round<'_>) -> Self {
        Self {
            program: Arc::clone(program),
            subject,
            day: judgement.asked_for_time.then_some(round.day),
            facts: round.facts.filter(|_| judgement.asked_for_facts).cloned(),
            judgement,
        }
    }
}

impl Held {
    fn new(object: &Arc<Object>) -> Self {
        Self { object: Arc::clone(object), node: None, judged: Vec::new(), used: BTreeSet::new() }
    }

    fn is_as(&self, object: &Arc<Object>, node: Option<&Name>) -> bool {
        Arc::ptr_eq(&self.object, object) && self.node.as_ref() == node
    }

    fn holds(&self, round: &Round<'_>) -> bool {
        self.judged.iter().all(|one| one.holds(round))
    }

    /// Takes what was said of it out of the evaluation.
    fn forget(&self, name: &ObjectRef, evaluation: &mut Evaluation) {
        if let Some(decision) = evaluation.decisions.remove(name) {
            count(&mut evaluation.counts, &decision, false);
        }
    }

    fn decide(&mut self, rules: &[Rule], waivers: &Waivers, round: &mut Round<'_>) -> Decision {
        let mut decision = Decision::default();
        let earlier = std::mem::take(&mut self.judged);
        self.used.clear();
        let object = Arc::clone(&self.object);
        let (name, labels, node) = (object.name(), object.labels(), self.node.as_ref());
        let place = Place { point: round.point, name, labels, node, action: None };
        for rule in rules {
            let Some(level) = place.level(rule, Entry::Check) else { continue };
            let judgement = match &rule.program {
                Ok(program) => {
                    let known = self
                        .judged
                        .iter()
                        .chain(&earlier)
                        .find(|one| Arc::ptr_eq(&one.program, program) && one.holds(round));
                    let judgement = match known {
                        Some(known) => known.judgement.clone(),
                        None => {
                            round.runs += 1;
                            program.check(&object, &round.around)
                        }
                    };
                    self.judged.push(Judged::new(program, (), judgement.clone(), round));
                    judgement
                }
                Err(failure) => Judgement::failed(failure.clone()),
            };
            if level.denies() {
                let patches = judgement.patches.iter().cloned();
                let policy = &rule.policy;
                decision
                    .patches
                    .extend(patches.map(|patch| PolicyPatch { policy: policy.clone(), patch }));
            }
            let mut verdict = verdict(rule, name, round.point, level, judgement);
            waivers.apply(&mut verdict, &place.candidate(), round.now, &mut self.used);
            decision.verdicts.push(verdict);
        }
        patches::settle(&mut decision);
        decision
    }
}

/// What rules say of the whole, by what their findings are on.
fn whole_set(
    memory: &mut Vec<Judged<u64>>,
    rules: &[Rule],
    waivers: &Waivers,
    inventory: &Inventory,
    round: &mut Round<'_>,
    used: &mut BTreeSet<Key>,
) -> (BTreeMap<ObjectRef, Decision>, Decision) {
    let earlier = std::mem::take(memory);
    let mut parts: BTreeMap<ObjectRef, Decision> = BTreeMap::new();
    let mut whole = Decision::default();
    for rule in rules {
        let Ok(program) = &rule.program else { continue };
        let level = rule.level_at(round.point);
        if level == Level::Off || !program.script().entries().contains(&Entry::Set) {
            continue;
        }
        let known = memory.iter().chain(&earlier).find(|one| {
            Arc::ptr_eq(&one.program, program)
                && one.subject == inventory.generation()
                && one.holds(round)
        });
        let judgement = match known {
            Some(known) => known.judgement.clone(),
            None => {
                round.runs += 1;
                program.check_set(inventory, &round.around)
            }
        };
        let subject = inventory.generation();
        memory.push(Judged::new(program, subject, judgement.clone(), round));
        for (on, judgement) in apart(judgement) {
            let (decision, verdict) = match on {
                None => (&mut whole, of_whole(rule, round.point, level, judgement)),
                Some(name) => {
                    let none = BTreeMap::new();
                    let object = inventory.get(&name);
                    let labels = object.map_or(Some(&none), |object| object.labels());
                    let place =
                        Place { point: round.point, name: &name, labels, node: None, action: None };
                    // A rule looks at all, and speaks of what its binding is about.
                    if !rule.covers(&place.candidate_of_any_kind(rule)) {
                        continue;
                    }
                    let mut verdict = verdict(rule, &name, round.point, level, judgement);
                    waivers.apply(&mut verdict, &place.candidate(), round.now, used);
                    (parts.entry(name.clone()).or_default(), verdict)
                }
            };
            decision.verdicts.push(verdict);
        }
    }
    (parts, whole)
}

/// A verdict on the whole set. It stands under the project of its binding, which speaks for it.
fn of_whole(rule: &Rule, point: Point, level: Level, judgement: Judgement) -> Verdict {
    let project = &rule.binding.project;
    let key = Key::new(project.clone(), project.clone());
    verdict(rule, &ObjectRef { kind: ObjectKind::Project, key }, point, level, judgement)
}

/// A judgement of the whole set, by what its findings are on.
fn apart(judgement: Judgement) -> Vec<(Option<ObjectRef>, Judgement)> {
    let Outcome::Findings(findings) = &judgement.outcome else { return vec![(None, judgement)] };
    let mut parts: BTreeMap<Option<ObjectRef>, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        parts.entry(finding.on.clone()).or_default().push(finding.clone());
    }
    let part = |(on, findings)| {
        (on, Judgement { outcome: Outcome::Findings(findings), ..judgement.clone() })
    };
    parts.into_iter().map(part).collect()
}
