//! What scripts see of objects.

use crate::lab::ending;

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
