//! How a new revision takes the place of an earlier one.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::limits;
use super::{InstanceSpec, defaults};
use crate::model::quantity::Span;

/// How a new revision takes the place of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// Whether a replica's old container stops before its new one starts, or goes on until the new
    /// one is ready.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub order: Order,
    /// So many replicas may be away for it at once; if not said, 1 with `stop-first` and 0 with
    /// `start-first`.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::max_unavailable", range(max = limits::REPLICAS_MAX)))]
    pub max_unavailable: u32,
    /// So many replicas may have a second container at once; if not said, 0 with `stop-first` and 1
    /// with `start-first`.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::max_surge", range(max = limits::REPLICAS_MAX)))]
    pub max_surge: u32,
    /// A new container that is not ready after this long has failed.
    #[cfg_attr(feature = "schema", schemars(default = "defaults::update_health_timeout"))]
    pub health_timeout: Span,
    /// What follows when a new revision fails.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub on_failure: OnFailure,
}

impl Update {
    /// What holds where only the order is said.
    #[must_use]
    pub const fn usual(order: Order) -> Self {
        let (max_unavailable, max_surge) = match order {
            Order::StopFirst => (defaults::max_unavailable(), defaults::max_surge()),
            Order::StartFirst => (0, 1),
        };
        let health_timeout = defaults::update_health_timeout();
        Self { order, max_unavailable, max_surge, health_timeout, on_failure: OnFailure::Rollback }
    }
}

impl Default for Update {
    fn default() -> Self {
        Self::usual(Order::StopFirst)
    }
}

impl InstanceSpec {
    /// How a new revision takes the place of an earlier one, said or not.
    #[must_use]
    pub fn update(&self) -> Update {
        self.more.update.unwrap_or_default()
    }

    /// The most containers that it has at once: each takes a host port of its ranges.
    #[must_use]
    pub fn slots(&self) -> u32 {
        match self.replicas {
            0 => 0,
            replicas => replicas.saturating_add(self.update().max_surge),
        }
    }
}

/// Which of a replica's two containers gives way to the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The old one stops, then the new one starts: there is never more than one.
    #[default]
    StopFirst,
    /// The new one starts, and the old one stops once that is ready. For a while there are two, so
    /// they cannot share what only one can have.
    StartFirst,
}

/// What follows when a new revision fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The last good revision comes back.
    #[default]
    Rollback,
    /// Everything stays as it is.
    Hold,
}
