//! `windlass down`: removes everything that is managed.

use super::args::Dir;
use super::follow::{Followed, follow};
use super::show::Style;
use super::show::words::{count, some};
use super::suspend::render;
use super::{Context, Ended, Failure, ask, stdin};
use crate::api::protocol::{Overview, Request};
use crate::cli::show::outcome;

/// Runs the verb. A daemon that runs ends with it.
pub(super) async fn run(context: &Context, dir: &Dir) -> Ended {
    if context.reads_stdin(dir) {
        return Err(stdin::refused("down"));
    }
    let settings = context.settings(dir)?;
    let out = &context.out;
    let session = ask::open_to_look(&settings).await?;
    let overview = ask::overview(context, &session, None).await;
    session.close().await;
    let overview = overview?;
    let goes = overview.instances.iter().filter(|one| one.phase != "Suspended");
    let containers = goes.flat_map(|one| &one.replicas);
    let containers = containers.filter(|replica| replica.container.is_some()).count();
    if !context.global.yes {
        confirm(context, &overview, containers)?;
    }
    let session = ask::open_to_act(&settings, context.names_specs(dir)).await?;
    let followed = follow(context, &session, Request::Down, None).await;
    session.close().await;
    let Followed { outcome, sum, refused: _ } = followed?;
    out.complain(&outcome::troubles(&outcome, &out.err_style()));
    let good = outcome.troubles.is_empty() && outcome.degraded.is_none();
    if !out.quiet {
        let sum = if sum.is_empty() { "nothing was there" } else { &sum };
        out.print(&format!("Down: {sum}.\n"))?;
        out.print(&retained(&overview))?;
        out.print(&suspended(&overview, &out.style))?;
    }
    Ok(u8::from(!good))
}

/// Nothing is removed by a slip of the hand.
fn confirm(context: &Context, overview: &Overview, containers: usize) -> Result<(), Failure> {
    let instances: Vec<String> = overview.instances.iter().map(|one| one.key.to_string()).collect();
    let names: Vec<&str> = instances.iter().map(String::as_str).collect();
    let what = match containers {
        0 => "everything (no container is there now)".to_owned(),
        _ => format!("{} of {}", count(containers, "container"), some(&names, 5)),
    };
    if !context.out.can_ask {
        let failure = Failure::new(format!("remove {what}: nobody can be asked here"));
        return Err(failure.help("`windlass down --yes` removes it without asking"));
    }
    if context.out.ask(&format!("Remove {what}?")) {
        return Ok(());
    }
    context.out.complain("Nothing was removed.");
    Err(Failure::silent(1))
}

/// What stays since it is suspended.
fn suspended(overview: &Overview, style: &Style) -> String {
    if overview.suspended.is_empty() {
        return String::new();
    }
    let lines: String =
        render(&overview.suspended, style).lines().map(|line| format!("  {line}\n")).collect();
    format!("Left alone:\n{lines}")
}

/// Volumes whose data stays.
fn retained(overview: &Overview) -> String {
    let kept: Vec<String> = overview
        .volumes
        .iter()
        .filter(|volume| volume.retain && !volume.nodes.is_empty())
        .map(|volume| {
            let nodes: Vec<&str> = volume.nodes.iter().map(|node| node.as_str()).collect();
            format!(
                "  volume {} on {}   docker volume rm {}\n",
                volume.key,
                nodes.join(", "),
                volume.key.engine_name()
            )
        })
        .collect();
    if kept.is_empty() {
        return String::new();
    }
    format!("Retained, with their data:\n{}", kept.concat())
}
