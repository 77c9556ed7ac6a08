//! The seam at which policy is asked. Every decision that policy may refuse passes through
//! [`Policies::judge`]; what is denied becomes a note in the report and no step.

pub mod facts;
pub mod inventory;
pub mod meta;
pub mod outcome;
pub mod params;
pub mod script;
mod verbs;
pub mod view;

use crate::model::desired::Declared;
use crate::model::ids::{Key, ObjectId};
use crate::model::spec::InstanceSpec;
use crate::step::{Action, FieldChange};

/// What is asked about.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Subject<'a> {
    /// A new revision of an instance: asked before its first container, never about one that runs.
    Revision {
        /// The instance.
        instance: &'a Key,
        /// What is declared.
        declared: &'a Declared<InstanceSpec>,
    },
    /// An action on an object.
    Action {
        /// The object.
        object: &'a ObjectId,
        /// What shall be done.
        action: &'a Action,
    },
    /// Drift that would be repaired.
    Drift {
        /// The object.
        object: &'a ObjectId,
        /// In which fields.
        fields: &'a [FieldChange],
    },
}

/// What policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Do not.
    Deny {
        /// Which policy says so.
        policy: String,
        /// Why, and what would be allowed.
        message: String,
    },
}

/// One policy. It decides from its subject alone: no clock, no I/O.
pub trait Policy: Send + Sync {
    /// What the policy says of `subject`.
    fn judge(&self, subject: &Subject<'_>) -> Verdict;
}

/// The policies in force.
#[derive(Default)]
pub struct Policies {
    in_force: Vec<Box<dyn Policy>>,
}

impl Policies {
    /// No policy: everything is allowed.
    #[must_use]
    pub fn allow_all() -> Self {
        Self::default()
    }

    /// These policies, asked in this order.
    #[must_use]
    pub fn new(in_force: Vec<Box<dyn Policy>>) -> Self {
        Self { in_force }
    }

    /// The first denial, or [`Verdict::Allow`].
    #[must_use]
    pub fn judge(&self, subject: &Subject<'_>) -> Verdict {
        self.in_force
            .iter()
            .map(|policy| policy.judge(subject))
            .find(|verdict| *verdict != Verdict::Allow)
            .unwrap_or(Verdict::Allow)
    }
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policies({} in force)", self.in_force.len())
    }
}
