//! Processes and threads. A limit below what there is kills nobody: nothing new comes.

use std::io;

use super::files::{Group, Setting};
use super::hierarchy::Controller;

const MAX: &str = "pids.max";

/// A limit; 0 is none. Both versions say it alike.
#[must_use]
pub fn limit(pids: u64) -> Setting {
    let value = if pids == 0 { "max".to_owned() } else { pids.to_string() };
    Setting::new(Controller::Pids, MAX, value)
}

/// The limit of a group; 0 for none, `None` if the kernel does not say.
///
/// # Errors
/// If a file cannot be read.
pub fn read_limit(group: &Group<'_>) -> io::Result<Option<u64>> {
    let text = group.read(Controller::Pids, MAX)?;
    Ok(text.and_then(|text| if text == "max" { Some(0) } else { text.parse().ok() }))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::super::hierarchy::Version;
    use super::*;

    #[test]
    fn limits_are_read_back() {
        let room = Fixture::new(Version::Two);
        assert_eq!(read_limit(&room.group("/w/a")).expect("read"), None);
        for pids in [0, 1, 4_194_304] {
            room.put(Controller::Pids, "/w/a", MAX, &format!("{}\n", limit(pids).value));
            assert_eq!(read_limit(&room.group("/w/a")).expect("read"), Some(pids));
        }
    }
}
