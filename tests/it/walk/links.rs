//! Links: names that are the consumer's own, the classic variables, and in which order things come
//! and go.

use std::collections::BTreeSet;

use super::nodes::{group, node, places, same_image};
use super::room::{
    LIVE, LONG, Loop, Seen, apply_well, assert_settled, engine_time, instance, network, one,
    replicas,
};
use crate::lab::{Engine, Sandbox, docker, eventually};

/// A document of one Link in the sandbox's project.
fn link(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Link\nmetadata: {{ name: {name}, project: $project }}\nspec: {{ {spec} }}\n"
    )
}

/// What a name leads to inside a container, by DNS.
pub(super) fn looked_up(engine: &Engine, container: &str, name: &str) -> BTreeSet<String> {
    let Ok(text) = engine.try_docker(&["exec", container, "nslookup", name]) else {
        return BTreeSet::new();
    };
    let answers = text.lines().skip_while(|line| !line.starts_with("Name:"));
    let address = |line: &str| line.strip_prefix("Address: ").map(str::to_owned);
    answers.filter_map(address).collect()
}

/// The address of a replica's container on the one network that it is on.
fn address(room: &Sandbox<'_>, name: &str, ordinal: u32) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let id = one(room, name, ordinal).id().to_owned();
    docker(room.engine(), &["inspect", "--format", format, &id]).trim().to_owned()
}

/// Two consumers call different targets by one alias. It leads to all replicas, also to those that
/// come later; consumers live on.
fn aliases_are_the_consumers_own(engine: &Engine, networks: &str) {
    let room = Sandbox::new(engine);
    let set = |count: u32, env: &str| {
        [
            network("back"),
            instance("db", &format!("{LIVE}\nreplicas: {count}\nenv: {{ {env} }}{networks}")),
            instance("store", &format!("{LIVE}{networks}")),
            instance("web", &format!("{LIVE}{networks}")),
            instance("api", &format!("{LIVE}{networks}")),
            link("web-db", "from: web, to: db, alias: main, ports: [80]"),
            link("web-store", "from: web, to: store, alias: cache, ports: [80]"),
            link("api-store", "from: api, to: store, alias: main, ports: [80]"),
        ]
        .concat()
    };
    room.spec("set.yaml", &set(1, "N: '1'"));
    apply_well(&room);
    let (web, api) = (one(&room, "web", 0), one(&room, "api", 0));
    let addresses = |name: &str, count: u32| -> BTreeSet<String> {
        (0..count).map(|ordinal| address(&room, name, ordinal)).collect()
    };
    assert_eq!(looked_up(engine, web.id(), "main"), addresses("db", 1));
    assert_eq!(looked_up(engine, web.id(), "cache"), addresses("store", 1));
    assert_eq!(looked_up(engine, api.id(), "main"), addresses("store", 1));
    assert_eq!(looked_up(engine, api.id(), "cache"), BTreeSet::new());
    let before = one(&room, "db", 0);
    room.spec("set.yaml", &set(2, "N: '2'"));
    apply_well(&room);
    assert_ne!(one(&room, "db", 0).id(), before.id());
    assert_eq!(looked_up(engine, web.id(), "main"), addresses("db", 2));
    assert_eq!(one(&room, "web", 0).life(), web.life());
    assert_settled(&room);
}

/// Variables of a container whose names begin so.
pub(super) fn variables(engine: &Engine, container: &str, prefix: &str) -> BTreeSet<String> {
    let text = docker(engine, &["exec", container, "env"]);
    text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
}

/// The variables are those that the engine itself gives, but for addresses and the name of the
/// container. Another address replaces the consumer once, and only the one that asked for them.
fn variables_are_the_classic_ones(engine: &Engine) {
    let room = Sandbox::new(engine);
    let set = |env: &str| {
        let ports = "ports: [{ container: 5432 }, { container: 8001 }, { container: 8002 }, \
                     { container: 8003 }, { container: 53, protocol: udp }]";
        [
            instance("db", &format!("{LIVE}\n{ports}\nenv: {{ OWNER: shop, N: '{env}' }}")),
            instance("web", LIVE),
            instance("quiet", LIVE),
            link("web-db", "from: web, to: db, alias: my-db, env: true"),
            link("quiet-db", "from: quiet, to: db"),
        ]
        .concat()
    };
    room.spec("set.yaml", &set("1"));
    apply_well(&room);
    let of_ours = |name: &str| variables(engine, one(&room, name, 0).id(), "MY_DB_");

    let group = format!("{}/classic", room.cgroup_root());
    let target = format!("classic-{}-{}", engine.cgroup().trim_matches('/'), room.project());
    let own = ["--cgroup-parent", &group, "--name", &target, "-e", "OWNER=shop", "-e", "N=1"];
    let exposed = ["--expose", "5432", "--expose", "8001-8003", "--expose", "53/udp"];
    let run = [&["run", "-d"], &own[..], &exposed[..], &["busybox:latest", "sleep", "100000"]];
    let classic = docker(engine, &run.concat()).trim().to_owned();
    let (consumer, linked) = (format!("{target}-user"), format!("{target}:my-db"));
    let run = ["run", "--rm", "--cgroup-parent", &group, "--name", &consumer, "--link", &linked];
    let text = docker(engine, &[&run[..], &["busybox:latest", "env"]].concat());
    let format = "{{.NetworkSettings.IPAddress}}";
    let theirs = docker(engine, &["inspect", "--format", format, &classic]).trim().to_owned();
    docker(engine, &["rm", "-f", &classic]);
    let our_name = format!("/{}.web.0/my-db", room.project());
    let here = address(&room, "db", 0);
    let lines = text.lines().filter(|line| line.starts_with("MY_DB_"));
    let expected = lines.map(|line| {
        let line = line.replace(&theirs, &here);
        line.replace(&format!("/{consumer}/my-db"), &our_name)
    });
    let expected: BTreeSet<String> = expected.collect();
    assert!(
        expected.contains(&format!("MY_DB_PORT_8001_TCP_END=tcp://{here}:8003")),
        "{expected:?}"
    );
    assert_eq!(of_ours("web"), expected);
    assert_eq!(of_ours("quiet"), BTreeSet::new());
    assert_settled(&room);

    let (web, quiet) = (one(&room, "web", 0), one(&room, "quiet", 0));
    room.spec("set.yaml", &set("2"));
    apply_well(&room);
    let there = address(&room, "db", 0);
    assert_ne!(there, here);
    assert!(
        of_ours("web").contains(&format!("MY_DB_PORT=udp://{there}:53")),
        "{:?}",
        of_ours("web")
    );
    assert!(of_ours("web").contains("MY_DB_ENV_N=2"));
    let incarnation: u64 = web.label("incarnation").parse().expect("a number");
    let next = (incarnation + 1).to_string();
    assert_eq!(one(&room, "web", 0).label("incarnation"), next, "replaced once");
    assert_eq!(one(&room, "quiet", 0).life(), quiet.life());
    assert_settled(&room);
}

/// The consumer starts once its target is healthy, and goes before it.
fn order_is_kept_both_ways(engine: &Engine) {
    let room = Sandbox::new(engine);
    // What is healthy only after a second check cannot be by chance.
    let check = "test -e /seen || { touch /seen; exit 1; }";
    let health = format!("health: {{ exec: [sh, -c, \"{check}\"], interval: 200ms, retries: 50 }}");
    let set = [
        instance("a-web", LIVE),
        instance("b-api", LIVE),
        instance("c-db", &format!("{LIVE}\n{health}")),
        link("web-api", "from: a-web, to: b-api, ports: [80]"),
        link("api-db", "from: b-api, to: c-db, ports: [80], condition: healthy"),
    ];
    room.spec("set.yaml", &set.concat());
    let since = engine_time(engine);
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    eventually("all of them run", LONG, || {
        ["a-web", "b-api", "c-db"].iter().all(|name| {
            let seen = replicas(&room, name, 0);
            seen.first().is_some_and(|seen| seen.state() == "running")
        })
    });
    let [web, api, db] = ["a-web", "b-api", "c-db"].map(|name| one(&room, name, 0));
    assert!(held.down().is_good());
    held.stop();
    let project = format!("label=io.windlass.project={}", room.project());
    let until = engine_time(engine);
    let times = ["events", "--since", since.trim(), "--until", until.trim()];
    let all = [
        "--filter",
        &project,
        "--filter",
        "type=container",
        "--format",
        "{{.Action}} {{.Actor.ID}}",
    ];
    let told = docker(engine, &[&times[..], &all[..]].concat());
    let at = |what: &str, of: &Seen| {
        let line = format!("{what} {}", of.id());
        let found = told.lines().position(|told| told == line);
        found.unwrap_or_else(|| panic!("no {line} in {told}"))
    };
    assert!(at("health_status: healthy", &db) < at("start", &api), "{told}");
    assert!(at("start", &api) < at("start", &web), "{told}");
    assert!(at("destroy", &web) < at("kill", &api), "{told}");
    assert!(at("destroy", &api) < at("kill", &db), "{told}");
}

/// Two engines as two nodes: what is not linked is on both, what is linked is on one.
#[test]
fn linked_instances_are_on_one_node() {
    let engines = [engine!(V20_10), engine!(V26_1)];
    let room = Sandbox::new(engines[0]);
    // A name of its own: other tests use these engines.
    let image = format!("linked-{}:1", room.project());
    docker(engines[0], &["tag", "busybox:latest", &image]);
    same_image(&room, &engines, &image);
    let nodes: String = engines
        .iter()
        .zip(["n0", "n1"])
        .map(|(engine, name)| node(name, engine.endpoint(), &group(&room, engine)))
        .collect();
    room.remove_spec("node.yaml");
    room.spec("nodes.yaml", &nodes);
    let with = |names: &[&str], more: &str| -> String {
        let one = |name: &&str| instance(name, LIVE).replace("busybox:latest", &image);
        names.iter().map(one).collect::<String>() + more
    };
    let alone = ["a", "b", "c", "d"];
    room.spec("alone.yaml", &with(&alone, ""));
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    let apart: BTreeSet<usize> = places(&room, &engines).into_values().collect();
    assert_eq!(apart, BTreeSet::from([0, 1]));
    let links = link("web-api", "from: web, to: api, ports: [80]")
        + &*link("api-db", "from: api, to: db, ports: [80]")
        + &*link("job-db", "from: job, to: db, ports: [80], condition: none");
    room.spec("linked.yaml", &with(&["web", "api", "db", "job"], &links));
    assert!(held.apply().is_good());
    let all = places(&room, &engines);
    let linked = ["web/0", "api/0", "db/0", "job/0"].map(|replica| all[replica]);
    assert_eq!(BTreeSet::from(linked).len(), 1, "{all:?}");
    assert_eq!(all.len(), 8);
    // A link between two that are on different nodes moves nobody, and is said.
    let other = alone.iter().find(|name| all[&format!("{name}/0")] != linked[0]).expect("one");
    room.spec("late.yaml", &link("late", &format!("from: {other}, to: db, ports: [80]")));
    let outcome = held.apply();
    let said =
        outcome.troubles.iter().any(|it| it.message.contains("linked instances are on one node"));
    assert!(!outcome.is_good() && said, "{outcome:#?}");
    assert_eq!(places(&room, &engines), all);
    room.remove_spec("late.yaml");
    assert!(held.apply().is_good());
    assert!(held.down().is_good());
    held.stop();
    for engine in engines {
        docker(engine, &["rmi", &image]);
    }
}

#[test]
fn aliases_are_the_consumers_own_on_20_10() {
    aliases_are_the_consumers_own(engine!(V20_10), "\nnetworks: [back]");
}

#[test]
fn aliases_are_the_consumers_own_on_26_1() {
    aliases_are_the_consumers_own(engine!(V26_1), "\nnetworks: [back]");
}

#[test]
fn aliases_hold_on_the_projects_own_network_on_20_10() {
    aliases_are_the_consumers_own(engine!(V20_10), "");
}

#[test]
fn aliases_hold_on_the_projects_own_network_on_26_1() {
    aliases_are_the_consumers_own(engine!(V26_1), "");
}

#[test]
fn variables_are_the_classic_ones_on_20_10() {
    variables_are_the_classic_ones(engine!(V20_10));
}

#[test]
fn variables_are_the_classic_ones_on_26_1() {
    variables_are_the_classic_ones(engine!(V26_1));
}

#[test]
fn order_is_kept_both_ways_on_20_10() {
    order_is_kept_both_ways(engine!(V20_10));
}

#[test]
fn order_is_kept_both_ways_on_26_1() {
    order_is_kept_both_ways(engine!(V26_1));
}
