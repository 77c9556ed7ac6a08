//! Nothing that was used is lost, whatever the order of things.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use reconciler::model::ids::{ContainerId, Name, ReplicaKey};
use reconciler::model::time::Timestamp;
use reconciler::usage::ledger::{age, book};
use reconciler::usage::{
    Amounts, By, Counters, Flavor, Level, Life, MemoryShelf, Meter, Query, Sighting, Tally,
};

const DAY_MS: i64 = 86_400_000;

/// An ordinary day; buckets do not begin at its first moment.
const BEGIN: i64 = 1_795_171_267_999;

/// What happens in a story.
#[derive(Debug, Clone)]
enum Happens {
    /// So many milliseconds go by, and a container uses this meanwhile.
    Runs { which: usize, span_ms: i64, cpu_ns: u64, memory: u64 },
    /// A container is started again, with counters from 0.
    Starts { which: usize },
    /// What is pending is booked.
    Books,
    /// windlass is started again, without what was not booked; its containers run on.
    Crashes,
    /// Only time goes by.
    Rests { span_ms: i64 },
}

fn happens() -> impl Strategy<Value = Happens> {
    let span = prop_oneof![4 => 1_000..90_000_i64, 2 => 0..7_200_000_i64, 1 => 0..10 * DAY_MS];
    prop_oneof![
        8 => (0..3_usize, span.clone(), 0..1_u64 << 40, 0..1_u64 << 36).prop_map(
            |(which, span_ms, cpu_ns, memory)| Happens::Runs { which, span_ms, cpu_ns, memory }
        ),
        1 => (0..3_usize).prop_map(|which| Happens::Starts { which }),
        4 => Just(Happens::Books),
        2 => Just(Happens::Crashes),
        1 => span.prop_map(|span_ms| Happens::Rests { span_ms }),
    ]
}

/// A container in the story.
#[derive(Debug, Clone)]
struct Runs {
    since: i64,
    counters: Counters,
    /// When somebody looked at it last.
    seen: i64,
    /// How often it was started again.
    restarts: usize,
}

/// The story's world.
struct World {
    now: i64,
    containers: Vec<Runs>,
    meter: Meter,
    kept: reconciler::usage::Marks,
    shelf: MemoryShelf,
}

impl World {
    fn new() -> Self {
        let one = Runs { since: BEGIN, counters: Counters::default(), seen: BEGIN, restarts: 0 };
        Self {
            now: BEGIN,
            containers: vec![one; 3],
            meter: Meter::default(),
            kept: BTreeMap::new(),
            shelf: MemoryShelf::default(),
        }
    }

    fn look(&mut self, which: usize) {
        self.containers[which].seen = self.now;
        let Runs { since, counters, .. } = self.containers[which].clone();
        let instance = ["shop/web", "shop/db", "blog/web"][which];
        let sighting = Sighting {
            replica: ReplicaKey::new(instance.parse().expect("a key"), 0),
            node: Name::local_node(),
            flavor: if which == 0 { Flavor::Own } else { Flavor::Named(Arc::from("m1.tiny")) },
            life: Life {
                container: ContainerId(Arc::from(format!("c{which}"))),
                since: Timestamp(since),
            },
            at: Timestamp(self.now),
            counters,
        };
        self.meter.see(sighting, Timestamp(self.now));
    }

    fn look_at_all(&mut self) {
        for which in 0..self.containers.len() {
            self.look(which);
        }
    }

    fn book(&mut self) {
        let now = Timestamp(self.now);
        let Ok(()) = book(&mut self.shelf, self.meter.pending(), now);
        self.meter.booked(now);
        self.kept = self.meter.marks().clone();
    }

    fn account(&self, query: Query) -> reconciler::usage::Account {
        let mut tally = Tally::new(query);
        for (bucket, block) in &self.shelf.0 {
            for (series, amounts) in block {
                tally.add(*bucket, series, amounts);
            }
        }
        tally.account()
    }
}

/// Plays a story, and gives what was used and seen in it all in all.
fn play(story: &[Happens]) -> (World, Amounts) {
    let mut world = World::new();
    let mut used = Amounts::default();
    for happens in story {
        match *happens {
            Happens::Runs { which, span_ms, cpu_ns, memory } => {
                world.now += span_ms;
                world.containers[which].counters.cpu_ns += cpu_ns;
                world.containers[which].counters.memory = memory;
                used.cpu_ns += cpu_ns;
                used.memory_peak = used.memory_peak.max(memory);
                world.look(which);
            }
            Happens::Starts { which } => {
                // What a crash forgot is only in the counters, and they end here.
                world.look(which);
                world.book();
                world.now += 1;
                let restarts = world.containers[which].restarts + 1;
                let (since, seen, counters) = (world.now, world.now, Counters::default());
                world.containers[which] = Runs { since, counters, seen, restarts };
            }
            Happens::Books => {
                world.look_at_all();
                world.book();
            }
            Happens::Crashes => world.meter = Meter::new(world.kept.clone()),
            Happens::Rests { span_ms } => world.now += span_ms,
        }
        // Marks go in the end.
        if world.containers.iter().any(|one| world.now - one.seen > 15 * DAY_MS) {
            world.look_at_all();
        }
    }
    // At the end everyone is seen, so a crash before has lost nothing.
    world.look_at_all();
    world.book();
    (world, used)
}

fn config() -> ProptestConfig {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/usage.proptest-regressions");
    ProptestConfig {
        // A story books thousands of buckets.
        cases: 64,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// Time on processors is booked to the nanosecond, by whatever it is summed; containers' time to
    /// the millisecond.
    #[test]
    fn sums_are_kept(story in prop::collection::vec(happens(), 0..40)) {
        let (world, used) = play(&story);
        // What is older than all buckets is gone, and that is meant.
        prop_assume!(world.now - BEGIN < 399 * DAY_MS);
        for by in [By::Project, By::Instance, By::Flavor, By::Node] {
            let account = world.account(Query { by, ..Query::default() });
            prop_assert_eq!(account.total.amounts.cpu_ns, used.cpu_ns);
            let lines: u64 = account.lines.iter().map(|line| line.amounts.cpu_ns).sum();
            prop_assert_eq!(lines, used.cpu_ns);
            let ran: u64 = account.total.flavors.values().sum();
            prop_assert_eq!(ran, account.total.amounts.ran_ms);
        }
        let all = world.account(Query::default()).total;
        // Each ran from the begin, but for a millisecond at each start.
        let stood: usize = world.containers.iter().map(|one| one.restarts).sum();
        let whole = u64::try_from(3 * (world.now - BEGIN)).expect("time goes on");
        prop_assert_eq!(all.amounts.ran_ms, whole - u64::try_from(stood).expect("few"));
    }

    /// Ageing alone changes no sum and no peak; and looked at late or often, it ends the same.
    #[test]
    fn ageing_keeps_sums(
        story in prop::collection::vec(happens(), 1..20),
        steps in prop::collection::vec(0..20 * DAY_MS, 1..10),
    ) {
        let (world, _) = play(&story);
        let before = world.account(Query::default()).total;
        let mut now = world.now;
        let mut often = world.shelf.clone();
        for step in &steps {
            now += step;
            let Ok(()) = age(&mut often, Timestamp(now));
            let Ok(()) = age(&mut often, Timestamp(now));
        }
        prop_assume!(now - BEGIN < 399 * DAY_MS);
        let mut late = world.shelf.clone();
        let Ok(()) = age(&mut late, Timestamp(now));
        prop_assert_eq!(&often, &late);
        let aged = World { shelf: late, ..world };
        prop_assert_eq!(aged.account(Query::default()).total, before);
    }

    /// Two ranges that meet count everything once.
    #[test]
    fn ranges_that_meet_leave_nothing_out(
        story in prop::collection::vec(happens(), 1..20),
        cut in 0..200 * DAY_MS,
    ) {
        let (world, _) = play(&story);
        let cut = Some(Timestamp(BEGIN + cut));
        let all = world.account(Query::default()).total.amounts;
        let before = world.account(Query { until: cut, ..Query::default() }).total.amounts;
        let mut sum = world.account(Query { since: cut, ..Query::default() }).total.amounts;
        sum.add(&before);
        prop_assert_eq!(sum, all);
    }

    /// However long a replica lives, what is kept of it has a bound.
    #[test]
    fn what_is_kept_is_bounded(spans in prop::collection::vec(0..40 * DAY_MS, 1..40)) {
        let mut world = World::new();
        for span in spans {
            world.now += span;
            world.look(0);
            world.book();
        }
        let most: i64 = Level::ALL.into_iter().map(|level| level.kept_ms() / level.width_ms()).sum();
        // A coarser bucket's worth more may stay at each level until it is over.
        let kept = i64::try_from(world.shelf.0.len()).expect("few");
        prop_assert!(kept <= most + 5 + 12 + 24 + 2, "{} buckets", kept);
    }
}

#[test]
fn what_is_gone_keeps_its_coarse_buckets() {
    let mut world = World::new();
    world.containers[0].counters.cpu_ns = 7;
    world.now += 60_000;
    world.look(0);
    world.book();
    // Nobody sees it again.
    world.now += 300 * DAY_MS;
    world.book();
    assert_eq!(world.account(Query::default()).total.amounts.cpu_ns, 7);
    let levels: Vec<_> = world.shelf.0.keys().map(|bucket| bucket.level).collect();
    assert_eq!(levels, [Level::Day]);
    assert!(world.kept.is_empty(), "its mark is gone");
    world.now += 200 * DAY_MS;
    world.book();
    assert_eq!(world.account(Query::default()).total.amounts.cpu_ns, 0, "a year later it is over");
}
