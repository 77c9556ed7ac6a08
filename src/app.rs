//! Puts the adapters together: the one place that knows them all.
//!
//! Commands come here for a [`Session`]: a daemon if one runs on the state directory, else a loop in
//! this process. [`start`] builds that loop, either one that acts ([`Mode::Act`]) or one that only
//! looks ([`Mode::Look`]) and writes nothing anywhere.

pub mod audit;
mod used;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reconciler::engine::Engine;
use reconciler::model::ids::{OwnerId, ReplicaKey};
use reconciler::model::journal::{Entry, Stamped};
use reconciler::model::policies::POLICY_TEXTS;
use reconciler::model::record::Records;
use reconciler::model::snapshot::Config;
use reconciler::model::spec::Endpoint;
use reconciler::model::subnet::Net;
use reconciler::policy::Policies;
use reconciler::ports::{Driver, ExecCommand, Journal as _, StateStore as _, StoreError};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::client::{self, AskError, Conversation};
use crate::api::protocol::{Frame, Request};
use crate::api::scrape::{self, Scraped};
use crate::api::server::{self, ListenError, Server};
use crate::cgroup::Governed;
use crate::docker::DockerDriver;
use crate::fence::Fenced;
pub use crate::journal::Retention;
use crate::journal::{self, JournalWriter};
use crate::policies::{self, News, Place, compile};
use crate::probe::Probes;
use crate::shell::{Asker, Connect, End, Input, Ports, Shell};
use crate::signatures::Signatures;
use crate::specs::{Reader, Watching};
use crate::state::{self, StateDir, StatePaths};
use crate::store::{self, StoreWriter};

/// A daemon that was told to end is gone after this long: it writes out what it holds.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// How often it is looked whether it is.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The specs directory, or one spec file.
    pub specs: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// What projects' own networks are made from.
    pub addresses: Net,
    /// The directory of own policies.
    pub policies: Place,
    /// How much of the journal is kept.
    pub kept: Retention,
    /// How often a daemon looks what containers use; never if zero.
    pub usage_every: Duration,
    /// Where a daemon serves metrics.
    pub metrics: Option<SocketAddr>,
}

impl Settings {
    /// The socket that a daemon of this state directory listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        StatePaths::new(&self.state).socket()
    }
}

/// Makes the store anew, from the journal or what is left of both, and says what was done.
///
/// # Errors
/// [`StoreError`] if another process uses the state directory, or nothing is left to start from.
pub fn rebuild_store(
    settings: &Settings,
    owner: Option<OwnerId>,
) -> Result<state::RebuildReport, StoreError> {
    state::rebuild(&settings.state, owner)
}

/// Shows `visit` every entry of the journal that is kept, oldest first; none if there is no journal.
///
/// # Errors
/// [`StoreError`] if it cannot be read. The entries before the place that is damaged were shown.
pub fn history(settings: &Settings, visit: &mut dyn FnMut(Stamped)) -> Result<(), StoreError> {
    journal::history(&StatePaths::new(&settings.state).journal(), visit).map(drop)
}

/// Whether a state directory holds nothing yet: its owner gets an id with the first change.
///
/// # Errors
/// [`StoreError`] if that cannot be told.
pub fn is_new(settings: &Settings) -> Result<bool, StoreError> {
    Ok(!journal::exists(&StatePaths::new(&settings.state).journal())?)
}

/// Puts entries on record where no daemon runs.
///
/// # Errors
/// [`StoreError`] if another process uses the state directory, or it cannot be written.
pub fn record(settings: &Settings, entries: Vec<Entry>) -> Result<(), StoreError> {
    let state = open_patiently(&settings.state)?;
    let state::Opened { mut records, seq, mut journal, store, repaired: _ } =
        state::open_records(&state, settings.kept)?;
    let (before, at) = (records.clone(), crate::shell::now());
    let stamped: Vec<Stamped> =
        (seq + 1..).zip(entries).map(|(seq, entry)| Stamped { seq, at, entry }).collect();
    journal.append(&stamped)?;
    journal.rest();
    for Stamped { at, entry, .. } in &stamped {
        records.apply(*at, entry);
    }
    store.save(&store::diff(&before, &records), journal.last_seq())
}

/// Opens a state directory that another command may just be putting something on record in.
fn open_patiently(path: &Path) -> Result<StateDir, StoreError> {
    let began = Instant::now();
    loop {
        let opened = StateDir::open(path);
        let is_held = matches!(StateDir::probe(path), Ok(state::Holder::Held { .. }));
        if opened.is_ok() || !is_held || began.elapsed() > ENDS_WITHIN {
            return opened;
        }
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}

/// What a loop may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Bring everything to its declared state, and hold it there.
    Act {
        /// Watch the specs directory, and serve commands.
        hold: bool,
    },
    /// Carry out a saved plan, and begin nothing else.
    Bound,
    /// Look and plan. Nothing is written, neither to engines nor to files.
    Look,
}

/// Why a loop could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The socket cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There is no randomness for an owner's id.
    #[error("make an owner id: {0}")]
    Random(String),
    /// A thread could not be started.
    #[error("start the thread that reads specs or policies")]
    Thread(#[source] std::io::Error),
}

/// A loop in this process.
#[derive(Debug)]
pub struct App {
    /// Asks it.
    pub asker: Asker,
    /// What had to be repaired when the records were opened.
    pub repaired: Vec<String>,
    /// Where metrics are served, if they are.
    pub metrics: Option<Scraped>,
    shell: JoinHandle<End>,
    // Held for as long as the loop runs.
    _server: Option<Server>,
    _state: Option<StateDir>,
}

impl App {
    /// Waits until it ends by itself: when everything was removed.
    pub async fn ended(&mut self) -> End {
        (&mut self.shell).await.unwrap_or(End::Stopped)
    }

    /// Ends it. Containers run on.
    pub async fn stop(mut self) {
        // If it has ended already, there is nothing to stop.
        let _ = self.asker.0.send(Input::Stop);
        let _ = (&mut self.shell).await;
    }
}

/// The engine that stands where no Node is declared: `DOCKER_HOST`, else Docker's own socket.
#[must_use]
pub fn default_endpoint() -> Endpoint {
    let named = std::env::var("DOCKER_HOST").ok();
    let path = named.as_deref().and_then(|host| host.strip_prefix("unix://"));
    Endpoint::Unix(path.unwrap_or("/var/run/docker.sock").to_owned())
}

/// Starts a loop in this process, on Docker engines.
///
/// # Errors
/// [`StartError`] says what could not be used, and what to do.
pub fn start(settings: &Settings, mode: Mode) -> Result<App, StartError> {
    let connect = |endpoint: &Endpoint| -> Arc<dyn Driver> {
        let docker = Arc::new(DockerDriver::connect(endpoint));
        Arc::new(Fenced::new(Arc::new(Governed::new(docker, endpoint)), endpoint))
    };
    start_with(settings, mode, Box::new(connect))
}

/// As [`start`], on engines of the caller's.
///
/// # Errors
/// As [`start`].
pub fn start_with(settings: &Settings, mode: Mode, connect: Connect) -> Result<App, StartError> {
    let (sender, inputs) = mpsc::unbounded_channel();
    let asker = Asker(sender.clone());
    let watching = match mode {
        Mode::Act { hold: true } => Watching::Hold,
        Mode::Act { hold: false } | Mode::Bound | Mode::Look => Watching::Once,
    };
    // Specs are parsed while records are read: there is a core for each.
    let reader =
        Reader::start(&settings.specs, watching, sender.clone()).map_err(StartError::Thread)?;
    let opened = match mode {
        Mode::Act { .. } | Mode::Bound => open_to_act(settings, &sender)?,
        Mode::Look => open_to_look(settings, &sender)?,
    };
    let Opened { records, seq, repaired, state, commit, save } = opened;
    // Policies come before what they judge.
    let mut loader = policies::Loader::new(settings.policies.clone(), &records.texts, compile);
    if let Some(news) = loader.news() {
        let News { reading, problems, sources: _, compiled: _ } = news;
        // Here is whoever takes it.
        let _ = sender.send(Input::Policies { reading: Box::new(reading), problems });
    }
    if watching == Watching::Hold {
        policies::hold(loader, sender.clone()).map_err(StartError::Thread)?;
    }
    let mut texts = records.texts.clone();
    texts.retain(|name, _| !name.starts_with(POLICY_TEXTS));
    reader.begin(texts);
    let policies = Policies::allow_all();
    let config = Config { addresses: settings.addresses, ..Config::default() };
    let engine = Engine::new(config, records, seq, policies, default_endpoint());
    let engine = match mode {
        Mode::Act { .. } => engine,
        Mode::Bound => engine.waiting(),
        Mode::Look => engine.looking(),
    };
    let ports = Ports {
        commit,
        changed: |records, entries| {
            let mut touched = store::Touched::default();
            for stamped in entries {
                touched.add(&stamped.entry);
            }
            store::writes(records, &touched)
        },
        save,
        connect,
        prober: Arc::new(Probes::default()),
        verifier: Arc::new(Signatures::default()),
        reread: Box::new(move || reader.reread()),
        specs: settings.specs.display().to_string(),
        metering: used::metering(settings, mode),
    };
    let (server, metrics) = match mode {
        Mode::Act { hold: true } => {
            let socket = StatePaths::new(&settings.state).socket();
            let metrics = settings.metrics.map(|address| scrape::listen(address, asker.clone()));
            (Some(server::listen(&socket, asker.clone())?), metrics.transpose()?)
        }
        Mode::Act { hold: false } | Mode::Bound | Mode::Look => (None, None),
    };
    let shell = Shell::new(engine, ports, inputs, sender, seq);
    let shell = tokio::spawn(shell.run());
    Ok(App { asker, repaired, metrics, shell, _server: server, _state: state })
}

type Commit = Box<dyn FnMut(Vec<Stamped>, u64) -> Result<(), StoreError> + Send>;
type Save = Box<dyn FnMut(Vec<reconciler::ports::Write>, u64) + Send>;

/// Records with the means to change them.
struct Opened {
    records: Records,
    seq: u64,
    repaired: Vec<String>,
    state: Option<StateDir>,
    commit: Commit,
    save: Save,
}

fn open_to_act(
    settings: &Settings,
    sender: &mpsc::UnboundedSender<Input>,
) -> Result<Opened, StartError> {
    let state = StateDir::open(&settings.state)?;
    let state::Opened { records, seq, journal, store, repaired } =
        state::open_records(&state, settings.kept)?;
    let done = sender.clone();
    let writer = JournalWriter::start(journal, move |written| {
        let journal::Written { ticket, result, wants_checkpoint } = written;
        let result = result.map_err(|error| error.to_string());
        // If the loop has ended, nobody waits for the answer.
        let _ = done.send(Input::Written { ticket, result, wants_checkpoint });
    })?;
    let saver = StoreWriter::start(store)?;
    Ok(Opened {
        records,
        seq,
        repaired,
        state: Some(state),
        commit: Box::new(move |entries, ticket| writer.submit(entries, ticket)),
        save: Box::new(move |writes, seq| saver.save(writes, seq)),
    })
}

fn open_to_look(
    settings: &Settings,
    sender: &mpsc::UnboundedSender<Input>,
) -> Result<Opened, StartError> {
    let journal = StatePaths::new(&settings.state).journal();
    let (mut records, seq) = if journal::exists(&journal)? {
        journal::records_from(&journal)?
    } else {
        (Records::default(), 0)
    };
    if records.owner.is_none() {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(|error| StartError::Random(error.to_string()))?;
        records.owner = Some(OwnerId(reconciler::model::ids::hex(&random)));
    }
    let done = sender.clone();
    Ok(Opened {
        records,
        seq,
        repaired: Vec::new(),
        state: None,
        commit: Box::new(move |_, ticket| {
            let _ = done.send(Input::Written { ticket, result: Ok(()), wants_checkpoint: false });
            Ok(())
        }),
        save: Box::new(|_, _| {}),
    })
}

/// Someone to ask: a daemon, or a loop in this process.
#[derive(Debug)]
pub enum Session {
    /// The daemon that holds the state directory.
    Daemon(Box<Daemon>),
    /// A loop in this process.
    Here(Box<App>),
}

/// A daemon that answered.
#[derive(Debug)]
pub struct Daemon {
    socket: PathBuf,
    /// The directory that it watches.
    pub specs: String,
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A loop could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A daemon could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A daemon answered with something else.
    #[error("the daemon gave no proper answer: {0}")]
    Answer(String),
    /// A daemon holds the state directory for another specs directory.
    #[error(
        "a windlass with pid {pid} holds {held}, and {wanted} was asked for; \
         name that directory, or use another --state"
    )]
    OtherSpecs {
        /// The daemon.
        pid: u32,
        /// What it watches.
        held: String,
        /// What was asked for.
        wanted: String,
    },
}

impl From<Daemon> for Session {
    fn from(daemon: Daemon) -> Self {
        Self::Daemon(Box::new(daemon))
    }
}

impl Session {
    /// The daemon of the state directory, if one runs.
    ///
    /// # Errors
    /// [`SessionError`] if one seems to run and cannot be asked.
    pub async fn daemon(settings: &Settings) -> Result<Option<Daemon>, SessionError> {
        let socket = StatePaths::new(&settings.state).socket();
        let Some(stream) = client::connect(&socket).await? else { return Ok(None) };
        let mut frames = client::ask(stream, &Request::Hello).await?;
        match frames.recv().await {
            Some(Frame::Hello { version, specs, pid }) => {
                Ok(Some(Daemon { socket, specs, pid, version }))
            }
            Some(Frame::Error { message, .. }) => {
                // One that is just ending takes connections that it never answers.
                match Self::ends_soon(settings, &socket).await? {
                    true => Ok(None),
                    false => Err(SessionError::Answer(message)),
                }
            }
            other => Err(SessionError::Answer(format!("{other:?}"))),
        }
    }

    /// Whether the daemon that listens at `socket` is gone within a moment, with all that it held.
    async fn ends_soon(settings: &Settings, socket: &Path) -> Result<bool, SessionError> {
        for _ in 0..ENDS_WITHIN.as_millis() / LOOK_AGAIN_AFTER.as_millis() {
            let held = matches!(StateDir::probe(&settings.state), Ok(state::Holder::Held { .. }));
            if !held && client::connect(socket).await?.is_none() {
                return Ok(true);
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
        Ok(false)
    }

    /// The daemon if one runs, else a loop in this process.
    ///
    /// # Errors
    /// [`SessionError`] if neither can be had.
    pub async fn open(settings: &Settings, mode: Mode) -> Result<Self, SessionError> {
        if let Some(daemon) = Self::daemon(settings).await? {
            if mode != Mode::Look {
                daemon.watches(&settings.specs)?;
            }
            return Ok(Self::Daemon(Box::new(daemon)));
        }
        Ok(Self::Here(Box::new(start(settings, mode)?)))
    }

    /// Asks, and gives the frames of the answer as they come.
    ///
    /// # Errors
    /// [`SessionError`] if the daemon cannot be asked.
    pub async fn ask(
        &self,
        request: Request,
    ) -> Result<mpsc::UnboundedReceiver<Frame>, SessionError> {
        let request = audit::signed(request);
        match self {
            Self::Here(app) => Ok(app.asker.ask(request)),
            Self::Daemon(daemon) => {
                let stream: Option<UnixStream> = client::connect(&daemon.socket).await?;
                match stream {
                    Some(stream) => Ok(client::ask(stream, &request).await?),
                    None => Err(SessionError::Answer("it has just ended".to_owned())),
                }
            }
        }
    }

    /// Has a command run in a replica's container.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub async fn talk(
        &self,
        replica: ReplicaKey,
        command: ExecCommand,
    ) -> Result<Conversation, SessionError> {
        let by = audit::who();
        match self {
            Self::Here(app) => Ok(app.asker.talk(replica, command, by)),
            Self::Daemon(daemon) => match client::connect(&daemon.socket).await? {
                Some(stream) => {
                    let request = Request::Exec { replica, command, by };
                    Ok(client::converse(stream, &request).await?)
                }
                None => Err(SessionError::Answer("it has just ended".to_owned())),
            },
        }
    }

    /// Ends a loop in this process. Containers run on.
    pub async fn close(self) {
        if let Self::Here(app) = self {
            app.stop().await;
        }
    }
}

impl Daemon {
    /// Whether the daemon watches this directory.
    fn watches(&self, specs: &Path) -> Result<(), SessionError> {
        let absolute = |path: &Path| {
            std::fs::canonicalize(path)
                .or_else(|_| std::path::absolute(path))
                .unwrap_or_else(|_| path.to_owned())
        };
        if absolute(Path::new(&self.specs)) == absolute(specs) {
            return Ok(());
        }
        let (held, wanted) = (self.specs.clone(), specs.display().to_string());
        Err(SessionError::OtherSpecs { pid: self.pid, held, wanted })
    }
}
