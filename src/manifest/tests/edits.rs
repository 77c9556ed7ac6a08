//! Edits of a directory that is held: what is read again, and that the short way of telling what
//! changed comes to what a look at everything comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use notify::event::{AccessKind, EventKind};
use notify::{RecursiveMode, Watcher};
use proptest::prelude::*;
use reconciler::model::desired::{BrokenFile, DesiredSet, SpecsChange};

use super::super::{Loader, News};
use super::{Specs, instance, instances, keep};
use crate::hint::Hint;

/// Longer than any machine under load needs; a test that passes does not wait for it.
const LONG: Duration = Duration::from_secs(20);

/// The files of a directory that are opened while `act` runs, as the kernel tells it.
fn opened(specs: &Specs, act: impl FnOnce()) -> BTreeSet<String> {
    let (sender, events) = channel();
    let mut watcher = notify::recommended_watcher(move |event| drop(sender.send(event))).unwrap();
    watcher.watch(specs.folder.path(), RecursiveMode::NonRecursive).unwrap();
    act();
    // Its event comes after those of all before it.
    fs::write(specs.path("end"), "").unwrap();
    let mut opened = BTreeSet::new();
    loop {
        let event: notify::Event = events.recv_timeout(LONG).unwrap().unwrap();
        assert!(!event.need_rescan());
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let names = event.paths.iter().map(name);
        if event.paths.iter().any(|path| path.ends_with("end")) {
            break;
        }
        if matches!(event.kind, EventKind::Access(AccessKind::Open(_))) {
            opened.extend(names);
        }
    }
    fs::remove_file(specs.path("end")).unwrap();
    opened.retain(|name| name.ends_with(".yaml"));
    opened
}

/// Reads until nothing is opened any more: what was written just before is read twice.
fn rest(specs: &mut Specs) {
    for _ in 0..1000 {
        let folder = tempfile::tempdir().unwrap();
        let mut loader = std::mem::replace(
            &mut specs.loader,
            Loader::new(folder.path().to_path_buf(), BTreeMap::new()),
        );
        let opened = opened(specs, || drop(loader.news(&Hint::All)));
        specs.loader = loader;
        if opened.is_empty() {
            return;
        }
    }
    panic!("it reads its files again and again");
}

#[test]
fn an_edit_reads_the_edited_file_and_no_other() {
    let files: Vec<_> = (0..40).map(|n| (format!("f{n}.yaml"), format!("i{n}"))).collect();
    let mut specs = Specs::new(&[]);
    for (file, name) in &files {
        specs.write(file, &instance(name, "busybox"));
    }
    rest(&mut specs);
    for hint in [Hint::Paths(vec![specs.path("f7.yaml")]), Hint::All] {
        let image = if hint == Hint::All { "busybox:2" } else { "busybox:3" };
        specs.write("f7.yaml", &instance("i7", image));
        let mut loader = Loader::new(PathBuf::new(), BTreeMap::new());
        std::mem::swap(&mut loader, &mut specs.loader);
        let mut news = None;
        let opened = opened(&specs, || news = loader.news(&hint));
        specs.loader = loader;
        assert_eq!(opened, BTreeSet::from(["f7.yaml".to_owned()]), "{hint:?}");
        assert!(news.is_some(), "{hint:?}");
        rest(&mut specs);
    }
}

/// What whoever asks for news knows.
#[derive(Default)]
struct Known {
    desired: DesiredSet,
    broken: BTreeMap<Arc<str>, BrokenFile>,
    texts: BTreeMap<Arc<str>, Arc<str>>,
    /// Times that only objects changed.
    short: usize,
}

impl Known {
    fn take(&mut self, news: Option<News>) {
        match news {
            None => {}
            Some(News::All(reading)) => {
                keep(&mut self.texts, &reading.specs);
                self.desired = reading.specs.desired;
                self.broken = reading.specs.broken;
            }
            Some(News::Objects(SpecsChange { objects, texts })) => {
                self.short += 1;
                self.desired.renew(objects);
                for (file, text) in texts {
                    self.texts.insert(file, text.unwrap());
                }
            }
        }
    }
}

#[test]
fn an_edit_that_concerns_no_other_file_is_told_alone() {
    let volume = "---\napiVersion: windlass/v1\nkind: Volume\nmetadata: { name: data }\n";
    let with = |name: &str, rest: &str| format!("{}  {rest}\n", instance(name, "busybox"));
    let mut specs = Specs::new(&[
        ("a.yaml", &with("a", "ports: [{ container: 80, host: 8080 }]")),
        ("b.yaml", &with("b", "replicas: 1")),
        ("v.yaml", volume),
    ]);
    let mut known = Known::default();
    known.take(specs.loader.news(&Hint::All));
    assert!(specs.loader.news(&Hint::All).is_none(), "nothing is told twice");
    let mut edit = |file: &str, text: &str, hint: &Hint| {
        specs.write(file, text);
        let before = known.short;
        known.take(specs.loader.news(hint));
        known.short != before
    };
    assert!(edit("b.yaml", &with("b", "replicas: 2"), &Hint::All));
    assert!(edit("b.yaml", &with("b", "replicas: 2 # two"), &Hint::All));
    assert!(edit("v.yaml", &format!("{volume}spec: {{ retain: false }}\n"), &Hint::All));
    // Names, ports, references: all files have to be looked at.
    assert!(!edit("a.yaml", &with("a", "ports: [{ container: 81, host: 8080 }]"), &Hint::All));
    assert!(!edit("a.yaml", &with("a", "ports: [{ container: 81, host: 8081 }]"), &Hint::All));
    assert!(!edit("b.yaml", &with("c", "replicas: 2"), &Hint::All));
    assert!(!edit("b.yaml", &with("c", "volumes: [{ volume: data, target: /d }]"), &Hint::All));
    assert!(!edit("b.yaml", "kind: [", &Hint::All));
    assert!(!edit("a.yaml", &with("a", "replicas: 3"), &Hint::All), "another file is broken");
    assert_eq!(known.broken.len(), 1);
}

/// One document; most of what can be said of several files together can go wrong with these.
fn document() -> impl Strategy<Value = String> {
    let head = |kind: &str, name: &str| {
        format!("---\napiVersion: windlass/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\n")
    };
    let name = prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let thing = prop::sample::select(vec!["web", "db"]);
    let image = prop::sample::select(vec!["busybox", "web", "db", "web:2", "r.example/x"]);
    let volume = prop::option::weighted(0.2, prop::sample::select(vec!["web", "db"]));
    let port = prop::option::weighted(0.2, 8080..8082_u16);
    let network = prop::option::weighted(0.2, prop::sample::select(vec!["web", "db"]));
    let waits = prop::option::weighted(0.2, prop::sample::select(vec!["a", "b", "c"]));
    let flavor = prop::option::weighted(0.2, prop::sample::select(vec!["web", "db", "m1.tiny"]));
    let host = prop::option::weighted(0.2, prop::sample::select(vec!["db", "a"]));
    let user = prop::sample::select(vec!["a", "b", "c"]);
    let target = prop::sample::select(vec!["a", "b", "other/c"]);
    let alias = prop::option::of(prop::sample::select(vec!["db", "web", "a"]));
    let said = (any::<bool>(), any::<bool>());
    let link = (thing.clone(), user, target, alias, said);
    let project = prop::sample::select(vec!["web", "db", "other"]);
    let inside = (project.clone(), project);
    let granted = prop::option::of(prop::sample::select(vec!["default", "web"]));
    let place = prop::option::weighted(
        0.2,
        prop::sample::select(vec!["node: n", "node: m", "selector: { zone: a }", "spread: zone"]),
    );
    let names = (network, waits, flavor, (host, place));
    let spec = (name, image, volume, port, 1..3_u32, 64..67_u32, names);
    prop_oneof![
        6 => spec.prop_map(move |(name, image, volume, port, replicas, memory, names)| {
            let mut text = head("Instance", name);
            text.push_str(&format!("spec:\n  image: {image}\n  replicas: {replicas}\n"));
            let (network, waits, flavor, (host, place)) = names;
            if let Some(host) = host {
                text.push_str(&format!("  extraHosts: {{ {host}: 10.0.0.1 }}\n"));
            }
            if let Some(place) = place {
                text.push_str(&format!("  placement: {{ {place} }}\n"));
            }
            match flavor {
                Some(flavor) => text.push_str(&format!("  flavor: {flavor}\n")),
                None => text.push_str(&format!("  resources: {{ memory: {memory}Mi }}\n")),
            }
            if let Some(network) = network {
                text.push_str(&format!("  networks: [{network}]\n"));
            }
            if let Some(waits) = waits {
                text.push_str(&format!("  dependsOn: [{waits}]\n"));
            }
            if let Some(volume) = volume {
                text.push_str(&format!("  volumes: [{{ volume: {volume}, target: /d }}]\n"));
            }
            if let Some(port) = port {
                let last = port + 1;
                text.push_str(&format!("  ports: [{{ container: 80, host: {port}-{last} }}]\n"));
            }
            text
        }),
        1 => (thing.clone(), 1..3_u32).prop_map(move |(name, tag)| {
            let source = format!("{{ registry: \"r.example/{name}:{tag}\" }}");
            format!("{}spec: {{ source: {source} }}\n", head("Image", name))
        }),
        1 => (thing.clone(), any::<bool>()).prop_map(move |(name, retain)| {
            format!("{}spec: {{ retain: {retain} }}\n", head("Volume", name))
        }),
        1 => (thing.clone(), any::<bool>()).prop_map(move |(name, host)| {
            let driver = if host { "host" } else { "bridge" };
            format!("{}spec: {{ driver: {driver} }}\n", head("Network", name))
        }),
        1 => (thing.clone(), 64..66_u32).prop_map(move |(name, memory)| {
            format!("{}spec: {{ memory: {memory}Mi }}\n", head("Flavor", name))
        }),
        1 => (thing, 1..3_u32).prop_map(move |(name, n)| {
            format!("{}spec: {{ quota: {{ instances: {n} }} }}\n", head("Project", name))
        }),
        1 => (granted, 1..3_u32).prop_map(move |(granted, n)| {
            let grant = granted.map_or(String::new(), |name| format!(", grant: [{name}]"));
            format!("{}spec: {{ quota: {{ instances: {n} }}{grant} }}\n", head("Project", "other"))
        }),
        1 => (inside, 1..3_u32).prop_map(move |((name, parent), n)| {
            let spec = format!("{{ parent: {parent}, quota: {{ instances: {n} }} }}");
            format!("{}spec: {spec}\n", head("Project", name))
        }),
        1 => Just(head("Instance", "c, project: other") + "spec: { image: busybox, ports: [{ container: 80 }] }\n"),
        3 => link.prop_map(move |(name, user, target, alias, (ports, waits))| {
            let mut text = head("Link", name);
            text.push_str(&format!("spec:\n  from: {user}\n  to: {target}\n"));
            if let Some(alias) = alias {
                text.push_str(&format!("  alias: {alias}\n"));
            }
            if ports {
                text.push_str("  ports: [80]\n");
            }
            if !waits {
                text.push_str("  condition: none\n");
            }
            text
        }),
        1 => (0..2_u32, prop::sample::select(vec!["n", "m"]), prop::sample::select(vec!["a", "b"]))
            .prop_map(move |(n, name, zone)| {
                let name = format!("{name}, labels: {{ zone: {zone} }}");
                format!("{}spec: {{ endpoint: \"unix:///{n}.sock\" }}\n", head("Node", &name))
            }),
    ]
}

/// What happens to a file.
#[derive(Debug, Clone)]
enum Edit {
    Write(Vec<String>),
    /// Another memory limit, or a comment: what most edits are like.
    Small(u32),
    Break,
    Empty,
    Remove,
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => prop::collection::vec(document(), 1..3).prop_map(Edit::Write),
        6 => (0..4_u32).prop_map(Edit::Small),
        1 => Just(Edit::Break),
        1 => Just(Edit::Empty),
        1 => Just(Edit::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_told_of_edits_comes_to_what_is_there(
        edits in prop::collection::vec((0..5_usize, edit(), any::<bool>()), 1..16),
    ) {
        let mut specs = Specs::new(&[]);
        let mut told = Loader::new(specs.folder.path().to_path_buf(), BTreeMap::new());
        let mut known = Known::default();
        let mut texts = BTreeMap::new();
        specs.write("z.yaml", &instance("z", "busybox"));
        for (file, edit, all) in edits {
            let name = format!("f{file}.yaml");
            let path = specs.path(&name);
            match edit {
                Edit::Write(documents) => specs.write(&name, &documents.concat()),
                Edit::Small(n) => {
                    let Ok(text) = fs::read_to_string(&path) else { continue };
                    let text = text.replace("memory: 64Mi", &format!("memory: {}Mi", 65 + n));
                    specs.write(&name, &format!("# {n}\n{text}"));
                }
                Edit::Break => specs.write(&name, "kind: ["),
                Edit::Empty => specs.write(&name, ""),
                Edit::Remove => drop(fs::remove_file(&path)),
            }
            // The first look is one at everything.
            let all = all || known.desired.is_empty();
            known.take(told.news(&if all { Hint::All } else { Hint::Paths(vec![path]) }));
            let reading = specs.loader.read(&Hint::All);
            keep(&mut texts, &reading.specs);
            prop_assert_eq!(&known.desired, &reading.specs.desired, "{}", instances(&reading.specs));
            prop_assert_eq!(&known.broken, &reading.specs.broken);
            prop_assert_eq!(&known.texts, &texts);
        }
    }
}
