//! Measures windlass: against an engine alone, and against its own goals.
//!
//! `bench [NAME…]` runs the named benches, or all of them, and prints one table. Two things that
//! are compared are always measured in turns within one run. `bench hold …` is the daemon that
//! [`hold`] looks at, `bench peers` compares windlass with other tools ([`peers`]), and with a variable in its environment the binary is `windlass`, so that all
//! processes are of the same build.

mod admitting;
mod apply;
mod audit;
mod documents;
mod fleet;
mod held;
mod hold;
mod judging;
mod lab;
mod latency;
mod link;
mod peers;
mod placing;
mod planning;
mod quota;
mod restart;
mod rounds;
mod sampling;
mod settled;
mod table;
mod twin;
mod used;

use std::io::Write as _;
use std::process::ExitCode;

use lab::Lab;
use table::{Failure, Row};

/// A bench: its name, what it measures, and the function that does.
struct Bench {
    name: &'static str,
    about: &'static str,
    run: fn(&Lab) -> Result<Vec<Row>, Failure>,
}

const BENCHES: [Bench; 20] = [
    Bench { name: "latency", about: "spec written → container running", run: latency::run },
    Bench { name: "link", about: "link written → rule in force", run: link::run },
    Bench { name: "fleet", about: "50 instances from nothing", run: fleet::run },
    Bench { name: "fleet3", about: "60 instances over three engines", run: fleet::run_on_three },
    Bench { name: "restart", about: "process killed → running again", run: restart::run },
    Bench { name: "apply", about: "apply where nothing changes", run: apply::run },
    Bench { name: "audit", about: "the audit trail: a record, and a million", run: audit::run },
    Bench { name: "plan", about: "plan() of settled instances", run: planning::run },
    Bench { name: "policy", about: "policies asked about specs", run: judging::run },
    Bench { name: "place", about: "10,000 instances placed on 1,000 nodes", run: placing::run },
    Bench { name: "admit", about: "10,000 instances asked about quotas", run: admitting::run },
    Bench { name: "limit", about: "a limit changed → in the kernel", run: quota::limits },
    Bench { name: "quota", about: "greedy instances within a quota", run: quota::quotas },
    Bench { name: "round", about: "a settled round of 1,000 specs", run: rounds::run },
    Bench { name: "documents", about: "10,000 documents read", run: documents::run },
    Bench { name: "edit", about: "one of 10,000 documents changed", run: documents::edit },
    Bench { name: "hold", about: "a daemon that holds 1,000 instances", run: hold::run },
    Bench { name: "sampling", about: "1,000 control groups sampled", run: sampling::run },
    Bench { name: "usage", about: "what 1,000 containers used, kept", run: used::run },
    Bench { name: "start", about: "start with 10,000 records", run: hold::start },
];

fn main() -> ExitCode {
    if std::env::var_os(lab::AS_WINDLASS).is_some() {
        return windlass::cli::main();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(held::VERB) => match held::main(&arguments[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                say(&format!("failed {failure}\n"));
                ExitCode::FAILURE
            }
        },
        Some(peers::VERB) => peers::main(&arguments[1..]),
        _ => benches(&arguments),
    }
}

fn benches(names: &[String]) -> ExitCode {
    if let Some(unknown) =
        names.iter().find(|name| !BENCHES.iter().any(|bench| bench.name == **name))
    {
        say(&format!("there is no bench {unknown}; there are:\n"));
        for bench in &BENCHES {
            say(&format!("  {:<9} {}\n", bench.name, bench.about));
        }
        return ExitCode::from(2);
    }
    let lab = Lab::default();
    let mut rows = Vec::new();
    let mut failed = false;
    let load_before = lab::load();
    for bench in &BENCHES {
        if !names.is_empty() && !names.iter().any(|name| name == bench.name) {
            continue;
        }
        progress(&format!("{}: {} …", bench.name, bench.about));
        match (bench.run)(&lab) {
            Ok(more) => rows.extend(more),
            Err(failure) => {
                failed = true;
                progress(&format!("{}: could not run: {failure}", bench.name));
            }
        }
    }
    say(&format!("\n{}\n{}\n", table::render(&rows), lab.facts(&load_before)));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints to standard output.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout();
    // Nobody listens: then there is nothing to say.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints what is going on.
pub(crate) fn progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
