//! Cpus of one's own in a world of memory: they are nobody else's, and everybody's again afterwards.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use reconciler::model::cpuset::CpuSet;
use reconciler::model::desired::{Declared, DesiredSet, Source};
use reconciler::model::ids::{Key, Name};
use reconciler::model::observed::ObservedContainer;
use reconciler::model::quantity::Cpus;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{CpuPolicy, Endpoint, More, NodeSpec, Order, Update};
use reconciler::report::Reason;
use reconciler::testing::{World, instance};

/// The cpus of each node.
const CPUS: u32 = 4;

/// Cpus of its own, if it shall have some; replicas; whether its updates start first; which image;
/// and whether it names the cpus 1 and 2.
type Wish = (Option<u64>, u32, bool, bool, bool);

fn set(wishes: &[Wish], drained: bool) -> DesiredSet {
    let mut desired = DesiredSet::default();
    let source = || Source { file: Arc::from("set.yaml"), line: 1, column: 1 };
    for (at, (own, replicas, starts_first, image, named)) in wishes.iter().enumerate() {
        let mut spec = instance(if *image { "web:1" } else { "web:2" });
        spec.replicas = *replicas;
        if let Some(own) = own {
            spec.resources.cpus = Some(Cpus(own * Cpus::NANO));
            spec.resources.cpu_policy = CpuPolicy::Dedicated;
        } else if *named {
            spec.resources.cpuset = Some(Arc::from("1-2"));
        }
        if *starts_first {
            let update = Some(Update::usual(Order::StartFirst));
            spec.more = Sparse::new(More { update, ..More::default() });
        }
        let key: Key = format!("shop/i-{at}").parse().unwrap();
        desired.instances.insert(key, Declared::new(spec, source()));
    }
    for node in ["n1", "n2"] {
        let at = NodeSpec::at(Endpoint::Unix(format!("/{node}.sock")));
        let spec = NodeSpec { drain: drained && node == "n1", ..at };
        desired.nodes.insert(Name::new(node).unwrap(), Declared::new(spec, source()));
    }
    desired
}

fn cpus_of(found: &ObservedContainer) -> BTreeSet<u16> {
    match &*found.config.limits.cpuset {
        "" => CpuSet::first(CPUS).0,
        cpus => CpuSet::of(cpus).0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nobody_runs_on_the_cpus_of_another(
        changes in prop::collection::vec(
            (
                prop::collection::vec(
                    (
                        prop::option::of(1..4_u64),
                        0..3_u32,
                        any::<bool>(),
                        any::<bool>(),
                        any::<bool>(),
                    ),
                    1..4,
                ),
                prop::bool::weighted(0.3),
                0..60_usize,
            ),
            1..6,
        ),
    ) {
        let mut world = World::new(&["n1", "n2"]);
        for engine in world.nodes.values_mut() {
            engine.cpus = CPUS;
        }
        for (wishes, drained, steps) in &changes {
            world.declare_set(set(wishes, *drained));
            for _ in 0..*steps {
                world.step();
            }
        }
        world.run_for(Duration::from_secs(900)).unwrap();
        prop_assert!(world.faults.is_empty(), "{:?}", world.faults);
        prop_assert_eq!(world.engine.degraded(), None);
        prop_assert!(world.engine.is_settled(), "{}", world.engine.plan());
        let snapshot = world.engine.snapshot();
        // Who is told to wait, for cpus or for its turn, is not there yet.
        let refused = |key: &str| {
            world.engine.report().notes.iter().any(|note| {
                let waits = matches!(
                    note.reason,
                    Reason::Stalled { .. } | Reason::Unplaced { .. } | Reason::WaitingOn { .. }
                );
                note.object.to_string() == key && waits
            })
        };
        for (node, engine) in &world.nodes {
            let record = &snapshot.records.nodes[node];
            let mut all: Vec<(String, BTreeSet<u16>)> = Vec::new();
            for (key, replicas) in &record.cores {
                for (ordinal, cores) in replicas {
                    let replica = format!("{key}/{ordinal}");
                    let cores = CpuSet::of(cores).0;
                    for (other, others) in &all {
                        prop_assert!(others.is_disjoint(&cores), "{replica} and {other}");
                    }
                    all.push((replica, cores));
                }
            }
            let taken: BTreeSet<u16> = all.iter().flat_map(|(_, cores)| cores).copied().collect();
            prop_assert!(taken.len() < CPUS as usize);
            for found in engine.containers.values() {
                let replica = &found.identity.replica;
                let Some(declared) = snapshot.desired.instances.get(&replica.instance) else {
                    continue; // its removal is held
                };
                let name = replica.to_string();
                if replica.ordinal >= declared.spec.replicas || refused(&name) {
                    continue;
                }
                let own = all.iter().find(|(of, _)| *of == name).map(|(_, cores)| cores);
                let cpus = cpus_of(found);
                match own {
                    Some(own) => {
                        prop_assert_eq!(own, &cpus, "{}: {:?}", name, world.engine.report());
                    }
                    None => {
                        prop_assert!(cpus.is_disjoint(&taken), "{name}: {cpus:?}");
                        prop_assert_eq!(declared.spec.resources.dedicated(), 0, "{}", name);
                        let all = match &declared.spec.resources.cpuset {
                            Some(named) => CpuSet::of(named).0,
                            None => CpuSet::first(CPUS).0,
                        };
                        prop_assert_eq!(&cpus, &(&all - &taken), "{}", name);
                    }
                }
            }
        }
    }
}
