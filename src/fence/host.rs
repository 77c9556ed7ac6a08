//! The process behind an engine's socket: its network, and the files that it sees.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use reconciler::model::fence::Fence;
use rustix::fs::{Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::peer::{Lack, is_of_rights, listener};

/// The longest list of network devices that is read; one takes a line of 120 bytes, and a node has
/// a thousand of them at most.
const DEVICES_BYTES_MAX: u64 = 1 << 20;

/// What is known of rules where a host cannot be had.
pub(super) fn unfenced(lack: Lack) -> Fence {
    let Lack { why: reason, stays } = lack;
    if stays { Fence::Elsewhere { reason } } else { Fence::Unknown { reason } }
}

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
    /// Why it cannot be had.
    pub(super) fn of(socket: &Path, bridges: &[String]) -> Result<Self, Lack> {
        let shown = socket.display();
        let (pid, process) = listener(socket)?;
        // All is read below one open directory: it stays that of one process.
        let open = |path: &str| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            openat(&process, path, flags, Mode::empty()).map(File::from).map_err(|error| {
                let why = format!(
                    "open /proc/{pid}/{path} of the engine at {shown}: {error}; windlass has to be \
                     root on the engine's host"
                );
                Lack { why, stays: is_of_rights(error) }
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
            return Err(Lack::that_stays(format!(
                "the network of process {pid}, which listens on {shown}, does not hold the \
                 engine's bridges ({}): the engine is elsewhere, and windlass has to be where it is",
                bridges.join(", ")
            )));
        }
        Ok(Self { pid, network: open("ns/net")? })
    }

    /// Does something in the engine's network. The thread stays there.
    ///
    /// # Errors
    /// If it may not be entered, and what `work` says.
    pub(super) fn inside<T, E: From<Lack>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let network = self.network.as_fd();
        move_into_link_name_space(network, Some(LinkNameSpaceType::Network)).map_err(|error| {
            let why = format!(
                "enter the network of the engine, process {}: {error}; windlass has to be root on \
                 the engine's host",
                self.pid
            );
            Lack { why, stays: is_of_rights(error) }
        })?;
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

    /// What is known of rules where nothing can be had.
    fn fence(socket: &Path, bridges: &[&str]) -> Fence {
        let bridges: Vec<String> = bridges.iter().map(|name| (*name).to_owned()).collect();
        unfenced(Host::of(socket, &bridges).expect_err("it is no engine's"))
    }

    #[test]
    fn who_is_elsewhere_is_told_from_who_does_not_answer() {
        let room = tempfile::tempdir().expect("a directory");
        let socket = room.path().join("engine.sock");
        assert!(matches!(fence(&socket, &["wdl-x"]), Fence::Unknown { .. }));
        let listener = UnixListener::bind(&socket).expect("a socket");
        let Fence::Elsewhere { reason } = fence(&socket, &["wdl-x"]) else {
            panic!("{listener:?}")
        };
        assert!(reason.contains("the engine is elsewhere"), "{reason}");
        // Where there is nothing to tell by, any process will do.
        let own = i32::try_from(std::process::id()).expect("a number");
        for bridges in [vec![], vec!["wdl-none".to_owned(), "lo".to_owned()]] {
            let host = Host::of(&socket, &bridges).map(|host| host.pid);
            assert!(matches!(host, Ok(pid) if pid == own) || !rustix::process::geteuid().is_root());
        }
    }
}
