//! `start-first` on real engines, as the engines' own events tell of it.

use std::collections::{BTreeMap, BTreeSet};

use super::room::{LONG, Loop, Seen, assert_settled, engine_time, instance, one, replicas, seen};
use crate::lab::{Engine, Sandbox, Up, eventually, eventually_or};

/// Three replicas with host ports of a range, that are ready a while after they were started. What
/// `content` names has to be there for that.
fn web(n: u32, content: &str) -> String {
    let serves =
        "mkdir -p /tmp/w; httpd -p 80 -h /tmp/w; sleep 1; echo ok > /tmp/w/ready; sleep 100000";
    let spec = format!(
        "command: [sh, -c, '{serves}']\n\
         stop: {{ signal: KILL }}\n\
         env: {{ N: '{n}' }}\n\
         replicas: 3\n\
         ports: [ {{ container: 80, host: $port0-$port3, address: 127.0.0.1 }} ]\n\
         health: {{ exec: [test, -e, /tmp/w/{content}], interval: 300ms, timeout: 10s, startPeriod: 10m }}\n\
         update: {{ order: start-first, healthTimeout: 10m, onFailure: hold }}\n"
    );
    instance("web", &spec)
}

/// What an engine tells of the containers of a sandbox, as it happens.
struct Events(Up);

impl Events {
    fn since(room: &Sandbox<'_>, time: &str) -> Self {
        let project = format!("label=io.windlass.project={}", room.project());
        let mut args = vec!["events", "--since", time, "--filter", &project];
        args.extend(["--filter", "type=container"]);
        for event in ["event=start", "event=die", "event=destroy", "event=health_status"] {
            args.extend(["--filter", event]);
        }
        args.extend(["--format", "{{.Actor.ID}} {{.Action}}"]);
        Self(Up::spawn(room.engine().docker_command(&args)))
    }

    /// Waits until all is told of these containers, which are gone.
    fn until_gone<'c>(&self, ids: impl IntoIterator<Item = &'c str>) -> Vec<(String, String)> {
        let ids: BTreeSet<&str> = ids.into_iter().collect();
        let all = || -> Vec<(String, String)> {
            let lines = self.0.lines();
            let parts = lines.iter().filter_map(|line| line.split_once(' '));
            parts.map(|(id, action)| (id.to_owned(), action.to_owned())).collect()
        };
        eventually("the engine told of the end of each", LONG, || {
            let told = all();
            ids.iter().all(|id| told.iter().any(|(of, action)| of == id && action == "destroy"))
        });
        all()
    }
}

/// The fewest that were ready, and the most that ran, while this happened to these ready ones.
fn extremes(ready: &[String], events: &[(String, String)]) -> (usize, usize) {
    let mut ready: BTreeSet<&str> = ready.iter().map(String::as_str).collect();
    let mut running = ready.clone();
    let (mut fewest, mut most) = (ready.len(), running.len());
    for (id, action) in events {
        match action.as_str() {
            "start" => drop(running.insert(id)),
            "health_status: healthy" => drop(ready.insert(id)),
            "health_status: unhealthy" => drop(ready.remove(id.as_str())),
            "die" => {
                ready.remove(id.as_str());
                running.remove(id.as_str());
            }
            _ => {}
        }
        fewest = fewest.min(ready.len());
        most = most.max(running.len());
    }
    (fewest, most)
}

#[test]
fn a_gap_would_be_seen() {
    let event = |id: &str, action: &str| (id.to_owned(), action.to_owned());
    let ready = ["a".to_owned(), "b".to_owned()];
    let gap = [event("a", "die"), event("c", "start"), event("c", "health_status: healthy")];
    assert_eq!(extremes(&ready, &gap), (1, 2));
    let none = [event("c", "start"), event("c", "health_status: healthy"), event("a", "die")];
    assert_eq!(extremes(&ready, &none), (2, 3));
}

fn ids(room: &Sandbox<'_>) -> Vec<String> {
    (0..3).map(|ordinal| one(room, "web", ordinal).id().to_owned()).collect()
}

/// The host ports of all containers of the sandbox.
fn ports(room: &Sandbox<'_>) -> BTreeMap<String, u16> {
    let port = |one: &Seen| {
        let bound = &one.0["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"];
        bound.as_str().and_then(|port| port.parse().ok()).expect("a host port")
    };
    seen(room).iter().map(|(name, one)| (name.clone(), port(one))).collect()
}

fn three_are_ready_all_the_time(engine: &Engine) {
    let room = Sandbox::new(engine);
    room.spec("web.yaml", &web(1, "ready"));
    let held = Loop::hold(&room);
    eventually("all are ready", LONG, || held.status("web").replicas_ready == 3);
    held.wait_until_settled();
    let old = ids(&room);
    let mut gone = Vec::new();
    let events = Events::since(&room, &engine_time(engine));
    for n in 2..4 {
        gone.extend(ids(&room));
        room.spec("web.yaml", &web(n, "ready"));
        let outcome = held.apply();
        assert!(outcome.is_good(), "{outcome:#?}");
    }
    held.wait_until_settled();
    let events = events.until_gone(gone.iter().map(String::as_str));
    let (fewest, most) = extremes(&old, &events);
    assert_eq!((fewest, most), (3, 4), "{events:#?}");
    // Each one was replaced twice, and nothing else was made.
    let ended = events.iter().filter(|(_, action)| action == "destroy").count();
    assert_eq!(ended, 6, "{events:#?}");
    let now = ports(&room);
    let range = room.port(0)..=room.port(3);
    assert_eq!(now.len(), 3);
    assert_eq!(now.values().collect::<BTreeSet<_>>().len(), 3, "{now:?}");
    for (name, port) in &now {
        assert!(range.contains(port), "{name} has {port}");
        assert_eq!(engine.http_get(*port, "/ready").as_deref(), Some("ok\n"), "{name}");
    }
    held.stop();
    assert_settled(&room);
}

#[test]
fn three_are_ready_all_the_time_on_20_10() {
    three_are_ready_all_the_time(engine!(V20_10));
}

#[test]
fn three_are_ready_all_the_time_on_26_1() {
    three_are_ready_all_the_time(engine!(V26_1));
}

fn what_never_gets_ready_takes_nothing_with_it(engine: &Engine) {
    let room = Sandbox::new(engine);
    room.spec("web.yaml", &web(1, "ready"));
    let held = Loop::hold(&room);
    eventually("all are ready", LONG, || held.status("web").replicas_ready == 3);
    held.wait_until_settled();
    let old = ids(&room);
    let before: Vec<_> = (0..3).map(|ordinal| one(&room, "web", ordinal).life()).collect();
    let events = Events::since(&room, &engine_time(engine));
    room.spec("web.yaml", &web(2, "never"));
    drop(held.reread());
    let waits = |held: &Loop| {
        let plan = held.plan();
        let why = |name: &str| {
            let row = plan.rows.iter().find(|row| row.name.ends_with(name));
            row.map(|row| row.why.clone()).unwrap_or_default()
        };
        let waits = plan.steps.is_empty()
            && why("web/0").contains("its new container")
            && why("web/1").contains("web/0 to be replaced")
            && why("web/2").contains("web/0 to be replaced");
        if waits { Ok(()) } else { Err(Box::new((plan, held.status("web")))) }
    };
    eventually_or("the new one is waited for", LONG, || waits(&held));
    let status = held.status("web");
    assert_eq!(status.replicas_ready, 3, "{status:#?}");
    let two = replicas(&room, "web", 0);
    assert_eq!(two.len(), 2, "{two:#?}");
    assert!(two.iter().all(|one| one.state() == "running"), "{two:#?}");
    let new = two.iter().find(|one| !old.contains(&one.id().to_owned())).expect("a new one");
    let new = new.id().to_owned();

    // Another start finds two containers of one replica, and goes on waiting.
    held.stop();
    let held = Loop::hold(&room);
    eventually_or("it waits again", LONG, || waits(&held));
    // Nor does it matter that the new one ends: it is started again, beside the old one.
    engine.kill_process(&new);
    held.wait_for_step("web/0", "restart", 0);
    eventually_or("it waits once more", LONG, || waits(&held));

    // Called off, the new one goes, and nobody has touched the others.
    room.spec("web.yaml", &web(1, "ready"));
    let outcome = held.apply();
    assert!(outcome.is_good(), "{outcome:#?}");
    held.wait_until_settled();
    let events = events.until_gone([new.as_str()]);
    assert_eq!(extremes(&old, &events), (3, 4), "{events:#?}");
    let after: Vec<_> = (0..3).map(|ordinal| one(&room, "web", ordinal).life()).collect();
    assert_eq!(after, before);
    held.stop();
    assert_settled(&room);
}

#[test]
fn what_never_gets_ready_takes_nothing_with_it_on_20_10() {
    what_never_gets_ready_takes_nothing_with_it(engine!(V20_10));
}

#[test]
fn what_never_gets_ready_takes_nothing_with_it_on_26_1() {
    what_never_gets_ready_takes_nothing_with_it(engine!(V26_1));
}
