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
        let Some(pid) = told.map_err(|error| NoWay::Outside(error.message))? else {
            let is_here = self.known().here.contains(node);
            let silent = "its engine does not say which process it is".to_owned();
            return Err(if is_here { NoWay::Ended } else { NoWay::Outside(silent) });
        };
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

#[cfg(test)]
mod tests {
    use reconciler::model::ids::OwnerId;
    use reconciler::model::observed::{NodeListing, ObservedContainer};
    use reconciler::model::quantity::Span;
    use reconciler::ports::{
        Answer, Done, DriverError, ExecCommand, ExecEnd, ExecTalk, Inside, LogLine, LogQuery,
        NodeEvent, Progress, Usage,
    };
    use reconciler::step::Action;
    use tokio::net::TcpListener;

    use super::*;

    /// An engine that only tells of processes.
    struct Tells(Option<u32>);

    impl Driver for Tells {
        fn list<'a>(&'a self, _: &'a OwnerId) -> Answer<'a, NodeListing> {
            unreachable!("probes do not list")
        }

        fn inspect<'a>(
            &'a self,
            _: &'a OwnerId,
            _: &'a str,
        ) -> Answer<'a, Option<(ContainerId, ObservedContainer)>> {
            unreachable!("probes do not look")
        }

        fn execute<'a>(
            &'a self,
            _: &'a Action,
            _: &'a (dyn Fn(Progress) + Send + Sync),
        ) -> Answer<'a, Done> {
            unreachable!("probes change nothing")
        }

        fn watch<'a>(
            &'a self,
            _: &'a OwnerId,
            _: &'a (dyn Fn(NodeEvent) + Send + Sync),
        ) -> Pin<Box<dyn Future<Output = DriverError> + Send + 'a>> {
            unreachable!("probes do not listen")
        }

        fn pid<'a>(&'a self, _: &'a str) -> Answer<'a, Option<u32>> {
            Box::pin(async { Ok(self.0) })
        }

        fn logs<'a>(
            &'a self,
            _: &'a str,
            _: LogQuery,
            _: &'a (dyn Fn(LogLine) + Send + Sync),
        ) -> Answer<'a, ()> {
            unreachable!("probes do not read")
        }

        fn exec<'a>(
            &'a self,
            _: &'a str,
            _: &'a ExecCommand,
            _: &'a dyn ExecTalk,
        ) -> Answer<'a, ExecEnd> {
            unreachable!("probes run nothing")
        }

        fn usage<'a>(&'a self, _: &'a str) -> Answer<'a, Usage> {
            unreachable!("probes do not measure")
        }

        fn inside<'a>(&'a self, _: &'a str) -> Answer<'a, Inside> {
            unreachable!("probes look at nothing else")
        }
    }

    fn tcp(at: ProbeAt, port: u16) -> Probe {
        Probe { check: HealthProbe::Tcp { port }, at, timeout: Span::seconds(20) }
    }

    async fn ask(probes: &Probes, pid: Option<u32>, probe: &Probe) -> Probed {
        let node = Name::new("far").expect("a name");
        let container = ContainerId("c0ffee".repeat(10).into());
        probes.probe(&Tells(pid), &node, &container, probe).await
    }

    #[tokio::test]
    async fn from_outside_silence_says_nothing_until_somebody_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let here = || ProbeAt::Own("127.0.0.1".to_owned());
        // A way to nobody, for which nothing is sent: no connection goes to a group.
        let nowhere = || ProbeAt::Own("224.0.0.1".to_owned());
        let unknown = |found: &Probed, why: &str| {
            assert!(
                matches!(found, Probed::Unknown { reason } if reason.contains(why)),
                "{found:?}"
            );
        };
        // The process with that number is one of somebody else: of this test.
        let stranger = Some(std::process::id());
        let probes = Probes::default();
        let inside = ask(&probes, stranger, &tcp(ProbeAt::Inside, port)).await;
        unknown(&inside, "its process is not on this host");
        unknown(&ask(&probes, stranger, &tcp(ProbeAt::Node, port)).await, "run windlass there");
        let silent = ask(&probes, stranger, &tcp(nowhere(), port)).await;
        unknown(&silent, "its process is not on this host");
        assert_eq!(ask(&probes, stranger, &tcp(here(), port)).await, Probed::Healthy);
        // Now it is known that there is a way.
        let silent = ask(&probes, stranger, &tcp(nowhere(), port)).await;
        assert!(matches!(silent, Probed::Unhealthy { .. }), "{silent:?}");
        drop(listener);
        let refused = ask(&Probes::default(), None, &tcp(here(), port)).await;
        assert!(matches!(refused, Probed::Unhealthy { .. }), "{refused:?}");
    }
}
