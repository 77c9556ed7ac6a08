//! From a spec to the container it asks for, in the terms in which containers are observed.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;
use std::iter;

use crate::links::Linked;
use crate::model::few::Few;
use crate::model::ids::{Key, NAME_JOINT, Name, OWN_NETWORK_SUFFIX, OwnerId, ReplicaKey, Revision};
use crate::model::observed::{
    Attachment, CgroupDriver, ContainerConfig, HealthCheck, HostPort, Limits, MoreConfig,
    MountFrom, MountPoint, PortBinding,
};
use crate::model::sparse::Sparse;
use crate::model::spec::{
    FileSpec, Health, HealthProbe, InstanceSpec, More, MountSource, NetworkName, Port, Resources,
    Swap,
};

/// The engine's own network, on which everybody reaches everybody.
pub const DEFAULT_NETWORK: &str = "bridge";

/// The node's own network, as a network mode.
pub const HOST_NETWORK: &str = "host";

/// The engine's own restart policy: windlass is the only restarter.
pub const RESTART_POLICY: &str = "no";

/// Prefix of the labels that say who a container is.
pub const LABEL_PREFIX: &str = "io.windlass.";

/// The host name inside a replica: the declared one, or `name-ordinal`.
#[must_use]
pub fn hostname(spec: &InstanceSpec, replica: &ReplicaKey) -> String {
    let made = || format!("{}-{}", replica.instance.name, replica.ordinal);
    spec.more.hostname.clone().unwrap_or_else(made)
}

/// Whether a container without a host name of its own has its node's.
#[must_use]
pub fn has_nodes_hostname(spec: &InstanceSpec) -> bool {
    spec.more.networks.first().is_some_and(|first| engine_network(&first.network) == HOST_NETWORK)
        || spec.more.security.namespaces.uts.as_deref() == Some("host")
}

/// Whether `text` is the `name-ordinal` of `replica`, without making a text.
#[must_use]
pub fn is_hostname(text: &str, replica: &ReplicaKey) -> bool {
    text.strip_prefix(replica.instance.name.as_str())
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|digits| digits.parse::<u32>().ok())
        == Some(replica.ordinal)
}

/// Whether `text` is the container name of this incarnation of `replica`; as
/// [`ReplicaKey::container_name`], without making a text.
#[must_use]
pub fn is_container_name(text: &str, replica: &ReplicaKey, incarnation: u64) -> bool {
    let mut parts = text.split(NAME_JOINT);
    let ReplicaKey { instance, ordinal } = replica;
    // A number has one form: `+1` and `01` are other texts.
    let is_number = |part: Option<&str>, number: u64| {
        part.is_some_and(|part| {
            part.parse() == Ok(number)
                && !part.starts_with('+')
                && (part.len() == 1 || !part.starts_with('0'))
        })
    };
    parts.next() == Some(instance.project.as_str())
        && parts.next() == Some(instance.name.as_str())
        && is_number(parts.next(), u64::from(*ordinal))
        && is_number(parts.next(), incarnation)
        && parts.next().is_none()
}

/// The limits that a spec's resources stand for.
#[must_use]
pub fn limits(resources: &Resources) -> Limits {
    let Resources {
        cpus,
        cpu_shares,
        cpuset,
        memory,
        memory_swap,
        pids,
        cpu_policy: _,
        disk: _,
        io: _,
    } = resources;
    let memory = memory.map_or(0, |bytes| bytes.0);
    Limits {
        nano_cpus: cpus.map_or(0, |cpus| cpus.0),
        memory,
        memory_swap: match memory_swap {
            Some(Swap::Total(bytes)) => bytes.0,
            Some(Swap::Unlimited) => 0,
            // What engines do where nothing is said: as much swap again.
            None => memory.saturating_mul(2).min(i64::MAX as u64),
        },
        pids: pids.unwrap_or(0),
        cpu_shares: cpu_shares.filter(|shares| *shares != CPU_SHARES_USUAL).unwrap_or(0),
        cpuset: cpuset.clone().unwrap_or_default(),
    }
}

/// The weight that every container has if nothing else is said.
pub const CPU_SHARES_USUAL: u64 = 1024;

/// The check that the engine shall run for a spec.
#[must_use]
pub fn health(health: &Health) -> HealthCheck {
    let exec = match &health.check {
        HealthProbe::Exec(exec) => exec.clone(),
        // Windlass asks, and the image's own check would say something else.
        HealthProbe::Http { .. } | HealthProbe::Tcp { .. } => return HealthCheck::default(),
    };
    HealthCheck {
        exec,
        interval_ms: health.interval.0,
        timeout_ms: health.timeout.0,
        retries: health.retries,
        start_period_ms: health.start_period.0,
    }
}

/// The engine's name of a network that an instance names.
fn engine_network(network: &NetworkName) -> String {
    match network {
        NetworkName::Declared(key) => key.engine_name(),
        NetworkName::Engine(name) => name.to_string(),
    }
}

/// Whether an instance is on its project's own network, since it names none.
#[must_use]
pub fn is_on_own_network(spec: &InstanceSpec) -> bool {
    spec.more.networks.is_empty()
}

/// The network that a container is created on.
#[must_use]
pub fn network_mode(spec: &InstanceSpec, project: &Name) -> String {
    match spec.more.networks.first() {
        Some(first) => engine_network(&first.network),
        None => Key::own_network(project).engine_name(),
    }
}

/// Whether `text` is that network, without making a text.
#[must_use]
pub fn is_network_mode(text: &str, spec: &InstanceSpec, project: &Name) -> bool {
    match spec.more.networks.first().map(|first| &first.network) {
        Some(NetworkName::Declared(key)) => key.is_engine_name(text),
        Some(NetworkName::Engine(name)) => name.as_str() == text,
        None => is_own_network(text, project),
    }
}

/// Whether `text` is the engine's name of a project's own network, without making a text.
#[must_use]
pub fn is_own_network(text: &str, project: &Name) -> bool {
    text.strip_suffix(OWN_NETWORK_SUFFIX) == Some(project.as_str())
}

/// The networks that a container shall be on, by the engine's names. Those that have no endpoints,
/// and the engine's `bridge` for one that is created on it, are left out.
///
/// On each declared network, and on its project's own, it goes by its instance's name, which all
/// replicas share, by `name-ordinal`, and by what its spec says beside. What it calls others there is
/// its own.
#[must_use]
pub fn attachments(
    spec: &InstanceSpec,
    replica: &ReplicaKey,
    linked: &Linked,
) -> Few<String, Attachment> {
    let ReplicaKey { instance, ordinal } = replica;
    let mode = network_mode(spec, &instance.project);
    let own = [instance.name.to_string(), format!("{}-{ordinal}", instance.name)];
    if is_on_own_network(spec) {
        let attachment =
            Attachment { aliases: own.into(), address: None, links: linked.names_on(&mode) };
        let joins = linked.joins().iter();
        let joins = joins.map(|(network, attachment)| (network.engine_name(), attachment.clone()));
        return iter::once((mode, attachment)).chain(joins).collect();
    }
    let uses = spec.more.networks.iter().map(|one| {
        let own = match one.network {
            NetworkName::Declared(_) => own.to_vec(),
            // Engines know no names there.
            NetworkName::Engine(_) => Vec::new(),
        };
        let aliases = own.into_iter().chain(one.aliases.iter().cloned()).collect();
        let network = engine_network(&one.network);
        let links = linked.names_on(&network);
        (network, Attachment { aliases, address: one.address, links })
    });
    uses.filter(|(network, _)| is_listed(network, &mode)).collect()
}

/// The networks that an instance of `project` is on, by the engine's names.
#[must_use]
pub fn networks(spec: &InstanceSpec, project: &Name) -> Vec<String> {
    if is_on_own_network(spec) {
        return vec![Key::own_network(project).engine_name()];
    }
    let networks = spec.more.networks.iter().map(|one| engine_network(&one.network));
    networks.filter(|network| !matches!(network.as_str(), "host" | "none")).collect()
}

/// Whether containers on a network know each other by names: on the engine's own they do not.
#[must_use]
pub fn has_names(network: &str) -> bool {
    !matches!(network, DEFAULT_NETWORK | "host" | "none")
}

/// Whether a container that was created on `mode` has being on `network` listed.
#[must_use]
pub fn is_listed(network: &str, mode: &str) -> bool {
    !matches!(network, "host" | "none") && (network != DEFAULT_NETWORK || mode != DEFAULT_NETWORK)
}

/// The files that are put into a replica's container.
pub fn files(spec: &InstanceSpec) -> impl Iterator<Item = &FileSpec> {
    spec.more.files.iter().chain(&spec.more.user_data)
}

/// The binding of one port for the container in this slot: the *n*-th of its range.
#[must_use]
pub fn port(port: &Port, slot: u32) -> PortBinding {
    PortBinding {
        container: port.container,
        protocol: port.protocol,
        host: port
            .host
            .and_then(|range| range.nth(slot))
            .map(|host| HostPort { address: port.address.clone().unwrap_or_default(), port: host }),
    }
}

/// The slot that a container is in, by the host ports that it has. `None` if it has none of those
/// that its spec asks for.
#[must_use]
pub fn slot(spec: &InstanceSpec, have: &[PortBinding]) -> Option<u32> {
    spec.ports.iter().find_map(|declared| {
        let range = declared.host?;
        let bound = have.iter().find(|bound| {
            bound.container == declared.container && bound.protocol == declared.protocol
        })?;
        let port = bound.host.as_ref()?.port;
        range.contains(port).then(|| u32::from(port).saturating_sub(u32::from(range.first)))
    })
}

/// The complete configuration of a replica's container in this slot. `address` is the one that it
/// has on its project's own network, if it is on that.
#[must_use]
pub fn config(
    spec: &InstanceSpec,
    replica: &ReplicaKey,
    slot: u32,
    cgroup_parent: &str,
    address: Option<Ipv4Addr>,
    linked: &Linked,
) -> ContainerConfig {
    let mut attachments = attachments(spec, replica, linked);
    if is_on_own_network(spec) {
        let own = Key::own_network(&replica.instance.project).engine_name();
        if let Some(attachment) = attachments.get_mut(&own) {
            attachment.address = address.map(IpAddr::V4);
        }
    }
    ContainerConfig {
        entrypoint: spec.command.clone(),
        cmd: spec.args.clone(),
        // What the spec says itself goes before what a link brings.
        env: linked.env(replica).into_iter().chain(spec.env.clone()).collect(),
        labels: spec.labels.clone(),
        hostname: match &spec.more.hostname {
            None if has_nodes_hostname(spec) => String::new(),
            Some(_) | None => hostname(spec, replica),
        },
        ports: spec.ports.iter().map(|declared| port(declared, slot)).collect(),
        mounts: spec
            .volumes
            .iter()
            .map(|mount| MountPoint {
                target: mount.target.clone(),
                source: match &mount.source {
                    MountSource::Volume(key) => MountFrom::Volume(key.engine_name()),
                    MountSource::Bind(path) => MountFrom::Bind(path.clone()),
                    MountSource::Tmpfs(size) => MountFrom::Tmpfs(size.map_or(0, |size| size.0)),
                },
                read_only: mount.read_only,
            })
            .collect(),
        limits: limits(&spec.resources),
        health: spec.health.as_ref().map(health),
        stop_signal: spec.stop.signal.clone(),
        stop_timeout_s: Some(spec.stop.timeout.0.div_ceil(1000)),
        cgroup_parent: cgroup_parent.to_owned(),
        restart_policy: RESTART_POLICY.to_owned(),
        network: network_mode(spec, &replica.instance.project),
        attachments,
        more: more(spec),
    }
}

fn more(spec: &InstanceSpec) -> Sparse<MoreConfig> {
    let More {
        workdir,
        env_files: _, // stand in env
        files: _,     // put in by a step of their own
        user_data: _,
        hostname: _,
        networks: _,
        dns,
        extra_hosts,
        update: _,
        placement: _,
        depends_on: _,
        security,
        init,
        tty,
        log,
        requests: _,  // asked of policies
        protected: _, // asked of policies
    } = &*spec.more;
    Sparse::new(MoreConfig {
        workdir: workdir.clone(),
        security: (**security).clone(),
        io: (*spec.resources.io).clone(),
        disk: spec.resources.disk,
        dns: (**dns).clone(),
        extra_hosts: extra_hosts.clone(),
        init: *init,
        tty: *tty,
        log: log.clone(),
    })
}

/// The labels that say who a container is.
#[must_use]
pub fn identity_labels(
    owner: &OwnerId,
    replica: &ReplicaKey,
    revision: &Revision,
    incarnation: u64,
    uid: &str,
) -> BTreeMap<String, String> {
    let ReplicaKey { instance, ordinal } = replica;
    [
        ("owner", owner.0.clone()),
        ("project", instance.project.to_string()),
        ("instance", instance.name.to_string()),
        ("ordinal", ordinal.to_string()),
        ("revision", revision.to_string()),
        ("incarnation", incarnation.to_string()),
        ("uid", uid.to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (format!("{LABEL_PREFIX}{name}"), value))
    .collect()
}

/// The control group that a node's containers live under if its Node does not say. It differs
/// between owners and between nodes, also where two engines share a kernel.
#[must_use]
pub fn cgroup_root(owner: &OwnerId, node: &Name) -> String {
    let owner = owner.0.get(..8).unwrap_or(&owner.0);
    format!("/windlass/{node}-{owner}")
}

/// The parent group of a project's containers: a path, or a slice where systemd makes the groups.
/// `lineage` are the projects that it is in, from the outermost one to itself.
#[must_use]
pub fn cgroup_parent(driver: CgroupDriver, root: &str, lineage: &[Name]) -> String {
    match driver {
        CgroupDriver::Cgroupfs => {
            let mut path = root.trim_end_matches('/').to_owned();
            for project in lineage {
                path.push('/');
                path.push_str(project.as_str());
            }
            path
        }
        CgroupDriver::Systemd => {
            // In a slice's name a hyphen separates levels; inside a part it is written `\x2d`.
            let parts = root.split('/').filter(|part| !part.is_empty());
            let parts = parts.chain(lineage.iter().map(Name::as_str));
            let escaped: Vec<String> = parts.map(|part| part.replace('-', "\\x2d")).collect();
            format!("{}.slice", escaped.join("-"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_paths_or_slices() {
        let name = |text| Name::new(text).expect("a name");
        let lineage = [name("firm"), name("my-shop")];
        let parent = |driver, lineage| cgroup_parent(driver, "/windlass/local-1a", lineage);
        assert_eq!(parent(CgroupDriver::Cgroupfs, &lineage[1..]), "/windlass/local-1a/my-shop");
        assert_eq!(parent(CgroupDriver::Cgroupfs, &lineage), "/windlass/local-1a/firm/my-shop");
        assert_eq!(
            parent(CgroupDriver::Systemd, &lineage),
            r"windlass-local\x2d1a-firm-my\x2dshop.slice"
        );
    }

    #[test]
    fn hostnames_are_recognised() {
        let replica = ReplicaKey::new("shop/web-1".parse().expect("a key"), 12);
        assert!(is_hostname("web-1-12", &replica));
        assert!(!is_hostname("web-1", &replica));
        assert!(!is_hostname("web-1-1", &replica));
    }
}
