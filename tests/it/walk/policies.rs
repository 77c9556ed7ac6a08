//! Own policies, from their directory to what users see. The node is one that never answers: which
//! policies hold, and not what they say, is what matters here.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::room::LONG;
use crate::lab::Up;

const SPECS: &str = "\
apiVersion: windlass/v1
kind: Node
metadata: { name: none }
spec: { endpoint: \"unix:///nowhere/engine.sock\" }
---
apiVersion: windlass/v1
kind: PolicyBinding
metadata: { name: mine }
spec: { policy: MY-RULE, level: warn, params: { days: 3 }, match: { kinds: [Instance], projects: \"*\" } }
---
apiVersion: windlass/v1
kind: Waiver
metadata: { name: once }
spec: { policy: MY-RULE, select: { name: web }, reason: moving, expires: 2020-01-31 }
";

const RULE: &str = "\
// @id MY-RULE  @version 1.0.0  @title Words  @level hard
// @param days: int = 30
fn check(o) { require(params.days > 0, \"no days\"); }
";

/// A directory with specs, policies and a state.
struct House(tempfile::TempDir);

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().expect("a temporary directory"));
        house.write("specs/set.yaml", SPECS);
        house.write("policies/mine/policy.rhai", RULE);
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a directory");
        fs::write(path, text).expect("a file is written");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env("WINDLASS_SPECS", self.path("specs"))
            .env("WINDLASS_STATE", self.path("state"))
            .env("NO_COLOR", "1")
            .env_remove("WINDLASS_POLICIES")
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null());
        command
    }

    /// Exit code, standard output, standard error.
    fn windlass(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let out = self.command(args).output().expect("windlass starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (out.status.code(), text(out.stdout), text(out.stderr))
    }
}

#[test]
fn validate_knows_the_policies_of_the_default_directory_and_of_a_named_one() {
    let house = House::new();
    let (code, out, error) = house.windlass(&["validate"]);
    assert_eq!((code, out.as_str()), (Some(0), "3 objects in 1 file, no errors.\n"), "{error}");
    house.write("other/mine/policy.rhai", &RULE.replace("MY-RULE", "MY-RULES"));
    let (code, _, error) = house.windlass(&["validate", "--policies", "other"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("unknown policy `MY-RULE` in PolicyBinding default/mine"), "{error}");
    assert!(error.contains("did you mean `MY-RULES`?"), "{error}");
    assert!(error.contains("unknown policy `MY-RULE` in Waiver default/once"), "{error}");
    let (code, _, error) = house.windlass(&["validate", "--policies", "nowhere"]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("error: nowhere: there is no such directory\n"), "{error}");
    house.write("policies/mine/policy.rhai", &RULE.replace("(o)", "(o"));
    let (code, out, _) = house.windlass(&["validate", "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &answer["valid"]), (Some(1), &false.into()));
    let problem = answer["policies"][0].as_str().expect("a text");
    assert!(problem.starts_with("policies/mine/policy.rhai:3:"), "{problem}");
}

#[test]
fn a_bad_set_of_policies_is_told_and_held_off_until_it_is_mended() {
    let house = House::new();
    let mut up = Up::spawn(house.command(&["up"]));
    up.wait_for_line("specs: 3 objects, no errors", LONG);
    let told = |up: &Up| up.lines().iter().any(|line| line.contains("policies:"));
    assert!(!told(&up), "what is in force from the beginning is no news: {:#?}", up.lines());
    let (code, out, _) = house.windlass(&["get", "policybindings", "-o", "wide"]);
    let columns = |out: &str| -> Vec<String> {
        let lines = out.lines().skip(1);
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(code, Some(0));
    assert_eq!(
        columns(&out),
        ["default/mine MY-RULE warn kinds [Instance], projects * nothing matches it"]
    );
    let (_, out, _) = house.windlass(&["get", "waivers"]);
    assert_eq!(
        columns(&out),
        [
            "default/once MY-RULE name web 2020-01-31 - it is over since 2020-01-31; take it out or renew it"
        ]
    );

    house.write("policies/mine/policy.rhai", "// @id MY-RULE\nfn check(o) {\n");
    let line = up.wait_for_line("policies: ", LONG);
    assert!(line.contains("the last good ") && line.ends_with("are in force"), "{line}");
    up.wait_for_line("policies: error: policies/mine/policy.rhai:", LONG);
    let (_, out, _) = house.windlass(&["describe", "policybinding", "mine"]);
    assert!(out.contains("Degraded"), "{out}");
    assert!(
        out.contains("the last good policies are in force: policies/mine/policy.rhai:"),
        "{out}"
    );
    assert!(!out.contains("used by"), "{out}");
    assert_eq!(up.end("TERM"), 0);

    // A restart finds the same: what was good is in force, and what is not is told.
    let mut up = Up::spawn(house.command(&["up"]));
    let line = up.wait_for_line("policies: ", LONG);
    let (_, rest) = line.split_once("the last good ").expect("what goes on");
    let count = rest.strip_suffix(" are in force").expect("how many");
    house.write("policies/mine/policy.rhai", RULE);
    // Those that are built in are counted, too: as many as before.
    up.wait_for_line(&format!("policies: {count}, no errors"), LONG);
    let (_, out, _) = house.windlass(&["get", "pb", "-o", "json"]);
    assert!(!out.contains("Degraded"), "{out}");
    assert_eq!(up.end("TERM"), 0);
    let (_, out, _) = house.windlass(&["events"]);
    assert!(out.contains("policies: mine/policy.rhai: a good version"), "{out}");
}
