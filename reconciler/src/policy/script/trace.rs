//! Which statements of a script were reached: for those who test it.
//!
//! A traced script is the same text with a mark before each statement, in the same line. A mark is a
//! call that sets a flag and says nothing, so what the script comes to is the same; only its limit on
//! operations is larger, for the marks. What is counted are statements: of a chain in several lines
//! the first line stands for all, and two statements in one line count twice. Both sides of `&&` and
//! `||` are one statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rhai::{EvalAltResult, Module};

use super::fault::Failure;
use super::reading::tokens::{Kind, Token, tokens};

/// The name of the mark. Scripts cannot call it: it is no function of the language.
const MARK: &str = "__reached";

/// How many times as many operations a traced run may take.
pub(super) const OPERATIONS_TIMES: u64 = 8;

/// Words that go on with what stands before them.
const GO_ON: [&str; 2] = ["else", "in"];

/// A statement of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement {
    /// The line that it begins in, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// Whether a run came by it.
    pub reached: bool,
}

/// The statements of a script, and which of them were reached.
#[derive(Debug)]
pub(super) struct Trace {
    places: Vec<(u32, u32)>,
    reached: Arc<[AtomicBool]>,
}

/// What a brace opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brace {
    /// Statements.
    Block,
    /// The same, before `while` or `until`.
    Do,
    /// A mapping, or code in a text.
    Other,
}

impl Trace {
    /// Marks the statements of `code`, in which everything stands where it stands in `text`.
    pub(super) fn mark(text: &str, code: &str) -> Result<(String, Self), Failure> {
        let tokens = tokens(text)?;
        let mut marked = String::with_capacity(code.len() * 2);
        let mut places = Vec::new();
        let mut done = 0;
        for token in statements(text, &tokens) {
            marked.push_str(code.get(done..token.at).unwrap_or_default());
            marked.push_str(&format!("{MARK}({});", places.len()));
            done = token.at;
            let before = text.get(..token.at).unwrap_or_default();
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            places.push((number(token.line), number(column)));
        }
        marked.push_str(code.get(done..).unwrap_or_default());
        let reached = places.iter().map(|_| AtomicBool::new(false)).collect();
        Ok((marked, Self { places, reached }))
    }

    /// Adds the mark to what a program can call.
    pub(super) fn register(&self, module: &mut Module) {
        let reached = Arc::clone(&self.reached);
        module.set_native_fn(MARK, move |index: i64| -> Result<(), Box<EvalAltResult>> {
            if let Some(flag) = usize::try_from(index).ok().and_then(|index| reached.get(index)) {
                flag.store(true, Ordering::Relaxed);
            }
            Ok(())
        });
        module.build_index();
    }

    /// All statements, in the order of the text.
    pub(super) fn statements(&self) -> Vec<Statement> {
        let all = self.places.iter().zip(self.reached.iter());
        all.map(|((line, column), flag)| Statement {
            line: *line,
            column: *column,
            reached: flag.load(Ordering::Relaxed),
        })
        .collect()
    }
}

/// The tokens that statements begin with.
fn statements<'t>(text: &str, tokens: &'t [Token<'t>]) -> Vec<&'t Token<'t>> {
    let mut open: Vec<Brace> = Vec::new();
    let mut found = Vec::new();
    // What the token before closed, if it closed something.
    let mut closed = None;
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| tokens.get(before));
        let is_code = !open.is_empty() && !open.contains(&Brace::Other);
        if is_code && !token.is("}") && begins(token, before, closed) {
            found.push(token);
        }
        closed = None;
        if token.is("{") {
            let in_text = token.at > 0 && text.as_bytes().get(token.at - 1) == Some(&b'$');
            open.push(match before {
                Some(before) if in_text || before.is("#") => Brace::Other,
                Some(before) if before.is_word("do") => Brace::Do,
                Some(_) | None => Brace::Block,
            });
        } else if token.is("}") {
            closed = open.pop();
        }
    }
    found
}

/// Whether a statement begins with `token`.
fn begins(token: &Token<'_>, before: Option<&Token<'_>>, closed: Option<Brace>) -> bool {
    let Some(before) = before else { return false };
    if before.is("{") || before.is(";") {
        return !token.is(";");
    }
    let goes_on = GO_ON.iter().any(|word| token.is_word(word));
    match closed {
        Some(Brace::Block) => token.kind != Kind::Sign && !goes_on,
        Some(Brace::Do) | Some(Brace::Other) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::script::reading::tokens::tokens;

    fn begun(text: &str) -> String {
        let tokens = tokens(text).expect("tokens");
        let found = statements(text, &tokens);
        let shown = found.iter().map(|token| format!("{}{}", token.line, token.text));
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn statements_are_found() {
        let text = "fn check(o) {\n\
            if a == \"x\" { b(); c() } else if d { e; }\n\
            let m = #{ f: `g ${ if h { i } else { j } } k` };\n\
            for l in m {\n return; }\n\
            do { n(); } while o;\n\
            deny(`${p}`)\n  .at(q);;\n\
            let r = if s { 1 } else { 2 };\n\
            while t { break }\n u\n}\n\
            fn v(w) { w }";
        assert_eq!(
            begun(text),
            "2if 2b 2c 2e 3let 4for 5return 6do 6n 7deny 9let 91 92 10while 10break 11u 13w"
        );
    }

    #[test]
    fn marks_move_no_line() {
        let text = "fn check(o) {\n  if o.a { deny(\"x\"); }\n}\n";
        let (marked, trace) = Trace::mark(text, text).expect("marked");
        assert_eq!(
            marked,
            "fn check(o) {\n  __reached(0);if o.a { __reached(1);deny(\"x\"); }\n}\n"
        );
        let places: Vec<_> = trace.statements().iter().map(|one| (one.line, one.column)).collect();
        assert_eq!(places, [(2, 3), (2, 12)]);
        assert!(trace.statements().iter().all(|statement| !statement.reached));
    }
}
