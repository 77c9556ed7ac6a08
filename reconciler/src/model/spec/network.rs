//! Networks: what is declared, and how instances are on them.

use core::net::IpAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::{defaults, form};
use crate::model::ids::{Key, Name};
use crate::model::sparse::empty;

/// A network on the nodes that use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// The engine's network driver: `bridge` if not said, `macvlan`, `ipvlan`, `overlay`, or any
    /// that the engine has; `host` and `none` stand for the engine's own networks of that kind.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::network_driver"))]
    pub driver: String,
    /// Options of the driver, such as `parent` of a macvlan and its `macvlan_mode`.
    #[cfg_attr(feature = "schema", schemars(default, with = "BTreeMap<String, form::Text>"))]
    pub options: BTreeMap<String, String>,
    /// Whether it leads nowhere outside.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub internal: bool,
    /// Whether containers get IPv6 addresses on it too.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ipv6: bool,
    /// Its address ranges; the engine chooses one if none is given.
    #[cfg_attr(
        feature = "schema",
        schemars(default, with = "Vec<form::Short<Subnet, form::Cidr>>")
    )]
    pub subnets: Vec<Subnet>,
    /// Whether a policy may say that it is not removed without a waiver.
    #[serde(default, skip_serializing_if = "super::is_false")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub protected: bool,
}

impl NetworkSpec {
    /// Whether it is one that every engine has, and that is never made nor removed.
    #[must_use]
    pub fn is_engines_own(&self) -> bool {
        matches!(self.driver.as_str(), "host" | "none")
    }
}

/// An address range of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "schema", schemars(extend("required" = ["subnet"])))]
pub struct Subnet {
    /// The range: `10.20.0.0/24`.
    #[cfg_attr(feature = "schema", schemars(with = "form::Cidr"))]
    pub subnet: String,
    /// The part of it that containers get addresses from: `10.20.0.128/25`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Cidr>"))]
    pub range: Option<String>,
    /// The address of the node's own end.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Address>"))]
    pub gateway: Option<String>,
    /// Addresses that no container gets, by a name.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, form::Text>"))]
    pub reserved: BTreeMap<String, String>,
}

/// A network that an instance is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NetworkUse {
    /// Which one.
    pub network: NetworkName,
    /// Names beside its host name that others on the network know it by.
    #[cfg_attr(feature = "schema", schemars(default, with = "Vec<form::HostName>"))]
    pub aliases: Vec<String>,
    /// A fixed address; only with one replica.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::Address>"))]
    pub address: Option<IpAddr>,
}

/// What an instance calls a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NetworkName {
    /// A declared Network.
    Declared(Key),
    /// The engine's own network of that name: `bridge`, `host` or `none`.
    Engine(Name),
}

impl std::fmt::Display for NetworkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Declared(key) => key.fmt(f),
            Self::Engine(name) => name.fmt(f),
        }
    }
}

/// How names are resolved inside.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Dns {
    /// Addresses of name servers, asked in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<form::Address>"))]
    pub servers: Vec<String>,
    /// Domains in which short names are looked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver: `ndots:2`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

empty!(Dns);
