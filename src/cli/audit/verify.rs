//! `windlass audit verify`.

use std::path::PathBuf;

use reconciler::model::quantity::Span;

use super::settings;
use crate::app::audit::{self, Asked, CLOCK_BACK_TOLERATED_MS, Verdict};
use crate::cli::args::Format;
use crate::cli::show::verified;
use crate::cli::{Context, Ended};

/// Runs the verb.
pub(super) fn run(
    context: &Context,
    journal: Option<PathBuf>,
    checkpoint: Option<PathBuf>,
    pubkey: Option<PathBuf>,
    tolerance: Option<Span>,
) -> Ended {
    let journal = match journal {
        Some(journal) => journal,
        None => audit::journal(&settings(context)?),
    };
    let clock_tolerated_ms = tolerance.map_or(CLOCK_BACK_TOLERATED_MS, |span| span.0);
    let found = audit::verify(&Asked { journal, checkpoint, pubkey, clock_tolerated_ms })?;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => context.out.value(format, &found)?,
        Format::Text | Format::Wide | Format::Name => {
            context.out.print(&verified::render(&found, &context.out.style))?;
        }
    }
    Ok(match found.verdict {
        Verdict::Whole => 0,
        Verdict::NotWhole => 1,
        Verdict::Unchecked => super::NOT_CHECKED,
    })
}
