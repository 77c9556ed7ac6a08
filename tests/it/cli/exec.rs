//! `exec`, with and without a daemon, on a pipe and on a terminal.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::termios::Termios;

use super::terminal::Terminal;
use crate::lab::{Output, Sandbox, eventually};

const SOON: Duration = Duration::from_secs(30);

const WEB: &str = "\
apiVersion: windlass/v1
kind: Instance
metadata: { name: web, project: $project }
spec:
  image: busybox:latest
  replicas: 2
  command: [sh, -c, \"trap exit TERM; sleep 1000 & wait\"]
  env: { TOKEN: s3cret }
  stop: { timeout: 0s }
---
apiVersion: windlass/v1
kind: Instance
metadata: { name: off, project: $project }
spec: { image: busybox:latest, command: [sleep, \"1000\"], power: stopped }
";

/// Runs `windlass` with this as its input.
fn fed(room: &Sandbox<'_>, args: &[&str], input: &[u8]) -> (i32, Vec<u8>, String) {
    let mut child = room
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("windlass starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().expect("windlass ends");
    feeder.join().expect("no panic").expect("all of it is taken");
    (out.status.code().unwrap_or(-1), out.stdout, String::from_utf8_lossy(&out.stderr).into_owned())
}

/// What holds on a pipe, whether a daemon runs or not.
fn check_pipes(room: &Sandbox<'_>) {
    let text = |out: &Output| (out.code, out.stdout.clone(), out.stderr.clone());
    let out = room.windlass(&["exec", "web/1", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(text(&out), (7, "out\n".into(), "err\n".into()));
    let out = room.windlass(&["exec", "web", "--", "true"]);
    let note = format!("in {}/web/0; 1 other of {}/web run too\n", room.project(), room.project());
    assert_eq!((out.code, out.stderr.as_str()), (0, note.as_str()), "{out:?}");

    // The input ends, and the command with it; no byte is lost or made another one.
    assert_eq!(fed(room, &["exec", "-qi", "web", "--", "cat"], b"x\n").1, b"x\n");
    let bytes: Vec<u8> = (0..3_000_000_u64).map(|n| (n * n / 7 % 256) as u8).collect();
    let (code, back, _) = fed(room, &["exec", "-qi", "web", "--", "cat"], &bytes);
    assert!(code == 0 && back == bytes, "{code}: {} bytes came back", back.len());
    // Without -i there is nothing to read.
    let (code, back, _) = fed(room, &["exec", "-q", "web", "--", "cat"], b"");
    assert_eq!((code, back.as_slice()), (0, &b""[..]));

    let out = room.windlass(&[
        "exec",
        "-q",
        "-e",
        "MODE=debug",
        "-w",
        "/tmp",
        "-u",
        "12:34",
        "web",
        "--",
        "sh",
        "-c",
        "echo $MODE $TOKEN $PWD $(id -u):$(id -g)",
    ]);
    assert_eq!(out.stdout, "debug s3cret /tmp 12:34\n", "{out:?}");

    for (command, code, why) in [
        ("nonexistent", 127, "executable file not found"),
        ("/no/such", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
    ] {
        let out = room.windlass(&["exec", "-q", "web", "--", command]);
        assert_eq!((out.code, out.stdout.as_str()), (code, ""), "{out:?}");
        let begins = format!("error: run `{command}` in {}/web/0: ", room.project());
        assert!(out.stderr.starts_with(&begins) && out.stderr.contains(why), "{out:?}");
    }
    let out = room.windlass(&["exec", "-q", "-u", "nobodyatall", "web", "--", "true"]);
    assert!(out.code == 126 && out.stderr.contains("unable to find user"), "{out:?}");

    for (args, code, why) in [
        (&["exec", "wbe", "--", "true"][..], 125, "did you mean"),
        (&["exec", "web/7", "--", "true"], 125, "it has "),
        (&["exec", "off", "--", "true"], 125, "does not run"),
        (&["exec", "web", "true"], 2, "-- <COMMAND>"),
        (&["exec", "web"], 2, "required"),
        (&["exec", "-it", "web", "--", "true"], 2, "no terminal"),
        (&["exec", "-e", "=x", "web", "--", "true"], 2, "has no name"),
    ] {
        let out = room.windlass(args);
        assert_eq!((out.code, out.stdout.as_str()), (code, ""), "{args:?}: {out:?}");
        assert!(out.stderr.contains(why), "{args:?}: {}", out.stderr);
    }

    // Nobody reads any more: no word, and a command that prints for ever holds nobody up.
    let mut child = room
        .command(&["exec", "-q", "web", "--", "cat", "/dev/zero"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("windlass starts");
    let mut some = vec![0; 1_000_000];
    child.stdout.take().expect("it is piped").read_exact(&mut some).expect("it prints");
    let out = child.wait_with_output().expect("windlass ends");
    assert_eq!((out.status.code(), out.stderr.as_slice()), (Some(141), &b""[..]));
}

/// What holds on a terminal.
fn check_terminal(room: &Sandbox<'_>) {
    let mut terminal = Terminal::start(room, &["exec", "-it", "web/0", "--", "sh"], 30, 100);
    let modes = settings(&terminal.before);
    terminal.wait_until_raw();
    // Quotes tell what is printed from the echo of what is typed.
    let until = |size: &str, say: &str| {
        format!("until [ \"$(stty size)\" = \"{size}\" ]; do sleep 0.1; done; echo {say}\r")
    };
    terminal.keys(&until("30 100", "begins' as ours'"));
    terminal.wait_for("begins as ours");
    terminal.resize(41, 132);
    terminal.keys(&until("41 132", "changes' with ours'"));
    terminal.wait_for("changes with ours");
    terminal.keys("sh -c \"echo go'ing'; exec sleep 1000\"\r");
    terminal.wait_for("going");
    terminal.keys("\u{3}");
    // The shell drops what is typed before it takes the terminal back.
    terminal.wait_for("/ # ");
    terminal.keys("echo it was $?'.'\r");
    terminal.wait_for("it was 130.");
    terminal.keys("exit 5\r");
    assert_eq!(terminal.end(), 5);
    assert_eq!(settings(&terminal.modes()), modes, "the terminal is as it was");
}

/// All that a raw terminal changes, as text.
fn settings(modes: &Termios) -> String {
    let Termios { input_modes, output_modes, control_modes, local_modes, .. } = modes;
    format!("{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?}")
}

fn on(room: &Sandbox<'_>) {
    room.spec("web.yaml", WEB);
    let apply = room.windlass(&["apply"]);
    assert_eq!(apply.code, 0, "{apply:?}");
}

#[test]
fn a_command_runs_without_a_daemon() {
    let room = Sandbox::new(engine!(V20_10));
    on(&room);
    check_pipes(&room);
    check_terminal(&room);
}

#[test]
fn a_command_runs_beside_a_daemon() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("web.yaml", WEB);
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled: ", SOON);
    check_pipes(&room);
    check_terminal(&room);
    assert!(up.runs());
}

#[test]
fn a_command_runs_on_a_newer_engine() {
    let room = Sandbox::new(engine!(V26_1));
    on(&room);
    check_pipes(&room);
    check_terminal(&room);
}

#[test]
fn a_signal_ends_it_and_leaves_the_terminal_as_it_was() {
    let room = Sandbox::new(engine!(V20_10));
    on(&room);
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130), ("QUIT", 131)] {
        let args = ["exec", "-it", "web/0", "--", "sleep", "1000"];
        let mut terminal = Terminal::start(&room, &args, 24, 80);
        let modes = settings(&terminal.before);
        terminal.wait_until_raw();
        terminal.signal(signal);
        assert_eq!(terminal.end(), code, "{signal}");
        assert_eq!(settings(&terminal.modes()), modes, "{signal}");
    }
    // Without a terminal a signal does to it what it does to any program.
    let mut child = room
        .command(&["exec", "web/0", "--", "sh", "-c", "echo begun; sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("windlass starts");
    let mut begun = [0; 6];
    child.stdout.as_mut().expect("it is piped").read_exact(&mut begun).expect("it begins");
    // Not INT: shells have what they start behind their back ignore that.
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.expect("kill starts").success());
    eventually("it ends", SOON, || child.try_wait().expect("it is our child").is_some());
    assert_eq!(child.wait().expect("it ended").code(), None, "the signal ended it");
}

#[test]
fn a_terminal_without_our_keys_has_its_ctrl_c_all_the_same() {
    let room = Sandbox::new(engine!(V20_10));
    on(&room);
    let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done";
    let args = ["exec", "-t", "web/0", "--", "sh", "-c", script];
    let mut terminal = Terminal::start(&room, &args, 24, 80);
    terminal.wait_for("ready");
    terminal.keys("\u{3}");
    terminal.wait_for("caught");
    assert_eq!(terminal.end(), 9);
}
