//! What is declared, how it changes at random, and the ways in which people and tools write files.

use std::collections::BTreeMap;
use std::fs;

use super::super::room::{LIVE, instance, network, volume};
use super::dice::Dice;
use crate::lab::Sandbox;

/// The images of all that is here.
pub(super) const IMAGES: [&str; 2] = ["busybox:latest", "busybox:other"];

/// Nodes, by their place among engines.
pub(super) const NODES: [&str; 2] = ["near", "far"];

const MEMORY_MI: [u64; 4] = [16, 24, 32, 48];
const CPUS_MILLI: [u64; 3] = [100, 200, 400];

/// One instance, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) replicas: u32,
    pub(super) image: usize,
    pub(super) memory_mi: u64,
    pub(super) cpus_milli: u64,
    /// A variable, so that there is a revision of it.
    pub(super) n: usize,
    /// What it is besides, for good.
    pub(super) rest: &'static str,
    /// Whether it may go, and have other numbers of replicas.
    pub(super) is_fixed: bool,
    /// Its file, below the watched directory.
    file: String,
}

impl Ask {
    fn new(rest: &'static str, is_fixed: bool) -> Self {
        let (file, n, replicas) = (String::new(), 0, 1);
        Self { replicas, image: 0, memory_mi: 16, cpus_milli: 100, n, rest, is_fixed, file }
    }

    fn text(&self, name: &str) -> String {
        let Self { replicas, image, memory_mi, cpus_milli, n, rest, is_fixed: _, file: _ } = self;
        let spec = format!(
            "{LIVE}\nreplicas: {replicas}\nresources: {{ memory: {memory_mi}Mi, cpus: {cpus_milli}m, pids: 50 }}\nenv: {{ N: '{n}' }}\nstop: {{ timeout: 2s }}\n{rest}"
        );
        instance(name, &spec).replace("busybox:latest", IMAGES[*image])
    }
}

/// All that is declared.
pub(super) struct Wish {
    pub(super) asked: BTreeMap<String, Ask>,
    /// Files that are half written.
    torn: BTreeMap<String, String>,
    /// What may come, and what it is.
    may_come: BTreeMap<String, &'static str>,
    count: usize,
}

impl Wish {
    /// What is declared in the beginning.
    pub(super) fn first() -> Self {
        let start_first = "update: { order: start-first, maxUnavailable: 0, maxSurge: 1 }";
        let fixed = [
            ("db", "volumes: [{ volume: data, target: /data }]\nplacement: { node: near }"),
            ("cache", ""),
            ("there", "placement: { node: far }\nnetworks: [back]"),
        ];
        let free = [
            ("api", start_first),
            ("more", ""),
            ("web", "placement: { spread: node }\nnetworks: [back]"),
            ("worker", "networks: [back]"),
        ];
        let own = |(name, rest): (&str, &'static str)| (name.to_owned(), rest);
        let may_come: BTreeMap<_, _> = free.into_iter().map(own).collect();
        let fixed = fixed.into_iter().map(own).map(|(name, rest)| (name, Ask::new(rest, true)));
        let free = may_come.iter().map(|(name, rest)| (name.clone(), Ask::new(rest, false)));
        let mut asked: BTreeMap<String, Ask> = fixed.chain(free).collect();
        for (name, ask) in &mut asked {
            ask.file = format!("{name}.yaml");
        }
        Self { asked, torn: BTreeMap::new(), may_come, count: 0 }
    }

    /// What stays: a project with a quota, a link, a network, a volume.
    pub(super) fn write_rest(room: &Sandbox<'_>) {
        let document = |kind: &str, metadata: &str, spec: &str| {
            format!(
                "---\napiVersion: windlass/v1\nkind: {kind}\nmetadata: {{ {metadata} }}\nspec: {spec}\n"
            )
        };
        let quota = "{ quota: { cpus: 40, memory: 4Gi, pids: 4000, instances: 60 } }";
        let link = "{ from: cache, to: db, alias: store, ports: [5432], condition: started }";
        let all = [
            document("Project", "name: $project", quota),
            document("Link", "name: cache-db, project: $project", link),
            network("back"),
            volume("data", false),
        ];
        room.spec("rest.yaml", &all.concat());
    }

    /// Writes all of it, whole.
    pub(super) fn write(&mut self, room: &Sandbox<'_>) {
        self.torn.clear();
        for (name, ask) in &self.asked {
            room.spec(&ask.file, &ask.text(name));
        }
    }

    /// Changes something, in one of the ways that files are written in; says what.
    pub(super) fn edit(&mut self, dice: &mut Dice, room: &Sandbox<'_>) -> String {
        self.count += 1;
        if dice.chance(30)
            && let Some((file, text)) = self.torn.pop_first()
        {
            fs::write(room.specs().join(&file), room.fill(&text)).expect("a spec is written");
            return format!("{file} is written to its end");
        }
        let names: Vec<String> = self.asked.keys().cloned().collect();
        let gone: Vec<String> =
            self.may_come.keys().filter(|name| !self.asked.contains_key(*name)).cloned().collect();
        if dice.chance(40)
            && let Some(name) = dice.one_of(&gone)
        {
            let mut ask = Ask::new(self.may_come[name], false);
            ask.file = format!("{name}.yaml");
            room.spec(&ask.file, &ask.text(name));
            self.asked.insert(name.clone(), ask);
            return format!("{name} is declared again");
        }
        let name = dice.one_of(&names).expect("something is declared").clone();
        if dice.chance(12) && !self.asked[&name].is_fixed && self.asked.len() > 4 {
            let ask = self.asked.remove(&name).expect("it is there");
            self.torn.remove(&ask.file);
            room.remove_spec(&ask.file);
            return format!("{name} is no longer declared");
        }
        let ask = self.asked.get_mut(&name).expect("it is there");
        let what = change(ask, self.count, dice);
        let text = ask.text(&name);
        self.torn.remove(&ask.file);
        let how = write_somehow(ask, &name, &text, dice, room);
        if how == "half" {
            self.torn.insert(ask.file.clone(), text);
        }
        format!("{name}: {what}, {how}")
    }
}

fn change(ask: &mut Ask, n: usize, dice: &mut Dice) -> String {
    match dice.below(5) {
        0 if !ask.is_fixed => {
            ask.replicas = u32::try_from(dice.below(5)).expect("few");
            format!("replicas {}", ask.replicas)
        }
        1 => {
            ask.image = 1 - ask.image;
            format!("image {}", IMAGES[ask.image])
        }
        2 => {
            ask.n = n;
            format!("N={n}")
        }
        _ => {
            ask.memory_mi = *dice.one_of(&MEMORY_MI).expect("some");
            ask.cpus_milli = *dice.one_of(&CPUS_MILLI).expect("some");
            format!("memory {}Mi, cpus {}m", ask.memory_mi, ask.cpus_milli)
        }
    }
}

fn write_somehow(
    ask: &mut Ask,
    name: &str,
    text: &str,
    dice: &mut Dice,
    room: &Sandbox<'_>,
) -> &'static str {
    let in_place = |text: &str| {
        fs::write(room.specs().join(&ask.file), room.fill(text)).expect("a spec is written");
    };
    match dice.below(6) {
        0 => {
            in_place(text);
            "in place"
        }
        1 => {
            in_place(&text[..text.len() / 2]);
            "half"
        }
        // As version control does it: what is old goes, then comes what is new.
        2 => {
            room.remove_spec(&ask.file);
            let is_home = ask.file.starts_with(name);
            ask.file = if is_home { format!("moved/{name}.yaml") } else { format!("{name}.yaml") };
            room.spec(&ask.file, text);
            "in another file"
        }
        _ => {
            room.spec(&ask.file, text);
            "by a rename"
        }
    }
}
