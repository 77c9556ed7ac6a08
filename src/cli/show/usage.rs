//! What containers and nodes use: the tables of `top`.

use std::collections::BTreeMap;

use reconciler::model::ids::{Name, ReplicaKey};
use reconciler::ports::Usage;
use serde::Serialize;

use super::table::{Table, cell};
use super::words::size;
use super::{Ink, Style};
use crate::api::protocol::{NodeStatus, UsageRow};

/// What something uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// Its name: `project/name/ordinal` of a replica, or that of a node.
    pub name: String,
    /// Where it runs; none of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// How many containers it holds; none of a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<u32>,
    /// Processors in use, between this sample and the one before.
    pub cpus: Option<f64>,
    /// The same, in hundredths of the limit, if there is one.
    pub cpu_percent: Option<f64>,
    /// Memory in use, in bytes.
    pub memory: Option<u64>,
    /// The same, in hundredths of the limit, if there is one.
    pub memory_percent: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u64>,
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
    /// By name.
    Name,
}

/// The samples of one moment, by replica and node: two containers of one replica may run.
pub type Samples = BTreeMap<(ReplicaKey, Name), Usage>;

/// What was sampled.
#[must_use]
pub fn samples(rows: &[UsageRow]) -> Samples {
    rows.iter()
        .filter_map(|row| Some(((row.replica.clone(), row.node.clone()), row.usage?)))
        .collect()
}

/// What replicas use, of two samples.
#[must_use]
pub fn replicas(rows: &[UsageRow], before: &Samples) -> Vec<Use> {
    let each = |row: &UsageRow| {
        let UsageRow { replica, node, limits, usage, message } = row;
        let before = before.get(&(replica.clone(), node.clone()));
        let cpus = usage.zip(before).and_then(|(now, before)| cores(before, &now));
        Use {
            name: replica.to_string(),
            node: Some(node.clone()),
            containers: None,
            cpus,
            cpu_percent: cpus.and_then(|cpus| percent(cpus * 1e9, limits.nano_cpus)),
            memory: usage.map(|usage| usage.memory),
            memory_percent: usage.and_then(|usage| percent(float(usage.memory), limits.memory)),
            pids: usage.map(|usage| usage.pids),
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
            message: node.message.clone(),
        }
    };
    nodes.iter().map(each).collect()
}

/// Sorts a list; what uses the same stands by name.
pub fn sort(all: &mut [Use], by: SortBy) {
    all.sort_by(|a, b| a.name.cmp(&b.name));
    match by {
        SortBy::Name => {}
        SortBy::Cpu => {
            all.sort_by(|a, b| b.cpus.unwrap_or(-1.0).total_cmp(&a.cpus.unwrap_or(-1.0)))
        }
        SortBy::Memory => all.sort_by_key(|one| std::cmp::Reverse(one.memory)),
    }
}

/// A list as a table.
#[must_use]
pub fn table(all: &[Use], style: &Style) -> String {
    let of_nodes = all.first().is_some_and(|one| one.containers.is_some());
    let second = if of_nodes { "CONTAINERS" } else { "NODE" };
    let heads = ["NAME", second, "CPU", "CPU%", "MEMORY", "MEMORY%", "PIDS", "MESSAGE"];
    let last = all.iter().any(|one| one.message.is_some());
    let mut table = Table::with_heads(if last { &heads } else { &heads[..7] });
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
            message,
        } = one;
        let second = match (containers, node) {
            (Some(containers), _) => containers.to_string(),
            (None, Some(node)) => node.to_string(),
            (None, None) => String::new(),
        };
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let share = |percent: Option<f64>| {
            // Near its limit a container is slowed down, or ended.
            let ink =
                if percent.is_some_and(|percent| percent >= 90.0) { Ink::Bad } else { Ink::Plain };
            cell(ink, dash(percent.map(|percent| format!("{percent:.0}%"))))
        };
        table.row(vec![
            name.clone().into(),
            second.into(),
            dash(cpus.map(|cpus| format!("{cpus:.3}"))).into(),
            share(*cpu_percent),
            dash(memory.map(size)).into(),
            share(*memory_percent),
            dash(pids.map(|pids| pids.to_string())).into(),
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
    use reconciler::model::time::Timestamp;

    fn row(name: &str, cpu_ns: u64, memory: u64) -> UsageRow {
        UsageRow {
            replica: ReplicaKey::new(name.parse().expect("a key"), 0),
            node: Name::new("n1").expect("a name"),
            limits: Limits { nano_cpus: 500_000_000, memory: 200 << 20, ..Limits::default() },
            usage: Some(Usage { at_ns: 2_000_000_000, cpu_ns, memory, pids: 3 }),
            message: None,
        }
    }

    #[test]
    fn use_is_told_in_cores_and_shares_of_limits() {
        let mut rows = vec![row("shop/web", 750_000_000, 50 << 20), row("shop/db", 0, 190 << 20)];
        rows[1].usage = rows[1].usage.map(|usage| Usage { cpu_ns: 0, ..usage });
        let mut before = samples(&rows);
        for usage in before.values_mut() {
            usage.at_ns = 1_000_000_000;
            usage.cpu_ns = 500_000_000;
        }
        let mut all = replicas(&rows, &before);
        sort(&mut all, SortBy::Cpu);
        let text = table(&all, &Style::plain(Timestamp(0)));
        assert_eq!(
            text,
            "NAME        NODE  CPU    CPU%  MEMORY  MEMORY%  PIDS\n\
             shop/web/0  n1    0.250  50%   50Mi    25%      3\n\
             shop/db/0   n1    -      -     190Mi   95%      3\n",
            "db was started again, so its processor time says nothing"
        );
        sort(&mut all, SortBy::Memory);
        assert_eq!(all[0].name, "shop/db/0");
        sort(&mut all, SortBy::Name);
        assert_eq!(all[0].name, "shop/db/0");
    }
}
