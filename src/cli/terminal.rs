//! The terminal that a command in a container is given: ours, without what the kernel makes of keys
//! and lines, and as it was once that is over.

use std::io;
use std::sync::{Mutex, Once, PoisonError};

use reconciler::ports::TerminalSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// How the terminal was, while it is otherwise.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

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
        static HOOK: Once = Once::new();
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        HOOK.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                next(panic);
            }));
        });
        let this = Self(());
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
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
    if let Some(before) = before {
        // A terminal that is gone needs no care.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// How large our terminal is, on standard input or on standard output; `None` if neither is one.
pub(super) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdin()).or_else(|_| tcgetwinsize(io::stdout())).ok()?;
    Some(TerminalSize { rows: size.ws_row, columns: size.ws_col })
}
