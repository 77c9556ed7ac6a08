//! Groups of containers that are gone: an engine that was killed, or whose shim was, leaves them behind,
//! empty and with their limits. Version 1 lets no group have less than one in it, so they would keep
//! the quota of their project up for ever.

use std::fs::{self, DirEntry};
use std::path::Path;
use std::time::Duration;

use super::hierarchy::{Controller, Hierarchy};

/// A group that was empty for so long is nobody's: between making a group and putting the first process
/// into it, a container that starts needs milliseconds, and on a loaded host a second.
pub(super) const EMPTY_FOR: Duration = Duration::from_secs(10);

/// The letters of a container's id, which is the name of its group.
const ID_LENGTH: usize = 64;

/// Removes those right below a group that were there for at least `age`; how many. One with a process
/// in it stays, as the kernel sees to it.
#[must_use]
pub(super) fn clear(trees: &Hierarchy, group: &str, age: Duration) -> usize {
    let Some(above) = trees.path(Controller::Cpu, group) else { return 0 };
    let entries = fs::read_dir(above).into_iter().flatten().flatten();
    let names: Vec<String> =
        entries.filter(|entry| is_remains(entry, age)).filter_map(name).collect();
    let group = group.trim_end_matches('/');
    names.iter().filter(|name| trees.remove(&format!("{group}/{name}")).is_ok()).count()
}

fn name(entry: DirEntry) -> Option<String> {
    entry.file_name().into_string().ok()
}

fn is_remains(entry: &DirEntry, age: Duration) -> bool {
    let name = entry.file_name();
    let is_id =
        name.len() == ID_LENGTH && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit);
    is_id && is_empty(&entry.path()) && is_older(entry, age)
}

fn is_empty(path: &Path) -> bool {
    fs::read(path.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty())
}

/// By the kernel's time of the directory, which may be later than it was made, and never earlier.
fn is_older(entry: &DirEntry, age: Duration) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|at| at.elapsed().is_ok_and(|since| since >= age))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::super::hierarchy::Version;
    use super::*;

    #[test]
    fn only_empty_groups_of_containers_that_are_old_enough_go() {
        let room = Fixture::new(Version::One);
        let id = |letter: &str| format!("/w/shop/{}", letter.repeat(ID_LENGTH));
        let (gone, lives, team) = (id("a"), id("b"), "/w/shop/team".to_owned());
        for (group, processes) in [(&gone, ""), (&lives, "17"), (&team, "")] {
            room.put(Controller::Cpu, group, "cgroup.procs", processes);
        }
        let seen = |group: &str| {
            let above = room.trees.path(Controller::Cpu, "/w/shop").expect("a place");
            let all = fs::read_dir(above).expect("groups").flatten();
            let mut all =
                all.filter(|entry| group.ends_with(entry.file_name().to_str().expect("text")));
            is_remains(&all.next().expect("it is there"), Duration::ZERO)
        };
        assert_eq!([seen(&gone), seen(&lives), seen(&team)], [true, false, false]);
        // Here a directory that holds a file cannot be removed; the kernel's can.
        assert_eq!(clear(&room.trees, "/w/shop", EMPTY_FOR), 0);
        let place = room.trees.path(Controller::Cpu, &gone).expect("a place");
        assert!(place.is_dir());
    }
}
