//! The thread that holds policies: reads their directory when something there changes, and every
//! few seconds anyway, since hints can be missed and a look cannot.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::{Loader, News};
use crate::shell::Input;
use crate::watch::Watch;

/// The directory is looked at again after this long, as specs are; so is a watch that could not be
/// had.
const LOOK_AFTER: Duration = Duration::from_secs(10);

/// Starts the thread. It ends when nobody takes its news any more.
///
/// # Errors
/// If the system gives no thread.
pub fn hold(loader: Loader, inputs: UnboundedSender<Input>) -> std::io::Result<()> {
    thread::Builder::new().name("policies".to_owned()).spawn(move || run(loader, &inputs)).map(drop)
}

fn run(mut loader: Loader, inputs: &UnboundedSender<Input>) {
    let (hints, queue) = channel();
    let mut watch = None;
    loop {
        if watch.as_ref().is_none_or(|watch: &Watch| watch.fault().is_some()) {
            // First the old one goes: there may not be room for both.
            drop(watch.take());
            let hints = hints.clone();
            let sink = move |_| {
                // If the thread has ended, nobody wants to know.
                let _ = hints.send(());
            };
            watch = Watch::start(loader.place.dir.clone(), sink)
                .inspect_err(|error| tracing::debug!(%error, "policies are looked at now and then"))
                .ok();
        }
        // What changed before the watch was there is found here.
        if let Some(News { reading, problems, sources: _, compiled: _ }) = loader.news() {
            let _ = inputs.send(Input::Policies { reading: Box::new(reading), problems });
        }
        match queue.recv_timeout(LOOK_AFTER) {
            // Whatever else was hinted at meanwhile is seen by the same look.
            Ok(()) => while queue.try_recv().is_ok() {},
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if inputs.is_closed() {
            return;
        }
    }
}
