//! What is declared in a world: wishes in few numbers, which edits change one at a time, and the
//! set that they stand for. All that validation would refuse is left out here.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet, Source, Spec};
use reconciler::model::ids::{ImageName, Key, Name};
use reconciler::model::quantity::{Bytes, Cpus, Span};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::policy::{Bound, Level, Levels, PolicyBindingSpec};
use reconciler::model::spec::{
    Condition, CpuPolicy, Dependency, Endpoint, Health, HealthProbe, ImageSource, ImageSpec,
    InstanceSpec, LinkPort, LinkSpec, More, Mount, MountSource, NetworkName, NetworkSpec,
    NetworkUse, NodeSpec, Order, Placement, Port, PortRange, Power, ProjectSpec, Protocol, Pull,
    Quota, Restart, Update, VolumeSpec,
};
use reconciler::testing::{NEVER_WELL, instance};

use crate::dice::Dice;

/// The projects; the second one is in the first one.
pub const PROJECTS: [&str; 2] = ["team", "shop"];

/// What the policy of worlds with policies denies: this variable.
pub const DENIED: &str = "DENIED";

/// The policy of these worlds.
pub const POLICY: &str = "NO-DENIED";

const MI: u64 = 1 << 20;

/// What kind of world a seed makes.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many nodes.
    pub nodes: usize,
    /// How many names of instances.
    pub instances: usize,
    /// Projects have quotas.
    pub quotas: bool,
    /// There are links.
    pub links: bool,
    /// Some instances have cpus of their own.
    pub dedicated: bool,
    /// A policy is bound.
    pub policies: bool,
    /// Updates may start first, and revisions may be bad.
    pub rollouts: bool,
}

impl Shape {
    /// The shape that the dice say.
    #[must_use]
    pub fn of(dice: &mut Dice) -> Self {
        Self {
            nodes: 1 + dice.index(3),
            instances: 5 + dice.index(11),
            quotas: dice.says(500),
            links: dice.says(400),
            dedicated: dice.says(250),
            policies: dice.says(300),
            rollouts: dice.says(600),
        }
    }

    /// The names of its nodes.
    pub fn node_names(&self) -> impl Iterator<Item = Name> + use<> {
        (1..=self.nodes).filter_map(|number| Name::new(&format!("n{number}")).ok())
    }
}

/// A declared instance, in few numbers.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    declared: bool,
    image: usize,
    by_name: bool,
    replicas: u32,
    power: u8,
    memory: u64,
    cpus: u64,
    pids: u64,
    restart: u8,
    mode: u64,
    volume: bool,
    retain: bool,
    network: bool,
    health: u8,
    update: u8,
    own_cpus: bool,
    pinned: Option<usize>,
    link: Option<usize>,
    condition: u8,
    depends: Option<usize>,
    /// Its containers never get healthy, if they have a check.
    pub bad: bool,
    /// The policy denies it.
    pub denied: bool,
}

/// All that is declared.
#[derive(Debug, Clone)]
pub struct Wishes {
    shape: Shape,
    all: Vec<Wish>,
    /// For each project eighths of a Gi, millis of cpus by hundreds, replicas.
    quotas: [Option<(u64, u64, u64)>; 2],
    image: usize,
}

/// What images there are in the registry.
pub const IMAGES: [&str; 4] = ["web:1", "web:2", "web:3", "job:1"];

impl Wishes {
    /// The first set of a world.
    #[must_use]
    pub fn of(shape: &Shape, dice: &mut Dice) -> Self {
        let mut wishes = Self {
            shape: shape.clone(),
            all: vec![Wish::default(); shape.instances],
            quotas: [None, None],
            image: 0,
        };
        for at in 0..shape.instances {
            wishes.reroll(at, dice);
        }
        wishes.change_quotas(dice);
        wishes
    }

    fn reroll(&mut self, at: usize, dice: &mut Dice) {
        for part in 0..PARTS {
            self.reroll_part(at, part, dice);
        }
    }

    fn reroll_part(&mut self, at: usize, part: usize, dice: &mut Dice) {
        let shape = self.shape.clone();
        let Some(wish) = self.all.get_mut(at) else { return };
        match part {
            0 => wish.declared = dice.says(800),
            1 => wish.image = dice.index(3),
            2 => wish.by_name = dice.says(150),
            3 => wish.replicas = u32::try_from(dice.between(0, 4)).unwrap_or(0),
            4 => wish.power = u8::try_from(dice.between(0, 12)).unwrap_or(9),
            5 => wish.memory = dice.between(0, 5),
            6 => wish.cpus = dice.between(0, 4),
            7 => wish.restart = u8::try_from(dice.between(0, 8)).unwrap_or(9),
            8 => wish.mode = dice.between(0, 3),
            9 => wish.volume = dice.says(250),
            10 => wish.network = dice.says(150),
            11 => wish.health = u8::try_from(dice.between(0, 3)).unwrap_or(2),
            12 => wish.update = u8::try_from(dice.between(0, 6)).unwrap_or(0),
            13 => wish.own_cpus = shape.dedicated && dice.says(300),
            14 => wish.pinned = dice.says(100).then(|| dice.index(shape.nodes)),
            15 => wish.link = (shape.links && at >= 2 && dice.says(500)).then(|| dice.index(at)),
            16 => wish.condition = u8::try_from(dice.between(0, 4)).unwrap_or(0),
            17 => wish.depends = (at >= 2 && dice.says(100)).then(|| dice.index(at)),
            18 => wish.bad = shape.rollouts && dice.says(120),
            19 => wish.denied = shape.policies && dice.says(200),
            20 => wish.pids = dice.between(0, 3) * 50,
            _ => wish.retain = dice.says(500),
        }
    }

    /// Somebody edits one thing.
    pub fn edit(&mut self, dice: &mut Dice) {
        match dice.index(12) {
            0 => self.image = dice.index(3),
            1 | 2 if self.shape.quotas => self.change_quotas(dice),
            3 => {
                let at = dice.index(self.all.len());
                self.reroll(at, dice);
            }
            _ => {
                let (at, part) = (dice.index(self.all.len()), dice.index(PARTS));
                self.reroll_part(at, part, dice);
            }
        }
    }

    /// Most of it is no longer declared.
    pub fn lose_most(&mut self, dice: &mut Dice) {
        for wish in &mut self.all {
            wish.declared &= dice.says(200);
        }
    }

    fn change_quotas(&mut self, dice: &mut Dice) {
        if !self.shape.quotas {
            return;
        }
        let outer = dice
            .says(700)
            .then(|| (dice.between(4, 60), dice.between(10, 120), dice.between(2, 24)));
        let inner = dice.says(500).then(|| {
            let (memory, cpus, count) = outer.unwrap_or((40, 80, 16));
            (dice.between(2, memory), dice.between(5, cpus), dice.between(1, count))
        });
        self.quotas = [outer, inner];
    }

    /// What never gets well is mended, and nobody asks for what is denied.
    pub fn mend(&mut self) {
        for wish in &mut self.all {
            wish.bad = false;
        }
    }

    /// The declared set.
    #[must_use]
    pub fn set(&self) -> DesiredSet {
        let mut desired = DesiredSet::default();
        for (at, wish) in self.all.iter().enumerate().filter(|(_, wish)| wish.declared) {
            let (Some(key), Some(spec)) = (key(at), self.spec(at, wish)) else { continue };
            if wish.volume {
                let spec = VolumeSpec {
                    driver: "local".to_owned(),
                    options: BTreeMap::new(),
                    retain: wish.retain,
                    protected: false,
                };
                desired.volumes.insert(key.clone(), declared(spec));
            }
            if let Some(link) = self.link(at, wish) {
                desired.links.insert(key.clone(), declared(link));
            }
            desired.instances.insert(key, declared(spec));
        }
        for (at, project) in PROJECTS.iter().enumerate() {
            let Ok(name) = Name::new(project) else { continue };
            let network = NetworkSpec {
                driver: "bridge".to_owned(),
                options: BTreeMap::new(),
                internal: false,
                ipv6: false,
                subnets: Vec::new(),
                protected: false,
            };
            desired.networks.extend(named(&name, "net").map(|key| (key, declared(network))));
            let served: Arc<str> = Arc::from(IMAGES[self.image % 3]);
            let image = ImageSpec {
                source: ImageSource::Registry(served),
                pull: Pull::Missing,
                verify: None,
            };
            desired.images.extend(named(&name, "app").map(|key| (key, declared(image))));
            if self.shape.policies && at == 0 {
                for project in PROJECTS {
                    let binding = PolicyBindingSpec {
                        bound: Bound::Policy(match POLICY.parse() {
                            Ok(policy) => policy,
                            Err(_) => continue,
                        }),
                        level: Some(Level::Hard),
                        levels: Levels::default(),
                        params: BTreeMap::new(),
                        matches: Sparse::default(),
                    };
                    let key = Name::new(project).ok().and_then(|name| named(&name, "bound"));
                    desired.bindings.extend(key.map(|key| (key, declared(binding))));
                }
            }
            if !self.shape.quotas {
                continue;
            }
            let quota =
                self.quotas[at].map_or_else(Quota::default, |(memory, cpus, count)| Quota {
                    memory: Some(Bytes(memory * 128 * MI)),
                    cpus: Some(Cpus(cpus * Cpus::NANO / 10)),
                    instances: Some(count),
                    ..Quota::default()
                });
            let parent = if at == 1 { Name::new(PROJECTS[0]).ok() } else { None };
            desired
                .projects
                .insert(name, declared(ProjectSpec { quota, parent, grant: Vec::new() }));
        }
        for node in self.shape.node_names() {
            let spec = NodeSpec::at(Endpoint::Unix(format!("/{node}.sock")));
            desired.nodes.insert(node, declared(spec));
        }
        desired
    }

    /// Whether an instance is there, and can be waited for or linked to by another of its project.
    fn serves(&self, at: usize, other: usize) -> bool {
        let same = project(at) == project(other);
        let found = self.all.get(other).filter(|_| same);
        found.is_some_and(|wish| wish.declared && wish.replicas > 0 && !wish.network)
    }

    fn link(&self, at: usize, wish: &Wish) -> Option<LinkSpec> {
        let to = wish.link.filter(|to| self.serves(at, *to) && !wish.network)?;
        let target = self.all.get(to)?;
        let condition = match wish.condition {
            0 => None,
            1 if target.health < 2 => Some(Condition::Healthy),
            _ => Some(Condition::Started),
        };
        let (from, to) = (key(at)?, key(to)?);
        let ports = vec![LinkPort { port: 80, protocol: Protocol::Tcp }];
        let (alias, env) = (to.name.to_string(), wish.condition == 3);
        Some(LinkSpec { from, to, alias, ports, condition, env })
    }

    fn spec(&self, at: usize, wish: &Wish) -> Option<InstanceSpec> {
        let key = key(at)?;
        let mut spec = instance(IMAGES[wish.image % 3]);
        if wish.by_name {
            spec.image = ImageName::Declared(named(&key.project, "app")?);
        }
        spec.replicas = wish.replicas;
        spec.power = match wish.power {
            0 => Power::Stopped,
            1 => Power::Paused,
            _ => Power::Running,
        };
        spec.restart = match wish.restart {
            0 => Restart::Never,
            1 => Restart::OnFailure,
            _ => Restart::Always,
        };
        spec.resources.memory = (wish.memory > 0).then_some(Bytes(wish.memory * 128 * MI));
        spec.resources.cpus = (wish.cpus > 0).then_some(Cpus(wish.cpus * Cpus::NANO / 4));
        spec.resources.pids = (wish.pids > 0).then_some(wish.pids);
        if wish.own_cpus {
            spec.resources.cpus = Some(Cpus((1 + wish.cpus / 3) * Cpus::NANO));
            spec.resources.cpu_policy = CpuPolicy::Dedicated;
        }
        let check = match wish.health {
            0 => Some(HealthProbe::Exec(vec!["true".to_owned()])),
            1 => Some(HealthProbe::Tcp { port: 80 }),
            _ => None,
        };
        spec.health = check.map(|check| Health {
            check,
            interval: Span::seconds(20),
            timeout: Span::seconds(1),
            retries: 2,
            start_period: Span::seconds(0),
        });
        let usual = Update::usual(Order::StartFirst);
        let starts_first = self.shape.rollouts && spec.restart == Restart::Always && !wish.volume;
        let update = match (wish.update, starts_first) {
            (1, _) => Some(Update { max_unavailable: 2, ..Update::default() }),
            (3, true) => Some(usual),
            (4, true) => Some(Update { max_surge: 2, ..usual }),
            (5, true) => Some(Update { max_unavailable: 1, ..usual }),
            _ => None,
        };
        let mut more = More { update, ..More::default() };
        if wish.network {
            let network = NetworkName::Declared(named(&key.project, "net")?);
            more.networks = vec![NetworkUse { network, aliases: Vec::new(), address: None }];
        }
        let is_linked = self.link(at, wish).is_some()
            || self.all.iter().any(|other| other.link == Some(at) && other.declared);
        if let Some(pinned) = wish.pinned.filter(|_| !is_linked) {
            let node = self.shape.node_names().nth(pinned);
            more.placement = Some(Placement { node, ..Placement::default() });
        }
        if let Some(other) = wish.depends.filter(|other| self.serves(at, *other)) {
            let dependency =
                Dependency { instance: self::key(other)?, condition: Condition::Started };
            more.depends_on = vec![dependency];
        }
        spec.more = Sparse::new(more);
        // Each instance has host ports of its own, and just as many as it needs.
        let first = 8000 + 20 * u16::try_from(at).unwrap_or(0);
        let ports = u16::try_from(spec.slots().max(1)).unwrap_or(1);
        let host = Some(PortRange { first, last: first + ports - 1 });
        let (container, protocol, address) = (80, Protocol::Tcp, None);
        spec.ports = vec![Port { container, protocol, host, address }];
        if wish.mode > 0 {
            spec.env.insert("MODE".to_owned(), wish.mode.to_string());
        }
        if wish.bad {
            spec.env.insert(NEVER_WELL.to_owned(), "yes".to_owned());
        }
        if wish.denied {
            spec.env.insert(DENIED.to_owned(), "yes".to_owned());
        }
        if wish.volume {
            let (source, target) = (MountSource::Volume(key), "/data".to_owned());
            spec.volumes = vec![Mount { source, target, read_only: false, shared: false }];
        }
        Some(spec)
    }
}

/// How many parts a wish has.
const PARTS: usize = 22;

fn project(at: usize) -> &'static str {
    PROJECTS[at % 2]
}

fn key(at: usize) -> Option<Key> {
    named(&Name::new(project(at)).ok()?, &format!("i-{at}"))
}

fn named(project: &Name, name: &str) -> Option<Key> {
    Some(Key::new(project.clone(), Name::new(name).ok()?))
}

fn declared<S: Spec>(spec: S) -> Declared<S> {
    Declared::new(spec, Source { file: Arc::from("set.yaml"), line: 1, column: 1 })
}
