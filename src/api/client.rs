//! A command's end of the socket.

use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::protocol::{Frame, Request};

/// Why a daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The socket is there and nobody can be reached through it.
    #[error("connect to the daemon at {path}")]
    Connect {
        /// The socket.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The request could not be sent.
    #[error("ask the daemon")]
    Send(#[source] std::io::Error),
}

/// Connects to the daemon of a state directory; `None` if none listens there.
///
/// # Errors
/// [`AskError::Connect`] if one seems to, and cannot be reached: no permission, for one.
pub async fn connect(socket: &Path) -> Result<Option<UnixStream>, AskError> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    match UnixStream::connect(socket).await {
        Ok(stream) => Ok(Some(stream)),
        // A socket that nobody listens on is a leftover of a daemon that was killed.
        Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => Ok(None),
        Err(source) => Err(AskError::Connect { path: socket.display().to_string(), source }),
    }
}

/// Asks, and gives the frames of the answer as they come. A daemon that dies in the middle ends
/// them with [`Frame::Error`].
///
/// # Errors
/// [`AskError::Send`] if the request could not be sent.
pub async fn ask(
    mut stream: UnixStream,
    request: &Request,
) -> Result<mpsc::UnboundedReceiver<Frame>, AskError> {
    let mut line = serde_json::to_vec(request).map_err(|error| AskError::Send(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(AskError::Send)?;
    let (sender, frames) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        let lost = loop {
            let frame = match lines.next_line().await {
                Ok(Some(line)) => match serde_json::from_str::<Frame>(&line) {
                    Ok(frame) => frame,
                    Err(error) => break format!("the daemon's answer cannot be read: {error}"),
                },
                Ok(None) => break "the daemon ended before it had answered".to_owned(),
                Err(error) => break format!("the connection to the daemon broke: {error}"),
            };
            let is_last = matches!(frame, Frame::End | Frame::Error { .. });
            if sender.send(frame).is_err() || is_last {
                return;
            }
        };
        let help = "is it still running? `windlass up` starts it".to_owned();
        let _ = sender.send(Frame::Error { message: lost, help: Some(help) });
    });
    Ok(frames)
}
