//! How much of a project's quota each node may use.
//!
//! All shares together are at most the quota. What is limited by itself takes its limits' part of it;
//! what is left goes to what has no limit of its own, by heads. A project on one node has all of its
//! quota there: then nothing changes with each container that comes or goes.

use std::collections::BTreeMap;

use crate::model::groups::GroupLimits;
use crate::model::ids::{Key, Name, ReplicaKey};
use crate::model::observed::Limits;
use crate::model::quantity::{Bytes, Cpus};
use crate::model::record::InstanceRecord;
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::Quota;
use crate::want;

/// A group with less than this hardly comes to an end with what it does: cpu time in billionths,
/// memory in bytes, processes.
pub(super) const FLOORS: (u64, u64, u64) = (Cpus::MIN.0, Bytes::MEMORY_MIN.0, 1);

/// What the replicas of a project on one node may use by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Holding {
    cpus: Sum,
    memory: Sum,
    pids: Sum,
}

/// Of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    /// Wider than a limit: so many cannot be added up to more.
    limited: u128,
    unlimited: u128,
}

impl Sum {
    fn add(&mut self, limit: u64) {
        match limit {
            0 => self.unlimited += 1,
            limit => self.limited += u128::from(limit),
        }
    }

    fn and(self, other: Self) -> Self {
        Self { limited: self.limited + other.limited, unlimited: self.unlimited + other.unlimited }
    }
}

impl Holding {
    pub(super) fn add(&mut self, limits: &Limits) {
        self.cpus.add(limits.nano_cpus);
        self.memory.add(limits.memory);
        self.pids.add(limits.pids);
    }
}

/// The node's share of `quota`, where these are the holdings of all nodes that hold anything of
/// the project; and those of `node`, whether it is among them yet or not.
pub(super) fn share(quota: &Quota, holdings: &BTreeMap<Name, Holding>, node: &Name) -> GroupLimits {
    let own = holdings.get(node).copied().unwrap_or_default();
    let others = holdings.iter().filter(|(at, _)| *at != node).map(|(_, holding)| holding);
    let others: Vec<&Holding> = others.collect();
    let all = GroupLimits::of(quota);
    if others.is_empty() {
        return all;
    }
    let of = |quota: u64, kind: fn(&Holding) -> Sum, floor: u64| match quota {
        0 => 0,
        quota => {
            let others = others.iter().map(|holding| kind(holding));
            part(quota, kind(&own), &others.collect::<Vec<_>>(), floor)
        }
    };
    let (cpus, memory, pids) = FLOORS;
    GroupLimits {
        nano_cpus: of(all.nano_cpus, |holding| holding.cpus, cpus),
        memory: of(all.memory, |holding| holding.memory, memory),
        pids: of(all.pids, |holding| holding.pids, pids),
        // A device is one node's.
        io: all.io,
    }
}

/// One node's part. Nobody gets less than the floor, and what that takes the others give in
/// proportion: all parts together are never more than the quota, unless it is less than all floors.
/// Else nodes would give each other what they cannot all have, round after round.
fn part(quota: u64, own: Sum, others: &[Sum], floor: u64) -> u64 {
    let whole = u128::from(quota);
    let floor = u128::from(floor.min(quota).max(1));
    let all = others.iter().fold(own, |all, one| all.and(*one));
    let of = |one: Sum| {
        if all.limited > whole {
            // More was let in than there is by now: each node gives in proportion.
            ratio(whole, one.limited, all.limited)
        } else {
            let heads = all.unlimited.max(1);
            one.limited + ratio(whole - all.limited, one.unlimited, heads)
        }
    };
    let mine = of(own);
    let mut parts: Vec<u128> = others.iter().map(|one| of(*one)).chain([mine]).collect();
    parts.sort_unstable();
    // The smallest first: each that is below the floor takes from those above it.
    let (mut left, mut rest) = (whole, parts.iter().sum::<u128>());
    let mut given = mine;
    for one in parts {
        let scaled = if rest > left { ratio(left, one, rest) } else { one };
        if scaled >= floor {
            given = if rest > left { ratio(left, mine, rest) } else { mine };
            break;
        }
        if one == mine {
            given = floor;
            break;
        }
        left = left.saturating_sub(floor);
        rest -= one;
    }
    u64::try_from(given.max(floor)).unwrap_or(quota)
}

/// `whole` times `part` by `all`, which is not 0; a little less where that is too large to be counted.
fn ratio(whole: u128, part: u128, all: u128) -> u128 {
    match whole.checked_mul(part) {
        Some(product) => product / all,
        None => whole / all.div_ceil(part),
    }
}

/// Where replicas of a project and of those in it are, and what they may use by themselves.
pub(super) fn holdings(snapshot: &Snapshot, project: &Name) -> BTreeMap<Name, Holding> {
    let mut found: BTreeMap<Name, Holding> = BTreeMap::new();
    for inner in within(snapshot, project) {
        for (key, record) in instances(snapshot, inner) {
            let declared = snapshot.desired.instances.get(key);
            let limits = declared.map(|declared| want::limits(&declared.spec.resources));
            for replica in record.replicas.values() {
                if let Some(node) = &replica.node {
                    let limits = limits.as_ref().unwrap_or(&replica.applied);
                    found.entry(node.clone()).or_default().add(limits);
                }
            }
        }
    }
    found
}

/// Whether a replica of a project, or of one in it, is on `node`.
#[must_use]
pub fn is_on(snapshot: &Snapshot, project: &Name, node: &Name) -> bool {
    within(snapshot, project).into_iter().any(|inner| {
        instances(snapshot, inner).any(|(_, record)| {
            record.replicas.values().any(|replica| replica.node.as_ref() == Some(node))
        })
    })
}

/// A project and all that are in it.
pub(super) fn within<'s>(snapshot: &'s Snapshot, project: &'s Name) -> Vec<&'s Name> {
    let projects = &snapshot.desired.projects;
    let is_inside =
        |name: &&Name| *name != project && snapshot.desired.lineage(name).contains(project);
    let nested = projects.values().any(|declared| declared.spec.parent.is_some());
    let inner = projects.keys().filter(|_| nested).filter(is_inside);
    std::iter::once(project).chain(inner).collect()
}

/// The containers of a project.
pub(super) fn containers<'s>(
    snapshot: &'s Snapshot,
    project: &'s Name,
) -> impl Iterator<Item = (&'s ReplicaKey, &'s Vec<Located>)> {
    let first = ReplicaKey::new(Key::new(project.clone(), Name::first()), 0);
    let all = snapshot.containers.range(first..);
    all.take_while(move |(replica, _)| replica.instance.project == *project)
}

fn instances<'s>(
    snapshot: &'s Snapshot,
    project: &'s Name,
) -> impl Iterator<Item = (&'s Key, &'s InstanceRecord)> {
    let first = Key::new(project.clone(), Name::first());
    snapshot.records.instances.range(first..).take_while(move |(key, _)| key.project == *project)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    fn holding(limits: &[u64]) -> Holding {
        let mut holding = Holding::default();
        for pids in limits {
            holding.add(&Limits { pids: *pids, ..Limits::default() });
        }
        holding
    }

    fn pids(quota: u64, nodes: &[(&str, &[u64])], node: &str) -> u64 {
        let holdings = nodes.iter().map(|(node, limits)| (name(node), holding(limits))).collect();
        share(&Quota { pids: Some(quota), ..Quota::default() }, &holdings, &name(node)).pids
    }

    #[test]
    fn a_node_alone_has_all_of_it() {
        assert_eq!(pids(100, &[("a", &[10, 20])], "a"), 100);
        assert_eq!(pids(100, &[("a", &[0, 20])], "a"), 100);
        assert_eq!(pids(100, &[], "a"), 100);
    }

    #[test]
    fn limits_come_first_and_heads_share_the_rest() {
        let nodes: &[(&str, &[u64])] = &[("a", &[10, 0]), ("b", &[20, 0, 0])];
        assert_eq!((pids(100, nodes, "a"), pids(100, nodes, "b")), (10 + 23, 20 + 46));
        let limited: &[(&str, &[u64])] = &[("a", &[10]), ("b", &[20])];
        assert_eq!((pids(100, limited, "a"), pids(100, limited, "b")), (10, 20));
    }

    #[test]
    fn what_is_over_quota_is_shared_in_proportion() {
        let nodes: &[(&str, &[u64])] = &[("a", &[100]), ("b", &[300])];
        assert_eq!((pids(100, nodes, "a"), pids(100, nodes, "b")), (25, 75));
    }

    #[test]
    fn a_node_that_comes_has_something_to_begin_with() {
        let nodes: &[(&str, &[u64])] = &[("a", &[100])];
        assert_eq!(pids(100, nodes, "b"), 1);
    }

    #[test]
    fn who_is_below_the_least_takes_from_those_above() {
        let nodes: &[(&str, &[u64])] = &[("a", &[50]), ("b", &[50]), ("c", &[])];
        let all = ["a", "b", "c"].map(|node| pids(100, nodes, node));
        assert_eq!(all, [49, 49, 1]);
        let few: &[(&str, &[u64])] = &[("a", &[50]), ("b", &[]), ("c", &[])];
        assert_eq!(["a", "b", "c"].map(|node| pids(2, few, node)), [1, 1, 1]);
        let large: &[(&str, &[u64])] = &[("a", &[u64::MAX; 5]), ("b", &[u64::MAX; 5])];
        let half = pids(u64::MAX, large, "a");
        assert!(half <= u64::MAX / 2 && half > u64::MAX / 3, "{half}");
    }

    #[test]
    fn shares_are_never_more_than_the_quota_whatever_is_held() {
        let limits: [&[u64]; 5] = [&[], &[0], &[7, 0], &[u64::MAX, 3], &[40]];
        for a in limits {
            for b in limits {
                for c in limits {
                    let nodes = [("a", a), ("b", b), ("c", c)];
                    let all = nodes.iter().map(|(node, _)| pids(50, &nodes, node)).sum::<u64>();
                    assert!(all <= 50, "{a:?} {b:?} {c:?}: {all}");
                }
            }
        }
    }
}
