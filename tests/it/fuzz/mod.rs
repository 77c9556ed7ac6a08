//! A bounded run of what `tests/fuzz` hunts with: its corpus, and mutations of it from a fixed seed.
//!
//! Each target runs in a process of its own, which the kernel ends when it takes too much memory or
//! too much time. So a hang and a bomb fail a test as a panic does, and the input at which that
//! happened is kept for `tests/fuzz/corpus`.

mod mutate;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use windlass::fuzzing::{TARGETS, run};

use self::mutate::Mutator;
use crate::lab::repository;

/// Mutations of a target: some seconds in a debug build.
const MUTATIONS: u32 = 2_500;

/// For a request a daemon is begun, and a journal is files.
const MUTATIONS_COSTLY: u32 = 600;

/// A script is run about several objects, twice and with a trace, and some use up all of their
/// operations.
const MUTATIONS_OF_SCRIPTS: u32 = 200;

/// The seed, if [`OTHER_SEED`] says no other one. That it is always the same makes a failure appear twice.
const SEED: u64 = 0x77_69_6e_64_6c_61_73_73;

/// Address space, in bytes. Without any input the process has about 400 MB, mostly of stacks and of
/// the program's own file; an input has some kilobytes.
const ADDRESS_SPACE_MAX: u64 = 1 << 30;

/// Processor time of a whole target, in seconds: ten times what it takes on a slow machine.
const CPU_S_MAX: u64 = 150;

/// Processor time of one input, in seconds. The worst ones are scripts that use all of their
/// operations on each object, a second in a debug build.
const INPUT_CPU_S_MAX: i64 = 15;

/// Has other mutations played: `WINDLASS_FUZZ_SEED=7 cargo test --test it -- fuzz::`.
const OTHER_SEED: &str = "WINDLASS_FUZZ_SEED";

/// Says to the process for a target which one, and where it keeps the input that it is at.
const TARGET: &str = "WINDLASS_FUZZ_TARGET";
const INPUT: &str = "WINDLASS_FUZZ_INPUT";

macro_rules! targets {
    ($($name:ident),*) => {
        $(
            #[test]
            fn $name() {
                play(stringify!($name));
            }
        )*

        #[test]
        fn each_target_is_played() {
            let played = [$(stringify!($name)),*];
            assert_eq!(played, TARGETS.map(|target| target.name));
        }
    };
}

targets!(archives, compose, engine, journal, policies, records, requests, specs);

/// Plays a target in another process.
fn play(target: &str) {
    let room = tempfile::tempdir().expect("a directory");
    let input = room.path().join("input");
    let out = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "fuzz::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(TARGET, target)
        .env(INPUT, &input)
        .env("TMPDIR", room.path())
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("it starts");
    if out.status.success() {
        return;
    }
    let kept = repository().join("target/fuzz-found");
    fs::create_dir_all(&kept).expect("a directory");
    let kept = kept.join(target);
    // There is none if it did not come to the first one.
    let _ = fs::copy(&input, &kept);
    let said = String::from_utf8_lossy(&out.stderr);
    let said: Vec<&str> = said.lines().collect();
    let said = said[said.len().saturating_sub(20)..].join("\n");
    panic!(
        "{target}: {} at {} (SIGXCPU: it takes too long; SIGABRT: too much memory, or stack)\n{said}\n\
         make it small, mend what it shows, and keep it in tests/fuzz/corpus/{target}",
        out.status,
        kept.display()
    );
}

/// The process that [`play`] starts.
#[test]
#[ignore = "the other tests run it, each for its target"]
fn child() {
    let Some(target) = std::env::var_os(TARGET) else { return };
    let target = target.into_string().expect("a name");
    let at = PathBuf::from(std::env::var_os(INPUT).expect("a file"));
    let limit = |resource, max| {
        setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) }).expect("a limit");
    };
    limit(Resource::As, ADDRESS_SPACE_MAX);
    limit(Resource::Cpu, CPU_S_MAX);
    limit(Resource::Core, 0);

    let dir = repository().join("tests/fuzz/corpus").join(&target);
    let corpus = files(&dir);
    assert!(!corpus.is_empty(), "{} has no inputs", dir.display());
    for input in &corpus {
        one(&target, input, &at);
    }
    let words = fs::read_to_string(repository().join("tests/fuzz/words").join(&target));
    let seed = std::env::var(OTHER_SEED).ok().and_then(|digits| digits.parse().ok());
    let mut mutator = Mutator::new(seed.unwrap_or(SEED), &corpus, &words.unwrap_or_default());
    let mutations = match &*target {
        "policies" => MUTATIONS_OF_SCRIPTS,
        "journal" | "requests" => MUTATIONS_COSTLY,
        _ => MUTATIONS,
    };
    for _ in 0..mutations {
        one(&target, &mutator.next(), &at);
    }
}

/// Runs one input, which is on disk by then.
fn one(target: &str, input: &[u8], at: &Path) {
    fs::write(at, input).expect("written");
    let before = clock_gettime(ClockId::ProcessCPUTime);
    run(target, input);
    let took = clock_gettime(ClockId::ProcessCPUTime).tv_sec - before.tv_sec;
    assert!(took < INPUT_CPU_S_MAX, "this input takes {took} s");
}

/// The contents of files, by their names.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let found = fs::read_dir(dir).expect("a corpus").map(|entry| entry.expect("a file").path());
    let mut paths: Vec<_> = found.collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("an input")).collect()
}
