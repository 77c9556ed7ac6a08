//! What may talk to what, put in force on the node's own host: packet rules between the networks of
//! projects, and the names in containers' hosts files.
//!
//! [`Fenced`] stands before a node's driver. What the engine has no word for it sees and does
//! itself, where it can: [`host`] finds the engine's process and its network, [`rules`] knows how
//! rules are written, [`tables`] runs the tools that hold them, [`ear`] hears of changes that
//! another hand makes, [`hosts`] writes names. Everything else goes on to the driver.

mod ear;
mod host;
mod hosts;
mod rules;
mod tables;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reconciler::model::fence::{Fence, HostNames, Rules, chain};
use reconciler::model::ids::{ContainerId, Key, OwnerId};
use reconciler::model::observed::{ContainerState, NodeListing, ObservedContainer};
use reconciler::model::spec::Endpoint;
use reconciler::plan::bridge;
use reconciler::ports::{Answer, Done, Driver, DriverError, DriverErrorKind, NodeEvent, Progress};
use reconciler::step::Action;
use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::time::Instant;

use self::ear::Ear;
use self::host::{Host, unfenced};

/// How long all of one look or change may take: the tools need milliseconds, and wait for others
/// who use them as long as [`tables::LOCK_WAIT_S`] says.
const DEADLINE: Duration = Duration::from_secs(15);

/// A command that looks once, or does one thing, has ended by then, without a process for nothing.
const LISTEN_AFTER: Duration = Duration::from_secs(1);

/// A driver whose node is fenced.
pub struct Fenced {
    inner: Arc<dyn Driver>,
    socket: PathBuf,
    /// The bridges that the last list found. Each list says so anew.
    bridges: watch::Sender<Vec<String>>,
    /// What the loop knows of the rules, and when they were looked at for that.
    known: Mutex<Option<(Fence, Instant)>>,
    /// Held while rules are set: what is seen in the middle of that says nothing.
    setting: tokio::sync::Mutex<()>,
}

impl Fenced {
    /// Fences the node that `inner` drives, whose engine listens at `endpoint`.
    #[must_use]
    pub fn new(inner: Arc<dyn Driver>, endpoint: &Endpoint) -> Self {
        let Endpoint::Unix(path) = endpoint;
        Self {
            inner,
            socket: PathBuf::from(path),
            bridges: watch::Sender::new(Vec::new()),
            known: Mutex::new(None),
            setting: tokio::sync::Mutex::new(()),
        }
    }

    async fn list(&self, owner: &OwnerId) -> Result<NodeListing, DriverError> {
        let mut listing = self.inner.list(owner).await?;
        let bridges: Vec<String> =
            listing.networks.values().filter_map(bridge).map(str::to_owned).collect();
        if bridges.is_empty() {
            self.bridges.send_replace(bridges);
            return Ok(listing);
        }
        let files: Vec<(ContainerId, Arc<str>)> = listing
            .containers
            .iter()
            .filter_map(|(id, container)| Some((id.clone(), hosts_path(container)?)))
            .collect();
        let (socket, chain, asked_at) = (self.socket.clone(), chain(owner), Instant::now());
        let named = bridges.clone();
        let looked = apart(move || {
            let host = match Host::of(&socket, &named) {
                Ok(host) => host,
                Err(lack) => return (unfenced(lack), Vec::new()),
            };
            let names = files.into_iter().map(|(id, path)| (id, hosts::read(&host, &path)));
            let names: Vec<_> = names.collect();
            let looked = host.inside(|| tables::look(&chain).map_err(tables::lack));
            (looked.unwrap_or_else(unfenced), names)
        });
        match looked.await {
            Ok((fence, names)) => {
                listing.fence = fence;
                for (id, names) in names {
                    if let Some(container) = listing.containers.get_mut(&id) {
                        container.hosts = names;
                    }
                }
            }
            Err(reason) => listing.fence = Fence::Unknown { reason },
        }
        self.know(listing.fence.clone(), asked_at);
        self.bridges.send_replace(bridges);
        Ok(listing)
    }

    fn known(&self) -> Option<(Fence, Instant)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn know(&self, fence: Fence, asked_at: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((fence, asked_at));
    }

    /// Tells `sink` when rules are no longer those that the loop knows. It looks at rules only, so
    /// the engine is asked nothing.
    async fn guard(&self, owner: &OwnerId, sink: &(dyn Fn(NodeEvent) + Send + Sync)) -> ! {
        let chain = chain(owner);
        let mut bridges = self.bridges.subscribe();
        loop {
            tokio::time::sleep(LISTEN_AFTER).await;
            let named = bridges.borrow_and_update().clone();
            if !named.is_empty()
                && let Some((host, ear)) = self.listen(&chain, named).await
            {
                // What changed before it listened.
                self.look_again(&host, &chain, Instant::now(), sink).await;
                while !bridges.borrow_and_update().is_empty() {
                    let heard_at = ear.hear().await;
                    self.look_again(&host, &chain, heard_at, sink).await;
                }
            }
            // With the next list things may be otherwise. The sender is a part of `self`.
            let _ = bridges.changed().await;
        }
    }

    async fn listen(&self, chain: &str, bridges: Vec<String>) -> Option<(Arc<Host>, Ear)> {
        let socket = self.socket.clone();
        let opened = apart(move || {
            let host = Host::of(&socket, &bridges)?;
            let socket = host.inside(|| match tables::are_told_of()? {
                true => ear::socket().map(Some).map_err(|error| error.to_string()),
                false => Ok(None),
            })?;
            Ok::<_, String>((Arc::new(host), socket))
        });
        let (host, socket) = opened.await.and_then(|opened| opened).ok()?;
        let Some(socket) = socket else { return Some((host, Ear::Deaf)) };
        let socket = UnixDatagram::from_std(socket).ok()?;
        Some((host, Ear::Told { socket, chains: tables::chains(chain) }))
    }

    async fn look_again(
        &self,
        host: &Arc<Host>,
        chain: &str,
        heard_at: Instant,
        sink: &(dyn Fn(NodeEvent) + Send + Sync),
    ) {
        let _settled = self.setting.lock().await;
        if self.known().is_some_and(|(_, asked_at)| asked_at > heard_at) {
            return;
        }
        let (host, chain) = (Arc::clone(host), chain.to_owned());
        let looked = apart(move || {
            let looked = host.inside(|| tables::look(&chain).map_err(tables::lack));
            looked.unwrap_or_else(unfenced)
        });
        let fence = looked.await.unwrap_or_else(|reason| Fence::Unknown { reason });
        if self.known().is_some_and(|(known, _)| known != fence) {
            sink(NodeEvent::Rules);
        }
    }

    async fn inspect(
        &self,
        owner: &OwnerId,
        container: &str,
    ) -> Result<Option<(ContainerId, ObservedContainer)>, DriverError> {
        let mut found = self.inner.inspect(owner, container).await?;
        if let Some((_, container)) = &mut found
            && let Some(path) = hosts_path(container)
        {
            let socket = self.socket.clone();
            let read = apart(move || {
                let host = Host::of(&socket, &[]).ok()?;
                hosts::read(&host, &path)
            });
            container.hosts = read.await.unwrap_or_default();
        }
        Ok(found)
    }

    async fn execute(
        &self,
        action: &Action,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Done, DriverError> {
        if let Action::SetRules { chain, rules } = action {
            let done = self.set_rules(chain, rules).await;
            done.map_err(|why| refused(format!("set rules: {why}")))?;
            return Ok(Done::AsAsked);
        }
        if let Action::SetHosts { container, names } = action {
            let done = self.set_hosts(container, names).await;
            done.map_err(|why| refused(format!("set hosts of container {container}: {why}")))?;
            return Ok(Done::AsAsked);
        }
        self.inner.execute(action, progress).await
    }

    async fn set_rules(&self, chain: &str, rules: &Rules) -> Result<(), String> {
        let (socket, chain, rules) = (self.socket.clone(), chain.to_owned(), rules.clone());
        let bridges: Vec<String> = rules.closed.iter().map(ToString::to_string).collect();
        let expected = Fence::InForce { rules: rules.clone(), intact: true };
        let _setting = self.setting.lock().await;
        let leads = match self.known() {
            Some((Fence::InForce { rules, intact }, _)) => intact && !rules.is_empty(),
            Some((Fence::Unknown { .. } | Fence::Elsewhere { .. }, _)) | None => false,
        };
        apart(move || {
            let host = Host::of(&socket, &bridges)?;
            host.inside(|| tables::set(&chain, &rules, leads))
        })
        .await??;
        // A list follows, and sees what another hand changed until then.
        self.know(expected, Instant::now());
        Ok(())
    }

    async fn set_hosts(&self, container: &str, names: &HostNames) -> Result<(), String> {
        let path = self.inner.hosts_path(container).await.map_err(|error| error.to_string())?;
        let path = path.ok_or("its engine does not say where its hosts file is")?;
        let (socket, names) = (self.socket.clone(), names.clone());
        apart(move || {
            let host = Host::of(&socket, &[])?;
            hosts::write(&host, &path, &names)
                .map_err(|error| format!("write {}: {error}", Path::new(&*path).display()))
        })
        .await?
    }
}

/// Where the hosts file of a container is, if it runs on its project's own network.
fn hosts_path(container: &ObservedContainer) -> Option<Arc<str>> {
    let runs =
        matches!(container.state, ContainerState::Running { .. } | ContainerState::Paused { .. });
    let own = Key::own_network(&container.identity.replica.instance.project);
    let is_on = container.config.attachments.contains_key(&own.engine_name());
    container.hosts_path.clone().filter(|_| runs && is_on)
}

/// Does something on a thread of its own, which goes where it likes and does not come back.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (sender, done) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("fence".to_owned())
        .spawn(move || {
            // Whoever asked may have stopped waiting.
            let _ = sender.send(work());
        })
        .map_err(|error| format!("no thread could be started: {error}"))?;
    match tokio::time::timeout(DEADLINE, done).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err("the thread that does it has ended".to_owned()),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

fn refused(message: String) -> DriverError {
    DriverError { kind: DriverErrorKind::Refused, message }
}

impl Driver for Fenced {
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
                never = self.guard(owner, sink) => never,
            }
        })
    }

    crate::pass_on::pass_on!();
}
