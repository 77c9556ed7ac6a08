//! `plan()` of instances that are as declared: what every round costs.
//!
//! It waits for nothing, so its time is that of its thread on a core: other work on the machine
//! slows it down through caches only.

use std::hint::black_box;

use reconciler::plan::plan;
use reconciler::policy::Policies;

use crate::lab::Lab;
use crate::settled;
use crate::table::{Failure, Row, median};

/// Instances, runs, and the goal in ms.
const SIZES: [(usize, usize, f64); 3] =
    [(1_000, 301, 2.0), (10_000, 61, 20.0), (100_000, 15, 250.0)];

/// Runs before those that count.
const WARM_UP: usize = 3;

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    let policies = Policies::allow_all();
    let mut rows = Vec::new();
    let mut first = None;
    for (instances, runs, goal) in SIZES {
        let snapshot = settled::snapshot(instances)?;
        let mut samples = Vec::with_capacity(runs);
        for run in 0..WARM_UP + runs {
            let began = cpu_ms();
            let planned = black_box(plan(black_box(&snapshot), &policies));
            let took = cpu_ms() - began;
            if !planned.1.settled {
                return Err("a settled snapshot was planned".to_owned());
            }
            if run >= WARM_UP {
                samples.push(took);
            }
        }
        let each = median(&samples) / instances as f64;
        // The cost of one instance, in terms of what it costs among the fewest.
        let ratio = each / *first.get_or_insert(each);
        let what = format!("{instances} instances (ratio: per instance, to the first)");
        rows.push(Row::new("plan", what, "ms", samples).ratio(ratio).at_most(goal));
    }
    Ok(rows)
}

/// CPU time of this thread.
pub(crate) fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1000.0 + time.tv_nsec as f64 / 1e6
}
