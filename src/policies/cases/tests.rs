//! The library's own cases, and what can be written in cases.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reconciler::model::policies::{Origin, PolicySources};
use reconciler::policy::outcome::Response;

use super::*;
use crate::policies::library::library;

#[test]
fn policies_say_what_their_cases_expect() {
    let found = library();
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let sources =
        PolicySources { policies: found.policies.clone(), profiles: found.profiles.clone() };
    let library = match Library::new(&sources) {
        Ok(library) => Arc::new(library),
        Err(bad) => {
            panic!("{}", bad.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
    };
    let mut faults = Vec::new();
    for source in &found.policies {
        let id = source.id().expect("an id").to_string();
        let ran = match run(source, &library) {
            Ok(ran) => ran,
            Err(problems) => {
                faults.extend(problems);
                continue;
            }
        };
        for ran in &ran {
            let wrong = ran.faults.iter().map(|fault| format!("{id}, {}: {fault}", ran.case));
            faults.extend(wrong);
        }
        // Drift is found by others: what policies say of it is what shall become of it.
        let said: BTreeSet<Word> = ran.iter().filter_map(|ran| ran.said).collect();
        if !said.contains(&Word::Pass) || !said.iter().any(|word| *word > Word::Pass) {
            faults.push(format!("{id}: its cases never pass, or never find anything"));
        }
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let readme = readme.join(id.to_lowercase()).join("README.md");
        if !fs::read_to_string(&readme).is_ok_and(|text| text.contains("## Source")) {
            faults.push(format!("{id}: its README names no source"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What comes of cases of a policy with that code.
fn ran(code: &str, cases: &str) -> Result<Vec<Ran>, Vec<String>> {
    let text = format!(
        "// @id A  @version 1.0.0  @title words  @level hard\n\
         // @param days: int = 3\n{code}\n"
    );
    let source = PolicySource {
        cases: Some(Arc::from(cases)),
        ..PolicySource::new(Origin::Own, "mine/a/policy.rhai", &text)
    };
    let sources = PolicySources { policies: vec![source.clone()], ..PolicySources::default() };
    let library = Library::new(&sources).unwrap_or_else(|bad| panic!("{bad:?}"));
    run(&source, &Arc::new(library))
}

/// The faults of cases that can be asked.
fn faults(code: &str, cases: &str) -> Vec<String> {
    let ran = ran(code, cases).unwrap_or_else(|problems| panic!("{problems:?}"));
    ran.into_iter().flat_map(|ran| ran.faults).collect()
}

const PRIVILEGED: &str = r#"
fn check(o) {
  if o.kind == "Instance" && o.security.privileged {
    deny("it is privileged").at("spec.security.privileged");
  }
}"#;

#[test]
fn what_is_said_is_compared_with_what_is_expected() {
    let privileged = "  instance: { image: web, security: { privileged: true } }\n";
    let case = |expected: &str| format!("- case: a\n{expected}{privileged}");
    assert_eq!(faults(PRIVILEGED, &case("  verdict: fail\n  findings: 1\n")), [""; 0]);
    for (expected, fault) in [
        ("  verdict: pass\n", "expected pass, found fail: Instance default/case A hard: deny"),
        ("  verdict: fail\n  findings: 2\n", "expected findings 2, found 1"),
        ("  verdict: fail\n  at: [spec.image]\n", "expected at spec.image, found spec.security"),
        ("  verdict: fail\n  says: nonsense\n", "expected words `nonsense`, found"),
        ("  verdict: fail\n  on: [Project/shop]\n", "on Project shop, found on nobody"),
        ("  verdict: fail\n  response: revert\n", "expected response revert, found none"),
        ("  verdict: fail\n  defaults: { spec.user: a }\n", "found {}"),
        ("  verdict: fail\n  about: Instance/web\n", "the case declares no Instance default/web"),
        ("  verdict: fail\n  about: Instnace/web\n", "did you mean `Instance`?"),
    ] {
        let faults = faults(PRIVILEGED, &case(expected));
        assert!(faults.iter().any(|one| one.contains(fault)), "{fault}: {faults:?}");
    }
}

#[test]
fn a_waiver_among_the_objects_waives() {
    let case = |verdict: &str, now: &str| {
        format!(
            "- case: a\n  verdict: {verdict}\n  now: {now}\n  about: Instance/shop/web\n  objects:\n  \
             - {{ kind: Instance, metadata: {{ name: web, project: shop }}, spec: {{ image: web, security: {{ privileged: true }} }} }}\n  \
             - {{ kind: Waiver, metadata: {{ name: w, project: shop }}, spec: {{ policy: A, select: {{ name: web }}, reason: words, approver: me, expires: 2030-01-01 }} }}\n"
        )
    };
    assert_eq!(faults(PRIVILEGED, &case("waived", "2029-12-31")), [""; 0]);
    assert_eq!(faults(PRIVILEGED, &case("fail", "2030-02-01T08:00:00Z")), [""; 0]);
}

#[test]
fn sets_are_judged_with_whom_findings_are_on() {
    let code = r#"
fn check_set(s) {
  for o in s.instances() {
    if o.replicas > 2 { deny("many").on(o).at("spec.replicas"); }
  }
  if s.instances("shop").len() > 1 { warn("many of them").on("shop"); }
}"#;
    let objects = "  objects:\n  \
        - { kind: Instance, metadata: { name: web, project: shop }, spec: { image: web, replicas: 3 } }\n  \
        - { kind: Instance, metadata: { name: api, project: shop }, spec: { image: web } }\n";
    let case = |expected: &str| format!("- case: a\n{expected}{objects}");
    let all = "  verdict: fail\n  findings: 2\n  on: [Project/shop, Instance/shop/web]\n";
    assert_eq!(faults(code, &case(all)), [""; 0]);
    let one = "  verdict: fail\n  about: Instance/shop/web\n  findings: 1\n";
    assert_eq!(faults(code, &case(one)), [""; 0]);
    let project = "  verdict: warn\n  about: Project/shop\n";
    // A project that nobody declares is there all the same, and only a declared one is an object.
    assert!(faults(code, &case(project))[0].contains("declares no Project shop"));
    assert_eq!(faults(code, "- { case: a, verdict: pass, instance: { image: web } }"), [""; 0]);
}

#[test]
fn actions_are_asked_about() {
    let code = r#"
fn check_action(a) {
  if a.kind == "delete" && a.linkedBy.len() > 0 { deny(`${a.target.metadata.name} is linked`); }
  if a.kind == "exec" && (a.exec.user ?? "root") == "root" { warn("as root"); }
  if a.round.managed > 0 && a.round.deletes + a.round.replaces == a.round.managed { info("all of them"); }
}"#;
    let case = |expected: &str, action: &str| {
        format!(
            "- case: a\n  verdict: {expected}\n  action: {action}\n  instance: {{ image: web }}\n"
        )
    };
    for (expected, action) in [
        ("fail", "{ kind: delete, linkedBy: [shop/api], round: { managed: 2, deletes: 1 } }"),
        ("pass", "{ kind: delete, replica: 1, node: n1, cause: words, round: { managed: 2 } }"),
        ("warn", "{ kind: exec, exec: { command: [sh] } }"),
        ("pass", "{ kind: exec, exec: { command: [sh], user: app, privileged: true } }"),
        (
            "info",
            "{ kind: replace, fields: [{ field: image }], round: { replaces: 1, managed: 1 } }",
        ),
    ] {
        assert_eq!(faults(code, &case(expected, action)), [""; 0], "{action}");
    }
    assert_eq!(faults(code, "- { case: a, verdict: unasked, instance: { image: web } }"), [""; 0]);
}

#[test]
fn drift_is_asked_about() {
    let code = r#"
fn check_drift(d) {
  if d.touches("security") { revert("at once").at(d.fields[0].field); } else { report("later"); }
}"#;
    let case = |expected: &str, field: &str| {
        format!(
            "- case: a\n{expected}  drift: {{ object: Instance/case, fields: [{{ field: {field}, found: a, wanted: b }}] }}\n  instance: {{ image: web }}\n"
        )
    };
    let revert = "  verdict: warn\n  response: revert\n";
    assert_eq!(faults(code, &case(revert, "security.user")), [""; 0]);
    let report = "  verdict: info\n  response: report\n";
    assert_eq!(faults(code, &case(report, "labels")), [""; 0]);
    let wrong = faults(code, &case(revert, "labels"));
    assert!(
        wrong[1].contains(&format!("{}, found report", Response::Revert.as_str())),
        "{wrong:?}"
    );
}

#[test]
fn facts_are_known_where_the_case_says_so() {
    let code = r#"
fn check(o) {
  if o.kind != "Instance" { return; }
  let known = facts(o.image);
  require(known.created > now() - days(params.days), "old");
}"#;
    let digest = format!("sha256:{}", "0".repeat(64));
    let case = |verdict: &str, more: &str| {
        format!(
            "- case: a\n  verdict: {verdict}\n  now: 2026-11-30\n{more}  instance: {{ image: \"web@{digest}\" }}\n"
        )
    };
    let facts =
        |date: &str| format!("  facts: {{ \"{digest}\": {{ created: {date}, signers: [a] }} }}\n");
    assert_eq!(faults(code, &case("pass", &facts("2026-11-29"))), [""; 0]);
    assert_eq!(faults(code, &case("fail", &facts("2026-11-01"))), [""; 0]);
    let params = format!("{}  params: {{ days: 60 }}\n", facts("2026-11-01"));
    assert_eq!(faults(code, &case("pass", &params)), [""; 0]);
    assert_eq!(faults(code, &case("error", "")), [""; 0]);
    // A parameter that it does not take is an error of the verdict, as in the loop.
    assert_eq!(faults(code, &case("error", "  params: { dyas: 1 }\n")), [""; 0]);
}

#[test]
fn what_is_wrong_with_cases_has_its_place() {
    for (cases, place, words) in [
        (
            "- case: a\n  verdict: pass\n  instnace: { image: web }\n",
            "3:3",
            "unknown field `instnace`",
        ),
        ("- case: a\n  verdict: denied\n  instance: { image: web }\n", "2:12", "unknown variant"),
        ("- case: a\n  verdict: pass\n  instance: { imgae: web }\n", "3:", "imgae"),
        (
            "- case: a\n  verdict: pass\n  instance: { image: web }\n  action: { kind: stop, nod: a }\n",
            "4:25",
            "unknown field `nod`",
        ),
        (
            "- case: a\n  verdict: pass\n  objects:\n  - { kind: Instance, metadata: { name: web }, spec: { replicas: 1 } }\n",
            "4:",
            "image",
        ),
        ("- case: a\n  verdict: pass\n  case: b\n", "3:3", "key `case` twice"),
        ("- case: a\n  verdict: pass\n  now: soon\n", "3:8", "expected a date such"),
        ("- case: a\n  verdict: pass\n", "1:3", "needs an `instance`"),
        ("- case: a\n  verdict: pass\n  objects: []\n  labels: {}\n", "1:3", "stand beside"),
        ("case: a\n", "1:1", "no list"),
        ("- case: [a\n", "", "YAML"),
    ] {
        let problems = ran(PRIVILEGED, cases).unwrap_err();
        let begin = format!("mine/a/cases.yaml:{place}");
        let is_right = |one: &String| one.starts_with(&begin) && one.contains(words);
        assert!(problems.iter().any(is_right), "{begin} {words}: {problems:?}");
    }
    assert_eq!(ran(PRIVILEGED, "# none yet\n"), Ok(Vec::new()));
}

#[test]
fn the_cases_that_authors_are_shown_can_be_asked() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, rest) = readme.split_once("## Cases").unwrap();
    let (_, rest) = rest.split_once("```yaml\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    // One of them sets a parameter that this policy does not have.
    let code = PRIVILEGED.replacen("\nfn", "\n// @param allow: [string] = []\nfn", 1);
    let ran = ran(code.trim_start(), block).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(ran.len(), 3);
    assert!(ran.iter().all(|ran| ran.said.is_some_and(|word| word != Word::Error)), "{ran:?}");
}
