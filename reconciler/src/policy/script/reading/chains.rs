//! Chains of names: which fields are read, and whether they are there.

use std::collections::BTreeMap;

use super::closing;
use super::tokens::{Kind, Token};
use crate::model::spec::policy::ObjectKind;
use crate::policy::meta::PolicyMeta;
use crate::policy::script::Entry;
use crate::policy::script::fault::Failure;
use crate::policy::view::asked::{ACTION, DRIFT};
use crate::policy::view::object::{OBJECT, table_of};
use crate::policy::view::record::{nearest, unknown};
use crate::policy::view::table::{Field, Shape, Table};

/// What a name stands for, as far as that can be told.
#[derive(Debug, Clone)]
enum What {
    /// Objects of one of these kinds.
    Objects(Vec<ObjectKind>),
    /// A record of one of these tables.
    Records(Vec<&'static Table>),
    /// A list of something.
    List(Box<What>),
    /// The whole set.
    Set,
    /// The parameters.
    Params,
    /// A value without fields, called so.
    Value(&'static str),
    /// It cannot be told.
    Anything,
}

/// The names of a function, by how deep in brackets they were given.
pub(super) struct Names<'a> {
    meta: &'a PolicyMeta,
    first: BTreeMap<&'a str, What>,
}

impl<'a> Names<'a> {
    /// Those of a function; of an entry, with what its parameter stands for.
    pub(super) fn new(meta: &'a PolicyMeta, subject: Option<(Entry, &'a str)>) -> Self {
        let mut first = BTreeMap::from([("params", What::Params)]);
        if let Some((entry, name)) = subject {
            let what = match entry {
                Entry::Check => What::Objects(kinds(meta)),
                Entry::Set => What::Set,
                Entry::Action => What::Records(vec![&ACTION]),
                Entry::Drift => What::Records(vec![&DRIFT]),
            };
            first.insert(name, what);
        }
        Self { meta, first }
    }

    /// Checks all chains of a function.
    pub(super) fn check(&self, body: &'a [Token<'a>], wrong: &mut Vec<Failure>) {
        let mut scopes: Vec<BTreeMap<&str, What>> = vec![self.first.clone()];
        // A `for` gives its name to the block that follows.
        let mut next: Option<(&str, What)> = None;
        let mut at = 0;
        while let Some(token) = body.get(at) {
            if token.is("{") {
                scopes.push(next.take().into_iter().collect());
            } else if token.is("}") && scopes.len() > 1 {
                scopes.pop();
            } else if token.is_word("let") || token.is_word("const") || token.is_word("for") {
                let name = body.get(at + 1).filter(|token| token.kind == Kind::Word);
                if let Some(name) = name.filter(|name| name.text == "params") {
                    wrong.push(Failure::parse("`params` is there already", name.line));
                }
                if let Some(name) = name {
                    let sign = body.get(at + 2);
                    let is_for = token.is_word("for");
                    let begins = if is_for {
                        sign.is_some_and(|sign| sign.is_word("in"))
                    } else {
                        sign.is_some_and(|sign| sign.is("="))
                    };
                    let (what, end) = if begins {
                        self.chain(body, at + 3, &scopes, &mut Vec::new())
                    } else {
                        (What::Anything, at + 3)
                    };
                    let ends =
                        body.get(end).is_none_or(|token| token.is(if is_for { "{" } else { ";" }));
                    let what = if ends && begins { what } else { What::Anything };
                    if is_for {
                        next = Some((name.text, item(what)));
                    } else if let Some(scope) = scopes.last_mut() {
                        scope.insert(name.text, what);
                    }
                    // The chain itself is checked on the way.
                    at += 2;
                    continue;
                }
            } else if token.kind == Kind::Word
                && !is_field(body, at)
                && scopes.iter().any(|scope| scope.contains_key(token.text))
            {
                let (_, end) = self.chain(body, at, &scopes, wrong);
                at = end.max(at + 1);
                continue;
            }
            at += 1;
        }
    }

    /// What the chain that begins at `at` stands for, and where it ends.
    fn chain(
        &self,
        body: &[Token<'_>],
        at: usize,
        scopes: &[BTreeMap<&str, What>],
        wrong: &mut Vec<Failure>,
    ) -> (What, usize) {
        let Some(first) = body.get(at).filter(|token| token.kind == Kind::Word) else {
            return (What::Anything, at);
        };
        let known = scopes.iter().rev().find_map(|scope| scope.get(first.text));
        let Some(known) = known else {
            // `list(chain)` is the list itself.
            let is_list =
                first.is_word("list") && body.get(at + 1).is_some_and(|sign| sign.is("("));
            if let (true, Some(close)) = (is_list, closing(body, at + 1)) {
                let (what, end) = self.chain(body, at + 2, scopes, &mut Vec::new());
                let what = if end == close { what } else { What::Anything };
                return (what, close + 1);
            }
            return (What::Anything, at + 1);
        };
        let mut what = known.clone();
        let mut path = first.text.to_owned();
        let mut at = at + 1;
        while let Some(sign) = body.get(at) {
            if sign.is("[") {
                let Some(close) = closing(body, at) else { break };
                what = item(what);
                path.push_str("[…]");
                // What stands in the brackets is checked on the way.
                if matches!(what, What::Anything) {
                    break;
                }
                self.check(&body[at + 1..close], wrong);
                at = close + 1;
                continue;
            }
            let name = body.get(at + 1).filter(|token| token.kind == Kind::Word);
            let (true, Some(name)) = (sign.is("."), name) else { break };
            if body.get(at + 2).is_some_and(|sign| sign.is("(")) {
                what = answer(&what, name.text);
                let Some(close) = closing(body, at + 2) else { break };
                if matches!(what, What::Anything) {
                    at += 2;
                    break;
                }
                self.check(&body[at + 3..close], wrong);
                at = close + 1;
                continue;
            }
            path = format!("{path}.{}", name.text);
            what = match self.field(&what, name.text, &path) {
                Ok(what) => what,
                Err(message) => {
                    wrong.push(Failure::parse(message, name.line));
                    What::Anything
                }
            };
            at += 2;
        }
        (what, at)
    }

    fn field(&self, what: &What, name: &str, path: &str) -> Result<What, String> {
        let tables = match what {
            What::Objects(kinds) => {
                if let Some(field) = OBJECT.field(name) {
                    return Ok(of_field(field));
                }
                kinds.iter().map(|kind| table_of(*kind)).collect()
            }
            What::Records(tables) => tables.clone(),
            What::Params => {
                let params = &self.meta.params;
                if params.contains_key(name) {
                    return Ok(What::Anything);
                }
                return Err(match nearest(name, params.keys().map(String::as_str)) {
                    Some(near) => format!("unknown parameter `{name}`; did you mean `{near}`?"),
                    None => {
                        format!("unknown parameter `{name}`: the header has no `@param {name}`")
                    }
                });
            }
            What::Value(word) => return Err(format!("unknown field `{path}`: {word} has none")),
            What::List(_) => return Err(format!("unknown field `{path}`: a list has none")),
            What::Set => {
                return Err(format!("unknown field `{path}`: the set is asked by functions"));
            }
            What::Anything => return Ok(What::Anything),
        };
        let fields: Vec<_> = tables.iter().filter_map(|table| table.field(name)).collect();
        if fields.is_empty() {
            let outer: &[Field] =
                if matches!(what, What::Objects(_)) { OBJECT.fields } else { &[] };
            let known: std::collections::BTreeSet<&str> = tables
                .iter()
                .flat_map(|table| table.fields)
                .chain(outer)
                .map(|field| field.name)
                .collect();
            return Err(unknown(path, name, known.iter().copied()));
        }
        let mut all = fields.iter().map(|field| of_field(field));
        let first = all.next().unwrap_or(What::Anything);
        // Where kinds have fields of one name for different things, it is told when it runs.
        Ok(all.fold(first, merged))
    }
}

fn kinds(meta: &PolicyMeta) -> Vec<ObjectKind> {
    if meta.kinds.is_empty() {
        return ObjectKind::ALL.to_vec();
    }
    meta.kinds.iter().copied().collect()
}

/// Whether the word at `at` is a field or a method of what stands before it, or a key of a mapping.
fn is_field(body: &[Token<'_>], at: usize) -> bool {
    at.checked_sub(1).is_some_and(|before| body[before].is("."))
}

/// What has fields of either.
fn merged(one: What, other: What) -> What {
    match (one, other) {
        (What::Records(mut tables), What::Records(more)) => {
            tables.extend(more);
            What::Records(tables)
        }
        (What::List(one), What::List(other)) => What::List(Box::new(merged(*one, *other))),
        (What::Value(word), What::Value(_)) => What::Value(word),
        _ => What::Anything,
    }
}

fn of_field(field: &Field) -> What {
    let word = field.shape.word();
    match &field.shape {
        Shape::Part(table, _) => What::Records(vec![table]),
        Shape::Parts(table, _) => What::List(Box::new(What::Records(vec![table]))),
        Shape::Texts(_) => What::List(Box::new(What::Value("a text"))),
        Shape::Image(_) => What::Records(field.shape.inner().into_iter().collect()),
        Shape::Object(_) => What::Objects(ObjectKind::ALL.to_vec()),
        // Times and secrets have some fields of their own, mappings those that users choose.
        Shape::Time(_) | Shape::Secret(_) | Shape::Dict(_) | Shape::PartDict(..) => What::Anything,
        Shape::Flag(_)
        | Shape::Number(_)
        | Shape::Signed(_)
        | Shape::Text(_)
        | Shape::Memory(_)
        | Shape::Cpus(_)
        | Shape::Duration(_) => What::Value(word),
    }
}

/// What a list is a list of.
fn item(what: What) -> What {
    match what {
        What::List(item) => *item,
        What::Objects(_)
        | What::Records(_)
        | What::Set
        | What::Params
        | What::Value(_)
        | What::Anything => What::Anything,
    }
}

/// What a question to the set is answered with.
fn answer(what: &What, question: &str) -> What {
    if !matches!(what, What::Set) {
        return What::Anything;
    }
    let objects = |kind| What::List(Box::new(What::Objects(vec![kind])));
    match question {
        "instances" => objects(ObjectKind::Instance),
        "images" => objects(ObjectKind::Image),
        "volumes" => objects(ObjectKind::Volume),
        "networks" => objects(ObjectKind::Network),
        "links" => objects(ObjectKind::Link),
        "nodes" => objects(ObjectKind::Node),
        "bindings" => objects(ObjectKind::PolicyBinding),
        "waivers" => objects(ObjectKind::Waiver),
        "quota" => What::Records(vec![&crate::policy::view::objects::QUOTA]),
        _ => What::Anything,
    }
}
