//! What runs, in the form in which specs are judged: the declaration, with all that an engine says
//! of the container in the place of what the declaration says.

use super::view::Running;
use crate::model::desired::Declared;
use crate::model::ids::{ImageId, Key, ReplicaKey};
use crate::model::observed::{
    ContainerConfig, HostPort, Limits, MountFrom, MountPoint, PortBinding,
};
use crate::model::quantity::{Bytes, Cpus};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::sparse::Sparse;
use crate::model::spec::{InstanceSpec, More, Mount, MountSource, Port, PortRange, Resources};
use crate::ports::Inside;
use crate::want;

/// The spec as which a container runs, or is about to be made. What no engine knows of (who waits
/// for whom, how it is rolled out) is as declared. A limit that the node's kernel does not have is
/// none. Read back, variables, labels and ports of the image are among those of the container.
#[must_use]
pub fn spec(declared: &InstanceSpec, config: &ContainerConfig) -> InstanceSpec {
    let ContainerConfig {
        entrypoint,
        cmd,
        env,
        labels,
        hostname,
        ports,
        mounts,
        limits,
        health: _, // checks of windlass' own are nowhere in a container
        stop_signal: _,
        stop_timeout_s: _,
        cgroup_parent: _,
        restart_policy: _, // windlass is the only restarter
        network: _,
        attachments: _,
        more,
    } = config;
    let set = |limit: u64| Some(limit).filter(|limit| !matches!(*limit, 0 | Limits::NOT_ENFORCED));
    let resources = Resources {
        cpus: set(limits.nano_cpus).map(Cpus),
        memory: set(limits.memory).map(Bytes),
        pids: set(limits.pids),
        cpu_shares: set(limits.cpu_shares),
        io: Sparse::new(more.io.clone()),
        disk: more.disk,
        ..declared.resources.clone()
    };
    let declared_more = (*declared.more).clone();
    let found = More {
        workdir: more.workdir.clone().or_else(|| declared_more.workdir.clone()),
        hostname: Some(hostname.clone()).filter(|name| !name.is_empty()),
        security: Sparse::new(more.security.clone()),
        dns: Sparse::new(more.dns.clone()),
        extra_hosts: more.extra_hosts.clone(),
        init: more.init,
        tty: more.tty,
        log: more.log.clone(),
        ..declared_more
    };
    InstanceSpec {
        resources,
        command: entrypoint.clone().or_else(|| declared.command.clone()),
        args: cmd.clone().or_else(|| declared.args.clone()),
        env: env.clone(),
        ports: ports.iter().map(port).collect(),
        volumes: mounts.iter().map(mount).collect(),
        labels: labels.clone(),
        more: Sparse::new(found),
        ..declared.clone()
    }
}

fn port(found: &PortBinding) -> Port {
    let PortBinding { container, protocol, host } = found;
    let (host, address) = match host {
        Some(HostPort { address, port }) => {
            let address = Some(address.clone()).filter(|address| !address.is_empty());
            (Some(PortRange { first: *port, last: *port }), address)
        }
        None => (None, None),
    };
    Port { container: *container, protocol: *protocol, host, address }
}

fn mount(found: &MountPoint) -> Mount {
    let MountPoint { target, source, read_only } = found;
    let source = match source {
        // A volume that is not ours, such as one without a name, has no declaration.
        MountFrom::Volume(name) => match Key::of_engine_name(name) {
            Some(key) => MountSource::Volume(key),
            None => MountSource::Bind(format!("volume {name}")),
        },
        MountFrom::Bind(path) => MountSource::Bind(path.clone()),
        MountFrom::Tmpfs(bytes) => {
            MountSource::Tmpfs(Some(*bytes).filter(|bytes| *bytes != 0).map(Bytes))
        }
    };
    Mount { source, target: target.clone(), read_only: *read_only, shared: false }
}

/// What is known of a container beside its spec.
#[must_use]
pub fn running(
    snapshot: &Snapshot,
    replica: &ReplicaKey,
    declared: &Declared<InstanceSpec>,
    at: &Located,
    inside: Option<&Inside>,
) -> Running {
    let config = &at.container.config;
    let image = snapshot.records.images.get(&declared.spec.image);
    let wanted = image.and_then(|record| record.ids.get(&at.node));
    let digest = |ImageId(id): &ImageId| id.to_string();
    let published = config.ports.iter().filter_map(|port| {
        let host = port.host.as_ref()?;
        Some(format!("{}:{}/{}", host.port, port.container, port.protocol.as_str()))
    });
    Running {
        replica: Some(replica.ordinal),
        node: Some(at.node.to_string()),
        image: Some(digest(&at.container.image)),
        wanted_image: wanted.map(digest),
        privileged: Some(config.more.security.privileged),
        ports: Some(published.collect()),
        propagation: Some(
            at.container.shared_mounts.iter().flat_map(|all| all.iter().cloned()).collect(),
        ),
        masked_paths: at.container.masked_paths.map(u64::from),
        cgroup_parent: Some(config.cgroup_parent.clone()),
        processes: inside.map(|inside| inside.processes.clone()),
        changes: inside.map(|inside| changes(&declared.spec, &inside.changes)),
        ..Running::default()
    }
}

/// Paths that are not as in the image, without those that windlass put there, and the folders above
/// those.
fn changes(spec: &InstanceSpec, changes: &[String]) -> Vec<String> {
    let ours: Vec<&str> = want::files(spec).map(|file| file.path.as_str()).collect();
    let is_ours = |path: &str| {
        ours.iter().any(|file| {
            *file == path || file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    changes.iter().filter(|path| !is_ours(path)).cloned().collect()
}
