//! Links where no rules can be set: each has a network of its own.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use reconciler::enforced;
use reconciler::foresee::foresee;
use reconciler::model::cordon::NodeOrder;
use reconciler::model::journal::Entry;
use reconciler::model::observed::Attachment;
use reconciler::policy::Policies;
use reconciler::testing::{FakeEngine, Fault};

use super::*;

fn fence(world: &mut World, fence: Fence) {
    world.nodes.values_mut().next().unwrap().fence = fence;
}

fn elsewhere() -> Fence {
    Fence::Elsewhere { reason: "it is elsewhere".to_owned() }
}

fn world() -> World {
    let mut world = World::new(&["n1"]);
    fence(&mut world, elsewhere());
    world
}

fn node(world: &World) -> &FakeEngine {
    world.nodes.values().next().unwrap()
}

fn networks(world: &World) -> Vec<&str> {
    node(world).networks.keys().map(String::as_str).collect()
}

/// How a replica's container is on a network.
fn joined(world: &World, instance: &str, network: &str) -> Option<Attachment> {
    container(world, instance, 0).config.attachments.get(network).cloned()
}

fn calls(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(alias, name)| ((*alias).to_owned(), (*name).to_owned())).collect()
}

fn web_to_db() -> DesiredSet {
    set(&two(), &[link("shop/web", "shop/db", 5432)])
}

/// The condition of the first link.
fn condition(world: &World) -> (String, String) {
    let snapshot = world.engine.snapshot();
    let (key, declared) = snapshot.desired.links.first_key_value().unwrap();
    let condition = enforced::link(snapshot, key, &declared.spec);
    (condition.kind, condition.message)
}

fn nothing_is_left_to_do(world: &mut World) {
    world.actions.clear();
    refresh(world);
    settled(world);
    world.restart();
    let desired = world.engine.snapshot().desired.clone();
    world.declare_set(desired);
    settled(world);
    assert!(world.actions.is_empty(), "{:?}", world.actions);
}

#[test]
fn a_link_has_a_network_before_who_talks_by_it() {
    let mut world = world();
    world.declare_set(web_to_db());
    settled(&mut world);
    assert_eq!(networks(&world), ["shop._", "shop._link-0"]);
    let held = &node(&world).networks["shop._link-0"];
    assert!(held.spec.internal && held.spec.subnets[0].subnet.ends_with("/28"), "{held:?}");
    let web = joined(&world, "shop/web", "shop._link-0").unwrap();
    assert_eq!((web.links, web.aliases.len()), (calls(&[("db", "db")]), 0));
    let db = joined(&world, "shop/db", "shop._link-0").unwrap();
    assert_eq!((db.links.len(), db.aliases), (0, ["db".to_owned()].into()));
    // No name leads to where nobody is reached.
    assert_eq!(joined(&world, "shop/web", "shop._").unwrap().links, calls(&[]));
    let at = |line: &str| world.actions.iter().position(|done| done == line).unwrap();
    let made = at("n1: create network network of link shop/link-0");
    assert!(made < at("n1: connect shop/web/0"), "{:?}", world.actions);
    assert!(at("n1: connect shop/web/0") < at("n1: start shop/web/0"), "{:?}", world.actions);
    let (kind, message) = condition(&world);
    assert_eq!(kind, "PortsNotEnforced");
    assert!(message.contains("it is elsewhere"), "{message}");
    assert!(world.engine.report().notes.is_empty());
    nothing_is_left_to_do(&mut world);
}

#[test]
fn a_link_comes_changes_and_goes_and_no_container_is_replaced() {
    let mut world = world();
    world.declare_set(set(&two(), &[]));
    settled(&mut world);
    assert_eq!(networks(&world), ["shop._"]);
    world.actions.clear();
    world.declare_set(web_to_db());
    settled(&mut world);
    let made = "n1: create network network of link shop/link-0";
    assert_eq!(world.actions, [made, "n1: connect shop/db/0", "n1: connect shop/web/0"]);
    world.actions.clear();
    let mut other = link("shop/web", "shop/db", 80);
    "store".clone_into(&mut other.alias);
    world.declare_set(set(&two(), &[other]));
    settled(&mut world);
    assert_eq!(world.actions, ["n1: disconnect shop/web/0", "n1: connect shop/web/0"]);
    let web = joined(&world, "shop/web", "shop._link-0").unwrap();
    assert_eq!(web.links, calls(&[("store", "db")]));
    world.actions.clear();
    world.declare_set(set(&two(), &[]));
    settled(&mut world);
    let gone = "n1: remove network network of link shop/link-0";
    assert_eq!(world.actions, ["n1: disconnect shop/db/0", "n1: disconnect shop/web/0", gone]);
    nothing_is_left_to_do(&mut world);
    // The address that it had on its project's network is the one that it has.
    assert!(joined(&world, "shop/web", "shop._").unwrap().address.is_some());
}

#[test]
fn drift_is_told_from_a_change() {
    let mut world = world();
    world.declare_set(web_to_db());
    settled(&mut world);
    let causes = |world: &World| -> Vec<String> {
        let entries = world.journal.iter().map(|stamped| format!("{:?}", stamped.entry));
        entries.filter(|entry| entry.contains("Connect") && entry.contains("Intent")).collect()
    };
    assert!(causes(&world).iter().all(|entry| !entry.contains("drift")), "{:?}", causes(&world));
    let n1 = Name::new("n1").unwrap();
    world.disturb(&n1, |_, engine| {
        for found in engine.containers.values_mut() {
            found.config.attachments.remove("shop._link-0");
        }
    });
    refresh(&mut world);
    settled(&mut world);
    assert!(joined(&world, "shop/web", "shop._link-0").is_some());
    let drift = causes(&world).iter().filter(|entry| entry.contains("drift: network")).count();
    assert_eq!(drift, 2, "{:?}", causes(&world));
}

#[test]
fn what_grows_moves_to_a_larger_network() {
    let mut world = world();
    let with = |replicas: u32| {
        let mut all = two();
        all[0].1.replicas = replicas;
        set(&all, &[link("shop/web", "shop/db", 5432)])
    };
    world.declare_set(with(5));
    settled(&mut world);
    assert_eq!(networks(&world), ["shop._", "shop._link-0"]);
    let id = |world: &World| container(world, "shop/web", 0).name;
    let before = id(&world);
    world.declare_set(with(6));
    settled(&mut world);
    assert_eq!(networks(&world), ["shop._", "shop._link-0_27"]);
    assert_eq!(node(&world).containers.len(), 7);
    let is_on = |found: &ObservedContainer| {
        found.config.attachments.contains_key("shop._link-0_27")
            && found.config.attachments.len() == 2
    };
    assert!(node(&world).containers.values().all(is_on));
    // A smaller one would cost connections, and spare nothing.
    world.declare_set(with(1));
    settled(&mut world);
    assert_eq!(networks(&world), ["shop._", "shop._link-0_27"]);
    assert_eq!(id(&world), before);
}

#[test]
fn a_node_goes_one_way_until_no_link_is_left() {
    let mut world = World::new(&["n1"]);
    // What fails just now says nothing.
    fence(&mut world, Fence::Unknown { reason: "no answer".to_owned() });
    world.declare_set(web_to_db());
    world.run().unwrap();
    assert_eq!(networks(&world), ["shop._"]);
    assert_eq!(condition(&world).0, "NotInForce");
    fence(&mut world, Fence::default());
    refresh(&mut world);
    settled(&mut world);
    assert_eq!(ways(&world).len(), 1);
    // Where there are rules, they stay.
    let rules = rules(&world);
    fence(&mut world, elsewhere());
    refresh(&mut world);
    world.run().unwrap();
    assert_eq!((networks(&world).len(), condition(&world).0.as_str()), (1, "NotInForce"));
    fence(&mut world, Fence::InForce { rules, intact: true });
    refresh(&mut world);
    settled(&mut world);
    assert_eq!((networks(&world).len(), condition(&world).0.as_str()), (1, "InForce"));

    let mut world = self::world();
    world.declare_set(web_to_db());
    settled(&mut world);
    assert_eq!(networks(&world), ["shop._", "shop._link-0"]);
    for now in [Fence::Unknown { reason: "no answer".to_owned() }, Fence::default()] {
        world.actions.clear();
        fence(&mut world, now);
        refresh(&mut world);
        settled(&mut world);
        assert_eq!((networks(&world).len(), world.actions.len()), (2, 0));
        assert_eq!(condition(&world).0, "PortsNotEnforced");
    }
    assert!(condition(&world).1.contains("rules can be set there by now"));
    // With the last one gone it is decided anew.
    world.declare_set(set(&two(), &[]));
    settled(&mut world);
    assert_eq!(networks(&world), ["shop._"]);
    world.declare_set(web_to_db());
    settled(&mut world);
    assert_eq!((networks(&world).len(), ways(&world).len()), (1, 1));
}

#[test]
fn a_name_that_led_to_the_projects_network_leads_there_no_longer() {
    let mut world = World::new(&["n1"]);
    fence(&mut world, Fence::Unknown { reason: "no answer".to_owned() });
    world.declare_set(web_to_db());
    world.run().unwrap();
    assert_eq!(joined(&world, "shop/web", "shop._").unwrap().links, calls(&[("db", "db")]));
    fence(&mut world, elsewhere());
    refresh(&mut world);
    settled(&mut world);
    let web = joined(&world, "shop/web", "shop._").unwrap();
    assert_eq!(web.links, calls(&[]));
    assert!(web.address.is_some());
    assert!(joined(&world, "shop/web", "shop._link-0").is_some());
    nothing_is_left_to_do(&mut world);
}

#[test]
fn variables_name_the_address_that_is_reached() {
    let mut world = world();
    let with = |env: &str| {
        let mut all = two();
        all[0].1.env.insert("N".to_owned(), env.to_owned());
        let mut one = link("shop/web", "shop/db", 5432);
        (one.env, one.condition) = (true, Some(reconciler::model::spec::Condition::Started));
        set(&all, &[one])
    };
    world.declare_set(with("1"));
    settled(&mut world);
    let named = |world: &World| -> IpAddr {
        container(world, "shop/web", 0).config.env["DB_PORT_5432_TCP_ADDR"].parse().unwrap()
    };
    let at = |world: &World| container(world, "shop/db", 0).addresses["shop._link-0"];
    assert_eq!(named(&world), at(&world));
    assert_eq!(container(&world, "shop/web", 0).identity.incarnation, 1, "made once");
    let before = at(&world);
    // All that will be done is foreseen.
    let mut ahead = world.engine.snapshot().clone();
    ahead.desired = with("2");
    ahead.desired.nodes = world.engine.snapshot().desired.nodes.clone();
    let listed = foresee(&ahead, &Policies::allow_all());
    world.actions.clear();
    world.declare_set(with("2"));
    settled(&mut world);
    assert_eq!(named(&world), at(&world));
    assert_ne!(at(&world), before);
    assert_eq!(listed.len(), world.actions.len(), "{listed:#?} {:?}", world.actions);
    assert_eq!(container(&world, "shop/web", 0).identity.incarnation, 2, "made once");
}

#[test]
fn links_over_projects_have_networks_too() {
    let mut world = world();
    let all = [("data/db", instance("web:1")), ("shop/web", instance("web:1"))];
    world.declare_set(set(&all, &[link("shop/web", "data/db", 5432)]));
    settled(&mut world);
    assert_eq!(networks(&world), ["data._", "shop._", "shop._link-0"]);
    assert!(joined(&world, "data/db", "shop._link-0").unwrap().aliases.contains("db"));
    nothing_is_left_to_do(&mut world);
    world.send(Event::Operator(Operator::Down));
    world.run().unwrap();
    assert_eq!(networks(&world), Vec::<&str>::new());
}

#[test]
fn another_engine_in_its_place_is_looked_at_anew() {
    let mut world = world();
    world.declare_set(web_to_db());
    settled(&mut world);
    let n1 = Name::new("n1").unwrap();
    let mut records = world.engine.snapshot().records.clone();
    assert!(records.nodes[&n1].link_networks);
    let order = NodeOrder::Accept { engine: "another".to_owned() };
    let entry = Entry::NodeOrder { node: n1.clone(), order, by: "ops@n1".to_owned() };
    records.apply(world.now, &entry);
    assert!(!records.nodes[&n1].link_networks);
}

/// Whatever is lost, and whenever the loop dies: it ends with what is declared, once.
#[test]
fn nothing_is_made_twice_whenever_it_dies() {
    let faults = [Fault::None, Fault::Refused, Fault::TimedOutUndone, Fault::TimedOutDone];
    for moment in 0..120 {
        for fault in faults {
            // Those that fail besides say little more at the next moment.
            if fault != Fault::None && moment % 8 != 0 {
                continue;
            }
            let mut world = world();
            world.declare_set(set(&two(), &[]));
            settled(&mut world);
            let mut quiet = Vec::new();
            for desired in [web_to_db(), set(&two(), &[])] {
                world.dies_after = Some(moment);
                if fault != Fault::None {
                    let engine = world.nodes.values_mut().next().unwrap();
                    engine.faults.extend([Fault::None, fault]);
                }
                world.declare_set(desired);
                world.run_for(Duration::from_secs(600)).unwrap();
                quiet.push(world.dies_after.take().is_some());
                world.nodes.values_mut().next().unwrap().faults.clear();
                refresh(&mut world);
                world.run_for(Duration::from_secs(600)).unwrap();
                settled(&mut world);
                let is_linked = !world.engine.snapshot().desired.links.is_empty();
                assert_eq!(networks(&world).len(), if is_linked { 2 } else { 1 });
                assert_eq!(node(&world).containers.len(), 2);
                let on = |name: &str| joined(&world, name, "shop._link-0").is_some();
                assert_eq!((on("shop/web"), on("shop/db")), (is_linked, is_linked));
            }
            if quiet == [true, true] && fault == Fault::None {
                return;
            }
        }
    }
    panic!("it never comes to its end");
}
