//! The containers of one replica: which of them is in force, and the steps that work on them.

use core::net::{IpAddr, Ipv4Addr};

use super::replica::Replica;
use crate::diff::{Class, NetworkWant, is_as_wanted, is_of_a_network, is_of_io, left, network_of};
use crate::model::ids::{Key, Name, ReplicaKey, Revision, is_link_network};
use crate::model::observed::{Attachment, ContainerState};
use crate::model::quantity::Span;
use crate::model::snapshot::Located;
use crate::model::spec::{FileSpec, InstanceSpec};
use crate::step::{Action, Cause, FieldChange};
use crate::want;

/// The container in force on the replica's node, and the others there.
///
/// In force is the newest one of the wanted revision; while that is unknown, the newest of those
/// that run. One that the engine is removing is never in force.
pub(super) fn in_force<'a>(
    replica: &ReplicaKey,
    containers: &'a [Located],
    node: &Name,
    revision: Option<&Revision>,
) -> (Option<&'a Located>, Vec<&'a Located>) {
    let here = containers.iter().filter(|at| at.node == *node);
    let rank = |at: &&'a Located| {
        let first = revision.is_none() && is_running(at);
        let incarnation = at.container.identity.incarnation;
        // Of copies, the one that has its name counts.
        let named = want::is_container_name(&at.container.name, replica, incarnation);
        (first, incarnation, named, &at.id)
    };
    let target = here
        .clone()
        .filter(|at| !matches!(at.container.state, ContainerState::Removing))
        .filter(|at| revision.is_none_or(|revision| at.container.identity.revision == *revision))
        // By two at a time: nearly always there is one, and nothing is asked of it.
        .max_by(|one, two| rank(one).cmp(&rank(two)));
    let is_target = |at: &&Located| target.is_some_and(|target| target.id == at.id);
    let mut others: Vec<&Located> = here.filter(|at| !is_target(at)).collect();
    others.sort_by_key(|at| (at.container.identity.incarnation, &at.id));
    (target, others)
}

/// Whether a container's processes exist, frozen or not.
pub(super) fn is_running(located: &Located) -> bool {
    match located.container.state {
        ContainerState::Running { .. } | ContainerState::Paused { .. } => true,
        ContainerState::Created | ContainerState::Exited(_) | ContainerState::Removing => false,
    }
}

/// Steps that remove the replica's other containers on its node.
pub(super) fn removals_of_others(replica: &Replica<'_, '_>) -> Vec<Action> {
    replica.others.iter().map(|other| remove(other)).collect()
}

pub(super) fn id(located: &Located) -> String {
    located.id.0.to_string()
}

pub(super) fn start(container: String) -> Action {
    Action::StartContainer { container, restart: false, in_a_row: false, earlier: false }
}

/// What a container is stopped for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopFor {
    /// Its spec says that it shall be stopped.
    Power,
    /// Another one starts after it.
    Successor,
    /// Another one is in force already.
    Retirement,
}

/// The step that stops a container, if it runs.
pub(super) fn stop(located: &Located, spec: &InstanceSpec, why: StopFor) -> Option<Action> {
    is_running(located).then(|| Action::StopContainer {
        container: id(located),
        drain: Span::default(),
        timeout: spec.stop.timeout,
        power: why == StopFor::Power,
        retired: why == StopFor::Retirement,
    })
}

/// The step that removes a container for which another one comes.
pub(super) fn remove(located: &Located) -> Action {
    Action::RemoveContainer {
        container: id(located),
        incarnation: located.container.identity.incarnation,
        for_good: false,
    }
}

/// Whether the rest of a row makes sense without this step.
pub(super) fn can_be_left_out(action: &Action) -> bool {
    match action {
        Action::RemoveContainer { .. }
        | Action::RenameContainer { .. }
        | Action::ConnectNetwork { .. }
        | Action::DisconnectNetwork { .. }
        | Action::SetHosts { .. }
        | Action::UpdateContainer { .. } => true,
        Action::PullImage { .. }
        | Action::LoadImage { .. }
        | Action::ImportImage { .. }
        | Action::CreateVolume { .. }
        | Action::RemoveVolume { .. }
        | Action::CreateNetwork { .. }
        | Action::RemoveNetwork { .. }
        | Action::RemoveCopy { .. }
        | Action::SetRules { .. }
        | Action::SetGroup { .. }
        | Action::PutFiles { .. }
        | Action::CreateContainer { .. }
        | Action::StartContainer { .. }
        | Action::StopContainer { .. }
        | Action::PauseContainer { .. }
        | Action::UnpauseContainer { .. } => false,
    }
}

/// Steps that put a container on the networks that it shall be on, and take it off all others.
fn joins(replica: &Replica<'_, '_>, target: &Located, address: Option<Ipv4Addr>) -> Vec<Action> {
    let spec = &replica.instance.declared.spec;
    let linked = replica.instance.linked;
    let wanted = want::attachments(spec, replica.key, linked);
    let want = NetworkWant { spec, key: replica.key, linked };
    let present = &target.container.config.attachments;
    let stays = |network: &String| match (wanted.get(network), present.get(network)) {
        (Some(wanted), Some(present)) => is_as_wanted(&want, (network, wanted), present),
        (Some(_) | None, _) => false,
    };
    let own = Key::own_network(&replica.key.instance.project).engine_name();
    let leave = present.keys().filter(|network| !stays(network)).map(|network| {
        Action::DisconnectNetwork { container: id(target), network: network.clone() }
    });
    let join = wanted.iter().filter(|(network, _)| !stays(network)).map(|(network, attachment)| {
        let mut attachment = attachment.clone();
        if want::is_on_own_network(spec) && **network == own {
            attachment.address = address.map(IpAddr::V4);
        }
        connect(id(target), network, &attachment)
    });
    leave.chain(join).collect()
}

/// What takes a container that rests off the networks of links that are gone, which would stay there
/// for it. It joins none: it talks to nobody.
pub(super) fn stale_joins(
    replica: &Replica<'_, '_>,
    target: &Located,
) -> Option<(Vec<FieldChange>, Vec<Action>)> {
    let wanted = replica.instance.linked.joins();
    let is_wanted = |name: &String| wanted.keys().any(|network| network.engine_name() == *name);
    let present = target.container.config.attachments.keys();
    let stale = present.filter(|name| is_link_network(name) && !is_wanted(name));
    let (fields, actions): (Vec<_>, Vec<_>) = stale
        .map(|network| {
            let (container, network) = (id(target), network.clone());
            (left(&network), Action::DisconnectNetwork { container, network })
        })
        .unzip();
    (!actions.is_empty()).then_some((fields, actions))
}

pub(super) fn connect(container: String, network: &str, attachment: &Attachment) -> Action {
    let (network, attachment) = (network.to_owned(), attachment.clone());
    Action::ConnectNetwork { container, network, attachment }
}

/// The step that puts its files into a container that was not started yet.
pub(super) fn put_files(spec: &InstanceSpec, container: &str) -> Option<Action> {
    let files: Vec<FileSpec> = want::files(spec).cloned().collect();
    (!files.is_empty()).then(|| Action::PutFiles { container: container.to_owned(), files })
}

/// The step that brings the limits of a container to what is wanted, whatever of them was `found`
/// to be otherwise.
pub(super) fn update(
    replica: &Replica<'_, '_>,
    target: &Located,
    found: &[(Class, FieldChange)],
) -> Action {
    let mut limits = replica.limits.clone();
    if limits.cpu_shares == 0 && target.container.config.limits.cpu_shares != 0 {
        // Nothing is said of a weight that stays the usual one.
        limits.cpu_shares = want::CPU_SHARES_USUAL;
    }
    let io = found.iter().any(|(_, change)| is_of_io(change));
    let io = io.then(|| Box::new((*replica.instance.declared.spec.resources.io).clone()));
    Action::UpdateContainer { container: id(target), limits, io }
}

/// What brings a container that lives on to its declared name and limits.
pub(super) fn in_place(
    replica: &Replica<'_, '_>,
    target: &Located,
    found: Vec<(Class, FieldChange)>,
    address: Option<Ipv4Addr>,
) -> Option<(Cause, Vec<Action>)> {
    let limits = replica.limits;
    let mut names = Vec::new();
    let mut actions = Vec::new();
    let incarnation = target.container.identity.incarnation;
    if !want::is_container_name(&target.container.name, replica.key, incarnation) {
        let (from, to) = (target.container.name.clone(), replica.key.container_name(incarnation));
        names.push(FieldChange { field: "name".to_owned(), from, to: to.clone() });
        actions.push(Action::RenameContainer { container: id(target), name: to });
    }
    if found.is_empty() {
        let is_renamed = !names.is_empty();
        return is_renamed.then_some((Cause::Drifted { fields: names }, actions));
    }
    // A network that cannot be had now is left out of what was found.
    let is_found = |network: &str| found.iter().any(|(_, one)| network_of(one) == Some(network));
    let waits = |action: &Action| {
        matches!(
            action,
            Action::ConnectNetwork { network, .. } | Action::DisconnectNetwork { network, .. }
                if !is_found(network)
        )
    };
    actions.extend(joins(replica, target, address).into_iter().filter(|action| !waits(action)));
    if found.iter().any(|(_, change)| !is_of_a_network(change)) {
        actions.push(update(replica, target, &found));
    }
    // Nobody remembers which networks were asked for last: where the spec is new, they are too.
    let is_new = replica
        .instance
        .record
        .is_some_and(|record| record.digest.as_ref() != Some(&replica.instance.declared.digest));
    // But of those of links records tell: where they agree with what is there, links changed.
    let joins = found.iter().any(|(_, change)| {
        let Some(network) = network_of(change) else { return false };
        let is_on = target.container.config.attachments.contains_key(network);
        let is_recorded = replica.record.is_some_and(|record| record.joined.contains(network));
        is_new || is_link_network(network) && is_on == is_recorded
    });
    // Records do not say which rates were asked for: they go with the spec.
    let of_io = is_new && found.iter().any(|(_, change)| is_of_io(change));
    let asked = replica.record.is_none_or(|record| record.applied == *limits) && !of_io;
    let fields = found.into_iter().map(|(_, change)| change);
    let cause = if asked && !joins {
        Cause::Drifted { fields: names.into_iter().chain(fields).collect() }
    } else {
        Cause::Changed { fields: fields.collect() }
    };
    Some((cause, actions))
}
