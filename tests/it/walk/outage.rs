//! Three engines as three nodes, and what may happen to one of them: its engine is killed, with
//! containers that go with it or live on; it cannot be reached for a minute; its clock is wrong.
//!
//! All the time the kernel is asked which containers have processes, whoever can be reached and
//! whatever engines say: it has the last word on whether a replica runs twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::nodes::{group, node, places, same_image, three, wait_for_status};
use super::proxy::{Valve, proxy};
use super::room::{LIVE, LONG, Loop, assert_settled, inspect, instance, seen_on};
use crate::lab::{Engine, Sandbox, docker, eventually};

/// How long a node cannot be reached: longer than what windlass waits for before it says so.
const CUT_OFF: Duration = Duration::from_secs(60);

/// How often the kernel is asked. No container starts and ends within it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Containers that have processes, by what the kernel's control groups say.
fn running(groups: &[PathBuf]) -> BTreeSet<String> {
    fn walk(dir: &Path, found: &mut BTreeSet<String>) {
        for inner in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !inner.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = inner.file_name().to_string_lossy().into_owned();
            let is_id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_id {
                walk(&inner.path(), found);
            } else if fs::read(inner.path().join("cgroup.procs")).is_ok_and(|it| !it.is_empty()) {
                found.insert(name);
            }
        }
    }
    let mut found = BTreeSet::new();
    for group in groups {
        walk(group, &mut found);
    }
    found
}

/// Where a control group is in the file system: in one of the hierarchies, if there are several.
fn mounted(group: &str) -> PathBuf {
    let top = Path::new("/sys/fs/cgroup");
    let all = [top.join("pids"), top.join("memory"), top.to_owned()];
    let found = all.into_iter().find(|top| top.join("cgroup.procs").exists());
    found.expect("control groups").join(group.trim_start_matches('/'))
}

/// All sets of containers that ran at once, at some instant.
struct Watch {
    over: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<BTreeSet<BTreeSet<String>>>>,
}

impl Watch {
    fn over(room: &Sandbox<'_>, engines: &[&Engine]) -> Self {
        let groups: Vec<PathBuf> =
            engines.iter().map(|engine| mounted(&group(room, engine))).collect();
        let (over, looks) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (ends, looked) = (Arc::clone(&over), Arc::clone(&looks));
        let thread = thread::spawn(move || {
            let mut all = BTreeSet::new();
            while !ends.load(Ordering::Relaxed) {
                all.insert(running(&groups));
                looked.fetch_add(1, Ordering::Relaxed);
                thread::sleep(LOOK_EVERY);
            }
            all
        });
        Self { over, looks, thread: Some(thread) }
    }

    fn end(mut self) -> BTreeSet<BTreeSet<String>> {
        self.over.store(true, Ordering::Relaxed);
        assert!(self.looks.load(Ordering::Relaxed) > 100, "it looked all the time");
        self.thread.take().expect("it runs").join().expect("it watched")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Which container is of which replica, as engines said when they made them.
#[derive(Default)]
struct Known(BTreeMap<String, String>);

impl Known {
    fn learn(&mut self, room: &Sandbox<'_>, engine: &Engine) {
        let project = format!("label=io.windlass.project={}", room.project());
        // From the beginning: an engine keeps its last events, as long as it lives.
        let args = ["events", "--since", "0", "--until", "0s", "--filter", "event=create"];
        let more = ["--filter", "type=container", "--filter", &project, "--format", "{{json .}}"];
        for line in docker(engine, &[&args[..], &more[..]].concat()).lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect("an event");
            let actor = &event["Actor"];
            let label = |name: &str| {
                let label = &actor["Attributes"][format!("io.windlass.{name}")];
                label.as_str().unwrap_or_default().to_owned()
            };
            let replica = format!("{}/{}", label("instance"), label("ordinal"));
            self.0.insert(actor["ID"].as_str().unwrap_or_default().to_owned(), replica);
        }
    }
}

/// The replicas that ran twice at some instant, with the containers.
fn doubled(
    watched: &BTreeSet<BTreeSet<String>>,
    known: &BTreeMap<String, String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut doubled: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for at_once in watched {
        let mut replicas: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
        for id in at_once {
            let Some(replica) = known.get(id) else { continue };
            replicas.entry(replica).or_default().insert(id.clone());
        }
        for (replica, ids) in replicas.into_iter().filter(|(_, ids)| ids.len() > 1) {
            doubled.entry(replica.clone()).or_default().extend(ids);
        }
    }
    doubled
}

#[test]
fn a_double_would_be_seen() {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let known = [("a", "web/0"), ("b", "web/0"), ("c", "web/1")];
    let known = known.map(|(id, replica)| (id.to_owned(), replica.to_owned())).into();
    let one_by_one = BTreeSet::from([ids(&["a", "c"]), ids(&["c"]), ids(&["b", "c", "x"])]);
    assert_eq!(doubled(&one_by_one, &known), BTreeMap::new());
    let at_once = BTreeSet::from([ids(&["a", "b", "c"])]);
    assert_eq!(doubled(&at_once, &known), [("web/0".to_owned(), ids(&["a", "b"]))].into());
}

/// Three nodes, each behind a socket of ours, with six replicas and a container of somebody else.
struct Site<'e> {
    room: &'e Sandbox<'e>,
    engines: [&'e Engine; 3],
    ways: Vec<Arc<Valve>>,
    held: Loop,
    watch: Watch,
    known: Known,
    strangers: Vec<String>,
}

/// Three replicas that are spread, and one for each node that stays there.
fn set(n: u32) -> String {
    let spec = |more: &str| format!("{LIVE}\nenv: {{ N: '{n}' }}\n{more}");
    let pinned =
        |at: usize| instance(&format!("on{at}"), &spec(&format!("placement: {{ node: n{at} }}")));
    let spread = instance("web", &spec("replicas: 3\nplacement: { spread: node }"));
    [spread, pinned(0), pinned(1), pinned(2)].concat()
}

impl<'e> Site<'e> {
    fn new(room: &'e Sandbox<'e>, engines: [&'e Engine; 3]) -> Self {
        same_image(room, &engines, "busybox:latest");
        let sockets: Vec<_> = (0..3).map(|at| room.path().join(format!("n{at}.sock"))).collect();
        let ways = engines.iter().zip(&sockets).map(|(to, at)| proxy(at, to.endpoint())).collect();
        room.remove_spec("node.yaml");
        let nodes = (0..3).map(|at| {
            let endpoint = format!("unix://{}", sockets[at].display());
            node(&format!("n{at}"), &endpoint, &group(room, engines[at]))
        });
        room.spec("nodes.yaml", &nodes.collect::<String>());
        let strangers = engines.iter().map(|engine| {
            let group = format!("{}/strange", group(room, engine));
            let args = ["run", "-d", "--net", "none", "--name", "web", "--cgroup-parent", &group];
            docker(engine, &[&args[..], &["busybox:latest", "sleep", "100000"]].concat())
        });
        let strangers = strangers.collect();
        let watch = Watch::over(room, &engines);
        room.spec("set.yaml", &set(1));
        let held = Loop::hold(room);
        let outcome = held.apply();
        assert!(outcome.is_good(), "{outcome:#?}");
        let mut site =
            Self { room, engines, ways, held, watch, known: Known::default(), strangers };
        site.learn();
        assert_eq!(site.converged().len(), 6);
        site
    }

    /// Engines forget what they told when they are killed.
    fn learn(&mut self) {
        for engine in self.engines {
            self.known.learn(self.room, engine);
        }
    }

    /// Which node holds each replica, once nothing is left to do.
    fn converged(&self) -> BTreeMap<String, usize> {
        self.held.wait_until_settled();
        places(self.room, &self.engines)
    }

    /// Has specs changed, and waits until a step of a replica is under way.
    fn change_in_the_middle(&self, n: u32, replica: &str, verb: &str) {
        let since = self.held.now();
        self.room.spec("set.yaml", &set(n));
        drop(self.held.reread());
        self.held.wait_for_step(replica, verb, since);
    }

    /// Whether all containers of an engine are of the `n`th revision.
    fn is_all_of(&self, engine: &Engine, n: u32) -> bool {
        self.are_of(engine, n, "")
    }

    /// Whether what stays on each of these nodes is of the `n`th revision: what is spread waits for
    /// its replica elsewhere, since nobody knows whether that one is ready.
    fn others_go_on(&self, but: usize, n: u32) {
        for (at, engine) in self.engines.iter().enumerate().filter(|(at, _)| *at != but) {
            eventually("the others change", LONG, || self.are_of(engine, n, &format!("on{at}")));
        }
    }

    fn are_of(&self, engine: &Engine, n: u32, name: &str) -> bool {
        let all = seen_on(engine, self.room.project());
        let variable = format!("N={n}");
        all.values().filter(|one| one.label("instance").starts_with(name)).all(|one| {
            let env = one.0["Config"]["Env"].as_array();
            env.is_some_and(|env| env.iter().any(|it| it.as_str() == Some(&variable)))
        })
    }

    /// Nothing is left to do, nobody was moved, nothing was there twice, and what is not ours is as
    /// it was; it `ended` where its engine did.
    fn end(mut self, places_before: &BTreeMap<String, usize>, n: u32, ended: Option<usize>) {
        assert_eq!(self.converged(), *places_before);
        self.learn();
        for engine in self.engines {
            assert!(self.is_all_of(engine, n));
        }
        for (at, (engine, stranger)) in self.engines.iter().zip(&self.strangers).enumerate() {
            let found = inspect(engine, stranger).expect("what is not ours is there");
            let state = if ended == Some(at) { "exited" } else { "running" };
            assert_eq!((found.name(), found.state()), ("web", state), "node n{at}");
        }
        let Self { room, held, watch, known, .. } = self;
        held.stop();
        assert_settled(room);
        let watched = watch.end();
        let most = watched.iter().map(BTreeSet::len).max();
        assert!(most >= Some(9), "it saw six of ours and three others at once: {watched:?}");
        assert_eq!(doubled(&watched, &known.0), BTreeMap::new());
    }
}

/// Kills one engine in the middle of two changes, as these steps have begun, and again when nothing
/// happens.
fn an_engine_is_killed(at: usize, verbs: [&str; 2]) {
    let owned = match three() {
        Ok(engines) => engines,
        Err(reason) => skip!("{reason}"),
    };
    let [one, two, three] = &owned;
    let room = Sandbox::new(one);
    let mut site = Site::new(&room, [one, two, three]);
    let (engine, name) = (site.engines[at], format!("n{at}"));
    let lives_on = at == 1;
    let before = site.converged();
    let replica = format!("on{at}/0");
    for (n, verb) in (2..).zip(verbs) {
        site.change_in_the_middle(n, &replica, verb);
        // What it made until now is not told any more once it is dead.
        site.known.learn(&room, engine);
        engine.kill();
        wait_for_status(&site.held, &name, "Unknown");
        site.others_go_on(at, n);
        engine.start();
        wait_for_status(&site.held, &name, "Ready");
        eventually("all is changed", LONG, || {
            site.held.overview().settled && site.is_all_of(engine, n)
        });
        assert_eq!(site.converged(), before);
        site.learn();
    }
    // Nothing happens: with live restore nobody notices.
    let lives = |site: &Site<'_>| -> Vec<_> {
        seen_on(engine, site.room.project()).values().map(super::room::Seen::life).collect()
    };
    let lived = lives(&site);
    engine.kill();
    wait_for_status(&site.held, &name, "Unknown");
    engine.start();
    wait_for_status(&site.held, &name, "Ready");
    assert_eq!(site.converged(), before);
    assert_eq!(lives(&site) == lived, lives_on);
    let ended = if lives_on { None } else { Some(at) };
    site.end(&before, 3, ended);
}

#[test]
fn an_engine_is_killed_and_its_containers_go() {
    // In a start, engine 20.10 may refuse for ever to start that container ("task already exists").
    an_engine_is_killed(0, ["create", "start"]);
}

#[test]
fn an_engine_is_killed_and_its_containers_live_on() {
    an_engine_is_killed(1, ["create", "start"]);
}

#[test]
fn a_node_is_cut_off_for_a_minute() {
    let owned = match three() {
        Ok(engines) => engines,
        Err(reason) => skip!("{reason}"),
    };
    let [one, two, three] = &owned;
    let room = Sandbox::new(one);
    let mut site = Site::new(&room, [one, two, three]);
    let before = site.converged();
    // In the middle of a change: what was asked for is done by nobody knows whom, a minute later.
    site.change_in_the_middle(2, "on2/0", "create");
    site.ways[2].set(true);
    // It has all nodes looked at, and waits for none of them.
    drop(site.held.reread());
    let silent = thread::spawn(|| thread::sleep(CUT_OFF));
    wait_for_status(&site.held, "n2", "Unknown");
    site.others_go_on(2, 2);
    let lives = |site: &Site<'_>| -> Vec<_> {
        seen_on(three, site.room.project()).values().map(super::room::Seen::life).collect()
    };
    let lived = lives(&site);
    // More is declared of it, and elsewhere; only elsewhere it is done.
    let more = instance("more", &format!("{LIVE}\nenv: {{ N: '3' }}\nreplicas: 2"));
    room.spec("set.yaml", &(set(3) + &*more));
    drop(site.held.reread());
    site.others_go_on(2, 3);
    // No replica was moved, and none is there twice.
    let there = || seen_on(one, room.project()).len() + seen_on(two, room.project()).len();
    eventually("there are two of web, two that stay there, and two more", LONG, || there() == 6);
    silent.join().expect("a minute");
    assert_eq!(lives(&site), lived, "it was left alone");
    assert_eq!(super::nodes::status(&site.held, "n2"), "Unknown");
    site.ways[2].set(false);
    wait_for_status(&site.held, "n2", "Ready");
    room.spec("set.yaml", &set(3));
    let outcome = site.held.apply();
    assert!(outcome.is_good(), "{outcome:#?}");
    site.learn();
    site.end(&before, 3, None);
}

#[test]
fn the_clock_of_a_node_is_wrong() {
    let owned = match three() {
        Ok(engines) => engines,
        Err(reason) => skip!("{reason}"),
    };
    let [one, two, three] = &owned;
    let room = Sandbox::new(one);
    let site = Site::new(&room, [one, two, three]);
    let before = site.converged();
    let mut n = 1;
    for ahead_s in [2 * 3600, -24 * 3600] {
        // Set while nothing happens, it is nothing that happened.
        site.ways[1].shift_clock(ahead_s);
        let since = site.held.now();
        assert_eq!(site.held.apply().steps, 0, "{:#?}", &site.held.happened()[since..]);
        // What ends is started again, once, and counts as what it is.
        let ended = seen_on(two, room.project()).into_values().next().expect("a container");
        let replica = format!("{}/{}", ended.label("instance"), ended.label("ordinal"));
        let since = site.held.now();
        two.kill_process(ended.id());
        site.held.wait_for_step(&replica, "restart", since);
        eventually("it runs again", LONG, || {
            inspect(two, ended.id()).is_some_and(|now| now.state() == "running")
        });
        site.held.wait_until_settled();
        assert_eq!(
            site.held
                .status(ended.label("instance"))
                .replicas
                .iter()
                .map(|one| one.restarts)
                .sum::<u32>(),
            1
        );
        // A change rolls out there as elsewhere; so it does with a connection that is new.
        for reconnects in [false, true] {
            if reconnects {
                site.ways[1].lead_to(two.endpoint());
            }
            n += 1;
            room.spec("set.yaml", &set(n));
            let outcome = site.held.apply();
            assert!(outcome.is_good(), "{outcome:#?}");
            assert_eq!(site.converged(), before);
        }
    }
    // It is set right.
    site.ways[1].shift_clock(0);
    assert_eq!(site.held.apply().steps, 0);
    site.end(&before, n, None);
}
