//! What is read back, normalised.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use bollard::models::{
    ContainerConfig as EngineConfig, ContainerInspectResponse, ContainerState as EngineState,
    ContainerStateStatusEnum as Status, ContainerSummary, ContainerSummaryStateEnum, HostConfig,
    ImageSummary, IpamConfig, Network, NetworkSettings, Volume,
};
use reconciler::model::few::Few;
use reconciler::model::ids::{ContainerId, ImageId, OwnerId};
use reconciler::model::observed::{
    ContainerConfig, ContainerState, Exit, HealthState, ObservedContainer, ObservedImage,
    ObservedNetwork, ObservedVolume,
};
use reconciler::model::spec::{NetworkSpec, Subnet};
use reconciler::model::time::Timestamp;
use reconciler::want::{DEFAULT_NETWORK, is_listed};

use super::more::{self, EngineDefaults};
use super::time::timestamp;
use super::{apart, health, labels, limits, mounts, ports, restart};

/// Digits of a container's id that the engine takes for a host name if none is asked for.
const SHORT_ID: usize = 12;
/// What the engine lists in place of a reference that an image does not have.
const NO_REFERENCE: &str = "<none>";

/// A container as an inspect shows it; `None` if it is not `owner`'s, or its labels cannot be read.
pub(in super::super) fn observed_container(
    owner: &OwnerId,
    inspected: ContainerInspectResponse,
    defaults: EngineDefaults,
) -> Option<(ContainerId, ObservedContainer)> {
    let config = inspected.config.unwrap_or_default();
    let identity = labels::identity(owner, config.labels.as_ref()?)?;
    let id = inspected.id?;
    let host = inspected.host_config.unwrap_or_default();
    let state = inspected.state.unwrap_or_default();
    let mount_points = inspected.mounts.unwrap_or_default();
    let networks = inspected.network_settings.as_ref();
    let masked_paths = apart::masked_paths(&host);
    let container = ObservedContainer {
        name: bare_name(inspected.name.as_deref()),
        identity,
        state: container_state(&state),
        health: health::state(state.health.as_ref()),
        image: ImageId(Arc::from(inspected.image.unwrap_or_default())),
        config: ContainerConfig {
            mounts: mounts::from_engine(&mount_points, &host),
            limits: limits::from_host_config(&host, defaults.limits_swap),
            more: more::from_engine(&config, &host, defaults),
            ..container_config(&id, config, host, networks)
        },
        address: networks.and_then(first_address),
        addresses: networks.map(addresses).unwrap_or_default(),
        created_at: timestamp(inspected.created.as_deref()),
        masked_paths,
        shared_mounts: apart::shared_mounts(&mount_points),
        hosts_path: inspected.hosts_path.filter(|path| !path.is_empty()).map(Arc::from),
        // The engine knows no such names.
        hosts: None,
    };
    Some((ContainerId(Arc::from(id)), container))
}

/// All of a configuration but mounts, limits, and what most leave out.
fn container_config(
    id: &str,
    config: EngineConfig,
    host: HostConfig,
    networks: Option<&NetworkSettings>,
) -> ContainerConfig {
    let exposed = config.exposed_ports.unwrap_or_default();
    let hostname = config.hostname.filter(|name| Some(name.as_str()) != id.get(..SHORT_ID));
    let network = more::network_mode(&host, networks);
    ContainerConfig {
        entrypoint: config.entrypoint.filter(|words| !words.is_empty()),
        cmd: config.cmd.filter(|words| !words.is_empty()),
        env: variables(&config.env.unwrap_or_default()),
        labels: user_labels(config.labels.unwrap_or_default()),
        hostname: hostname.unwrap_or_default(),
        ports: ports::from_engine(&exposed, host.port_bindings.as_ref()),
        mounts: Vec::new(),
        limits: Default::default(),
        health: config.healthcheck.as_ref().and_then(health::from_engine),
        stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
        stop_timeout_s: config.stop_timeout.and_then(|seconds| u64::try_from(seconds).ok()),
        cgroup_parent: host.cgroup_parent.unwrap_or_default(),
        restart_policy: restart::word(host.restart_policy.as_ref()),
        attachments: more::attachments(id, networks, &network),
        network,
        more: Default::default(),
    }
}

fn container_state(state: &EngineState) -> ContainerState {
    let since = timestamp(state.started_at.as_deref());
    let error = state.error.clone().unwrap_or_default();
    match state.status {
        Some(Status::RUNNING | Status::STOPPING) => ContainerState::Running { since },
        Some(Status::PAUSED) => ContainerState::Paused { since },
        Some(Status::REMOVING | Status::DEAD) => ContainerState::Removing,
        // One whose start failed stays "created"; that it failed is what counts.
        Some(Status::CREATED | Status::EMPTY) | None if error.is_empty() => ContainerState::Created,
        // One that the engine is about to restart has ended, too.
        Some(Status::EXITED | Status::RESTARTING | Status::CREATED | Status::EMPTY) | None => {
            ContainerState::Exited(Exit {
                code: state.exit_code.unwrap_or(0),
                oom_killed: state.oom_killed.unwrap_or(false),
                error,
                started_at: since,
                finished_at: timestamp(state.finished_at.as_deref()),
            })
        }
    }
}

/// Whether a list still shows what an earlier inspect showed, as far as lists tell.
pub(in super::super) fn agrees(listed: &ContainerSummary, known: &ObservedContainer) -> bool {
    use ContainerSummaryStateEnum as Listed;
    let status = listed.status.as_deref().unwrap_or_default();
    let same_state = match (&known.state, listed.state) {
        (ContainerState::Created, Some(Listed::CREATED)) => true,
        (ContainerState::Running { .. }, Some(Listed::RUNNING)) => match known.health {
            HealthState::None => !status.ends_with(')'),
            HealthState::Starting => status.ends_with("(health: starting)"),
            HealthState::Healthy => status.ends_with("(healthy)"),
            HealthState::Unhealthy => status.ends_with("(unhealthy)"),
            // No engine says so.
            HealthState::Unknown => false,
        },
        (ContainerState::Paused { .. }, Some(Listed::PAUSED)) => true,
        (ContainerState::Exited(exit), Some(Listed::EXITED)) => {
            status.starts_with(&format!("Exited ({})", exit.code))
        }
        (ContainerState::Exited(_), Some(Listed::CREATED)) => true,
        // Rare and short-lived: looked at anew each time.
        _ => false,
    };
    let names = listed.names.as_deref().unwrap_or_default();
    // Another hand may have put it on a network, or taken it off.
    let mode = &known.config.network;
    let networks = listed.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let same_networks = networks.is_none_or(|networks| {
        let on = networks.keys().filter(|network| is_listed(network, mode));
        let attachments = &known.config.attachments;
        on.clone().all(|network| attachments.contains_key(network))
            && on.count() == attachments.len()
            && (mode != DEFAULT_NETWORK || networks.contains_key(mode))
    });
    same_state && same_networks && names.iter().any(|name| bare_name(Some(name)) == known.name)
}

/// An image as a list shows it.
pub(in super::super) fn observed_image(image: ImageSummary) -> (ImageId, ObservedImage) {
    let references = |found: Vec<String>| {
        found.into_iter().filter(|text| !text.contains(NO_REFERENCE)).map(Arc::from).collect()
    };
    let observed = ObservedImage {
        tags: references(image.repo_tags),
        digests: references(image.repo_digests),
        // The beginning of time stands for none.
        created: Some(Timestamp(image.created.saturating_mul(1000))).filter(|at| at.0 > 0),
    };
    (ImageId(Arc::from(image.id)), observed)
}

/// A volume as a list shows it; `None` if it is not `owner`'s.
pub(in super::super) fn observed_volume(
    owner: &OwnerId,
    volume: Volume,
) -> Option<(String, ObservedVolume)> {
    let observed = ObservedVolume {
        volume: labels::volume(owner, &volume.labels)?,
        driver: volume.driver,
        options: volume.options.into_iter().collect(),
    };
    Some((volume.name, observed))
}

/// A network as a list shows it; `None` if it is not `owner`'s.
fn observed_network(owner: &OwnerId, network: Network) -> Option<(String, ObservedNetwork)> {
    let key = labels::network(owner, &network.labels.unwrap_or_default())?;
    let subnet = |config: IpamConfig| Subnet {
        subnet: config.subnet.unwrap_or_default(),
        range: config.ip_range.filter(|range| !range.is_empty()),
        // Some engines show the length of the range behind it.
        gateway: config
            .gateway
            .and_then(|gateway| gateway.split('/').next().map(str::to_owned))
            .filter(|gateway| !gateway.is_empty()),
        reserved: config.auxiliary_addresses.unwrap_or_default().into_iter().collect(),
    };
    let subnets = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let spec = NetworkSpec {
        driver: network.driver.unwrap_or_default(),
        options: network.options.unwrap_or_default().into_iter().collect(),
        internal: network.internal.unwrap_or(false),
        ipv6: network.enable_ipv6.unwrap_or(false),
        subnets: subnets.into_iter().map(subnet).collect(),
        protected: false, // no engine knows
    };
    Some((network.name?, ObservedNetwork { network: key, spec, copies: Vec::new() }))
}

/// `owner`'s networks as a list shows them. Of several of one name the oldest counts.
pub(in super::super) fn observed_networks(
    owner: &OwnerId,
    mut networks: Vec<Network>,
) -> BTreeMap<String, ObservedNetwork> {
    networks.sort_by(|a, b| {
        let age = |network: &Network| timestamp(network.created.as_deref());
        (age(a), &a.id).cmp(&(age(b), &b.id))
    });
    let mut found: BTreeMap<String, ObservedNetwork> = BTreeMap::new();
    for network in networks {
        let id = network.id.clone().unwrap_or_default();
        let Some((name, network)) = observed_network(owner, network) else { continue };
        match found.entry(name) {
            Entry::Vacant(entry) => drop(entry.insert(network)),
            Entry::Occupied(mut entry) => entry.get_mut().copies.push(id),
        }
    }
    found
}

/// The engine begins names with a slash.
fn bare_name(name: Option<&str>) -> String {
    name.unwrap_or_default().trim_start_matches('/').to_owned()
}

fn variables(env: &[String]) -> BTreeMap<String, String> {
    env.iter()
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn user_labels(found: HashMap<String, String>) -> BTreeMap<String, String> {
    found.into_iter().filter(|(label, _)| !label.starts_with(labels::PREFIX)).collect()
}

/// All addresses, by network.
fn addresses(settings: &NetworkSettings) -> Few<String, IpAddr> {
    let networks = settings.networks.iter().flatten();
    let found = networks.filter_map(|(name, network)| {
        let address = |text: &Option<String>| text.as_deref()?.parse().ok();
        let address =
            address(&network.ip_address).or_else(|| address(&network.global_ipv6_address));
        Some((name.clone(), address?))
    });
    found.collect()
}

/// The address on the network that comes first by name.
fn first_address(settings: &NetworkSettings) -> Option<String> {
    let networks: BTreeMap<_, _> = settings.networks.iter().flatten().collect();
    networks
        .into_values()
        .filter_map(|network| network.ip_address.clone())
        .find(|address| !address.is_empty())
}
