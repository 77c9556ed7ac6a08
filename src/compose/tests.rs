//! The cases of `tests/compose`: each is a folder with a Compose file, and what is made of it.
//!
//! `UPDATE_EXPECT=1` writes what is made now; look at the difference before you commit it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Imported, World, import};
use crate::hint::Hint;
use crate::manifest::Loader;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() >= 12, "{} cases", cases.len());
    cases
}

/// What is made of a case, with an environment that is the same everywhere.
fn made(case: &Path, target: Option<&Path>) -> Imported {
    let text = fs::read_to_string(case.join("compose.yaml")).unwrap();
    let environment = |name: &str| match name {
        "TAG" => Some("1.4".to_owned()),
        "HOME" => Some("/root".to_owned()),
        _ => None,
    };
    let read = |path: &Path| fs::read_to_string(path).map_err(|_| "it is not there".to_owned());
    let exists = |path: &Path| path.starts_with(case) && path.exists();
    let profiles = BTreeSet::from(["extra".to_owned()]);
    let world = World {
        folder: case,
        target,
        environment: &environment,
        read: &read,
        exists: &exists,
        profiles: &profiles,
    };
    import(&text, "compose.yaml", &world).unwrap()
}

#[test]
fn each_case_becomes_what_is_expected() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let Imported { files, notes } = made(&case, Some(&case.join("specs")));
        let mut said = String::new();
        for (name, text) in &files {
            said.push_str(&format!("=== {name}\n{text}"));
        }
        said.push_str("=== notes\n");
        for note in notes {
            said.push_str(&format!("{}: {note}\n", note.line));
        }
        let said = said.replace(&*case.to_string_lossy(), "$HERE");
        let said = said.replace(&*case.parent().unwrap().to_string_lossy(), "$ABOVE");
        let expected = case.join("expected");
        if update {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_EXPECT=1 rewrites these:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_made_is_valid() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in made(&case, None).files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let reading = Loader::new(folder.path().to_owned(), BTreeMap::new()).read(&Hint::All);
        let shown: Vec<_> = reading.diagnostics.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "{}:\n{}", case.display(), shown.join("\n"));
        assert!(!reading.specs.desired.instances.is_empty());
    }
}

/// What is refused, and how.
#[test]
fn what_cannot_be_read_is_refused() {
    let refused = |text: &str| {
        let (environment, exists) = (|_: &str| None, |_: &Path| false);
        let read = |_: &Path| Err("it is not there".to_owned());
        let world = World {
            folder: Path::new("/srv/shop"),
            target: None,
            environment: &environment,
            read: &read,
            exists: &exists,
            profiles: &BTreeSet::new(),
        };
        import(text, "compose.yaml", &world).map(|made| made.files).unwrap_err().to_string()
    };
    assert_eq!(refused(""), "compose.yaml holds nothing");
    assert_eq!(refused("a: b"), "compose.yaml declares no services: is it a Compose file?");
    let unset = "services:\n  web:\n    image: \"web:${TAG:?which one?}\"\n";
    assert_eq!(refused(unset), "compose.yaml:3: the variable `TAG` must be set: which one?");
    assert!(refused("services: [").contains("this is not YAML"), "{}", refused("services: ["));
}

/// A sample of each field that a service can have by the Compose specification, and that means
/// something: none of them may leave no trace.
const FIELDS: &str = r#"
annotations: { a: b }
attach: false
blkio_config: { weight: 100 }
build: .
cap_add: [NET_ADMIN]
cap_drop: [ALL]
cgroup: host
cgroup_parent: m
command: run
configs: [c]
container_name: other
cpu_count: 2
cpu_percent: 50
cpu_period: 1000
cpu_quota: 50000
cpu_rt_period: 1000
cpu_rt_runtime: 400
cpu_shares: 100
cpus: 0.5
cpuset: "0"
credential_spec: { file: a.json }
depends_on: [other]
deploy: { replicas: 2 }
deploy: { resources: { limits: { memory: 64m } } }
deploy: { resources: { reservations: { cpus: "1" } } }
deploy: { labels: { a: b } }
develop: { watch: [] }
device_cgroup_rules: ["c 1:3 mr"]
devices: [/dev/null]
dns: 10.0.0.1
dns_opt: ["ndots:2"]
dns_search: example.org
domainname: example.org
driver_opts: { a: b }
entrypoint: [run]
env_file: gone.env
environment: { A: b }
expose: [80]
extends: other
external_links: [a]
extra_hosts: ["a:10.0.0.1"]
gpus: all
group_add: [1]
healthcheck: { test: "true" }
hostname: a
init: true
ipc: host
isolation: default
label_file: a
labels: [a=b]
links: [other]
logging: { driver: none }
mac_address: "02:42:ac:11:00:02"
mem_limit: 64m
mem_reservation: 64m
mem_swappiness: 10
memswap_limit: 64m
models: [m]
network_mode: host
networks: [back]
oom_kill_disable: true
oom_score_adj: 1
pid: host
pids_limit: 10
platform: linux/arm64
ports: ["80:80"]
post_start: [ { command: a } ]
pre_stop: [ { command: a } ]
privileged: true
profiles: [hidden]
provider: { type: a }
pull_policy: always
read_only: true
restart: always
runtime: runc
scale: 2
secrets: [s]
security_opt: ["label:disable"]
shm_size: 64m
stdin_open: true
stop_grace_period: 5s
stop_signal: INT
storage_opt: { size: 1G }
sysctls: { net.core.somaxconn: 1 }
tmpfs: /tmp
tty: true
ulimits: { nofile: 10 }
use_api_socket: true
user: "1"
userns_mode: host
uts: host
volumes: ["data:/data"]
volumes_from: [other]
working_dir: /a
unheard_of: 1
"#;

#[test]
fn no_field_of_a_service_leaves_no_trace() {
    let made = |field: &str| {
        let text = format!(
            "services:\n  other: {{ image: o }}\n  app:\n    image: a\n    {field}\nnetworks: {{ back: {{}} }}\n"
        );
        let (environment, exists) = (|_: &str| None, |_: &Path| false);
        let read = |_: &Path| Err("it is not there".to_owned());
        let world = World {
            folder: Path::new("/srv/shop"),
            target: None,
            environment: &environment,
            read: &read,
            exists: &exists,
            profiles: &BTreeSet::new(),
        };
        import(&text, "compose.yaml", &world).unwrap()
    };
    let plain = made("");
    assert!(plain.notes.is_empty());
    let silent = |field: &&str| {
        let made = made(field);
        made.notes.is_empty() && made.files == plain.files
    };
    let fields = || FIELDS.lines().filter(|line| !line.is_empty());
    assert!(fields().count() > 90);
    let silent: Vec<_> = fields().filter(silent).collect();
    // It extends a service that says nothing more, and without a quota a period says nothing.
    assert_eq!(silent, ["cpu_period: 1000", "extends: other"]);
}
