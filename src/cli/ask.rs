//! Asking for one answer.

use std::time::Duration;

use reconciler::model::ids::Key;
use reconciler::model::quantity::Span;

use super::failure::Failure;
use super::{Context, LOOK_TIMEOUT, near};
use crate::api::client::AskError;
use crate::api::protocol::{Frame, Overview, PlanView, Request};
use crate::app::{App, Mode, Session, SessionError, Settings, StartError, start};

/// A loop in this process that only looks, whether a daemon runs or not.
pub(super) fn look(settings: &Settings) -> Result<Session, Failure> {
    let app: App = start(settings, Mode::Look).map_err(failed_to_start)?;
    Ok(Session::Here(Box::new(app)))
}

/// Someone to ask how things stand: the daemon if one runs.
pub(super) async fn open_to_look(settings: &Settings) -> Result<Session, Failure> {
    Session::open(settings, Mode::Look).await.map_err(no_session)
}

/// Someone to have things done. A daemon that watches another directory will do, unless one was
/// named.
pub(super) async fn open_to_act(
    settings: &Settings,
    specs_named: bool,
) -> Result<Session, Failure> {
    if !specs_named && let Some(daemon) = Session::daemon(settings).await.map_err(no_session)? {
        return Ok(Session::Daemon(Box::new(daemon)));
    }
    Session::open(settings, Mode::Act { hold: false }).await.map_err(no_session)
}

/// Asks for an answer that is one frame.
pub(super) async fn one(
    context: &Context,
    session: &Session,
    request: Request,
) -> Result<Frame, Failure> {
    one_within(context.timeout(LOOK_TIMEOUT), session, request).await
}

/// The same, where `--timeout` means something else.
pub(super) async fn one_within(
    span: Duration,
    session: &Session,
    request: Request,
) -> Result<Frame, Failure> {
    let mut frames = session.ask(request).await.map_err(no_session)?;
    match tokio::time::timeout(span, frames.recv()).await {
        Ok(Some(Frame::Error { message, help })) => Err(told(message, help)),
        Ok(Some(frame)) => Ok(frame),
        Ok(None) => Err(Failure::new("the loop ended before it had answered")),
        Err(_) => Err(late(span)),
    }
}

/// Asks how things stand.
pub(super) async fn overview(
    context: &Context,
    session: &Session,
    only: Option<Key>,
) -> Result<Overview, Failure> {
    overview_within(context.timeout(LOOK_TIMEOUT), session, only).await
}

/// The same, where `--timeout` means something else.
pub(super) async fn overview_within(
    span: Duration,
    session: &Session,
    only: Option<Key>,
) -> Result<Overview, Failure> {
    let frame = one_within(span, session, Request::Overview { only }).await?;
    let Frame::Overview { mut overview } = frame else { return Err(unexpected(&frame)) };
    overview.specs = near(&overview.specs);
    Ok(*overview)
}

/// Asks what would be done.
pub(super) async fn plan(context: &Context, session: &Session) -> Result<PlanView, Failure> {
    let frame = one(context, session, Request::Plan).await?;
    let Frame::Plan { plan } = frame else { return Err(unexpected(&frame)) };
    Ok(*plan)
}

/// An answer to another question.
pub(super) fn unexpected(frame: &Frame) -> Failure {
    Failure::new(format!("the daemon gave no proper answer: {frame:?}"))
        .help("is it of the same version? `windlass version` tells ours")
}

/// What the other side says.
pub(super) fn told(message: String, help: Option<String>) -> Failure {
    Failure { help, ..Failure::new(message) }
}

fn late(span: Duration) -> Failure {
    let span = Span(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    Failure::new(format!("no answer within {span}"))
        .help("a node may be slow to answer; --timeout gives it more time")
}

/// Nobody could be asked, with what to do.
pub(super) fn no_session(error: SessionError) -> Failure {
    match error {
        SessionError::Start(error) => failed_to_start(error),
        SessionError::Ask(AskError::Connect { path, source })
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Failure::new(format!("connect to the daemon at {path}: permission denied"))
                .help("a daemon talks to its own user only: run this as that user, or name your own --state")
        }
        error @ SessionError::OtherSpecs { .. } => Failure::from(error),
        error @ (SessionError::Ask(_) | SessionError::Answer(_)) => Failure::from(error)
            .help("is a windlass of another version running? `windlass version` tells ours"),
    }
}

/// A loop could not be started, with what to do.
pub(super) fn failed_to_start(error: StartError) -> Failure {
    let failure = Failure::from(error);
    let text = failure.chain.join(" ");
    if text.contains("uses it") {
        return failure
            .help("another command is at work there: wait until it ends, then try again");
    }
    if text.contains("ermission denied") || text.contains("Read-only") {
        return failure.help("name a state directory that you may write to: --state DIR");
    }
    failure
}
