//! What was asked for is what is read back.

use std::collections::BTreeMap;

use reconciler::model::observed::{
    ContainerConfig, ContainerState, HealthCheck, HealthState, HostPort, Limits, MountFrom,
    MountPoint, PortBinding,
};
use reconciler::model::spec::Protocol;
use reconciler::ports::{Done, Driver, DriverErrorKind};
use reconciler::step::Action;
use windlass::docker::labels;

use super::engine::{live, start};

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// Every field with a value that no default has.
fn full_config(volume: &str, cgroup: &str, host_port: u16) -> ContainerConfig {
    let port = |container, protocol, host: Option<(&str, u16)>| PortBinding {
        container,
        protocol,
        host: host.map(|(address, port)| HostPort { address: address.to_owned(), port }),
    };
    let mount = |target: &str, source, read_only| MountPoint {
        target: target.to_owned(),
        source,
        read_only,
    };
    ContainerConfig {
        entrypoint: Some(words(["/bin/sh", "-c"])),
        cmd: Some(words(["sleep 1000"])),
        env: map([("EMPTY", ""), ("MODE", "a=b c"), ("QUOTED", "\"$HOME\"\nnext")]),
        labels: map([("team", "front"), ("tier", "web")]),
        hostname: "web-0".to_owned(),
        ports: vec![
            port(53, Protocol::Udp, Some(("", host_port))),
            port(80, Protocol::Tcp, Some(("127.0.0.1", host_port))),
            port(81, Protocol::Tcp, None),
        ],
        mounts: vec![
            mount("/cache", MountFrom::Tmpfs(1 << 20), false),
            mount("/data", MountFrom::Volume(volume.to_owned()), false),
            mount("/host", MountFrom::Bind("/etc".to_owned()), true),
            mount("/scratch", MountFrom::Tmpfs(0), false),
        ],
        limits: Limits {
            nano_cpus: 250_000_000,
            memory: 64 << 20,
            memory_swap: 128 << 20,
            pids: 40,
            cpu_shares: 300,
            cpuset: "0-1".into(),
        },
        health: Some(HealthCheck {
            exec: words(["test", "-d", "/"]),
            interval_ms: 1500,
            timeout_ms: 700,
            retries: 2,
            start_period_ms: 5000,
        }),
        stop_signal: Some("USR1".to_owned()),
        stop_timeout_s: Some(7),
        cgroup_parent: format!("{cgroup}/shop"),
        restart_policy: "no".to_owned(),
        network: "bridge".to_owned(),
        attachments: Default::default(),
        more: Default::default(),
    }
}

#[test]
fn every_field_is_read_back_as_asked() {
    live(|world| async move {
        let volume = world.unique("data");
        let key = "shop/data".parse().expect("a key");
        let create_volume = Action::CreateVolume {
            name: volume.clone(),
            driver: "local".to_owned(),
            options: map([("type", "tmpfs"), ("device", "tmpfs")]),
            labels: labels::of_volume(&world.owner, &key),
            retain: true,
        };
        assert_eq!(world.act(create_volume.clone()).await, Ok(Done::AsAsked));
        assert_eq!(world.act(create_volume).await, Ok(Done::AsAsked), "a second time");

        let asked = full_config(&volume, world.engine.cgroup(), world.engine.ports(1));
        let name = world.unique("full");
        let id = world.create(&name, asked.clone()).await;
        for round in ["created", "started"] {
            let listing = world.driver.list(&world.owner).await.expect("a list");
            assert!(listing.engine.version.starts_with(world.engine.version()));
            assert!(listing.engine.api_version.starts_with("1.4"), "{:?}", listing.engine);
            assert!(!listing.engine.id.is_empty() && listing.engine.cpus > 0);
            let listed = listing.containers.get(&id).expect("it is listed");
            assert_eq!(*listed, world.inspect(&id).await, "{round}");
            assert_eq!(listed.name, name);
            assert_eq!(listed.image, world.image);
            assert_eq!(listed.identity.replica.to_string(), "shop/web/0");
            let found = &listed.config;
            for (name, value) in &asked.env {
                assert_eq!(found.env.get(name), Some(value), "{round}: env {name}");
            }
            let expected = ContainerConfig { env: found.env.clone(), ..asked.clone() };
            assert_eq!(*found, expected, "{round}");
            let observed = listing.volumes.get(&volume).expect("the volume is listed");
            assert_eq!(
                (observed.volume.to_string(), observed.driver.as_str()),
                ("shop/data".to_owned(), "local")
            );
            assert_eq!(observed.options, map([("type", "tmpfs"), ("device", "tmpfs")]));
            if round == "created" {
                assert_eq!(listed.state, ContainerState::Created);
                assert_eq!(listed.health, HealthState::None);
                world.act(start(&id)).await.expect("started");
            } else {
                assert!(matches!(listed.state, ContainerState::Running { since } if since.0 > 0));
                assert_ne!(listed.health, HealthState::None);
                assert!(listed.address.is_some());
            }
        }
    });
}

#[test]
fn defaults_are_read_back_as_nothing() {
    live(|world| async move {
        let asked = ContainerConfig {
            cmd: Some(words(["true"])),
            restart_policy: "no".to_owned(),
            network: "bridge".to_owned(),
            ..ContainerConfig::default()
        };
        let id = world.create(&world.unique("plain"), asked.clone()).await;
        let found = world.inspect(&id).await.config;
        assert_eq!(ContainerConfig { env: found.env.clone(), ..asked }, found);
    });
}

#[test]
fn what_is_not_ours_is_only_named() {
    live(|world| async move {
        let name = world.unique("broken");
        let mut action = world.create_action(&name, super::engine::shell("true"));
        if let Action::CreateContainer { labels: found, .. } = &mut action {
            found.remove(labels::ORDINAL);
        }
        let Ok(Done::Container(id)) = world.act(action).await else { panic!("no container") };
        let listing = world.driver.list(&world.owner).await.expect("a list");
        assert!(listing.containers.is_empty());
        assert!(listing.foreign.contains(&name));
        let found = world.driver.inspect(&world.owner, &name).await.expect("an answer");
        assert_eq!(found, None);
        world.act(super::engine::remove(&id)).await.expect("removed");
    });
}

#[test]
fn a_missing_bind_path_is_refused() {
    live(|world| async move {
        let mut config = super::engine::shell("true");
        config.env = map([("TOKEN", "very-secret-value")]);
        config.mounts = vec![MountPoint {
            target: "/x".to_owned(),
            source: MountFrom::Bind("/very-secret-value/missing".to_owned()),
            read_only: false,
        }];
        let name = world.unique("bind");
        let error = world.act(world.create_action(&name, config)).await.expect_err("refused");
        assert_eq!(error.kind, DriverErrorKind::Refused);
        assert!(error.message.starts_with(&format!("create container {name}: ")), "{error}");
        assert!(error.message.contains("does not exist"), "{error}");
        assert!(!error.message.contains("very-secret-value"), "{error}");
    });
}
