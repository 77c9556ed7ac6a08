//! Fields that every container has.

use std::cmp::Ordering;

use super::{Want, change};
use crate::model::ids::ImageId;
use crate::model::observed::{MountFrom, ObservedContainer, PortBinding};
use crate::model::spec::{HealthProbe, MountSource, Port};
use crate::step::FieldChange;
use crate::want;

pub(super) fn image(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
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

pub(super) fn command(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let wanted = want.spec.command.as_ref();
    if wanted.is_some() && wanted != have.config.entrypoint.as_ref() {
        found(change("command", words(have.config.entrypoint.as_ref()), words(wanted)));
    }
}

pub(super) fn args(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    // A command of the user's own leaves nothing of the image's.
    let is_own = want.spec.args.is_some() || want.spec.command.is_some();
    let wanted = want.spec.args.as_deref().unwrap_or_default();
    if is_own && wanted != have.config.cmd.as_deref().unwrap_or_default() {
        found(change("args", words(have.config.cmd.as_ref()), words(want.spec.args.as_ref())));
    }
}

pub(super) fn env(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
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
    for (name, value) in want.linked.env(want.replica) {
        // What the spec says itself goes before what a link brings.
        if !want.spec.env.contains_key(&name) && have.config.env.get(&name) != Some(&value) {
            found(change(&format!("env.{name}"), "", ""));
        }
    }
}

pub(super) fn labels(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    for (name, value) in &want.spec.labels {
        let present = have.config.labels.get(name);
        if present != Some(value) {
            let from = present.map_or("none", String::as_str);
            found(change(&format!("labels.{name}"), from, value.as_str()));
        }
    }
}

pub(super) fn hostname(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let same = match &want.spec.more.hostname {
        Some(hostname) => have.config.hostname == *hostname,
        None => {
            want::has_nodes_hostname(want.spec)
                || want::is_hostname(&have.config.hostname, want.replica)
        }
    };
    if !same {
        let to = want::hostname(want.spec, want.replica);
        found(change("hostname", have.config.hostname.as_str(), to));
    }
}

pub(super) fn ports(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
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
        let to: Vec<String> = declared.iter().filter_map(show_declared).collect();
        found(change("ports", list(&from), list(&to)));
    }
}

/// Any port of the range will do.
fn show_declared(port: &Port) -> Option<String> {
    let range = port.host?;
    let address = port.address.as_deref().filter(|address| !address.is_empty()).unwrap_or("*");
    let host = match range.len() {
        1 => range.first.to_string(),
        _ => format!("{}-{}", range.first, range.last),
    };
    Some(format!("{address}:{host}->{}/{}", port.container, port.protocol.as_str()))
}

fn show_bound(port: &PortBinding) -> Option<String> {
    let host = port.host.as_ref()?;
    let address = if host.address.is_empty() { "*" } else { &host.address };
    Some(format!("{address}:{}->{}/{}", host.port, port.container, port.protocol.as_str()))
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(" ") }
}

pub(super) fn volumes(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    for mount in &want.spec.volumes {
        let present = have.config.mounts.iter().find(|point| point.target == mount.target);
        let same = present.is_some_and(|point| {
            point.read_only == mount.read_only
                && match (&mount.source, &point.source) {
                    (MountSource::Volume(key), MountFrom::Volume(name)) => key.is_engine_name(name),
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

pub(super) fn health(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let Some(check) = &want.spec.health else { return };
    let same = have.config.health.as_ref().is_some_and(|present| match &check.check {
        HealthProbe::Exec(exec) => {
            present.exec == *exec
                && present.interval_ms == check.interval.0
                && present.timeout_ms == check.timeout.0
                && present.retries == check.retries
                && present.start_period_ms == check.start_period.0
        }
        // Windlass asks, and the engine shall not.
        HealthProbe::Http { .. } | HealthProbe::Tcp { .. } => present.exec.is_empty(),
    });
    if !same {
        found(change("health", "", ""));
    }
}

pub(super) fn stop_signal(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    if let Some(signal) = &want.spec.stop.signal
        && Some(signal) != have.config.stop_signal.as_ref()
    {
        let from = have.config.stop_signal.as_deref().unwrap_or("the image's");
        found(change("stop.signal", from, signal.as_str()));
    }
}

pub(super) fn restart_policy(
    _: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let present = have.config.restart_policy.as_str();
    if present != want::RESTART_POLICY {
        found(change("engine restart policy", present, want::RESTART_POLICY));
    }
}
