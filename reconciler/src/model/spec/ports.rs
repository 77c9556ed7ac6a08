//! Ports, inside and on the host.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::form;

/// A transport protocol.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "schema", schemars(extend("dependentRequired" = { "address": ["host"] })))]
pub struct Port {
    /// The port inside, 1 to 65535.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub container: u16,
    /// Its protocol; `tcp` if not said.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub protocol: Protocol,
    /// The host port or ports that lead to it: replica *n* gets the *n*-th of the range.
    pub host: Option<PortRange>,
    /// The host address to listen on; all of them if not said.
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::ListenAddress>"))]
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
