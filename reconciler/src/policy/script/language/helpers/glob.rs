//! Patterns as shells have them: `*` is any run of characters, slashes included, `?` one of them.

use rhai::{Array, Dynamic, ImmutableString, NativeCallContext};

use super::{subject, words, work};
use crate::model::glob::glob_matches;
use crate::policy::script::fault::{Answer, too_much};
use crate::policy::script::language::words::Words;
use crate::policy::script::limits::PATTERN_BYTES_MAX;

pub(super) fn register(module: &mut Words) {
    module.set_native_fn(
        "glob",
        |context: NativeCallContext<'_>, pattern: ImmutableString, text: Dynamic| {
            checked(&context, &pattern, &subject(&text)?)
        },
    );
    module.set_native_fn(
        "glob_any",
        |context: NativeCallContext<'_>, patterns: Array, text: Dynamic| {
            any(&context, &patterns, &subject(&text)?)
        },
    );
    module.set_native_fn(
        "glob_any",
        |context: NativeCallContext<'_>, patterns: Array, text: ImmutableString| {
            any(&context, &patterns, &text)
        },
    );
}

fn any(context: &NativeCallContext<'_>, patterns: &Array, text: &str) -> Answer<bool> {
    for pattern in words(patterns)? {
        if checked(context, &pattern, text)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn checked(context: &NativeCallContext<'_>, pattern: &str, text: &str) -> Answer<bool> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return too_much(format!("a pattern has {PATTERN_BYTES_MAX} bytes at most"));
    }
    // Most patterns are a beginning, or nothing but a text.
    let is_plain = |text: &str| !text.contains(['*', '?']);
    if is_plain(pattern) {
        return Ok(pattern == text);
    }
    if let Some(beginning) = pattern.strip_suffix('*').filter(|rest| is_plain(rest)) {
        return Ok(text.starts_with(beginning));
    }
    work(context, pattern, text)?;
    Ok(glob_matches(pattern, text))
}
