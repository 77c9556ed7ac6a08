//! Bindings, waivers, and what policies go by in other specs.

use std::collections::BTreeMap;

use reconciler::model::desired::{Declared, Spec};
use reconciler::model::policies::{Origin, Profile, ProfileMember};
use reconciler::model::spec::policy::{Param, Projects};
use reconciler::model::spec::{ImageSpec, InstanceSpec, PublicKey};
use reconciler::policy::params::{ParamKind, ParamSpec};

use super::super::{Catalogue, News};
use super::{Specs, instance, messages};
use crate::hint::Hint;

const BINDING: &str = "apiVersion: windlass/v1\nkind: PolicyBinding\nmetadata: { name: b }\nspec: ";
const WAIVER: &str = "apiVersion: windlass/v1\nkind: Waiver\nmetadata: { name: w }\nspec: ";

fn catalogue() -> Catalogue {
    let id = |text: &str| text.parse().unwrap();
    let days = ParamSpec { kind: ParamKind::Int, default: None };
    let allow = ParamSpec { kind: ParamKind::Texts, default: Some("[]".into()) };
    let params = [("days", days), ("allow", allow)].map(|(name, spec)| (name.to_owned(), spec));
    let member = |name: &str, params: &[(&str, Param)]| ProfileMember {
        policy: id(name),
        level: None,
        params: params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    };
    let profile = |days: &[(&str, Param)]| Profile {
        origin: Origin::BuiltIn,
        members: vec![member("SUP-AGE", days), member("CIS-5.5", &[])],
    };
    Catalogue {
        policies: [(id("SUP-AGE"), params.into()), (id("CIS-5.5"), BTreeMap::new())].into(),
        profiles: [
            (id("baseline"), profile(&[("days", Param::Integer(90))])),
            (id("bare"), profile(&[])),
        ]
        .into(),
    }
}

/// What is said of one spec, by who knows which policies there are.
fn said(text: &str) -> Vec<String> {
    let mut specs = Specs::new(&[("a.yaml", text)]);
    let (folder, loader) = (specs.folder, specs.loader);
    specs = Specs { folder, loader: loader.knowing(catalogue()) };
    let reading = specs.read();
    let label = |one: &super::super::Diagnostic| {
        let message = one.message.split(" in ").next().unwrap_or_default();
        format!("{message}: {}", one.place.label.as_deref().unwrap_or_default())
    };
    reading.diagnostics.iter().map(label).collect()
}

#[test]
fn a_policy_that_is_named_has_to_be_there() {
    let none: [&str; 0] = [];
    let binding = |spec: &str| said(&format!("{BINDING}{spec}\n"));
    assert_eq!(binding("{ policy: SUP-AGE, params: { days: 3, allow: [a] } }"), none);
    assert_eq!(binding("{ profile: baseline, params: { days: 3 } }"), none);
    assert_eq!(binding("{ profile: baseline }"), none);
    assert_eq!(
        binding("{ policy: SUP-AEG }"),
        ["unknown policy `SUP-AEG`: did you mean `SUP-AGE`?"]
    );
    assert_eq!(
        binding("{ profile: gold }"),
        ["unknown profile `gold`: no profile of that name is loaded"]
    );
    assert_eq!(
        binding("{ policy: SUP-AGE, params: { day: 3, days: 3 } }"),
        ["unknown parameter `day`: did you mean `days`?"]
    );
    for bound in ["policy: SUP-AGE", "profile: bare"] {
        assert_eq!(
            binding(&format!("{{ {bound} }}")),
            ["missing parameter `days`: write params: { days: … }"]
        );
    }
    assert_eq!(
        binding("{ policy: CIS-5.5, params: { days: 3 } }"),
        ["unknown parameter `days`: it takes none"]
    );
    assert_eq!(
        binding("{ profile: baseline, params: { days: \"3\" } }"),
        ["invalid `params.days`: expected int, found \"3\""]
    );
    let waiver = |policy: &str| {
        let rest = "select: { name: a }, reason: b, expires: 2027-01-31";
        said(&format!("{WAIVER}{{ policy: {policy}, {rest} }}\n"))
    };
    assert_eq!(waiver("CIS-5.5"), none);
    assert_eq!(waiver("CIS-5.6"), ["unknown policy `CIS-5.6`: did you mean `CIS-5.5`?"]);
}

#[test]
fn who_does_not_know_the_policies_takes_any_name() {
    let mut specs = Specs::new(&[("a.yaml", &format!("{BINDING}{{ policy: MY-OWN }}\n"))]);
    assert_eq!(messages(&specs.read()), [""; 0]);
}

#[test]
fn an_edit_of_a_binding_is_told_alone_unless_it_names_something_else() {
    let mut specs = Specs::new(&[("web.yaml", &instance("web", "busybox"))]);
    let write = |specs: &Specs, spec: &str| {
        specs.write("b.yaml", &format!("{BINDING}{spec}\n"));
        Hint::Paths(vec![specs.path("b.yaml")])
    };
    write(&specs, "{ policy: CIS-5.5 }");
    assert!(matches!(specs.loader.news(&Hint::All), Some(News::All(_))));
    let hint = write(&specs, "{ policy: CIS-5.5, level: warn }");
    match specs.loader.news(&hint) {
        Some(News::Objects(change)) => assert_eq!(change.objects.bindings.len(), 1),
        other => panic!("{other:?}"),
    }
    let hint = write(&specs, "{ policy: CIS-5.6, level: warn }");
    assert!(matches!(specs.loader.news(&hint), Some(News::All(_))));
    let hint = write(&specs, "{ policy: CIS-5.6, match: { nodes: [gone] } }");
    match specs.loader.news(&hint) {
        Some(News::All(reading)) => {
            assert_eq!(
                messages(&reading),
                ["b.yaml:4: Node gone is not declared in PolicyBinding default/b"]
            );
            // What was bound stays bound.
            let binding = reading.specs.desired.bindings.values().next().unwrap();
            assert!(binding.stale.is_some());
            assert_eq!(binding.spec.matches.nodes, []);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn parameters_keep_their_types() {
    let spec =
        "{ policy: P, params: { a: 5, b: \"5\", c: 500m, d: true, e: [1, x], f: -3, g: 0.5 } }";
    let mut specs = Specs::new(&[("a.yaml", &format!("{BINDING}{spec}\n"))]);
    let reading = specs.read();
    assert_eq!(messages(&reading), [""; 0]);
    let binding = reading.specs.desired.bindings.values().next().unwrap();
    let text = |text: &str| Param::Text(text.to_owned());
    let values: Vec<_> = binding.spec.params.values().cloned().collect();
    assert_eq!(
        values,
        [
            Param::Integer(5),
            text("5"),
            text("500m"),
            Param::Boolean(true),
            Param::List(vec!["1".to_owned(), "x".to_owned()]),
            Param::Integer(-3),
            text("0.5"),
        ]
    );
    assert_eq!(binding.spec.matches.projects, Projects::Own);
}

/// Cosign's own form of a key, and of what it prints of a signature.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1Gfg2Xk6qEzj+WNopN2OgLacEZ9w\n\
    tiwMdaRxXvis8CELJrHlL+LqiGP0PPeeXNTBJfJOfc5avY7CVE6TsSVjNw==\n\
    -----END PUBLIC KEY-----\n";
const SIGNATURES: &str =
    "{\"Base64Signature\":\"AAEC\",\"Payload\":\"e30=\",\"Cert\":null,\"Chain\":null}\n\n";

fn image(specs: &mut Specs) -> Declared<ImageSpec> {
    let reading = specs.read();
    assert_eq!(messages(&reading), [""; 0]);
    reading.specs.desired.images.values().next().unwrap().clone()
}

#[test]
fn keys_and_signatures_are_read_with_the_spec() {
    let head = "apiVersion: windlass/v1\nkind: Image\nmetadata: { name: a }\nspec:\n  source: { registry: \"r.example/a:1\" }\n";
    let verify = "  verify: { keys: [ { name: release, file: cosign.pub } ], signatures: a.sig }\n";
    let mut specs = Specs::new(&[("a.yaml", head), ("cosign.pub", KEY), ("a.sig", SIGNATURES)]);
    let plain = image(&mut specs);
    assert_eq!(plain.basis, plain.digest);
    specs.write("a.yaml", &format!("{head}{verify}"));
    let signed = image(&mut specs);
    let found = signed.spec.verify.as_ref().unwrap();
    let key = &found.keys[0].key;
    assert!(matches!(key, PublicKey::EcdsaP256(_)), "{key:?}");
    assert_eq!((key.bytes().len(), key.bytes()[..3].to_vec()), (65, vec![0x04, 0xd4, 0x67]));
    let signatures = &found.signatures.as_ref().unwrap().signatures;
    assert_eq!((&*signatures[0].payload, &*signatures[0].signature), ("e30=", "AAEC"));
    // Another generation, but the same content: a tag is not resolved anew for a key.
    assert_ne!(signed.digest, plain.digest);
    assert_eq!(signed.basis, plain.basis);
    // Another key in the file is another spec.
    specs.write("cosign.pub", &KEY.replace("MFkw", "\nMFkw").replace("1Gfg", "1Gfh"));
    assert_ne!(image(&mut specs).digest, signed.digest);
}

#[test]
fn what_policies_go_by_is_no_part_of_a_revision() {
    let text = instance("web", "busybox");
    let more = "  requests: { cpus: 100m, memory: 16Mi }\n  protected: true\n";
    let mut specs = Specs::new(&[("web.yaml", &text)]);
    let of = |specs: &mut Specs| -> Declared<InstanceSpec> {
        let reading = specs.read();
        assert_eq!(messages(&reading), [""; 0]);
        reading.specs.desired.instances.values().next().unwrap().clone()
    };
    let before = of(&mut specs);
    specs.write("web.yaml", &format!("{text}{more}"));
    let after = of(&mut specs);
    assert!(after.spec.more.protected && !after.spec.more.requests.is_empty());
    assert_eq!(after.basis, before.basis);
    assert_ne!(after.digest, before.digest);
}

/// A field that is not said leaves no trace in a digest, or a new version of windlass would find
/// another generation in every spec.
#[test]
fn what_is_not_said_leaves_no_trace() {
    let text = "apiVersion: windlass/v1\nkind: Volume\nmetadata: { name: a }\n---\n\
                apiVersion: windlass/v1\nkind: Network\nmetadata: { name: a }\n---\n\
                apiVersion: windlass/v1\nkind: Image\nmetadata: { name: a }\n\
                spec: { source: { registry: r.example/a } }\n---\n";
    let text = format!("{text}{}", instance("web", "busybox"));
    let mut specs = Specs::new(&[("a.yaml", &text)]);
    let desired = specs.read().specs.desired;
    fn form<K, S: Spec>(all: &BTreeMap<K, Declared<S>>) -> String {
        serde_json::to_string(&*all.values().next().unwrap().spec).unwrap()
    }
    let forms = [
        form(&desired.volumes),
        form(&desired.networks),
        form(&desired.images),
        form(&desired.instances),
    ];
    for form in forms {
        for field in ["protected", "requests", "verify"] {
            assert!(!form.contains(field), "{form}");
        }
    }
}
