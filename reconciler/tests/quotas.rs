//! Quotas of projects in a world of memory: nothing new takes a project past them, whatever is
//! declared in whatever order, and who is left out says so.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use reconciler::check::check;
use reconciler::model::desired::{Declared, DesiredSet, Source};
use reconciler::model::ids::{Key, Name};
use reconciler::model::observed::ContainerState;
use reconciler::model::quantity::Bytes;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{Endpoint, More, NodeSpec, Order, ProjectSpec, Quota, Update};
use reconciler::plan::plan;
use reconciler::policy::Policies;
use reconciler::report::Reason;
use reconciler::testing::{World, instance};

const MI: u64 = 1 << 20;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn source() -> Source {
    Source { file: Arc::from("set.yaml"), line: 1, column: 1 }
}

/// An instance: its project, eighths of a Gi, replicas, whether its updates start first, and which
/// image.
type Wish = (bool, u64, u32, bool, bool);

/// Projects `team`, and `shop` inside it, with so many eighths of a Gi and replicas.
fn set(wishes: &[Wish], quotas: [Option<(u64, u64)>; 2]) -> DesiredSet {
    let mut desired = DesiredSet::default();
    for (at, (inside, eighths, replicas, starts_first, image)) in wishes.iter().enumerate() {
        let mut spec = instance(if *image { "web:1" } else { "web:2" });
        spec.replicas = *replicas;
        spec.resources.memory = Some(Bytes(eighths * 128 * MI));
        if *starts_first {
            let update = Some(Update::usual(Order::StartFirst));
            spec.more = Sparse::new(More { update, ..More::default() });
        }
        let project = if *inside { "shop" } else { "team" };
        let key: Key = format!("{project}/i-{at}").parse().unwrap();
        desired.instances.insert(key, Declared::new(spec, source()));
    }
    for (project, quota, parent) in [("team", quotas[0], None), ("shop", quotas[1], Some("team"))] {
        let quota = quota.map_or_else(Quota::default, |(eighths, instances)| Quota {
            memory: Some(Bytes(eighths * 128 * MI)),
            instances: Some(instances),
            ..Quota::default()
        });
        let spec = ProjectSpec { quota, parent: parent.map(name), grant: Vec::new() };
        desired.projects.insert(name(project), Declared::new(spec, source()));
    }
    for node in ["n1", "n2"] {
        let spec = NodeSpec::at(Endpoint::Unix(format!("/{node}.sock")));
        desired.nodes.insert(name(node), Declared::new(spec, source()));
    }
    desired
}

/// The memory and the replicas of all containers that run in a project and inside it.
fn used(world: &World, project: &str) -> (u64, u64) {
    let all = world.nodes.values().flat_map(|engine| engine.containers.values());
    let all = all.filter(|found| {
        let of = &found.identity.replica.instance.project;
        project == "team" || *of == name(project)
    });
    let mut memory = 0;
    let mut replicas = BTreeSet::new();
    for found in all {
        let runs = matches!(found.state, ContainerState::Running { .. });
        memory += if runs { found.config.limits.memory } else { 0 };
        replicas.insert(found.identity.replica.clone());
    }
    (memory, u64::try_from(replicas.len()).unwrap())
}

/// The same of all replicas that were made, as records have it.
fn recorded(world: &World, project: &str) -> (u64, u64) {
    let records = world.engine.snapshot().records.instances.iter();
    let records = records.filter(|(key, _)| project == "team" || key.project == name(project));
    let made = records.flat_map(|(_, record)| record.replicas.values());
    let made = made.filter(|record| record.incarnation > 0);
    made.fold((0, 0), |(memory, count), record| (memory + record.applied.memory, count + 1))
}

fn quotas() -> impl Strategy<Value = [Option<(u64, u64)>; 2]> {
    let quota = || prop::option::weighted(0.8, (1..16_u64, 0..8_u64));
    (quota(), quota()).prop_map(|(team, shop)| [team, shop])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_new_takes_a_project_past_its_quota(
        changes in prop::collection::vec(
            (
                prop::collection::vec(
                    (any::<bool>(), 1..6_u64, 0..4_u32, any::<bool>(), any::<bool>()),
                    1..5,
                ),
                prop::option::weighted(0.3, quotas()),
                0..60_usize,
            ),
            1..6,
        ),
        mut quotas in quotas(),
    ) {
        let mut world = World::new(&["n1", "n2"]);
        for (wishes, other, steps) in &changes {
            if let Some(other) = other {
                // What is under way was within the quota of before.
                world.run_for(Duration::from_secs(900)).unwrap();
                quotas = *other;
            }
            // What was made has its place until it is known to be gone.
            let before = |project| {
                let ((one, two), (three, four)) =
                    (used(&world, project), recorded(&world, project));
                (project, (one.max(three), two.max(four)))
            };
            let before: BTreeMap<&str, _> = ["team", "shop"].map(before).into();
            world.declare_set(set(wishes, quotas));
            let mut highest = before.clone();
            for _ in 0..*steps {
                world.step();
                for (project, quota) in ["team", "shop"].into_iter().zip(quotas) {
                    let Some((eighths, instances)) = quota else { continue };
                    let (memory, replicas) = used(&world, project);
                    let (had, had_replicas) = highest[project];
                    // What is there only shrinks while it is above.
                    let most = (eighths * 128 * MI).max(had);
                    prop_assert!(memory <= most, "{}: {:?}", project, world.actions);
                    prop_assert!(replicas <= instances.max(had_replicas), "{}", project);
                    highest.insert(project, (had.max(memory), had_replicas.max(replicas)));
                }
            }
        }
        world.run_for(Duration::from_secs(900)).unwrap();
        prop_assert!(world.faults.is_empty(), "{:?}", world.faults);
        prop_assert_eq!(world.engine.degraded(), None);
        let snapshot = world.engine.snapshot();
        prop_assert!(world.engine.is_settled(), "{}", world.engine.plan());
        // Who is not there says why.
        for (key, declared) in &snapshot.desired.instances {
            for ordinal in 0..declared.spec.replicas {
                let mut all = world.nodes.values().flat_map(|engine| engine.containers.values());
                let is_there = all.any(|found| {
                    let of = &found.identity.replica;
                    of.instance == *key && of.ordinal == ordinal
                });
                let said = world.engine.report().notes.iter().any(|note| {
                    let quota = matches!(
                        note.reason,
                        Reason::OverQuota { .. } | Reason::WaitingOn { .. }
                    );
                    note.object.to_string() == format!("{key}/{ordinal}") && quota
                });
                prop_assert!(is_there || said, "{key}/{ordinal}: {:?}", world.engine.report());
            }
        }
    }

    #[test]
    fn a_plan_that_passes_a_quota_is_found(
        wishes in prop::collection::vec(
            (any::<bool>(), 1..6_u64, 0..4_u32, any::<bool>(), any::<bool>()),
            1..5,
        ),
        quotas in quotas(),
    ) {
        let mut world = World::new(&["n1", "n2"]);
        world.declare_set(set(&[], [None, None]));
        world.run().unwrap();
        let mut snapshot = world.engine.snapshot().clone();
        snapshot.desired = set(&wishes, quotas);
        let (fits, report) = plan(&snapshot, &Policies::default());
        prop_assert_eq!(check(&snapshot, &fits), vec![]);
        let mut free = snapshot.clone();
        free.desired = set(&wishes, [None, None]);
        // Images come first; then containers are made.
        let planned = |snapshot: &_| plan(snapshot, &Policies::default()).0;
        let made = planned(&free).steps.iter().any(|step| step.action.created().is_some());
        let refused = report
            .notes
            .iter()
            .filter(|note| matches!(note.reason, Reason::OverQuota { .. }))
            .count();
        // Room that updates need is asked for, and not made yet.
        let starts_first = wishes.iter().any(|wish| wish.3);
        if made && refused > 0 && !starts_first {
            prop_assert!(!check(&snapshot, &planned(&free)).is_empty());
        }
    }
}
