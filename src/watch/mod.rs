//! Watching the specs directory: file events become hints that something may have changed.
//!
//! Read [`Watch`] first, then [`collect`], which makes hints of events, then [`armed`], which says
//! what is watched: the folders of the directory, and with [`points`] the way that leads to it.
//!
//! Nothing here grows with what happens: past a limit, or when the system itself dropped events,
//! everything is watched anew and the hint is to look at everything.

mod armed;
mod collect;
mod points;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use self::armed::Armed;
use self::collect::{Collector, Shared};
use crate::hint::Hint;

/// Watches a directory until it is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Why a directory cannot be watched. It can still be looked at now and then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The system lets this user watch no more folders.
    #[error(
        "watch {path}: all inotify watches are in use; \
         raise them with `sysctl fs.inotify.max_user_watches=1048576`"
    )]
    Watches {
        /// What was to be watched.
        path: String,
    },
    /// The system lets this user have no more watchers.
    #[error(
        "watch {path}: all inotify instances are in use; \
         raise them with `sysctl fs.inotify.max_user_instances=1024`"
    )]
    Instances {
        /// What was to be watched.
        path: String,
    },
    /// There are more folders than we are ready to watch.
    #[error("watch {path}: more than {limit} folders; does a link lead out of the directory?")]
    Folders {
        /// What was to be watched.
        path: String,
        /// How many would be watched.
        limit: usize,
    },
    /// Anything else.
    #[error("watch {path}: {reason}")]
    Other {
        /// What was to be watched.
        path: String,
        /// What the system said.
        reason: String,
    },
}

impl Watch {
    /// Watches `root`, a directory or a file, whether it is there already or not, and calls `sink`
    /// on a thread of its own for every change.
    ///
    /// Everything is watched when this returns, so what is read afterwards is either up to date or
    /// followed by a hint; unless there is a [`fault`](Self::fault): then this holds for a part.
    ///
    /// # Errors
    /// [`WatchError`], if nothing can be watched; it says what to raise where a limit is the cause.
    pub fn start(root: PathBuf, sink: impl Fn(Hint) + Send + 'static) -> Result<Self, WatchError> {
        let other = |path: &Path, error: std::io::Error| WatchError::Other {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let root = std::path::absolute(&root).map_err(|error| other(&root, error))?;
        let shared = Arc::<Shared>::default();
        let armed = Armed::new(&root, &shared)?;
        let mut collector = Collector::new(root.clone(), armed, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("watch".to_owned());
        let thread = thread.spawn(move || collector.run(&sink));
        let thread = thread.map_err(|error| other(&root, error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Why part of the directory is not watched, if so. It stays so until the directory is watched
    /// anew.
    #[must_use]
    pub fn fault(&self) -> Option<WatchError> {
        self.shared.fault()
    }

    /// How often the system had more to tell than its queue holds, and dropped events. Everything
    /// was watched anew since, and a hint to look at everything followed.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.shared.overflows()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // If it panicked there is nothing left to end.
            let _ = thread.join();
        }
    }
}
