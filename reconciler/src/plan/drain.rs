//! Off a node that shall be empty: what can be elsewhere is made elsewhere. How it takes the place
//! of what is left on the drained node is what the instance's `update` says, as on one node
//! ([`super::exchange`]): with `start-first` the old one serves until the new one is ready there; with
//! `stop-first` it serves until the new one is made, and stops before that starts.
//!
//! A move is a replica with another node in its record, so a restart in its middle goes on, and a
//! node that takes new things again in its middle calls nothing back.

use super::Round;
use super::containers::is_running;
use super::exchange::starts_first;
use super::replica::{Instance, Replica};
use super::turns::serves;
use crate::model::ids::{Name, ReplicaKey};
use crate::model::observed::ContainerState;
use crate::model::record::ReplicaRecord;
use crate::model::snapshot::Located;
use crate::model::spec::{Condition, InstanceSpec, MountSource, Restart};
use crate::report::Reason;

/// What becomes of a replica on a node.
pub(super) enum Move {
    /// Nothing asks it to go.
    None,
    /// It goes to this node.
    To(Name),
    /// It is asked to go, and stays for now or for good.
    Stays(Reason),
}

impl<'a> Round<'a> {
    /// Whether a replica that was made on `node` is moved off it.
    pub(super) fn move_off(
        &mut self,
        instance: Instance<'a, '_>,
        key: &ReplicaKey,
        containers: &[Located],
        node: &Name,
    ) -> Move {
        if !self.snapshot.is_drained(node) || self.blocked_node(node).is_some() {
            return Move::None;
        }
        let here = || containers.iter().filter(|at| at.node == *node);
        let runs = here().any(is_running);
        let spec = &*instance.declared.spec;
        if spec.restart != Restart::Always {
            // Elsewhere it would run once more.
            let message =
                format!("node {node} is drained, and this is a job: it stays until it has ended");
            return if runs { Move::Stays(Reason::Stays { message }) } else { Move::None };
        }
        if let Some(why) = stuck(spec, node) {
            return Move::Stays(Reason::Stays {
                message: format!("node {node} is drained, and {why}"),
            });
        }
        // What is linked goes together or not at all.
        let linked = self.together.with(instance.key).filter(|other| *other != instance.key);
        let stays = linked.filter_map(|other| {
            let declared = self.snapshot.desired.instances.get(other)?;
            let is_here = self.snapshot.records.instances.get(other)?.replicas.values();
            let is_here = is_here.filter(|record| record.node.as_ref() == Some(node)).count() > 0;
            let is_job = declared.spec.restart != Restart::Always;
            (is_here && (is_job || stuck(&declared.spec, node).is_some())).then_some(other)
        });
        if let Some(other) = stays.min() {
            let message = format!(
                "node {node} is drained, and {other} stays there: the two are linked, and linked \
                 instances are on one node"
            );
            return Move::Stays(Reason::Stays { message });
        }
        let is_ready = here().any(Located::may_be_ready);
        if runs && let Err(reason) = self.turn_to_move(instance, key, node, is_ready) {
            return Move::Stays(reason);
        }
        match self.choose_node(instance, key) {
            Ok(other) => {
                self.moved.insert(key.clone());
                Move::To(other)
            }
            Err(message) => {
                let message = format!("node {node} is drained, and no other takes it: {message}");
                Move::Stays(Reason::Stalled { message })
            }
        }
    }

    /// Whether it is this replica's turn: no more of an instance than may be away for an update are
    /// on their way at once, and there is room for it to be away, or for another container beside.
    fn turn_to_move(
        &mut self,
        instance: Instance<'_, '_>,
        key: &ReplicaKey,
        node: &Name,
        is_ready: bool,
    ) -> Result<(), Reason> {
        let update = instance.declared.spec.update();
        let most = update.max_unavailable.saturating_add(update.max_surge);
        let is_on_its_way = |(ordinal, record): (&u32, &ReplicaRecord)| {
            let other = ReplicaKey::new(instance.key.clone(), *ordinal);
            if other == *key {
                return None;
            }
            let located = self.snapshot.containers.get(&other).map_or(&[][..], Vec::as_slice);
            let is_left = |at: &Located| record.node.as_ref() != Some(&at.node) && is_running(at);
            (self.moved.contains(&other) || located.iter().any(is_left)).then_some(other)
        };
        let records = instance.record.into_iter().flat_map(|record| &record.replicas);
        let moving: Vec<ReplicaKey> = records.filter_map(is_on_its_way).collect();
        match moving.first() {
            Some(other) if moving.len() >= usize::try_from(most).unwrap_or(usize::MAX) => {
                let what = format!("{other} to have left {node}");
                return Err(Reason::WaitingOn { what });
            }
            Some(_) | None => {}
        }
        let spec = &instance.declared.spec;
        let beside = starts_first(spec) && self.room_beside(instance, key, false).is_ok();
        if beside || !serves(spec) || !is_ready {
            return Ok(());
        }
        self.room_to_be_away(instance, key).map_err(|reason| self.never(instance, node, reason))
    }

    /// A wait for one that does not get ready may never end: nobody shall sit and wait for that.
    fn never(&self, instance: Instance<'_, '_>, node: &Name, reason: Reason) -> Reason {
        let Reason::WaitingOn { what } = &reason else { return reason };
        let Instance { key, declared, record, .. } = instance;
        let most = self.snapshot.config.crash_loop_restarts;
        let mut replicas = record.into_iter().flat_map(|record| record.replicas.values());
        let trouble = if replicas.any(|replica| replica.replaced.streak >= most) {
            Some("is unhealthy again and again".to_owned())
        } else {
            self.trouble(key, declared, Condition::Started)
        };
        match trouble {
            Some(trouble) => Reason::Stalled {
                message: format!("node {node} is drained; waits for {what}, and {key} {trouble}"),
            },
            None => reason,
        }
    }
}

/// Why an instance cannot leave a node, if so.
fn stuck(spec: &InstanceSpec, node: &Name) -> Option<String> {
    let placement = spec.more.placement.as_ref();
    if placement.is_some_and(|placement| placement.node.as_ref() == Some(node)) {
        return Some(
            "its placement names that node: it stays there until its `placement.node` says \
             otherwise and it is removed, or the node goes"
                .to_owned(),
        );
    }
    let data = spec.volumes.iter().find_map(|mount| match &mount.source {
        MountSource::Volume(volume) => Some(format!("volume {volume}")),
        MountSource::Bind(path) => Some(format!("{path} of its host")),
        MountSource::Tmpfs { .. } => None,
    })?;
    Some(format!(
        "{data} is there: its data is not moved, so it stays; to move it, set `replicas: 0`, copy \
         the data to another node, and declare it there"
    ))
}

impl Round<'_> {
    /// The drained node that a replica moves away from, if its container on another one was made for
    /// that and not started yet.
    pub(super) fn moved_from<'r>(
        &self,
        replica: &'r Replica<'_, '_>,
        target: &Located,
    ) -> Option<&'r Name> {
        let left = replica.all.iter().find(|at| self.is_left(replica, at))?;
        (target.container.state == ContainerState::Created).then_some(&left.node)
    }

    /// Whether a container was left on a drained node by a replica that is on another one now.
    pub(super) fn is_left(&self, replica: &Replica<'_, '_>, at: &Located) -> bool {
        at.node != *replica.node && self.snapshot.is_drained(&at.node)
    }
}
