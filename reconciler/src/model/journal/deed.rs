//! What an engine is asked to do, as the journal says it.

use serde::{Deserialize, Serialize};

use crate::model::groups::GroupLimits;
use crate::model::ids::{Digest, ImageName, Revision};
use crate::model::observed::Limits;

/// What an intent says of an action: its kind, and what records need of it. Nothing that could be
/// a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "do")]
pub enum Deed {
    /// Fetch an image.
    FetchImage {
        /// How, for readers: `pull REFERENCE`, `load FILE`, `import FILE`.
        how: String,
    },
    /// Make a volume.
    CreateVolume {
        /// Whether its data stays when the declaration goes.
        retain: bool,
    },
    /// Remove a volume and its data.
    RemoveVolume,
    /// Make a network.
    CreateNetwork,
    /// Remove a network.
    RemoveNetwork,
    /// Remove a network of a name that another one has, too.
    RemoveCopy,
    /// Create a container.
    Create {
        /// Which one in the row.
        incarnation: u64,
        /// What from.
        revision: Revision,
        /// The image, as the spec names it.
        image: ImageName,
        /// With which limits.
        limits: Limits,
        /// Which of the instance's host ports it takes, if that is not the one of its ordinal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slot: Option<u32>,
    },
    /// Start a container.
    Start {
        /// Whether it had ended by itself.
        restart: bool,
        /// Whether its earlier restarts still count, since it had not run stably.
        in_a_row: bool,
        /// Whether it serves until its successor is ready: what becomes of it is not what becomes
        /// of the replica.
        #[serde(default, skip_serializing_if = "is_false")]
        earlier: bool,
    },
    /// Stop a container.
    Stop {
        /// Whether its spec says that it shall be stopped; else it makes way for another one.
        power: bool,
        /// Whether its successor is in service already: its end is not the replica's.
        #[serde(default, skip_serializing_if = "is_false")]
        retired: bool,
    },
    /// Freeze a container.
    Pause,
    /// Go on with a frozen container.
    Unpause,
    /// Change limits.
    Update {
        /// To these.
        limits: Limits,
    },
    /// Give a container its name back.
    Rename,
    /// Put a container on a network.
    Connect {
        /// The engine's name of it.
        network: String,
    },
    /// Take a container off a network.
    Disconnect {
        /// The engine's name of it.
        network: String,
    },
    /// Put files into a container that was not started yet.
    PutFiles,
    /// Put other rules in place of those of a node.
    SetRules {
        /// Tells them from others.
        rules: Digest,
        /// How many ways they open.
        ways: usize,
    },
    /// Tell a container that runs other names and addresses.
    SetHosts,
    /// Have the kernel let a project use no more than this on a node.
    SetGroup {
        /// Its limits; with none of them its group may go.
        limits: GroupLimits,
    },
    /// Remove a container.
    Remove {
        /// Which incarnation.
        incarnation: u64,
        /// Whether nothing shall come in its place: the guard counts these.
        for_good: bool,
    },
}

impl Deed {
    /// The word for it in messages.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::FetchImage { .. } => "fetch image",
            Self::CreateVolume { .. } => "create volume",
            Self::RemoveVolume => "remove volume",
            Self::CreateNetwork => "create network",
            Self::RemoveNetwork => "remove network",
            Self::RemoveCopy => "remove copy",
            Self::Connect { .. } => "connect",
            Self::Disconnect { .. } => "disconnect",
            Self::PutFiles => "put files",
            Self::SetRules { .. } => "set rules",
            Self::SetHosts => "set hosts",
            Self::SetGroup { .. } => "set quota",
            Self::Create { .. } => "create",
            Self::Start { earlier: true, .. } => "start again",
            Self::Start { restart: false, .. } => "start",
            Self::Start { restart: true, .. } => "restart",
            Self::Stop { .. } => "stop",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Update { .. } => "update",
            Self::Rename => "rename",
            Self::Remove { .. } => "remove",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Deed {
    /// Whether `verb` is a word for it. A restart is a start; that of an earlier container is not.
    pub(super) fn is_called(&self, verb: &str) -> bool {
        self.verb() == verb
            || matches!(self, Self::Start { earlier: false, .. })
                && matches!(verb, "start" | "restart")
    }
}
