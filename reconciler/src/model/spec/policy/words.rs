//! The words of policies: ids, levels, points, kinds and actions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names a policy or a profile: letters, digits and inner `.`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyId(Arc<str>);

/// Longest id of a policy: it stands in every table and record.
pub const POLICY_ID_BYTES_MAX: usize = 63;

/// Why a text is not a [`PolicyId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of a policy has 1 to {POLICY_ID_BYTES_MAX} letters, digits and inner `.`, `-` and `_`"
)]
pub struct PolicyIdError;

impl PolicyId {
    /// Checks `text` and makes an id of it.
    ///
    /// # Errors
    /// [`PolicyIdError`] if the text is none.
    pub fn new(text: &str) -> Result<Self, PolicyIdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let good = text.len() <= POLICY_ID_BYTES_MAX
            && text.chars().all(allowed)
            && edge(text.chars().next())
            && edge(text.chars().next_back());
        good.then(|| Self(Arc::from(text))).ok_or(PolicyIdError)
    }

    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for PolicyId {
    type Err = PolicyIdError;
    fn from_str(text: &str) -> Result<Self, PolicyIdError> {
        Self::new(text)
    }
}

impl TryFrom<String> for PolicyId {
    type Error = PolicyIdError;
    fn try_from(text: String) -> Result<Self, PolicyIdError> {
        Self::new(&text)
    }
}

impl From<PolicyId> for String {
    fn from(id: PolicyId) -> Self {
        id.0.to_string()
    }
}

/// How much a finding weighs, from nothing to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The policy is not asked.
    Off,
    /// It is recorded.
    Audit,
    /// It is recorded and shown.
    Warn,
    /// It denies, unless a waiver covers it.
    Soft,
    /// It denies, unless a waiver covers it that names its approver.
    Hard,
}

impl Level {
    /// All levels, from nothing to most.
    pub const ALL: [Self; 5] = [Self::Off, Self::Audit, Self::Warn, Self::Soft, Self::Hard];

    /// The word that specs use.
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

    /// Whether a finding of that level denies.
    #[must_use]
    pub fn denies(self) -> bool {
        match self {
            Self::Off | Self::Audit | Self::Warn => false,
            Self::Soft | Self::Hard => true,
        }
    }
}

/// When policy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Point {
    /// Of what is declared, before anything is planned.
    Plan,
    /// Of an action, before it is done.
    Act,
    /// Of drift, before it is repaired.
    Drift,
    /// Of what runs.
    Scan,
}

impl Point {
    /// All points, in the order in which they come.
    pub const ALL: [Self; 4] = [Self::Plan, Self::Act, Self::Drift, Self::Scan];

    /// The word that specs use.
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

/// A kind of declared object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ObjectKind {
    /// An Instance, or a replica of one.
    Instance,
    /// An Image.
    Image,
    /// A Volume.
    Volume,
    /// A Network.
    Network,
    /// A Link.
    Link,
    /// A Node.
    Node,
    /// A Flavor.
    Flavor,
    /// A Project.
    Project,
    /// A binding of a policy.
    PolicyBinding,
    /// A waiver.
    Waiver,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Instance,
        Self::Image,
        Self::Volume,
        Self::Network,
        Self::Link,
        Self::Node,
        Self::Flavor,
        Self::Project,
        Self::PolicyBinding,
        Self::Waiver,
    ];

    /// The word that specs use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "Instance",
            Self::Image => "Image",
            Self::Volume => "Volume",
            Self::Network => "Network",
            Self::Link => "Link",
            Self::Node => "Node",
            Self::Flavor => "Flavor",
            Self::Project => "Project",
            Self::PolicyBinding => "PolicyBinding",
            Self::Waiver => "Waiver",
        }
    }
}

/// What is done to an object, as policies name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// It is made where there was none.
    Create,
    /// It is changed in place.
    Update,
    /// A new one takes its place.
    Replace,
    /// It is removed.
    Delete,
    /// It is started, or goes on after a pause.
    Start,
    /// It is stopped or paused.
    Stop,
    /// It is started again.
    Restart,
    /// A command is run in it.
    Exec,
    /// An image is brought to a node.
    Pull,
}

impl ActionKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Update,
        Self::Replace,
        Self::Delete,
        Self::Start,
        Self::Stop,
        Self::Restart,
        Self::Exec,
        Self::Pull,
    ];

    /// The word that specs use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Exec => "exec",
            Self::Pull => "pull",
        }
    }
}
