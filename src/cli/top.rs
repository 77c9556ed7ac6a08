//! `windlass top`: what containers use just now.

use std::time::Duration;

use serde_json::json;

use super::args::{Format, TopKind};
use super::failure::Failure;
use super::show::Style;
use super::show::usage::{Samples, SortBy, Use, nodes, projects, replicas, samples, sort, table};
use super::{Context, Dir, Ended, ask};
use crate::api::protocol::{Frame, NodeStatus, ProjectUse, Request, UsageRow};
use crate::app::Session;

/// Between two samples. Processor time is counted in nanoseconds, but a busy program needs a while to
/// show what it uses on average.
const SAMPLE_AFTER: Duration = Duration::from_secs(1);

/// What is shown, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) kind: TopKind,
    pub(super) sort_by: SortBy,
    /// Once, also in a terminal.
    pub(super) no_stream: bool,
}

/// Runs the verb.
pub(super) async fn run(context: &Context, options: Options) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let out = &context.out;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut before = samples(&sample(context, &session).await?.rows);
    let live = out.is_terminal
        && !options.no_stream
        && matches!(context.global.output, Format::Text | Format::Wide);
    let terminal = console::Term::stdout();
    let mut lines = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(SAMPLE_AFTER) => {}
            _ = &mut interrupted => return Err(Failure::interrupted()),
        }
        let sampled = tokio::select! {
            sampled = sample(context, &session) => sampled,
            _ = &mut interrupted => return Err(Failure::interrupted()),
        };
        let now = sampled?;
        let all = listed(options, &now, &before);
        before = samples(&now.rows);
        if !live {
            session.close().await;
            write(context, options, &all)?;
            return Ok(0);
        }
        let (height, width) = terminal.size();
        let style = Style { width: Some(usize::from(width)), ..out.style };
        let text = table(&all, &style);
        // What does not fit would leave the picture before it behind.
        let text: Vec<String> = text
            .lines()
            .take(usize::from(height).saturating_sub(1))
            .map(|line| console::truncate_str(line, usize::from(width), "…").into_owned())
            .collect();
        terminal.clear_last_lines(lines)?;
        out.print(&(text.join("\n") + "\n"))?;
        lines = text.len();
    }
}

/// All that was sampled at once.
struct Now {
    rows: Vec<UsageRow>,
    nodes: Vec<NodeStatus>,
    projects: Vec<ProjectUse>,
}

async fn sample(context: &Context, session: &Session) -> Result<Now, Failure> {
    let frame = ask::one(context, session, Request::Usage).await?;
    let Frame::Used { rows, nodes, projects } = frame else { return Err(ask::unexpected(&frame)) };
    Ok(Now { rows, nodes, projects })
}

fn listed(options: Options, now: &Now, before: &Samples) -> Vec<Use> {
    let replicas = replicas(&now.rows, before);
    let mut all = match options.kind {
        TopKind::Instances => replicas,
        TopKind::Nodes => nodes(&replicas, &now.nodes),
        TopKind::Projects => projects(&replicas, &now.projects),
    };
    sort(&mut all, options.sort_by);
    all
}

fn write(context: &Context, options: Options, all: &[Use]) -> Result<(), Failure> {
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &json!({ "items": all })),
        Format::Name => {
            out.print(&all.iter().map(|one| format!("{}\n", one.name)).collect::<String>())
        }
        Format::Text | Format::Wide if all.is_empty() => {
            out.note(match options.kind {
                TopKind::Instances => "no container of ours runs",
                TopKind::Nodes => "no node is declared",
                TopKind::Projects => "no project is declared, and no container of ours runs",
            });
            Ok(())
        }
        Format::Text | Format::Wide => out.print(&table(all, &out.style)),
    }
}
