//! What policies say of a set, as a report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reconciler::model::desired::Source;
use reconciler::model::ids::Key;
use reconciler::model::spec::policy::{Level, ObjectKind, Point, PolicyId};
use reconciler::model::time::Timestamp;
use reconciler::policy::evaluate::{Evaluation, Evaluator, Verdict, WaiverFault};
use reconciler::policy::outcome::{Finding, Outcome, Weight};
use reconciler::policy::script::Entry;
use reconciler::policy::view::{MaskKey, ObjectRef};

use super::world::{Policies, Subjects};
use crate::cli::show::policy::{Asked, End, Report, Row, Rule, Status, WaivedBy, text::counted};
use crate::policies::readme;

/// Rules of windlass's own, about waivers and bindings, by their ids.
const OWN_RULES: [(&str, &str); 4] = [
    ("waiver-expired", "a waiver is taken out or renewed when it is over"),
    ("waiver-unused", "a waiver is for something that breaks its policy"),
    ("waiver-not-approved", "what level hard denies needs a waiver that names its approver"),
    ("binding-unmatched", "a binding is about something"),
];

/// What policies say of a set.
pub(super) struct Judged<'a> {
    pub(super) policies: &'a Policies,
    pub(super) subjects: &'a Subjects,
    pub(super) point: Point,
    pub(super) now: Timestamp,
    pub(super) evaluation: Evaluation,
}

/// A row, and where to look for its place.
struct Placed<'a> {
    row: Row,
    source: Option<&'a Source>,
    field: Option<String>,
}

impl<'a> Judged<'a> {
    /// Asks all policies that are bound.
    pub(super) fn of(
        policies: &'a Policies,
        subjects: &'a Subjects,
        point: Point,
        now: Timestamp,
    ) -> Self {
        let mut evaluator = Evaluator::new(Arc::clone(&policies.library), MaskKey::default());
        evaluator.renew(&subjects.desired);
        let evaluation = evaluator.evaluate(point, now, |_| None).clone();
        Self { policies, subjects, point, now, evaluation }
    }

    /// All of it; with `strict` what is only warned about fails, too.
    pub(super) fn report(&self, verb: &'static str, strict: bool) -> Report {
        let mut placed: Vec<Placed<'_>> = Vec::new();
        for verdict in self.evaluation.verdicts() {
            placed.extend(self.rows(verdict));
        }
        placed.extend(self.waivers());
        placed.extend(self.unmatched());
        let rows = self.placed(placed);
        let mut rules = BTreeMap::new();
        let bound = self.evaluation.counts.keys().map(|(policy, _)| policy);
        for id in bound {
            rules.insert(id.to_string(), self.rule(id));
        }
        for (id, title) in OWN_RULES {
            if rows.iter().any(|row| row.rule == id) {
                let level = Level::Warn.as_str().to_owned();
                let rule = Rule { title: title.to_owned(), level, version: None, help: None };
                rules.insert(id.to_owned(), rule);
            }
        }
        let mut report = Report {
            verb,
            verdict: End::Pass,
            at: self.now,
            summary: self.summary(),
            counts: BTreeMap::new(),
            asked: self.asked(),
            tested: Vec::new(),
            rules,
            rows,
        };
        report.settle();
        report.verdict = self.end(&report, strict);
        report
    }

    fn end(&self, report: &Report, strict: bool) -> End {
        let asked: u64 = self.evaluation.counts.values().map(|count| count.asked).sum();
        if report.count(Status::Error) > 0 {
            End::Error
        } else if report.count(Status::Denied) > 0 || (strict && report.count(Status::Warned) > 0) {
            End::Fail
        } else if asked == 0 {
            End::Undefined
        } else {
            End::Pass
        }
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        let set = &self.subjects.desired;
        let bound: BTreeSet<&PolicyId> =
            self.evaluation.counts.keys().map(|(policy, _)| policy).collect();
        let objects = set.len() - set.bindings.len() - set.waivers.len();
        vec![
            ("asked about", counted(objects, "object")),
            (
                "by",
                format!("{} of {}", policies(bound.len()), counted(set.bindings.len(), "binding")),
            ),
            ("at the point", self.point.as_str().to_owned()),
        ]
    }

    fn rule(&self, id: &PolicyId) -> Rule {
        match self.policies.library.script(id) {
            Some(script) => {
                let meta = script.meta();
                Rule {
                    title: meta.title.clone(),
                    level: meta.level.as_str().to_owned(),
                    version: Some(meta.version.to_string()),
                    help: readme(&self.policies.sources, id),
                }
            }
            None => {
                let (title, level) = ("there is no such policy", Level::Hard.as_str());
                Rule { title: title.to_owned(), level: level.to_owned(), version: None, help: None }
            }
        }
    }

    /// The rows of a verdict: one for each finding.
    fn rows(&self, verdict: &Verdict) -> Vec<Placed<'a>> {
        let binding = ObjectRef { kind: ObjectKind::PolicyBinding, key: verdict.binding.clone() };
        // What is of no object stands under the binding that asks for it.
        let own = self.subjects.source(&verdict.object);
        let source = own.or_else(|| self.subjects.source(&binding));
        let row = |status, message: String| Row {
            status,
            rule: verdict.policy.to_string(),
            suite: verdict.binding.to_string(),
            object: verdict.object.to_string(),
            level: Some(verdict.level.as_str().to_owned()),
            message,
            at: None,
            observed: None,
            want: None,
            fix: None,
            place: None,
            waiver: None,
        };
        match &verdict.outcome {
            Outcome::Pass { .. } => {
                let row = row(Status::Passed, "nothing was found".to_owned());
                vec![Placed { row, source, field: None }]
            }
            Outcome::Error(_) => {
                let row = row(Status::Error, verdict.message());
                vec![Placed { row, source, field: None }]
            }
            Outcome::Findings(findings) => {
                let placed = |finding: &Finding| {
                    let Finding { weight, message, on: _, at, observed, want, fix, line: _ } =
                        finding;
                    let status = status(verdict, *weight);
                    let waived = verdict.waived_by.as_ref().filter(|_| status == Status::Waived);
                    let row = Row {
                        at: at.clone(),
                        observed: observed.clone(),
                        want: want.clone(),
                        fix: fix.clone(),
                        waiver: waived.and_then(|key| self.waived_by(key)),
                        ..row(status, message.clone())
                    };
                    // A field is one of the object, and not of what stands in for it.
                    Placed { row, source, field: at.clone().filter(|_| own.is_some()) }
                };
                findings.iter().map(placed).collect()
            }
        }
    }

    /// A waiver, for readers.
    pub(super) fn waived_by(&self, key: &Key) -> Option<WaivedBy> {
        let spec = &self.subjects.desired.waivers.get(key)?.spec;
        Some(WaivedBy {
            name: key.to_string(),
            reason: spec.reason.clone(),
            ticket: spec.ticket.clone(),
            approver: spec.approver.clone(),
            expires: spec.expires.to_string(),
        })
    }

    /// Waivers that are over, or of no use.
    fn waivers(&self) -> Vec<Placed<'a>> {
        let placed = |finding: &reconciler::policy::evaluate::WaiverFinding| {
            let (rule, field) = match finding.what {
                WaiverFault::Expired => ("waiver-expired", "spec.expires"),
                WaiverFault::Unused => ("waiver-unused", "spec.select"),
                WaiverFault::Denied => ("waiver-denied", "spec"),
                WaiverFault::NotApproved => ("waiver-not-approved", "spec.policy"),
            };
            let object = ObjectRef { kind: ObjectKind::Waiver, key: finding.waiver.clone() };
            self.own_row(rule, &object, finding.message.clone(), Some(field))
        };
        self.evaluation.waivers.iter().map(placed).collect()
    }

    /// Bindings that are about nothing at all.
    fn unmatched(&self) -> Vec<Placed<'a>> {
        let asked: BTreeSet<&Key> = self
            .evaluation
            .counts
            .iter()
            .filter(|((policy, _), count)| count.asked > 0 || self.elsewhere(policy).is_some())
            .map(|((_, binding), _)| binding)
            .collect();
        let unmatched = self.subjects.desired.bindings.keys().filter(|key| !asked.contains(key));
        let placed = |key: &Key| {
            let object = ObjectRef { kind: ObjectKind::PolicyBinding, key: key.clone() };
            let message = "nothing that is declared is matched by it".to_owned();
            self.own_row("binding-unmatched", &object, message, None)
        };
        unmatched.map(placed).collect()
    }

    fn own_row(
        &self,
        rule: &str,
        object: &ObjectRef,
        message: String,
        field: Option<&str>,
    ) -> Placed<'a> {
        let row = Row {
            status: Status::Warned,
            rule: rule.to_owned(),
            suite: object.key.to_string(),
            object: object.to_string(),
            level: Some(Level::Warn.as_str().to_owned()),
            message,
            at: None,
            observed: None,
            want: None,
            fix: None,
            place: None,
            waiver: None,
        };
        Placed { row, source: self.subjects.source(object), field: field.map(str::to_owned) }
    }

    fn placed(&self, placed: Vec<Placed<'_>>) -> Vec<Row> {
        let wanted: Vec<(Option<&Source>, Option<&str>)> = placed
            .iter()
            .map(|Placed { row: _, source, field }| (*source, field.as_deref()))
            .collect();
        let places = self.subjects.places(&wanted);
        placed.into_iter().zip(places).map(|(one, place)| Row { place, ..one.row }).collect()
    }

    fn asked(&self) -> Vec<Asked> {
        let asked = self.evaluation.counts.iter().map(|((policy, binding), count)| Asked {
            binding: binding.to_string(),
            policy: policy.to_string(),
            level: self.level(policy, binding).as_str().to_owned(),
            count: count.clone(),
            elsewhere: self.elsewhere(policy),
        });
        let mut asked: Vec<Asked> = asked.collect();
        asked.sort_by(|one, other| {
            (&one.binding, &one.policy).cmp(&(&other.binding, &other.policy))
        });
        asked
    }

    /// Where a policy is asked, if it is asked about nothing that is declared.
    pub(super) fn elsewhere(&self, policy: &PolicyId) -> Option<String> {
        let entries = self.policies.library.script(policy)?.entries();
        if entries.contains(&Entry::Check) || entries.contains(&Entry::Set) {
            return None;
        }
        let words = entries.iter().map(|entry| match entry {
            Entry::Check | Entry::Set => "declarations",
            Entry::Action => "actions",
            Entry::Drift => "drift",
        });
        Some(format!("asked about {} only", words.collect::<Vec<_>>().join(" and ")))
    }

    /// The level of a policy under a binding.
    pub(super) fn level(&self, policy: &PolicyId, binding: &Key) -> Level {
        let library = &self.policies.library;
        let usual = library.script(policy).map_or(Level::Hard, |script| script.meta().level);
        let Some(declared) = self.subjects.desired.bindings.get(binding) else { return usual };
        let of_profile = match &declared.spec.bound {
            reconciler::model::spec::policy::Bound::Policy(_) => None,
            reconciler::model::spec::policy::Bound::Profile(id) => {
                let profile = library.profile(id);
                let members = profile.map(|profile| profile.members.as_slice());
                let mut members = members.unwrap_or_default().iter();
                members.find(|member| member.policy == *policy).and_then(|member| member.level)
            }
        };
        declared.spec.level_at(self.point).or(of_profile).unwrap_or(usual)
    }
}

/// How many policies.
pub(super) fn policies(number: usize) -> String {
    if number == 1 { "1 policy".to_owned() } else { format!("{number} policies") }
}

/// What a finding comes to.
pub(super) fn status(verdict: &Verdict, weight: Weight) -> Status {
    match weight {
        Weight::Deny if verdict.waived_by.is_some() => Status::Waived,
        Weight::Deny if verdict.level.denies() => Status::Denied,
        Weight::Deny | Weight::Warn if verdict.level >= Level::Warn => Status::Warned,
        Weight::Deny | Weight::Warn | Weight::Info => Status::Noted,
    }
}
