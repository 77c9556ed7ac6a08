//! Revisions: the hash of all that cannot change while a container lives.
//!
//! The list of fields is explicit and versioned. A field with its default value leaves no trace in
//! the hash, so a new version of windlass that knows more fields does not re-create the world.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::ids::{Digest, Revision, hex};
use crate::model::spec::{Content, FileSpec, HealthProbe, InstanceSpec, More, Mount, MountSource};

/// Version of the list. A change of an existing line needs a new version, and re-creates every
/// container; a new line with a default does not.
const LIST_VERSION: &str = "r1";

/// Digest of the fields of `spec` that cannot change in place. The image is not among them: its
/// content is, once it is resolved (see [`revision`]), whatever name it goes by.
#[must_use]
pub fn revision_basis(spec: &InstanceSpec) -> Digest {
    // Everything is named: a field that is forgotten here does not compile.
    let InstanceSpec {
        image: _,    // counts by its content
        resources,   // change in place or are compared with what is in force, but for disk
        flavor: _,   // stands in resources
        replicas: _, // says how many, not what
        power: _,    // changes in place
        command,
        args,
        env,
        ports,
        volumes,
        restart: _, // windlass restarts, not the engine
        health,
        stop,
        labels,
        more,
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
        // Whether it is shared says how it changes, not what it is.
        let Mount { source, target, read_only, shared: _ } = mount;
        let (name, source) = match source {
            MountSource::Volume(key) => ("volume", json!(key)),
            MountSource::Bind(path) => ("bind", json!(path)),
            MountSource::Tmpfs(size) => ("tmpfs", json!(size.map(|size| size.0))),
        };
        line(name, json!([source, target, read_only]));
    }
    match health.as_ref().map(|health| (&health.check, health)) {
        None => {}
        Some((HealthProbe::Exec(exec), health)) => {
            let times = (health.interval.0, health.timeout.0, health.start_period.0);
            line("health", json!([exec, times, health.retries]));
        }
        // All that the engine has to know is that it shall not check by itself.
        Some((HealthProbe::Http { .. } | HealthProbe::Tcp { .. }, _)) => {
            line("health", json!("windlass"));
        }
    }
    if let Some(signal) = &stop.signal {
        line("stop.signal", json!(signal));
    }
    for (name, value) in labels {
        line("label", json!([name, value]));
    }
    if let Some(disk) = resources.disk {
        line("disk", json!(disk.0));
    }
    if more.networks.is_empty() {
        // Earlier versions put it on the engine's `bridge`: it moves, once.
        line("network", json!("project"));
    }
    if !more.is_empty() {
        rare(more, &mut line);
    }
    Digest::of(text.as_bytes())
}

/// The lines of fields that most specs leave out.
fn rare(more: &More, line: &mut dyn FnMut(&str, Value)) {
    let More {
        workdir,
        env_files: _, // their variables stand in env
        files,
        user_data,
        hostname,
        networks,
        dns,
        extra_hosts,
        update: _,     // says how it changes, not what it is
        placement: _,  // says where
        depends_on: _, // says when
        security,
        init,
        tty,
        log,
        requests: _,  // says what policies go by, not what it is
        protected: _, // says what may be done to it
    } = more;
    if let Some(workdir) = workdir {
        line("workdir", json!(workdir));
    }
    for file in files.iter().chain(user_data) {
        let FileSpec { path, content, mode, uid, gid } = file;
        let content = match content {
            Content::Text(text) => Digest::of(text.as_bytes()).to_string(),
            Content::File(file) => file.digest.trim_start_matches("sha256:").to_owned(),
        };
        line("file", json!([path, content, mode, uid, gid]));
    }
    if let Some(hostname) = hostname {
        line("hostname", json!(hostname));
    }
    // The others are joined and left in place.
    if let Some(first) = networks.first() {
        line("network", json!(first.network));
    }
    if !dns.is_empty() {
        line("dns", json!(**dns));
    }
    for (name, address) in extra_hosts {
        line("host", json!([name, address]));
    }
    if !security.is_empty() {
        line("security", json!(**security));
    }
    if let Some(init) = init {
        line("init", json!(init));
    }
    if *tty {
        line("tty", json!(true));
    }
    if let Some(log) = log {
        line("log", json!([log.driver, log.options]));
    }
}

/// The revision of a spec whose image was resolved to `content`.
#[must_use]
pub fn revision(basis: &Digest, content: &str) -> Revision {
    linked_revision(basis, content, &BTreeMap::new())
}

/// The same, with the variables that links bring.
#[must_use]
pub fn linked_revision(
    basis: &Digest,
    content: &str,
    variables: &BTreeMap<String, String>,
) -> Revision {
    use sha2::Digest as _;
    // Once an instance in each round, so it is put together without a text.
    let mut hash = sha2::Sha256::new();
    hash.update(basis.0.as_bytes());
    hash.update(b" ");
    hash.update(content.as_bytes());
    for (name, value) in variables {
        hash.update(json!([name, value]).to_string().as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    Revision(std::sync::Arc::from(hex(&digest[..8])))
}
