//! Asks windlass, regorus and cedar the same: seventeen checks of a container, of the same 1,000
//! specs. First all have to say the same of each; then they are asked in turns, within one run.
//!
//! The time is that of the thread on a core. Policies are compiled and questions are in each one's
//! own form before it begins.

mod judges;
mod specs;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use rustix::time::{ClockId, clock_gettime};

use crate::judges::{Judge, judges};
use crate::specs::{Sample, samples};

/// How often all of them are asked about all specs.
const RUNS: usize = 31;

/// What windlass shall need for a spec at most, in µs.
const GOAL_US: f64 = 12.0;

/// Some of the specs: what they are called, and which ones.
type Group = (&'static str, fn(&Sample) -> bool);

fn main() -> ExitCode {
    let (text, code) = match run() {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(why) => (format!("failed: {why}\n"), ExitCode::FAILURE),
    };
    // If nobody reads it, nobody misses it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}

/// The table.
fn run() -> Result<String, String> {
    let samples = samples()?;
    let mut judges = judges(&samples)?;
    let broken = agree(&samples, &mut judges)?;
    let groups: [Group; 3] = [
        ("all", |_| true),
        ("that break none", |sample| sample.is_good),
        ("that break some", |sample| !sample.is_good),
    ];
    let mut text = format!(
        "policy-peers: 17 checks of {} specs, µs each, median of {RUNS} runs in turns; all say the same, {broken} breaches\n\n",
        samples.len()
    );
    for (group, is_in) in groups {
        let numbers: Vec<usize> =
            samples.iter().enumerate().filter(|(_, one)| is_in(one)).map(|(at, _)| at).collect();
        let mut times = vec![Vec::with_capacity(RUNS); judges.len()];
        for _ in 0..RUNS {
            for (judge, times) in judges.iter_mut().zip(&mut times) {
                let began = cpu_us();
                for number in &numbers {
                    judge.ask(*number)?;
                }
                times.push((cpu_us() - began) / numbers.len() as f64);
            }
        }
        let medians: Vec<f64> = times.into_iter().map(median).collect();
        let own = medians[0];
        let _ = writeln!(text, "{} specs {group}", numbers.len());
        for (judge, time) in judges.iter().zip(&medians) {
            let ratio = time / own;
            let _ = writeln!(text, "  {:<18} {time:>7.2}   {ratio:>5.2} × windlass", judge.name());
        }
        let ahead = medians[1..].iter().all(|time| *time > own);
        if group == "all" {
            let word = if own <= GOAL_US && ahead { "reached" } else { "MISSED" };
            let _ =
                writeln!(text, "  goal: windlass ≤ {GOAL_US} µs and ahead of the others: {word}");
        }
    }
    Ok(text)
}

/// Sees that all say the same of each spec; how many breaches they found.
fn agree(samples: &[Sample], judges: &mut [Box<dyn Judge>]) -> Result<usize, String> {
    let mut broken = 0;
    for (number, sample) in samples.iter().enumerate() {
        let mut first = None;
        for judge in &mut *judges {
            let name = judge.name();
            let said = judge.verdict(number).map_err(|why| format!("{name}: {why}"))?;
            let first = first.get_or_insert_with(|| said.clone());
            if *first != said {
                return Err(format!(
                    "spec {number}: windlass says {first:?}, {name} says {said:?}"
                ));
            }
        }
        let found = first.map_or(0, |found| found.len());
        if sample.is_good && found > 0 {
            return Err(format!("spec {number} should break nothing"));
        }
        broken += found;
    }
    if broken == 0 {
        Err("nothing is broken, so nothing was compared".to_owned())
    } else {
        Ok(broken)
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The time that this thread was on a core, in µs.
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
