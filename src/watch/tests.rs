//! The watch on real directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::Watch;
use crate::hint::Hint;

/// Longer than any machine under load needs; a test that passes does not wait for it.
const LONG: Duration = Duration::from_secs(20);

struct Fixture {
    folder: tempfile::TempDir,
    hints: Receiver<Hint>,
    watch: Watch,
}

impl Fixture {
    /// Watches `root` in a new folder that `prepare` fills.
    fn new(root: &str, prepare: impl Fn(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let (sender, hints) = channel();
        let root = folder.path().join(root);
        // The sender fails when the test is over and its end of the channel is gone.
        let watch = Watch::start(root, move |hint| drop(sender.send(hint))).unwrap();
        Self { folder, hints, watch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits for a hint that covers `name`.
    fn expect(&self, name: &str) {
        let path = self.path(name);
        loop {
            match self.hints.recv_timeout(LONG).expect("a hint") {
                Hint::All => return,
                Hint::Paths(paths) if paths.contains(&path) => return,
                Hint::Paths(_) => {}
            }
        }
    }

    fn expect_all(&self) {
        while self.hints.recv_timeout(LONG).expect("a hint") != Hint::All {}
    }
}

fn one_file(folder: &Path) {
    fs::create_dir(folder.join("specs")).unwrap();
    fs::write(folder.join("specs/a.yaml"), "one").unwrap();
}

#[test]
fn writes_renames_and_removals_are_seen() {
    let it = Fixture::new("specs", one_file);
    fs::write(it.path("specs/a.yaml"), "two").unwrap();
    it.expect("specs/a.yaml");
    fs::write(it.path("specs/.a.yaml.swp"), "three").unwrap();
    fs::rename(it.path("specs/.a.yaml.swp"), it.path("specs/b.yaml")).unwrap();
    it.expect("specs/b.yaml");
    fs::remove_file(it.path("specs/b.yaml")).unwrap();
    it.expect("specs/b.yaml");
}

#[test]
fn reading_is_no_event() {
    let it = Fixture::new("specs", one_file);
    fs::read(it.path("specs/a.yaml")).unwrap();
    fs::write(it.path("specs/b.yaml"), "").unwrap();
    let first = it.hints.recv_timeout(LONG).unwrap();
    assert_eq!(first, Hint::Paths(vec![it.path("specs/b.yaml")]));
}

#[test]
fn a_new_folder_is_watched_too() {
    let it = Fixture::new("specs", one_file);
    fs::create_dir_all(it.path("specs/x/y")).unwrap();
    it.expect_all();
    fs::write(it.path("specs/x/y/c.yaml"), "").unwrap();
    it.expect("specs/x/y/c.yaml");
}

#[test]
fn a_swapped_link_to_the_directory_is_seen() {
    let it = Fixture::new("specs/inner", |folder| {
        for version in ["one", "two"] {
            fs::create_dir_all(folder.join(version).join("inner")).unwrap();
        }
        symlink("one", folder.join("specs")).unwrap();
    });
    symlink("two", it.path("tmp")).unwrap();
    fs::rename(it.path("tmp"), it.path("specs")).unwrap();
    it.expect_all();
    fs::write(it.path("two/inner/a.yaml"), "").unwrap();
    it.expect("specs/inner/a.yaml");
}

#[test]
fn a_swapped_link_inside_is_seen() {
    let it = Fixture::new("specs", |folder| {
        for version in ["..one", "..two"] {
            fs::create_dir_all(folder.join("specs").join(version)).unwrap();
            fs::write(folder.join("specs").join(version).join("a.yaml"), version).unwrap();
        }
        symlink("..one", folder.join("specs/..data")).unwrap();
        symlink("..data/a.yaml", folder.join("specs/a.yaml")).unwrap();
    });
    symlink("..two", it.path("specs/..tmp")).unwrap();
    fs::rename(it.path("specs/..tmp"), it.path("specs/..data")).unwrap();
    it.expect_all();
}

#[test]
fn a_directory_that_comes_goes_and_comes_back_is_seen() {
    let it = Fixture::new("not/yet/there", |_| {});
    for _ in 0..2 {
        fs::create_dir_all(it.path("not/yet/there")).unwrap();
        fs::write(it.path("not/yet/there/a.yaml"), "").unwrap();
        it.expect("not/yet/there/a.yaml");
        fs::rename(it.path("not/yet/there"), it.path("not/yet/gone")).unwrap();
        it.expect_all();
        fs::remove_dir_all(it.path("not")).unwrap();
        it.expect_all();
    }
}

#[test]
fn dropping_it_ends_it() {
    let Fixture { folder, hints, watch } = Fixture::new("specs", one_file);
    drop(watch);
    fs::write(folder.path().join("specs/a.yaml"), "two").unwrap();
    while hints.recv().is_ok() {} // ends, since the only sender is gone with the thread
}
