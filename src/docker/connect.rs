//! The driver: its connection, made when it is first needed, and its deadlines.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::models::{SystemInfo, SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum};
use bollard::{API_DEFAULT_VERSION, BollardRequest, ClientVersion, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use hyperlocal::UnixConnector;
use reconciler::model::ids::{ContainerId, OwnerId, hex};
use reconciler::model::observed::{
    CgroupDriver, EngineInfo, Missing, NodeListing, ObservedContainer,
};
use reconciler::model::spec::Endpoint;
use reconciler::ports::{
    Answer, Done, Driver, DriverError, DriverErrorKind, ExecCommand, ExecEnd, ExecTalk, Inside,
    LogLine, LogQuery, NodeEvent, Progress, Usage,
};
use reconciler::step::Action;
use tokio::sync::{Mutex, Notify};

use super::cache::InspectCache;
use super::convert::{EngineDefaults, event_time};
use super::{credentials, error, events, exec, execute, inside, logs, observe, pid, stats};

/// How long the driver waits, by the kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For calls that only look: a healthy engine needs milliseconds, a busy one a second or two.
    pub look: Duration,
    /// For calls that change something: a start on a loaded host takes many seconds, and giving up
    /// early leaves an unknown outcome behind.
    pub change: Duration,
    /// What stopping may take beyond the time that the container was given: after it, the engine
    /// kills and waits for the kernel.
    pub stop_margin: Duration,
    /// How long an image may come without a byte of progress: unpacking a large layer is silent.
    pub stall: Duration,
}

/// See [`Deadlines::look`].
const LOOK_DEADLINE: Duration = Duration::from_secs(10);
/// See [`Deadlines::change`].
const CHANGE_DEADLINE: Duration = Duration::from_secs(120);
/// See [`Deadlines::stop_margin`].
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// See [`Deadlines::stall`].
const STALL_DEADLINE: Duration = Duration::from_secs(120);

/// bollard's own timeout, in seconds. It must never be the one that strikes: ours know what the
/// call is about.
const CLIENT_TIMEOUT_S: u64 = 7 * 24 * 3600;

/// Connections that are kept open between calls. More than this many calls at once are rare, and
/// only pay for a new connection.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// What an engine says of itself is asked for again after this long, beside each new session.
const ENGINE_INFO_AGE_MAX: Duration = Duration::from_secs(600);

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            look: LOOK_DEADLINE,
            change: CHANGE_DEADLINE,
            stop_margin: STOP_MARGIN,
            stall: STALL_DEADLINE,
        }
    }
}

/// Drives the Docker engine behind one endpoint.
///
/// The engine need not be there yet: it is first asked when something is wanted of it, and the API
/// version is agreed on again after it was lost, since an upgrade may have come in between.
#[derive(Debug)]
pub struct DockerDriver {
    endpoint: Endpoint,
    deadlines: Deadlines,
    session: Mutex<Option<Arc<Session>>>,
    pub(super) cache: InspectCache,
}

/// One engine, as it was when the API version was agreed on.
#[derive(Debug)]
pub(super) struct Session {
    /// The client. It speaks the agreed version.
    pub(super) docker: Docker,
    /// What the engine said of itself.
    pub(super) engine: EngineInfo,
    /// What it does where nothing is said.
    pub(super) defaults: EngineDefaults,
    /// The engine's own clock when it was asked, as event queries want it.
    pub(super) engine_time: Option<String>,
    asked_at: Instant,
}

impl DockerDriver {
    /// A driver for the engine at `endpoint`. Nothing is asked of the engine yet.
    #[must_use]
    pub fn connect(endpoint: &Endpoint) -> Self {
        Self::with_deadlines(endpoint, Deadlines::default())
    }

    /// As [`connect`](Self::connect), with other deadlines.
    #[must_use]
    pub fn with_deadlines(endpoint: &Endpoint, deadlines: Deadlines) -> Self {
        Self {
            endpoint: endpoint.clone(),
            deadlines,
            session: Mutex::new(None),
            cache: InspectCache::default(),
        }
    }

    /// Asks the engine for a sign of life.
    ///
    /// # Errors
    /// [`DriverErrorKind::Unreachable`] or [`DriverErrorKind::TimedOut`] if there is none.
    pub async fn ping(&self) -> Result<(), DriverError> {
        let operation = "ping the engine";
        let limit = self.deadlines.look;
        self.call(operation, limit, |session| async move { session.docker.ping().await }).await?;
        Ok(())
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    /// Makes one call within `limit`, opening a session included.
    pub(super) async fn call<T, F>(
        &self,
        operation: &str,
        limit: Duration,
        call: impl FnOnce(Arc<Session>) -> F,
    ) -> Result<T, DriverError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let work = async {
            let session = self.session(operation).await?;
            let answer = call(Arc::clone(&session)).await;
            self.checked(operation, &session, answer).await
        };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(error::timed_out(operation, limit)),
        }
    }

    /// Translates an error, and ends the session if it says that the engine was lost.
    pub(super) async fn checked<T>(
        &self,
        operation: &str,
        session: &Arc<Session>,
        answer: Result<T, Error>,
    ) -> Result<T, DriverError> {
        match answer {
            Ok(value) => Ok(value),
            Err(failure) => {
                let translated = error::driver_error(operation, &failure);
                if translated.kind == DriverErrorKind::Unreachable
                    || error::is_version_mismatch(&failure)
                {
                    self.forget(session).await;
                }
                Err(translated)
            }
        }
    }

    /// The session, opened if there is none. Callers that come meanwhile wait for the same one.
    pub(super) async fn session(&self, operation: &str) -> Result<Arc<Session>, DriverError> {
        let mut slot = self.session.lock().await;
        if let Some(session) =
            slot.as_ref().filter(|session| session.asked_at.elapsed() < ENGINE_INFO_AGE_MAX)
        {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.open(operation).await?);
        *slot = Some(Arc::clone(&session));
        Ok(session)
    }

    /// A session that was opened just now.
    pub(super) async fn fresh_session(&self, operation: &str) -> Result<Arc<Session>, DriverError> {
        self.session.lock().await.take();
        self.session(operation).await
    }

    /// Ends a session: the next call opens another one.
    pub(super) async fn forget(&self, session: &Arc<Session>) {
        let mut slot = self.session.lock().await;
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            *slot = None;
        }
    }

    async fn open(&self, operation: &str) -> Result<Session, DriverError> {
        let work = async {
            let version = agree(&self.endpoint).await?;
            let docker = client(&self.endpoint, Some(version), Answered::default())?;
            let info = docker.info().await?;
            Ok::<_, Error>((docker, info))
        };
        let (docker, info) = match tokio::time::timeout(self.deadlines.look, work).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(failure)) => return Err(error::driver_error(operation, &failure)),
            Err(_) => return Err(error::timed_out(operation, self.deadlines.look)),
        };
        let defaults = EngineDefaults {
            limits_swap: info.swap_limit.unwrap_or(false),
            private_cgroups: info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2),
        };
        let engine_time = info.system_time.as_deref().and_then(event_time);
        let engine = engine_info(info, docker.client_version());
        Ok(Session { docker, engine, defaults, engine_time, asked_at: Instant::now() })
    }

    /// A client of its own for the event stream: `opened` is told when the engine has answered.
    pub(super) fn event_client(
        &self,
        session: &Session,
        opened: Arc<Notify>,
    ) -> Result<Docker, Error> {
        let answered = Answered { opened: Some(opened), ..Answered::default() };
        client(&self.endpoint, Some(session.docker.client_version()), answered)
    }
}

/// The newest version that both sides speak. The engine tells its own with each answer: a ping costs
/// a twentieth of asking for its version, for which it looks at all that it is made of.
async fn agree(endpoint: &Endpoint) -> Result<ClientVersion, Error> {
    let answered = Answered::default();
    let docker = client(endpoint, None, answered.clone())?;
    docker.ping().await?;
    let told = answered.version.get().and_then(|text| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse::<usize>().ok()?, minor.parse::<usize>().ok()?))
    });
    match told {
        Some(theirs) => {
            let ours = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
            let (major_version, minor_version) = theirs.min(ours);
            Ok(ClientVersion { major_version, minor_version })
        }
        None => Ok(docker.negotiate_version().await?.client_version()),
    }
}

/// What a transport tells of answers.
#[derive(Debug, Clone, Default)]
struct Answered {
    /// Is told of each that says all is well.
    opened: Option<Arc<Notify>>,
    /// Holds the newest version that the engine speaks, from the first one on.
    version: Arc<OnceLock<String>>,
}

pub(super) fn engine_info(info: SystemInfo, version: ClientVersion) -> EngineInfo {
    let cgroup_driver = match info.cgroup_driver {
        Some(SystemInfoCgroupDriverEnum::SYSTEMD) => CgroupDriver::Systemd,
        Some(
            SystemInfoCgroupDriverEnum::CGROUPFS
            | SystemInfoCgroupDriverEnum::NONE
            | SystemInfoCgroupDriverEnum::EMPTY,
        )
        | None => CgroupDriver::Cgroupfs,
    };
    let options = info.security_options.unwrap_or_default();
    let has = |name: &str| options.iter().any(|option| option.split(',').any(|part| part == name));
    let missing = [(Missing::Apparmor, "name=apparmor"), (Missing::Seccomp, "name=seccomp")];
    let missing = missing.into_iter().filter(|(_, name)| !has(name)).map(|(what, _)| what);
    let has_sizes = has_sizes(info.driver.as_deref(), info.driver_status.as_deref());
    EngineInfo {
        missing: missing.chain((!has_sizes).then_some(Missing::Disk)).collect(),
        id: info.id.unwrap_or_default(),
        version: info.server_version.unwrap_or_default(),
        api_version: version.to_string(),
        cgroup_driver,
        cpus: info.ncpu.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(0),
        memory: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
    }
}

/// Whether a storage driver can limit how large containers get. Of `overlay2` that is so on xfs, where
/// that is mounted with `pquota`: an engine does not tell of that, and refuses the create without it.
fn has_sizes(driver: Option<&str>, status: Option<&[Vec<String>]>) -> bool {
    match driver {
        Some("btrfs" | "zfs" | "devicemapper") => true,
        Some("overlay2") => status.into_iter().flatten().any(|line| {
            matches!(line.as_slice(), [name, value] if name == "Backing Filesystem" && value == "xfs")
        }),
        Some(_) | None => false,
    }
}

/// A client with a transport of our own: bollard's keeps no connection, and cannot say when an
/// event stream is open. TLS will need one too (bollard's costs 44 ms a call).
///
/// bollard 0.21 leaves the version out of what it asks for, so an engine answers in its newest
/// form, whatever was agreed on. `version` puts it in; without one, the newest that bollard knows
/// is where negotiation begins.
fn client(
    endpoint: &Endpoint,
    version: Option<ClientVersion>,
    answered: Answered,
) -> Result<Docker, Error> {
    let Endpoint::Unix(path) = endpoint;
    // A URL cannot hold a path where it has its host: the connector reads it in hexadecimal.
    let address = format!("unix://{}", hex(path.as_bytes()));
    let prefix = version.map(|version| format!("{address}/v{version}"));
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .build(UnixConnector);
    let transport = move |mut request: BollardRequest| {
        let client = client.clone();
        let answered = answered.clone();
        let asked = prefix.as_ref().map(|prefix| {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            format!("{prefix}{path}").parse()
        });
        credentials::mend_header(&mut request);
        async move {
            if let Some(asked) = asked {
                *request.uri_mut() = asked?;
            }
            let response = client.request(request).await.map_err(Error::from)?;
            if let Some(told) = response.headers().get("api-version")
                && let Ok(told) = told.to_str()
            {
                answered.version.get_or_init(|| told.to_owned());
            }
            if let Some(opened) = answered.opened.filter(|_| response.status().is_success()) {
                opened.notify_one();
            }
            Ok(response)
        }
    };
    let version = version.as_ref().unwrap_or(API_DEFAULT_VERSION);
    Docker::connect_with_custom_transport(transport, Some(address), CLIENT_TIMEOUT_S, version)
}

impl Driver for DockerDriver {
    fn list<'a>(&'a self, owner: &'a OwnerId) -> Answer<'a, NodeListing> {
        Box::pin(observe::list(self, owner))
    }

    fn inspect<'a>(
        &'a self,
        owner: &'a OwnerId,
        container: &'a str,
    ) -> Answer<'a, Option<(ContainerId, ObservedContainer)>> {
        Box::pin(observe::inspect(self, owner, container))
    }

    fn execute<'a>(
        &'a self,
        action: &'a Action,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Answer<'a, Done> {
        Box::pin(execute::execute(self, action, progress))
    }

    fn watch<'a>(
        &'a self,
        owner: &'a OwnerId,
        sink: &'a (dyn Fn(NodeEvent) + Send + Sync),
    ) -> std::pin::Pin<Box<dyn Future<Output = DriverError> + Send + 'a>> {
        Box::pin(events::watch(self, owner, sink))
    }

    fn pid<'a>(&'a self, container: &'a str) -> Answer<'a, Option<u32>> {
        Box::pin(pid::pid(self, container))
    }

    fn hosts_path<'a>(&'a self, container: &'a str) -> Answer<'a, Option<Arc<str>>> {
        Box::pin(pid::hosts_path(self, container))
    }

    fn logs<'a>(
        &'a self,
        container: &'a str,
        query: LogQuery,
        sink: &'a (dyn Fn(LogLine) + Send + Sync),
    ) -> Answer<'a, ()> {
        Box::pin(logs::logs(self, container, query, sink))
    }

    fn exec<'a>(
        &'a self,
        container: &'a str,
        command: &'a ExecCommand,
        talk: &'a dyn ExecTalk,
    ) -> Answer<'a, ExecEnd> {
        Box::pin(exec::exec(self, container, command, talk))
    }

    fn usage<'a>(&'a self, container: &'a str) -> Answer<'a, Usage> {
        Box::pin(stats::usage(self, container))
    }

    fn inside<'a>(&'a self, container: &'a str) -> Answer<'a, Inside> {
        Box::pin(inside::inside(self, container))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_that_know_sizes() {
        let on = |files: &str| vec![vec!["Backing Filesystem".to_owned(), files.to_owned()]];
        assert!(has_sizes(Some("btrfs"), None));
        assert!(has_sizes(Some("overlay2"), Some(&on("xfs"))));
        assert!(!has_sizes(Some("overlay2"), Some(&on("extfs"))));
        assert!(!has_sizes(Some("overlayfs"), Some(&on("xfs"))), "containerd's");
        assert!(!has_sizes(None, None));
    }
}
