//! Windlass: `apply`, which ends when all is done, and `up`, which runs already.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::process::{self, Ran};
use super::world::{TAGS, World};
use super::{Besides, Healer, Peer, Step, Task};
use crate::lab::{EVENT_WITHIN, UpProcess, node, settle, spawn_up, windlass};
use crate::table::Failure;

/// The first goals are about these.
pub(super) const APPLY: &str = "windlass `apply`";
/// And these.
pub(super) const UP: &str = "windlass `up`";

/// Where both have their specs, as `windlass` is told.
const FILE: &str = "specs/set.yaml";

/// How often `up` is woken by a file that is written as it was.
const TOUCHES: u32 = 20;
/// Well past the quiet time that collects events, and the round after it.
const TOUCH_EVERY: Duration = Duration::from_millis(60);

/// A process that ends.
#[derive(Debug, Default)]
pub(super) struct Apply;

/// A process that stays.
#[derive(Default)]
pub(super) struct Up {
    process: Option<UpProcess>,
    log: PathBuf,
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

fn specs(world: &World, count: usize, changed: bool) -> String {
    let mut text = node(world.engine);
    for number in 1..=count {
        let image = TAGS[usize::from(changed && number == 1)];
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "---
apiVersion: windlass/v1
kind: Instance
metadata: {{ name: web-{number} }}
spec:
  image: {image}
"
        );
    }
    text
}

fn apply(task: &Task) -> Result<Ran, Failure> {
    process::run(&mut windlass(&task.dir, "apply")?)
}

impl Peer for Apply {
    fn name(&self) -> &'static str {
        APPLY
    }

    fn setup(&mut self, _: &World) -> Result<String, Failure> {
        Ok(version())
    }

    fn specs(&self, world: &World, count: usize, changed: bool) -> String {
        specs(world, count, changed)
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn run(&mut self, _: &World, _: Step, task: &Task) -> Result<Option<Ran>, Failure> {
        apply(task).map(Some)
    }

    fn healer(&self) -> Healer {
        Healer::Nobody
    }
}

impl Up {
    fn pid(&self) -> Result<u32, Failure> {
        self.process.as_ref().map(UpProcess::pid).ok_or_else(|| "it does not run".to_owned())
    }

    /// A spec file becomes another by a rename, as a checkout does it.
    fn write(task: &Task, text: &[u8]) -> Result<Instant, Failure> {
        let part = task.dir.join("part");
        fs::write(&part, text).map_err(|error| error.to_string())?;
        let at = Instant::now();
        fs::rename(&part, &task.specs).map_err(|error| error.to_string())?;
        Ok(at)
    }
}

impl Peer for Up {
    fn name(&self) -> &'static str {
        UP
    }

    fn setup(&mut self, _: &World) -> Result<String, Failure> {
        Ok(version())
    }

    fn specs(&self, world: &World, count: usize, changed: bool) -> String {
        specs(world, count, changed)
    }

    fn file(&self) -> &'static str {
        FILE
    }

    fn begin(&mut self, world: &World, task: &Task) -> Result<(), Failure> {
        // The node is there before, and nothing else.
        fs::write(&task.specs, node(world.engine)).map_err(|error| error.to_string())?;
        let process = self.process.insert(spawn_up(&task.dir)?);
        self.log = task.dir.join("log");
        let since = Instant::now();
        let socket = task.dir.join("state/windlass.sock");
        while !socket.exists() {
            if since.elapsed() > EVENT_WITHIN {
                return Err(format!("up (process {}) does not answer", process.pid()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        world.engine.runtime.block_on(settle());
        Ok(())
    }

    fn run(&mut self, world: &World, step: Step, task: &Task) -> Result<Option<Ran>, Failure> {
        let text = match step {
            // What a user asks beside it.
            Step::Again => return apply(task).map(Some),
            Step::Deploy => specs(world, task.count, false),
            Step::Change => specs(world, task.count, true),
        };
        // Done is what the engine says next.
        let at = Self::write(task, text.as_bytes())?;
        Ok(Some(Ran { from: at, until: at, peak_bytes: None }))
    }

    fn healer(&self) -> Healer {
        Healer::Itself
    }

    fn besides(&mut self, world: &World, task: &Task) -> Result<Besides, Failure> {
        let pid = self.pid()?;
        let peak = kib(&format!("/proc/{pid}/status"), "VmHWM:")?;
        let settled = kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")?;
        world.engine.runtime.block_on(settle());
        let text = fs::read(&task.specs).map_err(|error| error.to_string())?;
        let before = cpu(pid)?;
        for _ in 0..TOUCHES {
            Self::write(task, &text)?;
            std::thread::sleep(TOUCH_EVERY);
        }
        let round = cpu(pid)?.saturating_sub(before) / TOUCHES;
        Ok(Besides {
            peak_bytes: Some(peak * 1024),
            settled_bytes: Some(settled * 1024),
            round_ms: Some(crate::table::ms(round)),
        })
    }

    fn end(&mut self, _: &World) -> Result<(), Failure> {
        self.process = None;
        Ok(())
    }

    fn explain(&self, failure: Failure) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        format!("{failure}; `up` said last: {last}")
    }
}

fn kib(path: &str, field: &str) -> Result<u64, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    kib.ok_or_else(|| format!("{path} has no {field}"))
}

/// CPU time of all threads of a process, to the nanosecond.
fn cpu(pid: u32) -> Result<Duration, Failure> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&path).map_err(|error| format!("{path}: {error}"))?;
    let one = |task: &Path| {
        let text = fs::read_to_string(task.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    let nanoseconds = tasks.flatten().filter_map(|task| one(&task.path())).sum();
    Ok(Duration::from_nanos(nanoseconds))
}
