//! A command in a container that runs: the engine turns the connection of its start into a stream
//! of bytes in both directions.
//!
//! The client library's own start of a command guesses from the first byte of each piece whether it
//! comes from a terminal; a program that prints such a byte would be misread. So that one call is
//! made here, and what comes is taken apart here.

use std::sync::Arc;
use std::time::Duration;

use bollard::ClientVersion;
use bollard::errors::Error;
use bollard::models::ExecConfig;
use bollard::query_parameters::ResizeExecOptions;
use bollard::{BollardRequest, body_full};
use hyper::body::{Body as _, Bytes};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyperlocal::UnixConnector;
use reconciler::model::ids::hex;
use reconciler::model::spec::Endpoint;
use reconciler::ports::{
    DriverError, DriverErrorKind, ExecCommand, ExecEnd, ExecInput, ExecOutput, ExecTalk,
    TerminalSize,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, WriteHalf};
use tokio::sync::watch;

use super::connect::{DockerDriver, Session};
use super::error;

/// Bytes that are handed on at once: a screen of a terminal, or a good piece of a file.
const PIECE_BYTES_MAX: usize = 16 << 10;

/// Attempts to tell a terminal's first size: the command may not have begun when it is told.
const RESIZE_TRIES_MAX: u32 = 50;
/// The pause between two of them.
const RESIZE_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Looks for the exit code of a command whose output has ended: the engine notes it a moment later.
const CODE_LOOKS_MAX: u32 = 250;
/// The pause between two of them.
const CODE_LOOK_AFTER: Duration = Duration::from_millis(20);

/// Keys that would end the connection and leave the command running. An engine takes Ctrl-P Ctrl-Q
/// unless it is told other ones, and then holds back each Ctrl-P until the next key comes. This row
/// nobody types, and its first key is rare in programs.
const DETACH_KEYS: &str = "ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_,ctrl-^,ctrl-_";

/// What an engine's word begins with that it prints instead of the command's output if it cannot run
/// it.
const REFUSALS: [&str; 3] =
    ["OCI runtime exec failed: ", "unable to find user ", "unable to find group "];

/// Longest answer, in bytes, that is read of an engine that refuses.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What shells, and newer engines, report of a command that is not there.
const NOT_FOUND: i64 = 127;

type Stream = TokioIo<Upgraded>;

/// See [`Driver::exec`](reconciler::ports::Driver::exec).
pub(super) async fn exec(
    driver: &DockerDriver,
    container: &str,
    command: &ExecCommand,
    talk: &dyn ExecTalk,
) -> Result<ExecEnd, DriverError> {
    let operation = format!("run a command in container {container}");
    let change = driver.deadlines().change;
    let config = config(command);
    let (session, created) = driver
        .call(&operation, change, |session| async move {
            let created = session.docker.create_exec(container, config).await?;
            Ok((session, created.id))
        })
        .await?;
    let has_terminal = command.terminal.is_some();
    let version = session.docker.client_version();
    let start = start(driver.endpoint(), &version, &created, has_terminal);
    let stream = match tokio::time::timeout(change, start).await {
        Ok(stream) => driver.checked(&operation, &session, stream).await?,
        Err(_) => return Err(error::timed_out(&operation, change)),
    };
    let (reader, writer) = tokio::io::split(stream);
    let (size, sizes) = watch::channel(command.terminal);
    let mut output = Output { talk, has_terminal, held: Vec::new(), handed_on: false };
    let heard = tokio::select! {
        heard = output.read(reader) => heard,
        () = write(talk, writer, &size) => return Ok(ExecEnd { code: 0, refused: None }),
        never = resize(&session, &created, sizes) => match never {},
    };
    if let Err(failure) = heard {
        let failure = Error::IOError { err: failure };
        return driver.checked(&operation, &session, Err(failure)).await;
    }
    let code = code(driver, &session, &operation, &created).await?;
    let refused = output.refusal(code).await;
    // Engines before 27 have one code for all of these.
    let not_found = |why: &String| {
        why.starts_with("exec: ")
            && (why.contains("executable file not found")
                || why.ends_with("no such file or directory"))
    };
    let code = if refused.as_ref().is_some_and(not_found) { NOT_FOUND } else { code };
    Ok(ExecEnd { code, refused })
}

fn config(command: &ExecCommand) -> ExecConfig {
    let ExecCommand { command, env, user, workdir, stdin, terminal } = command;
    ExecConfig {
        attach_stdin: Some(*stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        // Engines before API 1.42 do not know it, and are told once the command runs.
        console_size: terminal.map(|size| vec![size.rows.into(), size.columns.into()]),
        detach_keys: Some(DETACH_KEYS.to_owned()),
        tty: Some(terminal.is_some()),
        env: Some(env.clone()).filter(|env| !env.is_empty()),
        cmd: Some(command.clone()),
        privileged: None,
        user: user.clone(),
        working_dir: workdir.clone(),
    }
}

/// Has the command begin on a connection of its own, which becomes the stream.
async fn start(
    endpoint: &Endpoint,
    version: &ClientVersion,
    exec: &str,
    has_terminal: bool,
) -> Result<Stream, Error> {
    let Endpoint::Unix(path) = endpoint;
    let client = Client::builder(TokioExecutor::new()).build(UnixConnector);
    let body = format!("{{\"Detach\":false,\"Tty\":{has_terminal}}}");
    let mut request = BollardRequest::new(body_full(Bytes::from(body)));
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() =
        format!("unix://{}/v{version}/exec/{exec}/start", hex(path.as_bytes())).parse()?;
    let headers = request.headers_mut();
    let value = hyper::header::HeaderValue::from_static;
    headers.insert(HOST, value("docker"));
    headers.insert(CONNECTION, value("Upgrade"));
    headers.insert(UPGRADE, value("tcp"));
    headers.insert(CONTENT_TYPE, value("application/json"));
    let mut response = client.request(request).await.map_err(Error::from)?;
    let status = response.status();
    if status != hyper::StatusCode::SWITCHING_PROTOCOLS {
        let mut answer = Vec::new();
        let body = response.body_mut();
        while answer.len() < ANSWER_BYTES_MAX
            && let Some(frame) =
                std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context))
                    .await
        {
            answer.extend_from_slice(&frame?.into_data().unwrap_or_default());
        }
        let message = serde_json::from_slice::<serde_json::Value>(&answer)
            .ok()
            .and_then(|answer| Some(answer.get("message")?.as_str()?.to_owned()))
            .unwrap_or_else(|| String::from_utf8_lossy(&answer).into_owned());
        return Err(Error::DockerResponseServerError { status_code: status.as_u16(), message });
    }
    Ok(TokioIo::new(hyper::upgrade::on(response).await?))
}

/// Hands input on until nobody is there any more. An input that the command does not want is lost.
async fn write(
    talk: &dyn ExecTalk,
    mut writer: WriteHalf<Stream>,
    size: &watch::Sender<Option<TerminalSize>>,
) {
    while let Some(input) = talk.input().await {
        // A command that ended, or closed its input, is told of by what it prints.
        let _ = match input {
            ExecInput::Bytes(bytes) => writer.write_all(&bytes).await,
            ExecInput::End => writer.shutdown().await,
            ExecInput::Resize(new) => {
                size.send_replace(Some(new));
                Ok(())
            }
        };
    }
}

/// Tells the engine the size of the terminal, each time that it changes.
async fn resize(
    session: &Arc<Session>,
    exec: &str,
    mut sizes: watch::Receiver<Option<TerminalSize>>,
) -> std::convert::Infallible {
    loop {
        let size = *sizes.borrow_and_update();
        if let Some(TerminalSize { rows, columns }) = size {
            for _ in 0..RESIZE_TRIES_MAX {
                let options = ResizeExecOptions { h: rows.into(), w: columns.into() };
                if session.docker.resize_exec(exec, options).await.is_ok() {
                    break;
                }
                tokio::time::sleep(RESIZE_AGAIN_AFTER).await;
            }
        }
        if sizes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The exit code of a command whose output has ended.
async fn code(
    driver: &DockerDriver,
    session: &Arc<Session>,
    operation: &str,
    exec: &str,
) -> Result<i64, DriverError> {
    for _ in 0..CODE_LOOKS_MAX {
        let found = driver
            .call(operation, driver.deadlines().look, |session| async move {
                session.docker.inspect_exec(exec).await
            })
            .await;
        let found = match found {
            Err(error) if error.kind == DriverErrorKind::NotFound => break,
            found => found?,
        };
        if let (Some(false) | None, Some(code)) = (found.running, found.exit_code) {
            return Ok(code);
        }
        tokio::time::sleep(CODE_LOOK_AFTER).await;
    }
    driver.forget(session).await;
    let text = "its output ended, and the engine does not know its exit code; was its container \
                removed or the engine restarted?";
    Err(error::new(DriverErrorKind::Refused, operation, text))
}

/// What a command prints, on its way to whoever listens.
struct Output<'a> {
    talk: &'a dyn ExecTalk,
    has_terminal: bool,
    /// What may be the engine's word that it cannot run the command.
    held: Vec<u8>,
    handed_on: bool,
}

impl Output<'_> {
    /// Reads until the command's output ends, or nobody listens any more.
    async fn read(&mut self, mut reader: impl AsyncRead + Unpin) -> std::io::Result<()> {
        if self.has_terminal {
            let mut piece = vec![0; PIECE_BYTES_MAX];
            loop {
                let length = reader.read(&mut piece).await?;
                let bytes = piece.get(..length).unwrap_or_default();
                if length == 0 || !self.take(false, bytes).await {
                    return Ok(());
                }
            }
        }
        // Each piece of the two streams comes behind a header: which one, 0 0 0, how many bytes.
        let mut header = [0; 8];
        while whole(&mut reader, &mut header).await? {
            let [stream, _, _, _, a, b, c, d] = header;
            let mut left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
            while left > 0 {
                let mut piece = vec![0; left.min(PIECE_BYTES_MAX)];
                let length = reader.read(&mut piece).await?;
                piece.truncate(length);
                left -= length;
                if length == 0 || !self.take(stream == 2, &piece).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn take(&mut self, stderr: bool, bytes: &[u8]) -> bool {
        if !self.handed_on {
            let begun: Vec<u8> = self.held.iter().chain(bytes).copied().collect();
            let may_be = |refusal: &str| {
                begun.starts_with(refusal.as_bytes()) || refusal.as_bytes().starts_with(&begun)
            };
            if !stderr && begun.len() < ANSWER_BYTES_MAX && REFUSALS.iter().any(|text| may_be(text))
            {
                self.held = begun;
                return true;
            }
            if !self.release().await {
                return false;
            }
        }
        self.talk.output(ExecOutput { stderr, bytes: bytes.to_vec() }).await
    }

    /// It was the command itself that printed what was held back.
    async fn release(&mut self) -> bool {
        self.handed_on = true;
        let bytes = std::mem::take(&mut self.held);
        bytes.is_empty() || self.talk.output(ExecOutput { stderr: false, bytes }).await
    }

    /// Why the command could not be run, if so.
    async fn refusal(mut self, code: i64) -> Option<String> {
        let text = String::from_utf8_lossy(&self.held).into_owned();
        let mut text = text.trim();
        if !matches!(code, 126..=128) || !REFUSALS.iter().any(|refusal| text.starts_with(refusal)) {
            self.release().await;
            return None;
        }
        for prefix in ["OCI runtime exec failed: ", "exec failed: ", "container_linux.go:"] {
            text = text.strip_prefix(prefix).unwrap_or(text);
        }
        if let Some((_, rest)) = text.split_once("starting container process caused: ") {
            text = rest;
        }
        text = text.strip_prefix("unable to start container process: ").unwrap_or(text);
        text = text.strip_suffix(": unknown").unwrap_or(text);
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// Fills `buffer`; false if the stream ended before.
async fn whole(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(buffer).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Mutex;

    use super::*;

    /// Somebody who listens, and types nothing.
    #[derive(Default)]
    struct Ear(Mutex<Vec<(bool, Vec<u8>)>>);

    impl ExecTalk for Ear {
        fn input(&self) -> Pin<Box<dyn Future<Output = Option<ExecInput>> + Send + '_>> {
            Box::pin(async { None })
        }

        fn output(&self, output: ExecOutput) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
            self.0.lock().expect("no panic").push((output.stderr, output.bytes));
            Box::pin(async { true })
        }
    }

    /// What is heard of these bytes, and why the command could not be run if it ended with `code`.
    fn heard(has_terminal: bool, bytes: &[u8], code: i64) -> (String, String, Option<String>) {
        let ear = Ear::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let refused = runtime.block_on(async {
            let mut output =
                Output { talk: &ear, has_terminal, held: Vec::new(), handed_on: false };
            output.read(bytes).await.expect("all of it");
            output.refusal(code).await
        });
        let all = ear.0.into_inner().expect("no panic");
        let of = |stderr: bool| {
            let pieces = all.iter().filter(|(of, _)| *of == stderr).flat_map(|(_, bytes)| bytes);
            String::from_utf8(pieces.copied().collect()).expect("text")
        };
        (of(false), of(true), refused)
    }

    fn framed(stream: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).expect("short").to_be_bytes();
        [&[stream, 0, 0, 0][..], &length, text.as_bytes()].concat()
    }

    #[test]
    fn the_two_streams_are_kept_apart() {
        let long = "x".repeat(PIECE_BYTES_MAX * 2 + 1);
        let bytes = [framed(1, "one\n"), framed(2, "bad\n"), framed(1, ""), framed(1, &long)];
        let (out, err, _) = heard(false, &bytes.concat(), 0);
        assert_eq!((out, err.as_str()), (format!("one\n{long}"), "bad\n"));
    }

    #[test]
    fn a_terminal_may_print_what_looks_like_a_header() {
        let text = "\u{1}\0\0\0\u{ff}";
        assert_eq!(heard(true, text.as_bytes(), 0), (text.to_owned(), String::new(), None));
    }

    #[test]
    fn only_the_engine_says_that_a_command_cannot_be_run() {
        let said = "OCI runtime exec failed: exec failed: unable to start container process: \
                    exec: \"sl\": executable file not found in $PATH: unknown\r\n";
        let why = "exec: \"sl\": executable file not found in $PATH".to_owned();
        let (out, _, refused) = heard(false, &framed(1, said), 126);
        assert_eq!((out.as_str(), refused), ("", Some(why)));
        // The command itself printed it.
        assert_eq!(heard(false, &framed(1, said), 0), (said.to_owned(), String::new(), None));
        let more = [framed(1, said), framed(1, "more")].concat();
        let held = heard(false, &more, 0);
        assert_eq!(held, (format!("{said}more"), String::new(), None));
        // One that only begins like it, in pieces.
        let pieces = [framed(1, "O"), framed(1, "CI is"), framed(2, "err")].concat();
        let held = heard(false, &pieces, 0);
        assert_eq!(held, ("OCI is".to_owned(), "err".to_owned(), None));
    }
}
