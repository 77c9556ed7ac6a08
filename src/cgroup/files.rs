//! The files of one group: read as texts, and written one by one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::hierarchy::{Controller, Hierarchy, Version};
use crate::small;

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Whose file it is.
    pub controller: Controller,
    /// The file's name.
    pub file: &'static str,
    /// What is written.
    pub value: String,
    /// What takes that back, where it is not what the file says before.
    pub undo: Option<String>,
}

impl Setting {
    /// A value that stands alone in its file.
    #[must_use]
    pub fn new(controller: Controller, file: &'static str, value: impl fmt::Display) -> Self {
        Self { controller, file, value: value.to_string(), undo: None }
    }
}

/// Why the kernel does not take a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What happened, and what to do, for people.
    pub message: String,
    /// Whether it may be otherwise at once, once other groups have changed.
    pub at_odds: bool,
}

/// The directories of a group, a controller each, kept open: to find a file from there takes half the
/// time that its whole path takes.
#[derive(Debug)]
pub struct Above(BTreeMap<Controller, OwnedFd>);

impl Above {
    /// Those of a group; without those that it is not in.
    #[must_use]
    pub fn open(trees: &Hierarchy, group: &str) -> Self {
        let each = |controller| {
            let path = trees.path(controller, group)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Some((controller, openat(CWD, &path, flags, Mode::empty()).ok()?))
        };
        Self(Controller::ALL.into_iter().filter_map(each).collect())
    }

    /// The directory in a controller's tree.
    #[must_use]
    pub fn dir(&self, controller: Controller) -> Option<&OwnedFd> {
        self.0.get(&controller)
    }

    fn read(&self, controller: Controller, below: &str) -> io::Result<String> {
        let dir = self.dir(controller).ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        small::text(File::from(openat(dir, below, flags, Mode::empty())?))
    }
}

/// A group in the trees of a host.
#[derive(Debug, Clone, Copy)]
pub struct Group<'h> {
    trees: &'h Hierarchy,
    path: &'h str,
    /// The group above it, if that is open.
    above: Option<&'h Above>,
}

impl<'h> Group<'h> {
    /// The group at `path`.
    #[must_use]
    pub fn new(trees: &'h Hierarchy, path: &'h str) -> Self {
        Self { trees, path, above: None }
    }

    /// The same, of one right below a group that is open.
    #[must_use]
    pub fn below(trees: &'h Hierarchy, above: &'h Above, path: &'h str) -> Self {
        Self { trees, path, above: Some(above) }
    }

    /// The version of its kernel interface.
    #[must_use]
    pub fn version(&self) -> Version {
        self.trees.version()
    }

    /// The group above it; `None` of the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.path.trim_end_matches('/').rsplit_once('/')?;
        Some(Self { trees: self.trees, path: parent, above: None })
    }

    /// Whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        let place = |controller| self.trees.path(controller, self.path);
        place(Controller::Cpu).or_else(|| place(Controller::Memory)).is_some_and(|at| at.is_dir())
    }

    fn place(&self, controller: Controller, file: &str) -> Option<PathBuf> {
        Some(self.trees.path(controller, self.path)?.join(file))
    }

    /// What a file says, without the last line end; `None` if it is not there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, controller: Controller, file: &str) -> io::Result<Option<String>> {
        let read = match (self.above, self.place(controller, file)) {
            (_, None) => return Ok(None),
            (None, Some(place)) => File::open(&place).and_then(small::text),
            (Some(above), Some(_)) => {
                let own = self.path.rsplit('/').next().unwrap_or_default();
                above.read(controller, &format!("{own}/{file}"))
            }
        };
        match read {
            Ok(mut text) => {
                text.truncate(text.trim_end().len());
                Ok(Some(text))
            }
            // A group that goes while it is read has no files any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a file of the group above says; `None` if it is not there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_above(&self, controller: Controller, file: &str) -> io::Result<Option<String>> {
        match (self.above, self.parent()) {
            (Some(above), _) => match above.read(controller, file) {
                Ok(text) => Ok(Some(text.trim_end().to_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            (None, Some(parent)) => parent.read(controller, file),
            (None, None) => Ok(None),
        }
    }

    /// Whether a file is there.
    #[must_use]
    pub fn has(&self, controller: Controller, file: &str) -> bool {
        self.place(controller, file).is_some_and(|place| place.is_file())
    }

    /// Writes all of these, or none: if the kernel refuses one, those before it are taken back.
    ///
    /// # Errors
    /// The first one that it refuses.
    pub fn write_all(&self, settings: &[Setting]) -> Result<(), Refused> {
        let mut done: Vec<(&Setting, String)> = Vec::new();
        for setting in settings {
            let before = match &setting.undo {
                Some(undo) => Some(undo.clone()),
                None => self.read(setting.controller, setting.file).ok().flatten(),
            };
            if setting.undo.is_none() && before.as_deref() == Some(setting.value.as_str()) {
                continue;
            }
            if let Err(refused) = self.write(setting) {
                for (setting, before) in done.into_iter().rev() {
                    let back = Setting { value: before, ..setting.clone() };
                    // It was so before, and whoever asked is told of the first refusal.
                    let _ = self.write(&back);
                }
                return Err(refused);
            }
            done.push((setting, before.unwrap_or_default()));
        }
        Ok(())
    }

    fn write(&self, setting: &Setting) -> Result<(), Refused> {
        let Setting { controller, file, value, undo: _ } = setting;
        let Some(place) = self.place(*controller, file) else {
            let message = format!(
                "this kernel has no controller `{}`: it cannot hold {file} at {value}",
                controller.v1()
            );
            return Err(Refused { message, at_odds: false });
        };
        let written = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&place)
            .and_then(|mut file| file.write_all(value.as_bytes()));
        written.map_err(|error| {
            let (why, at_odds) = explain(&error);
            let message = format!("write {value} to {}: {error}{why}", place.display());
            Refused { message, at_odds }
        })
    }
}

/// What an error of the kernel means here, and whether it may pass at once.
fn explain(error: &io::Error) -> (&'static str, bool) {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::BUSY) => {
            ("; more than that is in use just now, and cannot be taken back", false)
        }
        Some(Errno::INVAL) => {
            ("; a group in it, or around it, has a limit that does not go with it", true)
        }
        Some(Errno::NOENT) => ("; there is no such group", true),
        Some(Errno::ROFS) => {
            ("; the control groups are read-only here: windlass needs them writable", false)
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            ("; windlass has to be root on the node's host", false)
        }
        Some(_) | None => ("", false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn pids(value: &str) -> Setting {
        Setting::new(Controller::Pids, "pids.max", value)
    }

    #[test]
    fn nothing_is_half_applied() {
        let room = Fixture::new(Version::One);
        room.put(Controller::Pids, "/w/a", "pids.max", "max\n");
        let group = room.group("/w/a");
        let missing = Setting::new(Controller::Memory, "memory.limit_in_bytes", 1);
        let refused = group.write_all(&[pids("7"), missing]).expect_err("no such file");
        assert!(refused.message.contains("memory.limit_in_bytes"), "{}", refused.message);
        assert_eq!(room.get(Controller::Pids, "/w/a", "pids.max"), "max");
        group.write_all(&[pids("7")]).expect("written");
        assert_eq!(room.get(Controller::Pids, "/w/a", "pids.max"), "7");
    }

    #[test]
    fn what_is_not_there_reads_as_nothing() {
        let room = Fixture::new(Version::Two);
        let group = room.group("/w/none");
        assert!(!group.exists());
        assert_eq!(group.read(Controller::Cpu, "cpu.max").expect("no error"), None);
    }
}
