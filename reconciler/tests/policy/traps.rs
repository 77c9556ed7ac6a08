//! What makes policies fail open with engines that are used as they come. Each of them ends in an
//! error here.

use crate::lab::{ending, refused};

/// The condition is wrong, so it is an error: it neither holds nor fails to hold.
fn errs(condition: &str, says: &str) {
    let end = ending(&format!("if {condition} {{ deny(\"no\"); }}"));
    assert!(end.starts_with("type error: "), "{condition}: {end}");
    assert!(end.contains(says), "{condition}: {end}");
}

#[test]
fn an_unknown_field_is_an_error_with_its_path() {
    // What is handed to a function is not followed when a script is read.
    let says = |body: &str, expected: &str| {
        let program = crate::lab::compile(body);
        let judged = program.check(&crate::lab::object_of(crate::lab::spec()), &Default::default());
        assert_eq!(crate::lab::line(&judged), expected);
    };
    says(
        "fn many(limits) { limits.memroy > 5 } fn check(o) { if many(o.resources) { deny(\"x\"); } }",
        "type error: unknown field `spec.resources.memroy`; did you mean `memory`? (line 2)",
    );
    says(
        "fn it(o) { o.wholly_different } fn check(o) { if it(o.stop) { deny(\"x\"); } }",
        "type error: unknown field `spec.stop.wholly_different`; there are signal, timeout (line 2)",
    );
}

#[test]
fn what_is_wrong_is_mostly_told_before_anything_runs() {
    for (body, says) in [
        ("o.get_rid_of", "unknown field `o.get_rid_of`; there are "),
        (
            "o.resources.memroy",
            "unknown field `o.resources.memroy`; did you mean `memory`? (line 3)",
        ),
        ("o.metadata.lables", "unknown field `o.metadata.lables`; did you mean `labels`?"),
        ("o.ports[0].contaner", "unknown field `o.ports[…].contaner`; did you mean `container`?"),
        ("let s = o.security; s.priviledged", "unknown field `s.priviledged`; did you mean"),
        ("for p in o.ports { p.prot; }", "unknown field `p.prot`"),
        ("for p in list(o.ports) { p.prot; }", "unknown field `p.prot`"),
        ("`${o.imagee.ref}`", "unknown field `o.imagee`; did you mean `image`?"),
        ("o.image.rev", "unknown field `o.image.rev`; did you mean `ref`?"),
        ("o.replicas.count", "unknown field `o.replicas.count`: int has none"),
        ("has(o.helth)", "unknown field `o.helth`; did you mean `health`?"),
        ("params.allow", "unknown parameter `allow`: the header has no `@param allow`"),
        ("deyn(\"x\")", "there is no function `deyn`; did you mean `deny`?"),
        ("deny(\"x\").wants(1)", "there is no function `wants`; did you mean `want`?"),
        ("let check = 1; sleep(1)", "`sleep` is not of the language"),
        ("let params = 1", "`params` is there already"),
        ("for params in [1] { }", "`params` is there already"),
    ] {
        let refused = refused(&format!("fn check(o) {{\n {body}; deny(\"x\"); }}"));
        assert!(refused.contains(says), "{body}: {refused}");
    }
    for (text, says) in [
        ("fn check(o) { o.image; }", "the script says nothing"),
        ("let x = 1; fn check(o) { deny(\"x\"); }", "only functions may stand outside"),
        ("fn chekc(o) { deny(\"x\"); }", "the script is never entered"),
        ("fn check(o, p) { deny(\"x\"); }", "`check` takes one thing, and here it takes 2"),
        ("fn deny(x) { } fn check(o) { deny(\"x\"); }", "`deny` hides what is there already"),
        ("fn check(o) { deny(\"x\");", "this function has no end"),
        ("fn check_set(s) { for i in s.instances() { deny(i.imge); } }", "did you mean `image`?"),
        ("fn check_action(a) { deny(a.taget); }", "did you mean `target`?"),
        ("fn check_action(a) { deny(a.target.imge); }", "did you mean `image`?"),
        ("fn check_drift(d) { report(d.feilds); }", "did you mean `fields`?"),
    ] {
        let refused = refused(text);
        assert!(refused.contains(says), "{text}: {refused}");
    }
}

#[test]
fn headers_are_checked() {
    let body = "fn check(o) { deny(\"x\"); }";
    for (header, says) in [
        ("", "the header has no `@id`"),
        ("// @id A B @version 1.0.0 @title t @level hard", "`A B`: the id of a policy has"),
        ("// @id A @version 1 @title t @level hard", "the version is none"),
        ("// @id A @version 1.0.0 @title t @level strict", "unknown level `strict`; there are off"),
        ("// @id A @version 1.0.0 @title t @level hard @sev x", "unknown tag `@sev`"),
        ("// @id A @version 1.0.0 @title t @level hard @id B", "`@id` twice"),
        (
            "// @id A @version 1.0.0 @title t @level hard\n// @match kinds=Instanc",
            "unknown kind `Instanc`; there are Instance, Image",
        ),
        (
            "// @id A @version 1.0.0 @title t @level hard\n// @match actions=destroy",
            "unknown action `destroy`; there are create",
        ),
        (
            "// @id A @version 1.0.0 @title t @level hard\n// @match nodes=a",
            "unknown condition `nodes`",
        ),
        (
            "// @id A @version 1.0.0 @title t @level hard\n// @param most: number = 1",
            "unknown type `number` of `most`; there are string, int",
        ),
        (
            "// @id A @version 1.0.0 @title t @level hard\n// @param most: int = \"1\"",
            "the default of `most`: expected int, found \"1\" (line 2)",
        ),
        (
            "// @id A @version 1.0.0 @title t @level hard\n// @param Most: int",
            "`Most` is no name for a parameter",
        ),
    ] {
        let wrong = reconciler::policy::script::Script::compile(&format!("{header}\n{body}"))
            .expect_err(header);
        let lines: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        assert!(lines.join("\n").contains(says), "{header}: {lines:?}");
    }
}

#[test]
fn what_is_absent_cannot_be_compared() {
    for condition in [
        "o.resources.pids > 5",
        "5 < o.resources.pids",
        "o.resources.pids == 5",
        "o.resources.pids != 5",
        "o.resources.pids + 1 > 5",
        "-1 * o.resources.pids > 5",
        "!o.resources.pids",
        "o.resources.pids in [1, 2]",
        "o.resources.pids in []",
        "o.resources.pids.len() > 0",
    ] {
        errs(condition, "`spec.resources.pids` is absent");
    }
    errs("o.health.interval > duration(\"10s\")", "`spec.health` is absent");
    errs("o.metadata.labels.get(\"owner\") == \"me\"", "`metadata.labels[\"owner\"]` is absent");
    errs("o.metadata.labels[\"owner\"] == \"me\"", "`metadata.labels` has no \"owner\"");
    let end = ending("for x in o.command { deny(x); }");
    assert_eq!(
        end,
        "type error: `spec.command` is absent: ask with `has(…)` first, or give a value for it \
         with `??` (line 2)"
    );
    let end = ending("if o.init { deny(\"no\"); }");
    assert!(end.starts_with("type error: expected bool"), "{end}");
    assert_eq!(ending("if o.init ?? false { deny(\"no\"); }"), "pass, nothing asserted");
    assert_eq!(ending("require(has(o.resources.memory), \"m\");"), "pass");
    assert_eq!(ending("require(has(o.resources.pids), \"no limit\");"), "deny: no limit");
    assert_eq!(ending("for x in list(o.command) { deny(x); }"), "pass, nothing asserted");
}

#[test]
fn what_is_not_alike_cannot_be_compared() {
    for condition in [
        "\"500m\" > 2",
        "o.replicas > \"2\"",
        "o.replicas == \"2\"",
        "o.replicas != \"2\"",
        "o.resources.memory > 5",
        "o.resources.memory == \"256Mi\"",
        "o.resources.memory > cpus(\"1\")",
        "o.resources.cpus < \"1\"",
        "o.stop.timeout == \"10s\"",
        "o.security.privileged == \"true\"",
        "o.security == \"true\"",
        "o.image == \"web\"",
        "() > 5",
        "() == ()",
        "o.security.capAdd == \"CHOWN\"",
        "2 in o.security.capAdd",
    ] {
        errs(condition, "");
    }
    errs("o.resources.memory > 5", "write memory(\"256Mi\")");
    assert_eq!(ending("require(o.resources.memory == memory(\"256Mi\"), \"m\");"), "pass");
    assert_eq!(ending("require(o.resources.cpus < cpus(\"1\"), \"c\");"), "pass");
    assert_eq!(ending("require(o.stop.timeout >= duration(\"10s\"), \"s\");"), "pass");
}

#[test]
fn only_truth_values_are_conditions() {
    for body in [
        "if o.replicas { deny(\"no\"); }",
        "if o.security.user && true { deny(\"no\"); }",
        "require(o.replicas, \"no\");",
    ] {
        let end = ending(body);
        assert!(end.starts_with("type error: "), "{body}: {end}");
    }
}

#[test]
fn nothing_is_folded_into_a_script() {
    // An engine that optimises reads values while it compiles, and finds nothing there.
    assert_eq!(
        ending("if params == 7 { deny(\"no\"); }"),
        "type error: `==` cannot take parameters and int together (line 2)"
    );
}

#[test]
fn what_hides_or_escapes_is_not_of_the_language() {
    for body in [
        "fn check(o) { eval(\"1\"); deny(\"x\"); }",
        "import \"/etc/passwd\" as p; fn check(o) { deny(\"x\"); }",
        "fn check(o) { try { deny(o.x); } catch { } }",
        "fn check(o) { switch o.restart { \"always\" => deny(\"x\"), _ => {} } }",
        "fn check(o) { let f = Fn(\"deny\"); f.call(\"x\"); }",
        "fn check(o) { let f = |x| deny(x); }",
        "fn check(o) { let o = 1; deny(\"x\"); }",
        "fn check(o) { deny(undefined); }",
        "fn check(o) { if o?.image { deny(\"x\"); } }",
        "fn check(o) { if 1.5 > 1 { deny(\"x\"); } }",
    ] {
        refused(body);
    }
}

#[test]
fn there_is_no_clock_and_no_way_out() {
    for call in ["sleep(1)", "timestamp()", "print(\"x\")", "open_file(\"/etc/passwd\")", "exit()"]
    {
        let text = format!("fn check(o) {{ {call}; deny(\"x\"); }}");
        refused(&text);
    }
}

#[test]
fn a_returned_value_is_an_error() {
    assert_eq!(
        ending("require(true, \"\"); false"),
        "bad return error: `check` returned bool: what counts is what it denies"
    );
    assert_eq!(ending("require(true, \"\")"), "pass");
}

#[test]
fn numbers_never_become_something_else() {
    let mut spec = crate::lab::spec();
    spec.resources.pids = Some(u64::MAX);
    let program = crate::lab::compile("fn check(o) { if o.resources.pids > 5 { deny(\"no\"); } }");
    let judged = program.check(&crate::lab::object_of(spec), &Default::default());
    assert_eq!(
        crate::lab::line(&judged),
        "limit error: `spec.resources.pids` is 18446744073709551615, and scripts count to 2^63 - 1 \
         (line 2)"
    );
    let end = ending("let x = 9223372036854775807; if x + 1 > 0 { deny(\"no\"); }");
    assert_eq!(end, "runtime error: this cannot be calculated: it is out of range (line 2)");
}

#[test]
fn one_run_shows_all_findings_with_what_is_said_of_them() {
    let end = ending(
        "deny(\"a\").at(\"spec.image\").observed(o.image).want(\"b\").fix(\"do\"); warn(\"w\"); \
         info(\"i\"); require(o.replicas == 2, \"r\").at(\"x\"); require(o.replicas == 3, \"s\");",
    );
    assert_eq!(
        end,
        "deny: a (spec.image is registry.example/shop/web:1.4); allowed: b; do | warn: w | info: i \
         | deny: s"
    );
}
