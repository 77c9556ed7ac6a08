//! Quotas in the kernel: what a project may use, however many of its instances misbehave; limits
//! that change while containers live, whoever changes them.

use std::path::PathBuf;

use super::room::{HEARD, LIVE, LONG, Loop, apply_well, assert_settled, instance, one, seen};
use crate::lab::{Sandbox, docker, eventually};

/// A file of a control group of version 1; `None` if it is not there.
fn read(room: &Sandbox<'_>, controller: &str, group: &str, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(path(room, controller, group).join(file)).ok()?;
    Some(text.trim_end().to_owned())
}

/// The same, of one that is there.
fn said(room: &Sandbox<'_>, controller: &str, group: &str, file: &str) -> String {
    read(room, controller, group, file).unwrap_or_else(|| panic!("no {file} of {group}"))
}

fn path(room: &Sandbox<'_>, controller: &str, group: &str) -> PathBuf {
    let root = room.cgroup_root().trim_start_matches('/');
    PathBuf::from("/sys/fs/cgroup").join(controller).join(root).join(group)
}

/// Why these tests cannot say anything here, if so.
fn other_kernel() -> Option<&'static str> {
    let is_two = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    is_two.then_some("these tests read files of control groups of version 1")
}

fn project(quota: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Project\nmetadata: {{ name: $project }}\nspec: {{ quota: {quota} }}\n"
    )
}

#[test]
fn greedy_instances_stay_within_their_projects_quota() {
    if let Some(reason) = other_kernel() {
        skip!("{reason}");
    }
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
    assert_eq!(said(&room, "cpu", group, "cpu.cfs_quota_us"), "50000");
    assert_eq!(said(&room, "memory", group, "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(said(&room, "pids", group, "pids.max"), "40");

    // The kernel ends the one that takes too much, and nobody else.
    let oom = "the hog was killed for its memory";
    eventually(oom, LONG, || {
        seen(&room).values().any(|seen| {
            seen.label("instance") == "hog"
                && (seen.0["State"]["OOMKilled"] == true || seen.0["State"]["ExitCode"] == 137)
        }) || held.replica("hog").restarts > 0
    });
    let number = |controller: &str, file: &str| -> u64 {
        said(&room, controller, group, file).parse().expect("a number")
    };
    assert!(number("memory", "memory.max_usage_in_bytes") <= 64 << 20);
    assert!(is("spin", "running"), "it did nothing wrong");

    // It leaves as many processes behind as it is let, and then waits.
    let bomb = r#"command: [sh, -c, "yes 1000 | xargs -P 500 -n 1 sleep; exec sleep 100000"]"#;
    room.spec("bomb.yaml", &instance("bomb", bomb));
    // Version 1 counts where a process was asked for, and not where there was no room.
    eventually("no process is left to be had", LONG, || {
        seen(&room).values().filter(|seen| seen.label("instance") == "bomb").any(|seen| {
            let own = format!("{group}/{}", seen.id());
            read(&room, "pids", &own, "pids.events").is_some_and(|text| text != "max 0")
        })
    });
    assert!(number("pids", "pids.current") <= 40);

    // Two cpus for one loop that never rests, and one of them half.
    let began = (number("cpuacct", "cpuacct.usage"), std::time::Instant::now());
    let periods = || -> u64 {
        let stat = said(&room, "cpu", group, "cpu.stat");
        stat.lines()
            .find_map(|line| line.strip_prefix("nr_periods "))
            .expect("a line")
            .parse()
            .expect("a number")
    };
    let first = periods();
    eventually("some time went by", LONG, || periods() >= first + 20);
    let used = number("cpuacct", "cpuacct.usage") - began.0;
    let share = used as f64 / began.1.elapsed().as_nanos() as f64;
    assert!(share <= 0.525, "{share} of a cpu, and 0.5 is the quota");
    held.stop();
}

#[test]
fn limits_change_while_containers_live() {
    if let Some(reason) = other_kernel() {
        skip!("{reason}");
    }
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
    let quota = |group: &str| said(&room, "cpu", group, "cpu.cfs_quota_us");
    eventually("it may use more", LONG, || quota(&own) == "150000");
    is_as_before("a limit that grows");

    // What engines do not do.
    with("{ cpus: 2, memory: 256Mi, pids: 100 }", "memory: 64Mi, pids: 20");
    eventually("it may use all that its project may", LONG, || quota(&own) == "-1");
    held.wait_until_settled();
    is_as_before("a limit that goes");
    let io = "memory: 64Mi, pids: 20, io: { readBps: { /dev/vda: 10Mi } }";
    let rate = |group: &str| said(&room, "blkio", group, "blkio.throttle.read_bps_device");
    if std::path::Path::new("/dev/vda").exists() {
        with("{ cpus: 2, memory: 256Mi, pids: 100 }", io);
        eventually("it may read less", LONG, || rate(&own).ends_with(" 10485760"));
        held.wait_until_settled();
        is_as_before("a rate of a device");
    }

    // A start of its engine's brings back what the engine knows; ours comes after it.
    let since = held.now();
    docker(room.engine(), &["kill", before.id()]);
    held.wait_for_step("web/0", "restart", since);
    held.wait_until_settled();
    assert_eq!(quota(&own), "-1");
    let before = one(&room, "web", 0);
    let is_as_before = |what: &str| {
        assert_eq!(one(&room, "web", 0).life(), before.life(), "{what}");
    };

    // By the quota of its project.
    with("{ cpus: 1, memory: 128Mi, pids: 50 }", "memory: 64Mi, pids: 20");
    eventually("the project may use less", LONG, || quota(group) == "100000");
    assert_eq!(said(&room, "pids", group, "pids.max"), "50");
    held.wait_until_settled();
    is_as_before("a quota");

    // By another hand, right in the kernel.
    for (controller, at, file, value, good) in [
        ("pids", own.as_str(), "pids.max", "7", "20"),
        ("memory", own.as_str(), "memory.limit_in_bytes", "33554432", "67108864"),
        ("pids", group, "pids.max", "max", "50"),
        ("cpu", group, "cpu.cfs_quota_us", "-1", "100000"),
    ] {
        std::fs::write(path(&room, controller, at).join(file), value).expect("written");
        // Sooner than the next list of all containers.
        eventually(&format!("{file} of {at} is back"), HEARD, || {
            said(&room, controller, at, file) == good
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
    assert_eq!(read(&room, "cpu", group, "cpu.cfs_quota_us"), None);
}
