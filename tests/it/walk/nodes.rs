//! Several engines as one: replicas are spread over them, one of them is emptied, and another engine
//! answers in the place of one. What may happen to them is in [`super::outage`].

use std::collections::BTreeMap;

use super::proxy::{Valve, proxy};
use super::room::{LIVE, LONG, Loop, Seen, assert_settled, instance, seen_on};
use crate::lab::{Engine, Sandbox, Version, docker, eventually};

/// A document of one Node that stands for an engine.
pub(super) fn node(name: &str, endpoint: &str, cgroup_root: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Node\nmetadata: {{ name: {name} }}\nspec: {{ endpoint: \"{endpoint}\", cgroupRoot: {cgroup_root} }}\n"
    )
}

/// The group that containers of a room live in on one of its engines.
pub(super) fn group(room: &Sandbox<'_>, engine: &Engine) -> String {
    format!("{}/windlass-test-{}", engine.cgroup(), room.project())
}

/// The containers of each replica on some engines, each with the place of its engine among them.
fn all(room: &Sandbox<'_>, engines: &[&Engine]) -> BTreeMap<String, Vec<(usize, Seen)>> {
    let mut found: BTreeMap<String, Vec<(usize, Seen)>> = BTreeMap::new();
    for (at, engine) in engines.iter().enumerate() {
        for seen in seen_on(engine, room.project()).into_values() {
            let replica = format!("{}/{}", seen.label("instance"), seen.label("ordinal"));
            found.entry(replica).or_default().push((at, seen));
        }
    }
    found
}

/// Which engine holds each replica; none is there twice, and all of them run.
pub(super) fn places(room: &Sandbox<'_>, engines: &[&Engine]) -> BTreeMap<String, usize> {
    let one = |(replica, seen): (String, Vec<(usize, Seen)>)| {
        assert_eq!(seen.len(), 1, "{replica}: {seen:#?}");
        assert_eq!(seen[0].1.state(), "running", "{replica}: {seen:#?}");
        (replica, seen[0].0)
    };
    all(room, engines).into_iter().map(one).collect()
}

/// The same, once nothing is left to do.
fn converged(room: &Sandbox<'_>, held: &Loop, engines: &[&Engine]) -> BTreeMap<String, usize> {
    held.wait_until_settled();
    places(room, engines)
}

pub(super) fn status(held: &Loop, node: &str) -> String {
    let overview = held.overview();
    let found = overview.nodes.iter().find(|one| one.name.as_str() == node);
    found.map(|one| one.status.clone()).unwrap_or_default()
}

pub(super) fn wait_for_status(held: &Loop, node: &str, wanted: &str) {
    eventually(&format!("node {node} is {wanted}"), LONG, || status(held, node) == wanted);
}

/// Engines of one's own, or the reason why there are none.
pub(super) fn three() -> Result<[Engine; 3], String> {
    Ok([
        Engine::private(Version::V20_10)?,
        Engine::private_live_restore(Version::V26_1)?,
        Engine::private(Version::V26_1)?,
    ])
}

/// Gives all engines the image that the first one holds: imported twice, it would be two images.
pub(super) fn same_image(room: &Sandbox<'_>, engines: &[&Engine], image: &str) {
    let file = room.path().join("busybox.tar");
    let file = file.to_str().expect("a path");
    docker(engines[0], &["save", "-o", file, image]);
    for engine in &engines[1..] {
        docker(engine, &["load", "-i", file]);
    }
}

#[test]
fn three_engines_are_one() {
    let owned = match three() {
        Ok(engines) => engines,
        Err(reason) => skip!("{reason}"),
    };
    let engines: Vec<&Engine> = owned.iter().collect();
    let room = Sandbox::new(engines[0]);
    same_image(&room, &engines, "busybox:latest");
    let sockets: Vec<_> = (0..3).map(|at| room.path().join(format!("n{at}.sock"))).collect();
    let ways: Vec<_> =
        engines.iter().zip(&sockets).map(|(engine, at)| proxy(at, engine.endpoint())).collect();
    room.remove_spec("node.yaml");
    let nodes: String = (0..3)
        .map(|at| {
            let endpoint = format!("unix://{}", sockets[at].display());
            node(&format!("n{at}"), &endpoint, &group(&room, engines[at]))
        })
        .collect();
    room.spec("nodes.yaml", &nodes);
    let spread = format!("{LIVE}\nreplicas: 3\nplacement: {{ spread: node }}");
    let pinned = format!("{LIVE}\nplacement: {{ node: n1 }}");
    let set = instance("web", &spread) + &*instance("fixed", &pinned);
    room.spec("set.yaml", &set);
    let held = Loop::hold(&room);
    let outcome = held.apply();
    assert!(outcome.is_good(), "{outcome:#?}");
    let spread_out = [("fixed/0", 1), ("web/0", 0), ("web/1", 2), ("web/2", 1)];
    let expected: BTreeMap<String, usize> =
        spread_out.iter().map(|(replica, at)| ((*replica).to_owned(), *at)).collect();
    assert_eq!(places(&room, &engines), expected);
    room.spec("more.yaml", &instance("more", &format!("{LIVE}\nreplicas: 2")));
    assert!(held.apply().is_good());
    assert_eq!(converged(&room, &held, &engines).len(), 6);
    // One is emptied, but for what is pinned there.
    let out = room.windlass(&["node", "drain", "n1", "--reason", "its disk is old"]);
    assert_eq!(out.code, 1, "{out:?}");
    assert!(out.stderr.contains("fixed/0: node n1 is drained, and its placement names"), "{out:?}");
    let after = places(&room, &engines);
    let left: Vec<&String> =
        after.iter().filter(|(_, at)| **at == 1).map(|(replica, _)| replica).collect();
    assert_eq!((after.len(), left), (6, vec![&"fixed/0".to_owned()]), "{after:?}");
    let out = room.windlass(&["node", "list"]);
    let line = out.stdout.lines().find(|line| line.starts_with("n1"));
    assert!(line.is_some_and(|line| line.contains("Drained")), "{out:?}");
    room.spec("set.yaml", &instance("web", &spread));
    assert!(held.apply().is_good());
    assert!(seen_on(engines[1], room.project()).is_empty());
    assert_eq!(room.windlass(&["node", "drain", "n1"]).code, 0);
    let out = room.windlass(&["node", "uncordon", "n1"]);
    assert_eq!(out.code, 0, "{out:?}");
    let rest = converged(&room, &held, &engines);
    assert_eq!(rest.len(), 5, "{rest:?}");
    another_engine(&room, &held, &engines, &ways[2]);
    held.stop();
    assert_settled(&room);
}

/// The engine of n1, which is empty, answers in the place of the one of n2.
fn another_engine(room: &Sandbox<'_>, held: &Loop, engines: &[&Engine], way: &Valve) {
    let before = places(room, engines);
    let on_two = before.values().filter(|at| **at == 2).count();
    // Else it would be the twin of a node that is declared.
    let nodes = std::fs::read_to_string(room.specs().join("nodes.yaml")).expect("nodes");
    let mut documents: Vec<&str> = nodes.split("---\n").collect();
    documents.retain(|text| !text.contains("name: n1 "));
    room.spec("nodes.yaml", &documents.join("---\n"));
    assert!(held.apply().is_good());
    way.lead_to(engines[1].endpoint());
    wait_for_status(held, "n2", "Held");
    drop(held.apply());
    assert!(seen_on(engines[1], room.project()).is_empty(), "nothing is done there");
    let out = room.windlass(&["node", "accept", "n2"]);
    assert_eq!(out.code, 1, "nobody was asked: {out:?}");
    let out = room.windlass(&["node", "accept", "n2", "--yes"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains("made anew"), "{out:?}");
    wait_for_status(held, "n2", "Ready");
    let now = converged(room, held, &engines[..2]);
    assert_eq!(now.len(), before.len(), "{now:?}");
    assert_eq!(now.values().filter(|at| **at == 1).count(), on_two, "{now:?}");
}
