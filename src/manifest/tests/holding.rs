//! Last good versions: nothing that a user did not ask for makes an object vanish.

use std::collections::BTreeMap;

use reconciler::model::ids::ImageName;

use super::{Specs, instance, instances, keep, messages};

#[test]
fn a_broken_file_keeps_its_last_good_objects_across_a_restart() {
    let mut specs =
        Specs::new(&[("a.yaml", &instance("a", "busybox")), ("b.yaml", &instance("b", "busybox"))]);
    let mut texts = BTreeMap::new();
    let reading = specs.read();
    keep(&mut texts, &reading.specs);
    assert_eq!(instances(&reading.specs), "default/a default/b");
    assert_eq!(texts.len(), 2);

    specs.write("a.yaml", "kind: [");
    let reading = specs.read();
    assert_eq!(instances(&reading.specs), "default/a* default/b");
    assert!(reading.specs.broken["a.yaml"].last_good);
    assert!(reading.specs.texts.is_empty());

    specs.restart(&texts);
    let reading = specs.read();
    assert_eq!(instances(&reading.specs), "default/a* default/b");
    assert!(reading.specs.texts.is_empty());

    // Good again: it replaces all of its objects.
    specs.write("a.yaml", &instance("c", "busybox"));
    let reading = specs.read();
    assert_eq!(instances(&reading.specs), "default/b default/c");
    assert_eq!(reading.specs.texts.len(), 1);
}

#[test]
fn a_removed_file_is_a_removal_and_an_emptied_one_is_not() {
    let mut specs =
        Specs::new(&[("a.yaml", &instance("a", "busybox")), ("b.yaml", &instance("b", "busybox"))]);
    specs.read();
    specs.write("a.yaml", "");
    std::fs::remove_file(specs.path("b.yaml")).unwrap();
    let reading = specs.read();
    assert_eq!(instances(&reading.specs), "default/a*");
    assert_eq!(reading.specs.texts.len(), 1);
    assert!(reading.specs.texts["b.yaml"].is_none());
}

#[test]
fn an_object_in_two_files_is_an_error_in_both_and_the_first_stays() {
    let mut specs = Specs::new(&[("a.yaml", &instance("a", "busybox:1"))]);
    specs.read();
    specs.write("b.yaml", &instance("a", "busybox:2"));
    let reading = specs.read();
    assert_eq!(
        messages(&reading),
        [
            "a.yaml:3: Instance default/a is declared twice",
            "b.yaml:3: Instance default/a is declared twice",
        ]
    );
    let a = &reading.specs.desired.instances[&"a".parse().unwrap()];
    assert_eq!(a.spec.image, ImageName::Reference("busybox:1".into()));
    assert_eq!(a.stale, None, "what stands in its file is what is in force");
    assert!(reading.specs.broken["a.yaml"].last_good);
    assert!(!reading.specs.broken["b.yaml"].last_good);
}

#[test]
fn a_project_outlives_its_file_while_others_are_in_it() {
    let project = |name: &str, spec: &str| {
        format!(
            "apiVersion: windlass/v1\nkind: Project\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n"
        )
    };
    let mut specs = Specs::new(&[
        ("shop.yaml", &project("shop", "parent: team")),
        ("team.yaml", &project("team", "parent: firm")),
        ("firm.yaml", &project("firm", "quota: { instances: 2 }")),
    ]);
    assert!(messages(&specs.read()).is_empty());
    for file in ["team.yaml", "firm.yaml"] {
        std::fs::remove_file(specs.path(file)).unwrap();
    }
    let reading = specs.read();
    assert_eq!(messages(&reading), ["shop.yaml:4: Project team is not declared in Project shop"]);
    let lineage = reading.specs.desired.lineage(&"shop".parse().unwrap());
    assert_eq!(lineage.len(), 3, "no quota ends by a file that is gone");
    specs.write("shop.yaml", &project("shop", ""));
    let reading = specs.read();
    assert_eq!(reading.specs.desired.projects.len(), 1);
}

#[test]
fn a_declared_image_never_becomes_a_reference_by_itself() {
    let image = "apiVersion: windlass/v1\nkind: Image\nmetadata: { name: web }\nspec: { source: { registry: r.example/web } }\n";
    let mut specs = Specs::new(&[("i.yaml", image), ("a.yaml", &instance("a", "web"))]);
    let mut texts = BTreeMap::new();
    let declared = |reading: &super::Reading| {
        let a = &reading.specs.desired.instances[&"a".parse().unwrap()];
        a.spec.image == ImageName::Declared("web".parse().unwrap())
    };
    let reading = specs.read();
    keep(&mut texts, &reading.specs);
    assert!(declared(&reading));

    std::fs::remove_file(specs.path("i.yaml")).unwrap();
    for restart in [false, true] {
        if restart {
            specs.restart(&texts);
        }
        let reading = specs.read();
        keep(&mut texts, &reading.specs);
        assert_eq!(
            messages(&reading),
            ["a.yaml:5: Image default/web is no longer declared in Instance default/a"]
        );
        assert!(declared(&reading));
        let image = &reading.specs.desired.images[&"web".parse().unwrap()];
        assert!(image.stale.is_some(), "what is used outlives its file");
    }

    // Said explicitly, it becomes one.
    specs.write("a.yaml", &instance("a", "web:latest"));
    let reading = specs.read();
    keep(&mut texts, &reading.specs);
    assert!(!declared(&reading));
    assert!(reading.specs.desired.images.is_empty());
    assert_eq!(texts.len(), 1);
}

#[test]
fn a_change_waits_for_the_broken_file_that_it_needs() {
    let volume = "apiVersion: windlass/v1\nkind: Volume\nmetadata: { name: data }\n";
    let with = |target: &str| {
        format!("{}  volumes: [{{ volume: data, target: {target} }}]\n", instance("a", "busybox"))
    };
    let mut specs = Specs::new(&[("v.yaml", volume), ("a.yaml", &with("/one"))]);
    assert_eq!(messages(&specs.read()), [""; 0]);
    specs.write("v.yaml", &format!("{volume}spec: {{ retain: 7 }}\n"));
    let reading = specs.read();
    assert_eq!(instances(&reading.specs), "default/a", "it did not change, so it does not wait");
    specs.write("a.yaml", &with("/two"));
    let reading = specs.read();
    assert_eq!(instances(&reading.specs), "default/a*");
    let broken = &reading.specs.broken["a.yaml"];
    assert_eq!((broken.errors, broken.last_good), (0, true));
    assert_eq!(broken.first, "it needs Volume default/data, and v.yaml has errors");
    let a = &reading.specs.desired.instances[&"a".parse().unwrap()];
    assert_eq!(a.spec.volumes[0].target, "/one");
    specs.write("v.yaml", volume);
    let reading = specs.read();
    let a = &reading.specs.desired.instances[&"a".parse().unwrap()];
    assert_eq!(a.spec.volumes[0].target, "/two");
}

#[test]
fn an_image_that_may_stand_in_an_unreadable_file_is_waited_for() {
    let mut specs = Specs::new(&[
        ("i.yaml", "kind: Image\nmetadata: { name: web }\nspec: ]\n"),
        ("a.yaml", &instance("a", "web")),
    ]);
    let reading = specs.read();
    assert!(reading.specs.desired.is_empty());
    assert_eq!(reading.specs.broken["a.yaml"].errors, 0);
}

#[test]
fn an_image_file_counts_by_its_content() {
    let image = "apiVersion: windlass/v1\nkind: Image\nmetadata: { name: web }\nspec: { source: { archive: ./web.tar } }\n";
    let mut specs = Specs::new(&[("s/i.yaml", image), ("s/web.tar", "one")]);
    let mut texts = BTreeMap::new();
    let digest = |reading: &super::Reading| {
        reading.specs.desired.images[&"web".parse().unwrap()].digest.clone()
    };
    let reading = specs.read();
    keep(&mut texts, &reading.specs);
    let one = digest(&reading);
    specs.write("s/web.tar", "two");
    let hint = super::Hint::Paths(vec![specs.path("s/web.tar")]);
    let reading = specs.loader.read(&hint);
    keep(&mut texts, &reading.specs);
    let two = digest(&reading);
    assert_ne!(one, two);
    // Lost, it is an error, and what it was stays known over a restart.
    std::fs::remove_file(specs.path("s/web.tar")).unwrap();
    for restart in [false, true] {
        if restart {
            specs.restart(&texts);
        }
        let reading = specs.read();
        assert_eq!(
            messages(&reading),
            ["i.yaml:4: cannot read the file of `source.archive` in Image default/web"]
        );
        assert_eq!(digest(&reading), two);
        assert!(reading.specs.texts.is_empty());
    }
}
