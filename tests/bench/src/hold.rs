//! What a daemon weighs that holds many instances, what it takes from a core while nothing happens,
//! and how long it needs to start.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use reconciler::model::desired::SpecsReading;
use reconciler::model::journal::{Entry, Stamped};
use tempfile::TempDir;
use windlass::hint::Hint;
use windlass::journal::FileJournal;
use windlass::manifest::Loader;
use windlass::state::StateDir;

use crate::held::{Places, VERB};
use crate::lab::Lab;
use crate::settled;
use crate::table::{Failure, Row, ms};
use crate::twin::Twin;

/// Files that a set of specs is spread over.
const FILES: usize = 100;

const HELD: usize = 1_000;
const PSS_MAX_MB: f64 = 23.0;

/// How long nothing happens: it holds six scans of the directory and one relist.
const IDLE: Duration = Duration::from_secs(60);
const IDLE_PERCENT_MAX: f64 = 0.2;

/// The loop counts removals anew when it was settled for ten seconds; that is not idleness yet.
const REST: Duration = Duration::from_secs(12);

const STARTED: usize = 10_000;
const STARTS: usize = 7;
const START_MAX_MS: f64 = 300.0;

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    let dir = TempDir::new().map_err(|error| error.to_string())?;
    write_specs(&Places::new(dir.path()).specs, HELD)?;
    let mut rows = Vec::new();
    for what in ["it deployed them itself", "started again"] {
        let mut daemon = Daemon::start(dir.path(), HELD)?;
        std::thread::sleep(REST);
        let before = daemon.mark()?;
        std::thread::sleep(IDLE);
        let after = daemon.mark()?;
        let percent = (after.cpu_ms - before.cpu_ms) / ms(IDLE) * 100.0;
        let pss = daemon.pss_mb()?;
        let weight = format!("1,000 held, {what}: PSS");
        rows.push(Row::new("hold", weight, "MB", vec![pss]).at_most(PSS_MAX_MB));
        let idle = format!("1,000 held, {what}: CPU in 60 s");
        rows.push(Row::new("hold", idle, "%", vec![percent]).at_most(IDLE_PERCENT_MAX));
        daemon.stop()?;
    }
    Ok(rows)
}

pub(crate) fn start(_: &Lab) -> Result<Vec<Row>, Failure> {
    let dir = TempDir::new().map_err(|error| error.to_string())?;
    let places = Places::new(dir.path());
    write_specs(&places.specs, STARTED)?;
    deployed(&places)?;
    // The first start makes the store of the journal.
    let daemon = Daemon::start(dir.path(), STARTED)?;
    std::thread::sleep(REST);
    daemon.stop()?;
    let mut samples = Vec::new();
    for _ in 0..STARTS {
        let daemon = Daemon::start(dir.path(), STARTED)?;
        samples.push(daemon.started_ms);
        daemon.stop()?;
    }
    let what = "10,000 records: process start → first settled round";
    Ok(vec![Row::new("start", what, "ms", samples).at_most(START_MAX_MS)])
}

/// Leaves a state directory and an engine as if all specs had been deployed: the planner's own
/// records, in a journal that begins with a checkpoint.
pub(crate) fn deployed(places: &Places) -> Result<(), Failure> {
    let SpecsReading { desired, texts, .. } =
        Loader::new(places.specs.clone(), BTreeMap::new()).read(&Hint::All).specs;
    let mut snapshot = settled::settle(desired)?;
    let records = &mut snapshot.records;
    for (file, text) in texts {
        records.apply(snapshot.now, &Entry::Text { file, text });
    }
    let entry = Entry::Checkpoint { records: Box::new(records.clone()) };
    let first = Stamped { seq: 1, at: snapshot.now, entry };
    let state = StateDir::open(&places.state).map_err(|error| error.to_string())?;
    FileJournal::begin(&state.paths().journal(), &[first]).map_err(|error| error.to_string())?;
    Twin::holding(&snapshot).save(&places.twin)
}

/// Instances in so many documents, spread over files.
pub(crate) fn write_specs(specs: &Path, instances: usize) -> Result<(), Failure> {
    fs::create_dir_all(specs).map_err(|error| error.to_string())?;
    let each = instances / FILES;
    for file in 0..FILES {
        let documents: Vec<String> =
            (file * each..(file + 1) * each).map(|number| document(file, number)).collect();
        let path = specs.join(format!("set-{file}.yaml"));
        fs::write(path, documents.join("---\n")).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn document(file: usize, number: usize) -> String {
    format!(
        "apiVersion: windlass/v1\nkind: Instance\nmetadata:\n  name: web-{number}\n  project: p{file}\n  \
         labels: {{ tier: front }}\nspec:\n  image: web:1\n  resources: {{ cpus: 250m, memory: 64Mi, \
         pids: 100 }}\n  env:\n    MODE: production\n    NUMBER: \"{number}\"\n  command: [httpd, -f, -p, \
         \"8080\"]\n"
    )
}

/// A daemon in a process of its own.
pub(crate) struct Daemon {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// From the start of the process until it was settled, without what its engine's twin took.
    started_ms: f64,
}

/// What a daemon has taken so far.
pub(crate) struct Mark {
    pub(crate) cpu_ms: f64,
    pub(crate) calls: u64,
    pub(crate) readings: u64,
}

impl Daemon {
    /// Starts one on the directories below `dir`, and waits until it has settled.
    pub(crate) fn start(dir: &Path, instances: usize) -> Result<Self, Failure> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let began = Instant::now();
        let mut child = Command::new(own)
            .args([VERB.as_ref(), dir.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut daemon = Self { child, input, output, started_ms: 0.0 };
        let words = daemon.answer("settled")?;
        let took = ms(began.elapsed());
        let [loaded, containers] = words.as_slice() else { return Err(words.join(" ")) };
        if *containers != instances.to_string() {
            return Err(format!("settled with {containers} of {instances} containers"));
        }
        daemon.started_ms = took - loaded.parse::<f64>().map_err(|error| error.to_string())?;
        Ok(daemon)
    }

    /// What it has taken so far.
    pub(crate) fn mark(&mut self) -> Result<Mark, Failure> {
        self.tell("mark")?;
        let words = self.answer("mark")?;
        let number = |index: usize| -> Result<f64, Failure> {
            let word = words.get(index).ok_or("too short an answer")?;
            word.parse().map_err(|_| format!("no number: {word}"))
        };
        Ok(Mark { cpu_ms: number(0)?, calls: number(1)? as u64, readings: number(2)? as u64 })
    }

    /// Has it plan so many times, and once more.
    pub(crate) fn wake(&mut self, rounds: usize) -> Result<(), Failure> {
        self.tell(&format!("wake {rounds}"))?;
        self.answer("woken")?;
        Ok(())
    }

    /// Has it tell when it has planned with the next reading that brings news.
    pub(crate) fn expect_reading(&mut self) -> Result<(), Failure> {
        self.tell("expect")?;
        self.answer("expecting")?;
        Ok(())
    }

    /// Waits until it has planned with the reading that was expected.
    pub(crate) fn planned(&mut self) -> Result<(), Failure> {
        self.answer("planned")?;
        Ok(())
    }

    /// Its share of the memory.
    fn pss_mb(&self) -> Result<f64, Failure> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kb = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kb.map(|kb| kb / 1024.0).ok_or_else(|| format!("{path} has no Pss"))
    }

    /// Ends it in good order.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.tell("stop")?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the daemon ended with {status}")) }
    }

    fn tell(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.input, "{line}").map_err(|error| format!("tell the daemon: {error}"))
    }

    fn answer(&mut self, to: &str) -> Result<Vec<String>, Failure> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        let mut words = line.split_whitespace().map(str::to_owned);
        if words.next().as_deref() == Some(to) {
            Ok(words.collect())
        } else {
            Err(format!("the daemon said: {}", line.trim()))
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `stop` it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
