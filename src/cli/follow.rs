//! Following a change until nothing more happens by itself.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::failure::Failure;
use super::progress::Progress;
use super::show::event::Narrator;
use super::show::outcome;
use super::show::plan::render_held;
use super::show::words::{some, took};
use super::{ACT_TIMEOUT, Context, Ended, ask, broken};
use crate::api::protocol::{Frame, Happened, Outcome, Request};
use crate::app::{Session, Settings};
use crate::cli::args::Format;

/// How it ended, and what was done.
pub(super) struct Followed {
    /// How it ended.
    pub(super) outcome: Outcome,
    /// What was done, in words.
    pub(super) sum: String,
    /// Why nothing was done, if a saved plan was refused.
    pub(super) refused: Option<Refusal>,
}

/// Why a saved plan is not applied.
pub(super) struct Refusal {
    /// What changed since it was made.
    pub(super) changes: Vec<String>,
    /// Whether everything is as declared without it.
    pub(super) is_settled: bool,
}

/// What happens, as it is told.
pub(super) type Frames = UnboundedReceiver<Frame>;

/// What was still under way when the end was told is told within this time: the two may come on two
/// connections.
const LAST_NEWS: Duration = Duration::from_millis(100);

/// Asks for a change, shows how it goes, and waits until it is over. Where something began before
/// this is asked, `watch` has heard it from its beginning.
///
/// # Errors
/// If it takes too long, is interrupted, or cannot be done at all.
pub(super) async fn follow(
    context: &Context,
    session: &Session,
    request: Request,
    watch: Option<Frames>,
) -> Result<Followed, Failure> {
    let span = context.timeout(ACT_TIMEOUT);
    let began = Instant::now();
    let mut frames = session.ask(request).await.map_err(ask::no_session)?;
    let has_watch = watch.is_some();
    let mut watch = watch.unwrap_or_else(|| mpsc::unbounded_channel().1);
    let mut narrator = Narrator::default();
    let mut progress = Progress::new(&context.out);
    let deadline = tokio::time::sleep(span);
    tokio::pin!(deadline);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let frame = tokio::select! {
            biased;
            frame = watch.recv(), if has_watch => frame,
            frame = frames.recv() => match frame {
                // The other has told it.
                Some(Frame::Happened { .. }) if has_watch => continue,
                frame => frame,
            },
            () = &mut deadline => {
                drop(progress);
                return Err(too_long(context, session, &narrator, began).await);
            }
            _ = &mut interrupted => {
                drop(progress);
                return Err(broken_off(context, session, &narrator));
            }
        };
        match frame {
            Some(Frame::Happened { happened }) => {
                tell(context, &happened, &mut narrator, &mut progress)?;
            }
            Some(Frame::Settled { outcome }) => {
                while has_watch
                    && !narrator.under_way.is_empty()
                    && let Ok(Some(Frame::Happened { happened })) =
                        tokio::time::timeout(LAST_NEWS, watch.recv()).await
                {
                    tell(context, &happened, &mut narrator, &mut progress)?;
                }
                return Ok(Followed { outcome: *outcome, sum: narrator.sum(), refused: None });
            }
            Some(Frame::Refused { changes, is_settled }) => {
                let refused = Some(Refusal { changes, is_settled });
                return Ok(Followed { outcome: Outcome::default(), sum: String::new(), refused });
            }
            Some(Frame::Error { message, help }) => return Err(ask::told(message, help)),
            Some(frame) => return Err(ask::unexpected(&frame)),
            None => return Err(Failure::new("the loop ended before the work was done")),
        }
    }
}

/// Shows what happened.
fn tell(
    context: &Context,
    happened: &Happened,
    narrator: &mut Narrator,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let line = narrator.hear(happened, Instant::now());
    // Errors of specs and policies are shown at the end, with their lines; the sum comes last.
    let told = match happened {
        Happened::Specs { .. }
        | Happened::Policies { .. }
        | Happened::Settled { .. }
        | Happened::Node { error: None, .. } => None,
        Happened::Began { .. }
        | Happened::Progress { .. }
        | Happened::Ended { .. }
        | Happened::Node { error: Some(_), .. }
        | Happened::Attention { .. } => line,
    };
    progress.show(&context.out, narrator, told.as_ref())
}

/// Says how it ended, and gives the exit code.
pub(super) fn conclude(
    context: &Context,
    settings: &Settings,
    verb: &str,
    followed: &Followed,
) -> Ended {
    let Followed { outcome, sum, refused: _ } = followed;
    let out = &context.out;
    let code = u8::from(!outcome.is_good());
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => {
            out.value(format, outcome)?;
            return Ok(code);
        }
        Format::Text | Format::Wide | Format::Name => {}
    }
    let style = out.err_style();
    broken::report(context, &settings.specs, &outcome.broken);
    out.complain(&outcome::troubles(outcome, &style));
    if let Some(held) = &outcome.held {
        out.complain(&render_held(held, &style));
    }
    if !out.quiet {
        out.print(&outcome::closing(verb, outcome, sum, &out.style))?;
    }
    Ok(code)
}

/// The time is over: what is still under way, and what waits for what.
async fn too_long(
    context: &Context,
    session: &Session,
    narrator: &Narrator,
    began: Instant,
) -> Failure {
    let mut failure = Failure::new(format!("not settled after {}", took(began.elapsed())));
    for (object, work) in &narrator.under_way {
        let span = took(work.began.elapsed());
        failure.chain.push(format!("{object}: {} on {} for {span}", work.verb, work.node));
    }
    if let Ok(plan) = ask::plan(context, session).await {
        let waits = plan
            .rows
            .iter()
            .filter(|row| row.change.is_none() && !narrator.under_way.contains_key(&row.name));
        failure.chain.extend(waits.map(|row| format!("{}: {}", row.name, row.why)));
    }
    /// Further objects are only counted.
    const TOLD_MAX: usize = 10;
    let more = failure.chain.len().saturating_sub(TOLD_MAX + 1);
    failure.chain.truncate(TOLD_MAX + 1);
    if more > 0 {
        failure.chain.push(format!("{more} more"));
    }
    let go_on = match session {
        Session::Daemon(_) => "the daemon goes on with it; `windlass get all` shows how it goes",
        Session::Here(_) => {
            "`windlass apply` goes on where this ended; --timeout gives it more time"
        }
    };
    failure.help(go_on)
}

/// Ctrl-C.
fn broken_off(context: &Context, session: &Session, narrator: &Narrator) -> Failure {
    let names: Vec<&str> = narrator.under_way.keys().map(String::as_str).collect();
    let left = if names.is_empty() {
        String::new()
    } else {
        format!(" while {} was under way", some(&names, 4))
    };
    let go_on = match session {
        Session::Daemon(_) => "the daemon goes on with it",
        Session::Here(_) => "the next apply goes on from here",
    };
    context.out.complain(&format!("interrupted{left}; {go_on}"));
    Failure::interrupted()
}
