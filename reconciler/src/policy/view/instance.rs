//! What scripts see of an Instance.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::table::{
    Entries, Entry, dict, maybe, maybe_part, part, shown, table, text, texts, word,
};
use crate::model::quantity::Bytes;
use crate::model::spec::{
    BlockIo, Content, Dependency, Device, Dns, FileSpec, Health, HealthProbe, InstanceSpec, Log,
    Mount, MountSource, Namespaces, NetworkUse, Placement, Port, PortRange, Requests, Resources,
    Security, Stop, Swap, Ulimit, Update,
};

table! {
    /// An Instance.
    INSTANCE = "Instance": InstanceSpec {
        "image": Image |spec| Some(&spec.image);
        "resources": Part(&RESOURCES) |spec| part(&spec.resources);
        "replicas": Number |spec| Some(u64::from(spec.replicas));
        "power": Text |spec| word(&spec.power);
        "command": Texts |spec| spec.command.as_ref().and_then(texts);
        "args": Texts |spec| spec.args.as_ref().and_then(texts);
        "env": Dict |spec| dict(&spec.env);
        "ports": Parts(&PORT) |spec, at| maybe_part(spec.ports.get(at));
        "volumes": Parts(&MOUNT) |spec, at| maybe_part(spec.volumes.get(at));
        "restart": Text |spec| word(&spec.restart);
        "health": Part(&HEALTH) |spec| maybe_part(spec.health.as_ref());
        "stop": Part(&STOP) |spec| part(&spec.stop);
        "labels": Dict |spec| dict(&spec.labels);
        "workdir": Text |spec| maybe(&spec.more.workdir);
        "files": Parts(&FILE) |spec, at| maybe_part(spec.more.files.get(at));
        "userData": Part(&FILE) |spec| maybe_part(spec.more.user_data.as_ref());
        "hostname": Text |spec| maybe(&spec.more.hostname);
        "networks": Parts(&NETWORK_USE) |spec, at| maybe_part(spec.more.networks.get(at));
        "dns": Part(&DNS) |spec| part::<Dns>(&spec.more.dns);
        "extraHosts": Dict |spec| dict(&spec.more.extra_hosts);
        "update": Part(&UPDATE) |spec| part(spec.more.update.as_ref().unwrap_or(&UPDATE_USUAL));
        "placement": Part(&PLACEMENT) |spec| maybe_part(spec.more.placement.as_ref());
        "dependsOn": Parts(&DEPENDENCY) |spec, at| maybe_part(spec.more.depends_on.get(at));
        "security": Part(&SECURITY) |spec| part::<Security>(&spec.more.security);
        "init": Flag |spec| spec.more.init;
        "tty": Flag |spec| Some(spec.more.tty);
        "log": Part(&LOG) |spec| maybe_part(spec.more.log.as_ref());
        "requests": Part(&REQUESTS) |spec| part(&spec.more.requests);
        "protected": Flag |spec| Some(spec.more.protected);
    }
}

/// What holds where no update is said.
static UPDATE_USUAL: Update = Update::usual(crate::model::spec::Order::StopFirst);

table! {
    /// Limits.
    RESOURCES = "resources": Resources {
        "cpus": Cpus |limits| limits.cpus;
        "cpuShares": Number |limits| limits.cpu_shares;
        "cpuset": Text |limits| maybe(&limits.cpuset);
        "cpuPolicy": Text |limits| word(&limits.cpu_policy);
        "memory": Memory |limits| limits.memory;
        "memorySwap": Memory |limits| limits.memory_swap.map(swap);
        "pids": Number |limits| limits.pids;
        "disk": Memory |limits| limits.disk;
        "io": Part(&BLOCK_IO) |limits| part::<BlockIo>(&limits.io);
    }
}

table! {
    /// What it usually needs.
    REQUESTS = "requests": Requests {
        "cpus": Cpus |needs| needs.cpus;
        "memory": Memory |needs| needs.memory;
    }
}

/// Swap without a limit is more than any other amount.
pub(crate) const UNLIMITED: Bytes = Bytes(i64::MAX as u64);

pub(crate) fn swap(swap: Swap) -> Bytes {
    match swap {
        Swap::Total(bytes) => bytes,
        Swap::Unlimited => UNLIMITED,
    }
}

table! {
    /// Limits on block devices.
    BLOCK_IO = "io": BlockIo {
        "weight": Number |io| io.weight.map(u64::from);
        "readBps": Dict |io| rates(&io.read_bps);
        "writeBps": Dict |io| rates(&io.write_bps);
        "readIops": Dict |io| counts(&io.read_iops);
        "writeIops": Dict |io| counts(&io.write_iops);
    }
}

fn rates(rates: &BTreeMap<String, Bytes>) -> Option<Entries<'_>> {
    Some(rates.iter().map(|(device, rate)| (device.as_str(), Entry::Memory(*rate))).collect())
}

fn counts(counts: &BTreeMap<String, u64>) -> Option<Entries<'_>> {
    Some(counts.iter().map(|(device, count)| (device.as_str(), Entry::Number(*count))).collect())
}

table! {
    /// A port.
    PORT = "port": Port {
        "container": Number |port| Some(u64::from(port.container));
        "protocol": Text |port| text(port.protocol.as_str());
        "host": Part(&PORT_RANGE) |port| maybe_part(port.host.as_ref());
        "address": Text |port| maybe(&port.address);
    }
}

table! {
    /// Host ports; with one port both ends are the same.
    PORT_RANGE = "host ports": PortRange {
        "first": Number |range| Some(u64::from(range.first));
        "last": Number |range| Some(u64::from(range.last));
    }
}

table! {
    /// A mount: one of `volume`, `bind` and `tmpfs` is there.
    MOUNT = "volume": Mount {
        "kind": Text |mount| text(match &mount.source {
            MountSource::Volume(_) => "volume",
            MountSource::Bind(_) => "bind",
            MountSource::Tmpfs(_) => "tmpfs",
        });
        "volume": Text |mount| match &mount.source {
            MountSource::Volume(key) => shown(key),
            MountSource::Bind(_) | MountSource::Tmpfs(_) => None,
        };
        "bind": Text |mount| match &mount.source {
            MountSource::Bind(path) => text(path),
            MountSource::Volume(_) | MountSource::Tmpfs(_) => None,
        };
        "tmpfs": Memory |mount| match &mount.source {
            MountSource::Tmpfs(size) => Some(size.unwrap_or(UNLIMITED)),
            MountSource::Volume(_) | MountSource::Bind(_) => None,
        };
        "target": Text |mount| text(&mount.target);
        "readOnly": Flag |mount| Some(mount.read_only);
        "shared": Flag |mount| Some(mount.shared);
    }
}

table! {
    /// A health check: one of `exec`, `http` and `tcp` is there.
    HEALTH = "health": Health {
        "exec": Texts |health| match &health.check {
            HealthProbe::Exec(words) => texts(words),
            HealthProbe::Http { .. } | HealthProbe::Tcp { .. } => None,
        };
        "http": Part(&PROBE) |health| probe(&health.check, |probe| {
            matches!(probe, HealthProbe::Http { .. })
        });
        "tcp": Part(&PROBE_TCP) |health| probe(&health.check, |probe| {
            matches!(probe, HealthProbe::Tcp { .. })
        });
        "interval": Duration |health| Some(health.interval);
        "timeout": Duration |health| Some(health.timeout);
        "retries": Number |health| Some(u64::from(health.retries));
        "startPeriod": Duration |health| Some(health.start_period);
    }
}

fn probe(
    probe: &HealthProbe,
    is_it: fn(&HealthProbe) -> bool,
) -> Option<&crate::policy::view::table::Thing> {
    maybe_part(is_it(probe).then_some(probe))
}

table! {
    /// A check by HTTP.
    PROBE = "http": HealthProbe {
        "port": Number |probe| port_of(probe);
        "path": Text |probe| match probe {
            HealthProbe::Http { path, .. } => text(path),
            HealthProbe::Exec(_) | HealthProbe::Tcp { .. } => None,
        };
    }
}

table! {
    /// A check by TCP.
    PROBE_TCP = "tcp": HealthProbe {
        "port": Number |probe| port_of(probe);
    }
}

fn port_of(probe: &HealthProbe) -> Option<u64> {
    match probe {
        HealthProbe::Http { port, .. } | HealthProbe::Tcp { port } => Some(u64::from(*port)),
        HealthProbe::Exec(_) => None,
    }
}

table! {
    /// How a container is asked to end.
    STOP = "stop": Stop {
        "signal": Text |stop| maybe(&stop.signal);
        "timeout": Duration |stop| Some(stop.timeout);
    }
}

table! {
    /// A file; what is in it is never shown.
    FILE = "file": FileSpec {
        "path": Text |file| text(&file.path);
        "content": Secret |file| match &file.content {
            Content::Text(content) => text(content),
            Content::File(_) => None,
        };
        "source": Text |file| match &file.content {
            Content::File(file) => text(&file.path),
            Content::Text(_) => None,
        };
        "mode": Text |file| Some(Cow::Owned(format!("{:04o}", file.mode)));
        "uid": Number |file| Some(u64::from(file.uid));
        "gid": Number |file| Some(u64::from(file.gid));
    }
}

table! {
    /// A network that an instance is on.
    NETWORK_USE = "network": NetworkUse {
        "network": Text |on| shown(&on.network);
        "aliases": Texts |on| texts(&on.aliases);
        "address": Text |on| on.address.as_ref().and_then(shown);
    }
}

table! {
    /// How names are resolved.
    DNS = "dns": Dns {
        "servers": Texts |dns| texts(&dns.servers);
        "search": Texts |dns| texts(&dns.search);
        "options": Texts |dns| texts(&dns.options);
    }
}

table! {
    /// How a new revision takes the place of an earlier one; what is not said is as usual.
    UPDATE = "update": Update {
        "order": Text |update| word(&update.order);
        "maxUnavailable": Number |update| Some(u64::from(update.max_unavailable));
        "maxSurge": Number |update| Some(u64::from(update.max_surge));
        "healthTimeout": Duration |update| Some(update.health_timeout);
        "onFailure": Text |update| word(&update.on_failure);
    }
}

table! {
    /// Which nodes may hold it.
    PLACEMENT = "placement": Placement {
        "node": Text |placement| placement.node.as_ref().and_then(shown);
        "selector": Dict |placement| dict(&placement.selector);
        "spread": Text |placement| maybe(&placement.spread);
    }
}

table! {
    /// An instance that has to be there before.
    DEPENDENCY = "dependency": Dependency {
        "instance": Text |on| shown(&on.instance);
        "condition": Text |on| text(on.condition.as_str());
    }
}

table! {
    /// What a container may do.
    SECURITY = "security": Security {
        "user": Text |security| maybe(&security.user);
        "groups": Texts |security| texts(&security.groups);
        "readOnlyRoot": Flag |security| Some(security.read_only_root);
        "noNewPrivileges": Flag |security| Some(security.no_new_privileges);
        "capAdd": Texts |security| texts(&security.cap_add);
        "capDrop": Texts |security| texts(&security.cap_drop);
        "privileged": Flag |security| Some(security.privileged);
        "devices": PartDict(&DEVICE) |security, at| {
            let (path, device) = security.devices.iter().nth(at)?;
            Some((path.as_str(), device as &super::table::Thing))
        };
        "seccomp": Text |security| security.seccomp.as_deref().map(profile);
        "apparmor": Text |security| maybe(&security.apparmor);
        "sysctls": Dict |security| dict(&security.sysctls);
        "ulimits": PartDict(&ULIMIT) |security, at| {
            let (name, limit) = security.ulimits.iter().nth(at)?;
            Some((name.as_str(), limit as &super::table::Thing))
        };
        "namespaces": Part(&NAMESPACES) |security| part(&security.namespaces);
    }
}

/// `unconfined`, or the digest of the profile: its text is long, and nobody compares it.
fn profile(text: &str) -> Cow<'_, str> {
    if text == "unconfined" {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("sha256:{}", crate::model::ids::Digest::of(text.as_bytes())))
}

table! {
    /// A device of the node, by its path inside.
    DEVICE = "device": Device {
        "host": Text |device| text(&device.host);
        "permissions": Text |device| text(&device.permissions);
    }
}

table! {
    /// A limit of each process; -1 is none.
    ULIMIT = "ulimit": Ulimit {
        "soft": Signed |limit| Some(limit.soft);
        "hard": Signed |limit| Some(limit.hard);
    }
}

table! {
    /// Namespaces that are not its own.
    NAMESPACES = "namespaces": Namespaces {
        "ipc": Text |shared| maybe(&shared.ipc);
        "pid": Text |shared| maybe(&shared.pid);
        "uts": Text |shared| maybe(&shared.uts);
        "cgroup": Text |shared| maybe(&shared.cgroup);
        "user": Text |shared| maybe(&shared.user);
    }
}

table! {
    /// Where an engine puts what a container prints.
    LOG = "log": Log {
        "driver": Text |log| text(&log.driver);
        "options": Dict |log| dict(&log.options);
    }
}
