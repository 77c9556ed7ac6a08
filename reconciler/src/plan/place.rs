//! Where a replica is, and whether there is room for it: the planner's side of [`crate::placement`].

use super::Round;
use super::drain::Move;
use super::replica::Instance;
use crate::model::ids::{Key, Name, ReplicaKey};
use crate::model::journal::Entry;
use crate::model::observed::Limits;
use crate::model::record::ReplicaRecord;
use crate::model::snapshot::Located;
use crate::placement::capacity::Amounts;
use crate::placement::{self, Load, NoRoom, Wish};
use crate::report::Reason;

impl<'a> Round<'a> {
    /// The replica's node: where its record or its container says, or a new one. And why it is not
    /// another one, if it shall leave that.
    pub(super) fn node_of(
        &mut self,
        instance: Instance<'a, '_>,
        key: &ReplicaKey,
        record: Option<&ReplicaRecord>,
        containers: &[Located],
    ) -> Result<(Name, Option<Reason>), Reason> {
        let snapshot = self.snapshot;
        let placement = instance.declared.spec.more.placement.as_ref();
        if let Some(record) = record
            && let Some(node) = &record.node
        {
            // Nothing was ever made of it there: another placement sends it elsewhere.
            let is_free = containers.is_empty() && record.incarnation == 0;
            if !is_free {
                return Ok(match self.move_off(instance, key, containers, node) {
                    Move::None => (node.clone(), None),
                    Move::Stays(reason) => (node.clone(), Some(reason)),
                    Move::To(other) => {
                        let (replica, node) = (key.clone(), other.clone());
                        self.decide(Entry::Placed { replica, node });
                        (other, None)
                    }
                });
            }
            if placement::allows(snapshot, placement, node)
                && snapshot.cordon(node).is_none()
                && !self.is_apart(instance.key, node)
                && self.has_room(instance, key, node)
            {
                return Ok((node.clone(), None));
            }
        }
        let newest = containers
            .iter()
            .max_by_key(|at| (at.container.identity.incarnation, &at.node, &at.id));
        let node = match newest {
            Some(located) => located.node.clone(),
            None => {
                self.choose_node(instance, key).map_err(|message| Reason::Unplaced { message })?
            }
        };
        self.decide(Entry::Placed { replica: key.clone(), node: node.clone() });
        Ok((node, None))
    }

    /// A node for a replica: that of those that it is linked with, or any that takes it.
    pub(super) fn choose_node(
        &mut self,
        instance: Instance<'a, '_>,
        key: &ReplicaKey,
    ) -> Result<Name, String> {
        let snapshot = self.snapshot;
        let spec = &*instance.declared.spec;
        let load = self.load.get_or_insert_with(|| Load::of(snapshot));
        if self.together.with(instance.key).next().is_some() {
            return self.together.choose(snapshot, load, key, spec);
        }
        let (placement, ask) = (spec.more.placement.as_ref(), Amounts::of(&spec.resources));
        load.choose(&Wish { replica: key, placement, ask })
    }

    /// Whether those that an instance is linked with are all on another node than `node`.
    fn is_apart(&self, instance: &Key, node: &Name) -> bool {
        if self.together.with(instance).next().is_none() {
            return false;
        }
        let nodes = self.together.nodes(self.snapshot, instance);
        nodes.len() == 1 && !nodes.contains_key(node)
    }

    /// Why a replica keeps the limits that it has, if its node has no room for those that are
    /// declared.
    pub(super) fn no_room(
        &mut self,
        instance: Instance<'a, '_>,
        key: &ReplicaKey,
        record: &ReplicaRecord,
        node: &Name,
        wanted: &Limits,
    ) -> Option<Reason> {
        let is_made = record.incarnation > 0 && record.node.as_ref() == Some(node);
        if !is_made || record.applied == *wanted {
            return None;
        }
        if self.has_room(instance, key, node) {
            return None;
        }
        let NoRoom { why, comes } = self.load.as_ref()?.no_room(key)?;
        Some(if *comes {
            Reason::WaitingOn { what: format!("room on {node} ({why})") }
        } else {
            let keeps = if record.was_made() { "it keeps what it has: " } else { "" };
            let message =
                format!("{why}; {keeps}declare less for it, or more `capacity` for {node}");
            Reason::Stalled { message }
        })
    }

    /// Whether there is room for what is declared for a replica on its node.
    fn has_room(&mut self, instance: Instance<'a, '_>, key: &ReplicaKey, node: &Name) -> bool {
        let snapshot = self.snapshot;
        let declared = snapshot.desired.nodes.get(node);
        let has_own = instance.declared.spec.resources.dedicated() > 0;
        !has_own
            && declared.is_none_or(|declared| {
                declared.spec.capacity.is_empty() && declared.spec.overcommit.is_empty()
            })
            || self.load.get_or_insert_with(|| Load::of(snapshot)).no_room(key).is_none()
    }
}
