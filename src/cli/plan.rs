//! `windlass plan`: what would be done. It never has an effect: the loop that it asks is its own, and
//! one that cannot act.

use std::path::PathBuf;

use reconciler::report::Reason;

use super::args::{Dir, Format};
use super::show::outcome::{engine_advice, no_node_answers};
use super::{Context, Ended, ask, broken, saved, show};
use crate::api::protocol::{PlanRow, PlanView};

/// How the plan is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// Whether changes have an exit code of their own.
    pub(super) detailed_exitcode: bool,
    /// Whether every step is shown.
    pub(super) steps: bool,
    /// Where to save it.
    pub(super) out: Option<PathBuf>,
}

/// Runs the verb.
pub(super) async fn run(context: &Context, dir: &Dir, options: Options) -> Ended {
    let settings = context.settings_to_read(dir)?;
    let session = ask::look(&settings)?;
    let (plan, file) = match &options.out {
        None => (ask::plan(context, &session).await, None),
        Some(path) => {
            let file = saved::ask(context, &settings, &session).await?;
            (Ok(file.shown.clone()), Some((path, file)))
        }
    };
    session.close().await;
    let plan = plan?;
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &plan)?,
        Format::Name => {
            let names = plan.rows.iter().filter(|row| row.change.is_some());
            let names: String = names.map(|row| format!("{}\n", row.name)).collect();
            out.print(&names)?;
        }
        Format::Text | Format::Wide => {
            broken::report(context, &settings.specs, &plan.broken);
            let specs = settings.specs.display().to_string();
            out.print(&show::plan::render(&plan, &specs, options.steps, &out.style))?;
            advise(context, &plan);
            if context.reads_stdin(dir) && plan.held.is_some() {
                out.note(
                    "note: a set from standard input is only looked at, so there is nothing to approve",
                );
            }
        }
    }
    if let Some((path, file)) = file {
        saved::write(context, path, file)?;
    }
    Ok(exit_code(&plan, options.detailed_exitcode))
}

/// 0 or 1; with the detailed codes 0 nothing to do, 1 error, 2 changes.
fn exit_code(plan: &PlanView, detailed: bool) -> u8 {
    let changes = plan.held.is_some() || plan.rows.iter().any(|row| row.change.is_some());
    if !plan.broken.is_empty() || plan.degraded.is_some() {
        return 1;
    }
    match (changes, detailed) {
        (true, true) => 2,
        (true, false) => 0,
        // A plan that is empty because nobody could be asked is no good news.
        (false, _) => u8::from(plan.rows.iter().any(is_unclear)),
    }
}

/// Whether nobody can tell how an object stands, or where it could be.
pub(super) fn is_unclear(row: &PlanRow) -> bool {
    matches!(
        row.reason,
        Some(Reason::Unknown { .. } | Reason::NodeNotDeclared | Reason::Unplaced { .. })
    )
}

/// Says what to do about engines that do not answer.
pub(super) fn advise(context: &Context, plan: &PlanView) {
    let unreachable = plan.rows.iter().find_map(|row| match &row.reason {
        Some(Reason::Unknown { message, .. }) => Some(message),
        Some(Reason::Unplaced { message }) if no_node_answers(message) => Some(message),
        Some(_) | None => None,
    });
    if let Some(message) = unreachable {
        context.out.note(&format!("help: {}", engine_advice(message)));
    }
}
