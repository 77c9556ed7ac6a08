//! Cases: what a policy is asked, and what it shall say. They stand beside it in `cases.yaml`, and are
//! asked by the same evaluator as the loop's, of objects that were read as those of specs are.
//!
//! [`form`] is what can be written, [`world`] what a case is about, [`ask`](mod@ask) compares what is
//! said with what shall be.

mod ask;
mod form;
#[cfg(test)]
mod tests;
mod world;

use std::sync::Arc;

use reconciler::model::policies::PolicySource;
use reconciler::policy::library::Library;

pub use self::form::Word;

use self::form::Case;
use crate::manifest::inside::Sheet;

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// What it is called.
    pub case: String,
    /// The line that it begins in.
    pub line: u32,
    /// The column.
    pub column: u32,
    /// What the policy said; nothing if the case cannot be asked.
    pub said: Option<Word>,
    /// What is otherwise than it shall be, each in a line.
    pub faults: Vec<String>,
}

/// The path of the cases beside a policy.
#[must_use]
pub fn path_of(source: &PolicySource) -> String {
    let folder = source.path.strip_suffix("policy.rhai").unwrap_or(&source.path);
    format!("{folder}cases.yaml")
}

/// Asks all cases of a policy. `library` holds it, and what else its cases name.
///
/// # Errors
/// All that is wrong with the text of the cases, each with its place.
pub fn run(source: &PolicySource, library: &Arc<Library>) -> Result<Vec<Ran>, Vec<String>> {
    let Some(text) = source.cases.as_deref() else { return Ok(Vec::new()) };
    let path = path_of(source);
    let shown = |problems: Vec<crate::manifest::Diagnostic>| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let sheet = Sheet::parse(&path, text).map_err(shown)?;
    let cases = form::read(&path, text)?;
    let Some(policy) = source.id() else {
        return Err(vec![format!("{path}: the policy beside it says no id")]);
    };
    let mut wrong = Vec::new();
    let mut done = Vec::new();
    for (case, node) in cases.iter().zip(sheet.items()) {
        let Case { case: name, .. } = case;
        if let Some(why) = case.contradiction() {
            wrong.push(format!("{path}:{}:{}: {why}", node.span.line, node.span.column));
            continue;
        }
        match world::world(case, node, &sheet, &policy, library) {
            Ok(mut world) => {
                let (said, faults) = ask::ask(case, &mut world, &policy);
                let (line, column) = (node.span.line, node.span.column);
                done.push(Ran { case: name.clone(), line, column, said, faults });
            }
            Err(problems) => wrong.extend(problems),
        }
    }
    if wrong.is_empty() { Ok(done) } else { Err(wrong) }
}
