//! Rules in the hands of others: they are back as soon as that is heard, long before anybody looks
//! anyway. And what a change of rules does to connections.

use windlass::api::protocol::Happened;

use super::fence::{SERVE, chain, id, link, reaches, tables};
use super::room::{HEARD, LONG, Loop, assert_settled, instance, one};
use crate::lab::engine::as_root;
use crate::lab::{Engine, Sandbox, docker, eventually};

/// The set of two with one link, held and settled. A look at the node has just been made.
fn linked(room: &Sandbox<'_>) -> Loop {
    let declared = link("web-db", "{ from: web, to: db, ports: [8080] }");
    room.spec("set.yaml", &(instance("web", SERVE) + &*instance("db", SERVE) + &*declared));
    let held = Loop::hold(room);
    let outcome = held.apply();
    assert!(outcome.is_good(), "{outcome:#?}");
    held
}

/// Another hand does something to the tables, and it is undone. Nobody asks for that.
fn is_undone(held: &Loop, what: &str, by: impl FnOnce()) {
    let since = held.now();
    by();
    held.wait_for(&format!("rules are set after {what}"), since, |happened| {
        matches!(happened, Happened::Began { verb, cause, .. }
            if verb == "set rules" && cause.starts_with("drift"))
    });
    held.wait_for("all is settled", since, |happened| matches!(happened, Happened::Settled { .. }));
}

/// The rules of one owner, on an engine that others use too.
fn what_is_flushed_is_back(engine: &Engine) {
    let room = Sandbox::new(engine);
    let held = linked(&room);
    let (web, chain) = (id(&room, "web"), chain(&room));
    let before = tables(engine, &["-S", &chain]);
    let strange = ["-I", &chain, "-j", "ACCEPT"];
    let all: [(&str, &[&str]); 4] = [
        ("a flush", &["-F", &chain]),
        ("a jump's removal", &["-D", "DOCKER-USER", "-j", &chain]),
        ("a rule's removal", &["-D", &chain, "1"]),
        ("a rule of another hand", &strange),
    ];
    for (what, args) in all {
        is_undone(&held, what, || drop(tables(engine, args)));
        assert_eq!(tables(engine, &["-S", &chain]), before, "{what}");
        assert!(reaches(engine, &web, "db", 8080), "{what}");
        assert!(!reaches(engine, &web, "db", 9090), "{what}");
    }
    held.stop();
    assert_settled(&room);
}

/// What services that keep rules do when they start again: all tables are emptied, or written anew
/// as they were once.
fn tables_that_are_made_anew_get_rules_again(engine: &Engine) {
    let room = Sandbox::new(engine);
    let saved = inside(engine, "iptables-save -t filter");
    let held = linked(&room);
    let (web, chain) = (id(&room, "web"), chain(&room));
    let is_fenced = |what: &str| {
        assert!(reaches(engine, &web, "db", 8080), "{what}");
        assert!(!reaches(engine, &web, "db", 9090), "{what}");
    };
    is_fenced("at first");
    is_undone(&held, "a flush of all", || drop(tables(engine, &["-F"])));
    is_fenced("a flush of all");
    let file = room.path().join("saved");
    std::fs::write(&file, saved).expect("a file is written");
    is_undone(&held, "tables as they were", || {
        inside(engine, &format!("iptables-restore -w <{}", file.display()));
        assert!(!tables(engine, &["-S"]).contains(&chain), "they were written anew");
    });
    // Without the user's chain nobody can set rules, and that is said; once it is back they are.
    let since = held.now();
    // At once: what is seen in between would be mended, rightly.
    let gone = "*filter\\n-F DOCKER-USER\\n-D FORWARD -j DOCKER-USER\\n-X DOCKER-USER\\nCOMMIT\\n";
    inside(engine, &format!("printf '{gone}' | iptables-restore -w --noflush"));
    let name = format!("{}/web-db", room.project());
    let shown = || room.windlass(&["describe", "link", &name]).stdout;
    eventually("it is said", HEARD, || {
        let shown = shown();
        shown.contains("NotInForce") && shown.contains("DOCKER-USER")
    });
    assert!(
        !held.happened()[since..].iter().any(|happened| matches!(happened, Happened::Began { .. }))
    );
    is_undone(&held, "the user's chain is back", || {
        inside(engine, "iptables -w -N DOCKER-USER; iptables -w -I FORWARD -j DOCKER-USER");
    });
    eventually("it is said", HEARD, || shown().contains("InForce"));
    assert!(reaches(engine, &web, "db", 8080));
    assert!(held.down().is_good());
    assert!(!tables(engine, &["-S"]).contains(&chain));
}

/// Runs a line in the engine's network.
fn inside(engine: &Engine, line: &str) -> String {
    let network = format!("--net={}", engine.netns());
    let out = as_root("nsenter").args([network.as_str(), "sh", "-c", line]).output();
    let out = out.expect("nsenter runs");
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Counts on port 7000, to each who connects, and notes in a file for each how far it is.
const COUNT: &str = r#"command: [sh, -c, "trap 'exit 0' TERM; nc -ll -p 7000 -e /count & wait"]
files:
  - path: /count
    mode: 0755
    content: |
      #!/bin/sh
      n=0
      while n=$((n + 1)) && echo $n; do echo $n >/tmp/said; usleep 20000; done"#;

/// How far a number in a container's file is.
fn far(engine: &Engine, container: &str, file: &str) -> u64 {
    let text = docker(engine, &["exec", container, "tail", "-n", "1", file]);
    text.trim().parse().unwrap_or(0)
}

/// A connection lives as long as its link, whatever becomes of others.
fn a_connection_ends_with_its_link(engine: &Engine) {
    let room = Sandbox::new(engine);
    // One server a connection, so that what each says can be told.
    let servers = ["db", "store"].map(|name| instance(name, COUNT)).concat();
    let consumers = ["web", "api"].map(|name| instance(name, SERVE)).concat();
    room.spec("set.yaml", &(servers + &*consumers));
    let declare = |name: &str, from: &str, to: &str, port: u16| {
        let spec = format!("{{ from: {from}, to: {to}, ports: [{port}], condition: none }}");
        room.spec(&format!("{name}.yaml"), &link(name, &spec));
    };
    declare("web-db", "web", "db", 7000);
    declare("api-store", "api", "store", 7000);
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    let [web, api, db, store] = ["web", "api", "db", "store"].map(|name| id(&room, name));
    for (from, to) in [(&web, "db"), (&api, "store")] {
        let listen = format!("nc {to} 7000 </dev/null >/tmp/heard; touch /tmp/ended");
        docker(engine, &["exec", "-d", from, "sh", "-c", &listen]);
    }
    let heard = |container: &str| far(engine, container, "/tmp/heard");
    let goes_on = |what: &str, container: &str| {
        let before = heard(container);
        eventually(what, LONG, || heard(container) > before + 10);
    };
    eventually("both listen", LONG, || heard(&web) > 0 && heard(&api) > 0);
    // Other links come, change and go.
    for port in [8080, 9090] {
        declare("api-web", "api", "web", port);
        assert!(held.apply().is_good());
        goes_on("web listens on", &web);
        goes_on("api listens on", &api);
    }
    room.remove_spec("web-db.yaml");
    assert!(held.apply().is_good());
    let (last, said) = (heard(&web), far(engine, &db, "/tmp/said"));
    eventually("db talks on", LONG, || far(engine, &db, "/tmp/said") > said + 20);
    assert_eq!(heard(&web), last, "what was said since came through");
    goes_on("api listens on", &api);
    // It never ended, nor did anything that was said get lost.
    let every = docker(engine, &["exec", &api, "cat", "/tmp/heard"]);
    let every: Vec<u64> = every.lines().filter_map(|line| line.parse().ok()).collect();
    assert!(every.iter().copied().eq(1..=every.len() as u64), "{every:?}");
    assert!(engine.try_docker(&["exec", &api, "test", "-e", "/tmp/ended"]).is_err());
    assert_eq!(one(&room, "store", 0).id(), store);
    assert!(held.down().is_good());
}

#[test]
fn what_is_flushed_is_back_on_20_10() {
    what_is_flushed_is_back(engine!(V20_10));
}

#[test]
fn what_is_flushed_is_back_on_26_1() {
    what_is_flushed_is_back(engine!(V26_1));
}

#[test]
fn tables_that_are_made_anew_get_rules_again_on_20_10() {
    tables_that_are_made_anew_get_rules_again(&private!(V20_10));
}

#[test]
fn tables_that_are_made_anew_get_rules_again_on_26_1() {
    tables_that_are_made_anew_get_rules_again(&private!(V26_1));
}

#[test]
fn a_connection_ends_with_its_link_on_20_10() {
    a_connection_ends_with_its_link(engine!(V20_10));
}

#[test]
fn a_connection_ends_with_its_link_on_26_1() {
    a_connection_ends_with_its_link(engine!(V26_1));
}
