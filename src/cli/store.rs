//! `windlass store`: looking after the state directory.

use reconciler::model::ids::OwnerId;

use super::args::{Dir, StoreVerb};
use super::show::words::count;
use super::{Context, Ended, Failure};
use crate::app;

/// Runs the verb.
pub(super) fn run(context: &Context, verb: StoreVerb) -> Ended {
    let StoreVerb::Rebuild { owner } = verb;
    let settings = context.settings(&Dir { dir: None })?;
    let report = app::rebuild_store(&settings, owner.map(OwnerId)).map_err(|error| {
        let held = error.message.contains("uses it");
        let failure = Failure::from(error);
        match held {
            true => failure.help("the store cannot be made anew while it is in use: end that windlass first; containers run on"),
            false => failure,
        }
    })?;
    for note in &report.notes {
        context.out.note(note);
    }
    let instances = count(report.records.instances.len(), "instance");
    let state = settings.state.display();
    let owner = report.records.owner.map(|owner| owner.0).unwrap_or_default();
    if !context.out.quiet {
        context.out.print(&format!(
            "The store in {state} was made anew: {instances}, owner {owner}, journal entry {}.\n",
            report.seq
        ))?;
    }
    Ok(0)
}
