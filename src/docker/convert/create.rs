//! What is asked for: the bodies of create calls.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerCreateBody, HostConfig, VolumeCreateRequest};
use reconciler::model::ids::ImageId;
use reconciler::model::observed::ContainerConfig;

use super::{health, limits, more, mounts, ports, restart};

/// The body that creates a container with the user's labels and `identity`.
pub(in super::super) fn container_body(
    image: &ImageId,
    config: &ContainerConfig,
    identity: &BTreeMap<String, String>,
) -> ContainerCreateBody {
    // Everything is named: a field that is forgotten here does not compile.
    let ContainerConfig {
        entrypoint,
        cmd,
        env,
        labels,
        hostname,
        ports: port_bindings,
        mounts: mount_points,
        limits: container_limits,
        health: check,
        stop_signal,
        stop_timeout_s,
        cgroup_parent,
        restart_policy,
        network,
        attachments,
        more,
    } = config;
    let (exposed, bindings) = ports::to_engine(port_bindings);
    let mut host = HostConfig {
        cgroup_parent: given(cgroup_parent),
        restart_policy: Some(restart::policy(restart_policy)),
        port_bindings: Some(bindings),
        mounts: Some(mounts::to_engine(mount_points)),
        network_mode: given(network),
        ..HostConfig::default()
    };
    limits::to_host_config(container_limits, &mut host);
    let mut body = ContainerCreateBody {
        image: Some(image.to_string()),
        entrypoint: entrypoint.clone(),
        cmd: cmd.clone(),
        env: Some(env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(labels.iter().chain(identity).map(own).collect()),
        hostname: given(hostname),
        exposed_ports: Some(exposed),
        healthcheck: check.as_ref().map(health::to_engine),
        stop_signal: stop_signal.clone(),
        stop_timeout: stop_timeout_s.and_then(|seconds| i64::try_from(seconds).ok()),
        networking_config: more::networking(attachments, network),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    if !more.is_empty() {
        more::to_engine(more, &mut body);
    }
    body
}

/// The body that creates a volume.
pub(in super::super) fn volume_body(
    name: &str,
    driver: &str,
    options: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(name.to_owned()),
        driver: given(driver),
        driver_opts: Some(options.iter().map(own).collect::<HashMap<_, _>>()),
        labels: Some(labels.iter().map(own).collect()),
        cluster_volume_spec: None,
    }
}

fn own((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
