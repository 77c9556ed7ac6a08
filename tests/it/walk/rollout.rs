//! Rollouts on real engines: a revision that fails goes back by itself, once, and an operator says
//! how others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::room::{LONG, Loop, assert_settled, instance, one};
use crate::lab::{Engine, Sandbox, Up, docker, eventually};

/// Serves what `word` says, and is well as long as it says nothing of `bad`.
fn web(room: &Sandbox<'_>, word: &str, more: &str) {
    let script = format!(
        "mkdir -p /www; echo {word} > /www/{word}.html; test {word} = bad || echo ok > /www/ok; \
         exec httpd -f -p 80 -h /www"
    );
    let spec = format!(
        "replicas: 3\ncommand: [sh, -c, '{script}']\nstop: {{ signal: KILL }}\n\
         health: {{ http: {{ port: 80, path: /ok }}, interval: 300ms, timeout: 5s, retries: 2 }}\n\
         {more}"
    );
    room.spec("web.yaml", &instance("web", &spec));
}

fn name(room: &Sandbox<'_>) -> String {
    format!("{}/web", room.project())
}

/// What each replica serves.
fn words(room: &Sandbox<'_>) -> Vec<String> {
    let word = |ordinal| {
        let id = one(room, "web", ordinal).id().to_owned();
        let listed = docker(room.engine(), &["exec", &id, "ls", "/www"]);
        let file = listed.lines().find_map(|line| line.strip_suffix(".html")).map(str::to_owned);
        file.unwrap_or_default()
    };
    (0..3).map(word).collect()
}

fn ids(room: &Sandbox<'_>) -> Vec<String> {
    (0..3).map(|ordinal| one(room, "web", ordinal).id().to_owned()).collect()
}

fn rollout(room: &Sandbox<'_>, verb: &[&str]) -> (i32, String) {
    let name = name(room);
    let mut args = vec!["rollout"];
    args.extend(verb);
    args.push(&name);
    let out = room.windlass(&args);
    (out.code, format!("{}{}", out.stdout, out.stderr))
}

fn up(room: &Sandbox<'_>) -> Up {
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled", LONG);
    up
}

fn a_bad_revision_goes_back_by_itself(engine: &Engine) {
    let room = Sandbox::new(engine);
    web(&room, "first", "");
    let held = Loop::hold(&room);
    eventually("all are ready", LONG, || held.status("web").replicas_ready == 3);
    eventually("it is good", LONG, || {
        held.status("web").rollout.is_some_and(|rollout| rollout.good)
    });
    let before = ids(&room);

    // While the bad one is tried, two are ready at each moment.
    let (over, least) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(3));
    thread::scope(|scope| {
        let (watching, least, held) = (Arc::clone(&over), &least, &held);
        scope.spawn(move || {
            while !watching.load(Ordering::Relaxed) {
                let ready = held.status("web").replicas.iter().filter(|one| one.ready).count();
                least.fetch_min(ready, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let since = held.now();
        web(&room, "bad", "");
        drop(held.reread());
        held.wait_for_step("web/0", "create", since);
        eventually("it is set aside", LONG, || {
            held.status("web").rollout.is_some_and(|rollout| rollout.phase == "SetAside")
        });
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(least.into_inner(), 2);
    assert_eq!(words(&room), ["first"; 3]);
    let after = ids(&room);
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1..], before[1..], "others than the one that tried it were touched");
    let status = held.status("web");
    let ready = &status.conditions[0];
    assert_eq!(ready.reason, "RolloutFailed", "{ready:?}");
    assert!(ready.message.contains("GET /ok answered 404 (2 of 2)"), "{ready:?}");
    assert!(ready.message.contains("back on revision 1"), "{ready:?}");
    held.wait_until_settled();
    held.stop();

    // It is remembered: nothing is left to do, and a loop that begins anew touches nothing.
    assert_settled(&room);
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stdout.contains("set aside") || out.stderr.contains("set aside"), "{out:?}");
    assert_eq!(ids(&room), after);
    let (code, told) = rollout(&room, &["status"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("revision 2 is set aside until its spec changes"), "{told}");
    let (_, told) = rollout(&room, &["history"]);
    assert!(told.contains("set aside") && told.contains("current"), "{told}");

    // Another one rolls out.
    web(&room, "second", "");
    let mut up = up(&room);
    let (code, told) = rollout(&room, &["status"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(words(&room), ["second"; 3]);
    assert_eq!(up.end("TERM"), 0);
}

#[test]
fn a_bad_revision_goes_back_by_itself_on_20_10() {
    a_bad_revision_goes_back_by_itself(engine!(V20_10));
}

#[test]
fn a_bad_revision_goes_back_by_itself_on_26_1() {
    a_bad_revision_goes_back_by_itself(engine!(V26_1));
}

#[test]
fn an_operator_goes_back_beside_a_daemon_and_without_one() {
    let room = Sandbox::new(engine!(V26_1));
    web(&room, "first", "");
    let mut daemon = up(&room);
    assert_eq!(rollout(&room, &["status"]).0, 0);
    web(&room, "second", "");
    eventually("the second one is rolled out", LONG, || {
        words_are(&room, "second") && rollout(&room, &["status"]).0 == 0
    });
    let (code, told) = rollout(&room, &["undo"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("goes back to revision 1"), "{told}");
    let (code, told) = rollout(&room, &["status"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("went back to revision 1"), "{told}");
    assert_eq!(words(&room), ["first"; 3]);
    let out = room.windlass(&["plan", "--detailed-exitcode"]);
    assert!(
        out.stdout.contains("undone") && out.stdout.contains("until its spec changes"),
        "{out:?}"
    );
    assert_eq!(daemon.end("TERM"), 0);

    // Without a daemon it is put on record, and done by whoever comes next.
    let (code, told) = rollout(&room, &["undo"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("--to N"), "{told}");
    let (code, told) = rollout(&room, &["undo", "--to", "2"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(words(&room), ["first"; 3]);
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:?}");
    eventually("it is ahead again", LONG, || words_are(&room, "second"));
}

#[test]
fn a_rollout_is_paused_and_all_get_new_containers() {
    let room = Sandbox::new(engine!(V20_10));
    web(&room, "first", "");
    let mut daemon = up(&room);
    assert_eq!(rollout(&room, &["status"]).0, 0);
    let (code, told) = rollout(&room, &["pause"]);
    assert_eq!(code, 0, "{told}");
    let before = ids(&room);
    web(&room, "second", "");
    eventually("the plan says that it is paused", LONG, || {
        room.windlass(&["plan"]).stdout.contains("keeps its revision: paused")
    });
    // Repairs go on meanwhile.
    docker(room.engine(), &["kill", &before[1]]);
    eventually("what was killed runs", LONG, || one(&room, "web", 1).state() == "running");
    assert_eq!(ids(&room), before);
    let (code, told) = rollout(&room, &["status"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("paused by"), "{told}");
    assert_eq!(rollout(&room, &["resume"]).0, 0);
    eventually("it goes on", LONG, || words_are(&room, "second"));
    assert_eq!(rollout(&room, &["status"]).0, 0);

    let before = ids(&room);
    let (code, told) = rollout(&room, &["restart"]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = rollout(&room, &["status"]);
    assert_eq!(code, 0, "{told}");
    let after = ids(&room);
    assert!(before.iter().all(|id| !after.contains(id)), "{before:?} {after:?}");
    assert_eq!(words(&room), ["second"; 3]);
    assert_eq!(daemon.end("TERM"), 0);
    assert_settled(&room);
}

/// Whether each replica has one container, which runs and serves that word.
fn words_are(room: &Sandbox<'_>, word: &str) -> bool {
    (0..3).all(|ordinal| {
        let all = super::room::replicas(room, "web", ordinal);
        let [only] = &all[..] else { return false };
        let path = format!("/www/{word}.html");
        let has = room.engine().try_docker(&["exec", only.id(), "test", "-e", &path]);
        only.state() == "running" && has.is_ok()
    })
}
