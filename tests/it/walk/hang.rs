//! An engine that takes questions and answers none: its node is unknown, and nothing is lost.

use super::proxy::proxy;
use super::room::{LIVE, apply_well, assert_settled, instance, one};
use crate::lab::Sandbox;

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
