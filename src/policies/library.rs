//! The library that is compiled in: what `policies/` held when windlass was built.

use std::sync::Arc;

use reconciler::model::policies::{Origin, PolicySource};

use super::profiles;
use super::read::Found;

// `POLICIES`, of each its folder, its script, its cases and its README; and `PROFILES`.
include!(concat!(env!("OUT_DIR"), "/library.rs"));

/// All of it. What is wrong with it is wrong with this windlass.
pub(super) fn library() -> Found {
    let policies = POLICIES.iter().map(|(folder, script, cases, _)| PolicySource {
        cases: cases.map(Arc::from),
        ..PolicySource::new(Origin::BuiltIn, &format!("policies/{folder}/policy.rhai"), script)
    });
    let mut found = Found { policies: policies.collect(), ..Found::default() };
    if let Some(text) = PROFILES {
        match profiles::read(Origin::BuiltIn, text) {
            Ok(profiles) => found.profiles = profiles,
            Err(why) => found.problems.push(format!("policies/profiles.yaml (built in): {why}")),
        }
    }
    found
}

/// The README of a policy of the library, by the path of its script.
pub(super) fn readme(path: &str) -> Option<&'static str> {
    let folder = path.strip_prefix("policies/")?.strip_suffix("/policy.rhai")?;
    let (_, _, _, readme) = POLICIES.iter().find(|(name, ..)| *name == folder)?;
    *readme
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path;

    use reconciler::model::policies::PolicySources;
    use reconciler::policy::library::Library;

    use super::*;

    #[test]
    fn no_folder_is_forgotten() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
        let folders: BTreeSet<String> = entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| format!("policies/{}/policy.rhai", entry.file_name().to_string_lossy()))
            .collect();
        let found = library();
        assert_eq!(found.problems, [""; 0]);
        let compiled: BTreeSet<String> =
            found.policies.iter().map(|source| source.path.to_string()).collect();
        assert_eq!(compiled, folders);
        for source in &found.policies {
            assert!(source.id().is_some(), "{source} says no @id");
            assert!(source.cases.is_some(), "{source} has no cases.yaml");
        }
        // One that is built in is compiled when somebody asks for it: here all are.
        let sources = PolicySources { policies: found.policies, profiles: found.profiles };
        let library = Library::new(&sources).unwrap_or_else(|bad| panic!("{bad:?}"));
        for (id, _) in library.metas() {
            library.compiled(id).unwrap_or_else(|why| panic!("{why}"));
        }
        let profiles = fs::metadata(folder.join("profiles.yaml")).is_ok();
        assert_eq!(PROFILES.is_some(), profiles);
    }

    fn members<'a>(found: &'a Found, profile: &str) -> BTreeSet<&'a str> {
        let members = &found.profiles[&profile.parse().unwrap()].members;
        members.iter().map(|member| member.policy.as_str()).collect()
    }

    #[test]
    fn profiles_hold_what_they_are_called_for() {
        let found = library();
        let ids: Vec<String> =
            found.policies.iter().filter_map(|source| Some(source.id()?.to_string())).collect();
        let all_of = |prefix: &str| {
            ids.iter().map(String::as_str).filter(|id| id.starts_with(prefix)).collect()
        };
        assert_eq!(members(&found, "cis-5"), all_of("CIS-5."));
        assert_eq!(members(&found, "supply-chain"), all_of("SUP-"));
        assert!(members(&found, "immutable").is_superset(&all_of("IMM-")));
        assert!(members(&found, "tenant").is_superset(&all_of("QUO-")));
        assert!(members(&found, "restricted").is_superset(&members(&found, "baseline")));
        let in_none: Vec<&String> = ids
            .iter()
            .filter(|id| {
                !found
                    .profiles
                    .keys()
                    .any(|one| members(&found, one.as_str()).contains(id.as_str()))
            })
            .collect();
        assert_eq!(in_none, ["ACT-WINDOW"]);
    }

    #[test]
    fn the_list_for_readers_is_true() {
        let found = library();
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/README.md");
        let readme = fs::read_to_string(readme).unwrap();
        let sources = PolicySources { policies: found.policies.clone(), profiles: BTreeMap::new() };
        let compiled = Library::new(&sources).unwrap();
        let mut rows = BTreeSet::new();
        for (id, meta) in compiled.metas() {
            let profiles: Vec<&str> =
                ["baseline", "restricted", "cis-5", "supply-chain", "immutable", "tenant"]
                    .into_iter()
                    .filter(|profile| members(&found, profile).contains(id.as_str()))
                    .collect();
            let (folder, level) = (id.to_string().to_lowercase(), meta.level.as_str());
            let (title, profiles) = (&meta.title, profiles.join(" "));
            rows.insert(format!("| [{id}]({folder}/README.md) | {title} | {level} | {profiles} |"));
        }
        let listed: BTreeSet<String> =
            readme.lines().filter(|line| line.starts_with("| [")).map(str::to_owned).collect();
        assert_eq!(listed, rows);
    }
}
