//! Disks without room, one at a time: under store and journal, and under the engine. What cannot be
//! done is said, what ran runs on, and once there is room all is done.

use super::super::room::{
    LIVE, LONG, Seen, apply_well, assert_settled, instance, one, replicas, stranger, verify_journal,
};
use super::disk::{Disk, Order};
use crate::lab::{Engine, Sandbox, Version, eventually, skipped};

/// Room for store and journal, which have a fifth of it.
const STATE_MIB: u64 = 24;

/// Room for an engine's image and a few containers; it wants a few of them for itself.
const DATA_MIB: u32 = 96;

fn set(n: u32) -> String {
    let spec = format!("{LIVE}\nenv: {{ N: '{n}' }}");
    [instance("web", &format!("{spec}\nreplicas: 2")), instance("db", &spec)].concat()
}

fn is_of(seen: &Seen, n: u32) -> bool {
    seen.0["Config"]["Env"].to_string().contains(&format!("N={n}"))
}

fn lives(room: &Sandbox<'_>) -> Vec<(String, String, String, String)> {
    super::super::room::lives(room)
}

/// All is of the `n`th revision, runs, and is there once.
fn assert_done(room: &Sandbox<'_>, n: u32) {
    assert_settled(room);
    for (name, ordinal) in [("web", 0), ("web", 1), ("db", 0)] {
        let found = one(room, name, ordinal);
        assert!(found.state() == "running" && is_of(&found, n), "{found:#?}");
    }
    assert_eq!(lives(room).len(), 3);
    verify_journal(&room.state());
}

#[test]
fn without_room_for_the_state_nothing_is_done_and_that_is_said() {
    let room = Sandbox::new(engine!(V20_10));
    let disk = Disk::mount(&room.path().join("disk"), &room.state(), STATE_MIB, Order::Ordered);
    let disk = match disk {
        Ok(disk) => disk,
        Err(reason) => return skipped(&reason),
    };
    room.spec("set.yaml", &set(1));
    apply_well(&room);
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled", LONG);
    let before = lives(&room);
    disk.fill();
    room.spec("set.yaml", &set(2));
    up.wait_for_line("No space left on device", LONG);
    assert_eq!(lives(&room), before, "{:#?}", up.lines());
    // Killed and started again without room: it says why it cannot, or goes on waiting for some.
    up.kill();
    let out = room.windlass(&["apply", "--timeout", "20s"]);
    assert!(out.code == 1 && out.stderr.contains("No space left on device"), "{out:#?}");
    assert_eq!(lives(&room), before);
    disk.empty();
    apply_well(&room);
    assert_done(&room, 2);
    // The same, with room before it is started again.
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled", LONG);
    disk.fill();
    room.spec("set.yaml", &set(3));
    up.wait_for_line("No space left on device", LONG);
    disk.empty();
    eventually("it goes on by itself", LONG, || {
        replicas(&room, "db", 0).iter().any(|db| db.state() == "running" && is_of(db, 3))
    });
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:#?}");
    assert_eq!(up.end("TERM"), 0);
    assert_done(&room, 3);
    drop(up);
}

#[test]
fn without_room_for_the_engine_what_runs_runs_on() {
    let engine = match Engine::private_on_a_small_disk(Version::V20_10, DATA_MIB) {
        Ok(engine) => engine,
        Err(reason) => return skipped(&reason),
    };
    let room = Sandbox::new(&engine);
    room.spec("set.yaml", &set(1));
    apply_well(&room);
    let not_ours = stranger(&room, &[]);
    let life = |id: &str| super::super::room::inspect(&engine, id).map(|seen| seen.life());
    let (theirs, before) = (life(&not_ours), lives(&room));
    let mut up = room.spawn_up(&[]);
    up.wait_for_line("settled", LONG);
    engine.fill_disk(true);
    room.spec("set.yaml", &set(2));
    up.wait_for_line("no space left on device", LONG);
    // A replacement is made before the old one ends.
    let now = lives(&room);
    assert!(before.iter().all(|life| now.contains(life)), "{now:#?} instead of {before:#?}");
    let out = room.windlass(&["get", "instances"]);
    assert_eq!(out.code, 0, "{out:#?}");
    engine.fill_disk(false);
    eventually("it goes on by itself", LONG * 2, || {
        replicas(&room, "db", 0).iter().any(|db| db.state() == "running" && is_of(db, 2))
    });
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:#?}");
    assert_eq!(up.end("TERM"), 0);
    assert_done(&room, 2);
    assert_eq!(life(&not_ours), theirs);
}
