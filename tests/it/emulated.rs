//! The tests of [`kernel`](crate::kernel) on a kernel whose control groups are of version 2, in an
//! emulated machine: most hosts with version 1 have no other way to try it.
//!
//! The machine has no disk and no network. It starts from an archive in memory that holds this very
//! program, what it is linked to, and a busybox; it runs the tests, says how they ended, and goes.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::lab::repository;

/// It takes eight seconds on an idle machine, and more where others compute.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the machine does. It has as much of a system as the tests need.
const INIT: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 none /sys/fs/cgroup
echo windlass-machine: begin
/bin/it kernel:: --test-threads=1
echo windlass-machine: end $?
poweroff -f
";

/// Programs of busybox that it needs.
const APPLETS: [&str; 8] = ["sh", "mount", "poweroff", "head", "tr", "tail", "sleep", "cat"];

/// An archive that a kernel unpacks at its start (`newc`).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
    count: u32,
}

impl Archive {
    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) {
        let name = path.to_str().expect("a path of text").trim_start_matches('/');
        self.count += 1;
        let numbers = [
            self.count,
            mode,
            0,
            0,
            1,
            0,
            u32::try_from(content.len()).expect("less than 4 GiB"),
            0,
            0,
            0,
            0,
            u32::try_from(name.len() + 1).expect("a short name"),
            0,
        ];
        self.bytes.extend(b"070701");
        for number in numbers {
            self.bytes.extend(format!("{number:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn folder(&mut self, path: &Path) {
        if path.parent().is_some() && self.folders.insert(path.to_owned()) {
            self.folder(path.parent().expect("one is above it"));
            self.entry(path, 0o40_755, &[]);
        }
    }

    fn file(&mut self, path: impl AsRef<Path>, content: &[u8]) {
        let path = path.as_ref();
        self.folder(path.parent().expect("a folder"));
        self.entry(path, 0o100_755, content);
    }

    fn link(&mut self, path: impl AsRef<Path>, to: &str) {
        let path = path.as_ref();
        self.folder(path.parent().expect("a folder"));
        self.entry(path, 0o120_777, to.as_bytes());
    }

    fn end(mut self) -> Vec<u8> {
        self.entry(Path::new("/TRAILER!!!"), 0, &[]);
        self.bytes
    }
}

/// The kernel that `tests/lab/setup` fetched.
fn kernel() -> Option<PathBuf> {
    let boot = repository().join("target/lab/kernel/boot");
    let mut found = fs::read_dir(boot).ok()?.flatten().map(|entry| entry.path());
    found.find(|path| path.to_string_lossy().contains("/vmlinuz-"))
}

/// The libraries that a program is linked to, and what loads them.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let out = Command::new("ldd").arg(program).output().expect("ldd starts");
    let text = String::from_utf8(out.stdout).expect("a text");
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

/// This program, without what only debuggers read: all of it has to fit into memory twice.
fn own_program(room: &Path) -> Vec<u8> {
    let own = std::env::current_exe().expect("a path");
    let small = room.join("it");
    let stripped = Command::new("strip").arg("-o").arg(&small).arg(&own).status();
    let stripped = stripped.is_ok_and(|status| status.success());
    fs::read(if stripped { &small } else { &own }).expect("a program")
}

fn start_archive(room: &Path) -> Result<Vec<u8>, String> {
    let busybox = static_busybox().ok_or("there is no static busybox")?;
    let mut archive = Archive::default();
    for folder in ["/proc", "/sys", "/dev", "/tmp"] {
        archive.folder(Path::new(folder));
    }
    archive.file("/bin/busybox", &fs::read(busybox).map_err(|error| error.to_string())?);
    for applet in APPLETS {
        archive.link(format!("/bin/{applet}"), "busybox");
    }
    for library in libraries(&std::env::current_exe().map_err(|error| error.to_string())?) {
        archive.file(&library, &fs::read(&library).map_err(|error| error.to_string())?);
    }
    archive.file("/bin/it", &own_program(room));
    archive.file("/init", INIT.as_bytes());
    Ok(archive.end())
}

/// All that the machine said until it ended.
fn run(kernel: &Path, archive: &Path) -> Result<String, String> {
    let mut machine = Command::new("qemu-system-x86_64")
        // A machine in a machine seldom has the processor's help, and hangs where it only seems to.
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024", "-smp", "2"])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(archive)
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("start qemu-system-x86_64: {error}"))?;
    let mut output = machine.stdout.take().ok_or("it has no output")?;
    let (sender, ended) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        // What came until it ended says enough.
        let _ = output.read_to_end(&mut said);
        // Whoever waited too long is told by `join`.
        let _ = sender.send(());
        String::from_utf8_lossy(&said).into_owned()
    });
    if ended.recv_timeout(PATIENCE).is_err() {
        machine.kill().map_err(|error| error.to_string())?;
    }
    machine.wait().map_err(|error| error.to_string())?;
    reader.join().map_err(|_| "its output could not be read".to_owned())
}

/// A busybox that needs no library.
fn static_busybox() -> Option<PathBuf> {
    let script = ". tests/lab/common && static_busybox";
    let out = Command::new("bash").args(["-c", script]).current_dir(repository()).output().ok()?;
    let path = String::from_utf8(out.stdout).ok()?;
    out.status.success().then(|| repository().join(path.trim()))
}

#[test]
fn control_groups_of_version_two() {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        skip!("this host has control groups of version 2 itself: its own tests say it");
    }
    let Some(kernel) = kernel() else {
        skip!("there is no kernel to emulate: tests/lab/setup could not fetch one");
    };
    let has_emulator = Command::new("qemu-system-x86_64").arg("--version").output();
    if !has_emulator.is_ok_and(|out| out.status.success()) {
        skip!("there is no qemu-system-x86_64");
    }
    let room = tempfile::tempdir().expect("a directory");
    let archive = match start_archive(room.path()) {
        Ok(archive) => archive,
        Err(reason) => skip!("{reason}"),
    };
    let path = room.path().join("initrd");
    fs::write(&path, archive).expect("written");
    let said = run(&kernel, &path).expect("it runs");
    if !said.contains("windlass-machine: begin") {
        skip!("the emulated machine does not start here; it said: {said:?}");
    }
    let said: String = said
        .lines()
        .skip_while(|line| !line.contains("begin"))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    assert!(said.contains("windlass-machine: end 0"), "{said}");
    assert!(
        said.contains("test kernel::limits_of_a_project_are_as_they_were_set ... ok"),
        "{said}"
    );
    assert!(!said.contains("skipped: "), "{said}");
}
