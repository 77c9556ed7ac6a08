//! A Compose file as values that know their line, with the variables in them filled in.

use crate::manifest::problem::Lines;
use crate::manifest::tree::{self, Node, Value as Tree};

use super::Refused;
use super::vars::Vars;

/// A value and the line that it stands in.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) line: u32,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing at all.
    Null,
    /// A text, a number or a truth value.
    Text(String),
    List(Vec<Item>),
    Map(Vec<Field>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) key: String,
    pub(super) line: u32,
    pub(super) item: Item,
}

/// Reads the first document of `text`.
pub(super) fn read(text: &str, file: &str, vars: &mut Vars<'_>) -> Result<Item, Refused> {
    let parsed = tree::parse(text);
    if let Some(problem) = parsed.problems.first() {
        let lines = Lines::new(text);
        let diagnostic = lines.diagnostic(file, problem, str::to_owned);
        return Err(Refused::new(diagnostic.to_string()));
    }
    let Some(node) = parsed.documents.first() else {
        return Err(Refused::new(format!("{file} holds nothing")));
    };
    item(node, file, vars)
}

fn item(node: &Node<'_>, file: &str, vars: &mut Vars<'_>) -> Result<Item, Refused> {
    let line = node.span.line;
    let value = match &node.value {
        Tree::Scalar { text, plain: true }
            if matches!(&**text, "" | "~" | "null" | "Null" | "NULL") =>
        {
            Value::Null
        }
        Tree::Scalar { text, .. } => {
            let filled = vars.fill(text, line);
            Value::Text(filled.map_err(|why| Refused::new(format!("{file}:{line}: {why}")))?)
        }
        Tree::Sequence(items) => {
            let items = items.iter().map(|node| item(node, file, vars));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        Tree::Mapping(entries) => {
            let fields = entries.iter().map(|entry| {
                let item = item(&entry.value, file, vars)?;
                Ok(Field { key: entry.key.to_string(), line: entry.key_span.line, item })
            });
            Value::Map(fields.collect::<Result<_, Refused>>()?)
        }
    };
    Ok(Item { line, value })
}

impl Item {
    /// The text of a single value.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// A truth value.
    pub(super) fn truth(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        }
    }

    /// A whole number.
    pub(super) fn number(&self) -> Option<i64> {
        self.text()?.trim().parse().ok()
    }

    /// The items of a list; one value alone is a list of one, and nothing is an empty one.
    pub(super) fn items(&self) -> Vec<&Self> {
        match &self.value {
            Value::Null => Vec::new(),
            Value::Text(_) | Value::Map(_) => vec![self],
            Value::List(items) => items.iter().collect(),
        }
    }

    /// The fields of a mapping.
    pub(super) fn fields(&self) -> &[Field] {
        match &self.value {
            Value::Map(fields) => fields,
            Value::Null | Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// One field of a mapping.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.fields().iter().find(|field| field.key == name).map(|field| &field.item)
    }

    /// What is a mapping, or a list of `NAME=value`, as names with what they have; `None` where a
    /// name stands alone.
    pub(super) fn pairs(&self, joints: &[char]) -> Vec<(String, Option<String>, u32)> {
        match &self.value {
            Value::Null => Vec::new(),
            Value::Map(fields) => {
                let pair = |field: &Field| {
                    (field.key.clone(), field.item.text().map(str::to_owned), field.line)
                };
                fields.iter().map(pair).collect()
            }
            Value::Text(_) | Value::List(_) => {
                let pair = |item: &Self| match item.text() {
                    // `- NAME: value`, as it is written by mistake, says the same.
                    None => item.fields().first().map(|field| {
                        (field.key.clone(), field.item.text().map(str::to_owned), field.line)
                    }),
                    Some(text) => Some(match text.split_once(joints) {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned()), item.line),
                        None => (text.to_owned(), None, item.line),
                    }),
                };
                self.items().into_iter().filter_map(pair).collect()
            }
        }
    }

    /// What this says over what `base` says, as `extends` has it: mappings are merged, lists of the
    /// two follow each other, and else this one holds.
    pub(super) fn over(&self, base: &Self) -> Self {
        let value = match (&self.value, &base.value) {
            (Value::Map(own), Value::Map(under)) => {
                let mut fields = own.clone();
                for field in under {
                    match fields.iter_mut().find(|own| own.key == field.key) {
                        // A command is one thing, though it is written as a list.
                        Some(own) if !matches!(&*own.key, "command" | "entrypoint" | "test") => {
                            own.item = own.item.over(&field.item);
                        }
                        Some(_) => {}
                        None => fields.push(field.clone()),
                    }
                }
                Value::Map(fields)
            }
            (Value::List(own), Value::List(under)) => {
                Value::List(under.iter().chain(own).cloned().collect())
            }
            (Value::Map(_), Value::List(_)) => return self.over(&base.named()),
            (Value::List(_), Value::Map(_)) => return self.named().over(base),
            (own, _) => own.clone(),
        };
        Self { line: self.line, value }
    }

    /// A list of `NAME=value` or of names as the mapping that says the same.
    fn named(&self) -> Self {
        let field = |(key, value, line): (String, Option<String>, u32)| {
            let value = value.map_or(Value::Null, Value::Text);
            Field { key, line, item: Self { line, value } }
        };
        let fields = self.pairs(&['=']).into_iter().map(field).collect();
        Self { line: self.line, value: Value::Map(fields) }
    }
}
