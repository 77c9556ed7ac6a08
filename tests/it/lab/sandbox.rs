//! A room of one's own on a shared engine: specs, state, a project, host ports, control groups.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::engine::{Engine, as_root};
use super::wait::Place;

/// A command that takes longer than this hangs.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);

/// Host ports that each sandbox may publish.
const PORTS: u16 = 10;

/// A directory with `specs/` and `state/`, and what `windlass` needs to run on an engine.
///
/// `specs/` holds a Node for that engine from the beginning. What `windlass` started there goes when
/// the sandbox is dropped.
pub(crate) struct Sandbox<'e> {
    engine: &'e Engine,
    dir: tempfile::TempDir,
    project: String,
    cgroup_root: String,
    first_port: u16,
    _place: Place,
}

/// What a command that ended left behind.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code; -1 if a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl<'e> Sandbox<'e> {
    /// Waits for a place among the heavy tests, and sets the room up.
    pub(crate) fn new(engine: &'e Engine) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let place = Place::take();
        engine.import_busybox();
        let dir = tempfile::Builder::new()
            .prefix("room-")
            .tempdir_in(Path::new(engine.dir()).join("rooms"))
            .expect("a temporary directory");
        for name in ["specs", "state"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        let project = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // Below the engine's group, so that it goes even if this process is killed.
        let cgroup_root = format!("{}/windlass-test-{project}", engine.cgroup());
        let first_port = engine.ports(PORTS);
        let room = Self { engine, dir, project, cgroup_root, first_port, _place: place };
        room.spec("node.yaml", &room.node());
        room
    }

    /// The engine that `windlass` works on here.
    pub(crate) fn engine(&self) -> &'e Engine {
        self.engine
    }

    /// The directory that holds `specs/` and `state/`.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The watched directory.
    pub(crate) fn specs(&self) -> PathBuf {
        self.dir.path().join("specs")
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A project that no other sandbox of this process uses: names of containers hold it.
    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    /// A host port that no other sandbox uses, 0 to 9.
    pub(crate) fn port(&self, n: u16) -> u16 {
        assert!(n < PORTS, "a sandbox has {PORTS} ports");
        self.first_port + n
    }

    /// An address range that no other sandbox uses, without its last part: `10.230.7`.
    pub(crate) fn subnet(&self) -> String {
        let number: u8 = self.project[1..].parse().expect("fewer sandboxes than ranges");
        format!("10.230.{number}")
    }

    /// The control group that this sandbox's containers live below.
    pub(crate) fn cgroup_root(&self) -> &str {
        &self.cgroup_root
    }

    /// The Node that stands for the engine.
    fn node(&self) -> String {
        format!(
            "apiVersion: windlass/v1\nkind: Node\nmetadata: {{ name: lab }}\nspec:\n  endpoint: \"{}\"\n  cgroupRoot: {}\n",
            self.engine.endpoint(),
            self.cgroup_root
        )
    }

    /// Replaces `$project` and `$port0` to `$port9` by what this sandbox has.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut text = text.replace("$project", &self.project);
        for n in 0..PORTS {
            text = text.replace(&format!("$port{n}"), &self.port(n).to_string());
        }
        text
    }

    /// Writes a file of the watched directory, filled in as [`Sandbox::fill`] does, by an atomic rename.
    pub(crate) fn spec(&self, name: &str, text: &str) {
        let path = self.specs().join(name);
        let parent = path.parent().expect("a spec has a directory");
        std::fs::create_dir_all(parent).expect("a directory");
        let part = self.dir.path().join("part");
        std::fs::write(&part, self.fill(text)).expect("a spec is written");
        std::fs::rename(&part, &path).expect("a spec is renamed");
    }

    /// Removes a file of the watched directory.
    pub(crate) fn remove_spec(&self, name: &str) {
        std::fs::remove_file(self.specs().join(name)).expect("a spec is removed");
    }

    /// `windlass`, ready to be run in this sandbox.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
        self.prepare(&mut command, args);
        command
    }

    fn prepare(&self, command: &mut Command, args: &[&str]) {
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("WINDLASS_SPECS", self.specs())
            .env("WINDLASS_STATE", self.state())
            .env("NO_COLOR", "1")
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null());
    }

    /// Runs `windlass` to its end.
    ///
    /// # Panics
    /// If it does not end within two minutes.
    pub(crate) fn windlass(&self, args: &[&str]) -> Output {
        run(self.command(args), args)
    }

    /// Starts `windlass up`, which ends at the latest when the calling thread does.
    pub(crate) fn spawn_up(&self, args: &[&str]) -> Up {
        self.spawn_with(&[], &[&["up"], args].concat())
    }

    /// Starts a command that goes on until it is ended.
    pub(crate) fn spawn(&self, args: &[&str]) -> Up {
        self.spawn_with(&[], args)
    }

    /// The same, with options of `setpriv`: `["--bounding-set", "-sys_admin"]`.
    pub(crate) fn spawn_with(&self, privileges: &[&str], args: &[&str]) -> Up {
        self.spawn_by(privileges, &[], args)
    }

    /// The same, as what another program runs: `["prlimit", "--nofile=32"]`.
    pub(crate) fn spawn_by(&self, privileges: &[&str], program: &[&str], args: &[&str]) -> Up {
        // The kernel ends it if this process is killed, when nothing is dropped.
        let mut command = Command::new("setpriv");
        command.args(privileges).args(["--pdeathsig", "KILL"]).args(program);
        command.arg(env!("CARGO_BIN_EXE_windlass"));
        self.prepare(&mut command, args);
        Up::spawn(command)
    }

    /// The container ids, running or not, of an instance of this sandbox's project.
    pub(crate) fn containers(&self, instance: &str) -> Vec<String> {
        let project = format!("label=io.windlass.project={}", self.project);
        let instance = format!("label=io.windlass.instance={instance}");
        let args = ["ps", "-aq", "--no-trunc", "--filter", project.as_str(), "--filter", &instance];
        super::docker(self.engine, &args).lines().map(str::to_owned).collect()
    }
}

impl Drop for Sandbox<'_> {
    fn drop(&mut self) {
        self.engine.remove_below(&self.cgroup_root);
        self.engine.remove_networks(&self.project);
    }
}

fn run(mut command: Command, args: &[&str]) -> Output {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("windlass starts");
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    let mut text = |from: &mpsc::Receiver<String>| {
        let left = deadline.saturating_duration_since(Instant::now());
        from.recv_timeout(left).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("windlass {args:?} did not end within {COMMAND_TIMEOUT:?}");
        })
    };
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    let status = child.wait().expect("windlass ends");
    Output { code: status.code().unwrap_or(-1), stdout, stderr }
}

fn read_all(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    let mut stream = stream.expect("the stream is piped");
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receive
}

/// A running `windlass up`. It is killed when dropped.
pub(crate) struct Up {
    child: Child,
    heard: Arc<Heard>,
    /// Lines before this one were waited for already.
    next: usize,
}

/// The lines of both streams, in the order of their arrival.
#[derive(Default)]
struct Heard {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Up {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("windlass starts");
        let heard = Arc::<Heard>::default();
        listen(&heard, child.stdout.take().expect("stdout is piped"));
        listen(&heard, child.stderr.take().expect("stderr is piped"));
        Self { child, heard, next: 0 }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that holds `part`, after the one that was waited for last, and returns it.
    ///
    /// # Panics
    /// After `timeout`, with all lines in the message.
    pub(crate) fn wait_for_line(&mut self, part: &str, timeout: Duration) -> String {
        let deadline = Instant::now() + timeout;
        let mut lines = self.heard.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while self.next < lines.len() {
                self.next += 1;
                if lines[self.next - 1].contains(part) {
                    return lines[self.next - 1].clone();
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no `{part}` in {timeout:?}; it said:\n{}", lines.join("\n"));
            let woken = self.heard.more.wait_timeout(lines, left);
            lines = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All that it said so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.heard.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it with SIGKILL, and waits for its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it with a signal (`TERM`, `INT`) to end, and returns its exit code; -1 if the signal ended it.
    ///
    /// # Panics
    /// If it has not ended after 30 seconds.
    pub(crate) fn end(&mut self, signal: &str) -> i32 {
        let status =
            as_root("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill starts").success(), "windlass ran until now");
        super::eventually("windlass ends", Duration::from_secs(30), || !self.runs());
        self.child.wait().expect("windlass ended").code().unwrap_or(-1)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listen(heard: &Arc<Heard>, stream: impl Read + Send + 'static) {
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            heard.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            heard.more.notify_all();
        }
    });
}

#[test]
fn a_child_is_heard_and_ended() {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "sh", "-c", "echo one; echo two >&2; exec sleep 1000"]);
    let mut up = Up::spawn(command);
    assert_eq!(up.wait_for_line("two", Duration::from_secs(10)), "two");
    super::eventually("both are heard", Duration::from_secs(10), || up.lines().len() == 2);
    assert!(up.runs());
    assert_eq!(up.end("TERM"), -1);
    assert!(!up.runs());
}
