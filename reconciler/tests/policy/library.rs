//! When texts are compiled, and which of their statements runs come by.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::policies::{Origin, PolicySource, PolicySources};
use reconciler::policy::library::Library;
use reconciler::policy::outcome::Outcome;
use reconciler::policy::script::{Program, Script, Surroundings};

use crate::lab::{HEADER, object_of, spec};

fn library(origin: Origin, text: &str) -> Result<Library, String> {
    let policies = vec![PolicySource::new(origin, "a/policy.rhai", text)];
    let library = Library::new(&PolicySources { policies, profiles: BTreeMap::new() });
    library.map_err(|bad| bad.iter().map(ToString::to_string).collect())
}

#[test]
fn what_is_built_in_is_compiled_when_it_is_asked_for() {
    let id = "T-1".parse().expect("an id");
    let wrong = format!("{HEADER}fn check(o) {{ deny(\"no\" }}");
    let told = library(Origin::Own, &wrong).expect_err("an own one is compiled at once");
    assert!(told.starts_with("a/policy.rhai:2:"), "{told}");
    // Nobody bound it, so nobody needs it; whoever does gets an error, and no pass.
    let library_of = library(Origin::BuiltIn, &wrong).expect("its header is good");
    assert_eq!(library_of.meta(&id).expect("a header").title, "a rule");
    assert!(library_of.script(&id).is_none());
    let failure = library_of.compiled(&id).expect_err("it is wrong");
    assert!(failure.to_string().starts_with("a/policy.rhai:2:"), "{failure}");
    // A header that is wrong is told at once, whoever wrote it.
    assert!(library(Origin::BuiltIn, "fn check(o) {}").is_err());
    let good = library(Origin::BuiltIn, &format!("{HEADER}fn check(o) {{ deny(\"no\") }}"));
    let good = good.expect("a good one");
    assert!(Arc::ptr_eq(
        good.compiled(&id).expect("a script"),
        good.compiled(&id).expect("the same")
    ));
}

#[test]
fn a_trace_says_what_was_reached_and_changes_no_verdict() {
    let text = format!(
        "{HEADER}fn check(o) {{\n  \
         let many = 0;\n  \
         for port in o.ports {{ many += 1; }}\n  \
         if many > 5 {{ deny(\"many\"); return; }}\n  \
         deny(`${{many}} ports`)\n    .at(\"spec.ports\");\n}}\n"
    );
    let judged = |script: Script| {
        let script = Arc::new(script);
        let program = Program::new(&script, &BTreeMap::new()).expect("parameters");
        let judgement = program.check(&object_of(spec()), &Surroundings::default());
        (judgement.outcome, script.statements())
    };
    let (plain, none) = judged(Script::compile(&text).expect("a script"));
    assert_eq!(none, []);
    let (traced, statements) = judged(Script::compile_traced(&text).expect("a script"));
    assert!(matches!(&plain, Outcome::Findings(findings) if findings[0].line == Some(6)));
    assert_eq!(traced, plain, "with the same lines");
    let shown: Vec<String> = statements
        .iter()
        .map(|one| format!("{}:{} {}", one.line, one.column, one.reached))
        .collect();
    let wanted =
        ["3:3 true", "4:3 true", "4:25 true", "5:3 true", "5:17 false", "5:31 false", "6:3 true"];
    assert_eq!(shown, wanted);
}
