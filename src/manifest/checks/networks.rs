//! What the whole set can tell of an instance on the node's own network: that a Network which it
//! names is the engine's `host` or `none`, and that more of it than there are nodes want one port.

use std::collections::BTreeMap;

use reconciler::model::ids::Name;
use reconciler::model::spec::{NetworkName, Order};

use super::super::decode::{Body, InstanceDraft, Kind, NetworkRef};
use super::super::problem::{Problem, Span};
use super::super::set::Member;
use super::Checker;

/// What keeps an instance from being on a network that is the engine's own, and where it stands.
struct Clash {
    span: Span,
    message: String,
    label: String,
    help: Option<&'static str>,
}

impl<'a> Checker<'_, 'a> {
    /// Checks an instance that names the engine's own network, itself or by a Network. What names
    /// it itself was checked alone; only how many nodes there are is known here.
    pub(super) fn engines_own(&mut self, member: &Member<'_>, instance: &InstanceDraft) {
        for used in &instance.networks {
            let found = self.universe.find(Kind::Network, &used.key).find_map(|network| {
                match &network.draft.body {
                    Some(Body::Network(spec)) if spec.is_engines_own() => {
                        Some((*network, spec.driver.clone()))
                    }
                    Some(_) | None => None,
                }
            });
            let Some((network, driver)) = found else { continue };
            for Clash { span, message, label, help } in clashes(instance, used, &driver) {
                let here = format!("its driver is `{driver}`");
                let also = self.place(member, &network, network.draft.name_span, here);
                let problem = Problem::new(span, message).label(label);
                let problem = Problem { also: vec![also], ..problem };
                self.note(member, help.into_iter().fold(problem, Problem::help));
            }
            if driver == "host" {
                self.replicas_on_host(member, instance);
            }
        }
        let is_host = |one: &NetworkName| match one {
            NetworkName::Engine(name) => name.as_str() == "host",
            NetworkName::Declared(_) => false,
        };
        if instance.spec.more.networks.iter().any(|one| is_host(&one.network)) {
            self.replicas_on_host(member, instance);
        }
    }

    /// Replicas on the same node's own network would listen on the same port.
    fn replicas_on_host(&mut self, member: &Member<'_>, instance: &InstanceDraft) {
        let Some(port) = instance.ports.first() else { return };
        if !self.uncertain.is_empty() {
            return; // what could not be read may declare more nodes
        }
        let nodes = self.nodes_for(instance);
        let replicas = instance.spec.replicas;
        if usize::try_from(replicas).is_ok_and(|replicas| replicas <= nodes.max(1)) {
            return;
        }
        let there = match nodes {
            0 | 1 => "there is one node for them".to_owned(),
            more => format!("there are {more} nodes for them"),
        };
        let message = format!("{replicas} replicas and a port of the node");
        let label =
            format!("on the node's own network all of them would listen on it, and {there}");
        let help = "ask for fewer replicas, or for another network; what shares a port by itself \
                    needs no `ports` here";
        self.note(member, Problem::new(port.span, message).label(label).help(help));
    }

    /// How many nodes an instance may be on.
    fn nodes_for(&self, instance: &InstanceDraft) -> usize {
        let placement = instance.spec.more.placement.as_ref();
        let allows = |name: &Name, labels: &BTreeMap<String, String>| {
            placement.is_none_or(|asked| {
                asked.node.as_ref().is_none_or(|node| node == name)
                    && asked.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            })
        };
        let nodes = self.nodes().iter();
        nodes.filter(|node| allows(&node.draft.identity.name, &node.draft.labels)).count()
    }
}

fn clashes(instance: &InstanceDraft, used: &NetworkRef, driver: &str) -> Vec<Clash> {
    let mut clashes = Vec::new();
    if instance.spec.more.networks.len() > 1 {
        clashes.push(Clash {
            span: used.span,
            message: format!("`{driver}` beside others"),
            label: "a container on it can be on no other network".to_owned(),
            help: None,
        });
    }
    let starts_first = instance.spec.update().order == Order::StartFirst;
    for port in &instance.ports {
        if port.host.is_some() {
            let label = if driver == "host" {
                "on the node's own network all its ports are the node's: publish none"
            } else {
                "a container without a network can publish nothing"
            };
            clashes.push(Clash {
                span: port.span,
                message: format!("a published port and the network `{driver}`"),
                label: label.to_owned(),
                help: None,
            });
        } else if starts_first && driver == "host" {
            clashes.push(Clash {
                span: port.span,
                message: "`start-first` and a port of the node".to_owned(),
                label: "on the node's own network both containers would listen on it at once"
                    .to_owned(),
                help: Some("take the network out, or say `order: stop-first`"),
            });
        }
    }
    clashes
}
