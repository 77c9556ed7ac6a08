//! `windlass approve`: lets removals go that the guard holds back. What is agreed to is the set that was
//! shown, by its digest, and no other.

use reconciler::report::HeldSet;

use super::args::Format;
use super::show::plan::render_held;
use super::show::words::count;
use super::{Context, Dir, Ended, Failure, ask, follow};
use crate::api::protocol::{Frame, Request};
use crate::app::Settings;

/// Runs the verb.
pub(super) async fn run(context: &Context, digest: Option<String>) -> Ended {
    let dir = Dir { dir: None };
    let settings = context.settings(&dir)?;
    let digest = match digest {
        Some(digest) => digest,
        None => match shown(context, &settings).await? {
            Some(digest) => digest,
            None => return Ok(0),
        },
    };
    let session = ask::open_to_act(&settings, context.names_specs(&dir)).await?;
    // What is let go begins to go at once, before the apply below is asked for.
    let watch = session.ask(Request::Watch).await.map_err(ask::no_session)?;
    let request = Request::Approve { digest: Some(digest.clone()) };
    let answer = ask::one(context, &session, request).await?;
    if let Frame::Held { held } = &answer {
        session.close().await;
        return Err(refused(context, &digest, held.as_ref()));
    }
    let Frame::Approved { objects } = answer else { return Err(ask::unexpected(&answer)) };
    context.out.note(&format!("approved: {}", count(objects.len(), "removal")));
    let followed = follow::follow(context, &session, Request::Apply, Some(watch)).await;
    session.close().await;
    follow::conclude(context, &settings, "Applied", &followed?)
}

/// Shows what is held; gives its digest if the user agrees to it.
async fn shown(context: &Context, settings: &Settings) -> Result<Option<String>, Failure> {
    let session = ask::open_to_look(settings).await?;
    let overview = ask::overview(context, &session, None).await;
    session.close().await;
    let held = overview?.held;
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &held)?,
        Format::Text | Format::Wide | Format::Name => {}
    }
    let Some(held) = held else {
        out.note("Nothing is held: no removal waits for your word.");
        return Ok(None);
    };
    if !matches!(context.global.output, Format::Json | Format::Yaml) {
        let mut text: String =
            held.objects.iter().map(|object| format!("  - {object}\n")).collect();
        text.push_str(&render_held(&held, &out.style));
        out.print(&text)?;
    }
    let agreed = context.global.yes || (out.can_ask && out.is_terminal && out.ask("Let them go?"));
    Ok(agreed.then(|| held.digest.short().to_owned()))
}

/// Nothing was approved: something else is held, or nothing.
fn refused(context: &Context, digest: &str, held: Option<&HeldSet>) -> Failure {
    match held {
        None => Failure::new(format!("nothing is held under {digest}"))
            .help("what was shown with it is gone, came back, or was approved already"),
        Some(held) => {
            context.out.complain(&render_held(held, &context.out.err_style()));
            Failure::new(format!("{digest} is not the digest of what is held now"))
                .help("the set has changed since it was shown: look at it again")
        }
    }
}
