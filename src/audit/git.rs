//! What only `git` knows of a checkout. Each question has a deadline, and no answer is an answer: `git`
//! may not be there, or may refuse a directory of somebody else.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use reconciler::model::time::Timestamp;

/// Far more than `git` takes for a directory of specs; whoever waits for a commit waits no longer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// More is not needed of any answer.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Longer names of authors are cut.
const AUTHOR_CHARS_MAX: usize = 200;

/// Who wrote a commit, and when it was committed.
pub(super) fn author(dir: &Path, commit: &str) -> Option<(Arc<str>, Timestamp)> {
    let answer =
        ask(dir, &["show", "-s", "--no-show-signature", "--format=%an <%ae>%n%ct", commit])?;
    let (author, at) = answer.trim().rsplit_once('\n')?;
    let clean = |c: char| if c.is_control() { '?' } else { c };
    let author: String = author.chars().take(AUTHOR_CHARS_MAX).map(clean).collect();
    let seconds: i64 = at.parse().ok()?;
    Some((author.into(), Timestamp(seconds.checked_mul(1000)?)))
}

/// Whether the directory differs from its commit, new files included.
pub(super) fn is_dirty(dir: &Path) -> Option<bool> {
    let answer = ask(dir, &["status", "--porcelain", "--untracked-files=normal", "--", "."])?;
    Some(!answer.is_empty())
}

/// Asks `git`; nothing if it does not answer in time, or refuses.
fn ask(dir: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // A repository's own settings could have other programs run; and its lock is not ours to take.
    command
        .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
        .args(["--no-optional-locks", "--no-pager", "-C"])
        .arg(dir)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    for elsewhere in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"] {
        command.env_remove(elsewhere);
    }
    let mut child = command.spawn().ok()?;
    let stdout = child.stdout.take()?;
    let (told, answer) = channel();
    let reader = thread::Builder::new().name("git".to_owned()).spawn(move || {
        let mut text = Vec::new();
        let read = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut text);
        // If nobody waits any more, it was too late.
        let _ = told.send(read.map(|_| text));
    });
    let text = reader.ok().and_then(|_| answer.recv_timeout(ANSWERS_WITHIN).ok());
    let is_cut = match &text {
        Some(Ok(text)) => text.len() as u64 >= ANSWER_BYTES_MAX,
        Some(Err(_)) | None => {
            // It has ended by itself, or ends now.
            let _ = child.kill();
            false
        }
    };
    if is_cut {
        let _ = child.kill();
    }
    let status = child.wait().ok()?;
    let text = text?.ok()?;
    (status.success() || is_cut).then(|| String::from_utf8_lossy(&text).into_owned())
}
