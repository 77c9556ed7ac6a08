//! Chooses the node of a replica that has none yet. Nobody moves without a reason, so this is
//! asked once in a replica's life, and once more if its node is drained.
//!
//! A node is asked in this order: does the placement allow it (`node`, `selector`, a label to
//! spread by), does it take anything new (it answers, and is not cordoned), is there room
//! ([`capacity`]). Among those that are left the replicas of the instance are [spread](spread);
//! then the node with the smallest share in use comes first, then the one with the fewest
//! replicas, then the first by name. What is linked is [placed together](together).

pub mod capacity;
mod growth;
mod spread;
pub mod together;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use self::capacity::{Amounts, Capacity, Used};
pub use self::growth::NoRoom;
use self::spread::{Counts, Placed, value};
use crate::model::ids::{Name, ReplicaKey};
use crate::model::observed::Reach;
use crate::model::snapshot::Snapshot;
use crate::model::spec::Placement;

/// So many nodes are named in a reason, with what each of them lacks: more is no reading.
const NODES_NAMED_MAX: usize = 8;

/// A replica that looks for a node.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'w> {
    /// Which one.
    pub replica: &'w ReplicaKey,
    /// Where it may be.
    pub placement: Option<&'w Placement>,
    /// What it asks for; of several that shall be together, what all of them ask for.
    pub ask: Amounts,
}

/// What is placed where. It only grows: what goes is counted until it is gone.
#[derive(Debug)]
pub struct Load<'a> {
    snapshot: &'a Snapshot,
    /// All declared nodes, by name.
    nodes: Vec<NodeLoad<'a>>,
    index: BTreeMap<&'a Name, usize>,
    pools: BTreeMap<PoolKey, Pool>,
    placed: Placed,
    /// Replicas that have a node without room for what is declared for them.
    no_room: BTreeMap<ReplicaKey, NoRoom>,
    /// Whether anybody has cpus for itself.
    any_cores: bool,
}

#[derive(Debug)]
struct NodeLoad<'a> {
    name: &'a Name,
    capacity: Capacity,
    used: Used,
    replicas: u32,
}

impl NodeLoad<'_> {
    fn rank(&self, node: usize) -> Rank {
        (self.capacity.share(&self.used), self.replicas, node)
    }
}

/// How much a node is used: share, replicas, and its place by name. The smallest is taken.
type Rank = (u64, u32, usize);

/// Labels that nodes must have, and what replicas are spread by.
type PoolKey = (BTreeMap<String, String>, Option<String>);

/// The nodes that take what placements with the same selector and spread ask for.
#[derive(Debug, Default)]
struct Pool {
    /// Ranks as they were; since load only grows, one that is out of date is put back further on.
    ranks: BinaryHeap<Reverse<Rank>>,
    /// What found no room here will not find any later, nor will what asks for more.
    full_for: Vec<Amounts>,
    /// What replicas are spread over.
    values: BTreeSet<String>,
}

impl<'a> Load<'a> {
    /// Counts what records and containers say.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let nodes = snapshot.desired.nodes.iter().map(|(name, declared)| {
            let engine = snapshot.nodes.get(name).and_then(|seen| seen.engine.as_ref());
            let capacity = Capacity::of(&declared.spec, engine);
            NodeLoad { name, capacity, used: Used::default(), replicas: 0 }
        });
        let nodes: Vec<_> = nodes.collect();
        let index = nodes.iter().enumerate().map(|(at, node)| (node.name, at)).collect();
        let (pools, placed, no_room) = (BTreeMap::new(), Placed::default(), BTreeMap::new());
        let any_cores = snapshot.records.nodes.values().any(|record| !record.cores.is_empty());
        let mut load = Self { snapshot, nodes, index, pools, placed, no_room, any_cores };
        let (mut given, mut growing) = (Vec::new(), Vec::new());
        for (key, record) in &snapshot.records.instances {
            let declared = snapshot.desired.instances.get(key);
            let asked = declared.map(|declared| Amounts::of(&declared.spec.resources));
            for (ordinal, replica) in &record.replicas {
                let Some(node) = &replica.node else { continue };
                // What was made has its limits until others are in force.
                let has = load.has(key, *ordinal, replica, node);
                let asks = |asked| growth::Asks { key, ordinal: *ordinal, node, has, asked };
                match asked {
                    Some(asked) if replica.incarnation == 0 => given.push(asks(asked)),
                    Some(asked) => {
                        load.add(node, has);
                        if asked != has {
                            growing.push(asks(asked));
                        }
                    }
                    None => load.add(node, has),
                }
            }
        }
        load.left_cores();
        load.keep(&given);
        load.grow(&growing);
        // Records may be lost; then containers say where their replicas are.
        for (key, located) in &snapshot.containers {
            let record = snapshot.records.instances.get(&key.instance);
            let record = record.and_then(|record| record.replicas.get(&key.ordinal));
            if record.is_none_or(|record| record.node.is_none())
                && let Some(at) = located.first()
            {
                load.add(&at.node, Amounts::of_limits(&at.container.config.limits));
            }
        }
        load
    }

    /// Counts one more.
    pub fn add(&mut self, node: &Name, ask: Amounts) {
        let Some(node) = self.index.get(node).and_then(|at| self.nodes.get_mut(*at)) else {
            return;
        };
        node.used.add(ask);
        node.replicas = node.replicas.saturating_add(1);
    }

    /// Why a replica cannot have on its node what is declared for it, if so.
    #[must_use]
    pub fn no_room(&self, replica: &ReplicaKey) -> Option<&NoRoom> {
        self.no_room.get(replica)
    }

    /// How many replicas a node holds, what they use, and of what.
    #[must_use]
    pub fn on(&self, node: &Name) -> Option<(u32, Amounts, Capacity)> {
        let node = self.index.get(node).and_then(|at| self.nodes.get(*at))?;
        Some((node.replicas, node.used.amounts, node.capacity))
    }

    /// Chooses a node, and counts the replica there.
    ///
    /// # Errors
    /// The reason why there is none, for people.
    pub fn choose(&mut self, wish: &Wish<'_>) -> Result<Name, String> {
        let chosen = match wish.placement {
            Some(Placement { node: Some(node), .. }) => self.pinned(wish, node),
            Some(_) | None => self.in_pool(wish),
        };
        let Some(node) = chosen.and_then(|at| self.nodes.get(at).map(|node| (at, node.name)))
        else {
            return Err(self.why_not(wish));
        };
        let (at, name) = node;
        if spread_by(wish.placement).is_some() {
            self.placed.note(wish.replica, at);
        }
        self.add(name, wish.ask);
        Ok(name.clone())
    }

    fn pinned(&self, wish: &Wish<'_>, node: &Name) -> Option<usize> {
        let at = *self.index.get(node)?;
        let NodeLoad { name, capacity, used, replicas: _ } = self.nodes.get(at)?;
        let takes = takes(self.snapshot, wish.placement, name)
            && closed(self.snapshot, name).is_none()
            && capacity.fits(used.amounts, wish.ask);
        takes.then_some(at)
    }

    fn in_pool(&mut self, wish: &Wish<'_>) -> Option<usize> {
        let by = spread_by(wish.placement);
        let selector = wish.placement.map(|placement| placement.selector.clone());
        let key = (selector.unwrap_or_default(), by.map(str::to_owned));
        if !self.pools.contains_key(&key) {
            let pool = self.pool(wish.placement);
            self.pools.insert(key.clone(), pool);
        }
        let Self { snapshot, nodes, pools, placed, index, no_room: _, any_cores: _ } = self;
        let pool = pools.get_mut(&key)?;
        if pool.full_for.iter().any(|full| wish.ask.is_at_least(*full)) {
            return None;
        }
        let value =
            |by: &str, at: usize| nodes.get(at).and_then(|node| value(snapshot, by, node.name));
        let counts = by.map(|by| {
            let others = placed.others(snapshot, index, wish.replica);
            Counts::of(others.filter_map(|at| value(by, at)), &pool.values)
        });
        let mut looked_at = Vec::new();
        let mut best: Option<(u32, usize)> = None;
        while let Some(Reverse(rank)) = pool.ranks.pop() {
            let at = rank.2;
            let Some(node) = nodes.get(at) else { continue };
            let now = node.rank(at);
            if now != rank {
                pool.ranks.push(Reverse(now));
                continue;
            }
            looked_at.push(Reverse(rank));
            if !node.capacity.fits(node.used.amounts, wish.ask) {
                continue;
            }
            let (count, least) = match (&counts, by) {
                (Some(counts), Some(by)) => {
                    (value(by, at).map_or(0, |value| counts.on(value)), counts.least())
                }
                (None, _) | (_, None) => (0, 0),
            };
            if best.is_none_or(|(fewest, _)| count < fewest) {
                best = Some((count, at));
            }
            if count <= least {
                break;
            }
        }
        pool.ranks.extend(looked_at);
        if best.is_none() {
            pool.full_for.push(wish.ask);
        }
        best.map(|(_, at)| at)
    }

    /// The nodes that a placement allows and that take something new.
    fn pool(&self, placement: Option<&Placement>) -> Pool {
        let mut pool = Pool::default();
        for (at, node) in self.nodes.iter().enumerate() {
            if takes(self.snapshot, placement, node.name)
                && closed(self.snapshot, node.name).is_none()
            {
                pool.ranks.push(Reverse(node.rank(at)));
                let value = spread_by(placement).and_then(|by| value(self.snapshot, by, node.name));
                pool.values.extend(value.map(str::to_owned));
            }
        }
        pool
    }

    fn why_not(&self, wish: &Wish<'_>) -> String {
        let takes = |node: &&NodeLoad<'_>| takes(self.snapshot, wish.placement, node.name);
        let nodes: Vec<_> = self.nodes.iter().filter(takes).collect();
        if nodes.is_empty() {
            return self.why_none_is_allowed(wish.placement);
        }
        let is_silent = |node: &&NodeLoad<'_>| {
            matches!(closed(self.snapshot, node.name), Some(Closed::Silent(_)))
        };
        let all_silent = nodes.iter().all(is_silent);
        let said = nodes.iter().take(NODES_NAMED_MAX).map(|node| {
            let name = node.name;
            match closed(self.snapshot, name) {
                Some(Closed::Silent(why)) if all_silent => why,
                Some(Closed::Silent(_)) => format!("{name} does not answer"),
                Some(Closed::Cordoned) => format!("{name} is cordoned"),
                Some(Closed::Drained) => format!("{name} is drained"),
                None => {
                    format!("{name} has {}", node.capacity.lack(node.used.amounts, wish.ask))
                }
            }
        });
        let mut said: Vec<String> = said.collect();
        if let more @ 1.. = nodes.len().saturating_sub(NODES_NAMED_MAX) {
            said.push(format!("and {more} more"));
        }
        if all_silent {
            return format!("no node answers: {}", said.join("; "));
        }
        format!("needs {}; {}", wish.ask, said.join(", "))
    }

    fn why_none_is_allowed(&self, placement: Option<&Placement>) -> String {
        let text = format!("no node is as its placement asks: {}", asked(placement));
        let pinned = placement.and_then(|placement| placement.node.as_ref());
        if pinned.is_none_or(|node| self.index.contains_key(node)) {
            return text;
        }
        let names = self.nodes.iter().take(NODES_NAMED_MAX).map(|node| node.name.as_str());
        let names: Vec<&str> = names.collect();
        format!("{text}, and there is only {}", names.join(", "))
    }
}

/// Why a node takes nothing new.
enum Closed {
    Cordoned,
    Drained,
    /// It does not answer; the whole reason.
    Silent(String),
}

fn closed(snapshot: &Snapshot, node: &Name) -> Option<Closed> {
    match snapshot.nodes.get(node).map(|seen| &seen.reach) {
        None | Some(Reach::Unseen) => {
            return Some(Closed::Silent(format!("{node} has not answered yet")));
        }
        Some(Reach::Unreachable { reason, .. }) => {
            return Some(Closed::Silent(format!("{node}: {reason}")));
        }
        Some(Reach::Reachable) => {}
    }
    match snapshot.cordon(node) {
        Some(true) => Some(Closed::Drained),
        Some(false) => Some(Closed::Cordoned),
        None => None,
    }
}

/// Whether a spec's placement lets it be on `node`. How its replicas are spread is no reason to
/// leave a node.
#[must_use]
pub fn allows(snapshot: &Snapshot, placement: Option<&Placement>, node: &Name) -> bool {
    let Some(Placement { node: only, selector, spread: _ }) = placement else { return true };
    let labels = snapshot.desired.nodes.get(node).map(|declared| &declared.labels);
    only.as_ref().is_none_or(|only| only == node)
        && selector
            .iter()
            .all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
}

/// Whether a placement lets something new be on `node`.
fn takes(snapshot: &Snapshot, placement: Option<&Placement>, node: &Name) -> bool {
    allows(snapshot, placement, node)
        && spread_by(placement).is_none_or(|by| value(snapshot, by, node).is_some())
}

fn spread_by(placement: Option<&Placement>) -> Option<&str> {
    placement.and_then(|placement| placement.spread.as_deref())
}

/// A placement in words.
#[must_use]
pub fn asked(placement: Option<&Placement>) -> String {
    let Some(Placement { node, selector, spread }) = placement else {
        return "any node".to_owned();
    };
    let node = node.iter().map(|node| format!("node {node}"));
    let labels = selector.iter().map(|(name, value)| format!("label {name}={value}"));
    let spread = spread.iter().filter(|by| *by != Placement::SPREAD_NODES);
    let spread = spread.map(|by| format!("a label {by} to spread by"));
    node.chain(labels).chain(spread).collect::<Vec<_>>().join(", ")
}
