//! What only the whole set can tell of links: whether they lead somewhere, whether they may, and
//! whether all of them together can be kept.
//!
//! A fault is told at the link, whoever else could mend it: with its link back at its last good
//! version, an instance is what it was.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use reconciler::model::ids::{Key, Name};
use reconciler::model::spec::{InstanceSpec, LinkPort, LinkSpec, NetworkName};

use super::checks::{Checker, Target};
use super::decode::{Body, Identity, InstanceDraft, Kind, LinkDraft};
use super::problem::{Problem, Span};
use super::set::{Member, Universe};

/// All links of a universe, and what they come to.
pub(super) struct Links<'u, 'a> {
    universe: &'u Universe<'a>,
    /// The links by who uses them.
    by_user: HashMap<&'a Key, Vec<Link<'a>>>,
    /// What each instance waits for.
    waits: OnceCell<Waits>,
}

/// What each instance waits for, and the link that says so, if it is one.
type Waits = BTreeMap<Key, Vec<(Key, Option<Waiting>)>>;

/// A link that has its user wait.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    link: Name,
    /// Only since its variables name an address, which the target has once it runs.
    for_address: bool,
}

impl Waiting {
    fn of(link: &Name, spec: &LinkSpec) -> Option<Self> {
        let for_address = spec.condition.is_none();
        (!for_address || spec.env).then(|| Self { link: link.clone(), for_address })
    }
}

#[derive(Clone, Copy)]
struct Link<'a> {
    member: Member<'a>,
    draft: &'a LinkDraft,
}

impl<'u, 'a> Links<'u, 'a> {
    pub(super) fn of(universe: &'u Universe<'a>) -> Self {
        let mut by_user: HashMap<&Key, Vec<Link<'_>>> = HashMap::new();
        for member in &universe.members {
            if let Some(Body::Link(draft)) = &member.draft.body {
                by_user.entry(&draft.spec.from).or_default().push(Link { member: *member, draft });
            }
        }
        Self { universe, by_user, waits: OnceCell::new() }
    }

    fn all(&self) -> impl Iterator<Item = &Link<'a>> {
        // In the order of files, so that a run says what the one before said.
        let mut links: Vec<&Link<'_>> = self.by_user.values().flatten().collect();
        links.sort_by_key(|link| (link.member.file, link.draft.from.line, link.draft.from.column));
        links.into_iter()
    }

    fn instance(&self, key: &Key) -> Option<(&Member<'a>, &'a InstanceDraft)> {
        instance(self.universe, key)
    }

    /// The way from one instance to another by what each waits for. It begins with `from`; each
    /// step names the link that leads there, if it is one.
    pub(super) fn way(&self, from: &Key, to: &Key) -> Option<Vec<(Key, Option<Waiting>)>> {
        let waits = self.waits.get_or_init(|| waits(self.universe));
        if waits.is_empty() {
            return None;
        }
        let mut seen = HashSet::from([from.clone()]);
        let mut ways = vec![vec![(from.clone(), None)]];
        while let Some(way) = ways.pop() {
            let Some((last, _)) = way.last() else { continue };
            if last == to {
                return Some(way);
            }
            for next in waits.get(last).into_iter().flatten() {
                if seen.insert(next.0.clone()) || next.0 == *to {
                    ways.push(way.iter().cloned().chain([next.clone()]).collect());
                }
            }
        }
        None
    }
}

/// An instance of the universe whose spec could be read.
fn instance<'u, 'a>(
    universe: &'u Universe<'a>,
    key: &Key,
) -> Option<(&'u Member<'a>, &'a InstanceDraft)> {
    universe.find(Kind::Instance, key).find_map(|member| match &member.draft.body {
        Some(Body::Instance(draft)) => Some((member, &**draft)),
        Some(_) | None => None,
    })
}

/// The ports that the instance `key` declares, for links that name none.
pub(super) fn declared_ports(spec: &InstanceSpec) -> Vec<LinkPort> {
    let port = |port: &reconciler::model::spec::Port| LinkPort {
        port: port.container,
        protocol: port.protocol,
    };
    let mut ports: Vec<LinkPort> = spec.ports.iter().map(port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// What instances wait for; empty where all of it can be had one after the other.
fn waits(universe: &Universe<'_>) -> Waits {
    let mut waits: Waits = BTreeMap::new();
    for member in &universe.members {
        let Identity { kind: _, project, name } = &member.draft.identity;
        if let (Some(Body::Instance(draft)), Some(project)) = (&member.draft.body, project)
            && !draft.depends_on.is_empty()
        {
            let own = Key::new(project.clone(), name.clone());
            let used = draft.depends_on.iter().map(|used| (used.key.clone(), None));
            waits.entry(own).or_default().extend(used);
        }
        if let Some(Body::Link(draft)) = &member.draft.body
            && let Some(waiting) = Waiting::of(name, &draft.spec)
        {
            let next = (draft.spec.to.clone(), Some(waiting));
            waits.entry(draft.spec.from.clone()).or_default().push(next);
        }
    }
    // Take away again and again who waits for nobody that is left. Nearly always nobody is left.
    let mut waiting: HashMap<&Key, usize> =
        waits.iter().map(|(key, targets)| (key, targets.len())).collect();
    let mut behind: HashMap<&Key, Vec<&Key>> = HashMap::new();
    for (key, targets) in &waits {
        for (target, _) in targets {
            behind.entry(target).or_default().push(key);
        }
    }
    let mut free: Vec<&Key> =
        behind.keys().filter(|key| !waits.contains_key(**key)).copied().collect();
    while let Some(key) = free.pop() {
        for waiter in behind.get(key).into_iter().flatten() {
            let Some(left) = waiting.get_mut(*waiter) else { continue };
            *left = left.saturating_sub(1);
            if *left == 0 {
                waiting.remove(*waiter);
                free.push(waiter);
            }
        }
    }
    if waiting.is_empty() { Waits::new() } else { waits }
}

impl Checker<'_, '_> {
    /// Checks a link against all others.
    pub(super) fn link(&mut self, links: &Links<'_, '_>, member: &Member<'_>, link: &LinkDraft) {
        let spec = &link.spec;
        self.named(member, Kind::Instance, link.from, &spec.from);
        if spec.from.project == spec.to.project {
            self.named(member, Kind::Instance, link.to, &spec.to);
        } else if !self.granted(member, link) {
            return;
        }
        self.alias(links, member, link);
        self.reachable(links, member, link);
        if let Some(waiting) = Waiting::of(&member.draft.identity.name, spec)
            && let Some(way) = links.way(&spec.to, &spec.from)
        {
            let own = (spec.to.clone(), Some(waiting));
            self.circle(
                member,
                link.to,
                &spec.from,
                [own].into_iter().chain(way.into_iter().skip(1)),
            );
        }
        let target = links.instance(&spec.to);
        if let Some((_, target)) = target.filter(|_| !link.says_ports)
            && declared_ports(&target.spec).is_empty()
        {
            let label = format!("Instance {} declares no ports, and the link names none", spec.to);
            let problem = Problem::new(link.to, "a link to no port").label(label);
            self.note(member, problem.help("name them: ports: [80]"));
        }
    }

    /// Notes a circle of instances that wait for each other: `own`, then each next one.
    pub(super) fn circle(
        &mut self,
        member: &Member<'_>,
        span: Span,
        own: &Key,
        way: impl Iterator<Item = (Key, Option<Waiting>)>,
    ) {
        let mut circle = own.to_string();
        let (mut linked, mut for_address) = (false, false);
        for (key, waiting) in way {
            circle.push_str(&format!(" -> {key}"));
            if let Some(Waiting { link, for_address: its }) = waiting {
                (linked, for_address) = (true, for_address | its);
                let why = if its { ", for its address" } else { "" };
                circle.push_str(&format!(" (Link {link}{why})"));
            }
        }
        let problem = Problem::new(span, "instances that wait for each other")
            .label(format!("none of them would ever start: {circle}"));
        let help = if for_address {
            "variables of a link (`env: true`) name the address of what runs already; a link with \
             `condition: none` and no `env` waits for nothing"
        } else {
            "a link with `condition: none` waits for nothing"
        };
        self.note(member, if linked { problem.help(help) } else { problem });
    }

    /// Whether the project of the target grants it to the link's.
    fn granted(&mut self, member: &Member<'_>, link: &LinkDraft) -> bool {
        let (from, to) = (&link.spec.from, &link.spec.to);
        let identity = Identity { kind: Kind::Project, project: None, name: to.project.clone() };
        let help = format!(
            "in Project {}: spec: {{ grant: [ {{ project: {}, instances: [{}] }} ] }}",
            to.project, from.project, to.name
        );
        let refused = |label: String| {
            let message = format!("Instance {to} is of another project, which does not grant it");
            Problem::new(link.to, message).label(label).help(help)
        };
        match self.target(member, &identity) {
            Target::Broken(reason) => {
                self.block(member, reason);
                return false;
            }
            Target::Nowhere => {
                let label = format!("Project {} is not declared, so it grants nothing", to.project);
                self.note(member, refused(label));
                return false;
            }
            Target::There => {}
        }
        let mut projects = self.universe.find_identity(&identity);
        let covers = projects.any(|found| match &found.draft.body {
            Some(Body::Project(project)) => {
                project.spec.grant.iter().any(|grant| grant.covers(&from.project, &to.name))
            }
            // It has errors, of which its own file tells.
            Some(_) | None => true,
        });
        if !covers {
            let label =
                format!("Project {} grants it not to project `{}`", to.project, from.project);
            self.note(member, refused(label));
            return false;
        }
        let target = Identity {
            kind: Kind::Instance,
            project: Some(to.project.clone()),
            name: to.name.clone(),
        };
        match self.target(member, &target) {
            Target::There => true,
            Target::Broken(reason) => {
                self.block(member, reason);
                false
            }
            Target::Nowhere => {
                let problem = Problem::new(link.to, format!("Instance {to} is not declared"));
                self.note(
                    member,
                    match self.near(Kind::Instance, to) {
                        Some(near) => {
                            problem.label(format!("did you mean `{}/{near}`?", to.project))
                        }
                        None => problem.label("no Instance of that name in that project"),
                    },
                );
                false
            }
        }
    }

    /// An alias means one thing for its consumer.
    fn alias(&mut self, links: &Links<'_, '_>, member: &Member<'_>, link: &LinkDraft) {
        let spec = &link.spec;
        let others = links.by_user.get(&spec.from).into_iter().flatten();
        let mut others = others.filter(|other| !std::ptr::eq(other.draft, link));
        let taken =
            others.clone().find(|one| one.draft.spec.alias.eq_ignore_ascii_case(&spec.alias));
        if let Some(other) = taken {
            let label = "this link has the same".to_owned();
            let also = self.place(member, &other.member, other.draft.alias, label);
            let message = format!("{} has the alias `{}` twice", spec.from, spec.alias);
            let problem = Problem::new(link.alias, message).label("another link of it has it too");
            return self.note(member, Problem { also: vec![also], ..problem });
        }
        // `my-db` and `my_db` would be one name of a variable.
        let variable = |alias: &str| alias.to_ascii_uppercase().replace('-', "_");
        let shared = others.find(|one| {
            let both = one.draft.spec.env && spec.env;
            both && variable(&one.draft.spec.alias) == variable(&spec.alias)
        });
        if let Some(other) = shared {
            let label = format!("and so would those of `{}`", other.draft.spec.alias);
            let also = self.place(member, &other.member, other.draft.alias, label);
            let name = variable(&spec.alias);
            let problem = Problem::new(link.alias, "variables of two links have the same names")
                .label(format!("they would begin with `{name}_`"));
            return self.note(member, Problem { also: vec![also], ..problem });
        }
        let Some((at, consumer)) = links.instance(&spec.from) else { return };
        let more = &consumer.spec.more;
        let hosts = more.extra_hosts.keys().any(|name| name.eq_ignore_ascii_case(&spec.alias));
        let own = match &more.hostname {
            Some(name) => name.eq_ignore_ascii_case(&spec.alias),
            None => {
                // `web-0` is what the first replica of `web` calls itself.
                let ordinal = spec.alias.strip_prefix(spec.from.name.as_str());
                ordinal.and_then(|rest| rest.strip_prefix('-')).is_some_and(|ordinal| {
                    !ordinal.is_empty() && ordinal.chars().all(|c| c.is_ascii_digit())
                })
            }
        };
        let label = match (hosts, own) {
            (true, _) => format!("`extraHosts` of Instance {} has that name too", spec.from),
            (false, true) => format!("Instance {} calls itself by that name", spec.from),
            (false, false) => return,
        };
        let also = self.place(member, at, at.draft.name_span, "it is declared here".to_owned());
        let message = format!("the alias `{}` means something else", spec.alias);
        let problem = Problem::new(link.alias, message).label(label);
        self.note(member, Problem { also: vec![also], ..problem });
    }

    /// Both have to be on a network where they can be told from others, and on one node.
    fn reachable(&mut self, links: &Links<'_, '_>, member: &Member<'_>, link: &LinkDraft) {
        for (key, span) in [(&link.spec.from, link.from), (&link.spec.to, link.to)] {
            let Some((at, instance)) = links.instance(key) else { continue };
            let placement = instance.spec.more.placement.as_ref();
            if placement.is_some_and(|placement| placement.spread.is_some()) {
                let also = self.place(
                    member,
                    at,
                    at.draft.name_span,
                    "its `placement` has `spread`".to_owned(),
                );
                let problem = Problem::new(span, "a link of an instance that is spread over nodes")
                    .label("linked instances are on one node")
                    .help("take `placement.spread` out of the instance, or the link away");
                self.note(member, Problem { also: vec![also], ..problem });
            }
            let Some(name) = apart(links.universe, instance) else { continue };
            let label = if name == "host" {
                format!(
                    "Instance {key} is on its node's own network, and has no address of its own"
                )
            } else {
                format!("Instance {key} is on no network")
            };
            let here = "it is declared here".to_owned();
            let also = self.place(member, at, at.draft.name_span, here);
            let problem = Problem::new(span, "a link of what is on no network of containers");
            let problem = problem.label(label).help(
                "take `networks` out of the instance, or wait for it with `dependsOn` and no link",
            );
            self.note(member, Problem { also: vec![also], ..problem });
        }
    }

    /// Linked instances are on one node, so they must not be pinned to different ones.
    pub(super) fn pins(&mut self, links: &Links<'_, '_>) {
        // For each set, by its first member: a pinned instance of it, and its node.
        let mut sets = Sets::default();
        let mut pinned: BTreeMap<Key, (Key, Name)> = BTreeMap::new();
        let pin = |key: &Key| {
            let (_, draft) = links.instance(key)?;
            let node = draft.spec.more.placement.as_ref()?.node.clone()?;
            Some((key.clone(), node))
        };
        for link in links.all() {
            let spec = &link.draft.spec;
            let [one, two] = [&spec.from, &spec.to].map(|key| {
                let root = sets.root(key);
                if let Some(pin) = pin(key) {
                    pinned.entry(root.clone()).or_insert(pin);
                }
                root
            });
            if one == two {
                continue;
            }
            let (first, second) = (pinned.get(&one).cloned(), pinned.get(&two).cloned());
            if let (Some((one, on)), Some((two, other))) = (&first, &second)
                && on != other
                && link.member.current
            {
                let label =
                    format!("Instance {one} is pinned to {on}, and Instance {two} to {other}");
                let problem =
                    Problem::new(link.draft.to, "linked instances that cannot be on one node");
                let help = "linked instances are on one node: name the same one, or none";
                self.note(&link.member, problem.label(label).help(help));
            }
            let all = sets.join(one, two);
            if let Some(pin) = first.or(second) {
                pinned.insert(all, pin);
            }
        }
    }
}

/// The engine's own network that keeps an instance apart from all others.
fn apart(universe: &Universe<'_>, instance: &InstanceDraft) -> Option<&'static str> {
    let named = |name: &str| match name {
        "host" => Some("host"),
        "none" => Some("none"),
        _ => None,
    };
    instance.spec.more.networks.iter().find_map(|one| match &one.network {
        NetworkName::Engine(name) => named(name.as_str()),
        NetworkName::Declared(key) => {
            universe.find(Kind::Network, key).find_map(|member| match &member.draft.body {
                Some(Body::Network(network)) => named(&network.driver),
                Some(_) | None => None,
            })
        }
    })
}

/// Sets that grow together; each is known by one of its members.
#[derive(Default)]
struct Sets(HashMap<Key, Key>);

impl Sets {
    fn root(&mut self, key: &Key) -> Key {
        let mut root = key.clone();
        while let Some(next) = self.0.get(&root).filter(|next| **next != root) {
            root = next.clone();
        }
        if *key != root {
            self.0.insert(key.clone(), root.clone());
        }
        root
    }

    fn join(&mut self, one: Key, two: Key) -> Key {
        self.0.insert(two, one.clone());
        one
    }
}
