//! `windlass schema`: the grammar of specs, for editors and other programs.

use super::args::Format;
use super::{Context, Ended, Failure};
use crate::manifest::grammar;

/// Runs the verb.
pub(super) fn run(context: &Context, kind: Option<&str>) -> Ended {
    let kind = match kind {
        Some(given) => Some(grammar::kind_named(given).map_err(Failure::new)?),
        None => None,
    };
    if context.global.output == Format::Name {
        let names = kind.into_iter().chain(grammar::kinds().filter(|_| kind.is_none()));
        context.out.print(&names.map(|name| format!("{name}\n")).collect::<String>())?;
    } else if let Some(schema) = grammar::schema(kind) {
        context.out.value(context.global.output, &schema)?;
    }
    Ok(0)
}
