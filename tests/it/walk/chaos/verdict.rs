//! How things have to stand in the end, by what engines and the kernel say, and not by windlass.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::super::room::{Seen, seen_on};
use super::wish::{NODES, Wish};
use crate::lab::Engine;

/// A container of ours, as its engine tells of it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) node: usize,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) instance: String,
    pub(super) ordinal: u32,
    pub(super) incarnation: u64,
    pub(super) state: String,
    pub(super) image: String,
    pub(super) memory: u64,
    pub(super) nano_cpus: u64,
    pub(super) env: Vec<String>,
}

impl Found {
    fn of(node: usize, seen: &Seen) -> Self {
        let own = |text: &str| text.to_owned();
        let env = seen.0["Config"]["Env"].as_array().into_iter().flatten();
        Self {
            node,
            id: own(seen.id()),
            name: own(seen.name()),
            owner: own(seen.label("owner")),
            instance: own(seen.label("instance")),
            ordinal: seen.label("ordinal").parse().unwrap_or(u32::MAX),
            incarnation: seen.label("incarnation").parse().unwrap_or(0),
            state: own(seen.state()),
            image: own(seen.0["Image"].as_str().unwrap_or_default()),
            memory: seen.memory(),
            nano_cpus: seen.nano_cpus(),
            env: env.filter_map(|line| line.as_str().map(str::to_owned)).collect(),
        }
    }
}

/// All containers of ours on an engine.
pub(super) fn on(node: usize, engine: &Engine, project: &str) -> Vec<Found> {
    seen_on(engine, project).values().map(|seen| Found::of(node, seen)).collect()
}

/// What is not as declared: too few, too many, or other ones.
pub(super) fn faults(
    wish: &Wish,
    images: &[String],
    owner: &str,
    project: &str,
    all: &[Found],
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut left: BTreeMap<(&str, u32), Vec<&Found>> = BTreeMap::new();
    for found in all {
        left.entry((&found.instance, found.ordinal)).or_default().push(found);
    }
    for (name, ask) in &wish.asked {
        for ordinal in 0..ask.replicas {
            let here = left.remove(&(name.as_str(), ordinal)).unwrap_or_default();
            let [found] = here[..] else {
                faults.push(format!("{name}/{ordinal}: {} containers: {here:#?}", here.len()));
                continue;
            };
            let incarnation = found.incarnation;
            let variable = format!("N={}", ask.n);
            let wrong = [
                ("state", found.state != "running"),
                ("image", found.image != images[ask.image]),
                ("memory", found.memory != ask.memory_mi << 20),
                ("cpus", found.nano_cpus != ask.cpus_milli * 1_000_000),
                ("variable", !found.env.contains(&variable)),
                ("owner", found.owner != owner),
                ("name", found.name != format!("{project}.{name}.{ordinal}.{incarnation}")),
                ("node", is_elsewhere(ask.rest, found.node)),
            ];
            for (what, _) in wrong.iter().filter(|(_, is_wrong)| *is_wrong) {
                faults.push(format!("{name}/{ordinal}: wrong {what}: {found:#?} for {ask:#?}"));
            }
        }
    }
    faults.extend(left.values().map(|orphans| format!("nobody declares {orphans:#?}")));
    faults
}

fn is_elsewhere(rest: &str, node: usize) -> bool {
    rest.contains("placement: { node:") && !rest.contains(&format!("node: {} ", NODES[node]))
}

/// Networks and volumes of ours that nobody declares, or that are missing or there twice.
pub(super) fn faults_of_the_rest(engine: &Engine, project: &str, is_near: bool) -> Vec<String> {
    let label = format!("label=io.windlass.project={project}");
    let names = |kind: &str| -> Vec<String> {
        let all = engine.try_docker(&[kind, "ls", "--format", "{{.Name}}", "--filter", &label]);
        let mut names: Vec<_> = all.expect("a list").lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    let mut faults = Vec::new();
    let volumes = names("volume");
    let wanted = if is_near { vec![format!("{project}.data")] } else { vec![] };
    if volumes != wanted {
        faults.push(format!("volumes {volumes:?} instead of {wanted:?}"));
    }
    // The one that is declared, the project's own, and links' where windlass is not on the host.
    let mut networks = names("network");
    let count = networks.len();
    networks.dedup();
    let may_be = ["back", "_"].map(|name| format!("{project}.{name}"));
    let unknown = networks.iter().filter(|name| !may_be.contains(name)).count();
    if networks.len() != count || unknown > 0 {
        faults.push(format!("networks {networks:?}"));
    }
    faults
}

/// Where a control group is in each hierarchy of the kernel.
fn mounted(group: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let mut all = vec![top.to_owned()];
    let inner = fs::read_dir(top).into_iter().flatten().flatten();
    all.extend(inner.map(|entry| entry.path()).filter(|path| path.join("cgroup.procs").exists()));
    let group = group.trim_start_matches('/');
    all.into_iter().map(|top| top.join(group)).filter(|path| path.is_dir()).collect()
}

fn below(dir: &Path, all: &mut Vec<PathBuf>) {
    for inner in fs::read_dir(dir).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.push(inner.path());
            below(&inner.path(), all);
        }
    }
}

/// The control groups below one, by their own names.
pub(super) fn groups(group: &str) -> BTreeSet<String> {
    let mut all = Vec::new();
    mounted(group).iter().for_each(|top| below(top, &mut all));
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    all.iter().filter_map(name).collect()
}

/// Containers whose processes the kernel knows, and no engine: they would run a second time.
pub(super) fn unknown_to_engines(group: &str, known: &BTreeSet<String>) -> Vec<String> {
    let mut all = Vec::new();
    mounted(group).iter().for_each(|top| below(top, &mut all));
    let running = all
        .iter()
        .filter(|path| fs::read(path.join("cgroup.procs")).is_ok_and(|text| !text.is_empty()));
    let mut unknown = BTreeSet::new();
    for path in running {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if name.len() == 64 && !known.contains(&name) {
            unknown.insert(format!("{} has processes, and no engine knows it", path.display()));
        }
    }
    unknown.into_iter().collect()
}

/// Would they notice?
mod tests {
    use super::{Found, Wish, faults};

    type Break<'b> = &'b dyn Fn(&mut Vec<Found>);

    fn as_declared(wish: &Wish) -> Vec<Found> {
        let one = |(name, ask): (&String, &super::super::wish::Ask)| Found {
            node: usize::from(ask.rest.contains("node: far")),
            id: "1".repeat(64),
            name: format!("t.{name}.0.3"),
            owner: "us".to_owned(),
            instance: name.clone(),
            ordinal: 0,
            incarnation: 3,
            state: "running".to_owned(),
            image: "one".to_owned(),
            memory: 16 << 20,
            nano_cpus: 100_000_000,
            env: vec!["N=0".to_owned()],
        };
        wish.asked.iter().map(one).collect()
    }

    #[test]
    fn each_thing_that_is_wrong_is_a_fault() {
        let wish = Wish::first();
        let images = ["one", "two"].map(str::to_owned);
        let said = |change: &dyn Fn(&mut Vec<Found>)| {
            let mut all = as_declared(&wish);
            change(&mut all);
            faults(&wish, &images, "us", "t", &all)
        };
        assert_eq!(said(&|_| {}), Vec::<String>::new());
        let breaks: [(&str, Break<'_>); 12] = [
            ("0 containers", &|all| drop(all.remove(2))),
            ("2 containers", &|all| all.push(all[1].clone())),
            ("nobody declares", &|all| all.push(Found { ordinal: 1, ..all[1].clone() })),
            ("nobody declares", &|all| {
                all.push(Found { instance: "x".to_owned(), ..all[1].clone() });
            }),
            ("wrong state", &|all| all[0].state = "paused".to_owned()),
            ("wrong image", &|all| all[0].image = "two".to_owned()),
            ("wrong memory", &|all| all[0].memory = 0),
            ("wrong cpus", &|all| all[0].nano_cpus = 0),
            ("wrong variable", &|all| all[0].env = vec!["N=1".to_owned()]),
            ("wrong owner", &|all| all[0].owner = "them".to_owned()),
            ("wrong name", &|all| all[0].name = "other".to_owned()),
            ("wrong node", &|all| {
                all.iter_mut().filter(|one| one.instance == "db").for_each(|db| db.node = 1);
            }),
        ];
        for (word, change) in breaks {
            let said = said(change);
            assert!(said.len() == 1 && said[0].contains(word), "{word}: {said:#?}");
        }
    }
}
