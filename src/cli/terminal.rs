//! The terminal that a command in a container is given: ours, without what the kernel makes of keys
//! and lines, and as it was once that is over.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

use reconciler::ports::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The terminal and how it was, while it is otherwise.
static BEFORE: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

/// A terminal that hands on every key as it is typed. It is as before once this is dropped, and
/// before a panic prints its message.
#[derive(Debug)]
pub(super) struct Raw(());

impl Raw {
    /// Makes the terminal on standard input a raw one.
    ///
    /// # Errors
    /// What the system says if it is none.
    pub(super) fn begin() -> io::Result<Self> {
        Self::begin_at(io::stdin().as_fd())
    }

    fn begin_at(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        let kept = (terminal.try_clone_to_owned()?, before);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        HOOK.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                next(panic);
            }));
        });
        let this = Self(());
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(this)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal what it was.
fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((terminal, before)) = before {
        // A terminal that is gone needs no care.
        let _ = tcsetattr(terminal, OptionalActions::Now, &before);
    }
}

/// How large our terminal is, on standard input or on standard output; `None` if neither is one.
pub(super) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdin()).or_else(|_| tcgetwinsize(io::stdout())).ok()?;
    Some(TerminalSize { rows: size.ws_row, columns: size.ws_col })
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::LocalModes;

    use super::*;

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let keys = openpt(flags).expect("a pseudo-terminal");
        grantpt(&keys).and_then(|()| unlockpt(&keys)).expect("it is ours");
        let side = ioctl_tiocgptpeer(&keys, flags).expect("its other side");
        let hands_on_lines =
            || tcgetattr(&side).expect("a terminal").local_modes.contains(LocalModes::ICANON);
        assert!(hands_on_lines());
        let panicked = std::panic::catch_unwind(|| {
            // Where a panic ends the process at once nothing is dropped.
            std::mem::forget(Raw::begin_at(side.as_fd()));
            assert!(hands_on_lines(), "it is raw now, so this is the panic");
        });
        assert!(panicked.is_err() && hands_on_lines());
        drop(Raw::begin_at(side.as_fd()));
        assert!(hands_on_lines());
    }
}
