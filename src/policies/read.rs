//! The directory of own policies, as texts: `NAME/policy.rhai` with `cases.yaml` beside it, and
//! `profiles.yaml`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;

use reconciler::model::policies::{Origin, PolicySource, Profile};
use reconciler::model::spec::policy::PolicyId;

use super::profiles;
use crate::hint::is_ignored;

/// Longest script, in bytes: a rule that people read has a few thousand. It is looked at before
/// anything parses it.
const SCRIPT_BYTES_MAX: u64 = 256 << 10;

/// Longest list of profiles or cases, in bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Most policies of a directory: nobody reads more, and each of them is asked about each object.
const POLICIES_MAX: usize = 1000;

const SCRIPT: &str = "policy.rhai";
const CASES: &str = "cases.yaml";
pub(super) const PROFILES: &str = "profiles.yaml";

/// Policies and profiles, and what is wrong, each with its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) policies: Vec<PolicySource>,
    pub(super) profiles: BTreeMap<PolicyId, Profile>,
    pub(super) problems: Vec<String>,
}

/// The texts of a directory by their paths in it. What cannot be read is a problem: a policy that
/// is left out silently denies nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) texts: BTreeMap<Arc<str>, Arc<str>>,
    pub(super) problems: Vec<String>,
}

/// Whether a path in the directory is that of cases.
pub(super) fn is_cases(name: &str) -> bool {
    name.ends_with(CASES)
}

/// Reads the texts of a directory; `None` if it is not there.
pub(super) fn texts(dir: &Path) -> Option<Texts> {
    let mut found = Texts::default();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            found.problems.push(format!("{}: {error}", dir.display()));
            return Some(found);
        }
    };
    let mut folders = Vec::new();
    for entry in entries {
        let name = match entry {
            Ok(entry) => entry.file_name(),
            Err(error) => {
                found.problems.push(format!("{}: {error}", dir.display()));
                continue;
            }
        };
        match name.to_str() {
            Some(name) if is_ignored(name) => {}
            Some(name) if dir.join(name).is_dir() => folders.push(name.to_owned()),
            Some(_) => {}
            None => found.problems.push(format!("{}: a name that is no text", dir.display())),
        }
    }
    folders.sort();
    let mut scripts = 0;
    for folder in folders {
        let path = format!("{folder}/{SCRIPT}");
        let is_script = found.add(dir, &path, SCRIPT_BYTES_MAX);
        let cases = format!("{folder}/{CASES}");
        if found.add(dir, &cases, TEXT_BYTES_MAX) && !is_script {
            found.problems.push(format!("{}: no {SCRIPT} beside it", dir.join(&cases).display()));
        }
        scripts += usize::from(is_script);
    }
    found.add(dir, PROFILES, TEXT_BYTES_MAX);
    if scripts > POLICIES_MAX {
        let dir = dir.display();
        found.problems.push(format!("{dir}: {scripts} policies, at most {POLICIES_MAX} are read"));
    }
    Some(found)
}

impl Texts {
    /// Reads one file, if it is there.
    fn add(&mut self, dir: &Path, name: &str, bytes_max: u64) -> bool {
        let path = dir.join(name);
        match read(&path, bytes_max) {
            Ok(text) => {
                self.texts.insert(Arc::from(name), Arc::from(text));
                true
            }
            // A link that leads nowhere is no file that is not there.
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => false,
            Err(error) => {
                self.problems.push(format!("{}: {error}", path.display()));
                true
            }
        }
    }
}

fn read(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("this is no file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(std::io::Error::other(format!("longer than {} KiB", bytes_max >> 10)));
    }
    Ok(text)
}

/// What texts hold. `dir` stands before their paths.
pub(super) fn parsed(dir: &Path, texts: &BTreeMap<Arc<str>, Arc<str>>) -> Found {
    let mut found = Found::default();
    for (name, text) in texts {
        let path = dir.join(&**name).display().to_string();
        if &**name == PROFILES {
            match profiles::read(Origin::Own, text) {
                Ok(profiles) => found.profiles = profiles,
                Err(why) => found.problems.push(format!("{path}: {why}")),
            }
        } else if let Some(folder) = name.strip_suffix(SCRIPT) {
            let cases = texts.get(format!("{folder}{CASES}").as_str()).cloned();
            let source = PolicySource { cases, ..PolicySource::new(Origin::Own, &path, text) };
            found.policies.push(source);
        }
    }
    found
}
