//! `windlass import compose`: specs out of a Compose file.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::Format;
use super::show::words::count;
use super::{Context, Ended, Failure, absolute, bare};
use crate::compose::{self, Imported, World};
use crate::manifest;

/// What the user wants.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) file: PathBuf,
    pub(super) dir: Option<PathBuf>,
    pub(super) profiles: Vec<String>,
    pub(super) strict: bool,
    pub(super) force: bool,
}

/// Larger files are no Compose files.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Runs the verb: 0 imported, 1 with `--strict` if anything could not be carried over, or if
/// something was made that windlass does not take.
pub(super) fn run(context: &Context, options: &Options) -> Ended {
    let Options { file, dir, profiles, strict, force } = options;
    let out = &context.out;
    let stdin = file.as_os_str() == "-";
    let (text, shown) = if stdin {
        let mut text = String::new();
        let read = std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| Failure::new(format!("read standard input: {}", bare(&error))))?;
        (text, "standard input".to_owned())
    } else {
        let text =
            read(file).map_err(|why| Failure::new(format!("read {}: {why}", file.display())))?;
        (text, file.file_name().unwrap_or_default().to_string_lossy().into_owned())
    };
    // Where the file is itself, whatever link led to it.
    let whole = if stdin { absolute(Path::new("./-")) } else { absolute(file) };
    let whole = std::fs::canonicalize(&whole).unwrap_or(whole);
    let folder = whole.parent().unwrap_or(Path::new("/"));
    let target = dir.as_deref().filter(|dir| dir.as_os_str() != "-").map(absolute);
    let profiles: BTreeSet<String> = profiles.iter().cloned().collect();
    let world = World {
        folder,
        target: target.as_deref(),
        environment: &|name| std::env::var(name).ok(),
        read: &read,
        exists: &Path::exists,
        profiles: &profiles,
    };
    let Imported { files, notes } = compose::import(&text, &shown, &world)?;
    let wrong = wrong(&files, target.as_deref().unwrap_or(folder));
    if context.global.output == Format::Json || context.global.output == Format::Yaml {
        let all: Vec<_> =
            files.iter().map(|(name, text)| json!({ "file": name, "text": text })).collect();
        out.value(
            context.global.output,
            &json!({ "files": all, "notes": notes, "errors": wrong }),
        )?;
    } else if target.is_none() {
        let texts: Vec<_> = files.iter().map(|(_, text)| text.as_str()).collect();
        out.print(&texts.join("---\n"))?;
    }
    if let Some(target) = &target {
        write(target, &files, *force)?;
    }
    let lost = notes.iter().filter(|note| note.lost).count();
    for note in &notes {
        out.note(&format!("{shown}:{}: {note}", note.line));
    }
    for beside in overrides(folder) {
        out.note(&format!("{beside} lies beside it: Compose would merge it, and it was not read"));
    }
    for error in &wrong {
        out.complain(&format!("error: what was made is not right yet: {error}"));
    }
    let to = target.as_ref().map_or(String::new(), |dir| format!(" in {}", dir.display()));
    let losses = if lost == 0 {
        "all of it carried over".to_owned()
    } else {
        format!("{} not carried over", count(lost, "thing"))
    };
    out.note(&format!("\n{}{to}; {losses}.", count(files.len(), "file")));
    Ok(u8::from(!wrong.is_empty() || *strict && lost > 0))
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| bare(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| bare(&error))
}

/// What windlass itself would say of the files.
fn wrong(files: &[(String, String)], folder: &Path) -> Vec<String> {
    let found = files.iter().flat_map(|(name, text)| {
        manifest::errors_of(text, folder).into_iter().map(move |error| format!("{name}:{error}"))
    });
    found.collect()
}

/// Files that Compose reads too, if it is not told otherwise.
fn overrides(folder: &Path) -> impl Iterator<Item = &'static str> {
    let names = [
        "compose.override.yaml",
        "compose.override.yml",
        "docker-compose.override.yml",
        "docker-compose.override.yaml",
    ];
    names.into_iter().filter(move |name| folder.join(name).exists())
}

/// Writes the files; one that is there stays, unless it says the same or `force` is given.
fn write(dir: &Path, files: &[(String, String)], force: bool) -> Result<(), Failure> {
    let there: Vec<String> = files
        .iter()
        .filter(|(name, text)| {
            let found = std::fs::read_to_string(dir.join(name)).ok();
            dir.join(name).exists() && found.as_deref() != Some(text)
        })
        .map(|(name, _)| dir.join(name).display().to_string())
        .collect();
    if !there.is_empty() && !force {
        let failure =
            Failure::new(format!("there is something else already: {}", there.join(", ")));
        return Err(failure.help("name another folder, or write over them with --force"));
    }
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(format!("write {}: {}", path.display(), bare(&error)))
    };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
