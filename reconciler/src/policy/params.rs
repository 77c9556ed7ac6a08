//! Parameters: what a script lets bindings set, with types.

use std::collections::BTreeMap;

use rhai::{Dynamic, ImmutableString, Module};
use serde_json::Value;

use super::view::record::nearest;
use crate::model::quantity::{Bytes, Cpus, Span};

/// A parameter of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamSpec {
    /// Its type.
    pub kind: ParamKind,
    /// Its value where a binding sets none; without it, a binding has to.
    pub default: Option<Value>,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// A text.
    Text,
    /// A whole number.
    Int,
    /// A truth value.
    Bool,
    /// An amount of memory.
    Memory,
    /// An amount of cpu.
    Cpus,
    /// A span of time.
    Duration,
    /// A list of texts.
    Texts,
    /// A list of whole numbers.
    Ints,
}

impl ParamKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Text,
        Self::Int,
        Self::Bool,
        Self::Memory,
        Self::Cpus,
        Self::Duration,
        Self::Texts,
        Self::Ints,
    ];

    /// The word for it in headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Memory => "memory",
            Self::Cpus => "cpus",
            Self::Duration => "duration",
            Self::Texts => "[string]",
            Self::Ints => "[int]",
        }
    }

    /// The type of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether a value is of this type.
    ///
    /// # Errors
    /// What was expected.
    pub fn check(self, value: &Value) -> Result<(), String> {
        self.dynamic(value).map(|_| ())
    }

    fn dynamic(self, value: &Value) -> Result<Dynamic, String> {
        let wrong = || format!("expected {}, found {value}", self.as_str());
        let text = |value: &Value| value.as_str().map(ImmutableString::from).ok_or_else(wrong);
        let int = |value: &Value| value.as_i64().ok_or_else(wrong);
        // Quantities are written as specs have them, where `cpus: 2` and `memory: 1024` are numbers.
        let written = || match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(wrong()),
        };
        let list = || value.as_array().ok_or_else(wrong);
        match self {
            Self::Text => text(value).map(Dynamic::from),
            Self::Int => int(value).map(Dynamic::from),
            Self::Bool => value.as_bool().map(Dynamic::from).ok_or_else(wrong),
            Self::Memory => quantity::<Bytes>(&written()?),
            Self::Cpus => quantity::<Cpus>(&written()?),
            Self::Duration => quantity::<Span>(&written()?),
            Self::Texts => {
                let items = list()?.iter().map(|item| text(item).map(Dynamic::from));
                items.collect::<Result<Vec<_>, _>>().map(Dynamic::from)
            }
            Self::Ints => {
                let items = list()?.iter().map(|item| int(item).map(Dynamic::from));
                items.collect::<Result<Vec<_>, _>>().map(Dynamic::from)
            }
        }
    }
}

fn quantity<T>(text: &str) -> Result<Dynamic, String>
where
    T: std::str::FromStr + Clone + Send + Sync + 'static,
    T::Err: std::fmt::Display,
{
    text.parse::<T>().map(Dynamic::from).map_err(|error| error.to_string())
}

/// The values of all parameters: what a binding sets, and defaults.
///
/// # Errors
/// The first parameter that is wrong, in words that read behind the name of a binding.
pub(crate) fn fill(
    specs: &BTreeMap<String, ParamSpec>,
    set: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, Value>, String> {
    if let Some(unknown) = set.keys().find(|name| !specs.contains_key(*name)) {
        return Err(match nearest(unknown, specs.keys().map(String::as_str)) {
            Some(near) => format!("unknown parameter `{unknown}`; did you mean `{near}`?"),
            None if specs.is_empty() => format!("unknown parameter `{unknown}`: there are none"),
            None => {
                let known = specs.keys().cloned().collect::<Vec<_>>().join(", ");
                format!("unknown parameter `{unknown}`; there are {known}")
            }
        });
    }
    let mut filled = BTreeMap::new();
    for (name, spec) in specs {
        let value = match (set.get(name), &spec.default) {
            (Some(value), _) => {
                spec.kind.check(value).map_err(|error| format!("parameter `{name}`: {error}"))?;
                value
            }
            (None, Some(default)) => default,
            (None, None) => return Err(format!("parameter `{name}` has to be set")),
        };
        filled.insert(name.clone(), value.clone());
    }
    Ok(filled)
}

/// What `params` is in a script: a value with a getter for each parameter. Were it a mapping, all of
/// it would be copied whenever one is read.
#[derive(Debug, Clone)]
pub(crate) struct Params;

/// Filled parameters, as scripts see them.
pub(crate) fn module(
    specs: &BTreeMap<String, ParamSpec>,
    filled: &BTreeMap<String, Value>,
) -> Result<Module, String> {
    let mut module = Module::new();
    module.set_custom_type::<Params>("parameters");
    module.set_var("params", Params);
    for (name, value) in filled {
        if let Some(spec) = specs.get(name) {
            let value = spec.kind.dynamic(value)?;
            module.set_getter_fn(name, move |_: &mut Params| Ok(value.clone()));
        }
    }
    module.build_index();
    Ok(module)
}
