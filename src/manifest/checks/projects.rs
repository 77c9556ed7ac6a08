//! What the whole set can tell of projects: parents that are not there, that are in each other, or
//! that have less than a part of theirs.
//!
//! A fault is told at the project that is inside, whoever else could mend it.

use reconciler::model::ids::Name;
use reconciler::model::spec::limits::PROJECT_DEPTH_MAX;

use super::super::decode::{Body, Identity, Kind, ProjectDraft, did_you_mean};
use super::super::problem::{Problem, Span};
use super::super::set::{Member, Universe};
use super::{Checker, Target};

/// The project of that name, if it is declared and could be read.
fn project<'u, 'a>(
    universe: &'u Universe<'a>,
    name: &Name,
) -> Option<(&'u Member<'a>, &'a ProjectDraft)> {
    universe.find_identity(&of(name)).find_map(|member| match &member.draft.body {
        Some(Body::Project(draft)) => Some((member, &**draft)),
        Some(_) | None => None,
    })
}

fn of(name: &Name) -> Identity {
    Identity { kind: Kind::Project, project: None, name: name.clone() }
}

impl Checker<'_, '_> {
    /// The parent of a project has to be there, outside it, and to have as much as it has.
    pub(super) fn parent(&mut self, member: &Member<'_>, draft: &ProjectDraft) {
        let (Some(parent), Some(span)) = (&draft.spec.parent, draft.parent) else { return };
        match self.target(member, &of(parent)) {
            Target::There => {}
            Target::Broken(reason) => return self.block(member, reason),
            Target::Nowhere => {
                let problem = self.no_such_project(span, parent);
                return self.note(member, problem);
            }
        }
        let own = &member.draft.identity.name;
        let mut way = vec![own.clone()];
        let mut next = Some(parent.clone());
        let mut told = Vec::new();
        while let Some(name) = next {
            let circle = way.contains(&name);
            way.push(name.clone());
            if circle && name != *own {
                return; // those in it are told
            }
            if circle {
                let way = way.iter().map(Name::as_str).collect::<Vec<_>>().join(" -> ");
                let problem = Problem::new(span, "projects that are inside each other");
                return self.note(member, problem.label(format!("no project is outside: {way}")));
            }
            if way.len() > PROJECT_DEPTH_MAX {
                let message = format!("more than {PROJECT_DEPTH_MAX} projects in each other");
                let way = way.iter().map(Name::as_str).collect::<Vec<_>>().join(" -> ");
                return self.note(member, Problem::new(span, message).label(way));
            }
            let Some((at, outer)) = project(self.universe, &name) else { return };
            let at = *at;
            for (field, asked, limit) in draft.spec.quota.above(&outer.spec.quota) {
                // The nearest one that is too small says enough.
                if told.contains(&field) {
                    continue;
                }
                told.push(field);
                let place = outer.quota.get(field).copied().unwrap_or(at.draft.name_span);
                let also = self.place(member, &at, place, format!("Project {name} has {limit}"));
                let message = format!("`quota.{field}` is more than that of Project {name}");
                let place = draft.quota.get(field).copied().unwrap_or(span);
                let problem = Problem { also: vec![also], ..Problem::new(place, message) };
                let label = format!("{asked} inside of {limit} could never be used");
                self.note(member, problem.label(label));
            }
            next = outer.spec.parent.clone();
        }
    }

    fn no_such_project(&self, span: Span, name: &Name) -> Problem {
        let problem = Problem::new(span, format!("Project {name} is not declared"));
        let projects = self.universe.members.iter().map(|member| &member.draft.identity);
        let names: Vec<&str> = projects
            .filter(|identity| identity.kind == Kind::Project)
            .map(|identity| identity.name.as_str())
            .collect();
        match did_you_mean(name.as_str(), names.iter().copied()) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem
                .label("a parent is a Project that is declared")
                .help(format!("declare it: kind: Project, metadata: {{ name: {name} }}")),
        }
    }
}
