//! What a container printed, line by line.

use std::time::{SystemTime, UNIX_EPOCH};

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures_util::StreamExt;
use reconciler::ports::{DriverError, LogLine, LogQuery};

use super::connect::DockerDriver;
use super::error;

/// Longest line, in bytes; a longer one is cut into several. Engines cut at 16 KiB themselves, and
/// a program that never ends its line must not fill our memory.
const LINE_BYTES_MAX: usize = 64 << 10;

/// See [`Driver::logs`](reconciler::ports::Driver::logs).
pub(super) async fn logs(
    driver: &DockerDriver,
    container: &str,
    query: LogQuery,
    sink: &(dyn Fn(LogLine) + Send + Sync),
) -> Result<(), DriverError> {
    let operation = format!("read the log of container {container}");
    let limit = driver.deadlines().look;
    let LogQuery { follow, tail, since, timestamps } = query;
    let session = driver.session(&operation).await?;
    let options = LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        timestamps,
        since: since.map_or(0, |span| seconds_ago(span.0)),
        until: 0,
        tail: tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
    };
    let mut stream = session.docker.logs(container, Some(options));
    let mut stdout = Lines::new(false);
    let mut stderr = Lines::new(true);
    loop {
        // One that is followed may be silent for as long as it likes.
        let chunk = if follow {
            stream.next().await
        } else {
            match tokio::time::timeout(limit, stream.next()).await {
                Ok(chunk) => chunk,
                Err(_) => return Err(error::timed_out(&operation, limit)),
            }
        };
        let Some(chunk) = chunk else { break };
        match driver.checked(&operation, &session, chunk).await? {
            LogOutput::StdErr { message } => stderr.take(&message, sink),
            LogOutput::StdOut { message }
            | LogOutput::Console { message }
            | LogOutput::StdIn { message } => stdout.take(&message, sink),
        }
    }
    stdout.end(sink);
    stderr.end(sink);
    Ok(())
}

/// The second in which the last `span_ms` milliseconds began.
fn seconds_ago(span_ms: u64) -> i32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let then = now.saturating_sub(u128::from(span_ms)) / 1000;
    i32::try_from(then).unwrap_or(i32::MAX)
}

/// Puts lines together again that come in pieces, and takes those apart that come together.
#[derive(Debug)]
pub(super) struct Lines {
    stderr: bool,
    begun: Vec<u8>,
}

impl Lines {
    pub(super) fn new(stderr: bool) -> Self {
        Self { stderr, begun: Vec::new() }
    }

    pub(super) fn take(&mut self, bytes: &[u8], sink: &(dyn Fn(LogLine) + Send + Sync)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() >= LINE_BYTES_MAX {
                self.end(sink);
            }
        }
    }

    /// Hands on what there is, if there is something.
    pub(super) fn end(&mut self, sink: &(dyn Fn(LogLine) + Send + Sync)) {
        if self.begun.is_empty() {
            return;
        }
        let line = self.begun.strip_suffix(b"\n").unwrap_or(&self.begun);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line).into_owned();
        sink(LogLine { stderr: self.stderr, text });
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let seen = Mutex::new(Vec::new());
        let sink = |line: LogLine| seen.lock().expect("no panic").push(line.text);
        let mut lines = Lines::new(false);
        for chunk in ["one\ntw", "o", "\r\n\n", "la", "st"] {
            lines.take(chunk.as_bytes(), &sink);
        }
        lines.end(&sink);
        assert_eq!(*seen.lock().expect("no panic"), ["one", "two", "", "last"]);
    }
}
