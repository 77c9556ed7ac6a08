//! What users declare, typed: one struct a kind, quantities parsed, defaults filled in.
//!
//! A spec holds no place in a file and no name: those stand beside it, in
//! [`Declared`](super::desired::Declared). Field docs are user documentation too.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{ImageName, Key};
use super::quantity::{Bytes, Cpus, Span};

/// Containers that shall run, all alike: `replicas` of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSpec {
    /// What to run: the name of an Image, or a reference such as `registry.example/web:1.4`.
    pub image: ImageName,
    /// Limits that the kernel enforces. A flavor stands here as the limits that it names.
    pub resources: Resources,
    /// The flavor that `resources` came from, if one was named.
    pub flavor: Option<String>,
    /// How many containers; 1 if not said.
    pub replicas: u32,
    /// Whether they run, are stopped, or are paused.
    pub power: Power,
    /// The program and its first arguments, in place of the image's entry point.
    pub command: Option<Vec<String>>,
    /// Arguments, in place of the image's command.
    pub args: Option<Vec<String>>,
    /// Environment variables, beside those of the image.
    pub env: BTreeMap<String, String>,
    /// Ports that are exposed, and on which host address and port they are published.
    pub ports: Vec<Port>,
    /// What is mounted where.
    pub volumes: Vec<Mount>,
    /// When a container that ended is started again.
    pub restart: Restart,
    /// How the engine finds out whether the container is healthy.
    pub health: Option<Health>,
    /// How a container is asked to end.
    pub stop: Stop,
    /// Labels on the container, beside those of windlass.
    pub labels: BTreeMap<String, String>,
}

/// Hard limits. What is not set is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// CPU time per time: `0.5`, `500m`, `2`.
    pub cpus: Option<Cpus>,
    /// Memory: `256Mi`. Swap beside it is the same amount again, as engines have it.
    pub memory: Option<Bytes>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// The state in which containers are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// A transport protocol.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The word that specs and engines use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port of the container. Without `host` it is exposed but not published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// The port inside, 1 to 65535.
    pub container: u16,
    /// Its protocol; `tcp` if not said.
    pub protocol: Protocol,
    /// The host port or ports that lead to it: replica *n* gets the *n*-th of the range.
    pub host: Option<PortRange>,
    /// The host address to listen on; all of them if not said.
    pub address: Option<String>,
}

/// Host ports, both ends included: `8080` or `8080-8082`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port; the same as `first` for a single one.
    pub last: u16,
}

impl PortRange {
    /// How many ports the range holds.
    #[must_use]
    pub fn len(self) -> u32 {
        u32::from(self.last).saturating_sub(u32::from(self.first)) + 1
    }

    /// Never true: a range holds its ends.
    #[must_use]
    pub fn is_empty(self) -> bool {
        false
    }

    /// Whether `port` is one of the range.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// The port of replica `ordinal`, if the range reaches that far.
    #[must_use]
    pub fn nth(self, ordinal: u32) -> Option<u16> {
        let port = u32::from(self.first).checked_add(ordinal)?;
        u16::try_from(port).ok().filter(|port| self.contains(*port))
    }
}

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// The absolute path inside the container.
    pub target: String,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountSource {
    /// A declared Volume.
    Volume(Key),
    /// An absolute path on the node's host.
    Bind(String),
    /// Memory; the size limit, if there is one.
    Tmpfs(Option<Bytes>),
}

/// A check that the engine runs inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The command; exit code 0 means healthy.
    pub exec: Vec<String>,
    /// Time between two checks.
    pub interval: Span,
    /// After this long a check counts as failed.
    pub timeout: Span,
    /// So many failures in a row make the container unhealthy.
    pub retries: u32,
    /// Failures in this time after the start do not count.
    pub start_period: Span,
}

/// How a container is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// The signal that asks, as `SIGTERM`; the image's own if not said.
    pub signal: Option<String>,
    /// After this long the container is killed.
    pub timeout: Span,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// The one source.
    pub source: ImageSource,
    /// When a registry is asked.
    pub pull: Pull,
}

/// Where an image's content is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ImageSource {
    /// A reference, with its tag or digest always written out.
    Registry(Arc<str>),
    /// A file as `docker save` writes it.
    Archive(ImageFile),
    /// A tar file that holds a root file system, and what an image made of it shall say.
    Rootfs {
        /// The tar file.
        file: ImageFile,
        /// The command that containers run unless they name their own.
        command: Option<Vec<String>>,
        /// Environment variables.
        env: BTreeMap<String, String>,
    },
}

/// A file that holds an image, with the digest of what it held when it was declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageFile {
    /// The absolute path of the file.
    pub path: String,
    /// `sha256:` and the digest of its content.
    pub digest: String,
}

/// When a registry is asked for an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// Whenever the Image is declared or changes.
    Always,
    /// If the node does not hold it.
    #[default]
    Missing,
    /// Never: the node must hold it.
    Never,
}

/// A volume on the nodes that use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSpec {
    /// The engine's volume driver; `local` if not said.
    pub driver: String,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Whether the data stays when the declaration goes; true if not said.
    pub retain: bool,
}

/// A hypervisor node: an engine that runs containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSpec {
    /// Where its engine listens.
    pub endpoint: Endpoint,
    /// The control group that all containers on this node live under; made from the node's name
    /// and the owner if not said.
    pub cgroup_root: Option<String>,
}

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Endpoint {
    /// A unix socket, by its absolute path.
    Unix(String),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
        }
    }
}

/// A named size, as OpenStack has them: virtual cpus and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flavor {
    /// The name that specs use.
    pub name: &'static str,
    /// Virtual cpus, a hard cap.
    pub cpus: u64,
    /// Memory in mebibytes.
    pub memory_mib: u64,
}

/// The sizes that OpenStack installations have shipped since its beginnings.
pub const BUILT_IN_FLAVORS: [Flavor; 5] = [
    Flavor { name: "m1.tiny", cpus: 1, memory_mib: 512 },
    Flavor { name: "m1.small", cpus: 1, memory_mib: 2048 },
    Flavor { name: "m1.medium", cpus: 2, memory_mib: 4096 },
    Flavor { name: "m1.large", cpus: 4, memory_mib: 8192 },
    Flavor { name: "m1.xlarge", cpus: 8, memory_mib: 16384 },
];

impl Flavor {
    /// The built-in flavor of that name.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        BUILT_IN_FLAVORS.into_iter().find(|flavor| flavor.name == name)
    }

    /// The limits that the flavor stands for.
    #[must_use]
    pub fn resources(self) -> Resources {
        Resources {
            cpus: Some(Cpus(self.cpus * Cpus::NANO)),
            memory: Some(Bytes(self.memory_mib << 20)),
            pids: None,
        }
    }
}
