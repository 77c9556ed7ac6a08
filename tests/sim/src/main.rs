//! Plays seeds: `sim --seed N`, `sim --seeds A..B`, `sim --minutes M`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use sim::play::play;
use sim::print;

const USAGE: &str = "sim [--aloud] [--first] --seed N | --seeds A..B | --minutes M [--from N]";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            print(&format!("{why}\n{USAGE}"));
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<bool, String> {
    let (mut seeds, mut minutes, mut aloud, mut first) = (None, None, false, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || -> Result<u64, String> {
            let text = args.next().ok_or_else(|| format!("{arg} needs a number"))?;
            text.parse().map_err(|_| format!("{text} is no number"))
        };
        match arg.as_str() {
            "--aloud" => aloud = true,
            // Stops at the first seed that fails.
            "--first" => first = true,
            "--seed" => {
                let seed = number()?;
                seeds = Some(seed..seed.saturating_add(1));
            }
            "--seeds" => {
                let text = args.next().ok_or("--seeds needs A..B")?;
                let (from, to) = text.split_once("..").ok_or("--seeds needs A..B")?;
                let parse = |text: &str| text.parse().map_err(|_| format!("{text} is no number"));
                seeds = Some(parse(from)?..parse(to)?);
            }
            "--minutes" => minutes = Some(number()?),
            "--from" => seeds = Some(number()?..u64::MAX),
            other => return Err(format!("what is {other}?")),
        }
    }
    let seeds = match (seeds, minutes) {
        (Some(seeds), _) => seeds,
        (None, Some(_)) => 1_000_000..u64::MAX,
        (None, None) => return Err("which seeds?".to_owned()),
    };
    let limit = minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let began = Instant::now();
    let (mut played, mut events, mut steps, mut rounds) = (0_u64, 0, 0, 0);
    let (mut failed, mut known) = (0_u64, 0_u64);
    for seed in seeds {
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            break;
        }
        let outcome = play(seed, aloud);
        played += 1;
        events += outcome.events;
        steps += outcome.steps;
        rounds = rounds.max(outcome.rounds);
        for what in outcome.known {
            known += 1;
            print(&format!("seed {seed} shows what is known: {what}"));
        }
        let reason = sim::known(seed).filter(|_| outcome.failed.is_some());
        if let Some(reason) = reason {
            known += 1;
            let why = outcome.failed.as_deref().and_then(|why| why.lines().next()).unwrap_or("");
            print(&format!("seed {seed} fails, which is known ({reason}): {why}"));
        } else if let Some(why) = outcome.failed {
            failed += 1;
            print(&format!("seed {seed} failed: {why}\nagain: make sim SEED={seed}\n"));
            if first {
                break;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64().max(0.001);
    let per_second = events as f64 / seconds;
    print(&format!(
        "{played} seeds, {failed} failed, {known} times what is known; {events} events ({per_second:.0} a second), {steps} steps, \
         at most {rounds} rounds to settle, {seconds:.1} s"
    ));
    Ok(failed == 0)
}
