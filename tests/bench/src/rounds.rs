//! What a round costs that finds everything as declared, and whether it asks the engine anything.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use crate::held::Places;
use crate::hold::{Daemon, write_specs};
use crate::lab::Lab;
use crate::table::{Failure, Row};

const INSTANCES: usize = 1_000;
const CPU_MAX_MS: f64 = 10.0;

/// Rounds of one sample: the clock is fine enough for one, the load on the machine is not.
const ROUNDS: usize = 50;
const SAMPLES: usize = 20;

/// Edits; each is waited for.
const EDITS: usize = 20;
const EDIT_WAIT: Duration = Duration::from_millis(200);

/// So that the loop's own work after settling is over.
const REST: Duration = Duration::from_secs(12);

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    let dir = TempDir::new().map_err(|error| error.to_string())?;
    let specs = Places::new(dir.path()).specs;
    write_specs(&specs, INSTANCES)?;
    let mut daemon = Daemon::start(dir.path(), INSTANCES)?;
    std::thread::sleep(REST);

    let before = daemon.mark()?;
    let mut woken = Vec::new();
    for _ in 0..SAMPLES {
        let from = daemon.mark()?;
        // One more round follows those that are asked for.
        daemon.wake(ROUNDS - 1)?;
        woken.push((daemon.mark()?.cpu_ms - from.cpu_ms) / ROUNDS as f64);
    }
    let calls = daemon.mark()?.calls - before.calls;

    let path = specs.join("set-7.yaml");
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let from = daemon.mark()?;
    let mut edited = Vec::new();
    for edit in 0..EDITS {
        let before = daemon.mark()?;
        let part = dir.path().join("part");
        fs::write(&part, format!("# edit {edit}\n{text}")).map_err(|error| error.to_string())?;
        fs::rename(&part, &path).map_err(|error| error.to_string())?;
        std::thread::sleep(EDIT_WAIT);
        edited.push(daemon.mark()?.cpu_ms - before.cpu_ms);
    }
    let after = daemon.mark()?;
    if after.readings - from.readings < EDITS as u64 {
        return Err(format!("{} of {EDITS} edits were seen", after.readings - from.readings));
    }
    daemon.stop()?;
    Ok(vec![
        Row::new("round", "1,000 specs, woken: CPU a round", "ms", woken).at_most(CPU_MAX_MS),
        Row::new(
            "round",
            "1,000 specs, woken: engine calls in 1,000 rounds",
            "calls",
            vec![calls as f64],
        )
        .at_most(0.0),
        Row::new("round", "a comment in one of 100 files is edited: CPU", "ms", edited)
            .at_most(CPU_MAX_MS),
        Row::new(
            "round",
            "20 such edits: engine calls",
            "calls",
            vec![(after.calls - from.calls) as f64],
        )
        .at_most(0.0),
    ])
}
