//! `get`, `wait`, `events` and `top`: looking at what there is, once or on and on.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use super::terminal::Terminal;
use crate::lab::{Output, Sandbox, docker};

const SOON: Duration = Duration::from_secs(30);

const SET: &str = "\
apiVersion: windlass/v1
kind: Instance
metadata: { name: web, project: $project, labels: { tier: front } }
spec:
  image: busybox:latest
  command: [sh, -c, \"trap exit TERM; sleep 1000 & wait\"]
  resources: { memory: 32Mi, cpus: 500m, pids: 50 }
  env: { TOKEN: s3cret }
  stop: { timeout: 0s }
---
apiVersion: windlass/v1
kind: Instance
metadata: { name: api, project: $project, labels: { tier: back, zone: b } }
spec:
  image: busybox:latest
  replicas: 2
  command: [sh, -c, \"trap exit TERM; sleep 1000 & wait\"]
  stop: { timeout: 0s }
---
apiVersion: windlass/v1
kind: Volume
metadata: { name: data, project: $project, labels: { tier: back } }
spec: { driver: local }
";

fn job(name: &str, code: u32) -> String {
    format!(
        "apiVersion: windlass/v1\nkind: Instance\nmetadata: {{ name: {name}, project: $project }}\n\
         spec: {{ image: \"busybox:latest\", command: [sh, -c, \"exit {code}\"], restart: never }}\n"
    )
}

fn json(out: &Output) -> serde_json::Value {
    serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"))
}

#[test]
fn lists_are_selected_and_sorted() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", SET);
    let node = std::fs::read_to_string(room.specs().join("node.yaml")).expect("a Node");
    room.spec("node.yaml", &node.replace("name: lab", "name: lab, labels: { zone: b }"));
    assert_eq!(room.windlass(&["apply"]).code, 0);
    let project = room.project();
    let names = |args: &[&str]| {
        let out = room.windlass(&[&["get"], args, &["-o", "name"]].concat());
        assert_eq!(out.code, 0, "{out:?}");
        out.stdout.replace(&format!("{project}/"), "").lines().collect::<Vec<_>>().join(" ")
    };
    for (selector, found) in [
        ("tier=front", "web"),
        ("tier==front", "web"),
        ("tier!=front", "api"),
        ("zone", "api"),
        ("!zone", "web"),
        ("tier,zone=b", "api"),
        ("tier=front,zone=b", ""),
    ] {
        assert_eq!(names(&["instances", "-l", selector]), found, "{selector}");
    }
    assert_eq!(names(&["all", "-l", "zone=b"]), "instance api node lab");
    assert_eq!(names(&["volumes", "-l", "tier=back"]), "data");
    assert_eq!(names(&["inst", "-p", "nowhere"]), "");
    assert_eq!(names(&["inst", "-p", "nowhere", "-A"]), "api web");
    assert_eq!(names(&["inst", "--sort-by", "name"]), "api web");
    assert_eq!(names(&["inst", "--sort-by", "ready"]), "web api");
    let wrong = room.windlass(&["get", "inst", "--sort-by", "raedy"]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("did you mean `ready`? There are name, project, status"));
    assert!(room.windlass(&["get", "inst", "-l", "tier in (front)"]).stderr.contains("no key"));
}

/// Lines come as objects change, whoever tells of it.
fn check_watch(room: &Sandbox<'_>) {
    let web = format!("{}/web", room.project());
    let mut watch = room.spawn(&["get", "instances", "-w"]);
    watch.wait_for_line("NAME", SOON);
    watch.wait_for_line(&format!("{web}  1/1    Ready"), SOON);
    let mut documents = room.spawn(&["get", "instance", "web", "-w", "-o", "json"]);
    documents.wait_for_line("\"phase\":\"Ready\"", SOON);
    let id = room.containers("web").remove(0);
    docker(room.engine(), &["pause", &id]);
    watch.wait_for_line(&format!("{web}  0/1    Paused"), SOON);
    documents.wait_for_line("\"phase\":\"Paused\"", SOON);
    docker(room.engine(), &["unpause", &id]);
    watch.wait_for_line(&format!("{web}  1/1    Ready"), SOON);
    let api = format!("{}/api ", room.project());
    assert_eq!(watch.lines().iter().filter(|line| line.starts_with(&api)).count(), 1);
    assert_eq!(watch.end("INT"), 130);
}

#[test]
fn a_list_is_watched_without_a_daemon() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", SET);
    assert_eq!(room.windlass(&["apply"]).code, 0);
    check_watch(&room);
}

#[test]
fn beside_a_daemon_lists_waits_and_events_go_on_as_things_happen() {
    let room = Sandbox::new(engine!(V20_10));
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled: ", SOON);
    let mut events = room.spawn(&["events", "-f"]);
    events.wait_for_line("the specs are those in", SOON);
    let mut watch = room.spawn(&["get", "inst", "-w"]);
    room.spec("set.yaml", SET);
    let web = format!("{}/web", room.project());
    watch.wait_for_line(&format!("{web}  1/1    Ready"), SOON);
    events.wait_for_line(&format!("declared  {web}: a new spec"), SOON);
    events.wait_for_line(&format!("intent    {web}/0 on lab: start (declared)"), SOON);
    events.wait_for_line(&format!("done      {web}/0 on lab: start"), SOON);
    let wait = room.windlass(&["wait", "--for=condition=Ready", "-l", "tier", "--timeout", "30s"]);
    assert_eq!(wait.code, 0, "{wait:?}");

    // What was there at first is waited for, also when the selector selects nothing any more.
    let mut gone = room.spawn(&["wait", "--for=delete", "-l", "tier=front"]);
    gone.wait_for_line(&format!("waiting for {web}"), SOON);
    room.spec("set.yaml", SET.split_once("---\n").expect("two documents").1);
    gone.wait_for_line(&format!("{web}: deleted"), SOON);
    watch.wait_for_line(&format!("{web}  gone"), SOON);
    events.wait_for_line(&format!("ended     {web}/0: nothing is left of it"), SOON);
    assert!(events.runs());
    assert_eq!(events.end("INT"), 130);
    assert_eq!(room.windlass(&["wait", "--for=delete", "web"]).code, 0, "it is gone");
    // `up` ends, and those who follow it say so.
    let mut events = room.spawn(&["events", "-f"]);
    events.wait_for_line("nothing is left of it", SOON);
    assert_eq!(up.end("TERM"), 0);
    events.wait_for_line("has ended", SOON);
}

#[test]
fn waiting_ends_when_it_is_so_or_the_time_is_over() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", SET);
    room.spec("good.yaml", &job("good", 0));
    room.spec("bad.yaml", &job("bad", 3));
    // It ends before the jobs do, or after them.
    room.windlass(&["apply"]);
    let project = room.project();
    let wait = |args: &[&str]| room.windlass(&[&["wait"], args].concat());

    let out = wait(&["--for=condition=Ready", "web", "api/1"]);
    let both = format!("{project}/web: ready\n{project}/api/1: ready\n");
    assert_eq!((out.code, out.stderr), (0, both));
    assert_eq!(wait(&["--for=completed", "good", "-q"]).stderr, "");
    assert_eq!(wait(&["--for=condition=Ready", "node", "lab"]).code, 0);
    assert_eq!(wait(&["--for=delete", "nothing-of-that-name"]).code, 0);

    let out = wait(&["--for=condition=completed", "bad"]);
    assert_eq!(out.code, 1);
    assert!(out.stderr.contains("Failed: failed with exit code 3"), "{}", out.stderr);
    let out = wait(&["--for=completed", "good", "web", "--timeout", "0s"]);
    assert_eq!(out.code, 1);
    assert!(out.stderr.contains("not completed after"), "{}", out.stderr);
    assert!(out.stderr.contains(&format!("{project}/web: Running")), "{}", out.stderr);
    let out = wait(&["--for=delete", "web", "--timeout", "0s"]);
    assert!(out.code == 1 && out.stderr.contains(&format!("still there: {project}.web.0.1")));
    let out = wait(&["--for=condition=Ready", "wbe"]);
    assert!(out.code == 1 && out.stderr.contains("did you mean"), "{}", out.stderr);
    assert!(wait(&["--for=condition=Ready"]).stderr.contains("nothing is named"));
    assert!(wait(&["--for=condition=Happy", "web"]).stderr.contains("condition=Ready"));

    // Without a daemon it sees what happens by itself, and changes nothing.
    let id = room.containers("web").remove(0);
    let mut gone = room.spawn(&["wait", "--for=delete", "web"]);
    gone.wait_for_line("waiting for", SOON);
    docker(room.engine(), &["rm", "-f", &id]);
    gone.wait_for_line("web: deleted", SOON);
    assert!(room.containers("web").is_empty());
}

#[test]
fn an_end_for_want_of_memory_is_called_that() {
    let room = Sandbox::new(engine!(V20_10));
    let hungry = job("hungry", 0).replace("exit 0", "tail /dev/zero");
    room.spec("hungry.yaml", &hungry.replace("restart:", "resources: { memory: 16Mi }, restart:"));
    room.windlass(&["apply"]);
    let wait = room.windlass(&["wait", "--for=completed", "hungry"]);
    let why = "failed with exit code 137 (killed for its use of memory, limit 16Mi)";
    assert!(wait.code == 1 && wait.stderr.contains(why), "{wait:?}");
    let apply = room.windlass(&["apply"]);
    assert!(apply.code == 1 && apply.stderr.contains(why), "{apply:?}");
    assert!(room.windlass(&["describe", "hungry"]).stdout.contains(why));
}

#[test]
fn events_tell_what_was_done_and_no_secret() {
    let room = Sandbox::new(engine!(V20_10));
    let empty = room.windlass(&["events"]);
    assert_eq!((empty.code, empty.stdout.as_str(), empty.stderr.as_str()), (0, "", "no events\n"));
    room.spec("set.yaml", SET);
    room.spec("bad.yaml", &job("bad", 3));
    room.windlass(&["apply"]);
    // Who waits writes nothing; the next one that acts does.
    assert_eq!(room.windlass(&["wait", "--for=completed", "bad"]).code, 1);
    assert_eq!(room.windlass(&["apply"]).code, 1);
    let project = room.project();
    let all = room.windlass(&["events"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(!all.stdout.contains("s3cret"), "{}", all.stdout);
    let place = |part: &str| {
        let text = part.replace("PROJECT", project);
        all.stdout.find(&text).unwrap_or_else(|| panic!("no `{text}` in\n{}", all.stdout))
    };
    let row = [
        "seen      set.yaml: a good version",
        "declared  PROJECT/web: a new spec",
        "decided   PROJECT/web/0 on lab: placed",
        "intent    PROJECT/web/0 on lab: create revision ",
        "done      PROJECT/web/0 on lab: start",
    ]
    .map(place);
    assert!(row.is_sorted(), "oldest first: {row:?}\n{}", all.stdout);
    place("ended     PROJECT/bad/0: failed with exit code 3");

    let web = room.windlass(&["events", "web", "--since", "1h", "-o", "json"]);
    let objects: Vec<serde_json::Value> =
        web.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(objects.len() > 3, "{}", web.stdout);
    for one in &objects {
        let object = one["object"].as_str().expect("a name");
        assert!(object.starts_with(&format!("{project}/web")), "{one}");
        assert!(one["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{one}");
    }
    assert_eq!(room.windlass(&["events", "web", "--since", "0s"]).stdout, "");
    let wrong = room.windlass(&["events", "wbe"]);
    assert!(wrong.code == 1 && wrong.stderr.contains(&format!("did you mean `{project}/web`")));
    let follow = room.windlass(&["events", "-f"]);
    assert!(follow.code == 0 && follow.stderr.contains("no `windlass up`"), "{follow:?}");
    assert_eq!(follow.stdout, all.stdout);
}

#[test]
fn top_shows_what_is_used() {
    let room = Sandbox::new(engine!(V20_10));
    let busy = SET.replacen("sleep 1000 & wait", "while :; do :; done", 1);
    room.spec("set.yaml", &busy);
    assert_eq!(room.windlass(&["apply"]).code, 0);
    let project = room.project();
    let all = json(&room.windlass(&["top", "-o", "json", "--sort-by", "cpu"]));
    let items = all["items"].as_array().expect("a list");
    assert_eq!(items.len(), 3, "{all}");
    let web = &items[0];
    assert_eq!(web["name"], format!("{project}/web/0"), "it uses most: {all}");
    let number = |one: &serde_json::Value, name: &str| one[name].as_f64().unwrap_or(f64::NAN);
    // It never rests, and may use half a processor: on a loaded machine it gets less.
    assert!((0.01..0.8).contains(&number(web, "cpus")), "{web}");
    assert!((number(web, "cpuPercent") / number(web, "cpus") - 200.0).abs() < 0.01, "{web}");
    assert!((1.0..32.0 * 1024.0 * 1024.0).contains(&number(web, "memory")), "{web}");
    assert!((0.0..100.0).contains(&number(web, "memoryPercent")) && number(web, "pids") >= 1.0);
    let api = &items[1];
    assert!(api["cpuPercent"].is_null(), "it has no limit: {api}");

    let nodes = room.windlass(&["top", "nodes"]);
    let row: Vec<&str> =
        nodes.stdout.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row[..2], ["lab", "3"], "{}", nodes.stdout);
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled: ", SOON);
    let beside = room.windlass(&["top", "--sort-by", "name"]);
    let names: Vec<&str> =
        beside.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let wanted = ["api/0", "api/1", "web/0"].map(|name| format!("{project}/{name}"));
    assert_eq!(names, wanted, "{}", beside.stdout);

    // On a terminal it is shown again and again, in the same place.
    let mut terminal = Terminal::start(&room, &["top"], 30, 100);
    for _ in 0..2 {
        terminal.wait_for("NAME");
        terminal.wait_for("web/0");
    }
    terminal.keys("\u{3}");
    assert_eq!(terminal.end(), 130);
    let mut once = Terminal::start(&room, &["top", "--no-stream"], 30, 100);
    once.wait_for("web/0");
    assert_eq!(once.end(), 0);
}

#[test]
fn a_set_from_standard_input_is_looked_at_and_never_applied() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", SET);
    let node = std::fs::read_to_string(room.specs().join("node.yaml")).expect("a Node");
    let whole = format!("{node}---\n{}", room.fill(SET));
    let fed = |args: &[&str], text: &str| {
        let mut child = room
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("windlass starts");
        // One that refuses does not read.
        let _ = child.stdin.take().expect("it is piped").write_all(text.as_bytes());
        let out = child.wait_with_output().expect("windlass ends");
        Output {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    };
    assert_eq!(fed(&["validate", "-"], &whole).stdout, "4 objects in 1 file, no errors.\n");
    let wrong = fed(&["validate", "-"], &whole.replacen("image:", "imaeg:", 1));
    assert!(wrong.code == 1 && wrong.stderr.contains("(standard input):"), "{wrong:?}");
    let plan = fed(&["plan", "-"], &whole);
    assert!(plan.stdout.contains("declared at (standard input):"), "{}", plan.stdout);
    assert_eq!(room.windlass(&["apply"]).code, 0);
    assert_eq!(fed(&["plan", "-", "--detailed-exitcode"], &whole).code, 0);
    let diff = fed(&["diff", "-"], &whole.replace("32Mi", "64Mi"));
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(diff.stdout.contains("- memory: 32Mi\n+ memory: 64Mi"), "{}", diff.stdout);
    for args in [&["apply", "-"][..], &["apply", "-f", "-"], &["up", "-"], &["down", "-y", "-"]] {
        let out = fed(args, &whole);
        assert_eq!(out.code, 1, "{args:?}: {out:?}");
        assert!(out.stderr.contains("no sound meaning"), "{args:?}: {}", out.stderr);
        assert!(out.stderr.contains("windlass plan -"), "{args:?}: {}", out.stderr);
    }
    assert_eq!(fed(&["apply", "--dry-run", "-f", "-"], &whole).code, 0);
    assert_eq!(room.containers("web").len(), 1, "nothing was removed");
    let part = fed(&["plan", "-"], &node);
    assert!(part.stdout.contains("Held: 3 removals"), "the rest is held: {}", part.stdout);
    assert!(part.stderr.contains("nothing to approve"), "{}", part.stderr);
}

#[test]
fn bash_completes_names_of_instances() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", SET);
    let windlass = room.command(&["completion", "bash"]);
    let folder = std::path::Path::new(windlass.get_program()).parent().expect("a directory");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let complete = |words: &str| {
        let script = format!(
            "source <(windlass completion bash); COMP_WORDS=({words}); \
             COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); \
             _windlass_names windlass \"${{COMP_WORDS[COMP_CWORD]}}\" x; echo \"${{COMPREPLY[@]}}\""
        );
        let out = std::process::Command::new("bash")
            .args(["-c", &script])
            .env("PATH", &path)
            .env("WINDLASS_SPECS", room.specs())
            .env("WINDLASS_STATE", room.state())
            .env_remove("DOCKER_HOST")
            .output()
            .expect("bash starts");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let project = room.project();
    assert_eq!(complete("windlass logs ''"), format!("{project}/api {project}/web"));
    assert_eq!(complete(&format!("windlass exec -it {project}/w")), format!("{project}/web"));
    assert_eq!(complete("windlass exe"), "exec");
    assert!(complete("windlass exec --us").contains("--user"));
}
