//! What is wrong, for people: of all files, with their places, and of each file in one line.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::desired::BrokenFile;

use super::diagnostic::{Diagnostic, shown};
use super::loader::Loader;
use super::problem::{Lines, PROBLEMS_MAX, Problem, Span};
use super::set::{Candidate, Choice, Now, Settled};

impl Loader {
    /// All errors, by file and place.
    pub(super) fn diagnostics(
        &self,
        files: &[Candidate<'_>],
        settled: &Settled,
    ) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        let shown = |file: &str| shown(&self.root, file);
        for (folder, why) in &self.blind {
            let problem = Problem::new(Span::default(), "cannot read the folder").label(why);
            diagnostics.push(Lines::new("").diagnostic(folder, &problem, shown));
        }
        for (candidate, between) in files.iter().zip(&settled.problems) {
            let Now::Read(version) = candidate.now else { continue };
            if version.problems.is_empty() && between.is_empty() {
                continue;
            }
            let lines = Lines::new(&version.text);
            let mut problems: Vec<_> = version.problems.iter().chain(between).collect();
            problems.sort_by_key(|problem| problem.span);
            let problems = problems.into_iter().take(PROBLEMS_MAX);
            diagnostics
                .extend(problems.map(|problem| lines.diagnostic(candidate.file, problem, shown)));
        }
        diagnostics
    }

    /// What is wrong with which file or folder, in short.
    pub(super) fn broken(
        &self,
        files: &[Candidate<'_>],
        settled: &Settled,
    ) -> BTreeMap<Arc<str>, BrokenFile> {
        let mut broken = BTreeMap::new();
        for (folder, why) in &self.blind {
            let first = format!("{folder}: cannot read the folder: {why}");
            let hidden = |file: &&Candidate<'_>| matches!(file.now, Now::Unknown(_));
            let last_good = files.iter().filter(hidden).any(|file| file.held.is_some());
            broken.insert(Arc::from(folder.as_str()), BrokenFile { errors: 1, first, last_good });
        }
        for (index, candidate) in files.iter().enumerate() {
            let (Choice::Held(reason), Now::Read(version)) =
                (&settled.choices[index], candidate.now)
            else {
                continue;
            };
            let between = &settled.problems[index];
            let errors = version.problems.len() + between.len();
            let first = version.problems.iter().chain(between).min_by_key(|problem| problem.span);
            let first =
                first.map_or_else(|| reason.to_string(), |first| first.line(candidate.file));
            let errors = u32::try_from(errors).unwrap_or(u32::MAX);
            let last_good = candidate.held.is_some();
            broken.insert(Arc::clone(candidate.file), BrokenFile { errors, first, last_good });
        }
        broken
    }
}
