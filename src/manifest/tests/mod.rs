//! Tests of the whole way from files to objects; [`bad_input`] walks the cases that are files.

mod bad_input;
mod design;
mod directory;
mod edits;
mod grammar;
mod holding;
mod hostile;
mod large;
mod mangled;
mod policies;
mod shown;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reconciler::model::desired::SpecsReading;

use super::{Loader, Reading};
use crate::hint::Hint;

/// A specs directory of its own, with a loader.
struct Specs {
    folder: tempfile::TempDir,
    loader: Loader,
}

impl Specs {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let loader = Loader::new(folder.path().to_path_buf(), BTreeMap::new());
        let specs = Self { folder, loader };
        for (name, text) in files {
            specs.write(name, text);
        }
        specs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&mut self) -> Reading {
        self.loader.read(&Hint::All)
    }

    /// A loader of the same directory after a restart, which reads ahead as a start does.
    fn restart(&mut self, texts: &BTreeMap<Arc<str>, Arc<str>>) {
        self.loader = Loader::new(self.folder.path().to_path_buf(), BTreeMap::new());
        self.loader.read_ahead();
        self.loader.remember(texts.clone());
    }
}

/// Keeps the texts as the store does.
fn keep(texts: &mut BTreeMap<Arc<str>, Arc<str>>, specs: &SpecsReading) {
    for (file, text) in &specs.texts {
        match text {
            Some(text) => texts.insert(Arc::clone(file), Arc::clone(text)),
            None => texts.remove(file),
        };
    }
}

/// The names of the instances in force, each with `*` if it is an earlier version.
fn instances(specs: &SpecsReading) -> String {
    let names =
        specs.desired.instances.iter().map(|(key, declared)| {
            format!("{key}{}", if declared.stale.is_some() { "*" } else { "" })
        });
    names.collect::<Vec<_>>().join(" ")
}

fn messages(reading: &Reading) -> Vec<String> {
    let name = |file: &str| Path::new(file).file_name().unwrap().to_string_lossy().into_owned();
    let line = |found: &super::Diagnostic| {
        format!("{}:{}: {}", name(&found.place.file), found.place.line, found.message)
    };
    reading.diagnostics.iter().map(line).collect()
}

/// A small instance.
fn instance(name: &str, image: &str) -> String {
    format!(
        "apiVersion: windlass/v1\nkind: Instance\nmetadata: {{ name: {name} }}\nspec:\n  image: {image}\n"
    )
}
