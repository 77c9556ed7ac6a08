//! How rules are written for `iptables`, and read back: each has one form here, whatever form a
//! version of the tools shows it in.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use reconciler::model::fence::{Rules, Way};
use reconciler::model::spec::Protocol;
use reconciler::plan::BRIDGE_PREFIX;

/// A rule without the order of its words: each option with its value, a `!` before the option.
type Form = BTreeMap<String, String>;

/// The rules in the order in which they are asked: what is open, both ways, then what is closed.
pub(super) fn written(chain: &str, rules: &Rules) -> Vec<String> {
    let Rules { open, closed } = rules;
    if rules.is_empty() {
        return Vec::new();
    }
    let any = format!("{BRIDGE_PREFIX}+");
    // What says that a packet was too large, or that nobody listens.
    let told =
        format!("-A {chain} -i {any} -o {any} -p icmp -m conntrack --ctstate RELATED -j ACCEPT");
    let mut lines = vec![told];
    for way in open {
        let Way { from_bridge, from, to_bridge, to, port, protocol } = way;
        let protocol = protocol.as_str();
        lines.push(format!(
            "-A {chain} -s {from}/32 -d {to}/32 -i {from_bridge} -o {to_bridge} -p {protocol} -m \
             {protocol} --dport {port} -j ACCEPT"
        ));
        lines.push(format!(
            "-A {chain} -s {to}/32 -d {from}/32 -i {to_bridge} -o {from_bridge} -p {protocol} -m \
             {protocol} --sport {port} -m conntrack --ctstate ESTABLISHED -j ACCEPT"
        ));
    }
    for bridge in closed {
        // Published ports go their own way.
        lines
            .push(format!("-A {chain} -i {bridge} -o {any} -m conntrack ! --ctstate DNAT -j DROP"));
    }
    lines
}

/// The rules that lines of a chain amount to, and whether that is all that they say.
pub(super) fn read(chain: &str, lines: &[&str]) -> (Rules, bool) {
    let mut rules = Rules::default();
    let forms: Vec<Form> = lines.iter().map(|line| form(line)).collect();
    for form in &forms {
        if let Some(way) = way(form) {
            rules.open.insert(way);
        } else if form.get("-j").is_some_and(|target| target == "DROP")
            && let Some(bridge) = form.get("-i")
        {
            rules.closed.insert(Arc::from(bridge.as_str()));
        }
    }
    let meant: Vec<Form> = written(chain, &rules).iter().map(|line| form(line)).collect();
    let intact = meant == forms;
    (rules, intact)
}

/// Whether a line of the user's chain leads all that passes through `chain`.
pub(super) fn leads_through(line: &str, chain: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("-A") && words.nth(1) == Some("-j") && words.eq([chain])
}

fn form(line: &str) -> Form {
    let mut form = Form::new();
    let mut words = line.split_whitespace();
    let mut not = "";
    while let Some(word) = words.next() {
        if word == "!" {
            not = "!";
            continue;
        }
        let value = words.next().unwrap_or_default();
        let value = match word {
            // Modules are loaded for what is asked of them.
            "-m" => continue,
            "-s" | "-d" => value.strip_suffix("/32").unwrap_or(value),
            _ => value,
        };
        form.insert(format!("{not}{word}"), value.to_owned());
        not = "";
    }
    form
}

fn way(form: &Form) -> Option<Way> {
    let get = |option: &str| form.get(option).map(String::as_str);
    let address = |option: &str| get(option)?.parse::<Ipv4Addr>().ok();
    if get("-j")? != "ACCEPT" {
        return None;
    }
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    Some(Way {
        from_bridge: Arc::from(get("-i")?),
        from: address("-s")?,
        to_bridge: Arc::from(get("-o")?),
        to: address("-d")?,
        port: get("--dport")?.parse().ok()?,
        protocol: protocols.into_iter().find(|one| get("-p") == Some(one.as_str()))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: &str = "WINDLASS-00112233";

    fn some() -> Rules {
        let bridge = |name: &str| Arc::<str>::from(format!("{BRIDGE_PREFIX}{name}"));
        let way = |from: u8, to: u8, port, protocol| Way {
            from_bridge: bridge("aa"),
            from: Ipv4Addr::new(10, 144, 8, from),
            to_bridge: bridge("bb"),
            to: Ipv4Addr::new(10, 144, 24, to),
            port,
            protocol,
        };
        Rules {
            open: [way(2, 3, 5432, Protocol::Tcp), way(2, 3, 53, Protocol::Udp)].into(),
            closed: [bridge("aa"), bridge("bb")].into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let lines = written(CHAIN, &some());
        assert_eq!(lines.len(), 7);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(read(CHAIN, &lines), (some(), true));
        assert_eq!(read(CHAIN, &[]), (Rules::default(), true));
    }

    #[test]
    fn another_order_of_words_is_the_same_rule() {
        let lines: Vec<String> = written(CHAIN, &some())
            .iter()
            .map(|line| line.replace(&format!("-A {CHAIN} "), ""))
            .map(|line| {
                let (head, tail) = line.split_once(" -p ").unwrap_or((&line, ""));
                if tail.is_empty() { line.clone() } else { format!("-p {tail} {head}") }
            })
            .map(|line| format!("-A {CHAIN} {line}").replace("/32", ""))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(read(CHAIN, &lines), (some(), true));
    }

    #[test]
    fn a_rule_of_another_hand_is_noticed() {
        let lines = written(CHAIN, &some());
        let all: Vec<&str> = lines.iter().map(String::as_str).collect();
        for gone in 0..all.len() {
            let mut fewer = all.clone();
            fewer.remove(gone);
            assert_ne!(read(CHAIN, &fewer), (some(), true), "without {}", all[gone]);
        }
        let stranger = format!("-A {CHAIN} -j ACCEPT");
        let more: Vec<&str> = [stranger.as_str()].into_iter().chain(all.clone()).collect();
        assert!(!read(CHAIN, &more).1);
        let mut reversed = all;
        reversed.reverse();
        assert!(!read(CHAIN, &reversed).1, "what is closed is asked last");
    }

    #[test]
    fn only_what_leads_all_through_counts() {
        assert!(leads_through(&format!("-A DOCKER-USER -j {CHAIN}"), CHAIN));
        for other in ["-A DOCKER-USER -i eth0 -j WINDLASS-00112233", "-N DOCKER-USER", ""] {
            assert!(!leads_through(other, CHAIN), "{other}");
        }
    }
}
