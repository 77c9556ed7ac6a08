//! The process behind a socket: where an engine is, nobody asks it.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;

/// So often an engine is asked for before a process that is not there counts as one of another host:
/// the first one may just have ended.
const ATTEMPTS: u32 = 2;

/// Why the host of an engine cannot be had.
#[derive(Debug)]
pub(crate) struct Lack {
    /// Why, for people.
    pub(crate) why: String,
    /// Whether that stays so while windlass runs where it does, with the rights that it has.
    pub(crate) stays: bool,
}

impl Lack {
    /// One that stays.
    pub(crate) fn that_stays(why: String) -> Self {
        Self { why, stays: true }
    }
}

/// One that may be over at the next look.
impl From<String> for Lack {
    fn from(why: String) -> Self {
        Self { why, stays: false }
    }
}

impl From<Lack> for String {
    fn from(lack: Lack) -> Self {
        lack.why
    }
}

/// The process that listens on a socket, and its directory.
///
/// # Errors
/// Why there is none.
pub(crate) fn listener(socket: &Path) -> Result<(i32, File), Lack> {
    let shown = socket.display();
    for _ in 0..ATTEMPTS {
        let stream =
            UnixStream::connect(socket).map_err(|error| format!("connect to {shown}: {error}"))?;
        // Nothing but this fails here: seen from another set of process ids it has no number.
        let peer = socket_peercred(&stream).map_err(|_| {
            Lack::that_stays(format!(
                "who listens on {shown} is no process that windlass can see; in a container, \
                 windlass has to share the process ids of the engine's host (`--pid=host`)"
            ))
        })?;
        let pid = peer.pid.as_raw_nonzero().get();
        if let Ok(process) = File::open(format!("/proc/{pid}")) {
            return Ok((pid, process));
        }
    }
    Err(Lack::that_stays(format!("who listens on {shown} is no process of this host")))
}

/// Whether it is the rights of windlass that something fails for.
pub(crate) fn is_of_rights(error: Errno) -> bool {
    matches!(error, Errno::ACCESS | Errno::PERM)
}
