//! What scripts see of objects.

use std::sync::Arc;

use reconciler::policy::script::Surroundings;
use reconciler::policy::view::Running;

use crate::lab::{compile, ending, line, object_of, refused, spec};

#[test]
fn fields_have_their_names_of_yaml_and_their_types() {
    for condition in [
        "o.kind == \"Instance\"",
        "o.metadata.name == \"web\"",
        "o.metadata.project == \"shop\"",
        "\"tier\" in o.metadata.labels",
        "!(\"owner\" in o.metadata.labels)",
        "o.metadata.labels.tier == \"front\"",
        "o.metadata.labels[\"tier\"] == \"front\"",
        "o.metadata.labels.get(\"tier\") == \"front\"",
        "o.metadata.labels.keys() == [\"tier\"]",
        "o.image.ref == \"registry.example/shop/web:1.4\"",
        "o.image.registry == \"registry.example\"",
        "o.image.repository == \"shop/web\"",
        "o.image.tag == \"1.4\"",
        "!has(o.image.digest)",
        "!o.image.pinned",
        "o.env.get(\"MODE\") == \"production\"",
        "o.ports.len() == 1",
        "o.ports[0].container == 8080",
        "o.ports[0].host.last == 8082",
        "(o.ports[0].address ?? \"0.0.0.0\") == \"0.0.0.0\"",
        "o.volumes[0].bind == \"/srv/data\"",
        "o.volumes[0].kind == \"bind\"",
        "o.volumes[0].readOnly",
        "!has(o.volumes[0].volume)",
        "o.restart == \"always\"",
        "o.security.capAdd == [\"CHOWN\"]",
        "\"CHOWN\" in o.security.capAdd",
        "!o.security.privileged",
        "o.update.order == \"stop-first\"",
        "o.resources.memory * 2 == memory(\"512Mi\")",
        "percent(o.resources.memory, 50) == memory(\"128Mi\")",
        "glob_any([\"registry.example/*\"], o.image.ref)",
        "matches(\"^registry\\\\.\", o.image.ref)",
        "semver(\"1.2.3\") < semver(\"1.10.0\")",
        "semver_in(semver(\"1.2.3\"), \"^1.2\")",
        "cidr_contains(\"10.0.0.0/8\", \"10.1.2.3\")",
        "now() - days(1) < now()",
    ] {
        assert_eq!(ending(&format!("require({condition}, \"x\");")), "pass", "{condition}");
    }
}

#[test]
fn what_runs_is_there_where_somebody_looked() {
    assert_eq!(ending("require(!has(o.running), \"x\");"), "pass");
    assert!(ending("require(o.running.privileged, \"x\");").contains("`running` is absent"));
    let declared = object_of(spec());
    let running = Running {
        replica: Some(1),
        image: Some("sha256:ab".to_owned()),
        privileged: Some(false),
        changes: Some(Vec::new()),
        ports: Some(vec!["8081:8080/tcp".to_owned()]),
        ..Running::default()
    };
    let found = Arc::new(declared.seen_running(Arc::new(running.clone())));
    let other = declared.seen_running(Arc::new(Running { privileged: Some(true), ..running }));
    assert_ne!(declared.digest(), found.digest());
    assert_ne!(other.digest(), found.digest());
    let ending = |body: &str| {
        let program = compile(&format!("fn check(o) {{ {body} }}"));
        line(&program.check(&found, &Surroundings::default()))
    };
    for condition in [
        "has(o.running)",
        "o.running.replica == 1",
        "o.running.image == \"sha256:ab\"",
        "!o.running.privileged",
        "o.running.changes.is_empty()",
        "o.running.ports == [\"8081:8080/tcp\"]",
        "!has(o.running.processes)",
        "o.replicas == 2",
    ] {
        assert_eq!(ending(&format!("require({condition}, \"x\");")), "pass", "{condition}");
    }
    assert!(
        ending("require(o.running.processes.is_empty(), \"x\");").contains("running.processes")
    );
    assert!(
        refused("fn check(o) { require(o.running.imgae == \"\", \"x\"); }")
            .contains("did you mean")
    );
}
