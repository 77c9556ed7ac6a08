//! The seam to the core: what is made of texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::policies::{PolicySource, PolicySources, Profile, ProfileMember};
use reconciler::model::spec::policy::PolicyId;
use reconciler::policy::Policies;
use reconciler::policy::script::Script;

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
    let PolicySources { policies, profiles } = sources;
    let mut problems = Vec::new();
    let mut scripts = BTreeMap::new();
    for source in policies {
        match script(source) {
            Ok((id, script)) => drop(scripts.insert(id, script)),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        problems.extend(profiles.iter().flat_map(|(name, profile)| {
            members(profile, &scripts).map(move |why| format!("profile `{name}`: {why}"))
        }));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let params = scripts.into_iter().map(|(id, script)| (id, script.meta().params.clone()));
    let catalogue = Catalogue { policies: params.collect(), profiles: profiles.clone() };
    Ok(Compiled { policies: Arc::new(Policies::allow_all()), catalogue })
}

fn script(source: &PolicySource) -> Result<(PolicyId, Script), Vec<String>> {
    let script = Script::compile(&source.text).map_err(|failures| {
        let placed = failures.into_iter().map(|failure| {
            let numbers = [failure.line, failure.column].into_iter().flatten();
            let place: String = numbers.map(|number| format!(":{number}")).collect();
            format!("{}{place}: {}", source.path, failure.message)
        });
        placed.collect::<Vec<_>>()
    })?;
    Ok((script.meta().id.clone(), script))
}

/// What is wrong with the parameters of a profile. That one is not set is no fault yet: a binding
/// of the profile may set it.
fn members<'p>(
    profile: &'p Profile,
    scripts: &'p BTreeMap<PolicyId, Script>,
) -> impl Iterator<Item = String> + 'p {
    profile.members.iter().flat_map(|ProfileMember { policy, level: _, params }| {
        let specs = scripts.get(policy).map(|script| &script.meta().params);
        params.iter().filter_map(move |(name, value)| {
            let Some(spec) = specs?.get(name) else {
                return Some(format!("policy `{policy}` has no parameter `{name}`"));
            };
            // Whatever a parameter can be has a serial form.
            let value = serde_json::to_value(value).unwrap_or_default();
            let why = spec.kind.check(&value).err()?;
            Some(format!("policy `{policy}`, parameter `{name}`: {why}"))
        })
    })
}

#[cfg(test)]
mod tests {
    use reconciler::model::policies::Origin;
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
