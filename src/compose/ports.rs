//! Ports of a service, published and exposed.

use serde_yaml::{Mapping, Value as Yaml};

use super::Set;
use super::item::{Item, Value};
use super::notes::Part;
use super::write::put;

/// Most ports that a range is written out as: a wider one is a slip, and would be a long spec.
const RANGE_MAX: u16 = 1000;

/// A port as it is written: where it leads to, and where it comes from.
#[derive(Debug, Default, PartialEq)]
struct Written {
    address: Option<String>,
    host: Option<(u16, u16)>,
    container: (u16, u16),
    protocol: Option<String>,
}

/// The `ports` of an Instance.
pub(super) fn of(part: &mut Part<'_>, replicas: u64, set: &mut Set<'_>) -> Vec<Yaml> {
    let mut ports: Vec<Yaml> = Vec::new();
    let mode = part.text("network_mode", &mut set.notes).unwrap_or_default();
    let unpublished = matches!(mode, "host" | "none");
    for (name, exposed) in [("ports", false), ("expose", true)] {
        for item in part.take(name).map(Item::items).unwrap_or_default() {
            let Some(mut written) = written(part, item, set) else {
                let why = "expected a port such as `8080:80`";
                part.lost(&mut set.notes, name, item.line, why);
                continue;
            };
            if exposed {
                written.host = None;
            } else if unpublished && written.host.is_some() {
                if mode == "host" {
                    let why = "on the node's own network all its ports are the node's";
                    part.changed(&mut set.notes, name, item.line, why);
                } else {
                    let why = "without a network nothing is published";
                    part.lost(&mut set.notes, name, item.line, why);
                }
                written.host = None;
            } else if written.host.is_none() {
                let (first, _) = written.container;
                let why = format!(
                    "windlass chooses no host ports by itself: it is exposed, not published; name \
                     one, `host: {first}`"
                );
                part.lost(&mut set.notes, name, item.line, &why);
            }
            for (container, host) in pairs(&written) {
                let host = host.filter(|(first, last)| {
                    let enough = u64::from(last - first) + 1 >= replicas;
                    if !enough {
                        let why = format!(
                            "{replicas} replicas need as many host ports: write a range, `host: \
                             {first}-{}`",
                            u64::from(*first) + replicas - 1
                        );
                        part.lost(&mut set.notes, name, item.line, &why);
                    }
                    enough
                });
                let port = port(&written, container, host);
                if !ports.contains(&port) {
                    ports.push(port);
                }
            }
        }
    }
    ports
}

fn port(written: &Written, container: u16, host: Option<(u16, u16)>) -> Yaml {
    let mut port = Mapping::new();
    put(&mut port, "container", container);
    match host {
        Some((first, last)) if first == last => put(&mut port, "host", first),
        Some((first, last)) => put(&mut port, "host", format!("{first}-{last}")),
        None => {}
    }
    if let Some(address) = written.address.as_deref().filter(|_| host.is_some()) {
        put(&mut port, "address", address);
    }
    if let Some(protocol) = written.protocol.as_deref().filter(|word| *word != "tcp") {
        put(&mut port, "protocol", protocol);
    }
    Yaml::Mapping(port)
}

/// Each port of a range leads to its own; a range that leads to one port is one for its replicas.
fn pairs(written: &Written) -> Vec<(u16, Option<(u16, u16)>)> {
    let (first, last) = written.container;
    let host = |offset: u16| match written.host {
        Some((host, end)) if first != last => {
            host.checked_add(offset).filter(|port| *port <= end).map(|port| (port, port))
        }
        all => all,
    };
    (0..=last - first).map(|offset| (first + offset, host(offset))).collect()
}

fn written(part: &Part<'_>, item: &Item, set: &mut Set<'_>) -> Option<Written> {
    match &item.value {
        Value::Text(text) => short(text),
        Value::Map(_) => long(part, item, set),
        Value::Null | Value::List(_) => None,
    }
}

/// `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, each of the two a port or a range.
fn short(text: &str) -> Option<Written> {
    let (rest, protocol) = match text.split_once('/') {
        Some((rest, protocol)) => (rest, Some(protocol_of(protocol)?)),
        None => (text, None),
    };
    let (rest, container) = match rest.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), range(container)?),
        None => (None, range(rest)?),
    };
    let (address, host) = match rest {
        None => (None, ""),
        Some(rest) => match rest.rsplit_once(':') {
            // An address of IP version 6 stands in brackets, and may stand without a port.
            Some((address, host)) if !host.ends_with(']') => (Some(address), host),
            Some(_) => (Some(rest), ""),
            None if rest.contains('.') => (Some(rest), ""),
            None => (None, rest),
        },
    };
    let host = if matches!(host, "" | "0") { None } else { Some(range(host)?) };
    let address = address.map(|text| text.trim_matches(['[', ']']).to_owned());
    let address = address.filter(|text| text.parse::<std::net::IpAddr>().is_ok());
    Some(Written { address, host, container, protocol })
}

fn long(part: &Part<'_>, item: &Item, set: &mut Set<'_>) -> Option<Written> {
    let mut fields = Part::new(part.service(), "ports.", item);
    let container = range(fields.take("target")?.text()?)?;
    let host = match fields.take("published") {
        // 0 means any, as nothing does.
        Some(item) if !matches!(item.text()?, "" | "0") => Some(range(item.text()?)?),
        Some(_) | None => None,
    };
    let address = fields.text("host_ip", &mut set.notes).map(str::to_owned);
    let protocol = match fields.take("protocol") {
        Some(item) => Some(protocol_of(item.text()?)?),
        None => None,
    };
    if let Some(mode) = fields.take("mode").filter(|mode| mode.text() != Some("host")) {
        let why = "there is no mesh between nodes: it is published on the node that it runs on";
        fields.changed(&mut set.notes, "mode", mode.line, why);
    }
    // A name for readers only.
    let _ = (fields.take("name"), fields.take("app_protocol"));
    fields.finish(&mut set.notes);
    Some(Written { address, host, container, protocol })
}

fn protocol_of(word: &str) -> Option<String> {
    let word = word.to_ascii_lowercase();
    ["tcp", "udp", "sctp"].contains(&word.as_str()).then_some(word)
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first > 0 && first <= last && last - first < RANGE_MAX).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_read_in_all_their_parts() {
        let of = |address: Option<&str>, host, container, protocol: Option<&str>| Written {
            address: address.map(str::to_owned),
            host,
            container,
            protocol: protocol.map(str::to_owned),
        };
        let cases = [
            ("80", of(None, None, (80, 80), None)),
            ("8080:80", of(None, Some((8080, 8080)), (80, 80), None)),
            ("3000-3002:4000-4002", of(None, Some((3000, 3002)), (4000, 4002), None)),
            ("127.0.0.1:53:53/udp", of(Some("127.0.0.1"), Some((53, 53)), (53, 53), Some("udp"))),
            ("127.0.0.1::80", of(Some("127.0.0.1"), None, (80, 80), None)),
            ("0:80", of(None, None, (80, 80), None)),
            ("127.0.0.1:80", of(Some("127.0.0.1"), None, (80, 80), None)),
            ("[::1]:6001:80", of(Some("::1"), Some((6001, 6001)), (80, 80), None)),
            ("8000-8002:80", of(None, Some((8000, 8002)), (80, 80), None)),
        ];
        for (text, expected) in cases {
            assert_eq!(short(text), Some(expected), "{text}");
        }
        for bad in ["", "a", "80/icmp", "80:0", "90-80", "1:2:3:x"] {
            assert_eq!(short(bad), None, "{bad}");
        }
        let range = pairs(&of(None, Some((3000, 3001)), (4000, 4001), None));
        assert_eq!(range, [(4000, Some((3000, 3000))), (4001, Some((3001, 3001)))]);
        let shared = pairs(&of(None, Some((8000, 8002)), (80, 80), None));
        assert_eq!(shared, [(80, Some((8000, 8002)))]);
    }
}
