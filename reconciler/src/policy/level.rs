//! Levels and points: how much a policy binds, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much a policy binds. A binding says so, for each point; the header of a script only says what
/// is usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is not evaluated.
    Off,
    /// What it finds is recorded.
    Audit,
    /// What it finds is recorded and shown.
    Warn,
    /// What it denies is not done, unless it is waived.
    Soft,
    /// What it denies is not done, unless it is waived by somebody who approves.
    Hard,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Off, Self::Audit, Self::Warn, Self::Soft, Self::Hard];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }

    /// Whether what is denied is not done.
    #[must_use]
    pub fn denies(self) -> bool {
        matches!(self, Self::Soft | Self::Hard)
    }
}

/// Where policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Point {
    /// Before anything is planned: what is declared.
    Plan,
    /// Before an action is done.
    Act,
    /// Before drift is repaired.
    Drift,
    /// What runs, every round.
    Scan,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plan, Self::Act, Self::Drift, Self::Scan];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Act => "act",
            Self::Drift => "drift",
            Self::Scan => "scan",
        }
    }
}

/// What may be done to an object, as policies match it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// Something new comes.
    Create,
    /// A container gives way to a new one.
    Replace,
    /// It is changed in place.
    Update,
    /// It starts for the first time.
    Start,
    /// It starts again.
    Restart,
    /// It is stopped.
    Stop,
    /// It is frozen.
    Pause,
    /// It goes on.
    Unpause,
    /// It goes.
    Delete,
    /// Its image is fetched.
    Pull,
    /// A command is run in it.
    Exec,
}

impl ActionKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Replace,
        Self::Update,
        Self::Start,
        Self::Restart,
        Self::Stop,
        Self::Pause,
        Self::Unpause,
        Self::Delete,
        Self::Pull,
        Self::Exec,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Update => "update",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Delete => "delete",
            Self::Pull => "pull",
            Self::Exec => "exec",
        }
    }
}

macro_rules! words {
    ($($type:ty),+) => {$(
        impl $type {
            /// What has that word.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|one| one.as_str() == word)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    )+};
}
words!(Level, Point, ActionKind);
