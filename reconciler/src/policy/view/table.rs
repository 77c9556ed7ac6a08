//! Tables of what records hold: a row a field, with its type and how it is read.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::object::Object;
use crate::model::ids::ImageName;
use crate::model::quantity::{Bytes, Cpus, Span};
use crate::model::time::Timestamp;

/// A thing, or a part of it, whatever its type.
pub(crate) type Thing = dyn Any + Send + Sync;

/// What is to be seen of a type of the model.
#[derive(Debug)]
pub(crate) struct Table {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    /// Its fields.
    pub(crate) fields: &'static [Field],
}

/// One field.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its name, as in YAML.
    pub(crate) name: &'static str,
    /// Its type, and how it is read.
    pub(crate) shape: Shape,
}

/// The type of a field, and how it is read. Each function answers `None` where nothing is said.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A truth value.
    Flag(fn(&Thing) -> Option<bool>),
    /// A whole number.
    Number(fn(&Thing) -> Option<u64>),
    /// A whole number that may be below zero.
    Signed(fn(&Thing) -> Option<i64>),
    /// A text.
    Text(for<'a> fn(&'a Thing) -> Option<Cow<'a, str>>),
    /// A text that is never shown, whatever it says.
    Secret(for<'a> fn(&'a Thing) -> Option<Cow<'a, str>>),
    /// An amount of memory.
    Memory(fn(&Thing) -> Option<Bytes>),
    /// An amount of cpu.
    Cpus(fn(&Thing) -> Option<Cpus>),
    /// A span of time.
    Duration(fn(&Thing) -> Option<Span>),
    /// An instant.
    Time(fn(&Thing) -> Option<Timestamp>),
    /// A list of texts.
    Texts(for<'a> fn(&'a Thing) -> Option<Vec<Cow<'a, str>>>),
    /// A part with fields of its own.
    Part(&'static Table, for<'a> fn(&'a Thing) -> Option<&'a Thing>),
    /// A list of such parts: the one with that index.
    Parts(&'static Table, for<'a> fn(&'a Thing, usize) -> Option<&'a Thing>),
    /// Values by names that users choose.
    Dict(for<'a> fn(&'a Thing) -> Option<Entries<'a>>),
    /// Parts by names that users choose: the one with that index.
    PartDict(&'static Table, for<'a> fn(&'a Thing, usize) -> Option<(&'a str, &'a Thing)>),
    /// A declared object.
    Object(fn(&Thing) -> Option<&Arc<Object>>),
    /// The image that is run.
    Image(fn(&Thing) -> Option<&ImageName>),
}

/// What a [`Shape::Dict`] holds, by name.
pub(crate) type Entries<'a> = Vec<(&'a str, Entry<'a>)>;

/// A value of a [`Shape::Dict`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry<'a> {
    /// A text.
    Text(&'a str),
    /// An amount of bytes.
    Memory(Bytes),
    /// A number.
    Number(u64),
}

impl Table {
    /// The field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Shape {
    /// The table of what it holds, if that has fields.
    pub(crate) fn inner(&self) -> Option<&'static Table> {
        match self {
            Self::Part(table, _) | Self::Parts(table, _) | Self::PartDict(table, _) => Some(table),
            Self::Image(_) => Some(&super::image::IMAGE),
            Self::Flag(_)
            | Self::Number(_)
            | Self::Signed(_)
            | Self::Text(_)
            | Self::Secret(_)
            | Self::Memory(_)
            | Self::Cpus(_)
            | Self::Duration(_)
            | Self::Time(_)
            | Self::Texts(_)
            | Self::Object(_)
            | Self::Dict(_) => None,
        }
    }

    /// The word for it in documents and messages.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Flag(_) => "bool",
            Self::Number(_) | Self::Signed(_) => "int",
            Self::Text(_) => "string",
            Self::Secret(_) => "masked string",
            Self::Memory(_) => "memory",
            Self::Cpus(_) => "cpus",
            Self::Duration(_) => "duration",
            Self::Time(_) => "time",
            Self::Texts(_) => "list of strings",
            Self::Part(..) => "record",
            Self::Parts(..) => "list of records",
            Self::Dict(_) => "mapping",
            Self::PartDict(..) => "mapping of records",
            Self::Object(_) => "object",
            Self::Image(_) => "image",
        }
    }
}

/// A table of the type `$model`: a row a field, each with an expression that gives an `Option`.
macro_rules! table {
    ($(#[$doc:meta])* $table:ident = $name:literal: $model:ty {
        $($field:literal: $shape:ident $(($inner:expr))? |$this:pat_param $(, $at:pat_param)?| $read:expr;)*
    }) => {
        $(#[$doc])*
        pub(crate) static $table: $crate::policy::view::table::Table =
            $crate::policy::view::table::Table {
                name: $name,
                fields: &[$($crate::policy::view::table::Field {
                    name: $field,
                    shape: $crate::policy::view::table::Shape::$shape(
                        $($inner,)?
                        |thing $(, $at)?| {
                            let $this = thing.downcast_ref::<$model>()?;
                            $read
                        },
                    ),
                }),*],
            };
    };
}
pub(crate) use table;

/// A list of texts.
pub(crate) fn texts<'a, T: AsRef<str> + 'a>(
    items: impl IntoIterator<Item = &'a T>,
) -> Option<Vec<Cow<'a, str>>> {
    Some(items.into_iter().map(|item| Cow::Borrowed(item.as_ref())).collect())
}

/// A text that is there.
pub(crate) fn text(text: &str) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(text))
}

/// A text that may be there.
pub(crate) fn maybe<T: AsRef<str>>(text: &Option<T>) -> Option<Cow<'_, str>> {
    text.as_ref().map(|text| Cow::Borrowed(text.as_ref()))
}

/// What something says when it is shown.
pub(crate) fn shown<'a>(value: &impl std::fmt::Display) -> Option<Cow<'a, str>> {
    Some(Cow::Owned(value.to_string()))
}

/// A part that is there.
pub(crate) fn part<T: Any + Send + Sync>(part: &T) -> Option<&Thing> {
    Some(part)
}

/// A part that may be there.
pub(crate) fn maybe_part<T: Any + Send + Sync>(part: Option<&T>) -> Option<&Thing> {
    part.map(|part| part as &Thing)
}

/// The word that specs use for a value of a closed list.
pub(crate) fn word<'a>(value: &impl serde::Serialize) -> Option<Cow<'a, str>> {
    let value = serde_json::to_value(value).ok()?;
    value.as_str().map(|word| Cow::Owned(word.to_owned()))
}

/// Texts by names.
pub(crate) fn dict(entries: &BTreeMap<String, String>) -> Option<Entries<'_>> {
    Some(entries.iter().map(|(name, text)| (name.as_str(), Entry::Text(text))).collect())
}
