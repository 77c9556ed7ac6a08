//! `windlass rollout`: how the revisions of an instance come and go.

use reconciler::model::ids::Key;
use reconciler::model::quantity::Span;
use reconciler::rollout::ask::Ask;
use reconciler::status::{InstanceStatus, RolloutStatus};

use super::args::Format;
use super::get::{Kind, find};
use super::saved::who;
use super::show::rollouts;
use super::verbs::RolloutVerb;
use super::{ACT_TIMEOUT, Context, Dir, Ended, Failure, ask};
use crate::api::protocol::{Frame, Request};
use crate::app::{self, Session, Settings};

/// Between two looks where nothing is told: the health of a container changes in silence.
const LOOK_AFTER: Span = Span(500);

/// Runs the verb.
pub(super) async fn run(context: &Context, verb: RolloutVerb) -> Ended {
    match verb {
        RolloutVerb::Status { what, no_wait } => status(context, &what, no_wait).await,
        RolloutVerb::History { what } => history(context, &what).await,
        RolloutVerb::Undo { what, to } => asked(context, &what, Ask::Undo { to }).await,
        RolloutVerb::Pause { what } => asked(context, &what, Ask::Pause).await,
        RolloutVerb::Resume { what } => asked(context, &what, Ask::Resume).await,
        RolloutVerb::Restart { what } => asked(context, &what, Ask::Restart).await,
    }
}

/// Tells how a rollout stands, and waits until it is over: 0 good, 1 anything else.
async fn status(context: &Context, what: &[String], no_wait: bool) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let deadline = tokio::time::Instant::now() + context.timeout(ACT_TIMEOUT);
    let mut news = session.ask(Request::Watch).await.map_err(ask::no_session)?;
    let mut told = None;
    let ended = loop {
        let found = instance(context, &session, what).await?;
        let key = &found.key;
        let Some(rollout) = found.rollout else {
            return Err(Failure::new(format!("instance {key} is no longer declared")));
        };
        let is_last = rollout.over || no_wait || matches!(session, Session::Here(_));
        if is_last {
            break (key.clone(), rollout);
        }
        if told.as_ref() != Some(&rollout.message) {
            context.out.note(&format!("{key}: {}", rollout.message));
            told = Some(rollout.message);
        }
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => {
                let failure = Failure::new(format!("the rollout of {key} is still under way"));
                return Err(failure.help("--timeout gives it more time"));
            }
            () = tokio::time::sleep(LOOK_AFTER.duration()) => {}
            Some(_) = news.recv() => while news.try_recv().is_ok() {},
            _ = tokio::signal::ctrl_c() => return Err(Failure::interrupted()),
        }
    };
    let is_here = matches!(session, Session::Here(_));
    session.close().await;
    let (key, rollout) = ended;
    show(context, &key, &rollout)?;
    if is_here && !rollout.over {
        context.out.note("No windlass is at work here: `windlass up` or `windlass apply` goes on.");
    }
    Ok(u8::from(!rollout.good))
}

fn show(context: &Context, key: &Key, rollout: &RolloutStatus) -> Result<(), Failure> {
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => context.out.value(format, rollout),
        Format::Text | Format::Wide | Format::Name => {
            context.out.print(&format!("{key}: {}\n", rollout.message))
        }
    }
}

/// Lists the revisions of an instance, the latest one first.
async fn history(context: &Context, what: &[String]) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let found = instance(context, &session, what).await;
    session.close().await;
    let found = found?;
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &found.history)?,
        Format::Name => {
            let numbers = found.history.iter().rev().map(|past| format!("{}\n", past.number));
            out.print(&numbers.collect::<String>())?;
        }
        Format::Text | Format::Wide if found.history.is_empty() => {
            out.note(&format!("No revision of {} was rolled out yet.", found.key));
        }
        Format::Text | Format::Wide => out.print(&rollouts::history(&found, &out.style))?,
    }
    Ok(0)
}

/// Has something be done about a rollout, and comes back once it is on record.
async fn asked(context: &Context, what: &[String], ask: Ask) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let found = instance(context, &session, what).await?;
    let instance = found.key;
    let help = match &ask {
        Ask::Undo { .. } | Ask::Resume | Ask::Restart => {
            format!("`windlass rollout status {instance}` tells how it goes on")
        }
        Ask::Pause => format!("`windlass rollout resume {instance}` lets it go on"),
    };
    let request = Request::Rollout { instance, what: ask, by: who() };
    let answered = ask::one(context, &session, request).await;
    session.close().await;
    let frame = answered?;
    let Frame::Answered { entry, message } = frame else { return Err(ask::unexpected(&frame)) };
    if let Some(entry) = entry {
        record(&settings, *entry)?;
    }
    context.out.note(&format!("{message}; {help}"));
    Ok(0)
}

fn record(settings: &Settings, entry: reconciler::model::journal::Entry) -> Result<(), Failure> {
    app::record(settings, vec![entry]).map_err(|error| ask::failed_to_start(error.into()))
}

/// The instance that is meant: `shop/web`, `web`, or `instance shop/web`.
async fn instance(
    context: &Context,
    session: &Session,
    what: &[String],
) -> Result<InstanceStatus, Failure> {
    let name = match what {
        [name] => name,
        [kind, name] if Kind::of(kind)? == Kind::Instances => name,
        [kind, _] => {
            return Err(Failure::new(format!("{kind}s have no rollouts"))
                .help("name an instance: windlass rollout status shop/web"));
        }
        _ => {
            return Err(Failure::new("one instance has to be named")
                .help("windlass rollout status shop/web"));
        }
    };
    let mut overview = ask::overview(context, session, None).await?;
    let known: Vec<String> = overview.instances.iter().map(|one| one.key.to_string()).collect();
    match find(Kind::Instances, name, &known)?[..] {
        [at] => Ok(overview.instances.swap_remove(at)),
        ref several => {
            let names: Vec<&str> = several.iter().map(|at| known[*at].as_str()).collect();
            let failure = Failure::new(format!("`{name}` could be {}", names.join(" or ")));
            Err(failure.help("write the project before it"))
        }
    }
}
