//! With what a registry is asked: the credentials that `docker login` left behind.
//!
//! They are read at each pull, so a login takes effect at once, and kept nowhere. No secret is in any
//! error or debug output: not of the file, whose errors say places only, and not of helpers, whose
//! words are not passed on.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bollard::BollardRequest;
use bollard::auth::DockerCredentials;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::error;

/// How long a helper may take: it looks into a keychain, or asks a server nearby. One that waits for
/// a person would wait for ever.
const HELPER_DEADLINE: Duration = Duration::from_secs(5);

/// Largest answer of a helper: tokens have a few thousand bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Largest configuration file: it has some hundred bytes for each registry.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// What the Docker Hub is called in the file and to helpers, since its first version.
const HUB: &str = "https://index.docker.io/v1/";

/// What a helper says if it has nothing for a registry. It ends with an error then, but it is none.
const NOT_FOUND: &str = "credentials not found";

/// The user that a helper names for a token that is no password.
const TOKEN_USER: &str = "<token>";

/// The header in which an engine gets credentials.
const HEADER: &str = "x-registry-auth";

/// base64 as Docker writes it into the file; padding may have been lost when it was copied.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Docker's configuration, where credentials are.
#[derive(Debug)]
pub(super) struct DockerConfig {
    /// `None` if there is neither a setting nor a home.
    file: Option<PathBuf>,
    /// Where helpers are looked for.
    path: Option<OsString>,
    deadline: Duration,
}

/// Credentials that were found.
pub(super) struct Found {
    credentials: DockerCredentials,
    /// Where: the file, or the helper.
    pub(super) source: String,
}

impl DockerConfig {
    /// As the environment has it: `$DOCKER_CONFIG`, else `.docker` in the home directory.
    pub(super) fn of_environment() -> Self {
        let dir = std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty());
        let dir = dir.map(PathBuf::from);
        let dir = dir.or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
        Self {
            file: dir.map(|dir| dir.join("config.json")),
            path: std::env::var_os("PATH"),
            deadline: HELPER_DEADLINE,
        }
    }

    /// The file, for people.
    pub(super) fn shown(&self) -> String {
        let file = self.file.as_deref();
        file.map_or_else(|| "~/.docker/config.json".to_owned(), |file| file.display().to_string())
    }

    /// The credentials for the registry of `reference`; `None` if there are none.
    ///
    /// # Errors
    /// What is wrong with the file or the helper, in one line without a secret.
    pub(super) async fn find(&self, reference: &str) -> Result<Option<Found>, String> {
        let Some(file) = &self.file else { return Ok(None) };
        let Some(bytes) = read(file).await? else { return Ok(None) };
        let config: Value = serde_json::from_slice(&bytes).map_err(|failure| {
            // Not the failure itself, which may quote what stands there.
            format!(
                "{} is not valid JSON (line {}, column {}); put it right, or move it away and run \
                 `docker login` again",
                file.display(),
                failure.line(),
                failure.column()
            )
        })?;
        let server = server_of(reference);
        let wrong = |what: &str| {
            format!("{}: {what}; put it right, or run `docker login` again", file.display())
        };
        match helper_of(&config, server).map_err(|what| wrong(&what))? {
            Some(helper) => self.ask(&helper, server, file).await,
            None => {
                let found = stored(&config, server).map_err(|what| wrong(&what))?;
                let source = || file.display().to_string();
                Ok(found.map(|credentials| Found { credentials, source: source() }))
            }
        }
    }

    /// What a helper knows.
    async fn ask(&self, helper: &str, server: &str, file: &Path) -> Result<Option<Found>, String> {
        let program = format!("docker-credential-{helper}");
        let named = format!("credential helper {program}, which {} names,", file.display());
        if helper.is_empty() || helper.contains('/') {
            return Err(format!("{named} cannot be the name of a program"));
        }
        let failed = |what: String| {
            format!("{named} {what}; try `echo {server} | {program} get` as the same user")
        };
        let mut command = Command::new(&program);
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A group of its own, so that what it started ends with it.
        command.process_group(0).kill_on_drop(true);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let child = command.spawn().map_err(|failure| {
            if failure.kind() == io::ErrorKind::NotFound {
                return format!(
                    "{named} is not in the PATH of windlass; install it, or take it out there"
                );
            }
            failed(format!("cannot be started: {}", error::system_text(&failure)))
        })?;
        let mut group = Group(child);
        let answer = tokio::time::timeout(self.deadline, group.converse(server)).await;
        let (answer, status) = match answer {
            Ok(Ok(answered)) => answered,
            Ok(Err(failure)) => {
                return Err(failed(format!("broke off: {}", error::system_text(&failure))));
            }
            Err(_) => {
                let seconds = self.deadline.as_secs_f64();
                return Err(failed(format!("did not answer within {seconds} s, and was ended")));
            }
        };
        if !status.success() {
            let said = String::from_utf8_lossy(&answer).to_lowercase();
            if said.contains(NOT_FOUND) {
                return Ok(None);
            }
            return Err(failed(format!("failed ({status})")));
        }
        let unreadable = || failed("answered with something else than credentials".to_owned());
        let answer: Value = serde_json::from_slice(&answer).map_err(|_| unreadable())?;
        let field = |name: &str| answer.get(name)?.as_str().map(str::to_owned);
        let user = field("Username").ok_or_else(unreadable)?;
        let secret = field("Secret").ok_or_else(unreadable)?;
        let mut credentials = for_server(server);
        if user == TOKEN_USER {
            credentials.identitytoken = Some(secret);
        } else {
            credentials.username = Some(user);
            credentials.password = Some(secret);
        }
        Ok(Some(Found { credentials, source: format!("helper {program}") }))
    }
}

impl Found {
    /// What the engine is given.
    pub(super) fn into_credentials(self) -> DockerCredentials {
        self.credentials
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credentials: _, source } = self;
        f.debug_struct("Found").field("source", source).finish_non_exhaustive()
    }
}

/// A helper with all that it started.
struct Group(Child);

impl Group {
    async fn converse(
        &mut self,
        server: &str,
    ) -> Result<(Vec<u8>, std::process::ExitStatus), io::Error> {
        let Self(child) = self;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its question may know the answer all the same.
            let asked = stdin.write_all(server.as_bytes()).await;
            if let Err(failure) = asked.as_ref()
                && failure.kind() != io::ErrorKind::BrokenPipe
            {
                asked?;
            }
        }
        let mut answer = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        }
        Ok((answer, child.wait().await?))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The id is known as long as the helper was not waited for, so it is nobody else's yet.
        let id = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(id) = id {
            // It may have ended by itself meanwhile.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// The registry of a reference, as `docker login` wants it; empty for the Docker Hub.
pub(super) fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some(("docker.io" | "index.docker.io", _)) => "",
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        Some((host, _)) if host.contains(|c: char| c.is_ascii_uppercase()) => host,
        Some(_) | None => "",
    }
}

/// What the file and helpers call the registry of a reference.
fn server_of(reference: &str) -> &str {
    match registry_of(reference) {
        "" => HUB,
        registry => registry,
    }
}

/// Engines read the header in the alphabet for URLs; bollard writes the usual one, and an engine
/// takes what it cannot read for nobody's credentials. Only two letters differ.
pub(super) fn mend_header(request: &mut BollardRequest) {
    let Some(value) = request.headers_mut().get_mut(HEADER) else { return };
    let Ok(text) = value.to_str() else { return };
    if let Ok(mended) = text.replace('+', "-").replace('/', "_").parse() {
        *value = mended;
    }
    value.set_sensitive(true);
}

async fn read(file: &Path) -> Result<Option<Vec<u8>>, String> {
    let failed = |what: &str| format!("cannot read {}: {what}", file.display());
    let opened = match tokio::fs::File::open(file).await {
        Ok(opened) => opened,
        // A service's home may be no directory at all.
        Err(failure)
            if matches!(failure.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(failure) => return Err(failed(&error::system_text(&failure))),
    };
    let mut bytes = Vec::new();
    let mut limited = opened.take(CONFIG_BYTES_MAX + 1);
    let read = limited.read_to_end(&mut bytes).await;
    read.map_err(|failure| failed(&error::system_text(&failure)))?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return Err(failed(&format!("it has more than {CONFIG_BYTES_MAX} bytes")));
    }
    // Docker takes an empty file for an empty configuration.
    Ok((!bytes.trim_ascii().is_empty()).then_some(bytes))
}

/// The helper that is to be asked for a server, if one is.
fn helper_of(config: &Value, server: &str) -> Result<Option<String>, String> {
    let text = |value: &Value, name: &str| match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("`{name}` must be a text"))
        }
    };
    if let Some(helpers) = config.get("credHelpers").filter(|helpers| !helpers.is_null()) {
        let helpers = helpers.as_object().ok_or("`credHelpers` must be a mapping")?;
        let hosts = helpers.iter().map(|(key, helper)| (key.as_str(), helper));
        if let Some(helper) = of_server(hosts, server) {
            return text(helper, "credHelpers");
        }
    }
    let store = text(config.get("credsStore").unwrap_or(&Value::Null), "credsStore")?;
    Ok(store.filter(|store| !store.is_empty()))
}

/// What the file itself holds for a server.
fn stored(config: &Value, server: &str) -> Result<Option<DockerCredentials>, String> {
    let Some(auths) = config.get("auths").filter(|auths| !auths.is_null()) else {
        return Ok(None);
    };
    let auths = auths.as_object().ok_or("`auths` must be a mapping")?;
    let hosts = auths.iter().map(|(key, auth)| (key.as_str(), auth));
    let Some(auth) = of_server(hosts, server) else { return Ok(None) };
    let field = |name: &str| {
        let text = auth.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let mut credentials = for_server(server);
    credentials.identitytoken = field("identitytoken");
    credentials.registrytoken = field("registrytoken");
    credentials.username = field("username");
    credentials.password = field("password");
    if let Some(text) = field("auth") {
        let (user, password) = user_and_password(&text)
            .ok_or_else(|| format!("the `auth` of {server} is not `user:password` in base64"))?;
        credentials.username = Some(user);
        credentials.password = Some(password);
    }
    let DockerCredentials { username, password, identitytoken, registrytoken, .. } = &credentials;
    let any = (username.is_some() && password.is_some())
        || identitytoken.is_some()
        || registrytoken.is_some();
    Ok(any.then_some(credentials))
}

/// The entry of a server: by its name, or by an address of it as older versions wrote them.
fn of_server<'v, T>(
    entries: impl Iterator<Item = (&'v str, T)> + Clone,
    server: &str,
) -> Option<T> {
    let host = |key: &'v str| {
        let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
        key.and_then(|key| key.split('/').next())
    };
    let hub = ["index.docker.io", "docker.io", "registry-1.docker.io"];
    let is_it = |key: &'v str| {
        let name = host(key).unwrap_or_else(|| key.split('/').next().unwrap_or(key));
        name == server || (server == HUB && hub.contains(&name))
    };
    let exact = entries.clone().find(|(key, _)| *key == server);
    exact.or_else(|| entries.clone().find(|(key, _)| is_it(key))).map(|(_, entry)| entry)
}

fn for_server(server: &str) -> DockerCredentials {
    DockerCredentials { serveraddress: Some(server.to_owned()), ..DockerCredentials::default() }
}

fn user_and_password(text: &str) -> Option<(String, String)> {
    let plain = String::from_utf8(BASE64.decode(text.trim()).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    // Some tools padded with zeros before they encoded.
    Some((user.to_owned(), password.trim_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests;
