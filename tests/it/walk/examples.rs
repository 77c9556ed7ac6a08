//! The examples do what their READMEs say. Ports of theirs are mapped to those of the sandbox.

use std::fs;

use super::fence::{address, named, reaches};
use super::room::{LONG, Loop, assert_settled, networks, one, seen};
use crate::lab::{Engine, Sandbox, docker, eventually, repository};

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
    let group = |engine: &Engine| {
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
fn a_rollout_that_fails_goes_back() {
    let room = Sandbox::new(engine!(V26_1));
    let engine = room.engine();
    // Three ports, and not one: they are mapped here.
    example(&room, "rollback", "pages", "none");
    let path = room.specs().join("web.yaml");
    let text = fs::read_to_string(&path).expect("a spec");
    let ports = format!("host: {}-{}", room.port(0), room.port(2));
    fs::write(&path, text.replace("host: 8094-8096", &ports)).expect("written");
    let first = fs::read_to_string(&path).expect("a spec");
    let held = Loop::hold(&room);
    let phase = || held.status("web").rollout.map(|rollout| rollout.phase);
    eventually("the first is rolled out", LONG, || phase().as_deref() == Some("Good"));
    let bad = repository().join("examples/rollback/bad/web.yaml");
    let bad = fs::read_to_string(bad).expect("a spec").replace("host: 8094-8096", &ports);
    let bad = bad.replace("project: pages", &format!("project: {}", room.project()));
    fs::write(&path, bad).expect("written");
    eventually("the second is set aside", LONG, || phase().as_deref() == Some("SetAside"));
    for n in 0..3 {
        let page = engine.http_get(room.port(n), "/index.html");
        assert_eq!(page.as_deref(), Some("first\n"));
    }
    let name = format!("{}/web", room.project());
    let out = room.windlass(&["rollout", "history", &name]);
    assert!(out.stdout.contains("2  set aside") && out.stdout.contains("1  current"), "{out:?}");

    // The table of the README.
    fs::write(&path, first.replace("first", "third")).expect("written");
    eventually("the third is rolled out", LONG, || phase().as_deref() == Some("Good"));
    let out = room.windlass(&["rollout", "undo", &name]);
    assert_eq!(out.code, 0, "{out:?}");
    eventually("the first is back", LONG, || phase().as_deref() == Some("Undone"));
    assert_eq!(engine.http_get(room.port(0), "/index.html").as_deref(), Some("first\n"));
    let out = room.windlass(&["rollout", "undo", &name, "--to", "3"]);
    assert_eq!(out.code, 0, "{out:?}");
    eventually("the third is back", LONG, || phase().as_deref() == Some("Good"));
    held.wait_until_settled();
    held.stop();
    let out = room.windlass(&["down", "-y"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(seen(&room).is_empty());
}

fn three_tiers_talk(engine: &Engine) {
    let room = Sandbox::new(engine);
    example(&room, "three-tier", "shop", "8091");
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:?}");
    let page = || engine.http_get(room.port(0), "/cgi-bin/index.cgi");
    let says = |text: &str| page().is_some_and(|page| page.starts_with(text));
    eventually("the shop is open", LONG, || says("In stock: 12 crates, says api-"));
    assert_settled(&room);
    assert_eq!(one(&room, "seed", 0).state(), "exited");
    for (link, ways) in [("web-api", "2 ways open"), ("api-db", "2 ways open")] {
        let out = room.windlass(&["describe", "link", link]);
        assert!(out.stdout.contains("InForce") && out.stdout.contains(ways), "{out:?}");
    }
    // Each tier reaches the next one only, whether it asks for a name or for an address.
    let id = |name: &str| one(&room, name, 0).id().to_owned();
    let gets = |from: &str, to: &str, port| reaches(engine, &id(from), to, port);
    let at = |name: &str| address(&room, name, 0);
    assert!(gets("web", "api", 8080) && gets("api", "stock", 5000));
    assert!(gets("web", &at("api"), 8080) && gets("api", &at("db"), 5000));
    for (from, to, port) in [("web", "db", 5000), ("db", "api", 8080), ("api", "web", 8080)] {
        assert!(!gets(from, to, port) && !gets(from, &at(to), port), "{from} reaches {to}");
    }
    assert_eq!(named(&room, "web", "stock"), Vec::<String>::new());
    assert_eq!(named(&room, "web", "api").len(), 2);

    // A changed file beside a spec rolls the replicas that use it, and nobody else.
    let (web, api) = (one(&room, "web", 0), one(&room, "api", 1));
    fs::write(room.specs().join("api.env"), "UNIT=boxes\n").expect("written");
    assert_eq!(room.windlass(&["apply"]).code, 0);
    eventually("it counts boxes", LONG, || says("In stock: 12 boxes, says api-"));
    assert_ne!(one(&room, "api", 1).id(), api.id());
    assert_eq!(one(&room, "web", 0).life(), web.life());

    // Without its link a tier is cut off, and with it, it is not; no container is touched.
    let path = room.specs().join("links.yaml");
    let text = fs::read_to_string(&path).expect("a spec");
    let api = one(&room, "api", 0);
    fs::write(&path, text.replace("ports: [5000]", "ports: [5001]")).expect("written");
    assert_eq!(room.windlass(&["apply"]).code, 0);
    assert!(!gets("api", "stock", 5000));
    fs::write(&path, text).expect("written");
    assert_eq!(room.windlass(&["apply"]).code, 0);
    assert!(gets("api", "stock", 5000));
    assert_eq!(one(&room, "api", 0).life(), api.life());

    assert_eq!(room.windlass(&["down", "-y"]).code, 0);
    assert!(seen(&room).is_empty() && networks(&room).is_empty());
}

#[test]
fn three_tiers_talk_on_20_10() {
    three_tiers_talk(engine!(V20_10));
}

#[test]
fn three_tiers_talk_on_26_1() {
    three_tiers_talk(engine!(V26_1));
}

#[test]
fn a_quota_holds_the_greedy() {
    let room = Sandbox::new(engine!(V20_10));
    example(&room, "quota", "greedy", "none");
    // The other project needs a name of its own, too.
    let path = room.specs().join("projects.yaml");
    let text = fs::read_to_string(&path).expect("a spec");
    let calm = format!("{}-calm", room.project());
    room.spec("projects.yaml", &text.replace("name: calm", &format!("name: {calm}")));
    let path = room.specs().join("calm.yaml");
    let work = fs::read_to_string(&path).expect("a spec");
    let work = work.replace("project: calm", &format!("project: {calm}"));
    room.spec("calm.yaml", &work);
    let held = Loop::hold(&room);
    held.wait_until_settled();
    let shown = room.windlass(&["describe", "project", room.project()]).stdout;
    assert!(shown.contains("on node lab: cpus 500m, memory 64Mi, pids 40"), "{shown}");
    let top = || -> Vec<String> {
        let out = room.windlass(&["top", "projects"]);
        let line =
            out.stdout.lines().find(|line| line.starts_with(&format!("{} ", room.project())));
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    eventually("they have all processes that they may", LONG, || {
        top().get(6).is_some_and(|pids| pids == "40")
    });
    let mine = |room: &Sandbox<'_>| {
        let all = super::room::seen_on(room.engine(), &calm).into_values();
        all.filter(|seen| seen.label("instance") == "work").collect::<Vec<_>>()
    };
    let before = mine(&room)[0].life();

    // The table of the README, row by row.
    let since = held.now();
    room.spec("calm.yaml", &work.replace("cpus: 500m", "cpus: 800m"));
    assert_eq!(held.wait_for_step("work/0", "update", since), "cpus 500m -> 800m");
    held.wait_until_settled();
    assert_eq!(mine(&room)[0].life(), before);
    let since = held.now();
    docker(room.engine(), &["update", "--pids-limit", "5", &before.0]);
    assert_eq!(held.wait_for_step("work/0", "update", since), "drift: pids 5 -> 10");
    let (since, quota) = (held.now(), format!("quota of {}", room.project()));
    room.spec(
        "projects.yaml",
        &text.replace("name: calm", &format!("name: {calm}")).replace("cpus: 500m", "cpus: 400m"),
    );
    assert_eq!(held.wait_for_step(&quota, "set quota", since), "cpus 500m -> 400m");
    held.wait_until_settled();
    assert!(held.down().is_good());
    held.stop();
}
