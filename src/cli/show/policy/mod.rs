//! What policies say, in the forms that people and other programs read. One file a form; all are made
//! of the same [`Report`], in which secrets are masked and no line of a file stands.

pub mod github;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod policyreport;
pub mod sarif;
#[cfg(test)]
mod tests;
pub mod text;

use std::collections::BTreeMap;

use reconciler::model::time::Timestamp;
use reconciler::policy::evaluate::Count;
use serde::Serialize;

use crate::manifest::Spot;

/// How it ends. The number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// Nothing is in the way.
    Pass = 0,
    /// Something is denied, or a case fails.
    Fail = 1,
    /// Nothing was asked, so nothing was passed.
    Undefined = 2,
    /// There is no verdict.
    Error = 3,
}

impl End {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Undefined => "undefined",
            Self::Error => "error",
        }
    }
}

/// What a row comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// There is no verdict.
    Error,
    /// It is in the way; of a case, that it is not as expected.
    Denied,
    /// It is shown, and not in the way.
    Warned,
    /// It is in the way of nobody, for a waiver says so.
    Waived,
    /// It is recorded.
    Noted,
    /// Nothing was found.
    Passed,
}

impl Status {
    /// All of them, the worst first.
    pub const ALL: [Self; 6] =
        [Self::Error, Self::Denied, Self::Warned, Self::Waived, Self::Noted, Self::Passed];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Denied => "denied",
            Self::Warned => "warned",
            Self::Waived => "waived",
            Self::Noted => "noted",
            Self::Passed => "passed",
        }
    }
}

/// A rule that rows name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// What it asks for, in a line.
    pub title: String,
    /// Its own level.
    pub level: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it is there, as Markdown.
    #[serde(skip)]
    pub help: Option<String>,
}

/// One finding, one error, or one verdict without either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What it comes to.
    pub status: Status,
    /// The policy.
    pub rule: String,
    /// The binding that has it asked; of a case, the file that it stands in.
    pub suite: String,
    /// What it is about: an object, or a case.
    pub object: String,
    /// The level that holds here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// What is found.
    pub message: String,
    /// The field that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// What may stand there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub want: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Spot>,
    /// The waiver that lets it pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiver: Option<WaivedBy>,
}

impl Row {
    /// What is found, with the field and what stands there.
    #[must_use]
    pub fn found(&self) -> String {
        match (&self.at, &self.observed) {
            (Some(at), Some(observed)) => format!("{} ({at} is {observed})", self.message),
            (Some(at), None) => format!("{} ({at})", self.message),
            (None, Some(observed)) => format!("{} ({observed})", self.message),
            (None, None) => self.message.clone(),
        }
    }

    /// All of it in a line: what is found, what may be, what to do.
    #[must_use]
    pub fn all(&self) -> String {
        let mut text = self.found();
        if let Some(want) = &self.want {
            text.push_str(&format!("; allowed: {want}"));
        }
        if let Some(fix) = &self.fix {
            text.push_str(&format!("; {fix}"));
        }
        text
    }

    /// Where it stands, as editors take it.
    #[must_use]
    pub fn where_(&self) -> Option<String> {
        let Spot { file, line, column, width: _ } = self.place.as_ref()?;
        Some(format!("{file}:{line}:{column}"))
    }
}

/// A waiver, as far as a reader wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaivedBy {
    /// Its name.
    pub name: String,
    /// Why it is.
    pub reason: String,
    /// Where that was discussed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Who agreed to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    /// The last day on which it holds, or when it ends.
    pub expires: String,
}

impl WaivedBy {
    /// The same in a line.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { name, reason, ticket, approver, expires } = self;
        let ticket = ticket.as_ref().map(|ticket| format!(", {ticket}")).unwrap_or_default();
        let by = approver.as_ref().map(|by| format!(", approved by {by}")).unwrap_or_default();
        format!("{name} until {expires}: {reason}{ticket}{by}")
    }
}

/// How often a policy was asked under a binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// The binding.
    pub binding: String,
    /// The policy.
    pub policy: String,
    /// The level that holds.
    pub level: String,
    /// How often.
    #[serde(flatten)]
    pub count: Count,
    /// Why it is not asked here at all, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<String>,
}

/// What the cases of a policy came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// The policy.
    pub policy: String,
    /// How many cases it has.
    pub cases: usize,
    /// How many of them are not as expected.
    pub failed: usize,
    /// The ways in which it ended.
    pub ends: Vec<&'static str>,
    /// Its statements, if they were counted: how many cases came by, and how many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<Reached>,
}

/// How many of how many statements cases came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// That were reached.
    pub reached: usize,
    /// That there are.
    pub all: usize,
}

impl Reached {
    /// The share in percent, cut and not rounded: 100 is all of them.
    #[must_use]
    pub fn percent(self) -> usize {
        (self.reached * 100).checked_div(self.all).unwrap_or(100)
    }
}

/// What policies say of a set, or what cases say of policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The command: `policy check`.
    pub verb: &'static str,
    /// How it ends.
    pub verdict: End,
    /// The time that holds for it.
    #[serde(skip)]
    pub at: Timestamp,
    /// A name and its value each, for people.
    #[serde(skip)]
    pub summary: Vec<(&'static str, String)>,
    /// How many rows there are of each status.
    pub counts: BTreeMap<&'static str, usize>,
    /// How often each policy was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
    /// What cases came to, policy by policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tested: Vec<Tested>,
    /// The rules that rows name.
    pub rules: BTreeMap<String, Rule>,
    /// What was found, the worst first, and then by place.
    pub rows: Vec<Row>,
}

impl Report {
    /// Rows that a reader wants to see: all but passes.
    pub fn shown(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.status != Status::Passed)
    }

    /// How many rows there are of a status.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.counts.get(status.as_str()).copied().unwrap_or(0)
    }

    /// Puts rows in order, and counts them.
    pub fn settle(&mut self) {
        let key = |row: &Row| {
            (row.status, row.place.clone(), row.object.clone(), row.rule.clone(), row.suite.clone())
        };
        self.rows.sort_by_cached_key(key);
        for status in Status::ALL {
            let count = self.rows.iter().filter(|row| row.status == status).count();
            self.counts.insert(status.as_str(), count);
        }
    }
}
