//! Suspensions: what an operator has told windlass to leave alone. A suspended object gets no step
//! of any kind, removal included, until it is resumed.
//!
//! Only whole instances are suspended, all of their replicas: a replica on its own would be left
//! with a revision that its twins no longer have.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{ImageName, Key, Name, ObjectId};
use super::time::Timestamp;

/// What can be suspended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// An instance, with all its replicas.
    Instance(Key),
    /// A volume, on all nodes.
    Volume(Key),
    /// All instances, volumes, networks and declared images of a project, those to come included, and
    /// its quota in kernels.
    Project(Name),
}

/// As `windlass suspend` and `windlass resume` take it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(key) => key.fmt(f),
            Self::Volume(key) => write!(f, "volume {key}"),
            Self::Project(project) => write!(f, "project {project}"),
        }
    }
}

/// Who suspended something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspension {
    /// When.
    pub at: Timestamp,
    /// Who: `user@host`.
    pub by: String,
    /// Why, if they said so.
    pub why: Option<String>,
}

/// All that is suspended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Suspensions {
    /// Instances.
    pub instances: BTreeMap<Key, Suspension>,
    /// Volumes.
    pub volumes: BTreeMap<Key, Suspension>,
    /// Whole projects.
    pub projects: BTreeMap<Name, Suspension>,
}

impl Suspensions {
    /// Whether nothing is suspended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { instances, volumes, projects } = self;
        instances.is_empty() && volumes.is_empty() && projects.is_empty()
    }

    /// What suspends an object, by itself or with its project.
    #[must_use]
    pub fn of(&self, object: &ObjectId) -> Option<(Target, &Suspension)> {
        if self.is_empty() {
            return None;
        }
        match object {
            ObjectId::Replica(replica) => self.of_instance(&replica.instance),
            ObjectId::Volume { volume, .. } => self.of_volume(volume),
            ObjectId::Network { network: key, .. }
            | ObjectId::Image { image: ImageName::Declared(key), .. } => self.of_project(key),
            ObjectId::Group { project, .. } => self.of_the_project(project),
            ObjectId::Image { image: ImageName::Reference(_), .. } | ObjectId::Fence { .. } => None,
        }
    }

    /// What suspends an instance, by itself or with its project.
    #[must_use]
    pub fn of_instance(&self, key: &Key) -> Option<(Target, &Suspension)> {
        let own = self.instances.get(key).map(|found| (Target::Instance(key.clone()), found));
        own.or_else(|| self.of_project(key))
    }

    /// What suspends a volume, by itself or with its project.
    #[must_use]
    pub fn of_volume(&self, key: &Key) -> Option<(Target, &Suspension)> {
        let own = self.volumes.get(key).map(|found| (Target::Volume(key.clone()), found));
        own.or_else(|| self.of_project(key))
    }

    fn of_project(&self, key: &Key) -> Option<(Target, &Suspension)> {
        self.of_the_project(&key.project)
    }

    fn of_the_project(&self, project: &Name) -> Option<(Target, &Suspension)> {
        let found = self.projects.get(project)?;
        Some((Target::Project(project.clone()), found))
    }

    /// Whether this very target is suspended.
    #[must_use]
    pub fn holds(&self, target: &Target) -> bool {
        match target {
            Target::Instance(key) => self.instances.contains_key(key),
            Target::Volume(key) => self.volumes.contains_key(key),
            Target::Project(project) => self.projects.contains_key(project),
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (Target, &Suspension)> {
        let Self { instances, volumes, projects } = self;
        let projects = projects.iter().map(|(name, of)| (Target::Project(name.clone()), of));
        let instances = instances.iter().map(|(key, of)| (Target::Instance(key.clone()), of));
        let volumes = volumes.iter().map(|(key, of)| (Target::Volume(key.clone()), of));
        projects.chain(instances).chain(volumes)
    }

    pub(super) fn add(&mut self, target: &Target, suspension: Suspension) {
        match target {
            Target::Instance(key) => self.instances.insert(key.clone(), suspension),
            Target::Volume(key) => self.volumes.insert(key.clone(), suspension),
            Target::Project(project) => self.projects.insert(project.clone(), suspension),
        };
    }

    pub(super) fn end(&mut self, target: &Target) {
        match target {
            Target::Instance(key) => self.instances.remove(key),
            Target::Volume(key) => self.volumes.remove(key),
            Target::Project(project) => self.projects.remove(project),
        };
    }
}
