//! From samples to amounts.
//!
//! # Guarantees
//! A mark keeps the last sample of each container, so what its counters have grown by is booked once:
//! over restarts of windlass too, since marks are kept together with what was booked. A container that
//! was started again counts from 0, and nothing is ever negative.
//!
//! # Assumptions
//! What a container uses between its last sample and its end is not known to anybody here, and is not
//! counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::amounts::Amounts;
use super::counters::Counters;
use super::ledger::Pending;
use crate::model::ids::{ContainerId, Name, ReplicaKey};
use crate::model::time::Timestamp;

/// A container that nobody has seen for so long is taken to be gone, and its mark goes. Should it come
/// back, it counts from then on: rather too little on a bill than something twice.
const UNSEEN_MAX: Duration = Duration::from_secs(32 * 86_400);

/// Whose amounts they are. A replica on another node, or of another flavor, is another series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// The replica.
    pub replica: ReplicaKey,
    /// Where it runs.
    pub node: Name,
    /// Its flavor, if its instance names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flavor: Option<Arc<str>>,
}

/// What is known of a container's flavor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flavor {
    /// Its instance names this one.
    Named(Arc<str>),
    /// Its instance has limits of its own, or none.
    Own,
    /// Its instance is not declared any more: the last one counts.
    Unknown,
}

/// One run of a container: another start is another life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Life {
    /// The container.
    pub container: ContainerId,
    /// When it was started.
    pub since: Timestamp,
}

/// A container that runs, and its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The replica.
    pub replica: ReplicaKey,
    /// Where it runs.
    pub node: Name,
    /// Its flavor.
    pub flavor: Flavor,
    /// Which run it is.
    pub life: Life,
    /// When the figures were read.
    pub at: Timestamp,
    /// The figures.
    pub counters: Counters,
}

/// The last sample of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// Whose it is.
    pub series: Series,
    /// When this run of it began.
    pub since: Timestamp,
    /// When it was read.
    pub at: Timestamp,
    /// The figures.
    pub counters: Counters,
    /// Processors in use between the sample before it and this one, in billionths of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<u64>,
}

/// The last samples of all containers.
pub type Marks = BTreeMap<ContainerId, Mark>;

/// Turns samples into amounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meter {
    marks: Marks,
    pending: Pending,
    /// What began before it and has no mark may be booked already.
    lost_at: Option<Timestamp>,
}

impl Meter {
    /// One that goes on from these last samples.
    #[must_use]
    pub fn new(marks: Marks) -> Self {
        Self { marks, pending: Pending::default(), lost_at: None }
    }

    /// One whose last samples were lost, and what was booked was not: all counts from now on.
    #[must_use]
    pub fn without_marks(now: Timestamp) -> Self {
        Self { lost_at: Some(now), ..Self::default() }
    }

    /// The last samples.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What is not booked yet.
    #[must_use]
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// Forgets what is pending, since it is booked, and marks of containers that are long gone.
    pub fn booked(&mut self, now: Timestamp) {
        self.forget_pending();
        self.marks.retain(|_, mark| now.since(mark.at) < UNSEEN_MAX);
    }

    /// Forgets what is pending: nobody keeps it.
    pub fn forget_pending(&mut self) {
        self.pending = Pending::default();
    }

    /// Takes a sample.
    pub fn see(&mut self, sighting: Sighting, now: Timestamp) {
        let Sighting { replica, node, flavor, life, at, counters } = sighting;
        let before = self.marks.get(&life.container);
        let flavor = match flavor {
            Flavor::Named(name) => Some(name),
            Flavor::Own => None,
            Flavor::Unknown => before.and_then(|mark| mark.series.flavor.clone()),
        };
        let series = Series { replica, node, flavor };
        let is_same = |mark: &&Mark| mark.since == life.since && counters.follow(&mark.counters);
        let same = before.filter(is_same);
        let from = match (same, before) {
            (Some(mark), _) => mark.at,
            // It ran before this start as well, and that is booked.
            (None, Some(mark)) => life.since.max(mark.at),
            // Its mark may be gone, and then it is booked.
            (None, None) if self.may_be_booked(&life, now) => {
                return self.begin(series, life, at, counters);
            }
            (None, None) => life.since,
        };
        // A clock that was put back: what was used counts, and no time passed.
        let from = from.min(at);
        let span_ms = u64::try_from(at.0.saturating_sub(from.0)).unwrap_or(0);
        let amounts = Amounts::between(same.map(|mark| &mark.counters), &counters, span_ms);
        let nano_cpus = same.and_then(|_| per_second(amounts.cpu_ns, span_ms));
        self.pending.add(&series, &amounts, (from, at), now);
        let mark = Mark { series, since: life.since, at, counters, nano_cpus };
        self.marks.insert(life.container, mark);
    }

    fn may_be_booked(&self, life: &Life, now: Timestamp) -> bool {
        now.since(life.since) >= UNSEEN_MAX || self.lost_at.is_some_and(|lost| life.since < lost)
    }

    /// Counts from here on.
    fn begin(&mut self, series: Series, life: Life, at: Timestamp, counters: Counters) {
        let mark = Mark { series, since: life.since, at, counters, nano_cpus: None };
        self.marks.insert(life.container, mark);
    }
}

/// Billionths of a processor: nanoseconds on processors for each second.
fn per_second(cpu_ns: u64, span_ms: u64) -> Option<u64> {
    let per_second = u128::from(cpu_ns) * 1000;
    u64::try_from(per_second.checked_div(span_ms.into())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(container: &str, since: i64, at: i64, cpu_ns: u64) -> Sighting {
        Sighting {
            replica: ReplicaKey::new("shop/web".parse().expect("a key"), 0),
            node: Name::local_node(),
            flavor: Flavor::Named(Arc::from("m1.tiny")),
            life: Life { container: ContainerId(Arc::from(container)), since: Timestamp(since) },
            at: Timestamp(at),
            counters: Counters { cpu_ns, memory: 100, ..Counters::default() },
        }
    }

    fn sum(meter: &Meter) -> Amounts {
        let mut sum = Amounts::default();
        for amounts in meter.pending().0.values().flat_map(BTreeMap::values) {
            sum.add(amounts);
        }
        sum
    }

    #[test]
    fn what_grew_is_booked_once() {
        let mut meter = Meter::default();
        meter.see(sighting("a", 1000, 2000, 50), Timestamp(2000));
        assert_eq!(sum(&meter).cpu_ns, 50, "all since its start");
        assert_eq!(sum(&meter).ran_ms, 1000);
        meter.see(sighting("a", 1000, 5000, 80), Timestamp(5000));
        assert_eq!(sum(&meter).cpu_ns, 80);
        assert_eq!(sum(&meter).memory_byte_ms, 400_000);
        let nano_cpus = meter.marks().values().next().and_then(|mark| mark.nano_cpus);
        assert_eq!(nano_cpus, Some(10), "30 ns in three seconds");
        // windlass was away, and the container ran on.
        let mut next = Meter::new(meter.marks().clone());
        next.see(sighting("a", 1000, 9000, 100), Timestamp(9000));
        assert_eq!(sum(&next).cpu_ns, 20);
    }

    #[test]
    fn what_was_started_again_counts_from_zero() {
        let mut meter = Meter::default();
        meter.see(sighting("a", 0, 2000, 50), Timestamp(2000));
        meter.see(sighting("a", 2500, 3000, 70), Timestamp(3000));
        assert_eq!(sum(&meter).cpu_ns, 120, "though the counter is higher");
        assert_eq!(sum(&meter).ran_ms, 2500, "it stood still for half a second");
        meter.see(sighting("b", 3000, 4000, 5), Timestamp(4000));
        assert_eq!(sum(&meter).cpu_ns, 125);
        // The same start, and less than before: whatever it was, it counts from 0.
        meter.see(sighting("b", 3000, 5000, 2), Timestamp(5000));
        assert_eq!(sum(&meter).cpu_ns, 127);
    }

    #[test]
    fn a_clock_that_is_put_back_makes_nothing_negative() {
        let mut meter = Meter::default();
        meter.see(sighting("a", 1000, 10_000, 50), Timestamp(10_000));
        meter.see(sighting("a", 1000, 4000, 60), Timestamp(4000));
        assert_eq!((sum(&meter).cpu_ns, sum(&meter).ran_ms), (60, 9000));
    }

    #[test]
    fn whoever_ran_for_long_before_anybody_looked_counts_from_then_on() {
        let mut meter = Meter::default();
        let at = 33 * 86_400_000;
        meter.see(sighting("a", 0, at, 50), Timestamp(at));
        assert_eq!(sum(&meter), Amounts::default());
        meter.see(sighting("a", 0, at + 1000, 60), Timestamp(at + 1000));
        assert_eq!(sum(&meter).cpu_ns, 10);
        let mut lost = Meter::without_marks(Timestamp(at));
        lost.see(sighting("b", at - 1000, at, 50), Timestamp(at));
        lost.see(sighting("c", at + 1000, at + 2000, 3), Timestamp(at + 2000));
        assert_eq!(sum(&lost).cpu_ns, 3, "what b used may be booked already");
    }

    #[test]
    fn who_is_not_declared_any_more_keeps_its_flavor() {
        let mut meter = Meter::default();
        meter.see(sighting("a", 0, 1000, 1), Timestamp(1000));
        let flavor = Flavor::Unknown;
        meter.see(Sighting { flavor, ..sighting("a", 0, 2000, 2) }, Timestamp(2000));
        let series: Vec<_> = meter.pending().0.values().flat_map(|block| block.keys()).collect();
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].flavor.as_deref(), Some("m1.tiny"));
    }
}
