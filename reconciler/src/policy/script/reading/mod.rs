//! What is wrong with a script can mostly be told before it runs: a function that is not there, a
//! parameter or a field that nobody declared, a rule that says nothing.
//!
//! Names are followed from the parameter of an entry, along chains (`o.security.user`), through
//! `let x = chain;` and `for x in chain`. What is not followed (arguments of functions, values of
//! mappings) is found when it is run, as an error.

mod chains;
pub(super) mod tokens;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use self::chains::Names;
use self::tokens::{Kind, Token, tokens};
use super::fault::Failure;
use super::language;
use super::language::values::field_names;
use super::{Entry, FORBIDDEN};
use crate::policy::meta::PolicyMeta;
use crate::policy::verbs::VERBS;
use crate::policy::view::record::nearest;

/// Words that stand before a bracket and are no functions.
const KEYWORDS: [&str; 12] =
    ["if", "else", "while", "until", "for", "in", "return", "throw", "let", "const", "do", "loop"];

/// Fields whose names are words that the engine keeps for itself.
static RESERVED: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    language::fix_seed();
    let mut engine = rhai::Engine::new_raw();
    engine.set_strict_variables(false);
    for symbol in super::DISABLED {
        engine.disable_symbol(symbol);
    }
    let is_taken = |name: &&'static str| engine.compile(format!("x.{name}")).is_err();
    field_names().into_iter().filter(is_taken).collect()
});

/// What the engine knows such a field by: the same with a capital, so that no place moves.
pub(crate) fn aliases() -> impl Iterator<Item = (String, &'static str)> {
    RESERVED.iter().map(|name| (capital(name), *name))
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// A function of a script.
struct Function<'a> {
    name: &'a str,
    params: Vec<&'a str>,
    body: &'a [Token<'a>],
    line: usize,
}

/// Reads a script: all that is wrong with it, or the text that the engine gets.
pub(super) fn read(text: &str, meta: &PolicyMeta) -> Result<String, Vec<Failure>> {
    let tokens = tokens(text).map_err(|failure| vec![failure])?;
    let functions = functions(&tokens).map_err(|failure| vec![failure])?;
    let mut wrong = Vec::new();
    let names: BTreeSet<&str> = functions.iter().map(|function| function.name).collect();
    for function in &functions {
        let Function { name, params, body, line } = function;
        if params.contains(&"params") || language::names().contains(*name) {
            let message = format!("`{name}` hides what is there already");
            wrong.push(Failure::parse(message, *line));
        }
        calls(body, &names, &mut wrong);
        let entry = Entry::ALL.into_iter().find(|entry| entry.as_str() == *name);
        let subject = entry.zip(params.first()).filter(|_| params.len() == 1);
        let known = Names::new(meta, subject.map(|(entry, name)| (entry, *name)));
        known.check(body, &mut wrong);
    }
    let is_verb = |pair: &[Token<'_>]| {
        pair[0].kind == Kind::Word && VERBS.contains(&pair[0].text) && pair[1].is("(")
    };
    if !tokens.windows(2).any(is_verb) {
        let verbs = VERBS.join(", ");
        wrong.push(Failure::parse(format!("the script says nothing: it has none of {verbs}"), 1));
    }
    if wrong.is_empty() { Ok(rewritten(text, &tokens)) } else { Err(wrong) }
}

/// The functions of a script. Nothing else may stand in it: it would not be run.
fn functions<'a>(tokens: &'a [Token<'a>]) -> Result<Vec<Function<'a>>, Failure> {
    let mut functions = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token.is_word("private") {
            at += 1;
            continue;
        }
        let (name, bracket) = (tokens.get(at + 1), tokens.get(at + 2));
        let (Some(name), Some(true)) = (name, bracket.map(|token| token.is("("))) else {
            return Err(outside(token));
        };
        if !token.is_word("fn") {
            return Err(outside(token));
        }
        let close = closing(tokens, at + 2).ok_or_else(|| open(token))?;
        let params = tokens[at + 3..close].iter().filter(|token| token.kind == Kind::Word);
        let params = params.map(|token| token.text).collect();
        let begin = close + 1;
        if !tokens.get(begin).is_some_and(|token| token.is("{")) {
            return Err(open(token));
        }
        let end = closing(tokens, begin).ok_or_else(|| open(token))?;
        let body = &tokens[begin + 1..end];
        functions.push(Function { name: name.text, params, body, line: token.line });
        at = end + 1;
    }
    Ok(functions)
}

fn outside(token: &Token<'_>) -> Failure {
    let message = format!("only functions may stand outside of functions, not `{}`", token.text);
    Failure::parse(message, token.line)
}

fn open(token: &Token<'_>) -> Failure {
    Failure::parse("this function has no end", token.line)
}

/// Where the bracket at `at` is closed.
fn closing(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        if ["(", "[", "{"].iter().any(|sign| token.is(sign)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|sign| token.is(sign)) {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(index);
            }
        }
    }
    None
}

/// Checks that all that is called is there.
fn calls(body: &[Token<'_>], own: &BTreeSet<&str>, wrong: &mut Vec<Failure>) {
    for (index, pair) in body.windows(2).enumerate() {
        let [word, bracket] = pair else { continue };
        if word.kind != Kind::Word || !bracket.is("(") || KEYWORDS.contains(&word.text) {
            continue;
        }
        let is_method = index.checked_sub(1).is_some_and(|before| body[before].is("."));
        let is_known =
            language::names().contains(word.text) || (!is_method && own.contains(word.text));
        if is_known {
            continue;
        }
        let name = word.text;
        let known = language::names().iter().map(String::as_str).chain(own.iter().copied());
        let message = match (FORBIDDEN.contains(&name), nearest(name, known)) {
            (true, _) => format!("`{name}` is not of the language"),
            (false, Some(near)) => format!("there is no function `{name}`; did you mean `{near}`?"),
            (false, None) => format!("there is no function `{name}`"),
        };
        wrong.push(Failure::parse(message, word.line));
    }
}

/// The text that the engine gets: fields with names that it keeps for itself are written with a
/// capital. Nothing moves.
fn rewritten(text: &str, tokens: &[Token<'_>]) -> String {
    let mut rewritten = String::with_capacity(text.len());
    let mut done = 0;
    for pair in tokens.windows(2) {
        let [dot, word] = pair else { continue };
        if dot.is(".") && word.kind == Kind::Word && RESERVED.contains(word.text) {
            rewritten.push_str(&text[done..word.at]);
            rewritten.push_str(&capital(word.text));
            done = word.at + word.text.len();
        }
    }
    rewritten.push_str(&text[done..]);
    rewritten
}
