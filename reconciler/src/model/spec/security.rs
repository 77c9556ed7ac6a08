//! What a container may do, and what it shares with its node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::is_false;
#[cfg(feature = "schema")]
use super::{defaults, form, limits};
use crate::model::sparse::empty;

/// What a container may do. The same form is read back from engines, normalised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Security {
    /// Who runs it: a name or a number, `user:group` too; the image's own if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Text>"))]
    pub user: Option<String>,
    /// Further groups of that user, by name or number.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<form::Text>"))]
    pub groups: BTreeSet<String>,
    /// Whether its root file system cannot be written to.
    #[serde(skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = false)))]
    pub read_only_root: bool,
    /// Whether its processes can gain no privileges by what they execute.
    #[serde(skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = false)))]
    pub no_new_privileges: bool,
    /// Capabilities beside the usual ones: `NET_ADMIN`, or `ALL`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<form::Capability>"))]
    pub cap_add: BTreeSet<String>,
    /// Capabilities that it shall not have: `NET_RAW`, or `ALL`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<form::Capability>"))]
    pub cap_drop: BTreeSet<String>,
    /// Whether it may do all that its node's root may. It is then no boundary at all.
    #[serde(skip_serializing_if = "is_false")]
    #[cfg_attr(feature = "schema", schemars(extend("default" = false)))]
    pub privileged: bool,
    /// Devices of the node, by their path inside.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Vec<form::Short<form::ListedDevice, form::Path>>")
    )]
    pub devices: BTreeMap<String, Device>,
    /// The filter of system calls: `unconfined`, or the path of a profile beside the spec; the
    /// engine's own if not said.
    // It stands here as the profile's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<Arc<str>>,
    /// The AppArmor profile: `unconfined`, or its name; the engine's own if not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// Kernel settings of its own namespaces: `net.core.somaxconn`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, form::Text>"))]
    pub sysctls: BTreeMap<String, String>,
    /// Limits of each process: `nofile`, `core`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, form::Short<Ulimit, form::Limit>>", extend("propertyNames" = { "enum": limits::ULIMITS })))]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// What it shares with its node.
    #[serde(skip_serializing_if = "Namespaces::is_default")]
    pub namespaces: Namespaces,
}

empty!(Security);

/// A device of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its path on the node.
    #[cfg_attr(feature = "schema", schemars(with = "form::Path"))]
    pub host: String,
    /// What may be done with it, in this order: `r`ead, `w`rite, `m`ake its node.
    #[cfg_attr(
        feature = "schema",
        schemars(default = "defaults::device_permissions", with = "form::Permissions")
    )]
    pub permissions: String,
}

/// A limit of each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Ulimit {
    /// What holds; -1 for none.
    #[cfg_attr(feature = "schema", schemars(with = "form::Limit"))]
    pub soft: i64,
    /// Up to where a process may raise it; -1 for none.
    #[cfg_attr(feature = "schema", schemars(with = "form::Limit"))]
    pub hard: i64,
}

/// Namespaces that are not a container's own. What is not said is as the engine does it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Namespaces {
    /// Shared memory and semaphores: `private`, `shareable`, `host` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = limits::IPC)))]
    pub ipc: Option<String>,
    /// Processes: `host`, or its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = limits::PRIVATE_OR_HOST)))]
    pub pid: Option<String>,
    /// Host name: `host`, or its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = limits::PRIVATE_OR_HOST)))]
    pub uts: Option<String>,
    /// Control groups: `private` or `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = limits::PRIVATE_OR_HOST)))]
    pub cgroup: Option<String>,
    /// Users: `host`, or as the engine maps them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = limits::USER_NAMESPACES)))]
    pub user: Option<String>,
}

impl Namespaces {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
