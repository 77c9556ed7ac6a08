//! The way to the directory: the folders in which a link or a name stands that leads to it. They
//! are watched too, so that its replacement is seen.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links on the way to the directory, as the kernel follows them at most.
const LINKS_MAX: usize = 40;

/// The names that lead to the directory, each with the folder that it stands in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Points {
    names: BTreeSet<(PathBuf, OsString)>,
    /// Which directory they lead to, as device and inode.
    target: Option<(u64, u64)>,
}

impl Points {
    /// Follows `root` name by name. A link counts, since it can be swapped, and so does what it
    /// leads to; the last name counts, since the directory can be replaced; and the first name
    /// that is missing, since it may come.
    pub(super) fn on_the_way_to(root: &Path) -> Self {
        let target = std::fs::metadata(root).ok().map(|found| (found.dev(), found.ino()));
        let mut points = Self { names: BTreeSet::new(), target };
        let mut todo: Vec<OsString> = names(root);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let path = at.join(&name);
            let last = todo.is_empty();
            let target = std::fs::read_link(&path).ok();
            if last || target.is_some() || !path.exists() {
                points.names.insert((at.clone(), name));
            }
            match target {
                Some(_) if links == LINKS_MAX => break,
                Some(target) => {
                    links += 1;
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    todo.extend(names(&target));
                }
                None if path.exists() => at = path,
                None => break,
            }
        }
        points
    }

    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        self.names.iter().map(|(folder, _)| folder.clone()).collect()
    }

    /// Whether what happened at `path` may change the way: one of its names, or one of the folders
    /// that hold them, came or went.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        let mut names = self.names.iter();
        let at = path.parent().zip(path.file_name());
        names.any(|(folder, name)| folder == path || Some((&**folder, &**name)) == at)
    }
}

/// The names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    let mut names: Vec<_> = path.components().filter_map(name).collect();
    names.reverse();
    names
}
