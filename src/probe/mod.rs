//! Asks containers how they are: HTTP and TCP checks, at each container's own address.
//!
//! Where windlass is on the node's host, and may, it asks from inside the container's network
//! ([`namespace`]), so that bridges without a way in, containers without a network, and engines with
//! networks of their own are reached alike. Else it asks from where it is, and then an answer that
//! does not come says nothing, unless another container of that node was reached before. [`ask`]
//! holds the two protocols.

mod ask;
mod namespace;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reconciler::model::health::{Probe, ProbeAt, Probed};
use reconciler::model::ids::{ContainerId, Name};
use reconciler::model::spec::HealthProbe;
use reconciler::ports::{Driver, Prober};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use self::ask::Failure;
use self::namespace::{Maker, Namespace};

/// Probes at once. Each holds a file or two, of which a process usually has 1,024; and so many can
/// hang until their timeouts before others have to wait for them.
const PROBES_AT_ONCE_MAX: usize = 256;

/// Process ids that are remembered. Forgetting them costs one question to the engine each.
const PIDS_MAX: usize = 20_000;

/// A container whose process is not on this host is looked for again after this long, unless others
/// of its node are here: a process that had just ended looks the same.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Asks containers how they are.
#[derive(Debug)]
pub struct Probes {
    places: Semaphore,
    maker: Maker,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    processes: BTreeMap<(Name, ContainerId), Process>,
    /// Nodes of which a process was found on this host.
    here: BTreeSet<Name>,
    /// Nodes of which a container was reached from outside.
    reached: BTreeSet<Name>,
}

/// The first process of a container, as its engine told.
#[derive(Debug, Clone, Copy)]
struct Process {
    pid: u32,
    is_here: bool,
    asked_at: Instant,
}

/// Why there is no socket in a container's network.
#[derive(Debug)]
enum NoWay {
    /// It ended, or is another process by now: its next run is asked anew.
    Ended,
    /// Windlass is elsewhere, or may not go in; why, in words.
    Outside(String),
}

impl From<io::Error> for NoWay {
    fn from(error: io::Error) -> Self {
        Self::Outside(if error.kind() == io::ErrorKind::PermissionDenied {
            "windlass may not enter networks".to_owned()
        } else {
            error.to_string()
        })
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            places: Semaphore::new(PROBES_AT_ONCE_MAX),
            maker: Maker::default(),
            known: Mutex::default(),
        }
    }
}

impl Prober for Probes {
    fn probe<'a>(
        &'a self,
        driver: &'a dyn Driver,
        node: &'a Name,
        container: &'a ContainerId,
        probe: &'a Probe,
    ) -> Pin<Box<dyn Future<Output = Probed> + Send + 'a>> {
        Box::pin(self.ask(driver, node, container, probe))
    }
}

impl Probes {
    async fn ask(
        &self,
        driver: &dyn Driver,
        node: &Name,
        container: &ContainerId,
        probe: &Probe,
    ) -> Probed {
        // It is never closed.
        let _place = self.places.acquire().await;
        let port = match &probe.check {
            HealthProbe::Http { port, path: _ } | HealthProbe::Tcp { port } => *port,
            HealthProbe::Exec(_) => return unknown("the engine runs commands, and tells of them"),
        };
        let own = match &probe.at {
            ProbeAt::Own(text) => match text.parse::<IpAddr>() {
                Ok(address) => Some(address),
                Err(_) => return unknown(format!("its address `{text}` cannot be read")),
            },
            ProbeAt::Node | ProbeAt::Inside => None,
        };
        let address = SocketAddr::new(own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port);
        match self.inside(driver, node, container, address).await {
            Ok(socket) => match ask::ask(socket, address, probe).await {
                Ok(()) => Probed::Healthy,
                Err(failure) => Probed::Unhealthy { reason: failure.about(probe) },
            },
            Err(NoWay::Ended) => unknown("it has just ended"),
            Err(NoWay::Outside(why)) if own.is_none() => unknown(format!(
                "it can only be asked on its node ({why}); run windlass there, as root"
            )),
            Err(NoWay::Outside(why)) => self.outside(node, address, probe, &why).await,
        }
    }

    /// Asks from where we are.
    async fn outside(
        &self,
        node: &Name,
        address: SocketAddr,
        probe: &Probe,
        why_not_inside: &str,
    ) -> Probed {
        let socket = match socket_for(address) {
            Ok(socket) => socket,
            Err(error) => return unknown(format!("no socket: {error}")),
        };
        let failure = match ask::ask(socket, address, probe).await {
            Ok(()) => {
                self.known().reached.insert(node.clone());
                return Probed::Healthy;
            }
            Err(failure) => failure,
        };
        let says_something = match &failure {
            Failure::Answer(_) => {
                self.known().reached.insert(node.clone());
                true
            }
            Failure::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => true,
            Failure::Connect(_) | Failure::NoAnswer(_) => self.known().reached.contains(node),
        };
        let reason = failure.about(probe);
        if says_something {
            return Probed::Unhealthy { reason };
        }
        unknown(format!("{reason}; and its network cannot be entered ({why_not_inside})"))
    }

    /// A socket in the container's network.
    ///
    /// # Errors
    /// Why there is none.
    async fn inside(
        &self,
        driver: &dyn Driver,
        node: &Name,
        container: &ContainerId,
        address: SocketAddr,
    ) -> Result<TcpSocket, NoWay> {
        let namespace = self.namespace(driver, node, container).await?;
        if namespace.is_ours() {
            return socket_for(address).map_err(NoWay::from);
        }
        Ok(self.maker.socket(namespace, address).await?)
    }

    async fn namespace(
        &self,
        driver: &dyn Driver,
        node: &Name,
        container: &ContainerId,
    ) -> Result<Namespace, NoWay> {
        let elsewhere = || NoWay::Outside("its process is not on this host".to_owned());
        let place = (node.clone(), container.clone());
        let known = self.known().processes.get(&place).copied();
        if let Some(Process { pid, is_here, asked_at }) = known {
            if !is_here && asked_at.elapsed() < LOOK_AGAIN_AFTER {
                return Err(elsewhere());
            }
            if let Some(found) = Namespace::of(pid, container)? {
                return Ok(found);
            }
        }
        // Not asked yet, or it is another process by now.
        let asked_at = Instant::now();
        let told = driver.pid(&container.0).await;
        let pid = told.map_err(|error| NoWay::Outside(error.message))?.ok_or(NoWay::Ended)?;
        let found = Namespace::of(pid, container).transpose();
        let is_here = {
            let mut known = self.known();
            if found.is_some() {
                known.here.insert(node.clone());
            }
            let is_here = known.here.contains(node);
            if known.processes.len() >= PIDS_MAX {
                known.processes.clear();
            }
            known.processes.insert(place, Process { pid, is_here, asked_at });
            is_here
        };
        match found {
            Some(found) => Ok(found?),
            None if is_here => Err(NoWay::Ended),
            None => Err(elsewhere()),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing that holds the lock can panic half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(reason: impl Into<String>) -> Probed {
    Probed::Unknown { reason: reason.into() }
}

fn socket_for(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}
