//! Policies: rules that are scripts, what they see, and what becomes of what they say.
//!
//! ```text
//! // @id CIS-5.5  @version 1.0.0  @title Not privileged  @level hard
//! // @match kinds=Instance
//! fn check(o) {
//!   if o.security.privileged { deny("privileged").at("spec.security.privileged"); }
//! }
//! ```
//!
//! A script has a header ([`meta`], with parameters in [`params`]) and functions that are asked about
//! one thing each: `check(o)` a declared object, `check_set(s)` the whole set, `check_action(a)` an
//! action before it is done, `check_drift(d)` drift before it is repaired. It sees typed records
//! ([`view`]) and says what it finds with verbs that collect (`deny`, `warn`, `info`, `require`,
//! `set_default`; of drift `revert`, `report`, `quarantine`). `policies/README.md` tells rule authors
//! all of that.
//!
//! **It fails closed.** What is wrong with a script is an error with its line, and an error is a
//! result of its own: neither pass nor denial, and in the way at each level that denies. [`script`]
//! holds the engine, its limits, and what is checked before anything runs.
//!
//! Which scripts there are is in a [`library`]; bindings put them in force and waivers let some of
//! what they find pass: [`evaluate`] does both, for plans, tests, the loop and scans.
//!
//! At the end of this file is the seam at which the planner asks: each decision that policy may
//! refuse passes through [`Policies::judge`], and what is denied becomes a note in the report and no
//! step.

pub mod answers;
pub mod evaluate;
pub mod facts;
pub mod found;
pub mod inventory;
pub mod last;
pub mod library;
pub mod meta;
pub mod outcome;
pub mod params;
pub mod script;
mod verbs;
pub mod view;

use std::sync::Arc;

use self::answers::Answers;
use self::library::Library;
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

/// The policies in force. Cheap to clone.
#[derive(Clone, Default)]
pub struct Policies {
    in_force: Arc<[Box<dyn Policy>]>,
    /// What bindings put in force.
    library: Option<Arc<Library>>,
    answers: Answers,
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
        Self { in_force: in_force.into(), ..Self::default() }
    }

    /// Policies that bindings put in force.
    #[must_use]
    pub fn of(library: Arc<Library>) -> Self {
        Self { library: Some(library), ..Self::default() }
    }

    /// The policies that bindings put in force; none if nobody loaded any.
    #[must_use]
    pub fn library(&self) -> Option<&Arc<Library>> {
        self.library.as_ref()
    }

    /// What they say of what the round would do.
    #[must_use]
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Takes what they say of what the round would do.
    pub fn answer(&mut self, answers: Answers) {
        self.answers = answers;
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
