//! Where it happens: two engines with a cable between them, a small disk for the state, `windlass up`
//! as a process, and what is not ours.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::super::nodes::{group, node, same_image};
use super::super::proxy::{Valve, proxy};
use super::super::room::{LONG, owner};
use super::cable::Cable;
use super::disk::{Disk, Order};
use super::strangers::Strangers;
use super::verdict::{self, Found};
use super::wish::{IMAGES, NODES, Wish};
use crate::lab::{Engine, Output, Sandbox, Up, docker, eventually};

/// Room for store and journal. What is here takes a fifth of it.
const DISK_MIB: u64 = 48;

/// Tries to start an engine: what it was killed with may be in its way once.
const STARTS_MAX: usize = 3;

/// How long all may take to be as declared, once nothing goes wrong any more. What was killed many
/// times waits for up to a minute before it is started again, and so does what depends on it.
const CALM_WITHIN: Duration = Duration::from_secs(300);

/// A pause before it is asked again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Lines of a `windlass up` that are told when something is wrong.
const LINES_TOLD: usize = 60;

/// Whether an engine is there.
pub(super) enum Power<'s> {
    On,
    Off,
    Starting(ScopedJoinHandle<'s, bool>),
}

/// What ends a trouble that lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Healing {
    StartEngine(usize),
    StartWindlass,
    PlugIn,
    Answer,
    Hurry,
    EmptyDisk,
    MoreFiles,
}

/// All of it.
pub(super) struct Site<'s, 'e> {
    scope: &'s Scope<'s, 'e>,
    pub(super) room: &'e Sandbox<'e>,
    pub(super) engines: [&'e Engine; 2],
    /// Whether containers outlive their engine.
    pub(super) lives_on: bool,
    pub(super) power: [Power<'s>; 2],
    pub(super) up: Option<Up>,
    pub(super) disk: Disk,
    pub(super) cable: Cable,
    pub(super) valve: std::sync::Arc<Valve>,
    pub(super) wish: Wish,
    pub(super) healings: Vec<(Instant, Healing)>,
    /// What may be suspended.
    pub(super) suspended: BTreeSet<String>,
    strangers: [Strangers; 2],
    images: Vec<String>,
    began: Instant,
    diary: Vec<String>,
    is_aloud: bool,
}

impl<'s, 'e> Site<'s, 'e> {
    /// Sets it up, and waits until all is as declared in the beginning.
    ///
    /// # Errors
    /// Why it cannot be had here: the test is to be skipped.
    pub(super) fn new(
        scope: &'s Scope<'s, 'e>,
        room: &'e Sandbox<'e>,
        engines: [&'e Engine; 2],
        lives_on: bool,
        order: Order,
    ) -> Result<Self, String> {
        let disk = Disk::mount(&room.path().join("disk"), &room.state(), DISK_MIB, order)?;
        let [far, way] = ["cable.sock", "far.sock"].map(|name| room.path().join(name));
        let cable = Cable::lay(engines[0], engines[1], &far)?;
        let valve = proxy(&way, &format!("unix://{}", far.display()));
        let images = prepare_images(room, &engines);
        room.remove_spec("node.yaml");
        let endpoints = [engines[0].endpoint().to_owned(), format!("unix://{}", way.display())];
        let nodes = (0..2).map(|at| node(NODES[at], &endpoints[at], &group(room, engines[at])));
        room.spec("nodes.yaml", &nodes.collect::<String>());
        let ours = format!("{}.web.7.1", room.project());
        let strangers = engines.map(|engine| Strangers::come(engine, &group(room, engine), &ours));
        let mut wish = Wish::first();
        Wish::write_rest(room);
        wish.write(room);
        let power = [Power::On, Power::On];
        let is_aloud = std::env::var_os("WINDLASS_CHAOS_ALOUD").is_some();
        let (healings, diary, began) = (Vec::new(), Vec::new(), Instant::now());
        let mut site = Self {
            scope,
            room,
            engines,
            lives_on,
            power,
            up: None,
            disk,
            cable,
            valve,
            wish,
            healings,
            suspended: BTreeSet::new(),
            strangers,
            images,
            began,
            diary,
            is_aloud,
        };
        site.start_windlass();
        site.calm();
        Ok(site)
    }

    /// Notes what happened.
    pub(super) fn note(&mut self, what: &str) {
        let line = format!("{:7.1} s  {what}", self.began.elapsed().as_secs_f64());
        if self.is_aloud {
            let whose = if self.lives_on { "with   " } else { "without" };
            super::say(&format!("{whose} {line}"));
        }
        self.diary.push(line);
    }

    /// Whether an engine can be asked, by whoever is beside it.
    pub(super) fn is_on(&self, at: usize) -> bool {
        matches!(self.power[at], Power::On)
    }

    /// Runs `windlass`, beside the one that holds everything, if it does.
    pub(super) fn windlass(&self, args: &[&str]) -> Output {
        self.room.windlass(args)
    }

    /// Starts `windlass up`, and waits until it holds the state, so that it is not taken away from it.
    pub(super) fn start_windlass(&mut self) {
        let mut up = self.room.spawn_up(&[]);
        eventually("windlass holds the specs, or says why not", LONG, || {
            up.lines().iter().any(|line| line.contains(" holds ")) || !up.runs()
        });
        self.up = Some(up);
    }

    /// Kills `windlass up`, and keeps what it said last.
    pub(super) fn kill_windlass(&mut self) {
        if let Some(mut up) = self.up.take() {
            up.kill();
            self.keep(&up);
        }
    }

    fn keep(&mut self, up: &Up) {
        let lines = up.lines();
        let last = lines[lines.len().saturating_sub(LINES_TOLD)..].join("\n              ");
        self.diary.push(format!("              {last}"));
        let panicked = lines.iter().find(|line| line.contains("panicked"));
        assert!(panicked.is_none(), "{}", self.told(&format!("{panicked:?}")));
    }

    /// It ended by itself. It may, where it could not even begin; it is started again.
    pub(super) fn notice_an_end(&mut self, may_be: bool) {
        let Some(up) = &mut self.up else { return };
        if up.runs() {
            return;
        }
        let up = self.up.take().expect("it was there");
        self.keep(&up);
        assert!(may_be, "{}", self.told("windlass ended by itself"));
        self.note("windlass ended by itself");
        self.healings.push((Instant::now() + Duration::from_secs(2), Healing::StartWindlass));
    }

    /// Ends an engine. What is not ours was as it had to be until now.
    pub(super) fn kill_engine(&mut self, at: usize) {
        let faults = self.strangers[at].faults(self.engines[at], false);
        assert!(faults.is_empty(), "{}", self.told(&format!("{faults:#?}")));
        self.engines[at].kill();
        self.power[at] = Power::Off;
    }

    fn start_engine(&mut self, at: usize) {
        let engine = self.engines[at];
        let starting = self.scope.spawn(move || (0..STARTS_MAX).any(|_| engine.try_start()));
        self.power[at] = Power::Starting(starting);
    }

    /// Takes note of engines that have started; waits for them if asked to.
    pub(super) fn notice_starts(&mut self, waits: bool) {
        for (at, node) in NODES.into_iter().enumerate() {
            let Power::Starting(starting) = &self.power[at] else { continue };
            if !waits && !starting.is_finished() {
                continue;
            }
            let Power::Starting(starting) = std::mem::replace(&mut self.power[at], Power::On)
            else {
                unreachable!("it was looked at just now")
            };
            let started = starting.join().expect("it was started");
            assert!(started, "{}", self.told("an engine did not start again"));
            let faults = self.strangers[at].faults(self.engines[at], !self.lives_on);
            assert!(faults.is_empty(), "{}", self.told(&format!("{faults:#?}")));
            if !self.lives_on {
                self.strangers[at].come_back(self.engines[at]);
            }
            self.note(&format!("engine {node} is there again"));
        }
    }

    /// Ends those troubles that are to end by now, or all of them.
    pub(super) fn heal(&mut self, all: bool) {
        let now = Instant::now();
        let (due, later) =
            std::mem::take(&mut self.healings).into_iter().partition(|(at, _)| all || *at <= now);
        self.healings = later;
        let due: Vec<(Instant, Healing)> = due;
        for (_, healing) in due {
            match healing {
                Healing::StartEngine(at) => self.start_engine(at),
                Healing::StartWindlass if self.up.is_none() => self.start_windlass(),
                Healing::StartWindlass => {}
                Healing::PlugIn => self.cable.plug(true),
                Healing::Answer => self.valve.set(false),
                Healing::Hurry => self.valve.slow(Duration::ZERO),
                Healing::EmptyDisk => self.disk.empty(),
                Healing::MoreFiles => super::troubles::allow_files(self, None),
            }
            self.note(&format!("  over: {healing:?}"));
        }
        self.notice_starts(all);
    }

    /// Whether a trouble of that kind lasts.
    pub(super) fn lasts(&self, healing: Healing) -> bool {
        self.healings.iter().any(|(_, lasting)| *lasting == healing)
    }

    /// Lets go on what was suspended, as far as that can be put on record just now.
    pub(super) fn resume(&mut self) {
        let names = std::mem::take(&mut self.suspended);
        let stays = |name: &String| self.windlass(&["resume", name, "--timeout", "30s"]).code != 0;
        self.suspended = names.into_iter().filter(stays).collect();
    }

    /// Ends all troubles, and waits until nothing is left to do. What is held back is let go.
    pub(super) fn calm(&mut self) {
        self.heal(true);
        self.notice_an_end(true);
        self.heal(true);
        self.wish.write(self.room);
        self.note("calm");
        self.resume();
        let deadline = Instant::now() + CALM_WITHIN;
        loop {
            let out = self.windlass(&["apply", "--timeout", "60s"]);
            if out.code == 0 {
                break;
            }
            let late = Instant::now() > deadline;
            assert!(!late, "{}", self.told(&format!("not settled: {out:#?}")));
            let approved = self.windlass(&["approve", "--yes", "--timeout", "60s"]);
            self.note(&format!("apply: {}, approve: {}", out.code, approved.code));
            std::thread::sleep(LOOK_EVERY);
        }
        self.note("all is done");
    }

    /// The containers of ours on all engines that can be asked.
    pub(super) fn found(&self) -> Vec<Found> {
        let on = (0..2).filter(|at| self.is_on(*at));
        on.flat_map(|at| verdict::on(at, self.engines[at], self.room.project())).collect()
    }

    /// What is not as it has to be, once all is calm.
    pub(super) fn faults(&self) -> Vec<String> {
        let (project, us) = (self.room.project(), owner(&self.room.state()));
        let found = self.found();
        let mut faults = verdict::faults(&self.wish, &self.images, &us, project, &found);
        for (at, engine) in self.engines.iter().enumerate() {
            faults.extend(self.strangers[at].faults(engine, false));
            faults.extend(verdict::faults_of_the_rest(engine, project, at == 0));
            let known = docker(engine, &["ps", "-q", "--no-trunc"]);
            let known = known.lines().map(str::to_owned).collect();
            faults.extend(verdict::unknown_to_engines(&group(self.room, engine), &known));
        }
        for (args, text) in [
            (&["audit", "verify"][..], "whole: "),
            (&["plan", "--detailed-exitcode"], "No changes."),
            (&["get", "instances"], ""),
        ] {
            let out = self.windlass(args);
            if out.code != 0 || !(out.stdout.contains(text)) {
                faults.push(format!("windlass {args:?}: {out:#?}"));
            }
        }
        faults
    }

    /// Asserts that all is as it has to be.
    pub(super) fn judge(&self) {
        let faults = self.faults();
        assert!(faults.is_empty(), "{}", self.told(&faults.join("\n")));
    }

    /// Breaks what is judged, with nobody there to mend it, and asserts that each fault is seen. All is
    /// as it was afterwards.
    pub(super) fn judge_the_judge(&mut self) {
        self.kill_windlass();
        let one = self.found().into_iter().find(|one| one.instance == "db").expect("it is there");
        let engine = self.engines[one.node];
        let labels: Vec<String> = ["owner", "project", "instance", "ordinal", "incarnation"]
            .map(|label| {
                let format = format!("{{{{index .Config.Labels \"io.windlass.{label}\"}}}}");
                let value = docker(engine, &["inspect", "--format", &format, &one.id]);
                format!("--label=io.windlass.{label}={value}")
            })
            .into();
        let mut copy: Vec<&str> = vec!["run", "-d", "--net", "none", "--name", "copy"];
        copy.extend(labels.iter().map(String::as_str));
        copy.extend([IMAGES[0], "sleep", "100000"]);
        docker(engine, &copy);
        let told = self.faults().join("\n");
        assert!(told.contains("db/0: 2 containers"), "{}", self.told(&told));
        docker(engine, &["rm", "-f", "copy"]);
        docker(engine, &["pause", &one.id]);
        let told = self.faults().join("\n");
        for part in ["db/0: wrong state", "windlass [\"plan\", \"--detailed-exitcode\"]"] {
            assert!(told.contains(part), "{}", self.told(&told));
        }
        docker(engine, &["unpause", &one.id]);
        self.strangers[0].be_touched(self.engines[0]);
        let told = self.faults().join("\n");
        assert!(told.contains("not ours, and touched"), "{}", self.told(&told));
        self.strangers[0].come_back(self.engines[0]);
        self.start_windlass();
        self.calm();
        self.judge();
    }

    /// Removes all that is ours, and asserts that nothing is left but what is not.
    pub(super) fn leave_nothing(&mut self) {
        let mut up = self.up.take().expect("it runs");
        assert_eq!(up.end("TERM"), 0, "{}", self.told("windlass did not end well"));
        let out = self.windlass(&["down", "--yes"]);
        assert_eq!(out.code, 0, "{}", self.told(&format!("{out:#?}")));
        let mut left = self.found().into_iter().map(|one| format!("{one:#?}")).collect::<Vec<_>>();
        let label = format!("label=io.windlass.project={}", self.room.project());
        for (at, engine) in self.engines.iter().enumerate() {
            left.extend(self.strangers[at].faults(engine, false));
            for kind in ["network", "volume"] {
                let names = ["ls", "--format", "{{.Name}}", "--filter", &label];
                let names = docker(engine, &[&[kind][..], &names].concat());
                left.extend(names.lines().map(|name| format!("{kind} {name}")));
            }
        }
        // An engine that was killed, or whose shim was, may leave the group of a container behind; it
        // is empty, and the engine's own. What windlass made goes as soon as nothing is in it.
        let remains = |name: &String| name.len() == 64;
        for engine in self.engines {
            let own = group(self.room, engine);
            left.extend(verdict::unknown_to_engines(&own, &BTreeSet::new()).into_iter().filter(
                // Strangers run on.
                |line| !line.contains("/strange/"),
            ));
            let groups = verdict::groups(&format!("{own}/{}", self.room.project()));
            let (empty, ours): (Vec<_>, Vec<_>) = groups.into_iter().partition(remains);
            left.extend(ours);
            if !empty.is_empty() {
                self.note(&format!("groups that an engine left: {}", empty.len()));
            }
        }
        let out = self.windlass(&["audit", "verify"]);
        assert_eq!(out.code, 0, "{}", self.told(&format!("{out:#?}")));
        assert!(left.is_empty(), "{}", self.told(&format!("left: {left:#?}")));
    }

    /// A failure, with all that happened before.
    pub(super) fn told(&self, failure: &str) -> String {
        let mut text = self.diary.join("\n");
        if let Some(up) = &self.up {
            let lines = up.lines();
            let last = &lines[lines.len().saturating_sub(LINES_TOLD)..];
            let _ = write!(text, "\nwindlass said last:\n{}", last.join("\n"));
        }
        let kept = keep_state(self.room);
        format!("{text}\n\n{failure}\n(state kept: {kept})")
    }
}

/// Keeps the journal of a run that failed, for whoever looks into it.
fn keep_state(room: &Sandbox<'_>) -> bool {
    let Some(to) = std::env::var_os("WINDLASS_CHAOS_KEEP") else { return false };
    let mut copy = std::process::Command::new("cp");
    copy.arg("-r").arg(room.state()).arg(room.specs()).arg(to);
    copy.status().is_ok_and(|status| status.success())
}

/// Two images on both engines, the same ones; their ids.
fn prepare_images(room: &Sandbox<'_>, engines: &[&Engine]) -> Vec<String> {
    let container = docker(engines[0], &["create", IMAGES[0], "true"]);
    docker(engines[0], &["commit", "--change", "ENV OTHER=1", &container, IMAGES[1]]);
    docker(engines[0], &["rm", &container]);
    IMAGES.iter().for_each(|image| same_image(room, engines, image));
    let id = |image: &&str| docker(engines[0], &["image", "inspect", "--format", "{{.Id}}", image]);
    IMAGES.iter().map(id).collect()
}
