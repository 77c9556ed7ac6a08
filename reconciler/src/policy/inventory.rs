//! All that is declared, as a handle with questions: scripts never get the whole as a list, and what
//! is asked for often is counted once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use rhai::{Array, Dynamic, ImmutableString};

use super::script::fault::{Answer, mistyped};
use super::script::run::Run;
use super::view::record::nearest;
use super::view::{Missing, Object, ObjectRef, Record};
use crate::model::desired::DesiredSet;
use crate::model::ids::{Digest, ImageName, Key, Name};
use crate::model::quantity::{Bytes, Cpus};
use crate::model::spec::policy::ObjectKind;
use crate::model::spec::{InstanceSpec, LinkSpec};
use crate::policy::script::language::words::Words;

/// A handle to all that is declared. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Inventory(Arc<Inner>);

#[derive(Debug, Clone, Default)]
struct Inner {
    objects: BTreeMap<ObjectRef, Arc<Object>>,
    sums: BTreeMap<Name, Sums>,
    /// Another one for each change: tells two states apart without a look at all objects.
    generation: u64,
    digest: OnceLock<Digest>,
    /// What is pinned to nodes, and who is on a circle of links: counted once somebody asks.
    on_nodes: OnceLock<BTreeMap<Name, Sums>>,
    circles: OnceLock<Circles>,
}

/// Who comes back to itself by links.
#[derive(Debug, Clone, Default)]
struct Circles {
    /// By links that wait.
    waiting: BTreeSet<String>,
    /// By any links.
    all: BTreeSet<String>,
}

/// What the instances of a project ask for, times their replicas.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    cpus: u64,
    memory: u64,
    pids: u64,
    requested_cpus: u64,
    requested_memory: u64,
    replicas: u64,
    instances: u64,
    ports: u64,
    /// How many instances have no limit of that kind: a sum says nothing of them.
    without_cpus: u64,
    without_memory: u64,
    without_pids: u64,
}

/// What can be summed up.
const SUMS: [&str; 11] = [
    "memory",
    "cpus",
    "pids",
    "requests.memory",
    "requests.cpus",
    "replicas",
    "instances",
    "ports",
    "unlimited.memory",
    "unlimited.cpus",
    "unlimited.pids",
];

impl Inventory {
    /// The objects of `desired`. Those that are as they were in `last` are taken from there.
    #[must_use]
    pub fn of(desired: &DesiredSet, last: Option<&Self>) -> Self {
        let mut inner = Inner::default();
        each(desired, desired, &mut |name, make, is_made| {
            let same = last.and_then(|last| last.0.objects.get(&name));
            let same = same.filter(|object| is_made(object));
            let object = same.map_or_else(|| Arc::new(make()), Arc::clone);
            inner.objects.insert(name, object);
        });
        for (key, declared) in &desired.instances {
            inner.sums.entry(key.project.clone()).or_default().add(&declared.spec);
        }
        if let Some(last) = last {
            inner.generation = last.0.generation;
            if !last.is_same(&inner) {
                inner.generation += 1;
            }
        }
        Self(Arc::new(inner))
    }

    /// Puts the objects of `changed` in the place of those of the same names. `desired` is the set
    /// with the change, in which there are the same objects as before. It returns which objects are
    /// others now: instances whose Image changed are among them.
    pub fn change(&mut self, desired: &DesiredSet, changed: &DesiredSet) -> BTreeSet<ObjectRef> {
        let inner = Arc::make_mut(&mut self.0);
        inner.generation += 1;
        inner.digest = OnceLock::new();
        inner.on_nodes = OnceLock::new();
        inner.circles = OnceLock::new();
        let mut others = BTreeSet::new();
        each(desired, changed, &mut |name, make, _| {
            inner.objects.insert(name.clone(), Arc::new(make()));
            others.insert(name);
        });
        if !changed.images.is_empty() {
            for (key, declared) in &desired.instances {
                let ImageName::Declared(image) = &declared.spec.image else { continue };
                if changed.images.contains_key(image) {
                    let object = Object::instance(key, declared, desired.images.get(image));
                    let name = ObjectRef { kind: ObjectKind::Instance, key: key.clone() };
                    inner.objects.insert(name.clone(), Arc::new(object));
                    others.insert(name);
                }
            }
        }
        let projects: BTreeSet<&Name> = changed.instances.keys().map(|key| &key.project).collect();
        for project in projects {
            let mut sums = Sums::default();
            let all = desired.instances.range(Key::first_of(project)..);
            for (_, declared) in all.take_while(|(key, _)| key.project == *project) {
                sums.add(&declared.spec);
            }
            inner.sums.insert(project.clone(), sums);
        }
        others
    }

    /// Another one for each change of what is declared.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation
    }

    fn is_same(&self, other: &Inner) -> bool {
        self.0.objects.len() == other.objects.len()
            && self.0.objects.values().zip(other.objects.values()).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// All objects, by kind and key.
    pub fn objects(&self) -> impl Iterator<Item = (&ObjectRef, &Arc<Object>)> {
        self.0.objects.iter()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &ObjectRef) -> Option<&Arc<Object>> {
        self.0.objects.get(name)
    }

    /// Digest of all that scripts see of it.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        self.0.digest.get_or_init(|| digest_of(&self.0))
    }

    fn of_kind(&self, kind: ObjectKind) -> impl Iterator<Item = &Arc<Object>> {
        let all = self.0.objects.range(first_of(kind)..);
        all.take_while(move |(name, _)| name.kind == kind).map(|(_, object)| object)
    }

    fn projects(&self) -> Vec<Name> {
        let declared =
            self.of_kind(ObjectKind::Project).map(|object| object.name().key.name.clone());
        let mut projects: Vec<_> = declared.chain(self.0.sums.keys().cloned()).collect();
        projects.sort();
        projects.dedup();
        projects
    }

    /// What instances that are pinned to a node ask for.
    fn sum_on(&self, node: &str, what: &str) -> Answer<Dynamic> {
        let sums = self.0.on_nodes.get_or_init(|| {
            let mut sums: BTreeMap<Name, Sums> = BTreeMap::new();
            for object in self.of_kind(ObjectKind::Instance) {
                let Some(spec) = object.spec().downcast_ref::<InstanceSpec>() else { continue };
                let placement = spec.more.placement.as_ref();
                if let Some(node) = placement.and_then(|placement| placement.node.as_ref()) {
                    sums.entry(node.clone()).or_default().add(spec);
                }
            }
            sums
        });
        let name = Name::new(node).ok();
        name.and_then(|name| sums.get(&name)).copied().unwrap_or_default().get(what)
    }

    fn circles(&self) -> &Circles {
        self.0.circles.get_or_init(|| {
            let of = |only_waiting: bool| {
                let links = self.of_kind(ObjectKind::Link).filter_map(|link| {
                    let spec = link.spec().downcast_ref::<LinkSpec>()?;
                    (spec.condition.is_some() || !only_waiting)
                        .then(|| (spec.from.to_string(), spec.to.to_string()))
                });
                on_circles(links)
            };
            Circles { waiting: of(true), all: of(false) }
        })
    }

    fn sum(&self, project: &str, what: &str) -> Answer<Dynamic> {
        let name = Name::new(project).ok();
        let sums = name.and_then(|name| self.0.sums.get(&name)).copied().unwrap_or_default();
        sums.get(what)
    }
}

/// Takes the name of an object, how it is made, and how to tell whether one would be the same again.
type Add<'a> = dyn FnMut(ObjectRef, &dyn Fn() -> Object, &dyn Fn(&Object) -> bool) + 'a;

/// Calls `add` for each object of `some`, which is a part of `all`.
fn each(all: &DesiredSet, some: &DesiredSet, add: &mut Add<'_>) {
    macro_rules! of_kind {
        ($map:ident, $kind:ident, $key:expr, $make:expr) => {
            for (key, declared) in &some.$map {
                let name = ObjectRef { kind: ObjectKind::$kind, key: $key(key) };
                add(name, &|| $make(key, declared), &|object| object.is_made_of(declared, None));
            }
        };
    }
    for (key, declared) in &some.instances {
        let image = match &declared.spec.image {
            ImageName::Declared(image) => all.images.get(image),
            ImageName::Reference(_) => None,
        };
        let name = ObjectRef { kind: ObjectKind::Instance, key: key.clone() };
        let digest = image.map(|image| &image.digest);
        let is_made = |object: &Object| object.is_made_of(declared, digest);
        add(name, &|| Object::instance(key, declared, image), &is_made);
    }
    of_kind!(images, Image, Key::clone, Object::image);
    of_kind!(volumes, Volume, Key::clone, Object::volume);
    of_kind!(networks, Network, Key::clone, Object::network);
    of_kind!(links, Link, Key::clone, Object::link);
    of_kind!(flavors, Flavor, Key::clone, Object::flavor);
    of_kind!(bindings, PolicyBinding, Key::clone, Object::binding);
    of_kind!(waivers, Waiver, Key::clone, Object::waiver);
    let own = |name: &Name| Key::new(name.clone(), name.clone());
    of_kind!(projects, Project, own, Object::project);
    let shared = |name: &Name| Key::new(Name::default_project(), name.clone());
    of_kind!(nodes, Node, shared, Object::node);
}

fn first_of(kind: ObjectKind) -> ObjectRef {
    let empty = Name::default_project();
    let mut key = Key::first_of(&empty);
    key.project = key.name.clone();
    ObjectRef { kind, key }
}

fn digest_of(inner: &Inner) -> Digest {
    let mut text = String::new();
    for object in inner.objects.values() {
        text.push_str(&object.digest().0);
    }
    Digest::of(text.as_bytes())
}

impl Sums {
    fn add(&mut self, spec: &InstanceSpec) {
        let times = u64::from(spec.replicas);
        let part = |amount: Option<u64>| amount.unwrap_or(0).saturating_mul(times);
        let limits = &spec.resources;
        let more = |sum: &mut u64, amount: u64| *sum = sum.saturating_add(amount);
        more(&mut self.cpus, part(limits.cpus.map(|cpus| cpus.0)));
        more(&mut self.memory, part(limits.memory.map(|memory| memory.0)));
        more(&mut self.pids, part(limits.pids));
        more(&mut self.requested_cpus, part(spec.more.requests.cpus.map(|cpus| cpus.0)));
        more(&mut self.requested_memory, part(spec.more.requests.memory.map(|memory| memory.0)));
        more(&mut self.replicas, times);
        more(&mut self.instances, 1);
        let published = spec.ports.iter().filter(|port| port.host.is_some()).count();
        more(&mut self.ports, part(u64::try_from(published).ok()));
        more(&mut self.without_cpus, u64::from(limits.cpus.is_none()));
        more(&mut self.without_memory, u64::from(limits.memory.is_none()));
        more(&mut self.without_pids, u64::from(limits.pids.is_none()));
    }

    fn get(self, what: &str) -> Answer<Dynamic> {
        let count = |count: u64| Dynamic::from(i64::try_from(count).unwrap_or(i64::MAX));
        Ok(match what {
            "memory" => Dynamic::from(Bytes(self.memory)),
            "cpus" => Dynamic::from(Cpus(self.cpus)),
            "pids" => count(self.pids),
            "requests.memory" => Dynamic::from(Bytes(self.requested_memory)),
            "requests.cpus" => Dynamic::from(Cpus(self.requested_cpus)),
            "replicas" => count(self.replicas),
            "instances" => count(self.instances),
            "ports" => count(self.ports),
            "unlimited.memory" => count(self.without_memory),
            "unlimited.cpus" => count(self.without_cpus),
            "unlimited.pids" => count(self.without_pids),
            other => {
                let near = nearest(other, SUMS.into_iter());
                let hint = match near {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("there are {}", SUMS.join(", ")),
                };
                return mistyped(format!("there is no sum of {other:?}; {hint}"));
            }
        })
    }
}

/// Objects that are gone through one by one.
#[derive(Debug, Clone)]
pub(crate) struct Listing(Arc<[Arc<Object>]>);

/// The list that a `for` goes through.
struct Walk {
    listing: Listing,
    at: usize,
}

impl Iterator for Walk {
    type Item = Dynamic;
    fn next(&mut self) -> Option<Dynamic> {
        let object = self.listing.0.get(self.at)?;
        self.at += 1;
        Some(Dynamic::from(Record::of(object)))
    }
}

/// Who comes back to itself by these links.
fn on_circles(links: impl Iterator<Item = (String, String)>) -> BTreeSet<String> {
    let mut next: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut behind: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (from, to) in links {
        if next.entry(from.clone()).or_default().insert(to.clone()) {
            behind.entry(to).or_default().push(from);
        }
    }
    // Who leads to nobody that is left is on no circle. Nearly always nobody is left.
    let mut ends: Vec<String> =
        behind.keys().filter(|name| !next.contains_key(*name)).cloned().collect();
    while let Some(end) = ends.pop() {
        for from in behind.remove(&end).unwrap_or_default() {
            if let Some(to) = next.get_mut(&from) {
                to.remove(&end);
                if to.is_empty() {
                    next.remove(&from);
                    ends.push(from);
                }
            }
        }
    }
    let comes_back = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&String> = next.get(from).into_iter().flatten().collect();
        while let Some(one) = open.pop() {
            if one == from {
                return true;
            }
            if seen.insert(one) {
                open.extend(next.get(one).into_iter().flatten());
            }
        }
        false
    };
    next.keys().filter(|from| comes_back(from)).cloned().collect()
}

/// Adds the questions to the language.
pub(crate) fn register(module: &mut Words) {
    module.set_custom_type::<Inventory>("inventory");
    module.set_custom_type::<Listing>("list of objects");
    module.set_iter(std::any::TypeId::of::<Listing>(), |listing: Dynamic| {
        Box::new(Walk { listing: listing.cast(), at: 0 })
    });
    module.set_native_fn("len", |listing: &mut Listing| {
        Ok(i64::try_from(listing.0.len()).unwrap_or(i64::MAX))
    });
    module.set_native_fn("is_empty", |listing: &mut Listing| Ok(listing.0.is_empty()));
    module.set_native_fn("projects", |set: &mut Inventory| {
        let names = set.projects().into_iter();
        Ok(names.map(|name| Dynamic::from(ImmutableString::from(name.as_str()))).collect::<Array>())
    });
    for (name, kind) in [
        ("instances", ObjectKind::Instance),
        ("images", ObjectKind::Image),
        ("volumes", ObjectKind::Volume),
        ("networks", ObjectKind::Network),
        ("links", ObjectKind::Link),
        ("nodes", ObjectKind::Node),
        ("bindings", ObjectKind::PolicyBinding),
        ("waivers", ObjectKind::Waiver),
    ] {
        module.set_native_fn(name, move |set: &mut Inventory| {
            Ok(Listing(set.of_kind(kind).map(Arc::clone).collect()))
        });
        module.set_native_fn(name, move |set: &mut Inventory, project: ImmutableString| {
            let all = set.of_kind(kind);
            let some = all.filter(|object| object.name().key.project.as_str() == project);
            Ok(Listing(some.map(Arc::clone).collect()))
        });
    }
    module.set_native_fn(
        "sum",
        |set: &mut Inventory, project: ImmutableString, what: ImmutableString| {
            set.sum(&project, &what)
        },
    );
    module.set_native_fn("get", get);
    module.set_native_fn("is_on_a_cycle", |set: &mut Inventory, instance: ImmutableString| {
        Ok(set.circles().waiting.contains(instance.as_str()))
    });
    module.set_native_fn(
        "is_linked_to_itself",
        |set: &mut Inventory, instance: ImmutableString| {
            Ok(set.circles().all.contains(instance.as_str()))
        },
    );
    module.set_native_fn(
        "sum_on",
        |set: &mut Inventory, node: ImmutableString, what: ImmutableString| {
            set.sum_on(&node, &what)
        },
    );
    module.set_native_fn("quota", |set: &mut Inventory, project: ImmutableString| {
        quota(set, &project)
    });
    module.set_native_fn(
        "quota",
        |context: rhai::NativeCallContext<'_>, project: ImmutableString| -> Answer<Dynamic> {
            match &Run::of(&context)?.around().inventory {
                Some(set) => quota(set, &project),
                None => mistyped("`quota` can only be asked for in `check_set`"),
            }
        },
    );
}

fn get(set: &mut Inventory, kind: ImmutableString, name: ImmutableString) -> Answer<Dynamic> {
    let known = ObjectKind::ALL.into_iter().find(|one| one.as_str() == kind);
    let Some(known) = known else {
        let kinds = ObjectKind::ALL.map(ObjectKind::as_str).join(", ");
        return mistyped(format!("there is no kind {kind:?}; there are {kinds}"));
    };
    let key = match known {
        ObjectKind::Project => Name::new(&name).map(|name| Key::new(name.clone(), name)),
        ObjectKind::Instance
        | ObjectKind::Image
        | ObjectKind::Volume
        | ObjectKind::Network
        | ObjectKind::Link
        | ObjectKind::Node
        | ObjectKind::Flavor
        | ObjectKind::PolicyBinding
        | ObjectKind::Waiver => name.parse::<Key>(),
    };
    let object = key.ok().and_then(|key| set.get(&ObjectRef { kind: known, key }).cloned());
    Ok(match object {
        Some(object) => Dynamic::from(Record::of(&object)),
        None => Dynamic::from(Missing::absent(format!("{kind} {name}"))),
    })
}

/// The quota of a project; a project without a declaration has one in which nothing is said.
fn quota(set: &Inventory, project: &str) -> Answer<Dynamic> {
    let declared = Name::new(project).ok().and_then(|name| {
        let key = Key::new(name.clone(), name);
        set.get(&ObjectRef { kind: ObjectKind::Project, key }).cloned()
    });
    match declared {
        Some(object) => Record::of(&object).get("quota"),
        None => {
            let nothing: Arc<crate::policy::view::table::Thing> =
                Arc::new(crate::model::spec::Quota::default());
            let table = &crate::policy::view::objects::QUOTA;
            Ok(Dynamic::from(Record::plain(nothing, format!("quota of {project}"), table)))
        }
    }
}
