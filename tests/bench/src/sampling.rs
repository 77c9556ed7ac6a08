//! What it costs to look what 1,000 containers use: real control groups, in a group of the bench's own.

use std::time::Instant;

use windlass::cgroup::hierarchy::{Controller, Hierarchy};
use windlass::cgroup::sample::Groups;

use crate::lab::Lab;
use crate::table::{Failure, Row, ms};

const GROUPS: usize = 1_000;
const RUNS: usize = 21;
const CPU_MAX_MS: f64 = 50.0;

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    let made = Made::new()?;
    let mut sampler = Groups::new(Some(made.trees.clone()));
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (began, cpu_before) = (Instant::now(), on_cpu()?);
        for group in &made.groups {
            sampler.counters(group).ok_or_else(|| format!("{group} has no figures"))?;
        }
        cpu.push(on_cpu()? - cpu_before);
        wall.push(ms(began.elapsed()));
    }
    Ok(vec![
        Row::new("sampling", "1,000 containers sampled, CPU", "ms", cpu).at_most(CPU_MAX_MS),
        Row::new("sampling", "the same, on the clock", "ms", wall),
    ])
}

/// How long this thread has run on a processor, in milliseconds.
fn on_cpu() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat");
    let text = text.map_err(|error| format!("read /proc/thread-self/schedstat: {error}"))?;
    let ns: f64 = text
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .ok_or_else(|| "schedstat has another form".to_owned())?;
    Ok(ns / 1e6)
}

/// Groups that are removed at the end.
struct Made {
    trees: Hierarchy,
    above: String,
    groups: Vec<String>,
}

impl Made {
    fn new() -> Result<Self, Failure> {
        let trees = Hierarchy::of_host()?;
        let above = format!("/windlass-bench-{}", std::process::id());
        let mut made = Self { trees, above, groups: Vec::new() };
        for number in 0..GROUPS {
            // As long as a container's.
            let group = format!("{}/local-1a2b3c4d/shop/{number:064x}", made.above);
            made.trees.make(&group, &Controller::ALL)?;
            made.groups.push(group);
        }
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let above = ["/local-1a2b3c4d/shop", "/local-1a2b3c4d", ""];
        let above = above.map(|path| format!("{}{path}", self.above));
        for group in self.groups.iter().chain(&above) {
            if let Err(error) = self.trees.remove(group) {
                crate::progress(&error);
            }
        }
    }
}
