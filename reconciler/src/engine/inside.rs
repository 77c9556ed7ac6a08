//! Looks into containers: which programs run, and which files changed. They cost the engine something,
//! so there are none but for rules that ask, a few at a time, and seldom.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Effect, Engine};
use crate::model::ids::{ContainerId, ReplicaKey};
use crate::model::observed::ContainerState;
use crate::model::time::Timestamp;
use crate::ports::{DriverError, Inside};

/// A container is looked into again after this long.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// One that was just started is left alone for so long: what it is up to shows by then.
const FIRST_LOOK_AFTER: Duration = Duration::from_secs(5);

/// So many looks are under way at once.
const LOOKS_AT_ONCE: usize = 8;

/// What was seen in containers.
#[derive(Debug, Default)]
pub(super) struct Looks {
    seen: BTreeMap<(ReplicaKey, ContainerId), Seen>,
}

#[derive(Debug)]
struct Seen {
    /// When it is looked into next.
    due_at: Timestamp,
    is_under_way: bool,
    inside: Option<Inside>,
}

impl Looks {
    /// What was seen in a container the last time.
    pub(super) fn of(&self, replica: &ReplicaKey, container: &ContainerId) -> Option<&Inside> {
        self.seen.get(&(replica.clone(), container.clone()))?.inside.as_ref()
    }

    /// When the next look is due, after `now`. While there are as many as there may be, the end of
    /// one of them says so.
    pub(super) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        let idle = self.seen.values().filter(|seen| !seen.is_under_way);
        if self.seen.len() - idle.clone().count() >= LOOKS_AT_ONCE {
            return None;
        }
        idle.map(|seen| seen.due_at.max(Timestamp(now.0 + 1))).min()
    }

    pub(super) fn clock_was_put_back(&mut self, now: Timestamp) {
        for seen in self.seen.values_mut() {
            seen.due_at = seen.due_at.min(now + LOOK_AGAIN_AFTER);
        }
    }
}

impl Engine {
    /// Asks for the looks that are due; whether there were any.
    pub(super) fn look_inside(&mut self) -> bool {
        if !self.acts || !self.evaluator.asks_what_is_inside() {
            self.looks.seen.clear();
            return false;
        }
        let now = self.snapshot.now;
        let containers = &self.snapshot.containers;
        let runs = |replica: &ReplicaKey, id: &ContainerId| {
            containers.get(replica).is_some_and(|located| {
                let is_it = |at: &&crate::model::snapshot::Located| at.id == *id;
                located
                    .iter()
                    .find(is_it)
                    .is_some_and(|at| matches!(at.container.state, ContainerState::Running { .. }))
            })
        };
        self.looks.seen.retain(|(replica, id), _| runs(replica, id));
        let under_way = self.looks.seen.values().filter(|seen| seen.is_under_way).count();
        let mut free = LOOKS_AT_ONCE.saturating_sub(under_way);
        let mut any = false;
        for (replica, located) in containers {
            for at in located {
                if !matches!(at.container.state, ContainerState::Running { .. }) {
                    continue;
                }
                let key = (replica.clone(), at.id.clone());
                let seen = self.looks.seen.entry(key).or_insert_with(|| Seen {
                    due_at: now + FIRST_LOOK_AFTER,
                    is_under_way: false,
                    inside: None,
                });
                if free == 0 || seen.is_under_way || seen.due_at > now {
                    continue;
                }
                seen.is_under_way = true;
                seen.due_at = now + LOOK_AGAIN_AFTER;
                self.effects.push(Effect::LookInside {
                    replica: replica.clone(),
                    node: at.node.clone(),
                    container: at.id.clone(),
                });
                free -= 1;
                any = true;
            }
        }
        any
    }

    /// Somebody looked. One who could not leaves what was seen before.
    pub(super) fn looked_inside(
        &mut self,
        replica: ReplicaKey,
        container: ContainerId,
        result: Result<Inside, DriverError>,
    ) {
        let instance = replica.instance.clone();
        let Some(seen) = self.looks.seen.get_mut(&(replica, container)) else { return };
        seen.is_under_way = false;
        if let Ok(inside) = result
            && seen.inside.as_ref() != Some(&inside)
        {
            seen.inside = Some(inside);
            self.scans.touch(&instance);
        }
        // The next one may have waited for this one.
        self.want_round();
    }
}
