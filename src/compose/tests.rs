//! The cases of `tests/compose`: each is a folder with a Compose file, and what is made of it.
//!
//! `UPDATE_EXPECT=1` writes what is made now; look at the difference before you commit it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Imported, World, import};
use crate::hint::Hint;
use crate::manifest::Loader;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() >= 12, "{} cases", cases.len());
    cases
}

/// What is made of a case, with an environment that is the same everywhere.
fn made(case: &Path, target: Option<&Path>) -> Imported {
    let text = fs::read_to_string(case.join("compose.yaml")).unwrap();
    let environment = |name: &str| match name {
        "TAG" => Some("1.4".to_owned()),
        "HOME" => Some("/root".to_owned()),
        _ => None,
    };
    let read = |path: &Path| fs::read_to_string(path).map_err(|_| "it is not there".to_owned());
    let exists = |path: &Path| path.starts_with(case) && path.exists();
    let profiles = BTreeSet::from(["extra".to_owned()]);
    let world = World {
        folder: case,
        target,
        environment: &environment,
        read: &read,
        exists: &exists,
        profiles: &profiles,
    };
    import(&text, "compose.yaml", &world).unwrap()
}

#[test]
fn each_case_becomes_what_is_expected() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let Imported { files, notes } = made(&case, Some(&case.join("specs")));
        let mut said = String::new();
        for (name, text) in &files {
            said.push_str(&format!("=== {name}\n{text}"));
        }
        said.push_str("=== notes\n");
        for note in notes {
            said.push_str(&format!("{}: {note}\n", note.line));
        }
        let said = said.replace(&*case.to_string_lossy(), "$HERE");
        let said = said.replace(&*case.parent().unwrap().to_string_lossy(), "$ABOVE");
        let expected = case.join("expected");
        if update {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_EXPECT=1 rewrites these:\n{}", wrong.join("\n"));
}

#[test]
fn what_is_made_is_valid() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in made(&case, None).files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let reading = Loader::new(folder.path().to_owned(), BTreeMap::new()).read(&Hint::All);
        let shown: Vec<_> = reading.diagnostics.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "{}:\n{}", case.display(), shown.join("\n"));
        assert!(!reading.specs.desired.instances.is_empty());
    }
}

/// What is refused, and how.
#[test]
fn what_cannot_be_read_is_refused() {
    let refused = |text: &str| {
        let (environment, exists) = (|_: &str| None, |_: &Path| false);
        let read = |_: &Path| Err("it is not there".to_owned());
        let world = World {
            folder: Path::new("/srv/shop"),
            target: None,
            environment: &environment,
            read: &read,
            exists: &exists,
            profiles: &BTreeSet::new(),
        };
        import(text, "compose.yaml", &world).map(|made| made.files).unwrap_err().to_string()
    };
    assert_eq!(refused(""), "compose.yaml holds nothing");
    assert_eq!(refused("a: b"), "compose.yaml declares no services: is it a Compose file?");
    let unset = "services:\n  web:\n    image: \"web:${TAG:?which one?}\"\n";
    assert_eq!(refused(unset), "compose.yaml:3: the variable `TAG` must be set: which one?");
    assert!(refused("services: [").contains("this is not YAML"), "{}", refused("services: ["));
}
