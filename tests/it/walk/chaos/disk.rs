//! A small disk of one's own: a file that is mounted as a file system. It can be full, and lose its power.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::super::room::LONG;
use crate::lab::engine::as_root;
use crate::lab::eventually;

/// How the file system orders what it writes. With `writeback` a file may have its length before it
/// has its content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    Ordered,
    Writeback,
}

/// A mounted file system. It is gone when this is dropped.
pub(super) struct Disk {
    file: PathBuf,
    at: PathBuf,
    order: Order,
}

impl Disk {
    /// Makes one of so many MiB in a file, and mounts it.
    ///
    /// # Errors
    /// Why it cannot be had here: the test is to be skipped.
    pub(super) fn mount(file: &Path, at: &Path, mib: u64, order: Order) -> Result<Self, String> {
        let made = fs::File::create(file).and_then(|file| file.set_len(mib << 20));
        made.map_err(|error| error.to_string())?;
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        // Nothing is kept for root, who is the one that fills it.
        let owner = fs::metadata(file).map_err(|error| error.to_string())?;
        let (uid, gid) = {
            use std::os::unix::fs::MetadataExt as _;
            (owner.uid(), owner.gid())
        };
        let owner = format!("root_owner={uid}:{gid},lazy_itable_init=0,lazy_journal_init=0");
        let mut mkfs = as_root("mkfs.ext4");
        mkfs.args(["-q", "-F", "-m", "0", "-E", &owner]).arg(file);
        run(&mut mkfs)?;
        let disk = Self { file: file.to_owned(), at: at.to_owned(), order };
        disk.plug_in()?;
        Ok(disk)
    }

    fn plug_in(&self) -> Result<(), String> {
        let order = match self.order {
            Order::Ordered => "data=ordered",
            Order::Writeback => "data=writeback",
        };
        // Its journal is written when somebody syncs, and not every five seconds: what nobody synced
        // is to be lost.
        let options = format!("loop,commit=600,{order}");
        let mut mount = as_root("mount");
        mount.args(["-t", "ext4", "-o", &options]).arg(&self.file).arg(&self.at);
        run(&mut mount)
    }

    fn plug_out(&self) -> bool {
        run(as_root("umount").arg(&self.at)).is_ok()
    }

    /// Takes all room that is left.
    pub(super) fn fill(&self) {
        let mut file = fs::File::create(self.ballast()).expect("an empty file has room");
        let mut size = 1 << 20;
        while size >= 1 << 10 {
            // A write that fails may have written a part: the smaller ones take the rest.
            if std::io::Write::write_all(&mut file, &vec![1; size]).is_err() {
                size /= 4;
            }
        }
        // What is not written yet may turn out to have no room; that is the file's loss.
        let _ = file.sync_all();
    }

    /// Gives that room back.
    pub(super) fn empty(&self) {
        let _ = fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// What the disk holds at this moment: not what programs wrote, but what has reached it. Whoever
    /// writes to it stands still meanwhile, and what the kernel writes by itself is waited for: two
    /// copies that are the same are of one moment.
    pub(super) fn image(&self) -> PathBuf {
        let copies = [self.file.with_extension("first"), self.file.with_extension("second")];
        let copy = |to: &Path| fs::copy(&self.file, to).expect("the disk is copied");
        copy(&copies[0]);
        eventually("the disk stands still", LONG, || {
            copy(&copies[1]);
            let same = fs::read(&copies[0]).expect("read") == fs::read(&copies[1]).expect("read");
            fs::rename(&copies[1], &copies[0]).expect("renamed");
            same
        });
        copies[0].clone()
    }

    /// The power is gone, and comes back: the disk is as that image. Nobody has a file open there.
    pub(super) fn power_cut(&self, image: &Path) {
        eventually("nobody uses the disk", LONG, || self.plug_out());
        fs::rename(image, &self.file).expect("renamed");
        self.plug_in().expect("a file system survives that");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.plug_out() {
            let _ = run(as_root("umount").arg("-l").arg(&self.at));
        }
    }
}

fn run(command: &mut std::process::Command) -> Result<(), String> {
    let out = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

#[test]
fn what_was_not_synced_is_lost_and_what_was_is_not() {
    for order in [Order::Ordered, Order::Writeback] {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().join("at");
        let disk = match Disk::mount(&dir.path().join("file"), &at, 16, order) {
            Ok(disk) => disk,
            Err(reason) => return crate::lab::skipped(&reason),
        };
        let synced = fs::File::create(at.join("synced")).expect("a file");
        std::io::Write::write_all(&mut &synced, &[7; 5000]).expect("written");
        synced.sync_all().expect("synced");
        drop(synced);
        fs::write(at.join("not"), [8; 5000]).expect("written");
        let image = disk.image();
        disk.power_cut(&image);
        assert_eq!(fs::read(at.join("synced")).expect("it is there"), [7; 5000]);
        assert_ne!(fs::read(at.join("not")).unwrap_or_default(), [8; 5000]);
        disk.fill();
        assert!(fs::write(at.join("more"), [9; 5000]).is_err());
        disk.empty();
        fs::write(at.join("more"), [9; 5000]).expect("there is room again");
    }
}
