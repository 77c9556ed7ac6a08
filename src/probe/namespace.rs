//! Sockets in the networks of containers.
//!
//! A socket belongs for good to the network in which it was made. So one thread goes into a
//! container's network, makes a socket there, and comes back; whoever asked for it uses it from
//! anywhere. Only that thread ever moves.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError, mpsc};

use reconciler::model::ids::ContainerId;
use rustix::fs::{Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;

/// The longest list of control groups that is read of a process; a line is a path each, and version
/// 1 has a dozen of them.
const CGROUPS_BYTES_MAX: u64 = 64 << 10;

/// The network of the thread that looks.
const OUR_NETWORK: &str = "/proc/thread-self/ns/net";

/// A container's network.
#[derive(Debug)]
pub(super) struct Namespace(File);

impl Namespace {
    /// The network of process `pid`, if that is a process of `container`: its control group says so,
    /// whose name ends with the container's id. `None` if it is not, or there is no such process
    /// here: another kernel counts its own.
    ///
    /// # Errors
    /// It is one, and its network may not be had.
    pub(super) fn of(pid: u32, container: &ContainerId) -> io::Result<Option<Self>> {
        // All is read below one open directory: it stays that of one process, whoever gets the
        // number afterwards.
        let Ok(process) = File::open(format!("/proc/{pid}")) else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(cgroups) = openat(&process, "cgroup", flags, Mode::empty()) else {
            return Ok(None);
        };
        let mut text = String::new();
        if File::from(cgroups).take(CGROUPS_BYTES_MAX).read_to_string(&mut text).is_err()
            || container.0.is_empty()
            || !text.contains(&*container.0)
        {
            return Ok(None);
        }
        let network = openat(&process, "ns/net", flags, Mode::empty())?;
        Ok(Some(Self(File::from(network))))
    }

    /// Whether it is the one that we are in anyway, as on the host's network.
    pub(super) fn is_ours(&self) -> bool {
        let same = || {
            let (theirs, ours) = (self.0.metadata().ok()?, File::open(OUR_NETWORK).ok()?);
            let ours = ours.metadata().ok()?;
            Some((theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()))
        };
        same().unwrap_or(false)
    }
}

/// A socket that is wanted.
struct Wanted {
    network: Namespace,
    address: SocketAddr,
    answer: oneshot::Sender<io::Result<TcpSocket>>,
}

/// The thread that makes sockets; started when the first one is wanted.
#[derive(Debug, Default)]
pub(super) struct Maker(Mutex<Option<mpsc::Sender<Wanted>>>);

impl Maker {
    /// Makes a socket for connecting to `address` in a network.
    ///
    /// # Errors
    /// If the network may not be entered, or no socket can be made.
    pub(super) async fn socket(
        &self,
        network: Namespace,
        address: SocketAddr,
    ) -> io::Result<TcpSocket> {
        let (answer, made) = oneshot::channel();
        self.send(Wanted { network, address, answer })?;
        made.await.map_err(|_| io::Error::other("the thread that enters networks has ended"))?
    }

    fn send(&self, wanted: Wanted) -> io::Result<()> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = match sender.as_ref() {
            Some(to) => match to.send(wanted) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(wanted)) => wanted,
            },
            None => wanted,
        };
        // None yet, or it could not come back from where it went.
        let (to, all) = mpsc::channel();
        let ours = File::open(OUR_NETWORK)?;
        std::thread::Builder::new().name("networks".to_owned()).spawn(move || make(&ours, &all))?;
        let sent = to.send(wanted);
        *sender = Some(to);
        sent.map_err(|_| io::Error::other("the thread that enters networks has ended"))
    }
}

/// Makes sockets for as long as somebody may want one.
fn make(ours: &File, all: &mpsc::Receiver<Wanted>) {
    for Wanted { network, address, answer } in all {
        let made = enter(&network.0).and_then(|()| super::socket_for(address));
        let back = enter(ours);
        // Whoever asked may have stopped waiting.
        let _ = answer.send(made);
        if back.is_err() {
            // Nobody else is to be asked from in there. The next one gets another thread.
            return;
        }
    }
}

fn enter(network: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_another_container_is_not_entered() {
        let me = std::process::id();
        let stranger = ContainerId("c0ffee".repeat(10).into());
        assert!(Namespace::of(me, &stranger).unwrap().is_none());
        assert!(Namespace::of(me, &ContainerId("".into())).unwrap().is_none());
        // No process has this number: Linux counts to 2²² at most.
        assert!(Namespace::of(u32::MAX, &stranger).unwrap().is_none());
    }

    #[test]
    fn our_own_network_is_known() {
        let ours = Namespace(File::open("/proc/self/ns/net").unwrap());
        assert!(ours.is_ours());
        let other = Namespace(File::open("/proc/self/ns/uts").unwrap());
        assert!(!other.is_ours());
    }
}
