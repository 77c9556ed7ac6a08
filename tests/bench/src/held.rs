//! The daemon that other benches look at: all of windlass as `up` runs it, but for the driver. It
//! obeys lines on its standard input, and answers each with one line.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reconciler::engine::Event;
use reconciler::model::spec::Endpoint;
use reconciler::ports::Driver;
use tokio::sync::mpsc;
use windlass::api::protocol::{Frame, Happened, Request};
use windlass::app::{self, App, Mode, Settings};
use windlass::shell::Input;

use crate::say;
use crate::table::{Failure, ms};
use crate::twin::Twin;

/// The first argument that makes this of the bench's binary; the second is the directory.
pub(crate) const VERB: &str = "held";

/// The specs, the state and the engine of a daemon.
pub(crate) struct Places {
    pub(crate) specs: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) twin: PathBuf,
}

impl Places {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { specs: dir.join("specs"), state: dir.join("state"), twin: dir.join("twin.json") }
    }
}

/// Runs until it reads `stop`, or until its input ends.
pub(crate) fn main(arguments: &[String]) -> Result<(), Failure> {
    let began = Instant::now();
    let places = Places::new(Path::new(arguments.first().ok_or("which directory?")?));
    let twin = Arc::new(Twin::load(&places.twin)?);
    // What the engine's twin takes is not windlass's.
    let loaded = began.elapsed();
    // As the command line has it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(serve(&places, &twin, loaded))?;
    twin.save(&places.twin)
}

async fn serve(places: &Places, twin: &Arc<Twin>, loaded: Duration) -> Result<(), Failure> {
    let settings = Settings {
        specs: places.specs.clone(),
        state: places.state.clone(),
        addresses: reconciler::model::subnet::RANGE_DEFAULT,
        policies: windlass::policies::Place::default(),
        kept: app::Retention::default(),
        usage_every: windlass::config::USAGE_EVERY_DEFAULT,
        metrics: None,
    };
    let driver = Arc::clone(twin);
    let connect = move |_: &Endpoint| -> Arc<dyn Driver> { Arc::<Twin>::clone(&driver) };
    let app = app::start_with(&settings, Mode::Act { hold: true }, Box::new(connect))
        .map_err(|error| error.to_string())?;
    let mut frames = app.asker.ask(Request::Watch);
    loop {
        match frames.recv().await {
            Some(Frame::Happened { happened: Happened::Settled { .. } }) => break,
            Some(_) => {}
            None => return Err("the loop ended".to_owned()),
        }
    }
    say(&format!("settled {} {}\n", ms(loaded), twin.containers()));
    let mut lines = lines();
    let mut readings = 0;
    while let Some(line) = lines.recv().await {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("mark", _) => {
                while let Ok(frame) = frames.try_recv() {
                    readings += u64::from(matches!(
                        frame,
                        Frame::Happened { happened: Happened::Specs { .. } }
                    ));
                }
                say(&format!("mark {} {} {readings}\n", cpu_ms(), twin.calls()));
            }
            ("expect", _) => {
                while frames.try_recv().is_ok() {}
                say("expecting\n");
                expected(&app, &mut frames).await?;
                say("planned\n");
            }
            ("wake", rounds) => {
                let rounds = rounds.parse().map_err(|_| "how many rounds?")?;
                for _ in 0..rounds {
                    wake(&app).await;
                }
                // The last round is over when the loop answers again.
                wake(&app).await;
                say("woken\n");
            }
            _ => break,
        }
    }
    app.stop().await;
    Ok(())
}

/// Waits for a reading and the round that follows. On this runtime of one thread the loop does not
/// pause between the two, so an answer to what is asked after the reading comes after the round.
async fn expected(app: &App, frames: &mut mpsc::UnboundedReceiver<Frame>) -> Result<(), Failure> {
    loop {
        match frames.recv().await {
            Some(Frame::Happened { happened: Happened::Specs { .. } }) => break,
            Some(_) => {}
            None => return Err("the loop ended".to_owned()),
        }
    }
    let _ = app.asker.ask(Request::Hello).recv().await;
    Ok(())
}

/// Has the loop plan once. It takes what waits before each round, so one that was asked for after
/// an answer is another one than those before.
async fn wake(app: &App) {
    // If the loop has ended, there is no answer either.
    let _ = app.asker.0.send(Input::Event(Event::Wake));
    let _ = app.asker.ask(Request::Hello).recv().await;
}

/// The lines of standard input; they are read on a thread, since reading them blocks.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// CPU time of the whole process.
fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1000.0 + time.tv_nsec as f64 / 1e6
}
