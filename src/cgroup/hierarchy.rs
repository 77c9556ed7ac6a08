//! Where the kernel's control groups are on this host, and where the groups of containers are below.
//!
//! Version 1 has one tree a controller, version 2 one tree for all. A host in hybrid mode has both,
//! and what limits things is in version 1's trees then.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cgroups_rs::Cgroup;
use cgroups_rs::hierarchies::{auto, is_cgroup2_unified_mode, mountinfo_self};
use reconciler::model::observed::CgroupDriver;
use rustix::fs::{Access, access};

/// Where version 2 is mounted on hosts that have no other.
const UNIFIED: &str = "/sys/fs/cgroup";

/// What engines of the Docker kind call the scope of a container where systemd makes the groups.
const SCOPE_PREFIX: &str = "docker";

/// A part of the kernel that limits or counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// CPU time that was used; a part of [`Cpu`](Self::Cpu) in version 2.
    Cpuacct,
    /// Which cpus may be used.
    Cpuset,
    /// Memory.
    Memory,
    /// Processes and threads.
    Pids,
    /// Block devices: `blkio` in version 1, `io` in version 2.
    Io,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cpu, Self::Cpuacct, Self::Cpuset, Self::Memory, Self::Pids, Self::Io];

    /// Its name in version 1.
    #[must_use]
    pub fn v1(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Io => "blkio",
        }
    }

    /// Its name in version 2.
    #[must_use]
    pub fn v2(self) -> &'static str {
        match self {
            Self::Cpu | Self::Cpuacct => "cpu",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Io => "io",
        }
    }
}

/// Which interface the kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A tree a controller.
    One,
    /// One tree.
    Two,
}

/// The trees of control groups of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    version: Version,
    /// The root of each controller's tree; in version 2 they are one.
    roots: BTreeMap<Controller, PathBuf>,
    /// Whether they are the kernel's own, and not a copy of some of its files.
    is_real: bool,
}

impl Hierarchy {
    /// Those of this host.
    ///
    /// # Errors
    /// If none are mounted.
    pub fn of_host() -> Result<Self, String> {
        if is_cgroup2_unified_mode() {
            return Ok(Self { is_real: true, ..Self::at(Version::Two, Path::new(UNIFIED)) });
        }
        let mut roots = BTreeMap::new();
        for mount in mountinfo_self() {
            for controller in Controller::ALL {
                if mount.super_opts.iter().any(|name| name == controller.v1()) {
                    roots.entry(controller).or_insert_with(|| mount.mount_point.clone());
                }
            }
        }
        if roots.is_empty() {
            return Err(
                "no control groups are mounted here: mount them at /sys/fs/cgroup, and in \
                        a container share those of the host"
                    .to_owned(),
            );
        }
        Ok(Self { version: Version::One, roots, is_real: true })
    }

    /// One in a directory that looks as the kernel's does, for tests: version 1 has a folder a
    /// controller there.
    #[must_use]
    pub fn at(version: Version, root: &Path) -> Self {
        let each = |controller: Controller| match version {
            Version::One => (controller, root.join(controller.v1())),
            Version::Two => (controller, root.to_owned()),
        };
        Self { version, roots: Controller::ALL.into_iter().map(each).collect(), is_real: false }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where a group is in a controller's tree, whether it exists or not; `None` if the host has no
    /// such controller. `group` is the path of a group, as engines and `/proc` write it.
    #[must_use]
    pub fn path(&self, controller: Controller, group: &str) -> Option<PathBuf> {
        let root = self.roots.get(&controller)?;
        Some(root.join(group.trim_start_matches('/')))
    }

    /// Whether the kernel limits groups by a controller.
    #[must_use]
    pub fn offers(&self, controller: Controller) -> bool {
        let Some(root) = self.roots.get(&controller).filter(|root| root.is_dir()) else {
            return false;
        };
        if self.version == Version::One {
            return true;
        }
        // One tree for all: what is in it is told in a file.
        let all = fs::read_to_string(root.join("cgroup.controllers"));
        all.map_or(!self.is_real, |all| all.split_whitespace().any(|one| one == controller.v2()))
    }

    /// Whether groups can be made in it.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        let mut roots = self.roots.values();
        roots.all(|root| {
            access(root, Access::WRITE_OK).is_ok() && rustix::process::geteuid().is_root()
        })
    }

    /// Makes a group in the trees of these controllers, with all that are above it. One that is
    /// there already is left as it is.
    ///
    /// # Errors
    /// If it is not there afterwards.
    pub fn make(&self, group: &str, controllers: &[Controller]) -> Result<(), String> {
        let is_there = |controller: &Controller| {
            self.path(*controller, group).is_none_or(|path| path.is_dir())
        };
        if self.version == Version::One && controllers.iter().all(is_there) {
            return Ok(());
        }
        if self.is_real {
            let name = |controller: &Controller| match self.version {
                Version::One => controller.v1().to_owned(),
                Version::Two => controller.v2().to_owned(),
            };
            let mut names: Vec<String> = controllers.iter().map(name).collect();
            names.sort_unstable();
            names.dedup();
            let path = group.trim_start_matches('/');
            Cgroup::new_with_specified_controllers(auto(), path, Some(names))
                .map_err(|error| format!("make control group {group}: {error}"))?;
        } else {
            for path in controllers.iter().filter_map(|controller| self.path(*controller, group)) {
                fs::create_dir_all(&path)
                    .map_err(|error| format!("make {}: {error}", path.display()))?;
            }
        }
        // The library passes over what fails in version 1.
        match controllers.iter().find(|controller| !is_there(controller)) {
            None => Ok(()),
            Some(missing) => {
                let path = self.path(*missing, group).unwrap_or_default();
                let why = fs::create_dir(&path).err().map(|error| error.to_string());
                Err(format!(
                    "make control group {}: {}; windlass has to be root on the node's host, and \
                     the file system writable",
                    path.display(),
                    why.unwrap_or_else(|| "it is not there afterwards".to_owned())
                ))
            }
        }
    }

    /// Removes a group from all trees. One that holds others, or processes, stays.
    ///
    /// # Errors
    /// If it stays in one of them.
    pub fn remove(&self, group: &str) -> Result<(), String> {
        let paths = Controller::ALL.into_iter().filter_map(|one| self.path(one, group));
        let mut done: Vec<PathBuf> = Vec::new();
        for path in paths {
            if done.contains(&path) {
                continue;
            }
            match fs::remove_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("remove {}: {error}", path.display())),
            }
            done.push(path);
        }
        Ok(())
    }
}

/// The group that `parent` names: a path itself, or the slice of that name.
#[must_use]
pub fn parent_group(parent: &str, driver: CgroupDriver) -> String {
    match driver {
        CgroupDriver::Cgroupfs => parent.to_owned(),
        // `a-b-c.slice` is in `a.slice/a-b.slice`.
        CgroupDriver::Systemd => {
            let stem = parent.strip_suffix(".slice").unwrap_or(parent);
            let mut path = String::new();
            for (end, _) in stem.match_indices('-').chain([(stem.len(), "")]) {
                if let Some(part) = stem.get(..end) {
                    path.push_str(&format!("/{part}.slice"));
                }
            }
            path
        }
    }
}

/// The group of a container, from its parent as engines are told it, and its whole id.
#[must_use]
pub fn container_group(parent: &str, driver: CgroupDriver, id: &str) -> String {
    let above = parent_group(parent, driver);
    match driver {
        CgroupDriver::Cgroupfs => format!("{}/{id}", above.trim_end_matches('/')),
        CgroupDriver::Systemd => format!("{above}/{SCOPE_PREFIX}-{id}.scope"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_below_their_parents() {
        let group = |parent, driver| container_group(parent, driver, "1a2b");
        assert_eq!(
            group("/windlass/n1-1a/shop", CgroupDriver::Cgroupfs),
            "/windlass/n1-1a/shop/1a2b"
        );
        assert_eq!(
            group(r"windlass-n1\x2d1a-shop.slice", CgroupDriver::Systemd),
            r"/windlass.slice/windlass-n1\x2d1a.slice/windlass-n1\x2d1a-shop.slice/docker-1a2b.scope"
        );
    }

    #[test]
    fn groups_have_a_place_a_controller_in_version_one_and_one_in_version_two() {
        let root = Path::new("/x");
        let path = |version, controller| Hierarchy::at(version, root).path(controller, "/a/b");
        assert_eq!(path(Version::One, Controller::Io), Some(PathBuf::from("/x/blkio/a/b")));
        assert_eq!(path(Version::Two, Controller::Io), Some(PathBuf::from("/x/a/b")));
    }

    #[test]
    fn groups_are_made_and_removed() {
        let room = tempfile::tempdir().expect("a directory");
        for version in [Version::One, Version::Two] {
            let trees = Hierarchy::at(version, room.path());
            trees.make("/w/shop", &[Controller::Cpu, Controller::Memory]).expect("made");
            let path = trees.path(Controller::Memory, "/w/shop").expect("a place");
            assert!(path.is_dir());
            trees.make("/w/shop/inner", &[Controller::Memory]).expect("made");
            let error = trees.remove("/w/shop").expect_err("it holds another one");
            assert!(error.contains("/w/shop"), "{error}");
            trees.remove("/w/shop/inner").expect("removed");
            trees.remove("/w/shop").expect("removed");
            trees.remove("/w/shop").expect("not there is removed");
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_group_that_cannot_be_made_is_told_with_its_path() {
        let room = tempfile::tempdir().expect("a directory");
        fs::write(room.path().join("w"), "a file").expect("written");
        let trees = Hierarchy::at(Version::Two, room.path());
        let error = trees.make("/w/shop", &[Controller::Cpu]).expect_err("no directory");
        assert!(error.contains("w/shop"), "{error}");
    }
}
