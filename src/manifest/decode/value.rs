//! Values: texts, numbers, truth values, quantities, lists and maps of them.
//!
//! The field says what type it has, so `8080` is a number for a port and a text for an
//! environment variable. Only nothing at all is never a text: it is what a forgotten value is.

use std::collections::BTreeMap;
use std::str::FromStr;

use reconciler::model::ids::{Name, NameError};
use reconciler::model::quantity::QuantityError;

use super::super::problem::Problem;
use super::super::tree::{Node, Value};
use super::fields::{Context, did_you_mean, found, is_null, list, short};

/// The text of any scalar that is not nothing.
pub(crate) fn text<'n>(
    context: &mut Context<'_>,
    node: &'n Node<'_>,
    field: &str,
    expected: &str,
) -> Option<&'n str> {
    match &node.value {
        Value::Scalar { text, plain } if !(*plain && is_null(text)) => {
            if text.contains('\0') {
                context.invalid(
                    node.span,
                    field,
                    "a zero byte can stand in no text of a container",
                );
                return None;
            }
            Some(text)
        }
        Value::Scalar { .. } | Value::Sequence(_) | Value::Mapping(_) => {
            context.wrong_type(node, field, expected);
            None
        }
    }
}

/// `true` or `false`, without quotes.
pub(crate) fn boolean(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<bool> {
    if let Value::Scalar { text, plain: true } = &node.value {
        match &**text {
            "true" | "True" | "TRUE" => return Some(true),
            "false" | "False" | "FALSE" => return Some(false),
            _ => {}
        }
    }
    context.wrong_type(node, field, "true or false");
    None
}

/// A whole number from `min` to `max`, without quotes.
pub(crate) fn integer(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    (min, max): (u64, u64),
) -> Option<u64> {
    let Value::Scalar { text, plain } = &node.value else {
        context.wrong_type(node, field, "a whole number");
        return None;
    };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, digits.get(2..).unwrap_or("")),
        Some("0o") => (8, digits.get(2..).unwrap_or("")),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        context.wrong_type(node, field, "a whole number");
        return None;
    }
    if !plain {
        let message = format!("wrong type of `{field}`");
        let label = format!("expected a whole number, found {}: take the quotes off", found(node));
        context.note(Problem::new(node.span, message).label(label));
        return None;
    }
    let negative = text.starts_with('-');
    let value = u64::from_str_radix(digits, radix).ok().filter(|value| !negative || *value == 0);
    let value = value.filter(|value| (min..=max).contains(value));
    if value.is_none() {
        let range = if max == u64::MAX {
            format!("expected at least {min}")
        } else {
            format!("expected {min} to {max}")
        };
        context.out_of_range(node.span, field, format!("{range}, found {}", short(text)));
    }
    value
}

/// A quantity; quotes do not matter.
pub(crate) fn quantity<Q>(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Q>
where
    Q: FromStr<Err = QuantityError>,
{
    let expected = match "".parse::<Q>() {
        Err(QuantityError::Form(form)) => form,
        Ok(_) | Err(QuantityError::Unit { .. } | QuantityError::Range(_)) => "a quantity",
    };
    let text = text(context, node, field, expected)?;
    if let Some(positive) = text.strip_prefix('-').filter(|rest| rest.parse::<Q>().is_ok()) {
        let label = format!("cannot be negative; did you mean `{positive}`?");
        context.out_of_range(node.span, field, label);
        return None;
    }
    match text.parse() {
        Ok(value) => Some(value),
        Err(QuantityError::Range(why)) => {
            context.out_of_range(node.span, field, why);
            None
        }
        Err(error @ QuantityError::Unit { .. }) => {
            context.invalid(node.span, field, error.to_string());
            None
        }
        Err(error @ QuantityError::Form(_)) => {
            context.invalid(node.span, field, format!("{error}, found {}", found(node)));
            None
        }
    }
}

/// A list with a function for each item, which is told the item's name: `ports[0]`.
pub(crate) fn items<T>(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    mut item: impl FnMut(&mut Context<'_>, &Node<'_>, &str) -> Option<T>,
) -> Option<Vec<T>> {
    let Value::Sequence(nodes) = &node.value else {
        context.wrong_type(node, field, "a list");
        return None;
    };
    let mut whole = true;
    let mut values = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        match item(context, node, &format!("{field}[{index}]")) {
            Some(value) => values.push(value),
            None => whole = false,
        }
    }
    whole.then_some(values)
}

/// A list of texts that is not empty: a command or its arguments.
pub(crate) fn words(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
) -> Option<Vec<String>> {
    if let Value::Scalar { text, plain } = &node.value
        && !(*plain && is_null(text))
    {
        let parts = text.split_whitespace().map(|word| format!("\"{word}\"")).collect::<Vec<_>>();
        let label = format!("expected a list of words, found {}", found(node));
        let problem = Problem::new(node.span, format!("wrong type of `{field}`")).label(label);
        context.note(problem.help(format!("write [{}]", short(&parts.join(", ")))));
        return None;
    }
    let words = items(context, node, field, |context, node, field| {
        text(context, node, field, "a text").map(str::to_owned)
    })?;
    if words.is_empty() {
        context.invalid(node.span, field, "an empty list runs nothing; leave the field out");
        return None;
    }
    Some(words)
}

/// A mapping of texts. `check` says what is wrong with a key.
pub(crate) fn texts(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Option<BTreeMap<String, String>> {
    let Value::Mapping(entries) = &node.value else {
        context.wrong_type(node, field, "a mapping of names to texts");
        return None;
    };
    let mut whole = true;
    let mut values = BTreeMap::new();
    for entry in entries.iter() {
        let name = format!("{field}.{}", short(&entry.key));
        if let Err(why) = check(&entry.key) {
            context.invalid(entry.key_span, &name, why);
            whole = false;
            continue;
        }
        match text(context, &entry.value, &name, "a text (`\"\"` for an empty one)") {
            Some(value) => {
                values.insert(entry.key.clone().into_owned(), value.to_owned());
            }
            None => whole = false,
        }
    }
    whole.then_some(values)
}

/// One of some words, each with its meaning.
pub(crate) fn choice<T: Copy>(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    words: &[(&'static str, T)],
    synonyms: &[(&str, &'static str)],
) -> Option<T> {
    let known = words.iter().map(|(word, _)| *word);
    let expected = format!("one of {}", list(known.clone()));
    let given = text(context, node, field, &expected)?;
    let value = words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value);
    if value.is_none() {
        let synonym = synonyms.iter().find(|(word, _)| *word == given).map(|(_, ours)| *ours);
        let near = synonym.or_else(|| did_you_mean(given, known));
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        context.invalid(node.span, field, format!("expected {expected}{near}"));
    }
    value
}

/// A name.
pub(crate) fn name(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Name> {
    let given = text(context, node, field, "a name")?;
    match Name::new(given) {
        Ok(name) => Some(name),
        Err(error) => {
            let lower = given.to_lowercase().replace(['_', '.', ' '], "-");
            let near = Name::new(&lower).ok().filter(|_| matches!(error, NameError::Character(_)));
            let near = near.map_or(String::new(), |near| format!("; `{near}` would do"));
            context.invalid(node.span, field, format!("{error}{near}"));
            None
        }
    }
}

/// A path that is absolute, and in its shortest form: what is compared with what engines report.
pub(crate) fn absolute_path(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
) -> Option<String> {
    let given = text(context, node, field, "an absolute path")?;
    let Some(rest) = given.strip_prefix('/') else {
        context.invalid(node.span, field, "expected an absolute path, one that begins with `/`");
        return None;
    };
    let clean = rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !clean {
        let parts = rest.split('/').filter(|part| !matches!(*part, "" | "."));
        let near = parts.clone().collect::<Vec<_>>().join("/");
        let label = if parts.clone().any(|part| part == "..") {
            "a path here has no `..` in it".to_owned()
        } else {
            format!("write it without empty and `.` parts: `/{}`", short(&near))
        };
        context.invalid(node.span, field, label);
        return None;
    }
    Some(given.to_owned())
}
