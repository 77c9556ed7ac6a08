//! Steps: what a plan is made of. One step is one action on one object, with a cause, and the
//! steps that it waits for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::fence::{HostNames, Rules};
use crate::model::groups::GroupLimits;
use crate::model::ids::{ImageId, ImageName, Name, ObjectId, Revision};
use crate::model::journal::Deed;
use crate::model::observed::{Attachment, ContainerConfig, Limits};
use crate::model::quantity::Span;
use crate::model::spec::{BlockIo, FileSpec, LocalFile, NetworkSpec};
use crate::want::CPU_SHARES_USUAL;

/// A step's number in its plan, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub u32);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// One action on one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// What it works on.
    pub object: ObjectId,
    /// Where.
    pub node: Name,
    /// What is done.
    pub action: Action,
    /// Why.
    pub cause: Cause,
    /// The steps that have to be done before.
    pub after: Vec<StepId>,
}

/// What a driver can be asked to do: one call each, complete, with nothing left to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Pull an image from its registry.
    PullImage {
        /// What to pull, with tag or digest.
        reference: Arc<str>,
    },
    /// Load an image from an archive on this host.
    LoadImage {
        /// The archive. Its digest is checked while it is sent.
        file: LocalFile,
    },
    /// Make an image of a root file system on this host.
    ImportImage {
        /// The tar file. Its digest is checked while it is sent.
        file: LocalFile,
        /// The command that containers run unless they name their own.
        command: Option<Vec<String>>,
        /// Environment variables.
        env: BTreeMap<String, String>,
        /// The reference that the image gets.
        tag: String,
    },
    /// Make a volume.
    CreateVolume {
        /// The engine's name for it.
        name: String,
        /// Its driver.
        driver: String,
        /// Options of the driver.
        options: BTreeMap<String, String>,
        /// Its labels, complete.
        labels: BTreeMap<String, String>,
        /// Whether its data stays when the declaration goes.
        retain: bool,
    },
    /// Remove a volume and its data.
    RemoveVolume {
        /// The engine's name for it.
        name: String,
    },
    /// Make a network.
    CreateNetwork {
        /// The engine's name for it.
        name: String,
        /// What it is.
        spec: Arc<NetworkSpec>,
        /// Its labels, complete.
        labels: BTreeMap<String, String>,
    },
    /// Remove a network.
    RemoveNetwork {
        /// The engine's name for it.
        name: String,
    },
    /// Remove a network of a name that another one of ours has, too.
    RemoveCopy {
        /// The engine's id of it.
        id: String,
    },
    /// Put a container on a network.
    ConnectNetwork {
        /// Its id or name.
        container: String,
        /// The engine's name of the network.
        network: String,
        /// How it is on it.
        attachment: Attachment,
    },
    /// Take a container off a network.
    DisconnectNetwork {
        /// Its id or name.
        container: String,
        /// The engine's name of the network.
        network: String,
    },
    /// Put files into a container that was not started yet.
    PutFiles {
        /// Its id or name.
        container: String,
        /// All of them.
        files: Vec<FileSpec>,
    },
    /// Put rules in place of all that are in one chain of a node, and lead all through it.
    SetRules {
        /// The chain.
        chain: String,
        /// The rules, complete; without any the chain goes.
        rules: Rules,
    },
    /// Put names and addresses in place of those that windlass told a container before.
    SetHosts {
        /// Its id or name.
        container: String,
        /// The names, complete.
        names: HostNames,
    },
    /// Have the kernel let all containers below a group use no more than this.
    SetGroup {
        /// The group, as containers are told their parent.
        group: String,
        /// Its limits, complete; without any it goes, once it is empty.
        limits: GroupLimits,
    },
    /// Create a container.
    CreateContainer {
        /// Its name.
        name: String,
        /// The image's id on the node.
        image: ImageId,
        /// The image, as the spec names it.
        image_name: ImageName,
        /// Everything else.
        config: Box<ContainerConfig>,
        /// The labels that say who it is; those of the user stand in `config`.
        labels: BTreeMap<String, String>,
        /// What it is made from.
        revision: Revision,
        /// Which one in the row.
        incarnation: u64,
        /// Which of the instance's host ports it takes, if that is not the one of its ordinal.
        slot: Option<u32>,
    },
    /// Start a container.
    StartContainer {
        /// Its id or name.
        container: String,
        /// Whether it had ended by itself.
        restart: bool,
        /// Whether its earlier restarts still count.
        in_a_row: bool,
        /// Whether it serves until its successor is ready: it is not the replica's newest one.
        earlier: bool,
    },
    /// Ask a container to end, and kill it when the time is over.
    StopContainer {
        /// Its id.
        container: String,
        /// How long it is left alone before it is asked, so that those who talk to it are done.
        drain: Span,
        /// The time.
        timeout: Span,
        /// Whether its spec says that it shall be stopped.
        power: bool,
        /// Whether its successor is in service already: its end is not the replica's.
        retired: bool,
    },
    /// Freeze a container.
    PauseContainer {
        /// Its id or name.
        container: String,
    },
    /// Go on with a frozen container.
    UnpauseContainer {
        /// Its id.
        container: String,
    },
    /// Change limits, and set the engine's restart policy to `no`. What the engine does not do the
    /// node's kernel is told, where that can be.
    UpdateContainer {
        /// Its id.
        container: String,
        /// The limits, complete.
        limits: Limits,
        /// Those of block devices, complete, if they are not as they shall be. Only the node's
        /// kernel can be told.
        io: Option<Box<BlockIo>>,
    },
    /// Give a container its name back.
    RenameContainer {
        /// Its id.
        container: String,
        /// The name.
        name: String,
    },
    /// Remove a container with its anonymous volumes; one that still runs is killed.
    RemoveContainer {
        /// Its id.
        container: String,
        /// Which one in the row.
        incarnation: u64,
        /// Whether nothing shall come in its place.
        for_good: bool,
    },
}

impl Action {
    /// What the journal says of it.
    #[must_use]
    pub fn deed(&self) -> Deed {
        match self {
            Self::PullImage { reference } => Deed::FetchImage { how: format!("pull {reference}") },
            Self::LoadImage { file } => Deed::FetchImage { how: format!("load {}", file.path) },
            Self::ImportImage { file, .. } => {
                Deed::FetchImage { how: format!("import {}", file.path) }
            }
            Self::CreateVolume { retain, .. } => Deed::CreateVolume { retain: *retain },
            Self::RemoveVolume { .. } => Deed::RemoveVolume,
            Self::CreateNetwork { .. } => Deed::CreateNetwork,
            Self::RemoveNetwork { .. } => Deed::RemoveNetwork,
            Self::RemoveCopy { .. } => Deed::RemoveCopy,
            Self::ConnectNetwork { network, .. } => Deed::Connect { network: network.clone() },
            Self::DisconnectNetwork { network, .. } => {
                Deed::Disconnect { network: network.clone() }
            }
            Self::PutFiles { .. } => Deed::PutFiles,
            Self::SetRules { chain: _, rules } => {
                Deed::SetRules { rules: rules.digest(), ways: rules.open.len() }
            }
            Self::SetHosts { .. } => Deed::SetHosts,
            Self::SetGroup { group: _, limits } => Deed::SetGroup { limits: limits.clone() },
            Self::CreateContainer { image_name, config, revision, incarnation, slot, .. } => {
                Deed::Create {
                    incarnation: *incarnation,
                    revision: revision.clone(),
                    image: image_name.clone(),
                    limits: config.limits.clone(),
                    slot: *slot,
                }
            }
            Self::StartContainer { container: _, restart, in_a_row, earlier } => {
                Deed::Start { restart: *restart, in_a_row: *in_a_row, earlier: *earlier }
            }
            Self::StopContainer { power, retired, .. } => {
                Deed::Stop { power: *power, retired: *retired }
            }
            Self::PauseContainer { .. } => Deed::Pause,
            Self::UnpauseContainer { .. } => Deed::Unpause,
            Self::UpdateContainer { limits, .. } => {
                let mut limits = limits.clone();
                if limits.cpu_shares == CPU_SHARES_USUAL {
                    limits.cpu_shares = 0;
                }
                Deed::Update { limits }
            }
            Self::RenameContainer { .. } => Deed::Rename,
            Self::RemoveContainer { incarnation, for_good, .. } => {
                Deed::Remove { incarnation: *incarnation, for_good: *for_good }
            }
        }
    }

    /// The container that it works on, by id or name, which has to be there before.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::StartContainer { container, .. }
            | Self::StopContainer { container, .. }
            | Self::PauseContainer { container }
            | Self::UnpauseContainer { container }
            | Self::UpdateContainer { container, .. }
            | Self::RenameContainer { container, .. }
            | Self::ConnectNetwork { container, .. }
            | Self::DisconnectNetwork { container, .. }
            | Self::PutFiles { container, .. }
            | Self::SetHosts { container, .. }
            | Self::RemoveContainer { container, .. } => Some(container),
            Self::PullImage { .. }
            | Self::LoadImage { .. }
            | Self::ImportImage { .. }
            | Self::CreateVolume { .. }
            | Self::RemoveVolume { .. }
            | Self::CreateNetwork { .. }
            | Self::RemoveNetwork { .. }
            | Self::RemoveCopy { .. }
            | Self::SetRules { .. }
            | Self::SetGroup { .. }
            | Self::CreateContainer { .. } => None,
        }
    }

    /// The name of the container that it makes.
    #[must_use]
    pub fn created(&self) -> Option<&str> {
        if let Self::CreateContainer { name, .. } = self { Some(name) } else { None }
    }

    /// Whether `verb` is a word for it. A restart is a start; that of an earlier container is not:
    /// what hinders the one says nothing of the other.
    #[must_use]
    pub fn is_called(&self, verb: &str) -> bool {
        self.verb() == verb
            || matches!(self, Self::StartContainer { earlier: false, .. })
                && matches!(verb, "start" | "restart")
    }

    /// The word for it in plans and progress lines.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::PullImage { .. } => "pull image",
            Self::LoadImage { .. } => "load image",
            Self::ImportImage { .. } => "import image",
            Self::CreateVolume { .. } => "create volume",
            Self::RemoveVolume { .. } => "remove volume",
            Self::CreateNetwork { .. } => "create network",
            Self::RemoveNetwork { .. } => "remove network",
            Self::RemoveCopy { .. } => "remove copy",
            Self::ConnectNetwork { .. } => "connect",
            Self::DisconnectNetwork { .. } => "disconnect",
            Self::PutFiles { .. } => "put files",
            Self::SetRules { .. } => "set rules",
            Self::SetHosts { .. } => "set hosts",
            Self::SetGroup { .. } => "set quota",
            Self::CreateContainer { .. } => "create",
            Self::StartContainer { earlier: true, .. } => "start again",
            Self::StartContainer { restart: false, .. } => "start",
            Self::StartContainer { restart: true, .. } => "restart",
            Self::StopContainer { .. } => "stop",
            Self::PauseContainer { .. } => "pause",
            Self::UnpauseContainer { .. } => "unpause",
            Self::UpdateContainer { .. } => "update",
            Self::RenameContainer { .. } => "rename",
            Self::RemoveContainer { .. } => "remove",
        }
    }
}

/// A field whose value is not what it shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field, as users write it: `memory`, `env.MODE`, `ports`.
    pub field: String,
    /// What it is. Never the value of a variable.
    pub from: String,
    /// What it shall be. Never the value of a variable.
    pub to: String,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from.is_empty(), self.to.is_empty()) {
            (true, true) => f.write_str(&self.field),
            _ => write!(f, "{} {} -> {}", self.field, self.from, self.to),
        }
    }
}

/// Why a step is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "why")]
pub enum Cause {
    /// It is declared, and there is none.
    Declared,
    /// It is needed by something that is declared.
    Needed {
        /// By what.
        by: String,
    },
    /// Its spec changed.
    Changed {
        /// In these fields.
        fields: Vec<FieldChange>,
    },
    /// Another hand changed it.
    Drifted {
        /// In these fields.
        fields: Vec<FieldChange>,
    },
    /// Another hand removed it.
    Missing,
    /// It ended, and its restart policy starts it again.
    Ended {
        /// Its exit code.
        code: i64,
        /// Whether the kernel killed it for its use of memory.
        oom_killed: bool,
    },
    /// It runs, and its health check gave up on it.
    Unhealthy {
        /// What the check found; empty if that is not known.
        reason: String,
    },
    /// An operator asked for a new container.
    Restarted {
        /// Who: `user@host`.
        by: String,
    },
    /// It is not in the power state that its spec says.
    Power {
        /// What it does.
        from: String,
        /// What it shall do.
        to: String,
    },
    /// Its creation or replacement was under way.
    Unfinished,
    /// Another container of the same replica is in force.
    Superseded,
    /// It is moved, since its node is drained.
    Drained {
        /// That node.
        node: Name,
    },
    /// It is no longer declared.
    NotDeclared,
    /// There are more replicas than declared.
    ScaledDown,
    /// An operator asked that everything be removed.
    Down,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |fields: &[FieldChange]| {
            fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Declared => f.write_str("declared"),
            Self::Needed { by } => write!(f, "needed by {by}"),
            Self::Changed { fields } => f.write_str(&list(fields)),
            Self::Drifted { fields } => write!(f, "drift: {}", list(fields)),
            Self::Missing => f.write_str("removed by another hand"),
            Self::Ended { oom_killed: true, .. } => f.write_str("killed for its use of memory"),
            Self::Ended { code, .. } => write!(f, "ended with exit code {code}"),
            Self::Unhealthy { reason } if reason.is_empty() => f.write_str("unhealthy"),
            Self::Unhealthy { reason } => write!(f, "unhealthy: {reason}"),
            Self::Restarted { by } => write!(f, "new container asked for by {by}"),
            Self::Power { from, to } => write!(f, "power {from} -> {to}"),
            Self::Unfinished => f.write_str("was under way"),
            Self::Superseded => f.write_str("superseded"),
            Self::Drained { node } => write!(f, "node {node} is drained"),
            Self::NotDeclared => f.write_str("no longer declared"),
            Self::ScaledDown => f.write_str("more replicas than declared"),
            Self::Down => f.write_str("taken down"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, object, node, action, cause, after } = self;
        write!(f, "{id} {object}: {} on {node} ({cause})", action.verb())?;
        if !after.is_empty() {
            write!(f, " after")?;
            for id in after {
                write!(f, " {id}")?;
            }
        }
        Ok(())
    }
}
