//! The one evaluator, for plans, tests, the loop and scans: policies that are bound, what they say of
//! each object, which waivers let it pass, and what that comes to.
//!
//! It remembers what it was told. What a script said of an object holds as long as all that it saw
//! is the same: its text and parameters, the object, the day if it asked for the time, the facts
//! about images if it asked for them. So a round in which one object changed runs the rules about
//! that one, and those about the whole set. [`Evaluation::wake_at`] is when the same inputs would
//! come to something else.
//!
//! Reading order: `rules` puts policies in force, `verdict` says what one of them came to, `waivers`
//! lets some pass, `round` does it for everything and remembers.

mod patches;
mod round;
mod rules;
mod verdict;
mod waivers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::desired::DesiredSet;
use crate::model::ids::{Digest, Key, Name};
use crate::model::journal::PolicySetNote;
use crate::model::spec::policy::{ActionKind, Candidate, Level, ObjectKind, Point, PolicyId};
use crate::model::time::Timestamp;

use super::answers::is_of_power;
use super::facts::Facts;
use super::inventory::Inventory;
use super::library::Library;
use super::outcome::{Judgement, Outcome};
use super::script::{Entry, Program, Surroundings};
use super::view::{AskedAction, AskedDrift, MaskKey, Object, ObjectRef};

pub use self::patches::{PatchError, patched};
pub use self::verdict::{Decision, PolicyPatch, Verdict};
pub use self::waivers::{WaiverFault, WaiverFinding};

use self::round::Memory;
use self::rules::{Programs, Rule, rules};
use self::waivers::Waivers;

/// How often a policy was asked under a binding. One that was never asked has not passed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// About how many things.
    pub asked: u64,
    /// Of how many it found nothing wrong.
    pub passed: u64,
    /// Of how many it found something.
    pub found: u64,
    /// Of how many of those a waiver let pass.
    pub waived: u64,
    /// How often it gave no verdict.
    pub errors: u64,
    /// How often it came by an assertion.
    pub asserted: u64,
}

impl Count {
    /// Adds a verdict, or takes it out again.
    fn change(&mut self, verdict: &Verdict, add: bool) {
        let step = |count: &mut u64, is_so: bool| {
            let step = u64::from(is_so);
            *count = if add { *count + step } else { count.saturating_sub(step) };
        };
        step(&mut self.asked, true);
        step(&mut self.waived, verdict.waived_by.is_some());
        let (passed, found, asserted) = match &verdict.outcome {
            Outcome::Pass { asserted } => (true, false, *asserted),
            Outcome::Findings(_) => (false, true, true),
            Outcome::Error(_) => (false, false, false),
        };
        step(&mut self.passed, passed);
        step(&mut self.found, found);
        step(&mut self.asserted, asserted);
        step(&mut self.errors, !passed && !found);
    }
}

/// What all policies say of all that is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// What is said of each object by itself.
    pub decisions: BTreeMap<ObjectRef, Arc<Decision>>,
    /// What is said of objects and projects as parts of the whole.
    pub as_parts: BTreeMap<ObjectRef, Decision>,
    /// What is said of the whole, and of no object in particular.
    pub set: Decision,
    /// How often policies were asked, by policy and binding: those with 0 matched nothing.
    pub counts: BTreeMap<(PolicyId, Key), Count>,
    /// Waivers that are over, or of no use.
    pub waivers: Vec<WaiverFinding>,
    /// When the same inputs would come to something else.
    pub wake_at: Option<Timestamp>,
    /// Which objects were decided anew by this evaluation, or are gone.
    pub looked_at: BTreeSet<ObjectRef>,
    /// How many scripts were run for it; what was said earlier still held for the rest.
    pub runs: u64,
}

impl Evaluation {
    /// Whether a new revision of that object may come: nothing denies it, nor its project, nor the
    /// whole set.
    #[must_use]
    pub fn is_allowed(&self, object: &ObjectRef) -> bool {
        self.denials(object).next().is_none()
    }

    /// All that stands in the way of that object. What is said of a project as a part of the whole
    /// stands in the way of all that is in it.
    pub fn denials<'a>(&'a self, object: &'a ObjectRef) -> impl Iterator<Item = &'a Verdict> {
        let name = &object.key.project;
        let kind = ObjectKind::Project;
        let project = ObjectRef { kind, key: Key::new(name.clone(), name.clone()) };
        let own = self.decisions.get(object).map(|decision| &**decision);
        let part = self.as_parts.get(object);
        let projects = self.as_parts.get(&project).filter(|_| project != *object);
        let all = own.into_iter().chain(part).chain(projects).chain([&self.set]);
        all.flat_map(Decision::denials)
    }

    /// All verdicts.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> + Clone {
        let own = self.decisions.values().map(|decision| &**decision);
        let all = own.chain(self.as_parts.values()).chain([&self.set]);
        all.flat_map(|decision| &decision.verdicts)
    }
}

/// Evaluates policies, and remembers what they said.
#[derive(Debug, Default)]
pub struct Evaluator {
    library: Arc<Library>,
    programs: Programs,
    rules: Vec<Rule>,
    waivers: Waivers,
    inventory: Option<Inventory>,
    facts: Arc<Facts>,
    facts_digest: Option<Digest>,
    mask: MaskKey,
    memory: Memory,
    /// Which objects changed since the last evaluation; all may have if there is none.
    dirty: Option<BTreeSet<ObjectRef>>,
}

impl Evaluator {
    /// An evaluator of these policies. `mask` is the key of digests that stand for secrets.
    #[must_use]
    pub fn new(library: Arc<Library>, mask: MaskKey) -> Self {
        Self { library, mask, ..Self::default() }
    }

    /// Takes a new declared set: its objects, bindings and waivers.
    pub fn renew(&mut self, desired: &DesiredSet) {
        self.rules = rules(&self.library, desired, &mut self.programs);
        self.waivers.renew(desired);
        self.inventory = Some(Inventory::of(desired, self.inventory.as_ref()));
        self.dirty = None;
    }

    /// Takes a change of some objects: `changed` holds them, `desired` is the set with the change,
    /// in which there are the same objects as before. It costs what changed, and not what is there.
    pub fn change(&mut self, desired: &DesiredSet, changed: &DesiredSet) {
        let is_of_policies = !changed.bindings.is_empty() || !changed.waivers.is_empty();
        match (&mut self.inventory, is_of_policies) {
            (Some(inventory), false) => {
                let others = inventory.change(desired, changed);
                if let Some(dirty) = &mut self.dirty {
                    dirty.extend(others);
                }
            }
            (Some(_), true) | (None, _) => self.renew(desired),
        }
    }

    /// Has an object looked at again: it is on another node.
    pub fn touch(&mut self, object: &ObjectRef) {
        if let Some(dirty) = &mut self.dirty {
            dirty.insert(object.clone());
        }
    }

    /// Takes another set of policies; [`renew`](Self::renew) puts them in force.
    pub fn replace(&mut self, library: Arc<Library>) {
        self.library = library;
    }

    /// Takes what is known of images from outside.
    pub fn learn(&mut self, facts: Arc<Facts>) {
        let words = serde_json::to_vec(&*facts).unwrap_or_default();
        self.facts_digest = Some(Digest::of(&words));
        self.facts = facts;
    }

    /// The policies.
    #[must_use]
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// What was said last of what is declared.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        self.memory.evaluation()
    }

    /// Which policies are in force, each with the binding that says so.
    pub fn bound(&self) -> impl Iterator<Item = (&PolicyId, &Key)> {
        self.rules.iter().map(|rule| (&rule.policy, &rule.binding))
    }

    /// The objects that were declared last.
    #[must_use]
    pub fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref()
    }

    /// Whether a rule is asked about actions.
    #[must_use]
    pub fn asks_of_actions(&self) -> bool {
        self.asks(Point::Act, Entry::Action)
    }

    /// Whether a rule is asked about drift.
    #[must_use]
    pub fn asks_of_drift(&self) -> bool {
        self.asks(Point::Drift, Entry::Drift)
    }

    /// Whether a rule is asked about what is declared, one by one.
    #[must_use]
    pub fn asks_of_objects(&self) -> bool {
        self.asks(Point::Plan, Entry::Check)
    }

    /// Whether a rule is asked about what runs.
    #[must_use]
    pub fn asks_of_what_runs(&self) -> bool {
        self.asks(Point::Scan, Entry::Check)
    }

    /// Whether a rule about what runs asks for what only a look into a container tells.
    #[must_use]
    pub fn asks_what_is_inside(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.level_at(Point::Scan) != Level::Off
                && rule.program.as_ref().is_ok_and(|program| {
                    let text = program.script().text();
                    text.contains("running.processes") || text.contains("running.changes")
                })
        })
    }

    fn asks(&self, point: Point, entry: Entry) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.level_at(point) != Level::Off && rule.is_entered_at(entry))
    }

    /// What is in force: the digest of rules, their parameters and levels, and waivers.
    #[must_use]
    pub fn set(&self) -> PolicySetNote {
        let mut policies = BTreeMap::new();
        let mut words = Vec::new();
        for rule in &self.rules {
            let program = rule.program.as_ref().ok();
            let script = program.map(|program| program.script().digest());
            if let Some(digest) = script {
                policies.insert(Arc::from(rule.policy.as_str()), digest.clone());
            }
            words.push(rule.words());
        }
        words.push(self.waivers.words());
        PolicySetNote { digest: Digest::of(words.join("\n").as_bytes()), policies }
    }

    /// What policies say of an action.
    #[must_use]
    pub fn action(&self, action: &Arc<AskedAction>, now: Timestamp) -> Decision {
        let around = Surroundings { inventory: self.inventory.clone(), ..self.around(now) };
        let place = Place {
            point: Point::Act,
            name: action.target.name(),
            labels: action.target.labels(),
            node: action.node.as_ref(),
            action: Some(action.kind),
        };
        self.ask(&place, Entry::Action, now, |program| program.check_action(action, &around))
    }

    /// What policies say of drift.
    #[must_use]
    pub fn drift(&self, drift: &Arc<AskedDrift>, now: Timestamp) -> Decision {
        let around = Surroundings { inventory: self.inventory.clone(), ..self.around(now) };
        let place = Place {
            point: Point::Drift,
            name: drift.object.name(),
            labels: drift.object.labels(),
            node: drift.node.as_ref(),
            action: None,
        };
        self.ask(&place, Entry::Drift, now, |program| program.check_drift(drift, &around))
    }

    /// What policies say of a container as it would be made: `object` is in the form of what is
    /// declared.
    #[must_use]
    pub fn sent(&self, object: &Arc<Object>, node: &Name, now: Timestamp) -> Decision {
        let around = self.around(now.day_begun());
        let (name, labels) = (object.name(), object.labels());
        let place = Place { point: Point::Plan, name, labels, node: Some(node), action: None };
        self.ask(&place, Entry::Check, now, |program| program.check(object, &around))
    }

    /// What policies say of what runs. `object` is what is declared together with what was found
    /// ([`Object::seen_running`]), `node` is where.
    #[must_use]
    pub fn running(&self, object: &Arc<Object>, node: Option<&Name>, now: Timestamp) -> Decision {
        let around = self.around(now.day_begun());
        let (name, labels) = (object.name(), object.labels());
        let place = Place { point: Point::Scan, name, labels, node, action: None };
        self.ask(&place, Entry::Check, now, |program| program.check(object, &around))
    }

    /// Scripts about objects and sets see the time by the day, so that what they say holds for as long;
    /// of actions and drift they see it as it is.
    fn around(&self, now: Timestamp) -> Surroundings {
        let (facts, mask) = (Arc::clone(&self.facts), self.mask.clone());
        Surroundings { now, facts, inventory: None, mask }
    }

    /// Asks all rules that are entered at `entry` about what is at `place`.
    fn ask(
        &self,
        place: &Place<'_>,
        entry: Entry,
        now: Timestamp,
        run: impl Fn(&Program) -> Judgement,
    ) -> Decision {
        let mut decision = Decision::default();
        for rule in &self.rules {
            let Some(level) = place.level(rule, entry) else { continue };
            let judgement = match &rule.program {
                Ok(program) => run(program),
                Err(failure) => Judgement::failed(failure.clone()),
            };
            decision.asked_for_time |= judgement.asked_for_time;
            if level.denies() {
                decision.response = decision.response.max(judgement.response);
            }
            let mut verdict = verdict(rule, place.name, place.point, level, judgement);
            let mut used = BTreeSet::new();
            self.waivers.apply(&mut verdict, &place.candidate(), now, &mut used);
            decision.verdicts.push(verdict);
        }
        decision
    }
}

/// Where a rule is asked.
struct Place<'a> {
    point: Point,
    name: &'a ObjectRef,
    labels: Option<&'a BTreeMap<String, String>>,
    node: Option<&'a Name>,
    action: Option<ActionKind>,
}

impl<'a> Place<'a> {
    fn candidate(&self) -> Candidate<'a> {
        let project = (self.name.kind != ObjectKind::Node).then_some(&self.name.key.project);
        Candidate {
            kind: self.name.kind,
            project,
            name: self.name.key.name.as_str(),
            labels: self.labels,
            node: self.node,
            action: self.action,
        }
    }

    /// The same as if its kind were one that the rule is about: a rule about instances may say
    /// something of the project that they are in.
    fn candidate_of_any_kind(&self, rule: &Rule) -> Candidate<'a> {
        let kinds: BTreeSet<ObjectKind> = match &rule.program {
            Ok(program) => program.script().meta().kinds.clone(),
            Err(_) => BTreeSet::new(),
        };
        let kind = match kinds.first() {
            Some(first) if self.name.kind == ObjectKind::Project => *first,
            Some(_) | None => self.name.kind,
        };
        Candidate { kind, ..self.candidate() }
    }

    /// The level of `rule` here, if it is asked here at all.
    fn level(&self, rule: &Rule, entry: Entry) -> Option<Level> {
        let level = rule.level_at(self.point);
        // What keeps an admitted revision running is let alone unless somebody names it.
        if self.action.is_some_and(|action| is_of_power(action) && !rule.names(action)) {
            return None;
        }
        (level != Level::Off && rule.is_entered_at(entry) && rule.covers(&self.candidate()))
            .then_some(level)
    }
}

fn verdict(
    rule: &Rule,
    object: &ObjectRef,
    point: Point,
    level: Level,
    judgement: Judgement,
) -> Verdict {
    let program = rule.program.as_ref().ok();
    Verdict {
        object: object.clone(),
        point,
        policy: rule.policy.clone(),
        version: rule.version.clone(),
        script: program.map(|program| program.script().digest().clone()),
        params: program.map(|program| program.params_digest().clone()),
        binding: rule.binding.clone(),
        level,
        outcome: judgement.outcome,
        waived_by: None,
        operations: judgement.operations,
    }
}
