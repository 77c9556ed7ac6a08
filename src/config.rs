//! Where windlass finds its specs and policies and keeps its state, if nobody says.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reconciler::model::subnet::{Net, RANGE_DEFAULT};

use crate::app::Settings;
use crate::journal::Retention;
use crate::policies::Place;

/// The specs directory, if none is named.
pub const SPECS_DEFAULT: &str = "specs";

/// The state directory of root, if none is named.
const STATE_OF_ROOT: &str = "/var/lib/windlass";

/// How often a daemon looks what containers use, if nobody says: a container that lives for a minute is
/// seen a few times, and a thousand of them take half a percent of one processor.
pub const USAGE_EVERY_DEFAULT: Duration = Duration::from_secs(10);

/// There is no place for the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("find a place for the state: neither XDG_STATE_HOME nor HOME is set to an absolute path")]
pub struct NoStateDir;

/// Settings from what was named, and defaults for the rest.
///
/// # Errors
/// [`NoStateDir`] if no state directory was named and none can be made up.
pub fn settings(
    specs: Option<&Path>,
    state: Option<&Path>,
    addresses: Option<Net>,
    policies: Option<&Path>,
    kept: Option<Retention>,
) -> Result<Settings, NoStateDir> {
    let specs = specs.unwrap_or(Path::new(SPECS_DEFAULT)).to_owned();
    let state = match state {
        Some(state) => state.to_owned(),
        None => state_default(is_root(), |name| std::env::var_os(name).map(PathBuf::from))?,
    };
    let policies = policies.map(|dir| Place { dir: dir.to_owned(), named: true });
    let policies = policies.unwrap_or_default();
    let (addresses, kept) = (addresses.unwrap_or(RANGE_DEFAULT), kept.unwrap_or_default());
    let (usage_every, metrics) = (USAGE_EVERY_DEFAULT, None);
    Ok(Settings { specs, state, addresses, policies, kept, usage_every, metrics })
}

/// The directory where XDG wants the state of a user's programs; of root, where daemons keep theirs.
fn state_default(
    root: bool,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Result<PathBuf, NoStateDir> {
    if root {
        return Ok(PathBuf::from(STATE_OF_ROOT));
    }
    // Relative paths in these variables are to be ignored, says the XDG specification.
    let named = |name: &str| variable(name).filter(|path| path.is_absolute());
    named("XDG_STATE_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("windlass"))
        .ok_or(NoStateDir)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_where_users_look_for_it() {
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/u"));
        let xdg = |name: &str| (name == "XDG_STATE_HOME").then(|| PathBuf::from("/x"));
        let relative = |_: &str| Some(PathBuf::from("x"));
        assert_eq!(state_default(true, home), Ok(PathBuf::from("/var/lib/windlass")));
        assert_eq!(state_default(false, home), Ok(PathBuf::from("/u/.local/state/windlass")));
        assert_eq!(state_default(false, xdg), Ok(PathBuf::from("/x/windlass")));
        assert_eq!(state_default(false, relative), Err(NoStateDir));
    }
}
