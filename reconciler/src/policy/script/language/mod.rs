//! The functions that scripts can call, all of them: nothing of the engine's own libraries is there,
//! so there is no clock, no `eval`, no `print`, and no comparison that is false for want of sense.
//!
//! [`operators`] compare and calculate, [`values`] holds what texts, lists, records and mappings can
//! do, [`helpers`] match patterns and make quantities.

pub(crate) mod helpers;
pub(crate) mod operators;
pub(crate) mod values;
pub(crate) mod words;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use rhai::{Dynamic, ImmutableString, Module};
use serde_json::Value;

use self::words::Words;
use super::fault::{Answer, mistyped};
use crate::model::quantity::{Bytes, Cpus, Span};
use crate::model::time::Timestamp;
use crate::policy::params::Params;
use crate::policy::verbs::{self, Note};
use crate::policy::view::{Dict, Masked, Missing, Record};
use crate::policy::{facts, inventory};

/// The engine finds functions by hashes. Their seed would else be made at random when it is built,
/// and a module that was made under another one would not be found in.
static SEED: LazyLock<()> = LazyLock::new(|| {
    // An error means that it is set already, and nothing else in here sets it.
    let _ = rhai::config::hashing::set_hashing_seed(Some([0x77, 0x69, 0x6e, 0x64]));
});

/// Has to be called before anything else of the engine is.
pub(crate) fn fix_seed() {
    LazyLock::force(&SEED);
}

/// The language: one module for all engines, and the names of its functions.
static ALL: LazyLock<(Arc<Module>, BTreeSet<String>)> = LazyLock::new(|| {
    fix_seed();
    let mut words = Words::default();
    operators::register(&mut words);
    values::register(&mut words);
    helpers::register(&mut words);
    verbs::register(&mut words);
    inventory::register(&mut words);
    facts::register(&mut words);
    named_types(&mut words);
    let (module, names) = words.finish();
    (Arc::new(module), names)
});

/// The language.
pub(crate) fn module() -> Arc<Module> {
    Arc::clone(&ALL.0)
}

/// The names of all functions, methods and operators among them.
pub(crate) fn names() -> &'static BTreeSet<String> {
    &ALL.1
}

/// Names of our types, for what the engine says by itself.
fn named_types(module: &mut Words) {
    module
        .set_custom_type::<Record>("record")
        .set_custom_type::<Dict>("mapping")
        .set_custom_type::<Missing>("absent")
        .set_custom_type::<Masked>("masked string")
        .set_custom_type::<Note>("finding")
        .set_custom_type::<Bytes>("memory")
        .set_custom_type::<Cpus>("cpus")
        .set_custom_type::<Span>("duration")
        .set_custom_type::<Timestamp>("time")
        .set_custom_type::<semver::Version>("version");
}

/// What a value is called in messages.
pub(crate) fn type_of(value: &Dynamic) -> String {
    if let Some(record) = value.read_lock::<Record>() {
        return record.type_name().to_owned();
    }
    let name = if value.is_unit() {
        "nothing"
    } else if value.is_bool() {
        "bool"
    } else if value.is_int() {
        "int"
    } else if value.is_string() {
        "string"
    } else if value.is_char() {
        "character"
    } else if value.is_array() {
        "list"
    } else if value.is_map() || value.is::<Dict>() {
        "mapping"
    } else if value.is::<Bytes>() {
        "memory"
    } else if value.is::<Cpus>() {
        "cpus"
    } else if value.is::<Span>() {
        "duration"
    } else if value.is::<Timestamp>() {
        "time"
    } else if value.is::<Missing>() {
        "absent"
    } else if value.is::<Masked>() {
        "masked string"
    } else if value.is::<semver::Version>() {
        "version"
    } else if value.is::<Note>() {
        "finding"
    } else if value.is::<Params>() {
        "parameters"
    } else {
        value.type_name()
    };
    name.to_owned()
}

/// What a finding shows of a value.
pub(crate) fn show(value: &Dynamic) -> String {
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return text.to_string();
    }
    if let Some(items) = value.read_lock::<rhai::Array>() {
        return items.iter().map(show).collect::<Vec<_>>().join(", ");
    }
    if let Some(record) = value.read_lock::<Record>() {
        return values::show_record(&record);
    }
    if let Some(dict) = value.read_lock::<Dict>() {
        return dict.names().join(", ");
    }
    macro_rules! shown {
        ($($type:ty),*) => {$(
            if let Some(value) = value.read_lock::<$type>() {
                return value.to_string();
            }
        )*};
    }
    shown!(i64, bool, char, Bytes, Cpus, Span, Missing, Masked, semver::Version);
    if let Some(time) = value.read_lock::<Timestamp>() {
        return helpers::time::date(*time);
    }
    type_of(value)
}

/// A value as YAML would have it.
pub(crate) fn value_of(value: &Dynamic) -> Answer<Value> {
    if let Some(items) = value.read_lock::<rhai::Array>() {
        return items.iter().map(value_of).collect::<Answer<Vec<_>>>().map(Value::Array);
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        let fields = map.iter().map(|(name, value)| Ok((name.to_string(), value_of(value)?)));
        return fields.collect::<Answer<_>>().map(Value::Object);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Value::Bool(flag));
    }
    if let Ok(number) = value.as_int() {
        return Ok(Value::from(number));
    }
    if value.is_string() || value.is::<Bytes>() || value.is::<Cpus>() || value.is::<Span>() {
        return Ok(Value::String(show(value)));
    }
    mistyped(format!("a field of a spec cannot be given a value of type {}", type_of(value)))
}
