//! Watching at the limits of the system: without room for watches, and with more events than its
//! queue holds; and files that may not be read.
//!
//! Limits are lowered in a user namespace of the test's own, so no other test feels them. The node
//! is one that never answers: what is held, and not what becomes of it, is what matters here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::room::{HEARD, LONG};
use crate::lab::{Up, eventually, skipped};

/// A directory with `specs/` and `state/`.
struct House(tempfile::TempDir);

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().expect("a temporary directory"));
        fs::create_dir(house.specs()).expect("a directory");
        let node = "apiVersion: windlass/v1\nkind: Node\nmetadata: { name: none }\nspec: { endpoint: \"unix:///nowhere/engine.sock\" }\n";
        fs::write(house.specs().join("node.yaml"), node).expect("a spec is written");
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn specs(&self) -> PathBuf {
        self.path("specs")
    }

    /// Writes a file of the watched directory with one volume in it.
    fn write(&self, name: &str, volume: &str) {
        let path = self.specs().join(name);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a directory");
        let text =
            format!("apiVersion: windlass/v1\nkind: Volume\nmetadata: {{ name: {volume} }}\n");
        fs::write(path, text).expect("a spec is written");
    }

    /// Runs `program` with what `windlass` needs to find this house.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.0.path())
            .env("WINDLASS", env!("CARGO_BIN_EXE_windlass"))
            .env("WINDLASS_SPECS", self.specs())
            .env("WINDLASS_STATE", self.path("state"))
            .env("WINDLASS_LOG", "windlass::specs=debug")
            .env("NO_COLOR", "1")
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null());
        command
    }

    /// `windlass up` where `limit` is lowered to `low` until the file `more` is there; then it is
    /// `high`. `None` where the system has no user namespaces for us.
    fn up_with(&self, limit: &str, low: u32, high: u32) -> Option<Up> {
        let limit = format!("/proc/sys/user/max_inotify_{limit}");
        // The kernel ends all of it if this process is killed.
        let script = format!(
            "echo {low} > {limit} || exit 1
             setpriv --pdeathsig KILL \"$WINDLASS\" up & up=$!
             trap 'kill -TERM $up; wait $up; exit 0' TERM
             until [ -e more ]; do sleep 0.05; done
             echo {high} > {limit}; wait $up"
        );
        let probe = format!("cat {limit} && echo {low} > {limit}");
        let there = Command::new("unshare").args(["-U", "-r", "sh", "-c", &probe]).output();
        if !there.is_ok_and(|out| out.status.success()) {
            skipped("this system gives no user namespace whose inotify limits can be lowered");
            return None;
        }
        let args = ["--pdeathsig", "KILL", "unshare", "-U", "-r", "sh", "-c", &script];
        Some(Up::spawn(self.command("setpriv", &args)))
    }

    fn lift_the_limit(&self) {
        fs::write(self.path("more"), "").expect("a file is written");
    }
}

/// Whether it ever found something by a scan that the watch had not told.
fn was_surprised(up: &Up) -> bool {
    up.lines().iter().any(|line| line.contains("is_news=true"))
}

/// A limit that leaves no watcher at all, and one that leaves some watches.
fn scans_without(limit: &str, low: u32, high: u32, raise: &str) {
    let house = House::new();
    for n in 0..20 {
        house.write(&format!("d{n}/v.yaml"), &format!("v{n}"));
    }
    let Some(mut up) = house.up_with(limit, low, high) else { return };
    let said = up.wait_for_line(&format!("all inotify {limit} are in use"), LONG);
    assert!(said.contains(raise) && said.contains("found by a scan every 10 s"), "{said}");
    up.wait_for_line("specs: 21 objects", LONG);
    house.write("d19/deep/w.yaml", "w");
    up.wait_for_line("specs: 22 objects", LONG);
    house.lift_the_limit();
    up.wait_for_line("is watched again", LONG);
    // Where nothing was watched before it is seen at once now.
    let surprises = |up: &Up| up.lines().iter().filter(|l| l.contains("is_news=true")).count();
    let before = surprises(&up);
    house.write("d19/deep/x.yaml", "x");
    up.wait_for_line("specs: 23 objects", LONG);
    assert_eq!(surprises(&up), before, "{:#?}", up.lines());
    let told = up.lines().iter().filter(|line| line.contains("are in use")).count();
    assert_eq!(told, 1, "it is said once: {:#?}", up.lines());
    assert_eq!(up.end("TERM"), 0);
}

#[test]
fn without_a_watcher_it_scans_and_says_so_until_it_gets_one() {
    scans_without("instances", 0, 100, "sysctl fs.inotify.max_user_instances=1024");
}

#[test]
fn without_enough_watches_it_scans_and_says_so_until_there_are() {
    scans_without("watches", 12, 1000, "sysctl fs.inotify.max_user_watches=1048576");
}

/// Events that the kernel keeps for a watcher; it does not differ between namespaces.
fn queue() -> usize {
    let text = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
    text.trim().parse().expect("a number")
}

#[test]
fn an_overflow_is_followed_by_a_scan_and_a_new_watch() {
    // Nothing is lowered: while the process stands still, nobody takes events out.
    const EVENTS_A_FILE: usize = 3;
    const QUEUE_MAX: usize = 100_000;
    let queue = queue();
    if queue > QUEUE_MAX {
        return skipped(&format!("the queue of {queue} events takes too many files to fill"));
    }
    let house = House::new();
    let args = ["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_windlass"), "up"];
    let mut up = Up::spawn(house.command("setpriv", &args));
    up.wait_for_line("specs: 1 object", LONG);
    let signal = |name: &str, pid: u32| {
        let status = Command::new("kill").args([name, &pid.to_string()]).status();
        assert!(status.expect("kill starts").success());
    };
    signal("-STOP", up.pid());
    let files = queue / EVENTS_A_FILE + 100;
    for n in 0..files {
        house.write(&format!("f{n}.yaml"), &format!("v{n}"));
    }
    // Nobody hears of this one any more.
    house.write("late/deep/w.yaml", "w");
    signal("-CONT", up.pid());
    // Which of the two comes first is up to how much of the queue was read when the scan began.
    let all = format!("specs: {} objects", files + 2);
    let parts = ["at once than the system could tell; all of it is scanned", &all];
    eventually("the overflow is told, and all is read", LONG, || {
        parts.iter().all(|part| up.lines().iter().any(|line| line.contains(part)))
    });
    house.write("late/deep/x.yaml", "x");
    up.wait_for_line(&format!("specs: {} objects", files + 3), HEARD);
    assert!(!was_surprised(&up), "{:#?}", up.lines());
    assert_eq!(up.end("TERM"), 0);
}

/// `windlass`, to which permissions matter: root reads everything, unless it gives that away.
fn blindly(house: &House, args: &[&str]) -> Command {
    let windlass = env!("CARGO_BIN_EXE_windlass");
    let dropped =
        ["--pdeathsig", "KILL", "--bounding-set", "-dac_override,-dac_read_search", windlass];
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if is_root {
        house.command("setpriv", &[&dropped, args].concat())
    } else {
        house.command(env!("CARGO_BIN_EXE_windlass"), args)
    }
}

fn forbid(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions change");
}

#[test]
fn what_may_not_be_read_is_named_and_hides_nothing_else() {
    let house = House::new();
    house.write("good.yaml", "good");
    house.write("secret.yaml", "secret");
    house.write("closed/v.yaml", "closed");
    forbid(&house.specs().join("secret.yaml"), 0o000);
    forbid(&house.specs().join("closed"), 0o000);
    let out = blindly(&house, &["validate", "specs"]).output().expect("windlass starts");
    forbid(&house.specs().join("closed"), 0o755);
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot read the file") && said.contains("specs/secret.yaml"), "{said}");
    assert!(said.contains("cannot read the folder") && said.contains("specs/closed"), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    assert!(!said.contains("good.yaml"), "{said}");
}

#[test]
fn a_folder_that_may_not_be_read_leaves_the_others_watched() {
    let house = House::new();
    for n in 0..6 {
        house.write(&format!("d{n}/v.yaml"), &format!("v{n}"));
    }
    let closed = ["d1", "d2", "d3"].map(|name| house.specs().join(name));
    closed.iter().for_each(|folder| forbid(folder, 0o000));
    let mut up = Up::spawn(blindly(&house, &["up"]));
    let said = up.wait_for_line("found by a scan every 10 s", LONG);
    assert!(said.contains("Permission denied"), "{said}");
    up.wait_for_line("4 objects in force", LONG);
    up.wait_for_line("cannot read the folder", LONG);
    // All that can be watched is watched: found by scans alone, each would have taken one.
    for (n, objects) in [(0, 5), (4, 6), (5, 7)] {
        house.write(&format!("d{n}/w.yaml"), &format!("w{n}"));
        up.wait_for_line(&format!("{objects} objects in force"), LONG);
    }
    let scans = up.lines().iter().filter(|line| line.contains("is_news=")).count();
    assert!(scans < 3, "{:#?}", up.lines());
    closed.iter().for_each(|folder| forbid(folder, 0o755));
    up.wait_for_line("is watched again", LONG);
    assert_eq!(up.end("TERM"), 0);
}
