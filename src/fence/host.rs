//! The process behind an engine's socket: its network, and the files that it sees.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::net::sockopt::socket_peercred;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The longest list of network devices that is read; one takes a line of 120 bytes, and a node has
/// a thousand of them at most.
const DEVICES_BYTES_MAX: u64 = 1 << 20;

/// An engine whose process is on this host.
#[derive(Debug)]
pub(super) struct Host {
    pid: i32,
    network: File,
}

impl Host {
    /// The process that listens on `socket`, if it is in the network that holds one of `bridges`, or
    /// if there are none to tell by.
    ///
    /// # Errors
    /// Why it cannot be had, for people.
    pub(super) fn of(socket: &Path, bridges: &[String]) -> Result<Self, String> {
        let shown = socket.display();
        let stream =
            UnixStream::connect(socket).map_err(|error| format!("connect to {shown}: {error}"))?;
        let peer = socket_peercred(&stream).map_err(|error| match error.raw_os_error() {
            // The kernel has no number for it here, and says so with 0.
            0 => format!(
                "who listens on {shown} is no process that windlass can see; one in a container \
                 has to share the process ids of the engine's host (`--pid=host`)"
            ),
            _ => format!("ask who listens on {shown}: {error}"),
        })?;
        let pid = peer.pid.as_raw_nonzero().get();
        // All is read below one open directory: it stays that of one process.
        let process = File::open(format!("/proc/{pid}"))
            .map_err(|_| format!("who listens on {shown} is no process of this host"))?;
        let open = |path: &str| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            openat(&process, path, flags, Mode::empty()).map(File::from).map_err(|error| {
                format!(
                    "open /proc/{pid}/{path} of the engine at {shown}: {error}; windlass has to be \
                     root on the engine's host"
                )
            })
        };
        let mut devices = String::new();
        open("net/dev")?
            .take(DEVICES_BYTES_MAX)
            .read_to_string(&mut devices)
            .map_err(|error| format!("read /proc/{pid}/net/dev: {error}"))?;
        let has = |bridge: &String| {
            devices
                .lines()
                .filter_map(|line| line.split(':').next())
                .any(|name| name.trim() == bridge)
        };
        if !bridges.is_empty() && !bridges.iter().any(has) {
            return Err(format!(
                "the network of process {pid}, which listens on {shown}, does not hold the \
                 engine's bridges ({}): the engine is elsewhere, and windlass has to be where it is",
                bridges.join(", ")
            ));
        }
        Ok(Self { pid, network: open("ns/net")? })
    }

    /// Does something in the engine's network. The thread stays there.
    ///
    /// # Errors
    /// If it may not be entered, and what `work` says.
    pub(super) fn inside<T>(&self, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
        move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network)).map_err(
            |error| {
                format!(
                    "enter the network of the engine, process {}: {error}; windlass has to be root \
                     on the engine's host",
                    self.pid
                )
            },
        )?;
        work()
    }

    /// A file of the engine, as we see it. Never one of a container: what lies there is its own.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn who_listens_is_the_engine_if_a_bridge_of_ours_is_in_its_network() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("engine.sock");
        let not_there = Host::of(&socket, &[]).expect_err("nobody listens");
        assert!(not_there.contains("connect to"), "{not_there}");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        let own = i32::try_from(std::process::id()).expect("a number");
        for bridges in [vec![], vec!["wdl-none".to_owned(), "lo".to_owned()]] {
            assert_eq!(Host::of(&socket, &bridges).map(|host| host.pid), Ok(own));
        }
        let elsewhere = Host::of(&socket, &["wdl-none".to_owned()]).expect_err("no such bridge");
        assert!(elsewhere.contains("(wdl-none): the engine is elsewhere"), "{elsewhere}");
    }
}
