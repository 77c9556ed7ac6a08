//! Instances. What refers to other objects stays a draft until the whole set is known.

use std::sync::{Arc, OnceLock};

use reconciler::model::desired::Spec as _;
use reconciler::model::ids::{Digest, ImageName, Key, Name};
use reconciler::model::quantity::{Bytes, Span as TimeSpan};
use reconciler::model::spec::{
    BUILT_IN_FLAVORS, Flavor, Health, InstanceSpec, Power, Resources, Restart, Stop,
};

use super::super::problem::{Problem, Span};
use super::super::tree::Node;
use super::fields::{Context, Fields, did_you_mean, list, short};
use super::mounts::{self, VolumeUse};
use super::ports::{self, PortUse};
use super::{reference, value};

/// Most replicas of one instance: a machine starts no more containers than this in reasonable
/// time, and what is above it is a slip of the fingers.
pub(crate) const REPLICAS_MAX: u64 = 1000;

/// Most failed checks in a row that can be waited for; more would be days.
const RETRIES_MAX: u64 = 1000;

/// Most processes: the kernel's own limit on process ids.
const PIDS_MAX: u64 = 4_194_304;

/// Labels of ours begin like this.
const RESERVED_LABELS: &str = "io.windlass.";

/// Fields of the design that this version does not build.
const UNBUILT: [&str; 27] = [
    "update",
    "placement",
    "security",
    "networks",
    "dependsOn",
    "envFiles",
    "files",
    "userData",
    "hostname",
    "workdir",
    "init",
    "tty",
    "log",
    "dns",
    "extraHosts",
    "links",
    "secrets",
    "configs",
    "user",
    "devices",
    "sysctls",
    "ulimits",
    "privileged",
    "capAdd",
    "capDrop",
    "readOnlyRoot",
    "domainname",
];

/// An instance whose references are not resolved yet.
#[derive(Debug, Clone)]
pub(crate) struct InstanceDraft {
    /// The spec with its image as a reference, whatever it turns out to be.
    pub(crate) spec: Arc<InstanceSpec>,
    /// Its digest.
    digest: Digest,
    /// The spec with its image as a declared one, and its digest; made when it is needed first.
    declared: OnceLock<(Arc<InstanceSpec>, Digest)>,
    /// The digest of all that makes a revision; the image's name is no part of it.
    pub(crate) basis: Digest,
    pub(crate) image: ImageUse,
    pub(crate) volumes: Vec<VolumeUse>,
    pub(crate) ports: Vec<PortUse>,
}

impl InstanceDraft {
    /// The spec with its image resolved (the declared one of that key, or a reference), and its
    /// digest.
    pub(crate) fn resolved(&self, image: Option<&Key>) -> (Arc<InstanceSpec>, Digest) {
        let Some(key) = image else { return (Arc::clone(&self.spec), self.digest.clone()) };
        let make = || {
            let image = ImageName::Declared(key.clone());
            let spec = InstanceSpec { image, ..InstanceSpec::clone(&self.spec) };
            let digest = spec.digest();
            (Arc::new(spec), digest)
        };
        self.declared.get_or_init(make).clone()
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
    project: &Name,
) -> Option<InstanceDraft> {
    let mut fields = Fields::of(context, node, "spec", "")?;
    let image = fields.require(context, "image", "the name of an Image, or a reference");
    let image = image.and_then(|node| self::image(context, node, project));
    let (resources, flavor) = resources(context, &mut fields);
    let replicas_node = fields.take("replicas");
    let replicas = replicas_node
        .and_then(|node| value::integer(context, node, "replicas", (0, REPLICAS_MAX)))
        .map_or(1, |replicas| u32::try_from(replicas).unwrap_or(1));
    let power = fields.take("power").and_then(|node| power(context, node));
    let command = fields.take("command");
    let command = command.and_then(|node| value::words(context, node, "command"));
    let args = fields.take("args").and_then(|node| value::words(context, node, "args"));
    let env = fields.take("env");
    let env = env.and_then(|node| value::texts(context, node, "env", check_env_name));
    let ports = fields.take("ports");
    let ports = ports.and_then(|node| value::items(context, node, "ports", ports::decode));
    let (ports, port_uses): (Vec<_>, Vec<_>) = ports.unwrap_or_default().into_iter().unzip();
    ports::check_replicas(context, &port_uses, replicas, replicas_node.map(|node| node.span));
    let volumes = fields.take("volumes");
    let volumes = volumes.and_then(|node| {
        value::items(context, node, "volumes", |context, node, field| {
            mounts::decode(context, node, field, project)
        })
    });
    let volumes = mounts::check_targets(context, volumes.unwrap_or_default());
    let restart = fields.take("restart").and_then(|node| restart(context, node));
    let health = fields.take("health").and_then(|node| health(context, node));
    let stop = fields.take("stop").and_then(|node| stop(context, node));
    let labels = fields.take("labels");
    let labels = labels.and_then(|node| value::texts(context, node, "labels", check_label));
    fields.finish(context, &UNBUILT);
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
        env: env.unwrap_or_default(),
        ports,
        volumes: mounts,
        restart: restart.unwrap_or_default(),
        health,
        stop: stop.unwrap_or(Stop { signal: None, timeout: STOP_TIMEOUT }),
        labels: labels.unwrap_or_default(),
    };
    Some(InstanceDraft {
        basis: spec.basis(),
        digest: spec.digest(),
        spec: Arc::new(spec),
        declared: OnceLock::new(),
        image,
        volumes: volume_uses.into_iter().flatten().collect(),
        ports: port_uses,
    })
}

/// As long as engines wait by default before they kill.
const STOP_TIMEOUT: TimeSpan = TimeSpan::seconds(10);

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

fn resources(
    context: &mut Context<'_>,
    fields: &mut Fields<'_, '_>,
) -> (Resources, Option<String>) {
    let resources = fields.entry("resources");
    let flavor = fields.entry("flavor");
    if let (Some(resources), Some(flavor)) = (resources, flavor) {
        let problem = Problem::new(flavor.key_span, "both `resources` and `flavor`");
        let problem = problem.label("a flavor is a set of resources: take one of the two out");
        context.note(problem.also(resources.key_span, "the resources"));
    }
    if let Some(entry) = flavor {
        let names = BUILT_IN_FLAVORS.iter().map(|flavor| flavor.name);
        let expected = format!("one of {}", list(names.clone()));
        let Some(name) = value::text(context, &entry.value, "flavor", &expected) else {
            return Default::default();
        };
        if let Some(flavor) = Flavor::built_in(name) {
            return (flavor.resources(), Some(name.to_owned()));
        }
        let problem = Problem::new(entry.value.span, format!("unknown flavor `{}`", short(name)));
        context.note(match did_you_mean(name, names) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem.label(format!("expected {expected}")),
        });
    }
    let limits = resources.and_then(|entry| limits(context, &entry.value));
    (limits.unwrap_or_default(), None)
}

fn limits(context: &mut Context<'_>, node: &Node<'_>) -> Option<Resources> {
    let mut fields = Fields::of(context, node, "resources", "resources.")?;
    let cpus = fields.take("cpus");
    let cpus = cpus.and_then(|node| value::quantity(context, node, "resources.cpus"));
    let memory = fields.take("memory").and_then(|node| {
        let memory: Bytes = value::quantity(context, node, "resources.memory")?;
        if memory < Bytes::MEMORY_MIN {
            let label = format!("engines need at least {}, this is {memory}", Bytes::MEMORY_MIN);
            context.out_of_range(node.span, "resources.memory", label);
            return None;
        }
        Some(memory)
    });
    let pids = fields.take("pids");
    let pids = pids.and_then(|node| value::integer(context, node, "resources.pids", (1, PIDS_MAX)));
    let unbuilt = ["cpuShares", "cpuset", "memorySwap", "memoryReservation", "io", "blkio", "gpus"];
    fields.finish(context, &unbuilt);
    Some(Resources { cpus, memory, pids })
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

fn health(context: &mut Context<'_>, node: &Node<'_>) -> Option<Health> {
    let unbuilt = ["http", "tcp"];
    let mut fields = Fields::of(context, node, "health", "health.")?;
    let before = context.problems.len();
    let exec = match fields.take("exec") {
        Some(node) => value::words(context, node, "health.exec"),
        None => None,
    };
    let mut time = |context: &mut Context<'_>, name: &'static str, default: u64, min: u64| {
        let Some(node) = fields.take(name) else { return TimeSpan::seconds(default) };
        let field = format!("health.{name}");
        let Some(span) = value::quantity::<TimeSpan>(context, node, &field) else {
            return TimeSpan::seconds(default);
        };
        if span.0 < min {
            context.out_of_range(node.span, &field, "engines need at least 1ms");
        }
        span
    };
    let interval = time(context, "interval", 30, 1);
    let timeout = time(context, "timeout", 30, 1);
    let start_period = time(context, "startPeriod", 0, 0);
    let retries = fields
        .take("retries")
        .map_or(Some(3), |node| value::integer(context, node, "health.retries", (1, RETRIES_MAX)));
    let span = fields.span;
    fields.finish(context, &unbuilt);
    if exec.is_none() && context.problems.len() == before {
        let problem = Problem::new(span, "missing field `health.exec`");
        context.note(problem.label("`exec` belongs here: the command that checks, as a list"));
    }
    let retries = u32::try_from(retries?).ok()?;
    Some(Health { exec: exec?, interval, timeout, retries, start_period })
}

fn stop(context: &mut Context<'_>, node: &Node<'_>) -> Option<Stop> {
    let mut fields = Fields::of(context, node, "stop", "stop.")?;
    let signal = fields.take("signal").and_then(|node| signal(context, node));
    let timeout = fields.take("timeout");
    let timeout = timeout.and_then(|node| value::quantity(context, node, "stop.timeout"));
    fields.finish(context, &[]);
    Some(Stop { signal, timeout: timeout.unwrap_or(STOP_TIMEOUT) })
}

/// The signals that a program can be asked to end with, by the names of `kill -l`.
const SIGNALS: [&str; 30] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR",
];

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
