//! Every field has its row, and a container that is as asked differs in none.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::model::ids::{ImageName, Name, Revision};
use crate::model::observed::{ContainerConfig, ContainerState, HealthState, Identity, MoreConfig};
use crate::model::quantity::{Bytes, Cpus, Span};
use crate::model::sparse::Sparse;
use crate::model::spec::*;
use crate::model::time::Timestamp;
use crate::want;

/// An instance with a value in every field. All are named: one that is added does not compile
/// until it has one here too.
fn full() -> InstanceSpec {
    let text = str::to_owned;
    let map = || BTreeMap::from([(text("k"), text("v"))]);
    let name = |text| Name::new(text).unwrap();
    let file = |path: &str| FileSpec {
        path: text(path),
        content: Content::Text("x".into()),
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    InstanceSpec {
        image: ImageName::Reference("busybox:latest".into()),
        resources: Resources {
            cpu_policy: CpuPolicy::Dedicated,
            cpus: Some(Cpus(Cpus::NANO)),
            cpu_shares: Some(512),
            cpuset: Some("0-1".into()),
            memory: Some(Bytes(64 << 20)),
            memory_swap: Some(Swap::Total(Bytes(96 << 20))),
            pids: Some(50),
            disk: Some(Bytes(1 << 30)),
            io: Sparse::new(BlockIo {
                weight: Some(300),
                read_bps: BTreeMap::from([(text("/dev/a"), Bytes(1))]),
                write_bps: BTreeMap::from([(text("/dev/a"), Bytes(1))]),
                read_iops: BTreeMap::from([(text("/dev/a"), 1)]),
                write_iops: BTreeMap::from([(text("/dev/a"), 1)]),
            }),
        },
        flavor: Some(text("m1.tiny")),
        replicas: 1,
        power: Power::Running,
        command: Some(vec![text("a")]),
        args: Some(vec![text("b")]),
        env: map(),
        ports: vec![Port {
            container: 80,
            protocol: Protocol::Tcp,
            host: Some(PortRange { first: 8080, last: 8080 }),
            address: Some(text("127.0.0.1")),
        }],
        volumes: vec![Mount {
            source: MountSource::Bind(text("/srv")),
            target: text("/srv"),
            read_only: true,
            shared: false,
        }],
        restart: Restart::Always,
        health: Some(Health {
            check: HealthProbe::Exec(vec![text("true")]),
            interval: Span(1),
            timeout: Span(1),
            retries: 1,
            start_period: Span(1),
        }),
        stop: Stop { signal: Some(text("SIGTERM")), timeout: Span(1) },
        labels: map(),
        more: Sparse::new(More {
            workdir: Some(text("/w")),
            env_files: vec![LocalFile { path: text("/e"), digest: text("sha256:0") }],
            files: vec![file("/f")],
            user_data: Some(file("/u")),
            hostname: Some(text("h")),
            networks: vec![NetworkUse {
                network: NetworkName::Declared("shop/front".parse().unwrap()),
                aliases: vec![text("db")],
                address: Some("10.0.0.5".parse().unwrap()),
            }],
            dns: Sparse::new(Dns {
                servers: vec![text("10.0.0.2")],
                search: vec![text("x")],
                options: vec![text("ndots:2")],
            }),
            extra_hosts: map(),
            update: Some(Update::default()),
            placement: Some(Placement {
                node: Some(name("n1")),
                selector: map(),
                spread: Some("zone".to_owned()),
            }),
            depends_on: vec![Dependency {
                instance: "shop/db".parse().unwrap(),
                condition: Condition::Healthy,
            }],
            security: Sparse::new(Security {
                user: Some(text("1000")),
                groups: [text("10")].into(),
                read_only_root: true,
                no_new_privileges: true,
                cap_add: [text("NET_ADMIN")].into(),
                cap_drop: [text("ALL")].into(),
                privileged: true,
                devices: BTreeMap::from([(
                    text("/dev/fuse"),
                    Device { host: text("/dev/fuse"), permissions: text("rw") },
                )]),
                seccomp: Some("unconfined".into()),
                apparmor: Some(text("unconfined")),
                sysctls: map(),
                ulimits: BTreeMap::from([(text("nofile"), Ulimit { soft: 1, hard: 2 })]),
                namespaces: Namespaces {
                    ipc: Some(text("shareable")),
                    pid: Some(text("host")),
                    uts: Some(text("host")),
                    cgroup: Some(text("host")),
                    user: Some(text("host")),
                },
            }),
            init: Some(true),
            tty: true,
            log: Some(Log { driver: text("local"), options: map() }),
            requests: Requests { cpus: Some(Cpus(1)), memory: Some(Bytes(1)) },
            protected: true,
        }),
    }
}

/// The paths of all fields, as users write them.
fn paths(prefix: &str, value: &Value, found: &mut Vec<String>) {
    /// Mappings whose keys are fields, and not the users' own words.
    const NESTED: [&str; 5] = ["resources", "security", "security.namespaces", "health", "stop"];
    let Value::Object(fields) = value else { return found.push(prefix.to_owned()) };
    if !prefix.is_empty() && !NESTED.contains(&prefix) {
        return found.push(prefix.to_owned());
    }
    for (name, value) in fields {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        paths(&path, value, found);
    }
}

#[test]
fn every_field_has_a_row() {
    let mut declared = Vec::new();
    paths("", &serde_json::to_value(full()).unwrap(), &mut declared);
    assert!(declared.len() > 45, "{declared:?}");
    for path in &declared {
        // What a network mode is follows from networks.
        let found = fields().any(|row| row.name == path);
        assert!(found, "{path} has no row in the table");
    }
    for row in fields() {
        assert!(!row.normalised.is_empty(), "{} does not say how it is normalised", row.name);
        let ours = ["network mode", "engine restart policy", "health.http", "health.tcp"];
        let known = declared.iter().any(|path| path == row.name) || ours.contains(&row.name);
        assert!(known, "{} is a row of no field", row.name);
    }
}

fn container(spec: &InstanceSpec, replica: &ReplicaKey) -> ObservedContainer {
    ObservedContainer {
        name: replica.container_name(1),
        identity: Identity {
            replica: replica.clone(),
            revision: Revision("r".into()),
            incarnation: 1,
            uid: String::new(),
        },
        state: ContainerState::Created,
        health: HealthState::None,
        image: ImageId("sha256:1".into()),
        config: want::config(
            spec,
            replica,
            replica.ordinal,
            "",
            Some(Ipv4Addr::new(10, 144, 8, 1)),
            &Linked::default(),
        ),
        address: None,
        addresses: Default::default(),
        created_at: Timestamp(0),
        masked_paths: None,
        shared_mounts: None,
        hosts_path: None,
        hosts: None,
    }
}

fn changes(spec: &InstanceSpec, have: &ObservedContainer, replica: &ReplicaKey) -> Vec<String> {
    let limits = want::limits(&spec.resources);
    let linked = Linked::default();
    let want = Want {
        replica,
        spec,
        limits: &limits,
        linked: &linked,
        image: Some(&have.image),
        kernel: false,
    };
    differences(&want, have).into_iter().map(|(_, change)| change.field).collect()
}

#[test]
fn what_was_asked_for_is_no_difference() {
    let (spec, replica) = (full(), ReplicaKey::new("shop/web".parse().unwrap(), 0));
    let have = container(&spec, &replica);
    assert_eq!(changes(&spec, &have, &replica), [""; 0]);
}

#[test]
fn each_compared_field_shows_where_it_differs() {
    let (spec, replica) = (full(), ReplicaKey::new("shop/web".parse().unwrap(), 0));
    let mut bare = spec.clone();
    bare.more = Sparse::default();
    bare.resources = Resources::default();
    let mut have = container(&bare, &replica);
    have.config = ContainerConfig::default();
    let cgroup = Some("private".to_owned());
    let namespaces = Namespaces { cgroup, ..Namespaces::default() };
    let security = Security { namespaces, ..Security::default() };
    // A size that is not there is said as a condition, too.
    let disk = Some(Bytes(1));
    have.config.more = Sparse::new(MoreConfig { security, disk, ..MoreConfig::default() });
    let found = changes(&spec, &have, &replica);
    for row in fields() {
        let is_compared = row.class != Class::Ignored && row.compare.is_some();
        // Only lifting a limit shows in the second row of a field, and a weight that is not there
        // is said as a condition; the image is the same here.
        let name = row.name.strip_prefix("resources.").unwrap_or(row.name);
        let name = match name {
            "network mode" => "network",
            "networks" => "network shop.front",
            "health.exec" => "health",
            "image" | "memorySwap" => continue,
            name => name,
        };
        let shown = found.iter().any(|field| {
            field == name
                || field.starts_with(&format!("{name}."))
                || field.starts_with(&format!("{name} "))
        });
        assert!(!is_compared || shown, "{name} does not show in {found:?}");
    }
}

#[test]
fn links_bring_variables_that_the_spec_goes_before_and_names_that_wait() {
    let (mut spec, replica) = (full(), ReplicaKey::new("shop/web".parse().unwrap(), 0));
    spec.more = Sparse::default();
    spec.env.insert("DB_PORT".to_owned(), "mine".to_owned());
    let target = crate::testing::instance("db:1");
    let link = LinkSpec {
        from: "shop/web".parse().unwrap(),
        to: "shop/db".parse().unwrap(),
        alias: "db".to_owned(),
        ports: vec![LinkPort { port: 80, protocol: Protocol::Tcp }],
        condition: None,
        env: true,
    };
    let source = crate::model::desired::Source { file: "a".into(), line: 1, column: 1 };
    let mut desired = crate::model::desired::DesiredSet::default();
    let declared = crate::model::desired::Declared::new(target, source);
    desired.instances.insert(link.to.clone(), declared);
    let linked = |link: &LinkSpec, address: &str| {
        let known = BTreeMap::from([(link.alias.clone(), Some(address.parse().unwrap()))]);
        Linked::of(&desired, (&replica.instance, &spec), [link].into_iter(), &known)
    };
    let first = linked(&link, "10.144.8.2");
    let mut have = container(&spec, &replica);
    have.config = want::config(
        &spec,
        &replica,
        replica.ordinal,
        "",
        Some(Ipv4Addr::new(10, 144, 8, 1)),
        &first,
    );
    assert_eq!(have.config.env["DB_PORT"], "mine");
    assert_eq!(have.config.env["DB_PORT_80_TCP_ADDR"], "10.144.8.2");
    assert_eq!(have.config.env["DB_NAME"], "/shop.web.0/db");
    let names = have.config.attachments["shop._"].links.clone();
    assert_eq!(names, BTreeMap::from([("db".to_owned(), "db".to_owned())]));
    let limits = want::limits(&spec.resources);
    let found = |linked: &Linked| -> Vec<String> {
        let want = Want {
            replica: &replica,
            spec: &spec,
            limits: &limits,
            linked,
            image: Some(&have.image),
            kernel: false,
        };
        differences(&want, &have).into_iter().map(|(_, change)| change.field).collect()
    };
    assert_eq!(found(&first), [""; 0]);
    let moved = found(&linked(&link, "10.144.8.3"));
    assert_eq!(moved, ["env.DB_PORT_80_TCP", "env.DB_PORT_80_TCP_ADDR"]);
    // Another alias is for the next container: joining anew would cost the connections of this one.
    let renamed = LinkSpec { alias: "store".to_owned(), env: false, ..link };
    assert_eq!(found(&linked(&renamed, "10.144.8.2")), [""; 0]);
}
