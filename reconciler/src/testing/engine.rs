//! The twin of an engine: it holds containers, images and volumes, and does what actions say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::model::fence::{Fence, HostNames};
use crate::model::groups::Groups;
use crate::model::health::Probed;
use crate::model::ids::{ContainerId, Digest, ImageId, Key, Name, ReplicaKey, Revision};
use crate::model::observed::{
    CgroupDriver, ContainerState, EngineInfo, Exit, HealthState, Identity, MoreConfig, MountFrom,
    NodeListing, ObservedContainer, ObservedImage, ObservedNetwork, ObservedVolume,
};
use crate::model::sparse::Sparse;
use crate::model::spec::Protocol;
use crate::model::time::Timestamp;
use crate::ports::{Done, DriverError, DriverErrorKind, ExecCommand, ExecEnd, Inside, Usage};
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
    /// Its networks.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// What may talk to what.
    pub fence: Fence,
    /// What projects may use.
    pub groups: Groups,
    /// What its registry serves: reference to content. What is missing cannot be pulled.
    pub registry: BTreeMap<String, String>,
    /// Names of containers that are not ours.
    pub foreign: Vec<String>,
    /// Whether it answers.
    pub reachable: bool,
    /// What goes wrong with the next actions, one each.
    pub faults: VecDeque<Fault>,
    /// What health checks of a replica's containers find, the engine's and those that windlass
    /// runs; they are healthy if nothing is said.
    pub health: BTreeMap<ReplicaKey, Probed>,
    /// What is inside of every container.
    pub inside: Inside,
    /// What every container printed last.
    pub log: Vec<String>,
    /// Limits of memory have no effect, as on kernels without that controller.
    pub drops_memory_limits: bool,
    /// Nobody's hosts file can be written.
    pub refuses_hosts: bool,
    /// Actions that it was asked for and did not do yet.
    late: Vec<Action>,
    id: String,
    /// How many cpus its host has.
    pub cpus: u32,
    made: u64,
}

/// What goes wrong with an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing does.
    None,
    /// The engine refuses it.
    Refused,
    /// The engine says that it cannot be done as things are.
    Conflict,
    /// No answer comes, and it was not done.
    TimedOutUndone,
    /// No answer comes, and it was done.
    TimedOutDone,
    /// No answer comes, and it is done later, by [`FakeEngine::catch_up`].
    TimedOutLate,
    /// The connection breaks, and it was done.
    LostDone,
}

type Found = Result<ContainerId, DriverError>;

/// Checks of a container with this variable never find it healthy: a revision can be bad.
pub const NEVER_WELL: &str = "NEVER_WELL";

impl FakeEngine {
    /// An engine that holds nothing, with a registry that serves `web:1`, `web:2` and `job:1`.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let served = ["web:1", "web:2", "job:1"];
        Self {
            containers: BTreeMap::new(),
            images: BTreeMap::new(),
            volumes: BTreeMap::new(),
            networks: BTreeMap::new(),
            fence: Fence::default(),
            groups: Groups::Elsewhere { reason: "it is on no host".to_owned() },
            registry: served.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect(),
            foreign: Vec::new(),
            reachable: true,
            faults: VecDeque::new(),
            health: BTreeMap::new(),
            inside: Inside::default(),
            log: Vec::new(),
            drops_memory_limits: false,
            refuses_hosts: false,
            late: Vec::new(),
            id: id.to_owned(),
            cpus: 2,
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
                cpus: self.cpus,
                memory: 1 << 34,
                missing: Default::default(),
            },
            containers: self.containers.clone(),
            foreign: self.foreign.clone(),
            images: self.images.clone(),
            volumes: self.volumes.clone(),
            networks: self.networks.clone(),
            fence: self.fence.clone(),
            groups: self.groups.clone(),
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

    /// Runs a command in a container: it knows `true`, `false` and `echo`.
    ///
    /// # Errors
    /// If the engine does not answer, or the container does not run.
    pub fn exec(
        &self,
        container: &str,
        command: &ExecCommand,
    ) -> Result<(Vec<u8>, ExecEnd), DriverError> {
        self.runs(container)?;
        let mut words = command.command.iter().map(String::as_str);
        let (printed, code, refused) = match words.next() {
            Some("true") => (Vec::new(), 0, None),
            Some("false") => (Vec::new(), 1, None),
            Some("echo") => ((words.collect::<Vec<_>>().join(" ") + "\n").into_bytes(), 0, None),
            Some(other) => (Vec::new(), 127, Some(format!("{other}: not found"))),
            None => (Vec::new(), 126, Some("no command".to_owned())),
        };
        Ok((printed, ExecEnd { code, refused }))
    }

    /// What a container uses: as much as it is allowed to, half of the time.
    ///
    /// # Errors
    /// If the engine does not answer, or the container does not run.
    pub fn usage(&self, now: Timestamp, container: &str) -> Result<Usage, DriverError> {
        let found = self.runs(container)?;
        let limits = &found.config.limits;
        let at_ns = u64::try_from(now.0).unwrap_or(0) * 1_000_000;
        let cpu_ns = at_ns / 1_000_000_000 * (limits.nano_cpus / 2);
        Ok(Usage { at_ns, cpu_ns, memory: limits.memory / 2, pids: 1 })
    }

    /// What is inside of a container.
    ///
    /// # Errors
    /// If the engine does not answer, or the container does not run.
    pub fn look_inside(&self, container: &ContainerId) -> Result<Inside, DriverError> {
        self.runs(&container.0)?;
        Ok(self.inside.clone())
    }

    fn runs(&self, container: &str) -> Result<&ObservedContainer, DriverError> {
        self.answers()?;
        let id = self.find(container)?;
        let found = self.containers.get(&id);
        found.filter(|found| matches!(found.state, ContainerState::Running { .. })).ok_or_else(
            || error(DriverErrorKind::Conflict, format!("container {container} is not running")),
        )
    }

    /// The container ends by itself.
    pub fn end(&mut self, now: Timestamp, id: &ContainerId, code: i64) {
        if let Some(container) = self.containers.get_mut(id) {
            container.state = exited(now, &container.state, code);
        }
    }

    /// From now on checks of a replica find this. The engine's own checks find it at once.
    pub fn feel(&mut self, replica: &ReplicaKey, found: Probed) {
        self.health.insert(replica.clone(), found);
        let health = &self.health;
        let of_it = |found: &&mut ObservedContainer| found.identity.replica == *replica;
        for container in self.containers.values_mut().filter(of_it) {
            container.health = checked(health, container);
        }
    }

    /// What a probe of a container finds.
    #[must_use]
    pub fn probe(&self, id: &ContainerId) -> Probed {
        match self.containers.get(id) {
            Some(found) if matches!(found.state, ContainerState::Running { .. }) => {
                if found.config.env.contains_key(NEVER_WELL) {
                    let reason = "GET / answered 500".to_owned();
                    return Probed::Unhealthy { reason };
                }
                let felt = self.health.get(&found.identity.replica);
                felt.cloned().unwrap_or(Probed::Healthy)
            }
            Some(_) | None => Probed::Unknown { reason: "it does not run".to_owned() },
        }
    }

    /// Does what it was asked for when it gave no answer.
    pub fn catch_up(&mut self, now: Timestamp) {
        for action in std::mem::take(&mut self.late) {
            // Whether that still can be done is nobody's concern any more.
            let _ = self.obey(now, &action);
        }
    }

    /// Another hand copies a container, labels and all.
    pub fn copy(&mut self, id: &ContainerId, name: &str) {
        if let Some(mut copy) = self.containers.get(id).cloned() {
            name.clone_into(&mut copy.name);
            let id = self.new_id();
            self.containers.insert(id, copy);
        }
    }

    /// Does what an action says, or goes wrong as it shall.
    ///
    /// # Errors
    /// As an engine would answer.
    pub fn execute(&mut self, now: Timestamp, action: &Action) -> Result<Done, DriverError> {
        self.answers()?;
        let timed_out = || error(DriverErrorKind::TimedOut, "no answer in time".to_owned());
        match self.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => self.obey(now, action),
            Fault::Refused => Err(error(DriverErrorKind::Refused, "out of luck".to_owned())),
            Fault::Conflict => Err(error(DriverErrorKind::Conflict, "it exists".to_owned())),
            Fault::TimedOutUndone => Err(timed_out()),
            Fault::TimedOutDone => {
                let _ = self.obey(now, action);
                Err(timed_out())
            }
            Fault::TimedOutLate => {
                self.late.push(action.clone());
                Err(timed_out())
            }
            Fault::LostDone => {
                let _ = self.obey(now, action);
                Err(super::unreachable())
            }
        }
    }

    fn obey(&mut self, now: Timestamp, action: &Action) -> Result<Done, DriverError> {
        match action {
            Action::PullImage { reference } => self.pull(reference),
            Action::LoadImage { file } => Ok(self.hold_image(&file.digest, &file.path, None)),
            Action::ImportImage { file, tag, .. } => Ok(self.hold_image(&file.digest, tag, None)),
            Action::CreateVolume { name, driver, options, labels, .. } => {
                let volume = Key::new(label(labels, "project")?, label(labels, "volume")?);
                let (driver, options) = (driver.clone(), options.clone());
                self.volumes.insert(name.clone(), ObservedVolume { volume, driver, options });
                Ok(Done::AsAsked)
            }
            Action::RemoveVolume { name } => {
                let is_it =
                    |from: &MountFrom| matches!(from, MountFrom::Volume(used) if used == name);
                let mut mounts = self.containers.values().flat_map(|found| &found.config.mounts);
                if mounts.any(|mount| is_it(&mount.source)) {
                    return Err(error(DriverErrorKind::Conflict, format!("{name} is in use")));
                }
                self.volumes.remove(name);
                Ok(Done::AsAsked)
            }
            Action::CreateNetwork { name, spec, labels } => {
                let network = Key::new(label(labels, "project")?, label(labels, "network")?);
                let spec = (**spec).clone();
                self.networks
                    .insert(name.clone(), ObservedNetwork { network, spec, copies: Vec::new() });
                Ok(Done::AsAsked)
            }
            Action::RemoveNetwork { name } => {
                let is_on = |found: &ObservedContainer| found.config.attachments.contains_key(name);
                if self.containers.values().any(is_on) {
                    return Err(error(DriverErrorKind::Conflict, format!("{name} is in use")));
                }
                self.networks.remove(name);
                Ok(Done::AsAsked)
            }
            Action::RemoveCopy { id } => {
                for network in self.networks.values_mut() {
                    network.copies.retain(|copy| copy != id);
                }
                Ok(Done::AsAsked)
            }
            Action::ConnectNetwork { container, network, attachment } => {
                self.attach(container, network, Some(attachment))
            }
            Action::DisconnectNetwork { container, network } => {
                self.attach(container, network, None)
            }
            Action::PutFiles { container, files: _ } => self.change(container, |_| true),
            Action::SetRules { chain: _, rules } => self.set_rules(rules),
            Action::SetGroup { group, limits } => self.set_group(group, limits),
            Action::SetHosts { .. } if self.refuses_hosts => {
                Err(error(DriverErrorKind::Refused, "it cannot be written".to_owned()))
            }
            Action::SetHosts { container, names } => self.change(container, |found| {
                found.hosts = Some(names.clone());
                true
            }),
            Action::CreateContainer { name, image, config, labels, revision, .. } => {
                if !self.images.contains_key(image) {
                    return Err(error(DriverErrorKind::NotFound, format!("no image {image}")));
                }
                if self.find(name).is_ok() || self.foreign.contains(name) {
                    return Err(error(DriverErrorKind::Conflict, format!("{name} is taken")));
                }
                let mut config = (**config).clone();
                // Older engines take one network with a create.
                config.attachments.retain(|network, _| *network == config.network);
                if self.drops_memory_limits {
                    (config.limits.memory, config.limits.memory_swap) = (0, 0);
                }
                let id = self.new_id();
                let container = ObservedContainer {
                    name: name.clone(),
                    identity: identity(labels, revision)?,
                    state: ContainerState::Created,
                    health: HealthState::None,
                    image: image.clone(),
                    config,
                    address: None,
                    addresses: Default::default(),
                    created_at: now,
                    masked_paths: None,
                    shared_mounts: None,
                    hosts_path: None,
                    hosts: None,
                };
                self.containers.insert(id.clone(), container);
                Ok(Done::Container(id))
            }
            Action::StartContainer { container, .. } => {
                if let Some(port) = self.port_taken(container) {
                    let message = format!("port {port} is already allocated");
                    return Err(error(DriverErrorKind::Refused, message));
                }
                let health = self.health.clone();
                self.change(container, |found| {
                    match found.state {
                        ContainerState::Created | ContainerState::Exited(_) => {
                            found.state = ContainerState::Running { since: now };
                            found.health = checked(&health, found);
                            // Engines write that file anew.
                            found.hosts = Some(HostNames::new());
                        }
                        ContainerState::Running { .. } => {}
                        ContainerState::Paused { .. } | ContainerState::Removing => return false,
                    }
                    true
                })
            }
            Action::UnpauseContainer { container } => self.change(container, |found| {
                let ContainerState::Paused { since } = found.state else { return false };
                found.state = ContainerState::Running { since };
                true
            }),
            Action::StopContainer { container, .. } => self.change(container, |found| {
                match found.state {
                    ContainerState::Running { .. } | ContainerState::Paused { .. } => {
                        found.state = exited(now, &found.state, 143);
                    }
                    ContainerState::Created
                    | ContainerState::Exited(_)
                    | ContainerState::Removing => {}
                }
                true
            }),
            Action::PauseContainer { container } => self.change(container, |found| {
                let ContainerState::Running { since } = found.state else { return false };
                found.state = ContainerState::Paused { since };
                true
            }),
            Action::UpdateContainer { container, limits, io } => {
                let drops = self.drops_memory_limits;
                self.change(container, |found| {
                    found.config.limits = limits.clone();
                    if limits.cpu_shares == crate::want::CPU_SHARES_USUAL {
                        found.config.limits.cpu_shares = 0;
                    }
                    if drops {
                        (found.config.limits.memory, found.config.limits.memory_swap) = (0, 0);
                    }
                    if let Some(io) = io {
                        let more =
                            MoreConfig { io: (**io).clone(), ..(*found.config.more).clone() };
                        found.config.more = Sparse::new(more);
                    }
                    "no".clone_into(&mut found.config.restart_policy);
                    true
                })
            }
            Action::RenameContainer { container, name } => {
                if self.find(name).is_ok() || self.foreign.contains(name) {
                    return Err(error(DriverErrorKind::Conflict, format!("{name} is taken")));
                }
                self.change(container, |found| {
                    found.name.clone_from(name);
                    true
                })
            }
            Action::RemoveContainer { container, .. } => {
                let id = self.find(container)?;
                self.containers.remove(&id);
                Ok(Done::AsAsked)
            }
        }
    }

    /// Pulls by tag, or by a digest that the registry serves under some tag.
    fn pull(&mut self, reference: &str) -> Result<Done, DriverError> {
        let served = self.registry.iter().find(|(name, content)| {
            let repository = name.split(':').next().unwrap_or(name);
            reference == name.as_str() || reference == pinned(repository, content)
        });
        let Some((name, content)) = served.map(|(name, content)| (name.clone(), content.clone()))
        else {
            let kind = DriverErrorKind::Refused;
            return Err(error(kind, format!("manifest for {reference} not found")));
        };
        let repository = name.split(':').next().unwrap_or(&name);
        let digest = pinned(repository, &content);
        // A pull by digest leaves tags alone.
        let tag = if reference.contains('@') { "" } else { name.as_str() };
        Ok(self.hold_image(&content, tag, Some(digest)))
    }

    fn new_id(&mut self) -> ContainerId {
        self.made += 1;
        ContainerId(Digest::of(format!("{} {}", self.id, self.made).as_bytes()).0)
    }

    fn hold_image(&mut self, content: &str, tag: &str, pinned: Option<String>) -> Done {
        let id = ImageId(Arc::from(format!("sha256:{}", Digest::of(content.as_bytes()))));
        let tag: Arc<str> = Arc::from(tag);
        let pinned: Option<Arc<str>> = pinned.map(Arc::from);
        let held = self.images.entry(id.clone()).or_default();
        if let Some(pinned) = &pinned
            && !held.digests.contains(pinned)
        {
            held.digests.push(Arc::clone(pinned));
        }
        if !tag.is_empty() {
            for image in self.images.values_mut() {
                image.tags.retain(|held| *held != tag);
            }
            self.images.entry(id.clone()).or_default().tags.push(tag);
        }
        Done::Image { id, pinned }
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

    /// The host port that a container asks for and another one that runs has.
    fn port_taken(&self, container: &str) -> Option<u16> {
        let id = self.find(container).ok()?;
        let host_ports = |found: &ObservedContainer| -> BTreeSet<(Protocol, u16)> {
            let bound = found.config.ports.iter();
            bound.filter_map(|port| Some((port.protocol, port.host.as_ref()?.port))).collect()
        };
        let asked = host_ports(self.containers.get(&id)?);
        let runs = |found: &ObservedContainer| {
            matches!(found.state, ContainerState::Running { .. } | ContainerState::Paused { .. })
        };
        let others = self.containers.iter().filter(|(at, found)| **at != id && runs(found));
        let mut taken = others.flat_map(|(_, found)| host_ports(found));
        taken.find(|port| asked.contains(port)).map(|(_, port)| port)
    }

    pub(super) fn change(
        &mut self,
        container: &str,
        how: impl FnOnce(&mut ObservedContainer) -> bool,
    ) -> Result<Done, DriverError> {
        let id = self.find(container)?;
        let is_done = self.containers.get_mut(&id).is_some_and(how);
        let conflict = || error(DriverErrorKind::Conflict, "it is in another state".to_owned());
        is_done.then_some(Done::AsAsked).ok_or_else(conflict)
    }
}

/// What the engine's own check says of a container, if it has one.
fn checked(health: &BTreeMap<ReplicaKey, Probed>, container: &ObservedContainer) -> HealthState {
    let has_check = container.config.health.as_ref().is_some_and(|check| !check.exec.is_empty());
    if !has_check {
        return HealthState::None;
    }
    if container.config.env.contains_key(NEVER_WELL) {
        return HealthState::Unhealthy;
    }
    match health.get(&container.identity.replica) {
        None | Some(Probed::Healthy) => HealthState::Healthy,
        Some(Probed::Unhealthy { .. }) => HealthState::Unhealthy,
        Some(Probed::Unknown { .. }) => HealthState::Starting,
    }
}

/// The reference by digest under which the registry serves a content.
fn pinned(repository: &str, content: &str) -> String {
    format!("{repository}@sha256:{}", Digest::of(format!("manifest {content}").as_bytes()))
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
    Name::recorded(text)
        .map_err(|why| error(DriverErrorKind::Refused, format!("label {name}: {why}")))
}

pub(super) fn error(kind: DriverErrorKind, message: String) -> DriverError {
    DriverError { kind, message }
}
