//! Revisions: the hash of all that cannot change while a container lives.
//!
//! The list of fields is explicit and versioned. A field with its default value leaves no trace in
//! the hash, so a new version of windlass that knows more fields does not re-create the world.

use serde_json::{Value, json};

use crate::model::ids::{Digest, Revision, hex};
use crate::model::spec::{InstanceSpec, MountSource};

/// Version of the list. A change of an existing line needs a new version, and re-creates every
/// container; a new line with a default does not.
const LIST_VERSION: &str = "r1";

/// Digest of the fields of `spec` that cannot change in place. The image is not among them: its
/// content is, once it is resolved (see [`revision`]), whatever name it goes by.
#[must_use]
pub fn revision_basis(spec: &InstanceSpec) -> Digest {
    // Everything is named: a field that is forgotten here does not compile.
    let InstanceSpec {
        image: _,     // counts by its content
        resources: _, // changes in place
        flavor: _,    // stands in resources
        replicas: _,  // says how many, not what
        power: _,     // changes in place
        command,
        args,
        env,
        ports,
        volumes,
        restart: _, // windlass restarts, not the engine
        health,
        stop,
        labels,
    } = spec;
    let mut text = String::from(LIST_VERSION);
    let mut line = |name: &str, value: Value| {
        text.push('\n');
        text.push_str(name);
        text.push(' ');
        text.push_str(&value.to_string());
    };
    if let Some(command) = command {
        line("command", json!(command));
    }
    if let Some(args) = args {
        line("args", json!(args));
    }
    for (name, value) in env {
        line("env", json!([name, value]));
    }
    for port in ports {
        let host = port.host.map(|range| (range.first, range.last));
        line("port", json!([port.container, port.protocol.as_str(), host, port.address]));
    }
    for mount in volumes {
        let (name, source) = match &mount.source {
            MountSource::Volume(key) => ("volume", json!(key)),
            MountSource::Bind(path) => ("bind", json!(path)),
            MountSource::Tmpfs(size) => ("tmpfs", json!(size.map(|size| size.0))),
        };
        line(name, json!([source, mount.target, mount.read_only]));
    }
    if let Some(check) = health {
        let times = (check.interval.0, check.timeout.0, check.start_period.0);
        line("health", json!([check.exec, times, check.retries]));
    }
    if let Some(signal) = &stop.signal {
        line("stop.signal", json!(signal));
    }
    for (name, value) in labels {
        line("label", json!([name, value]));
    }
    Digest::of(text.as_bytes())
}

/// The revision of a spec whose image was resolved to `content`.
#[must_use]
pub fn revision(basis: &Digest, content: &str) -> Revision {
    use sha2::Digest as _;
    // Once an instance in each round, so it is put together without a text.
    let mut hash = sha2::Sha256::new();
    hash.update(basis.0.as_bytes());
    hash.update(b" ");
    hash.update(content.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    Revision(std::sync::Arc::from(hex(&digest[..8])))
}
