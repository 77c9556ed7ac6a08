//! The whole way from a directory to what is in force, with a compiler that takes any text but one
//! that says BROKEN.

use std::fs;
use std::path::Path;
use std::time::Duration;

use reconciler::model::policies::{Origin, PolicySource};
use reconciler::policy::Policies;
use tokio::sync::mpsc;

use super::read::Found;
use super::*;
use crate::manifest::Catalogue;
use crate::shell::Input;

/// Longer than any machine under load needs; a test that passes does not wait for it.
const LONG: Duration = Duration::from_secs(20);

fn picky(sources: &PolicySources) -> Result<Compiled, Vec<String>> {
    let broken = sources.policies.iter().filter(|source| source.text.contains("BROKEN"));
    let problems: Vec<_> = broken.map(|source| format!("{source}: it is broken")).collect();
    let policies = Arc::new(Policies::allow_all());
    if problems.is_empty() {
        Ok(Compiled { policies, catalogue: Catalogue::default() })
    } else {
        Err(problems)
    }
}

/// A directory of policies, and the records of whoever reads it.
struct Room {
    folder: tempfile::TempDir,
    records: ByPath,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("policies")).unwrap();
        // What specs keep there is none of ours.
        let records = [("web.yaml", "kind: Instance")];
        let records = records.map(|(name, text)| (name.into(), text.into())).into();
        Self { folder, records }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("policies")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn loader(&self) -> Loader {
        Loader::new(Place { dir: self.dir(), named: false }, &self.records, picky)
    }

    /// Reads, keeps what records would, and says what is in force of the own ones.
    fn read(&mut self, loader: &mut Loader) -> Option<Said> {
        let News { reading, sources, compiled: _, problems } = loader.news()?;
        for (name, text) in reading.texts {
            match text {
                Some(text) => drop(self.records.insert(name, text)),
                None => drop(self.records.remove(&name)),
            }
        }
        let own = sources.map(|sources| {
            let own = sources.policies.iter().filter(|source| source.origin == Origin::Own);
            own.map(|source| source.id().unwrap().to_string()).collect::<Vec<_>>().join(" ")
        });
        let dir = format!("{}/", self.dir().display());
        let problems = problems.iter().map(|problem| problem.replace(&dir, "")).collect();
        let broken = reading.standing.broken.map(|broken| (broken.errors, broken.last_good));
        Some(Said { own, swapped: reading.policies.is_some(), problems, broken })
    }
}

/// What came of a reading.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    /// The ids of own policies, if a set came in force.
    own: Option<String>,
    /// Whether the policies are others now.
    swapped: bool,
    problems: Vec<String>,
    /// How many errors there are, and whether something is in force.
    broken: Option<(u32, bool)>,
}

fn good(own: &str) -> Option<Said> {
    Some(Said { own: Some(own.to_owned()), swapped: true, problems: Vec::new(), broken: None })
}

fn policy(id: &str) -> String {
    format!("// @id {id}\nfn check(o) {{}}\n")
}

#[test]
fn own_policies_stand_beside_those_that_are_built_in() {
    let mut room = Room::new();
    room.write("a/policy.rhai", &policy("MY-A"));
    room.write("a/cases.yaml", "[]");
    room.write("a/README.md", "words");
    room.write("b/policy.rhai", &policy("MY-B"));
    room.write("docs/notes.md", "no policy here");
    room.write(".git/policy.rhai", "BROKEN");
    room.write("profiles.yaml", "mine: [ MY-A, { policy: MY-B, level: warn } ]");
    let mut loader = room.loader();
    assert_eq!(room.read(&mut loader), good("MY-A MY-B"));
    assert_eq!(room.read(&mut loader), None, "nothing is told twice");
    let kept: Vec<&str> = room.records.keys().map(|name| &**name).collect();
    let own =
        ["a/policy.rhai", "b/policy.rhai", "profiles.yaml"].map(|name| format!("/policies/{name}"));
    assert_eq!(kept, own.iter().map(String::as_str).chain(["web.yaml"]).collect::<Vec<_>>());
    // Nothing is judged by cases: other ones are looked at, and nothing comes of it.
    room.write("a/cases.yaml", "[1]");
    assert_eq!(room.read(&mut loader).map(|said| said.swapped), Some(false));
}

#[test]
fn a_bad_set_changes_nothing_of_it_and_the_last_good_one_goes_on() {
    let mut room = Room::new();
    room.write("a/policy.rhai", &policy("MY-A"));
    let mut loader = room.loader();
    assert_eq!(room.read(&mut loader), good("MY-A"));
    // One that is good comes with one that is not.
    room.write("b/policy.rhai", &policy("MY-B"));
    room.write("c/policy.rhai", &format!("{}BROKEN", policy("MY-C")));
    let rejected = |own: Option<&str>| {
        let problems = vec!["c/policy.rhai: it is broken".to_owned()];
        let (own, swapped) = (own.map(str::to_owned), own.is_some());
        Some(Said { own, swapped, problems, broken: Some((1, true)) })
    };
    assert_eq!(room.read(&mut loader), rejected(None));
    // A restart finds the same: what was good before it is in force, and no more.
    let mut loader = room.loader();
    assert_eq!(room.read(&mut loader), rejected(Some("MY-A")));
    room.write("c/policy.rhai", &policy("MY-C"));
    assert_eq!(room.read(&mut loader), good("MY-A MY-B MY-C"));
    fs::remove_dir_all(room.dir().join("b")).unwrap();
    assert_eq!(room.read(&mut loader), good("MY-A MY-C"));
    assert!(!room.records.contains_key("/policies/b/policy.rhai"));
}

#[test]
fn two_policies_of_one_id_are_an_error_that_names_both() {
    let mut room = Room::new();
    room.write("a/policy.rhai", &policy("MY-A"));
    room.write("b/policy.rhai", &format!("{}// more\n", policy("MY-A")));
    room.write("c/policy.rhai", "fn check(o) {}\n");
    let said = room.read(&mut room.loader()).unwrap();
    let dir = room.dir();
    let first = format!("policy `MY-A` is there already: {}/a/policy.rhai", dir.display());
    assert_eq!(
        said.problems,
        [
            format!("b/policy.rhai: {}", first.replace(&format!("{}/", dir.display()), "")),
            "c/policy.rhai: it says no id: begin with `// @id NAME`".to_owned(),
        ]
    );
    // Nothing was in force before, so what is built in is, alone.
    assert_eq!((said.own.as_deref(), said.broken), (Some(""), Some((2, true))));
}

#[test]
fn an_own_policy_cannot_take_the_id_of_a_built_in_one() {
    let built_in = PolicySource::new(Origin::BuiltIn, "policies/x/policy.rhai", &policy("X"));
    let library = Found { policies: vec![built_in.clone()], ..Found::default() };
    let own = |text: &str| {
        let source = PolicySource::new(Origin::Own, "mine/policy.rhai", text);
        let own = Found { policies: vec![source], ..Found::default() };
        set::together(library.clone(), own, Path::new("policies"))
    };
    assert_eq!(
        own(&format!("{}// another\n", policy("X"))).unwrap_err(),
        ["mine/policy.rhai: policy `X` is there already: policies/x/policy.rhai (built in)"]
    );
    // A copy says the same, so there is nothing to choose.
    assert_eq!(own(&policy("X")).unwrap().policies, [built_in]);
}

#[test]
fn a_profile_holds_policies_that_there_are() {
    let mut room = Room::new();
    room.write("a/policy.rhai", &policy("MY-A"));
    room.write("profiles.yaml", "mine: [MY-A, MY-B]");
    let said = room.read(&mut room.loader()).unwrap();
    assert_eq!(said.problems, ["profile `mine` holds policy `MY-B`, which is not there"]);
    room.write("profiles.yaml", "mine: [MY-A");
    let said = room.read(&mut room.loader()).unwrap();
    assert!(said.problems[0].starts_with("profiles.yaml: "), "{said:?}");
    assert!(said.problems[0].contains("line 1"), "{said:?}");
}

#[test]
fn what_cannot_be_read_is_no_policy_less() {
    let mut room = Room::new();
    room.write("a/policy.rhai", &policy("MY-A"));
    let mut loader = room.loader();
    assert_eq!(room.read(&mut loader), good("MY-A"));
    let refused = |room: &mut Room, loader: &mut Loader, why: &str| {
        let said = room.read(loader).unwrap();
        assert!(said.problems.iter().any(|problem| problem.contains(why)), "{why}: {said:?}");
        assert_eq!((said.own, said.swapped), (None, false), "{why}");
    };
    room.write("big/policy.rhai", &format!("{}{}", policy("BIG"), " ".repeat(256 << 10)));
    refused(&mut room, &mut loader, "big/policy.rhai: longer than 256 KiB");
    fs::remove_dir_all(room.dir().join("big")).unwrap();
    fs::create_dir_all(room.dir().join("dir/policy.rhai")).unwrap();
    refused(&mut room, &mut loader, "dir/policy.rhai: this is no file");
    fs::remove_dir_all(room.dir().join("dir")).unwrap();
    room.write("lone/cases.yaml", "[]");
    refused(&mut room, &mut loader, "no policy.rhai beside it");
    fs::remove_dir_all(room.dir().join("lone")).unwrap();
    fs::create_dir(room.dir().join("bytes")).unwrap();
    fs::write(room.dir().join("bytes/policy.rhai"), [0xff, 0xfe]).unwrap();
    refused(&mut room, &mut loader, "bytes/policy.rhai: ");
    fs::remove_dir_all(room.dir().join("bytes")).unwrap();
    std::os::unix::fs::symlink("nowhere", room.dir().join("a/gone")).unwrap();
    fs::remove_file(room.dir().join("a/policy.rhai")).unwrap();
    std::os::unix::fs::symlink("gone", room.dir().join("a/policy.rhai")).unwrap();
    refused(&mut room, &mut loader, "a/policy.rhai: ");
    // A directory that is not there is no directory without policies.
    fs::remove_dir_all(room.dir()).unwrap();
    refused(&mut room, &mut loader, "there is no such directory");
}

#[test]
fn a_directory_that_nobody_named_need_not_be_there() {
    let place = |named| Place { dir: PathBuf::from("/nowhere/policies"), named };
    let news = |named| Loader::new(place(named), &ByPath::new(), picky).news().unwrap();
    assert_eq!(news(false).problems, [""; 0]);
    assert_eq!(news(true).problems, ["/nowhere/policies: there is no such directory"]);
}

#[test]
fn a_change_is_in_force_without_a_restart() {
    let mut room = Room::new();
    room.write("a/policy.rhai", &policy("MY-A"));
    let mut loader = room.loader();
    assert_eq!(room.read(&mut loader), good("MY-A"));
    let (inputs, mut taken) = mpsc::unbounded_channel();
    hold(loader, inputs).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut next = |wanted: fn(&PolicyReading) -> bool| {
        runtime.block_on(async {
            loop {
                let input = tokio::time::timeout(LONG, taken.recv()).await.unwrap().unwrap();
                let Input::Policies { reading, .. } = input else { panic!("something else") };
                // Another one is a look in the middle of a change.
                if wanted(&reading) {
                    return reading;
                }
            }
        })
    };
    room.write("b/policy.rhai", &policy("MY-B"));
    let reading = next(|reading| reading.texts.contains_key("/policies/b/policy.rhai"));
    assert!(reading.policies.is_some() && reading.standing.broken.is_none());
    room.write("b/policy.rhai", "BROKEN");
    let reading = next(|reading| reading.standing.broken.is_some());
    assert!(reading.policies.is_none() && reading.texts.is_empty());
}
