//! The control groups of nodes, as `observed.yaml` writes them.

use reconciler::model::groups::{GroupLimit, GroupLimits, Groups};
use reconciler::model::quantity::{Bytes, Cpus};
use reconciler::model::record::GroupRecord;
use reconciler::want;

use super::*;

/// Those of one node.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Kernel {
    /// Whether windlass is not on its host.
    elsewhere: bool,
    /// Whether a group may have no less cpu time than one in it.
    within: bool,
    missing: BTreeSet<GroupLimit>,
    /// What is there, by the groups' paths below the node's own: `shop`, `firm/shop`.
    groups: BTreeMap<String, Limited>,
    /// What was asked for last, by project.
    asked: BTreeMap<Name, Limited>,
    /// What the kernel refused just now to do of what was asked for.
    refused: BTreeMap<Name, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Limited {
    cpus: Option<Cpus>,
    memory: Option<Bytes>,
    pids: u64,
}

impl Limited {
    fn limits(&self) -> GroupLimits {
        GroupLimits {
            nano_cpus: self.cpus.map_or(0, |cpus| cpus.0),
            memory: self.memory.map_or(0, |bytes| bytes.0),
            pids: self.pids,
            ..GroupLimits::default()
        }
    }
}

pub(super) fn kernels(snapshot: &mut Snapshot, observed: &Observed) {
    let owner = snapshot.records.owner.clone().expect("an owner");
    for (node, kernel) in &observed.kernels {
        let seen = snapshot.nodes.get_mut(node).expect("a node that is declared");
        let root = want::cgroup_root(&owner, node);
        let limits = kernel.groups.iter();
        let limits = limits.map(|(path, one)| (format!("{root}/{path}").into(), one.limits()));
        seen.groups = if kernel.elsewhere {
            Groups::Elsewhere { reason: "windlass is not on its host".to_owned() }
        } else {
            Groups::Read {
                limits: limits.collect(),
                missing: kernel.missing.clone(),
                within: kernel.within,
            }
        };
        let record = snapshot.records.nodes.entry(node.clone()).or_default();
        for (project, asked) in &kernel.asked {
            let asked = asked.limits();
            let failure = kernel.refused.get(project).map(|message| Failure {
                goal: asked.digest(),
                count: 1,
                at: NOW,
                retry_at: NOW + Duration::from_secs(1),
                step: "set quota".to_owned(),
                message: message.clone(),
                name_taken: false,
                unstartable: false,
            });
            record.groups.insert(project.clone(), GroupRecord { asked, failure });
        }
    }
}

/// The group that a container was made in.
pub(super) fn group(snapshot: &Snapshot, of: &Container, project: &Name) -> String {
    let owner = snapshot.records.owner.as_ref().expect("an owner");
    let root = want::cgroup_root(owner, &of.node);
    match &of.group {
        Some(group) => format!("{root}/{group}"),
        None => {
            let lineage = snapshot.desired.lineage(project);
            want::cgroup_parent(CgroupDriver::Cgroupfs, &root, &lineage)
        }
    }
}
