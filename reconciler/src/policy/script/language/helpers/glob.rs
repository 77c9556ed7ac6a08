//! Globs: `*` is any run of characters, slashes included, `?` is one of them.

use rhai::{Array, Dynamic, ImmutableString, Module, NativeCallContext};

use super::{subject, words, work};
use crate::policy::script::fault::{Answer, too_much};
use crate::policy::script::limits::PATTERN_BYTES_MAX;

pub(super) fn register(module: &mut Module) {
    module.set_native_fn(
        "glob",
        |context: NativeCallContext<'_>, pattern: ImmutableString, text: Dynamic| {
            checked(&context, &pattern, &subject(&text)?)
        },
    );
    module.set_native_fn(
        "glob_any",
        |context: NativeCallContext<'_>, patterns: Array, text: Dynamic| {
            let text = subject(&text)?;
            for pattern in words(&patterns)? {
                if checked(&context, &pattern, &text)? {
                    return Ok(true);
                }
            }
            Ok(false)
        },
    );
}

fn checked(context: &NativeCallContext<'_>, pattern: &str, text: &str) -> Answer<bool> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return too_much(format!("a pattern has {PATTERN_BYTES_MAX} bytes at most"));
    }
    work(context, pattern, text)?;
    Ok(matches(pattern, text))
}

/// Whether `text` is as `pattern` says. It goes back to the last `*` only, so the time is at most
/// the product of the lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs_match() {
        for (pattern, text) in [
            ("*", ""),
            ("registry.example/dev/*", "registry.example/dev/a/b:1"),
            ("a?c", "abc"),
            ("*a*b", "xaxxb"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "x"), ("a?c", "ac"), ("a*", "ba"), ("*a*b", "xaxxbc")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
