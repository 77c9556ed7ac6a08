//! Links of an engine whose host windlass is not on: it is asked through a socket that this process
//! listens on, whose network holds none of the engine's bridges.

use std::collections::BTreeSet;

use super::fence::{SERVE, id, link, reaches};
use super::links::{looked_up, variables};
use super::proxy::proxy;
use super::room::{LONG, Loop, assert_settled, instance, one};
use crate::lab::engine::as_root;
use crate::lab::{Engine, Sandbox, docker, eventually};

/// A sandbox on an engine that is elsewhere.
fn elsewhere(engine: &Engine) -> Sandbox<'_> {
    let room = Sandbox::new(engine);
    let socket = room.path().join("proxy.sock");
    proxy(&socket, engine.endpoint());
    let node = std::fs::read_to_string(room.specs().join("node.yaml")).expect("a node");
    let through = format!("unix://{}", socket.display());
    room.spec("node.yaml", &node.replace(engine.endpoint(), &through));
    room
}

/// The address of a replica's container on a network of its project.
fn address(room: &Sandbox<'_>, name: &str, ordinal: u32, network: &str) -> String {
    let found = one(room, name, ordinal);
    let network = format!("{}.{network}", room.project());
    let settings = &found.0["NetworkSettings"]["Networks"][network.as_str()];
    settings["IPAddress"].as_str().unwrap_or_default().to_owned()
}

/// The networks of a sandbox's project, without its name.
fn networks(room: &Sandbox<'_>) -> Vec<String> {
    let text = docker(room.engine(), &["network", "ls", "--format", "{{.Name}}"]);
    let prefix = format!("{}.", room.project());
    let mut all: Vec<String> =
        text.lines().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_owned).collect();
    all.sort();
    all
}

/// The whole life of a link: containers that run are put on its network, and taken off it.
fn a_link_has_a_network(engine: &Engine) {
    let room = elsewhere(engine);
    let db = |more: &str| instance("db", &format!("{SERVE}\n{more}"));
    let port = format!("{{ container: 8080, host: {}, address: 127.0.0.1 }}", room.port(0));
    let web = instance("web", &format!("{SERVE}\nports: [{port}]"));
    let set = |db: &str| web.clone() + db + &*instance("other", SERVE);
    let is_published = || engine.http_get(room.port(0), "/etc/passwd").is_some();
    room.spec("set.yaml", &set(&db("")));
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    let [web, other, first] = ["web", "other", "db"].map(|name| id(&room, name));
    let own = address(&room, "db", 0, "_");
    for to in ["db", own.as_str()] {
        assert!(!reaches(engine, &web, to, 8080), "{to}");
    }
    assert_eq!(networks(&room), ["_"]);

    let before = (one(&room, "web", 0).life(), one(&room, "db", 0).life());
    let declared =
        link("web-db", "{ from: web, to: db, alias: store, ports: [8080], condition: none }");
    room.spec("link.yaml", &declared);
    let outcome = held.apply();
    assert!(outcome.is_good(), "{outcome:#?}");
    assert_eq!(networks(&room), ["_", "_web-db"]);
    let at_link = address(&room, "db", 0, "_web-db");
    assert_eq!(looked_up(engine, &web, "store"), BTreeSet::from([at_link.clone()]));
    assert!(reaches(engine, &web, "store", 8080));
    for to in [own.as_str(), &at_link, "store", "db"] {
        assert!(!reaches(engine, &other, to, 8080), "{to}");
    }
    assert_eq!((one(&room, "web", 0).life(), one(&room, "db", 0).life()), before);
    assert!(is_published(), "a published port");
    let shown = room.windlass(&["describe", "link", &format!("{}/web-db", room.project())]);
    assert!(
        shown.stdout.contains("PortsNotEnforced") && shown.stdout.contains("elsewhere"),
        "{shown:?}"
    );
    assert_settled(&room);

    // It follows its target, and its consumer lives on.
    room.spec("set.yaml", &set(&db("replicas: 2\nenv: { N: '2' }")));
    assert!(held.apply().is_good());
    assert_ne!(id(&room, "db"), first);
    let both = [0, 1].map(|ordinal| address(&room, "db", ordinal, "_web-db"));
    assert_eq!(looked_up(engine, &web, "store"), BTreeSet::from(both.clone()));
    for to in &both {
        assert!(reaches(engine, &web, to, 8080));
    }
    assert_eq!(one(&room, "web", 0).life(), before.0);
    // Another hand took it off: the next look finds that.
    let network = format!("{}._web-db", room.project());
    docker(engine, &["network", "disconnect", "-f", &network, &web]);
    eventually("it is put on again", LONG, || {
        held.apply().is_good() && reaches(engine, &web, "store", 8080)
    });
    assert_settled(&room);

    room.remove_spec("link.yaml");
    assert!(held.apply().is_good());
    for to in both.iter().map(String::as_str).chain(["store"]) {
        assert!(!reaches(engine, &web, to, 8080), "{to}");
    }
    assert_eq!(networks(&room), ["_"]);
    assert!(is_published(), "a published port");
    assert_settled(&room);
    assert!(held.down().is_good());
    assert_eq!(networks(&room), Vec::<String>::new());
}

/// Two consumers call different targets by one name, and variables name the address that is reached.
fn names_are_the_consumers_own(engine: &Engine) {
    let room = elsewhere(engine);
    let set = |env: &str| {
        [
            instance("web", SERVE),
            instance("api", SERVE),
            instance("db", &format!("{SERVE}\nenv: {{ N: '{env}' }}")),
            instance("store", SERVE),
            link("web-db", "{ from: web, to: db, alias: db, ports: [8080], env: true }"),
            link("api-store", "{ from: api, to: store, alias: db, ports: [8080] }"),
        ]
        .concat()
    };
    room.spec("set.yaml", &set("1"));
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    assert_eq!(networks(&room), ["_", "_api-store", "_web-db"]);
    let assert_named = || {
        let [db, store] = [("db", "_web-db"), ("store", "_api-store")]
            .map(|(name, network)| address(&room, name, 0, network));
        assert_eq!(looked_up(engine, &id(&room, "web"), "db"), BTreeSet::from([db.clone()]));
        assert_eq!(looked_up(engine, &id(&room, "api"), "db"), BTreeSet::from([store]));
        for name in ["web", "api"] {
            assert!(reaches(engine, &id(&room, name), "db", 8080), "{name}");
        }
        let named = variables(engine, &id(&room, "web"), "DB_PORT_8080_TCP_ADDR");
        assert_eq!(named, BTreeSet::from([format!("DB_PORT_8080_TCP_ADDR={db}")]));
    };
    assert_named();
    assert_settled(&room);
    room.spec("set.yaml", &set("2"));
    assert!(held.apply().is_good());
    assert_named();
    held.stop();
    assert_settled(&room);
}

/// Beside the engine, and without the tools: what cannot be had is not waited for.
#[test]
fn without_tools_a_link_has_a_network_on_20_10() {
    let engine = engine!(V20_10);
    let room = Sandbox::new(engine);
    let declared = link("web-db", "{ from: web, to: db, ports: [8080] }");
    room.spec("set.yaml", &(instance("web", SERVE) + &*instance("db", SERVE) + &*declared));
    let apply = || {
        let out = room.command(&["apply"]).env("PATH", "/nonexistent").output();
        let out = out.expect("it runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    apply();
    assert!(reaches(engine, &id(&room, "web"), "db", 8080));
    assert!(!reaches(engine, &id(&room, "db"), "web", 8080), "by the project's network");
    let name = format!("{}/web-db", room.project());
    let shown = room.windlass(&["describe", "link", &name]);
    assert!(shown.stdout.contains("PortsNotEnforced"), "{shown:?}");
    // With tools the node keeps to its way, for as long as there is a link.
    assert_settled(&room);
    let shown = room.windlass(&["describe", "link", &name]);
    assert!(shown.stdout.contains("rules can be set there by now"), "{shown:?}");
    room.remove_spec("set.yaml");
    room.spec("set.yaml", &(instance("web", SERVE) + &*instance("db", SERVE)));
    assert_eq!(room.windlass(&["apply"]).code, 0);
    assert_eq!(networks(&room), ["_"]);
    room.spec("link.yaml", &declared);
    assert_eq!(room.windlass(&["apply"]).code, 0);
    let shown = room.windlass(&["describe", "link", &name]);
    assert!(shown.stdout.contains("InForce"), "{shown:?}");
    assert!(reaches(engine, &id(&room, "web"), "db", 8080));
    assert_eq!(room.windlass(&["down", "-y"]).code, 0);
}

/// As in a container that has process ids of its own, where the engine's process has no number.
#[test]
fn where_the_engine_is_out_of_sight_a_link_has_a_network_on_20_10() {
    let engine = engine!(V20_10);
    let room = Sandbox::new(engine);
    let declared = link("web-db", "{ from: web, to: db, ports: [8080] }");
    room.spec("set.yaml", &(instance("web", SERVE) + &*instance("db", SERVE) + &*declared));
    let apart = |args: &[&str]| {
        let plain = room.command(args);
        let mut command = as_root("unshare");
        command.args(["--fork", "--pid", "--mount-proc"]).arg(plain.get_program());
        command.args(plain.get_args()).current_dir(room.path());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let out = command.output().expect("it runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    apart(&["apply"]);
    assert!(reaches(engine, &id(&room, "web"), "db", 8080));
    let shown = apart(&["describe", "link", &format!("{}/web-db", room.project())]);
    assert!(shown.contains("PortsNotEnforced") && shown.contains("--pid=host"), "{shown}");
    apart(&["down", "-y"]);
    assert_eq!(networks(&room), Vec::<String>::new());
}

#[test]
fn a_link_has_a_network_on_20_10() {
    a_link_has_a_network(engine!(V20_10));
}

#[test]
fn a_link_has_a_network_on_26_1() {
    a_link_has_a_network(engine!(V26_1));
}

#[test]
fn names_are_the_consumers_own_on_20_10() {
    names_are_the_consumers_own(engine!(V20_10));
}

#[test]
fn names_are_the_consumers_own_on_26_1() {
    names_are_the_consumers_own(engine!(V26_1));
}
