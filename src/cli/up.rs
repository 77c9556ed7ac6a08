//! `windlass up`: holds everything, in the foreground, until it is told to end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reconciler::model::quantity::Span;
use reconciler::report::HeldSet;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Dir, Format};
use super::failure::Failure;
use super::screen::Screen;
use super::show::event::{Line, Narrator};
use super::show::plan::render_held;
use super::show::words::{count, time};
use super::show::{Ink, Style};
use super::{Context, Ended, absolute, ask, stdin};
use crate::api::protocol::{Frame, Happened, Overview, Request};
use crate::app::{App, Mode, Session, Settings, start};
use crate::shell::{Asker, End, now};

/// How long a last look may take: the end does not wait for a node that is slow to answer.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// Clients that wait for the last answer get it within this time after the loop's end.
const FAREWELL: Duration = Duration::from_millis(50);

/// What a daemon does beside holding things.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) usage_every: Option<Span>,
    pub(super) metrics: Option<SocketAddr>,
}

/// Runs the verb.
pub(super) async fn run(context: &Context, dir: &Dir, options: Options) -> Ended {
    if context.reads_stdin(dir) {
        return Err(stdin::refused("up"));
    }
    let mut settings = context.settings(dir)?;
    // Clients compare it with theirs, wherever they are.
    settings.specs = absolute(&settings.specs);
    let Options { usage_every, metrics } = options;
    settings.metrics = metrics;
    if let Some(every) = usage_every {
        settings.usage_every = within(every)?;
    }
    if let Some(daemon) = Session::daemon(&settings).await.map_err(ask::no_session)? {
        let (pid, specs) = (daemon.pid, &daemon.specs);
        let state = settings.state.display();
        let message =
            format!("a windlass with pid {pid} already holds {specs} with the state in {state}");
        let help = format!(
            "`windlass get all` asks it how things stand; `kill {pid}` ends it (containers run on); \
             another --state DIR runs beside it"
        );
        return Err(Failure::new(message).help(help));
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut app = start(&settings, Mode::Act { hold: true }).map_err(ask::failed_to_start)?;
    let asker = app.asker.clone();
    let mut frames = asker.ask(Request::Watch);
    let mut log = Log::new(context);
    log.begin(&settings, &app)?;
    loop {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            end = app.ended() => {
                while let Ok(Frame::Happened { happened }) = frames.try_recv() {
                    log.tell(&happened)?;
                }
                tokio::time::sleep(FAREWELL).await;
                return log.ended(end);
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = log.wants_look() => {
                log.look(&asker).await?;
                continue;
            }
        };
        match frame {
            Some(Frame::Happened { happened }) => log.tell(&happened)?,
            Some(_) => {}
            // The loop ends; that is told by the other arm.
            None => tokio::time::sleep(FAREWELL).await,
        }
    }
    let overview = overview(&asker).await;
    app.stop().await;
    log.stopped(overview.as_ref())
}

/// More often than this, looking would be most of what windlass does.
const USAGE_EVERY_MIN: Duration = Duration::from_secs(1);

/// Less often than this, most of what is used would be booked to the wrong hour.
const USAGE_EVERY_MAX: Duration = Duration::from_secs(3600);

fn within(every: Span) -> Result<Duration, Failure> {
    let span = every.duration();
    if span.is_zero() || (USAGE_EVERY_MIN..=USAGE_EVERY_MAX).contains(&span) {
        return Ok(span);
    }
    let failure = Failure::new(format!("--usage-every {every} is out of range"));
    Err(failure.help("1s to 1h; 0s turns it off"))
}

/// How things stand, if that can be had quickly.
async fn overview(asker: &Asker) -> Option<Overview> {
    let mut frames = asker.ask(Request::Overview { only: None });
    match tokio::time::timeout(LAST_LOOK, frames.recv()).await {
        Ok(Some(Frame::Overview { overview })) => Some(*overview),
        Ok(_) | Err(_) => None,
    }
}

/// While something is under way, a terminal shows how things stand this often.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Without one, only what is held back has to be found.
const LOOK_AGAIN_UNSEEN: Duration = Duration::from_secs(1);

/// What `up` shows: lines on a pipe; on a terminal, a status below them.
struct Log<'a> {
    context: &'a Context,
    narrator: Narrator,
    screen: Option<Screen>,
    /// When to look at how things stand; never while everything rests.
    look_at: Option<tokio::time::Instant>,
    /// The removals that were told to be held.
    held: Option<HeldSet>,
}

impl<'a> Log<'a> {
    fn new(context: &'a Context) -> Self {
        let live = context.out.is_terminal
            && !context.out.quiet
            && matches!(context.global.output, Format::Text | Format::Wide);
        let style = context.out.style;
        let screen = live.then(|| Screen::new(style));
        let look_at = Some(tokio::time::Instant::now());
        Self { context, narrator: Narrator::default(), screen, look_at, held: None }
    }

    fn begin(&mut self, settings: &Settings, app: &App) -> Result<(), Failure> {
        let (specs, state) = (settings.specs.display(), absolute(&settings.state));
        let state = state.display();
        let socket = settings.socket();
        let version = env!("CARGO_PKG_VERSION");
        let pid = std::process::id();
        self.line(Ink::Bold, &format!("windlass {version} holds {specs} (pid {pid})"))?;
        self.line(Ink::Dim, &format!("state in {state}, socket {}", socket.display()))?;
        if let Some(metrics) = &app.metrics {
            let address = metrics.address;
            self.line(Ink::Dim, &format!("metrics at http://{address}/metrics"))?;
        }
        for repaired in &app.repaired {
            self.line(Ink::Odd, &format!("repaired: {repaired}"))?;
        }
        Ok(())
    }

    fn tell(&mut self, happened: &Happened) -> Result<(), Failure> {
        let line = self.narrator.hear(happened, Instant::now());
        if self.context.global.output == Format::Json {
            let event = json!({ "at": time(now()), "event": happened });
            return self.context.out.print(&format!("{event}\n"));
        }
        if let Some(Line { ink, text }) = line {
            self.line(ink, &text)?;
        }
        if self.look_at.is_none() {
            self.look_at = Some(self.next_look());
        }
        Ok(())
    }

    /// Writes a line, or several, each with the time.
    fn line(&self, ink: Ink, text: &str) -> Result<(), Failure> {
        let out = &self.context.out;
        let minor = !matches!(ink, Ink::Bad | Ink::Odd | Ink::Drift);
        if self.context.global.output == Format::Json || (out.quiet && minor) {
            return Ok(());
        }
        let at = time(now());
        let style: &Style = &out.style;
        // A cause may list long commands: `describe` and `diff` show all of it.
        let width = style.width.map(|width| width.saturating_sub(at.len() + 1)).filter(|_| minor);
        let cut = |line: &str| match width {
            Some(width) => console::truncate_str(line, width, "…").into_owned(),
            None => line.to_owned(),
        };
        let at = style.paint(Ink::Dim, &at);
        let lines: String =
            text.lines().map(|line| format!("{at} {}\n", style.paint(ink, &cut(line)))).collect();
        match &self.screen {
            Some(screen) => {
                screen.print(lines.trim_end());
                Ok(())
            }
            None => out.print(&lines),
        }
    }

    fn next_look(&self) -> tokio::time::Instant {
        let pause = if self.screen.is_some() { LOOK_AGAIN } else { LOOK_AGAIN_UNSEEN };
        tokio::time::Instant::now() + pause
    }

    /// Waits until it is time to look at how things stand.
    async fn wants_look(&self) {
        match self.look_at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    async fn look(&mut self, asker: &Asker) -> Result<(), Failure> {
        let overview = overview(asker).await;
        let again = overview.as_ref().is_none_or(|overview| !overview.settled);
        self.look_at = again.then(|| self.next_look());
        let Some(overview) = overview else { return Ok(()) };
        if overview.held != self.held {
            match &overview.held {
                Some(held) => self.line(Ink::Bad, &render_held(held, &Style::plain(now())))?,
                None => self.line(Ink::Good, "nothing is held any more")?,
            }
            self.held.clone_from(&overview.held);
        }
        if let Some(screen) = &mut self.screen {
            screen.draw(&overview, &self.narrator);
        }
        Ok(())
    }

    fn ended(mut self, end: End) -> Ended {
        self.screen = None;
        match end {
            End::Down => {
                let sum = self.narrator.sum();
                let sum = if sum.is_empty() { "nothing was there".to_owned() } else { sum };
                self.line(Ink::Bold, &format!("taken down by `windlass down`: {sum}"))?;
                Ok(0)
            }
            End::Stopped => {
                Err(Failure::new("the loop ended unasked; this is a fault of windlass")
                    .help("start it again: containers run on, and nothing is lost"))
            }
        }
    }

    fn stopped(mut self, overview: Option<&Overview>) -> Ended {
        self.screen = None;
        let running = overview.map(|overview| {
            let replicas = overview.instances.iter().flat_map(|one| &one.replicas);
            replicas.filter(|replica| replica.state == "Running").count()
        });
        let text = match running {
            Some(1) => "ended; 1 container runs on".to_owned(),
            Some(running) => format!("ended; {} run on", count(running, "container")),
            None => "ended; containers run on".to_owned(),
        };
        self.line(Ink::Bold, &text)?;
        Ok(0)
    }
}
