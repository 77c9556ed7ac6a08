//! The directory: what is read, what is left alone, and what cannot be read.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use reconciler::model::desired::RootState;

use super::super::Loader;
use super::{Specs, instance, instances, messages};
use crate::hint::Hint;

#[test]
fn what_is_no_spec_is_left_alone() {
    let good = instance("a", "busybox");
    let mut specs = Specs::new(&[("a.yaml", &good), ("deep/er/b.yml", &instance("b", "busybox"))]);
    for name in [".a.yaml", "a.yaml~", ".a.yaml.swp", "#a.yaml#", "notes.txt", ".git/c.yaml"] {
        specs.write(name, "not: [yaml");
    }
    let reading = specs.read();
    assert_eq!(messages(&reading), [""; 0]);
    assert_eq!(instances(&reading.specs), "default/a default/b");
    assert_eq!(reading.specs.files, 2);
}

#[test]
fn what_cannot_be_read_is_an_error_of_that_path_only() {
    let mut specs = Specs::new(&[("a.yaml", &instance("a", "busybox"))]);
    let fifo = std::process::Command::new("mkfifo").arg(specs.path("fifo.yaml")).status();
    assert!(fifo.unwrap().success());
    let _socket = UnixListener::bind(specs.path("socket.yaml")).unwrap();
    symlink("/dev/zero", specs.path("zero.yaml")).unwrap();
    symlink("loop.yaml", specs.path("loop.yaml")).unwrap();
    symlink("nowhere", specs.path("nowhere.yaml")).unwrap();
    symlink(".", specs.path("again")).unwrap();
    fs::File::create(specs.path("large.yaml")).unwrap().set_len(100 << 20).unwrap();
    let reading = specs.read();
    assert_eq!(instances(&reading.specs), "default/a");
    let mut broken: Vec<_> = reading.specs.broken.keys().map(|file| &**file).collect();
    broken.sort_unstable();
    assert_eq!(
        broken,
        [
            "again",
            "fifo.yaml",
            "large.yaml",
            "loop.yaml",
            "nowhere.yaml",
            "socket.yaml",
            "zero.yaml"
        ]
    );
}

#[test]
fn an_unreadable_folder_keeps_what_is_below_it() {
    let mut specs = Specs::new(&[
        ("a.yaml", &instance("a", "busybox")),
        ("sub/b.yaml", &instance("b", "busybox")),
    ]);
    specs.read();
    fs::set_permissions(specs.path("sub"), fs::Permissions::from_mode(0o0)).unwrap();
    let blind = fs::read_dir(specs.path("sub")).is_err();
    let reading = specs.read();
    fs::set_permissions(specs.path("sub"), fs::Permissions::from_mode(0o755)).unwrap();
    if blind {
        // Not so for root, who can read everything.
        assert_eq!(instances(&reading.specs), "default/a default/b*");
        assert!(reading.specs.broken["sub"].last_good);
    }
    let reading = specs.read();
    assert_eq!(instances(&reading.specs), "default/a default/b");
    fs::remove_dir_all(specs.path("sub")).unwrap();
    assert_eq!(instances(&specs.read().specs), "default/a");
}

#[test]
fn a_missing_root_removes_nothing() {
    let mut specs = Specs::new(&[("root/a.yaml", &instance("a", "busybox"))]);
    specs.loader = Loader::new(specs.path("root"), Default::default());
    let first = specs.read();
    assert!(matches!(first.specs.root, RootState::Present { empty: false, .. }));
    fs::rename(specs.path("root"), specs.path("away")).unwrap();
    let reading = specs.read();
    assert!(matches!(reading.specs.root, RootState::Missing { .. }));
    assert_eq!(instances(&reading.specs), "default/a*");
    assert!(reading.specs.texts.is_empty());
    fs::create_dir(specs.path("root")).unwrap();
    let reading = specs.read();
    assert!(matches!(reading.specs.root, RootState::Present { empty: true, .. }));
    fs::remove_dir(specs.path("root")).unwrap();
    fs::rename(specs.path("away"), specs.path("root")).unwrap();
    assert_eq!(instances(&specs.read().specs), "default/a");
}

#[test]
fn links_as_config_maps_and_git_sync_make_them_are_followed() {
    let specs = Specs::new(&[
        ("..one/a.yaml", &instance("a", "one")),
        ("..two/a.yaml", &instance("a", "two")),
    ]);
    symlink("..one", specs.path("..data")).unwrap();
    symlink("..data/a.yaml", specs.path("a.yaml")).unwrap();
    symlink(specs.folder.path(), specs.folder.path().with_extension("link")).unwrap();
    let mut loader = Loader::new(specs.folder.path().with_extension("link"), Default::default());
    let image = |loader: &mut Loader| {
        let reading = loader.read(&Hint::All);
        reading.specs.desired.instances[&"a".parse().unwrap()].spec.image.to_string()
    };
    assert_eq!(image(&mut loader), "one:latest");
    symlink("..two", specs.path("..tmp")).unwrap();
    fs::rename(specs.path("..tmp"), specs.path("..data")).unwrap();
    assert_eq!(image(&mut loader), "two:latest");
    fs::remove_file(specs.folder.path().with_extension("link")).unwrap();
}

#[test]
fn hints_are_followed_and_wrong_ones_do_no_harm() {
    let mut specs = Specs::new(&[
        ("a.yaml", &instance("a", "busybox")),
        ("sub/b.yaml", &instance("b", "busybox")),
    ]);
    specs.read();
    specs.write("sub/c.yaml", &instance("c", "busybox"));
    fs::remove_file(specs.path("a.yaml")).unwrap();
    let hint = |paths: &[&str], specs: &Specs| {
        Hint::Paths(paths.iter().map(|path| specs.path(path)).collect())
    };
    let only_c = hint(&["sub/c.yaml", "sub/.c.yaml.swp", "never.yaml"], &specs);
    assert_eq!(instances(&specs.loader.read(&only_c).specs), "default/a default/b default/c");
    let only_a = hint(&["a.yaml"], &specs);
    assert_eq!(instances(&specs.loader.read(&only_a).specs), "default/b default/c");
    fs::remove_dir_all(specs.path("sub")).unwrap();
    let folder = hint(&["sub"], &specs);
    assert_eq!(instances(&specs.loader.read(&folder).specs), "");
}

#[test]
fn a_single_file_can_be_the_root() {
    let specs = Specs::new(&[
        ("one.txt", &instance("a", "busybox")),
        ("b.yaml", &instance("b", "busybox")),
    ]);
    let mut loader = Loader::new(specs.path("one.txt"), Default::default());
    assert_eq!(instances(&loader.read(&Hint::All).specs), "default/a");
}
