//! Which cpus may be used.

use std::io;

use reconciler::model::quantity;

use super::files::{Group, Setting};
use super::hierarchy::{Controller, Version};

const CPUS: &str = "cpuset.cpus";

/// The cpus that may be used, as `0-1,3`; empty for all that the group around it has.
///
/// # Errors
/// If a file cannot be read.
pub fn limit(group: &Group<'_>, cpus: &str) -> io::Result<Option<Setting>> {
    let value = match (group.version(), cpus) {
        // Here a group without cpus runs nothing.
        (Version::One, "") => of_parent(group)?,
        (Version::Two, "") => Some("\n".to_owned()),
        (Version::One | Version::Two, cpus) => Some(cpus.to_owned()),
    };
    Ok(value.map(|value| Setting::new(Controller::Cpuset, CPUS, value)))
}

fn of_parent(group: &Group<'_>) -> io::Result<Option<String>> {
    group.read_above(Controller::Cpuset, CPUS)
}

/// The cpus that a container may use: as it was `configured`, if the kernel says that; empty for all
/// that its parent has.
///
/// # Errors
/// If a file cannot be read.
pub fn live(group: &Group<'_>, configured: &str) -> io::Result<Option<String>> {
    let Some(text) = group.read(Controller::Cpuset, CPUS)? else { return Ok(None) };
    let found = quantity::cpuset(&text).unwrap_or(text);
    if found == configured {
        return Ok(None);
    }
    let all = of_parent(group)?.map(|all| quantity::cpuset(&all).unwrap_or(all));
    if found.is_empty() || all.as_deref() == Some(found.as_str()) {
        return Ok((!configured.is_empty()).then(String::new));
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[test]
    fn all_cpus_are_those_of_the_parent() {
        let room = Fixture::new(Version::One);
        room.put(Controller::Cpuset, "/w", CPUS, "0-3\n");
        room.put(Controller::Cpuset, "/w/a", CPUS, "0-3\n");
        let group = room.group("/w/a");
        assert_eq!(live(&group, "").expect("read"), None);
        assert_eq!(live(&group, "0-3").expect("read"), None);
        assert_eq!(live(&group, "0-1").expect("read"), Some(String::new()));
        room.put(Controller::Cpuset, "/w/a", CPUS, "2,1\n");
        assert_eq!(live(&group, "").expect("read"), Some("1-2".to_owned()));
        let all = limit(&group, "").expect("read").expect("known");
        assert_eq!(all.value, "0-3");
    }

    #[test]
    fn version_two_says_all_by_nothing() {
        let room = Fixture::new(Version::Two);
        room.put(Controller::Cpuset, "/w/a", CPUS, "\n");
        let group = room.group("/w/a");
        assert_eq!(live(&group, "").expect("read"), None);
        assert_eq!(live(&group, "0").expect("read"), Some(String::new()));
        assert_eq!(limit(&group, "0").expect("read").expect("known").value, "0");
    }
}
