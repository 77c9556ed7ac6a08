//! `windlass policy check` and `scan`: what policies say of all that is declared.

use reconciler::model::spec::policy::{Bound, Point};

use super::judge::Judged;
use super::world::{Subjects, known};
use super::{Asked, report};
use crate::cli::{Context, Ended};

/// Runs the verb.
pub(super) fn run(context: &Context, asked: &Asked, point: Point) -> Ended {
    let verb = match point {
        Point::Scan => "policy scan",
        Point::Plan | Point::Act | Point::Drift => "policy check",
    };
    let settings = context.settings_to_read(&asked.dir)?;
    let policies = match report::policies(context, verb, &settings.policies)? {
        Ok(policies) => policies,
        Err(code) => return Ok(code),
    };
    let mut bound = Vec::new();
    for word in &asked.profile {
        let all = policies.catalogue.profiles.keys();
        bound.push(Bound::Profile(known("profile", word, all)?));
    }
    for word in &asked.policy {
        let all = policies.catalogue.policies.keys();
        bound.push(Bound::Policy(known("policy", word, all)?));
    }
    let mut subjects = match Subjects::declared(settings.specs, &policies.catalogue) {
        Ok(subjects) => subjects,
        Err(diagnostics) => return report::broken(context, verb, &[], &diagnostics),
    };
    for bound in bound {
        subjects.bind(bound)?;
    }
    let judged = Judged::of(&policies, &subjects, point, asked.time.get());
    report::write(context, &judged.report(verb, asked.strict))
}
