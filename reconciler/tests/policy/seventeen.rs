//! A rule set as operators have it: seventeen checks of each container.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::ids::ImageName;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::InstanceSpec;
use reconciler::policy::outcome::Outcome;
use reconciler::policy::script::{Program, Script, Surroundings};

use crate::lab::{line, object_of, spec};

fn program() -> Program {
    let script = Script::compile(include_str!("seventeen.rhai")).expect("a good script");
    Program::new(&Arc::new(script), &BTreeMap::new()).expect("parameters")
}

/// An instance that keeps all of them.
fn compliant() -> InstanceSpec {
    let mut spec = spec();
    spec.image = ImageName::Reference(Arc::from("registry.example/web@sha256:00"));
    spec.resources.pids = Some(100);
    spec.ports[0].address = Some("127.0.0.1".to_owned());
    let mut more = (*spec.more).clone();
    let mut security = (*more.security).clone();
    security.read_only_root = true;
    security.no_new_privileges = true;
    more.security = Sparse::new(security);
    spec.more = Sparse::new(more);
    spec
}

#[test]
fn seventeen_checks_pass_and_fail() {
    let program = program();
    let around = Surroundings::default();
    let judged = program.check(&object_of(compliant()), &around);
    assert_eq!(line(&judged), "pass, nothing asserted");
    assert!((150..400).contains(&judged.operations), "{}", judged.operations);

    let mut spec = spec();
    spec.resources = Default::default();
    spec.more = Sparse::default();
    let judged = program.check(&object_of(spec), &around);
    let Outcome::Findings(findings) = &judged.outcome else { panic!("{}", line(&judged)) };
    let messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "image is not pinned",
            "published everywhere",
            "no memory limit",
            "no cpu limit",
            "no pids limit",
            "writable root",
            "may gain privileges",
            "runs as root",
        ]
    );
    assert_eq!(findings[0].line, Some(10));
}
