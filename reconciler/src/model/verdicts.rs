//! What policies say of what is declared, as far as plans and people go by it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{Key, Name};
use super::spec::policy::{Level, ObjectKind};
use super::time::Timestamp;

/// What one policy says of one object.
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
    /// Whether nothing new of the object comes while it says so.
    pub denies: bool,
}

impl Said {
    /// What is said, by whom, and by whose leave it passes.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { policy, message, waived_by, .. } = self;
        match waived_by {
            Some(waiver) => format!("{policy}: {message}; waived by {waiver}"),
            None => format!("{policy}: {message}"),
        }
    }

    /// What nobody was asked about does not go through.
    #[must_use]
    pub fn unasked() -> Self {
        Self {
            policy: "policies".to_owned(),
            binding: Key::new(Name::default_project(), Name::default_project()),
            level: Level::Hard.as_str().to_owned(),
            message: "they could not be asked about it yet".to_owned(),
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

/// A declared object: its kind, its project and name. Nodes are of the project `default`, projects of
/// their own.
pub type Whose = (ObjectKind, Key);

/// What policies say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Of objects: only those that something is said of.
    pub objects: BTreeMap<Whose, Vec<Said>>,
    /// When the same declarations would be judged otherwise.
    pub wake_at: Option<Timestamp>,
}

impl Verdicts {
    /// What is said of an object.
    #[must_use]
    pub fn of(&self, kind: ObjectKind, key: &Key) -> &[Said] {
        if self.objects.is_empty() {
            return &[];
        }
        self.objects.get(&(kind, key.clone())).map_or(&[], |said| said)
    }

    /// The first that keeps something new of an object from coming.
    #[must_use]
    pub fn denial(&self, kind: ObjectKind, key: &Key) -> Option<&Said> {
        self.of(kind, key).iter().find(|said| said.denies)
    }
}

/// How bindings and waivers do, for people: nothing is planned from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyNotes {
    /// Of bindings: about how many things their policies were asked, and what came of it.
    pub bindings: BTreeMap<Key, Asked>,
    /// Of waivers: what is wrong with them.
    pub waivers: BTreeMap<Key, String>,
}

/// How often policies were asked under a binding. Where nothing matched, nothing has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// How often.
    pub asked: u64,
    /// How often nothing was found.
    pub passed: u64,
    /// How often something was.
    pub found: u64,
    /// How often a waiver let that pass.
    pub waived: u64,
    /// How often there was no verdict.
    pub errors: u64,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, passed, found, waived, errors } = self;
        if *asked == 0 {
            return f.write_str("nothing matches it");
        }
        write!(f, "asked {asked} times: {passed} passed, {found} found something")?;
        if *waived > 0 {
            write!(f, " ({waived} waived)")?;
        }
        if *errors > 0 {
            write!(f, ", {errors} gave no verdict")?;
        }
        Ok(())
    }
}
