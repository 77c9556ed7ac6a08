//! What holds where a spec says nothing. Whoever reads specs, and their documentation, both take it
//! from here; what is a type's own `Default` stands there.

use super::{Condition, Stop};
use crate::model::quantity::Span;

/// Replicas of an Instance.
#[must_use]
pub const fn replicas() -> u32 {
    1
}

/// How a container is asked to end.
#[must_use]
pub const fn stop() -> Stop {
    Stop { signal: None, timeout: stop_timeout() }
}

/// As long as engines wait by default before they kill.
#[must_use]
pub const fn stop_timeout() -> Span {
    Span::seconds(10)
}

/// Time between two health checks, as engines have it.
#[must_use]
pub const fn health_interval() -> Span {
    Span::seconds(30)
}

/// When a health check counts as failed, as engines have it.
#[must_use]
pub const fn health_timeout() -> Span {
    Span::seconds(30)
}

/// Failures that make a container unhealthy, as engines have it.
#[must_use]
pub const fn health_retries() -> u32 {
    3
}

/// Failures count at once.
#[must_use]
pub const fn health_start_period() -> Span {
    Span::seconds(0)
}

/// The path that is asked for by HTTP.
#[must_use]
pub fn http_path() -> String {
    "/".to_owned()
}

/// Replicas that may be away for a new revision, if the old container stops first.
#[must_use]
pub const fn max_unavailable() -> u32 {
    1
}

/// Replicas that may have a second container, if the old one stops first.
#[must_use]
pub const fn max_surge() -> u32 {
    0
}

/// When a new container that is not ready has failed: what is slower says so.
#[must_use]
pub const fn update_health_timeout() -> Span {
    Span::seconds(60)
}

/// Permissions of a file: its owner writes, and everybody reads.
#[must_use]
pub const fn file_mode() -> u32 {
    0o644
}

/// Permissions of user data, which may hold what only its owner shall know.
#[must_use]
pub const fn user_data_mode() -> u32 {
    0o600
}

/// What may be done with a device: all.
#[must_use]
pub fn device_permissions() -> String {
    "rwm".to_owned()
}

/// The driver of a Volume.
#[must_use]
pub fn volume_driver() -> String {
    "local".to_owned()
}

/// Whether the data of a Volume stays when its declaration goes.
#[must_use]
pub const fn volume_retain() -> bool {
    true
}

/// The driver of a Network.
#[must_use]
pub fn network_driver() -> String {
    "bridge".to_owned()
}

/// What of its target a link waits for.
#[must_use]
pub const fn link_condition() -> Option<Condition> {
    Some(Condition::Started)
}
