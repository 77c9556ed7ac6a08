//! What is never touched, and what waits until a person agreed.

use windlass::api::protocol::{Frame, Request};
use windlass::app::Settings;

use super::room::{
    LIVE, Loop, apply, apply_well, apply_with, assert_settled, inspect, instance, lives, one,
    owner, plan, seen, settings, stranger, volume, volumes,
};
use crate::lab::{Engine, Sandbox, docker};

fn many(count: usize) -> String {
    (0..count)
        .map(|n| instance(&format!("m{n}"), "command: [sleep, '100000']\nstop: { signal: KILL }"))
        .collect()
}

#[test]
fn a_foreign_container_is_never_touched() {
    let room = Sandbox::new(engine!(V20_10));
    let engine = room.engine();
    let project = format!("io.windlass.project={}", room.project());
    let labels = [
        "--label",
        "io.windlass.owner=somebody-else",
        "--label",
        &project,
        "--label",
        "io.windlass.instance=gone",
        "--label",
        "io.windlass.ordinal=0",
        "--label",
        "io.windlass.revision=0123456789abcdef",
        "--label",
        "io.windlass.incarnation=1",
        "--label",
        "io.windlass.uid=x",
    ];
    let taken = format!("{}.web.0.1", room.project());
    let foreign =
        [stranger(&room, &[]), stranger(&room, &labels), stranger(&room, &["--name", &taken])];
    let look = || -> Vec<_> {
        foreign.iter().filter_map(|id| inspect(engine, id)).map(|seen| seen.life()).collect()
    };
    let before = look();
    room.spec("set.yaml", &(instance("web", LIVE) + &*instance("other", LIVE)));
    let outcome = apply_well(&room);
    assert!(outcome.steps >= 4, "{outcome:#?}");
    // It gives way to who has the name, and takes the next number.
    let web = one(&room, "web", 0);
    assert_eq!((web.name(), web.state()), (&*format!("{}.web.0.2", room.project()), "running"));
    assert_eq!(one(&room, "other", 0).state(), "running", "one failure blocks nobody else");
    assert_eq!(look(), before);
    assert_eq!(apply_well(&room).steps, 0);

    // Once the name is free nothing happens: what runs is as good as any.
    docker(engine, &["rm", "-f", &foreign[2]]);
    assert_eq!(apply_well(&room).steps, 0);
    let held = Loop::hold(&room);
    assert!(held.down().is_good());
    held.stop();
    assert_eq!(look(), before[..2]);
}

#[test]
fn a_mass_removal_waits_for_an_approval_of_just_that_set() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("many.yaml", &many(5));
    room.spec("more.yaml", &instance("kept", LIVE));
    apply_well(&room);
    let before = lives(&room);
    room.remove_spec("many.yaml");
    let outcome = apply(&room);
    let set = outcome.held.clone().expect("it is held");
    assert_eq!(set.objects.len(), 5, "{set:#?}");
    assert!(!outcome.is_good());
    assert_eq!(lives(&room), before);
    // Another start does not forget.
    let held = Loop::hold(&room);
    assert_eq!(held.apply().held.as_ref(), Some(&set));
    let approve = |digest: &str| {
        held.ask(Request::Approve { digest: Some(digest.to_owned()) }).pop().expect("an answer")
    };
    assert!(matches!(approve("0123456789"), Frame::Held { held: Some(_) }));
    assert_eq!(lives(&room), before);
    // An approval is of the set that was shown: a larger one is another.
    let Frame::Approved { objects } = approve(&set.digest.0[..12]) else { panic!("not approved") };
    assert_eq!(objects.len(), 5);
    let outcome = held.apply();
    assert!(outcome.is_good(), "{outcome:#?}");
    assert_eq!(seen(&room).len(), 1);
    held.stop();
    assert_settled(&room);
}

#[test]
fn a_trickle_of_removals_is_counted_together() {
    let room = Sandbox::new(engine!(V20_10));
    for n in 0..6 {
        room.spec(&format!("m{n}.yaml"), &many(n + 1)[many(n).len()..]);
    }
    apply_well(&room);
    let held = Loop::hold(&room);
    held.wait_until_settled();
    // One after the other, none of them with the time to settle between.
    for n in 0..6 {
        room.remove_spec(&format!("m{n}.yaml"));
        eventually_read(&held, 5 - n);
    }
    let set = held.overview().held.expect("the rest is held");
    assert_eq!((set.objects.len(), seen(&room).len()), (3, 3), "{set:#?}");
    held.stop();
}

/// Waits until the watch has heard of it: the end of an apply would count removals anew.
fn eventually_read(held: &Loop, declared: usize) {
    crate::lab::eventually("the specs are read and acted on", super::room::LONG, || {
        let overview = held.overview();
        let count = overview.instances.iter().filter(|status| status.source.is_some()).count();
        count == declared && overview.settled
    });
}

#[test]
fn a_directory_that_is_not_the_one_removes_nothing() {
    let room = Sandbox::new(engine!(V20_10));
    let text = room.fill(&many(1));
    room.spec("set.yaml", &many(1));
    apply_well(&room);
    let before = lives(&room);

    // Another directory on the same state: less is declared there than was here.
    let other = room.path().join("other");
    std::fs::create_dir(&other).expect("a directory");
    let node = std::fs::read_to_string(room.specs().join("node.yaml")).expect("a Node");
    std::fs::write(other.join("node.yaml"), &node).expect("a spec is written");
    let moved = Settings { specs: other.clone(), ..settings(&room) };
    let set = apply_with(&moved).held.expect("it is held");
    assert!(set.why.contains("other"), "{}", set.why);
    assert_eq!(lives(&room), before);
    // With the same set in it, it is the new home.
    std::fs::write(other.join("set.yaml"), &text).expect("a spec is written");
    assert!(apply_with(&moved).is_good());
    std::fs::remove_file(other.join("set.yaml")).expect("a spec is removed");
    assert!(apply_with(&moved).is_good(), "one removal needs no approval");
    assert!(seen(&room).is_empty());
}

/// Runs the binary with the engine as the default one, since an empty directory declares no Node.
fn run(room: &Sandbox<'_>, verb: &str) {
    let mut command = room.command(&[verb]);
    let out = command.env("DOCKER_HOST", room.engine().endpoint()).output();
    assert!(out.expect("windlass starts").status.code().is_some(), "it crashed");
}

/// Where the containers of a node live whose Node does not say.
struct Default<'e>(&'e Engine, String);

impl Drop for Default<'_> {
    fn drop(&mut self) {
        self.0.remove_below(&self.1);
    }
}

#[test]
fn an_empty_or_missing_directory_removes_nothing() {
    let room = Sandbox::new(engine!(V20_10));
    room.remove_spec("node.yaml");
    room.spec("set.yaml", &many(1));
    run(&room, "apply");
    let root = format!("/windlass/local-{}", &owner(&room.state())[..8]);
    let _clean = Default(room.engine(), root.clone());
    let before = lives(&room);
    assert_eq!(before.len(), 1);
    let parent = one(&room, "m0", 0).0["HostConfig"]["CgroupParent"].clone();
    assert_eq!(parent.as_str(), Some(&*format!("{root}/{}", room.project())));

    room.remove_spec("set.yaml");
    run(&room, "apply");
    assert_eq!(lives(&room), before, "an empty directory removed something");
    std::fs::remove_dir(room.specs()).expect("it is empty");
    run(&room, "apply");
    assert_eq!(lives(&room), before, "a missing directory removed something");
    // It comes back as it was: nothing happened.
    std::fs::create_dir(room.specs()).expect("a directory");
    room.spec("set.yaml", &many(1));
    run(&room, "apply");
    assert_eq!(lives(&room), before);
}

#[test]
fn a_broken_file_keeps_what_it_declared() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("a.yaml", &instance("a", &format!("{LIVE}\nenv: {{ N: '1' }}")));
    room.spec("b.yaml", &instance("b", LIVE));
    apply_well(&room);
    let a = one(&room, "a", 0).life();
    // Broken, and another file changes: that is done, and the broken one holds.
    room.spec("a.yaml", &instance("a", &format!("{LIVE}\nenvy: {{ N: '2' }}")));
    room.spec("b.yaml", &instance("b", &format!("{LIVE}\nenv: {{ N: '2' }}")));
    let outcome = apply(&room);
    assert!(outcome.troubles.is_empty() && outcome.held.is_none(), "{outcome:#?}");
    let broken = outcome.broken.get("a.yaml").expect("it is broken");
    assert!(broken.last_good && broken.first.contains("envy"), "{broken:?}");
    assert_eq!(one(&room, "a", 0).life(), a);
    assert_eq!(one(&room, "b", 0).label("incarnation"), "2");
    // Each of these ran in a loop that was started anew; another one, once more, and a plan.
    assert_eq!(apply(&room).steps, 0);
    assert!(plan(&room).steps.is_empty());
    let held = Loop::hold(&room);
    held.wait_until_settled();
    assert!(held.status("a").stale.is_some(), "{:#?}", held.status("a"));
    assert_eq!(one(&room, "a", 0).life(), a);
    // What it declared before comes back when its container goes.
    docker(room.engine(), &["rm", "-f", &a.0]);
    held.apply();
    let again = one(&room, "a", 0);
    assert!(again.0["Config"]["Env"].to_string().contains("N=1"), "{:?}", again.0["Config"]["Env"]);
    // Mended, it is in force.
    room.spec("a.yaml", &instance("a", &format!("{LIVE}\nenv: {{ N: '3' }}")));
    assert!(held.apply().is_good());
    assert!(one(&room, "a", 0).0["Config"]["Env"].to_string().contains("N=3"));
    held.stop();
}

#[test]
fn data_stays_unless_it_was_declared_to_go() {
    let room = Sandbox::new(engine!(V20_10));
    let user = |name: &str| {
        instance(
            name,
            &format!(
                "command: [sh, -c, 'date > /data/f; sleep 100000']\nstop: {{ signal: KILL }}\nvolumes: [{{ volume: {name}, target: /data }}]"
            ),
        )
    };
    let kept = format!("{}.keep", room.project());
    room.spec("keep.yaml", &(volume("keep", true) + &*user("keep")));
    room.spec("drop.yaml", &(volume("drop", false) + &*user("drop")));
    apply_well(&room);
    assert_eq!(volumes(&room), [format!("{}.drop", room.project()), kept.clone()]);
    room.remove_spec("keep.yaml");
    room.remove_spec("drop.yaml");
    let outcome = apply_well(&room);
    assert_eq!(outcome.steps, 6, "two stops, two removals, one volume, one network: {outcome:#?}");
    assert_eq!(volumes(&room), std::slice::from_ref(&kept));
    assert!(seen(&room).is_empty());
    // It is the same data when it is declared again.
    let made = docker(room.engine(), &["volume", "inspect", "-f", "{{.CreatedAt}}", &kept]);
    room.spec("keep.yaml", &(volume("keep", true) + &*user("keep")));
    apply_well(&room);
    assert_eq!(docker(room.engine(), &["volume", "inspect", "-f", "{{.CreatedAt}}", &kept]), made);
    assert_eq!(one(&room, "keep", 0).state(), "running");
}

#[test]
fn the_last_declaration_says_whether_data_stays() {
    let room = Sandbox::new(engine!(V20_10));
    let user = |name: &str| {
        let spec = format!(
            "command: [sleep, '100000']\nstop: {{ signal: KILL }}\nvolumes: [{{ volume: {name}, target: /data }}]"
        );
        instance(name, &spec)
    };
    let set = |saved: bool, dropped: bool| {
        [volume("saved", saved), user("saved"), volume("dropped", dropped), user("dropped")]
            .concat()
    };
    room.spec("set.yaml", &set(false, true));
    room.spec("other.yaml", &instance("other", LIVE));
    apply_well(&room);
    room.spec("set.yaml", &set(true, false));
    assert_eq!(apply_well(&room).steps, 0, "nothing of a volume changes on the engine");
    room.remove_spec("set.yaml");
    let outcome = apply(&room);
    assert!(outcome.troubles.is_empty(), "{outcome:#?}");
    if let Some(set) = outcome.held {
        let held = Loop::hold(&room);
        held.ask(Request::Approve { digest: Some(set.digest.0.to_string()) });
        assert!(held.apply().is_good());
        held.stop();
    }
    assert_eq!(volumes(&room), [format!("{}.saved", room.project())]);
}
