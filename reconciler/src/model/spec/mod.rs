//! What users declare, typed: quantities parsed, defaults filled in.
//!
//! A spec holds no place in a file and no name: those stand beside it, in
//! [`Declared`](super::desired::Declared). Field docs are user documentation too. Instances are in
//! this file; [`ports`], [`files`], [`resources`], [`security`], [`network`] and [`update`] hold parts;
//! the other kinds are in [`objects`], [`links`] and [`policy`], Networks and Flavors beside what
//! instances say of them.

pub mod defaults;
pub mod files;
#[cfg(feature = "schema")]
pub mod form;
pub mod limits;
pub mod links;
pub mod network;
pub mod objects;
pub mod policy;
pub mod ports;
pub mod resources;
pub mod security;
pub mod update;
pub mod verify;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{ImageName, Key, Name};
use super::quantity::Span;
use super::sparse::{Sparse, empty};

pub use self::files::{Content, FileSpec, LocalFile, Mount, MountSource};
pub use self::links::{Grant, LinkPort, LinkSpec};
pub use self::network::{Dns, NetworkName, NetworkSpec, NetworkUse, Subnet};
pub use self::objects::{
    Endpoint, ImageSource, ImageSpec, NodeSpec, Overcommit, ProjectSpec, Pull, Quota, Room,
    VolumeSpec,
};
pub use self::policy::{PolicyBindingSpec, WaiverSpec};
pub use self::ports::{Port, PortRange, Protocol};
pub use self::resources::{
    BUILT_IN_FLAVORS, BlockIo, CpuPolicy, Flavor, FlavorSpec, Requests, Resources, Swap,
};
pub use self::security::{Device, Namespaces, Security, Ulimit};
pub use self::update::{OnFailure, Order, Update};
pub use self::verify::{PublicKey, Signature, SignatureFile, TrustedKey, Verify};

/// Containers that shall run, all alike: `replicas` of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(extend("not" = { "required": ["resources", "flavor"] })))]
pub struct InstanceSpec {
    /// What to run: the name of an Image, or a reference such as `registry.example/web:1.4`.
    pub image: ImageName,
    /// Limits that the kernel enforces.
    // A flavor stands here as the limits that it names.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub resources: Resources,
    /// The name of a Flavor, or a built-in size such as `m1.tiny`, in place of `resources`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Text>"))]
    pub flavor: Option<String>,
    /// How many containers; 1 if not said.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::replicas", range(max = limits::REPLICAS_MAX)))]
    pub replicas: u32,
    /// Whether they run, are stopped, or are paused.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub power: Power,
    /// The program and its first arguments, in place of the image's entry point.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Words>"))]
    pub command: Option<Vec<String>>,
    /// Arguments, in place of the image's command.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Words>"))]
    pub args: Option<Vec<String>>,
    /// Environment variables, beside those of the image.
    // Those of `envFiles` stand here too.
    #[cfg_attr(
        feature = "schema",
        schemars(
            default,
            with = "BTreeMap<String, form::Text>",
            extend("propertyNames" = { "pattern": r"^[^=\s]+$" })
        )
    )]
    pub env: BTreeMap<String, String>,
    /// Ports that are exposed, and on which host address and port they are published.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ports: Vec<Port>,
    /// What is mounted where.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub volumes: Vec<Mount>,
    /// When a container that ended is started again.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub restart: Restart,
    /// How it is found out whether the container is healthy.
    pub health: Option<Health>,
    /// How a container is asked to end.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::stop"))]
    pub stop: Stop,
    /// Labels on the container, beside those of windlass.
    #[cfg_attr(
        feature = "schema",
        schemars(
            default,
            with = "BTreeMap<String, form::Text>",
            extend("propertyNames" = { "minLength": 1, "not": { "pattern": r"^io\.windlass\." } })
        )
    )]
    pub labels: BTreeMap<String, String>,
    /// What most instances do not say.
    #[serde(flatten)]
    pub more: Sparse<More>,
}

impl InstanceSpec {
    /// An instance that runs `image`, and of which nothing else is said.
    #[must_use]
    pub fn of(image: ImageName) -> Self {
        Self {
            image,
            resources: Resources::default(),
            flavor: None,
            replicas: 1,
            power: Power::Running,
            command: None,
            args: None,
            env: BTreeMap::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            restart: Restart::Always,
            health: None,
            stop: Stop { signal: None, timeout: Span::seconds(10) },
            labels: BTreeMap::new(),
            more: Sparse::default(),
        }
    }
}

/// The fields of an Instance that most leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct More {
    /// The folder that the command starts in; the image's own if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Path>"))]
    pub workdir: Option<String>,
    /// Files of variables beside the spec, one `NAME=value` a line; `env` goes before them, and a
    /// later file before an earlier one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "form::EnvFiles"))]
    pub env_files: Vec<LocalFile>,
    /// Files that are put into each new container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSpec>,
    /// A file for whatever the image does with it at its first start; nothing runs it by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(transform = form::user_data))]
    pub user_data: Option<FileSpec>,
    /// The host name inside; `NAME-ORDINAL` if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::HostName>"))]
    pub hostname: Option<String>,
    /// The networks that it is on; its project's own if none is named, on which nobody reaches
    /// anybody but over a Link.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<form::Short<NetworkUse, NetworkName>>"))]
    pub networks: Vec<NetworkUse>,
    /// How names are resolved inside; as on the node if not said.
    #[serde(skip_serializing_if = "Sparse::is_empty")]
    pub dns: Sparse<Dns>,
    /// Lines of `/etc/hosts`: addresses by host name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, form::HostAddress>"))]
    pub extra_hosts: BTreeMap<String, String>,
    /// How a new revision takes the place of an earlier one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// Which nodes may hold it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Instances that have to be there before it starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<form::Short<Dependency, Name>>"))]
    pub depends_on: Vec<Dependency>,
    /// What it may do, and what it shares with its node.
    #[serde(skip_serializing_if = "Sparse::is_empty")]
    pub security: Sparse<Security>,
    /// Whether a small first process passes signals on and reaps; as the engine does it if not
    /// said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Whether its output goes through a terminal.
    #[serde(skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = false)))]
    pub tty: bool,
    /// Where the engine puts what it prints; as the engine does it if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// What it usually needs, beside the limits in `resources`, of which it is at most as much.
    /// Policies compare the two; placement goes by the limits.
    #[serde(skip_serializing_if = "Requests::is_empty")]
    pub requests: Requests,
    /// Whether a policy may say that it is not removed or replaced without a waiver.
    #[serde(skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = false)))]
    pub protected: bool,
}

empty!(More);

/// Where an engine puts what a container prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// The engine's log driver: `json-file`, `local`, `syslog`, `none`, …
    pub driver: String,
    /// Options of the driver.
    #[cfg_attr(feature = "schema", schemars(default, with = "BTreeMap<String, form::Text>"))]
    pub options: BTreeMap<String, String>,
}

impl Log {
    /// What engines do if nothing else is said, there or here.
    #[must_use]
    pub fn usual() -> Self {
        Self { driver: "json-file".to_owned(), options: BTreeMap::new() }
    }
}

/// Which nodes may hold an instance. All that is said must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Only this one.
    pub node: Option<Name>,
    /// Those with these labels.
    #[cfg_attr(feature = "schema", schemars(default, with = "BTreeMap<String, form::Text>"))]
    pub selector: BTreeMap<String, String>,
    /// What replicas are spread over evenly when they are placed: `node`, or a label of nodes such
    /// as `zone`; nodes without the label take none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
}

impl Placement {
    /// The word for spreading over nodes.
    pub const SPREAD_NODES: &str = "node";
}

/// An instance that has to be there before another one starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Which one.
    #[cfg_attr(feature = "schema", schemars(with = "Name"))]
    pub instance: Key,
    /// What of it.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub condition: Condition,
}

/// What of an instance another one waits for. It counts for all replicas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// That it runs.
    #[default]
    Started,
    /// That it runs, and its health check says that it is well.
    Healthy,
    /// That it ended with exit code 0.
    Completed,
}

impl Condition {
    /// The word that specs use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        }
    }
}

/// The state in which containers are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Started, and started again when it ends, as `restart` says.
    #[default]
    Running,
    /// Created, but not running.
    Stopped,
    /// Started, and frozen.
    Paused,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Whatever its exit code was.
    #[default]
    Always,
    /// If its exit code was not 0; with 0 it is completed.
    OnFailure,
    /// Never: with exit code 0 it is completed, else failed.
    Never,
}

/// How it is found out whether a container is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// What is tried. Each of them stands in the spec as a field of its own.
    #[serde(flatten)]
    pub check: HealthProbe,
    /// Time between two checks.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::health_interval"))]
    pub interval: Span,
    /// After this long a check counts as failed.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::health_timeout"))]
    pub timeout: Span,
    /// So many failures in a row make the container unhealthy.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::health_retries", range(min = 1, max = limits::RETRIES_MAX)))]
    pub retries: u32,
    /// Failures in this time after the start do not count.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::health_start_period"))]
    pub start_period: Span,
}

/// What is tried to find out whether a container is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum HealthProbe {
    /// The engine runs this command inside; exit code 0 means healthy.
    Exec(#[cfg_attr(feature = "schema", schemars(with = "form::Words"))] Vec<String>),
    /// Windlass asks the container by HTTP; an answer below 400 means healthy.
    #[cfg_attr(feature = "schema", schemars(transform = form::or_port))]
    Http {
        /// The port inside.
        #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
        port: u16,
        /// The path, beginning with `/`.
        #[cfg_attr(
            feature = "schema",
            schemars(default = "defaults::http_path", regex(pattern = r"^/\S*$"))
        )]
        path: String,
    },
    /// Windlass opens a TCP connection to the container; that it opens means healthy.
    #[cfg_attr(feature = "schema", schemars(transform = form::or_port))]
    Tcp {
        /// The port inside.
        #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
        port: u16,
    },
}

/// How a container is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// The signal that asks, as `SIGTERM`; the image's own if not said.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Signal>"))]
    pub signal: Option<String>,
    /// After this long the container is killed.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::stop_timeout"))]
    pub timeout: Span,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}
