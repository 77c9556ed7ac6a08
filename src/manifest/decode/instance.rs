//! Instances. What refers to other objects stays a draft until the whole set is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reconciler::model::desired::Spec as _;
use reconciler::model::ids::{Digest, ImageName, Key, Name};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::limits::{REPLICAS_MAX, SIGNALS};
use reconciler::model::spec::{
    InstanceSpec, LinkPort, More, NetworkName, Power, Requests, Resources, Restart, Stop, defaults,
};

use super::super::problem::{Problem, Span};
use super::super::tree::Node;
use super::fields::{Context, Fields, did_you_mean};
use super::mounts::{self, VolumeUse};
use super::networks::{self, NetworkRef};
use super::ports::{self, PortUse};
use super::resources::{self, FlavorUse};
use super::{Surroundings, files, health, reference, security, settings, update, value};

/// Labels of ours begin like this.
const RESERVED_LABELS: &str = "io.windlass.";

/// Fields of the design that this version does not build.
const UNBUILT: [&str; 3] = ["secrets", "configs", "domainname"];

/// Fields that users look for here, and where they stand.
const MOVED: [(&str, &str); 12] = [
    ("user", "security"),
    ("groups", "security"),
    ("readOnlyRoot", "security"),
    ("noNewPrivileges", "security"),
    ("capAdd", "security"),
    ("capDrop", "security"),
    ("privileged", "security"),
    ("devices", "security"),
    ("seccomp", "security"),
    ("apparmor", "security"),
    ("sysctls", "security"),
    ("ulimits", "security"),
];

/// Where links stand.
const LINKS_APART: &str =
    "a link is an object of its own: kind: Link, spec: { from: …, to: …, alias: … }";

/// An instance whose references are not resolved yet.
#[derive(Debug)]
pub(crate) struct InstanceDraft {
    /// The spec with its image as a reference, whatever it turns out to be.
    pub(crate) spec: Arc<InstanceSpec>,
    /// Its digest.
    digest: Digest,
    /// What was resolved last: names lead to the same things in nearly every reading.
    resolved: Mutex<Option<(Resolution, Resolved)>>,
    /// The digest of all that makes a revision; the image's name is no part of it.
    basis: Digest,
    pub(crate) image: ImageUse,
    pub(crate) flavor: Option<FlavorUse>,
    /// Where it says what it usually needs.
    pub(crate) requests: Option<Span>,
    pub(crate) volumes: Vec<VolumeUse>,
    pub(crate) networks: Vec<NetworkRef>,
    pub(crate) depends_on: Vec<DependencyUse>,
    pub(crate) placement: PlacementSpans,
    pub(crate) ports: Vec<PortUse>,
}

/// What the names that an object uses lead to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Resolution {
    /// The declared Image, if its image is none of a registry.
    pub(crate) image: Option<Key>,
    /// The limits of its Flavor.
    pub(crate) resources: Option<Resources>,
    /// Those of its networks that stand for the engine's own, and which.
    pub(crate) engines_own: BTreeMap<Key, Name>,
    /// Of a link: the ports that its target declares.
    pub(crate) ports: Vec<LinkPort>,
}

/// A spec whose names were resolved, with its digests.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) spec: Arc<InstanceSpec>,
    pub(crate) digest: Digest,
    pub(crate) basis: Digest,
}

/// An instance that another one waits for, and where that is said.
#[derive(Debug, Clone)]
pub(crate) struct DependencyUse {
    pub(crate) span: Span,
    pub(crate) key: Key,
}

/// Where a placement says what.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PlacementSpans {
    pub(crate) node: Option<Span>,
    pub(crate) selector: Option<Span>,
    pub(crate) spread: Option<Span>,
}

impl InstanceDraft {
    /// What its names led to when it was resolved last.
    pub(crate) fn last_resolution(&self) -> Resolution {
        let last = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(resolution, _)| resolution.clone()).unwrap_or_default()
    }

    /// The spec with what its names lead to.
    pub(crate) fn resolved(&self, resolution: Resolution) -> Resolved {
        if resolution == Resolution::default() {
            let Self { spec, digest, basis, .. } = self;
            let (spec, digest, basis) = (Arc::clone(spec), digest.clone(), basis.clone());
            return Resolved { spec, digest, basis };
        }
        let mut last = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = last.as_ref().filter(|(of, _)| *of == resolution) {
            return known.clone();
        }
        let mut spec = InstanceSpec::clone(&self.spec);
        let Resolution { image, resources, engines_own, ports: _ } = &resolution;
        if let Some(key) = image {
            spec.image = ImageName::Declared(key.clone());
        }
        if let Some(resources) = resources {
            spec.resources.clone_from(resources);
        }
        if !engines_own.is_empty() {
            let mut more = More::clone(&spec.more);
            for one in &mut more.networks {
                let NetworkName::Declared(key) = &one.network else { continue };
                if let Some(name) = engines_own.get(key) {
                    one.network = NetworkName::Engine(name.clone());
                }
            }
            spec.more = Sparse::new(more);
        }
        let (digest, basis) = (spec.digest(), spec.basis());
        let made = Resolved { spec: Arc::new(spec), digest, basis };
        *last = Some((resolution, made.clone()));
        made
    }
}

impl Clone for InstanceDraft {
    fn clone(&self) -> Self {
        let Self {
            spec,
            digest,
            resolved,
            basis,
            image,
            flavor,
            requests,
            volumes,
            networks,
            depends_on,
            placement,
            ports,
        } = self;
        let last = resolved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self {
            spec: Arc::clone(spec),
            digest: digest.clone(),
            resolved: Mutex::new(last),
            basis: basis.clone(),
            image: image.clone(),
            flavor: flavor.clone(),
            requests: *requests,
            volumes: volumes.clone(),
            networks: networks.clone(),
            depends_on: depends_on.clone(),
            placement: *placement,
            ports: ports.clone(),
        }
    }
}

/// What an instance says it runs.
#[derive(Debug, Clone)]
pub(crate) struct ImageUse {
    pub(crate) span: Span,
    /// As it is written.
    pub(crate) text: String,
    /// The object that it would be, if there is one: only a text without tag and digest can name
    /// an object.
    pub(crate) key: Option<Key>,
}

/// Decodes the spec of an Instance in `project`.
pub(crate) fn decode(
    context: &mut Context<'_>,
    node: &Node<'_>,
    name: Option<&Name>,
    project: &Name,
    around: &Surroundings<'_>,
) -> Option<InstanceDraft> {
    let mut fields = Fields::of(context, node, "spec", "")?;
    let image = fields.require(context, "image", "the name of an Image, or a reference");
    let image = image.and_then(|node| self::image(context, node, project));
    let resources::Limits { resources, flavor, used: flavor_use } =
        resources::of_instance(context, &mut fields, project);
    let requests_node = fields.take("requests");
    let requests = requests_node.and_then(|node| {
        // Those of a flavor that is not built in are known once all files are.
        let limits = flavor_use.is_none().then_some(&resources);
        resources::requests(context, node, limits)
    });
    let replicas_node = fields.take("replicas");
    let replicas = replicas_node
        .and_then(|node| value::integer(context, node, "replicas", (0, REPLICAS_MAX)))
        .and_then(|replicas| u32::try_from(replicas).ok())
        .unwrap_or(defaults::replicas());
    let power = fields.take("power").and_then(|node| power(context, node));
    let command = fields.take("command");
    let command = command.and_then(|node| value::words(context, node, "command"));
    let args = fields.take("args").and_then(|node| value::words(context, node, "args"));
    let env = fields.take("env");
    let env = env.and_then(|node| value::texts(context, node, "env", check_env_name));
    let env_files = fields.take("envFiles");
    let env_files = env_files.and_then(|node| files::env_files(context, node, around));
    let (mut variables, env_files) = env_files.unwrap_or_default();
    variables.extend(env.unwrap_or_default());
    let ports = fields.take("ports");
    let ports = ports.and_then(|node| value::items(context, node, "ports", ports::decode));
    let (ports, port_uses): (Vec<_>, Vec<_>) = ports.unwrap_or_default().into_iter().unzip();
    let update = fields.take("update").and_then(|node| update::decode(context, node, replicas));
    let surge = update.map_or(0, |given| given.update.max_surge);
    let replicas_span = replicas_node.map(|node| node.span);
    ports::check_replicas(context, &port_uses, (replicas, surge), replicas_span);
    let volumes = fields.take("volumes");
    let volumes = volumes.and_then(|node| {
        value::items(context, node, "volumes", |context, node, field| {
            mounts::decode(context, node, field, project)
        })
    });
    let restart_node = fields.take("restart");
    let restart = restart_node.and_then(|node| restart(context, node));
    let health = fields.take("health").and_then(|node| health::decode(context, node));
    let stop = fields.take("stop").and_then(|node| stop(context, node));
    let labels = fields.take("labels");
    let labels = labels.and_then(|node| value::texts(context, node, "labels", check_label));
    let (more, networks, depends_on, placement) =
        more(context, &mut fields, &Owner { name, project, replicas, around });
    fields.moved(context, &MOVED);
    fields.apart(context, "links", LINKS_APART);
    fields.finish(context, &UNBUILT);
    let volumes = volumes.unwrap_or_default();
    if let Some(given) = update {
        let restart = restart.zip(restart_node.map(|node| node.span));
        update::check(context, given, &volumes, &networks.uses, &port_uses, restart);
    }
    let volumes = mounts::check_targets(context, volumes);
    let networks::Networks { uses, refs: networks } = networks;
    let uses = uses.into_iter().map(|(one, _)| one).collect();
    let update = update.map(|given| given.update);
    let requests = requests.unwrap_or_default();
    let more = More { env_files, update, networks: uses, requests, ..more };
    host_network(context, &more, &port_uses);
    let (image, reference) = image?;
    let (mounts, volume_uses): (Vec<_>, Vec<_>) = volumes.into_iter().unzip();
    let spec = InstanceSpec {
        image: ImageName::Reference(Arc::from(reference)),
        resources,
        flavor,
        replicas,
        power: power.unwrap_or_default(),
        command,
        args,
        env: variables,
        ports,
        volumes: mounts,
        restart: restart.unwrap_or_default(),
        health,
        stop: stop.unwrap_or(defaults::stop()),
        labels: labels.unwrap_or_default(),
        more: Sparse::new(more),
    };
    Some(InstanceDraft {
        basis: spec.basis(),
        digest: spec.digest(),
        spec: Arc::new(spec),
        resolved: Mutex::new(None),
        image,
        flavor: flavor_use,
        requests: requests_node.map(|node| node.span),
        networks,
        depends_on,
        placement,
        volumes: volume_uses.into_iter().flatten().collect(),
        ports: port_uses,
    })
}

/// Whose fields are decoded, and where.
struct Owner<'o, 's> {
    name: Option<&'o Name>,
    project: &'o Name,
    replicas: u32,
    around: &'o Surroundings<'s>,
}

/// The fields that most instances leave out, but for `envFiles`, `networks`, `requests` and
/// `update`.
fn more(
    context: &mut Context<'_>,
    fields: &mut Fields<'_, '_>,
    owner: &Owner<'_, '_>,
) -> (More, networks::Networks, Vec<DependencyUse>, PlacementSpans) {
    let Owner { name, project, replicas, around } = *owner;
    let workdir = fields.take("workdir");
    let workdir = workdir.and_then(|node| value::absolute_path(context, node, "workdir"));
    let files_node = fields.take("files");
    let files = files_node.and_then(|node| {
        value::items(context, node, "files", |context, node, field| {
            files::file(context, node, field, around)
        })
    });
    let user_data_node = fields.take("userData");
    let user_data = user_data_node.and_then(|node| files::user_data(context, node, around));
    let hostname_node = fields.take("hostname");
    let hostname = hostname_node.and_then(|node| {
        let given = value::text(context, node, "hostname", "a host name")?;
        networks::hostname(context, node, "hostname", given)
    });
    let networks = fields.take("networks");
    let networks =
        networks.and_then(|node| networks::of_instance(context, node, project, replicas));
    let dns = fields.take("dns").and_then(|node| settings::dns(context, node));
    let extra_hosts = fields.take("extraHosts");
    let extra_hosts = extra_hosts.and_then(|node| settings::extra_hosts(context, node));
    let placement = fields.take("placement").and_then(|node| settings::placement(context, node));
    let (placement, spans) = placement.unzip();
    let spans = spans.unwrap_or_default();
    let depends_on = fields.take("dependsOn");
    let depends_on = depends_on
        .and_then(|node| settings::depends_on(context, node, name, project))
        .unwrap_or_default();
    let (depends_on, dependency_uses) = depends_on.into_iter().unzip();
    let security = fields.take("security");
    let security = security.and_then(|node| security::decode(context, node, around));
    let init = fields.take("init").and_then(|node| value::boolean(context, node, "init"));
    let tty = fields.take("tty").and_then(|node| value::boolean(context, node, "tty"));
    let log = fields.take("log").and_then(|node| settings::log(context, node));
    let protected = fields.take("protected");
    let protected = protected.and_then(|node| value::boolean(context, node, "protected"));
    let security = Sparse::new(security.unwrap_or_default());
    if security.read_only_root {
        for node in [files_node, user_data_node].into_iter().flatten() {
            let label = "engines put no file into a root that is read-only";
            let problem = Problem::new(node.span, "files and `security.readOnlyRoot`").label(label);
            context.note(problem.help("mount a volume or a bind with the file in it instead"));
        }
    }
    if let (Some(node), Some("host")) = (hostname_node, security.namespaces.uts.as_deref()) {
        let label = "a container that shares its node's host name has none of its own";
        let problem = Problem::new(node.span, "`hostname` and `security.namespaces.uts: host`");
        context.note(problem.label(label));
    }
    let more = More {
        workdir,
        env_files: Vec::new(),
        files: files.unwrap_or_default(),
        user_data,
        hostname,
        networks: Vec::new(),
        dns: Sparse::new(dns.unwrap_or_default()),
        extra_hosts: extra_hosts.unwrap_or_default(),
        update: None,
        placement,
        depends_on,
        security,
        init,
        tty: tty.unwrap_or(false),
        log,
        requests: Requests::default(),
        protected: protected.unwrap_or(false),
    };
    (more, networks.unwrap_or_default(), dependency_uses, spans)
}

/// A container on the node's own network has no ports of its own, nor one without any.
fn host_network(context: &mut Context<'_>, more: &More, ports: &[PortUse]) {
    let Some(NetworkName::Engine(name)) = more.networks.first().map(|one| &one.network) else {
        return;
    };
    if name.as_str() == "bridge" {
        return;
    }
    for port in ports.iter().filter(|port| port.host.is_some()) {
        let label = match name.as_str() {
            "host" => "on the node's own network all its ports are the node's: publish none",
            _ => "a container without a network can publish nothing",
        };
        let message = format!("a published port and the network `{name}`");
        context.note(Problem::new(port.span, message).label(label));
    }
}

fn image(context: &mut Context<'_>, node: &Node<'_>, project: &Name) -> Option<(ImageUse, String)> {
    let expected = "the name of an Image, or a reference such as `busybox:1.36`";
    let text = value::text(context, node, "image", expected)?;
    let key = match text.split_once('/') {
        None => Name::new(text).ok().map(|name| Key::new(project.clone(), name)),
        Some((project, name)) => match (Name::new(project), Name::new(name)) {
            (Ok(project), Ok(name)) => Some(Key::new(project, name)),
            (Err(_), _) | (_, Err(_)) => None,
        },
    };
    match reference::normalise(text) {
        Ok(reference) => {
            Some((ImageUse { span: node.span, text: text.to_owned(), key }, reference))
        }
        Err(why) => {
            context.invalid(node.span, "image", why);
            None
        }
    }
}

fn power(context: &mut Context<'_>, node: &Node<'_>) -> Option<Power> {
    let words =
        [("running", Power::Running), ("stopped", Power::Stopped), ("paused", Power::Paused)];
    let synonyms = [("on", "running"), ("up", "running"), ("off", "stopped"), ("down", "stopped")];
    value::choice(context, node, "power", &words, &synonyms)
}

fn restart(context: &mut Context<'_>, node: &Node<'_>) -> Option<Restart> {
    let words = [
        ("always", Restart::Always),
        ("on-failure", Restart::OnFailure),
        ("never", Restart::Never),
    ];
    let synonyms =
        [("no", "never"), ("unless-stopped", "always"), ("false", "never"), ("true", "always")];
    value::choice(context, node, "restart", &words, &synonyms)
}

fn stop(context: &mut Context<'_>, node: &Node<'_>) -> Option<Stop> {
    let mut fields = Fields::of(context, node, "stop", "stop.")?;
    let signal = fields.take("signal").and_then(|node| signal(context, node));
    let timeout = fields.take("timeout");
    let timeout = timeout.and_then(|node| value::quantity(context, node, "stop.timeout"));
    fields.finish(context, &[]);
    Some(Stop { signal, timeout: timeout.unwrap_or(defaults::stop_timeout()) })
}

fn signal(context: &mut Context<'_>, node: &Node<'_>) -> Option<String> {
    let given = value::text(context, node, "stop.signal", "the name of a signal, such as `TERM`")?;
    let upper = given.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    // Real-time signals count from both ends: init systems end on RTMIN+3.
    let real_time = ["RTMIN+", "RTMAX-"].iter().any(|base| {
        let offset = bare.strip_prefix(base).and_then(|offset| offset.parse::<u8>().ok());
        offset.is_some_and(|offset| offset <= 15)
    });
    if SIGNALS.contains(&bare) || real_time || matches!(bare, "RTMIN" | "RTMAX") {
        return Some(format!("SIG{bare}"));
    }
    let near = did_you_mean(bare, SIGNALS.iter().copied());
    let label = match near {
        Some(near) => format!("no such signal; did you mean `{near}`?"),
        None => "expected the name of a signal, such as `TERM`".to_owned(),
    };
    context.invalid(node.span, "stop.signal", label);
    None
}

/// Engines split variables at the first `=`, and shells and runtimes choke on the rest.
pub(crate) fn check_env_name(name: &str) -> Result<(), String> {
    let bad = |c: char| c == '=' || c.is_whitespace() || c.is_control();
    if name.is_empty() {
        return Err("a variable needs a name".to_owned());
    }
    match name.chars().find(|c| bad(*c)) {
        Some(c) => Err(format!("a variable's name cannot hold {c:?}")),
        None => Ok(()),
    }
}

fn check_label(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a label needs a name".to_owned());
    }
    if name.starts_with(RESERVED_LABELS) {
        return Err(format!("labels that begin with `{RESERVED_LABELS}` are windlass's own"));
    }
    Ok(())
}
