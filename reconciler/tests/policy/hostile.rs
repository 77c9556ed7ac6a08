//! Scripts that mean harm end by operations and sizes, with an error; the engine goes on.

use std::sync::Arc;

use reconciler::policy::script::{Script, Surroundings, limits};

use crate::lab::{HEADER, compile, line, object_of, refused, spec};

#[test]
fn hostile_scripts_end_and_the_engine_goes_on() {
    let object = object_of(spec());
    let around = Surroundings::default();
    let good = compile("fn check(o) { require(o.replicas == 2, \"two\"); }");
    let cases = [
        ("an endless loop", "fn check(o) { loop { let x = 1; } deny(\"x\"); }"),
        ("an endless loop without a body", "fn check(o) { while true {} deny(\"x\"); }"),
        ("recursion", "fn f(n) { f(n + 1) } fn check(o) { f(0); deny(\"x\"); }"),
        ("two functions", "fn f(n) { g(n) } fn g(n) { f(n) } fn check(o) { f(0); deny(\"x\"); }"),
        ("a text that doubles", "fn check(o) { let s = \"x\"; loop { s += s; } deny(s); }"),
        ("a text of texts", "fn check(o) { let s = \"x\"; loop { s = `${s}${s}`; } deny(s); }"),
        ("a list that doubles", "fn check(o) { let l = [1]; loop { l = l + l; } deny(\"x\"); }"),
        ("a list that grows", "fn check(o) { let l = []; loop { l.push(1); } deny(\"x\"); }"),
        ("lists in lists", "fn check(o) { let l = [1]; loop { l = [l, l, l, l]; } deny(\"x\"); }"),
        (
            "copies of a list",
            "fn check(o) { let l = []; for i in 0..1000 { l.push(i); } loop { let m = l; } \
             deny(\"x\"); }",
        ),
        (
            "joined texts",
            "fn check(o) { let s = \"x\"; for i in 0..14 { s += s; } loop { let t = s + s; } \
             deny(\"x\"); }",
        ),
        (
            "a costly glob",
            "fn check(o) { let s = \"a\"; for i in 0..14 { s += s; } \
             loop { glob(\"*a*a*a*a*a*a*b\", s); } deny(\"x\"); }",
        ),
        (
            "a costly expression",
            "fn check(o) { let s = \"a\"; for i in 0..14 { s += s; } \
             loop { matches(\"(a*)*b\", s); } deny(\"x\"); }",
        ),
        ("floods", "fn check(o) { loop { deny(\"x\"); } }"),
        ("floods of patches", "fn check(o) { loop { set_default(\"spec.tty\", true); } }"),
        ("a long range", "fn check(o) { for i in 0..9000000000 { } deny(\"x\"); }"),
    ];
    for (what, body) in cases {
        let program = compile(body);
        let judged = program.check(&object, &around);
        let end = line(&judged);
        assert!(end.starts_with("limit error"), "{what}: {end}");
        assert!(judged.operations <= limits::OPERATIONS_MAX + 1, "{what}: {}", judged.operations);
        assert_eq!(line(&good.check(&object, &around)), "pass", "after {what}");
    }
}

#[test]
fn expressions_that_grow_when_compiled_are_errors() {
    let object = object_of(spec());
    let program =
        compile("fn check(o) { if matches(\"(a{1000}){1000}\", \"a\") { deny(\"x\"); } }");
    let end = line(&program.check(&object, &Surroundings::default()));
    assert!(end.starts_with("runtime error"), "{end}");
}

#[test]
fn texts_are_measured_before_they_are_parsed() {
    let text = format!("{HEADER}fn check(o) {{ deny(\"{}\"); }}", "x".repeat(10 << 20));
    let wrong = Script::compile(&text).expect_err("ten megabytes");
    assert!(wrong[0].to_string().contains("262144 at most"), "{wrong:?}");
    let deep = format!("fn check(o) {{ deny({}1{}); }}", "(".repeat(500), ")".repeat(500));
    refused(&deep);
    let many: String = (0..100).map(|n| format!("fn f{n}() {{}} ")).collect();
    refused(&format!("{many} fn check(o) {{ deny(\"x\"); }}"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "that it makes no difference is what is tested")]
fn runs_do_not_know_of_each_other() {
    let program = Arc::new(compile(
        "fn check(o) { let n = 0; for i in 0..100 { n += i; } require(n == 4950, \"sum\"); \
         deny(`${n} ${o.image.ref}`); }",
    ));
    let object = object_of(spec());
    let alone = program.check(&object, &Surroundings::default());
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (program, object) = (Arc::clone(&program), Arc::clone(&object));
            std::thread::spawn(move || {
                (0..50)
                    .map(|_| program.check(&object, &Surroundings::default()))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    for thread in threads {
        for judged in thread.join().expect("a thread") {
            assert_eq!(judged, alone);
        }
    }
}
