//! The daemon's end of the socket.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::client::Conversation;
use super::input::Input;
use super::protocol::{Frame, REQUEST_BYTES_MAX, Request};
use crate::shell::Asker;

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listen on {place}")]
pub struct ListenError {
    place: String,
    #[source]
    source: std::io::Error,
}

impl ListenError {
    pub(super) fn new(place: String, source: std::io::Error) -> Self {
        Self { place, source }
    }
}

/// Serves the socket until it is dropped; then the socket is gone.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // If it is gone already, that is what was wanted.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens on `path`, for its owner only. The caller holds the lock of the state directory, so a
/// socket that is there is a leftover.
///
/// # Errors
/// [`ListenError`] if the system does not let us.
pub fn listen(path: &Path, asker: Asker) -> Result<Server, ListenError> {
    let failed = |source| ListenError::new(path.display().to_string(), source);
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // The state directory is closed to others already; the socket's own mode is the second lock.
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream, asker.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: that passes.
                    tracing::warn!(%error, "accept a client");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(Server { path: path.to_owned(), task })
}

/// Answers the requests of one client, one after the other.
pub(crate) async fn serve(stream: UnixStream, asker: Asker) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX);
        match (&mut reader).take(limit).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let request: Request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let frame = Frame::Error {
                    message: format!("read the request: {error}"),
                    help: Some("is the client of the same version as the daemon?".to_owned()),
                };
                let _ = write(&mut writer, &frame).await;
                return;
            }
        };
        if let Request::Exec { replica, command, by } = request {
            // A command takes all that comes after it, so it is the last request of a connection.
            return converse(reader, writer, asker.talk(replica, command, by)).await;
        }
        let mut frames = asker.ask(request);
        loop {
            let frame = tokio::select! {
                frame = frames.recv() => frame,
                // A client that goes away while it waits is not told any more.
                _ = reader.fill_buf() => return,
            };
            let Some(frame) = frame else { return };
            let is_last = matches!(frame, Frame::End | Frame::Error { .. });
            if write(&mut writer, &frame).await.is_err() {
                return;
            }
            if is_last {
                break;
            }
        }
    }
}

/// Carries what goes to a command in a container and what comes from it, until it ends or the
/// client goes away. Neither direction waits for the other one.
async fn converse(
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
    conversation: Conversation,
) {
    let Conversation { input, mut frames } = conversation;
    let inputs = async move {
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX);
            match (&mut reader).take(limit).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let Ok(read) = serde_json::from_slice::<Input>(&line) else { return };
            if input.send(read.into()).await.is_err() {
                // The command has ended, or takes no input; a client that leaves is still noticed.
                let mut rest = [0; 4096];
                while matches!(reader.read(&mut rest).await, Ok(1..)) {}
                return;
            }
        }
    };
    let outputs = async {
        while let Some(frame) = frames.recv().await {
            let is_last = matches!(frame, Frame::Exited { .. } | Frame::Error { .. });
            if write(&mut writer, &frame).await.is_err() || is_last {
                return;
            }
        }
    };
    tokio::select! {
        () = outputs => {}
        () = inputs => {}
    }
}

async fn write(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    frame: &Frame,
) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(frame)?;
    line.push(b'\n');
    writer.write_all(&line).await
}
