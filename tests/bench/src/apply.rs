//! What `windlass apply` costs where nothing has to change: as a process of its own that does all
//! the work, and as a client of a `windlass up` that holds the same directory.

use std::process::Stdio;
use std::time::Instant;

use tempfile::TempDir;

use crate::lab::{Engine, Lab, instance, node, settle, spawn_up, windlass};
use crate::table::{Failure, Row, ms};

const INSTANCES: usize = 50;
const RUNS: usize = 31;

const ALONE_MAX_MS: f64 = 35.0;
const CLIENT_MAX_MS: f64 = 12.0;

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    let rows = measure(engine);
    engine.runtime.block_on(engine.remove_all())?;
    rows
}

fn measure(engine: &Engine) -> Result<Vec<Row>, Failure> {
    let dir = TempDir::new().map_err(|error| error.to_string())?;
    let specs = dir.path().join("specs");
    std::fs::create_dir(&specs).map_err(|error| error.to_string())?;
    let documents = (0..INSTANCES).map(|number| instance(&format!("held{number}")));
    let text = std::iter::once(node(engine)).chain(documents).collect::<Vec<_>>().join("---\n");
    std::fs::write(specs.join("set.yaml"), text).map_err(|error| error.to_string())?;
    // The first one makes them all, the second one settles what is counted after it.
    for _ in 0..2 {
        apply(&dir)?;
        engine.runtime.block_on(settle());
    }
    let sample = || (0..RUNS).map(|_| apply(&dir)).collect::<Result<Vec<_>, _>>();
    let version: Vec<f64> =
        (0..RUNS).map(|_| run_verb(&dir, "version")).collect::<Result<_, _>>()?;
    let alone = sample()?;
    let up = spawn_up(dir.path())?;
    // From when it answers on.
    while !dir.path().join("state/windlass.sock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    apply(&dir)?;
    engine.runtime.block_on(settle());
    let client = sample()?;
    drop(up);
    Ok(vec![
        Row::new("apply", "windlass version: what any process takes", "ms", version),
        Row::new("apply", "50 instances, nothing to change: alone", "ms", alone)
            .at_most(ALONE_MAX_MS),
        Row::new("apply", "50 instances, nothing to change: beside up", "ms", client)
            .at_most(CLIENT_MAX_MS),
    ])
}

fn apply(dir: &TempDir) -> Result<f64, Failure> {
    run_verb(dir, "apply")
}

/// Runs `windlass` to its end, and gives the time from its start.
fn run_verb(dir: &TempDir, verb: &str) -> Result<f64, Failure> {
    let mut command = windlass(dir.path(), verb)?;
    let began = Instant::now();
    let out = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let took = ms(began.elapsed());
    if out.status.success() {
        Ok(took)
    } else {
        Err(format!("windlass {verb}: {}", String::from_utf8_lossy(&out.stderr)))
    }
}
