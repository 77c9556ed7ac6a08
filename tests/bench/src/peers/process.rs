//! One run of a program: how long, how large.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wait4::Wait4 as _;

use crate::table::Failure;

/// What hangs is killed: fifty instances take the slowest neighbour half a minute.
const LIMIT: Duration = Duration::from_secs(300);

/// How much of what a failed program said is told.
const SAID_LINES_MAX: usize = 3;

/// When something was done, and how large the largest process was that did it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ran {
    pub(super) from: Instant,
    pub(super) until: Instant,
    /// Not below what this process has: one that is forked begins with its parent's pages.
    pub(super) peak_bytes: Option<u64>,
}

/// Runs a program to its end.
pub(super) fn run(command: &mut Command) -> Result<Ran, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut said = tempfile::tempfile().map_err(|error| error.to_string())?;
    let copy = |file: &File| file.try_clone().map_err(|error| error.to_string());
    command.stdin(Stdio::null()).stdout(copy(&said)?).stderr(copy(&said)?);
    let from = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("start {program}: {error}"))?;
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let (done, waits) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if let (Err(mpsc::RecvTimeoutError::Timeout), Some(pid)) = (waits.recv_timeout(LIMIT), pid)
        {
            // It may have ended just now.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    let ended = child.wait4().map_err(|error| format!("wait for {program}: {error}"))?;
    let until = Instant::now();
    drop(done);
    // It cannot panic.
    let _ = watch.join();
    if ended.status.success() {
        return Ok(Ran { from, until, peak_bytes: Some(ended.rusage.maxrss) });
    }
    let mut text = String::new();
    let read = said.rewind().and_then(|()| said.read_to_string(&mut text));
    let mut last: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .rev()
        .take(SAID_LINES_MAX)
        .collect();
    last.reverse();
    let said = if read.is_ok() { last.join(" / ") } else { String::new() };
    Err(format!("{program}: {}: {said}", ended.status))
}

/// What a program says.
pub(super) fn output(command: &mut Command) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output();
    let out = out.map_err(|error| format!("start {program}: {error}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(format!("{program}: {}: {}", out.status, said.lines().last().unwrap_or_default()))
}
