//! `windlass apply`: everything as declared, once.

use super::args::Dir;
use super::{Context, Ended, ask, follow, stdin};
use crate::api::protocol::Request;

/// Runs the verb. Beside a daemon it is the daemon that works.
pub(super) async fn run(context: &Context, dir: &Dir) -> Ended {
    if context.reads_stdin(dir) {
        return Err(stdin::refused("apply"));
    }
    let settings = context.settings_to_read(dir)?;
    // The specs are always those that were meant, never whatever a daemon happens to hold.
    let session = ask::open_to_act(&settings, true).await?;
    let followed = follow::follow(context, &session, Request::Apply, None).await;
    session.close().await;
    follow::conclude(context, &settings, "Applied", &followed?)
}
