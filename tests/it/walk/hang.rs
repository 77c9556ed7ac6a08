//! An engine that takes questions and answers none: its node is unknown, and nothing is lost.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::room::{LIVE, apply_well, assert_settled, instance, one};
use crate::lab::Sandbox;

/// Whether what is sent stays where it is, and where it goes.
#[derive(Default)]
pub(super) struct Valve {
    closed: Mutex<bool>,
    changed: Condvar,
    /// The engine's socket.
    leads_to: Mutex<String>,
    /// Ends of what is connected.
    open: Mutex<Vec<UnixStream>>,
}

impl Valve {
    pub(super) fn set(&self, closed: bool) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = closed;
        self.changed.notify_all();
    }

    /// Leads to another engine from now on; what is connected is cut.
    pub(super) fn lead_to(&self, engine: &str) {
        let path = engine.trim_start_matches("unix://").to_owned();
        *self.leads_to.lock().unwrap_or_else(PoisonError::into_inner) = path;
        for end in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    }

    fn connect(&self) -> Option<UnixStream> {
        let path = self.leads_to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let engine = UnixStream::connect(path).ok()?;
        let end = engine.try_clone().expect("an end");
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        Some(engine)
    }

    /// Returns once it is open.
    fn pass(&self) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        while *closed {
            closed = self.changed.wait(closed).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Passes on what comes until one side ends, and nothing while the valve is closed.
fn pass_on(mut from: UnixStream, mut to: UnixStream, valve: &Valve) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        valve.pass();
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// A socket that leads to the engine's through a valve.
pub(super) fn proxy(socket: &Path, engine: &str) -> Arc<Valve> {
    let valve = Arc::<Valve>::default();
    valve.lead_to(engine);
    let listener = UnixListener::bind(socket).expect("a socket");
    let inner = Arc::clone(&valve);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Some(engine) = inner.connect() else { continue };
            let ends = [
                (client.try_clone().expect("an end"), engine.try_clone().expect("an end")),
                (engine, client),
            ];
            for (from, to) in ends {
                let valve = Arc::clone(&inner);
                thread::spawn(move || pass_on(from, to, &valve));
            }
        }
    });
    valve
}

#[test]
fn a_hanging_engine_is_unknown_and_loses_nothing() {
    let room = Sandbox::new(engine!(V20_10));
    let socket = room.path().join("proxy.sock");
    let valve = proxy(&socket, room.engine().endpoint());
    let node = std::fs::read_to_string(room.specs().join("node.yaml")).expect("a node");
    let through = format!("unix://{}", socket.display());
    room.spec("node.yaml", &node.replace(room.engine().endpoint(), &through));
    let set = instance("a", LIVE) + &*instance("b", LIVE);
    room.spec("set.yaml", &set);
    apply_well(&room);
    let lives = [one(&room, "a", 0).life(), one(&room, "b", 0).life()];

    valve.set(true);
    // One is changed, one is gone: neither can be done, and neither is forgotten.
    room.spec("set.yaml", &instance("a", &format!("{LIVE}\nenv: {{ N: '2' }}")));
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stderr.contains("no answer within"), "{out:?}");
    let now = [one(&room, "a", 0).life(), one(&room, "b", 0).life()];
    assert_eq!(now, lives);
    let out = room.windlass(&["get", "instances"]);
    assert!(out.stdout.contains("Unknown"), "{out:?}");

    valve.set(false);
    apply_well(&room);
    assert_settled(&room);
    assert_ne!(one(&room, "a", 0).life(), lives[0]);
    assert!(room.containers("b").is_empty());
}
