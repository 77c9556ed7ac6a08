//! One command after the other, each in its own process, on a real engine.

use std::process::Stdio;

use crate::lab::{Sandbox, docker};

const WEB: &str = "\
apiVersion: windlass/v1
kind: Instance
metadata: { name: web, project: $project, labels: { tier: front } }
spec:
  image: busybox:latest
  command: [sh, -c, \"trap exit TERM; echo hello; echo oops >&2; sleep 1000 & wait\"]
  resources: { memory: 32Mi }
  env: { TOKEN: s3cret }
  stop: { timeout: 0s }
";

fn idle(name: &str) -> String {
    WEB.replace("name: web", &format!("name: {name}"))
}

#[test]
fn a_spec_is_planned_applied_shown_changed_and_taken_down() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("web.yaml", WEB);
    let project = room.project();

    let plan = room.windlass(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 2, "{plan:?}");
    assert!(plan.stdout.contains("Plan: 1 to add, 0 to change in place"), "{}", plan.stdout);
    assert_eq!(room.windlass(&["plan"]).code, 0);
    assert_eq!(room.windlass(&["apply", "--dry-run"]).stdout, plan.stdout);
    assert!(
        std::fs::read_dir(room.state()).expect("a directory").next().is_none(),
        "it looked only"
    );
    let diff = room.windlass(&["diff"]);
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(diff.stdout.contains("+ image: busybox:latest"), "{}", diff.stdout);
    assert!(!diff.stdout.contains("s3cret"), "{}", diff.stdout);

    let apply = room.windlass(&["apply"]);
    assert_eq!(apply.code, 0, "{apply:?}");
    assert!(apply.stdout.contains("Applied: 2 created, 1 settled ("), "{}", apply.stdout);
    let apply = room.windlass(&["apply", "-q"]);
    assert_eq!((apply.code, apply.stdout.as_str(), apply.stderr.as_str()), (0, "", ""));
    let plan = room.windlass(&["plan", "--detailed-exitcode"]);
    assert_eq!((plan.code, plan.stdout.as_str()), (0, "No changes. 1 object is as declared.\n"));
    let diff = room.windlass(&["diff"]);
    assert_eq!((diff.code, diff.stdout.as_str()), (0, ""));

    let get = room.windlass(&["get", "inst", "-l", "tier=front", "-o", "name"]);
    assert_eq!(get.stdout, format!("{project}/web\n"));
    assert_eq!(room.windlass(&["get", "inst", "-l", "tier=back"]).stdout, "");
    let get = room.windlass(&["get", "instance", "web", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_str(&get.stdout).expect("JSON");
    assert_eq!(value["phase"], "Ready", "{}", get.stdout);
    assert_eq!(value["spec"]["env"]["TOKEN"], "(not shown)");
    assert!(room.windlass(&["get", "nodes", "-o", "wide"]).stdout.contains("Ready"));
    let describe = room.windlass(&["describe", "web"]);
    assert!(describe.stdout.contains("nothing to do: settled at revision 1"), "{describe:?}");
    assert!(describe.stdout.contains("specs/web.yaml:1"), "{}", describe.stdout);
    crate::lab::eventually("it prints", std::time::Duration::from_secs(10), || {
        let logs = room.windlass(&["logs", "web", "--tail", "5"]);
        (logs.code, logs.stdout.as_str(), logs.stderr.as_str()) == (0, "hello\n", "oops\n")
    });

    let id = room.containers("web").remove(0);
    docker(room.engine(), &["update", "--memory", "64m", "--memory-swap", "128m", &id]);
    let plan = room.windlass(&["plan"]);
    assert!(plan.stdout.contains("memory 64Mi found, 32Mi declared  drift"), "{}", plan.stdout);
    let diff = room.windlass(&["diff"]);
    assert!(diff.stdout.ends_with("- memory: 64Mi\n+ memory: 32Mi\n"), "{}", diff.stdout);
    assert!(room.windlass(&["apply"]).stdout.contains("Applied: 1 changed"));
    room.spec("web.yaml", &WEB.replace("hello", "hallo"));
    assert!(room.windlass(&["plan"]).stdout.contains("# forces replacement"));

    let down = room.windlass(&["down"]);
    assert_eq!(down.code, 1, "{down:?}");
    assert!(down.stderr.contains("windlass down --yes"), "{}", down.stderr);
    assert_eq!(room.containers("web").len(), 1, "nothing was removed");
    let down = room.windlass(&["down", "-y"]);
    assert!(down.code == 0 && down.stdout.ends_with("\nDown: 2 removed.\n"), "{down:?}");
    assert!(room.containers("web").is_empty());
}

#[test]
fn removals_past_the_guard_wait_for_approval() {
    let room = Sandbox::new(engine!(V20_10));
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        room.spec(&format!("{name}.yaml"), &idle(name));
    }
    assert_eq!(room.windlass(&["apply"]).code, 0);
    for name in names {
        room.remove_spec(&format!("{name}.yaml"));
    }
    let apply = room.windlass(&["apply"]);
    assert_eq!(apply.code, 1, "{apply:?}");
    let command = apply.stderr.split("windlass approve ").nth(1).expect("the command");
    let digest = command.split_whitespace().next().expect("a digest");
    assert_eq!(room.windlass(&["plan", "--detailed-exitcode"]).code, 2);

    let approve = room.windlass(&["approve"]);
    assert_eq!(approve.code, 0, "{approve:?}");
    assert!(approve.stdout.contains(&format!("- {}/a/0\n", room.project())), "{}", approve.stdout);
    assert!(approve.stdout.contains(digest), "{}", approve.stdout);
    let wrong = room.windlass(&["approve", "0123456789"]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert_eq!(room.containers("a").len(), 1, "nothing was removed");
    let approve = room.windlass(&["approve", &digest[..8]]);
    assert_eq!(approve.code, 0, "{approve:?}");
    assert!(approve.stdout.contains("Applied: 6 removed, 0 settled"), "{}", approve.stdout);
    assert!(names.iter().all(|name| room.containers(name).is_empty()));
    assert!(room.windlass(&["approve"]).stderr.contains("Nothing is held"));
}

#[test]
fn what_is_typed_wrong_is_told_with_what_was_meant() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("web.yaml", &WEB.replace("image:", "imaeg:"));
    let validate = room.windlass(&["validate"]);
    assert_eq!(validate.code, 1);
    assert!(validate.stderr.contains("did you mean `image`?"), "{}", validate.stderr);
    for (args, code) in [(["plan"], 1), (["diff"], 2), (["apply"], 1)] {
        let out = room.windlass(&args);
        assert_eq!(out.code, code, "{out:?}");
        assert!(out.stderr.contains("web.yaml:5:3"), "{args:?}: {}", out.stderr);
    }
    room.spec("web.yaml", WEB);
    let told = |args: &[&str]| {
        let out = room.windlass(args);
        assert_eq!((out.code, out.stdout.as_str()), (1, ""), "{out:?}");
        out.stderr
    };
    assert!(told(&["get", "instnces"]).ends_with("help: did you mean `instances`?\n"));
    let meant = format!("help: did you mean `{}/web`?\n", room.project());
    assert!(told(&["describe", "wbe"]).ends_with(&meant));
    assert!(told(&["aply"]).contains("'apply'"));
    assert!(told(&["plan", "nowhere"]).contains("No such file or directory"));
    // 2 would mean that there are changes.
    assert_eq!(room.windlass(&["plan", "--detailed-exitcode", "--nonsense"]).code, 1);
    assert_eq!(room.windlass(&["diff", "--nonsense"]).code, 2);
}

#[test]
fn an_engine_that_is_not_there_is_told_with_what_to_do() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("node.yaml", "apiVersion: windlass/v1\nkind: Node\nmetadata: { name: lab }\nspec: { endpoint: \"unix:///nowhere.sock\" }\n");
    room.spec("web.yaml", WEB);
    for args in [&["plan"][..], &["apply"], &["plan", "--detailed-exitcode"]] {
        let out = room.windlass(args);
        assert_eq!(out.code, 1, "{out:?}");
        assert!(out.stderr.contains("systemctl start docker"), "{args:?}: {out:?}");
    }
    assert_eq!(room.windlass(&["diff"]).code, 2);
}

#[test]
fn commands_without_an_engine_work() {
    let room = Sandbox::new(engine!(V20_10));
    for shell in ["bash", "zsh", "fish"] {
        assert!(room.windlass(&["completion", shell]).stdout.contains("windlass"), "{shell}");
    }
    assert!(room.windlass(&["version"]).stdout.starts_with("windlass 0."));
    let rebuild = room.windlass(&["store", "rebuild"]);
    assert_eq!(rebuild.code, 1, "nothing is there: {rebuild:?}");
    room.spec("web.yaml", WEB);
    assert_eq!(room.windlass(&["apply"]).code, 0);
    let rebuild = room.windlass(&["store", "rebuild"]);
    assert_eq!(rebuild.code, 0, "{rebuild:?}");
    assert!(rebuild.stdout.contains("1 instance, owner "), "{}", rebuild.stdout);
    assert_eq!(room.windlass(&["plan", "--detailed-exitcode"]).code, 0);
}

#[test]
fn nobody_who_reads_is_no_reason_to_panic() {
    let room = Sandbox::new(engine!(V20_10));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let out = room.command(&["completion", "bash"]).stdout(writer).stderr(Stdio::piped()).output();
    let out = out.expect("windlass ends");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    assert_eq!(out.status.code(), Some(141));
}
