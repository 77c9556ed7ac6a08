//! Control groups on the kernel that is here, whichever version of them it has.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use reconciler::model::groups::GroupLimits;
use reconciler::model::observed::Limits;
use reconciler::model::spec::BlockIo;
use reconciler::ports::Sampler as _;
use windlass::cgroup::files::Group;
use windlass::cgroup::hierarchy::{Controller, Hierarchy, Version};
use windlass::cgroup::limits::{live, read_group, set_container, set_group};
use windlass::cgroup::sample::Groups;

const ALL: [Controller; 6] = Controller::ALL;

/// A group of the test's own, with one in it. Both go with this.
struct Room {
    trees: Hierarchy,
    outer: String,
    inner: String,
}

impl Room {
    fn new(name: &str) -> Result<Self, String> {
        let trees = Hierarchy::of_host()?;
        if !trees.is_writable() {
            return Err("the control groups are not ours to write".to_owned());
        }
        let outer = format!("/windlass-test-{}-{name}", std::process::id());
        let inner = format!("{outer}/inner");
        trees.make(&inner, &ALL)?;
        Ok(Self { trees, outer, inner })
    }

    /// Runs a script in the inner group. What it says is dropped.
    fn enter(&self, script: &str) -> Child {
        let enter = self.entrance(&self.inner);
        Command::new("sh")
            .args(["-c", &format!("{enter} {script}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts")
    }

    /// What a shell does to be in a group from then on.
    fn entrance(&self, group: &str) -> String {
        let trees: Vec<PathBuf> = match self.trees.version() {
            Version::One => ALL.iter().map(|one| self.file(*one, group, "cgroup.procs")).collect(),
            Version::Two => vec![self.file(Controller::Memory, group, "cgroup.procs")],
        };
        trees.iter().map(|path| format!("echo $$ > {}; ", path.display())).collect()
    }

    fn file(&self, controller: Controller, group: &str, file: &str) -> PathBuf {
        self.trees.path(controller, group).expect("a tree").join(file)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for group in [&self.inner, &self.outer] {
            // What stays is empty, and named after this process.
            let _ = self.trees.remove(group);
        }
    }
}

/// A process in a group that holds so much memory, until it is dropped.
struct Holder(Child);

impl Holder {
    fn new(room: &Room, group: &str, mebibytes: u32) -> Self {
        let enter = room.entrance(group);
        let script = format!(
            "{enter} x=$(head -c {} /dev/zero | tr '\\0' a); echo holds; read line",
            mebibytes << 20
        );
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("an output");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "holds\n");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut input = self.0.stdin.take().expect("an input");
        // It ends with its input.
        let _ = input.write_all(b"\n");
        drop(input);
        let _ = self.0.wait();
    }
}

macro_rules! room {
    ($name:literal) => {
        match Room::new($name) {
            Ok(room) => room,
            Err(reason) => skip!("{reason}"),
        }
    };
}

fn nothing() -> BlockIo {
    BlockIo::default()
}

#[test]
fn limits_of_a_project_are_as_they_were_set() {
    let room = room!("set");
    let group = Group::new(&room.trees, &room.outer);
    let none = Some(GroupLimits::default());
    assert_eq!(read_group(&group, &nothing()).expect("read"), none);
    let limits = GroupLimits {
        nano_cpus: 1_234_560_000,
        memory: 64 << 20,
        pids: 40,
        ..GroupLimits::default()
    };
    set_group(&group, &limits).expect("set");
    assert_eq!(read_group(&group, &nothing()).expect("read"), Some(limits));
    let odd = GroupLimits { nano_cpus: 123_456_789, memory: 10_000_001, ..GroupLimits::default() };
    set_group(&group, &odd).expect("set");
    let found = read_group(&group, &nothing()).expect("read").expect("there");
    assert!(odd.is_said_by(&found), "{found:?}");
    set_group(&group, &GroupLimits::default()).expect("lifted");
    assert_eq!(read_group(&group, &nothing()).expect("read"), none);
}

#[test]
fn limits_of_a_container_are_as_they_were_set() {
    let room = room!("container");
    let group = Group::new(&room.trees, &room.inner);
    let free = Limits { memory_swap: Limits::NOT_ENFORCED, ..Limits::default() };
    let limits = Limits {
        nano_cpus: 500_000_000,
        memory: 64 << 20,
        pids: 9,
        cpu_shares: 512,
        cpuset: "0".into(),
        ..free.clone()
    };
    set_container(&group, &limits, None).expect("set");
    assert_eq!(live(&group, &limits).expect("read"), Some(limits.clone()));
    // Seen by somebody who knows nothing of it.
    let seen = live(&group, &free).expect("read").expect("there");
    assert_eq!((seen.nano_cpus, seen.memory, seen.pids), (500_000_000, 64 << 20, 9));
    set_container(&group, &free, None).expect("lifted");
    let seen = live(&group, &free).expect("read").expect("there");
    assert_eq!((seen.nano_cpus, seen.memory, seen.pids), (0, 0, 0));
    // One cpu is all that there is on some machines.
    assert!(seen.cpuset.is_empty(), "{seen:?}");
}

#[test]
fn memory_below_what_is_in_use_is_refused_and_kills_nobody() {
    let room = room!("memory");
    let mut holder = Holder::new(&room, &room.inner, 48);
    let group = Group::new(&room.trees, &room.outer);
    let before = read_group(&group, &nothing()).expect("read");
    let limits = GroupLimits { nano_cpus: 10_000_000, memory: 16 << 20, ..GroupLimits::default() };
    let refused = set_group(&group, &limits).expect_err("48Mi are in use");
    assert!(refused.message.contains("in use"), "{}", refused.message);
    assert_eq!(read_group(&group, &nothing()).expect("read"), before, "nothing is half applied");
    assert!(holder.0.try_wait().expect("asked").is_none(), "it lives");
}

#[test]
fn nothing_is_half_applied_where_groups_are_at_odds() {
    let room = room!("odds");
    let (outer, inner) =
        (Group::new(&room.trees, &room.outer), Group::new(&room.trees, &room.inner));
    let of = |nano_cpus, pids| GroupLimits { nano_cpus, pids, ..GroupLimits::default() };
    set_group(&inner, &of(1_000_000_000, 0)).expect("set");
    let set = set_group(&outer, &of(500_000_000, 7));
    let found = read_group(&outer, &nothing()).expect("read").expect("there");
    match room.trees.version() {
        Version::One => {
            let refused = set.expect_err("one in it has more");
            assert!(refused.at_odds, "{refused:?}");
            assert!(refused.message.contains("cpu.cfs_quota_us"), "{refused:?}");
            assert_eq!(found, GroupLimits::default());
        }
        Version::Two => {
            set.expect("set");
            assert_eq!(found, of(500_000_000, 7));
        }
    }
}

#[test]
fn what_a_group_uses_and_lacks_is_counted() {
    let room = room!("count");
    let group = Group::new(&room.trees, &room.inner);
    let limits = GroupLimits { memory: 96 << 20, ..GroupLimits::default() };
    set_group(&group, &limits).expect("set");
    let mut sampler = Groups::of_host();
    let counters = |sampler: &mut Groups| sampler.counters(&room.inner).expect("it is there");
    {
        let _holder = Holder::new(&room, &room.inner, 24);
        let found = counters(&mut sampler);
        assert!(found.memory >= 24 << 20 && found.memory <= 96 << 20, "{found:?}");
        assert!(found.pids >= 1 && found.cpu_ns > 0, "{found:?}");
    }
    // One that takes more than there is.
    let ended = room.enter("exec tail /dev/zero").wait().expect("it ends");
    assert!(!ended.success());
    assert!(counters(&mut sampler).oom_kills >= 1);
    // One that makes more processes than there may be.
    let limits = GroupLimits { pids: 2, ..GroupLimits::default() };
    set_group(&group, &limits).expect("set");
    let ended = room.enter("sleep 0 & sleep 0 & sleep 0 & sleep 0 & sleep 0 & wait").wait();
    ended.expect("it ends");
    // What seldom changes is read at one look of three.
    let mut looks = (0..3).map(|_| {
        sampler.host();
        counters(&mut sampler).pids_refused
    });
    assert!(looks.any(|refused| refused.is_some_and(|refused| refused >= 1)));
}

#[test]
fn a_group_that_holds_others_stays() {
    let room = room!("stays");
    let error = room.trees.remove(&room.outer).expect_err("it holds another one");
    assert!(error.contains(&room.outer), "{error}");
}
