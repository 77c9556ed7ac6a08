//! The networks that a service is on, and how it finds and is found.

use std::net::IpAddr;

use serde_yaml::{Mapping, Value as Yaml};

use super::item::{Item, Value};
use super::notes::Part;
use super::write::{list, put, put_some, texts};
use super::{DEFAULT_NETWORK, Set};

/// Longest host name that the kernel takes.
const HOSTNAME_BYTES_MAX: usize = 64;

/// Fills in all that is about the network.
pub(super) fn of(
    service: &str,
    part: &mut Part<'_>,
    replicas: u64,
    spec: &mut Mapping,
    set: &mut Set<'_>,
) {
    let uts = part.take("uts").and_then(Item::text) == Some("host");
    if let Some(item) = part.take("hostname") {
        match item.text().filter(|name| is_hostname(name) && !uts) {
            Some(name) => put(spec, "hostname", name),
            None if uts => {
                let why = "with `uts: host` its host name is the node's";
                part.changed(&mut set.notes, "hostname", item.line, why);
            }
            None => part.lost(&mut set.notes, "hostname", item.line, "no host name can be that"),
        }
    }
    put(spec, "networks", joined(service, part, replicas, set));
    let mut dns = Mapping::new();
    for (theirs, ours) in [("dns", "servers"), ("dns_search", "search"), ("dns_opt", "options")] {
        let items = part.take(theirs).map(Item::items).unwrap_or_default();
        put(&mut dns, ours, list(items.iter().filter_map(|item| item.text().map(str::to_owned))));
    }
    put(spec, "dns", dns);
    put(spec, "extraHosts", extra_hosts(part, set));
}

fn joined(service: &str, part: &mut Part<'_>, replicas: u64, set: &mut Set<'_>) -> Vec<Yaml> {
    let mode = part.take("network_mode");
    let listed = part.take("networks");
    let mut aliases: Vec<String> = Vec::new();
    if set.services.get(service).is_some_and(|name| name != service) && is_hostname(service) {
        aliases.push(service.to_owned());
    }
    if let Some(item) = part.take("container_name") {
        let name = item.text().unwrap_or_default();
        let why = "containers are named by their instance, their number and their age; other \
                   containers still find it by this name";
        part.changed(&mut set.notes, "container_name", item.line, why);
        if is_hostname(name) && set.services.get(service).is_none_or(|own| own != name) {
            aliases.push(name.to_owned());
        }
    }
    if let Some(mode) = mode {
        match mode.text().unwrap_or_default() {
            own @ ("host" | "none" | "bridge") => return vec![own.into()],
            "default" => {}
            other => {
                let why = format!(
                    "windlass shares no container's network: `{other}` becomes the default one"
                );
                part.lost(&mut set.notes, "network_mode", mode.line, &why);
            }
        }
    }
    links(part, set);
    let chosen: Vec<(&str, Option<&Item>, u32)> = match listed.map(|item| (&item.value, item)) {
        Some((Value::Map(fields), _)) if !fields.is_empty() => {
            fields.iter().map(|field| (field.key.as_str(), Some(&field.item), field.line)).collect()
        }
        Some((Value::List(items), _)) if !items.is_empty() => {
            items.iter().filter_map(|item| Some((item.text()?, None, item.line))).collect()
        }
        Some(_) | None => vec![(DEFAULT_NETWORK, None, 0)],
    };
    let mut found: Vec<Yaml> = Vec::new();
    for (name, says, line) in chosen {
        let ours = match set.networks.get(name) {
            Some(ours) => ours.clone(),
            None if name == DEFAULT_NETWORK => name.to_owned(),
            None => {
                let why = format!("no network {name} is declared");
                part.lost(&mut set.notes, "networks", line, &why);
                continue;
            }
        };
        set.needs_default |= name == DEFAULT_NETWORK;
        let mut own = Mapping::new();
        put(&mut own, "network", ours.clone());
        let mut names = aliases.clone();
        let mut address = None;
        if let Some(says) = says {
            let path = format!("networks.{name}.");
            let mut fields = Part::new(part.service(), &path, says);
            for item in fields.take("aliases").map(Item::items).unwrap_or_default() {
                match item.text().filter(|name| is_hostname(name)) {
                    Some(alias) => names.push(alias.to_owned()),
                    None => {
                        fields.lost(&mut set.notes, "aliases", item.line, "no host name is that")
                    }
                }
            }
            address = fields.take("ipv4_address");
            if let Some(six) = fields.take("ipv6_address") {
                if address.is_some() {
                    let why = "one fixed address can be given, and it is the other one";
                    fields.lost(&mut set.notes, "ipv6_address", six.line, why);
                }
                address = address.or(Some(six));
            }
            fields.finish(&mut set.notes);
        }
        names.dedup();
        let engines_own = matches!(ours.as_str(), "host" | "none" | "bridge");
        if engines_own && (address.is_some() || !names.is_empty()) {
            let why = "engines have neither names nor fixed addresses on networks of their own";
            part.lost(&mut set.notes, "networks", line, why);
            (names, address) = (Vec::new(), None);
        }
        if let Some(item) = address.filter(|_| replicas > 1) {
            let why = format!("{replicas} replicas cannot have one address");
            part.lost(&mut set.notes, "networks", item.line, &why);
            address = None;
        }
        put(&mut own, "aliases", list(names));
        let address = address.and_then(Item::text).filter(|text| text.parse::<IpAddr>().is_ok());
        put_some(&mut own, "address", address);
        found.push(if own.len() == 1 { ours.into() } else { Yaml::Mapping(own) });
    }
    found
}

/// `links`: services on a common network find each other anyway, but by no other name.
fn links(part: &mut Part<'_>, set: &mut Set<'_>) {
    for item in part.take("links").map(Item::items).unwrap_or_default() {
        let text = item.text().unwrap_or_default();
        let (service, alias) = text.split_once(':').unwrap_or((text, text));
        if service == alias {
            let why = format!("{service} is found by its name, on the network that both are on");
            part.changed(&mut set.notes, "links", item.line, &why);
        } else {
            let why = format!(
                "`{alias}` is a name for this service only: declare a Link of it, `kind: Link, spec: {{ \
                 from: …, to: {service}, alias: {alias}, ports: […] }}`, or use its own name"
            );
            part.lost(&mut set.notes, "links", item.line, &why);
        }
    }
}

fn is_hostname(name: &str) -> bool {
    let part = |part: &str| {
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !part.is_empty()
            && part.chars().all(letter)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.len() <= HOSTNAME_BYTES_MAX && name.split('.').all(part)
}

fn extra_hosts(part: &mut Part<'_>, set: &mut Set<'_>) -> Yaml {
    let Some(item) = part.take("extra_hosts") else { return Yaml::Null };
    let mut pairs: Vec<(String, String, u32)> = Vec::new();
    if let Value::Map(fields) = &item.value {
        for field in fields {
            let texts = field.item.items().into_iter().filter_map(Item::text);
            pairs.extend(texts.map(|text| (field.key.clone(), text.to_owned(), field.line)));
        }
    } else {
        for (name, address, line) in item.pairs(&['=', ':']) {
            pairs.push((name, address.unwrap_or_default(), line));
        }
    }
    let mut hosts: Vec<(String, String)> = Vec::new();
    for (name, address, line) in pairs {
        let address = address.trim_matches(['[', ']']).to_owned();
        if hosts.iter().any(|(other, _)| *other == name) {
            part.lost(&mut set.notes, "extra_hosts", line, "a host has one address here");
        } else if address == "host-gateway" || address.parse::<IpAddr>().is_ok() {
            hosts.push((name, address));
        } else {
            part.lost(&mut set.notes, "extra_hosts", line, "expected an address, or host-gateway");
        }
    }
    texts(hosts)
}
