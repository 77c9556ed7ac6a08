//! Each form holds what was found, and is what its readers take. Nothing in a text ends the form that
//! it stands in.

use reconciler::model::ids::Key;
use serde_json::Value;

use super::*;
use crate::cli::show::Style;

/// Words that mean something in one form or the other.
const NASTY: &str = "a <script> & \"b\" | `c` % 100, d: e\r\n::error::f ]]> \u{1b}[31m 'g'";

fn row(status: Status, object: &str, message: &str) -> Row {
    Row {
        status,
        rule: "MY-RULE".to_owned(),
        suite: "default/base".to_owned(),
        object: object.to_owned(),
        level: Some("hard".to_owned()),
        message: message.to_owned(),
        at: Some("spec.image".to_owned()),
        observed: Some("web:1".to_owned()),
        want: Some("a digest".to_owned()),
        fix: Some("pin it".to_owned()),
        place: Some(Spot { file: "specs/wéb 1,2.yaml".to_owned(), line: 7, column: 3, width: 12 }),
        waiver: None,
    }
}

fn report() -> Report {
    let waiver = WaivedBy {
        name: "shop/old".to_owned(),
        reason: NASTY.to_owned(),
        ticket: Some("T-1".to_owned()),
        approver: Some("me".to_owned()),
        expires: "2027-01-31".to_owned(),
    };
    let binding: Key = "default/base".parse().unwrap();
    let rule = Rule {
        title: "images are <pinned>".to_owned(),
        level: "hard".to_owned(),
        version: Some("1.2.3".to_owned()),
        help: Some("# MY-RULE\n\nWords.\n".to_owned()),
    };
    let mut report = Report {
        verb: "policy check",
        verdict: End::Fail,
        at: Timestamp(1_764_500_000_000),
        summary: vec![("asked about", "5 objects".to_owned())],
        counts: BTreeMap::new(),
        asked: vec![Asked {
            binding: binding.to_string(),
            policy: "MY-RULE".to_owned(),
            level: "hard".to_owned(),
            count: Count { asked: 5, passed: 1, found: 3, waived: 1, errors: 1, asserted: 0 },
            elsewhere: None,
        }],
        tested: Vec::new(),
        rules: [("MY-RULE".to_owned(), rule)].into(),
        rows: vec![
            row(Status::Passed, "Instance shop/e", "nothing was found"),
            row(Status::Denied, "Instance shop/a", NASTY),
            row(Status::Denied, "Instance shop/a", "twice"),
            row(Status::Warned, "Volume shop/b", "a warning"),
            Row { waiver: Some(waiver), ..row(Status::Waived, "Instance shop/c", "waived") },
            Row { place: None, at: None, ..row(Status::Error, "Project shop", "no verdict") },
        ],
    };
    report.settle();
    report
}

/// What SARIF 2.1.0 asks of the parts that are used here.
const SARIF: &str = include_str!("sarif.schema.json");

#[test]
fn sarif_is_what_the_standard_asks_for() {
    let value = sarif::value(&report());
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource("sarif.json", serde_json::from_str(SARIF).unwrap()).unwrap();
    let schema = compiler.compile("sarif.json", &mut schemas).unwrap();
    schemas.validate(&value, schema).unwrap_or_else(|error| panic!("{error}"));
    let run = &value["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 5, "what passed is not in it");
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    }
    let levels: Vec<&str> =
        results.iter().map(|result| result["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["error", "error", "error", "warning", "error"]);
    let location = &results[1]["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "specs/w%C3%A9b%201%2C2.yaml");
    assert_eq!(
        location["region"],
        serde_json::json!({ "startLine": 7, "startColumn": 3, "endLine": 7, "endColumn": 15 })
    );
    assert_eq!(results[0].get("locations"), None);
    assert_eq!(results[4]["suppressions"][0]["status"], "accepted");
    assert_ne!(results[1]["partialFingerprints"], results[2]["partialFingerprints"]);
    // The check can fail.
    let mut wrong = value.clone();
    wrong["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(schemas.validate(&wrong, schema).is_err());
}

#[test]
fn workflow_commands_are_one_line_each() {
    let text = github::render(&report());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("::error title=MY-RULE Project shop::no verdict"), "{text}");
    let begin = "::error file=specs/wéb 1%2C2.yaml,line=7,col=3,endColumn=15,title=MY-RULE Instance shop/a::";
    assert!(lines[1].starts_with(begin), "{text}");
    assert!(lines[1].contains("%25 100, d: e%0D%0A::error::f"), "{text}");
    assert!(lines[3].starts_with("::warning "), "{text}");
    assert!(lines[4].starts_with("::notice ") && lines[4].contains("(waiver shop/old"), "{text}");
}

#[test]
fn xml_is_whole_and_counts_tests() {
    let xml = junit::render(&report());
    assert!(
        xml.contains("tests=\"5\" failures=\"1\" errors=\"1\" skipped=\"1\">\n  <testsuite"),
        "{xml}"
    );
    for part in ["<script>", "]]>", "\u{1b}", "& "] {
        assert!(!xml.contains(part), "{part:?}: {xml}");
    }
    assert!(xml.contains("&lt;script&gt; &amp; &quot;b&quot;"), "{xml}");
    // Each element is closed: as many ends as beginnings.
    let count = |what: &str| xml.matches(what).count();
    assert_eq!(count("<testcase "), count("</testcase>") + count("line=\"7\"/>"));
    assert_eq!((count("<failure "), count("</failure>")), (1, 1));
    assert!(xml.contains("<testcase classname=\"MY-RULE\" name=\"Instance shop/e\""), "{xml}");
    assert!(xml.contains("<skipped message=\"waiver shop/old until 2027-01-31"), "{xml}");
}

#[test]
fn a_page_runs_nothing_and_needs_nothing_from_elsewhere() {
    let page = html::render(&report());
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
    for other in ["http://", "https://", "src=", "href=", "url("] {
        assert!(!page.contains(other), "{other}");
    }
    assert!(page.contains("MY-RULE: images are &lt;pinned&gt;"), "{page}");
}

#[test]
fn a_table_keeps_its_columns() {
    let text = markdown::render(&report());
    let rows: Vec<&str> = text.lines().filter(|line| line.contains("MY-RULE")).collect();
    assert_eq!(rows.len(), 6, "{text}");
    for row in &rows[..5] {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 7, "{row}");
    }
    assert!(text.starts_with("# windlass policy check: fail\n"), "{text}");
}

#[test]
fn a_policy_report_counts_its_results() {
    let value = policyreport::value(&report());
    assert_eq!(value["apiVersion"], "wgpolicyk8s.io/v1alpha2");
    let summary = serde_json::json!({ "pass": 1, "fail": 2, "warn": 1, "error": 1, "skip": 1 });
    assert_eq!(value["summary"], summary);
    let results = value["results"].as_array().unwrap();
    assert_eq!(results.len(), 6);
    for result in results {
        let known = ["pass", "fail", "warn", "error", "skip"];
        assert!(known.contains(&result["result"].as_str().unwrap()), "{result}");
        let known = ["critical", "high", "medium", "low", "info"];
        assert!(known.contains(&result["severity"].as_str().unwrap()), "{result}");
        let properties = result["properties"].as_object().unwrap();
        assert!(properties.values().all(Value::is_string), "{result}");
    }
    let resource = &results[1]["resources"][0];
    assert_eq!((&resource["kind"], &resource["namespace"]), (&"Instance".into(), &"shop".into()));
    assert_eq!(results[0]["resources"][0].get("namespace"), None);
}

#[test]
fn text_says_the_worst_first() {
    let report = report();
    let shown = text::render(&report, &Style::plain(Timestamp(0)), false);
    assert!(shown.starts_with("error MY-RULE hard, Project shop\n"), "{shown}");
    assert!(shown.contains("specs/wéb 1,2.yaml:7:3 denied MY-RULE hard, Instance shop/a\n"));
    assert!(!shown.contains("passed MY-RULE") && !shown.contains('\u{1b}'), "{shown}");
    let all = text::render(&report, &Style::plain(Timestamp(0)), true);
    assert!(all.contains("passed MY-RULE hard, Instance shop/e\n"), "{all}");
    assert_eq!(
        text::verdict(&report),
        "fail: 1 error, 2 denied, 1 warned, 1 waived, 1 passed (asked about 5 objects)"
    );
}
