//! Does the lab itself work?

use std::time::Duration;

use super::engine::Engine;
use super::{Sandbox, Version, docker, eventually};

const SOON: Duration = Duration::from_secs(10);

/// A container that serves a page on `port`.
fn serve(engine: &Engine, room: &Sandbox<'_>) -> String {
    let publish = format!("{}:8080", room.port(0));
    let script = "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 8080 -h /www";
    let group = format!("{}/shop", room.cgroup_root());
    let mut args = vec!["run", "-d", "-p", &publish, "--cgroup-parent", &group];
    args.extend([engine.import_busybox(), "sh", "-c", script]);
    docker(engine, &args)
}

fn serves_and_cleans_up(engine: &Engine) {
    let room = Sandbox::new(engine);
    let id = serve(engine, &room);
    let page = || engine.http_get(room.port(0), "/");
    eventually("the page is there", SOON, || page().as_deref() == Some("hello\n"));
    engine.kill_process(&id);
    eventually("the container ends", SOON, || engine.container_pid(&id).is_none());
    drop(room);
    assert!(engine.try_docker(&["inspect", &id]).is_err(), "the container is left");
}

#[test]
fn engine_20_10_runs_a_container() {
    let engine = engine!(V20_10);
    assert!(engine.version().starts_with("20.10."), "{}", engine.version());
    serves_and_cleans_up(engine);
}

#[test]
fn engine_26_1_runs_a_container() {
    let engine = engine!(V26_1);
    assert!(engine.version().starts_with("26.1."), "{}", engine.version());
    serves_and_cleans_up(engine);
}

#[test]
fn an_engine_dies_comes_back_and_leaves_nothing() {
    let engine = match Engine::private_live_restore(Version::V20_10) {
        Ok(engine) => engine,
        Err(reason) => skip!("{reason}"),
    };
    let (dir, group) = (engine.dir().to_owned(), format!("/sys/fs/cgroup/pids{}", engine.cgroup()));
    let room = Sandbox::new(&engine);
    let id = serve(&engine, &room);
    let before = engine.container_pid(&id);
    engine.kill();
    assert!(engine.try_docker(&["ps"]).is_err(), "dockerd answers after its end");
    engine.start();
    assert_eq!(engine.container_pid(&id), before, "the container lived on");
    drop(room);
    let id = docker(&engine, &["run", "-d", "busybox:latest", "sleep", "1000"]);
    let pid = engine.container_pid(&id).expect("the container runs");
    drop(engine);
    assert!(!std::path::Path::new(&dir).exists(), "{dir} is left");
    assert!(!std::path::Path::new(&group).exists(), "{group} is left");
    // A zombie is dead; whoever is process 1 here may be slow to bury it.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "process {pid} is left: {state}");
}

#[test]
fn a_sandbox_runs_windlass() {
    let room = Sandbox::new(engine!(V20_10));
    assert!(room.specs().join("node.yaml").is_file());
    assert_eq!(room.fill("$project:$port3"), format!("{}:{}", room.project(), room.port(3)));
    let out = room.windlass(&["--version"]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""), "{}", out.stdout);
}
