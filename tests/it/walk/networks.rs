//! Networks of all drivers, and what is on them.

use super::room::{
    LIVE, LONG, Loop, apply, apply_well, assert_settled, instance, network, networks, one, settings,
};
use crate::lab::engine::as_root;
use crate::lab::{Engine, Sandbox, docker, eventually};
use windlass::app::Mode;

fn declared(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Network\nmetadata: {{ name: {name}, project: $project }}\nspec: {spec}\n"
    )
}

/// Whether a container can reach an address.
fn reaches(engine: &Engine, container: &str, address: &str) -> bool {
    engine.try_docker(&["exec", container, "ping", "-c", "1", "-W", "1", address]).is_ok()
}

/// Instances on one network find each other by name, and nobody else does.
fn names_lead_to_instances(engine: &Engine) {
    let room = Sandbox::new(engine);
    let set = [
        network("front"),
        network("back"),
        instance("web", &format!("{LIVE}\nnetworks: [front]")),
        instance(
            "api",
            &format!(
                "{LIVE}\nreplicas: 2\nnetworks: [front, {{ network: back, aliases: [service] }}]"
            ),
        ),
        instance("db", &format!("{LIVE}\nnetworks: [back]")),
        instance("alone", LIVE),
    ];
    room.spec("set.yaml", &set.concat());
    apply_well(&room);
    let id = |name: &str| one(&room, name, 0).id().to_owned();
    for (from, to) in [("web", "api"), ("web", "api-1"), ("db", "service"), ("api", "db")] {
        assert!(reaches(engine, &id(from), to), "{from} -> {to}");
    }
    for (from, to) in [("web", "db"), ("db", "web"), ("alone", "web"), ("web", "service")] {
        assert!(!reaches(engine, &id(from), to), "{from} -> {to}");
    }
    // A successor has the same names.
    let before = id("db");
    let text = std::fs::read_to_string(room.specs().join("set.yaml")).expect("the set");
    let name = format!("name: db, project: {}", room.project());
    let (head, tail) = text.split_once(&name).expect("db");
    let tail =
        tail.replacen("image: busybox:latest", "image: busybox:latest\n  env: { N: '2' }", 1);
    room.spec("set.yaml", &format!("{head}{name}{tail}"));
    apply_well(&room);
    assert_ne!(id("db"), before);
    assert!(reaches(engine, &id("api"), "db"));
    assert_settled(&room);
}

/// The four modes of macvlan, on an interface that the test makes.
fn macvlan_has_four_modes(engine: &Engine) {
    let room = Sandbox::new(engine);
    let parent = format!("mv{}", room.project());
    let ip = |args: &[&str]| {
        let net = format!("--net={}", engine.netns());
        let done = as_root("nsenter").arg(net).arg("ip").args(args).status().expect("nsenter");
        assert!(done.success(), "ip {args:?}");
    };
    ip(&["link", "add", &parent, "type", "bridge"]);
    ip(&["link", "set", &parent, "up"]);
    let subnet = room.subnet();
    let (base, number) = subnet.rsplit_once('.').expect("three parts");
    let _ = base;
    for (index, mode) in ["bridge", "private", "vepa", "passthru"].into_iter().enumerate() {
        let range = format!("10.{}.{number}.0/24", 231 + index);
        let options = format!("{{ parent: {parent}, macvlan_mode: {mode} }}");
        let spec = format!("{{ driver: macvlan, options: {options}, subnets: [{range}] }}");
        let user = |name: &str| instance(name, &format!("{LIVE}\nnetworks: [lan]"));
        // An interface is passed through to one container.
        let users = if mode == "passthru" { vec!["a"] } else { vec!["a", "b"] };
        let users: String = users.into_iter().map(user).collect();
        room.spec("set.yaml", &(declared("lan", &spec) + &*users));
        apply_well(&room);
        assert_settled(&room);
        let a = one(&room, "a", 0);
        if mode != "passthru" {
            let talk = reaches(engine, a.id(), "b");
            // Only in this mode do two of them talk without a switch that turns frames back.
            assert_eq!(talk, mode == "bridge", "{mode}");
        }
        // Engines change no network: it goes with what is on it, and comes again.
        room.spec("set.yaml", &instance("other", LIVE));
        let held = Loop::start(&settings(&room), Mode::Act { hold: false });
        assert!(held.apply().is_good());
        held.stop();
        eventually("the network is gone", LONG, || apply_well(&room).steps == 0);
        assert!(networks(&room).is_empty());
    }
    ip(&["link", "del", &parent]);
}

/// A driver by name; one that the engine lacks is said, and blocks nobody else.
#[test]
fn a_driver_that_is_not_there_is_said() {
    let engine = engine!(V20_10);
    let room = Sandbox::new(engine);
    let set = [
        declared("odd", "{ driver: no-such-driver }"),
        instance("on-it", &format!("{LIVE}\nnetworks: [odd]")),
        instance("beside", LIVE),
    ];
    room.spec("set.yaml", &set.concat());
    let outcome = apply(&room);
    assert!(!outcome.is_good());
    let said: Vec<_> = outcome.troubles.iter().map(|trouble| trouble.message.as_str()).collect();
    assert!(said.iter().any(|text| text.contains("no-such-driver")), "{said:?}");
    assert_eq!(one(&room, "beside", 0).state(), "running");
}

/// `host` and `none` are the engine's own, by their names and through a Network that stands for one.
#[test]
fn the_engines_own_networks_are_used() {
    let engine = engine!(V20_10);
    let room = Sandbox::new(engine);
    let set = [
        declared("outside", "{ driver: host }"),
        instance("host", &format!("{LIVE}\nnetworks: [host]")),
        instance("declared", &format!("{LIVE}\nnetworks: [outside]")),
        instance("none", &format!("{LIVE}\nnetworks: [none]")),
    ];
    room.spec("set.yaml", &set.concat());
    apply_well(&room);
    assert_settled(&room);
    let links = |name: &str| {
        let id = one(&room, name, 0).id().to_owned();
        docker(engine, &["exec", &id, "ls", "/sys/class/net"])
    };
    assert_eq!(links("host"), links("declared"));
    assert!(links("host").contains("docker0"), "{}", links("host"));
    assert_eq!(links("none").trim(), "lo");
    assert!(networks(&room).is_empty());
}

#[test]
fn names_lead_to_instances_on_20_10() {
    names_lead_to_instances(engine!(V20_10));
}

#[test]
fn names_lead_to_instances_on_26_1() {
    names_lead_to_instances(engine!(V26_1));
}

#[test]
fn macvlan_has_four_modes_on_20_10() {
    macvlan_has_four_modes(engine!(V20_10));
}

#[test]
fn macvlan_has_four_modes_on_26_1() {
    macvlan_has_four_modes(engine!(V26_1));
}
