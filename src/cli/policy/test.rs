//! `windlass policy test`: do policies say what their cases expect?

use std::path::PathBuf;
use std::sync::Arc;

use reconciler::model::policies::PolicySource;
use reconciler::policy::library::Library;

use super::judge::policies as policies_of;
use super::report;
use super::tested::{Counted, tested};
use super::world::{Policies, known};
use crate::cli::show::policy::{End, Report, Rule, Status};
use crate::cli::{Context, Dir, Ended, Failure};
use crate::policies::{self, Place};

const VERB: &str = "policy test";

/// What is tested.
pub(super) struct Options {
    pub(super) all: bool,
    pub(super) policies: Vec<String>,
    pub(super) coverage: bool,
    pub(super) min_coverage: Option<u8>,
}

/// Runs the verb.
pub(super) fn run(context: &Context, dir: Option<PathBuf>, options: &Options) -> Ended {
    let place = match dir {
        Some(dir) => Place { dir, named: true },
        None => context.settings(&Dir { dir: None })?.policies,
    };
    let found = match report::policies(context, VERB, &place)? {
        Ok(policies) => policies,
        Err(code) => return Ok(code),
    };
    let wanted = wanted(&found, options)?;
    let library = if options.coverage || options.min_coverage.is_some() {
        match policies::traced(&found.sources) {
            Ok(traced) => Some(traced),
            Err(problems) => return report::broken(context, VERB, &problems, &[]),
        }
    } else {
        None
    };
    let report = made(&found, &wanted, library.as_ref(), options);
    report::write(context, &report)
}

/// The policies that are tested.
fn wanted<'p>(found: &'p Policies, options: &Options) -> Result<Vec<&'p PolicySource>, Failure> {
    if !options.policies.is_empty() {
        let all = found.catalogue.policies.keys();
        let mut wanted = Vec::new();
        for word in &options.policies {
            let id = Some(known("policy", word, all.clone())?);
            let sources = found.own.iter().chain(&found.sources.policies);
            wanted.extend(sources.filter(|source| source.id() == id).take(1));
        }
        return Ok(wanted);
    }
    let mut wanted: Vec<&PolicySource> = found.own.iter().collect();
    if options.all {
        let own = |source: &&PolicySource| found.own.iter().all(|own| own.sha256 != source.sha256);
        wanted.extend(found.sources.policies.iter().filter(own));
    }
    Ok(wanted)
}

fn made(
    found: &Policies,
    wanted: &[&PolicySource],
    traced: Option<&Arc<Library>>,
    options: &Options,
) -> Report {
    let mut report = Report {
        verb: VERB,
        verdict: End::Pass,
        at: crate::shell::now(),
        summary: Vec::new(),
        counts: Default::default(),
        asked: Vec::new(),
        tested: Vec::new(),
        rules: Default::default(),
        rows: Vec::new(),
    };
    for source in wanted {
        let Some(id) = source.id() else { continue };
        let Some(script) = found.library.script(&id) else { continue };
        let meta = script.meta();
        let rule = Rule {
            title: meta.title.clone(),
            level: meta.level.as_str().to_owned(),
            version: Some(meta.version.to_string()),
            help: policies::readme(&found.sources, &id),
        };
        report.rules.insert(id.to_string(), rule);
        let least = options.min_coverage.map(usize::from);
        let counted = traced.map(|library| Counted { library, least });
        let (rows, tested) = tested(source, &id, &found.library, counted);
        report.rows.extend(rows);
        report.tested.push(tested);
    }
    report.settle();
    let cases: usize = report.tested.iter().map(|tested| tested.cases).sum();
    report.summary = vec![("cases", cases.to_string()), ("of", policies_of(report.tested.len()))];
    report.verdict = if report.count(Status::Error) > 0 {
        End::Error
    } else if report.count(Status::Denied) > 0 {
        End::Fail
    } else if cases == 0 {
        End::Undefined
    } else {
        End::Pass
    };
    report
}
