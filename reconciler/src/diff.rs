//! Compares what an instance's spec asks for with a container as it is, field by field.
//!
//! [`FIELDS`] has one row a field. A difference in an [`InPlace`](Class::InPlace) field is repaired
//! while the container lives, one in a [`Replace`](Class::Replace) field by another container.
//! Images add variables, labels and ports of their own, so a field that merges with the image's is
//! compared as a part of what is there.

use std::cmp::Ordering;

use crate::model::ids::{ImageId, ReplicaKey};
use crate::model::observed::{Limits, MountFrom, ObservedContainer};
use crate::model::spec::{InstanceSpec, MountSource};
use crate::step::FieldChange;
use crate::want;

/// What a difference in a field needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A change of the container that lives.
    InPlace,
    /// Another container.
    Replace,
}

/// What a replica's container shall be.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// The replica.
    pub replica: &'a ReplicaKey,
    /// Its spec.
    pub spec: &'a InstanceSpec,
    /// The limits of its spec, as engines have them.
    pub limits: Limits,
    /// The image's id on the replica's node, if it is known.
    pub image: Option<&'a ImageId>,
}

/// How one field is compared.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The field, as users write it.
    pub name: &'static str,
    /// What a difference needs.
    pub class: Class,
    compare: fn(&Want<'_>, &ObservedContainer, &mut dyn FnMut(FieldChange)),
}

/// The limit on cpu time: lowered and raised in place, lifted only by another container.
pub const CPUS: &str = "cpus";

/// All fields that are compared.
pub const FIELDS: [Row; 16] = [
    Row { name: "image", class: Class::Replace, compare: image },
    Row { name: "command", class: Class::Replace, compare: command },
    Row { name: "args", class: Class::Replace, compare: args },
    Row { name: "env", class: Class::Replace, compare: env },
    Row { name: "labels", class: Class::Replace, compare: labels },
    Row { name: "hostname", class: Class::Replace, compare: hostname },
    Row { name: "ports", class: Class::Replace, compare: ports },
    Row { name: "volumes", class: Class::Replace, compare: volumes },
    Row { name: "health", class: Class::Replace, compare: health },
    Row { name: "stop.signal", class: Class::Replace, compare: stop_signal },
    Row { name: "network", class: Class::Replace, compare: network },
    Row { name: CPUS, class: Class::InPlace, compare: cpus },
    // No engine lifts a cpu limit while the container lives.
    Row { name: CPUS, class: Class::Replace, compare: cpus_lifted },
    Row { name: "memory", class: Class::InPlace, compare: memory },
    Row { name: "pids", class: Class::InPlace, compare: pids },
    Row { name: "engine restart policy", class: Class::InPlace, compare: restart_policy },
];

/// The fields in which a container is not what it shall be, with what each needs.
#[must_use]
pub fn differences(want: &Want<'_>, have: &ObservedContainer) -> Vec<(Class, FieldChange)> {
    let mut found = Vec::new();
    for row in &FIELDS {
        (row.compare)(want, have, &mut |change| found.push((row.class, change)));
    }
    found
}

fn change(field: &str, from: impl Into<String>, to: impl Into<String>) -> FieldChange {
    FieldChange { field: field.to_owned(), from: from.into(), to: to.into() }
}

fn image(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    if let Some(id) = want.image
        && *id != have.image
    {
        found(change(
            "image",
            short_id(&have.image),
            format!("{} ({})", want.spec.image, short_id(id)),
        ));
    }
}

/// The first digits of an image's id, as people read them.
#[must_use]
pub fn short_id(id: &ImageId) -> String {
    id.0.get(..19).unwrap_or(&id.0).to_owned()
}

fn words(words: Option<&Vec<String>>) -> String {
    words.map_or_else(|| "the image's".to_owned(), |words| format!("{words:?}"))
}

fn command(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let wanted = want.spec.command.as_ref();
    if wanted.is_some() && wanted != have.config.entrypoint.as_ref() {
        found(change("command", words(have.config.entrypoint.as_ref()), words(wanted)));
    }
}

fn args(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    // A command of the user's own leaves nothing of the image's.
    let is_own = want.spec.args.is_some() || want.spec.command.is_some();
    let wanted = want.spec.args.as_deref().unwrap_or_default();
    if is_own && wanted != have.config.cmd.as_deref().unwrap_or_default() {
        found(change("args", words(have.config.cmd.as_ref()), words(want.spec.args.as_ref())));
    }
}

fn env(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    // Side by side: both are sorted, and this is the longest comparison of a settled round.
    let mut present = have.config.env.iter();
    for (name, value) in &want.spec.env {
        let mut at = present.by_ref().map(|(at, value)| (at.cmp(name), value));
        let reached = at.find(|(order, _)| *order != Ordering::Less);
        if reached != Some((Ordering::Equal, value)) {
            if reached.is_some() {
                // It went past: what comes next is looked up from the start.
                present = have.config.env.iter();
            }
            // Never the value: it may be a secret.
            found(change(&format!("env.{name}"), "", ""));
        }
    }
}

fn labels(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    for (name, value) in &want.spec.labels {
        let present = have.config.labels.get(name);
        if present != Some(value) {
            let from = present.map_or("none", String::as_str);
            found(change(&format!("labels.{name}"), from, value.as_str()));
        }
    }
}

fn hostname(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    if !want::is_hostname(&have.config.hostname, want.replica) {
        found(change("hostname", have.config.hostname.as_str(), want::hostname(want.replica)));
    }
}

fn ports(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let declared = &want.spec.ports;
    let matched = declared.iter().all(|port| {
        have.config.ports.iter().any(|bound| {
            bound.container == port.container
                && bound.protocol == port.protocol
                && match (&port.host, &bound.host) {
                    (None, None) => true,
                    (Some(range), Some(host)) => {
                        range.contains(host.port)
                            && host.address == port.address.as_deref().unwrap_or_default()
                    }
                    (None, Some(_)) | (Some(_), None) => false,
                }
        })
    });
    // What an image exposes is not published; what is published, we asked for.
    let published = have.config.ports.iter().filter(|bound| bound.host.is_some()).count();
    let asked = declared.iter().filter(|port| port.host.is_some()).count();
    if !matched || published != asked {
        let from: Vec<String> = have.config.ports.iter().filter_map(show_bound).collect();
        let to: Vec<String> = declared
            .iter()
            .filter_map(|port| show_bound(&want::port(port, want.replica.ordinal)))
            .collect();
        found(change("ports", list(&from), list(&to)));
    }
}

fn show_bound(port: &crate::model::observed::PortBinding) -> Option<String> {
    let host = port.host.as_ref()?;
    let address = if host.address.is_empty() { "*" } else { &host.address };
    Some(format!("{address}:{}->{}/{}", host.port, port.container, port.protocol.as_str()))
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(" ") }
}

fn volumes(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    for mount in &want.spec.volumes {
        let present = have.config.mounts.iter().find(|point| point.target == mount.target);
        let same = present.is_some_and(|point| {
            point.read_only == mount.read_only
                && match (&mount.source, &point.source) {
                    (MountSource::Volume(key), MountFrom::Volume(name)) => {
                        name.split_once(crate::model::ids::NAME_JOINT)
                            == Some((key.project.as_str(), key.name.as_str()))
                    }
                    (MountSource::Bind(path), MountFrom::Bind(bound)) => path == bound,
                    (MountSource::Tmpfs(size), MountFrom::Tmpfs(limit)) => {
                        size.map_or(0, |size| size.0) == *limit
                    }
                    (
                        MountSource::Volume(_) | MountSource::Bind(_) | MountSource::Tmpfs(_),
                        MountFrom::Volume(_) | MountFrom::Bind(_) | MountFrom::Tmpfs(_),
                    ) => false,
                }
        });
        if !same {
            found(change(&format!("volumes {}", mount.target), "", ""));
        }
    }
    for point in &have.config.mounts {
        let declared = want.spec.volumes.iter().any(|mount| mount.target == point.target);
        // A volume that is not declared may be one that the image asks for; a bind never is.
        if !declared && matches!(point.source, MountFrom::Bind(_)) {
            found(change(&format!("volumes {}", point.target), "mounted", "none"));
        }
    }
}

fn health(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    if let Some(check) = &want.spec.health {
        let same = have.config.health.as_ref().is_some_and(|present| {
            present.exec == check.exec
                && present.interval_ms == check.interval.0
                && present.timeout_ms == check.timeout.0
                && present.retries == check.retries
                && present.start_period_ms == check.start_period.0
        });
        if !same {
            found(change("health", "", ""));
        }
    }
}

fn stop_signal(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    if let Some(signal) = &want.spec.stop.signal
        && Some(signal) != have.config.stop_signal.as_ref()
    {
        let from = have.config.stop_signal.as_deref().unwrap_or("the image's");
        found(change("stop.signal", from, signal.as_str()));
    }
}

fn network(_: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    if have.config.network != want::NETWORK {
        found(change("network", have.config.network.as_str(), want::NETWORK));
    }
}

fn cpus(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let (from, to) = (have.config.limits.nano_cpus, want.limits.nano_cpus);
    if from != to && to != 0 {
        found(change(CPUS, show_cpus(from), show_cpus(to)));
    }
}

fn cpus_lifted(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let (from, to) = (have.config.limits.nano_cpus, want.limits.nano_cpus);
    if from != to && to == 0 {
        found(change(CPUS, show_cpus(from), show_cpus(to)));
    }
}

fn show_cpus(nano: u64) -> String {
    match nano {
        0 => "unlimited".to_owned(),
        nano => crate::model::quantity::Cpus(nano).to_string(),
    }
}

fn memory(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let (from, to) = (&have.config.limits, &want.limits);
    if from.memory != to.memory {
        found(change("memory", show_bytes(from.memory), show_bytes(to.memory)));
    } else if from.memory_swap != to.memory_swap {
        found(change("memory and swap", show_bytes(from.memory_swap), show_bytes(to.memory_swap)));
    }
}

fn show_bytes(bytes: u64) -> String {
    match bytes {
        0 => "unlimited".to_owned(),
        bytes => crate::model::quantity::Bytes(bytes).to_string(),
    }
}

fn pids(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let (from, to) = (have.config.limits.pids, want.limits.pids);
    if from != to {
        let show = |pids: u64| if pids == 0 { "unlimited".to_owned() } else { pids.to_string() };
        found(change("pids", show(from), show(to)));
    }
}

fn restart_policy(_: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let present = have.config.restart_policy.as_str();
    if present != want::RESTART_POLICY {
        found(change("engine restart policy", present, want::RESTART_POLICY));
    }
}
