//! Top-level networks and volumes.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::{Mapping, Value as Yaml};

use super::item::{Field, Item};
use super::notes::Part;
use super::write::{Document, put, texts};
use super::{DEFAULT_NETWORK, Set, clean_names};

/// The engine's own networks, which nobody has to declare.
const ENGINES_OWN: [&str; 3] = ["bridge", "host", "none"];

/// Our names for networks. An external one that every engine has keeps its own.
pub(super) fn network_names(fields: &[Field]) -> BTreeMap<String, String> {
    let mut names = clean_names(fields, "network");
    for Field { key, item, .. } in fields {
        if let Some(own) = engines_own(key, item) {
            names.insert(key.clone(), own.to_owned());
        } else if let Some(clean) = names.get_mut(key)
            && ENGINES_OWN.contains(&clean.as_str())
        {
            clean.push_str("-net");
        }
    }
    names
}

fn engines_own(key: &str, item: &Item) -> Option<&'static str> {
    let external = item.field("external")?;
    let name = item.field("name").or_else(|| external.field("name")).and_then(Item::text);
    let name = name.unwrap_or(key);
    ENGINES_OWN.into_iter().find(|own| *own == name)
}

/// The Networks and Volumes that the file declares, or that its services need.
pub(super) fn documents(networks: &[Field], volumes: &[Field], set: &mut Set<'_>) -> Vec<Document> {
    let mut documents = Vec::new();
    if set.needs_default && !networks.iter().any(|field| field.key == DEFAULT_NETWORK) {
        documents.push(document("Network", DEFAULT_NETWORK, Mapping::new(), Mapping::new(), set));
    }
    for Field { key, item, line } in networks {
        if key == DEFAULT_NETWORK && !set.needs_default || engines_own(key, item).is_some() {
            continue;
        }
        let name = set.networks.get(key).cloned().unwrap_or_default();
        if name != *key {
            let why = format!("it is called {name} here");
            set.notes.changed(None, &format!("networks.{key}"), *line, &why);
        }
        let (labels, spec) = network(key, item, set);
        documents.push(document("Network", &name, labels, spec, set));
    }
    let mut seen = BTreeSet::new();
    for Field { key, item, line } in volumes {
        let name = set.volumes.get(key).cloned().unwrap_or_default();
        seen.insert(name.clone());
        let ours = format!("{}.{name}", set.project);
        let external = item.field("external").is_some_and(|item| item.truth() != Some(false));
        let theirs = item.field("name").and_then(Item::text).map_or_else(
            || if external { key.clone() } else { format!("{}_{key}", set.project) },
            str::to_owned,
        );
        let field = format!("volumes.{key}");
        let copy = format!(
            "to keep its data: docker run --rm -v {theirs}:/from -v {ours}:/to busybox cp -a /from/. /to"
        );
        if external {
            let why = format!(
                "windlass uses volumes of its own only, and makes an empty one, {ours}; {copy}"
            );
            set.notes.lost(None, &field, *line, &why);
        } else if item.field("driver_opts").is_some() {
            let why = format!("it is called {ours} on the engine, no longer {theirs}");
            set.notes.changed(None, &field, *line, &why);
        } else {
            let why = format!("a new, empty volume {ours} takes the place of {theirs}; {copy}");
            set.notes.changed(None, &field, *line, &why);
        }
        let (labels, spec) = volume(key, item, set);
        documents.push(document("Volume", &name, labels, spec, set));
    }
    for name in set.made_volumes.clone() {
        if seen.insert(name.clone()) {
            documents.push(document("Volume", &name, Mapping::new(), Mapping::new(), set));
        }
    }
    documents
}

fn document(
    kind: &'static str,
    name: &str,
    labels: Mapping,
    spec: Mapping,
    set: &Set<'_>,
) -> Document {
    let (name, project) = (name.to_owned(), set.project.clone());
    Document { service: None, kind, name, project, labels, spec }
}

fn labels(part: &mut Part<'_>) -> Mapping {
    let pairs = part.take("labels").map(|item| item.pairs(&['='])).unwrap_or_default();
    let pairs = pairs.into_iter().map(|(name, value, _)| (name, value.unwrap_or_default()));
    match texts(pairs) {
        Yaml::Mapping(labels) => labels,
        Yaml::Null
        | Yaml::Bool(_)
        | Yaml::Number(_)
        | Yaml::String(_)
        | Yaml::Sequence(_)
        | Yaml::Tagged(_) => Mapping::new(),
    }
}

fn options(item: Option<&Item>) -> Yaml {
    let pairs = item.map(|item| item.pairs(&['='])).unwrap_or_default();
    texts(pairs.into_iter().map(|(name, value, _)| (name, value.unwrap_or_default())))
}

fn volume(key: &str, item: &Item, set: &mut Set<'_>) -> (Mapping, Mapping) {
    let mut part = Part::new(None, &format!("volumes.{key}."), item);
    let mut spec = Mapping::new();
    if let Some(driver) = part.text("driver", &mut set.notes) {
        put(&mut spec, "driver", driver);
    }
    put(&mut spec, "options", options(part.take("driver_opts")));
    let labels = labels(&mut part);
    // Both were spoken of.
    let _ = (part.take("external"), part.take("name"));
    part.finish(&mut set.notes);
    (labels, spec)
}

fn network(key: &str, item: &Item, set: &mut Set<'_>) -> (Mapping, Mapping) {
    let mut part = Part::new(None, &format!("networks.{key}."), item);
    let mut spec = Mapping::new();
    let external = part.take("external");
    if let Some(external) = external.filter(|item| item.truth() != Some(false)) {
        let why = "windlass joins networks of its own only, and makes one; whoever else is on the \
                   other one cannot be reached by name";
        part.lost(&mut set.notes, "external", external.line, why);
    }
    if let Some(name) = part.take("name") {
        let ours = set.networks.get(key).cloned().unwrap_or_default();
        let why = format!("on the engine it is called {}.{ours}", set.project);
        part.changed(&mut set.notes, "name", name.line, &why);
    }
    if let Some(driver) = part.text("driver", &mut set.notes) {
        put(&mut spec, "driver", driver);
    }
    put(&mut spec, "options", options(part.take("driver_opts")));
    for (theirs, ours) in [("internal", "internal"), ("enable_ipv6", "ipv6")] {
        if part.truth(theirs, &mut set.notes) == Some(true) {
            put(&mut spec, ours, true);
        }
    }
    let subnets = part.take("ipam").map(|item| subnets(key, item, set)).unwrap_or_default();
    put(&mut spec, "subnets", subnets);
    let labels = labels(&mut part);
    part.finish(&mut set.notes);
    (labels, spec)
}

fn subnets(key: &str, item: &Item, set: &mut Set<'_>) -> Vec<Yaml> {
    let mut ipam = Part::new(None, &format!("networks.{key}.ipam."), item);
    if let Some(driver) = ipam.take("driver").filter(|item| item.text() != Some("default")) {
        ipam.lost(&mut set.notes, "driver", driver.line, "the engine gives addresses itself");
    }
    let mut subnets = Vec::new();
    for item in ipam.take("config").map(Item::items).unwrap_or_default() {
        let mut part = Part::new(None, &format!("networks.{key}.ipam.config."), item);
        let mut subnet = Mapping::new();
        for (theirs, ours) in [("subnet", "subnet"), ("ip_range", "range"), ("gateway", "gateway")]
        {
            if let Some(text) = part.text(theirs, &mut set.notes) {
                put(&mut subnet, ours, text);
            }
        }
        put(&mut subnet, "reserved", options(part.take("aux_addresses")));
        if subnet.contains_key("subnet") {
            subnets.push(Yaml::Mapping(subnet));
        } else {
            part.lost(&mut set.notes, "subnet", item.line, "a range is needed for the rest of it");
        }
        part.finish(&mut set.notes);
    }
    ipam.finish(&mut set.notes);
    subnets
}
