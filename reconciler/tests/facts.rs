//! What is known of images from outside, in a world of memory: who signed them, and when they were
//! built.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reconciler::engine::{Effect, Event, PolicyReading};
use reconciler::model::desired::{Declared, DesiredSet, Source, Spec};
use reconciler::model::ids::{ImageId, ImageName, Key};
use reconciler::model::observed::ObservedImage;
use reconciler::model::policies::{Origin, PolicySource, PolicySources, PolicyStanding};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::policy::{Bound, Level, Levels, PolicyBindingSpec};
use reconciler::model::spec::{
    ImageSource, ImageSpec, InstanceSpec, PublicKey, Pull, TrustedKey, Verify,
};
use reconciler::model::time::Timestamp;
use reconciler::policy::Policies;
use reconciler::policy::facts::Signed;
use reconciler::policy::library::Library;
use reconciler::testing::{World, instance};

const SIGNED: &str = "// @id SIGNED @version 1.0.0 @title signed @level hard\n\
                      // @match kinds=Instance\n\
                      fn check(o) { require(\"ci\" in facts(o.image).signers, \"nobody signed it\"); }\n";

const YOUNG: &str = "// @id SIGNED @version 1.0.0 @title young @level hard\n\
                     // @match kinds=Instance\n\
                     fn check(o) { require(facts(o.image).created > now() - days(30), \"it is old\"); }\n";

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "sha256:ffff456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const DAY: Duration = Duration::from_secs(86_400);

fn world(text: &str) -> World {
    let source = PolicySource::new(Origin::Own, "signed/policy.rhai", text);
    let sources = PolicySources { policies: vec![source], profiles: BTreeMap::new() };
    let library = Library::new(&sources).unwrap();
    let mut world = World::new(&["n1"]);
    world.send(Event::Policies(Box::new(PolicyReading {
        policies: Some(Arc::new(Policies::of(Arc::new(library)))),
        standing: PolicyStanding { count: 1, digest: Some(sources.digest()), broken: None },
        texts: BTreeMap::new(),
    })));
    world
}

fn declared<S: Spec>(spec: S) -> Declared<S> {
    Declared::new(spec, Source { file: Arc::from("set.yaml"), line: 1, column: 1 })
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// An instance of an Image that trusts one key.
fn set(digest: &str, bound: bool) -> DesiredSet {
    let mut desired = DesiredSet::default();
    let trusted =
        TrustedKey { name: "ci".to_owned(), key: PublicKey::Ed25519("07".repeat(32).into()) };
    let image = ImageSpec {
        source: ImageSource::Registry(format!("registry.example/web@{digest}").into()),
        pull: Pull::Missing,
        verify: Some(Verify { keys: vec![trusted], signatures: None }),
    };
    desired.images.insert(key("shop/web"), declared(image));
    let name = ImageName::Declared(key("shop/web"));
    let spec = InstanceSpec { image: name, ..instance("web:1") };
    desired.instances.insert(key("shop/web"), declared(spec));
    let binding = PolicyBindingSpec {
        bound: Bound::Policy("SIGNED".parse().unwrap()),
        level: Some(Level::Hard),
        levels: Levels::default(),
        params: BTreeMap::new(),
        matches: Sparse::default(),
    };
    if bound {
        desired.bindings.insert(key("shop/signed"), declared(binding));
    }
    desired
}

fn signed(digest: &str, signers: &[&str]) -> Signed {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Signed { digest: digest.to_owned(), signers: texts(signers), fingerprints: texts(signers) }
}

/// Has the node hold the images, built at that time.
fn hold(world: &mut World, created: Option<Timestamp>) {
    world.disturb(&"n1".parse().unwrap(), |_, engine| {
        for (id, digest) in [("sha256:aa", DIGEST), ("sha256:bb", OTHER)] {
            let digests = vec![format!("registry.example/web@{digest}").into()];
            let image = ObservedImage { digests, created, ..ObservedImage::default() };
            engine.images.insert(ImageId(id.into()), image);
        }
    });
}

fn running(world: &World) -> usize {
    world.engine.snapshot().containers.len()
}

#[test]
fn what_nobody_is_known_to_have_signed_does_not_come() {
    let mut world = world(SIGNED);
    hold(&mut world, None);
    world.declare_set(set(DIGEST, true));
    world.run().unwrap();
    assert_eq!(running(&world), 0, "nobody knows");
    assert!(world.engine.is_oriented());
    world.signed.insert(key("shop/web"), signed(DIGEST, &[]));
    world.run_for(Duration::from_secs(45)).unwrap();
    assert_eq!(running(&world), 0, "nobody signed it");
    // A signature that comes later is found.
    world.signed.insert(key("shop/web"), signed(DIGEST, &["ci"]));
    world.run_for(Duration::from_secs(90)).unwrap();
    assert_eq!(running(&world), 1);
    assert_eq!(world.faults, [""; 0]);
}

#[test]
fn an_answer_counts_for_what_was_asked() {
    let mut world = world(SIGNED);
    hold(&mut world, None);
    // It is about other content than what is declared.
    world.signed.insert(key("shop/web"), signed(OTHER, &["ci"]));
    world.declare_set(set(DIGEST, true));
    world.run().unwrap();
    assert_eq!(running(&world), 0);
    // It is about another declaration, whose answer comes late.
    let late = Event::WhoSigned {
        image: key("shop/web"),
        declared: declared((*set(OTHER, true).images[&key("shop/web")].spec).clone()).digest,
        result: Ok(signed(DIGEST, &["ci"])),
    };
    world.send(late);
    world.run().unwrap();
    assert_eq!(running(&world), 0);
    // A new declaration is asked about anew.
    world.declare_set(set(OTHER, true));
    world.run().unwrap();
    assert_eq!(running(&world), 1);
    assert_eq!(world.faults, [""; 0]);
}

#[test]
fn nobody_is_asked_for_what_no_policy_looks_at() {
    let mut world = world(SIGNED);
    hold(&mut world, None);
    world.declare_set(set(DIGEST, false));
    world.run().unwrap();
    assert_eq!(running(&world), 1);
    let effects = world.engine.handle(world.now, Event::Wake);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::WhoSigned(_))), "{effects:?}");
}

#[test]
fn nodes_say_when_images_were_built() {
    for (age, comes) in [(10, 1), (40, 0)] {
        let mut world = world(YOUNG);
        world.now = Timestamp(0) + DAY * 20_000;
        let created = Some(world.now - DAY * age);
        world.declare_set(set(DIGEST, true));
        world.run().unwrap();
        assert_eq!(running(&world), 0, "no node holds it, so nobody knows");
        hold(&mut world, created);
        world.run_for(Duration::from_secs(90)).unwrap();
        assert_eq!(running(&world), comes, "{age} days old");
        assert_eq!(world.faults, [""; 0]);
    }
}
