//! What containers, nodes and projects use: the tables of `top`.

use std::collections::BTreeMap;

use reconciler::model::ids::{Name, ReplicaKey};
use reconciler::ports::Usage;
use reconciler::usage::Counters;
use serde::Serialize;

use super::bar::bar;
use super::table::{Table, cell};
use super::words::size;
use super::{Ink, Style};
use crate::api::protocol::{NodeStatus, ProjectUse, UsageRow};
use crate::api::used::within;

/// What something uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// Its name: `project/name/ordinal` of a replica, or that of a node or a project.
    pub name: String,
    /// Where it runs; only of a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// How many containers it holds; not of a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<u32>,
    /// Processors in use, between this sample and the one before.
    pub cpus: Option<f64>,
    /// The same, in hundredths of the limit or the quota, if there is one.
    pub cpu_percent: Option<f64>,
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// The same, in hundredths of the limit or the quota, if there is one.
    pub memory_percent: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// The same, in hundredths of the limit or the quota, if there is one.
    pub pids_percent: Option<f64>,
    /// Bytes read from and written to block devices each second, between the two samples; none if
    /// only the engine could be asked.
    pub io: Option<f64>,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SortBy {
    /// Most processor time first.
    Cpu,
    /// Most memory first.
    Memory,
    /// Most processes and threads first.
    Pids,
    /// Most bytes read and written first.
    Io,
    /// By name.
    Name,
}

/// The samples of one moment, by replica and node: two containers of one replica may run.
pub type Samples = BTreeMap<(ReplicaKey, Name), (Usage, Option<Counters>)>;

/// What was sampled.
#[must_use]
pub fn samples(rows: &[UsageRow]) -> Samples {
    rows.iter()
        .filter_map(|row| {
            let sample = (row.usage?, row.counters);
            Some(((row.replica.clone(), row.node.clone()), sample))
        })
        .collect()
}

/// What replicas use, of two samples.
#[must_use]
pub fn replicas(rows: &[UsageRow], before: &Samples) -> Vec<Use> {
    let each = |row: &UsageRow| {
        let UsageRow { replica, node, limits, usage, counters, message } = row;
        let before = before.get(&(replica.clone(), node.clone()));
        let both = usage.zip(before);
        let cpus = both.and_then(|(now, (before, _))| cores(before, &now));
        let io = both.zip(*counters).and_then(|((now, (before, earlier)), counters)| {
            per_second(earlier.as_ref()?, &counters, now.at_ns.checked_sub(before.at_ns)?)
        });
        Use {
            name: replica.to_string(),
            node: Some(node.clone()),
            containers: None,
            cpus,
            cpu_percent: cpus.and_then(|cpus| percent(cpus * 1e9, limits.nano_cpus)),
            memory: usage.map(|usage| usage.memory),
            memory_percent: usage.and_then(|usage| percent(float(usage.memory), limits.memory)),
            pids: usage.map(|usage| usage.pids),
            pids_percent: usage.and_then(|usage| percent(float(usage.pids), limits.pids)),
            io,
            message: message.clone(),
        }
    };
    rows.iter().map(each).collect()
}

/// What all containers of each node use together; their limit is what the node has.
#[must_use]
pub fn nodes(replicas: &[Use], nodes: &[NodeStatus]) -> Vec<Use> {
    let each = |node: &NodeStatus| {
        let here = || replicas.iter().filter(|one| one.node.as_ref() == Some(&node.name));
        let sampled = here().any(|one| one.memory.is_some());
        let shown = node.ready && (sampled || here().next().is_none());
        let cpus: f64 = here().filter_map(|one| one.cpus).sum();
        let memory: u64 = here().filter_map(|one| one.memory).sum();
        let capacity = u64::from(node.cpus.unwrap_or(0)) * 1_000_000_000;
        Use {
            name: node.name.to_string(),
            node: None,
            containers: Some(u32::try_from(here().count()).unwrap_or(u32::MAX)),
            cpus: shown.then_some(cpus),
            cpu_percent: percent(cpus * 1e9, capacity).filter(|_| shown),
            memory: shown.then_some(memory),
            memory_percent: percent(float(memory), node.memory.unwrap_or(0)).filter(|_| shown),
            pids: shown.then(|| here().filter_map(|one| one.pids).sum()),
            pids_percent: None,
            io: sum(here().map(|one| one.io)).filter(|_| shown),
            message: node.message.clone(),
        }
    };
    nodes.iter().map(each).collect()
}

/// What all containers of each project use together; their limit is its quota.
#[must_use]
pub fn projects(replicas: &[Use], all: &[ProjectUse]) -> Vec<Use> {
    let each = |project: &ProjectUse| {
        let name = project.name.to_string();
        // What is used in a part of it counts here, too.
        let is_of = |one: &&Use| {
            let of = one.name.split('/').next();
            let own = all.iter().find(|other| of == Some(other.name.as_str()));
            let parent = |inner: &Name| {
                let found = all.iter().find(|other| other.name == *inner);
                found.and_then(|other| other.parent.as_ref())
            };
            own.is_some_and(|own| within(&own.name, parent).any(|outer| *outer == project.name))
        };
        let here = || replicas.iter().filter(is_of);
        let count = here().count();
        let unknown = here().filter(|one| one.memory.is_none()).count();
        let cpus = sum(here().map(|one| one.cpus)).or((count == 0).then_some(0.0));
        let memory: u64 = here().filter_map(|one| one.memory).sum();
        let pids: u64 = here().filter_map(|one| one.pids).sum();
        let quota = &project.quota;
        let limit = |limit: Option<u64>| limit.unwrap_or(0);
        Use {
            node: None,
            containers: Some(u32::try_from(count).unwrap_or(u32::MAX)),
            cpus,
            cpu_percent: cpus
                .and_then(|cpus| percent(cpus * 1e9, limit(quota.cpus.map(|cpus| cpus.0)))),
            memory: Some(memory),
            memory_percent: percent(float(memory), limit(quota.memory.map(|memory| memory.0))),
            pids: Some(pids),
            pids_percent: percent(float(pids), limit(quota.pids)),
            io: sum(here().map(|one| one.io)),
            message: (unknown > 0).then(|| format!("without {unknown} that could not be read")),
            name,
        }
    };
    all.iter().map(each).collect()
}

/// The sum of those that are known; nothing if none is.
fn sum(all: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    all.flatten().fold(None, |sum, one| Some(sum.unwrap_or(0.0) + one))
}

/// Sorts a list; what uses the same stands by name.
pub fn sort(all: &mut [Use], by: SortBy) {
    let most = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    match by {
        SortBy::Name => {}
        SortBy::Cpu => all.sort_by(|a, b| most(a.cpus, b.cpus)),
        SortBy::Io => all.sort_by(|a, b| most(a.io, b.io)),
        SortBy::Pids => all.sort_by_key(|one| std::cmp::Reverse(one.pids)),
        SortBy::Memory => all.sort_by_key(|one| std::cmp::Reverse(one.memory)),
    }
}

/// A list as a table.
#[must_use]
pub fn table(all: &[Use], style: &Style) -> String {
    let of_nodes = all.first().is_some_and(|one| one.containers.is_some());
    let second = if of_nodes { "CONTAINERS" } else { "NODE" };
    let heads = ["NAME", second, "CPU", "CPU%", "MEMORY", "MEMORY%", "PIDS", "IO/S", "MESSAGE"];
    let last = all.iter().any(|one| one.message.is_some());
    let mut table = Table::with_heads(if last { &heads } else { &heads[..8] });
    for one in all {
        let Use {
            name,
            node,
            containers,
            cpus,
            cpu_percent,
            memory,
            memory_percent,
            pids,
            pids_percent,
            io,
            message,
        } = one;
        let second = match (containers, node) {
            (Some(containers), _) => containers.to_string(),
            (None, Some(node)) => node.to_string(),
            (None, None) => String::new(),
        };
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        // Near its limit a container is slowed down, or ended.
        let ink = |percent: Option<f64>| match percent.is_some_and(|percent| percent >= 90.0) {
            true => Ink::Bad,
            false => Ink::Plain,
        };
        let share = |percent: Option<f64>| {
            let text = percent.map(|percent| {
                let bar = bar(percent, style);
                // On a terminal numbers line up, so that bars do.
                if bar.is_empty() {
                    format!("{percent:.0}%")
                } else {
                    format!("{percent:>3.0}% {bar}")
                }
            });
            cell(ink(percent), dash(text))
        };
        table.row(vec![
            name.clone().into(),
            second.into(),
            dash(cpus.map(|cpus| format!("{cpus:.3}"))).into(),
            share(*cpu_percent),
            dash(memory.map(size)).into(),
            share(*memory_percent),
            cell(ink(*pids_percent), dash(pids.map(|pids| pids.to_string()))),
            dash(io.map(|io| size(whole(io)))).into(),
            message.clone().unwrap_or_default().into(),
        ]);
    }
    table.render(style)
}

/// Processors in use between two samples; `None` if the container was started again in between.
fn cores(before: &Usage, now: &Usage) -> Option<f64> {
    let span = now.at_ns.checked_sub(before.at_ns).filter(|span| *span > 0)?;
    let used = now.cpu_ns.checked_sub(before.cpu_ns)?;
    Some(float(used) / float(span))
}

/// Bytes moved each second; `None` if the container was started again in between.
fn per_second(before: &Counters, now: &Counters, span_ns: u64) -> Option<f64> {
    let read = now.read_bytes.checked_sub(before.read_bytes)?;
    let written = now.written_bytes.checked_sub(before.written_bytes)?;
    (span_ns > 0).then(|| (float(read) + float(written)) * 1e9 / float(span_ns))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate, which is not negative and far below 2^64"
)]
pub(super) fn whole(rate: f64) -> u64 {
    rate as u64
}

fn percent(part: f64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part / float(whole) * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler::model::observed::Limits;
    use reconciler::model::quantity::Cpus;
    use reconciler::model::spec::Quota;
    use reconciler::model::time::Timestamp;

    fn row(name: &str, cpu_ns: u64, memory: u64) -> UsageRow {
        UsageRow {
            replica: ReplicaKey::new(name.parse().expect("a key"), 0),
            node: Name::new("n1").expect("a name"),
            limits: Limits { nano_cpus: 500_000_000, memory: 200 << 20, ..Limits::default() },
            usage: Some(Usage { at_ns: 2_000_000_000, cpu_ns, memory, pids: 3 }),
            counters: Some(Counters {
                read_bytes: 5000,
                written_bytes: 120,
                ..Counters::default()
            }),
            message: None,
        }
    }

    #[test]
    fn use_is_told_in_cores_and_shares_of_limits() {
        let mut rows = vec![row("shop/web", 750_000_000, 50 << 20), row("shop/db", 0, 190 << 20)];
        rows[1].usage = rows[1].usage.map(|usage| Usage { cpu_ns: 0, ..usage });
        let mut before = samples(&rows);
        for (usage, counters) in before.values_mut() {
            usage.at_ns = 1_000_000_000;
            usage.cpu_ns = 500_000_000;
            *counters = Some(Counters::default());
        }
        let mut all = replicas(&rows, &before);
        sort(&mut all, SortBy::Cpu);
        let text = table(&all, &Style::plain(Timestamp(0)));
        assert_eq!(
            text,
            "NAME        NODE  CPU    CPU%  MEMORY  MEMORY%  PIDS  IO/S\n\
             shop/web/0  n1    0.250  50%   50Mi    25%      3     5Ki\n\
             shop/db/0   n1    -      -     190Mi   95%      3     5Ki\n",
            "db was started again, so its processor time says nothing"
        );
        sort(&mut all, SortBy::Memory);
        assert_eq!(all[0].name, "shop/db/0");
        sort(&mut all, SortBy::Name);
        assert_eq!(all[0].name, "shop/db/0");
        let quota = Quota { cpus: Some(Cpus(500_000_000)), ..Quota::default() };
        let name = Name::new("shop").expect("a name");
        let shop = ProjectUse {
            name,
            parent: None,
            quota,
            nano_cpus: None,
            memory: 0,
            pids: 0,
            containers: 2,
            unseen: 0,
        };
        let all = projects(&all, &[shop]);
        let style = Style { width: Some(80), ..Style::plain(Timestamp(0)) };
        assert_eq!(
            table(&all, &style),
            "NAME  CONTAINERS  CPU    CPU%           MEMORY  MEMORY%  PIDS  IO/S\n\
             shop  2           0.250   50% [###   ]  240Mi   -        6     10Ki\n"
        );
    }
}
