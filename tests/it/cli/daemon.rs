//! `up`, and other commands beside it.

use std::time::Duration;

use crate::lab::{Sandbox, docker};

const SOON: Duration = Duration::from_secs(20);

const WEB: &str = "\
apiVersion: windlass/v1
kind: Instance
metadata: { name: web, project: $project }
spec:
  image: busybox:latest
  command: [sh, -c, \"trap exit TERM; sleep 1000 & wait\"]
  stop: { timeout: 0s }
";

#[test]
fn up_holds_while_others_ask_and_ends_with_down() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("web.yaml", WEB);
    let web = format!("{}/web/0", room.project());
    let mut up = room.spawn_up(&[]);
    let first = up.wait_for_line("windlass 0.", SOON);
    assert!(first.contains(&room.specs().display().to_string()), "{first}");
    let time = first.split(' ').next().expect("a time");
    assert!(time.len() == 20 && time.ends_with('Z'), "{first}");
    up.wait_for_line("windlass.sock", SOON);
    up.wait_for_line(&format!("create {web} on lab (declared)"), SOON);
    up.wait_for_line(&format!("{web}: started in "), SOON);
    up.wait_for_line("settled: 1 object", SOON);

    let second = room.windlass(&["up"]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains(&format!("pid {}", up.pid())), "{}", second.stderr);
    assert!(room.windlass(&["get", "inst"]).stdout.contains("Ready"));
    let rebuild = room.windlass(&["store", "rebuild"]);
    assert!(rebuild.code == 1 && rebuild.stderr.contains("in use"), "{rebuild:?}");

    room.spec("web.yaml", &WEB.replace("spec:", "spec:\n  replicas: 5"));
    let apply = room.windlass(&["apply"]);
    assert_eq!(apply.code, 0, "{apply:?}");
    // The watch is often ahead of the client, and may be done with some of it, or with all.
    let closing = apply.stdout.lines().last().unwrap_or_default();
    assert!(closing.starts_with("Applied: ") && closing.contains("5 settled"), "{closing}");
    assert!(!closing.contains("changed"), "{closing}");
    let id = room.containers("web").remove(0);
    docker(room.engine(), &["rm", "-f", &id]);
    up.wait_for_line("(removed by another hand)", SOON);
    up.wait_for_line("settled: 5 objects", SOON);

    room.spec("web.yaml", &WEB.replace("image:", "imaeg:"));
    assert_eq!(room.windlass(&["apply"]).code, 1);
    up.wait_for_line("web.yaml:5:3: unknown field `imaeg`", SOON);
    assert_eq!(room.containers("web").len(), 5, "the last good version holds");
    room.remove_spec("web.yaml");
    let apply = room.windlass(&["apply"]);
    assert!(apply.code == 1 && apply.stderr.contains("Held: 5 removals"), "{apply:?}");
    up.wait_for_line("windlass approve ", SOON);

    room.spec("web.yaml", WEB);
    let down = room.windlass(&["down", "-y", "--specs", &room.specs().display().to_string()]);
    assert_eq!(down.code, 0, "{down:?}");
    up.wait_for_line("taken down", SOON);
    crate::lab::eventually("up ends", SOON, || !up.runs());
}

#[test]
fn up_ends_cleanly_and_containers_run_on() {
    for signal in ["INT", "TERM"] {
        let room = Sandbox::new(engine!(V20_10));
        room.spec("web.yaml", WEB);
        let mut up = room.spawn_up(&[]);
        up.wait_for_line("settled: 1 object", SOON);
        assert_eq!(up.end(signal), 0);
        up.wait_for_line("ended; 1 container runs on", SOON);
        assert_eq!(room.containers("web").len(), 1);
        assert!(!room.state().join("windlass.sock").exists());
        assert_eq!(room.windlass(&["plan", "--detailed-exitcode"]).code, 0);
    }
}
