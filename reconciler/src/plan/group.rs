//! Quotas in the kernel: one control group a project on each node, which all its containers there
//! are below.
//!
//! A group has its limits before the first container is made in it, and loses them after the last one
//! has gone. Its limits are compared with what the node's kernel says, so what another hand wrote is
//! drift like any other. Where the groups cannot be had from here nothing is done, and the
//! project's condition says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::needs::{Need, backing_off};
use super::replica::Replica;
use super::shares::{self, Holding, holdings, share};
use super::{Change, ChangeKind, Round};
use crate::diff::{show_bytes, show_count, show_cpus};
use crate::model::groups::{GroupLimits, Groups, is_same_cpus, is_same_memory};
use crate::model::ids::{Name, ObjectId};
use crate::model::observed::{CgroupDriver, Reach};
use crate::model::quantity::Cpus;
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::Quota;
use crate::report::Reason;
use crate::step::{Action, Cause, FieldChange, StepId};
use crate::want;

/// What the group of a container is called where it is not as it shall be.
pub(super) const GROUP: &str = "project.parent";

/// What this round knows of groups.
#[derive(Debug, Default)]
pub(super) struct GroupsOf {
    /// Where replicas of projects are, of those that were asked about.
    holdings: BTreeMap<Name, BTreeMap<Name, Holding>>,
    /// What was found out of each.
    needs: BTreeMap<ObjectId, Need>,
    /// What this round gives to each.
    given: BTreeMap<ObjectId, GroupLimits>,
}

impl<'a> Round<'a> {
    /// Brings the groups of each node to what quotas say.
    pub(super) fn groups(&mut self) {
        let snapshot = self.snapshot;
        for (node, seen) in &snapshot.nodes {
            let recorded = snapshot.records.nodes.get(node).map(|record| &record.groups);
            let recorded = recorded.filter(|groups| !groups.is_empty());
            if snapshot.desired.projects.is_empty() && recorded.is_none() {
                continue;
            }
            if seen.reach != Reach::Reachable || !seen.groups.are_ours() {
                continue;
            }
            let has_quota = |project: &&Name| self.quota(project).is_some();
            let declared = snapshot.desired.projects.keys().filter(has_quota);
            let held: Vec<&Name> =
                declared.filter(|project| shares::is_on(snapshot, project, node)).collect();
            let gone = recorded.into_iter().flat_map(BTreeMap::keys);
            let mut gone: Vec<_> = gone
                .filter(|project| !held.contains(project))
                .map(|project| (snapshot.desired.lineage(project), project))
                .collect();
            // While everything is taken down nobody needs limits; what is refused would only be noise.
            for project in held.into_iter().filter(|_| !snapshot.down) {
                // What comes of it is noted by itself.
                let _ = self.need_group(node, project);
            }
            // A group goes once those in it have gone.
            gone.sort_by_key(|(lineage, _)| std::cmp::Reverse(lineage.len()));
            let mut steps: Vec<(&[Name], StepId)> = Vec::new();
            for (lineage, project) in &gone {
                let object = ObjectId::Group { node: node.clone(), project: (*project).clone() };
                let inner = steps.iter().filter(|(lineage, _)| lineage.contains(project));
                let after: Vec<StepId> = inner.map(|(_, step)| *step).collect();
                let need = self.bring(object, node, project, GroupLimits::default(), &after);
                if let Need::After(step) = need {
                    steps.push((lineage, step));
                }
            }
        }
    }

    /// Whether all groups that a container of `project` on `node` is in are as their quotas say.
    pub(super) fn need_group(&mut self, node: &Name, project: &Name) -> Need {
        let snapshot = self.snapshot;
        let Some((node, seen)) = snapshot.nodes.get_key_value(node) else { return Need::Ready };
        if snapshot.desired.projects.is_empty() || !seen.groups.are_ours() {
            return Need::Ready;
        }
        let mut last = None;
        // An inner group comes after the one around it.
        for outer in snapshot.desired.lineage(project) {
            let Some((outer, _)) = snapshot.desired.projects.get_key_value(&outer) else {
                continue;
            };
            match self.group(node, outer, last) {
                Need::Ready => {}
                Need::After(step) => last = Some(step),
                blocked @ Need::Blocked(_) => return blocked,
            }
        }
        last.map_or(Need::Ready, Need::After)
    }

    /// The name of a project's group on a node, as containers are told their parent.
    pub(super) fn group_name(&self, node: &Name, project: &Name) -> String {
        group_below(self.snapshot, node, &self.snapshot.desired.lineage(project))
    }

    /// The same of a project that is in no other.
    fn flat_group_name(&self, node: &Name, project: &Name) -> String {
        group_below(self.snapshot, node, std::slice::from_ref(project))
    }

    /// Whether the kernel of a node can be told what containers may use.
    pub(super) fn is_kernel_ours(&self, node: &Name) -> bool {
        self.snapshot.nodes.get(node).is_some_and(|seen| seen.groups.are_ours())
    }

    /// That a container is in another group than its project's, if it is: the project was put into
    /// another one, or taken out. Groups cannot be changed while it lives.
    pub(super) fn other_group(
        &self,
        replica: &Replica<'_, '_>,
        target: &Located,
    ) -> Option<FieldChange> {
        let snapshot = self.snapshot;
        let have = target.container.config.cgroup_parent.as_str();
        let project = &replica.key.instance.project;
        let wanted = self.group_name(replica.node, project);
        if have == wanted {
            return None;
        }
        // What its node called groups at another time is no reason for another container.
        let known = snapshot.desired.projects.keys();
        let known = known.map(|outer| self.group_name(replica.node, outer));
        let alone = self.flat_group_name(replica.node, project);
        let in_another = known.into_iter().any(|outer| is_directly_in(have, &outer, project));
        (have == alone || in_another).then(|| FieldChange {
            field: GROUP.to_owned(),
            from: have.to_owned(),
            to: wanted,
        })
    }

    /// The quota of a project, if it says anything that a kernel could hold.
    fn quota(&self, project: &Name) -> Option<&'a Quota> {
        let declared = self.snapshot.desired.projects.get(project)?;
        Some(&declared.spec.quota).filter(|quota| !GroupLimits::of(quota).is_empty())
    }

    fn group(&mut self, node: &'a Name, project: &'a Name, after: Option<StepId>) -> Need {
        let snapshot = self.snapshot;
        let object = ObjectId::Group { node: node.clone(), project: project.clone() };
        if let Some(known) = self.groups.needs.get(&object) {
            return known.clone();
        }
        let Some(quota) = self.quota(project) else {
            return Need::Ready;
        };
        if snapshot.desired.nodes.len() == 1 {
            let wanted = share(quota, &BTreeMap::new(), node);
            return self.bring(object, node, project, wanted, after.as_slice());
        }
        let known = &mut self.groups.holdings;
        let of = known.entry(project.clone()).or_insert_with(|| holdings(snapshot, project));
        let wanted = share(quota, of, node);
        let of_node = of.contains_key(node);
        let mut others: BTreeSet<Name> = of.keys().cloned().collect();
        // Who is placed in this very round is not on record yet.
        others.extend(self.groups.given.keys().filter_map(|given| match given {
            ObjectId::Group { node, project: of } if of == project => Some(node.clone()),
            ObjectId::Group { .. }
            | ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Replica(_) => None,
        }));
        others.remove(node);
        let free = self.at_most(&wanted, quota, project, &others);
        let is_there = self.seen_limits(node, project).is_some();
        // Who is placed just now is counted in the next round.
        let is_counted = of_node || others.is_empty();
        if !is_there && (free != wanted || !is_counted) {
            // With less than its share a container might not even start.
            let held = others.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
            let what = format!("its share of the quota of project {project}, which {held} has yet");
            let need = Need::Blocked(Reason::WaitingOn { what });
            self.groups.needs.insert(object, need.clone());
            return need;
        }
        self.bring(object, node, project, free, after.as_slice())
    }

    fn seen_limits(&self, node: &Name, project: &Name) -> Option<&'a GroupLimits> {
        group_seen(self.snapshot, node, project)
    }

    /// What a group has, or is about to have: as it was seen; as it was asked for, where that step is
    /// under way or nobody looked since a restart; and as this round gives it.
    fn limits_of(&self, node: &Name, project: &Name) -> [Option<&GroupLimits>; 3] {
        let snapshot = self.snapshot;
        let object = ObjectId::Group { node: node.clone(), project: project.clone() };
        let record = snapshot.records.nodes.get(node).and_then(|record| record.groups.get(project));
        let is_unknown = match snapshot.nodes.get(node).map(|seen| &seen.groups) {
            None | Some(Groups::Unknown { .. }) => true,
            Some(Groups::Read { .. } | Groups::Elsewhere { .. }) => false,
        };
        let record = record.filter(|_| is_unknown || snapshot.in_flight.contains_key(&object));
        let asked = record.map(|record| &record.asked);
        [self.seen_limits(node, project), asked, self.groups.given.get(&object)]
    }

    /// What of `wanted` can be had now: what other nodes still have is given up there before it is
    /// given here.
    fn at_most(
        &self,
        wanted: &GroupLimits,
        quota: &Quota,
        project: &Name,
        others: &BTreeSet<Name>,
    ) -> GroupLimits {
        let (mut cpus, mut memory, mut pids) = (0_u64, 0_u64, 0_u64);
        for node in others {
            let all = self.limits_of(node, project);
            let most = |of: fn(&GroupLimits) -> u64| all.into_iter().flatten().map(of).max();
            cpus = cpus.saturating_add(most(|have| have.nano_cpus).unwrap_or(0));
            memory = memory.saturating_add(most(|have| have.memory).unwrap_or(0));
            pids = pids.saturating_add(most(|have| have.pids).unwrap_or(0));
        }
        let left = |quota: Option<u64>, taken: u64| quota.map(|all| all.saturating_sub(taken));
        let within = |wanted: u64, left: Option<u64>, least: u64| match left {
            Some(left) if wanted > 0 => wanted.min(left.max(least)),
            Some(_) | None => wanted,
        };
        let (cpus_least, memory_least, pids_least) = shares::FLOORS;
        let of_cpus = left(quota.cpus.map(|cpus| cpus.0), cpus);
        let of_memory = left(quota.memory.map(|bytes| bytes.0), memory);
        GroupLimits {
            nano_cpus: within(wanted.nano_cpus, of_cpus, cpus_least),
            memory: within(wanted.memory, of_memory, memory_least),
            pids: within(wanted.pids, left(quota.pids, pids), pids_least),
            io: wanted.io.clone(),
        }
    }

    /// Brings one group to its limits, and remembers what came of it.
    fn bring(
        &mut self,
        object: ObjectId,
        node: &'a Name,
        project: &'a Name,
        wanted: GroupLimits,
        after: &[StepId],
    ) -> Need {
        let need = self.try_bring(&object, node, project, wanted, after);
        if let Need::Blocked(reason) = &need
            && !matches!(reason, Reason::InFlight { .. } | Reason::WaitingOn { .. })
        {
            self.wait(&object, Some(node), reason.clone());
        }
        self.groups.needs.insert(object, need.clone());
        need
    }

    fn try_bring(
        &mut self,
        object: &ObjectId,
        node: &'a Name,
        project: &'a Name,
        wanted: GroupLimits,
        after: &[StepId],
    ) -> Need {
        let snapshot = self.snapshot;
        let Some(Groups::Read { limits, missing, within }) =
            snapshot.nodes.get(node).map(|seen| &seen.groups)
        else {
            return Need::Ready;
        };
        let record = snapshot.records.nodes.get(node);
        let record = record.and_then(|record| record.groups.get(project));
        let group = self.group_name(node, project);
        let have = limits.get(group.as_str());
        let mut wanted = wanted.without(missing);
        let tight = within.then(|| tight(snapshot, limits, node, project, &wanted)).flatten();
        if tight.is_some() {
            wanted.nano_cpus = have.map_or(0, |have| have.nano_cpus);
        }
        let is_there = have.is_some_and(|have| wanted.is_said_by(have));
        let is_settled = match wanted.is_empty() {
            false => is_there,
            true => record.is_none() && have.is_none_or(GroupLimits::is_empty),
        };
        if let Some(reason) = self.under_way(object) {
            return Need::Blocked(reason);
        }
        if is_settled {
            // Nobody waits for that: it is those in it who have to get smaller first.
            if let Some(reason) = tight {
                self.wait(object, Some(node), reason);
            }
            return Need::Ready;
        }
        if let Some(reason) = self.blocked_node(node) {
            return Need::Blocked(reason);
        }
        let goal = wanted.digest();
        let failure = record.and_then(|record| record.failure.as_ref());
        let failure = failure.filter(|failure| failure.goal == goal);
        if let Some(failure) = failure.filter(|failure| failure.waits(snapshot.now)) {
            self.report.wake(failure.retry_at);
            return Need::Blocked(backing_off(failure));
        }
        let nothing = GroupLimits::default();
        let fields = changes(have.unwrap_or(&nothing), &wanted);
        let (kind, cause) = match record {
            None => (ChangeKind::Prepare, Cause::Changed { fields }),
            Some(_) if wanted.is_empty() => (ChangeKind::Tidy, Cause::NotDeclared),
            // What was asked for and refused is no other hand's doing.
            Some(record) if record.asked.is_said_by(&wanted) && failure.is_none() => {
                (ChangeKind::InPlace, Cause::Drifted { fields })
            }
            Some(_) => (ChangeKind::InPlace, Cause::Changed { fields }),
        };
        let (object, node) = (object.clone(), node.clone());
        let given = (object.clone(), wanted.clone());
        let change = Change { object, node, kind, cause, goal };
        let action = Action::SetGroup { group, limits: wanted };
        let step = self.chain(change, vec![action], after);
        self.groups.given.extend(step.map(|_| given));
        // Who may not be touched has been told so already.
        let what = format!("the quota of project {project}");
        let left = || Need::Blocked(Reason::WaitingOn { what });
        step.map_or_else(left, Need::After)
    }
}

/// Why a group cannot have so little cpu time just now: something in it has more, and this kernel lets
/// no group have less than one in it.
fn tight(
    snapshot: &Snapshot,
    limits: &BTreeMap<Arc<str>, GroupLimits>,
    node: &Name,
    project: &Name,
    wanted: &GroupLimits,
) -> Option<Reason> {
    if wanted.nano_cpus == 0 {
        return None;
    }
    let is_more = |cpus: u64| cpus > wanted.nano_cpus && !is_same_cpus(cpus, wanted.nano_cpus);
    let inner = shares::within(snapshot, project);
    let containers = inner.iter().flat_map(|project| shares::containers(snapshot, project));
    let mut limited = containers.flat_map(|(replica, located)| {
        let here = located.iter().filter(|at| at.node == *node);
        here.map(move |at| (replica, at.container.config.limits.nano_cpus))
    });
    if let Some((replica, cpus)) = limited.find(|(_, cpus)| is_more(*cpus)) {
        let declared = snapshot.desired.instances.get(&replica.instance);
        let declared = declared.map(|declared| want::limits(&declared.spec.resources).nano_cpus);
        if !declared.is_some_and(is_more) {
            let what = format!("{replica}, which may use {} cpus yet", Cpus(cpus));
            return Some(Reason::WaitingOn { what });
        }
        let message = format!(
            "cpus {} of project {project} cannot be enforced on node {node} while {replica} may use \
             {}: this kernel lets no group have less than one in it; lower the limit of \
             {}, or raise the quota",
            Cpus(wanted.nano_cpus),
            Cpus(cpus),
            replica.instance
        );
        return Some(Reason::Stalled { message });
    }
    // A quota in it is never more than its own, so it is about to be lowered.
    let mut quotas = inner.into_iter().filter(|inner| *inner != project).filter_map(|inner| {
        let lineage = snapshot.desired.lineage(inner);
        let have = limits.get(group_below(snapshot, node, &lineage).as_str())?;
        Some((inner, have.nano_cpus))
    });
    let (inner, cpus) = quotas.find(|(_, cpus)| is_more(*cpus))?;
    let what = format!("project {inner} in it, which may use {} cpus there yet", Cpus(cpus));
    Some(Reason::WaitingOn { what })
}

/// What a node's kernel holds a project to; `None` if it has no group there, or nobody can tell.
pub fn group_seen<'s>(
    snapshot: &'s Snapshot,
    node: &Name,
    project: &Name,
) -> Option<&'s GroupLimits> {
    match &snapshot.nodes.get(node)?.groups {
        Groups::Read { limits, .. } => {
            let lineage = snapshot.desired.lineage(project);
            limits.get(group_below(snapshot, node, &lineage).as_str())
        }
        Groups::Unknown { .. } | Groups::Elsewhere { .. } => None,
    }
}

/// What of a project's quota a node's kernel does not hold it to, since something in it has more.
pub fn not_yet_held(snapshot: &Snapshot, node: &Name, project: &Name) -> Option<String> {
    let Groups::Read { limits, missing, within: true } = &snapshot.nodes.get(node)?.groups else {
        return None;
    };
    let quota = &snapshot.desired.projects.get(project)?.spec.quota;
    let all = if snapshot.desired.nodes.len() == 1 {
        BTreeMap::new()
    } else {
        holdings(snapshot, project)
    };
    let wanted = share(quota, &all, node).without(missing);
    let reason = tight(snapshot, limits, node, project, &wanted)?;
    if let Reason::Stalled { message } = reason { Some(message) } else { None }
}

fn group_below(snapshot: &Snapshot, node: &Name, lineage: &[Name]) -> String {
    let recorded = snapshot.records.nodes.get(node);
    let declared = snapshot.desired.nodes.get(node);
    let root = recorded
        .and_then(|record| record.cgroup_root.clone())
        .or_else(|| declared.and_then(|node| node.spec.cgroup_root.clone()))
        .or_else(|| Some(want::cgroup_root(snapshot.records.owner.as_ref()?, node)))
        .unwrap_or_default();
    let engine = snapshot.nodes.get(node).and_then(|node| node.engine.as_ref());
    let driver = engine.map_or(CgroupDriver::Cgroupfs, |engine| engine.cgroup_driver);
    want::cgroup_parent(driver, &root, lineage)
}

/// Whether `group` is that of a project right in the group `outer`.
fn is_directly_in(group: &str, outer: &str, project: &Name) -> bool {
    match outer.strip_suffix(".slice") {
        None => {
            group.strip_prefix(outer).and_then(|rest| rest.strip_prefix('/'))
                == Some(project.as_str())
        }
        Some(stem) => {
            let part = project.as_str().replace('-', "\\x2d");
            let rest = group.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-'));
            rest.and_then(|rest| rest.strip_suffix(".slice")) == Some(part.as_str())
        }
    }
}

fn changes(have: &GroupLimits, wanted: &GroupLimits) -> Vec<FieldChange> {
    let mut found = Vec::new();
    let mut add = |field: &str, from: String, to: String| {
        found.push(FieldChange { field: field.to_owned(), from, to });
    };
    if !is_same_cpus(wanted.nano_cpus, have.nano_cpus) {
        add("cpus", show_cpus(have.nano_cpus), show_cpus(wanted.nano_cpus));
    }
    if !is_same_memory(wanted.memory, have.memory) {
        add("memory", show_bytes(have.memory), show_bytes(wanted.memory));
    }
    if wanted.pids != have.pids {
        add("pids", show_count(have.pids), show_count(wanted.pids));
    }
    if have.io != wanted.io {
        add("io", String::new(), String::new());
    }
    found
}
