//! Helpers: quantities, patterns, versions, addresses and time.

pub(crate) mod cidr;
pub(crate) mod glob;
pub(crate) mod pattern;
pub(crate) mod time;

use std::sync::Arc;

use rhai::{Array, Dynamic, ImmutableString, NativeCallContext};

use super::values::text_of;
use super::{show, type_of};
use crate::model::quantity::{Bytes, Cpus, Span};
use crate::policy::script::fault::{Answer, FailureKind, mistyped, raise};
use crate::policy::script::language::words::Words;
use crate::policy::script::run::Run;
use crate::policy::view::image::{IMAGE, ImageParts};
use crate::policy::view::instance::UNLIMITED;
use crate::policy::view::{Missing, Record};

pub(super) fn register(module: &mut Words) {
    quantities(module);
    glob::register(module);
    pattern::register(module);
    cidr::register(module);
    time::register(module);
    module.set_native_fn("semver", |text: ImmutableString| {
        match semver::Version::parse(text.strip_prefix('v').unwrap_or(&text)) {
            Ok(version) => Ok(version),
            Err(error) => raise(FailureKind::Runtime, format!("{text:?} is no version: {error}")),
        }
    });
    module.set_native_fn("semver_in", |version: semver::Version, range: ImmutableString| {
        match semver::VersionReq::parse(&range) {
            Ok(range) => Ok(range.matches(&version)),
            Err(error) => {
                raise(FailureKind::Runtime, format!("{range:?} is no range of versions: {error}"))
            }
        }
    });
    module.set_native_fn("is_semver", |text: ImmutableString| {
        Ok(semver::Version::parse(text.strip_prefix('v').unwrap_or(&text)).is_ok())
    });
    module.set_native_fn("image", |text: ImmutableString| {
        let parts = Arc::new(ImageParts::parse(&text));
        Ok(Record::plain(parts, format!("image({text:?})"), &IMAGE))
    });
    module.set_native_fn("text", |value: Dynamic| match value.read_lock::<Missing>() {
        Some(missing) => mistyped(missing.complaint()),
        None => text_of(show(&value)),
    });
}

fn quantities(module: &mut Words) {
    module.set_native_fn("memory", |text: ImmutableString| match text.as_str() {
        "unlimited" => Ok(UNLIMITED),
        text => quantity::<Bytes>(text),
    });
    module.set_native_fn("memory", |bytes: i64| -> Answer<Bytes> {
        match u64::try_from(bytes) {
            Ok(bytes) => Ok(Bytes(bytes)),
            Err(_) => raise(FailureKind::Runtime, "there is no memory of less than nothing"),
        }
    });
    module.set_native_fn("cpus", |text: ImmutableString| match text.as_str() {
        // Less than a spec may ask for, and still where sums begin.
        "0" => Ok(Cpus(0)),
        text => quantity::<Cpus>(text),
    });
    module.set_native_fn("duration", |text: ImmutableString| quantity::<Span>(&text));
    for name in ["memory", "cpus", "duration"] {
        module.set_native_fn(name, move |value: Dynamic| -> Answer<Dynamic> {
            let right = (value.is::<Bytes>() && name == "memory")
                || (value.is::<Cpus>() && name == "cpus")
                || (value.is::<Span>() && name == "duration");
            if right {
                return Ok(value);
            }
            if let Some(missing) = value.read_lock::<Missing>() {
                return mistyped(missing.complaint());
            }
            mistyped(format!("`{name}` cannot be made of {}", type_of(&value)))
        });
    }
    module.set_native_fn("percent", |of: Dynamic, percent: i64| -> Answer<Dynamic> {
        macro_rules! of_types {
            ($($type:ident),*) => {$(
                if let Some(amount) = of.read_lock::<$type>() {
                    let part = u128::try_from(percent).ok().map(|percent| {
                        u128::from(amount.0) * percent / 100
                    });
                    return match part.and_then(|part| u64::try_from(part).ok()) {
                        Some(part) => Ok(Dynamic::from($type(part))),
                        None => raise(FailureKind::Runtime, "the share is out of range"),
                    };
                }
            )*};
        }
        of_types!(Bytes, Cpus, Span);
        mistyped(format!("there is no share of {}", type_of(&of)))
    });
}

fn quantity<T>(text: &str) -> Answer<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match text.parse() {
        Ok(quantity) => Ok(quantity),
        Err(error) => raise(FailureKind::Runtime, format!("{text:?}: {error}")),
    }
}

/// The texts of a list of patterns or ranges.
fn words(list: &Array) -> Answer<Vec<ImmutableString>> {
    let word = |item: &Dynamic| match item.read_lock::<ImmutableString>() {
        Some(word) => Ok(word.clone()),
        None => mistyped(format!("expected a list of texts, and found {} in it", type_of(item))),
    };
    list.iter().map(word).collect()
}

/// The text that a pattern is asked about: a text, or an image's reference.
fn subject(value: &Dynamic) -> Answer<ImmutableString> {
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Ok(text.clone());
    }
    if let Some(missing) = value.read_lock::<Missing>() {
        return mistyped(missing.complaint());
    }
    mistyped(format!("expected a text, found {}", type_of(value)))
}

/// Counts the work of matching, at the worst.
fn work(context: &NativeCallContext<'_>, pattern: &str, text: &str) -> Answer<()> {
    Run::of(context)?.work(pattern.len().max(1).saturating_mul(text.len().max(1)))
}
