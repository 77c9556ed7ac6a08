//! What the whole set can tell of nodes: placements that no Node could ever be for, and one engine
//! that is declared twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use reconciler::model::ids::Name;
use reconciler::model::spec::{Endpoint, Placement};

use super::super::decode::{BindingDraft, Body, InstanceDraft, Kind, PlacementSpans, did_you_mean};
use super::super::problem::{Problem, Span};
use super::super::set::Member;
use super::Checker;

/// So many values of a label are named in a message.
const VALUES_SHOWN: usize = 8;

impl<'a> Checker<'_, 'a> {
    pub(super) fn nodes(&self) -> &[Member<'a>] {
        self.nodes.get_or_init(|| {
            let members = self.universe.members.iter();
            members.filter(|member| member.draft.identity.kind == Kind::Node).copied().collect()
        })
    }

    /// A placement has to be for a Node that there is.
    pub(super) fn placement(&mut self, member: &Member<'_>, instance: &InstanceDraft) {
        let Some(placement) = &instance.spec.more.placement else { return };
        let Placement { node, selector, spread } = placement;
        let PlacementSpans { node: node_span, selector: selector_span, spread: spread_span } =
            instance.placement;
        let nodes: Vec<Member<'a>> = self.nodes().to_vec();
        let of_name = |name: &Name| nodes.iter().find(|one| one.draft.identity.name == *name);
        let labels = |one: &&Member<'a>| {
            let labels = &one.draft.labels;
            selector.iter().all(|(name, value)| labels.get(name) == Some(value))
        };
        let by = spread.as_deref().filter(|by| *by != Placement::SPREAD_NODES);
        let problem = match (node, node_span) {
            (Some(node), Some(span)) => match of_name(node) {
                None if nodes.is_empty() && *node == Name::local_node() => None,
                None => Some(self.unknown_node(span, node)),
                Some(one) if !labels(&one) => {
                    let message = format!("Node {node} is not as `placement.selector` asks");
                    let span = selector_span.unwrap_or(span);
                    Some(Problem::new(span, message).label("it has other labels"))
                }
                Some(_) => None,
            },
            _ => None,
        };
        let problem = problem.or_else(|| {
            let span = selector_span.filter(|_| node.is_none() && !selector.is_empty())?;
            let any = nodes.iter().any(|one| labels(&one));
            (!any).then(|| self.no_such_labels(span, selector.keys()))
        });
        let problem = problem.or_else(|| {
            let (by, span) = (by?, spread_span?);
            let any = nodes.iter().filter(labels).any(|one| one.draft.labels.contains_key(by));
            (!any).then(|| {
                let message = format!("no Node has a label `{by}` to spread by");
                let label = "`node` spreads over nodes".to_owned();
                Problem::new(span, message).label(label)
            })
        });
        if let Some(problem) = problem {
            self.note_unless_uncertain(member, problem);
        }
    }

    /// A binding for a node that there is not would hold for nothing, and say nothing.
    pub(super) fn nodes_of_binding(&mut self, member: &Member<'_>, binding: &BindingDraft) {
        for (name, span) in &binding.nodes {
            let nodes = self.nodes();
            let known = nodes.iter().any(|one| one.draft.identity.name == *name)
                || nodes.is_empty() && *name == Name::local_node();
            if known {
                continue;
            }
            let problem = self.unknown_node(*span, name);
            self.note_unless_uncertain(member, problem);
        }
    }

    /// Notes a problem, unless what could not be read may declare just that Node.
    fn note_unless_uncertain(&mut self, member: &Member<'_>, problem: Problem) {
        match self.uncertain.first().and_then(|file| self.universe.files.get(*file)) {
            Some(file) => {
                let reason = format!("{}, and {} has errors", problem.message, file.file);
                self.block(member, reason);
            }
            None => self.note(member, problem),
        }
    }

    fn unknown_node(&self, span: Span, node: &Name) -> Problem {
        let problem = Problem::new(span, format!("Node {node} is not declared"));
        let names: Vec<&str> =
            self.nodes().iter().map(|one| one.draft.identity.name.as_str()).collect();
        if names.is_empty() {
            return problem.label("no Node is: there is only `local`");
        }
        match did_you_mean(node.as_str(), names.iter().copied()) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem.label(format!("there is {}", few(&names))),
        }
    }

    fn no_such_labels<'s>(&self, span: Span, keys: impl Iterator<Item = &'s String>) -> Problem {
        let problem = Problem::new(span, "no Node has these labels");
        if self.nodes().is_empty() {
            return problem.label("no Node is declared, and `local` has no labels");
        }
        let said = keys.map(|key| {
            let values: BTreeSet<&str> = self
                .nodes()
                .iter()
                .filter_map(|one| one.draft.labels.get(key).map(String::as_str))
                .collect();
            match few(&values.into_iter().collect::<Vec<_>>()).as_str() {
                "" => format!("no Node has a label `{key}`"),
                values => format!("`{key}` is {values}"),
            }
        });
        problem.label(said.collect::<Vec<_>>().join("; "))
    }

    /// One engine is one node: each container would be there twice.
    pub(super) fn endpoint(&mut self, member: &Member<'_>, endpoint: &Endpoint) {
        let other = self.nodes().iter().find(|other| {
            other.draft.identity != member.draft.identity
                && matches!(&other.draft.body, Some(Body::Node(spec)) if spec.endpoint == *endpoint)
        });
        let Some(other) = other.copied() else { return };
        let name = &other.draft.identity.name;
        let also = self.place(member, &other, other.draft.name_span, "it is declared here".into());
        let message = format!("the same endpoint as Node {name}");
        let problem = Problem::new(member.draft.name_span, message);
        let problem = Problem { also: vec![also], ..problem };
        let label = format!("one engine is one node: {endpoint}");
        self.found.problems.push((
            member.file,
            problem.label(label).within(Some(&Arc::from(member.draft.identity.to_string()))),
        ));
    }
}

fn few(names: &[&str]) -> String {
    let shown = names.iter().take(VALUES_SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(VALUES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
