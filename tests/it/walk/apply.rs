//! An apply brings all to what is declared, and then there is nothing left to do.

use super::room::{
    LIVE, LONG, Loop, apply_well, assert_settled, deeds, engine_time, instance, lives, one, plan,
    seen, verify_journal, volume, volumes,
};
use crate::lab::{Engine, Sandbox, eventually};

/// Two replicas with ports, a user of a volume, a stopped one, a paused one, a one-shot.
fn mixed() -> String {
    let serve = "command: [sh, -c, 'mkdir /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www']\nports: [{ container: 8080, host: $port0-$port1, address: 127.0.0.1 }]\nreplicas: 2\nflavor: m1.tiny\nstop: { timeout: 1s }";
    let keep = format!(
        "{LIVE}\nvolumes: [{{ volume: data, target: /data }}]\nresources: {{ memory: 64Mi, cpus: 0.5, pids: 50 }}"
    );
    [
        instance("web", serve),
        volume("data", true),
        instance("keep", &keep),
        instance("off", &format!("{LIVE}\npower: stopped")),
        instance("ice", &format!("{LIVE}\npower: paused")),
        instance("once", "command: [sh, -c, exit 0]\nrestart: never"),
    ]
    .concat()
}

fn a_mixed_set_is_brought_up_and_left_alone(engine: &Engine) {
    let room = Sandbox::new(engine);
    room.spec("set.yaml", &mixed());
    let before = plan(&room);
    assert_eq!(before.counts.add, 6, "{before:#?}");
    assert!(seen(&room).is_empty(), "a plan changed something");
    assert!(!room.state().join("journal").exists(), "a plan wrote a journal");

    let outcome = apply_well(&room);
    assert!(outcome.steps > 6 + 5 + 1, "{outcome:#?}");
    for ordinal in 0..2 {
        let web = one(&room, "web", ordinal);
        assert_eq!(web.state(), "running");
        assert_eq!(web.name(), format!("{}.web.{ordinal}.1", room.project()));
        assert_eq!((web.memory(), web.nano_cpus()), (512 << 20, 1_000_000_000));
        let parent = web.0["HostConfig"]["CgroupParent"].as_str();
        assert_eq!(parent, Some(&*format!("{}/{}", room.cgroup_root(), room.project())));
        let port = room.port(u16::try_from(ordinal).expect("small"));
        let page = || engine.http_get(port, "/");
        eventually("the page is there", LONG, || page() == Some(format!("web-{ordinal}\n")));
    }
    let keep = one(&room, "keep", 0);
    assert_eq!((keep.state(), keep.memory()), ("running", 64 << 20));
    assert_eq!(keep.0["Mounts"][0]["Name"].as_str(), Some(&*format!("{}.data", room.project())));
    assert_eq!(one(&room, "off", 0).state(), "created");
    assert_eq!(one(&room, "ice", 0).state(), "paused");
    assert_eq!(volumes(&room), [format!("{}.data", room.project())]);
    eventually("the one-shot has ended", LONG, || one(&room, "once", 0).state() == "exited");

    // Its end may come after the first apply; from then on nothing is left at all.
    apply_well(&room);
    assert_settled(&room);
    let (lived, since) = (lives(&room), engine_time(engine));
    assert_eq!(apply_well(&room).steps, 0);
    let held = Loop::hold(&room);
    held.wait_until_settled();
    assert_eq!(held.status("once").phase, "Completed");
    held.stop();
    let held = Loop::hold(&room);
    held.wait_until_settled();
    assert_eq!(held.apply().steps, 0);
    held.stop();
    assert_eq!(deeds(&room, &since, &engine_time(engine)), Vec::<String>::new());
    assert_eq!(lives(&room), lived);
    verify_journal(&room.state());
}

#[test]
fn a_mixed_set_on_20_10() {
    a_mixed_set_is_brought_up_and_left_alone(engine!(V20_10));
}

#[test]
fn a_mixed_set_on_26_1() {
    a_mixed_set_is_brought_up_and_left_alone(engine!(V26_1));
}

#[test]
fn down_removes_all_but_retained_data() {
    let room = Sandbox::new(engine!(V20_10));
    let user = |name: &str| format!("{LIVE}\nvolumes: [{{ volume: {name}, target: /data }}]");
    let set = [
        volume("keep", true),
        volume("drop", false),
        instance("a", &user("keep")),
        instance("b", &user("drop")),
        instance("ice", &format!("{LIVE}\npower: paused")),
    ];
    room.spec("set.yaml", &set.concat());
    apply_well(&room);
    let held = Loop::hold(&room);
    let outcome = held.down();
    assert!(outcome.is_good(), "{outcome:#?}");
    held.stop();
    assert!(seen(&room).is_empty(), "{:?}", seen(&room));
    assert_eq!(volumes(&room), [format!("{}.keep", room.project())]);
}
