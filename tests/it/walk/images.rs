//! Where images come from, and that what runs goes on until its successor can be made.

use std::process::Command;

use super::room::{LIVE, Loop, apply, apply_well, assert_settled, instance, one};
use crate::lab::{Engine, Registry, Sandbox, busybox_tar, docker};

/// An Instance of `image`.
fn of(image: &str) -> String {
    instance("web", LIVE).replace("image: busybox:latest", &format!("image: {image}"))
}

/// An Image of one source.
fn image(name: &str, source: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Image\nmetadata: {{ name: {name}, project: $project }}\nspec: {{ source: {{ {source} }} }}\n"
    )
}

#[test]
fn what_cannot_be_pulled_breaks_nothing() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("set.yaml", &(of("busybox:latest") + &*instance("other", LIVE)));
    apply_well(&room);
    let before = one(&room, "web", 0).life();
    // Nobody listens on port 1 of the engine's host.
    room.spec(
        "set.yaml",
        &(of("127.0.0.1:1/web:2") + &*instance("other", &format!("{LIVE}\nenv: {{ N: '2' }}"))),
    );
    let held = Loop::hold(&room);
    let outcome = held.apply();
    let trouble = outcome.troubles.iter().find(|trouble| trouble.object.ends_with("web/0"));
    let message = &trouble.expect("it cannot be pulled").message;
    assert!(message.contains("127.0.0.1:1/web:2") && message.contains("refused"), "{message}");
    assert_eq!(one(&room, "web", 0).life(), before, "the old one was touched");
    assert_eq!(one(&room, "other", 0).label("incarnation"), "2", "it waited for another");
    let status = held.status("web");
    assert_eq!((status.replicas_ready, status.replicas_wanted), (1, 1));
    assert!(status.replicas[0].message.as_deref().is_some_and(|text| text.contains("pull")));
    // Another image, and it rolls at once.
    docker(room.engine(), &["tag", "busybox:latest", &room.fill("$project/web:3")]);
    room.spec("set.yaml", &(of("$project/web:3") + "\n  env: { N: '3' }\n"));
    room.spec("other.yaml", &instance("other", &format!("{LIVE}\nenv: {{ N: '2' }}")));
    assert!(held.apply().is_good());
    assert_eq!(one(&room, "web", 0).label("incarnation"), "2");
    held.stop();
    assert_settled(&room);
}

fn a_tag_is_resolved_once(engine: &Engine) {
    let room = Sandbox::new(engine);
    let registry = Registry::start(room.engine());
    let first = registry.push("1", &format!("{}-a", room.project()));
    let declared = |tag: &str| {
        image("shop", &format!("registry: '{}'", registry.reference(tag))) + &*of("shop")
    };
    room.spec("set.yaml", &declared("1"));
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    let content = |held: &Loop| {
        let overview = held.overview();
        let shop = overview.images.iter().find(|image| image.name.ends_with("/shop"));
        shop.and_then(|image| image.content.clone()).expect("it is resolved")
    };
    assert_eq!(content(&held), first);
    let before = one(&room, "web", 0);
    // The tag moves: nothing happens, also for a windlass that starts anew.
    let moved = registry.push("1", &format!("{}-b", room.project()));
    assert_ne!(moved, first);
    assert_eq!(held.apply().steps, 0);
    held.stop();
    let held = Loop::hold(&room);
    assert_eq!(held.apply().steps, 0);
    assert_eq!(content(&held), first);
    // A replica that is made now is of the same content as its sister.
    room.spec("set.yaml", &(declared("1") + "  replicas: 2\n"));
    assert!(held.apply().is_good());
    let sister = one(&room, "web", 1);
    assert_eq!(sister.0["Image"], before.0["Image"]);
    assert_eq!(one(&room, "web", 0).life(), before.life());
    // Another declaration is resolved anew. While it is pushed the engine itself holds that tag for
    // a moment, without the registry's digest: nobody shall look then.
    held.stop();
    let second = registry.push("2", &format!("{}-c", room.project()));
    let held = Loop::hold(&room);
    room.spec("set.yaml", &(declared("2") + "  replicas: 2\n"));
    assert!(held.apply().is_good());
    assert_eq!(content(&held), second);
    for ordinal in 0..2 {
        let web = one(&room, "web", ordinal);
        assert_eq!(web.label("incarnation"), "2");
        assert_ne!(web.0["Image"], before.0["Image"]);
    }
    held.stop();
    assert_settled(&room);
}

#[test]
fn a_tag_is_resolved_once_on_20_10() {
    a_tag_is_resolved_once(engine!(V20_10));
}

#[test]
fn a_tag_is_resolved_once_on_26_1() {
    a_tag_is_resolved_once(engine!(V26_1));
}

#[test]
fn an_image_that_is_gone_comes_again_by_its_digest() {
    let room = Sandbox::new(engine!(V20_10));
    let registry = Registry::start(room.engine());
    let first = registry.push("1", &format!("{}-a", room.project()));
    let reference = registry.reference("1");
    room.spec("set.yaml", &of(&reference));
    apply_well(&room);
    let before = one(&room, "web", 0);
    registry.push("1", &format!("{}-b", room.project()));
    docker(room.engine(), &["rm", "-f", before.id()]);
    docker(room.engine(), &["rmi", "-f", before.0["Image"].as_str().expect("an image")]);
    apply_well(&room);
    let after = one(&room, "web", 0);
    assert_eq!((&after.0["Image"], after.state()), (&before.0["Image"], "running"), "{first}");
    assert_settled(&room);
}

fn files_become_images(engine: &Engine) {
    let room = Sandbox::new(engine);
    // An archive of an image that the engine does not hold any more.
    let made = docker(engine, &["create", "--net", "none", "busybox:latest", "true"]);
    let reference = room.fill("$project/saved:1");
    docker(engine, &["commit", "--change", &room.fill("LABEL of=$project"), &made, &reference]);
    docker(engine, &["rm", &made]);
    let archive = room.path().join("saved.tar");
    docker(engine, &["save", "-o", &archive.display().to_string(), &reference]);
    docker(engine, &["rmi", &reference]);
    std::fs::copy(busybox_tar(), room.path().join("rootfs.tar")).expect("a copy");
    let using = |name: &str| of(name).replace("name: web", &format!("name: {name}"));
    let set = [
        image("saved", "archive: ../saved.tar"),
        using("saved"),
        image(
            "tree",
            "rootfs: { file: ../rootfs.tar, command: [sleep, '1000'], env: { PATH: /bin, A: b } }",
        ),
        instance("tree", "stop: { signal: KILL }").replace("busybox:latest", "tree"),
    ];
    room.spec("set.yaml", &set.concat());
    apply_well(&room);
    assert_eq!(one(&room, "saved", 0).state(), "running");
    let tree = one(&room, "tree", 0);
    assert_eq!(tree.state(), "running");
    assert_eq!(tree.0["Config"]["Cmd"], serde_json::json!(["sleep", "1000"]));
    assert_settled(&room);
    assert_eq!(apply(&room).steps, 0);
    // Another tree in the file is another image, and rolls what uses it; the other one stays.
    let saved = one(&room, "saved", 0).life();
    let status = Command::new("tar")
        .args(["-C", "/etc", "--append", "-f"])
        .arg(room.path().join("rootfs.tar"))
        .arg("hostname")
        .status();
    assert!(status.expect("tar starts").success());
    apply_well(&room);
    let rolled = one(&room, "tree", 0);
    assert_eq!(rolled.label("incarnation"), "2");
    assert_ne!(rolled.0["Image"], tree.0["Image"]);
    assert_eq!(one(&room, "saved", 0).life(), saved);
    assert_settled(&room);
}

#[test]
fn files_become_images_on_20_10() {
    files_become_images(engine!(V20_10));
}

#[test]
fn files_become_images_on_26_1() {
    files_become_images(engine!(V26_1));
}

/// An archive that breaks costs nothing: what runs goes on, others are served, and the file that is
/// put right is taken up.
fn a_broken_archive_breaks_nothing(engine: &Engine) {
    let room = Sandbox::new(engine);
    let archive = room.path().join("saved.tar");
    let save = |mark: &str| {
        let made = docker(engine, &["create", "--net", "none", "busybox:latest", "true"]);
        let reference = room.fill("$project/saved:1");
        docker(engine, &["commit", "--change", &format!("LABEL mark={mark}"), &made, &reference]);
        docker(engine, &["rm", &made]);
        let part = room.path().join("part.tar");
        docker(engine, &["save", "-o", &part.display().to_string(), &reference]);
        docker(engine, &["rmi", &reference]);
        std::fs::read(part).expect("an archive")
    };
    let put = |bytes: &[u8]| {
        let part = room.path().join("part.tar");
        std::fs::write(&part, bytes).expect("written");
        std::fs::rename(part, &archive).expect("renamed");
    };
    let first = save(room.project());
    put(&first);
    room.spec("set.yaml", &(image("saved", "archive: ../saved.tar") + &*of("saved")));
    let held = Loop::hold(&room);
    assert!(held.apply().is_good());
    let before = one(&room, "web", 0).life();

    let second = save(&format!("{}-2", room.project()));
    for (number, (broken, part)) in [
        (&second[..second.len() / 2], "the file is cut off"),
        (b"no archive".as_slice(), "no tar file"),
    ]
    .into_iter()
    .enumerate()
    {
        put(broken);
        room.spec("other.yaml", &instance(&format!("other{number}"), LIVE));
        let outcome = held.apply();
        let trouble = outcome.troubles.iter().find(|trouble| trouble.object.ends_with("web/0"));
        let message = &trouble.unwrap_or_else(|| panic!("{outcome:#?}")).message;
        assert!(message.contains("saved.tar") && message.contains(part), "{message}");
        assert_eq!(one(&room, "web", 0).life(), before, "the old one was touched");
        assert_eq!(one(&room, &format!("other{number}"), 0).state(), "running");
    }
    // What was there before is not loaded again; what is new and whole is.
    put(&first);
    assert!(held.apply().is_good());
    assert_eq!(one(&room, "web", 0).life(), before);
    put(&second);
    assert!(held.apply().is_good());
    let after = one(&room, "web", 0);
    assert_eq!((after.label("incarnation"), after.state()), ("2", "running"));
    held.stop();
    assert_settled(&room);
}

#[test]
fn a_broken_archive_breaks_nothing_on_20_10() {
    a_broken_archive_breaks_nothing(engine!(V20_10));
}

#[test]
fn a_broken_archive_breaks_nothing_on_26_1() {
    a_broken_archive_breaks_nothing(engine!(V26_1));
}
