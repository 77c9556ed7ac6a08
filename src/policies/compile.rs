//! The seam to the core: what is made of texts.

use std::sync::Arc;

use reconciler::model::policies::PolicySources;
use reconciler::policy::Policies;
use reconciler::policy::library::Library;

use crate::manifest::Catalogue;

/// Policies that can be put in force.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// What judges.
    pub policies: Arc<Policies>,
    /// What bindings and waivers can name.
    pub catalogue: Catalogue,
}

/// Makes policies of texts, or says all that is wrong with them, each with its place.
pub type Compile = fn(&PolicySources) -> Result<Compiled, Vec<String>>;

/// What the core makes of texts.
///
/// # Errors
/// What is wrong with them.
pub fn compile(sources: &PolicySources) -> Result<Compiled, Vec<String>> {
    let library = Library::new(sources).map_err(|bad| {
        let problems = bad.iter().map(ToString::to_string).collect::<Vec<_>>();
        problems.iter().flat_map(|all| all.lines()).map(str::to_owned).collect::<Vec<_>>()
    })?;
    let params = library.metas().map(|(id, meta)| (id.clone(), meta.params.clone()));
    let catalogue = Catalogue { policies: params.collect(), profiles: sources.profiles.clone() };
    Ok(Compiled { policies: Arc::new(Policies::of(Arc::new(library))), catalogue })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reconciler::model::policies::{Origin, PolicySource, Profile, ProfileMember};
    use reconciler::model::spec::policy::Param;

    use super::*;

    const HEAD: &str =
        "// @id A @version 1.0.0 @title words @level warn\n// @param days: int = 3\n";

    fn made(script: &str, params: &[(&str, Param)]) -> Result<Compiled, Vec<String>> {
        let source = PolicySource::new(Origin::Own, "mine/a/policy.rhai", script);
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let params = params.collect();
        let member = ProfileMember { policy: "A".parse().unwrap(), level: None, params };
        let profile = Profile { origin: Origin::Own, members: vec![member] };
        let profiles = BTreeMap::from([("base".parse().unwrap(), profile)]);
        compile(&PolicySources { policies: vec![source], profiles })
    }

    #[test]
    fn what_is_wrong_with_a_script_has_its_place() {
        let problems = made(&format!("{HEAD}fn check(o) {{ deny(\"no\" }}\n"), &[]).unwrap_err();
        assert!(problems[0].starts_with("mine/a/policy.rhai:3:"), "{problems:?}");
        let problems = made("// @id A\nfn check(o) {}\n", &[]).unwrap_err();
        assert!(problems.len() > 1 && problems.iter().all(|one| one.contains("policy.rhai:")));
    }

    #[test]
    fn parameters_of_profiles_have_to_fit() {
        let script = format!("{HEAD}fn check(o) {{ deny(\"no\") }}\n");
        let good = made(&script, &[("days", Param::Integer(30))]).unwrap();
        assert!(good.catalogue.policies[&"A".parse().unwrap()].contains_key("days"));
        assert_eq!(
            made(&script, &[("dyas", Param::Integer(30))]).unwrap_err(),
            ["profile `base`: policy `A` has no parameter `dyas`"]
        );
        assert_eq!(
            made(&script, &[("days", Param::Boolean(true))]).unwrap_err(),
            ["profile `base`: policy `A`, parameter `days`: expected int, found true"]
        );
    }
}
