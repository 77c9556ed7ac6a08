//! Hears of changes of packet rules. What is heard is a hint to look, and no more.
//!
//! The tools that keep rules in nf_tables have the kernel tell everybody of each change, within its
//! network. The older ones tell nobody: there the tables are read every few seconds.

use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::time::Duration;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;
use tokio::time::Instant;

/// The kernel's group number 7 (`NFNLGRP_NFTABLES`), as a bit of the mask that is bound to.
const CHANGES: u32 = 1 << 6;

/// Longer than any message: the kernel sends what fits into two pages.
const MESSAGE_BYTES_MAX: usize = 32 << 10;

/// Changes come in bursts, since each run of the tools is one: after so long without another one
/// they are taken for over.
const QUIET: Duration = Duration::from_millis(20);

/// But nobody waits longer than this for them to be over.
const BURST_MAX: Duration = Duration::from_millis(200);

/// How often tables are read of which nobody tells: a reading costs a process of 2 ms, and no call
/// of an engine.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who hears of changes.
#[derive(Debug)]
pub(super) enum Ear {
    /// The kernel tells of them.
    Told {
        /// Where it does.
        socket: UnixDatagram,
        /// Chains whose changes matter.
        chains: [String; 2],
    },
    /// Nobody tells.
    Deaf,
}

/// A socket that the kernel tells of changes, in the network in which the thread is.
///
/// # Errors
/// What the kernel said.
pub(super) fn socket() -> io::Result<StdDatagram> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
    bind(&socket, &SocketAddrNetlink::new(0, CHANGES))?;
    // It is none of that family, but messages are received from it in the very same way, and this
    // is a type that can be waited for.
    Ok(StdDatagram::from(socket))
}

impl Ear {
    /// Waits until there may have been a change, and nothing more comes. Says when the last one
    /// came.
    pub(super) async fn hear(&self) -> Instant {
        let Self::Told { socket, chains } = self else {
            tokio::time::sleep(LOOK_EVERY).await;
            return Instant::now();
        };
        while !matter(socket, chains).await {}
        let (first, mut last) = (Instant::now(), Instant::now());
        while let Ok(more) = tokio::time::timeout(QUIET, matter(socket, chains)).await {
            if more {
                last = Instant::now();
            }
            if first.elapsed() > BURST_MAX {
                break;
            }
        }
        last
    }
}

/// Waits for one message. Whether it may be about one of these chains.
async fn matter(socket: &UnixDatagram, chains: &[String; 2]) -> bool {
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    match socket.recv(&mut message).await {
        Ok(length) if length < MESSAGE_BYTES_MAX => {
            chains.iter().any(|chain| is_about(&message[..length], chain))
        }
        // It may be longer. Or messages came faster than they were read (`ENOBUFS`), and are lost.
        Ok(_) | Err(_) => true,
    }
}

/// Whether a message names a chain. All names in it end with a zero.
fn is_about(message: &[u8], chain: &str) -> bool {
    let mut name = chain.as_bytes().to_vec();
    name.push(0);
    message.windows(name.len()).any(|window| window == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_about_the_chains_that_it_names() {
        // A rule of a chain, as it is told.
        let message =
            b"\x34\0\0\0\x06\x0a\0\0\x0b\0\x01\0filter\0\0\x16\0\x02\0WINDLASS-00112233\0\0\0";
        assert!(is_about(message, "WINDLASS-00112233"));
        assert!(is_about(message, "filter"));
        for other in ["WINDLASS-0011223", "WINDLASS-44556677", "DOCKER-USER"] {
            assert!(!is_about(message, other), "{other}");
        }
        assert!(!is_about(b"", "filter"));
    }
}
