//! Ports, exposed and published.

use std::collections::HashMap;

use bollard::models::{PortBinding as EnginePort, PortMap};
use reconciler::model::observed::{HostPort, PortBinding};
use reconciler::model::spec::Protocol;

/// The ports that are exposed, and the bindings of those that are published.
pub(super) fn to_engine(ports: &[PortBinding]) -> (Vec<String>, PortMap) {
    let mut exposed = Vec::new();
    let mut bindings: PortMap = HashMap::new();
    for PortBinding { container, protocol, host } in ports {
        let port = format!("{container}/{}", protocol.as_str());
        if let Some(HostPort { address, port: host_port }) = host {
            let binding = EnginePort {
                host_ip: Some(address.clone()),
                host_port: Some(host_port.to_string()),
            };
            bindings.entry(port.clone()).or_default().get_or_insert_default().push(binding);
        }
        if !exposed.contains(&port) {
            exposed.push(port);
        }
    }
    (exposed, bindings)
}

/// What was exposed or published, in order.
pub(super) fn from_engine(exposed: &[String], bindings: Option<&PortMap>) -> Vec<PortBinding> {
    let mut ports = Vec::new();
    for (key, hosts) in bindings.into_iter().flatten() {
        let Some((container, protocol)) = port(key) else { continue };
        for host in hosts.iter().flatten() {
            let host = Some(host_port(host));
            ports.push(PortBinding { container, protocol, host });
        }
    }
    for key in exposed {
        let Some((container, protocol)) = port(key) else { continue };
        let known = |port: &PortBinding| port.container == container && port.protocol == protocol;
        if !ports.iter().any(known) {
            ports.push(PortBinding { container, protocol, host: None });
        }
    }
    ports.sort();
    ports.dedup();
    ports
}

/// `8080/tcp`, or `8080` alone.
fn port(text: &str) -> Option<(u16, Protocol)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    Some((number.parse().ok()?, protocol))
}

fn host_port(binding: &EnginePort) -> HostPort {
    let address = match binding.host_ip.as_deref() {
        None | Some("0.0.0.0") => "",
        Some(address) => address,
    };
    // A range, which only another hand can have asked for, counts by its first port; no port means
    // that the engine chooses one.
    let text = binding.host_port.as_deref().unwrap_or_default();
    let first = text.split('-').next().unwrap_or_default();
    HostPort { address: address.to_owned(), port: first.parse().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_survive() {
        let bind = |container, protocol, host: Option<(&str, u16)>| PortBinding {
            container,
            protocol,
            host: host.map(|(address, port)| HostPort { address: address.to_owned(), port }),
        };
        let ports = vec![
            bind(53, Protocol::Tcp, None),
            bind(53, Protocol::Udp, Some(("", 5353))),
            bind(80, Protocol::Tcp, Some(("127.0.0.1", 8080))),
            bind(80, Protocol::Tcp, Some(("127.0.0.1", 8081))),
        ];
        let (exposed, bindings) = to_engine(&ports);
        assert_eq!(exposed, ["53/tcp", "53/udp", "80/tcp"]);
        assert_eq!(from_engine(&exposed, Some(&bindings)), ports);
    }

    #[test]
    fn all_addresses_have_one_form() {
        for address in [None, Some(""), Some("0.0.0.0")] {
            let binding = EnginePort {
                host_ip: address.map(str::to_owned),
                host_port: Some("80".to_owned()),
            };
            let bindings = HashMap::from([("80".to_owned(), Some(vec![binding]))]);
            let ports = from_engine(&[], Some(&bindings));
            let host = ports.first().and_then(|port| port.host.as_ref()).expect("published");
            assert_eq!((host.address.as_str(), host.port), ("", 80));
        }
        let bindings = HashMap::from([("80/tcp".to_owned(), None)]);
        let ports = from_engine(&["80/tcp".to_owned()], Some(&bindings));
        assert!(ports.iter().all(|port| port.host.is_none()) && ports.len() == 1);
    }
}
