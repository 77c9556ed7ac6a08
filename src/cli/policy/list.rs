//! `windlass policy list`: which policies there are, and who puts them in force.

use std::collections::BTreeMap;

use reconciler::model::policies::Origin;
use reconciler::model::spec::policy::PolicyId;
use reconciler::policy::evaluate::Evaluator;
use reconciler::policy::script::Entry;
use reconciler::policy::view::MaskKey;
use serde::Serialize;

use super::report;
use super::world::{Policies, Subjects, specs_if_any};
use crate::cli::args::{Dir, Format};
use crate::cli::show::Ink;
use crate::cli::show::table::{Table, cell};
use crate::cli::{Context, Ended, near};

/// A policy, as it is listed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    title: String,
    version: String,
    level: &'static str,
    origin: Origin,
    entries: Vec<&'static str>,
    kinds: Vec<&'static str>,
    params: BTreeMap<String, &'static str>,
    profiles: Vec<String>,
    /// Bindings of the specs that there are.
    bindings: Vec<String>,
    path: String,
    sha256: String,
}

/// Runs the verb.
pub(super) fn run(context: &Context) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let policies = match report::policies(context, "policy list", &settings.policies)? {
        Ok(policies) => policies,
        Err(code) => return Ok(code),
    };
    let subjects = match specs_if_any(context)? {
        Some(specs) => match Subjects::declared(specs, &policies.catalogue) {
            Ok(subjects) => Some(subjects),
            Err(_) => {
                context.out.note("note: the specs have errors, so no bindings are shown");
                None
            }
        },
        None => None,
    };
    let listed = listed(&policies, subjects.as_ref());
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &listed)?,
        Format::Name => {
            out.print(&listed.iter().map(|one| format!("{}\n", one.id)).collect::<String>())?;
        }
        format @ (Format::Text | Format::Wide) => {
            out.print(&table(&listed, format == Format::Wide).render(&out.style))?;
        }
    }
    Ok(0)
}

fn table(listed: &[Listed], wide: bool) -> Table {
    let mut heads = vec!["ID", "LEVEL", "ORIGIN", "VERSION", "ENTRIES", "BOUND BY", "TITLE"];
    if wide {
        heads.extend(["KINDS", "PARAMETERS", "PROFILES", "PATH"]);
    }
    let mut table = Table::with_heads(&heads).flexible(6);
    for one in listed {
        let bound = match one.bindings.as_slice() {
            [] => cell(Ink::Dim, "-"),
            bindings => cell(Ink::Plain, bindings.join(" ")),
        };
        let origin = match one.origin {
            Origin::BuiltIn => "built in",
            Origin::Own => "own",
        };
        let mut row = vec![
            cell(Ink::Bold, one.id.as_str()),
            one.level.into(),
            origin.into(),
            one.version.as_str().into(),
            one.entries.join(" ").into(),
            bound,
            one.title.as_str().into(),
        ];
        if wide {
            let params = one.params.iter().map(|(name, kind)| format!("{name}:{kind}"));
            row.push(if one.kinds.is_empty() { "all".into() } else { one.kinds.join(" ").into() });
            row.push(params.collect::<Vec<_>>().join(" ").into());
            row.push(one.profiles.join(" ").into());
            row.push(one.path.as_str().into());
        }
        table.row(row);
    }
    table
}

fn listed(policies: &Policies, subjects: Option<&Subjects>) -> Vec<Listed> {
    let mut bindings: BTreeMap<PolicyId, Vec<String>> = BTreeMap::new();
    if let Some(subjects) = subjects {
        let mut evaluator = Evaluator::new(policies.library.clone(), MaskKey::default());
        evaluator.renew(&subjects.desired);
        for (policy, binding) in evaluator.bound() {
            bindings.entry(policy.clone()).or_default().push(binding.to_string());
        }
    }
    let mut listed = Vec::new();
    for source in &policies.sources.policies {
        let Some(id) = source.id() else { continue };
        let Some(script) = policies.library.script(&id) else { continue };
        let meta = script.meta();
        let profiles = policies.catalogue.profiles.iter();
        let profiles = profiles
            .filter(|(_, profile)| profile.members.iter().any(|member| member.policy == id));
        listed.push(Listed {
            title: meta.title.clone(),
            version: meta.version.to_string(),
            level: meta.level.as_str(),
            origin: source.origin,
            entries: script.entries().iter().copied().map(Entry::as_str).collect(),
            kinds: meta.kinds.iter().map(|kind| kind.as_str()).collect(),
            params: meta
                .params
                .iter()
                .map(|(name, spec)| (name.clone(), spec.kind.as_str()))
                .collect(),
            profiles: profiles.map(|(name, _)| name.to_string()).collect(),
            bindings: bindings.remove(&id).unwrap_or_default(),
            path: match source.origin {
                Origin::BuiltIn => source.path.to_string(),
                Origin::Own => near(&source.path),
            },
            sha256: source.sha256.0.to_string(),
            id: id.to_string(),
        });
    }
    listed
}
