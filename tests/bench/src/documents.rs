//! What it takes to read and validate a directory of 10,000 documents of ten lines each, and what
//! one changed document among them costs: read, and read and planned.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use windlass::hint::Hint;
use windlass::manifest::Loader;

use crate::held::Places;
use crate::hold::{Daemon, deployed};
use crate::lab::Lab;
use crate::table::{Failure, Row, ms};

const DOCUMENTS: usize = 10_000;

/// Documents in one file, and how that is called.
const SPREADS: [(usize, &str); 2] = [(1, "one a file"), (100, "100 a file")];

const READS: usize = 15;
const READ_MAX_MS: f64 = 500.0;

const EDITS: usize = 31;
const EDIT_MAX_MS: f64 = 15.0;

/// Edits that do not count: the first ones find cold caches.
const WARM_UP: usize = 3;

/// So that a file's change time is not the one of the edit before: the loader would read it twice.
const BETWEEN_EDITS: Duration = Duration::from_millis(50);

/// So that the loop's own work after settling is over.
const REST: Duration = Duration::from_secs(12);

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (each, called) in SPREADS {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        write_specs(dir.path(), each)?;
        let (mut wall, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..READS {
            let mut loader = Loader::new(dir.path().to_path_buf(), BTreeMap::new());
            let (began, cpu_began) = (Instant::now(), cpu_ms());
            let reading = black_box(loader.read(&Hint::All));
            wall.push(ms(began.elapsed()));
            cpu.push(cpu_ms() - cpu_began);
            if reading.specs.desired.len() != DOCUMENTS || !reading.diagnostics.is_empty() {
                return Err(format!("{} objects were read", reading.specs.desired.len()));
            }
        }
        let what = format!("10,000 documents, {called}: read and validated");
        rows.push(Row::new("documents", what, "ms", wall).at_most(READ_MAX_MS));
        let what = format!("10,000 documents, {called}: CPU of it");
        rows.push(Row::new("documents", what, "ms", cpu));
    }
    Ok(rows)
}

pub(crate) fn edit(_: &Lab) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (each, called) in SPREADS {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let places = Places::new(dir.path());
        write_specs(&places.specs, each)?;
        rows.push(read_again(&places.specs, called)?);
        deployed(&places)?;
        rows.extend(planned_again(dir.path(), &places.specs, called)?);
    }
    Ok(rows)
}

/// One file is changed, and the loader is told which.
fn read_again(specs: &Path, called: &str) -> Result<Row, Failure> {
    let mut loader = Loader::new(specs.to_path_buf(), BTreeMap::new());
    loader.read(&Hint::All);
    // What was written just before is read once more.
    std::thread::sleep(BETWEEN_EDITS);
    loader.news(&Hint::All);
    let mut samples = Vec::new();
    for edit in 0..WARM_UP + EDITS {
        let path = change(specs, edit)?;
        let hint = Hint::Paths(vec![path]);
        let began = Instant::now();
        let news = black_box(loader.news(&hint));
        let took = ms(began.elapsed());
        if news.is_none() {
            return Err("an edit was not seen".to_owned());
        }
        if edit >= WARM_UP {
            samples.push(took);
        }
        std::thread::sleep(BETWEEN_EDITS);
    }
    let what = format!("one of 10,000 documents ({called}) is edited: read");
    Ok(Row::new("edit", what, "ms", samples))
}

/// One file is changed below a daemon that holds all of it.
fn planned_again(dir: &Path, specs: &Path, called: &str) -> Result<[Row; 3], Failure> {
    let mut daemon = Daemon::start(dir, DOCUMENTS)?;
    std::thread::sleep(REST);
    let (mut wall, mut cpu, mut round) = (Vec::new(), Vec::new(), Vec::new());
    for edit in 0..WARM_UP + EDITS {
        let before = daemon.mark()?.cpu_ms;
        daemon.expect_reading()?;
        let began = Instant::now();
        change(specs, edit)?;
        daemon.planned()?;
        let took = ms(began.elapsed());
        let edited = daemon.mark()?.cpu_ms;
        std::thread::sleep(BETWEEN_EDITS);
        let rested = daemon.mark()?.cpu_ms;
        daemon.wake(1)?;
        let woken = daemon.mark()?.cpu_ms;
        if edit >= WARM_UP {
            wall.push(took);
            cpu.push(edited - before);
            // Two: one that was asked for, and one more.
            round.push((woken - rested) / 2.0);
        }
    }
    daemon.stop()?;
    let what = format!("one of 10,000 documents ({called}) is edited: written → planned");
    Ok([
        Row::new("edit", what, "ms", wall).at_most(EDIT_MAX_MS),
        Row::new("edit", "CPU of it, until planned", "ms", cpu),
        Row::new("edit", "CPU of a round without news, for comparison", "ms", round),
    ])
}

/// Changes a comment and a label in the first document of a file: the containers stay as they are.
fn change(specs: &Path, edit: usize) -> Result<PathBuf, Failure> {
    let path = specs.join("d0/f0.yaml");
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let (_, rest) = text.split_once("apiVersion").ok_or("no document")?;
    let (head, tail) = rest.split_once("tier: ").ok_or("no label")?;
    let (_, tail) = tail.split_once(" }").ok_or("no end of a label")?;
    let text = format!("# edit {edit}\napiVersion{head}tier: front{edit} }}{tail}");
    let part = specs.join("d0/.part");
    fs::write(&part, text).map_err(|error| error.to_string())?;
    fs::rename(&part, &path).map_err(|error| error.to_string())?;
    Ok(path)
}

fn write_specs(specs: &Path, each: usize) -> Result<(), Failure> {
    for file in 0..DOCUMENTS / each {
        let folder = specs.join(format!("d{}", file % 10));
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let numbers = file * each..(file + 1) * each;
        let text = numbers.map(document).collect::<Vec<_>>().join("---\n");
        fs::write(folder.join(format!("f{file}.yaml")), text).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Ten lines. What it declares can be settled without an engine: image, resources, environment.
fn document(number: usize) -> String {
    format!(
        "apiVersion: windlass/v1\nkind: Instance\nmetadata:\n  name: web-{number}\n  project: p{}\n  \
         labels: {{ tier: front }}\nspec:\n  image: web:1\n  resources: {{ cpus: 250m, memory: 64Mi, \
         pids: 100 }}\n  env: {{ MODE: production, NUMBER: \"{number}\" }}\n",
        number % 100
    )
}

/// CPU time of the whole process.
fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1000.0 + time.tv_nsec as f64 / 1e6
}
