//! Quotas in the kernel: what a project may use, however many of its instances misbehave; limits
//! that change while containers live, whoever changes them.

use std::path::PathBuf;

use super::room::{HEARD, LIVE, LONG, Loop, apply_well, assert_settled, instance, one, seen};
use crate::lab::engine::as_root;
use crate::lab::{Sandbox, docker, eventually};

/// Which control groups the kernel here has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Ends the test where the kernel has the other version.
macro_rules! version {
    ($version:ident) => {{
        let is_two = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        if is_two != (Version::$version == Version::Two) {
            skip!("this host has control groups of the other version");
        }
        Kernel(Version::$version)
    }};
}

/// What the kernel says, in words that both versions share.
#[derive(Clone, Copy)]
struct Kernel(Version);

impl Kernel {
    /// A file, by its names in both versions.
    fn file(self, room: &Sandbox<'_>, group: &str, names: [&str; 3]) -> PathBuf {
        let root = PathBuf::from("/sys/fs/cgroup");
        let below = room.cgroup_root().trim_start_matches('/');
        let [controller, one, two] = names;
        match self.0 {
            Version::One => root.join(controller).join(below).join(group).join(one),
            Version::Two => root.join(below).join(group).join(two),
        }
    }

    fn read(self, room: &Sandbox<'_>, group: &str, names: [&str; 3]) -> Option<String> {
        let text = std::fs::read_to_string(self.file(room, group, names)).ok()?;
        Some(text.trim_end().to_owned())
    }

    fn said(self, room: &Sandbox<'_>, group: &str, names: [&str; 3]) -> String {
        self.read(room, group, names).unwrap_or_else(|| panic!("no {names:?} of {group}"))
    }

    /// Hundredths of a cpu; none is `max`.
    fn cpus(self, room: &Sandbox<'_>, group: &str) -> Option<String> {
        let text = self.read(room, group, CPUS)?;
        let quota = text.split(' ').next().unwrap_or_default();
        Some(if quota == "-1" { "max".to_owned() } else { quota.to_owned() })
    }

    fn number(self, room: &Sandbox<'_>, group: &str, names: [&str; 3]) -> u64 {
        self.said(room, group, names).parse().expect("a number")
    }

    /// Processor time, in nanoseconds.
    fn cpu_ns(self, room: &Sandbox<'_>, group: &str) -> u64 {
        match self.0 {
            Version::One => self.number(room, group, ["cpuacct", "cpuacct.usage", ""]),
            Version::Two => line(&self.said(room, group, STAT), "usage_usec") * 1000,
        }
    }
}

/// The controller, and a file in version 1 and in version 2.
const CPUS: [&str; 3] = ["cpu", "cpu.cfs_quota_us", "cpu.max"];
const STAT: [&str; 3] = ["cpu", "cpu.stat", "cpu.stat"];
const MEMORY: [&str; 3] = ["memory", "memory.limit_in_bytes", "memory.max"];
const MEMORY_PEAK: [&str; 3] = ["memory", "memory.max_usage_in_bytes", "memory.peak"];
const PIDS: [&str; 3] = ["pids", "pids.max", "pids.max"];
const PIDS_NOW: [&str; 3] = ["pids", "pids.current", "pids.current"];
const PIDS_EVENTS: [&str; 3] = ["pids", "pids.events", "pids.events"];
const READS: [&str; 3] = ["blkio", "blkio.throttle.read_bps_device", "io.max"];

fn line(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(key, _)| *key == name).expect("a line");
    value.parse().expect("a number")
}

fn project(quota: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Project\nmetadata: {{ name: $project }}\nspec: {{ quota: {quota} }}\n"
    )
}

fn greedy_instances_stay_within_their_projects_quota(kernel: Kernel) {
    let room = Sandbox::new(engine!(V20_10));
    let spin = instance("spin", r#"command: [sh, -c, "while :; do :; done"]"#);
    let hog = instance("hog", r#"command: [tail, /dev/zero]"#);
    room.spec("set.yaml", &(project("{ cpus: 0.5, memory: 64Mi, pids: 40 }") + &*spin + &*hog));
    let held = Loop::hold(&room);
    let group = room.project();
    let is = |name: &str, state: &str| {
        seen(&room).values().any(|seen| seen.label("instance") == name && seen.state() == state)
    };
    eventually("both are there", LONG, || is("spin", "running") && seen(&room).len() == 2);
    assert_eq!(kernel.cpus(&room, group).as_deref(), Some("50000"));
    assert_eq!(kernel.number(&room, group, MEMORY), 64 << 20);
    assert_eq!(kernel.number(&room, group, PIDS), 40);

    // The kernel ends the one that takes too much, and nobody else.
    let oom = "the hog was killed for its memory";
    eventually(oom, LONG, || {
        seen(&room).values().any(|seen| {
            seen.label("instance") == "hog"
                && (seen.0["State"]["OOMKilled"] == true || seen.0["State"]["ExitCode"] == 137)
        }) || held.replica("hog").restarts > 0
    });
    assert!(kernel.number(&room, group, MEMORY_PEAK) <= 64 << 20);
    assert!(is("spin", "running"), "it did nothing wrong");

    // It leaves as many processes behind as it is let, and then waits.
    let bomb = r#"command: [sh, -c, "yes 1000 | xargs -P 500 -n 1 sleep; exec sleep 100000"]"#;
    room.spec("bomb.yaml", &instance("bomb", bomb));
    // It is counted where a process was asked for, and not where there was no room.
    eventually("no process is left to be had", LONG, || {
        seen(&room).values().filter(|seen| seen.label("instance") == "bomb").any(|seen| {
            let own = format!("{group}/{}", seen.id());
            kernel.read(&room, &own, PIDS_EVENTS).is_some_and(|text| line(&text, "max") > 0)
        })
    });
    assert!(kernel.number(&room, group, PIDS_NOW) <= 40);

    // Two cpus for one loop that never rests, and one of them half.
    let began = (kernel.cpu_ns(&room, group), std::time::Instant::now());
    let periods = || line(&kernel.said(&room, group, STAT), "nr_periods");
    let first = periods();
    eventually("some time went by", LONG, || periods() >= first + 20);
    let used = kernel.cpu_ns(&room, group) - began.0;
    let share = used as f64 / began.1.elapsed().as_nanos() as f64;
    assert!(share <= 0.525, "{share} of a cpu, and 0.5 is the quota");
    held.stop();
}

#[test]
fn greedy_instances_stay_within_their_projects_quota_on_version_one() {
    greedy_instances_stay_within_their_projects_quota(version!(One));
}

#[test]
fn greedy_instances_stay_within_their_projects_quota_on_version_two() {
    greedy_instances_stay_within_their_projects_quota(version!(Two));
}

fn limits_change_while_containers_live(kernel: Kernel) {
    let room = Sandbox::new(engine!(V20_10));
    let with = |quota: &str, resources: &str| {
        let spec = format!("{LIVE}\nresources: {{ {resources} }}");
        room.spec("set.yaml", &(project(quota) + &*instance("web", &spec)));
    };
    with("{ cpus: 2, memory: 256Mi, pids: 100 }", "cpus: 0.5, memory: 64Mi, pids: 20");
    apply_well(&room);
    assert_settled(&room);
    let before = one(&room, "web", 0);
    let own = format!("{}/{}", room.project(), before.id());
    let group = room.project();
    let held = Loop::hold(&room);
    held.wait_until_settled();
    let is_as_before = |what: &str| {
        assert_eq!(one(&room, "web", 0).life(), before.life(), "{what}");
    };

    // By its spec.
    with("{ cpus: 2, memory: 256Mi, pids: 100 }", "cpus: 1.5, memory: 64Mi, pids: 20");
    let cpus = |group: &str| kernel.cpus(&room, group).unwrap_or_default();
    eventually("it may use more", LONG, || cpus(&own) == "150000");
    is_as_before("a limit that grows");

    // What engines do not do.
    with("{ cpus: 2, memory: 256Mi, pids: 100 }", "memory: 64Mi, pids: 20");
    eventually("it may use all that its project may", LONG, || cpus(&own) == "max");
    held.wait_until_settled();
    is_as_before("a limit that goes");
    let io = "memory: 64Mi, pids: 20, io: { readBps: { /dev/vda: 10Mi } }";
    if std::path::Path::new("/dev/vda").exists() {
        with("{ cpus: 2, memory: 256Mi, pids: 100 }", io);
        eventually("it may read less", LONG, || {
            kernel.said(&room, &own, READS).contains("10485760")
        });
        held.wait_until_settled();
        is_as_before("a rate of a device");
    }

    // A start of its engine's brings back what the engine knows; ours comes after it.
    let since = held.now();
    docker(room.engine(), &["kill", before.id()]);
    held.wait_for_step("web/0", "restart", since);
    held.wait_until_settled();
    assert_eq!(cpus(&own), "max");
    let before = one(&room, "web", 0);
    let is_as_before = |what: &str| {
        assert_eq!(one(&room, "web", 0).life(), before.life(), "{what}");
    };

    // By the quota of its project.
    with("{ cpus: 1, memory: 128Mi, pids: 50 }", "memory: 64Mi, pids: 20");
    // What is written last.
    eventually("the project may use less", LONG, || kernel.number(&room, group, PIDS) == 50);
    assert_eq!(cpus(group), "100000");
    held.wait_until_settled();
    is_as_before("a quota");

    // By another hand, right in the kernel.
    let none = if kernel.0 == Version::One { "-1" } else { "max 100000" };
    for (at, names, value, good) in [
        (own.as_str(), PIDS, "7", "20"),
        (own.as_str(), MEMORY, "33554432", "67108864"),
        (group, PIDS, "max", "50"),
        (group, CPUS, none, "100000"),
    ] {
        std::fs::write(kernel.file(&room, at, names), value).expect("written");
        // Sooner than the next list of all containers.
        eventually(&format!("{names:?} of {at} is back"), HEARD, || {
            kernel.said(&room, at, names).starts_with(good)
        });
    }
    held.wait_until_settled();
    is_as_before("another hand");
    held.stop();
    assert_settled(&room);

    // Nothing is left of it.
    let held = Loop::hold(&room);
    assert!(held.down().is_good());
    held.stop();
    assert_eq!(kernel.cpus(&room, group), None);
}

#[test]
fn limits_change_while_containers_live_on_version_one() {
    limits_change_while_containers_live(version!(One));
}

#[test]
fn limits_change_while_containers_live_on_version_two() {
    limits_change_while_containers_live(version!(Two));
}

fn quotas_are_lowered_from_within(kernel: Kernel) {
    let room = Sandbox::new(engine!(V20_10));
    let inner = format!("{}-inner", room.project());
    let with = |outer: &str, quota: &str, cpus: &str| {
        let team = format!(
            "---\napiVersion: windlass/v1\nkind: Project\nmetadata: {{ name: {inner} }}\nspec: {{ parent: $project, quota: {quota} }}\n"
        );
        let web = instance("web", &format!("{LIVE}\nresources: {{ cpus: {cpus} }}"));
        let web = web.replace("project: $project", &format!("project: {inner}"));
        room.spec("set.yaml", &(project(outer) + &*team + &*web));
    };
    let nested = format!("{}/{inner}", room.project());
    let cpus = |group: &str| kernel.cpus(&room, group).unwrap_or_default();
    // Version 1 lets no group have less than one in it, whoever is told first.
    for (outer, quota, own, wanted) in [
        ("{ cpus: 2 }", "{ cpus: 1.5 }", "1", ["200000", "150000"]),
        ("{ cpus: 0.8 }", "{ cpus: 0.5 }", "0.2", ["80000", "50000"]),
        ("{ cpus: 1.8 }", "{ cpus: 1.5 }", "1", ["180000", "150000"]),
    ] {
        with(outer, quota, own);
        apply_well(&room);
        assert_eq!([cpus(room.project()), cpus(&nested)], wanted);
        assert_settled(&room);
    }
    let out = room.windlass(&["down", "-y"]);
    assert_eq!(out.code, 0, "{out:?}");
    assert_eq!([kernel.cpus(&room, &nested), kernel.cpus(&room, room.project())], [None, None]);
}

#[test]
fn quotas_are_lowered_from_within_on_version_one() {
    quotas_are_lowered_from_within(version!(One));
}

#[test]
fn quotas_are_lowered_from_within_on_version_two() {
    quotas_are_lowered_from_within(version!(Two));
}

#[test]
fn what_a_killed_engine_left_keeps_no_quota_up() {
    let kernel = version!(One);
    let room = Sandbox::new(engine!(V20_10));
    let with = |quota: &str, cpus: &str| {
        let web = instance("web", &format!("{LIVE}\nresources: {{ cpus: {cpus} }}"));
        room.spec("set.yaml", &(project(quota) + &*web));
    };
    with("{ cpus: 2 }", "1.5");
    apply_well(&room);
    // The group of a container that is gone, with its limit.
    let group = format!("{}/{}", room.project(), "0".repeat(64));
    let file = kernel.file(&room, &group, CPUS);
    std::fs::create_dir(file.parent().expect("a group")).expect("made");
    std::fs::write(&file, "150000").expect("written");
    let held = Loop::hold(&room);
    with("{ cpus: 1 }", "0.5");
    drop(held.reread());
    let cpus = || kernel.cpus(&room, room.project()).unwrap_or_default();
    eventually("the quota is in force", LONG, || cpus() == "100000");
    held.wait_until_settled();
    assert!(!file.exists(), "what was left is gone");
    held.stop();
    assert_settled(&room);
}

/// Makes all control groups read-only for what it runs, as they are in most containers.
const READ_ONLY: &str = r#"set -e
awk '$5 ~ "^/sys/fs/cgroup" { print $5 }' /proc/self/mountinfo | sort -u >mounts
while read -r mount; do mount -o remount,bind,ro "$mount"; done <mounts
exec "$@""#;

#[test]
fn control_groups_that_are_read_only_are_told_of() {
    let room = Sandbox::new(engine!(V20_10));
    let quota = project("{ cpus: 0.5, memory: 64Mi }");
    room.spec("set.yaml", &(quota + &*instance("web", LIVE)));
    let apart = |args: &[&str], code: i32| {
        let plain = room.command(args);
        let mut command = as_root("unshare");
        command.args(["--mount", "sh", "-c", READ_ONLY, "sh"]).arg(plain.get_program());
        command.args(plain.get_args()).current_dir(room.path());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let out = command.output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    apart(&["apply"], 0);
    let before = one(&room, "web", 0);
    assert_eq!(before.state(), "running");
    for what in [["project", room.project()], ["node", "lab"]] {
        let shown = apart(&["describe", what[0], what[1]], 0);
        let line = shown.lines().find(|line| line.contains("QuotaNotEnforced"));
        let line = line.unwrap_or_else(|| panic!("{what:?}: {shown}"));
        assert!(line.contains("read-only") && line.contains("/sys/fs/cgroup writable"), "{line}");
    }
    let listed = apart(&["get", "projects"], 0);
    assert!(listed.contains("QuotaNotEnforced"), "{listed}");
    // It is no difference: nobody tries again and again.
    apart(&["plan", "--detailed-exitcode"], 0);

    // Where they can be written the quota comes into force, and the container goes on.
    let out = room.windlass(&["apply"]);
    assert_eq!(out.code, 0, "{out:?}");
    let shown = room.windlass(&["describe", "project", room.project()]).stdout;
    assert!(shown.contains("InForce") && !shown.contains("QuotaNotEnforced"), "{shown}");
    assert!(shown.contains("on node lab: cpus 500m, memory 64Mi"), "{shown}");
    assert_eq!(one(&room, "web", 0).life(), before.life());

    // What is in force stays so, and is not said to be gone for good: it only cannot be seen.
    apart(&["plan", "--detailed-exitcode"], 0);
    apart(&["down", "-y"], 0);
    assert!(seen(&room).is_empty());
}

#[test]
fn a_dedicated_cpu_is_nobody_elses() {
    let room = Sandbox::new(engine!(V20_10));
    let cpus: usize =
        docker(room.engine(), &["info", "--format", "{{.NCPU}}"]).trim().parse().expect("a number");
    if cpus < 2 {
        skip!("a machine with one cpu has none to give away");
    }
    let shared = instance("shared", LIVE);
    room.spec("set.yaml", &shared);
    apply_well(&room);
    let before = one(&room, "shared", 0);
    let own = instance("own", &format!("{LIVE}\nresources: {{ cpus: 1, cpuPolicy: dedicated }}"));
    room.spec("set.yaml", &(shared.clone() + &*own));
    apply_well(&room);
    assert_settled(&room);
    // As the kernel says it, inside.
    let may_use = |name: &str| -> Vec<usize> {
        let id = one(&room, name, 0).id().to_owned();
        let status = docker(room.engine(), &["exec", &id, "cat", "/proc/self/status"]);
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let ranges = line.expect("a line").trim().split(',').map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse().expect("a number")..=last.parse().expect("a number")
        });
        ranges.flatten().collect()
    };
    let (own_cpus, others) = (may_use("own"), may_use("shared"));
    assert_eq!((own_cpus.len(), others.len()), (1, cpus - 1), "{own_cpus:?} {others:?}");
    assert!(!others.contains(&own_cpus[0]), "{own_cpus:?} {others:?}");
    assert_eq!(one(&room, "shared", 0).life(), before.life(), "it gave a cpu up while it ran");

    // There is one left that nobody may have for itself.
    let more =
        instance("more", &format!("{LIVE}\nresources: {{ cpus: {cpus}, cpuPolicy: dedicated }}"));
    room.spec("set.yaml", &(shared.clone() + &*own + &*more));
    let held = Loop::hold(&room);
    held.apply();
    let why = held.replica("more").message.unwrap_or_default();
    assert!(why.contains("whole cpus for itself"), "{why}");
    room.spec("set.yaml", &shared);
    assert!(held.apply().is_good());
    assert_eq!(may_use("shared").len(), cpus, "what was given up comes back");
    assert_eq!(one(&room, "shared", 0).life(), before.life());
    held.stop();
    assert_settled(&room);
}
