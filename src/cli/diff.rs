//! `windlass diff`: what is not as declared, field by field.

use serde_json::json;

use super::args::{Dir, Format};
use super::show::fields;
use super::{Context, DIFF_ERROR, Ended, ask, broken, plan};

/// Runs the verb: 0 the same, 1 differs, 2 error.
pub(super) async fn run(context: &Context, dir: &Dir) -> Ended {
    let settings = context.settings_to_read(dir)?;
    let session = ask::look(&settings)?;
    let view = ask::plan(context, &session).await;
    let overview = ask::overview(context, &session, None).await;
    session.close().await;
    let (view, overview) = (view?, overview?);
    let rows: Vec<_> = view.rows.iter().filter(|row| fields::differs(row)).collect();
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &json!({ "items": rows }))?,
        Format::Name => {
            let names: String = rows.iter().map(|row| format!("{}\n", row.name)).collect();
            out.print(&names)?;
        }
        Format::Text | Format::Wide => {
            broken::report(context, &settings.specs, &view.broken);
            out.print(&fields::render(&view, &overview, &out.style))?;
            plan::advise(context, &view);
        }
    }
    let broken = !view.broken.is_empty() || view.degraded.is_some();
    Ok(match rows.iter().any(|row| !plan::is_unclear(row)) {
        _ if broken => DIFF_ERROR,
        true => 1,
        false if view.rows.iter().any(plan::is_unclear) => DIFF_ERROR,
        false => 0,
    })
}
