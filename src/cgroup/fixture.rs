//! A directory that looks as the kernel's control groups do, for tests.

use std::fs;
use std::path::PathBuf;

use super::files::Group;
use super::hierarchy::{Controller, Hierarchy, Version};

/// Such a directory.
pub(crate) struct Fixture {
    room: tempfile::TempDir,
    pub(crate) trees: Hierarchy,
}

impl Fixture {
    pub(crate) fn new(version: Version) -> Self {
        let room = tempfile::tempdir().expect("a directory");
        let trees = Hierarchy::at(version, room.path());
        Self { room, trees }
    }

    pub(crate) fn group<'f>(&'f self, path: &'f str) -> Group<'f> {
        Group::new(&self.trees, path)
    }

    fn place(&self, controller: Controller, group: &str, file: &str) -> PathBuf {
        let place = self.trees.path(controller, group).expect("a place").join(file);
        assert!(place.starts_with(self.room.path()), "it is ours");
        place
    }

    /// Has a file say something.
    pub(crate) fn put(&self, controller: Controller, group: &str, file: &str, text: &str) {
        let place = self.place(controller, group, file);
        fs::create_dir_all(place.parent().expect("a folder")).expect("made");
        fs::write(place, text).expect("written");
    }

    /// What a file says.
    pub(crate) fn get(&self, controller: Controller, group: &str, file: &str) -> String {
        let text = fs::read_to_string(self.place(controller, group, file)).expect("a file");
        text.trim_end().to_owned()
    }
}
