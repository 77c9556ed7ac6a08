//! `docker stack deploy` on a swarm of one node.
//!
//! The swarm is made for each turn, before it is measured, so that nobody else has it beside them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::process::{self, Ran, output};
use super::world::{TAGS, World};
use super::{Healer, Peer, Step, Task};
use crate::lab::EVENT_WITHIN;
use crate::table::Failure;

/// How often it is asked whether all is gone.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Stack {
    /// Turns so far: a swarm forgets its networks late, so each turn's are called otherwise.
    turns: usize,
}

impl Stack {
    fn stack(&self) -> String {
        format!("swarm{}", self.turns)
    }
}

impl Peer for Stack {
    fn name(&self) -> &'static str {
        "`docker stack deploy`"
    }

    fn setup(&mut self, world: &World) -> Result<String, Failure> {
        output(world.docker().args(["version", "--format", "{{.Server.Version}}"]))
    }

    fn specs(&self, _: &World, count: usize, changed: bool) -> String {
        let mut text = "version: \"3.7\"\nservices:\n".to_owned();
        for number in 1..=count {
            let image = TAGS[usize::from(changed && number == 1)];
            // Not every kernel has the module that virtual addresses need. Writing cannot fail.
            let _ = write!(
                text,
                "  web-{number}:\n    image: {image}\n    deploy: {{ endpoint_mode: dnsrr }}\n"
            );
        }
        text
    }

    fn file(&self) -> &'static str {
        "stack.yml"
    }

    fn begin(&mut self, world: &World, _: &Task) -> Result<(), Failure> {
        self.turns += 1;
        output(world.docker().args(["swarm", "init", "--advertise-addr", "docker0"])).map(drop)
    }

    fn run(&mut self, world: &World, _: Step, task: &Task) -> Result<Option<Ran>, Failure> {
        let mut command = world.docker();
        // There is no registry to ask for digests.
        command.args(["stack", "deploy", "--resolve-image", "never", "--compose-file"]);
        process::run(command.arg(&task.specs).arg(self.stack())).map(Some)
    }

    fn healer(&self) -> Healer {
        Healer::Itself
    }

    fn end(&mut self, world: &World) -> Result<(), Failure> {
        output(world.docker().args(["stack", "rm", &self.stack()]))?;
        let since = Instant::now();
        while !output(world.docker().args(["ps", "--all", "--quiet"]))?.is_empty()
            || output(world.docker().args(["network", "ls"]))?.contains(&self.stack())
        {
            if since.elapsed() > EVENT_WITHIN {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        output(world.docker().args(["swarm", "leave", "--force"])).map(drop)
    }
}
