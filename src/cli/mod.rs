//! The commands. They read views and send requests: they hold no driver.
//!
//! Read in this order: [`args`] (what can be written), this file (from there to a verb and to an exit
//! code), [`ask`](mod@ask) and [`follow`] (how a verb gets its answer), one verb, say [`plan`], and [`show`] (how
//! answers look). [`out`] alone writes to the terminal.

mod apply;
mod approve;
mod args;
mod ask;
mod broken;
mod describe;
mod diff;
mod down;
mod explain;
mod failure;
mod follow;
mod get;
mod import;
mod logs;
mod out;
mod plan;
mod progress;
mod schema;
mod screen;
pub mod show;
mod store;
mod up;
mod validate;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use reconciler::model::quantity::Span;

use self::args::{Cli, Dir, Global, ImportVerb, Verb};
use self::failure::Failure;
use self::out::Out;
use crate::app::Settings;
use crate::{config, telemetry};

/// What a verb ends with if it does not fail.
type Ended = Result<u8, Failure>;

/// What a verb that brings something about waits at most: a large image on a slow line.
const ACT_TIMEOUT: Span = Span::seconds(300);

/// What a verb that looks waits at most: each node's answer has a deadline of its own below this.
const LOOK_TIMEOUT: Span = Span::seconds(60);

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misuse(&error),
    };
    let Cli { global, verb } = cli;
    let context = Context { out: Out::new(&global), global };
    if let Err(error) = telemetry::start() {
        context.out.failure(&Failure::new(error));
        return ExitCode::FAILURE;
    }
    let error_code = error_code(&verb);
    match context.run(verb) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            context.out.failure(&failure);
            ExitCode::from(failure.code.unwrap_or(error_code))
        }
    }
}

/// What was asked for cannot be understood, or it was help.
fn misuse(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if !error.use_stderr() {
        return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    // Not clap's own 2: for `plan --detailed-exitcode` that means changes. For `diff` it is right.
    let is_diff = std::env::args().nth(1).is_some_and(|verb| verb == "diff");
    ExitCode::from(if is_diff { DIFF_ERROR } else { 1 })
}

/// What `diff` ends with if it cannot tell: 1 means that there are differences.
const DIFF_ERROR: u8 = 2;

fn error_code(verb: &Verb) -> u8 {
    match verb {
        Verb::Diff { .. } => DIFF_ERROR,
        Verb::Up { .. }
        | Verb::Apply { .. }
        | Verb::Plan { .. }
        | Verb::Validate { .. }
        | Verb::Get { .. }
        | Verb::Describe { .. }
        | Verb::Logs { .. }
        | Verb::Approve { .. }
        | Verb::Down { .. }
        | Verb::Store { .. }
        | Verb::Explain { .. }
        | Verb::Schema { .. }
        | Verb::Import { .. }
        | Verb::Completion { .. }
        | Verb::Version => 1,
    }
}

/// What every verb gets.
#[derive(Debug)]
struct Context {
    global: Global,
    out: Out,
}

impl Context {
    fn run(&self, verb: Verb) -> Ended {
        match verb {
            Verb::Up { dir } => block_on(up::run(self, &dir)),
            Verb::Apply { dir, file, dry_run } => {
                let dir = Dir { dir: dir.dir.or(file) };
                if dry_run {
                    block_on(plan::run(self, &dir, plan::Options::default()))
                } else {
                    block_on(apply::run(self, &dir))
                }
            }
            Verb::Plan { dir, detailed_exitcode, steps } => {
                let options = plan::Options { detailed_exitcode, steps };
                block_on(plan::run(self, &dir, options))
            }
            Verb::Diff { dir } => block_on(diff::run(self, &dir)),
            Verb::Validate { dir } => validate::run(self, &dir),
            Verb::Get { kind, names, selector, project } => {
                let what = get::Wanted::new(&kind, names, selector.as_deref(), project)?;
                block_on(get::run(self, &what))
            }
            Verb::Describe { what } => block_on(describe::run(self, &what)),
            Verb::Logs { names, follow, tail, since, timestamps } => {
                let options = logs::Options { follow, tail, since, timestamps };
                block_on(logs::run(self, &names, &options))
            }
            Verb::Approve { digest } => block_on(approve::run(self, digest)),
            Verb::Down { dir } => block_on(down::run(self, &dir)),
            Verb::Store { verb } => store::run(self, verb),
            Verb::Explain { path } => explain::run(self, path.as_deref()),
            Verb::Schema { kind } => schema::run(self, kind.as_deref()),
            Verb::Import { verb: ImportVerb::Compose { file, dir, profiles, strict, force } } => {
                let options = import::Options { file, dir, profiles, strict, force };
                import::run(self, &options)
            }
            Verb::Completion { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "windlass", &mut script);
                self.out.print(&String::from_utf8_lossy(&script))?;
                Ok(0)
            }
            Verb::Version => {
                self.out.print(&format!("windlass {}\n", env!("CARGO_PKG_VERSION")))?;
                Ok(0)
            }
        }
    }

    /// Where things are; `dir` goes before the flag.
    fn settings(&self, dir: &Dir) -> Result<Settings, Failure> {
        let specs = dir.dir.as_deref().or(self.global.specs.as_deref());
        config::settings(specs, self.global.state.as_deref())
            .map_err(|error| Failure::from(error).help("name a directory with --state DIR"))
    }

    /// The same, if there are specs to read.
    fn settings_to_read(&self, dir: &Dir) -> Result<Settings, Failure> {
        let settings = self.settings(dir)?;
        if let Err(error) = std::fs::metadata(&settings.specs) {
            let specs = settings.specs.display();
            let failure = Failure::new(format!("read the specs in {specs}: {}", bare(&error)));
            return Err(failure.help(
                "name the directory of your specs: as argument, with --specs, or in WINDLASS_SPECS",
            ));
        }
        Ok(settings)
    }

    /// How long to wait.
    fn timeout(&self, default: Span) -> Duration {
        self.global.timeout.unwrap_or(default).duration()
    }

    /// Whether a specs directory was named; if not, a daemon's own will do as well.
    fn names_specs(&self, dir: &Dir) -> bool {
        dir.dir.is_some() || self.global.specs.is_some()
    }
}

/// What the system says, without the number that it adds.
fn bare(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// A path as it is when seen from anywhere.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A path as it is when seen from here, if it is below.
fn near(path: &str) -> String {
    let here = std::env::current_dir().ok();
    let below = here.as_ref().and_then(|here| Path::new(path).strip_prefix(here).ok());
    match below {
        Some(below) if !below.as_os_str().is_empty() => below.display().to_string(),
        Some(_) | None => path.to_owned(),
    }
}

/// One thread does it all: it waits for engines, files and clients, and computes little. A second
/// one would cost more at each start than it saves.
fn block_on(verb: impl Future<Output = Ended>) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(verb);
    // What is still under way is safe to be dropped; a thread that reads files is not waited for.
    runtime.shutdown_background();
    ended
}
