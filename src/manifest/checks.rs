//! What only the whole set can tell: objects declared twice, references that lead nowhere, and
//! host ports that two instances want.

mod networks;
mod nodes;
mod projects;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use reconciler::model::ids::{Key, Name};
use reconciler::model::spec::{BUILT_IN_FLAVORS, Protocol};

use super::catalogue::Catalogue;
use super::decode::{
    Body, Identity, InstanceDraft, Kind, PortUse, did_you_mean, too_much, unknown_flavor,
};
use super::links::Links;
use super::problem::{Also, Problem, Span};
use super::set::{Member, Now, Universe, unchanged};

/// What [`check`] found, by the index of the file.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<(usize, Problem)>,
    /// Files without a fault of their own that must wait for a broken one, and why.
    pub(crate) blocked: BTreeMap<usize, Arc<str>>,
}

/// Checks the current drafts of `universe` against all others in it. `written` holds what all
/// files say now, whether it is in force or not; `catalogue` says which policies there are.
pub(crate) fn check(
    universe: &Universe<'_>,
    written: &Universe<'_>,
    catalogue: Option<&Catalogue>,
) -> Findings {
    let links = Links::of(universe);
    let mut checker = Checker {
        universe,
        written,
        names: OnceCell::new(),
        nodes: OnceCell::new(),
        uncertain: uncertain(universe),
        found: Findings::default(),
    };
    let duplicates = universe.has_duplicates();
    for (index, member) in universe.members.iter().enumerate() {
        if !member.current {
            continue;
        }
        if duplicates {
            checker.duplicate(index, member);
        }
        if let Some(Body::Instance(instance)) = &member.draft.body {
            checker.volumes(member, instance);
            checker.networks(member, instance);
            checker.flavor(member, instance);
            checker.dependencies(&links, member, instance);
            checker.image(member, instance);
            checker.placement(member, instance);
        }
        if let Some(Body::Node(node)) = &member.draft.body {
            checker.endpoint(member, &node.endpoint);
        }
        if let Some(Body::Project(project)) = &member.draft.body {
            checker.parent(member, project);
        }
        if let Some(Body::Link(link)) = &member.draft.body {
            checker.link(&links, member, link);
        }
        if let Some(Body::Binding(binding)) = &member.draft.body {
            checker.nodes_of_binding(member, binding);
            if let Some(catalogue) = catalogue {
                checker.binding(catalogue, member, binding);
            }
        }
        if let (Some(Body::Waiver(waiver)), Some(catalogue)) = (&member.draft.body, catalogue) {
            checker.waiver(catalogue, member, waiver);
        }
    }
    checker.host_ports();
    checker.pins(&links);
    checker.found
}

pub(super) struct Checker<'c, 'a> {
    pub(super) universe: &'c Universe<'a>,
    written: &'c Universe<'a>,
    names: OnceCell<Names<'a>>,
    /// All declarations of Nodes.
    nodes: OnceCell<Vec<Member<'a>>>,
    /// Files of which nobody knows all that they declare.
    uncertain: Vec<usize>,
    found: Findings,
}

/// What the files name; made only where something is not found.
#[derive(Default)]
struct Names<'a> {
    objects: HashMap<(Kind, &'a Name), Vec<&'a str>>,
    projects: HashSet<&'a Name>,
}

/// Where a name leads.
pub(super) enum Target {
    /// To an object that is in force, or will be.
    There,
    /// To an object that has errors, or may be in what could not be read.
    Broken(String),
    /// Nowhere.
    Nowhere,
}

impl<'a> Checker<'_, 'a> {
    pub(super) fn note(&mut self, member: &Member<'_>, problem: Problem) {
        let object = Arc::from(member.draft.identity.to_string());
        self.found.problems.push((member.file, problem.within(Some(&object))));
    }

    /// A second place, which is in `other`, of a problem in `member`.
    pub(super) fn place(
        &self,
        member: &Member<'_>,
        other: &Member<'_>,
        span: Span,
        label: String,
    ) -> Also {
        let file = self.universe.files.get(other.file).map(|candidate| candidate.file);
        let file = file.filter(|_| member.file != other.file);
        Also { file: file.map(|file| (Arc::clone(file), Arc::clone(other.text))), span, label }
    }

    fn duplicate(&mut self, index: usize, member: &Member<'_>) {
        let identity = &member.draft.identity;
        let Some(other) = self.universe.other(index, identity) else { return };
        let label = if other.current {
            "it is declared here too"
        } else {
            "its last good version declares it too"
        };
        let also = self.place(member, other, other.draft.name_span, label.to_owned());
        let problem = Problem {
            object: Some(Arc::from(identity.to_string())),
            also: vec![also],
            ..Problem::new(member.draft.name_span, format!("{identity} is declared twice"))
        };
        let problem = problem.label("one of the two must go");
        self.found.problems.push((member.file, problem));
    }

    fn volumes(&mut self, member: &Member<'_>, instance: &InstanceDraft) {
        for used in &instance.volumes {
            self.named(member, Kind::Volume, used.span, &used.key);
        }
    }

    fn networks(&mut self, member: &Member<'_>, instance: &InstanceDraft) {
        for used in &instance.networks {
            self.named(member, Kind::Network, used.span, &used.key);
        }
        self.engines_own(member, instance);
    }

    /// What an instance waits for has to be declared, and must not wait for it.
    fn dependencies(
        &mut self,
        links: &Links<'_, '_>,
        member: &Member<'_>,
        instance: &InstanceDraft,
    ) {
        for used in &instance.depends_on {
            self.named(member, Kind::Instance, used.span, &used.key);
        }
        let Some(own) = member
            .draft
            .identity
            .project
            .as_ref()
            .map(|project| Key::new(project.clone(), member.draft.identity.name.clone()))
        else {
            return;
        };
        for used in &instance.depends_on {
            if let Some(way) = links.way(&used.key, &own) {
                return self.circle(member, used.span, &own, way.into_iter());
            }
        }
    }

    /// A flavor that is not built in has to be declared.
    fn flavor(&mut self, member: &Member<'_>, instance: &InstanceDraft) {
        let Some(used) = &instance.flavor else { return };
        let mut broken = None;
        for key in &used.keys {
            match self.target(member, &identity(Kind::Flavor, key)) {
                Target::There => return self.requests(member, instance, key),
                Target::Broken(reason) => broken = broken.or(Some(reason)),
                Target::Nowhere => {}
            }
        }
        if let Some(reason) = broken {
            return self.block(member, reason);
        }
        let known: Vec<String> =
            used.keys.iter().filter_map(|key| self.near(Kind::Flavor, key)).collect();
        let known = known.iter().map(String::as_str);
        let built_in = BUILT_IN_FLAVORS.iter().map(|flavor| flavor.name);
        let names: Vec<&str> = known.chain(built_in).collect();
        self.note(member, unknown_flavor(used.span, &used.text, &names));
    }

    /// What an instance asks for has to be within the limits of its flavor.
    fn requests(&mut self, member: &Member<'_>, instance: &InstanceDraft, flavor: &Key) {
        let Some(span) = instance.requests else { return };
        let bodies = self.universe.find(Kind::Flavor, flavor).map(|found| &found.draft.body);
        let problems: Vec<Problem> = bodies
            .filter_map(|body| match body {
                Some(Body::Flavor(flavor)) => {
                    too_much(span, &instance.spec.more.requests, &flavor.resources)
                }
                Some(_) | None => None,
            })
            .collect();
        for problem in problems {
            self.note(member, problem);
        }
    }

    /// An object of the instance's own project that it names.
    pub(super) fn named(&mut self, member: &Member<'_>, kind: Kind, span: Span, key: &Key) {
        if Some(&key.project) != member.draft.identity.project.as_ref() {
            self.note(member, foreign(span, &format!("{kind} {key}"), &key.project));
            return;
        }
        match self.target(member, &identity(kind, key)) {
            Target::There => {}
            Target::Broken(reason) => self.block(member, reason),
            Target::Nowhere => {
                let near = self.near(kind, key);
                let problem = Problem::new(span, format!("{kind} {key} is not declared"));
                self.note(
                    member,
                    match near {
                        Some(near) => problem.label(format!("did you mean `{near}`?")),
                        None => problem
                            .label(format!("no {kind} of that name in the project"))
                            .help(format!(
                                "declare it: kind: {kind}, metadata: {{ name: {}, project: {} }}",
                                key.name, key.project
                            )),
                    },
                );
            }
        }
    }

    fn image(&mut self, member: &Member<'_>, instance: &InstanceDraft) {
        let Some(key) = &instance.image.key else { return };
        let (span, text) = (instance.image.span, &instance.image.text);
        let own = Some(&key.project) == member.draft.identity.project.as_ref();
        match self.target(member, &identity(Kind::Image, key)) {
            Target::There if own => return,
            Target::Broken(reason) if own => return self.block(member, reason),
            Target::There | Target::Broken(_) => {
                return self.note(member, foreign(span, &format!("Image {key}"), &key.project));
            }
            Target::Nowhere => {}
        }
        let explicit = format!("declare it, or write `{text}:latest` for the registry's image");
        let held = self.universe.files.get(member.file).and_then(|candidate| candidate.held);
        if held.is_some_and(|held| held.images.contains(key)) {
            let problem = Problem::new(span, format!("Image {key} is no longer declared"));
            return self.note(member, problem.label("this was its name so far").help(explicit));
        }
        if text.contains('/') {
            // A path in a registry, unless it begins with a project of ours.
            if self.names().projects.contains(&key.project) {
                let problem = Problem::new(span, format!("Image {key} is not declared"));
                let label = format!("`{}` is a project, and has no such Image", key.project);
                self.note(member, problem.label(label).help(explicit));
            }
            return;
        }
        // `redis` beside an Image `redis-7` is meant; `rdeis` beside `redis` is not.
        let name = key.name.as_str();
        let near = self.near(Kind::Image, key);
        let near = near.filter(|near| !near.starts_with(name) && !name.starts_with(near));
        if let Some(near) = near {
            let problem = Problem::new(span, format!("Image {key} is not declared"));
            self.note(member, problem.label(format!("did you mean `{near}`?")).help(explicit));
        }
    }

    pub(super) fn block(&mut self, member: &Member<'_>, reason: String) {
        self.found.blocked.entry(member.file).or_insert_with(|| Arc::from(reason));
    }

    pub(super) fn target(&self, member: &Member<'_>, identity: &Identity) -> Target {
        let mut held = None;
        for found in self.universe.find_identity(identity) {
            if found.current {
                return Target::There;
            }
            held = Some(found.file);
        }
        let files = self.universe.files;
        let waits = |file: usize| {
            let file = files.get(file).map_or("", |candidate| candidate.file);
            Target::Broken(format!("it needs {identity}, and {file} has errors"))
        };
        if let Some(file) = held {
            // What was good together stays so; a change waits until both are good.
            let settled = files.get(member.file).is_some_and(unchanged);
            return if settled { Target::There } else { waits(file) };
        }
        if let Some(found) = self.written.find_identity(identity).next() {
            return waits(found.file);
        }
        let may = |file: &&usize| {
            files.get(**file).is_some_and(|file| may_declare(file.now, file.held, identity))
        };
        match self.uncertain.iter().find(may) {
            Some(file) => waits(*file),
            None => Target::Nowhere,
        }
    }

    /// A declared object whose name is almost that of `key`.
    pub(super) fn near(&self, kind: Kind, key: &Key) -> Option<String> {
        let names = self.names().objects.get(&(kind, &key.project))?;
        did_you_mean(key.name.as_str(), names.iter().copied()).map(str::to_owned)
    }

    fn names(&self) -> &Names<'a> {
        self.names.get_or_init(|| {
            let mut names = Names::default();
            for member in &self.written.members {
                let Identity { kind, project, name } = &member.draft.identity;
                let Some(project) = project else { continue };
                names.projects.insert(project);
                names.objects.entry((*kind, project)).or_default().push(name.as_str());
            }
            names
        })
    }

    /// Notes host ports that two instances want, which can only be on one node.
    fn host_ports(&mut self) {
        let nodes = self.universe.members.iter().filter(|m| m.draft.identity.kind == Kind::Node);
        if nodes.count() > 1 {
            return; // the planner places them apart, or says that it cannot
        }
        let mut claims = self.claims();
        claims.sort_by_key(|claim| (claim.protocol, claim.first, claim.last, claim.member));
        let mut told = vec![false; claims.len()];
        for (index, claim) in claims.iter().enumerate() {
            for (later, other) in claims.iter().enumerate().skip(index + 1) {
                if other.protocol != claim.protocol || other.first > claim.last {
                    break;
                }
                // One conflict a claim says enough: a thousand equal ports would make a million.
                if (told[index] && told[later]) || !overlap(claim.address, other.address) {
                    continue;
                }
                for (at, one, two) in [(index, claim, other), (later, other, claim)] {
                    if !std::mem::replace(&mut told[at], true) {
                        self.conflict(one, two);
                    }
                }
            }
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (member, in_set) in self.universe.members.iter().enumerate() {
            let Some(Body::Instance(instance)) = &in_set.draft.body else { continue };
            for PortUse { span, protocol, host, address } in &instance.ports {
                let Some(range) = host else { continue };
                // Each container takes one of the first; the rest of a range is room to grow.
                let used = instance.spec.slots().min(range.len());
                let Some(last) = used.checked_sub(1).and_then(|last| range.nth(last)) else {
                    continue;
                };
                let (span, protocol, address) = (*span, *protocol, *address);
                claims.push(Claim { member, span, protocol, first: range.first, last, address });
            }
        }
        claims
    }

    fn conflict(&mut self, claim: &Claim, other: &Claim) {
        let members = &self.universe.members;
        let (Some(member), Some(rival)) = (members.get(claim.member), members.get(other.member))
        else {
            return;
        };
        if !member.current {
            return;
        }
        let (member, rival) = (*member, *rival);
        let port = claim.first.max(other.first);
        let by = format!("by {}", rival.draft.identity);
        let also = vec![self.place(&member, &rival, other.span, by)];
        let problem = Problem::new(claim.span, format!("host port {port} is taken twice"));
        let problem = Problem { also, ..problem }.label("here");
        self.note(&member, problem);
    }
}

/// A host port, or several, that an instance wants.
struct Claim {
    member: usize,
    span: Span,
    protocol: Protocol,
    first: u16,
    last: u16,
    address: Option<IpAddr>,
}

/// Whether listening on both addresses would fail. No address means all of both families.
fn overlap(one: Option<IpAddr>, two: Option<IpAddr>) -> bool {
    match (one, two) {
        (None, _) | (_, None) => true,
        (Some(one), Some(two)) => {
            let family = one.is_ipv4() == two.is_ipv4();
            one == two || (family && (one.is_unspecified() || two.is_unspecified()))
        }
    }
}

fn identity(kind: Kind, key: &Key) -> Identity {
    Identity { kind, project: Some(key.project.clone()), name: key.name.clone() }
}

fn foreign(span: Span, what: &str, project: &Name) -> Problem {
    let message =
        format!("{what} needs a grant of project `{project}`, which is not supported yet");
    Problem::new(span, message).label("only objects of the same project can be named")
}

/// The files that may declare more than is known.
fn uncertain(universe: &Universe<'_>) -> Vec<usize> {
    let files = universe.files.iter().enumerate();
    let unsure = files.filter(|(_, file)| match file.now {
        Now::Gone => false,
        Now::Unknown(_) => true,
        Now::Read(version) => version.incomplete,
    });
    unsure.map(|(index, _)| index).collect()
}

/// Whether an object may be declared in the part of a file that could not be read. A wrong yes
/// makes an instance wait; a wrong no would have it run an image of some registry.
fn may_declare(now: Now<'_>, held: Option<&super::version::Held>, identity: &Identity) -> bool {
    let in_held = || {
        let drafts = held.map_or(&[][..], |held| &held.version.drafts);
        drafts.iter().any(|draft| draft.identity == *identity)
    };
    match now {
        Now::Gone => false,
        Now::Unknown(_) => in_held(),
        Now::Read(version) => {
            version.incomplete && (version.text.contains(identity.name.as_str()) || in_held())
        }
    }
}
