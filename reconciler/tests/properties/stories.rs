//! What happens in a story: sets of instances, drift, faults, and what an operator does.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use reconciler::model::desired::{Declared, DesiredSet, Source};
use reconciler::model::ids::{Key, Name};
use reconciler::model::quantity::{Bytes, Span};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{
    Endpoint, Health, HealthProbe, InstanceSpec, More, Mount, MountSource, NodeSpec, Order, Port,
    PortRange, Power, Protocol, Restart, Update, VolumeSpec,
};
use reconciler::testing::{Fault, Hints, NEVER_WELL, instance};

pub(crate) const NAMES: [&str; 5] = ["p/a", "p/b", "p/c", "q/a", "q/d"];
pub(crate) const NODES: [&str; 2] = ["n1", "n2"];

/// A declared instance, in few numbers.
#[derive(Debug, Clone)]
pub(crate) struct Small {
    pub(crate) name: usize,
    pub(crate) image: bool,
    pub(crate) replicas: u32,
    pub(crate) power: u8,
    pub(crate) memory: u8,
    pub(crate) restart: u8,
    pub(crate) variable: bool,
    pub(crate) volume: bool,
    pub(crate) health: u8,
    pub(crate) update: u8,
    /// Its containers never get healthy, if they have a check.
    pub(crate) bad: bool,
}

pub(crate) fn small() -> impl Strategy<Value = Small> {
    let rest = (0..48_u8, 0..6_u8);
    (0..NAMES.len(), any::<bool>(), 0..4_u32, 0..6_u8, 0..3_u8, 0..6_u8, any::<bool>(), rest)
        .prop_map(|(name, image, replicas, power, memory, restart, variable, (rest, update))| {
            let (volume, health, bad) = (rest % 4 == 0, rest / 4 % 3, rest / 12 == 0);
            let small = Small {
                name,
                image,
                replicas,
                power,
                memory,
                restart,
                variable,
                volume,
                health,
                update,
                bad,
            };
            // What runs to its end, or writes alone, is refused with `start-first`.
            let starts_first = update >= 3 && restart > 1;
            Small { volume: volume && !starts_first, ..small }
        })
}

pub(crate) fn set() -> impl Strategy<Value = Vec<Small>> {
    prop::collection::vec(small(), 0..6)
}

/// Something that happens.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Declare(Vec<Small>),
    Drift(u16, Drift),
    Faults(bool, Vec<Fault>),
    Node(bool, bool),
    /// A node is drained, or takes new things again.
    Drain(bool, bool),
    Steps(u8),
    DieAfter(u8),
    Restart,
    FailCommits(u8),
    Hints(Hints),
    HoldLists(bool),
    Jump(i32),
    Pass(u16),
    Refresh,
    CatchUp,
    Feel(u16, u8),
}

/// What another hand does to a container.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drift {
    Kill,
    Succeed,
    Pause,
    Unpause,
    Start,
    Remove,
    Rename,
    Limits,
    RestartPolicy,
    Image,
    Copy,
    Removing,
}

pub(crate) fn drift() -> impl Strategy<Value = Drift> {
    prop::sample::select(vec![
        Drift::Kill,
        Drift::Kill,
        Drift::Succeed,
        Drift::Pause,
        Drift::Unpause,
        Drift::Start,
        Drift::Remove,
        Drift::Rename,
        Drift::Limits,
        Drift::RestartPolicy,
        Drift::Image,
        Drift::Copy,
        Drift::Removing,
    ])
}

pub(crate) fn fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![
        Fault::None,
        Fault::Refused,
        Fault::TimedOutUndone,
        Fault::TimedOutDone,
        Fault::TimedOutLate,
        Fault::LostDone,
    ])
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let hints = prop::sample::select(vec![Hints::Once, Hints::Lost, Hints::Twice]);
    prop_oneof![
        4 => set().prop_map(Op::Declare),
        6 => (any::<u16>(), drift()).prop_map(|(which, drift)| Op::Drift(which, drift)),
        3 => (any::<bool>(), prop::collection::vec(fault(), 1..6))
            .prop_map(|(node, faults)| Op::Faults(node, faults)),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(node, up)| Op::Node(node, up)),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(node, drain)| Op::Drain(node, drain)),
        8 => (1..40_u8).prop_map(Op::Steps),
        2 => (0..30_u8).prop_map(Op::DieAfter),
        1 => Just(Op::Restart),
        1 => (1..4_u8).prop_map(Op::FailCommits),
        1 => hints.prop_map(Op::Hints),
        1 => any::<bool>().prop_map(Op::HoldLists),
        1 => (-7_200_000..7_200_000_i32).prop_map(Op::Jump),
        3 => (1..400_u16).prop_map(Op::Pass),
        1 => Just(Op::Refresh),
        1 => Just(Op::CatchUp),
        3 => (any::<u16>(), 0..3_u8).prop_map(|(which, health)| Op::Feel(which, health)),
    ]
}

pub(crate) fn source() -> Source {
    Source { file: Arc::from("set.yaml"), line: 1, column: 1 }
}

pub(crate) fn spec(small: &Small) -> InstanceSpec {
    let mut spec = instance(if small.image { "web:1" } else { "web:2" });
    spec.replicas = small.replicas;
    spec.power = match small.power {
        0 => Power::Stopped,
        1 => Power::Paused,
        _ => Power::Running,
    };
    spec.resources.memory = match small.memory {
        0 => None,
        more => Some(Bytes(u64::from(more) << 26)),
    };
    spec.restart = match small.restart {
        0 => Restart::Never,
        1 => Restart::OnFailure,
        _ => Restart::Always,
    };
    let check = match small.health {
        0 => Some(HealthProbe::Exec(vec!["true".to_owned()])),
        1 => Some(HealthProbe::Tcp { port: 80 }),
        _ => None,
    };
    spec.health = check.map(|check| Health {
        check,
        interval: Span::seconds(10),
        timeout: Span::seconds(1),
        retries: 2,
        start_period: Span::seconds(0),
    });
    let usual = Update::usual(Order::StartFirst);
    let update = match (small.update, spec.restart) {
        (1, _) => Some(Update { max_unavailable: 2, ..Update::default() }),
        (3, Restart::Always) => Some(usual),
        (4, Restart::Always) => Some(Update { max_surge: 2, ..usual }),
        (5, Restart::Always) => Some(Update { max_unavailable: 1, ..usual }),
        _ => None,
    };
    spec.more = Sparse::new(More { update, ..More::default() });
    // Each instance has host ports of its own, and just as many as it needs.
    let first = 8000 + 100 * u16::try_from(small.name).unwrap();
    let ports = u16::try_from(spec.slots().max(1)).unwrap();
    let host = Some(PortRange { first, last: first + ports - 1 });
    let (container, protocol, address) = (80, Protocol::Tcp, None);
    spec.ports = vec![Port { container, protocol, host, address }];
    if small.variable {
        spec.env.insert("MODE".to_owned(), "other".to_owned());
    }
    if small.bad {
        spec.env.insert(NEVER_WELL.to_owned(), "yes".to_owned());
    }
    if small.volume {
        let source = MountSource::Volume(volume(NAMES[small.name]));
        spec.volumes =
            vec![Mount { source, target: "/data".to_owned(), read_only: false, shared: false }];
    }
    spec
}

pub(crate) fn volume(instance: &str) -> Key {
    let key: Key = instance.parse().unwrap();
    Key::new(key.project, Name::new("data").unwrap())
}

pub(crate) fn desired(set: &[Small]) -> DesiredSet {
    let mut desired = DesiredSet::default();
    for small in set {
        let key = NAMES[small.name].parse().unwrap();
        desired.instances.insert(key, Declared::new(spec(small), source()));
        if small.volume {
            let spec = VolumeSpec {
                driver: "local".to_owned(),
                options: BTreeMap::new(),
                retain: small.variable,
                protected: false,
            };
            desired.volumes.insert(volume(NAMES[small.name]), Declared::new(spec, source()));
        }
    }
    for node in NODES {
        let endpoint = Endpoint::Unix(format!("/{node}.sock"));
        let spec = NodeSpec::at(endpoint);
        desired.nodes.insert(Name::new(node).unwrap(), Declared::new(spec, source()));
    }
    desired
}
