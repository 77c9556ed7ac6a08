//! Sends a file of this host to an engine, and checks its digest on the way.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::errors::Error;
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use reconciler::model::ids::hex;
use reconciler::model::spec::LocalFile;
use reconciler::ports::{DriverError, DriverErrorKind, Progress};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio_util::bytes::{Bytes, BytesMut};

use super::connect::{DockerDriver, Session};
use super::progress::Stall;
use super::{archive, error};

/// Bytes that are read and sent at once. The last piece is held back until the digest is known to
/// be right: a file that changed meanwhile never comes to its end, and the engine drops it.
const CHUNK_BYTES: usize = 1 << 20;

/// A file on its way.
#[derive(Debug)]
pub(super) struct Upload {
    operation: String,
    outcome: Outcome,
    sent: watch::Receiver<u64>,
    total: u64,
}

/// How the check of the digest ended; `None` as long as the file has not been read to its end.
type Outcome = Arc<Mutex<Option<Result<(), DriverError>>>>;

#[derive(Debug)]
struct Reading {
    operation: String,
    file: File,
    /// What goes before the file, and does not count as its content.
    prefix: Option<Bytes>,
    wanted: String,
    hash: Sha256,
    held: Option<Bytes>,
    ended: bool,
    outcome: Outcome,
    sent: watch::Sender<u64>,
}

impl Upload {
    /// Opens `file`. What comes beside the upload is the body to send: `prefix`, then the file.
    pub(super) async fn open(
        operation: &str,
        file: &LocalFile,
        prefix: Vec<u8>,
    ) -> Result<(Self, impl Stream<Item = io::Result<Bytes>> + Send + use<>), DriverError> {
        let refused = |failure: io::Error| {
            error::new(DriverErrorKind::Refused, operation, &error::system_text(&failure))
        };
        let opened = File::open(&file.path).await.map_err(refused)?;
        let total = opened.metadata().await.map_err(refused)?.len();
        let outcome = Outcome::default();
        let (sender, sent) = watch::channel(0);
        let reading = Reading {
            operation: operation.to_owned(),
            file: opened,
            prefix: Some(prefix).filter(|prefix| !prefix.is_empty()).map(Bytes::from),
            wanted: file.digest.clone(),
            hash: Sha256::new(),
            held: None,
            ended: false,
            outcome: Arc::clone(&outcome),
            sent: sender,
        };
        let body = stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|chunk| (chunk, reading)))
        });
        Ok((Self { operation: operation.to_owned(), outcome, sent, total }, body))
    }

    /// Follows what the engine says while the body is sent, to the end.
    pub(super) async fn run(
        mut self,
        driver: &DockerDriver,
        session: &Arc<Session>,
        messages: impl Stream<Item = Result<Option<String>, Error>> + Send,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Vec<String>, DriverError> {
        let stall = Stall::new(driver.deadlines().stall);
        let total = self.total;
        let operation = self.operation.clone();
        let work = async {
            let mut messages = pin!(messages);
            let mut said = Vec::new();
            let mut sending = true;
            loop {
                tokio::select! {
                    changed = self.sent.changed(), if sending => {
                        sending = changed.is_ok();
                        stall.moved();
                        progress(Progress { done: *self.sent.borrow(), total });
                    }
                    message = messages.next() => {
                        stall.moved();
                        match message {
                            Some(Ok(line)) => said.extend(line),
                            Some(Err(failure)) => return Ok((said, Err(failure))),
                            None => return Ok((said, Ok(()))),
                        }
                    }
                }
            }
        };
        let (said, ended) = stall.guard(&operation, work).await?;
        // If the file is not what it was, that is why the engine complains.
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = outcome {
            return Err(error);
        }
        driver.checked(&operation, session, ended).await?;
        if outcome.is_none() {
            let text = "the engine did not read the file to its end";
            return Err(error::new(DriverErrorKind::Refused, &operation, text));
        }
        Ok(said)
    }
}

impl Reading {
    /// The next piece, one piece behind what has been read; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(prefix) = self.prefix.take() {
            return Ok(Some(prefix));
        }
        while !self.ended {
            let chunk = match self.read().await {
                Ok(chunk) => chunk,
                Err(failure) => {
                    let text = error::system_text(&failure);
                    return Err(self.fail(&text));
                }
            };
            if chunk.is_empty() {
                self.ended = true;
                let found = format!("sha256:{}", hex(&self.hash.finalize_reset()));
                if found != self.wanted {
                    return Err(self.fail(&archive::changed_text(&found, &self.wanted)));
                }
                self.conclude(Ok(()));
                return Ok(self.held.take());
            }
            self.hash.update(&chunk);
            self.sent.send_modify(|sent| *sent += chunk.len() as u64);
            if let Some(chunk) = self.held.replace(chunk) {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> io::Result<Bytes> {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        while chunk.len() < CHUNK_BYTES {
            if self.file.read_buf(&mut chunk).await? == 0 {
                break;
            }
        }
        Ok(chunk.freeze())
    }

    fn fail(&mut self, text: &str) -> io::Error {
        self.conclude(Err(error::new(DriverErrorKind::Refused, &self.operation, text)));
        io::Error::other("the file cannot be sent")
    }

    fn conclude(&self, outcome: Result<(), DriverError>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}
