//! A loop that is bound to the steps of a saved plan: it goes on with those that are listed, leaves
//! out those that are no longer needed, and stops where another one would be.

use std::collections::BTreeMap;

use super::Engine;
use crate::foresee::foresee;
use crate::model::ids::{Name, ObjectId};
use crate::model::journal::Entry;
use crate::saved::{ListedStep, Made, SavedPlan};
use crate::step::{Action, StepId};

/// What a loop may begin.
#[derive(Debug, Default)]
pub(super) enum Bound {
    /// Whatever is planned.
    #[default]
    Free,
    /// Nothing: it waits for a saved plan.
    Waiting,
    /// What a saved plan lists.
    To(Box<Only>),
}

/// What a saved plan lets a loop do.
#[derive(Debug)]
pub(super) struct Only {
    plan: SavedPlan,
    /// How often each step may still be done. A step that failed was not done.
    left: BTreeMap<What, u32>,
    stopped: Option<String>,
}

/// What makes a step the one that is listed: the cause may be told otherwise later on.
type What = (ObjectId, Name, String, bool);

fn what(step: &ListedStep) -> What {
    let ListedStep { object, node, verb, for_good, cause: _ } = step.clone();
    (object, node, verb, for_good)
}

impl Engine {
    /// A loop that begins nothing before it is [bound](super::Operator::Bind) to a saved plan.
    #[must_use]
    pub fn waiting(mut self) -> Self {
        self.bound = Bound::Waiting;
        self.starts_bound = true;
        self
    }

    /// Saves the plan, with all that it goes on with.
    #[must_use]
    pub fn save_plan(&self, made: Made, salt: String, is_new: bool) -> SavedPlan {
        let steps = foresee(&self.snapshot, &self.policies);
        SavedPlan::new(&self.snapshot, &self.plan, steps, made, salt, is_new)
    }

    /// Whether a saved plan is being carried out.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        matches!(self.bound, Bound::To(_))
    }

    /// Why the saved plan cannot go on, once nothing that it began is under way.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        match &self.bound {
            Bound::To(only) if self.chains.is_empty() && !self.round_wanted => {
                only.stopped.as_deref()
            }
            Bound::Free | Bound::Waiting | Bound::To(_) => None,
        }
    }

    /// Listed steps that were not done: `shop/web/0: start on n1`.
    #[must_use]
    pub fn steps_left(&self) -> Vec<String> {
        let Bound::To(only) = &self.bound else { return Vec::new() };
        let left = only.left.iter().filter(|(_, times)| **times > 0);
        left.map(|((object, node, verb, _), _)| format!("{object}: {verb} on {node}")).collect()
    }

    /// Whether all that was recorded is durable.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.riding.is_empty() && self.commits_under_way == 0
    }

    pub(super) fn bind(&mut self, plan: SavedPlan) {
        let mut left: BTreeMap<What, u32> = BTreeMap::new();
        for step in &plan.steps {
            *left.entry(what(step)).or_default() += 1;
        }
        self.bound = Bound::To(Box::new(Only { plan, left, stopped: None }));
        let now = self.snapshot.now;
        if self.snapshot.records.failures().any(|failure| failure.waits(now)) {
            self.record(Entry::Retried);
        }
    }

    pub(super) fn release(&mut self) {
        self.bound = if self.starts_bound { Bound::Waiting } else { Bound::Free };
    }

    /// Whether what was just planned may be begun. Where it may not, none of it is: not even a
    /// listed step is taken once another one is needed.
    pub(super) fn may_begin(&mut self) -> bool {
        let only = match &mut self.bound {
            Bound::Free => return true,
            Bound::Waiting => return false,
            Bound::To(only) => only,
        };
        if only.stopped.is_none() {
            let specs = only.plan.specs_changed_since(&self.snapshot);
            let mut needed: BTreeMap<What, u32> = BTreeMap::new();
            let unlisted = self.plan.steps.iter().map(ListedStep::of).find(|step| {
                let times = needed.entry(what(step)).or_default();
                *times += 1;
                only.left.get(&what(step)).is_none_or(|left| *times > *left)
            });
            only.stopped = match (specs.first(), unlisted) {
                (Some(change), _) => Some(format!("the specs changed under way: {change}")),
                (None, Some(step)) => {
                    Some(format!("a step is needed that the plan does not list: {step}"))
                }
                (None, None) => None,
            };
        }
        only.stopped.is_none()
    }

    /// A step was done.
    pub(super) fn count_off(&mut self, object: &ObjectId, node: &Name, action: &Action) {
        let Bound::To(only) = &mut self.bound else { return };
        let step = crate::step::Step {
            id: StepId(0),
            object: object.clone(),
            node: node.clone(),
            action: action.clone(),
            cause: crate::step::Cause::Unfinished,
            after: Vec::new(),
        };
        if let Some(left) = only.left.get_mut(&what(&ListedStep::of(&step))) {
            *left = left.saturating_sub(1);
        }
    }
}
