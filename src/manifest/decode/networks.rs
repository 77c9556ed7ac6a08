//! Networks: those that are declared, and those that an Instance is on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reconciler::model::ids::{Key, Name};
use reconciler::model::spec::{NetworkName, NetworkSpec, NetworkUse, Subnet, defaults};

use super::super::problem::{Problem, Span};
use super::super::tree::{Node, Value};
use super::fields::{Context, Fields};
use super::value;

/// The engine's own networks, which are there without a declaration.
pub(crate) const ENGINES_OWN: [&str; 3] = ["bridge", "host", "none"];

/// A declared Network that an instance names.
#[derive(Debug, Clone)]
pub(crate) struct NetworkRef {
    pub(crate) span: Span,
    pub(crate) key: Key,
}

/// What an instance says of its networks.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// Each with the place of its fixed address.
    pub(super) uses: Vec<(NetworkUse, Option<Span>)>,
    pub(super) refs: Vec<NetworkRef>,
}

/// Decodes `networks` of an instance in `project`.
pub(super) fn of_instance(
    context: &mut Context<'_>,
    node: &Node<'_>,
    project: &Name,
    replicas: u32,
) -> Option<Networks> {
    let mut refs = Vec::new();
    let mut spans: Vec<(NetworkName, Span)> = Vec::new();
    let uses = value::items(context, node, "networks", |context, node, field| {
        let (one, span, address) = network_use(context, node, field, project, replicas)?;
        if let Some((_, first)) = spans.iter().find(|(name, _)| *name == one.network) {
            let problem = Problem::new(span, format!("network {} is named twice", one.network));
            context.note(problem.also(*first, "the first stands here"));
            return None;
        }
        spans.push((one.network.clone(), span));
        if let NetworkName::Declared(key) = &one.network {
            refs.push(NetworkRef { span, key: key.clone() });
        }
        Some((one, address))
    })?;
    for (name, span) in &spans {
        let alone = matches!(name, NetworkName::Engine(name) if name.as_str() != "bridge");
        if alone && spans.len() > 1 {
            let label = "a container on it can be on no other network";
            context.note(Problem::new(*span, format!("`{name}` beside others")).label(label));
        }
    }
    Some(Networks { uses, refs })
}

/// A name, or `{ network, aliases, address }`.
fn network_use(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    project: &Name,
    replicas: u32,
) -> Option<(NetworkUse, Span, Option<Span>)> {
    if node.is_scalar() {
        let network = network_name(context, node, field, project)?;
        let one = NetworkUse { network, aliases: Vec::new(), address: None };
        return Some((one, node.span, None));
    }
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let name_node = fields.require(context, "network", "the name of a Network");
    let network =
        name_node.and_then(|node| network_name(context, node, &fields.name("network"), project));
    let aliases = fields.entry("aliases");
    let names =
        aliases.map(|entry| value::items(context, &entry.value, &fields.name("aliases"), alias));
    let address = fields.entry("address");
    let fixed = address.map(|entry| ip(context, &entry.value, &fields.name("address")));
    if let Some(entry) = address.filter(|_| replicas > 1) {
        let label = format!("{replicas} replicas cannot have one address");
        context.invalid(entry.key_span, &fields.name("address"), label);
    }
    let own = matches!(network, Some(NetworkName::Engine(_)));
    for entry in [aliases, address].into_iter().flatten().filter(|_| own) {
        let label = "engines do this only on networks that are declared";
        context.invalid(entry.key_span, &fields.name(&entry.key), label);
    }
    fields.finish(context, &["mac", "options", "priority"]);
    let one = NetworkUse {
        network: network?,
        aliases: names.unwrap_or_else(|| Some(Vec::new()))?,
        address: fixed.map_or(Some(None), |fixed| fixed.map(Some))?,
    };
    let address = address.map(|entry| entry.value.span);
    Some((one, name_node.map_or(node.span, |node| node.span), address))
}

fn network_name(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    project: &Name,
) -> Option<NetworkName> {
    if let Value::Scalar { text, .. } = &node.value
        && let Some((other, name)) = text.split_once('/')
        && let (Ok(other), Ok(name)) = (Name::new(other), Name::new(name))
    {
        return Some(NetworkName::Declared(Key::new(other, name)));
    }
    let name = value::name(context, node, field)?;
    if ENGINES_OWN.contains(&name.as_str()) {
        return Some(NetworkName::Engine(name));
    }
    Some(NetworkName::Declared(Key::new(project.clone(), name)))
}

/// A name that others know a container by.
fn alias(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<String> {
    let given = value::text(context, node, field, "a host name")?;
    hostname(context, node, field, given)
}

/// Longest host name that the kernel takes.
const HOSTNAME_BYTES_MAX: usize = 64;

/// Checks a host name.
pub(super) fn hostname(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    given: &str,
) -> Option<String> {
    let label = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !text.is_empty()
            && text.chars().all(plain)
            && !text.starts_with('-')
            && !text.ends_with('-')
    };
    if given.len() > HOSTNAME_BYTES_MAX {
        let label = format!("a host name has at most {HOSTNAME_BYTES_MAX} characters");
        context.out_of_range(node.span, field, label);
        return None;
    }
    if !given.split('.').all(label) {
        let label = "expected a host name: letters, digits, `-` and `.`";
        context.invalid(node.span, field, label);
        return None;
    }
    Some(given.to_owned())
}

fn ip(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<IpAddr> {
    let given = value::text(context, node, field, "an address such as `10.20.0.5`")?;
    let address = given.parse().ok();
    if address.is_none() {
        context.invalid(node.span, field, "expected an address such as `10.20.0.5`, not a name");
    }
    address
}

/// Decodes the spec of a Network; without one, it is a bridge.
pub(super) fn decode(context: &mut Context<'_>, node: Option<&Node<'_>>) -> Option<NetworkSpec> {
    let mut spec = NetworkSpec {
        driver: defaults::network_driver(),
        options: BTreeMap::new(),
        internal: false,
        ipv6: false,
        subnets: Vec::new(),
        protected: false,
    };
    let Some(node) = node else { return Some(spec) };
    let mut fields = Fields::of(context, node, "spec", "")?;
    if let Some(node) = fields.take("driver") {
        let driver = value::text(context, node, "driver", "the name of a network driver");
        driver.unwrap_or_default().clone_into(&mut spec.driver);
    }
    let options = fields.entry("options");
    if let Some(entry) = options {
        let options = value::texts(context, &entry.value, "options", |_| Ok(()));
        spec.options = options.unwrap_or_default();
    }
    let (internal, ipv6) = (fields.entry("internal"), fields.entry("ipv6"));
    for (entry, flag) in [(internal, &mut spec.internal), (ipv6, &mut spec.ipv6)] {
        if let Some(entry) = entry {
            *flag = value::boolean(context, &entry.value, &entry.key).unwrap_or(false);
        }
    }
    let subnets = fields.entry("subnets");
    if let Some(entry) = subnets {
        let subnets = value::items(context, &entry.value, "subnets", subnet);
        spec.subnets = subnets.unwrap_or_default();
    }
    let protected = fields.entry("protected");
    if let Some(entry) = protected {
        let protected = value::boolean(context, &entry.value, "protected");
        spec.protected = protected.unwrap_or_default();
    }
    if spec.is_engines_own() {
        for entry in [options, internal, ipv6, subnets, protected].into_iter().flatten() {
            let label = format!("every engine has its `{}`, and it cannot be set up", spec.driver);
            context.invalid(entry.key_span, &entry.key, label);
        }
    }
    fields.finish(context, &["retain", "attachable", "encrypted", "labels"]);
    Some(spec)
}

/// A range, or `{ subnet, range, gateway, reserved }`.
fn subnet(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Subnet> {
    if node.is_scalar() {
        let (subnet, ..) = cidr(context, node, field)?;
        return Some(Subnet { subnet, ..Subnet::default() });
    }
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let subnet = fields.require(context, "subnet", "a range such as `10.20.0.0/24`");
    let subnet = subnet.and_then(|node| cidr(context, node, &fields.name("subnet")));
    let within = |context: &mut Context<'_>, node: &Node<'_>, field: &str, address: IpAddr| {
        let Some((text, network, bits)) = &subnet else { return };
        if masked(address, *bits) != *network {
            context.out_of_range(node.span, field, format!("this is not in {text}"));
        }
    };
    let range_node = fields.take("range");
    let range = range_node.map(|node| {
        let name = fields.name("range");
        let (text, network, _) = cidr(context, node, &name)?;
        within(context, node, &name, network);
        Some(text)
    });
    let gateway = fields.take("gateway").map(|node| {
        let name = fields.name("gateway");
        let address = ip(context, node, &name)?;
        within(context, node, &name, address);
        Some(address.to_string())
    });
    let reserved = fields
        .take("reserved")
        .and_then(|node| value::texts(context, node, &fields.name("reserved"), |_| Ok(())));
    fields.finish(context, &[]);
    Some(Subnet {
        range: range.map_or(Some(None), |range| range.map(Some))?,
        gateway: gateway.map_or(Some(None), |gateway| gateway.map(Some))?,
        reserved: reserved.unwrap_or_default(),
        subnet: subnet.as_ref()?.0.clone(),
    })
}

/// `10.20.0.0/24`: its text, its first address, and how many bits are its own.
fn cidr(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<(String, IpAddr, u8)> {
    let expected = "a range such as `10.20.0.0/24`";
    let given = value::text(context, node, field, expected)?;
    let parsed = given.split_once('/').and_then(|(address, bits)| {
        Some((address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?))
    });
    let width = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let Some((address, bits)) = parsed.filter(|(address, bits)| *bits <= width(*address)) else {
        context.invalid(node.span, field, format!("expected {expected}"));
        return None;
    };
    let first = masked(address, bits);
    if first != address {
        // Engines take it, and report the other form.
        context.invalid(node.span, field, format!("did you mean `{first}/{bits}`?"));
        return None;
    }
    Some((format!("{first}/{bits}"), first, bits))
}

/// The first address of the range of so many bits that `address` is in.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}
