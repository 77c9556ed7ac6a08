//! How a command ends when it cannot do what it was asked: an exit code, and a chain of reasons that
//! is printed once, with what to do next.

use std::error::Error;

/// Ends a command.
#[derive(Debug)]
pub(super) struct Failure {
    /// What it ends with; `None` where the verb says.
    pub(super) code: Option<u8>,
    /// What failed, then why; the first may be empty if all was said.
    pub(super) chain: Vec<String>,
    /// What to do.
    pub(super) help: Option<String>,
}

/// What a shell reports of a program that a closed pipe ended.
const CLOSED_PIPE: u8 = 141;

/// What a shell reports of a program that Ctrl-C ended.
pub(super) const INTERRUPTED: u8 = 130;

impl Failure {
    /// A failure in one line.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { code: None, chain: vec![message.into()], help: None }
    }

    /// The same, with what to do.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Nobody reads what we write: no word more.
    pub(super) fn closed_pipe() -> Self {
        Self { code: Some(CLOSED_PIPE), chain: Vec::new(), help: None }
    }

    /// Ends with this code; all was said.
    pub(super) fn silent(code: u8) -> Self {
        Self { code: Some(code), chain: Vec::new(), help: None }
    }

    /// Ended by Ctrl-C.
    pub(super) fn interrupted() -> Self {
        Self::silent(INTERRUPTED)
    }

    /// As it is printed.
    pub(super) fn text(&self, paint: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for (at, reason) in self.chain.iter().enumerate() {
            let word = if at == 0 { paint("error:") } else { "caused by:".to_owned() };
            text.push_str(&format!("{word} {reason}\n"));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("help: {help}\n"));
        }
        text
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut chain = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Some libraries print their cause as well as naming it.
            if !chain.last().is_some_and(|outer| outer.contains(&text)) {
                chain.push(text);
            }
            cause = inner.source();
        }
        Self { code: None, chain, help: None }
    }
}
