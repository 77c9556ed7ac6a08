//! A driver whose node's kernel is in reach.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reconciler::model::groups::{GroupLimits, Groups};
use reconciler::model::ids::{ContainerId, OwnerId, ReplicaKey};
use reconciler::model::observed::{
    CgroupDriver, ContainerState, Limits, MoreConfig, NodeListing, ObservedContainer,
};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{BlockIo, Endpoint};
use reconciler::ports::{Answer, Done, Driver, DriverError, DriverErrorKind, NodeEvent, Progress};
use reconciler::step::Action;
use tokio::sync::Notify;

use super::ear::{Ear, Whose};
use super::files::{Above, Group, Refused};
use super::hierarchy::{Hierarchy, Version, container_group, parent_group};
use super::limits;
use super::reach::{outer, reach};
use super::remains::{self, EMPTY_FOR};
use crate::peer::Lack;

/// A command that looks once, or does one thing, has ended by then.
const LISTEN_AFTER: Duration = Duration::from_secs(1);

/// A driver that reads and sets what the kernel holds its containers to.
pub struct Governed {
    inner: Arc<dyn Driver>,
    socket: PathBuf,
    known: Mutex<Known>,
    /// Says that there are other groups to listen to.
    others: Notify,
}

/// What is remembered from one call to the next.
#[derive(Default)]
struct Known {
    /// Who makes the groups of this engine.
    driver: Option<CgroupDriver>,
    /// The groups of projects that were asked about, by the name that containers are told, and their
    /// rates of block devices as they were told.
    groups: BTreeMap<Arc<str>, Sparse<BlockIo>>,
    /// The parent of each container that was seen, by its id.
    parents: BTreeMap<ContainerId, Arc<str>>,
    /// What the loop was told of each that runs.
    told: BTreeMap<ContainerId, Told>,
    /// What the loop was told of projects.
    told_groups: Option<Groups>,
    /// Rates that the kernel was told in place of those that the engine knows.
    rates: BTreeMap<ContainerId, BlockIo>,
}

/// What the loop was told of a container.
struct Told {
    replica: ReplicaKey,
    /// As its engine was told.
    configured: Limits,
    limits: Limits,
    io: BlockIo,
}

impl Told {
    fn has_rates(&self) -> bool {
        self.io != BlockIo::default()
    }
}

/// Where a container's group is.
struct Place<'p> {
    trees: &'p Hierarchy,
    driver: CgroupDriver,
    /// Its parent, if that is open.
    above: Option<&'p Above>,
}

impl Governed {
    /// Stands before `inner`, whose engine listens at `endpoint`.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, endpoint: &Endpoint) -> Self {
        let Endpoint::Unix(path) = endpoint;
        Self { inner, socket: PathBuf::from(path), known: Mutex::default(), others: Notify::new() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn list(&self, owner: &OwnerId) -> Result<NodeListing, DriverError> {
        let mut listing = self.inner.list(owner).await?;
        let driver = listing.engine.cgroup_driver;
        let trees = match reach(&self.socket, driver) {
            Ok(trees) => trees,
            Err(Lack { why: reason, stays }) => {
                listing.groups =
                    if stays { Groups::Elsewhere { reason } } else { Groups::Unknown { reason } };
                return Ok(listing);
            }
        };
        let mut known = self.known();
        known.driver = Some(driver);
        known.parents.retain(|id, _| listing.containers.contains_key(id));
        known.rates.retain(|id, _| listing.containers.contains_key(id));
        known.told.retain(|id, _| listing.containers.contains_key(id));
        let mut above: BTreeMap<String, Above> = BTreeMap::new();
        for (id, container) in &mut listing.containers {
            let parent = &container.config.cgroup_parent;
            if !above.contains_key(parent) {
                let open = Above::open(&trees, &parent_group(parent, driver));
                above.insert(parent.clone(), open);
            }
            let above = above.get(parent);
            known.look(&Place { trees: &trees, driver, above }, id, container);
        }
        listing.groups = known.read_groups(&trees, driver);
        known.told_groups = Some(listing.groups.clone());
        self.others.notify_one();
        Ok(listing)
    }

    async fn inspect(
        &self,
        owner: &OwnerId,
        container: &str,
    ) -> Result<Option<(ContainerId, ObservedContainer)>, DriverError> {
        let mut found = self.inner.inspect(owner, container).await?;
        let driver = self.known().driver;
        if let (Some((id, container)), Some(driver)) = (&mut found, driver)
            && let Ok(trees) = Hierarchy::of_host()
        {
            self.known().look(&Place { trees: &trees, driver, above: None }, id, container);
            self.others.notify_one();
        }
        Ok(found)
    }

    async fn execute(
        &self,
        action: &Action,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Done, DriverError> {
        if let Action::SetGroup { group, limits } = action {
            self.set_group(group, limits).map_err(|refused| {
                failed(refused, &format!("set the quota of control group {group}"))
            })?;
            return Ok(Done::AsAsked);
        }
        if let Action::UpdateContainer { container, limits, io } = action {
            self.check_room(container, limits)?;
            let done = self.inner.execute(action, progress).await;
            return self.update(container, limits, io.as_deref(), done);
        }
        self.inner.execute(action, progress).await
    }

    fn set_group(&self, name: &str, limits: &GroupLimits) -> Result<(), Refused> {
        let of_host = |message: String| Refused { message, at_odds: false };
        let unseen = || of_host("who makes its engine's groups was not looked at yet".to_owned());
        let driver = self.known().driver.ok_or_else(unseen)?;
        let trees = reach(&self.socket, driver).map_err(|lack| of_host(lack.why))?;
        let path = parent_group(name, driver);
        let group = Group::new(&trees, &path);
        if limits.is_empty() {
            if group.exists() {
                limits::set_group(&group, limits)?;
                // It stays while anything is in it, and then it limits nothing.
                if trees.remove(&path).is_err() && remains::clear(&trees, &path, EMPTY_FOR) > 0 {
                    let _ = trees.remove(&path);
                }
            }
            self.known().groups.remove(name);
            return Ok(());
        }
        trees.make(&path, &limits::controllers(limits)).map_err(of_host)?;
        if let Err(refused) = limits::set_group(&group, limits) {
            if refused.at_odds {
                // The kernel forgets a group a moment after it was removed, so this helps the next try.
                let _ = remains::clear(&trees, &path, EMPTY_FOR);
            }
            return Err(refused);
        }
        self.known().groups.insert(Arc::from(name), limits.io.clone());
        Ok(())
    }

    /// The group of a container that was seen, if its kernel is in reach.
    fn group_of(&self, container: &str) -> Option<(Hierarchy, String)> {
        let known = self.known();
        let parent = known.parents.get(&ContainerId(Arc::from(container)))?;
        let trees = Hierarchy::of_host().ok()?;
        Some((trees, container_group(parent, known.driver?, container)))
    }

    /// Refuses what would kill.
    fn check_room(&self, container: &str, limits: &Limits) -> Result<(), DriverError> {
        let Some((trees, path)) = self.group_of(container) else { return Ok(()) };
        super::memory::make_room(&Group::new(&trees, &path), limits.memory)
            .map_err(|refused| failed(refused, &format!("update container {container}")))
    }

    /// Tells `sink` when limits are no longer those that the loop knows. It reads files only, so the
    /// engine is asked nothing.
    async fn guard(&self, sink: &(dyn Fn(NodeEvent) + Send + Sync)) -> Infallible {
        tokio::time::sleep(LISTEN_AFTER).await;
        let Ok(mut ear) = Ear::new() else {
            // What another hand writes is seen with the next list.
            return std::future::pending().await;
        };
        loop {
            let heard = tokio::select! {
                heard = ear.hear() => heard,
                () = self.others.notified() => {
                    if let Ok(trees) = Hierarchy::of_host() {
                        ear.listen(&trees, &self.known().groups_to_hear());
                    }
                    continue;
                }
            };
            let Ok(trees) = Hierarchy::of_host() else { continue };
            for whose in heard {
                let event = match whose {
                    Whose::Container(id) => self.known().news_of(&trees, id),
                    Whose::Project => self.known().news_of_projects(&trees),
                };
                if let Some(event) = event {
                    sink(event);
                }
            }
        }
    }

    /// Tells the kernel what the engine did not, once the engine has `done` its part.
    fn update(
        &self,
        container: &str,
        limits: &Limits,
        io: Option<&BlockIo>,
        done: Result<Done, DriverError>,
    ) -> Result<Done, DriverError> {
        let is_final = |error: &DriverError| match error.kind {
            DriverErrorKind::Refused | DriverErrorKind::Conflict => false,
            DriverErrorKind::Unreachable
            | DriverErrorKind::TimedOut
            | DriverErrorKind::NotFound => true,
        };
        if done.as_ref().is_err_and(is_final) {
            return done;
        }
        let Some((trees, path)) = self.group_of(container) else { return done };
        let group = Group::new(&trees, &path);
        if !group.exists() {
            // It does not run. There is nothing to hold, and its engine knows what it was told.
            return done;
        }
        match limits::set_container(&group, limits, io) {
            Ok(()) => {
                if let Some(io) = io {
                    let id = ContainerId(Arc::from(container));
                    self.known().rates.insert(id, io.clone());
                }
                Ok(Done::AsAsked)
            }
            // Where both refuse, the engine's words are about the same thing.
            Err(refused) => Err(done
                .err()
                .unwrap_or_else(|| failed(refused, &format!("update container {container}")))),
        }
    }
}

impl Known {
    /// Puts what the kernel says in the place of what the engine believes, of one that runs.
    fn look(&mut self, place: &Place<'_>, id: &ContainerId, container: &mut ObservedContainer) {
        let Place { trees, driver, above } = *place;
        let parent: Arc<str> = Arc::from(container.config.cgroup_parent.as_str());
        if parent.is_empty() {
            return;
        }
        let runs = matches!(
            container.state,
            ContainerState::Running { .. } | ContainerState::Paused { .. }
        );
        let path = container_group(&parent, driver, &id.0);
        self.groups.entry(Arc::clone(&parent)).or_default();
        self.parents.insert(id.clone(), parent);
        if !runs {
            self.rates.remove(id);
            self.told.remove(id);
            return;
        }
        let group = match above {
            Some(above) => Group::below(trees, above, &path),
            None => Group::new(trees, &path),
        };
        let configured = container.config.limits.clone();
        // What cannot be read now is as the engine says.
        if let Ok(Some(live)) = limits::live(&group, &container.config.limits)
            && live != container.config.limits
        {
            container.config.limits = live;
        }
        let told = self.rates.get(id).unwrap_or(&container.config.more.io);
        // Whoever has no rates gets none unheard, but while nobody listens: four files each are not
        // read for that where many are looked at.
        let is_asked = above.is_none()
            || *told != BlockIo::default()
            || self.told.get(id).is_some_and(Told::has_rates);
        if is_asked
            && let Ok(live) = super::io::live(&group, told)
            && live != container.config.more.io
        {
            let more = MoreConfig { io: live, ..(*container.config.more).clone() };
            container.config.more = Sparse::new(more);
        }
        let told = Told {
            replica: container.identity.replica.clone(),
            configured,
            limits: container.config.limits.clone(),
            io: container.config.more.io.clone(),
        };
        self.told.insert(id.clone(), told);
    }

    /// The groups that limits are in: those of containers that run, and of projects.
    fn groups_to_hear(&self) -> Vec<(String, Whose)> {
        let Some(driver) = self.driver else { return Vec::new() };
        let of = |id: &ContainerId| {
            let parent = self.parents.get(id)?;
            Some((container_group(parent, driver, &id.0), Whose::Container(id.clone())))
        };
        let containers = self.told.keys().filter_map(of);
        let groups = self.groups.keys().map(|name| (parent_group(name, driver), Whose::Project));
        groups.chain(containers).collect()
    }

    /// What the loop does not know yet of a container's limits.
    fn news_of(&self, trees: &Hierarchy, id: ContainerId) -> Option<NodeEvent> {
        let told = self.told.get(&id)?;
        let path = container_group(self.parents.get(&id)?, self.driver?, &id.0);
        let group = Group::new(trees, &path);
        let limits = limits::live(&group, &told.configured).ok()??;
        let io = super::io::live(&group, &told.io).ok()?;
        let replica = Some(told.replica.clone());
        (limits != told.limits || io != told.io).then_some(NodeEvent::Container { id, replica })
    }

    /// What the loop does not know yet of projects' limits.
    fn news_of_projects(&self, trees: &Hierarchy) -> Option<NodeEvent> {
        let found = self.read_groups(trees, self.driver?);
        (self.told_groups.as_ref()? != &found).then_some(NodeEvent::Groups)
    }

    /// What the groups of projects may use, and those around them.
    fn read_groups(&self, trees: &Hierarchy, driver: CgroupDriver) -> Groups {
        let around = |name: &Arc<str>| outer(name, driver);
        let names: BTreeSet<Arc<str>> = self
            .groups
            .keys()
            .flat_map(|name| std::iter::successors(Some(Arc::clone(name)), around))
            .collect();
        let nothing = Sparse::default();
        let mut found = BTreeMap::new();
        for name in names {
            let told = self.groups.get(&name).unwrap_or(&nothing);
            let path = parent_group(&name, driver);
            match limits::read_group(&Group::new(trees, &path), told) {
                Ok(Some(limits)) => {
                    found.insert(name, limits);
                }
                Ok(None) => {}
                Err(error) => {
                    let reason = format!("read control group {path}: {error}");
                    return Groups::Unknown { reason };
                }
            }
        }
        let missing = limits::missing(trees);
        Groups::Read { limits: found, missing, within: trees.version() == Version::One }
    }
}

fn failed(refused: Refused, operation: &str) -> DriverError {
    let Refused { message, at_odds } = refused;
    // Other groups are about to change; the next round tries again at once.
    let kind = if at_odds { DriverErrorKind::Conflict } else { DriverErrorKind::Refused };
    DriverError { kind, message: format!("{operation}: {message}") }
}

impl Driver for Governed {
    fn list<'a>(&'a self, owner: &'a OwnerId) -> Answer<'a, NodeListing> {
        Box::pin(self.list(owner))
    }

    fn inspect<'a>(
        &'a self,
        owner: &'a OwnerId,
        container: &'a str,
    ) -> Answer<'a, Option<(ContainerId, ObservedContainer)>> {
        Box::pin(self.inspect(owner, container))
    }

    fn execute<'a>(
        &'a self,
        action: &'a Action,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Answer<'a, Done> {
        Box::pin(self.execute(action, progress))
    }

    fn watch<'a>(
        &'a self,
        owner: &'a OwnerId,
        sink: &'a (dyn Fn(NodeEvent) + Send + Sync),
    ) -> Pin<Box<dyn Future<Output = DriverError> + Send + 'a>> {
        Box::pin(async move {
            tokio::select! {
                lost = self.inner.watch(owner, sink) => lost,
                never = self.guard(sink) => match never {},
            }
        })
    }

    crate::pass_on::pass_on!();
}
