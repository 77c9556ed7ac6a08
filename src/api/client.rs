//! A command's end of the socket.

use std::path::Path;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use reconciler::ports::ExecInput;

use super::input::Input;
use super::protocol::{Frame, PIECES_MAX, REQUEST_BYTES_MAX, Request};

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
    /// The request is longer than a daemon reads.
    #[error("ask the daemon: the question has {bytes} bytes, and at most {REQUEST_BYTES_MAX} go")]
    TooLong {
        /// How long it is.
        bytes: usize,
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
    send(&mut stream, request).await?;
    let (sender, frames) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        loop {
            let frame = next(&mut lines).await;
            let is_last = matches!(frame, Frame::End | Frame::Error { .. });
            if sender.send(frame).is_err() || is_last {
                return;
            }
        }
    });
    Ok(frames)
}

/// A command that runs in a container, as whoever wants it run sees it.
#[derive(Debug)]
pub struct Conversation {
    /// Its input. Dropping it says that nobody is there any more.
    pub input: mpsc::Sender<ExecInput>,
    /// Its output, then [`Frame::Exited`] or [`Frame::Error`].
    pub frames: mpsc::Receiver<Frame>,
}

/// Has the daemon run a command; `request` is a [`Request::Exec`].
///
/// # Errors
/// As [`ask`].
pub async fn converse(mut stream: UnixStream, request: &Request) -> Result<Conversation, AskError> {
    send(&mut stream, request).await?;
    let (reader, mut writer) = stream.into_split();
    let (input, mut inputs) = mpsc::channel::<ExecInput>(PIECES_MAX);
    let (sender, frames) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        while let Some(input) = inputs.recv().await {
            let Ok(mut line) = serde_json::to_vec(&Input::from(input)) else { return };
            line.push(b'\n');
            // If the daemon is gone, the other task tells it.
            if writer.write_all(&line).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let mut lines = BufReader::new(reader).lines();
        loop {
            let frame = next(&mut lines).await;
            let is_last = matches!(frame, Frame::Exited { .. } | Frame::Error { .. });
            if sender.send(frame).await.is_err() || is_last {
                return;
            }
        }
    });
    Ok(Conversation { input, frames })
}

async fn send(stream: &mut UnixStream, request: &Request) -> Result<(), AskError> {
    let mut line = serde_json::to_vec(request).map_err(|error| AskError::Send(error.into()))?;
    line.push(b'\n');
    if line.len() > REQUEST_BYTES_MAX {
        return Err(AskError::TooLong { bytes: line.len() });
    }
    stream.write_all(&line).await.map_err(AskError::Send)
}

/// The next frame; [`Frame::Error`] if none comes any more.
async fn next<R: AsyncBufRead + Unpin>(lines: &mut Lines<R>) -> Frame {
    let lost = match lines.next_line().await {
        Ok(Some(line)) => match serde_json::from_str::<Frame>(&line) {
            Ok(frame) => return frame,
            Err(error) => format!("the daemon's answer cannot be read: {error}"),
        },
        Ok(None) => "the daemon ended before it had answered".to_owned(),
        Err(error) => format!("the connection to the daemon broke: {error}"),
    };
    let help = "is it still running? `windlass up` starts it".to_owned();
    Frame::Error { message: lost, help: Some(help) }
}
