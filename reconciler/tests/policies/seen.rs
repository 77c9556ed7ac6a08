//! What policies find where things run, and what they give to declarations.

use std::time::Duration;

use reconciler::model::desired::DesiredSet;
use reconciler::model::journal::{Entry, VerdictOutcome};
use reconciler::model::spec::policy::{Level, Point};
use reconciler::testing::World;

use super::{all_of, bind, compliant, declared, denied, key, policies, running, web};

const ROOT: &str = "// @id ROOT @version 1.0.0 @title the root stays as it is @level hard\n\
    // @match kinds=Instance\n\
    fn check(o) { require(o.security.readOnlyRoot, \"its root can be written to\"); }\n";

const GIVES: &str = "// @id GIVES @version 1.0.0 @title the root stays as it is @level hard\n\
    // @match kinds=Instance\n\
    fn check(o) { set_default(\"spec.security.readOnlyRoot\", true); }\n";

const ELSE: &str = "// @id ELSE @version 1.0.0 @title nothing stays @level hard\n\
    // @match kinds=Instance\n\
    fn check(o) { set_default(\"spec.security.no-such-field\", true); }\n";

const LIMIT: &str = "// @id LIMIT @version 1.0.0 @title at most 99 processes @level warn\n\
    // @match kinds=Instance\n\
    fn check(o) { require((o.resources.pids ?? 0) <= 99, \"too many processes\").at(\"spec.resources.pids\"); }\n";

const STRANGERS: &str = "// @id STRANGERS @version 1.0.0 @title no strangers @level audit\n\
    // @match kinds=Node\n\
    fn check(o) { if has(o.running) { require(o.running.foreign.len() == 0, \"somebody else is there\"); } }\n";

fn bound(all: &[&str]) -> DesiredSet {
    let mut desired = DesiredSet::default();
    desired.instances.insert(key("shop/web"), declared(web(2)));
    for policy in all {
        bind(&mut desired, policy, Level::Hard);
    }
    desired
}

fn recorded(world: &World) -> Vec<(Point, String, String, VerdictOutcome)> {
    let entries = world.journal.iter().filter_map(|stamped| {
        let Entry::Verdict { verdict } = &stamped.entry else { return None };
        let (policy, object) = (verdict.policy.to_string(), verdict.object.to_string());
        Some((verdict.point, policy, object, verdict.outcome))
    });
    entries.collect()
}

#[test]
fn what_is_given_comes_and_is_judged_as_it_comes() {
    let mut world = World::new(&["n1"]);
    world.send(all_of(&[ROOT, GIVES]));
    world.declare_set(bound(&["ROOT"]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 0);
    world.declare_set(bound(&["ROOT", "GIVES"]));
    world.run().unwrap();
    assert_eq!((running(&world, "shop/web"), denied(&world)), (2, None));
    let is_read_only = |world: &World| {
        let mut all = world.engine.snapshot().containers.values().flatten();
        all.all(|at| at.container.config.more.security.read_only_root)
    };
    assert!(is_read_only(&world));
    let said = compliant(&world, "shop/web").unwrap().1;
    assert!(said.contains("it sets spec.security.readOnlyRoot to true"), "{said}");
    let given = ("GIVES", "Instance shop/web", VerdictOutcome::Info);
    assert!(recorded(&world).iter().any(|(_, policy, object, outcome)| {
        (policy.as_str(), object.as_str(), *outcome) == given
    }));
    // A restart comes to the same, and moves nothing; so does another set of other objects.
    let before = world.actions.len();
    world.restart();
    world.send(all_of(&[ROOT, GIVES]));
    let mut more = bound(&["ROOT", "GIVES"]);
    more.instances.insert(key("shop/db"), declared(web(1)));
    world.declare_set(more);
    world.run().unwrap();
    assert_eq!(running(&world, "shop/db"), 1);
    assert!(!world.actions[before..].iter().any(|one| one.contains("web")), "{:?}", world.actions);
    assert!(is_read_only(&world));
    // Without it they are as declared, one after the other.
    world.declare_set(bound(&[]));
    world.run_for(Duration::from_secs(600)).unwrap();
    assert!(!is_read_only(&world));
}

#[test]
fn what_cannot_be_given_denies() {
    let mut world = World::new(&["n1"]);
    world.send(policies(ELSE));
    world.declare_set(bound(&["ELSE"]));
    world.run().unwrap();
    assert_eq!(running(&world, "shop/web"), 0);
    assert!(denied(&world).unwrap().contains("no-such-field"), "{:?}", denied(&world));
}

#[test]
fn what_runs_otherwise_than_it_is_declared_is_found_and_goes_on() {
    let mut world = World::new(&["n1"]);
    let calm = "// @id CALM @version 1.0.0 @title left @level hard\nfn check_drift(d) { report(\"left\"); }\n";
    world.send(all_of(&[LIMIT, calm, STRANGERS]));
    let mut desired = bound(&["CALM", "STRANGERS", "LIMIT"]);
    let limited = reconciler::model::spec::Resources { pids: Some(50), ..Default::default() };
    let spec = reconciler::model::spec::InstanceSpec { resources: limited, ..web(2) };
    desired.instances.insert(key("shop/web"), declared(spec));
    let everywhere = desired.bindings.remove(&key("shop/strangers")).unwrap();
    let mut of_nodes = (*everywhere.spec).clone();
    of_nodes.matches =
        reconciler::model::sparse::Sparse::new(reconciler::model::spec::policy::Match {
            projects: reconciler::model::spec::policy::Projects::All,
            ..Default::default()
        });
    desired.bindings.insert(key("default/strangers"), declared(of_nodes));
    world.declare_set(desired);
    world.run().unwrap();
    assert_eq!(compliant(&world, "shop/web"), None);
    let node = "n1".parse().unwrap();
    world.disturb(&node, |_, engine| {
        let first = engine.containers.values_mut().next().unwrap();
        first.config.limits.pids = 500;
    });
    world.run_for(Duration::from_secs(90)).unwrap();
    assert_eq!(running(&world, "shop/web"), 2);
    let said = compliant(&world, "shop/web").unwrap();
    assert!(said.0 == "False" && said.1.contains("LIMIT"), "{said:?}");
    let found = recorded(&world);
    let of = |point: Point| found.iter().filter(|one| one.0 == point && one.1 == "LIMIT").count();
    assert_eq!((of(Point::Scan), of(Point::Plan)), (1, 0), "{found:?}");
    // What is as declared again passes again, and that is on record too.
    world.disturb(&node, |_, engine| {
        for one in engine.containers.values_mut() {
            one.config.limits.pids = 50;
        }
    });
    world.run_for(Duration::from_secs(90)).unwrap();
    assert_eq!(compliant(&world, "shop/web"), None);
    let last = recorded(&world).into_iter().rfind(|one| one.1 == "LIMIT").unwrap();
    assert_eq!(last.3, VerdictOutcome::Pass);
}

const NO_SSHD: &str = "// @id NO-SSHD @version 1.0.0 @title no remote shell @level warn\n\
    // @match kinds=Instance\n\
    fn check(o) {\n\
      if !has(o.running) || !has(o.running.processes) { return; }\n\
      require(!(\"sshd\" in o.running.processes), \"sshd runs\");\n\
      require(o.running.changes.is_empty(), o.running.changes.join(\" \"));\n\
    }\n";

#[test]
fn what_is_inside_is_looked_at_where_a_rule_asks_and_seldom() {
    let mut world = World::new(&["n1"]);
    world.send(policies(NO_SSHD));
    let mut spec = web(2);
    spec.more = reconciler::model::sparse::Sparse::new(reconciler::model::spec::More {
        files: vec![reconciler::model::spec::FileSpec {
            path: "/etc/app/conf".to_owned(),
            content: reconciler::model::spec::Content::Text("a".into()),
            mode: 0o644,
            uid: 0,
            gid: 0,
        }],
        ..Default::default()
    });
    let mut desired = bound(&["NO-SSHD"]);
    desired.instances.insert(key("shop/web"), declared(spec));
    let node = "n1".parse().unwrap();
    world.disturb(&node, |_, engine| {
        engine.inside.processes = vec!["sh".to_owned()];
        engine.inside.changes = ["/etc", "/etc/app", "/etc/app/conf"].map(str::to_owned).to_vec();
    });
    world.declare_set(desired);
    world.run_for(Duration::from_secs(60)).unwrap();
    assert_eq!(compliant(&world, "shop/web"), None, "what is put there is as declared");
    world.disturb(&node, |_, engine| {
        engine.inside.processes.push("sshd".to_owned());
        engine.inside.changes.push("/root/.ssh".to_owned());
    });
    world.run_for(Duration::from_secs(300)).unwrap();
    assert_eq!(compliant(&world, "shop/web"), None, "nobody has looked since");
    world.run_for(Duration::from_secs(400)).unwrap();
    let said = compliant(&world, "shop/web").unwrap().1;
    assert!(said.contains("sshd runs") && said.contains("/root/.ssh"), "{said}");
    assert_eq!(running(&world, "shop/web"), 2);
}
