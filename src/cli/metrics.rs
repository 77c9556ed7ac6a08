//! `windlass metrics`: what a scraper would get.

use super::{Context, Dir, Ended, ask};
use crate::api::protocol::{Frame, Request};

/// Runs the verb.
pub(super) async fn run(context: &Context) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let frame = ask::one(context, &session, Request::Metrics).await?;
    let Frame::Metrics { text } = frame else { return Err(ask::unexpected(&frame)) };
    session.close().await;
    context.out.print(&text)?;
    Ok(0)
}
