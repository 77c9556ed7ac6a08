//! Regular expressions, in time that is linear in the text.

use rhai::{Dynamic, ImmutableString, NativeCallContext};

use super::{subject, work};
use crate::policy::script::fault::{Answer, FailureKind, raise, too_much};
use crate::policy::script::language::words::Words;
use crate::policy::script::limits::PATTERN_BYTES_MAX;

/// Largest compiled expression, in bytes: `a{1000}{1000}` ends here.
const COMPILED_BYTES_MAX: usize = 64 << 10;

/// Most levels of groups.
const LEVELS_MAX: u32 = 32;

/// What compiling an expression costs for each of its bytes, in bytes looked at.
const WORK_OF_COMPILING: usize = 256;

pub(super) fn register(module: &mut Words) {
    module.set_native_fn(
        "matches",
        |context: NativeCallContext<'_>, pattern: ImmutableString, text: Dynamic| {
            found(&context, &pattern, &subject(&text)?)
        },
    );
}

/// Whether the expression finds anything in the text; `^` and `$` tie it to the ends.
fn found(context: &NativeCallContext<'_>, pattern: &str, text: &str) -> Answer<bool> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return too_much(format!("an expression has {PATTERN_BYTES_MAX} bytes at most"));
    }
    work(context, pattern, &"x".repeat(WORK_OF_COMPILING))?;
    work(context, pattern, text)?;
    let built = regex_lite::RegexBuilder::new(pattern)
        .size_limit(COMPILED_BYTES_MAX)
        .nest_limit(LEVELS_MAX)
        .build();
    match built {
        Ok(expression) => Ok(expression.is_match(text)),
        Err(error) => raise(FailureKind::Runtime, format!("{pattern:?}: {error}")),
    }
}
