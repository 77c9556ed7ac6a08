//! What containers and projects use, in the words of the protocol.

use reconciler::model::ids::{Name, ReplicaKey};
use reconciler::model::observed::Limits;
use reconciler::model::spec::Quota;
use reconciler::ports::Usage;
use reconciler::usage::Counters;
use serde::{Deserialize, Serialize};

/// More projects than this are in no row: it is a guard, since reading refuses circles.
const NESTED_MAX: usize = 64;

/// What the container of a replica uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// The replica.
    pub replica: ReplicaKey,
    /// Where it runs.
    pub node: Name,
    /// Its limits.
    pub limits: Limits,
    /// What it uses; `None` if that could not be read.
    pub usage: Option<Usage>,
    /// All of its figures, if they were read from its control group here.
    #[serde(default)]
    pub counters: Option<Counters>,
    /// Why there are no figures.
    pub message: Option<String>,
}

/// What a project uses just now, and may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectUse {
    /// The project.
    pub name: Name,
    /// The project that it is a part of: what is used here counts there, too.
    #[serde(default)]
    pub parent: Option<Name>,
    /// What it may use.
    pub quota: Quota,
    /// Processors in use since the look before, in billionths of one; `None` if nobody looked yet.
    pub nano_cpus: Option<u64>,
    /// Memory in use, in bytes.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Its containers that run.
    pub containers: u32,
    /// Those of them whose figures cannot be had from here; they are in no figure.
    pub unseen: u32,
}

/// A project, and those that it is a part of, given who is a part of whom.
pub fn within<'a>(
    project: &'a Name,
    parent: impl Fn(&'a Name) -> Option<&'a Name>,
) -> impl Iterator<Item = &'a Name> {
    std::iter::successors(Some(project), move |inner| parent(inner)).take(NESTED_MAX)
}
