//! The variables that links have always brought: where the target is, as text.
//!
//! For alias `db` and port 5432 they are `DB_PORT`, `DB_PORT_5432_TCP` and its `_ADDR`, `_PORT` and
//! `_PROTO`, `DB_NAME`, and each variable of the target as `DB_ENV_…`. Runs of three and more ports
//! have their ends besides. Of the target's variables only those count that its spec names: what an
//! image brings is not known before a container is made.

use core::net::IpAddr;
use std::collections::BTreeMap;

use crate::model::ids::{NAME_JOINT, ReplicaKey};
use crate::model::spec::{LinkPort, Protocol};

/// So many ports in a row are named by their ends too, as engines do it.
const RUN_PORTS_MIN: u16 = 3;

/// Variables of a target that are not passed on, as engines do it: they say nothing of it.
const LEFT_OUT: [&str; 2] = ["HOME", "PATH"];

/// What the variables of a link begin with: `MY_DB` for `my-db`.
#[must_use]
pub fn prefix(alias: &str) -> String {
    alias.to_ascii_uppercase().replace('-', "_")
}

/// The variable that says what the consumer calls its target, and its value. It names the replica
/// and not the container, whose name changes with every replacement.
#[must_use]
pub fn name(alias: &str, consumer: &ReplicaKey) -> (String, String) {
    let ReplicaKey { instance, ordinal } = consumer;
    let value = format!("/{}{NAME_JOINT}{ordinal}/{alias}", instance.engine_name());
    (format!("{}_NAME", prefix(alias)), value)
}

/// All variables of a link but [`name`]. Without an address there are only those of the target.
#[must_use]
pub fn variables(
    alias: &str,
    ports: &[LinkPort],
    address: Option<IpAddr>,
    env: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let prefix = prefix(alias);
    let of_target = env.iter().filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
    let mut found: BTreeMap<String, String> =
        of_target.map(|(name, value)| (format!("{prefix}_ENV_{name}"), value.clone())).collect();
    let Some(address) = address else { return found };
    // By their numbers, and tcp before udp.
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    let url =
        |LinkPort { port, protocol }: LinkPort| format!("{}://{address}:{port}", protocol.as_str());
    if let Some(first) = ports.first() {
        found.insert(format!("{prefix}_PORT"), url(*first));
    }
    let mut add = |port: LinkPort, of: &str, value: String| {
        found.insert(format!("{}{of}", of_port(&prefix, port)), value);
    };
    for port in &ports {
        add(*port, "", url(*port));
        add(*port, "_ADDR", address.to_string());
        add(*port, "_PORT", port.port.to_string());
        add(*port, "_PROTO", port.protocol.as_str().to_owned());
    }
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let numbers = ports.iter().filter(|port| port.protocol == protocol).map(|port| port.port);
        for (first, last) in runs(numbers) {
            let [start, end] = [first, last].map(|port| LinkPort { port, protocol });
            add(start, "_START", url(start));
            add(start, "_PORT_START", first.to_string());
            add(start, "_END", url(end));
            add(start, "_PORT_END", last.to_string());
        }
    }
    found
}

fn of_port(prefix: &str, LinkPort { port, protocol }: LinkPort) -> String {
    format!("{prefix}_PORT_{port}_{}", protocol.as_str().to_ascii_uppercase())
}

/// The first and the last of each run of ports that is long enough to be named.
fn runs(numbers: impl Iterator<Item = u16>) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for port in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            Some(_) | None => runs.push((port, port)),
        }
    }
    runs.retain(|(first, last)| last - first >= RUN_PORTS_MIN - 1);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(port: u16, protocol: Protocol) -> LinkPort {
        LinkPort { port, protocol }
    }

    fn lines(alias: &str, ports: &[LinkPort], env: &[(&str, &str)]) -> Vec<String> {
        let address = Some("10.201.0.2".parse().expect("an address"));
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let found = variables(alias, ports, address, &env.collect());
        found.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn one_port_has_its_five_variables_and_those_of_the_target_follow() {
        let env = [("HOME", "/"), ("PATH", "/bin"), ("USER", "shop")];
        let expected = [
            "MY_DB_ENV_USER=shop",
            "MY_DB_PORT=tcp://10.201.0.2:5432",
            "MY_DB_PORT_5432_TCP=tcp://10.201.0.2:5432",
            "MY_DB_PORT_5432_TCP_ADDR=10.201.0.2",
            "MY_DB_PORT_5432_TCP_PORT=5432",
            "MY_DB_PORT_5432_TCP_PROTO=tcp",
        ];
        assert_eq!(lines("my-db", &[port(5432, Protocol::Tcp)], &env), expected);
    }

    #[test]
    fn a_run_of_three_names_its_ends_and_one_of_two_does_not() {
        let tcp = |from: u16, to: u16| (from..=to).map(|number| port(number, Protocol::Tcp));
        let is_end = |line: &String| line.contains("_START=") || line.contains("_END=");
        let two: Vec<_> = tcp(80, 81).chain(tcp(90, 91)).collect();
        assert!(!lines("a", &two, &[]).iter().any(is_end));
        let mut three = lines("a", &tcp(90, 92).chain(tcp(80, 81)).collect::<Vec<_>>(), &[]);
        assert_eq!(three[0], "A_PORT=tcp://10.201.0.2:80");
        three.retain(is_end);
        let expected = [
            "A_PORT_90_TCP_END=tcp://10.201.0.2:92",
            "A_PORT_90_TCP_PORT_END=92",
            "A_PORT_90_TCP_PORT_START=90",
            "A_PORT_90_TCP_START=tcp://10.201.0.2:90",
        ];
        assert_eq!(three, expected);
        // The highest number there is ends a run.
        let last = lines("a", &tcp(65533, 65535).collect::<Vec<_>>(), &[]);
        assert!(last.contains(&"A_PORT_65533_TCP_PORT_END=65535".to_owned()));
    }

    #[test]
    fn the_lowest_port_is_the_first_and_tcp_comes_before_udp() {
        let ports = [
            port(53, Protocol::Udp),
            port(80, Protocol::Tcp),
            port(53, Protocol::Tcp),
            port(54, Protocol::Udp),
            port(55, Protocol::Tcp),
        ];
        let found = lines("dns", &ports, &[]);
        assert_eq!(found[0], "DNS_PORT=tcp://10.201.0.2:53");
        assert_eq!(lines("dns", &ports[..2], &[])[0], "DNS_PORT=udp://10.201.0.2:53");
        // Runs are of one protocol.
        assert!(!found.iter().any(|line| line.contains("_START")));
    }

    #[test]
    fn without_an_address_or_a_port_little_is_said() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        let ports = [port(80, Protocol::Tcp)];
        let expected = BTreeMap::from([("JOB_ENV_A".to_owned(), "1".to_owned())]);
        assert_eq!(variables("job", &ports, None, &env), expected);
        assert_eq!(lines("job", &[], &[("A", "1")]), ["JOB_ENV_A=1"]);
        let web = ReplicaKey::new("shop/web".parse().expect("a key"), 2);
        let expected = ("MY_DB_NAME".to_owned(), "/shop.web.2/my-db".to_owned());
        assert_eq!(name("my-db", &web), expected);
    }
}
