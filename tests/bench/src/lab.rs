//! The engine that is measured, a bare client of it, and `windlass up` beside it.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::{
    ContainerCreateBody, EventMessage, HostConfig, NetworkCreateRequest, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, EventsOptions, RemoveContainerOptions, StartContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt as _;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::table::Failure;

/// The engine's version.
const VERSION: &str = "20.10";

/// Longest wait for one event: an engine under load takes a second or two.
pub(crate) const EVENT_WITHIN: Duration = Duration::from_secs(60);

/// The image of all containers here.
pub(crate) const IMAGE: &str = "busybox:latest";

/// What containers run.
const COMMAND: [&str; 2] = ["sleep", "86400"];

/// What benches share. The engine is started when it is first needed, and ends with this.
#[derive(Default)]
pub(crate) struct Lab {
    engine: OnceCell<Result<Engine, Failure>>,
}

impl Lab {
    /// The engine.
    pub(crate) fn engine(&self) -> Result<&Engine, Failure> {
        self.engine.get_or_init(|| Engine::launch(None)).as_ref().map_err(Clone::clone)
    }

    /// Where and with what it was measured.
    pub(crate) fn facts(&self, load_before: &str) -> String {
        let engine = match self.engine.get() {
            Some(Ok(engine)) => format!("engine {}", engine.facts.version),
            Some(Err(_)) | None => "no engine".to_owned(),
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        format!(
            "windlass {}, {engine}, kernel {}, {cores} cores, load {load_before} before and {} after",
            env!("CARGO_PKG_VERSION"),
            kernel.trim(),
            load(),
        )
    }
}

/// The load average of the last minute.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The top of the repository.
pub(crate) fn repository() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.ancestors().nth(2).map_or_else(PathBuf::new, Path::to_owned)
}

#[derive(serde::Deserialize)]
struct Facts {
    endpoint: String,
    version: String,
    netns: String,
    cgroup: String,
    docker: String,
    dir: PathBuf,
}

/// A private engine with a bare client.
pub(crate) struct Engine {
    facts: Facts,
    docker: Docker,
    image: String,
    seen: Arc<Seen>,
    /// Benches that wait do so here.
    pub(crate) runtime: Runtime,
    // Dropped last: the engine ends when its input does.
    _process: EngineProcess,
}

struct EngineProcess {
    child: Child,
    input: Option<ChildStdin>,
}

impl Drop for EngineProcess {
    fn drop(&mut self) {
        drop(self.input.take());
        // It cleans up after itself; how it ended changes nothing.
        let _ = self.child.wait();
    }
}

/// Events, by what happened and to which container.
#[derive(Default)]
struct Seen {
    at: Mutex<HashMap<(String, String), Instant>>,
    news: Notify,
}

impl Engine {
    /// One more engine, with the image of another one. What happens on it is told by that one, too.
    pub(crate) fn beside(other: &Self) -> Result<Self, Failure> {
        Self::launch(Some(other))
    }

    fn launch(beside: Option<&Self>) -> Result<Self, Failure> {
        let top = repository();
        let mut child = as_root(&top.join("tests/lab/engine"))
            .arg(VERSION)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("start tests/lab/engine: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let process = EngineProcess { child, input };
        let mut line = String::new();
        let mut output = BufReader::new(output.ok_or("tests/lab/engine has no output")?);
        output.read_line(&mut line).map_err(|error| error.to_string())?;
        let facts: Facts = serde_json::from_str(&line)
            .map_err(|_| format!("engine {VERSION} did not start; `make bench` sets up all"))?;
        match beside {
            None => import(&top, &facts)?,
            Some(other) => copy_image(&other.facts, &facts)?,
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let seen = beside.map_or_else(Arc::default, |other| Arc::clone(&other.seen));
        let (docker, image) = runtime.block_on(connect(&facts.endpoint, &seen))?;
        Ok(Self { facts, docker, image, seen, runtime, _process: process })
    }

    /// A control group below the engine's own, for containers of windlass.
    pub(crate) fn cgroup_root(&self) -> String {
        format!("{}/bench", self.facts.cgroup)
    }

    /// Where it answers.
    pub(crate) fn endpoint(&self) -> &str {
        &self.facts.endpoint
    }

    /// The client program that belongs to it.
    pub(crate) fn program(&self) -> &str {
        &self.facts.docker
    }

    /// A client of it.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// A directory for what goes with it.
    pub(crate) fn rooms(&self) -> PathBuf {
        self.facts.dir.join("rooms")
    }

    /// The network that it is in.
    pub(crate) fn netns(&self) -> &str {
        &self.facts.netns
    }

    /// Creates a container as windlass would.
    pub(crate) async fn create(&self, name: &str) -> Result<String, Failure> {
        self.create_on("bridge", name).await
    }

    /// A network such as windlass makes for a project.
    pub(crate) async fn create_network(&self, name: &str) -> Result<(), Failure> {
        let options = [("com.docker.network.bridge.enable_icc", "false")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            options: Some(options.into()),
            ..NetworkCreateRequest::default()
        };
        let created = self.docker.create_network(request).await;
        created.map(drop).map_err(|error| format!("create network {name}: {error}"))
    }

    /// Creates a container as windlass would, on a network.
    pub(crate) async fn create_on(&self, network: &str, name: &str) -> Result<String, Failure> {
        let labels = ["owner", "project", "instance", "ordinal", "revision", "incarnation", "uid"];
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: Some(COMMAND.map(str::to_owned).into()),
            hostname: Some(name.to_owned()),
            labels: Some(labels.map(|label| (format!("bare.{label}"), name.to_owned())).into()),
            host_config: Some(HostConfig {
                cgroup_parent: Some(format!("{}/default", self.cgroup_root())),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::NO),
                    maximum_retry_count: None,
                }),
                network_mode: Some(network.to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        let created = self.docker.create_container(Some(options), body).await;
        Ok(created.map_err(|error| format!("create {name}: {error}"))?.id)
    }

    /// Starts a container.
    pub(crate) async fn start(&self, name: &str) -> Result<(), Failure> {
        self.docker
            .start_container(name, None::<StartContainerOptions>)
            .await
            .map_err(|error| format!("start {name}: {error}"))
    }

    /// The whole id of a container.
    pub(crate) async fn id(&self, name: &str) -> Result<String, Failure> {
        let found = self.docker.inspect_container(name, None).await;
        let found = found.map_err(|error| format!("inspect {name}: {error}"))?;
        found.id.ok_or_else(|| format!("{name} has no id"))
    }

    /// Kills a container's first process from the host: the engine is not asked. Gives the time.
    pub(crate) async fn kill_process(&self, name: &str) -> Result<Instant, Failure> {
        let found = self.docker.inspect_container(name, None).await;
        let found = found.map_err(|error| format!("inspect {name}: {error}"))?;
        let pid = found.state.and_then(|state| state.pid).unwrap_or_default();
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| format!("{name} does not run"))?;
        let at = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL)
            .map_err(|error| format!("kill {name}: {error}"))?;
        Ok(at)
    }

    /// When something happened to a container; waits for it. It is forgotten then.
    pub(crate) async fn when(&self, action: &str, name: &str) -> Result<Instant, Failure> {
        let key = (action.to_owned(), name.to_owned());
        let waited = tokio::time::timeout(EVENT_WITHIN, async {
            loop {
                let news = self.seen.news.notified();
                let found = {
                    let mut seen = self.seen.at.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.remove(&key)
                };
                match found {
                    Some(at) => return at,
                    None => news.await,
                }
            }
        });
        waited.await.map_err(|_| format!("no event `{action}` of {name} in {EVENT_WITHIN:?}"))
    }

    /// Removes all containers, and the networks that they were on: the next windlass is another
    /// owner, and wants one of the same name.
    pub(crate) async fn remove_all(&self) -> Result<(), Failure> {
        let all =
            bollard::query_parameters::ListContainersOptions { all: true, ..Default::default() };
        let listed = self.docker.list_containers(Some(all)).await;
        let listed = listed.map_err(|error| format!("list containers: {error}"))?;
        let ids = listed.into_iter().filter_map(|container| container.id);
        futures_util::stream::iter(ids)
            .for_each_concurrent(4, |id| async move {
                let options = RemoveContainerOptions { v: true, force: true, link: false };
                // What stays is in nobody's way, and goes with the engine.
                let _ = self.docker.remove_container(&id, Some(options)).await;
            })
            .await;
        let none = None::<bollard::query_parameters::PruneNetworksOptions>;
        let pruned = self.docker.prune_networks(none).await;
        pruned.map_err(|error| format!("remove networks: {error}"))?;
        self.seen.at.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

fn import(top: &Path, facts: &Facts) -> Result<(), Failure> {
    let made = Command::new(top.join("tests/lab/image"))
        .arg(top.join("target/lab"))
        .args(["-H", &facts.endpoint])
        .env("DOCKER", &facts.docker)
        .status()
        .map_err(|error| format!("start tests/lab/image: {error}"))?;
    if made.success() { Ok(()) } else { Err("the image could not be made".to_owned()) }
}

/// Imported twice, it would be two images.
fn copy_image(from: &Facts, to: &Facts) -> Result<(), Failure> {
    let run = |facts: &Facts, args: [&str; 2], input: Stdio| {
        let child = Command::new(&facts.docker)
            .args(["-H", &facts.endpoint])
            .args(args)
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn();
        child.map_err(|error| format!("start docker {}: {error}", args[0]))
    };
    let mut save = run(from, ["save", IMAGE], Stdio::null())?;
    let image = save.stdout.take().ok_or("docker save has no output")?;
    let load = run(to, ["load", "-q"], image.into())?.wait_with_output();
    let loaded = load.is_ok_and(|load| load.status.success());
    let saved = save.wait().is_ok_and(|status| status.success());
    if saved && loaded { Ok(()) } else { Err("the image could not be copied".to_owned()) }
}

async fn connect(endpoint: &str, seen: &Arc<Seen>) -> Result<(Docker, String), Failure> {
    let path = endpoint.trim_start_matches("unix://");
    let open = || async {
        Docker::connect_with_unix(path, 120, API_DEFAULT_VERSION)?.negotiate_version().await
    };
    let docker = open().await.map_err(|error| error.to_string())?;
    let listener = open().await.map_err(|error| error.to_string())?;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let filters = HashMap::from([
        ("type".to_owned(), words(&["container"])),
        ("event".to_owned(), words(&["start", "die"])),
    ]);
    let mut events =
        listener.events(Some(EventsOptions { filters: Some(filters), ..Default::default() }));
    let seen = Arc::clone(seen);
    tokio::spawn(async move {
        while let Some(Ok(event)) = events.next().await {
            seen.note(event);
        }
    });
    let image = docker.inspect_image(IMAGE).await.map_err(|error| error.to_string())?;
    // The stream is open well before the first container is made.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok((docker, image.id.ok_or("the image has no id")?))
}

impl Seen {
    fn note(&self, event: EventMessage) {
        let now = Instant::now();
        let attributes = event.actor.unwrap_or_default().attributes.unwrap_or_default();
        if let (Some(action), Some(name)) = (event.action, attributes.get("name")) {
            let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
            at.insert((action, name.clone()), now);
        }
        self.news.notify_waiters();
    }
}

/// `windlass up` as a process of its own, on directories of its own.
pub(crate) struct Up {
    // Dropped first: it ends before its directories go.
    _child: UpProcess,
    dir: TempDir,
}

/// A running `windlass up`; killed when dropped, for killed at any point it leaves nothing behind.
pub(crate) struct UpProcess(Child);

impl Up {
    /// Starts it, and waits until it has started a first container.
    pub(crate) async fn start(engine: &Engine) -> Result<Self, Failure> {
        Self::start_on(engine, &node(engine)).await
    }

    /// The same, on these nodes. `engine` tells what happens on all of them.
    pub(crate) async fn start_on(engine: &Engine, nodes: &str) -> Result<Self, Failure> {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let specs = dir.path().join("specs");
        fs::create_dir(&specs).map_err(|error| error.to_string())?;
        let child = spawn_up(dir.path())?;
        let up = Self { dir, _child: child };
        up.write("node", &format!("{nodes}---\n{}", instance("first")))?;
        engine.when("start", &container("first")).await.map_err(|failure| up.explain(failure))?;
        settle().await;
        Ok(up)
    }

    /// Writes a spec file by an atomic rename. Gives the moment before the rename.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<Instant, Failure> {
        let part = self.dir.path().join("part");
        let whole = self.dir.path().join("specs").join(format!("{name}.yaml"));
        fs::write(&part, text).map_err(|error| error.to_string())?;
        let at = Instant::now();
        fs::rename(&part, &whole).map_err(|error| error.to_string())?;
        Ok(at)
    }

    /// Adds the end of the log to a failure.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(10).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        format!("{failure}; windlass said last:\n{}", last.join("\n"))
    }
}

impl UpProcess {
    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for UpProcess {
    fn drop(&mut self) {
        // If it ended before, there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says by the environment that the bench's binary is `windlass`.
pub(crate) const AS_WINDLASS: &str = "WINDLASS_BENCH_AS_WINDLASS";

/// `windlass VERB` of this build, on `specs` and `state` below `dir`.
pub(crate) fn windlass(dir: &Path, verb: &str) -> Result<Command, Failure> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.arg(verb);
    on(&mut command, dir);
    Ok(command)
}

fn on(command: &mut Command, dir: &Path) {
    command
        .current_dir(dir)
        .env(AS_WINDLASS, "1")
        .env("WINDLASS_SPECS", dir.join("specs"))
        .env("WINDLASS_STATE", dir.join("state"))
        .env("NO_COLOR", "1")
        .env_remove("DOCKER_HOST")
        .stdin(Stdio::null());
}

/// Starts `windlass up` on the directories below `dir`.
pub(crate) fn spawn_up(dir: &Path) -> Result<UpProcess, Failure> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let log = fs::File::create(dir.join("log")).map_err(|error| error.to_string())?;
    let errors = log.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(own).arg("up");
    on(&mut command, dir);
    let child = command.stdout(log).stderr(errors).spawn();
    Ok(UpProcess(child.map_err(|error| format!("start windlass up: {error}"))?))
}

/// A spec of the Node that stands for the engine.
pub(crate) fn node(engine: &Engine) -> String {
    node_named("lab", engine)
}

/// The same, with a name.
pub(crate) fn node_named(name: &str, engine: &Engine) -> String {
    format!(
        "apiVersion: windlass/v1\nkind: Node\nmetadata: {{ name: {name} }}\nspec:\n  \
         endpoint: \"{}\"\n  cgroupRoot: {}\n",
        engine.facts.endpoint,
        engine.cgroup_root()
    )
}

/// A spec of one instance.
pub(crate) fn instance(name: &str) -> String {
    let [program, argument] = COMMAND;
    format!(
        "apiVersion: windlass/v1\nkind: Instance\nmetadata: {{ name: {name} }}\nspec:\n  \
         image: {IMAGE}\n  command: [{program}, \"{argument}\"]\n"
    )
}

/// The name of an instance's first container.
pub(crate) fn container(instance: &str) -> String {
    format!("default.{instance}.0.1")
}

/// Lets both sides finish what they do after the event that was waited for.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

/// A command that runs as root: by itself if we are, else by sudo, which must not ask.
fn as_root(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg("-n").arg(program);
    command
}
