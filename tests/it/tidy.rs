//! Order in the house: what the design says about the sources, and a compiler does not check.
//!
//! A failure names the file and the line, and says what to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::repository;

/// Longer files hold more than one idea.
const LINES_MAX: usize = 600;

/// All that the core may be built from: its seven libraries, and what those need.
const CORE_CRATES: &[&str] = &[
    "reconciler",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "regex-lite",
    "rhai",
    "semver",
    // of serde and thiserror
    "serde_core",
    "serde_derive",
    "thiserror-impl",
    "proc-macro2",
    "quote",
    "syn",
    "unicode-ident",
    // of serde_json
    "itoa",
    "memchr",
    "ryu",
    "zmij",
    // of sha2
    "block-buffer",
    "cfg-if",
    "const-oid",
    "cpufeatures",
    "crypto-common",
    "digest",
    "hybrid-array",
    "libc",
    "typenum",
    // of rhai; the last five make a seed while its hasher is built, and are in no binary
    "ahash",
    "bitflags",
    "num-traits",
    "once_cell",
    "portable-atomic",
    "rhai_codegen",
    "smallvec",
    "smartstring",
    "static_assertions",
    "thin-vec",
    "zerocopy",
    "const-random",
    "const-random-macro",
    "crunchy",
    "getrandom",
    "tiny-keccak",
];

/// What the core neither does nor waits for.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "tokio",
    "async fn",
    ".await",
    "println!",
];

/// Modules that touch the world. None knows another; `app` puts them together.
const ADAPTERS: &[&str] = &[
    "audit",
    "cgroup",
    "docker",
    "embedded",
    "fence",
    "journal",
    "manifest",
    "probe",
    "signatures",
    "store",
    "telemetry",
    "watch",
];

/// Modules that read views and send events: they hold none of these.
const VIEWERS: &[&str] = &["api", "cli"];
const NOT_FOR_VIEWERS: &[&str] =
    &["cgroup", "docker", "embedded", "fence", "journal", "probe", "signatures", "store"];

#[test]
fn the_core_is_built_from_pure_libraries_only() {
    let out = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "-p", "reconciler", "-e", "normal", "--prefix", "none", "--offline"])
        .args(["--format", "{p}"])
        .current_dir(repository())
        .output()
        .expect("cargo starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout);
    let strangers: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty() && !CORE_CRATES.contains(name))
        .collect();
    assert!(strangers.is_empty(), "the core decides, and must not depend on {strangers:?}");
}

#[test]
fn the_core_touches_nothing() {
    let mut found = Vec::new();
    for file in sources(&repository().join("reconciler/src")) {
        for (number, line) in code(&file) {
            for word in IMPURE.iter().filter(|word| line.contains(*word)) {
                found.push(format!("{}:{number}: `{word}`", show(&file)));
            }
        }
    }
    report("the core has no I/O, clock, thread or async; move this to the shell", &found);
}

#[test]
fn adapters_do_not_know_each_other() {
    let mut found = Vec::new();
    for file in sources(&repository().join("src")) {
        let inner = file.strip_prefix(repository().join("src")).expect("a file of src");
        let parts: Vec<_> = inner.iter().map(|part| part.to_string_lossy()).collect();
        let module = parts[0].trim_end_matches(".rs").to_owned();
        let forbidden: Vec<&str> = if ADAPTERS.contains(&module.as_str()) {
            ADAPTERS.iter().copied().filter(|other| *other != module).collect()
        } else if VIEWERS.contains(&module.as_str()) {
            NOT_FOR_VIEWERS.to_vec()
        } else {
            continue;
        };
        // `super` in a top-level module, and in its `mod.rs`, is the crate itself.
        let file_is_module = parts.len() == 1 || parts[parts.len() - 1] == "mod.rs";
        let depth = parts.len() - usize::from(file_is_module && parts.len() > 1);
        let root = "super::".repeat(depth);
        let text: Vec<_> = code(&file).collect();
        for (number, line) in &text {
            for name in imports(line, "crate::").into_iter().chain(imports(line, &root)) {
                if forbidden.contains(&name.as_str()) {
                    found.push(format!("{}:{number}: {module} uses {name}", show(&file)));
                }
            }
        }
    }
    report("only `app` builds adapters: pass what is needed through a port", &found);
}

#[test]
fn files_are_short_documented_and_free_of_home_paths() {
    // In pieces, or this file would be the first to be found.
    let homes = ["/ho@me/", "/Us@ers/", "/wo@rk/wt", "/wo@rk/main", "/wo@rk/shared"]
        .map(|piece| piece.replace('@', ""));
    let mut long = Vec::new();
    let mut undocumented = Vec::new();
    let mut homely = Vec::new();
    for file in files(repository()) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let name = show(&file);
        if name == "LICENSE" || name.ends_with("Cargo.lock") {
            continue;
        }
        let lines = text.lines().count();
        let written_by_hand = file.extension().is_none_or(|ext| ext != "snap");
        if written_by_hand && lines > LINES_MAX {
            long.push(format!("{name}: {lines} lines"));
        }
        if file.extension().is_some_and(|ext| ext == "rs") && !text.starts_with("//!") {
            undocumented.push(name.clone());
        }
        for (number, line) in text.lines().enumerate() {
            if homes.iter().any(|home| line.contains(home)) {
                homely.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("split what is longer than 600 lines", &long);
    report("begin with `//!` and what the module is for", &undocumented);
    report("a path of somebody's machine helps nobody else", &homely);
}

#[test]
fn scripts_parse() {
    let mut broken = Vec::new();
    for file in files(repository()) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        if !text.starts_with("#!/usr/bin/env bash") {
            continue;
        }
        let out = Command::new("bash").arg("-n").arg(&file).output().expect("bash starts");
        if !out.status.success() {
            broken.push(String::from_utf8_lossy(&out.stderr).into_owned());
        }
        if !text.contains("set -euo pipefail") {
            broken.push(format!("{}: without `set -euo pipefail`", show(&file)));
        }
    }
    report("a script that goes on after an error does harm", &broken);
}

#[test]
fn examples_say_what_to_expect() {
    let mut bare = Vec::new();
    for entry in fs::read_dir(repository().join("examples")).into_iter().flatten().flatten() {
        if entry.path().is_dir() && !entry.path().join("README.md").is_file() {
            bare.push(show(&entry.path()));
        }
    }
    report("give each example a README.md", &bare);
}

/// Fails with one line a finding.
fn report(advice: &str, found: &[String]) {
    assert!(found.is_empty(), "{advice}:\n  {}\n", found.join("\n  "));
}

/// The first names behind `root` in a line: `a` in `root::a::b`, `a` and `b` in `root::{a, b::c}`.
fn imports(line: &str, root: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices(root) {
        let rest = &line[at + root.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(ident(rest));
            continue;
        };
        let mut depth = 0_i32;
        let mut begins = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if begins && depth == 0 && c.is_alphabetic() => {
                    names.push(ident(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
            if depth < 0 {
                break;
            }
        }
    }
    names
}

fn ident(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The lines of a source without its comments, numbered from 1; `use` groups are joined into one line.
fn code(file: &Path) -> impl Iterator<Item = (usize, String)> {
    let text = fs::read_to_string(file).expect("a source can be read");
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut in_use = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default().trim();
        match out.last_mut() {
            Some((_, open)) if in_use => open.push_str(line),
            Some(_) | None => out.push((number + 1, line.to_owned())),
        }
        let statement = out.last().map(|(_, text)| text.as_str()).unwrap_or_default();
        let begins = ["use ", "pub use ", "pub(crate) use "];
        in_use = begins.iter().any(|word| statement.starts_with(word)) && !statement.contains(';');
    }
    out.into_iter()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    files(dir).into_iter().filter(|file| file.extension().is_some_and(|ext| ext == "rs")).collect()
}

/// The files below a directory that are ours: neither built nor hidden, but for `.ci`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display())) {
            let entry = entry.expect("a directory can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "target" || (name.starts_with('.') && name != ".ci") {
                continue;
            }
            let kind = entry.file_type().expect("a file has a type");
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

fn show(file: &Path) -> String {
    file.strip_prefix(repository()).unwrap_or(file).display().to_string()
}

#[test]
fn imports_are_seen_in_all_their_forms() {
    let seen = |line: &str| imports(line, "crate::").join(" ");
    assert_eq!(seen("use crate::docker::Docker;"), "docker");
    assert_eq!(seen("use crate::{config::{A, store}, docker, watch::W};"), "config docker watch");
    assert_eq!(seen("let a = crate::store::open(crate::config::get());"), "store config");
    assert_eq!(seen("use reconciler::model;"), "");
}
