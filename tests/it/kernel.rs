//! Control groups on the kernel that is here, whichever version of them it has.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use reconciler::model::groups::GroupLimits;
use reconciler::model::observed::Limits;
use reconciler::model::spec::BlockIo;
use windlass::cgroup::files::Group;
use windlass::cgroup::hierarchy::{Controller, Hierarchy, Version};
use windlass::cgroup::limits::{live, read_group, set_container, set_group};

const ALL: [Controller; 4] =
    [Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids];

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
        let trees: Vec<PathBuf> = match room.trees.version() {
            Version::One => ALL.iter().map(|one| room.file(*one, group, "cgroup.procs")).collect(),
            Version::Two => vec![room.file(Controller::Memory, group, "cgroup.procs")],
        };
        let enter: String =
            trees.iter().map(|path| format!("echo $$ > {}; ", path.display())).collect();
        let script = format!(
            "{enter} x=$(head -c {mebibytes}M /dev/zero | tr '\\0' a); echo holds; read line"
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
fn a_group_that_holds_others_stays() {
    let room = room!("stays");
    let error = room.trees.remove(&room.outer).expect_err("it holds another one");
    assert!(error.contains(&room.outer), "{error}");
}
