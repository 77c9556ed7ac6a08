//! `windlass up`: holds everything, in the foreground, until it is told to end.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Dir, Format};
use super::failure::Failure;
use super::screen::Screen;
use super::show::event::{Line, Narrator};
use super::show::words::{count, time};
use super::show::{Ink, Style};
use super::{Context, Ended, absolute, ask};
use crate::api::protocol::{Frame, Happened, Overview, Request};
use crate::app::{App, Mode, Session, Settings, start};
use crate::shell::{Asker, End, now};

/// How long a last look may take: the end does not wait for a node that is slow to answer.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// Clients that wait for the last answer get it within this time after the loop's end.
const FAREWELL: Duration = Duration::from_millis(50);

/// Runs the verb.
pub(super) async fn run(context: &Context, dir: &Dir) -> Ended {
    let mut settings = context.settings(dir)?;
    // Clients compare it with theirs, wherever they are.
    settings.specs = absolute(&settings.specs);
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
                log.look(&asker).await;
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

/// How things stand, if that can be had quickly.
async fn overview(asker: &Asker) -> Option<Overview> {
    let mut frames = asker.ask(Request::Overview { only: None });
    match tokio::time::timeout(LAST_LOOK, frames.recv()).await {
        Ok(Some(Frame::Overview { overview })) => Some(*overview),
        Ok(_) | Err(_) => None,
    }
}

/// What `up` shows: lines on a pipe; on a terminal, a status below them.
struct Log<'a> {
    context: &'a Context,
    narrator: Narrator,
    screen: Option<Screen>,
}

impl<'a> Log<'a> {
    fn new(context: &'a Context) -> Self {
        let live = context.out.is_terminal
            && !context.out.quiet
            && matches!(context.global.output, Format::Text | Format::Wide);
        let style = context.out.style;
        let screen = live.then(|| Screen::new(style));
        Self { context, narrator: Narrator::default(), screen }
    }

    fn begin(&mut self, settings: &Settings, app: &App) -> Result<(), Failure> {
        let (specs, state) = (settings.specs.display(), absolute(&settings.state));
        let state = state.display();
        let socket = settings.socket();
        let version = env!("CARGO_PKG_VERSION");
        let pid = std::process::id();
        self.line(Ink::Bold, &format!("windlass {version} holds {specs} (pid {pid})"))?;
        self.line(Ink::Dim, &format!("state in {state}, socket {}", socket.display()))?;
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
        if let Some(screen) = &mut self.screen {
            screen.hear(&self.narrator);
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
        let at = style.paint(Ink::Dim, &at);
        let lines: String =
            text.lines().map(|line| format!("{at} {}\n", style.paint(ink, line))).collect();
        match &self.screen {
            Some(screen) => {
                screen.print(lines.trim_end());
                Ok(())
            }
            None => out.print(&lines),
        }
    }

    /// Waits until the status below the lines is to be made anew; for ever if there is none.
    async fn wants_look(&self) {
        match &self.screen {
            Some(screen) => screen.wants_look().await,
            None => std::future::pending().await,
        }
    }

    async fn look(&mut self, asker: &Asker) {
        if self.screen.is_none() {
            return;
        }
        let overview = overview(asker).await;
        if let Some(screen) = &mut self.screen {
            screen.look(overview.as_ref(), &self.narrator);
        }
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
            Some(running) => format!("ended; {} run on", count(running, "container")),
            None => "ended; containers run on".to_owned(),
        };
        self.line(Ink::Bold, &text)?;
        Ok(0)
    }
}
