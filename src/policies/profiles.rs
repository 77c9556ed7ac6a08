//! `profiles.yaml`: policies under one name, each with a level and parameters if it says so.

use std::collections::BTreeMap;

use reconciler::model::policies::{Origin, Profile, ProfileMember};
use reconciler::model::spec::policy::{Level, Param, PolicyId};
use serde::Deserialize;

/// A policy of a profile: its id, or a mapping.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected the id of a policy, or { policy, level, params }")]
enum Member {
    Id(PolicyId),
    Long(Long),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    policy: PolicyId,
    #[serde(default)]
    level: Option<Level>,
    #[serde(default)]
    params: BTreeMap<String, Param>,
}

/// The profiles that a text declares, or what is wrong with it, with its line.
pub(super) fn read(origin: Origin, text: &str) -> Result<BTreeMap<PolicyId, Profile>, String> {
    let said = |error: serde_yaml::Error| error.to_string();
    // A mapping of its own type would take the last of two profiles of one name.
    let mapping: serde_yaml::Value = serde_yaml::from_str(text).map_err(said)?;
    if mapping.is_null() {
        return Ok(BTreeMap::new());
    }
    let profiles: BTreeMap<PolicyId, Vec<Member>> = serde_yaml::from_str(text).map_err(said)?;
    let profile = |(name, members): (PolicyId, Vec<Member>)| {
        if members.is_empty() {
            return Err(format!("profile `{name}` holds no policy"));
        }
        let members: Vec<_> = members.into_iter().map(ProfileMember::from).collect();
        let again = (1..).zip(&members).find(|(next, member)| {
            members.iter().skip(*next).any(|other| other.policy == member.policy)
        });
        match again {
            Some((_, member)) => {
                Err(format!("profile `{name}` holds policy `{}` twice", member.policy))
            }
            None => Ok((name, Profile { origin, members })),
        }
    };
    profiles.into_iter().map(profile).collect()
}

impl From<Member> for ProfileMember {
    fn from(member: Member) -> Self {
        match member {
            Member::Id(policy) => Self { policy, level: None, params: BTreeMap::new() },
            Member::Long(Long { policy, level, params }) => Self { policy, level, params },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_lists_of_policies() {
        let text =
            "base:\n  - CIS-5.5\n  - { policy: SUP-AGE, level: warn, params: { days: 30 } }\n";
        let profiles = read(Origin::Own, text).unwrap();
        let members = &profiles[&"base".parse().unwrap()].members;
        assert_eq!(members[0].policy.as_str(), "CIS-5.5");
        assert_eq!(
            (members[1].level, &members[1].params["days"]),
            (Some(Level::Warn), &Param::Integer(30))
        );
        assert_eq!(read(Origin::Own, "# nothing\n"), Ok(BTreeMap::new()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("base: []", "profile `base` holds no policy"),
            ("base: [A, B, A]", "profile `base` holds policy `A` twice"),
            ("base: [A]\nbase: [B]", "duplicate entry with key \"base\""),
            ("base: [ { policy: A, levle: warn } ]", "expected the id of a policy"),
            ("base: [ { policy: A, level: strict } ]", "expected the id of a policy"),
            ("base: A", "invalid type"),
            ("base: [A", "did not find expected"),
        ] {
            let said = read(Origin::Own, text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
