//! `windlass validate`: are the specs right? No engine is asked, and no state is read.

use std::collections::BTreeMap;

use serde_json::json;

use super::args::{Dir, Format};
use super::show::words::count;
use super::{Context, Ended};
use crate::hint::Hint;
use crate::manifest::{self, Loader};

/// Runs the verb: 0 all right, 1 not.
pub(super) fn run(context: &Context, dir: &Dir) -> Ended {
    let settings = context.settings_to_read(dir)?;
    let reading = Loader::new(settings.specs.clone(), BTreeMap::new()).read(&Hint::All);
    let (specs, diagnostics) = (&reading.specs, &reading.diagnostics);
    let out = &context.out;
    let objects = specs.desired.len();
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => {
            let answer = json!({
                "valid": diagnostics.is_empty(),
                "files": specs.files,
                "objects": objects,
                "diagnostics": diagnostics,
            });
            out.value(format, &answer)?;
        }
        Format::Text | Format::Wide | Format::Name if diagnostics.is_empty() => {
            let files = count(specs.files, "file");
            let text = format!("{} in {files}, no errors.\n", count(objects, "object"));
            if !out.quiet {
                out.print(&text)?;
            }
        }
        Format::Text | Format::Wide | Format::Name => {
            let style = manifest::Style { color: out.color_err };
            out.complain(&manifest::render(diagnostics, style));
            out.note(&format!("\n{}", manifest::summary(specs, &settings.specs)));
        }
    }
    Ok(u8::from(!diagnostics.is_empty()))
}
