//! The user's grammar, as far as cases need it. It stands in for the decoder of the root package.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet, Source};
use reconciler::model::ids::{ImageName, Key, Name};
use reconciler::model::quantity::{Bytes, Cpus, Span};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{
    Condition, Content, CpuPolicy, Dependency, Endpoint, FileSpec, Health, HealthProbe,
    ImageSource, ImageSpec, InstanceSpec, LinkPort, LinkSpec, LocalFile, More, Mount, MountSource,
    NetworkName, NetworkSpec, NetworkUse, NodeSpec, OnFailure, Order, Overcommit, Placement, Port,
    PortRange, Power, ProjectSpec, Protocol, Pull, Quota, Resources, Restart, Room, Stop, Update,
    VolumeSpec,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: serde_yaml::Value,
}

#[derive(Deserialize)]
struct Metadata {
    name: Name,
    #[serde(default = "Name::default_project")]
    project: Name,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// All but the endpoint.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct NodeYaml {
    capacity: Room,
    overcommit: Overcommit,
    reserved: Room,
    cordon: bool,
    drain: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InstanceYaml {
    image: String,
    #[serde(default)]
    resources: ResourcesYaml,
    replicas: Option<u32>,
    #[serde(default)]
    power: Power,
    command: Option<Vec<String>>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    ports: Vec<PortYaml>,
    #[serde(default)]
    volumes: Vec<MountYaml>,
    #[serde(default)]
    restart: Restart,
    /// A TCP check of this port, or the engine's own check if the port is 0.
    health: Option<u16>,
    #[serde(default)]
    networks: Vec<Name>,
    #[serde(default)]
    depends_on: Vec<DependencyYaml>,
    /// Paths; what is in them is the path again.
    #[serde(default)]
    files: Vec<String>,
    placement: Option<PlacementYaml>,
    max_unavailable: Option<u32>,
    /// Says `start-first` too.
    max_surge: Option<u32>,
    /// Says `onFailure: hold`.
    #[serde(default)]
    hold: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DependencyYaml {
    instance: Name,
    #[serde(default)]
    condition: Condition,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlacementYaml {
    node: Option<Name>,
    #[serde(default)]
    selector: BTreeMap<String, String>,
    spread: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkYaml {
    from: Name,
    to: Name,
    alias: Option<String>,
    #[serde(default)]
    ports: Vec<u16>,
    /// `none` for none.
    condition: Option<String>,
    #[serde(default)]
    env: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkYaml {
    #[serde(default = "super::observed::bridge")]
    driver: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ResourcesYaml {
    cpus: Option<Cpus>,
    memory: Option<Bytes>,
    pids: Option<u64>,
    cpuset: Option<Arc<str>>,
    #[serde(rename = "cpuPolicy")]
    cpu_policy: CpuPolicy,
    disk: Option<Bytes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortYaml {
    container: u16,
    host: Option<u16>,
    /// The end of a range.
    #[serde(rename = "hostLast")]
    host_last: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MountYaml {
    volume: Name,
    target: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageYaml {
    source: SourceYaml,
    #[serde(default)]
    pull: Pull,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceYaml {
    registry: Option<String>,
    archive: Option<String>,
    rootfs: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectYaml {
    parent: Option<Name>,
    #[serde(default)]
    quota: Quota,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VolumeYaml {
    driver: Option<String>,
    retain: Option<bool>,
}

fn source() -> Source {
    Source { file: Arc::from("specs.yaml"), line: 1, column: 1 }
}

/// All documents of a file.
pub(super) fn read(text: &str) -> Result<DesiredSet, String> {
    let mut set = DesiredSet::default();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde_yaml::Value::deserialize(document).map_err(|why| why.to_string())?;
        if value.is_null() {
            continue;
        }
        let document: Document = from(value)?;
        let Metadata { name, project, labels } = document.metadata;
        let key = Key::new(project.clone(), name.clone());
        match document.kind.as_str() {
            "Instance" => {
                let spec = instance(from(document.spec)?, &project);
                set.instances.insert(key, Declared::new(spec, source()));
            }
            "Image" => {
                let spec = image(from(document.spec)?);
                set.images.insert(key, Declared::new(spec, source()));
            }
            "Volume" => {
                let VolumeYaml { driver, retain } = from(document.spec)?;
                let spec = VolumeSpec {
                    driver: driver.unwrap_or_else(|| "local".to_owned()),
                    options: BTreeMap::new(),
                    retain: retain.unwrap_or(true),
                    protected: false,
                };
                set.volumes.insert(key, Declared::new(spec, source()));
            }
            "Network" => {
                let NetworkYaml { driver } = from(document.spec)?;
                set.networks.insert(key, Declared::new(network(driver), source()));
            }
            "Link" => {
                let spec = link(from(document.spec)?, &key.project)?;
                set.links.insert(key, Declared::new(spec, source()));
            }
            "Node" => {
                let NodeYaml { capacity, reserved, overcommit, cordon, drain } =
                    from::<Option<NodeYaml>>(document.spec)?.unwrap_or_default();
                let endpoint = Endpoint::Unix(format!("/{name}.sock"));
                let spec = NodeSpec {
                    capacity,
                    reserved,
                    overcommit,
                    cordon,
                    drain,
                    ..NodeSpec::at(endpoint)
                };
                let declared = Declared { labels, ..Declared::new(spec, source()) };
                set.nodes.insert(name, declared);
            }
            "Project" => {
                let ProjectYaml { parent, quota } = from(document.spec)?;
                let spec = ProjectSpec { parent, quota, grant: Vec::new() };
                set.projects.insert(name, Declared::new(spec, source()));
            }
            other => return Err(format!("{other} is no kind")),
        }
    }
    Ok(set)
}

/// Adds the nodes that a case speaks of; `n1` if it speaks of none.
pub(super) fn add_nodes<'a>(set: &mut DesiredSet, named: impl Iterator<Item = &'a Name>) {
    let mut names: Vec<Name> = named.cloned().collect();
    if names.is_empty() && set.nodes.is_empty() {
        names.push(super::n1());
    }
    names.retain(|name| !set.nodes.contains_key(name));
    for name in names {
        let endpoint = Endpoint::Unix(format!("/{name}.sock"));
        set.nodes.insert(name, Declared::new(NodeSpec::at(endpoint), source()));
    }
}

/// A network of a driver.
pub(super) fn network(driver: String) -> NetworkSpec {
    NetworkSpec {
        driver,
        options: BTreeMap::new(),
        internal: false,
        ipv6: false,
        subnets: Vec::new(),
        protected: false,
    }
}

fn from<T: serde::de::DeserializeOwned>(value: serde_yaml::Value) -> Result<T, String> {
    serde_yaml::from_value(value).map_err(|why| why.to_string())
}

fn instance(yaml: InstanceYaml, project: &Name) -> InstanceSpec {
    let is_reference = yaml.image.contains([':', '/', '@']);
    let image = match Name::new(&yaml.image) {
        Ok(name) if !is_reference => ImageName::Declared(Key::new(project.clone(), name)),
        _ => ImageName::Reference(Arc::from(yaml.image.as_str())),
    };
    let ResourcesYaml { cpus, memory, pids, cpuset, cpu_policy, disk } = yaml.resources;
    InstanceSpec {
        image,
        resources: Resources {
            cpus,
            memory,
            pids,
            cpuset,
            cpu_policy,
            disk,
            ..Resources::default()
        },
        flavor: None,
        replicas: yaml.replicas.unwrap_or(1),
        power: yaml.power,
        command: yaml.command,
        args: None,
        env: yaml.env,
        ports: yaml
            .ports
            .into_iter()
            .map(|port| Port {
                container: port.container,
                protocol: Protocol::Tcp,
                host: port
                    .host
                    .map(|first| PortRange { first, last: port.host_last.unwrap_or(first) }),
                address: None,
            })
            .collect(),
        volumes: yaml
            .volumes
            .into_iter()
            .map(|mount| Mount {
                source: MountSource::Volume(Key::new(project.clone(), mount.volume)),
                target: mount.target,
                read_only: false,
                shared: false,
            })
            .collect(),
        restart: yaml.restart,
        health: yaml.health.map(|port| Health {
            check: match port {
                0 => HealthProbe::Exec(vec!["true".to_owned()]),
                port => HealthProbe::Tcp { port },
            },
            interval: Span::seconds(10),
            timeout: Span::seconds(1),
            retries: 3,
            start_period: Span::seconds(0),
        }),
        stop: Stop { signal: None, timeout: Span::seconds(10) },
        labels: BTreeMap::new(),
        more: Sparse::new(More {
            networks: yaml
                .networks
                .into_iter()
                .map(|name| NetworkUse {
                    network: NetworkName::Declared(Key::new(project.clone(), name)),
                    aliases: Vec::new(),
                    address: None,
                })
                .collect(),
            depends_on: yaml
                .depends_on
                .into_iter()
                .map(|DependencyYaml { instance, condition }| Dependency {
                    instance: Key::new(project.clone(), instance),
                    condition,
                })
                .collect(),
            files: yaml
                .files
                .into_iter()
                .map(|path| FileSpec {
                    content: Content::Text(Arc::from(path.as_str())),
                    path,
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                })
                .collect(),
            placement: yaml.placement.map(|PlacementYaml { node, selector, spread }| Placement {
                node,
                selector,
                spread,
            }),
            update: update(yaml.max_unavailable, yaml.max_surge, yaml.hold),
            ..More::default()
        }),
    }
}

fn update(max_unavailable: Option<u32>, max_surge: Option<u32>, hold: bool) -> Option<Update> {
    let order = if max_surge.is_some() { Order::StartFirst } else { Order::StopFirst };
    let usual = Update::usual(order);
    let update = Update {
        max_unavailable: max_unavailable.unwrap_or(usual.max_unavailable),
        max_surge: max_surge.unwrap_or(usual.max_surge),
        on_failure: if hold { OnFailure::Hold } else { OnFailure::Rollback },
        ..usual
    };
    (max_unavailable.is_some() || max_surge.is_some() || hold).then_some(update)
}

fn link(yaml: LinkYaml, project: &Name) -> Result<LinkSpec, String> {
    let LinkYaml { from, to, alias, ports, condition, env } = yaml;
    let port = |port| LinkPort { port, protocol: Protocol::Tcp };
    Ok(LinkSpec {
        from: Key::new(project.clone(), from),
        alias: alias.unwrap_or_else(|| to.to_string()),
        to: Key::new(project.clone(), to),
        ports: ports.into_iter().map(port).collect(),
        condition: match condition.as_deref() {
            None | Some("started") => Some(Condition::Started),
            Some("healthy") => Some(Condition::Healthy),
            Some("completed") => Some(Condition::Completed),
            Some("none") => None,
            Some(other) => return Err(format!("{other} is no condition")),
        },
        env,
    })
}

fn image(yaml: ImageYaml) -> ImageSpec {
    let file = |path: String| LocalFile { digest: format!("sha256:{path}"), path };
    let SourceYaml { registry, archive, rootfs } = yaml.source;
    let source = match (registry, archive, rootfs) {
        (Some(reference), ..) => ImageSource::Registry(Arc::from(reference)),
        (None, Some(path), _) => ImageSource::Archive(file(path)),
        (None, None, path) => {
            let file = file(path.unwrap_or_default());
            ImageSource::Rootfs { file, command: None, env: BTreeMap::new() }
        }
    };
    ImageSpec { source, pull: yaml.pull, verify: None }
}
