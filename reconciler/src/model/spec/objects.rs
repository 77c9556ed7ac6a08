//! The other kinds: images, volumes, nodes and projects.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files::LocalFile;
use super::links::Grant;
use super::resources::BlockIo;
use super::verify::Verify;
#[cfg(feature = "schema")]
use super::{defaults, form, limits};
use crate::model::ids::Name;
use crate::model::quantity::{Bytes, Cpus, Ratio};
use crate::model::sparse::Sparse;

/// An image: where it comes from, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// Where its content is.
    pub source: ImageSource,
    /// When a registry is asked.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub pull: Pull,
    /// Whose signatures its content should bear; whether it has to is a policy's to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
}

/// Where an image's content is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum ImageSource {
    /// A reference such as `registry.example/web:1.4`; without tag and digest it means `:latest`.
    Registry(Arc<str>),
    /// The path of a file as `docker save` writes it, or of an OCI layout in a tar file.
    Archive(LocalFile),
    /// The path of a tar file that holds a root file system, and what an image made of it says.
    #[cfg_attr(feature = "schema", schemars(transform = form::or_path))]
    Rootfs {
        /// The tar file.
        file: LocalFile,
        /// The command that containers run unless they name their own.
        #[cfg_attr(feature = "schema", schemars(with = "Option<form::Words>"))]
        command: Option<Vec<String>>,
        /// Environment variables.
        #[cfg_attr(feature = "schema", schemars(default, with = "BTreeMap<String, form::Text>"))]
        env: BTreeMap<String, String>,
    },
}

/// When a registry is asked for an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct VolumeSpec {
    /// The engine's volume driver; `local` if not said.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::volume_driver"))]
    pub driver: String,
    /// Options of the driver.
    #[cfg_attr(feature = "schema", schemars(default, with = "BTreeMap<String, form::Text>"))]
    pub options: BTreeMap<String, String>,
    /// Whether the data stays when the declaration goes; true if not said.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::volume_retain"))]
    pub retain: bool,
    /// Whether a policy may say that it is not removed without a waiver.
    #[serde(default, skip_serializing_if = "super::is_false")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub protected: bool,
}

/// A hypervisor node: an engine that runs containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeSpec {
    /// Where its engine listens.
    pub endpoint: Endpoint,
    /// The control group that all containers on this node live under; made from the node's name
    /// and the owner if not said.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Path>"))]
    pub cgroup_root: Option<String>,
    /// What it has for replicas. What is said here is never over-committed; what is not said is
    /// only weighed, as the engine tells it.
    #[serde(default, skip_serializing_if = "Room::is_empty")]
    pub capacity: Room,
    /// How much of that is for others than windlass.
    #[serde(default, skip_serializing_if = "Room::is_empty")]
    pub reserved: Room,
    /// How many times what is left of that may be promised to replicas. What is not declared counts
    /// as the engine tells it then, and is a border, too.
    #[serde(default, skip_serializing_if = "Overcommit::is_empty")]
    pub overcommit: Overcommit,
    /// Whether nothing new is placed there. What is there stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cordon: bool,
    /// Whether what can be elsewhere is moved to other nodes; nothing new is placed there either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
}

impl NodeSpec {
    /// A node at `endpoint` of which nothing else is said.
    #[must_use]
    pub fn at(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            cgroup_root: None,
            capacity: Room::default(),
            reserved: Room::default(),
            overcommit: Overcommit::default(),
            cordon: false,
            drain: false,
        }
    }
}

/// Room for replicas. What they ask for are their limits; one without a limit asks for none of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Room {
    /// CPU time per time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = limits::COUNT_MAX)))]
    pub pids: Option<u64>,
    /// Replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = limits::COUNT_MAX)))]
    pub instances: Option<u64>,
}

impl Room {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { cpus, memory, pids, instances } = self;
        cpus.is_none() && memory.is_none() && pids.is_none() && instances.is_none()
    }
}

/// How many times what a node has may be promised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Overcommit {
    /// CPU time per time: 1 to 100, in thousandths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Ratio>,
    /// Memory: 1 to 100, in thousandths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Ratio>,
}

impl Overcommit {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { cpus, memory } = self;
        cpus.is_none() && memory.is_none()
    }
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

/// A tenant: what all its instances together may use, and who may talk to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProjectSpec {
    /// The most that the project may use. What is not set is not limited.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub quota: Quota,
    /// The project that this one is a part of: what is used here counts there, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Name>,
    /// The projects whose links may lead to instances of this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(default, with = "Vec<form::Short<Grant, crate::model::ids::Name>>")
    )]
    pub grant: Vec<Grant>,
}

/// The most that a project may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Quota {
    /// CPU time per time, of all instances together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// Memory of all instances together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Processes and threads of all instances together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::COUNT_MAX)))]
    pub pids: Option<u64>,
    /// Reads and writes of block devices, of all instances together.
    #[serde(skip_serializing_if = "Sparse::is_empty")]
    pub io: Sparse<BlockIo>,
    /// Replicas of all instances together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = limits::COUNT_MAX)))]
    pub instances: Option<u64>,
    /// Published host ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = limits::COUNT_MAX)))]
    pub ports: Option<u64>,
    /// Declared Images.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = limits::COUNT_MAX)))]
    pub images: Option<u64>,
    /// Declared Volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = limits::COUNT_MAX)))]
    pub volumes: Option<u64>,
}

impl Quota {
    /// Where this is more than `outer`: the field, and both values. What `outer` leaves out limits
    /// nothing, and what this leaves out is limited by `outer` alone; a weight is compared with
    /// those of neighbours, and with nobody else's.
    #[must_use]
    pub fn above(&self, outer: &Self) -> Vec<(&'static str, String, String)> {
        fn more<T: PartialOrd + ToString>(
            found: &mut Vec<(&'static str, String, String)>,
            field: &'static str,
            (own, outer): (Option<T>, Option<T>),
        ) {
            if let (Some(own), Some(outer)) = (own, outer)
                && own > outer
            {
                found.push((field, own.to_string(), outer.to_string()));
            }
        }
        fn rates<T: Copy + PartialOrd + std::fmt::Display>(
            found: &mut Vec<(&'static str, String, String)>,
            (own, outer): (&BTreeMap<String, T>, &BTreeMap<String, T>),
        ) {
            for (device, own) in own {
                if let Some(outer) = outer.get(device).filter(|outer| own > outer) {
                    found.push(("io", format!("{own} of {device}"), outer.to_string()));
                }
            }
        }
        let Self { cpus, memory, pids, io, instances, ports, images, volumes } = self;
        let mut found = Vec::new();
        more(&mut found, "cpus", (*cpus, outer.cpus));
        more(&mut found, "memory", (*memory, outer.memory));
        more(&mut found, "pids", (*pids, outer.pids));
        let BlockIo { weight: _, read_bps, write_bps, read_iops, write_iops } = &**io;
        rates(&mut found, (read_bps, &outer.io.read_bps));
        rates(&mut found, (write_bps, &outer.io.write_bps));
        rates(&mut found, (read_iops, &outer.io.read_iops));
        rates(&mut found, (write_iops, &outer.io.write_iops));
        more(&mut found, "instances", (*instances, outer.instances));
        more(&mut found, "ports", (*ports, outer.ports));
        more(&mut found, "images", (*images, outer.images));
        more(&mut found, "volumes", (*volumes, outer.volumes));
        found
    }
}
