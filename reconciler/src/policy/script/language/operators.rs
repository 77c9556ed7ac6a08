//! Operators: they compare and calculate with what is alike, and err with anything else.

use std::cmp::Ordering;

use rhai::{Dynamic, ImmutableString, NativeCallContext};

use super::{show, type_of};
use crate::model::quantity::{Bytes, Cpus, Span};
use crate::model::time::Timestamp;
use crate::policy::script::fault::{Answer, FailureKind, mistyped, raise, too_much};
use crate::policy::script::language::words::Words;
use crate::policy::script::limits::STRING_BYTES_MAX;
use crate::policy::script::run::Run;
use crate::policy::view::{Masked, Missing, Record};

/// A comparison by the order of its operands.
type Test = fn(Ordering) -> bool;

const ORDER: [(&str, Test); 4] = [
    ("<", Ordering::is_lt),
    ("<=", Ordering::is_le),
    (">", Ordering::is_gt),
    (">=", Ordering::is_ge),
];

pub(super) fn register(module: &mut Words) {
    for (name, test) in ORDER {
        module.set_native_fn(name, move |a: Dynamic, b: Dynamic| Ok(test(order(name, &a, &b)?)));
        // What is compared most has ways of its own.
        module.set_native_fn(name, move |a: i64, b: i64| Ok(test(a.cmp(&b))));
        module.set_native_fn(name, move |a: Bytes, b: Bytes| Ok(test(a.cmp(&b))));
    }
    module.set_native_fn("==", |a: Dynamic, b: Dynamic| equal("==", &a, &b));
    module.set_native_fn("!=", |a: Dynamic, b: Dynamic| Ok(!equal("!=", &a, &b)?));
    module.set_native_fn("==", |a: i64, b: i64| Ok(a == b));
    module.set_native_fn("!=", |a: i64, b: i64| Ok(a != b));
    module.set_native_fn("==", |a: bool, b: bool| Ok(a == b));
    module.set_native_fn("!=", |a: bool, b: bool| Ok(a != b));
    module.set_native_fn("==", |a: ImmutableString, b: ImmutableString| Ok(a == b));
    module.set_native_fn("!=", |a: ImmutableString, b: ImmutableString| Ok(a != b));
    module.set_native_fn("!", |a: Dynamic| match a.as_bool() {
        Ok(flag) => Ok(!flag),
        Err(_) => refuse("!", &a, &a),
    });
    module.set_native_fn("!", |a: bool| Ok(!a));
    for name in ["+", "-", "*", "/", "%"] {
        let calculate = move |context: NativeCallContext<'_>, a: Dynamic, b: Dynamic| {
            calculate(&context, name, &a, &b)
        };
        module.set_native_fn(name, calculate);
        let change = move |context: NativeCallContext<'_>, a: &mut Dynamic, b: Dynamic| {
            *a = self::calculate(&context, name, a, &b)?;
            Ok(())
        };
        module.set_native_fn(format!("{name}="), change);
    }
    module.set_native_fn("-", |a: i64| match a.checked_neg() {
        Some(number) => Ok(number),
        None => raise(FailureKind::Runtime, "the number is too large"),
    });
    // What is asked for most has ways of its own: the engine looks for those first.
    macro_rules! or_else {
        ($($type:ty),*) => {$(
            module.set_native_fn("??", |a: Missing, b: $type| -> Answer<Dynamic> {
                if a.is_unknown() { mistyped(a.complaint()) } else { Ok(Dynamic::from(b)) }
            });
            module.set_native_fn("??", |a: $type, _: $type| Ok(a));
        )*};
    }
    or_else!(ImmutableString, i64, bool, Bytes, Cpus);
    // Both sides are worked out: the right one is a literal or a parameter.
    module.set_native_fn("??", |a: Dynamic, b: Dynamic| -> Answer<Dynamic> {
        match a.read_lock::<Missing>() {
            Some(missing) if missing.is_unknown() => return mistyped(missing.complaint()),
            Some(_) => return Ok(b),
            None => {}
        }
        Ok(a)
    });
}

/// Which of two values is the larger one.
fn order(name: &str, a: &Dynamic, b: &Dynamic) -> Answer<Ordering> {
    macro_rules! of_types {
        ($($type:ty),*) => {$(
            if let (Some(a), Some(b)) = (a.read_lock::<$type>(), b.read_lock::<$type>()) {
                return Ok((*a).cmp(&*b));
            }
        )*};
    }
    of_types!(i64, Bytes, Cpus, Span, Timestamp, ImmutableString, semver::Version);
    refuse(name, a, b)
}

/// Whether two values are equal.
pub(super) fn equal(name: &str, a: &Dynamic, b: &Dynamic) -> Answer<bool> {
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return Ok(a == b);
    }
    if let (Ok(a), Ok(b)) = (a.as_char(), b.as_char()) {
        return Ok(a == b);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<rhai::Array>(), b.read_lock::<rhai::Array>()) {
        if a.len() != b.len() {
            return Ok(false);
        }
        for (a, b) in a.iter().zip(b.iter()) {
            if !equal(name, a, b)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    Ok(order(name, a, b)?.is_eq())
}

/// Why the two cannot be taken together.
fn refuse<T>(name: &str, a: &Dynamic, b: &Dynamic) -> Answer<T> {
    for side in [a, b] {
        if let Some(missing) = side.read_lock::<Missing>() {
            return mistyped(missing.complaint());
        }
        if side.is::<Masked>() {
            return mistyped("a masked value cannot be looked at; it has `.length` and `.digest`");
        }
        if let Some(record) = side.read_lock::<Record>() {
            let path = record.path();
            return mistyped(format!("`{path}` has fields: it is no value for `{name}`"));
        }
    }
    let (one, other) = (type_of(a), type_of(b));
    let hint = match (one.as_str(), other.as_str()) {
        ("memory", _) | (_, "memory") => "; write memory(\"256Mi\")",
        ("cpus", _) | (_, "cpus") => "; write cpus(\"500m\")",
        ("duration", _) | (_, "duration") => "; write duration(\"10s\")",
        ("time", _) | (_, "time") => "; a time is compared with now() - days(30)",
        ("version", _) | (_, "version") => "; write semver(\"1.2.3\")",
        _ => "",
    };
    mistyped(format!("`{name}` cannot take {one} and {other} together{hint}"))
}

fn calculate(
    context: &NativeCallContext<'_>,
    name: &str,
    a: &Dynamic,
    b: &Dynamic,
) -> Answer<Dynamic> {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return known(numbers(name, a, b)).map(Dynamic::from);
    }
    if name == "+" && (a.is_string() || b.is_string()) && texts(a) && texts(b) {
        let text = format!("{}{}", show(a), show(b));
        Run::of(context)?.work(text.len())?;
        if text.len() > STRING_BYTES_MAX {
            return too_much(format!("a text has {STRING_BYTES_MAX} bytes at most"));
        }
        return Ok(Dynamic::from(ImmutableString::from(text)));
    }
    if name == "+"
        && let (Some(a), Some(b)) = (a.read_lock::<rhai::Array>(), b.read_lock::<rhai::Array>())
    {
        Run::of(context)?.work((a.len() + b.len()) * size_of::<Dynamic>())?;
        return Ok(Dynamic::from([a.as_slice(), b.as_slice()].concat()));
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Timestamp>(), b.read_lock::<Span>()) {
        let (a, b) = (a.0, i64::try_from(b.0).ok());
        let sum = b.and_then(|b| match name {
            "+" => a.checked_add(b),
            "-" => a.checked_sub(b),
            _ => None,
        });
        return known(sum.map(Timestamp)).map(Dynamic::from);
    }
    if let (Some(a), Some(b)) = (a.read_lock::<Timestamp>(), b.read_lock::<Timestamp>())
        && name == "-"
    {
        let between = a.0.checked_sub(b.0).and_then(|millis| u64::try_from(millis).ok());
        return match between {
            Some(millis) => Ok(Dynamic::from(Span(millis))),
            None => raise(FailureKind::Runtime, "the first time is before the second one"),
        };
    }
    macro_rules! quantities {
        ($($type:ident),*) => {$(
            if let Some(one) = a.read_lock::<$type>() {
                let sum = match (b.read_lock::<$type>(), b.as_int().ok()) {
                    (Some(other), _) if name == "/" => {
                        let times = one.0.checked_div(other.0);
                        return known(times.and_then(|times| i64::try_from(times).ok()))
                            .map(Dynamic::from);
                    }
                    (Some(other), _) => amounts(name, one.0, other.0),
                    (None, Some(times)) => scaled(name, one.0, times),
                    (None, None) => return refuse(name, a, b),
                };
                return known(sum.map($type)).map(Dynamic::from);
            }
        )*};
    }
    quantities!(Bytes, Cpus, Span);
    refuse(name, a, b)
}

/// What can be joined to a text.
fn texts(value: &Dynamic) -> bool {
    value.is_string() || value.is_char() || value.is_int()
}

fn numbers(name: &str, a: i64, b: i64) -> Option<i64> {
    match name {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        "*" => a.checked_mul(b),
        "/" => a.checked_div(b),
        _ => a.checked_rem(b),
    }
}

fn amounts(name: &str, a: u64, b: u64) -> Option<u64> {
    match name {
        "+" => a.checked_add(b),
        "-" => a.checked_sub(b),
        _ => None,
    }
}

fn scaled(name: &str, amount: u64, times: i64) -> Option<u64> {
    let times = u64::try_from(times).ok()?;
    match name {
        "*" => amount.checked_mul(times),
        "/" => amount.checked_div(times),
        _ => None,
    }
}

fn known<T>(value: Option<T>) -> Answer<T> {
    match value {
        Some(value) => Ok(value),
        None => raise(FailureKind::Runtime, "this cannot be calculated: it is out of range"),
    }
}
