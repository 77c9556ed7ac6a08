//! What most containers leave out: asked for, and read back in one form.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::{
    ContainerConfig as EngineConfig, ContainerCreateBody, DeviceMapping, EndpointIpamConfig,
    EndpointSettings, HostConfig, HostConfigCgroupnsModeEnum as CgroupMode, HostConfigLogConfig,
    NetworkSettings, NetworkingConfig, ResourcesUlimits, ThrottleDevice,
};
use reconciler::model::few::Few;
use reconciler::model::observed::{Attachment, MoreConfig};
use reconciler::model::quantity::Bytes;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{BlockIo, Device, Dns, Log, Namespaces, Security, Ulimit};
use reconciler::want::{DEFAULT_NETWORK, is_listed};

/// Digits of a container's id that engines add to its names on a network.
const SHORT_ID: usize = 12;

/// The option of storage drivers that says how large a container's own layer may be.
const SIZE: &str = "size";

/// What an engine does where nothing is said, as far as it differs from one to another.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct EngineDefaults {
    /// Whether its kernel can limit swap. Where it cannot, the engine drops that limit.
    pub(in super::super) limits_swap: bool,
    /// Whether containers get a control group namespace of their own.
    pub(in super::super) private_cgroups: bool,
}

/// Puts `more` into the body of a create.
pub(super) fn to_engine(more: &MoreConfig, body: &mut ContainerCreateBody) {
    // Everything is named: a field that is forgotten here does not compile.
    let MoreConfig { workdir, security, io, disk, dns, extra_hosts, init, tty, log } = more;
    let Security {
        user,
        groups,
        read_only_root,
        no_new_privileges,
        cap_add,
        cap_drop,
        privileged,
        devices,
        seccomp,
        apparmor,
        sysctls,
        ulimits,
        namespaces,
    } = security;
    let Namespaces { ipc, pid, uts, cgroup, user: users } = namespaces;
    body.working_dir.clone_from(workdir);
    body.user.clone_from(user);
    body.tty = tty.then_some(true);
    let host = body.host_config.get_or_insert_default();
    host.group_add = listed(groups.iter().cloned());
    host.readonly_rootfs = read_only_root.then_some(true);
    host.privileged = privileged.then_some(true);
    host.cap_add = listed(cap_add.iter().cloned());
    host.cap_drop = listed(cap_drop.iter().cloned());
    host.devices = listed(devices.iter().map(|(inside, device)| {
        let Device { host, permissions } = device;
        DeviceMapping {
            path_on_host: Some(host.clone()),
            path_in_container: Some(inside.clone()),
            cgroup_permissions: Some(permissions.clone()),
        }
    }));
    let options = no_new_privileges.then(|| "no-new-privileges".to_owned()).into_iter();
    let options = options.chain(seccomp.as_ref().map(|profile| format!("seccomp={profile}")));
    let options = options.chain(apparmor.as_ref().map(|profile| format!("apparmor={profile}")));
    host.security_opt = listed(options);
    host.sysctls = (!sysctls.is_empty())
        .then(|| sysctls.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
    host.ulimits = listed(ulimits.iter().map(|(name, Ulimit { soft, hard })| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(*soft),
        hard: Some(*hard),
    }));
    host.ipc_mode.clone_from(ipc);
    host.pid_mode.clone_from(pid);
    host.uts_mode.clone_from(uts);
    host.userns_mode.clone_from(users);
    host.cgroupns_mode = match cgroup.as_deref() {
        Some("private") => Some(CgroupMode::PRIVATE),
        Some("host") => Some(CgroupMode::HOST),
        Some(_) | None => None,
    };
    host.init = *init;
    host.log_config = log.as_ref().map(|Log { driver, options }| HostConfigLogConfig {
        typ: Some(driver.clone()),
        config: Some(options.iter().map(|(name, value)| (name.clone(), value.clone())).collect()),
    });
    let Dns { servers, search, options } = dns;
    host.dns = listed(servers.iter().cloned());
    host.dns_search = listed(search.iter().cloned());
    host.dns_options = listed(options.iter().cloned());
    host.extra_hosts =
        listed(extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")));
    host.storage_opt = disk.map(|disk| HashMap::from([(SIZE.to_owned(), disk.0.to_string())]));
    let BlockIo { weight, read_bps, write_bps, read_iops, write_iops } = io;
    host.blkio_weight = *weight;
    let bytes = |rates: &BTreeMap<String, Bytes>| {
        listed(rates.iter().map(|(device, rate)| throttle(device, rate.0)))
    };
    let counts = |rates: &BTreeMap<String, u64>| {
        listed(rates.iter().map(|(device, rate)| throttle(device, *rate)))
    };
    host.blkio_device_read_bps = bytes(read_bps);
    host.blkio_device_write_bps = bytes(write_bps);
    host.blkio_device_read_iops = counts(read_iops);
    host.blkio_device_write_iops = counts(write_iops);
}

/// How a container is put on a network.
pub(in super::super) fn endpoint(attachment: &Attachment) -> EndpointSettings {
    let Attachment { aliases, address, links } = attachment;
    let ipam = address.map(|address| {
        let text = Some(address.to_string());
        match address {
            IpAddr::V4(_) => EndpointIpamConfig { ipv4_address: text, ..Default::default() },
            IpAddr::V6(_) => EndpointIpamConfig { ipv6_address: text, ..Default::default() },
        }
    });
    EndpointSettings {
        ipam_config: ipam,
        aliases: listed(aliases.iter().cloned()),
        links: listed(links.iter().map(|(alias, name)| format!("{name}:{alias}"))),
        ..EndpointSettings::default()
    }
}

/// The networks of a create. `mode` is the network that the container is created on; the others
/// are joined afterwards, since older engines take one only.
pub(super) fn networking(
    attachments: &Few<String, Attachment>,
    mode: &str,
) -> Option<NetworkingConfig> {
    let attachment = attachments.get(mode)?;
    let endpoints = HashMap::from([(mode.to_owned(), endpoint(attachment))]);
    Some(NetworkingConfig { endpoints_config: Some(endpoints) })
}

/// What is read back.
pub(super) fn from_engine(
    config: &EngineConfig,
    host: &HostConfig,
    defaults: EngineDefaults,
) -> Sparse<MoreConfig> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let options = host.security_opt.as_deref().unwrap_or_default();
    let option = |name: &str| {
        options.iter().find_map(|option| {
            option.strip_prefix(name)?.strip_prefix(['=', ':']).map(str::to_owned)
        })
    };
    let no_new_privileges = options.iter().any(|option| option == "no-new-privileges")
        || option("no-new-privileges").as_deref() == Some("true");
    let own_cgroups = match host.cgroupns_mode {
        None | Some(CgroupMode::EMPTY) => None,
        Some(CgroupMode::PRIVATE) => Some(true),
        Some(CgroupMode::HOST) => Some(false),
    };
    let own_cgroups = own_cgroups.filter(|own| *own != defaults.private_cgroups);
    let namespaces = Namespaces {
        // What every engine does, and what says nothing.
        ipc: text(&host.ipc_mode).filter(|mode| mode != "private"),
        pid: text(&host.pid_mode),
        uts: text(&host.uts_mode),
        cgroup: own_cgroups.map(|own| if own { "private" } else { "host" }.to_owned()),
        user: text(&host.userns_mode),
    };
    let security = Security {
        user: text(&config.user),
        groups: host.group_add.iter().flatten().cloned().collect(),
        read_only_root: host.readonly_rootfs.unwrap_or(false),
        no_new_privileges,
        cap_add: capabilities(host.cap_add.as_deref()),
        cap_drop: capabilities(host.cap_drop.as_deref()),
        privileged: host.privileged.unwrap_or(false),
        devices: host.devices.iter().flatten().filter_map(device).collect(),
        seccomp: option("seccomp").map(Into::into),
        apparmor: option("apparmor"),
        sysctls: host.sysctls.iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        ulimits: host.ulimits.iter().flatten().filter_map(ulimit).collect(),
        namespaces,
    };
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    Sparse::new(MoreConfig {
        workdir: text(&config.working_dir),
        security,
        io: BlockIo {
            weight: host.blkio_weight.filter(|weight| *weight > 0),
            read_bps: rates(host.blkio_device_read_bps.as_deref(), Bytes),
            write_bps: rates(host.blkio_device_write_bps.as_deref(), Bytes),
            read_iops: rates(host.blkio_device_read_iops.as_deref(), |rate| rate),
            write_iops: rates(host.blkio_device_write_iops.as_deref(), |rate| rate),
        },
        disk: host.storage_opt.as_ref().and_then(|options| options.get(SIZE)?.parse().ok()),
        dns: Dns {
            servers: list(&host.dns),
            search: list(&host.dns_search),
            options: list(&host.dns_options),
        },
        extra_hosts: host
            .extra_hosts
            .iter()
            .flatten()
            .filter_map(|line| line.split_once([':', '=']))
            .map(|(name, address)| (name.to_owned(), address.to_owned()))
            .collect(),
        init: host.init,
        tty: config.tty.unwrap_or(false),
        log: host.log_config.as_ref().and_then(log),
    })
}

/// The network mode in one form. One that was taken off the engine's own bridge by another hand is
/// on no network that it was created on.
pub(super) fn network_mode(host: &HostConfig, networks: Option<&NetworkSettings>) -> String {
    let mode = match host.network_mode.as_deref() {
        None | Some("" | "default" | DEFAULT_NETWORK) => DEFAULT_NETWORK,
        Some(network) => return network.to_owned(),
    };
    let networks = networks.and_then(|settings| settings.networks.as_ref());
    let left = networks.is_some_and(|networks| !networks.contains_key(mode));
    if left { format!("none, taken off {mode}") } else { mode.to_owned() }
}

/// The networks that a container is on. `mode` is its network mode, in one form.
pub(super) fn attachments(
    id: &str,
    networks: Option<&NetworkSettings>,
    mode: &str,
) -> Few<String, Attachment> {
    let short = id.get(..SHORT_ID).unwrap_or(id);
    let networks = networks.and_then(|settings| settings.networks.as_ref()).into_iter().flatten();
    let found =
        networks.filter(|(network, _)| is_listed(network, mode)).map(|(network, settings)| {
            let ipam = settings.ipam_config.as_ref();
            let asked = ipam.and_then(|ipam| {
                let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
                text(&ipam.ipv4_address).or_else(|| text(&ipam.ipv6_address))
            });
            let aliases = settings.aliases.iter().flatten();
            let links = settings.links.iter().flatten();
            let attachment = Attachment {
                aliases: aliases.filter(|alias| *alias != short).cloned().collect(),
                address: asked.and_then(|address| address.parse().ok()),
                links: links.filter_map(|link| link.split_once(':')).map(own_alias).collect(),
            };
            (network.clone(), attachment)
        });
    found.collect()
}

/// `NAME:ALIAS` as it is kept here: the alias, and the name behind it.
fn own_alias((name, alias): (&str, &str)) -> (String, String) {
    (alias.to_owned(), name.to_owned())
}

/// Where an engine puts what is printed. What all engines do out of the box says nothing.
fn log(config: &HostConfigLogConfig) -> Option<Log> {
    let driver = config.typ.clone().filter(|driver| !driver.is_empty())?;
    let options: BTreeMap<_, _> = config.config.clone().unwrap_or_default().into_iter().collect();
    let log = Log { driver, options };
    (log != Log::usual()).then_some(log)
}

fn capabilities(found: Option<&[String]>) -> std::collections::BTreeSet<String> {
    let bare = |name: &String| name.strip_prefix("CAP_").unwrap_or(name).to_ascii_uppercase();
    found.unwrap_or_default().iter().map(bare).collect()
}

fn device(device: &DeviceMapping) -> Option<(String, Device)> {
    let host = device.path_on_host.clone()?;
    let inside = device.path_in_container.clone().unwrap_or_else(|| host.clone());
    let given = device.cgroup_permissions.as_deref().filter(|given| !given.is_empty());
    let given = given.unwrap_or("rwm");
    let permissions = "rwm".chars().filter(|letter| given.contains(*letter)).collect();
    Some((inside, Device { host, permissions }))
}

fn ulimit(limit: &ResourcesUlimits) -> Option<(String, Ulimit)> {
    let ulimit = Ulimit { soft: limit.soft?, hard: limit.hard? };
    Some((limit.name.clone()?, ulimit))
}

fn throttle(device: &str, rate: u64) -> ThrottleDevice {
    let rate = Some(i64::try_from(rate).unwrap_or(i64::MAX));
    ThrottleDevice { path: Some(device.to_owned()), rate }
}

fn rates<T>(found: Option<&[ThrottleDevice]>, of: impl Fn(u64) -> T) -> BTreeMap<String, T> {
    let rate = |device: &ThrottleDevice| {
        let rate = device.rate.and_then(|rate| u64::try_from(rate).ok())?;
        Some((device.path.clone()?, of(rate)))
    };
    found.unwrap_or_default().iter().filter_map(rate).collect()
}

/// A list, or nothing where it would be empty.
fn listed<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_an_option_of_the_storage_driver() {
        let more = MoreConfig { disk: Some(Bytes(10 << 30)), ..MoreConfig::default() };
        let mut body = ContainerCreateBody::default();
        to_engine(&more, &mut body);
        let host = body.host_config.unwrap();
        let options = host.storage_opt.unwrap();
        assert_eq!(options, HashMap::from([("size".to_owned(), "10737418240".to_owned())]));
        let mut body = ContainerCreateBody::default();
        to_engine(&MoreConfig { tty: true, ..MoreConfig::default() }, &mut body);
        assert_eq!(body.host_config.unwrap().storage_opt, None);
    }
}
