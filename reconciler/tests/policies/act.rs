//! What policies say of actions and of drift.

use std::time::Duration;

use reconciler::model::desired::DesiredSet;
use reconciler::model::journal::{Entry, VerdictOutcome};
use reconciler::model::quantity::Bytes;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::policy::{Level, Point};
use reconciler::model::spec::{
    InstanceSpec, LinkSpec, More, Mount, MountSource, Resources, VolumeSpec,
};
use reconciler::policy::view::AskedExec;
use reconciler::testing::World;

use super::{all_of, bind, declared, denied, key, policies, running, waiver, web};

const PROTECT: &str = "// @id PROTECT @version 1.0.0 @title what is protected stays @level hard\n\
    // @match actions=delete,replace\n\
    fn check_action(a) { require(!a.target.protected, \"it is protected\"); }\n";

const FEW: &str = "// @id FEW @version 1.0.0 @title few at once @level hard\n\
    // @match kinds=Instance actions=delete\n\
    fn check_action(a) { require(a.round.deletes <= 1, `${a.round.deletes} of ${a.round.managed}`); }\n";

const NO_CHANGES: &str = "// @id NO-CHANGES @version 1.0.0 @title nothing changes in place @level hard\n\
    // @match kinds=Instance actions=update\n\
    fn check_action(a) { deny(\"it is changed in place\"); }\n";

const CALM: &str = "// @id CALM @version 1.0.0 @title what is cosmetic is left @level hard\n\
    // @match kinds=Instance\n\
    fn check_drift(d) { if d.touches(\"pids\") { report(\"pids\"); } else { quarantine(\"more than pids\"); } }\n";

const NO_SHELL: &str = "// @id NO-SHELL @version 1.0.0 @title no shell @level hard\n\
    // @match kinds=Instance actions=exec\n\
    fn check_action(a) { deny(\"no shell\").observed(a.exec.command[0]); }\n";

const WINDOW: &str = "// @id WINDOW @version 1.0.0 @title by night @level hard\n\
    // @match kinds=Instance actions=delete\n\
    fn check_action(a) { require(now().hour < 1, \"by night only\"); }\n";

fn protected(replicas: u32) -> InstanceSpec {
    let more = Sparse::new(More { protected: true, ..More::default() });
    InstanceSpec { more, ..web(replicas) }
}

/// What is left in a set is no set that is empty, which would be held.
fn stays() -> (&'static str, InstanceSpec) {
    ("shop/stays", web(1))
}

fn bound(policy: &str, instances: &[(&str, InstanceSpec)]) -> DesiredSet {
    let mut desired = DesiredSet::default();
    for (name, spec) in instances {
        desired.instances.insert(key(name), declared(spec.clone()));
    }
    bind(&mut desired, policy, Level::Hard);
    desired
}

/// What is on record of verdicts.
fn recorded(world: &World, point: Point) -> Vec<(String, VerdictOutcome)> {
    let entries = world.journal.iter().filter_map(|stamped| {
        let Entry::Verdict { verdict } = &stamped.entry else { return None };
        let named = format!("{} {}", verdict.policy, verdict.object);
        (verdict.point == point).then_some((named, verdict.outcome))
    });
    entries.collect()
}

#[test]
fn what_is_protected_is_not_removed_without_a_waiver_also_after_a_restart() {
    let mut world = World::new(&["n1"]);
    world.send(policies(PROTECT));
    world.declare_set(bound(
        "PROTECT",
        &[("shop/web", protected(2)), ("shop/api", web(1)), stays()],
    ));
    world.run().unwrap();
    assert_eq!((running(&world, "shop/web"), running(&world, "shop/api")), (2, 1));
    world.declare_set(bound("PROTECT", &[stays()]));
    world.run().unwrap();
    assert_eq!((running(&world, "shop/web"), running(&world, "shop/api")), (2, 0));
    assert_eq!(denied(&world).as_deref(), Some("PROTECT: it is protected"));
    world.restart();
    world.send(policies(PROTECT));
    world.declare_set(bound("PROTECT", &[stays()]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 2);
    let fail = (String::from("PROTECT Instance shop/web/0"), VerdictOutcome::Fail);
    assert!(recorded(&world, Point::Act).contains(&fail), "{:?}", recorded(&world, Point::Act));
    let mut waived = bound("PROTECT", &[stays()]);
    let mut exception = waiver(Some("sec"), "2100-01-01");
    exception.policy = "PROTECT".parse().unwrap();
    waived.waivers.insert(key("shop/farewell"), declared(exception));
    world.declare_set(waived);
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 0);
    let waived = (String::from("PROTECT Instance shop/web/0"), VerdictOutcome::Waived);
    assert!(recorded(&world, Point::Act).contains(&waived));
}

#[test]
fn a_round_that_removes_too_much_removes_nothing() {
    let mut world = World::new(&["n1"]);
    world.send(policies(FEW));
    let all = [("shop/a", web(1)), ("shop/b", web(1)), ("shop/c", web(1))];
    world.declare_set(bound("FEW", &all));
    world.run().unwrap();
    world.declare_set(bound("FEW", &all[..1]));
    world.run().unwrap();
    assert_eq!((running(&world, "shop/b"), running(&world, "shop/c")), (1, 1));
    assert_eq!(denied(&world).as_deref(), Some("FEW: 2 of 3"));
    world.declare_set(bound("FEW", &all[..2]));
    world.run().unwrap();
    assert_eq!((running(&world, "shop/b"), running(&world, "shop/c")), (1, 0));
}

#[test]
fn where_nothing_may_change_in_place_it_is_replaced() {
    let mut world = World::new(&["n1"]);
    world.send(policies(NO_CHANGES));
    let mut spec = web(1);
    world.declare_set(bound("NO-CHANGES", &[("shop/web", spec.clone())]));
    world.run().unwrap();
    let first: Vec<_> = ids(&world);
    spec.resources.memory = Some(Bytes(64 << 20));
    world.actions.clear();
    world.declare_set(bound("NO-CHANGES", &[("shop/web", spec)]));
    world.run().unwrap();
    assert!(!world.actions.iter().any(|one| one.contains("update")), "{:?}", world.actions);
    let second = ids(&world);
    assert!(second.len() == 1 && first != second, "{first:?} {second:?}");
    assert_eq!(denied(&world), None);
}

fn ids(world: &World) -> Vec<String> {
    let all = world.engine.snapshot().containers.values().flatten();
    all.map(|at| at.id.0.to_string()).collect()
}

#[test]
fn drift_is_left_or_frozen_as_policy_says() {
    let mut world = World::new(&["n1"]);
    world.send(policies(CALM));
    let limits =
        Resources { memory: Some(Bytes(64 << 20)), pids: Some(99), ..Resources::default() };
    let limited = InstanceSpec { resources: limits, ..web(1) };
    let both = [("shop/web", limited.clone()), ("shop/db", limited.clone())];
    world.declare_set(bound("CALM", &both));
    world.run().unwrap();
    let before = ids(&world);
    world.disturb(&"n1".parse().unwrap(), |_, engine| {
        for one in engine.containers.values_mut() {
            if one.name.contains("web") {
                one.config.limits.pids = 50;
            } else {
                one.config.limits.memory = 4 << 20;
            }
        }
    });
    world.run_for(Duration::from_secs(90)).unwrap();
    assert_eq!(ids(&world), before, "nothing was replaced");
    let reasons: Vec<String> = world
        .engine
        .report()
        .notes
        .iter()
        .map(|note| reconciler::status::describe(&note.reason))
        .collect();
    assert!(reasons.iter().any(|one| one.contains("frozen, and kept as CALM says")), "{reasons:?}");
    // Once nobody says so any more all is as declared.
    let mut free = DesiredSet::default();
    free.instances.insert(key("shop/web"), declared(limited.clone()));
    free.instances.insert(key("shop/db"), declared(limited));
    world.declare_set(free);
    world.run().unwrap();
    assert!(world.engine.report().notes.is_empty(), "{:?}", world.engine.report().notes);
}

#[test]
fn a_command_is_run_if_policy_says_so() {
    let mut world = World::new(&["n1"]);
    world.send(policies(NO_SHELL));
    world.declare_set(bound("NO-SHELL", &[("shop/web", web(1))]));
    world.run().unwrap();
    let replica = world.engine.snapshot().containers.keys().next().unwrap().clone();
    let exec = AskedExec { command: vec!["sh".to_owned()], user: None, privileged: false };
    let denial = world.engine.may_run(&replica, exec.clone(), "ops@host").unwrap_err();
    assert_eq!(denial.to_string(), "NO-SHELL (hard, by shop/no-shell): no shell (sh)");
    let mut other = DesiredSet::default();
    other.instances.insert(key("shop/web"), declared(web(1)));
    world.declare_set(other);
    world.run().unwrap();
    world.engine.may_run(&replica, exec, "ops@host").unwrap();
}

#[test]
fn a_command_is_asked_about_by_what_is_bound_now_and_waits_for_no_round() {
    let mut world = World::new(&["n1"]);
    world.send(policies(NO_SHELL));
    let mut free = DesiredSet::default();
    free.instances.insert(key("shop/web"), declared(web(1)));
    world.declare_set(free);
    world.run().unwrap();
    let replica = world.engine.snapshot().containers.keys().next().unwrap().clone();
    world.declare_set(bound("NO-SHELL", &[("shop/web", web(1))]));
    // The specs are read, and the round that they want has not come.
    assert!(world.step() && world.engine.is_stale());
    let exec = AskedExec { command: vec!["sh".to_owned()], user: None, privileged: false };
    assert!(world.engine.may_run(&replica, exec, "ops@host").is_err());
}

const NO_PULLS: &str = "// @id NO-PULLS @version 1.0.0 @title nothing is pulled @level hard\n\
    // @match kinds=Instance actions=pull\n\
    fn check_action(a) { deny(\"no pulls\").observed(a.target.image); }\n";

#[test]
fn a_plain_reference_is_pulled_for_an_instance() {
    let mut world = World::new(&["n1"]);
    world.send(policies(NO_PULLS));
    world.declare_set(bound("NO-PULLS", &[("shop/web", web(1))]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 0);
    assert!(!world.actions.iter().any(|one| one.contains("pull")), "{:?}", world.actions);
}

#[test]
fn what_is_denied_for_now_is_asked_again() {
    let mut world = World::new(&["n1"]);
    world.send(policies(WINDOW));
    world.declare_set(bound("WINDOW", &[("shop/web", web(1)), stays()]));
    world.run().unwrap();
    world.declare_set(bound("WINDOW", &[stays()]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 1);
    world.run_for(Duration::from_secs(2 * 3600)).unwrap();
    assert_eq!(running(&world, "shop/web"), 0);
}

#[test]
fn a_rule_that_errs_denies_what_it_is_about_and_starts_are_left_alone() {
    let broken = PROTECT.replace("a.target.protected", "a.target.replicas");
    let mut world = World::new(&["n1"]);
    world.send(all_of(&[&broken]));
    world.declare_set(bound("PROTECT", &[("shop/web", web(2)), stays()]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 2, "it is made: nobody asks about that");
    world.declare_set(bound("PROTECT", &[stays()]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 2);
    assert!(denied(&world).unwrap().contains("no verdict"), "{:?}", denied(&world));
}

const NOT_TO_DB: &str = "// @id NOT-TO-DB @version 1.0.0 @title nobody talks to the database @level hard\n\
    // @match kinds=Link\n\
    fn check(o) { require(o.to != \"shop/db\", \"nobody talks to db\").at(\"spec.to\"); }\n";

fn linked(level: Level) -> DesiredSet {
    let mut desired = DesiredSet::default();
    for name in ["shop/web", "shop/db"] {
        desired.instances.insert(key(name), declared(web(1)));
    }
    let link = LinkSpec {
        from: key("shop/web"),
        to: key("shop/db"),
        alias: "db".to_owned(),
        ports: Vec::new(),
        condition: None,
        env: false,
    };
    desired.links.insert(key("shop/web-db"), declared(link));
    bind(&mut desired, "NOT-TO-DB", level);
    desired
}

#[test]
fn a_link_that_is_denied_does_not_come_and_one_that_came_stays() {
    let mut world = World::new(&["n1"]);
    world.send(policies(NOT_TO_DB));
    world.declare_set(linked(Level::Hard));
    world.run().unwrap();
    assert_eq!((running(&world, "shop/web"), running(&world, "shop/db")), (0, 1));
    let said = denied(&world).unwrap();
    assert_eq!(said, "NOT-TO-DB: link shop/web-db: nobody talks to db (spec.to)");
    assert!(world.engine.snapshot().desired.links.is_empty());
    world.declare_set(linked(Level::Warn));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 1);
    world.restart();
    world.send(policies(NOT_TO_DB));
    world.declare_set(linked(Level::Hard));
    world.run().unwrap();
    assert_eq!(world.engine.snapshot().desired.links.len(), 1);
    assert_eq!((running(&world, "shop/web"), denied(&world)), (1, None));
}

const NO_VOLUMES: &str = "// @id NO-VOLUMES @version 1.0.0 @title no volumes @level hard\n\
    // @match kinds=Volume\n\
    fn check(o) { deny(\"no volumes here\"); }\n";

#[test]
fn what_is_needed_and_denied_is_not_made() {
    let mut world = World::new(&["n1"]);
    world.send(policies(NO_VOLUMES));
    let mut spec = web(1);
    spec.volumes.push(Mount {
        source: MountSource::Volume(key("shop/data")),
        target: "/data".to_owned(),
        read_only: false,
        shared: true,
    });
    let mut desired = bound("NO-VOLUMES", &[("shop/web", spec), stays()]);
    let volume = VolumeSpec {
        driver: "local".to_owned(),
        options: std::collections::BTreeMap::new(),
        retain: true,
        protected: false,
    };
    desired.volumes.insert(key("shop/data"), declared(volume));
    world.declare_set(desired);
    world.run().unwrap();
    assert_eq!((running(&world, "shop/web"), running(&world, "shop/stays")), (0, 1));
    assert!(!world.actions.iter().any(|one| one.contains("volume")), "{:?}", world.actions);
}

const NAMED: &str = "// @id NAMED @version 1.0.0 @title host names are said @level hard\n\
    // @match kinds=Instance\n\
    fn check(o) { if has(o.hostname) && o.hostname == \"web-1\" { deny(\"no such name\").at(\"spec.hostname\"); } }\n";

#[test]
fn what_is_sent_is_judged_as_it_is_sent() {
    let mut world = World::new(&["n1"]);
    world.send(policies(NAMED));
    // No declaration says so: the second replica is called that by itself.
    world.declare_set(bound("NAMED", &[("shop/web", web(2))]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 1);
    assert_eq!(denied(&world).as_deref(), Some("NAMED: no such name (spec.hostname)"));
    let fail = (String::from("NAMED Instance shop/web/1"), VerdictOutcome::Fail);
    assert!(recorded(&world, Point::Plan).contains(&fail), "{:?}", recorded(&world, Point::Plan));
    // It stays so, round after round.
    world.run_for(Duration::from_secs(300)).unwrap();
    assert_eq!(running(&world, "shop/web"), 1);
}
