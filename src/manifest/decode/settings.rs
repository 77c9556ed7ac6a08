//! Small parts of an Instance: names, logs, updates, places, dependencies.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reconciler::model::ids::{Key, Name};
use reconciler::model::spec::{Condition, Dependency, Dns, Log, Placement, Update, defaults};

use super::super::problem::Problem;
use super::super::tree::Node;
use super::fields::{Context, Fields};
use super::instance::DependencyUse;
use super::value;

pub(super) fn dns(context: &mut Context<'_>, node: &Node<'_>) -> Option<Dns> {
    let mut fields = Fields::of(context, node, "dns", "dns.")?;
    let servers = fields.take("servers").and_then(|node| {
        value::items(context, node, "dns.servers", |context, node, field| {
            let given = value::text(context, node, field, "an address such as `10.0.0.2`")?;
            if given.parse::<IpAddr>().is_err() {
                let label = "expected an address such as `10.0.0.2`, not a name";
                context.invalid(node.span, field, label);
                return None;
            }
            Some(given.to_owned())
        })
    });
    let mut texts = |context: &mut Context<'_>, name: &'static str, expected: &str| {
        let node = fields.take(name)?;
        value::items(context, node, &format!("dns.{name}"), |context, node, field| {
            value::text(context, node, field, expected).map(str::to_owned)
        })
    };
    let search = texts(context, "search", "a domain such as `example.org`").unwrap_or_default();
    let options = texts(context, "options", "an option such as `ndots:2`").unwrap_or_default();
    fields.finish(context, &[]);
    Some(Dns { servers: servers.unwrap_or_default(), search, options })
}

/// Addresses by host name; `host-gateway` stands for the node.
pub(super) fn extra_hosts(
    context: &mut Context<'_>,
    node: &Node<'_>,
) -> Option<BTreeMap<String, String>> {
    let hosts = value::texts(context, node, "extraHosts", |name| {
        let good = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == ':');
        if good { Ok(()) } else { Err("expected a host name".to_owned()) }
    })?;
    for (name, address) in &hosts {
        if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
            let field = format!("extraHosts.{name}");
            let label = "expected an address, or `host-gateway` for the node";
            context.invalid(node.span, &field, label);
            return None;
        }
    }
    Some(hosts)
}

pub(super) fn log(context: &mut Context<'_>, node: &Node<'_>) -> Option<Log> {
    let mut fields = Fields::of(context, node, "log", "log.")?;
    let driver = fields.require(context, "driver", "a log driver such as `json-file`");
    let driver = driver
        .and_then(|node| value::text(context, node, "log.driver", "the name of a log driver"));
    let options = fields.take("options");
    let options = options.and_then(|node| value::texts(context, node, "log.options", |_| Ok(())));
    fields.finish(context, &[]);
    Some(Log { driver: driver?.to_owned(), options: options.unwrap_or_default() })
}

pub(super) fn update(context: &mut Context<'_>, node: &Node<'_>, replicas: u32) -> Option<Update> {
    let mut fields = Fields::of(context, node, "update", "update.")?;
    let most = u64::from(replicas.max(1));
    let max_unavailable = match fields.take("maxUnavailable") {
        None => Some(u64::from(defaults::max_unavailable())),
        Some(node) => value::integer(context, node, "update.maxUnavailable", (1, most)),
    };
    fields.finish(context, &["order", "maxSurge", "healthTimeout", "onFailure", "minReady"]);
    Some(Update { max_unavailable: u32::try_from(max_unavailable?).ok()? })
}

pub(super) fn placement(context: &mut Context<'_>, node: &Node<'_>) -> Option<Placement> {
    let mut fields = Fields::of(context, node, "placement", "placement.")?;
    let name = fields.take("node");
    let name = name.map(|node| value::name(context, node, "placement.node"));
    let selector = fields
        .take("selector")
        .and_then(|node| value::texts(context, node, "placement.selector", |_| Ok(())));
    let spread = fields.take("spread").and_then(|node| {
        let expected = "`node`, or a label of nodes such as `zone`";
        value::text(context, node, "placement.spread", expected).map(str::to_owned)
    });
    fields.finish(context, &["avoid", "tolerations", "strategy"]);
    let node = name.map_or(Some(None), |name| name.map(Some))?;
    Some(Placement { node, selector: selector.unwrap_or_default(), spread })
}

/// What other tools call conditions.
pub(super) const CONDITION_SYNONYMS: [(&str, &str); 3] = [
    ("service_started", "started"),
    ("service_healthy", "healthy"),
    ("service_completed_successfully", "completed"),
];

/// Names, or `{ instance, condition }`.
pub(super) fn depends_on(
    context: &mut Context<'_>,
    node: &Node<'_>,
    own: Option<&Name>,
    project: &Name,
) -> Option<Vec<(Dependency, DependencyUse)>> {
    let mut seen: Vec<DependencyUse> = Vec::new();
    value::items(context, node, "dependsOn", |context, node, field| {
        let path = format!("{field}.");
        let (name, condition) = if node.is_scalar() {
            (node, Condition::default())
        } else {
            let mut fields = Fields::of(context, node, field, &path)?;
            let name = fields.require(context, "instance", "the name of an Instance");
            let condition = fields.take("condition").map(|node| {
                let conditions = [Condition::Started, Condition::Healthy, Condition::Completed];
                let words = conditions.map(|condition| (condition.as_str(), condition));
                value::choice(context, node, &fields.name("condition"), &words, &CONDITION_SYNONYMS)
            });
            fields.finish(context, &["restart", "required"]);
            (name?, condition.unwrap_or_else(|| Some(Condition::default()))?)
        };
        let instance = value::name(context, name, field)?;
        if own == Some(&instance) {
            let problem = Problem::new(name.span, "an instance cannot wait for itself");
            context.note(problem);
            return None;
        }
        let key = Key::new(project.clone(), instance);
        if let Some(first) = seen.iter().find(|used| used.key == key) {
            let problem = Problem::new(name.span, format!("Instance {key} is named twice"));
            context.note(problem.also(first.span, "the first stands here"));
            return None;
        }
        let used = DependencyUse { span: name.span, key: key.clone() };
        seen.push(used.clone());
        Some((Dependency { instance: key, condition }, used))
    })
}
