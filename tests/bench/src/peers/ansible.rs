//! Ansible, with `community.docker.docker_container` for each instance.

use std::fmt::Write as _;
use std::process::Command;

use super::process::{self, Ran, output};
use super::world::{TAGS, World, aim};
use super::{Healer, Peer, Step, Task, before, unpacked};
use crate::table::Failure;

#[derive(Debug, Default)]
pub(super) struct Ansible;

fn command(world: &World) -> Result<Command, Failure> {
    let root = unpacked("ansible")?;
    let mut command = Command::new(root.join("usr/bin/ansible-playbook"));
    aim(&mut command, world.engine);
    command
        .env("PYTHONPATH", before("PYTHONPATH", &root.join("usr/lib/python3/dist-packages")))
        .env("ANSIBLE_HOME", world.engine.rooms().join("ansible"))
        .env("ANSIBLE_LOCALHOST_WARNING", "False")
        .env("ANSIBLE_INVENTORY_UNPARSED_WARNING", "False");
    Ok(command)
}

impl Peer for Ansible {
    fn name(&self) -> &'static str {
        "Ansible, `community.docker`"
    }

    fn setup(&mut self, world: &World) -> Result<String, Failure> {
        let said = output(command(world)?.arg("--version"))?;
        let first = said.lines().next().unwrap_or_default();
        Ok(first.trim_start_matches("ansible-playbook ").trim_matches(['[', ']']).to_owned())
    }

    fn specs(&self, _: &World, count: usize, changed: bool) -> String {
        let mut text = "- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - community.docker.docker_container:
        name: \"{{ item.name }}\"
        image: \"{{ item.image }}\"
        restart_policy: always
      loop:
"
        .to_owned();
        for number in 1..=count {
            let image = TAGS[usize::from(changed && number == 1)];
            // Writing to a text cannot fail.
            let _ = writeln!(text, "        - {{ name: web-{number}, image: \"{image}\" }}");
        }
        text
    }

    fn file(&self) -> &'static str {
        "playbook.yml"
    }

    fn run(&mut self, world: &World, _: Step, task: &Task) -> Result<Option<Ran>, Failure> {
        process::run(command(world)?.arg(&task.specs)).map(Some)
    }

    fn healer(&self) -> Healer {
        Healer::Engine
    }
}
