//! `windlass logs`: what containers printed.

use reconciler::model::ids::Key;
use reconciler::model::quantity::Span;

use super::failure::Failure;
use super::get::{Kind, find};
use super::show::{Ink, Style};
use super::{Context, Dir, Ended, ask};
use crate::api::protocol::{Frame, LogsOf, Overview, Request};

/// What of them is shown.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Go on as lines come.
    pub(super) follow: bool,
    /// Only so many of the last lines.
    pub(super) tail: Option<u32>,
    /// Only lines of so much last time.
    pub(super) since: Option<Span>,
    /// With their times.
    pub(super) timestamps: bool,
}

/// Runs the verb.
pub(super) async fn run(context: &Context, names: &[String], options: &Options) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let overview = ask::overview(context, &session, None).await?;
    let mut of = Vec::new();
    for name in names {
        of.extend(wanted(name, &overview)?);
    }
    let mut prefixes = Prefixes::new(&of, &overview);
    let request = Request::Logs {
        of,
        follow: options.follow,
        tail: options.tail,
        since_ms: options.since.map(|since| since.0),
        timestamps: options.timestamps,
    };
    let mut frames = session.ask(request).await.map_err(ask::no_session)?;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut buffer = Buffer::default();
    loop {
        // What has come already is written at once; a line each would cost a call each.
        let frame = match frames.try_recv() {
            Ok(frame) => Some(frame),
            Err(_) => {
                buffer.flush(context)?;
                tokio::select! {
                    frame = frames.recv() => frame,
                    _ = &mut interrupted => return Err(Failure::interrupted()),
                }
            }
        };
        match frame {
            Some(Frame::Line { of, stderr, text }) => {
                let style = if stderr { context.out.err_style() } else { context.out.style };
                let line = format!("{}{text}\n", prefixes.of(&of, &style));
                buffer.push(context, stderr, &line)?;
            }
            Some(Frame::Error { message, help }) => {
                buffer.flush(context)?;
                session.close().await;
                return Err(ask::told(message, help));
            }
            Some(_) | None => break,
        }
    }
    buffer.flush(context)?;
    session.close().await;
    Ok(0)
}

/// The replicas that a name means: `shop/web`, `shop/web/0`, `web` or `web/0`.
fn wanted(name: &str, overview: &Overview) -> Result<Vec<LogsOf>, Failure> {
    let keys: Vec<&Key> = overview.instances.iter().map(|one| &one.key).collect();
    let known: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let all_of = |found: Vec<usize>, ordinal: Option<u32>| {
        found.into_iter().map(|at| LogsOf { instance: keys[at].clone(), ordinal }).collect()
    };
    let failure = match find(Kind::Instances, name, &known) {
        Ok(found) => return Ok(all_of(found, None)),
        Err(failure) => failure,
    };
    let Some((instance, ordinal)) = name.rsplit_once('/') else { return Err(failure) };
    match (find(Kind::Instances, instance, &known), ordinal.parse()) {
        (Ok(found), Ok(ordinal)) => Ok(all_of(found, Some(ordinal))),
        (Ok(_) | Err(_), _) => Err(failure),
    }
}

/// The name before each line, if there is more than one container.
struct Prefixes {
    width: usize,
    seen: Vec<String>,
}

/// Colours that tell containers apart.
const INKS: [Ink; 4] = [Ink::Good, Ink::Odd, Ink::Drift, Ink::Bold];

impl Prefixes {
    fn new(of: &[LogsOf], overview: &Overview) -> Self {
        let names: Vec<String> = overview
            .instances
            .iter()
            .flat_map(|one| &one.replicas)
            .map(|replica| &replica.replica)
            .filter(|key| {
                of.iter().any(|of| {
                    of.instance == key.instance
                        && of.ordinal.is_none_or(|ordinal| ordinal == key.ordinal)
                })
            })
            .map(ToString::to_string)
            .collect();
        let longest = names.iter().map(String::len).max().unwrap_or(0);
        Self { width: if names.len() > 1 { longest } else { 0 }, seen: names }
    }

    fn of(&mut self, name: &str, style: &Style) -> String {
        if self.width == 0 {
            return String::new();
        }
        let at = self.seen.iter().position(|seen| seen == name).unwrap_or(0);
        let width = self.width;
        style.paint(INKS[at % INKS.len()], &format!("{name:width$} | "))
    }
}

/// Lines that wait to be written, all for the same stream.
#[derive(Default)]
struct Buffer {
    stderr: bool,
    text: String,
}

/// Written at the latest when this much waits.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

impl Buffer {
    fn push(&mut self, context: &Context, stderr: bool, line: &str) -> Result<(), Failure> {
        if self.stderr != stderr || self.text.len() > BUFFER_BYTES_MAX {
            self.flush(context)?;
            self.stderr = stderr;
        }
        self.text.push_str(line);
        Ok(())
    }

    fn flush(&mut self, context: &Context) -> Result<(), Failure> {
        let text = std::mem::take(&mut self.text);
        match (text.is_empty(), self.stderr) {
            (true, _) => Ok(()),
            (false, true) => {
                context.out.complain(&text);
                Ok(())
            }
            (false, false) => context.out.print(&text),
        }
    }
}
