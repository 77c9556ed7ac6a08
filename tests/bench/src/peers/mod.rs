//! The neighbours: other tools that people deploy containers with, against windlass, on one engine.
//!
//! `bench peers` measures all of them in turns, in one run. Start with [`Peer`], which each
//! neighbour implements in a file of its own; [`rounds`] asks them, [`world`] looks at the engine
//! and is the judge of what runs, [`report`] is the table. `tests/lab/setup peers` unpacks what is
//! compared.

mod ansible;
mod compose;
mod docker_run;
mod podman;
mod process;
mod report;
mod rounds;
mod stack;
mod windlass;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use crate::lab::{Lab, load};
use crate::table::Failure;
use crate::{progress, say};
use process::Ran;
use world::{Container, World};

/// What is asked of a neighbour, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// From nothing.
    Deploy,
    /// The same once more, with nothing to change.
    Again,
    /// The first one's image is another.
    Change,
}

/// One set of instances, and where it is written.
#[derive(Debug)]
struct Task {
    /// Whoever needs more files has room here.
    dir: PathBuf,
    /// The file with the specs, which is there before a step begins.
    specs: PathBuf,
    /// Instances.
    count: usize,
}

/// Who brings back a container whose process was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Healer {
    /// The tool.
    Itself,
    /// The engine, as the tool tells it to.
    Engine,
    /// The tool has ended by then, and tells the engine nothing.
    Nobody,
}

/// A tool that deploys containers.
trait Peer {
    /// What the table calls it.
    fn name(&self) -> &'static str;

    /// Prepares it, once. Gives its version, or says why it cannot run here.
    fn setup(&mut self, world: &World) -> Result<String, Failure>;

    /// What a user writes for so many instances.
    fn specs(&self, world: &World, count: usize, changed: bool) -> String;

    /// Where in the task's directory the specs are.
    fn file(&self) -> &'static str {
        "specs"
    }

    /// What must run already when it is asked. Not measured.
    fn begin(&mut self, _: &World, _: &Task) -> Result<(), Failure> {
        Ok(())
    }

    /// Does it, and gives when it began and ended. `None` if there is nothing that a user would do.
    fn run(&mut self, world: &World, step: Step, task: &Task) -> Result<Option<Ran>, Failure>;

    /// Whether a second run makes all containers anew.
    fn again_replaces(&self) -> bool {
        false
    }

    /// Who brings back what was killed.
    fn healer(&self) -> Healer;

    /// Waits until so many containers have started since a time, and gives when the last one did.
    fn started(
        &self,
        world: &World,
        count: usize,
        since: Instant,
    ) -> Result<Option<Instant>, Failure> {
        world.started(count, since).map(Some)
    }

    /// The containers that run.
    fn running(&self, world: &World) -> Result<Vec<Container>, Failure> {
        world.running()
    }

    /// Kills the process of a container, and gives the milliseconds until one runs in its place.
    fn kill(&self, world: &World, container: &Container) -> Result<f64, Failure> {
        world.kill(container)
    }

    /// What else is to be told of it while it runs.
    fn besides(&mut self, _: &World, _: &Task) -> Result<Besides, Failure> {
        Ok(Besides::default())
    }

    /// Adds what it said itself to a failure.
    fn explain(&self, failure: Failure) -> Failure {
        failure
    }

    /// Undoes [`Peer::begin`]. Containers and networks of the engine go in any case. Not measured.
    fn end(&mut self, _: &World) -> Result<(), Failure> {
        Ok(())
    }

    /// Leaves nothing behind on the host.
    fn close(&mut self) {}
}

/// What can be told only of what goes on running.
#[derive(Debug, Default)]
struct Besides {
    /// Most memory that it ever had.
    peak_bytes: Option<u64>,
    /// Memory when all is settled, shared pages counted in shares.
    settled_bytes: Option<u64>,
    /// CPU time of a round that finds nothing to do.
    round_ms: Option<f64>,
}

/// The verb of the bench's own command line.
pub(crate) const VERB: &str = "peers";

/// What is measured if nothing else is said.
const ROUNDS: usize = 10;
const SIZES: &str = "1 10 50";

/// `bench peers [ROUNDS] [SIZES] [PEERS]`: words in one argument each; an empty one is a default.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    match compare(arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            progress(&failure);
            ExitCode::from(2)
        }
    }
}

/// Gives how many things went wrong.
fn compare(arguments: &[String]) -> Result<usize, Failure> {
    let argument =
        |at: usize| arguments.get(at).map(|text| text.trim()).filter(|text| !text.is_empty());
    let number = |text: &str| match text.parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err(format!("ROUNDS and SIZES are numbers from 1 on, and not {text}")),
    };
    let rounds = argument(0).map_or(Ok(ROUNDS), number)?;
    let sizes =
        argument(1).unwrap_or(SIZES).split_whitespace().map(number).collect::<Result<_, _>>()?;
    let words: Vec<String> =
        argument(2).unwrap_or_default().split_whitespace().map(str::to_owned).collect();

    let names: Vec<&str> = all().iter().map(|peer| peer.name()).collect();
    if let Some(word) = words.iter().find(|word| !names.iter().any(|name| name.contains(*word))) {
        return Err(format!("PEERS: nobody is called {word}; there are: {}", names.join(", ")));
    }

    let lab = Lab::default();
    let engine = lab.engine()?;
    let world = World::new(engine)?;
    let load_before = load();
    let file = crate::lab::repository().join("target/lab/peers.md");
    let mut report = report::Report { rounds, sizes, file: Some(file), ..Default::default() };
    rounds::measure(&world, &words, &mut report);
    report.facts = format!("Medians of {rounds}; {}", lab.facts(&load_before));
    report.save();
    say(&format!("\n{}", report.render()));
    Ok(report.troubles.len())
}

fn all() -> Vec<Box<dyn Peer>> {
    vec![
        Box::<docker_run::DockerRun>::default(),
        Box::new(docker_run::Xargs),
        Box::new(compose::OLD),
        Box::new(compose::NEW),
        Box::<stack::Stack>::default(),
        Box::<podman::Podman>::default(),
        Box::<ansible::Ansible>::default(),
        Box::<windlass::Apply>::default(),
        Box::<windlass::Up>::default(),
    ]
}

/// Where `tests/lab/setup peers` unpacks a tool, or why it is not there.
fn unpacked(name: &str) -> Result<PathBuf, Failure> {
    let peers = crate::lab::repository().join("target/lab/peers");
    let root = peers.join(name);
    if root.is_dir() {
        return Ok(root);
    }
    let why = std::fs::read_to_string(peers.join(format!("{name}.missing")));
    Err(why.map_or_else(
        |_| "not here; `make bench-peers` fetches it".to_owned(),
        |why| why.trim().to_owned(),
    ))
}

/// Paths in an environment variable, the first one before what the variable holds.
fn before(variable: &str, first: &Path) -> std::ffi::OsString {
    let mut all = first.as_os_str().to_owned();
    if let Some(rest) = std::env::var_os(variable) {
        all.push(":");
        all.push(rest);
    }
    all
}
