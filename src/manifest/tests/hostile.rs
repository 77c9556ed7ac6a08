//! What stands in a directory beside specs, by mistake or on purpose.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::{Specs, instance, instances, messages};
use crate::hint::{FOLDERS_MAX, Hint};

#[test]
fn what_editors_leave_is_no_spec() {
    let mut specs = Specs::new(&[("a.yaml", &instance("a", "busybox"))]);
    for name in [
        ".a.yaml.swp",
        ".a.yaml.swx",
        ".#a.yaml",
        "#a.yaml#",
        "a.yaml~",
        "a.yaml.~1~",
        "a.yaml.bak",
        "a.yaml.orig",
        "a.yaml.tmp",
        "a.yaml.rej",
        "a.yaml___jb_tmp___",
        ".goutputstream-XH4KV2",
        "4913",
        "sedYvLkqh",
        ".a.yaml.k2sN1f",
        "a.yaml.part",
        "old.bak/a.yaml",
        ".git/a.yaml",
        "..2026_11_21/a.yaml",
    ] {
        specs.write(name, "not: [yaml");
    }
    let reading = specs.read();
    assert_eq!(messages(&reading), [""; 0]);
    assert_eq!((instances(&reading.specs).as_str(), reading.specs.files), ("default/a", 1));
}

#[test]
fn what_is_no_file_is_named_and_never_waited_for() {
    let mut specs = Specs::new(&[("a.yaml", &instance("a", "busybox"))]);
    let fifo = std::process::Command::new("mkfifo").arg(specs.path("fifo.yaml")).status();
    assert!(fifo.unwrap().success());
    let _socket = UnixListener::bind(specs.path("socket.yaml")).unwrap();
    symlink("/dev/zero", specs.path("zero.yaml")).unwrap();
    fs::create_dir(specs.path("folder.yaml")).unwrap();
    let said = |specs: &mut Specs, hint: &Hint| {
        let reading = specs.loader.read(hint);
        assert_eq!(instances(&reading.specs), "default/a");
        let one = |found: &super::super::Diagnostic| {
            let file = found.place.file.rsplit('/').next().unwrap().to_owned();
            format!("{file}: {}", found.place.label.clone().unwrap_or_default())
        };
        reading.diagnostics.iter().map(one).collect::<Vec<_>>()
    };
    let expected = [
        "fifo.yaml: this is a FIFO, not a file",
        "socket.yaml: this is a socket, not a file",
        "zero.yaml: this is a device, not a file",
    ];
    assert_eq!(said(&mut specs, &Hint::All), expected);
    // As a hint names them they are opened, or would be.
    let paths = ["fifo.yaml", "socket.yaml", "zero.yaml"].map(|name| specs.path(name));
    assert_eq!(said(&mut specs, &Hint::Paths(paths.to_vec())), expected);
    // One that takes the place of a good file keeps what that said.
    fs::remove_file(specs.path("a.yaml")).unwrap();
    fs::rename(specs.path("fifo.yaml"), specs.path("a.yaml")).unwrap();
    let reading = specs.loader.read(&Hint::Paths(vec![specs.path("a.yaml")]));
    assert_eq!(instances(&reading.specs), "default/a*");
}

#[test]
fn links_that_lead_back_end() {
    let mut specs = Specs::new(&[
        ("a.yaml", &instance("a", "busybox")),
        ("one/b.yaml", &instance("b", "busybox")),
        ("two/c.yaml", &instance("c", "busybox")),
    ]);
    symlink("..", specs.path("one/up")).unwrap();
    symlink("../two", specs.path("one/two")).unwrap();
    symlink("../one", specs.path("two/one")).unwrap();
    symlink("self.yaml", specs.path("self.yaml")).unwrap();
    let reading = specs.read();
    let said = messages(&reading);
    assert!(said.iter().any(|line| line.starts_with("up:")), "{said:#?}");
    assert!(said.iter().any(|line| line.starts_with("self.yaml:")), "{said:#?}");
    assert!(said.len() < 20, "{said:#?}");
}

#[test]
fn a_link_out_of_the_directory_removes_nothing() {
    let mut specs = Specs::new(&[("root/a.yaml", &instance("a", "busybox"))]);
    specs.loader = super::Loader::new(specs.path("root"), Default::default());
    assert_eq!(instances(&specs.read().specs), "default/a");
    // Three levels of links that fan out are more folders than anybody has.
    for level in ["x", "y", "z"] {
        fs::create_dir_all(specs.path(&format!("far/{level}"))).unwrap();
    }
    for n in 0..30 {
        symlink("../y", specs.path(&format!("far/x/l{n}"))).unwrap();
        symlink("../z", specs.path(&format!("far/y/l{n}"))).unwrap();
        fs::create_dir(specs.path(&format!("far/z/l{n}"))).unwrap();
    }
    const { assert!(30 * 30 * 30 > FOLDERS_MAX) };
    symlink("../far/x", specs.path("root/far")).unwrap();
    let reading = specs.read();
    assert_eq!(instances(&reading.specs), "default/a*");
    let reconciler::model::desired::RootState::Missing { reason } = &reading.specs.root else {
        panic!("{:?}", reading.specs.root)
    };
    assert!(reason.contains("does a link lead out of it?"), "{reason}");
    fs::remove_file(specs.path("root/far")).unwrap();
    assert_eq!(instances(&specs.read().specs), "default/a");
}

#[test]
fn ten_thousand_new_files_are_read_in_one_go() {
    let mut specs = Specs::new(&[]);
    specs.read();
    for n in 0..10_000 {
        specs.write(&format!("d{}/f{n}.yaml", n % 100), &instance(&format!("i{n}"), "busybox"));
    }
    let reading = specs.read();
    assert_eq!((reading.specs.desired.len(), reading.specs.files), (10_000, 10_000));
    assert!(reading.diagnostics.is_empty());
}
