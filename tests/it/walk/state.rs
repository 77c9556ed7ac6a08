//! Losing the store loses nothing; losing the journal too costs one command.

use std::fs;

use super::room::{
    LIVE, apply_well, assert_settled, deeds, engine_time, instance, lives, one, owner, plan,
    replicas, verify_journal, volume, volumes,
};
use crate::lab::{Sandbox, eventually};

fn set() -> String {
    let user = format!("{LIVE}\nvolumes: [{{ volume: data, target: /data }}]");
    let job = "command: [sh, -c, exit 0]\nrestart: never";
    [
        volume("data", false),
        instance("web", &format!("{LIVE}\nreplicas: 2")),
        instance("db", &user),
        instance("job", job),
    ]
    .concat()
}

fn settled() -> Sandbox<'static> {
    let room =
        Sandbox::new(crate::lab::engine::shared(crate::lab::Version::V20_10).expect("an engine"));
    room.spec("set.yaml", &set());
    apply_well(&room);
    eventually("the job has ended", super::room::LONG, || one(&room, "job", 0).state() == "exited");
    apply_well(&room);
    room
}

/// Applies, and nothing happens to any container.
fn assert_no_effect(room: &Sandbox<'_>, lived: &[(String, String, String, String)], since: &str) {
    assert_settled(room);
    assert_eq!(apply_well(room).steps, 0);
    assert_eq!(deeds(room, since, &engine_time(room.engine())), Vec::<String>::new());
    assert_eq!(lives(room), lived);
    verify_journal(&room.state());
}

#[test]
fn a_store_that_is_gone_is_made_anew() {
    let _ = engine!(V20_10);
    let room = settled();
    let (lived, since, us) = (lives(&room), engine_time(room.engine()), owner(&room.state()));
    fs::remove_dir_all(room.state().join("store")).expect("the store is removed");
    assert_no_effect(&room, &lived, &since);
    assert_eq!(owner(&room.state()), us);
    // The same when it is asked for, and asked for twice.
    for _ in 0..2 {
        let out = room.windlass(&["store", "rebuild"]);
        assert_eq!(out.code, 0, "{out:?}");
        assert_no_effect(&room, &lived, &since);
    }
    assert_eq!(owner(&room.state()), us);
}

#[test]
fn with_the_store_alone_it_goes_on_after_a_rebuild() {
    let _ = engine!(V20_10);
    let room = settled();
    let (lived, since, us) = (lives(&room), engine_time(room.engine()), owner(&room.state()));
    fs::remove_dir_all(room.state().join("journal")).expect("the journal is removed");
    // It does not begin with another owner by itself: that would double everything.
    let out = room.windlass(&["apply"]);
    assert_ne!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains("store rebuild"), "{out:?}");
    assert_eq!(lives(&room), lived);
    assert_eq!(room.windlass(&["store", "rebuild"]).code, 0);
    assert_no_effect(&room, &lived, &since);
    assert_eq!(owner(&room.state()), us);
}

#[test]
fn with_nothing_left_the_owner_takes_its_containers_over() {
    let _ = engine!(V20_10);
    let room = settled();
    let (lived, since, us) = (lives(&room), engine_time(room.engine()), owner(&room.state()));
    for name in ["store", "journal"] {
        fs::remove_dir_all(room.state().join(name)).expect("it is removed");
    }
    let out = room.windlass(&["store", "rebuild"]);
    assert_ne!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains("--owner"), "{out:?}");
    let out = room.windlass(&["store", "rebuild", "--owner", &us]);
    assert_eq!(out.code, 0, "{out:?}");
    let looked = plan(&room);
    assert!(looked.steps.is_empty(), "{looked:#?}");
    assert_eq!(apply_well(&room).steps, 0, "what it finds it notes, and does nothing");
    assert_no_effect(&room, &lived, &since);
    assert_eq!(owner(&room.state()), us);
    // What it took over it also removes as its spec says, without asking for so few.
    room.spec("set.yaml", &instance("web", &format!("{LIVE}\nreplicas: 2")));
    apply_well(&room);
    assert_eq!(replicas(&room, "db", 0).len() + replicas(&room, "job", 0).len(), 0);
    assert_eq!(volumes(&room), Vec::<String>::new());
}
