//! All files together: which version of each is in force, and what they declare.
//!
//! Pure. Read [`settle`] first. A file with an error keeps its last good version; so does a file
//! that was changed together with one that is broken. Nothing here makes an object vanish that a
//! good file, or the last good version of a bad one, declares.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet, Source, Spec};
use reconciler::model::ids::{Key, Name};

use super::catalogue::Catalogue;
use super::checks::check;
use super::decode::{Body, Draft, Identity, InstanceDraft, Kind, NetworkRef, Resolution, Resolved};
use super::links::declared_ports;
use super::problem::Problem;
use super::version::{Held, Version};

/// What is known about a file.
pub(crate) struct Candidate<'a> {
    pub(crate) file: &'a Arc<str>,
    pub(crate) now: Now<'a>,
    pub(crate) held: Option<&'a Held>,
}

impl<'a> Candidate<'a> {
    /// The projects that the file names, in what it says now and in what is in force of it.
    pub(crate) fn projects(&self) -> impl Iterator<Item = &'a Name> + use<'a> {
        let now = match self.now {
            Now::Read(version) => version.drafts.as_slice(),
            Now::Gone | Now::Unknown(_) => &[],
        };
        let held = self.held.filter(|_| !unchanged(self));
        let held = held.map_or(&[][..], |held| held.version.drafts.as_slice());
        now.iter().chain(held).filter_map(|draft| draft.identity.project.as_ref())
    }
}

/// What a file says now.
#[derive(Clone, Copy)]
pub(crate) enum Now<'a> {
    /// It is not there.
    Gone,
    /// Nobody can tell: the folder that it is in cannot be read.
    Unknown(&'a str),
    /// It was read, with or without errors.
    Read(&'a Arc<Version>),
}

/// Which version of a file is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// What it says now.
    Current,
    /// Its last good version, if it has one, and why.
    Held(Arc<str>),
    /// Nothing: the file is gone.
    Gone,
}

/// What [`settle`] found; the lists go by the index of the candidate.
pub(crate) struct Settled {
    pub(crate) choices: Vec<Choice>,
    /// Problems between files.
    pub(crate) problems: Vec<Vec<Problem>>,
    /// For a file whose current version is in force: the declared Images that it uses.
    pub(crate) images: Vec<BTreeSet<Key>>,
    /// Files that are gone, of whose last good version something is still needed.
    pub(crate) needed: BTreeSet<usize>,
    pub(crate) desired: DesiredSet,
}

/// The drafts that are considered together, and where each stands.
pub(crate) struct Universe<'a> {
    pub(crate) files: &'a [Candidate<'a>],
    pub(crate) members: Vec<Member<'a>>,
    /// The last draft of each object.
    last: HashMap<&'a Identity, usize>,
    /// For each draft of an object that is declared more than once, the one before it.
    before: HashMap<usize, usize>,
}

/// A draft in a universe.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) file: usize,
    pub(crate) draft: &'a Draft,
    /// The text that the draft stands in.
    pub(crate) text: &'a Arc<str>,
    /// Whether it is what the file says now, and so can be wrong.
    pub(crate) current: bool,
}

impl<'a> Universe<'a> {
    fn new(
        files: &'a [Candidate<'a>],
        version: impl Fn(usize) -> Option<(&'a Version, bool)>,
    ) -> Self {
        let mut members = Vec::new();
        for file in 0..files.len() {
            if let Some((version, current)) = version(file) {
                let text = &version.text;
                let drafts = version.drafts.iter();
                members.extend(drafts.map(|draft| Member { file, draft, text, current }));
            }
        }
        let mut last: HashMap<&Identity, usize> = HashMap::with_capacity(members.len());
        let mut before = HashMap::new();
        for (index, member) in members.iter().enumerate() {
            if let Some(other) = last.insert(&member.draft.identity, index) {
                before.insert(index, other);
            }
        }
        Self { files, members, last, before }
    }

    /// Whether any object is declared more than once.
    pub(crate) fn has_duplicates(&self) -> bool {
        !self.before.is_empty()
    }

    /// Another draft than that at `index` of the same object.
    pub(crate) fn other(&self, index: usize, identity: &Identity) -> Option<&Member<'a>> {
        let other = self.drafts(identity).find(|other| *other != index)?;
        self.members.get(other)
    }

    /// The drafts of an object: more than one where it is declared twice.
    pub(crate) fn find(
        &self,
        kind: Kind,
        key: &Key,
    ) -> impl Iterator<Item = &Member<'a>> + use<'_, 'a> {
        let (project, name) = (Some(key.project.clone()), key.name.clone());
        self.find_identity(&Identity { kind, project, name })
    }

    /// The same, of what may be in no project.
    pub(crate) fn find_identity(
        &self,
        of: &Identity,
    ) -> impl Iterator<Item = &Member<'a>> + use<'_, 'a> {
        let drafts = self.drafts(of);
        drafts.filter_map(|index| self.members.get(index))
    }

    fn drafts(&self, identity: &Identity) -> impl Iterator<Item = usize> + use<'_, 'a> {
        let last = self.last.get(identity).copied();
        std::iter::successors(last, |index| self.before.get(index).copied())
    }
}

/// Decides which version of each file is in force.
pub(crate) fn settle(files: &[Candidate<'_>], catalogue: Option<&Catalogue>) -> Settled {
    let current = |file: usize| match files.get(file).map(|candidate| candidate.now) {
        Some(Now::Read(version)) => Some((&**version, true)),
        Some(Now::Gone | Now::Unknown(_)) | None => None,
    };
    // First what the files say now, good or bad, so that all errors are found in one run.
    let written = Universe::new(files, current);
    let mut problems = vec![Vec::new(); files.len()];
    for (file, problem) in check(&written, &written, catalogue).problems {
        problems[file].push(problem);
    }
    let pairs = files.iter().zip(&problems);
    let mut choices: Vec<Choice> = pairs.map(|(file, found)| first_choice(file, found)).collect();
    // Then what would be in force, until nothing more has to be held back. Each turn holds back
    // one file at least, so this ends.
    loop {
        // Where nothing is held back it is what was checked already.
        if !choices.iter().any(|choice| matches!(choice, Choice::Held(_))) {
            return collect(&written, &choices, problems);
        }
        let universe = Universe::new(files, |file| chosen(files, &choices, file));
        let found = check(&universe, &written, catalogue);
        if found.problems.is_empty() && found.blocked.is_empty() {
            return collect(&universe, &choices, problems);
        }
        for (file, reason) in found.blocked {
            choices[file] = Choice::Held(reason);
        }
        for (file, problem) in found.problems {
            choices[file] = Choice::Held(Arc::from(problem.line(files[file].file)));
            problems[file].push(problem);
        }
    }
}

fn first_choice(candidate: &Candidate<'_>, found: &[Problem]) -> Choice {
    match candidate.now {
        Now::Gone => Choice::Gone,
        Now::Unknown(reason) => Choice::Held(Arc::from(reason)),
        Now::Read(version) => match version.problems.first().or(found.first()) {
            None => Choice::Current,
            Some(first) => Choice::Held(Arc::from(first.line(candidate.file))),
        },
    }
}

/// The version of a file that is chosen, and whether it is the current one.
fn chosen<'a>(
    files: &'a [Candidate<'a>],
    choices: &[Choice],
    file: usize,
) -> Option<(&'a Version, bool)> {
    let candidate = &files[file];
    match (&choices[file], candidate.now) {
        (Choice::Current, Now::Read(version)) => Some((version, true)),
        (Choice::Current, Now::Gone | Now::Unknown(_)) | (Choice::Gone, _) => None,
        (Choice::Held(_), _) => candidate.held.map(|held| (&*held.version, false)),
    }
}

/// Makes the set of objects that are in force.
fn collect(universe: &Universe<'_>, choices: &[Choice], problems: Vec<Vec<Problem>>) -> Settled {
    let files = universe.files;
    let mut images = vec![BTreeSet::new(); files.len()];
    let mut wanted = BTreeSet::new();
    let mut desired = DesiredSet::default();
    for member in &universe.members {
        let candidate = &files[member.file];
        let stale = match &choices[member.file] {
            // What stands there is what is in force, whatever else is wrong with it.
            Choice::Held(_) if unchanged(candidate) => None,
            Choice::Held(reason) => Some(Arc::clone(reason)),
            Choice::Current | Choice::Gone => None,
        };
        let mut resolution = Resolution::default();
        if let Some(Body::Instance(instance)) = &member.draft.body {
            let image = declared_image(universe, member, instance);
            if let Some(key) = image {
                images[member.file].insert(key.clone());
            }
            wanted.extend(image.map(|key| (Kind::Image, key)));
            wanted.extend(instance.volumes.iter().map(|used| (Kind::Volume, &used.key)));
            wanted.extend(instance.networks.iter().map(|used| (Kind::Network, &used.key)));
            let flavors = instance.flavor.iter().flat_map(|used| &used.keys);
            wanted.extend(flavors.map(|key| (Kind::Flavor, key)));
            resolution = resolve(universe, files, image, instance);
        }
        if let Some(Body::Link(link)) = &member.draft.body {
            // What is not there declares nothing.
            let target = body_of(universe, files, Kind::Instance, &link.spec.to);
            if let Some(Body::Instance(target)) = target {
                resolution.ports = declared_ports(&target.spec);
            }
        }
        insert(&mut desired, candidate.file, member.draft, resolution, stale);
    }
    // What an instance in force still names outlives its own file, and so does a project that
    // others are in.
    let mut needed = BTreeSet::new();
    let parents = parents(universe);
    let is_gone = |(_, candidate): &(usize, &Candidate<'_>)| matches!(candidate.now, Now::Gone);
    for (index, candidate) in files.iter().enumerate().filter(is_gone) {
        let Some(held) = candidate.held else { continue };
        for draft in &held.version.drafts {
            let Identity { kind, project, name } = &draft.identity;
            let is_wanted = match project {
                Some(project) => {
                    wanted.contains(&(*kind, &Key::new(project.clone(), name.clone())))
                }
                None => *kind == Kind::Project && parents.contains(name),
            };
            if !is_wanted || universe.find_identity(&draft.identity).next().is_some() {
                continue;
            }
            let reason =
                format!("{} is gone, but its {} is still in use", candidate.file, draft.identity);
            let stale = Some(Arc::from(reason));
            insert(&mut desired, candidate.file, draft, Resolution::default(), stale);
            needed.insert(index);
        }
    }
    Settled { choices: choices.to_vec(), problems, images, needed, desired }
}

/// The projects that those in force are in, by way of those in files that are gone, too.
fn parents<'a>(universe: &Universe<'a>) -> BTreeSet<&'a Name> {
    let parent = |draft: &'a Draft| match &draft.body {
        Some(Body::Project(project)) => project.spec.parent.as_ref(),
        Some(_) | None => None,
    };
    let mut parents = BTreeSet::new();
    let mut open: Vec<&Name> =
        universe.members.iter().filter_map(|member| parent(member.draft)).collect();
    while let Some(name) = open.pop() {
        if !parents.insert(name) {
            continue;
        }
        let gone = universe.files.iter().filter(|file| matches!(file.now, Now::Gone));
        let drafts = gone.filter_map(|file| file.held).flat_map(|held| &held.version.drafts);
        let is_it =
            |draft: &&Draft| draft.identity.kind == Kind::Project && draft.identity.name == *name;
        open.extend(drafts.filter(is_it).filter_map(parent));
    }
    parents
}

/// Whether the file says what its last good version says.
pub(crate) fn unchanged(candidate: &Candidate<'_>) -> bool {
    match (candidate.now, candidate.held) {
        (Now::Read(version), Some(held)) => {
            Arc::ptr_eq(version, &held.version) || version.same(&held.version)
        }
        (Now::Read(_) | Now::Gone | Now::Unknown(_), _) => false,
    }
}

/// The declared Image that an instance runs, if it is no reference that it names.
fn declared_image<'a>(
    universe: &Universe<'_>,
    member: &Member<'a>,
    instance: &'a InstanceDraft,
) -> Option<&'a Key> {
    let key = instance.image.key.as_ref()?;
    let held = universe.files[member.file].held;
    let declared = if member.current {
        universe.find(Kind::Image, key).next().is_some()
    } else {
        held.is_some_and(|held| held.images.contains(key))
    };
    declared.then_some(key)
}

/// What the names that an instance in force uses lead to.
fn resolve(
    universe: &Universe<'_>,
    files: &[Candidate<'_>],
    image: Option<&Key>,
    instance: &InstanceDraft,
) -> Resolution {
    // What an instance in force names may be in a file that is gone.
    let body = |kind, key: &Key| body_of(universe, files, kind, key);
    let flavor = instance.flavor.iter().flat_map(|used| &used.keys).find_map(|key| {
        match body(Kind::Flavor, key) {
            Some(Body::Flavor(flavor)) => Some(flavor.resources.clone()),
            Some(_) | None => None,
        }
    });
    let engines_own = |used: &NetworkRef| match body(Kind::Network, &used.key) {
        Some(Body::Network(network)) if network.is_engines_own() => {
            Some((used.key.clone(), Name::new(&network.driver).ok()?))
        }
        Some(_) | None => None,
    };
    Resolution {
        image: image.cloned(),
        resources: flavor,
        engines_own: instance.networks.iter().filter_map(engines_own).collect(),
        ports: Vec::new(),
    }
}

/// What an object is declared as, in a file that is there or in one that is gone.
fn body_of<'a>(
    universe: &Universe<'a>,
    files: &[Candidate<'a>],
    kind: Kind,
    key: &Key,
) -> Option<&'a Body> {
    let there = universe.find(kind, key).find_map(|member| member.draft.body.as_ref());
    there.or_else(|| held_body(files, kind, key))
}

/// The last good declaration of an object in a file that is gone.
fn held_body<'a>(files: &[Candidate<'a>], kind: Kind, key: &Key) -> Option<&'a Body> {
    let gone = files.iter().filter(|file| matches!(file.now, Now::Gone));
    let drafts = gone.filter_map(|file| file.held).flat_map(|held| &held.version.drafts);
    let is_it = |draft: &&Draft| {
        let Identity { kind: of, project, name } = &draft.identity;
        *of == kind && project.as_ref() == Some(&key.project) && *name == key.name
    };
    drafts.filter(is_it).find_map(|draft| draft.body.as_ref())
}

/// Adds what a version in force declares. `images` are the declared Images that it uses; flavors and
/// networks lead to what they led to last.
pub(crate) fn declare(
    desired: &mut DesiredSet,
    file: &Arc<str>,
    version: &Version,
    images: &BTreeSet<Key>,
) {
    for draft in &version.drafts {
        let mut resolution = Resolution::default();
        if let Some(Body::Instance(instance)) = &draft.body {
            resolution = instance.last_resolution();
            let image = instance.image.key.as_ref().filter(|key| images.contains(key));
            resolution.image = image.cloned();
        }
        if let Some(Body::Link(link)) = &draft.body {
            resolution.ports = link.last_ports();
        }
        insert(desired, file, draft, resolution, None);
    }
}

fn insert(
    desired: &mut DesiredSet,
    file: &Arc<str>,
    draft: &Draft,
    resolution: Resolution,
    stale: Option<Arc<str>>,
) {
    let Draft { identity, span, name_span: _, labels, annotations, body } = draft;
    let Some(body) = body else { return };
    let source = Source { file: Arc::clone(file), line: span.line, column: span.column };
    let project = identity.project.clone().unwrap_or_else(Name::default_project);
    let key = Key::new(project, identity.name.clone());
    let (labels, annotations) = (labels.clone(), annotations.clone());
    match body {
        Body::Instance(instance) => {
            let Resolved { spec, digest, basis } = instance.resolved(resolution);
            let declared = Declared { labels, annotations, spec, digest, basis, source, stale };
            desired.instances.insert(key, declared);
        }
        Body::Image(spec) => {
            let declared = plain(spec, labels, annotations, source, stale);
            let declared = Declared { basis: spec.basis(), ..declared };
            desired.images.insert(key, declared);
        }
        Body::Volume(spec) => {
            let declared = plain(spec, labels, annotations, source, stale);
            desired.volumes.insert(key, declared);
        }
        Body::Network(spec) => {
            let declared = plain(spec, labels, annotations, source, stale);
            desired.networks.insert(key, declared);
        }
        Body::Link(link) => {
            let spec = link.resolved(resolution.ports);
            let declared = plain(&spec, labels, annotations, source, stale);
            desired.links.insert(key, declared);
        }
        Body::Flavor(spec) => {
            let declared = plain(spec, labels, annotations, source, stale);
            desired.flavors.insert(key, declared);
        }
        Body::Project(draft) => {
            let declared = plain(&draft.spec, labels, annotations, source, stale);
            desired.projects.insert(key.name, declared);
        }
        Body::Node(spec) => {
            let declared = plain(spec, labels, annotations, source, stale);
            desired.nodes.insert(key.name, declared);
        }
        Body::Binding(draft) => {
            let declared = plain(&draft.spec, labels, annotations, source, stale);
            desired.bindings.insert(key, declared);
        }
        Body::Waiver(draft) => {
            let declared = plain(&draft.spec, labels, annotations, source, stale);
            desired.waivers.insert(key, declared);
        }
    }
}

/// A declaration whose names lead nowhere else.
fn plain<S: Spec>(
    spec: &Arc<S>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    source: Source,
    stale: Option<Arc<str>>,
) -> Declared<S> {
    let digest = spec.digest();
    let (spec, basis) = (Arc::clone(spec), digest.clone());
    Declared { labels, annotations, spec, digest, basis, source, stale }
}
