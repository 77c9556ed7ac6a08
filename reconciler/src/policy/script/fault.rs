//! What can go wrong with a script, told apart: a script that errs neither passes nor denies.

use std::fmt;

use rhai::{Dynamic, EvalAltResult, ParseError, ParseErrorType, Position};
use serde::{Deserialize, Serialize};

/// What a native function of ours answers.
pub(crate) type Answer<T> = Result<T, Box<EvalAltResult>>;

/// Of which kind an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The script, its header, or a field that it names: found when it is loaded.
    Parse,
    /// It asked for more than a run may use.
    Limit,
    /// It failed while it ran.
    Runtime,
    /// It took a value for something that it is not: compared what cannot be compared, or what is
    /// absent.
    Type,
    /// It returned something, where findings are what it is asked for.
    BadReturn,
}

impl FailureKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Limit => "limit",
            Self::Runtime => "runtime",
            Self::Type => "type",
            Self::BadReturn => "bad return",
        }
    }
}

/// Why a script gave no verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Failure {
    /// Of which kind it is.
    pub kind: FailureKind,
    /// What went wrong.
    pub message: String,
    /// The line of the script, from 1, where that is known.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{} (line {line})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Failure {
    /// An error of the text of a script.
    pub(crate) fn parse(message: impl Into<String>, line: usize) -> Self {
        Self::at(FailureKind::Parse, message.into(), u32::try_from(line).ok(), None)
    }

    pub(crate) fn at(
        kind: FailureKind,
        message: String,
        line: Option<u32>,
        column: Option<u32>,
    ) -> Self {
        Self { kind, message, line, column }
    }
}

/// What our own functions raise, so that its kind is not lost on the way through the engine.
#[derive(Debug, Clone)]
struct Fault {
    kind: FailureKind,
    message: String,
}

/// An error of a native function.
pub(crate) fn raise<T>(kind: FailureKind, message: impl Into<String>) -> Answer<T> {
    let fault = Fault { kind, message: message.into() };
    Err(Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(fault), Position::NONE)))
}

/// A value was taken for something that it is not.
pub(crate) fn mistyped<T>(message: impl Into<String>) -> Answer<T> {
    raise(FailureKind::Type, message)
}

/// A run asked for too much.
pub(crate) fn too_much<T>(message: impl Into<String>) -> Answer<T> {
    raise(FailureKind::Limit, message)
}

/// What the engine says of a text that it cannot parse.
#[expect(clippy::wildcard_enum_match_arm, reason = "the engine's enum may grow with each release")]
pub(crate) fn of_parsing(error: &ParseError) -> Failure {
    let kind = match error.err_type() {
        ParseErrorType::ExprTooDeep
        | ParseErrorType::TooManyFunctions
        | ParseErrorType::LiteralTooLarge(..) => FailureKind::Limit,
        _ => FailureKind::Parse,
    };
    failure(kind, error.err_type().to_string(), error.position())
}

/// What the engine says of a run that ended early.
#[expect(clippy::wildcard_enum_match_arm, reason = "the engine's enum may grow with each release")]
pub(crate) fn of_running(error: &EvalAltResult) -> Failure {
    use EvalAltResult as E;
    let mut error = error;
    let mut place = error.position();
    while let E::ErrorInFunctionCall(_, _, inner, _) = error {
        error = inner;
        if !error.position().is_none() {
            place = error.position();
        }
    }
    if let E::ErrorRuntime(value, _) = error
        && let Some(fault) = value.read_lock::<Fault>()
    {
        return failure(fault.kind, fault.message.clone(), place);
    }
    let (kind, message) = match error {
        E::ErrorTooManyOperations(..) => {
            (FailureKind::Limit, "it takes too many operations".to_owned())
        }
        E::ErrorTooManyVariables(..) => {
            (FailureKind::Limit, "it has too many variables at once".to_owned())
        }
        E::ErrorStackOverflow(..) => {
            (FailureKind::Limit, "its functions call each other too deeply".to_owned())
        }
        E::ErrorDataTooLarge(what, _) => (FailureKind::Limit, format!("too large: {what}")),
        E::ErrorFunctionNotFound(signature, _) => {
            (FailureKind::Type, format!("there is no function {signature}"))
        }
        E::ErrorMismatchDataType(want, have, _) => {
            (FailureKind::Type, format!("expected {want}, found {have}"))
        }
        E::ErrorIndexingType(what, _) => {
            (FailureKind::Type, format!("this cannot be indexed: {what}"))
        }
        E::ErrorFor(..) => {
            (FailureKind::Type, "this is no list, and cannot be gone through".to_owned())
        }
        E::ErrorDotExpr(what, _) => (FailureKind::Type, what.clone()),
        E::ErrorRuntime(value, _) => (FailureKind::Runtime, value.to_string()),
        // An error that we do not know is an error all the same.
        other => (FailureKind::Runtime, bare(other)),
    };
    failure(kind, message, place)
}

/// The message without the place, which stands beside it.
fn bare(error: &EvalAltResult) -> String {
    let text = error.to_string();
    match text.rfind(" (line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

fn failure(kind: FailureKind, message: String, place: Position) -> Failure {
    let number = |place: Option<usize>| place.and_then(|number| u32::try_from(number).ok());
    Failure::at(kind, message, number(place.line()), number(place.position()))
}
