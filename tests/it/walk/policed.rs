//! Policies at work on a real engine: what they keep from coming and from going, what is run, what
//! is found where it runs, and what of that is on record.

use super::room::{LIVE, LONG, Loop, apply_well, instance, one, seen};
use crate::lab::{Engine, Output, Sandbox, docker, eventually};

fn bindings() -> String {
    let binding = |policy: &str, more: &str| {
        format!(
            "---\napiVersion: windlass/v1\nkind: PolicyBinding\nmetadata: {{ name: {}, project: $project }}\n\
             spec: {{ policy: {policy}, level: hard{more} }}\n",
            policy.to_lowercase().replace('.', "-")
        )
    };
    ["CIS-5.5", "ACT-PROTECT", "IMM-NOEXEC", "CIS-5.29"].map(|policy| binding(policy, "")).concat()
}

fn waiver(name: &str, expires: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Waiver\nmetadata: {{ name: farewell, project: $project }}\n\
         spec: {{ policy: ACT-PROTECT, select: {{ name: {name} }}, reason: moved, approver: ops@example.org, expires: {expires} }}\n"
    )
}

fn says(out: &Output, parts: &[&str]) {
    let all = format!("{}{}", out.stdout, out.stderr);
    for part in parts {
        assert!(all.contains(part), "no `{part}` in:\n{all}");
    }
}

fn what_policy_denies_is_not_done(engine: &Engine) {
    let room = Sandbox::new(engine);
    let web = instance("web", &format!("{LIVE}\nprotected: true\nresources: {{ pids: 50 }}"));
    let calm = instance("calm", &format!("{LIVE}\nresources: {{ pids: 50 }}"));
    room.spec("set.yaml", &[web.as_str(), &calm, &bindings()].concat());
    apply_well(&room);
    let (first, name) = (one(&room, "web", 0).id().to_owned(), format!("{}/web", room.project()));

    // What is denied does not come, and the rest does.
    let bad = instance(
        "bad",
        &format!("{LIVE}\nresources: {{ pids: 50 }}\nsecurity: {{ privileged: true }}"),
    );
    room.spec("bad.yaml", &bad);
    let plan = room.windlass(&["plan"]);
    says(&plan, &["bad", "denied by CIS-5.5"]);
    says(&room.windlass(&["diff"]), &["bad", "denied by CIS-5.5"]);
    let applied = room.windlass(&["apply"]);
    assert_ne!(applied.code, 0);
    assert_eq!(seen(&room).len(), 2);
    std::fs::remove_file(room.specs().join("bad.yaml")).expect("it is there");

    // What is protected does not go, a command is not run.
    room.spec("set.yaml", &[calm.as_str(), &bindings()].concat());
    let applied = room.windlass(&["apply"]);
    says(&applied, &["denied by ACT-PROTECT: web is protected"]);
    assert_eq!(one(&room, "web", 0).id(), first);
    let run = room.windlass(&["exec", &format!("{}/calm", room.project()), "--", "true"]);
    assert_ne!(run.code, 0);
    says(&run, &["not run: denied by IMM-NOEXEC"]);

    // What another hand did is found where it runs, also where nobody repairs it.
    let calm = one(&room, "calm", 0).id().to_owned();
    docker(engine, &["update", "--pids-limit", "-1", &calm]);
    let described = room.windlass(&["describe", "instance", &format!("{}/calm", room.project())]);
    says(&described, &["Compliant", "CIS-5.29"]);
    let wide = room.windlass(&["get", "instances", "-o", "wide"]);
    says(&wide, &["POLICY", "CIS-5.29"]);

    // With a waiver it goes, and the record says by whose leave.
    let all = [
        instance("calm", &format!("{LIVE}\nresources: {{ pids: 50 }}")).as_str(),
        &bindings(),
        &waiver("web", "2100-01-31"),
    ]
    .concat();
    room.spec("set.yaml", &all);
    let applied = room.windlass(&["apply"]);
    assert_eq!(applied.code, 0);
    assert_eq!(seen(&room).len(), 1);
    let log = room.windlass(&["audit", "log"]);
    says(&log, &["ACT-PROTECT", "waived", "IMM-NOEXEC", "CIS-5.5"]);
    let why = room.windlass(&["audit", "why", &name]);
    says(&why, &["ACT-PROTECT"]);
    replayed(&room);
    let verified = room.windlass(&["audit", "verify"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}

/// Each verdict on record comes out the same again, but for those that rest on what was found in a
/// container.
fn replayed(room: &Sandbox<'_>) {
    let listed = room.windlass(&["audit", "log", "--kind", "policy", "-o", "json"]);
    let mut same = 0;
    for line in listed.stdout.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let seq = row["seq"].to_string();
        let again = room.windlass(&["audit", "replay", &seq]);
        let all = format!("{line}\n{}{}", again.stdout, again.stderr);
        if again.code == 0 {
            assert!(again.stdout.contains("the same, byte for byte"), "{all}");
            same += 1;
        } else {
            assert_eq!(again.code, 2, "{all}");
            let is_set = again.stderr.contains("is no verdict");
            assert!(is_set || again.stderr.contains("what a container was"), "{all}");
        }
    }
    assert!(same >= 3, "{same} of\n{}", listed.stdout);
    let none = room.windlass(&["audit", "replay", "99999"]);
    assert_eq!(none.code, 2);
    says(&none, &["there is no entry 99999: the record holds 1 to "]);
}

#[test]
fn what_policy_denies_is_not_done_on_20_10() {
    what_policy_denies_is_not_done(engine!(V20_10));
}

#[test]
fn what_policy_denies_is_not_done_on_26_1() {
    what_policy_denies_is_not_done(engine!(V26_1));
}

/// What runs inside of containers, and what became of their files, is looked at where a rule asks.
fn a_look_inside_finds_what_nobody_declared(engine: &Engine) {
    let room = Sandbox::new(engine);
    let writes =
        "command: [sh, -c, 'trap \"exit 0\" TERM; echo x >/left-behind; sleep 100000 & wait']";
    let set = instance("calm", LIVE) + &*instance("busy", writes);
    let binding = "---\napiVersion: windlass/v1\nkind: PolicyBinding\nmetadata: { name: nodiff, project: $project }\nspec: { policy: IMM-NODIFF, level: warn }\n";
    room.spec("set.yaml", &(set + binding));
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    let found = |name: &str| {
        let conditions = held.status(name).conditions;
        conditions.into_iter().find(|one| one.kind == "Compliant").map(|one| one.message)
    };
    eventually("it is found", LONG, || {
        found("busy")
            .is_some_and(|said| said.contains("IMM-NODIFF") && said.contains("/left-behind"))
    });
    assert_eq!(found("calm"), None);
    held.stop();
}

#[test]
fn a_look_inside_finds_what_nobody_declared_on_20_10() {
    a_look_inside_finds_what_nobody_declared(engine!(V20_10));
}

#[test]
fn a_look_inside_finds_what_nobody_declared_on_26_1() {
    a_look_inside_finds_what_nobody_declared(engine!(V26_1));
}
