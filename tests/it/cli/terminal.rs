//! A pseudo-terminal, and a command that believes to be sitting at it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::lab::{Sandbox, eventually};

const SOON: Duration = Duration::from_secs(30);

/// A terminal with `windlass` at it. It ends with the test.
pub(super) struct Terminal {
    keys: File,
    /// Our own end of the side that `windlass` has: how it is set is asked here.
    side: OwnedFd,
    /// How it was set before anything ran on it.
    pub(super) before: Termios,
    child: Child,
    screen: Arc<Screen>,
    /// What was waited for already.
    seen: usize,
}

#[derive(Default)]
struct Screen {
    text: Mutex<String>,
    more: Condvar,
}

impl Terminal {
    /// Starts `windlass` at a terminal of that size.
    pub(super) fn start(room: &Sandbox<'_>, args: &[&str], rows: u16, columns: u16) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal");
        grantpt(&keys).expect("it is ours");
        unlockpt(&keys).expect("it is open");
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let side = ioctl_tiocgptpeer(&keys, flags).expect("its other side");
        tcsetwinsize(&keys, size(rows, columns)).expect("it has a size");
        let before = tcgetattr(&side).expect("it is a terminal");
        let windlass = room.command(args);
        let mut command = Command::new("setpriv");
        // A session of its own, whose terminal this is: then a new size is a signal to it.
        command
            .args(["--pdeathsig", "KILL", "setsid", "--ctty", "--wait"])
            .arg(windlass.get_program())
            .args(windlass.get_args())
            .current_dir(windlass.get_current_dir().expect("a sandbox has a directory"));
        for (name, value) in windlass.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let end = || Stdio::from(side.try_clone().expect("a file descriptor"));
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it starts");
        let keys = File::from(keys);
        let screen = Arc::<Screen>::default();
        let (heard, mut reader) = (Arc::clone(&screen), keys.try_clone().expect("a descriptor"));
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..length]);
                heard.text.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
                heard.more.notify_all();
            }
        });
        Self { keys, side, before, child, screen, seen: 0 }
    }

    /// Types.
    pub(super) fn keys(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("the terminal is there");
    }

    /// Waits until this stands on the screen, behind what was waited for last.
    pub(super) fn wait_for(&mut self, part: &str) {
        let deadline = Instant::now() + SOON;
        let mut text = self.screen.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(at) = text[self.seen..].find(part) {
                self.seen += at + part.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no `{part}`; the screen: {text:?}");
            let woken = self.screen.more.wait_timeout(text, left);
            text = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives the terminal another size.
    pub(super) fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.keys, size(rows, columns)).expect("it takes a size");
    }

    /// How the terminal is set.
    pub(super) fn modes(&self) -> Termios {
        tcgetattr(&self.side).expect("it is a terminal")
    }

    /// Waits until every key is handed on as it is typed.
    pub(super) fn wait_until_raw(&self) {
        eventually("the terminal is raw", SOON, || {
            !self.modes().local_modes.contains(LocalModes::ICANON)
        });
    }

    /// Ends it with a signal.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(status.expect("kill starts").success(), "it ran until now");
    }

    /// Waits for its end, and gives its exit code; -1 if a signal ended it.
    pub(super) fn end(&mut self) -> i32 {
        let mut code = None;
        eventually("it ends", SOON, || {
            code = self.child.try_wait().expect("it can be waited for");
            code.is_some()
        });
        code.and_then(|status| status.code()).unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
