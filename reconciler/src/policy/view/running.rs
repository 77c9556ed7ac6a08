//! What scripts see of what runs, beside what is declared: `o.running`.
//!
//! At the point `scan` an object stands for one container or one node that was looked at, and this
//! part is there; elsewhere it is absent. A fact that nobody could find out is absent too, so that a
//! rule which needs it says with `has(…)` what it does without.

use serde::{Deserialize, Serialize};

use super::table::{maybe, table, texts};

/// What was found when somebody looked at a container, or at a node. Fields that are no matter of
/// the kind of object are not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Running {
    /// Which replica of the instance it is.
    pub replica: Option<u32>,
    /// The node that it is on.
    pub node: Option<String>,
    /// The digest of the image that runs.
    pub image: Option<String>,
    /// The digest of the image that shall run.
    pub wanted_image: Option<String>,
    /// Whether it may do all that the node's root may.
    pub privileged: Option<bool>,
    /// The programs of its processes: what they were given may hold secrets.
    pub processes: Option<Vec<String>>,
    /// The paths in its root filesystem that are not as in the image.
    pub changes: Option<Vec<String>>,
    /// Its published ports, as `host:container/protocol`.
    pub ports: Option<Vec<String>>,
    /// Its mounts that pass on what is mounted below them, as `path=shared`.
    pub propagation: Option<Vec<String>>,
    /// How many paths of `/proc` and `/sys` are hidden from it.
    pub masked_paths: Option<u64>,
    /// The cgroup that it is below.
    pub cgroup_parent: Option<String>,
    /// Of a node: the names of its containers that are not ours.
    pub foreign: Option<Vec<String>>,
}

fn maybe_texts(items: Option<&Vec<String>>) -> Option<Vec<std::borrow::Cow<'_, str>>> {
    items.and_then(texts)
}

table! {
    /// What runs.
    RUNNING = "running": Running {
        "replica": Number |running| running.replica.map(u64::from);
        "node": Text |running| maybe(&running.node);
        "image": Text |running| maybe(&running.image);
        "wantedImage": Text |running| maybe(&running.wanted_image);
        "privileged": Flag |running| running.privileged;
        "processes": Texts |running| maybe_texts(running.processes.as_ref());
        "changes": Texts |running| maybe_texts(running.changes.as_ref());
        "ports": Texts |running| maybe_texts(running.ports.as_ref());
        "propagation": Texts |running| maybe_texts(running.propagation.as_ref());
        "maskedPaths": Number |running| running.masked_paths;
        "cgroupParent": Text |running| maybe(&running.cgroup_parent);
        "foreign": Texts |running| maybe_texts(running.foreign.as_ref());
    }
}
