//! The commands. They read views and send requests: they hold no driver.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::protocol::{Frame, Request};
use crate::app::{self, Mode, Session, Settings};

/// windlass
#[derive(Debug, Parser)]
struct Cli {
    /// The specs directory.
    #[arg(long, global = true, env = "WINDLASS_SPECS", default_value = "specs")]
    specs: PathBuf,
    /// The state directory.
    #[arg(long, global = true, env = "WINDLASS_STATE", default_value = "/var/lib/windlass")]
    state: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up { dir: Option<PathBuf> },
    Apply { dir: Option<PathBuf> },
    Plan { dir: Option<PathBuf> },
    Get,
    Down,
}

/// main
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_or(ExitCode::FAILURE, |runtime| runtime.block_on(run(cli)))
}

#[expect(clippy::print_stdout, reason = "the command line prints")]
async fn run(cli: Cli) -> ExitCode {
    let dir = match &cli.verb {
        Verb::Up { dir } | Verb::Apply { dir } | Verb::Plan { dir } => dir.clone(),
        _ => None,
    };
    let settings = Settings { specs: dir.unwrap_or(cli.specs), state: cli.state };
    let (mode, request) = match cli.verb {
        Verb::Up { .. } => (Mode::Act { hold: true }, Request::Watch),
        Verb::Apply { .. } => (Mode::Act { hold: false }, Request::Apply),
        Verb::Plan { .. } => (Mode::Look, Request::Plan),
        Verb::Get => (Mode::Look, Request::Overview { only: None }),
        Verb::Down => (Mode::Act { hold: false }, Request::Down),
    };
    let session = if request == Request::Plan {
        app::start(&settings, mode).map(|app| Session::Here(Box::new(app))).map_err(Into::into)
    } else {
        Session::open(&settings, mode).await
    };
    let session = match session {
        Ok(session) => session,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut frames = match session.ask(request).await {
        Ok(frames) => frames,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    while let Some(frame) = frames.recv().await {
        if frame == Frame::End {
            break;
        }
        println!("{}", serde_json::to_string(&frame).unwrap_or_default());
    }
    session.close().await;
    ExitCode::SUCCESS
}
