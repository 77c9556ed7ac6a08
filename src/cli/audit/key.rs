//! `windlass audit key` and `windlass audit checkpoint`: what is kept elsewhere.

use serde_json::json;

use super::settings;
use crate::app::audit;
use crate::cli::args::Format;
use crate::cli::{Context, Ended};

/// Prints the public key.
pub(super) fn run(context: &Context) -> Ended {
    let key = audit::public_key(&settings(context)?)?;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => {
            context.out.value(format, &json!({ "key": key.to_string(), "pem": key.to_pem() }))?;
        }
        Format::Name => context.out.print(&format!("{key}\n"))?,
        Format::Text | Format::Wide => context.out.print(&key.to_pem())?,
    }
    Ok(0)
}

/// Prints a signed checkpoint: one line, in every format, since its bytes are what is signed.
pub(super) fn checkpoint(context: &Context) -> Ended {
    let (_, line) = audit::checkpoint(&settings(context)?)?;
    context.out.print(&line)?;
    Ok(0)
}
