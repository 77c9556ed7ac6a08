//! The verbs of nodes, without a daemon and beside one.

use std::time::Duration;

use crate::lab::Sandbox;

const IDLE: &str = "\
apiVersion: windlass/v1
kind: Instance
metadata: { name: web, project: $project }
spec:
  image: busybox:latest
  command: [sleep, '100000']
  stop: { signal: KILL }
";

#[test]
fn nodes_are_cordoned_drained_and_taken_back() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("web.yaml", IDLE);
    let ok = |args: &[&str]| {
        let out = room.windlass(args);
        assert_eq!(out.code, 0, "{args:?}: {out:?}");
        out
    };
    let refused = |args: &[&str], why: &str| {
        let out = room.windlass(args);
        assert_eq!(out.code, 1, "{args:?}: {out:?}");
        assert!(out.stderr.contains(why), "{args:?}: {out:?}");
    };
    let status = |word: &str| {
        let out = ok(&["node", "list"]);
        let line = out.stdout.lines().nth(1).unwrap_or_default().to_owned();
        assert!(line.starts_with("lab") && line.contains(word) && line.contains(" ms"), "{out:?}");
    };
    refused(&["node", "cordon", "lag"], "did you mean `lab`?");
    refused(&["node", "uncordon", "lab"], "node lab is not cordoned");
    refused(&["node", "accept", "lab"], "no other engine answers for node lab");
    status("Ready");
    ok(&["node", "cordon", "lab", "--reason", "a look at it"]);
    status("Cordoned");
    let out = ok(&["node", "describe", "lab"]);
    assert!(out.stdout.contains(": a look at it"), "{out:?}");
    refused(&["apply"], "needs a place; lab is cordoned");
    ok(&["node", "uncordon", "lab"]);
    ok(&["apply"]);
    status("Ready");
    let json = ok(&["node", "list", "-o", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let json = json["items"].as_array().cloned().expect("a list");
    assert_eq!((&json[0]["status"], &json[0]["replicas"]), (&"Ready".into(), &1.into()));
    assert_eq!(ok(&["node", "list", "-o", "name"]).stdout, "lab\n");

    // Beside a daemon it is the daemon that knows, at once.
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled", Duration::from_secs(60));
    ok(&["node", "drain", "lab", "--no-wait"]);
    up.wait_for_line("node lab drained", Duration::from_secs(60));
    status("Drained");
    refused(&["node", "cordon", "lab"], "drained already");
    // There is no other node.
    refused(&["node", "drain", "lab"], "1 replica is left on node lab");
    assert_eq!(room.containers("web").len(), 1);
    ok(&["node", "uncordon", "lab"]);
    status("Ready");
    assert_eq!(up.end("TERM"), 0);
    let out = ok(&["events"]);
    for word in ["cordoned: a look at it", "drained", "uncordoned"] {
        assert!(out.stdout.contains(word), "{word}: {out:?}");
    }

    // What a declaration says is not taken back by a command.
    let nodes = std::fs::read_to_string(room.specs().join("node.yaml")).expect("a node");
    room.spec("node.yaml", &(nodes + "  cordon: true\n"));
    status("Cordoned");
    refused(&["node", "uncordon", "lab"], "is cordoned by its declaration at node.yaml:1");
}
