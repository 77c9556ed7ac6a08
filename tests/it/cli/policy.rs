//! `windlass policy`, as a person or a CI job runs it: with files and nothing else. There is no engine
//! that it could ask.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::lab::repository;

const SPECS: &str = "\
apiVersion: windlass/v1
kind: Instance
metadata: { name: web, project: shop }
spec: { image: \"web:1\" }
---
apiVersion: windlass/v1
kind: Instance
metadata: { name: api, project: shop }
spec:
  image: reg.example/api:1
  env: { MODE: fast, DB_PASSWORD: s3cretvalue }
  security:
    # said where it is found
    privileged: true
";

const BINDING: &str = "\
apiVersion: windlass/v1
kind: PolicyBinding
metadata: { name: base }
spec: { profile: baseline, match: { projects: \"*\" } }
";

const RULE: &str = "\
// @id MY-RULE  @version 1.0.0  @title Words  @level warn
// @match kinds=Instance
fn check(o) {
  if o.image.tag == \"1\" { deny(\"one\").at(\"spec.image\"); }
  if o.replicas > 1 {
    warn(\"many\");
  }
}
";

/// A checkout: specs, policies, and no more.
struct House(tempfile::TempDir);

/// How a command ended.
#[derive(Debug)]
struct Out {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Out {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().expect("a temporary directory"));
        house.write("specs/shop.yaml", SPECS);
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

    fn policy(&self, args: &[&str]) -> Out {
        policy(self.0.path(), args)
    }
}

fn policy(dir: &Path, args: &[&str]) -> Out {
    let out = Command::new(env!("CARGO_BIN_EXE_windlass"))
        .arg("policy")
        .args(args)
        .current_dir(dir)
        .env_clear()
        // A state is never made: this is no place for one.
        .env("HOME", "/nowhere")
        .output()
        .expect("windlass starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = out.status.code().expect("no signal");
    Out { code, stdout: text(&out.stdout), stderr: text(&out.stderr) }
}

#[test]
fn exit_codes_tell_pass_fail_undefined_and_error() {
    let house = House::new();
    // Nothing is bound, so nothing was passed.
    let out = house.policy(&["check"]);
    assert_eq!(out.code, 2, "{out:?}");
    assert!(out.stderr.starts_with("undefined: nothing was asked"), "{out:?}");
    house.write("specs/bindings.yaml", BINDING);
    let out = house.policy(&["check"]);
    assert_eq!(out.code, 1, "{out:?}");
    let place = "specs/shop.yaml:14:5 denied CIS-5.5 hard, Instance shop/api\n";
    assert!(out.stdout.starts_with(place), "{out:?}");
    assert!(out.stdout.contains("default/base  CIS-5.5       hard   2      1       1"), "{out:?}");
    // The binding matches nothing.
    house.write("specs/bindings.yaml", &BINDING.replace("\"*\"", "[back]"));
    let out = house.policy(&["check"]);
    assert_eq!(out.code, 2, "{out:?}");
    assert!(out.stdout.contains("warned binding-unmatched warn, PolicyBinding default/base"));
    house.write("specs/bindings.yaml", &BINDING.replace("spec: {", "spec: { level: warn,"));
    assert_eq!(house.policy(&["check"]).code, 0);
    assert_eq!(house.policy(&["check", "--strict"]).code, 1);
    // A binding may have another level for audits.
    house.write("policies/err/policy.rhai", "// @id ERR @version 1.0.0 @title Words @level audit\n// @match kinds=Instance\nfn check(o) { if o.security.user == \"root\" { deny(\"root\"); } }\n");
    house.write(
        "specs/err.yaml",
        &BINDING.replace("name: base", "name: err").replace("profile: baseline", "policy: ERR"),
    );
    let out = house.policy(&["check"]);
    assert_eq!(out.code, 3, "an error is no pass, whatever the level: {out:?}");
    assert!(out.stdout.contains("error ERR audit, Instance shop/web\n"), "{out:?}");
    assert!(out.stdout.contains("(line 3)"), "{out:?}");
}

#[test]
fn what_is_wrong_with_files_is_no_verdict() {
    let house = House::new();
    house.write("specs/bindings.yaml", &BINDING.replace("baseline", "basline"));
    let out = house.policy(&["check"]);
    assert_eq!((out.code, out.stdout.as_str()), (3, ""), "{out:?}");
    assert!(out.stderr.contains("did you mean `baseline`?"), "{out:?}");
    // Those who read reports get it, too.
    let out = house.policy(&["check", "-o", "sarif"]);
    let value = out.json();
    let result = &value["runs"][0]["results"][0];
    assert_eq!((out.code, &result["ruleId"]), (3, &"spec-error".into()), "{out:?}");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "specs/bindings.yaml");
    assert_eq!(place["region"]["startLine"], 4);
    assert_eq!(value["runs"][0]["invocations"][0]["executionSuccessful"], false);
    house.write("specs/bindings.yaml", BINDING);
    house.write("policies/a/policy.rhai", &RULE.replace("o.image.tag", "o.imgae.tag"));
    for verb in ["check", "test", "list", "coverage"] {
        let out = house.policy(&[verb]);
        assert_eq!(out.code, 3, "{out:?}");
        assert!(out.stderr.contains("policies/a/policy.rhai:4"), "{out:?}");
        assert!(out.stderr.contains("did you mean `image`?"), "{out:?}");
    }
    let out = house.policy(&["test", "nowhere"]);
    assert_eq!(out.code, 3, "{out:?}");
    assert!(out.stderr.contains("nowhere: there is no such directory"), "{out:?}");
}

#[test]
fn what_is_typed_wrong_is_told_with_what_was_meant() {
    let house = House::new();
    for (args, meant) in [
        (&["check", "--profile", "basline"][..], "did you mean `baseline`?"),
        (&["check", "--policy", "cis-55"], "did you mean `CIS-5.5`?"),
        (&["test", "--policy", "SUP-DIGST"], "did you mean `SUP-DIGEST`?"),
        (&["explain", "SUP-DIGST"], "did you mean `SUP-DIGEST`?"),
        (&["explain", "Instance/shop/wbe"], "did you mean `Instance/shop/web`?"),
        (&["explain", "shop/wbe"], "did you mean `Instance/shop/web`?"),
        (&["explain", "Instnace/shop/web"], "did you mean `Instance`?"),
        (&["check", "-o", "csv"], "sarif, junit, markdown, html, policyreport, github are known"),
        (&["list", "-o", "sarif"], "here text, wide, json, yaml, name are known"),
        (&["check", "nowhere"], "name the directory of your specs"),
        (&["chekc"], "'check'"),
    ] {
        let out = house.policy(args);
        assert_eq!((out.code, out.stdout.as_str()), (3, ""), "{out:?}");
        assert!(out.stderr.contains(meant), "{meant}: {out:?}");
    }
}

#[test]
fn a_policy_or_a_profile_is_bound_for_one_run() {
    let house = House::new();
    let out = house.policy(&["check", "--policy", "CIS-5.5", "-o", "json"]);
    let value = out.json();
    assert_eq!((out.code, &value["verdict"]), (1, &"fail".into()), "{out:?}");
    assert_eq!(value["asked"].as_array().expect("a list").len(), 1);
    assert_eq!(value["asked"][0]["asked"], 2);
    let denied = &value["rows"][0];
    assert_eq!(denied["suite"], "default/command-line-0");
    assert_eq!((&denied["place"]["line"], &denied["place"]["column"]), (&14.into(), &5.into()));
    let out = house.policy(&["check", "--profile", "supply-chain", "--policy", "CIS-5.5"]);
    assert!(out.stdout.contains("default/command-line-1"), "{out:?}");
    assert_eq!(house.policy(&["check", "specs/shop.yaml", "--policy", "CIS-5.10"]).code, 0);
}

#[test]
fn a_scan_is_asked_at_its_own_point() {
    let house = House::new();
    let out = house.policy(&["scan", "--policy", "CIS-5.5", "-o", "json"]);
    let value = out.json();
    assert_eq!((out.code, &value["verb"]), (1, &"policy scan".into()), "{out:?}");
    let out = house.policy(&["scan", "--policy", "CIS-5.5"]);
    assert!(out.stdout.contains("14:5 denied CIS-5.5 hard, Instance shop/api\n"), "{out:?}");
    assert!(out.stderr.contains("at the point scan"), "{out:?}");
}

#[test]
fn waivers_that_are_over_or_of_no_use_are_findings() {
    let house = House::new();
    let waiver = |name: &str, policy: &str, expires: &str| {
        format!(
            "---\napiVersion: windlass/v1\nkind: Waiver\nmetadata: {{ name: {name}, project: shop }}\n\
             spec: {{ policy: {policy}, select: {{ name: api }}, reason: words, approver: me, expires: {expires} }}\n"
        )
    };
    let all = [
        BINDING,
        &waiver("used", "CIS-5.5", "2030-01-31"),
        &waiver("unused", "CIS-5.10", "2030-01-31"),
        &waiver("over", "CIS-5.16", "2020-01-31"),
    ];
    house.write("specs/bindings.yaml", &all.concat());
    let out = house.policy(&["check", "--now", "2029-12-31", "-o", "json"]);
    assert_eq!(out.code, 0, "{out:?}");
    let value = out.json();
    let rows = value["rows"].as_array().expect("a list");
    let of = |status: &str| {
        let rows = rows.iter().filter(|row| row["status"] == status);
        rows.map(|row| format!("{} {}", row["rule"], row["object"])).collect::<Vec<_>>()
    };
    assert_eq!(of("waived"), ["\"CIS-5.5\" \"Instance shop/api\""]);
    assert_eq!(
        of("warned"),
        ["\"waiver-unused\" \"Waiver shop/unused\"", "\"waiver-expired\" \"Waiver shop/over\""]
    );
    assert_eq!(house.policy(&["check", "--now", "2029-12-31", "--strict"]).code, 1);
    // A day after its last one it waives nothing.
    assert_eq!(house.policy(&["check", "--now", "2030-02-01"]).code, 1);
    let out = house.policy(&["explain", "shop/api", "--now", "2029-12-31"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stdout.contains("waived CIS-5.5: no privileged containers"), "{out:?}");
    assert!(out.stdout.contains("waiver shop/used until 2030-01-31: words, approved by me"));
}

#[test]
fn no_form_shows_a_secret_and_each_is_what_it_says() {
    let house = House::new();
    house.write("specs/bindings.yaml", BINDING);
    let more = &["--policy", "IMM-SECRETENV", "--policy", "SUP-DIGEST"];
    let form = |form: &str| {
        let out = house.policy(&[&["check", "-o", form], &more[..]].concat());
        assert_eq!(out.code, 1, "{out:?}");
        assert!(out.stdout.contains("PASSWORD"), "{form}: it is named: {out:?}");
        assert!(!format!("{out:?}").contains("s3cretvalue"), "{form}: {out:?}");
        out
    };
    for words in ["text", "wide", "yaml", "markdown"] {
        assert!(form(words).stdout.contains("14:5") || words == "yaml");
    }
    assert!(form("html").stdout.starts_with("<!DOCTYPE html>"));
    assert!(form("junit").stdout.starts_with("<?xml "));
    assert!(form("github").stdout.contains("::error file=specs/shop.yaml,line=14,col=5,"));
    assert!(form("policyreport").stdout.contains("kind: PolicyReport\n"));
    form("json").json();
    // The columns are those of the text.
    let value = form("sarif").json();
    let results = value["runs"][0]["results"].as_array().expect("a list").clone();
    let text = |result: &Value| {
        let region = &result["locations"][0]["physicalLocation"]["region"];
        let number =
            |name: &str| usize::try_from(region[name].as_u64().expect("one")).expect("one");
        let line = SPECS.lines().nth(number("startLine") - 1).expect("a line");
        let (begin, end) = (number("startColumn") - 1, number("endColumn") - 1);
        line.chars().skip(begin).take(end - begin).collect::<String>()
    };
    let of = |rule: &str| {
        let results = results.iter().filter(|result| result["ruleId"] == rule);
        results.map(text).collect::<Vec<_>>()
    };
    assert_eq!(of("CIS-5.5"), ["privileged: true"]);
    assert_eq!(of("SUP-DIGEST"), ["image: \"web:1\"", "image: reg.example/api:1"]);
    assert_eq!(of("IMM-SECRETENV").len(), 1);
}

#[test]
fn cases_are_run_and_statements_counted() {
    let house = House::new();
    assert_eq!(house.policy(&["test"]).code, 2, "there are no own policies");
    house.write("policies/a/policy.rhai", RULE);
    let out = house.policy(&["test"]);
    assert_eq!(out.code, 2, "there are no cases: {out:?}");
    let cases = "- case: one\n  verdict: fail\n  at: [spec.image]\n  instance: { image: \"web:1\" }\n\
                 - case: two\n  verdict: pass\n  instance: { image: \"web:2\" }\n";
    house.write("policies/a/cases.yaml", cases);
    let out = house.policy(&["test"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stdout.contains("MY-RULE  2      0       pass fail"), "{out:?}");
    let out = house.policy(&["test", "--coverage"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stdout.contains("3 of 4, 75 %"), "{out:?}");
    assert!(out.stdout.contains("policies/a/policy.rhai:6:5 noted MY-RULE"), "{out:?}");
    assert!(!out.stdout.contains("its ends"), "{out:?}");
    house.write("policies/a/cases.yaml", cases.split("- case: two").next().expect("one"));
    let out = house.policy(&["test", "--coverage"]);
    assert!(out.stdout.contains("noted MY-RULE, its ends\n    no case has it pass\n"), "{out:?}");
    house.write("policies/a/cases.yaml", cases);
    assert_eq!(house.policy(&["test", "--min-coverage", "75"]).code, 0);
    let out = house.policy(&["test", "--min-coverage", "76"]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stdout.contains("cases reach 3 of 4 statements, 75 %, and not 76 %"), "{out:?}");

    house.write("policies/a/cases.yaml", &cases.replace("web:2", "web:1"));
    let out = house.policy(&["test"]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stdout.starts_with("policies/a/cases.yaml:5:3 denied MY-RULE, two\n"), "{out:?}");
    assert!(out.stdout.contains("expected pass, found fail: Instance default/case"), "{out:?}");
    let out = house.policy(&["test", "-o", "github"]);
    assert!(out.stdout.starts_with("::error file=policies/a/cases.yaml,line=5,col=3,"), "{out:?}");

    house.write("policies/a/cases.yaml", &cases.replace("verdict: pass", "verdcit: pass"));
    let out = house.policy(&["test"]);
    assert_eq!(out.code, 3, "{out:?}");
    let wrong = "policies/a/cases.yaml:6:3 error MY-RULE, its cases\n    unknown field `verdcit`";
    assert!(out.stdout.starts_with(wrong), "{out:?}");
}

#[test]
fn the_library_passes_its_own_cases() {
    let house = House::new();
    let out = house.policy(&["test", "--all", "--coverage"]);
    assert_eq!(out.code, 0, "{out:?}");
    // The repository's own directory is the library: what is named is tested.
    let out = policy(repository(), &["test", "policies", "-o", "json"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.json()["tested"].as_array().expect("a list").len() > 30);
}

#[test]
fn policies_are_listed_and_explained() {
    let house = House::new();
    house.write("specs/bindings.yaml", BINDING);
    house.write("policies/a/policy.rhai", RULE);
    house.write("policies/a/README.md", "# Why\n\nSo.\n");
    let out = house.policy(&["list"]);
    assert_eq!(out.code, 0, "{out:?}");
    let line = |id: &str| {
        let line = out.stdout.lines().find(|line| line.starts_with(id)).expect("a line");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        line("CIS-5.5 ")[..7],
        ["CIS-5.5", "hard", "built", "in", "1.0.0", "check", "default/base"]
    );
    assert_eq!(line("MY-RULE")[..6], ["MY-RULE", "warn", "own", "1.0.0", "check", "-"]);
    let all = house.policy(&["list", "-o", "json"]).json();
    assert!(all.as_array().expect("a list").iter().any(|one| one["origin"] == "own"));
    let out = house.policy(&["explain", "my-rule"]);
    assert_eq!(out.code, 0, "{out:?}");
    for part in
        ["MY-RULE: Words\n", "asked by    check\n", "policies/a/policy.rhai\n", "# Why\n\nSo.\n"]
    {
        assert!(out.stdout.contains(part), "{part}: {out:?}");
    }
    assert!(
        house.policy(&["explain", "CIS-5.4"]).stdout.contains("parameter   allow: [string] = [")
    );
    assert!(house.policy(&["explain", "baseline"]).stdout.contains("CIS-5.32"));
    let out = house.policy(&["explain", "Instance/shop/api"]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stdout.starts_with("Instance shop/api  (specs/shop.yaml:6)\nno new revision"));
    assert!(out.stdout.contains("allowed: false\n"), "{out:?}");
    assert_eq!(house.policy(&["explain", "api"]).stdout, out.stdout);
    house.write("specs/other.yaml", &SPECS.replace("project: shop", "project: back"));
    let out = house.policy(&["explain", "api"]);
    assert!(out.code == 3 && out.stderr.contains("there are back/api, shop/api"), "{out:?}");
    let out = house.policy(&["explain", "PolicyBinding/base"]);
    assert_eq!(out.code, 2, "{out:?}");
    assert!(out.stdout.contains("CIS-5.5 by default/base: it is about Instance\n"), "{out:?}");
}

#[test]
fn gaps_are_told() {
    let house = House::new();
    house.write(
        "specs/bindings.yaml",
        &BINDING.replace("match: { projects: \"*\" }", "match: { projects: [shop], names: [web] }"),
    );
    house.write(
        "specs/data.yaml",
        "apiVersion: windlass/v1\nkind: Volume\nmetadata: { name: data, project: shop }\n",
    );
    let value = house.policy(&["coverage", "-o", "json"]).json();
    assert_eq!(value["objects"], 3);
    assert_eq!(value["unseen"], serde_json::json!(["Instance shop/api", "Volume shop/data"]));
    let unbound = value["unbound"].as_array().expect("a list");
    assert!(unbound.contains(&"SUP-DIGEST".into()) && !unbound.contains(&"CIS-5.5".into()));
    let out = house.policy(&["coverage"]);
    assert!(
        out.stdout.starts_with("2 of 3 objects that no policy looks at\n  Instance shop/api\n")
    );
}

#[test]
fn a_set_comes_from_standard_input() {
    let house = House::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
    let command = command.args(["policy", "check", "-", "--policy", "CIS-5.5"]);
    let command = command.current_dir(house.0.path()).env_clear().env("HOME", "/nowhere");
    let file = fs::File::open(house.path("specs/shop.yaml")).expect("specs");
    let out = command.stdin(file).output().expect("windlass starts");
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.starts_with("(standard input):14:5 denied CIS-5.5"), "{text}");
}

/// A command of a README's, with what it prints.
fn shown<'t>(readme: &'t str, command: &str) -> &'t str {
    let begin = format!("```\n$ {command}\n");
    let (_, rest) = readme.split_once(&begin).expect("the README shows it");
    rest.split_once("```").expect("it ends").0
}

#[test]
fn the_example_says_what_its_readme_shows() {
    let house = House::new();
    let from = repository().join("examples/policy-audit");
    let copied = Command::new("cp").arg("-r").arg(&from).arg(house.path("audit")).status();
    assert!(copied.expect("cp starts").success());
    let readme = fs::read_to_string(from.join("README.md")).expect("a README");
    let run = |command: &str| {
        let out = Command::new("bash")
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(house.path("audit"))
            .env("WINDLASS", env!("CARGO_BIN_EXE_windlass"))
            .env("HOME", "/nowhere")
            .env_remove("WINDLASS_POLICIES")
            .output()
            .expect("bash starts");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let command = "./check; echo $?";
    assert_eq!(run(command), shown(&readme, command));
    let command = "windlass policy test --coverage";
    let tested = run(&command.replace("windlass", "\"$WINDLASS\""));
    assert_eq!(tested, shown(&readme, command));
    // The file that is handed to a code host.
    let sarif = fs::read_to_string(house.path("audit/policy.sarif")).expect("SARIF");
    let sarif: Value = serde_json::from_str(&sarif).expect("JSON");
    let results = sarif["runs"][0]["results"].as_array().expect("a list");
    let of = |level: &str| results.iter().filter(|result| result["level"] == level).count();
    assert_eq!((of("error"), of("warning"), results.len()), (4, 4, 8));
    let suppressed: Vec<&Value> =
        results.iter().filter(|result| result.get("suppressions").is_some()).collect();
    assert_eq!(suppressed.len(), 1);
    assert_eq!(suppressed[0]["properties"]["object"], "Instance shop/legacy");
    // The workflow runs commands that there are, with forms that there are.
    let workflow = fs::read_to_string(from.join("github-workflow.yml")).expect("a workflow");
    let commands: Vec<&str> = workflow
        .lines()
        .filter_map(|line| line.find("windlass policy").map(|at| &line[at..]))
        .map(|line| line.split(['>', '|']).next().unwrap_or(line))
        .collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().skip(2).collect();
        let code = policy(&house.path("audit"), &words).code;
        assert_eq!(code, i32::from(words[0] == "check"), "{command}");
    }
}

#[test]
fn the_readme_shows_what_is_printed() {
    let house = House::new();
    fs::remove_file(house.path("specs/shop.yaml")).expect("a file is removed");
    let spec = "apiVersion: windlass/v1\nkind: Instance\nmetadata: { name: web }\nspec:\n  \
                image: nginx:1.27\n  security: { privileged: true }\n";
    house.write("specs/web.yaml", spec);
    let readme = fs::read_to_string(repository().join("README.md")).expect("a README");
    let args = ["check", "specs", "--policy", "SUP-DIGEST", "--policy", "CIS-5.5"];
    let out = house.policy(&args);
    let printed = format!("{}{}{}\n", out.stdout, out.stderr, out.code);
    let command = format!("windlass policy {}; echo $?", args.join(" "));
    assert_eq!(printed, shown(&readme, &command));
}
