//! Sums for people and bills.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::amounts::Amounts;
use super::bucket::Bucket;
use super::meter::Series;
use crate::model::ids::{Key, Name};
use crate::model::time::Timestamp;

/// Stands where the flavor of what names none stands.
pub const NO_FLAVOR: &str = "(none)";

/// What amounts are summed by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// Projects.
    #[default]
    Project,
    /// Instances.
    Instance,
    /// Flavors.
    Flavor,
    /// Nodes.
    Node,
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Query {
    /// Only this project.
    pub project: Option<Name>,
    /// Only this instance.
    pub instance: Option<Key>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Until this moment.
    pub until: Option<Timestamp>,
    /// What to sum by.
    pub by: By,
}

impl Query {
    fn covers(&self, series: &Series) -> bool {
        let of = &series.replica.instance;
        self.project.as_ref().is_none_or(|project| of.project == *project)
            && self.instance.as_ref().is_none_or(|instance| of == instance)
    }

    /// Whether something of a bucket may be asked for.
    #[must_use]
    pub fn touches(&self, bucket: Bucket) -> bool {
        self.since.is_none_or(|since| bucket.end() > since)
            && self.until.is_none_or(|until| bucket.start < until)
    }

    /// The part of a bucket's amounts that is asked for: one that is cut counts in proportion, so
    /// that two ranges which meet count everything once.
    fn part(&self, bucket: Bucket, amounts: &Amounts) -> Amounts {
        let width = ms(bucket.end().0 - bucket.start.0);
        let until = |at: Option<Timestamp>, default: Amounts| match at {
            Some(at) => amounts.first(ms(at.0.saturating_sub(bucket.start.0)), width),
            None => default,
        };
        until(self.until, *amounts).without(&until(self.since, Amounts::default()))
    }
}

fn ms(span: i64) -> u64 {
    u64::try_from(span).unwrap_or(0)
}

/// One line of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What it is about: a project, an instance, a flavor or a node.
    pub name: String,
    /// What was used.
    #[serde(flatten)]
    pub amounts: Amounts,
    /// How long containers of each flavor ran, in milliseconds.
    pub flavors: BTreeMap<String, u64>,
}

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// From when on it has figures; `None` if it has none.
    pub from: Option<Timestamp>,
    /// The lines, by name.
    pub lines: Vec<Line>,
    /// All of them together.
    pub total: Line,
}

/// Sums up.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    query: Query,
    from: Option<Timestamp>,
    lines: BTreeMap<String, Line>,
    total: Line,
}

impl Tally {
    /// One for this question.
    #[must_use]
    pub fn new(query: Query) -> Self {
        Self { query, ..Self::default() }
    }

    /// The question.
    #[must_use]
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Takes what a series used in a bucket. Each bucket is to be shown once.
    pub fn add(&mut self, bucket: Bucket, series: &Series, amounts: &Amounts) {
        if !self.query.touches(bucket) || !self.query.covers(series) {
            return;
        }
        let part = self.query.part(bucket, amounts);
        let flavor = series.flavor.as_deref().unwrap_or(NO_FLAVOR);
        let name = match self.query.by {
            By::Project => series.replica.instance.project.to_string(),
            By::Instance => series.replica.instance.to_string(),
            By::Flavor => flavor.to_owned(),
            By::Node => series.node.to_string(),
        };
        let from = self.query.since.map_or(bucket.start, |since| since.max(bucket.start));
        self.from = Some(self.from.map_or(from, |before| before.min(from)));
        let line = self.lines.entry(name).or_default();
        for line in [line, &mut self.total] {
            line.amounts.add(&part);
            *line.flavors.entry(flavor.to_owned()).or_default() += part.ran_ms;
        }
    }

    /// The account.
    #[must_use]
    pub fn account(self) -> Account {
        let Self { query: _, from, lines, total } = self;
        let lines = lines.into_iter().map(|(name, line)| Line { name, ..line }).collect();
        Account { from, lines, total }
    }
}
