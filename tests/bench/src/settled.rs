//! A snapshot of instances that are as declared, made by the planner itself: what it plans is done
//! to an engine in memory until it plans nothing more.

use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet, RootIdentity, RootState, Source};
use reconciler::model::ids::{Key, Name, ObjectId, OwnerId};
use reconciler::model::journal::Entry;
use reconciler::model::observed::{ObservedNode, Reach};
use reconciler::model::quantity::Bytes;
use reconciler::model::snapshot::{Located, Snapshot};
use reconciler::model::spec::{Endpoint, InstanceSpec};
use reconciler::model::time::Timestamp;
use reconciler::plan::{Plan, plan};
use reconciler::policy::Policies;
use reconciler::ports::Done;
use reconciler::step::Action;
use reconciler::testing::{FakeEngine, instance};

use crate::table::Failure;

/// Rounds until nothing is planned: decisions, the image, containers, and one more.
const ROUNDS_MAX: usize = 10;

/// Instances, each with a container that runs, and nothing to do.
pub(crate) fn snapshot(instances: usize) -> Result<Snapshot, Failure> {
    let mut desired = DesiredSet::default();
    for number in 0..instances {
        let project = name(&format!("p{}", number % 100));
        let key = Key::new(project, name(&format!("web-{number}")));
        let source = Source { file: Arc::from(format!("{key}.yaml")), line: 1, column: 1 };
        desired.instances.insert(key, Declared::new(spec(number), source));
    }
    settle(desired)
}

/// What is declared, with all that makes it so.
pub(crate) fn settle(desired: DesiredSet) -> Result<Snapshot, Failure> {
    let instances = desired.instances.len();
    let mut world = World::new(desired);
    let policies = Policies::allow_all();
    for _ in 0..ROUNDS_MAX {
        let (plan, report) = plan(&world.snapshot, &policies);
        if report.settled {
            return Ok(world.snapshot);
        }
        world.follow(plan)?;
    }
    Err(format!("{instances} instances do not settle"))
}

struct World {
    snapshot: Snapshot,
    engine: FakeEngine,
    node: Name,
}

impl World {
    fn new(mut desired: DesiredSet) -> Self {
        desired.ensure_node(Endpoint::Unix("/bench.sock".to_owned()));
        let identity = RootIdentity { path: "/specs".to_owned(), device: 1 };
        let mut snapshot = Snapshot {
            now: Timestamp(1_700_000_000_000),
            desired,
            root: RootState::Present { identity, empty: false },
            ..Snapshot::default()
        };
        let engine = FakeEngine::new("bench");
        let node = Name::local_node();
        let info = engine.list().ok().map(|listing| listing.engine);
        let now = snapshot.now;
        let seen = ObservedNode {
            reach: Reach::Reachable,
            engine: info,
            seen_at: now,
            ..ObservedNode::default()
        };
        snapshot.nodes.insert(node.clone(), seen);
        let records = &mut snapshot.records;
        let owner = OwnerId("0011223344556677".to_owned());
        records.apply(now, &Entry::Owner { owner });
        let entry = Entry::Node {
            node: node.clone(),
            engine: "bench".to_owned(),
            endpoint: "unix:///bench.sock".to_owned(),
            cgroup_root: "/windlass/bench".to_owned(),
        };
        records.apply(now, &entry);
        Self { snapshot, engine, node }
    }

    /// Does what a plan says, as the loop would.
    fn follow(&mut self, plan: Plan) -> Result<(), Failure> {
        let now = self.snapshot.now;
        for decision in &plan.decisions {
            self.snapshot.records.apply(now, decision);
        }
        for step in plan.steps {
            let (object, node) = (step.object.clone(), step.node.clone());
            let deed = step.action.deed();
            let cause = step.cause.to_string();
            let intent = Entry::Intent {
                object: object.clone(),
                node: node.clone(),
                deed,
                cause,
                from: None,
            };
            self.snapshot.records.apply(now, &intent);
            let done = self
                .engine
                .execute(now, &step.action)
                .map_err(|error| format!("{step}: {error}"))?;
            if let (Done::Image { id, pinned }, ObjectId::Image { image, .. }) = (done, &object) {
                let change = plan.changes.iter().find(|change| change.object == object);
                let source = change.ok_or("a step without a change")?.goal.clone();
                let (image, node) = (image.clone(), node.clone());
                let entry = Entry::Resolved { image, source, node, id, pinned };
                self.snapshot.records.apply(now, &entry);
            }
            let deed = step.action.deed();
            self.snapshot.records.apply(now, &Entry::Done { object, node, deed });
            if matches!(step.action, Action::StartContainer { .. }) {
                self.take_containers();
            }
        }
        self.take_containers();
        if let Some(seen) = self.snapshot.nodes.get_mut(&self.node) {
            seen.images = self.engine.images.clone();
        }
        Ok(())
    }

    /// Moves what the engine holds into the snapshot: it searches its containers one by one, and
    /// is quick only while it holds few.
    fn take_containers(&mut self) {
        for (id, container) in std::mem::take(&mut self.engine.containers) {
            let replica = container.identity.replica.clone();
            let located = Located { node: self.node.clone(), id, container };
            self.snapshot.containers.entry(replica).or_default().push(located);
        }
    }
}

fn spec(number: usize) -> InstanceSpec {
    let mut spec = instance("web:1");
    spec.resources.memory = Some(Bytes(64 << 20));
    spec.env.insert("MODE".to_owned(), "production".to_owned());
    spec.env.insert("NUMBER".to_owned(), number.to_string());
    spec.labels.insert("tier".to_owned(), "front".to_owned());
    spec
}

/// A name; the texts here are all good ones.
fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|_| Name::local_node())
}
