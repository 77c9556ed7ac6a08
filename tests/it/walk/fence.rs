//! Who reaches whom: nobody, until a link says so, and then as far as it says.

use serde_json::Value;
use windlass::app::Settings;

use super::room::{
    LONG, Loop, apply_well, apply_with, assert_settled, instance, one, seen, settings,
};
use crate::lab::engine::as_root;
use crate::lab::{Engine, Sandbox, docker, eventually};

/// Serves on two ports, and lives until it is told to end, which it does at once.
pub(super) const SERVE: &str =
    r#"command: [sh, -c, "trap 'exit 0' TERM; httpd -p 8080; httpd -p 9090; sleep 100000 & wait"]"#;

/// A document of one Link in the sandbox's project.
pub(super) fn link(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Link\nmetadata: {{ name: {name}, project: $project }}\nspec: {spec}\n"
    )
}

/// Whether a container gets a connection. Packets that are dropped are waited for a moment: on one
/// machine an answer takes microseconds.
pub(super) fn reaches(engine: &Engine, container: &str, host: &str, port: u16) -> bool {
    let ask = format!("nc -w 1 {host} {port} </dev/null");
    engine.try_docker(&["exec", container, "timeout", "2", "sh", "-c", &ask]).is_ok()
}

/// The address of a container on its project's own network.
pub(super) fn address(room: &Sandbox<'_>, name: &str, ordinal: u32) -> String {
    let found = one(room, name, ordinal);
    let network = format!("{}._", room.project());
    let settings: &Value = &found.0["NetworkSettings"]["Networks"][network.as_str()];
    settings["IPAddress"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn id(room: &Sandbox<'_>, name: &str) -> String {
    one(room, name, 0).id().to_owned()
}

/// The addresses that a container's hosts file has for a name.
pub(super) fn named(room: &Sandbox<'_>, name: &str, alias: &str) -> Vec<String> {
    let text = docker(room.engine(), &["exec", &id(room, name), "cat", "/etc/hosts"]);
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next()?.to_owned();
        words.any(|word| word == alias).then_some(address)
    };
    let mut all: Vec<String> = text.lines().filter_map(of).collect();
    all.sort();
    all
}

pub(super) fn tables(engine: &Engine, args: &[&str]) -> String {
    let inside = format!("--net={}", engine.netns());
    let out = as_root("nsenter").args([inside.as_str(), "iptables", "-w"]).args(args).output();
    let out = out.expect("iptables runs");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The chain of a sandbox's owner.
pub(super) fn chain(room: &Sandbox<'_>) -> String {
    let all = seen(room);
    let owner = all.values().next().expect("a container").label("owner").to_owned();
    format!("WINDLASS-{}", &owner[..8])
}

fn everybody() -> String {
    ["web", "db", "other"].map(|name| instance(name, SERVE)).concat()
}

/// The whole life of a link, on containers that nobody touches.
fn a_link_opens_one_way(engine: &Engine) {
    let room = Sandbox::new(engine);
    let elsewhere = Sandbox::new(engine);
    room.spec("set.yaml", &everybody());
    elsewhere.spec("set.yaml", &instance("db", SERVE));
    apply_well(&elsewhere);
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    let (web, db, other) = (id(&room, "web"), id(&room, "db"), id(&room, "other"));
    let (web_at, db_at) = (address(&room, "web", 0), address(&room, "db", 0));
    // Nobody reaches anybody, by name or by address, in one project or in two.
    for (from, to) in [(&web, "db"), (&web, db_at.as_str()), (&db, &web_at), (&other, &db_at)] {
        assert!(!reaches(engine, from, to, 8080), "{to}");
    }
    let stranger = address(&elsewhere, "db", 0);
    assert!(!reaches(engine, &web, &stranger, 8080));
    assert!(!reaches(engine, &id(&elsewhere, "db"), &db_at, 8080));
    // A link opens one way, to one port.
    let before = (seen(&room).len(), one(&room, "web", 0).life(), one(&room, "db", 0).life());
    let declared =
        link("web-db", "{ from: web, to: db, alias: store, ports: [8080], condition: none }");
    room.spec("link.yaml", &declared);
    assert!(held.apply().is_good());
    assert_eq!(named(&room, "web", "store"), [db_at.as_str()]);
    assert!(reaches(engine, &web, "store", 8080));
    assert!(reaches(engine, &web, &db_at, 8080));
    assert!(!reaches(engine, &web, &db_at, 9090), "another port");
    assert!(!reaches(engine, &db, &web_at, 8080), "the other way");
    assert!(!reaches(engine, &other, &db_at, 8080), "another one");
    assert_settled(&room);
    let after = (seen(&room).len(), one(&room, "web", 0).life(), one(&room, "db", 0).life());
    assert_eq!(after, before);
    let shown = room.windlass(&["describe", "link", &format!("{}/web-db", room.project())]);
    assert!(shown.stdout.contains("InForce") && shown.stdout.contains("1 way open"), "{shown:?}");
    let chain = chain(&room);
    room.remove_spec("link.yaml");
    assert!(held.apply().is_good());
    assert!(!reaches(engine, &web, &db_at, 8080));
    assert_eq!(named(&room, "web", "store"), Vec::<String>::new());
    assert_settled(&room);
    // The last one takes rules and network along.
    assert!(held.down().is_good());
    assert!(!tables(engine, &["-S"]).contains(&chain));
    let networks = docker(engine, &["network", "ls", "--format", "{{.Name}}"]);
    assert!(!networks.contains(&format!("{}._", room.project())), "{networks}");
}

/// Names and rules follow their target, and name those of its replicas that are ready.
fn a_link_follows_its_target(engine: &Engine) {
    let room = Sandbox::new(engine);
    let db = |more: &str| instance("db", &format!("{SERVE}\n{more}"));
    let web = instance("web", SERVE);
    let declared = link("web-db", "{ from: web, to: db, ports: [8080] }");
    room.spec("set.yaml", &(db("replicas: 3") + &*web + &*declared));
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    let all = |ordinals: &[u32]| {
        let mut all: Vec<String> =
            ordinals.iter().map(|ordinal| address(&room, "db", *ordinal)).collect();
        all.sort();
        all
    };
    assert_eq!(named(&room, "web", "db"), all(&[0, 1, 2]));
    let (web, first) = (id(&room, "web"), all(&[0, 1, 2]));
    for to in &first {
        assert!(reaches(engine, &web, to, 8080));
    }
    // Another revision has other containers at other addresses.
    room.spec(
        "set.yaml",
        &(db("env: { N: '2' }\nreplicas: 2") + &*instance("web", SERVE) + &*declared),
    );
    assert!(held.apply().is_good());
    assert_eq!(id(&room, "web"), web);
    assert_eq!(named(&room, "web", "db"), all(&[0, 1]));
    for to in all(&[0, 1]) {
        // It has just been started, and takes a moment until it listens.
        eventually("it answers", LONG, || reaches(engine, &web, &to, 8080));
    }
    // The engine writes the file anew with each start.
    docker(engine, &["restart", "-t", "0", &web]);
    eventually("it knows its names again", LONG, || named(&room, "web", "db") == all(&[0, 1]));
    assert!(reaches(engine, &web, "db", 8080));
    held.stop();
    assert_settled(&room);
}

/// Rules outlive their engine, published ports are not fenced, and where rules cannot be set that is
/// said.
fn rules_outlive_their_engine(engine: &Engine) {
    let room = Sandbox::new(engine);
    let ports =
        format!("ports: [{{ container: 8080, host: {}, address: 127.0.0.1 }}]", room.port(0));
    let set = [
        instance("web", SERVE),
        instance("db", &format!("{SERVE}\n{ports}")),
        instance("other", SERVE),
        link("web-db", "{ from: web, to: db, ports: [8080] }"),
    ];
    room.spec("set.yaml", &set.concat());
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    assert!(engine.http_get(room.port(0), "/etc/passwd").is_some(), "a published port");
    let assert_fenced = || {
        let db_at = address(&room, "db", 0);
        assert_eq!(named(&room, "web", "db"), [db_at.as_str()]);
        assert!(reaches(engine, &id(&room, "web"), "db", 8080));
        assert!(!reaches(engine, &id(&room, "web"), "db", 9090));
        assert!(!reaches(engine, &id(&room, "other"), &db_at, 8080));
    };
    assert_fenced();
    engine.kill();
    engine.start();
    eventually("all is as declared again", LONG, || held.apply().is_good());
    assert_fenced();
    assert!(engine.http_get(room.port(0), "/etc/passwd").is_some(), "a published port");
    // Without the user's chain nobody can set rules: what runs goes on, and it is said.
    tables(engine, &["-F", "FORWARD"]);
    tables(engine, &["-F", "DOCKER-USER"]);
    tables(engine, &["-X", "DOCKER-USER"]);
    eventually("it is said", LONG, || !held.apply().is_good());
    let shown = room.windlass(&["describe", "link", &format!("{}/web-db", room.project())]);
    assert!(
        shown.stdout.contains("NotInForce") && shown.stdout.contains("DOCKER-USER"),
        "{shown:?}"
    );
    assert!(held.down().is_good());
}

/// A range that another network has is left to it.
fn a_taken_range_is_left_alone(engine: &Engine) {
    let room = Sandbox::new(engine);
    let settings =
        |range: &str| Settings { addresses: range.parse().expect("a range"), ..settings(&room) };
    let taken = "10.250.0.0/20";
    docker(engine, &["network", "create", "--subnet", taken, "taken"]);
    room.spec("set.yaml", &instance("web", SERVE));
    let none = apply_with(&settings(taken));
    assert!(!none.is_good());
    let said = format!("{:?}", none.troubles);
    assert!(said.contains("no range is left") && said.contains("--addresses"), "{said}");
    let outcome = apply_with(&settings("10.250.0.0/19"));
    assert!(outcome.is_good(), "{outcome:#?}");
    assert!(address(&room, "web", 0).starts_with("10.250.24."), "{}", address(&room, "web", 0));
    docker(engine, &["network", "rm", "taken"]);
}

/// An instance of another project is reached where its project grants it.
fn a_granted_link_leads_over_projects(engine: &Engine) {
    let room = Sandbox::new(engine);
    let near = room.fill(&instance("web", SERVE));
    let far = room.fill(&instance("db", SERVE)).replace(room.project(), &far_project(&room));
    let grant = format!(
        "---\napiVersion: windlass/v1\nkind: Project\nmetadata: {{ name: {} }}\nspec: {{ grant: [{{ project: {} }}] }}\n",
        far_project(&room),
        room.project()
    );
    let declared =
        link("web-db", &format!("{{ from: web, to: {}/db, ports: [8080] }}", far_project(&room)));
    room.spec("set.yaml", &(near + &*far + &*grant + &*declared));
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    let web = id(&room, "web");
    assert!(reaches(engine, &web, "db", 8080));
    assert!(!reaches(engine, &web, "db", 9090));
    room.spec("set.yaml", &(room.fill(&instance("web", SERVE)) + &*far + &*grant));
    assert!(held.apply().is_good());
    assert!(held.down().is_good());
}

fn far_project(room: &Sandbox<'_>) -> String {
    format!("{}-far", room.project())
}

#[test]
fn a_link_opens_one_way_on_20_10() {
    a_link_opens_one_way(engine!(V20_10));
}

#[test]
fn a_link_opens_one_way_on_26_1() {
    a_link_opens_one_way(engine!(V26_1));
}

#[test]
fn a_link_follows_its_target_on_20_10() {
    a_link_follows_its_target(engine!(V20_10));
}

#[test]
fn a_link_follows_its_target_on_26_1() {
    a_link_follows_its_target(engine!(V26_1));
}

#[test]
fn rules_outlive_their_engine_on_20_10() {
    rules_outlive_their_engine(&private!(V20_10));
}

#[test]
fn rules_outlive_their_engine_on_26_1() {
    rules_outlive_their_engine(&private!(V26_1));
}

#[test]
fn a_taken_range_is_left_alone_on_20_10() {
    a_taken_range_is_left_alone(&private!(V20_10));
}

#[test]
fn a_granted_link_leads_over_projects_on_20_10() {
    a_granted_link_leads_over_projects(engine!(V20_10));
}

#[test]
fn a_granted_link_leads_over_projects_on_26_1() {
    a_granted_link_leads_over_projects(engine!(V26_1));
}
