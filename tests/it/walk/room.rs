//! What the tests of the walk share: the loop in this process, and a look at the engine that does
//! not go through windlass.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reconciler::model::subnet::RANGE_DEFAULT;
use reconciler::status::{InstanceStatus, ReplicaStatus};
use serde_json::Value;
use tokio::runtime::Runtime;
use windlass::api::protocol::{Frame, Happened, Outcome, Overview, PlanView, Request};
use windlass::app::{self, App, Mode, Retention, Settings};
use windlass::journal::verify::{Asked, CLOCK_BACK_TOLERATED_MS, Verdict};
use windlass::policies::Place;

use crate::lab::{Engine, Sandbox, docker, eventually};

/// Far more than anything takes here: two busy cores and a slow disk included.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// Shorter than the time after which nodes are listed anyway: what is seen within it was heard.
pub(super) const HEARD: Duration = Duration::from_secs(30);

/// A container that lives until it is told to end, and ends at once then.
pub(super) const LIVE: &str = r#"command: [sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]"#;

/// The settings of a sandbox.
pub(super) fn settings(room: &Sandbox<'_>) -> Settings {
    // Each test has a folder of its own for them.
    let policies = Place { dir: room.path().join("policies"), named: false };
    let (specs, state, kept) = (room.specs(), room.state(), Retention::default());
    let (usage_every, metrics) = (Duration::ZERO, None);
    Settings { specs, state, addresses: RANGE_DEFAULT, policies, kept, usage_every, metrics }
}

/// A document of one Instance in the sandbox's project, with more lines of its spec.
pub(super) fn instance(name: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("\n  {}", line.trim_end())).collect();
    format!(
        "---\napiVersion: windlass/v1\nkind: Instance\nmetadata: {{ name: {name}, project: $project }}\nspec:\n  image: busybox:latest{spec}\n"
    )
}

/// A document of one Volume in the sandbox's project.
pub(super) fn volume(name: &str, retain: bool) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Volume\nmetadata: {{ name: {name}, project: $project }}\nspec: {{ retain: {retain} }}\n"
    )
}

/// A loop in this process. It ends when it is dropped; containers run on.
pub(super) struct Loop {
    runtime: Runtime,
    app: Option<App>,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    happened: Mutex<Vec<Happened>>,
    more: Condvar,
}

impl Loop {
    /// Starts a loop that holds the specs of a sandbox.
    pub(super) fn hold(room: &Sandbox<'_>) -> Self {
        Self::start(&settings(room), Mode::Act { hold: true })
    }

    /// Starts a loop, and listens to all that happens.
    pub(super) fn start(settings: &Settings, mode: Mode) -> Self {
        Self::try_start(settings, mode).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, if it can be started.
    pub(super) fn try_start(settings: &Settings, mode: Mode) -> Result<Self, app::StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let app = runtime.block_on(async { app::start(settings, mode) })?;
        let heard = Arc::<Heard>::default();
        let mut frames = app.asker.ask(Request::Watch);
        let listener = Arc::clone(&heard);
        runtime.spawn(async move {
            while let Some(frame) = frames.recv().await {
                if let Frame::Happened { happened } = frame {
                    let all = listener.happened.lock();
                    all.unwrap_or_else(PoisonError::into_inner).push(happened);
                    listener.more.notify_all();
                }
            }
        });
        Ok(Self { runtime, app: Some(app), heard })
    }

    /// Asks, and gives all frames of the answer.
    pub(super) fn ask(&self, request: Request) -> Vec<Frame> {
        let mut frames = self.app.as_ref().expect("it runs").asker.ask(request.clone());
        self.runtime.block_on(async {
            let mut all = Vec::new();
            loop {
                let next = tokio::time::timeout(LONG * 2, frames.recv()).await;
                let Ok(next) = next else {
                    panic!("{request:?} is not answered; it said {all:?}, {:#?}", self.happened())
                };
                match next {
                    Some(Frame::End) | None => return all,
                    Some(frame) => all.push(frame),
                }
            }
        })
    }

    /// Has the specs read, and waits until all is done that can be.
    pub(super) fn apply(&self) -> Outcome {
        outcome(self.ask(Request::Apply))
    }

    /// Has the specs read, and waits for nothing.
    pub(super) fn reread(&self) -> impl Sized {
        self.app.as_ref().expect("it runs").asker.ask(Request::Apply)
    }

    /// Removes everything.
    pub(super) fn down(&self) -> Outcome {
        outcome(self.ask(Request::Down))
    }

    /// What would be done.
    pub(super) fn plan(&self) -> PlanView {
        match self.ask(Request::Plan).pop() {
            Some(Frame::Plan { plan }) => *plan,
            other => panic!("a plan, and not {other:?}"),
        }
    }

    /// How things stand.
    pub(super) fn overview(&self) -> Overview {
        match self.ask(Request::Overview { only: None }).pop() {
            Some(Frame::Overview { overview }) => *overview,
            other => panic!("an overview, and not {other:?}"),
        }
    }

    /// How an instance stands.
    pub(super) fn status(&self, name: &str) -> InstanceStatus {
        let overview = self.overview();
        let found = overview.instances.iter().find(|status| status.key.name.as_str() == name);
        found.cloned().unwrap_or_else(|| panic!("no {name} in {overview:#?}"))
    }

    /// How the first replica of an instance stands.
    pub(super) fn replica(&self, name: &str) -> ReplicaStatus {
        self.status(name).replicas.first().cloned().expect("a replica")
    }

    /// All that happened so far.
    pub(super) fn happened(&self) -> Vec<Happened> {
        self.heard.happened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much happened so far; to be given to [`Loop::wait_for`].
    pub(super) fn now(&self) -> usize {
        self.happened().len()
    }

    /// Waits until something happens, later than `since`.
    pub(super) fn wait_for(
        &self,
        what: &str,
        since: usize,
        is_it: impl Fn(&Happened) -> bool,
    ) -> Happened {
        let deadline = Instant::now() + HEARD;
        let mut all = self.heard.happened.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = all.iter().skip(since).find(|happened| is_it(happened)) {
                return found.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let late: Vec<_> = all.iter().skip(since).collect();
            assert!(!left.is_zero(), "not within {HEARD:?}: {what}; happened: {late:#?}");
            let woken = self.heard.more.wait_timeout(all, left);
            all = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until a step of `object` (its name ends so) begins, later than `since`; its cause.
    pub(super) fn wait_for_step(&self, object: &str, verb: &str, since: usize) -> String {
        let found = self.wait_for(&format!("{verb} of {object}"), since, |happened| {
            matches!(happened, Happened::Began { object: of, verb: did, .. }
                if of.ends_with(object) && did == verb)
        });
        let Happened::Began { cause, .. } = found else {
            unreachable!("only those are looked for")
        };
        cause
    }

    /// Waits until nothing is left to do.
    pub(super) fn wait_until_settled(&self) {
        eventually("all is settled", LONG, || self.overview().settled);
    }

    /// Ends it. Containers run on.
    pub(super) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(app) = self.app.take() {
            self.runtime.block_on(app.stop());
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.end();
    }
}

fn outcome(frames: Vec<Frame>) -> Outcome {
    match frames.last() {
        Some(Frame::Settled { outcome }) => (**outcome).clone(),
        other => panic!("an outcome, and not {other:?} after {frames:#?}"),
    }
}

/// Applies the specs of a sandbox in this process, once.
pub(super) fn apply(room: &Sandbox<'_>) -> Outcome {
    apply_with(&settings(room))
}

/// The same, with settings of one's own.
pub(super) fn apply_with(settings: &Settings) -> Outcome {
    let looped = Loop::start(settings, Mode::Act { hold: false });
    let outcome = looped.apply();
    looped.stop();
    outcome
}

/// Applies, and says how if not all is good.
pub(super) fn apply_well(room: &Sandbox<'_>) -> Outcome {
    let outcome = apply(room);
    assert!(outcome.is_good(), "{outcome:#?}");
    outcome
}

/// What a look from outside would do: nothing is written.
pub(super) fn plan(room: &Sandbox<'_>) -> PlanView {
    Loop::start(&settings(room), Mode::Look).plan()
}

/// Asserts that nothing is left to do, for a planner that begins anew as well.
pub(super) fn assert_settled(room: &Sandbox<'_>) {
    let plan = plan(room);
    assert!(plan.steps.is_empty() && plan.settled, "{plan:#?}");
    assert_eq!(plan.degraded, None);
}

/// A container, as the engine tells of it.
#[derive(Debug, Clone)]
pub(super) struct Seen(pub(super) Value);

impl Seen {
    pub(super) fn id(&self) -> &str {
        self.0["Id"].as_str().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.0["Name"].as_str().unwrap_or_default().trim_start_matches('/')
    }

    pub(super) fn label(&self, name: &str) -> &str {
        self.0["Config"]["Labels"][format!("io.windlass.{name}")].as_str().unwrap_or_default()
    }

    /// `running`, `paused`, `exited`, `created`.
    pub(super) fn state(&self) -> &str {
        self.0["State"]["Status"].as_str().unwrap_or_default()
    }

    pub(super) fn started_at(&self) -> &str {
        self.0["State"]["StartedAt"].as_str().unwrap_or_default()
    }

    pub(super) fn memory(&self) -> u64 {
        self.0["HostConfig"]["Memory"].as_u64().unwrap_or_default()
    }

    pub(super) fn nano_cpus(&self) -> u64 {
        self.0["HostConfig"]["NanoCpus"].as_u64().unwrap_or_default()
    }

    /// What would be another one if anybody had touched it.
    pub(super) fn life(&self) -> (String, String, String, String) {
        let own = |text: &str| text.to_owned();
        (own(self.id()), own(self.name()), own(self.state()), own(self.started_at()))
    }
}

/// Inspects a container, by id or name.
pub(super) fn inspect(engine: &Engine, container: &str) -> Option<Seen> {
    let text = engine.try_docker(&["inspect", "--type", "container", container]).ok()?;
    let mut all: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    all.pop().map(Seen)
}

/// All containers that carry the sandbox's project as a label, by name.
pub(super) fn seen(room: &Sandbox<'_>) -> BTreeMap<String, Seen> {
    seen_on(room.engine(), room.project())
}

/// The same, on any engine and for any project.
pub(super) fn seen_on(engine: &Engine, project: &str) -> BTreeMap<String, Seen> {
    let project = format!("label=io.windlass.project={project}");
    let ids = docker(engine, &["ps", "-aq", "--no-trunc", "--filter", &project]);
    let all = ids.lines().filter_map(|id| inspect(engine, id));
    all.map(|seen| (seen.name().to_owned(), seen)).collect()
}

/// The one container of a replica.
pub(super) fn one(room: &Sandbox<'_>, instance: &str, ordinal: u32) -> Seen {
    let mut all = replicas(room, instance, ordinal);
    assert_eq!(all.len(), 1, "containers of {instance}/{ordinal}: {all:#?}");
    all.remove(0)
}

/// The containers of a replica.
pub(super) fn replicas(room: &Sandbox<'_>, instance: &str, ordinal: u32) -> Vec<Seen> {
    let all = seen(room).into_values();
    all.filter(|seen| {
        seen.label("instance") == instance && seen.label("ordinal") == ordinal.to_string()
    })
    .collect()
}

/// What identifies the life of each of these containers.
pub(super) fn lives(room: &Sandbox<'_>) -> Vec<(String, String, String, String)> {
    seen(room).values().map(Seen::life).collect()
}

/// The names of the volumes of the sandbox's project.
pub(super) fn volumes(room: &Sandbox<'_>) -> Vec<String> {
    let project = format!("label=io.windlass.project={}", room.project());
    let names = docker(room.engine(), &["volume", "ls", "-q", "--filter", &project]);
    names.lines().map(str::to_owned).collect()
}

/// A document of one Network in the sandbox's project.
pub(super) fn network(name: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Network\nmetadata: {{ name: {name}, project: $project }}\n"
    )
}

/// The names of the networks of the sandbox's project, sorted.
pub(super) fn networks(room: &Sandbox<'_>) -> Vec<String> {
    let project = format!("label=io.windlass.project={}", room.project());
    let list = ["network", "ls", "--format", "{{.Name}}", "--filter", &project];
    let all = docker(room.engine(), &list);
    // The project's own network is there as long as anything is on it.
    let declared = all.lines().filter(|name| !name.ends_with("._"));
    let mut names: Vec<_> = declared.map(str::to_owned).collect();
    names.sort();
    names
}

/// A container of nobody in the sandbox's control group, so that it goes with it.
pub(super) fn stranger(room: &Sandbox<'_>, options: &[&str]) -> String {
    let group = format!("{}/strange", room.cgroup_root());
    let mut args = vec!["run", "-d", "--net", "none", "--cgroup-parent", &group];
    args.extend(options);
    args.extend(["busybox:latest", "sleep", "100000"]);
    docker(room.engine(), &args)
}

/// What the engine did between two of its own times to containers of the sandbox's project. Health
/// checks and the ends of processes are its own doing.
pub(super) fn deeds(room: &Sandbox<'_>, since: &str, until: &str) -> Vec<String> {
    let project = format!("label=io.windlass.project={}", room.project());
    let args = ["events", "--since", since, "--until", until, "--filter", &project];
    let format = ["--filter", "type=container", "--format", "{{.Action}} {{.Actor.ID}}"];
    let text = docker(room.engine(), &[&args[..], &format[..]].concat());
    let own = |line: &&str| !line.starts_with("exec_") && !line.starts_with("health_status");
    text.lines().filter(own).map(str::to_owned).collect()
}

/// The engine's time.
pub(super) fn engine_time(engine: &Engine) -> String {
    docker(engine, &["info", "--format", "{{.SystemTime}}"])
}

/// The audit trail is whole.
pub(super) fn verify_journal(state: &Path) {
    let journal = windlass::state::StatePaths::new(state).journal();
    let asked = Asked {
        journal: journal.clone(),
        checkpoint: None,
        pubkey: None,
        clock_tolerated_ms: CLOCK_BACK_TOLERATED_MS,
    };
    let verified = windlass::journal::verify::run(&asked).expect("the journal can be read");
    assert_eq!(verified.verdict, Verdict::Whole, "{verified:#?}");
    assert!(windlass::journal::check(&journal).is_ok_and(|read| read.last_seq > 0));
}

/// The owner that a state directory's journal names.
pub(super) fn owner(state: &Path) -> String {
    let journal = windlass::state::StatePaths::new(state).journal();
    let (records, _) = windlass::journal::records_from(&journal).expect("a journal");
    records.owner.expect("an owner").0
}
