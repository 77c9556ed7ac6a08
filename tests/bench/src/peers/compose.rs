//! Compose: the old one in Python, and the present one in Go.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use super::process::{self, Ran, output};
use super::world::{TAGS, World, aim};
use super::{Healer, Peer, Step, Task, before, unpacked};
use crate::table::Failure;

/// One of both.
#[derive(Debug)]
pub(super) struct Compose {
    name: &'static str,
    /// Where it is unpacked.
    root: &'static str,
    program: &'static str,
}

/// The one in Python.
pub(super) const OLD: Compose = Compose {
    name: "docker-compose 1.29",
    root: "compose-1.29",
    program: "usr/bin/docker-compose",
};

/// What ratios besides those to [`super::docker_run::BASE`] stand on.
pub(super) const NEW_NAME: &str = "compose 2.26";

/// The one in Go.
pub(super) const NEW: Compose = Compose {
    name: NEW_NAME,
    root: "compose-2.26",
    program: "usr/libexec/docker/cli-plugins/docker-compose",
};

impl Compose {
    fn command(&self, world: &World) -> Result<Command, Failure> {
        let root: PathBuf = unpacked(self.root)?;
        let mut command = Command::new(root.join(self.program));
        aim(&mut command, world.engine);
        let libraries = before("PYTHONPATH", &root.join("usr/lib/python3/dist-packages"));
        command.env("PYTHONPATH", libraries);
        Ok(command)
    }
}

impl Peer for Compose {
    fn name(&self) -> &'static str {
        self.name
    }

    fn setup(&mut self, world: &World) -> Result<String, Failure> {
        output(self.command(world)?.args(["version", "--short"]))
    }

    fn specs(&self, _: &World, count: usize, changed: bool) -> String {
        let mut text = "services:\n".to_owned();
        for number in 1..=count {
            let image = TAGS[usize::from(changed && number == 1)];
            // Writing to a text cannot fail.
            let _ = write!(text, "  web-{number}:\n    image: {image}\n    restart: always\n");
        }
        text
    }

    fn file(&self) -> &'static str {
        "docker-compose.yml"
    }

    fn run(&mut self, world: &World, _: Step, task: &Task) -> Result<Option<Ran>, Failure> {
        let mut command = self.command(world)?;
        command.args(["--project-name", "peers", "--file"]).arg(&task.specs).args(["up", "-d"]);
        process::run(&mut command).map(Some)
    }

    fn healer(&self) -> Healer {
        Healer::Engine
    }
}
