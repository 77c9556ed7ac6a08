//! Every field of an Instance, each on a container of its own: what was asked for is read back, so
//! that planning again finds nothing to do.

use std::collections::BTreeMap;

use reconciler::diff::{Class, fields};

use windlass::app::Mode;

use super::room::{
    LIVE, Loop, apply_well, assert_settled, instance, networks, one, seen, settings,
};
use crate::lab::{Engine, Sandbox, docker};

/// How a field is shown.
enum Shown {
    /// On a container that runs.
    Runs(&'static str),
    /// On one that is only created: this machine cannot start it.
    Created(&'static str),
}
use Shown::{Created, Runs};

/// One row for each field of the table: lines of a spec that set it.
fn rows() -> BTreeMap<&'static str, Shown> {
    BTreeMap::from([
        ("image", Runs("")),
        ("command", Runs("")),
        ("args", Runs("args: [a, b]")),
        ("env", Runs("env: { MODE: 'a b', EMPTY: \"\" }")),
        ("envFiles", Runs("envFiles: [app.env]\nenv: { MODE: own }")),
        ("labels", Runs("labels: { team: front }")),
        ("hostname", Runs("hostname: web.example.org")),
        (
            "ports",
            Runs(
                "ports: [{ container: 53, protocol: udp }, { container: 80, host: $port0, address: 127.0.0.1 }, { container: 81, host: $port1 }]",
            ),
        ),
        (
            "volumes",
            Runs(
                "volumes: [{ volume: data, target: /data, readOnly: true }, { bind: /etc, target: /host, readOnly: true }, { tmpfs: 1Mi, target: /cache }]",
            ),
        ),
        (
            "health.exec",
            Runs(
                "health: { exec: ['true'], interval: 1500ms, timeout: 700ms, retries: 2, startPeriod: 5s }",
            ),
        ),
        ("health.interval", Runs("health: { exec: ['true'], interval: 3s }")),
        ("health.timeout", Runs("health: { exec: ['true'], timeout: 2s }")),
        ("health.retries", Runs("health: { exec: ['true'], retries: 7 }")),
        ("health.startPeriod", Runs("health: { exec: ['true'], startPeriod: 4s }")),
        ("health.http", Runs("health: { http: { port: 8080 }, interval: 1h, startPeriod: 1h }")),
        ("health.tcp", Runs("health: { tcp: 8080, interval: 1h, startPeriod: 1h }")),
        ("stop.signal", Runs("stop: { signal: USR1, timeout: 1s }")),
        ("stop.timeout", Runs("stop: { timeout: 2s }")),
        ("network mode", Runs("networks: [none]")),
        (
            "networks",
            Runs(
                "networks: [{ network: front, aliases: [db], address: $subnet.77 }, back, bridge]",
            ),
        ),
        ("resources.cpus", Runs("resources: { cpus: 0.25 }")),
        ("resources.cpuShares", Runs("resources: { cpuShares: 512 }")),
        ("resources.cpuset", Runs("resources: { cpuset: '1,0' }")),
        ("resources.memory", Runs("resources: { memory: 32Mi }")),
        ("resources.memorySwap", Runs("resources: { memory: 32Mi, memorySwap: 40Mi }")),
        ("resources.pids", Runs("resources: { pids: 40 }")),
        ("resources.disk", Runs("resources: { disk: 1Gi }")),
        ("requests", Runs("requests: { cpus: 10m, memory: 8Mi }")),
        ("protected", Runs("protected: true")),
        (
            "resources.io",
            Runs(
                "resources: { io: { weight: 300, readBps: { /dev/loop0: 1Mi }, writeBps: { /dev/loop0: 2Mi }, readIops: { /dev/loop0: 100 }, writeIops: { /dev/loop0: 200 } } }",
            ),
        ),
        ("engine restart policy", Runs("")),
        ("flavor", Runs("flavor: small")),
        ("replicas", Runs("replicas: 2")),
        ("power", Runs("power: paused")),
        ("restart", Runs("restart: on-failure")),
        ("workdir", Runs("workdir: /srv/app")),
        (
            "files",
            Runs(
                "files: [{ path: /etc/app/app.conf, content: 'a: 1', mode: 0600, uid: 7, gid: 8 }, { path: /etc/app/beside, source: beside.txt }]",
            ),
        ),
        ("userData", Runs("userData: { path: /var/lib/user-data, content: '#!/bin/sh' }")),
        ("dns", Runs("dns: { servers: [10.0.0.2], search: [example.org], options: ['ndots:2'] }")),
        (
            "extraHosts",
            Runs("extraHosts: { db.example.org: 10.1.2.3, node: host-gateway, six: '::1' }"),
        ),
        ("init", Runs("init: true")),
        ("tty", Runs("tty: true")),
        ("log", Runs("log: { driver: json-file, options: { max-size: 1m } }")),
        ("update", Runs("update: { maxUnavailable: 1 }")),
        ("placement", Runs("placement: { node: lab, selector: { zone: a } }")),
        (
            "dependsOn",
            Runs(
                "dependsOn: [image, { instance: command, condition: healthy }, { instance: job, condition: completed }]",
            ),
        ),
        ("security.user", Runs("security: { user: '1000:1000' }")),
        ("security.groups", Runs("security: { groups: [10, 20] }")),
        ("security.readOnlyRoot", Runs("security: { readOnlyRoot: true }")),
        ("security.noNewPrivileges", Runs("security: { noNewPrivileges: true }")),
        ("security.capAdd", Runs("security: { capAdd: [net_admin, CAP_SYS_TIME] }")),
        ("security.capDrop", Runs("security: { capDrop: [ALL] }")),
        ("security.privileged", Created("security: { privileged: true }")),
        (
            "security.devices",
            Runs(
                "security: { devices: [{ host: /dev/fuse, permissions: wr }, { host: /dev/null, container: /dev/nothing }] }",
            ),
        ),
        ("security.seccomp", Runs("security: { seccomp: profile.json }")),
        ("security.apparmor", Runs("security: { apparmor: unconfined }")),
        ("security.sysctls", Runs("security: { sysctls: { net.core.somaxconn: 512 } }")),
        (
            "security.ulimits",
            Created("security: { ulimits: { nofile: 30000, core: { soft: 0, hard: unlimited } } }"),
        ),
        ("security.namespaces.ipc", Runs("security: { namespaces: { ipc: shareable } }")),
        ("security.namespaces.pid", Runs("security: { namespaces: { pid: host } }")),
        ("security.namespaces.uts", Runs("security: { namespaces: { uts: host } }")),
        ("security.namespaces.cgroup", Runs("security: { namespaces: { cgroup: private } }")),
        ("security.namespaces.user", Runs("security: { namespaces: { user: host } }")),
    ])
}

/// Fields that have tests of their own: a core of one instance is one less for all the others.
const ELSEWHERE: [&str; 1] = ["resources.cpuPolicy"];

/// A name that can be an instance's.
fn plain(field: &str) -> String {
    field.replace(['.', ' '], "-").to_lowercase()
}

fn set(subnet: &str) -> String {
    let mut set = instance("job", "command: ['true']\nrestart: never");
    // Engines take a profile where the kernel has no AppArmor, and enforce nothing.
    set += &instance("confined", &format!("{LIVE}\nsecurity: {{ apparmor: docker-default }}"));
    for (field, shown) in rows() {
        let lines = match shown {
            Runs(lines) => lines.to_owned(),
            Created(lines) => format!("{lines}\npower: stopped"),
        };
        let lines = lines.replace("$subnet", subnet);
        set += &instance(&plain(field), &format!("{LIVE}\n{lines}"));
    }
    let other = |kind: &str, name: &str, spec: &str| {
        format!(
            "---\napiVersion: windlass/v1\nkind: {kind}\nmetadata: {{ name: {name}, project: $project }}\nspec: {spec}\n"
        )
    };
    set += &other("Volume", "data", "{ retain: false }");
    set += &other("Flavor", "small", "{ cpus: 0.2, memory: 24Mi, pids: 20 }");
    set += &other(
        "Network",
        "front",
        &format!("{{ subnets: [{{ subnet: {subnet}.0/24, gateway: {subnet}.1 }}] }}"),
    );
    set += &other("Network", "back", "{ internal: true }");
    set
}

/// A system call filter that allows all.
const PROFILE: &str = "{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}\n";

/// What the engine drops, or cannot enforce, is a condition, and only that.
fn what_is_not_enforced_is_said(room: &Sandbox<'_>) {
    let engine = room.engine();
    let held = Loop::start(&settings(room), Mode::Look);
    let says = |name: &str, part: &str| {
        let conditions = held.status(name).conditions;
        let of = |kind: &str| conditions.iter().find(|condition| condition.kind == kind).cloned();
        of("NotEnforced").is_some_and(|condition| condition.message.contains(part))
    };
    let weight = &one(room, "resources-io", 0).0["HostConfig"]["BlkioWeight"];
    assert_eq!(says("resources-io", "weight"), weight.as_u64() == Some(0), "{weight}");
    let driver = docker(engine, &["info", "--format", "{{.Driver}} {{json .DriverStatus}}"]);
    let knows_sizes = driver.starts_with("btrfs")
        || driver.starts_with("zfs")
        || driver.contains(r#"["Backing Filesystem","xfs"]"#);
    assert_eq!(says("resources-disk", "disk"), !knows_sizes, "{driver}");
    let options = docker(engine, &["info", "--format", "{{.SecurityOptions}}"]);
    let lacks = !options.contains("name=apparmor");
    assert_eq!(says("confined", "AppArmor"), lacks, "{options}");
    assert!(!says("security-apparmor", ""), "unconfined needs no AppArmor");
}

fn every_field_is_set_read_back_and_planned_again(engine: &Engine) {
    let known = rows();
    for row in fields() {
        let is_tried = known.contains_key(row.name) || ELSEWHERE.contains(&row.name);
        assert!(is_tried, "{} is not tried", row.name);
        let _: Class = row.class;
    }
    let room = Sandbox::new(engine);
    let subnet = room.subnet();
    std::fs::write(room.specs().join("app.env"), "# its own\nMODE=file\nFROM=file\n")
        .expect("written");
    std::fs::write(room.specs().join("beside.txt"), "beside\n").expect("written");
    std::fs::write(room.specs().join("profile.json"), PROFILE).expect("written");
    let node = std::fs::read_to_string(room.specs().join("node.yaml")).expect("a node");
    room.spec("node.yaml", &node.replace("name: lab", "name: lab, labels: { zone: a }"));
    room.spec("set.yaml", &set(&subnet));
    apply_well(&room);
    assert_settled(&room);
    assert_eq!(apply_well(&room).steps, 0);

    what_is_not_enforced_is_said(&room);

    // What containers see of it, beside what the engine says of it.
    let run = |name: &str, command: &[&str]| {
        let id = one(&room, name, 0).id().to_owned();
        docker(engine, &[&["exec", &id][..], command].concat())
    };
    assert_eq!(run("files", &["stat", "-c", "%a %u %g", "/etc/app/app.conf"]).trim(), "600 7 8");
    assert_eq!(run("files", &["cat", "/etc/app/app.conf", "/etc/app/beside"]), "a: 1beside");
    assert_eq!(run("userdata", &["cat", "/var/lib/user-data"]), "#!/bin/sh");
    assert_eq!(run("envfiles", &["sh", "-c", "echo $MODE $FROM"]).trim(), "own file");
    assert_eq!(run("workdir", &["pwd"]).trim(), "/srv/app");
    assert_eq!(run("hostname", &["hostname"]).trim(), "web.example.org");
    assert_eq!(run("security-user", &["id", "-u"]).trim(), "1000");
    let address = run("networks", &["cat", "/etc/hosts"]);
    assert!(address.contains(&format!("{subnet}.77")), "{address}");
    let found = run("networks", &["nslookup", "networks-0"]);
    assert!(found.contains(&format!("{subnet}.77")), "{found}");
    assert!(run("extrahosts", &["cat", "/etc/hosts"]).contains("10.1.2.3\tdb.example.org"));
    assert_eq!(one(&room, "flavor", 0).memory(), 24 << 20);
    // Taken away as a whole: networks go when nothing is on them any more.
    let looped = Loop::start(&settings(&room), Mode::Act { hold: false });
    let outcome = looped.down();
    assert!(outcome.is_good(), "{outcome:#?}");
    looped.stop();
    assert!(seen(&room).is_empty());
    assert!(networks(&room).is_empty());
}

/// What changes in place leaves the containers' lives alone.
fn fields_change_in_place(engine: &Engine) {
    let room = Sandbox::new(engine);
    let with = |lines: &str| {
        let networks: String = ["front", "back"]
            .map(|name| format!("---\napiVersion: windlass/v1\nkind: Network\nmetadata: {{ name: {name}, project: $project }}\n"))
            .concat();
        networks + &*instance("web", &format!("{LIVE}\n{lines}"))
    };
    room.spec("set.yaml", &with("networks: [front]\nresources: { memory: 64Mi, cpuset: '0' }"));
    apply_well(&room);
    let life = one(&room, "web", 0).life();
    for lines in [
        "networks: [front, back]\nresources: { memory: 64Mi, memorySwap: 64Mi, cpuset: 0-1, cpuShares: 300 }",
        "networks: [front, { network: back, aliases: [extra] }]\nresources: { memory: 48Mi, memorySwap: unlimited, cpuset: '1' }",
        "networks: [{ network: front, aliases: [other] }]\nresources: { cpuset: '1', pids: 20 }",
    ] {
        room.spec("set.yaml", &with(lines));
        let outcome = apply_well(&room);
        assert!(outcome.steps > 0, "{outcome:#?}");
        assert_settled(&room);
        assert_eq!(one(&room, "web", 0).life(), life, "{lines}");
    }
    // Another hand.
    let (front, id) = (format!("{}.front", room.project()), life.0.clone());
    docker(engine, &["network", "disconnect", &front, &id]);
    docker(engine, &["network", "connect", "bridge", &id]);
    assert!(apply_well(&room).steps >= 2);
    assert_settled(&room);
    assert_eq!(one(&room, "web", 0).life(), life);
}

/// A changed content of a file rolls the instance, and only then.
fn content_rolls(engine: &Engine) {
    let room = Sandbox::new(engine);
    let write = |name: &str, text: &str| {
        std::fs::write(room.specs().join(name), text).expect("written");
    };
    write("app.env", "MODE=one\n");
    write("app.conf", "one\n");
    let spec =
        format!("{LIVE}\nenvFiles: [app.env]\nfiles: [{{ path: /app.conf, source: app.conf }}]");
    room.spec("set.yaml", &instance("web", &spec));
    apply_well(&room);
    let first = one(&room, "web", 0);
    write("app.env", "# another word\nMODE=one\n");
    write("app.conf", "one\n");
    assert_eq!(apply_well(&room).steps, 0);
    write("app.conf", "two");
    apply_well(&room);
    let second = one(&room, "web", 0);
    assert_ne!(second.id(), first.id());
    assert_eq!(docker(engine, &["exec", second.id(), "cat", "/app.conf"]), "two");
    write("app.env", "MODE=two\n");
    apply_well(&room);
    let third = one(&room, "web", 0);
    assert_ne!(third.id(), second.id());
    assert_settled(&room);
}

#[test]
fn every_field_on_20_10() {
    every_field_is_set_read_back_and_planned_again(engine!(V20_10));
}

#[test]
fn every_field_on_26_1() {
    every_field_is_set_read_back_and_planned_again(engine!(V26_1));
}

#[test]
fn in_place_on_20_10() {
    fields_change_in_place(engine!(V20_10));
}

#[test]
fn in_place_on_26_1() {
    fields_change_in_place(engine!(V26_1));
}

#[test]
fn content_rolls_on_20_10() {
    content_rolls(engine!(V20_10));
}
