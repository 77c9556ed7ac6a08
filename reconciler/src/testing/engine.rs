//! The twin of an engine: it holds containers, images and volumes, and does what actions say.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::ids::{ContainerId, Digest, ImageId, Key, Name, ReplicaKey, Revision};
use crate::model::observed::{
    CgroupDriver, ContainerState, EngineInfo, Exit, HealthState, Identity, NodeListing,
    ObservedContainer, ObservedImage, ObservedVolume,
};
use crate::model::time::Timestamp;
use crate::ports::{Done, DriverError, DriverErrorKind};
use crate::step::Action;
use crate::want::LABEL_PREFIX;

/// An engine in memory.
#[derive(Debug, Clone)]
pub struct FakeEngine {
    /// Its containers.
    pub containers: BTreeMap<ContainerId, ObservedContainer>,
    /// Its images.
    pub images: BTreeMap<ImageId, ObservedImage>,
    /// Its volumes.
    pub volumes: BTreeMap<String, ObservedVolume>,
    /// What its registry serves: reference to content. What is missing cannot be pulled.
    pub registry: BTreeMap<String, String>,
    /// Whether it answers.
    pub reachable: bool,
    id: String,
    made: u64,
}

type Found = Result<ContainerId, DriverError>;

impl FakeEngine {
    /// An engine that holds nothing, with a registry that serves `web:1`, `web:2` and `job:1`.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let served = ["web:1", "web:2", "job:1"];
        Self {
            containers: BTreeMap::new(),
            images: BTreeMap::new(),
            volumes: BTreeMap::new(),
            registry: served.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect(),
            reachable: true,
            id: id.to_owned(),
            made: 0,
        }
    }

    /// What a list brings.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub fn list(&self) -> Result<NodeListing, DriverError> {
        self.answers()?;
        Ok(NodeListing {
            engine: EngineInfo {
                id: self.id.clone(),
                version: "0".to_owned(),
                api_version: "0".to_owned(),
                cgroup_driver: CgroupDriver::Cgroupfs,
                cpus: 2,
                memory: 1 << 34,
            },
            containers: self.containers.clone(),
            foreign: Vec::new(),
            images: self.images.clone(),
            volumes: self.volumes.clone(),
        })
    }

    /// What an inspection brings.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub fn inspect(
        &self,
        container: &str,
    ) -> Result<Option<(ContainerId, ObservedContainer)>, DriverError> {
        self.answers()?;
        Ok(self.find(container).ok().and_then(|id| {
            let found = self.containers.get(&id)?;
            Some((id, found.clone()))
        }))
    }

    /// The container ends by itself.
    pub fn end(&mut self, now: Timestamp, id: &ContainerId, code: i64) {
        if let Some(container) = self.containers.get_mut(id) {
            container.state = exited(now, &container.state, code);
        }
    }

    /// Does what an action says.
    ///
    /// # Errors
    /// As an engine would answer.
    pub fn execute(&mut self, now: Timestamp, action: &Action) -> Result<Done, DriverError> {
        self.answers()?;
        match action {
            Action::PullImage { reference } => {
                let name = reference.split('@').next().unwrap_or(reference).to_owned();
                let Some(content) = self.registry.get(&name).cloned() else {
                    let kind = DriverErrorKind::Refused;
                    return Err(error(kind, format!("manifest for {reference} not found")));
                };
                Ok(self.hold_image(&content, &name))
            }
            Action::LoadImage { file } => Ok(self.hold_image(&file.digest, &file.path)),
            Action::ImportImage { file, tag, .. } => Ok(self.hold_image(&file.digest, tag)),
            Action::CreateVolume { name, driver, options, labels, .. } => {
                let volume = Key::new(label(labels, "project")?, label(labels, "volume")?);
                let (driver, options) = (driver.clone(), options.clone());
                self.volumes.insert(name.clone(), ObservedVolume { volume, driver, options });
                Ok(Done::AsAsked)
            }
            Action::RemoveVolume { name } => {
                self.volumes.remove(name);
                Ok(Done::AsAsked)
            }
            Action::CreateContainer { name, image, config, labels, revision, .. } => {
                if !self.images.contains_key(image) {
                    return Err(error(DriverErrorKind::NotFound, format!("no image {image}")));
                }
                if self.find(name).is_ok() {
                    return Err(error(DriverErrorKind::Conflict, format!("{name} is taken")));
                }
                self.made += 1;
                let digest = Digest::of(format!("{} {}", self.id, self.made).as_bytes());
                let id = ContainerId(digest.0);
                let container = ObservedContainer {
                    name: name.clone(),
                    identity: identity(labels, revision)?,
                    state: ContainerState::Created,
                    health: HealthState::None,
                    image: image.clone(),
                    config: (**config).clone(),
                    address: None,
                    created_at: now,
                };
                self.containers.insert(id.clone(), container);
                Ok(Done::Container(id))
            }
            Action::StartContainer { container, .. } | Action::UnpauseContainer { container } => {
                self.change(container, |found| found.state = ContainerState::Running { since: now })
            }
            Action::StopContainer { container, .. } => self.change(container, |found| {
                found.state = exited(now, &found.state, 143);
            }),
            Action::PauseContainer { container } => {
                self.change(container, |found| found.state = ContainerState::Paused { since: now })
            }
            Action::UpdateContainer { container, limits } => self.change(container, |found| {
                found.config.limits = *limits;
                "no".clone_into(&mut found.config.restart_policy);
            }),
            Action::RenameContainer { container, name } => {
                self.change(container, |found| found.name.clone_from(name))
            }
            Action::RemoveContainer { container, .. } => {
                let id = self.find(container)?;
                self.containers.remove(&id);
                Ok(Done::AsAsked)
            }
        }
    }

    fn hold_image(&mut self, content: &str, tag: &str) -> Done {
        let id = ImageId(Arc::from(format!("sha256:{}", Digest::of(content.as_bytes()))));
        let tag: Arc<str> = Arc::from(tag);
        for image in self.images.values_mut() {
            image.tags.retain(|held| *held != tag);
        }
        self.images.entry(id.clone()).or_default().tags.push(tag);
        Done::Image { id, pinned: None }
    }

    fn answers(&self) -> Result<(), DriverError> {
        if self.reachable { Ok(()) } else { Err(super::unreachable()) }
    }

    fn find(&self, container: &str) -> Found {
        let found = self
            .containers
            .iter()
            .find(|(id, found)| &*id.0 == container || found.name == container)
            .map(|(id, _)| id.clone());
        found.ok_or_else(|| error(DriverErrorKind::NotFound, format!("no container {container}")))
    }

    fn change(
        &mut self,
        container: &str,
        how: impl FnOnce(&mut ObservedContainer),
    ) -> Result<Done, DriverError> {
        let id = self.find(container)?;
        if let Some(found) = self.containers.get_mut(&id) {
            how(found);
        }
        Ok(Done::AsAsked)
    }
}

fn exited(now: Timestamp, state: &ContainerState, code: i64) -> ContainerState {
    let started_at = match state {
        ContainerState::Running { since } | ContainerState::Paused { since } => *since,
        ContainerState::Created | ContainerState::Exited(_) | ContainerState::Removing => now,
    };
    let error = String::new();
    ContainerState::Exited(Exit { code, oom_killed: false, error, started_at, finished_at: now })
}

fn identity(
    labels: &BTreeMap<String, String>,
    revision: &Revision,
) -> Result<Identity, DriverError> {
    let number = |name: &str| {
        let text = labels.get(&format!("{LABEL_PREFIX}{name}")).map_or("", String::as_str);
        text.parse::<u32>().map_err(|_| error(DriverErrorKind::Refused, format!("label {name}")))
    };
    let instance = Key::new(label(labels, "project")?, label(labels, "instance")?);
    Ok(Identity {
        replica: ReplicaKey::new(instance, number("ordinal")?),
        revision: revision.clone(),
        incarnation: u64::from(number("incarnation")?),
        uid: labels.get(&format!("{LABEL_PREFIX}uid")).cloned().unwrap_or_default(),
    })
}

fn label(labels: &BTreeMap<String, String>, name: &str) -> Result<Name, DriverError> {
    let text = labels.get(&format!("{LABEL_PREFIX}{name}")).map_or("", String::as_str);
    Name::new(text).map_err(|why| error(DriverErrorKind::Refused, format!("label {name}: {why}")))
}

fn error(kind: DriverErrorKind, message: String) -> DriverError {
    DriverError { kind, message }
}
