//! Watch and reader together, on real directories. There is no scan here but the first one, so all
//! that is seen was hinted at.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

use reconciler::model::desired::DesiredSet;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// Longer than any machine under load needs; a test that passes does not wait for it.
const LONG: Duration = Duration::from_secs(60);

/// No test lasts this long.
const NEVER: Duration = Duration::from_secs(100_000);

/// A directory that is held, and what the loop would know of it.
struct Held {
    folder: tempfile::TempDir,
    inputs: UnboundedReceiver<Input>,
    runtime: tokio::runtime::Runtime,
    desired: DesiredSet,
    /// Readings that were told of, with news or without.
    readings: usize,
    reader: Reader,
}

impl Held {
    /// Holds `specs` in a new folder that `prepare` fills.
    fn new(prepare: impl Fn(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("specs")).unwrap();
        prepare(folder.path());
        let (sender, inputs) = unbounded_channel();
        let root = folder.path().join("specs");
        let reader = Reader::start_with(&root, Watching::Hold, sender, NEVER).unwrap();
        reader.begin(BTreeMap::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let desired = DesiredSet::default();
        let mut held = Self { folder, inputs, runtime, desired, readings: 0, reader };
        held.next();
        held
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, instance: &str, image: &str) {
        write(&self.path(name), instance, image);
    }

    /// Takes the next reading in, and gives its errors and its number.
    fn next(&mut self) -> (Vec<String>, u64) {
        let (event, errors, number) = loop {
            let (inputs, desired) = (&mut self.inputs, &self.desired);
            let next = async { tokio::time::timeout(LONG, inputs.recv()).await };
            match self.runtime.block_on(next) {
                Ok(Some(Input::Specs { event, errors, number, .. })) => {
                    break (event, errors, number);
                }
                // On a busy machine the system may drop events, and what changed is seen anyway.
                Ok(Some(Input::Progress(Happened::Attention { .. }))) => {}
                Ok(Some(Input::Event(Event::Checkout(None)))) => {}
                Ok(Some(Input::Unwatched(why))) => panic!("{why:?}"),
                Ok(_) => panic!("the thread ended, or says what it never does"),
                Err(_) => panic!("no reading; there are {:?}", desired.instances.keys()),
            }
        };
        self.readings += 1;
        match event {
            None => {}
            Some(Event::Specs(reading)) => self.desired = reading.desired,
            Some(Event::SpecsChanged(change)) => self.desired.renew(change.objects),
            Some(other) => panic!("{other:?}"),
        }
        (errors, number)
    }

    /// Waits until `is_it` of what is in force.
    fn until(&mut self, is_it: impl Fn(&DesiredSet) -> bool) {
        let end = Instant::now() + LONG;
        while !is_it(&self.desired) {
            assert!(Instant::now() < end, "there are {:?}", self.desired.instances.keys());
            self.next();
        }
    }

    /// Waits until the image of an instance is `image`; no instance if `None`.
    fn image(&mut self, name: &str, image: Option<&str>) {
        let key = name.parse().unwrap();
        self.until(|desired| {
            let found = desired.instances.get(&key).map(|found| found.spec.image.to_string());
            found.as_deref() == image
        });
    }
}

fn write(path: &Path, instance: &str, image: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text(instance, image)).unwrap();
}

fn text(instance: &str, image: &str) -> String {
    format!(
        "apiVersion: windlass/v1\nkind: Instance\nmetadata: {{ name: {instance} }}\nspec: {{ image: \"{image}\" }}\n"
    )
}

#[test]
fn folders_that_are_made_and_filled_at_once_are_seen() {
    let mut held = Held::new(|_| {});
    let specs = held.path("specs");
    // Several at a time, so that folders come while others are watched.
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let specs = specs.clone();
            thread::spawn(move || {
                for n in 0..40 {
                    let path = format!("t{thread}/a{}/b{n}/c/d/x.yaml", n % 7);
                    write(&specs.join(path), &format!("i{thread}-{n}"), "busybox:1");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    held.until(|desired| desired.instances.len() == 160);
    // And each of them is watched.
    for thread in 0..4 {
        for n in [0, 13, 39] {
            let path = format!("specs/t{thread}/a{}/b{n}/c/d/x.yaml", n % 7);
            held.write(&path, &format!("i{thread}-{n}"), "busybox:2");
            held.image(&format!("i{thread}-{n}"), Some("busybox:2"));
        }
    }
}

#[test]
fn trees_that_are_moved_are_followed() {
    let mut held = Held::new(|folder| {
        for n in 0..5 {
            write(&folder.join(format!("away/x{n}/y/z.yaml")), &format!("i{n}"), "busybox:1");
        }
    });
    for round in ["one", "two"] {
        fs::rename(held.path("away"), held.path("specs/here")).unwrap();
        held.until(|desired| desired.instances.len() == 5);
        held.write("specs/here/x3/y/z.yaml", "i3", &format!("busybox:{round}"));
        held.image("i3", Some(&format!("busybox:{round}")));
        // Within the directory.
        fs::rename(held.path("specs/here"), held.path("specs/there")).unwrap();
        held.write("specs/there/x2/y/z.yaml", "i2", &format!("busybox:{round}"));
        held.image("i2", Some(&format!("busybox:{round}")));
        fs::rename(held.path("specs/there/x1"), held.path("specs/there/x2/y/x1")).unwrap();
        held.write("specs/there/x2/y/x1/y/z.yaml", "i1", &format!("busybox:{round}"));
        held.image("i1", Some(&format!("busybox:{round}")));
        fs::rename(held.path("specs/there/x2/y/x1"), held.path("specs/there/x1")).unwrap();
        fs::rename(held.path("specs/there"), held.path("away")).unwrap();
        held.until(|desired| desired.instances.is_empty());
    }
}

#[test]
fn files_that_vanish_and_come_back_are_what_they_are_in_the_end() {
    let mut held = Held::new(|folder| write(&folder.join("specs/a/x.yaml"), "x", "busybox:0"));
    held.image("x", Some("busybox:0"));
    for round in 1..20 {
        let image = format!("busybox:{round}");
        for n in 0..10 {
            fs::remove_file(held.path("specs/a/x.yaml")).unwrap();
            held.write("specs/a/x.yaml", "x", &format!("busybox:{round}-{n}"));
        }
        // A folder that goes and comes back, too.
        fs::remove_dir_all(held.path("specs/a")).unwrap();
        held.write("specs/a/x.yaml", "x", &image);
        held.image("x", Some(&image));
    }
    fs::remove_dir_all(held.path("specs/a")).unwrap();
    held.image("x", None);
}

#[test]
fn a_burst_of_ten_thousand_files_is_seen_in_few_readings() {
    let mut held = Held::new(|_| {});
    let specs = held.path("specs");
    for n in 0..10_000 {
        write(&specs.join(format!("d{}/f{n}.yaml", n % 100)), &format!("i{n}"), "busybox:1");
    }
    held.until(|desired| desired.instances.len() == 10_000);
    // One for each would be ten thousand; those that came while one was read are one.
    assert!(held.readings < 1_000, "{} readings", held.readings);
    // All over again in other files, with everything removed between.
    fs::remove_dir_all(specs.join("d7")).unwrap();
    held.until(|desired| desired.instances.len() == 9_900);
    held.write("specs/d8/f8.yaml", "i8", "busybox:2");
    held.image("i8", Some("busybox:2"));
}

#[test]
fn what_is_ignored_wakes_nobody() {
    let mut held = Held::new(|folder| write(&folder.join("specs/a.yaml"), "a", "busybox:1"));
    let before = held.readings;
    fs::create_dir_all(held.path("specs/.git/objects/ab")).unwrap();
    for name in
        [".a.yaml.swp", "a.yaml~", "#a.yaml#", "a.yaml.bak", ".git/c.yaml", ".git/objects/ab/x"]
    {
        fs::write(held.path("specs").join(name), "not: [yaml").unwrap();
    }
    held.write("specs/b.yaml", "b", "busybox:1");
    held.until(|desired| desired.instances.len() == 2);
    // Nothing but that file was ever read: each reading since brought a part of it.
    assert!(held.readings - before <= 2, "{} readings", held.readings - before);
}

#[test]
fn links_that_lead_in_circles_are_watched_once_round() {
    let mut held = Held::new(|folder| {
        write(&folder.join("specs/a/x.yaml"), "x", "busybox:1");
        fs::create_dir_all(folder.join("specs/a/deep")).unwrap();
        fs::create_dir_all(folder.join("out/side")).unwrap();
        symlink("../out", folder.join("specs/linked")).unwrap();
    });
    held.image("x", Some("busybox:1"));
    held.write("out/side/y.yaml", "y", "busybox:1");
    held.image("y", Some("busybox:1"));
    held.write("specs/a/deep/z.yaml", "z", "busybox:1");
    held.image("z", Some("busybox:1"));
    // A link to what it is in is an error, and the rest goes on.
    symlink("..", held.path("specs/a/up")).unwrap();
    let leads_back = |errors: &[String]| errors.iter().any(|line| line.contains("leads back"));
    while !leads_back(&held.next().0) {}
    fs::remove_file(held.path("specs/a/up")).unwrap();
    held.write("specs/a/x.yaml", "x", "busybox:2");
    held.image("x", Some("busybox:2"));
}

#[test]
fn what_is_asked_for_while_it_changes_is_answered_with_its_number() {
    let mut held = Held::new(|folder| write(&folder.join("specs/a.yaml"), "a", "busybox:1"));
    held.write("specs/a.yaml", "a", "busybox:2");
    let wanted = held.reader.reread();
    while held.next().1 < wanted {}
    let image = &held.desired.instances[&"a".parse().unwrap()].spec.image;
    assert_eq!(image.to_string(), "busybox:2");
}
