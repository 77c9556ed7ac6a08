//! `windlass policy coverage`: what no policy looks at, and which policies look at nothing.

use std::collections::BTreeSet;

use reconciler::model::spec::policy::{ObjectKind, Point, PolicyId};
use reconciler::policy::script::Entry;
use serde::Serialize;

use super::judge::Judged;
use super::report;
use super::world::Subjects;
use crate::cli::args::{Dir, Format};
use crate::cli::show::words::count;
use crate::cli::show::{Ink, Style};
use crate::cli::{Context, Ended};
use crate::shell::now;

const VERB: &str = "policy coverage";

/// What is not covered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Gaps {
    /// How many objects there are that policies could look at.
    objects: usize,
    /// Those of them that no policy looks at by itself.
    unseen: Vec<String>,
    /// Policies that look at the whole set, and so at these too.
    whole: Vec<String>,
    /// Policies under a binding that matched nothing: `POLICY by BINDING`, and why if it is known.
    unmatched: Vec<String>,
    /// Policies that no binding puts in force.
    unbound: Vec<String>,
}

/// Runs the verb.
pub(super) fn run(context: &Context, dir: &Dir) -> Ended {
    let settings = context.settings_to_read(dir)?;
    let policies = match report::policies(context, VERB, &settings.policies)? {
        Ok(policies) => policies,
        Err(code) => return Ok(code),
    };
    let subjects = match Subjects::declared(settings.specs, &policies.catalogue) {
        Ok(subjects) => subjects,
        Err(diagnostics) => return report::broken(context, VERB, &[], &diagnostics),
    };
    let judged = Judged::of(&policies, &subjects, Point::Plan, now());
    let gaps = gaps(&judged);
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => context.out.value(format, &gaps)?,
        Format::Name => {
            let names: String = gaps.unseen.iter().map(|name| format!("{name}\n")).collect();
            context.out.print(&names)?;
        }
        Format::Text | Format::Wide => context.out.print(&text(&gaps, &context.out.style))?,
    }
    Ok(0)
}

fn gaps(judged: &Judged<'_>) -> Gaps {
    let evaluation = &judged.evaluation;
    // Bindings and waivers say which rules hold; they are not what rules are for.
    let subjects = evaluation.decisions.iter().filter(|(object, _)| {
        !matches!(object.kind, ObjectKind::PolicyBinding | ObjectKind::Waiver)
    });
    let unseen = subjects.clone().filter(|(_, decision)| decision.verdicts.is_empty());
    let bound: BTreeSet<&PolicyId> = evaluation.counts.keys().map(|(policy, _)| policy).collect();
    let library = &judged.policies.library;
    let is_whole = |id: &&&PolicyId| {
        library.script(id).is_some_and(|script| script.entries().contains(&Entry::Set))
    };
    let unmatched = evaluation.counts.iter().filter(|(_, count)| count.asked == 0);
    Gaps {
        objects: subjects.count(),
        unseen: unseen.map(|(object, _)| object.to_string()).collect(),
        whole: bound.iter().filter(is_whole).map(ToString::to_string).collect(),
        unmatched: unmatched
            .map(|((policy, binding), _)| match judged.elsewhere(policy) {
                Some(elsewhere) => format!("{policy} by {binding} ({elsewhere})"),
                None => format!("{policy} by {binding}"),
            })
            .collect(),
        unbound: library
            .metas()
            .filter(|(id, _)| !bound.contains(id))
            .map(|(id, _)| id.to_string())
            .collect(),
    }
}

fn text(gaps: &Gaps, style: &Style) -> String {
    let Gaps { objects, unseen, whole, unmatched, unbound } = gaps;
    let mut text = String::new();
    let mut part = |head: String, names: &[String]| {
        text.push_str(&format!("{}\n", style.paint(Ink::Bold, &head)));
        for name in names {
            text.push_str(&format!("  {name}\n"));
        }
    };
    let of = count(*objects, "object");
    part(format!("{} of {of} that no policy looks at", unseen.len()), unseen);
    part(format!("{} that look at the whole set", whole.len()), whole);
    part(format!("{} that matched nothing", unmatched.len()), unmatched);
    part(format!("{} that no binding puts in force", unbound.len()), unbound);
    text
}
