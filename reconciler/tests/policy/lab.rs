//! Scripts and objects to try them on.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::desired::{Declared, Source};
use reconciler::model::ids::{ImageName, Key};
use reconciler::model::quantity::{Bytes, Cpus};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{
    InstanceSpec, More, Mount, MountSource, Port, PortRange, Power, Protocol, Resources, Restart,
    Security, Stop,
};
use reconciler::policy::outcome::{Finding, Judgement, Outcome};
use reconciler::policy::script::{Program, Script, Surroundings};
use reconciler::policy::view::Object;

/// A header that asks about everything.
pub(crate) const HEADER: &str = "// @id T-1 @version 1.0.0 @title a rule @level hard\n";

/// Where objects of tests stand.
pub(crate) fn source() -> Source {
    Source { file: Arc::from("shop.yaml"), line: 1, column: 1 }
}

/// The spec of an instance that has a bit of everything.
pub(crate) fn spec() -> InstanceSpec {
    let mut spec = InstanceSpec {
        image: ImageName::Reference(Arc::from("registry.example/shop/web:1.4")),
        resources: Resources {
            cpus: Some(Cpus(500_000_000)),
            memory: Some(Bytes(256 << 20)),
            ..Resources::default()
        },
        flavor: None,
        replicas: 2,
        power: Power::Running,
        command: None,
        args: None,
        env: BTreeMap::from([("MODE".to_owned(), "production".to_owned())]),
        ports: vec![Port {
            container: 8080,
            protocol: Protocol::Tcp,
            host: Some(PortRange { first: 8080, last: 8082 }),
            address: None,
        }],
        volumes: vec![Mount {
            source: MountSource::Bind("/srv/data".to_owned()),
            target: "/data".to_owned(),
            read_only: true,
            shared: false,
        }],
        restart: Restart::Always,
        health: None,
        stop: Stop { signal: None, timeout: reconciler::model::quantity::Span::seconds(10) },
        labels: BTreeMap::new(),
        more: Sparse::default(),
    };
    let security = Security {
        user: Some("app".to_owned()),
        cap_add: ["CHOWN".to_owned()].into(),
        ..Security::default()
    };
    spec.more = Sparse::new(More { security: Sparse::new(security), ..More::default() });
    spec
}

/// An object of that spec.
pub(crate) fn object_of(spec: InstanceSpec) -> Arc<Object> {
    let mut declared = Declared::new(spec, source());
    declared.labels.insert("tier".to_owned(), "front".to_owned());
    let key: Key = "shop/web".parse().expect("a key");
    Arc::new(Object::instance(&key, &declared, None))
}

/// Compiles a script with the usual header.
pub(crate) fn compile(body: &str) -> Program {
    let text = format!("{HEADER}{body}");
    match Script::compile(&text) {
        Ok(script) => Program::new(&Arc::new(script), &BTreeMap::new()).expect("parameters"),
        Err(wrong) => panic!("{body}: {wrong:?}"),
    }
}

/// What is said of a script that is refused.
pub(crate) fn refused(body: &str) -> String {
    let text = format!("{HEADER}{body}");
    match Script::compile(&text) {
        Ok(_) => panic!("this was accepted: {body}"),
        Err(wrong) => wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

/// Runs `check` with that body about the usual object.
pub(crate) fn check(body: &str) -> Judgement {
    compile(&format!("fn check(o) {{ {body} }}"))
        .check(&object_of(spec()), &Surroundings::default())
}

/// How that ends, in one line.
pub(crate) fn ending(body: &str) -> String {
    line(&check(body))
}

/// A judgement in one line.
pub(crate) fn line(judgement: &Judgement) -> String {
    match &judgement.outcome {
        Outcome::Pass { asserted: true } => "pass".to_owned(),
        Outcome::Pass { asserted: false } => "pass, nothing asserted".to_owned(),
        Outcome::Findings(findings) => findings.iter().map(finding).collect::<Vec<_>>().join(" | "),
        Outcome::Error(failure) => format!("{} error: {failure}", failure.kind.as_str()),
    }
}

fn finding(finding: &Finding) -> String {
    format!("{}: {finding}", finding.weight.as_str())
}
