//! What nodes hold, in our own terms: adapters normalise once, at the edge.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fence::{Fence, HostNames};
use super::few::Few;
use super::groups::Groups;
use super::ids::{ContainerId, ImageId, Key, ReplicaKey, Revision};
use super::quantity::Bytes;
use super::sparse::{Sparse, empty};
use super::spec::{BlockIo, Dns, Log, NetworkSpec, Protocol, Security};
use super::time::Timestamp;

/// A node as it was last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedNode {
    /// Whether it answers.
    pub reach: Reach,
    /// Its engine, once it answered.
    pub engine: Option<EngineInfo>,
    /// When the last full list was asked for.
    pub seen_at: Timestamp,
    /// How long a full list takes, in milliseconds: the median of the last few.
    #[serde(default)]
    pub latency_ms: Option<u64>,
    /// The id of another engine that answers in its place, and is refused until an operator
    /// accepts it.
    #[serde(default)]
    pub another: Option<String>,
    /// Our containers, by the engine's id.
    pub containers: BTreeMap<ContainerId, ObservedContainer>,
    /// Names of containers that are not ours: they are counted, shown and never touched.
    pub foreign: Vec<String>,
    /// All images.
    pub images: BTreeMap<ImageId, ObservedImage>,
    /// Our volumes, by the engine's name.
    pub volumes: BTreeMap<String, ObservedVolume>,
    /// Our networks, by the engine's name.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// What may talk to what.
    #[serde(default)]
    pub fence: Fence,
    /// What projects may use.
    #[serde(default)]
    pub groups: Groups,
}

/// Whether a node answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// It has not been asked yet.
    #[default]
    Unseen,
    /// It answers.
    Reachable,
    /// It does not answer: what it holds is unknown, never missing.
    Unreachable {
        /// Since when.
        since: Timestamp,
        /// What the attempt said.
        reason: String,
    },
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineInfo {
    /// The engine's own id: one engine has one, wherever it listens.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The API version that was agreed on.
    pub api_version: String,
    /// Who makes control groups for it.
    pub cgroup_driver: CgroupDriver,
    /// How many cpus it may use.
    pub cpus: u32,
    /// How much memory its host has, in bytes.
    pub memory: u64,
    /// What it takes in a spec, and cannot enforce.
    #[serde(default)]
    pub missing: BTreeSet<Missing>,
}

/// Something that an engine takes, and cannot enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// AppArmor profiles.
    Apparmor,
    /// Filters of system calls.
    Seccomp,
    /// Sizes of containers' own layers.
    Disk,
}

/// Who makes control groups for an engine; decides the form of a parent group's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// The runtime itself: parents are paths.
    Cgroupfs,
    /// systemd: parents are slices.
    Systemd,
}

/// Everything that one full list of a node brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeListing {
    /// The engine.
    pub engine: EngineInfo,
    /// Our containers.
    pub containers: BTreeMap<ContainerId, ObservedContainer>,
    /// Names of the others.
    pub foreign: Vec<String>,
    /// All images.
    pub images: BTreeMap<ImageId, ObservedImage>,
    /// Our volumes.
    pub volumes: BTreeMap<String, ObservedVolume>,
    /// Our networks.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// What may talk to what.
    #[serde(default)]
    pub fence: Fence,
    /// What projects may use.
    #[serde(default)]
    pub groups: Groups,
}

/// One of our containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedContainer {
    /// The name it has now; another hand may have renamed it.
    pub name: String,
    /// Who it is, by its labels.
    pub identity: Identity,
    /// What it does.
    pub state: ContainerState,
    /// What its health check says. Drivers tell of the engine's check; what windlass's own checks
    /// found is put in its place in the snapshot.
    pub health: HealthState,
    /// The image it was created from.
    pub image: ImageId,
    /// Its configuration, as it is in force.
    pub config: ContainerConfig,
    /// Its first address on a network, for showing.
    pub address: Option<String>,
    /// Its addresses on networks, by the engine's names, while it has them.
    #[serde(default)]
    pub addresses: Few<String, IpAddr>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where its engine keeps the hosts file that is mounted into it; as that engine names files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts_path: Option<Arc<str>>,
    /// How many paths of the kernel are hidden from it, if the engine says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked_paths: Option<u8>,
    /// Mounts that pass on what is mounted below them, as `path=shared`; of most there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_mounts: Option<Arc<[String]>>,
    /// The names that windlass wrote into that file; `None` if it cannot be read from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<HostNames>,
}

/// Who a container is. Labels carry this, and it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The replica.
    pub replica: ReplicaKey,
    /// What it was made from.
    pub revision: Revision,
    /// Which one in the row of its replica's containers.
    pub incarnation: u64,
    /// The instance's unique id: an instance that was removed and declared again has another one.
    pub uid: String,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerState {
    /// Created, and never started.
    Created,
    /// Running since then.
    Running {
        /// When it was started.
        since: Timestamp,
    },
    /// Frozen.
    Paused {
        /// When it was started.
        since: Timestamp,
    },
    /// Ended.
    Exited(Exit),
    /// The engine is removing it, or failed to.
    Removing,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Its exit code.
    pub code: i64,
    /// Whether the kernel killed it for its use of memory.
    pub oom_killed: bool,
    /// What the engine says of a start that failed; empty else.
    pub error: String,
    /// When it had been started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// What a health check says: the engine's, or one that windlass runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// There is no check.
    #[default]
    None,
    /// Not known yet.
    Starting,
    /// The last checks passed.
    Healthy,
    /// So many checks failed in a row that it is given up on.
    Unhealthy,
    /// Windlass runs the check, and cannot reach it from here: it may be healthy, or not. No engine
    /// says so.
    Unknown,
}

/// A container's configuration in our terms: what we ask for, and what is read back.
///
/// The driver turns it into the engine's own form and back; nothing else knows that form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerConfig {
    /// In place of the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// In place of the image's command.
    pub cmd: Option<Vec<String>>,
    /// Variables; read back, those of the image are among them.
    pub env: BTreeMap<String, String>,
    /// Labels, those of windlass left out; read back, those of the image are among them.
    pub labels: BTreeMap<String, String>,
    /// The host name inside.
    pub hostname: String,
    /// Ports; read back, those that the image exposes are among them.
    pub ports: Vec<PortBinding>,
    /// Mounts; read back, anonymous volumes of the image are among them.
    pub mounts: Vec<MountPoint>,
    /// Limits that can change while it runs.
    pub limits: Limits,
    /// The check that the engine runs.
    pub health: Option<HealthCheck>,
    /// The signal that asks it to end; the image's own if none.
    pub stop_signal: Option<String>,
    /// How long it gets to end, in whole seconds, when nothing else is said: it still knows that
    /// when its declaration is gone. Not compared: a change of it needs no other container.
    pub stop_timeout_s: Option<u64>,
    /// The control group that it lives under.
    pub cgroup_parent: String,
    /// The engine's own restart policy: `no`, since windlass is the only restarter.
    pub restart_policy: String,
    /// The network mode: the engine's name of the network that it was created on, or `host`, or
    /// `none`.
    pub network: String,
    /// The networks that it is on, by the engine's names; those that have no endpoints of their
    /// own (`host`, `none`) and the engine's `bridge` alone are not listed.
    #[serde(skip_serializing_if = "Few::is_empty")]
    pub attachments: Few<String, Attachment>,
    /// What most containers do not have.
    #[serde(skip_serializing_if = "Sparse::is_empty")]
    pub more: Sparse<MoreConfig>,
}

/// The parts of a configuration that most containers do not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MoreConfig {
    /// The folder that the command starts in.
    pub workdir: Option<String>,
    /// What it may do.
    pub security: Security,
    /// Limits on block devices; they cannot change while it lives.
    pub io: BlockIo,
    /// How much it may write into its own layer; that cannot change while it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// How names are resolved inside.
    pub dns: Dns,
    /// Lines of `/etc/hosts`: addresses by host name.
    pub extra_hosts: BTreeMap<String, String>,
    /// Whether the engine puts a first process of its own before the command.
    pub init: Option<bool>,
    /// Whether its output goes through a terminal.
    pub tty: bool,
    /// Where the engine puts what it prints, if that is not what it does for all.
    pub log: Option<Log>,
}

empty!(MoreConfig);

/// How a container is on a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    /// Names that others know it by; the engine's own are left out.
    pub aliases: BTreeSet<String>,
    /// The address that was asked for, if one was.
    pub address: Option<IpAddr>,
    /// What it calls others there: its own aliases, and the names that they go by.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
}

/// Limits that can change while a container runs. 0 means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// CPU time per time, in billionths of one cpu.
    pub nano_cpus: u64,
    /// Memory, in bytes.
    pub memory: u64,
    /// Memory and swap together, in bytes.
    pub memory_swap: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Weight among those who want the cpu; 0 for the usual one.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpu_shares: u64,
    /// The cpus that may be used, in their shortest form: `0-1,3`; empty for all.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub cpuset: Arc<str>,
}

impl Limits {
    /// What is read back in place of a limit that the node's kernel does not have.
    pub const NOT_ENFORCED: u64 = u64::MAX;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A port, exposed or published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortBinding {
    /// The port inside.
    pub container: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it is published, if it is.
    pub host: Option<HostPort>,
}

/// A port of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// The address; empty for all of them.
    pub address: String,
    /// The port.
    pub port: u16,
}

/// Something mounted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// The path inside.
    pub target: String,
    /// What is mounted.
    pub source: MountFrom,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// What an engine mounts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountFrom {
    /// A volume, by the engine's name for it.
    Volume(String),
    /// A path of the host.
    Bind(String),
    /// Memory, with a limit in bytes; 0 for none.
    Tmpfs(u64),
}

/// A check that the engine runs. Without a command it is the order to run none, not even the
/// image's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// The command.
    pub exec: Vec<String>,
    /// Milliseconds between two checks.
    pub interval_ms: u64,
    /// Milliseconds after which a check failed.
    pub timeout_ms: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Milliseconds after the start in which failures do not count.
    pub start_period_ms: u64,
}

/// An image that a node holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedImage {
    /// Its references with tags.
    pub tags: Vec<Arc<str>>,
    /// Its references with digests.
    pub digests: Vec<Arc<str>>,
    /// When it was built, as it says itself; images that are the same whenever they are built say
    /// nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

/// One of our networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedNetwork {
    /// Which network it is, by its labels.
    pub network: Key,
    /// What it is; ranges that nobody asked for are among its subnets.
    pub spec: NetworkSpec,
    /// Ids of younger networks of the same name. Older engines make as many as they are asked for,
    /// and then do not know which one is meant.
    #[serde(default)]
    pub copies: Vec<String>,
}

/// One of our volumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedVolume {
    /// Which volume it is, by its labels.
    pub volume: Key,
    /// Its driver.
    pub driver: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}
