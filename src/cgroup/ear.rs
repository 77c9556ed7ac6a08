//! Hears of what another hand writes into control groups. What is heard is a hint to look, and no more.
//!
//! The kernel tells of writes into these files as into any other. Reads cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use reconciler::model::ids::ContainerId;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::hierarchy::{Controller, Hierarchy, Version};

/// So many directories are listened to: each takes a kilobyte of the kernel's memory, of a number
/// that all programs of a user share. What is beyond is seen with the next list.
const DIRS_MAX: usize = 4096;

/// Room for events; one takes 16 bytes and a name of 30.
const EVENTS_BYTES: usize = 16 << 10;

/// Whoever changes one limit often changes another one right after it.
const QUIET: Duration = Duration::from_millis(5);

/// Controllers with limits. In version 2 they share a directory.
const LIMITING: [Controller; 5] =
    [Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids, Controller::Io];

/// Whose limits a directory holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// Those of a container.
    Container(ContainerId),
    /// Those of a project.
    Project,
}

/// Who hears.
#[derive(Debug)]
pub(super) struct Ear {
    inotify: AsyncFd<OwnedFd>,
    dirs: BTreeMap<PathBuf, i32>,
    by_watch: BTreeMap<i32, (PathBuf, Whose)>,
}

impl Ear {
    /// One that listens to nothing yet.
    ///
    /// # Errors
    /// If the kernel has no more of them.
    pub(super) fn new() -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "a descriptor that is owned stays open; the way that replaces this is unsafe code"
        )]
        let inotify = AsyncFd::new(inotify)?;
        Ok(Self { inotify, dirs: BTreeMap::new(), by_watch: BTreeMap::new() })
    }

    /// Listens to these groups from now on, and to no others.
    pub(super) fn listen(&mut self, trees: &Hierarchy, groups: &[(String, Whose)]) {
        let mut wanted: BTreeMap<PathBuf, &Whose> = BTreeMap::new();
        for (group, whose) in groups {
            for controller in LIMITING {
                if let Some(dir) = trees.path(controller, group) {
                    wanted.insert(dir, whose);
                }
                if trees.version() == Version::Two {
                    break;
                }
            }
        }
        let gone: Vec<PathBuf> =
            self.dirs.keys().filter(|dir| !wanted.contains_key(*dir)).cloned().collect();
        for dir in gone {
            if let Some(watch) = self.dirs.remove(&dir) {
                self.by_watch.remove(&watch);
                // It went with its directory, most of the time.
                let _ = rustix::fs::inotify::remove_watch(&self.inotify, watch);
            }
        }
        for (dir, whose) in wanted {
            if self.dirs.len() >= DIRS_MAX {
                break;
            }
            if self.dirs.contains_key(&dir) {
                continue;
            }
            let flags = WatchFlags::MODIFY | WatchFlags::ONLYDIR;
            // What cannot be listened to is seen with the next list.
            if let Ok(watch) = add_watch(&self.inotify, &dir, flags) {
                self.by_watch.insert(watch, (dir.clone(), whose.clone()));
                self.dirs.insert(dir, watch);
            }
        }
    }

    /// Waits until somebody wrote, and says into whose files.
    pub(super) async fn hear(&mut self) -> BTreeSet<Whose> {
        let mut heard = BTreeSet::new();
        while heard.is_empty() {
            match self.inotify.readable().await {
                Ok(mut ready) => {
                    ready.clear_ready();
                }
                Err(_) => std::future::pending().await,
            }
            self.read(&mut heard);
        }
        tokio::time::sleep(QUIET).await;
        self.read(&mut heard);
        heard
    }

    fn read(&mut self, heard: &mut BTreeSet<Whose>) {
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    if event.events().contains(ReadFlags::IGNORED) {
                        if let Some((dir, _)) = self.by_watch.remove(&event.wd()) {
                            self.dirs.remove(&dir);
                        }
                    } else if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                        heard.extend(self.by_watch.values().map(|(_, whose)| whose.clone()));
                    } else if let Some((_, whose)) = self.by_watch.get(&event.wd()) {
                        heard.insert(whose.clone());
                    }
                }
                Err(Errno::INTR) => {}
                // There is nothing more just now, or never will be.
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_heard() {
        let room = Fixture::new(Version::Two);
        for group in ["/w/shop", "/w/shop/1a", "/w/other"] {
            room.put(Controller::Pids, group, "pids.max", "max\n");
        }
        let mut ear = Ear::new().expect("an ear");
        let container = Whose::Container(ContainerId("1a".into()));
        let all =
            [("/w/shop".to_owned(), Whose::Project), ("/w/shop/1a".to_owned(), container.clone())];
        ear.listen(&room.trees, &all);
        room.put(Controller::Pids, "/w/other", "pids.max", "1\n");
        room.put(Controller::Pids, "/w/shop/1a", "pids.max", "7\n");
        assert_eq!(ear.hear().await, [container].into());
        ear.listen(&room.trees, &all[..1]);
        room.put(Controller::Pids, "/w/shop/1a", "pids.max", "8\n");
        room.put(Controller::Pids, "/w/shop", "pids.max", "8\n");
        assert_eq!(ear.hear().await, [Whose::Project].into());
    }
}
