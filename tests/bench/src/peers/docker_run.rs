//! `docker run -d` by a shell: one after the other, and eight at a time.

use std::process::Command;

use super::process::{self, Ran, output};
use super::world::{TAGS, World, aim};
use super::{Healer, Peer, Step, Task, before};
use crate::table::Failure;

/// What all ratios stand on.
pub(super) const BASE: &str = "`docker run -d`, a loop";

/// One after the other.
#[derive(Debug, Default)]
pub(super) struct DockerRun;

/// Eight at a time.
#[derive(Debug)]
pub(super) struct Xargs;

impl Peer for DockerRun {
    fn name(&self) -> &'static str {
        BASE
    }

    fn setup(&mut self, world: &World) -> Result<String, Failure> {
        version(world)
    }

    fn specs(&self, _: &World, count: usize, changed: bool) -> String {
        let run = "docker run -d --restart always --name";
        if changed {
            // There is no other way to give a container another image.
            return format!("docker rm -f web-1\n{run} web-1 {}\n", TAGS[1]);
        }
        format!("for n in $(seq {count}); do\n  {run} web-$n {}\ndone\n", TAGS[0])
    }

    fn run(&mut self, world: &World, step: Step, task: &Task) -> Result<Option<Ran>, Failure> {
        shell(world, step, task)
    }

    fn healer(&self) -> Healer {
        Healer::Engine
    }
}

impl Peer for Xargs {
    fn name(&self) -> &'static str {
        "`docker run -d`, `xargs -P8`"
    }

    fn setup(&mut self, world: &World) -> Result<String, Failure> {
        version(world)
    }

    fn specs(&self, world: &World, count: usize, changed: bool) -> String {
        if changed {
            return DockerRun.specs(world, count, changed);
        }
        let image = TAGS[0];
        format!("seq {count} | xargs -P8 -I@ docker run -d --restart always --name web-@ {image}\n")
    }

    fn run(&mut self, world: &World, step: Step, task: &Task) -> Result<Option<Ran>, Failure> {
        shell(world, step, task)
    }

    fn healer(&self) -> Healer {
        Healer::Engine
    }
}

fn version(world: &World) -> Result<String, Failure> {
    output(world.docker().args(["version", "--format", "{{.Client.Version}}"]))
}

fn shell(world: &World, step: Step, task: &Task) -> Result<Option<Ran>, Failure> {
    if step == Step::Again {
        // A second run fails, since the names are taken.
        return Ok(None);
    }
    let mut shell = Command::new("sh");
    shell.arg("-e").arg(&task.specs);
    aim(&mut shell, world.engine);
    if let Some(dir) = std::path::Path::new(world.engine.program()).parent() {
        shell.env("PATH", before("PATH", dir));
    }
    process::run(&mut shell).map(Some)
}
