//! Compiles the library of policies in: a table of what `policies/` holds.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let library = Path::new(&root).join("policies");
    let mut folders: Vec<_> = fs::read_dir(&library)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| library.join(name).join("policy.rhai").is_file())
        .collect();
    folders.sort();
    let include = |path: &Path| format!("include_str!({:?})", path.display().to_string());
    let optional = |path: &Path| match path.is_file() {
        true => format!("Some({})", include(path)),
        false => "None".to_owned(),
    };
    let mut table =
        String::from("const POLICIES: &[(&str, &str, Option<&str>, Option<&str>)] = &[\n");
    for name in folders {
        let folder = library.join(&name);
        let script = include(&folder.join("policy.rhai"));
        let cases = optional(&folder.join("cases.yaml"));
        let readme = optional(&folder.join("README.md"));
        writeln!(table, "    ({name:?}, {script}, {cases}, {readme}),")
            .map_err(io::Error::other)?;
    }
    let profiles = optional(&library.join("profiles.yaml"));
    let table = format!("{table}];\nconst PROFILES: Option<&str> = {profiles};\n");
    // Cargo looks at a folder with all that is in it.
    println!("cargo::rerun-if-changed=policies");
    println!("cargo::rerun-if-changed=build.rs");
    fs::write(Path::new(&out).join("library.rs"), table)
}
