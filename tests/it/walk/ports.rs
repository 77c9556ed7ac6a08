//! Host ports that somebody else has: it is said which, by whom and what to do, and what runs goes on.

use super::room::{LONG, Loop, Seen, instance, one, replicas};
use crate::lab::{Engine, Sandbox, docker, eventually};

/// Has a process of the engine's host listen on a port.
fn listener(room: &Sandbox<'_>, port: u16) -> String {
    let group = format!("{}/strange", room.cgroup_root());
    let listen = format!("while true; do nc -l -p {port}; done");
    let args = ["run", "-d", "--net", "host", "--cgroup-parent", &group, "busybox:latest"];
    let id = docker(room.engine(), &[&args[..], &["sh", "-c", &listen]].concat());
    // What is written there as `:port 00000000:0000 0A` listens.
    let line = format!(":{port:04X} 00000000:0000 0A");
    eventually("it listens", LONG, || {
        let tables = ["exec", &id, "cat", "/proc/net/tcp", "/proc/net/tcp6"];
        docker(room.engine(), &tables)
            .replace("00000000000000000000000000000000", "00000000")
            .contains(&line)
    });
    id
}

fn web(port: &str) -> String {
    instance(
        "web",
        &format!(
            "command: [sleep, '100000']\n\
             stop: {{ signal: KILL }}\n\
             ports: [ {{ container: 80, host: {port}-$port3 }} ]\n\
             update: {{ order: start-first }}\n"
        ),
    )
}

fn a_port_that_another_process_has(engine: &Engine) {
    let room = Sandbox::new(engine);
    let taken = room.port(1);
    let stranger = listener(&room, taken);
    room.spec("web.yaml", &web("$port1"));
    let held = Loop::hold(&room);
    let outcome = held.apply();
    let [trouble] = &outcome.troubles[..] else { panic!("{outcome:#?}") };
    assert_eq!(trouble.object, format!("{}/web/0", room.project()));
    let said = format!("host port {taken} is taken by another process on the node; free it there");
    assert!(trouble.message.contains(&said), "{trouble:#?}");
    assert_eq!(trouble.reason, "BackingOff");
    // Once it is free, it is taken.
    docker(engine, &["rm", "-f", &stranger]);
    assert!(held.apply().is_good());
    let old = one(&room, "web", 0);
    // Another revision wants another port, which is taken as well: what runs is left alone.
    let taken = room.port(2);
    let stranger = listener(&room, taken);
    room.spec("web.yaml", &web("$port2"));
    let outcome = held.apply();
    let said = format!("host port {taken} is taken by another process on the node");
    let troubles = format!("{:?}", outcome.troubles);
    assert!(troubles.contains(&said), "{outcome:#?}");
    let left = replicas(&room, "web", 0);
    let stays = left.iter().find(|seen| seen.id() == old.id());
    assert_eq!(stays.map(Seen::life), Some(old.life()), "{left:#?}");
    docker(engine, &["rm", "-f", &stranger]);
    held.stop();
}

#[test]
fn a_port_that_another_process_has_on_20_10() {
    a_port_that_another_process_has(engine!(V20_10));
}

#[test]
fn a_port_that_another_process_has_on_26_1() {
    a_port_that_another_process_has(engine!(V26_1));
}
