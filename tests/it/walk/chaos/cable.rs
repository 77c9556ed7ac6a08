//! A cable between the hosts of two engines, which can be pulled out: the second engine's socket, as
//! it is reached from the first one's network.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::lab::Engine;
use crate::lab::engine::as_root;

/// The two ends, in networks that hold nothing else.
const NEAR: &str = "10.250.0.1";
const FAR: &str = "10.250.0.2";
const PORT: u16 = 2375;

/// How long whoever connects waits for the other end.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A pair of interfaces, one in each engine's network.
pub(super) struct Cable {
    far: String,
}

impl Cable {
    /// Lays it. Whoever connects to `socket` is at the far engine.
    ///
    /// # Errors
    /// Why it cannot be: the test is to be skipped.
    pub(super) fn lay(near: &Engine, far: &Engine, socket: &Path) -> Result<Self, String> {
        let cable = Self { far: far.netns().to_owned() };
        let peer = process_of(far.netns())?;
        let pair = ["link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns"];
        ip(near.netns(), &[&pair[..], &[peer]].concat())?;
        for (at, address) in [(near.netns(), NEAR), (far.netns(), FAR)] {
            ip(at, &["addr", "add", &format!("{address}/30"), "dev", "cable"])?;
            ip(at, &["link", "set", "cable", "up"])?;
        }
        serve_far(far)?;
        serve_near(near, socket)?;
        Ok(cable)
    }

    /// Pulls it out at the far end, or puts it in again.
    pub(super) fn plug(&self, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        ip(&self.far, &["link", "set", "cable", state]).expect("the interface is there");
    }
}

/// The process that a path such as `/proc/12/ns/net` is about.
fn process_of(netns: &str) -> Result<&str, String> {
    netns.split('/').nth(2).ok_or_else(|| format!("{netns} is of no process"))
}

fn ip(netns: &str, args: &[&str]) -> Result<(), String> {
    let mut command = as_root("nsenter");
    command.arg(format!("--net={netns}")).arg("ip").args(args).stdin(Stdio::null());
    let out = command.output().map_err(|error| error.to_string())?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("ip {args:?}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

/// Moves this thread, and those that it starts, into another network.
fn enter(netns: &str) -> io::Result<()> {
    let network = File::open(netns)?;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// The far end: leads to the engine's own socket.
fn serve_far(far: &Engine) -> Result<(), String> {
    let engine = far.endpoint().trim_start_matches("unix://").to_owned();
    let netns = far.netns().to_owned();
    let (send, ready) = mpsc::channel();
    thread::spawn(move || {
        let listener = enter(&netns).and_then(|()| TcpListener::bind((FAR, PORT)));
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return drop(send.send(Err(error.to_string()))),
        };
        let _ = send.send(Ok(()));
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(engine) = UnixStream::connect(&engine) else { continue };
            join(client, engine);
        }
    });
    ready.recv().map_err(|error| error.to_string())?
}

/// The near end: a socket that leads to the far one through the cable.
fn serve_near(near: &Engine, socket: &Path) -> Result<(), String> {
    let listener = UnixListener::bind(socket).map_err(|error| error.to_string())?;
    let netns = near.netns().to_owned();
    let (send, ready) = mpsc::channel();
    thread::spawn(move || {
        let entered = enter(&netns).map_err(|error| error.to_string());
        let is_in = entered.is_ok();
        let _ = send.send(entered);
        if !is_in {
            return;
        }
        for client in listener.incoming().map_while(Result::ok) {
            // Each has its own wait for an end that may not answer.
            thread::spawn(move || {
                let far = SocketAddr::new(FAR.parse().expect("an address"), PORT);
                if let Ok(far) = TcpStream::connect_timeout(&far, CONNECT_WITHIN) {
                    let _ = far.set_nodelay(true);
                    join(far, client);
                }
            });
        }
    });
    ready.recv().map_err(|error| error.to_string())?
}

/// Passes on what comes from either side, until one of them ends.
fn join(tcp: TcpStream, unix: UnixStream) {
    let (Ok(tcp_out), Ok(unix_out)) = (tcp.try_clone(), unix.try_clone()) else { return };
    let _ = tcp.set_nodelay(true);
    thread::spawn(move || {
        pump(tcp, &unix_out);
        let _ = unix_out.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        pump(unix, &tcp_out);
        let _ = tcp_out.shutdown(Shutdown::Write);
    });
}

fn pump(mut from: impl Read, mut to: impl Write) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}
