//! The set that fixes the grammar, from the design: what of it this version takes.

use std::collections::{BTreeMap, BTreeSet};

use reconciler::model::ids::ImageName;
use reconciler::model::quantity::{Bytes, Cpus, Span};
use reconciler::model::spec::policy::{Bound, Level, Levels, ObjectKind, Param, Projects};
use reconciler::model::spec::{
    Condition, HealthProbe, LinkPort, MountSource, OnFailure, Order, PortRange, Power, Protocol,
    Restart, Update,
};

use super::{Specs, messages};

const SET: &str = include_str!("design.yaml");

#[test]
fn the_design_is_read_whole() {
    let mut specs = Specs::new(&[("set.yaml", SET)]);
    let reading = specs.read();
    assert_eq!(messages(&reading), [""; 0]);
    let desired = &reading.specs.desired;

    let db = &desired.instances[&"shop/db".parse().unwrap()].spec;
    assert_eq!(db.resources.cpus, Some(Cpus(Cpus::NANO / 2)));
    assert_eq!(db.resources.memory, Some(Bytes(512 << 20)));
    assert_eq!(db.resources.pids, Some(100));
    assert_eq!(db.restart, Restart::Always);
    assert_eq!(db.volumes[0].source, MountSource::Volume("shop/shop-data".parse().unwrap()));
    let health = db.health.as_ref().unwrap();
    assert_eq!(health.check, HealthProbe::Exec(vec!["db".to_owned(), "ping".to_owned()]));
    assert_eq!((health.interval, health.start_period), (Span::seconds(2), Span::seconds(5)));

    let web = &desired.instances[&"shop/web".parse().unwrap()];
    assert_eq!(web.labels["tier"], "front");
    let web = &web.spec;
    assert_eq!(web.image, ImageName::Declared("shop/shop-web".parse().unwrap()));
    assert_eq!(web.flavor.as_deref(), Some("m1.tiny"));
    assert_eq!(web.ports[0].host, Some(PortRange { first: 8080, last: 8082 }));
    assert_eq!(web.ports[0].address.as_deref(), Some("127.0.0.1"));
    assert_eq!(web.command.as_ref().unwrap()[3], "8080");
    assert_eq!(web.stop.signal.as_deref(), Some("SIGTERM"));
    assert_eq!((web.replicas, web.power), (2, Power::Running));
    let path = "/".to_owned();
    assert_eq!(web.health.as_ref().unwrap().check, HealthProbe::Http { port: 8080, path });
    let update = Update { max_unavailable: 0, max_surge: 1, ..Update::usual(Order::StartFirst) };
    assert_eq!(web.more.update, Some(update));
    assert_eq!(
        (update.health_timeout, update.on_failure),
        (Span::seconds(60), OnFailure::Rollback)
    );
    assert!(web.more.security.read_only_root && web.more.security.no_new_privileges);
    assert_eq!(web.more.security.cap_drop, BTreeSet::from(["ALL".to_owned()]));
    assert_eq!(web.more.placement.as_ref().unwrap().selector["zone"], "a");
    let quota = &desired.projects[&"shop".parse().unwrap()].spec.quota;
    assert_eq!((quota.cpus, quota.instances), (Some(Cpus(4 * Cpus::NANO)), Some(10)));
    assert_eq!(desired.nodes.len(), 1);
    let link = &desired.links[&"shop/web-db".parse().unwrap()].spec;
    assert_eq!((link.from.to_string(), link.to.to_string()), ("shop/web".into(), "shop/db".into()));
    let port = LinkPort { port: 5432, protocol: Protocol::Tcp };
    assert_eq!((link.alias.as_str(), &link.ports[..]), ("db", &[port][..]));
    assert_eq!((link.condition, link.env), (Some(Condition::Healthy), false));
    assert_eq!(desired.volumes.len(), 1);

    let binding = &desired.bindings[&"shop/pinned".parse().unwrap()].spec;
    assert_eq!(binding.bound, Bound::Policy("SUP-DIGEST".parse().unwrap()));
    assert_eq!((binding.level, binding.levels), (Some(Level::Hard), Levels::default()));
    let allow = Param::List(vec!["registry.example/dev/*".to_owned()]);
    assert_eq!(binding.params, BTreeMap::from([("allow".to_owned(), allow)]));
    assert_eq!(
        (&binding.matches.kinds[..], &binding.matches.projects),
        (&[ObjectKind::Instance][..], &Projects::Own)
    );
    assert_eq!(binding.matches.labels["tier"], "front");
    let waiver = &desired.waivers[&"shop/debug-week".parse().unwrap()].spec;
    assert_eq!((waiver.policy.as_str(), waiver.reason.as_str()), ("CIS-5.5", "kernel tracing"));
    assert_eq!(waiver.select.name.as_ref().unwrap().as_str(), "debug");
    assert_eq!(waiver.ticket.as_deref(), Some("OPS-7"));
    assert_eq!(waiver.approver.as_deref(), Some("sec@example.org"));
    assert_eq!(waiver.expires.to_string(), "2027-01-31");
}
