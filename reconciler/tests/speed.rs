//! How long a round takes where nothing is to be done: `cargo test --release -p reconciler
//! --features testing --test speed -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    missing_docs,
    reason = "a measurement"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reconciler::check::check;
use reconciler::model::desired::{Declared, DesiredSet, Source};
use reconciler::model::ids::ImageName;
use reconciler::model::quantity::{Bytes, Cpus};
use reconciler::model::snapshot::Snapshot;
use reconciler::model::spec::{Port, PortRange, Protocol};
use reconciler::plan::plan;
use reconciler::policy::Policies;
use reconciler::testing::{World, instance};

/// A settled world of `count` instances in projects of a hundred, of eight images.
fn settled(count: u32) -> Snapshot {
    let mut world = World::new(&["n1"]);
    let served: BTreeMap<String, String> =
        (0..8).map(|image| (format!("app{image}:1"), format!("app{image}:1"))).collect();
    for node in world.nodes.values_mut() {
        node.registry = served.clone();
    }
    let mut desired = DesiredSet::default();
    for number in 0..count {
        let mut spec = instance("web:1");
        spec.image = ImageName::Reference(Arc::from(format!("app{}:1", number % 8)));
        for variable in 0..8 {
            spec.env.insert(format!("VARIABLE_{variable}"), format!("value-{number}-{variable}"));
        }
        spec.labels.insert("tier".to_owned(), "front".to_owned());
        spec.resources.memory = Some(Bytes(64 << 20));
        spec.resources.cpus = Some(Cpus(500_000_000));
        let host = u16::try_from(number % 60_000).unwrap() + 1;
        spec.ports = vec![Port {
            container: 8080,
            protocol: Protocol::Tcp,
            host: Some(PortRange { first: host, last: host }),
            address: None,
        }];
        let key = format!("project-{}/instance-{number}", number / 100).parse().unwrap();
        let source = Source { file: Arc::from("set.yaml"), line: 1, column: 1 };
        desired.instances.insert(key, Declared::new(spec, source));
    }
    // By hand, not by the loop: a hundred thousand chains are another test's affair.
    world.declare_set(desired);
    world.step();
    let mut snapshot = world.engine.snapshot().clone();
    settle(&mut snapshot);
    snapshot
}

/// Brings a snapshot to where everything that is declared runs.
fn settle(snapshot: &mut Snapshot) {
    use reconciler::model::ids::{ContainerId, Digest, ImageId, Name};
    use reconciler::model::observed::{
        ContainerState, HealthState, Identity, ObservedContainer, Reach,
    };
    use reconciler::model::record::{ImageRecord, InstanceRecord, Life, ReplicaRecord};
    use reconciler::model::snapshot::Located;
    use reconciler::{plan::goal, revision::revision, want};
    let node = Name::new("n1").unwrap();
    let seen = snapshot.nodes.entry(node.clone()).or_default();
    seen.reach = Reach::Reachable;
    let names: Vec<ImageName> =
        snapshot.desired.instances.values().map(|one| one.spec.image.clone()).collect();
    for image in names {
        let source = goal::image_source(snapshot, &image);
        let id = ImageId(Digest::of(image.to_string().as_bytes()).0);
        snapshot.nodes.get_mut(&node).unwrap().images.entry(id.clone()).or_default();
        let record = ImageRecord {
            source,
            content: Some(Arc::clone(&id.0)),
            ids: [(node.clone(), id)].into(),
            ..ImageRecord::default()
        };
        snapshot.records.images.insert(image, record);
    }
    for (key, declared) in &snapshot.desired.instances {
        let replica = reconciler::model::ids::ReplicaKey::new(key.clone(), 0);
        let record = &snapshot.records.images[&declared.spec.image];
        let revision = revision(&declared.basis, record.content.as_ref().unwrap());
        let container = ObservedContainer {
            name: replica.container_name(1),
            identity: Identity {
                replica: replica.clone(),
                revision: revision.clone(),
                incarnation: 1,
                uid: "u1".to_owned(),
            },
            state: ContainerState::Running { since: snapshot.now },
            health: HealthState::None,
            image: record.ids[&node].clone(),
            config: want::config(
                &declared.spec,
                &replica,
                replica.ordinal,
                "/windlass/n1",
                Some(core::net::Ipv4Addr::from_bits(
                    0x0a90_0800 + u32::try_from(snapshot.containers.len()).unwrap(),
                )),
                &reconciler::links::Linked::default(),
            ),
            address: None,
            addresses: Default::default(),
            created_at: snapshot.now,
            masked_paths: None,
            shared_mounts: None,
            hosts_path: None,
            hosts: None,
        };
        let id = ContainerId(Digest::of(key.to_string().as_bytes()).0);
        snapshot.containers.insert(replica, vec![Located { node: node.clone(), id, container }]);
        let replica = ReplicaRecord {
            node: Some(node.clone()),
            incarnation: 1,
            revision: Some(revision),
            confirmed: true,
            applied: want::limits(&declared.spec.resources),
            life: Life::Started,
            ..ReplicaRecord::default()
        };
        let record = InstanceRecord {
            uid: "u1".to_owned(),
            generation: 1,
            digest: Some(declared.digest.clone()),
            replicas: [(0, replica)].into(),
            ..InstanceRecord::default()
        };
        snapshot.records.instances.insert(key.clone(), record);
    }
}

/// How long this thread has been on a cpu: what other work on the machine takes does not count.
fn on_cpu() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a measurement looks at the machine")]
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
#[ignore = "measures"]
fn a_settled_round() {
    let policies = Policies::allow_all();
    for (count, goal_ms) in [(1_000, 2.0), (10_000, 20.0), (100_000, 250.0)] {
        let snapshot = settled(count);
        let mut times: Vec<Duration> = (0..9)
            .map(|_| {
                // The kernel counts in ticks: a short round is taken often enough to see it.
                let rounds = 200_000 / count;
                let began = on_cpu();
                for _ in 1..rounds {
                    std::hint::black_box(plan(&snapshot, &policies));
                }
                let (plan, report) = plan(&snapshot, &policies);
                let took = (on_cpu() - began) / rounds;
                assert!(report.settled, "{plan} {:?}", plan.decisions.first());
                assert_eq!(report.counts.settled, count);
                assert!(check(&snapshot, &plan).is_empty());
                took
            })
            .collect();
        times.sort();
        let ms = |at: usize| times[at].as_secs_f64() * 1000.0;
        let (least, ms) = (ms(0), ms(times.len() / 2));
        let verdict = if ms <= goal_ms { "met" } else { "missed" };
        println!(
            "plan() of {count:>6} settled instances: {ms:8.2} ms, {least:.2} at least (goal {goal_ms} ms, {verdict})"
        );
    }
}
