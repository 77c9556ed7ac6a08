//! Links: who may talk to whom, and under which name.

use serde::{Deserialize, Serialize};

use super::Condition;
use super::ports::Protocol;
#[cfg(feature = "schema")]
use super::{defaults, form};
use crate::model::ids::{Key, Name};

/// A link: one instance talks to another, under a name of its own for it.
// Their being on one node is told with `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LinkSpec {
    /// The instance that talks. It is of the Link's own project.
    #[cfg_attr(feature = "schema", schemars(with = "Name"))]
    pub from: Key,
    /// The instance that it talks to; `project/name` for one of another project, whose Project has
    /// to `grant` it. The two are on one node, and so are those that they are linked with in turn.
    pub to: Key,
    /// What `from` calls `to`; the name of `to` if not said. Others may use the same alias for
    /// something else.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::HostName>"))]
    pub alias: String,
    /// The ports that `from` talks to; all that `to` declares if not said.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<Vec<form::Short<LinkPort, form::PortNumber>>>")
    )]
    pub ports: Vec<LinkPort>,
    /// What of `to` has to be before `from` starts: that it is `started`, `healthy` or `completed`,
    /// or `none`, so that two may be linked both ways. With `completed` nobody is there to talk to
    /// once `from` runs, unless `to` is run anew.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "form::LinkCondition", default = "defaults::link_condition")
    )]
    pub condition: Option<Condition>,
    /// Whether `from` gets the classic variables of links: `DB_PORT_5432_TCP_ADDR` and the like,
    /// and the variables that the spec of `to` names as `DB_ENV_…`. They cannot change while a
    /// container lives, so another address of `to` replaces `from`; without them it does not. And
    /// `from` is made once `to` has an address, whatever `condition` says.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub env: bool,
}

/// A port that is linked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LinkPort {
    /// The port inside the target, 1 to 65535.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub port: u16,
    /// Its protocol; `tcp` if not said.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub protocol: Protocol,
}

/// What another project's links may lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Whose links.
    pub project: Name,
    /// The instances that they may lead to; all of the project if not said.
    #[cfg_attr(feature = "schema", schemars(with = "Option<Vec<Name>>"))]
    pub instances: Option<Vec<Name>>,
}

impl Grant {
    /// Whether a link of `project` may lead to `instance`.
    #[must_use]
    pub fn covers(&self, project: &Name, instance: &Name) -> bool {
        let Self { project: granted, instances } = self;
        granted == project && instances.as_ref().is_none_or(|names| names.contains(instance))
    }
}
