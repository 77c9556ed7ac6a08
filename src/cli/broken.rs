//! Files with errors, shown with the lines that are wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reconciler::model::desired::BrokenFile;

use super::Context;
use super::show::words::count;
use crate::api::view::POLICIES;
use crate::hint::Hint;
use crate::manifest::{self, Loader};

/// Shows what is wrong with these files of the specs directory, on standard error.
///
/// Whoever found them broken may be a daemon, which tells the first error of each; the files are
/// here, so all errors can be shown with their lines.
pub(super) fn report(context: &Context, specs: &Path, broken: &BTreeMap<Arc<str>, BrokenFile>) {
    if broken.is_empty() {
        return;
    }
    let out = &context.out;
    let mut broken = broken.clone();
    if let Some(policies) = broken.remove(POLICIES) {
        let more = match policies.errors {
            0 | 1 => String::new(),
            errors => format!(" (and {} more)", errors - 1),
        };
        out.complain(&format!("error: {}{more}\n", policies.first));
        out.complain("\nThe policies have errors; the last good ones stay in force.\n\n");
    }
    if broken.is_empty() {
        return;
    }
    let reading = Loader::new(specs.to_owned(), BTreeMap::new()).read(&Hint::All);
    if reading.diagnostics.is_empty() {
        // They were mended meanwhile, or are told by what only the daemon remembers.
        for (file, broken) in &broken {
            out.complain(&format!("error: {file}: {}", broken.first));
        }
    } else {
        let style = manifest::Style { color: out.color_err };
        out.complain(&manifest::render(&reading.diagnostics, style));
    }
    let held = broken.values().filter(|broken| broken.last_good).count();
    let files = count(broken.len(), "file");
    out.complain(&match held {
        0 => format!("\n{files} with errors; nothing of that is in force.\n\n"),
        _ => format!("\n{files} with errors; the last good version stays in force.\n\n"),
    });
}
