//! The examples do what their READMEs say. Ports of theirs are mapped to those of the sandbox.

use std::fs;

use super::room::{LONG, Loop, assert_settled, networks, one, seen};
use crate::lab::{Sandbox, docker, eventually, repository};

/// Copies the specs of an example, with a project and a port of the sandbox's own.
fn example(room: &Sandbox<'_>, name: &str, project: &str, port: &str) {
    let from = repository().join("examples").join(name).join("specs");
    for entry in fs::read_dir(from).expect("an example has specs") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a spec");
        let text = text
            .replace(&format!("project: {project}"), "project: $project")
            .replace(&format!("metadata: {{ name: {project} }}"), "metadata: { name: $project }")
            .replace(&format!("host: {port}"), "host: $port0");
        let name = path.file_name().expect("a name").to_string_lossy();
        room.spec(&name, &text);
    }
}

#[test]
fn hello_greets() {
    let room = Sandbox::new(engine!(V20_10));
    let engine = room.engine();
    example(&room, "hello", "greeting", "8090");
    let out = room.windlass(&["plan", "--detailed-exitcode"]);
    assert_eq!(out.code, 2, "{out:?}");
    assert!(out.stdout.contains("1 to add"), "{out:?}");
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:?}");
    let page = || engine.http_get(room.port(0), "/");
    eventually("it greets", LONG, || page().as_deref() == Some("hello world\n"));
    let out = room.windlass(&["plan", "--detailed-exitcode"]);
    assert_eq!(out.code, 0, "{out:?}");

    // The table of the README, row by row.
    let held = Loop::hold(&room);
    held.wait_until_settled();
    let before = one(&room, "web", 0);
    let since = held.now();
    docker(engine, &["kill", before.id()]);
    assert_eq!(held.wait_for_step("web/0", "restart", since), "ended with exit code 137");
    eventually("it greets again", LONG, || page().as_deref() == Some("hello world\n"));
    assert_eq!(one(&room, "web", 0).id(), before.id());

    let (since, started) = (held.now(), one(&room, "web", 0).started_at().to_owned());
    docker(engine, &["update", "--memory", "64m", "--memory-swap", "64m", before.id()]);
    let cause = held.wait_for_step("web/0", "update", since);
    assert_eq!(cause, "drift: memory 64Mi -> 512Mi");
    held.wait_until_settled();
    assert_eq!(one(&room, "web", 0).started_at(), started, "it was started again");

    let path = room.specs().join("web.yaml");
    let text = fs::read_to_string(&path).expect("a spec");
    fs::write(&path, text.replace("WHO: world", "WHO: there")).expect("a spec is written");
    // Nobody asks: the change is seen.
    eventually("it greets another", LONG, || page().as_deref() == Some("hello there\n"));
    held.wait_until_settled();
    let replaced = one(&room, "web", 0);
    assert_ne!(replaced.id(), before.id());

    fs::write(&path, text.replace("flavor:", "replica: 2\n  flavor:")).expect("it is written");
    eventually("the error is told", LONG, || !held.overview().broken.is_empty());
    let first = held.overview().broken["web.yaml"].first.clone();
    assert!(first.contains("replica") && first.contains("web.yaml:"), "{first}");
    assert_eq!(one(&room, "web", 0).life(), replaced.life());
    held.stop();
    let out = room.windlass(&["down", "-y"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(seen(&room).is_empty());
}

#[test]
fn two_nodes_and_a_drain() {
    let (east, west) = (engine!(V20_10), engine!(V26_1));
    let room = Sandbox::new(east);
    example(&room, "two-nodes", "pair", "none");
    // An image of the test's own, the same on both: their `busybox:latest` were imported apart.
    let image = format!("busybox:{}", room.project());
    docker(east, &["tag", "busybox:latest", &image]);
    super::nodes::same_image(&room, &[east, west], &image);
    room.remove_spec("node.yaml");
    let change = |file: &str, changes: &[(&str, &str)]| {
        let text = fs::read_to_string(room.specs().join(file)).expect("a spec");
        let text = changes.iter().fold(text, |text, (from, to)| text.replace(from, to));
        room.spec(file, &text);
    };
    change("web.yaml", &[("image: busybox:latest", &format!("image: {image}"))]);
    let group = |engine: &crate::lab::Engine| {
        let root = format!("{}/windlass-test-{}", engine.cgroup(), room.project());
        format!("{}\n  cgroupRoot: {root}", engine.endpoint())
    };
    let sockets = ["unix:///run/windlass-east.sock", "unix:///run/windlass-west.sock"];
    change("nodes.yaml", &[(sockets[0], &group(east)), (sockets[1], &group(west))]);
    let on = |engine| -> Vec<String> {
        let found = super::room::seen_on(engine, room.project()).into_values();
        let mut found: Vec<_> = found
            .map(|seen| {
                format!("{}/{} {}", seen.label("instance"), seen.label("ordinal"), seen.state())
            })
            .collect();
        found.sort();
        found
    };
    assert_eq!(room.windlass(&["apply"]).code, 0);
    assert_eq!(on(east), ["db/0 running", "web/1 running"]);
    assert_eq!(on(west), ["web/0 running"]);
    let out = room.windlass(&["node", "list"]);
    let lines: Vec<&str> = out.stdout.lines().collect();
    assert!(lines[1].starts_with("east") && lines[1].contains("64Mi of 768Mi"), "{out:?}");

    // What the README shows, verb by verb.
    let out = room.windlass(&["node", "drain", "east", "--reason", "new disks"]);
    assert_eq!(out.code, 1, "{out:?}");
    let stays =
        format!("{0}/db/0: node east is drained, and volume {0}/data is there", room.project());
    assert!(out.stderr.contains(&stays), "{out:?}");
    assert_eq!(on(east), ["db/0 running"]);
    assert_eq!(on(west), ["web/0 running", "web/1 running"]);
    let out = room.windlass(&["plan", "--detailed-exitcode"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert_eq!(room.windlass(&["node", "uncordon", "east"]).code, 0);
    // Nobody moves back by itself; what is new goes where there is room.
    change("web.yaml", &[("replicas: 2", "replicas: 3")]);
    assert_eq!(room.windlass(&["apply"]).code, 0);
    assert_eq!(on(east), ["db/0 running", "web/2 running"]);
    assert_eq!(room.windlass(&["down", "-y"]).code, 0);
    assert!(on(east).is_empty() && on(west).is_empty());
}

#[test]
fn batch_jobs_end_and_rest() {
    let room = Sandbox::new(engine!(V20_10));
    example(&room, "batch", "batch", "none");
    let held = Loop::hold(&room);
    for name in ["report", "flaky"] {
        eventually(&format!("{name} is completed"), LONG, || {
            held.status(name).phase == "Completed"
        });
    }
    assert_eq!(held.replica("flaky").restarts, 2);
    held.wait_until_settled();
    held.stop();
    let lines = |name: &str| {
        let out = room.windlass(&["logs", &format!("{}/{name}", room.project())]);
        assert_eq!(out.code, 0, "{out:?}");
        out.stdout
    };
    assert_eq!(lines("report"), "sum 6\n");
    assert_eq!(lines("flaky"), "attempt 1\nattempt 2\nattempt 3\n");
    let out = room.windlass(&["plan", "--detailed-exitcode"]);
    assert_eq!(out.code, 0, "{out:?}");
    for name in ["report", "flaky"] {
        docker(room.engine(), &["rm", one(&room, name, 0).id()]);
    }
    assert_settled(&room);
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(seen(&room).is_empty(), "a job ran again");
}

#[test]
fn three_tiers_talk() {
    let room = Sandbox::new(engine!(V20_10));
    let engine = room.engine();
    example(&room, "three-tier", "shop", "8091");
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:?}");
    let page = || engine.http_get(room.port(0), "/cgi-bin/index.cgi");
    let says = |text: &str| page().is_some_and(|page| page.starts_with(text));
    eventually("the shop is open", LONG, || says("In stock: 12 crates, says api-"));
    assert_settled(&room);
    assert_eq!(one(&room, "seed", 0).state(), "exited");
    // Each tier reaches the next one only.
    let reaches = |from: &str, to: &str| {
        let id = one(&room, from, 0).id().to_owned();
        engine.try_docker(&["exec", &id, "nslookup", to]).is_ok()
    };
    assert!(reaches("web", "api") && reaches("api", "db") && !reaches("web", "db"));

    // A changed file beside a spec rolls the replicas that use it, and nobody else.
    let (web, api) = (one(&room, "web", 0), one(&room, "api", 1));
    fs::write(room.specs().join("api.env"), "UNIT=boxes\n").expect("written");
    assert_eq!(room.windlass(&["apply"]).code, 0);
    eventually("it counts boxes", LONG, || says("In stock: 12 boxes, says api-"));
    assert_ne!(one(&room, "api", 1).id(), api.id());
    assert_eq!(one(&room, "web", 0).life(), web.life());

    assert_eq!(room.windlass(&["down", "-y"]).code, 0);
    assert!(seen(&room).is_empty() && networks(&room).is_empty());
}
