//! Waivers: who may break a rule, and until when. The rule is asked all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::verdict::{Verdict, has_denial};
use crate::model::desired::DesiredSet;
use crate::model::ids::Key;
use crate::model::spec::WaiverSpec;
use crate::model::spec::policy::{Candidate, Level, ObjectKind};
use crate::model::time::Timestamp;
use crate::policy::outcome::Outcome;

/// All waivers.
#[derive(Debug, Clone, Default)]
pub(super) struct Waivers {
    all: BTreeMap<Key, Arc<WaiverSpec>>,
    /// Those that policy denies themselves: they count for nothing.
    denied: BTreeSet<Key>,
}

/// What is wrong with a waiver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaiverFinding {
    /// Which one.
    pub waiver: Key,
    /// What.
    pub what: WaiverFault,
    /// The same in words.
    pub message: String,
}

/// Of which kind that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaiverFault {
    /// It is over.
    Expired,
    /// Nothing that it is for breaks its policy.
    Unused,
    /// Policy denies the waiver itself.
    Denied,
    /// It would be for something, which denies at level `hard`, and it names no approver.
    NotApproved,
}

impl Waivers {
    /// Those of `desired`.
    pub(super) fn of(desired: &DesiredSet) -> Self {
        let all = desired.waivers.iter();
        let all = all.map(|(key, declared)| (key.clone(), Arc::clone(&declared.spec))).collect();
        Self { all, denied: BTreeSet::new() }
    }

    /// Those of `desired` from now on. Which of them are denied is known once they were looked at.
    pub(super) fn renew(&mut self, desired: &DesiredSet) {
        let denied = std::mem::take(&mut self.denied);
        *self = Self { denied, ..Self::of(desired) };
    }

    /// Takes which of them policy denies; whether those are others than before.
    pub(super) fn deny(&mut self, denied: BTreeSet<Key>) -> bool {
        let is_news = self.denied != denied;
        self.denied = denied;
        is_news
    }

    /// Lets `verdict` about `candidate` pass if a waiver says so, and adds those that do to `used`.
    pub(super) fn apply(
        &self,
        verdict: &mut Verdict,
        candidate: &Candidate<'_>,
        now: Timestamp,
        used: &mut BTreeSet<Key>,
    ) {
        let Outcome::Findings(findings) = &verdict.outcome else { return };
        if !has_denial(findings) {
            return;
        }
        let mut fit = self.all.iter().filter(|(key, waiver)| {
            let is_itself = candidate.kind == ObjectKind::Waiver
                && candidate.project == Some(&key.project)
                && candidate.name == key.name.as_str();
            !is_itself
                && !self.denied.contains(*key)
                && waiver.policy == verdict.policy
                && !waiver.expires.is_over(now)
                && waiver.waives(verdict.level)
                && waiver.select.covers(&key.project, candidate)
        });
        let Some((key, _)) = fit.next() else { return };
        verdict.waived_by = Some(key.clone());
        used.insert(key.clone());
        // Two waivers for one thing are both of use as long as either would be.
        used.extend(fit.map(|(key, _)| key.clone()));
    }

    /// What is wrong with them, once all verdicts are in.
    pub(super) fn findings<'a>(
        &self,
        used: &BTreeSet<Key>,
        verdicts: impl Iterator<Item = &'a Verdict> + Clone,
        now: Timestamp,
    ) -> Vec<WaiverFinding> {
        let found = self.all.iter().filter_map(|(key, waiver)| {
            let policy = &waiver.policy;
            let (what, message) = if waiver.expires.is_over(now) {
                let expires = waiver.expires;
                (
                    WaiverFault::Expired,
                    format!("it is over since {expires}; take it out or renew it"),
                )
            } else if self.denied.contains(key) {
                (WaiverFault::Denied, "policy denies it, so it lets nothing pass".to_owned())
            } else if used.contains(key) {
                return None;
            } else if waiver.approver.is_none() && is_needed(key, waiver, verdicts.clone()) {
                let message = format!("{policy} is of level hard here: it needs an `approver`");
                (WaiverFault::NotApproved, message)
            } else {
                (WaiverFault::Unused, format!("nothing that it is for breaks {policy}"))
            };
            Some(WaiverFinding { waiver: key.clone(), what, message })
        });
        found.collect()
    }

    /// Whether they are the same as others, and none of them ends between the two times.
    pub(super) fn is_same(&self, other: &Self, since: Timestamp, now: Timestamp) -> bool {
        self.all == other.all
            && self.denied == other.denied
            && self
                .all
                .values()
                .all(|waiver| waiver.expires.is_over(since) == waiver.expires.is_over(now))
    }

    /// All that they say, in a line.
    pub(super) fn words(&self) -> String {
        serde_json::to_string(&self.all.iter().collect::<Vec<_>>()).unwrap_or_default()
    }

    /// When the next one is over.
    pub(super) fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.all.values().map(|waiver| waiver.expires.0);
        ends.filter(|end| *end > now).min()
    }
}

/// Whether it is for something that is denied at the level at which it does not count.
fn is_needed<'a>(
    key: &Key,
    waiver: &WaiverSpec,
    mut verdicts: impl Iterator<Item = &'a Verdict>,
) -> bool {
    verdicts.any(|verdict| {
        let object = &verdict.object;
        verdict.policy == waiver.policy
            && verdict.level == Level::Hard
            && verdict.denies()
            && waiver.select.name.as_ref().is_none_or(|name| name.matches(object.key.name.as_str()))
            && waiver.select.kind.is_none_or(|kind| kind == object.kind)
            && waiver.select.project.as_ref().unwrap_or(&key.project) == &object.key.project
    })
}
