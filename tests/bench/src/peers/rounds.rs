//! All neighbours in turns, round after round.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::report::{self, Report};
use super::world::{Container, World};
use super::{Healer, Peer, Step, Task};
use crate::progress;
use crate::table::{Failure, ms};

/// How long a container's list may need to show what events told.
const LIST_WITHIN: Duration = Duration::from_secs(10);

/// Between steps, so that what one leaves to do is not counted to the next.
const REST: Duration = Duration::from_millis(300);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Deploy,
    Again,
    Change,
    Back,
    /// Mebibytes of the largest process of a first deployment.
    Peak,
    /// Mebibytes of what goes on running.
    Settled,
    Round,
}

/// Samples, by neighbour, size and what.
pub(super) type Samples = BTreeMap<(&'static str, usize, What), Vec<f64>>;

/// Measures those whose name holds one of the words, or all. What fails is in the report, and so is
/// what was measured before.
pub(super) fn measure(world: &World, words: &[String], report: &mut Report) {
    let (rounds, sizes) = (report.rounds, report.sizes.clone());
    let mut ready = Vec::new();
    for mut peer in super::all() {
        let name = peer.name();
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        match peer.setup(world) {
            Ok(version) => {
                progress(&format!("{name}: {version}"));
                report.versions.push((name, version));
                for &size in &sizes {
                    report
                        .lines
                        .insert((name, size), peer.specs(world, size, false).lines().count());
                }
                report.healers.insert(name, peer.healer());
                if peer.again_replaces() {
                    report.replacers.push(name);
                }
                ready.push(peer);
            }
            Err(why) => {
                progress(&format!("{name}: cannot run here: {why}"));
                report.absent.push((name, why));
            }
        }
    }
    estimate(ready.len() * rounds, &sizes);
    // Not measured: caches fill, and whoever cannot do it at all is known early.
    for peer in &mut ready {
        turn(world, peer.as_mut(), 1, "warming up", &mut Report::default());
    }
    let began = Instant::now();
    for round in 0..rounds {
        let which = format!("round {} of {}", round + 1, rounds);
        for &size in &sizes {
            for at in order(ready.len(), round) {
                turn(world, ready[at].as_mut(), size, &which, report);
            }
        }
        let each = began.elapsed() / u32::try_from(round + 1).unwrap_or(u32::MAX);
        let left = each * u32::try_from(rounds - round - 1).unwrap_or_default();
        progress(&format!("{which}: done; about {} min to go", left.as_secs().div_ceil(60)));
        report.save();
    }
    for peer in &mut ready {
        peer.close();
    }
}

/// Who begins changes each round, and so does the direction.
fn order(count: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|at| (at + round) % count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn estimate(turns: usize, sizes: &[usize]) {
    // Seen on two busy cores: six seconds a turn, and half a second an instance with all that is done
    // to it.
    let seconds: usize = sizes.iter().map(|size| turns * (12 + size) / 2).sum();
    progress(&format!("this takes about {} min", seconds.div_ceil(60)));
}

/// One neighbour, one size, all steps.
fn turn(world: &World, peer: &mut dyn Peer, size: usize, which: &str, report: &mut Report) {
    let name = peer.name();
    let mut turn = Turn { world, size, name, found: Vec::new() };
    let outcome = turn.all(peer);
    let told: Vec<String> =
        turn.found.iter().map(|(what, value)| report::told(*what, *value)).collect();
    progress(&format!("{which}, {size} × {name}: {}", told.join(", ")));
    for (what, value) in turn.found {
        report.samples.entry((name, size, what)).or_default().push(value);
    }
    if let Err(failure) = outcome {
        let failure = peer.explain(failure);
        progress(&format!("{which}, {size} × {name}: FAILED: {failure}"));
        report.troubles.push(format!("{which}, {size} × {name}: {failure}"));
    }
    for ended in [peer.end(world), world.clear()] {
        if let Err(failure) = ended {
            report.troubles.push(format!("{which}, {size} × {name}, tidying up: {failure}"));
        }
    }
}

struct Turn<'a> {
    world: &'a World<'a>,
    size: usize,
    name: &'static str,
    found: Vec<(What, f64)>,
}

impl Turn<'_> {
    fn all(&mut self, peer: &mut dyn Peer) -> Result<(), Failure> {
        let (world, size) = (self.world, self.size);
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let file = dir.path().join(peer.file());
        let task = Task { dir: dir.path().to_owned(), specs: file, count: size };
        if let Some(parent) = task.specs.parent() {
            fs::create_dir_all(parent).map_err(|error| error.to_string())?;
        }
        peer.begin(world, &task)?;

        let peak = self.step(peer, Step::Deploy, &task)?;
        let first = self.expect(peer, 0)?;
        std::thread::sleep(REST);
        self.step(peer, Step::Again, &task)?;
        let second = self.expect(peer, 0)?;
        let same = first.iter().all(|container| second.contains(container));
        if !same && !peer.again_replaces() {
            return Err("a second run without change made containers anew".to_owned());
        }
        std::thread::sleep(REST);
        let besides = peer.besides(world, &task)?;
        self.step(peer, Step::Change, &task)?;
        let third = self.expect(peer, 1)?;
        // The engine waits longer before it restarts what has run for less than a moment.
        std::thread::sleep(REST);
        match peer.healer() {
            Healer::Nobody => {}
            Healer::Itself | Healer::Engine => {
                let victim = third.iter().find(|container| container.image == world.images[0]);
                let victim = victim.or(third.first()).ok_or("nothing runs")?;
                let back = peer.kill(world, victim)?;
                self.found.push((What::Back, back));
                self.expect(peer, 1)?;
            }
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let peak = besides.peak_bytes.or(peak);
        self.found.extend(peak.map(|bytes| (What::Peak, mib(bytes))));
        self.found.extend(besides.settled_bytes.map(|bytes| (What::Settled, mib(bytes))));
        self.found.extend(besides.round_ms.map(|ms| (What::Round, ms)));
        Ok(())
    }

    /// Does a step and waits until all that it begins has started. Gives the memory it took.
    fn step(
        &mut self,
        peer: &mut dyn Peer,
        step: Step,
        task: &Task,
    ) -> Result<Option<u64>, Failure> {
        let (what, starts) = match step {
            Step::Deploy => (What::Deploy, task.count),
            Step::Again => (What::Again, 0),
            Step::Change => (What::Change, 1),
        };
        let written = step == Step::Deploy || step == Step::Change;
        // `up` writes by itself, since that is what it waits for.
        if written && self.name != super::windlass::UP {
            let text = peer.specs(self.world, task.count, step == Step::Change);
            fs::write(&task.specs, text).map_err(|error| error.to_string())?;
        }
        let Some(ran) = peer.run(self.world, step, task)? else { return Ok(None) };
        let until = match starts {
            0 => None,
            starts => peer.started(self.world, starts, ran.from)?,
        };
        let until = until.map_or(ran.until, |last| last.max(ran.until));
        self.found.push((what, ms(until - ran.from)));
        Ok(ran.peak_bytes)
    }

    /// Expects all to run, so many of them with the other image.
    fn expect(&self, peer: &dyn Peer, changed: usize) -> Result<Vec<Container>, Failure> {
        let since = Instant::now();
        loop {
            let running = peer.running(self.world)?;
            let of = |image: &str| running.iter().filter(|one| one.image == image).count();
            let [before, after] = [0, 1].map(|which| of(&self.world.images[which]));
            if (before, after, running.len()) == (self.size - changed, changed, self.size) {
                return Ok(running);
            }
            if since.elapsed() > LIST_WITHIN {
                return Err(format!(
                    "{} run, {before} of the first image and {after} of the other one",
                    running.len()
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
