//! What policies say of what is declared, as far as plans and people go by it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{Key, Name};
use super::spec::policy::Level;
use super::time::Timestamp;

/// What one policy says of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The policy.
    pub policy: String,
    /// The binding that put it in force.
    pub binding: Key,
    /// How much it weighs: `warn`, `soft`, `hard`.
    pub level: String,
    /// What it found, or why it gave no verdict.
    pub message: String,
    /// The waiver that lets it pass all the same.
    pub waived_by: Option<Key>,
    /// Whether no new revision comes while it says so.
    pub denies: bool,
}

impl Said {
    /// What nobody was asked about does not go through.
    #[must_use]
    pub fn unasked() -> Self {
        Self {
            policy: "policies".to_owned(),
            binding: Key::new(Name::default_project(), Name::default_project()),
            level: Level::Hard.as_str().to_owned(),
            message: "they were not asked about it: a round asks so often, and no further"
                .to_owned(),
            waived_by: None,
            denies: true,
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, binding, level, message, waived_by, denies: _ } = self;
        write!(f, "{policy} ({level}, by {binding}): {message}")?;
        match waived_by {
            Some(waiver) => write!(f, "; waived by {waiver}"),
            None => Ok(()),
        }
    }
}

/// What policies say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Of instances: only those that something is said of.
    pub instances: BTreeMap<Key, Vec<Said>>,
    /// When the same declarations would be judged otherwise.
    pub wake_at: Option<Timestamp>,
}

impl Verdicts {
    /// What is said of an instance.
    #[must_use]
    pub fn of(&self, instance: &Key) -> &[Said] {
        self.instances.get(instance).map_or(&[], |said| said)
    }

    /// The first that keeps new revisions of an instance from coming.
    #[must_use]
    pub fn denial(&self, instance: &Key) -> Option<&Said> {
        self.of(instance).iter().find(|said| said.denies)
    }
}
