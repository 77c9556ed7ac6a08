//! The one place that writes to the terminal.

use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use serde::Serialize;

use super::args::{Format, Global, When};
use super::failure::Failure;
use super::show::{Ink, Style};
use crate::shell::now;

/// A path that means nothing to people, and what it is called instead.
static CALLED: OnceLock<(String, &str)> = OnceLock::new();

/// Has a path shown under another name from now on; one in a process.
pub(super) fn call(path: String, name: &'static str) {
    // Once is enough: there is one standard input.
    let _ = CALLED.set((path, name));
}

/// The text as people want it.
fn shown(text: &str) -> Cow<'_, str> {
    match CALLED.get() {
        Some((path, name)) if text.contains(path.as_str()) => Cow::Owned(text.replace(path, name)),
        Some(_) | None => Cow::Borrowed(text),
    }
}

/// Where answers go, and how.
#[derive(Debug, Clone)]
pub(super) struct Out {
    /// How standard output is written.
    pub(super) style: Style,
    /// Whether to use colour on standard error.
    pub(super) color_err: bool,
    /// Whether standard output is a terminal.
    pub(super) is_terminal: bool,
    /// Whether someone can be asked.
    pub(super) can_ask: bool,
    /// Whether to say only what is wrong.
    pub(super) quiet: bool,
}

impl Out {
    /// As flags, environment and terminals have it.
    pub(super) fn new(global: &Global) -> Self {
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        // See https://no-color.org: any value but an empty one.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = |is_terminal: bool| match global.color {
            When::Always => true,
            When::Never => false,
            When::Auto => is_terminal && !plain,
        };
        let width = out.then(|| usize::from(console::Term::stdout().size().1));
        Self {
            style: Style { color: color(out), width, now: now() },
            color_err: color(err),
            is_terminal: out && err,
            can_ask: std::io::stdin().is_terminal() && err,
            quiet: global.quiet,
        }
    }

    /// Writes to standard output.
    ///
    /// # Errors
    /// If nobody reads it any more, or it cannot be written.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        let text = shown(text);
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::closed_pipe()),
            Err(error) => Err(Failure::new(format!("write to standard output: {error}"))),
        }
    }

    /// Writes a value as a program wants it.
    ///
    /// # Errors
    /// As for [`Out::print`].
    pub(super) fn value(&self, format: Format, value: &impl Serialize) -> Result<(), Failure> {
        let text = match format {
            Format::Yaml => {
                // Without this, YAML would have tags where JSON has keys.
                let mut text = Vec::new();
                let mut yaml = serde_yaml::Serializer::new(&mut text);
                serde_yaml::with::singleton_map_recursive::serialize(value, &mut yaml)?;
                String::from_utf8(text)?
            }
            Format::Json | Format::Text | Format::Wide | Format::Name => {
                serde_json::to_string_pretty(value)? + "\n"
            }
        };
        self.print(&text)
    }

    /// Says something beside the answer, on standard error; nothing if it shall be quiet.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// Writes to standard error.
    pub(super) fn complain(&self, text: &str) {
        let mut text = shown(text).into_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        // If nobody hears us, there is nobody to tell.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// Writes a failure to standard error.
    pub(super) fn failure(&self, failure: &Failure) {
        let style = self.err_style();
        self.complain(&failure.text(|word| style.paint(Ink::Bad, word)));
    }

    /// How standard error is written.
    pub(super) fn err_style(&self) -> Style {
        Style { color: self.color_err, ..self.style }
    }

    /// Asks a question whose answer is yes or no; everything but a clear yes is a no.
    pub(super) fn ask(&self, question: &str) -> bool {
        let mut err = std::io::stderr().lock();
        let asked = err.write_all(format!("{question} [y/N] ").as_bytes());
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        asked.is_ok()
            && read.is_ok()
            && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }
}
