//! The commands. They read views and send requests: they hold no driver.
//!
//! Read in this order: [`args`] (what can be written), this file (from there to a verb and to an exit
//! code), [`ask`](mod@ask) and [`follow`] (how a verb gets its answer), one verb, say [`plan`], and [`show`] (how
//! answers look). [`out`] alone writes to the terminal.

mod apply;
mod approve;
mod args;
mod ask;
mod audit;
mod broken;
mod completion;
mod describe;
mod diff;
mod down;
mod events;
mod exec;
mod explain;
mod failure;
mod follow;
mod format;
mod get;
mod import;
mod logs;
mod metrics;
mod node;
mod out;
mod plan;
mod policy;
mod progress;
mod rollout;
mod saved;
mod schema;
mod screen;
mod select;
pub mod show;
mod sorting;
mod stdin;
mod store;
mod suspend;
mod terminal;
mod top;
mod up;
mod usage;
mod validate;
mod verbs;
mod wait;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};
use reconciler::model::quantity::Span;

use self::args::{Cli, Dir, Global, ImportVerb, Output, Verb};
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
    let Cli { mut global, verb } = cli;
    let reports = reports(&verb);
    let format = global.asked.format();
    global.output = format.unwrap_or_default();
    let context = Context { out: Out::new(&global), global };
    if let Err(error) = telemetry::start() {
        context.out.failure(&Failure::new(error));
        return ExitCode::FAILURE;
    }
    let error_code = error_code(&verb);
    let asked = context.global.asked;
    if format.is_none() && !reports.contains(&asked) {
        let known = ["text", "wide", "json", "yaml", "name"].map(str::to_owned).into_iter();
        let known: Vec<String> = known.chain(reports.iter().map(|form| form.word())).collect();
        let failure = Failure::new(format!("-o {} is a form of other reports", asked.word()));
        let failure = failure.help(format!("here {} are known", known.join(", ")));
        context.out.failure(&failure);
        return ExitCode::from(error_code);
    }
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
    // Not clap's own 2: for `plan --detailed-exitcode` that means changes. For these it is right.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let cli = Cli::command();
    let verb = words.iter().find(|word| cli.find_subcommand(word).is_some());
    ExitCode::from(match verb.map(String::as_str) {
        Some("diff") => DIFF_ERROR,
        Some("audit") => audit::NOT_CHECKED,
        Some("policy") => policy::NO_VERDICT,
        Some("exec") => exec::EXEC_MISUSE,
        Some(_) | None => 1,
    })
}

/// The forms of reports that a verb can be written in.
fn reports(verb: &Verb) -> &'static [Output] {
    if let Verb::Policy { verb } = verb {
        verb.reports()
    } else if matches!(verb, Verb::Audit { verb } if verb.is_report()) {
        &[Output::Html, Output::Csv, Output::Markdown]
    } else if matches!(verb, Verb::Usage { .. }) {
        &[Output::Csv]
    } else {
        &[]
    }
}

/// What `diff` ends with if it cannot tell: 1 means that there are differences.
const DIFF_ERROR: u8 = 2;

fn error_code(verb: &Verb) -> u8 {
    match verb {
        Verb::Diff { .. } => DIFF_ERROR,
        Verb::Audit { verb } if verb.is_verify() => audit::NOT_CHECKED,
        Verb::Exec { .. } => exec::EXEC_ERROR,
        Verb::Policy { .. } => policy::NO_VERDICT,
        Verb::Up { .. }
        | Verb::Apply { .. }
        | Verb::Plan { .. }
        | Verb::Show { .. }
        | Verb::Suspend { .. }
        | Verb::Resume { .. }
        | Verb::Node { .. }
        | Verb::Rollout { .. }
        | Verb::Validate { .. }
        | Verb::Get { .. }
        | Verb::Describe { .. }
        | Verb::Logs { .. }
        | Verb::Events { .. }
        | Verb::Top { .. }
        | Verb::Usage { .. }
        | Verb::Metrics
        | Verb::Wait { .. }
        | Verb::Approve { .. }
        | Verb::Down { .. }
        | Verb::Audit { .. }
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
            Verb::Up { dir, usage_every, metrics } => {
                block_on(up::run(self, &dir, up::Options { usage_every, metrics }))
            }
            Verb::Apply { dir, file, plan, dry_run } => {
                let dir = Dir { dir: dir.dir.or(file) };
                let saved = plan.or_else(|| dir.dir.clone().filter(|path| saved::is_plan(path)));
                if let Some(saved) = saved {
                    if dry_run {
                        return saved::show(self, &saved);
                    }
                    block_on(saved::apply(self, &saved))
                } else if dry_run {
                    block_on(plan::run(self, &dir, plan::Options::default()))
                } else {
                    block_on(apply::run(self, &dir))
                }
            }
            Verb::Plan { dir, detailed_exitcode, steps, out } => {
                let options = plan::Options { detailed_exitcode, steps, out };
                block_on(plan::run(self, &dir, options))
            }
            Verb::Show { file } => saved::show(self, &file),
            Verb::Suspend { what, project, reason } => {
                let wanted = suspend::Wanted { what, project };
                block_on(suspend::suspend(self, &wanted, reason))
            }
            Verb::Resume { what, project } => {
                block_on(suspend::resume(self, &suspend::Wanted { what, project }))
            }
            Verb::Node { verb } => block_on(node::run(self, verb)),
            Verb::Rollout { verb } => block_on(rollout::run(self, verb)),
            Verb::Diff { dir } => block_on(diff::run(self, &dir)),
            Verb::Validate { dir } => validate::run(self, &dir),
            Verb::Get { kind, names, selector, project, sort_by, watch } => {
                let project = project.meant();
                let asked = get::Asked { names, selector, project, sort_by, watch };
                block_on(get::run(self, &get::Wanted::new(&kind, asked)?))
            }
            Verb::Describe { what } => block_on(describe::run(self, &what)),
            Verb::Logs { names, follow, tail, since, timestamps } => {
                let options = logs::Options { follow, tail, since, timestamps };
                block_on(logs::run(self, &names, &options))
            }
            Verb::Exec { name, stdin, tty, user, workdir, env, command } => {
                let options = exec::Options { command, stdin, tty, user, workdir, env };
                block_on(exec::run(self, &name, options))
            }
            Verb::Events { object, follow, since } => {
                block_on(events::run(self, &events::Options { follow, since, object }))
            }
            Verb::Top { kind, sort_by, no_stream } => {
                block_on(top::run(self, top::Options { kind, sort_by, no_stream }))
            }
            Verb::Usage { project, instance, since, until, by } => {
                let project = project.meant();
                block_on(usage::run(self, usage::Options { project, instance, since, until, by }))
            }
            Verb::Metrics => block_on(metrics::run(self)),
            Verb::Wait { what, objects, selector, project } => {
                let project = project.meant();
                block_on(wait::run(self, &wait::Options { what, objects, selector, project }))
            }
            Verb::Approve { digest } => block_on(approve::run(self, digest)),
            Verb::Down { dir } => block_on(down::run(self, &dir)),
            Verb::Audit { verb } => audit::run(self, verb),
            Verb::Policy { verb } => policy::run(self, verb),
            Verb::Store { verb } => store::run(self, verb),
            Verb::Explain { path } => explain::run(self, path.as_deref()),
            Verb::Schema { kind } => schema::run(self, kind.as_deref()),
            Verb::Import { verb: ImportVerb::Compose { file, dir, profiles, strict, force } } => {
                let options = import::Options { file, dir, profiles, strict, force };
                import::run(self, &options)
            }
            Verb::Completion { shell } => completion::run(self, shell),
            Verb::Version => {
                self.out.print(&format!("windlass {}\n", env!("CARGO_PKG_VERSION")))?;
                Ok(0)
            }
        }
    }

    /// Whether the specs are to be read from standard input.
    fn reads_stdin(&self, dir: &Dir) -> bool {
        dir.dir.as_deref().or(self.global.specs.as_deref()).is_some_and(stdin::is_meant)
    }

    /// Where things are; `dir` goes before the flag.
    fn settings(&self, dir: &Dir) -> Result<Settings, Failure> {
        if self.reads_stdin(dir) {
            let failure = Failure::new("no set is read from standard input here");
            return Err(failure.help("`validate -`, `plan -` and `diff -` read one"));
        }
        let specs = dir.dir.as_deref().or(self.global.specs.as_deref());
        let Global { state, addresses, policies, audit_keep, .. } = &self.global;
        config::settings(specs, state.as_deref(), *addresses, policies.as_deref(), *audit_keep)
            .map_err(|error| Failure::from(error).help("name a directory with --state DIR"))
    }

    /// The same, if there are specs to read.
    fn settings_to_read(&self, dir: &Dir) -> Result<Settings, Failure> {
        if self.reads_stdin(dir) {
            let specs = stdin::read()?;
            return self.settings(&Dir { dir: Some(specs) });
        }
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
