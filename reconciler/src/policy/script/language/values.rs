//! What texts, lists, records and mappings can do.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use rhai::{Array, Dynamic, FuncRegistration, ImmutableString, NativeCallContext};

use super::operators::equal;
use super::{show, type_of};
use crate::model::spec::policy::ObjectKind;
use crate::policy::facts::IMAGE_FACTS;
use crate::policy::script::fault::{Answer, FailureKind, mistyped, raise, too_much};
use crate::policy::script::language::words::Words;
use crate::policy::script::limits::STRING_BYTES_MAX;
use crate::policy::script::reading;
use crate::policy::script::run::Run;
use crate::policy::view::asked::{ACTION, AskedDrift, DRIFT};
use crate::policy::view::image::{IMAGE, ImageParts};
use crate::policy::view::object::{OBJECT, table_of};
use crate::policy::view::table::Table;
use crate::policy::view::{Dict, Masked, Missing, Object, Record};

pub(super) fn register(module: &mut Words) {
    records(module);
    mappings(module);
    missing(module);
    masked(module);
    texts(module);
    lists(module);
    module.set_iterator::<Range<i64>>();
    module.set_iterator::<RangeInclusive<i64>>();
    module.set_native_fn("to_string", |value: &mut Record| Ok(show_record(value)));
    macro_rules! shown {
        ($($type:ty),*) => {$(
            module.set_native_fn("to_string", |value: &mut $type| {
                Ok(show(&Dynamic::from(value.clone())))
            });
        )*};
    }
    use crate::model::quantity::{Bytes, Cpus, Span};
    use crate::model::time::Timestamp;
    shown!(Dict, Missing, Masked, Bytes, Cpus, Span, Timestamp, semver::Version, i64, bool, Array);
}

/// What is shown of a record: an image its reference, an object its name, all else where it is.
pub(crate) fn show_record(record: &Record) -> String {
    if let Some(image) = record.root::<ImageParts>() {
        return image.shown().to_owned();
    }
    match record.root::<Object>() {
        Some(object) if record.path() == "spec" => object.name().to_string(),
        Some(_) | None => record.path(),
    }
}

/// The names of all fields of all tables: each gets a getter, so that a field is found at once.
pub(crate) fn field_names() -> BTreeSet<&'static str> {
    fn add(table: &'static Table, names: &mut BTreeSet<&'static str>) {
        for field in table.fields {
            names.insert(field.name);
            if let Some(inner) = field.shape.inner() {
                add(inner, names);
            }
        }
    }
    let mut names = BTreeSet::new();
    for kind in ObjectKind::ALL {
        add(table_of(kind), &mut names);
    }
    add(&OBJECT, &mut names);
    add(&IMAGE, &mut names);
    add(&ACTION, &mut names);
    add(&DRIFT, &mut names);
    add(&IMAGE_FACTS, &mut names);
    names
}

fn records(module: &mut Words) {
    for name in field_names() {
        module.set_getter_fn(name, move |record: &mut Record| record.get(name));
    }
    for (alias, name) in reading::aliases() {
        module.set_getter_fn(alias, move |record: &mut Record| record.get(name));
    }
    module.set_native_fn("touches", |record: &mut Record, field: ImmutableString| match record
        .root::<AskedDrift>(
    ) {
        Some(drift) => Ok(drift.touches(&field)),
        None => mistyped("only drift touches fields"),
    });
    // What is none of these names is no field of anything.
    module.set_indexer_get_fn(|record: &mut Record, name: ImmutableString| record.get(&name));
}

fn mappings(module: &mut Words) {
    module.set_indexer_get_fn(|dict: &mut Dict, name: ImmutableString| -> Answer<Dynamic> {
        match dict.find(&name)? {
            Some(value) => Ok(value),
            None => mistyped(format!(
                "`{}` has no {name:?}: ask with `in` first, or use `.get({name:?})`",
                dict.path()
            )),
        }
    });
    module.set_native_fn("get", |dict: &mut Dict, name: ImmutableString| dict.get(&name));
    module.set_native_fn("contains", |dict: &mut Dict, name: ImmutableString| Ok(dict.has(&name)));
    module.set_native_fn("has", |dict: &mut Dict, name: ImmutableString| Ok(dict.has(&name)));
    module.set_native_fn("keys", |dict: &mut Dict| Ok(names(dict)));
    module.set_native_fn("len", |dict: &mut Dict| Ok(count(dict.len())));
    module.set_native_fn("is_empty", |dict: &mut Dict| Ok(dict.len() == 0));
}

fn names(dict: &Dict) -> Array {
    dict.names().into_iter().map(Dynamic::from).collect()
}

fn missing(module: &mut Words) {
    module.set_native_fn("has", |value: Dynamic| match value.read_lock::<Missing>() {
        Some(missing) if missing.is_unknown() => mistyped(missing.complaint()),
        Some(_) => Ok(false),
        None => Ok(true),
    });
    // What is asked for most has ways of its own: the engine looks for those first.
    macro_rules! there {
        ($($type:ty),*) => {$(module.set_native_fn("has", |_: $type| Ok(true));)*};
    }
    use crate::model::quantity::{Bytes, Cpus};
    there!(Record, Bytes, Cpus, i64, ImmutableString);
    module.set_native_fn("has", |missing: Missing| {
        if missing.is_unknown() { mistyped(missing.complaint()) } else { Ok(false) }
    });
    module.set_native_fn("known", |value: Dynamic| {
        Ok(!value.read_lock::<Missing>().is_some_and(|missing| missing.is_unknown()))
    });
    // Whatever is asked of a value that is not there.
    module.set_indexer_get_fn(|missing: &mut Missing, _: ImmutableString| -> Answer<Dynamic> {
        mistyped(missing.complaint())
    });
    module.set_indexer_get_fn(|missing: &mut Missing, _: i64| -> Answer<Dynamic> {
        mistyped(missing.complaint())
    });
    module.set_iter_result(TypeId::of::<Missing>(), |value: Dynamic| {
        let complaint = value.cast::<Missing>().complaint();
        Box::new(std::iter::once(mistyped(complaint)))
    });
    for name in ["len", "is_empty", "keys", "to_lower", "to_upper", "trim"] {
        module.set_native_fn(name, |missing: &mut Missing| -> Answer<Dynamic> {
            mistyped(missing.complaint())
        });
    }
    for name in ["contains", "starts_with", "ends_with", "split", "get", "join", "has"] {
        module.set_native_fn(name, |missing: &mut Missing, _: Dynamic| -> Answer<Dynamic> {
            mistyped(missing.complaint())
        });
    }
}

fn masked(module: &mut Words) {
    module.set_getter_fn("length", |masked: &mut Masked| Ok(count(masked.len())));
    module.set_getter_fn("why", |masked: &mut Masked| Ok(ImmutableString::from(masked.why())));
    // Getters cannot see the key, so this one is a function.
    module.set_native_fn("digest", |context: NativeCallContext<'_>, masked: &mut Masked| {
        let run = Run::of(&context)?;
        Ok(ImmutableString::from(masked.digest(&run.around().mask)))
    });
    module.set_native_fn("masked", |value: Dynamic| Ok(value.is::<Masked>()));
}

fn texts(module: &mut Words) {
    type Text = ImmutableString;
    module.set_native_fn("len", |text: &mut Text| Ok(count(text.chars().count())));
    module.set_native_fn("is_empty", |text: &mut Text| Ok(text.is_empty()));
    let look = |name: &'static str, look: fn(&str, &str) -> bool, module: &mut Words| {
        module.set_native_fn(
            name,
            move |context: NativeCallContext<'_>, text: &mut Text, part: Text| {
                Run::of(&context)?.work(text.len() + part.len())?;
                Ok(look(text, &part))
            },
        );
    };
    look("contains", |text, part| text.contains(part), module);
    look("starts_with", |text, part| text.starts_with(part), module);
    look("ends_with", |text, part| text.ends_with(part), module);
    let make = |name: &'static str, make: fn(&str) -> String, module: &mut Words| {
        module.set_native_fn(name, move |context: NativeCallContext<'_>, text: &mut Text| {
            Run::of(&context)?.work(text.len())?;
            text_of(make(text))
        });
    };
    make("to_lower", str::to_lowercase, module);
    make("to_upper", str::to_uppercase, module);
    make("trim", |text| text.trim().to_owned(), module);
    module.set_native_fn(
        "split",
        |context: NativeCallContext<'_>, text: &mut Text, by: Text| -> Answer<Array> {
            if by.is_empty() {
                return mistyped("a text is split by something");
            }
            let parts = text.split(by.as_str()).map(Text::from).map(Dynamic::from);
            let parts = parts.collect::<Array>();
            Run::of(&context)?.work(text.len() + parts.len() * size_of::<Dynamic>())?;
            Ok(parts)
        },
    );
    module.set_native_fn("to_int", |text: &mut Text| match text.parse::<i64>() {
        Ok(number) => Ok(number),
        Err(_) => raise(FailureKind::Runtime, format!("{text:?} is no whole number")),
    });
}

pub(super) fn text_of(text: String) -> Answer<ImmutableString> {
    if text.len() > STRING_BYTES_MAX {
        return too_much(format!("a text has {STRING_BYTES_MAX} bytes at most"));
    }
    Ok(ImmutableString::from(text))
}

fn lists(module: &mut Words) {
    module.set_iterable::<Array>();
    module.set_native_fn("len", |list: &mut Array| Ok(count(list.len())));
    module.set_native_fn("is_empty", |list: &mut Array| Ok(list.is_empty()));
    module.set_native_fn("contains", contains);
    module.set_native_fn("has", contains);
    module.set_native_fn(
        "contains",
        |context: NativeCallContext<'_>, list: &mut Array, item: ImmutableString| {
            contains(context, list, Dynamic::from(item))
        },
    );
    module.name("push");
    FuncRegistration::new("push").set_into_module(module, |list: &mut Array, item: Dynamic| {
        list.push(item);
    });
    module.set_native_fn(
        "join",
        |context: NativeCallContext<'_>, list: &mut Array, by: ImmutableString| {
            let text = list.iter().map(show).collect::<Vec<_>>().join(&by);
            Run::of(&context)?.work(text.len())?;
            text_of(text)
        },
    );
    // `for x in` over what is no list is an error, and `list(…)` says what was meant.
    module.set_native_fn("list", |value: Dynamic| -> Answer<Array> {
        if let Some(missing) = value.read_lock::<Missing>() {
            if missing.is_unknown() {
                return mistyped(missing.complaint());
            }
            return Ok(Array::new());
        }
        if let Some(list) = value.read_lock::<Array>() {
            return Ok(list.clone());
        }
        if let Some(dict) = value.read_lock::<Dict>() {
            return Ok(names(&dict));
        }
        mistyped(format!("{} is no list", type_of(&value)))
    });
}

fn contains(context: NativeCallContext<'_>, list: &mut Array, item: Dynamic) -> Answer<bool> {
    Run::of(&context)?.work(list.len())?;
    for one in list.iter() {
        if equal("in", one, &item)? {
            return Ok(true);
        }
    }
    // An empty list holds nothing, and still a value that is not there is no question.
    if list.is_empty() {
        equal("in", &item, &item)?;
    }
    Ok(false)
}

pub(super) fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
