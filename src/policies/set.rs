//! The library and a directory of own policies, together: one set, or what keeps it from being one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reconciler::model::policies::PolicySources;
use reconciler::model::spec::policy::PolicyId;

use super::compile::{Compile, Compiled};
use super::library::library;
use super::read::{Found, PROFILES, parsed};

/// A whole set that can be put in force.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) sources: PolicySources,
    pub(super) compiled: Compiled,
}

/// Puts the texts of a directory beside the library, and compiles all of it.
///
/// # Errors
/// All that is wrong, each with its place.
pub(super) fn set(
    compile: Compile,
    dir: &Path,
    texts: &BTreeMap<Arc<str>, Arc<str>>,
) -> Result<Set, Vec<String>> {
    let sources = together(library(), parsed(dir, texts), dir)?;
    let compiled = compile(&sources)?;
    Ok(Set { sources, compiled })
}

/// One set of both. What is in both in the very same words is there once: a copy of the library is
/// no contradiction.
pub(super) fn together(
    library: Found,
    own: Found,
    dir: &Path,
) -> Result<PolicySources, Vec<String>> {
    let mut problems = [library.problems, own.problems].concat();
    let mut by_id = BTreeMap::new();
    let mut policies = library.policies;
    for source in &policies {
        by_id.extend(source.id().map(|id| (id, (source.sha256.clone(), source.to_string()))));
    }
    for source in own.policies {
        let Some(id) = source.id() else {
            // Its name is what others know it by, so that is said here, where all names are.
            problems.push(format!("{source}: it says no id: begin with `// @id NAME`"));
            continue;
        };
        match by_id.get(&id) {
            Some((sha256, _)) if *sha256 == source.sha256 => continue,
            Some((_, other)) => {
                problems.push(format!("{source}: policy `{id}` is there already: {other}"));
            }
            None => {
                by_id.insert(id, (source.sha256.clone(), source.to_string()));
            }
        }
        policies.push(source);
    }
    let mut profiles = library.profiles;
    for (name, profile) in own.profiles {
        match profiles.get(&name) {
            Some(other) if other.members == profile.members => {}
            Some(_) => {
                let own = dir.join(PROFILES).display().to_string();
                let other = format!("policies/{PROFILES} (built in)");
                problems.push(format!("{own}: profile `{name}` is there already: {other}"));
            }
            None => {
                profiles.insert(name, profile);
            }
        }
    }
    for (name, profile) in &profiles {
        let unknown = |id: &&PolicyId| !by_id.contains_key(*id);
        let members = profile.members.iter().map(|member| &member.policy);
        problems.extend(
            members
                .filter(unknown)
                .map(|id| format!("profile `{name}` holds policy `{id}`, which is not there")),
        );
    }
    if problems.is_empty() { Ok(PolicySources { policies, profiles }) } else { Err(problems) }
}
