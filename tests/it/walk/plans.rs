//! Plans that are saved and applied later, as they stand or not at all; and what is suspended.

use std::os::unix::fs::PermissionsExt as _;

use reconciler::saved::SavedPlan;
use windlass::api::protocol::{Frame, Outcome, Request};
use windlass::app::Mode;

use super::room::{
    LIVE, LONG, Loop, apply_well, assert_settled, instance, one, owner, replicas, seen, settings,
    verify_journal, volume,
};
use crate::lab::{Output, Sandbox, docker, eventually};

const SECRET: &str = "correct-horse-battery";

fn good(out: &Output) -> &Output {
    assert_eq!(out.code, 0, "{}\n{}", out.stdout, out.stderr);
    out
}

/// Fails with exit code 1, and says all of this.
fn refused(out: &Output, says: &[&str]) {
    assert_eq!(out.code, 1, "{}\n{}", out.stdout, out.stderr);
    for part in says {
        assert!(out.stderr.contains(part), "no `{part}` in: {}", out.stderr);
    }
}

#[test]
fn a_saved_plan_is_applied_as_it_stands() {
    let room = Sandbox::new(engine!(V20_10));
    let web = |n: u32| {
        instance(
            "web",
            &format!(
                "{LIVE}\nreplicas: 2\nenv: {{ TOKEN: '{SECRET}', N: '{n}' }}\nfiles: [{{ path: /etc/key, content: '{SECRET}{n}' }}]\nvolumes: [{{ volume: data, target: /data }}]"
            ),
        )
    };
    room.spec("set.yaml", &(volume("data", false) + &*web(1)));
    let file = room.path().join("plan.json");
    let saved = good(&room.windlass(&["plan", "--out", "plan.json"])).stderr.clone();
    assert!(saved.contains("apply --plan"), "{saved}");
    assert!(
        seen(&room).is_empty() && !room.state().join("journal").exists(),
        "a plan did something"
    );
    let text = std::fs::read_to_string(&file).expect("a plan");
    assert!(!text.contains(SECRET), "a secret is in {text}");
    assert_eq!(std::fs::metadata(&file).expect("it").permissions().mode() & 0o777, 0o600);
    let shown = room.windlass(&["show", "plan.json"]);
    assert!(good(&shown).stdout.contains("web/1: start on lab"), "{}", shown.stdout);

    good(&room.windlass(&["apply", "--plan", "plan.json"]));
    assert_settled(&room);
    let env = one(&room, "web", 1).0["Config"]["Env"].to_string();
    assert!(env.contains(SECRET), "{env}");

    // Replicas take turns: steps of later rounds are listed too.
    room.spec("set.yaml", &(volume("data", false) + &*web(2)));
    good(&room.windlass(&["plan", "--out", "plan.json"]));
    let text = std::fs::read_to_string(&file).expect("a plan");
    let owner = owner(&room.state());
    assert!(!text.contains(SECRET) && !text.contains(&owner), "{text}");
    let applied = room.windlass(&["apply", "plan.json"]);
    assert!(good(&applied).stdout.contains("2 replaced"), "{}", applied.stdout);
    assert!(!applied.stderr.contains("no longer needed"), "{}", applied.stderr);
    assert_settled(&room);

    // Removals, and what goes once its user is gone.
    room.spec("set.yaml", &instance("other", LIVE));
    good(&room.windlass(&["plan", "--out", "plan.json"]));
    good(&room.windlass(&["apply", "--plan", "plan.json"]));
    assert_settled(&room);
    assert_eq!(seen(&room).len(), 1);
    verify_journal(&room.state());
}

#[test]
fn a_plan_is_refused_once_what_it_rests_on_changed() {
    let room = Sandbox::new(engine!(V20_10));
    let set = |n: u32| {
        instance("web", &format!("{LIVE}\nenv: {{ N: '{n}' }}")) + &*instance("other", LIVE)
    };
    room.spec("shop/set.yaml", &set(1));
    apply_well(&room);
    let save = || good(&room.windlass(&["plan", "--out", "plan.json"])).stdout.clone();
    let apply = || room.windlass(&["apply", "--plan", "plan.json"]);

    room.spec("shop/set.yaml", &set(2));
    save();
    room.spec("shop/set.yaml", &set(3));
    let web = one(&room, "web", 0).life();
    refused(
        &apply(),
        &["refused", "web is declared otherwise now (shop/set.yaml:2)", "ago", "by "],
    );
    assert_eq!(one(&room, "web", 0).life(), web, "something was done");

    save();
    let other = one(&room, "other", 0);
    docker(room.engine(), &["rm", "-f", other.id()]);
    refused(&apply(), &[&format!("container {} on lab is gone", other.name())]);
    assert_eq!(one(&room, "web", 0).life(), web, "something was done");

    save();
    apply_well(&room);
    refused(&apply(), &["windlass worked meanwhile", "nothing is left to do"]);

    // Another state directory, and files that are none.
    let elsewhere = room.path().join("elsewhere");
    let elsewhere = elsewhere.to_str().expect("a path");
    let out = room.windlass(&["apply", "--plan", "plan.json", "--state", elsewhere]);
    refused(&out, &["another state directory"]);
    refused(&room.windlass(&["apply", "--plan", "specs/node.yaml"]), &["no saved plan"]);
    assert_settled(&room);
}

fn saved(room: &Sandbox<'_>) -> Box<SavedPlan> {
    let text = std::fs::read_to_string(room.path().join("plan.json")).expect("a plan");
    Box::new(serde_json::from_str(&text).expect("a saved plan"))
}

fn outcome(frames: &[Frame]) -> Outcome {
    match frames.last() {
        Some(Frame::Settled { outcome }) => (**outcome).clone(),
        _ => panic!("an outcome, and not {frames:#?}"),
    }
}

#[test]
fn a_plan_stops_where_it_needs_what_it_does_not_list() {
    let room = Sandbox::new(engine!(V20_10));
    let set = |n: u32| {
        let deaf =
            format!("command: [sleep, '100000']\nstop: {{ timeout: 60s }}\nenv: {{ N: '{n}' }}");
        instance("deaf", &deaf) + &*instance("web", LIVE)
    };
    room.spec("set.yaml", &set(1));
    apply_well(&room);
    let old = one(&room, "deaf", 0);
    let web = one(&room, "web", 0);
    room.spec("set.yaml", &set(2));
    good(&room.windlass(&["plan", "--out", "plan.json"]));
    let bound = Loop::start(&settings(&room), Mode::Bound);
    let plan = saved(&room);
    let frames = std::thread::scope(|scope| {
        let asked = scope.spawn(|| bound.ask(Request::ApplyPlan { plan }));
        bound.wait_for_step("deaf/0", "stop", 0);
        docker(room.engine(), &["kill", web.id()]);
        eventually("the end of web is seen", LONG, || bound.status("web").replicas_ready == 0);
        docker(room.engine(), &["kill", old.id()]);
        asked.join().expect("it is answered")
    });
    let outcome = outcome(&frames);
    let why = outcome.stopped.as_deref().expect("it stops");
    assert!(why.contains("web/0: restart") && !outcome.is_good(), "{outcome:#?}");
    // What was under way came to its end; web was not touched.
    assert_eq!(outcome.steps, 4, "{outcome:#?}");
    assert_eq!(one(&room, "deaf", 0).state(), "running");
    assert_eq!(one(&room, "web", 0).state(), "exited");
    bound.stop();
    assert_eq!(one(&room, "web", 0).state(), "exited");
    apply_well(&room);
    assert_settled(&room);
}

#[test]
fn a_listed_step_that_is_not_needed_is_left_out() {
    let room = Sandbox::new(engine!(V20_10));
    let user = format!("{LIVE}\nvolumes: [{{ volume: data, target: /data }}]");
    room.spec("set.yaml", &(volume("data", true) + &*instance("web", &user)));
    // With records of its own, so that the owner of what is made below is known.
    room.spec("other.yaml", &instance("other", LIVE));
    room.remove_spec("set.yaml");
    apply_well(&room);
    room.spec("set.yaml", &(volume("data", true) + &*instance("web", &user)));
    good(&room.windlass(&["plan", "--out", "plan.json"]));
    let (owner, project) = (owner(&room.state()), room.project());
    let labels = [
        format!("io.windlass.owner={owner}"),
        format!("io.windlass.project={project}"),
        "io.windlass.volume=data".to_owned(),
    ];
    let name = format!("{project}.data");
    let mut args = vec!["volume", "create"];
    args.extend(labels.iter().flat_map(|label| ["--label", label.as_str()]));
    args.push(&name);
    docker(room.engine(), &args);
    let out = room.windlass(&["apply", "--plan", "plan.json"]);
    let said = &good(&out).stderr;
    assert!(said.contains("no longer needed") && said.contains("create volume"), "{said}");
    assert_settled(&room);
}

#[test]
fn a_daemon_applies_and_refuses_saved_plans() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", &instance("web", LIVE));
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled", LONG);
    let save = || good(&room.windlass(&["plan", "--out", "plan.json"])).stdout.clone();
    let apply = || room.windlass(&["apply", "--plan", "plan.json"]);
    let running = |name: &'static str| {
        let is_up = || replicas(&room, name, 0).iter().any(|one| one.state() == "running");
        eventually("it runs", LONG, is_up);
    };
    save();
    assert!(good(&apply()).stdout.contains("nothing to do"));

    room.spec("set.yaml", &(instance("web", LIVE) + &*instance("more", LIVE)));
    running("more");
    refused(&apply(), &["more is newly declared (set.yaml:", "nothing is left to do"]);

    // What it is backing off from is tried at once, as the plan says; and it fails once more.
    let image = instance("bad", LIVE).replace("busybox:latest", "127.0.0.1:1/none:1");
    room.spec("bad.yaml", &image);
    up.wait_for_line("pull image", LONG);
    eventually("it is known to have failed", LONG, || {
        let out = room.windlass(&["get", "images"]);
        out.stdout.contains("127.0.0.1:1")
    });
    save();
    let out = apply();
    refused(&out, &["127.0.0.1:1/none:1"]);
    assert!(!out.stderr.contains("refused, and"), "{}", out.stderr);

    // And then it holds what is declared as before.
    room.remove_spec("bad.yaml");
    room.spec("last.yaml", &instance("last", LIVE));
    running("last");
    assert_eq!(up.end("TERM"), 0);
}

#[test]
fn a_suspended_object_is_left_alone_until_it_is_resumed() {
    let room = Sandbox::new(engine!(V20_10));
    let web = |n: u32| instance("web", &format!("{LIVE}\nreplicas: 2\nenv: {{ N: '{n}' }}"));
    room.spec("web.yaml", &web(1));
    room.spec("other.yaml", &instance("other", LIVE));
    apply_well(&room);
    let (web_name, replica) =
        (format!("{}/web", room.project()), format!("{}/web/0", room.project()));
    refused(&room.windlass(&["suspend", &replica]), &["one replica", &web_name]);
    refused(&room.windlass(&["suspend", &format!("{web_name}b")]), &["did you mean"]);
    refused(&room.windlass(&["resume", &web_name]), &["not suspended"]);
    good(&room.windlass(&["suspend", &web_name, "--reason", "under repair"]));
    let listed = room.windlass(&["suspend"]);
    assert!(good(&listed).stdout.contains("under repair"), "{}", listed.stdout);

    // Drift, a changed spec, and a change of another object.
    docker(room.engine(), &["rm", "-f", one(&room, "web", 0).id()]);
    let twin = one(&room, "web", 1).life();
    room.spec("web.yaml", &web(2));
    room.spec("other.yaml", &instance("other", &format!("{LIVE}\nenv: {{ N: '2' }}")));
    let planned = room.windlass(&["plan"]);
    let rows = &good(&planned).stdout;
    assert!(rows.contains("left alone: suspended") && rows.contains("under repair"), "{rows}");
    let applied = room.windlass(&["apply"]);
    assert!(good(&applied).stdout.contains("2 suspended"), "{}", applied.stdout);
    assert!(replicas(&room, "web", 0).is_empty());
    assert_eq!(one(&room, "web", 1).life(), twin);
    assert_eq!(one(&room, "other", 0).label("incarnation"), "2");
    let got = room.windlass(&["describe", &web_name]);
    assert!(good(&got).stdout.contains("Suspended"), "{}", got.stdout);

    // Its declaration goes, and it stays; also for the guard.
    room.remove_spec("web.yaml");
    assert!(apply_well(&room).held.is_none());
    assert_eq!(one(&room, "web", 1).life(), twin);

    good(&room.windlass(&["resume", &web_name]));
    apply_well(&room);
    assert!(replicas(&room, "web", 1).is_empty(), "it goes on");
    assert_settled(&room);
    verify_journal(&room.state());
}

#[test]
fn a_daemon_leaves_alone_what_is_suspended_also_after_a_restart() {
    let room = Sandbox::new(engine!(V20_10));
    let web = |n: u32| instance("web", &format!("{LIVE}\nenv: {{ N: '{n}' }}"));
    let (web_name, project) = (format!("{}/web", room.project()), room.project().to_owned());
    room.spec("web.yaml", &web(1));
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled", LONG);
    good(&room.windlass(&["suspend", &web_name, "--reason", "a look at it"]));
    up.wait_for_line("a look at it", LONG);
    let life = one(&room, "web", 0).life();
    room.spec("web.yaml", &(web(2) + &*instance("more", LIVE)));
    let more = || replicas(&room, "more", 0).iter().any(|one| one.state() == "running");
    eventually("the other one comes", LONG, more);
    assert_eq!(one(&room, "web", 0).life(), life);

    // Killed and started again; the store made anew between.
    up.kill();
    good(&room.windlass(&["store", "rebuild"]));
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled", LONG);
    assert!(good(&room.windlass(&["apply"])).stdout.contains("1 suspended"));
    assert_eq!(one(&room, "web", 0).life(), life);
    let out = room.windlass(&["get", "instances", "-o", "json"]);
    assert!(out.stdout.contains(r#""type": "Suspended""#), "{}", out.stdout);

    good(&room.windlass(&["resume", &web_name]));
    eventually("it goes on", LONG, || {
        let all = replicas(&room, "web", 0);
        all.len() == 1 && all[0].label("incarnation") == "2" && all[0].state() == "running"
    });

    // A whole project: it stays even when everything is taken down.
    good(&room.windlass(&["suspend", "--project", &project]));
    let lives = super::room::lives(&room);
    let out = room.windlass(&["down", "-y"]);
    assert!(good(&out).stdout.contains("Left alone"), "{}", out.stdout);
    assert_eq!(super::room::lives(&room), lives);
    good(&room.windlass(&["resume", "--project", &project]));
    good(&room.windlass(&["down", "-y"]));
    assert!(seen(&room).is_empty());
}
