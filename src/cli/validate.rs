//! `windlass validate`: are the specs right, and the policies that they name? No engine is asked, and no state is read.

use std::collections::BTreeMap;

use serde_json::json;

use super::args::{Dir, Format};
use super::show::words::count;
use super::{Context, Ended};
use crate::hint::Hint;
use crate::manifest::{self, Loader};
use crate::policies::{self, compile};

/// Runs the verb: 0 all right, 1 not.
pub(super) fn run(context: &Context, dir: &Dir) -> Ended {
    let settings = context.settings_to_read(dir)?;
    let news = policies::Loader::new(settings.policies.clone(), &BTreeMap::new(), compile).news();
    let (compiled, problems) = news.map(|news| (news.compiled, news.problems)).unwrap_or_default();
    let loader = Loader::new(settings.specs.clone(), BTreeMap::new());
    let mut loader = match compiled {
        // What is bound may just be what cannot be read.
        Some(compiled) if problems.is_empty() => loader.knowing(compiled.catalogue),
        Some(_) | None => loader,
    };
    let reading = loader.read(&Hint::All);
    let (specs, diagnostics) = (&reading.specs, &reading.diagnostics);
    let out = &context.out;
    let objects = specs.desired.len();
    let valid = diagnostics.is_empty() && problems.is_empty();
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => {
            let answer = json!({
                "valid": valid,
                "files": specs.files,
                "objects": objects,
                "diagnostics": diagnostics,
                "policies": problems,
            });
            out.value(format, &answer)?;
        }
        Format::Text | Format::Wide | Format::Name if valid => {
            let files = count(specs.files, "file");
            let text = format!("{} in {files}, no errors.\n", count(objects, "object"));
            if !out.quiet {
                out.print(&text)?;
            }
        }
        Format::Text | Format::Wide | Format::Name => {
            let style = manifest::Style { color: out.color_err };
            for problem in &problems {
                out.complain(&format!("error: {problem}\n\n"));
            }
            if !diagnostics.is_empty() {
                out.complain(&manifest::render(diagnostics, style));
                out.note(&format!("\n{}", manifest::summary(specs, &settings.specs)));
            } else {
                out.note(&format!("{} in the policies.", count(problems.len(), "error")));
            }
        }
    }
    Ok(u8::from(!valid))
}
