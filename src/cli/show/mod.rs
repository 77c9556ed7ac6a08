//! How answers look: functions from what the protocol says to text, without a terminal.
//!
//! Read in this order: this file (colour), [`words`] (times, sizes, numbers), [`table`], then what
//! users see: [`plan`], [`fields`] (of `diff`), [`objects`] (of `get`), [`instance`] (of
//! `describe`), [`event`] and [`outcome`] (of `apply` and `up`), [`noted`] (of `events`), [`usage`] (of
//! `top`), [`account`] (of `usage`), [`policy`] (of `policy check` and others).

pub mod account;
pub mod bar;
pub mod capacity;
mod escape;
pub mod event;
pub mod fields;
pub mod instance;
pub mod noted;
pub mod objects;
pub mod outcome;
pub mod plain;
pub mod plan;
pub mod policy;
pub mod report;
pub mod rollouts;
mod settings;
pub mod table;
pub mod trail;
pub mod usage;
pub mod verified;
pub mod words;

use reconciler::model::time::Timestamp;

/// How text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether to use terminal colours.
    pub color: bool,
    /// How many columns there are; as many as needed if not known.
    pub width: Option<usize>,
    /// The time, for ages.
    pub now: Timestamp,
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// No more than the words do.
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// Good, or new.
    Good,
    /// Changes, or waits.
    Odd,
    /// Bad, or gone.
    Bad,
    /// Found otherwise than declared.
    Drift,
}

impl Style {
    /// A style for a pipe.
    #[must_use]
    pub fn plain(now: Timestamp) -> Self {
        Self { color: false, width: None, now }
    }

    /// `text` in a colour, where there are colours.
    #[must_use]
    pub fn paint(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Plain => "",
            Ink::Dim => "2",
            Ink::Bold => "1",
            Ink::Good => "32",
            Ink::Odd => "33",
            Ink::Bad => "31",
            Ink::Drift => "35",
        };
        if !self.color || code.is_empty() || text.is_empty() {
            return text.to_owned();
        }
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}
