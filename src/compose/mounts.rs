//! What a service mounts, and the files that it is given.

use reconciler::model::quantity::Bytes;
use serde_yaml::{Mapping, Value as Yaml};

use super::item::{Item, Value};
use super::notes::Part;
use super::write::{put, put_some};
use super::{Set, words};

/// What is put into a container's file system.
pub(super) struct Mounted {
    pub(super) volumes: Vec<Yaml>,
    pub(super) files: Vec<Yaml>,
}

/// A mount that was read.
struct Mount {
    /// `volume`, `bind` or `tmpfs`.
    kind: &'static str,
    source: Yaml,
    target: String,
    read_only: bool,
}

/// The `volumes` and `files` of the Instance `name`.
pub(super) fn of(name: &str, part: &mut Part<'_>, read_only: bool, set: &mut Set<'_>) -> Mounted {
    let mut mounts = Vec::new();
    for item in part.take("volumes").map(Item::items).unwrap_or_default() {
        let mount = match &item.value {
            Value::Text(text) => short(name, text, item.line, part, set),
            Value::Map(_) => long(name, item, part, set),
            Value::Null | Value::List(_) => None,
        };
        mounts.extend(mount.map(|mount| (mount, item.line)));
    }
    for item in part.take("tmpfs").map(Item::items).unwrap_or_default() {
        let text = item.text().unwrap_or_default();
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut size = Yaml::from(true);
        let mut read_only = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("size", given)) if words::size(given).is_some_and(|size| size > 0) => {
                    size = Bytes(words::size(given).unwrap_or_default()).to_string().into();
                }
                None if option == "ro" => read_only = true,
                None if option == "rw" => {}
                Some(_) | None => {
                    let why = format!("the option `{option}` of a tmpfs cannot be set here");
                    part.lost(&mut set.notes, "tmpfs", item.line, &why);
                }
            }
        }
        let target = target.to_owned();
        mounts.push((Mount { kind: "tmpfs", source: size, target, read_only }, item.line));
    }
    if let Some(item) = part.take("shm_size") {
        match words::size(item.text().unwrap_or_default()).filter(|size| *size > 0) {
            Some(size) => {
                let why = "a tmpfs of that size is mounted at /dev/shm";
                part.changed(&mut set.notes, "shm_size", item.line, why);
                let (source, target) = (Bytes(size).to_string().into(), "/dev/shm".to_owned());
                mounts.push((Mount { kind: "tmpfs", source, target, read_only: false }, item.line));
            }
            None => part.lost(&mut set.notes, "shm_size", item.line, "expected a size"),
        }
    }
    let mut volumes: Vec<(String, Yaml)> = Vec::new();
    for (Mount { kind, source, target, read_only }, line) in mounts {
        let Some(target) = inner_path(&target) else {
            part.lost(&mut set.notes, "volumes", line, "expected an absolute path inside");
            continue;
        };
        let mut mount = Mapping::new();
        put(&mut mount, kind, source);
        put(&mut mount, "target", target.clone());
        if read_only {
            put(&mut mount, "readOnly", true);
        }
        // The last one holds, as in Compose.
        volumes.retain(|(other, _)| *other != target);
        volumes.push((target, Yaml::Mapping(mount)));
    }
    let files = files(part, read_only, set);
    Mounted { volumes: volumes.into_iter().map(|(_, mount)| mount).collect(), files }
}

/// A path inside, in its shortest form.
pub(super) fn inner_path(path: &str) -> Option<String> {
    let rest = path.strip_prefix('/')?;
    let parts: Vec<&str> = rest.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| format!("/{}", parts.join("/")))
}

fn short(name: &str, text: &str, line: u32, part: &Part<'_>, set: &mut Set<'_>) -> Option<Mount> {
    let mut words = text.split(':');
    let (source, target, options) = match (words.next()?, words.next()) {
        (target, None) => (None, target, ""),
        (source, Some(target)) => (Some(source), target, words.next().unwrap_or("")),
    };
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => {}
            "cached" | "delegated" | "consistent" => {
                let why = format!("`{option}` does nothing on the systems that windlass runs on");
                part.changed(&mut set.notes, "volumes", line, &why);
            }
            _ => {
                let why = format!("the option `{option}` of {text} cannot be set here");
                part.lost(&mut set.notes, "volumes", line, &why);
            }
        }
    }
    let (kind, source) = match source {
        Some(path) if path.starts_with(['/', '.', '~']) => {
            ("bind", bind_path(path, line, part, set))
        }
        Some(volume) => ("volume", volume_named(volume, line, part, set)),
        None => ("volume", volume_unnamed(name, target, line, part, set)),
    };
    Some(Mount { kind, source, target: target.to_owned(), read_only })
}

fn long(name: &str, item: &Item, part: &Part<'_>, set: &mut Set<'_>) -> Option<Mount> {
    let mut fields = Part::new(part.service(), "volumes.", item);
    let (kind, source) = (fields.take("type"), fields.text("source", &mut set.notes));
    let target = fields.text("target", &mut set.notes).unwrap_or_default().to_owned();
    let read_only = fields.truth("read_only", &mut set.notes) == Some(true);
    let line = item.line;
    let (kind, source) = match (kind.and_then(Item::text).unwrap_or("volume"), source) {
        ("bind", Some(path)) => {
            if let Some(bind) = fields.take("bind") {
                let mut bind = Part::new(part.service(), "volumes.bind.", bind);
                // Whether or not: a path that is missing is said.
                let _ = bind.take("create_host_path");
                bind.finish(&mut set.notes);
            }
            ("bind", bind_path(path, line, part, set))
        }
        ("volume", Some(volume)) => ("volume", volume_named(volume, line, part, set)),
        ("volume", None) => ("volume", volume_unnamed(name, &target, line, part, set)),
        ("tmpfs", _) => {
            let mut size = Yaml::from(true);
            if let Some(tmpfs) = fields.take("tmpfs") {
                let mut tmpfs = Part::new(part.service(), "volumes.tmpfs.", tmpfs);
                let given = tmpfs.text("size", &mut set.notes).and_then(words::size);
                if let Some(given) = given.filter(|given| *given > 0) {
                    size = Bytes(given).to_string().into();
                }
                tmpfs.finish(&mut set.notes);
            }
            ("tmpfs", size)
        }
        (kind, _) => {
            let why = format!("a mount of type {kind} cannot be made here");
            part.lost(&mut set.notes, "volumes", line, &why);
            return None;
        }
    };
    fields.finish(&mut set.notes);
    Some(Mount { kind, source, target, read_only })
}

fn bind_path(path: &str, line: u32, part: &Part<'_>, set: &mut Set<'_>) -> Yaml {
    let absolute = set.absolute(path);
    if absolute != path {
        let why = format!("{path} is {absolute}: a bind names the whole path on the node");
        part.changed(&mut set.notes, "volumes", line, &why);
    }
    if !(set.world.exists)(absolute.as_ref()) {
        let why = format!("{absolute} is not there, and windlass does not make it: make it first");
        part.changed(&mut set.notes, "volumes", line, &why);
    }
    absolute.into()
}

fn volume_named(volume: &str, line: u32, part: &Part<'_>, set: &mut Set<'_>) -> Yaml {
    if let Some(name) = set.volumes.get(volume) {
        return name.clone().into();
    }
    let name = words::name(volume, "volume");
    part.changed(&mut set.notes, "volumes", line, "nothing declares it; a Volume is made for it");
    set.made_volumes.push(name.clone());
    name.into()
}

/// A volume without a name gets one of its service and its place.
fn volume_unnamed(name: &str, target: &str, line: u32, part: &Part<'_>, set: &mut Set<'_>) -> Yaml {
    let made = words::name(&format!("{name}{}", target.trim_end_matches('/')), "volume");
    let why =
        format!("the volume without a name is called {made}, and stays when a container goes");
    part.changed(&mut set.notes, "volumes", line, &why);
    set.made_volumes.push(made.clone());
    made.into()
}

/// Configs and secrets: files that are copied into each new container.
fn files(part: &mut Part<'_>, read_only: bool, set: &mut Set<'_>) -> Vec<Yaml> {
    let mut files = Vec::new();
    for name in ["configs", "secrets"] {
        for item in part.take(name).map(Item::items).unwrap_or_default() {
            let field = |field: &str| item.field(field).and_then(Item::text);
            let source = item.text().or_else(|| field("source")).unwrap_or_default();
            let declared = if name == "configs" { &set.configs } else { &set.secrets };
            let declared = declared.get(source).cloned();
            let given =
                |key: &str| declared.as_ref()?.field(key).and_then(Item::text).map(str::to_owned);
            let folder = if name == "configs" { "/" } else { "/run/secrets/" };
            let target = field("target").unwrap_or(source);
            let absolute = target.starts_with('/');
            let path = if absolute { target.to_owned() } else { format!("{folder}{target}") };
            let mut file = Mapping::new();
            put(&mut file, "path", path);
            let from_variable = given("environment").and_then(|name| set.vars.get(&name));
            match (given("file"), given("content").or(from_variable)) {
                _ if read_only => {
                    let why =
                        "files cannot be put into a root that is read-only; mount a bind with it";
                    part.lost(&mut set.notes, name, item.line, why);
                    continue;
                }
                (Some(path), _) if (set.world.exists)(set.absolute(&path).as_ref()) => {
                    put(&mut file, "source", set.beside(&path));
                }
                (None, Some(content)) => put(&mut file, "content", content),
                (_, _) => {
                    let why = format!("{source} is no file here; name one as `source` in `files`");
                    part.lost(&mut set.notes, name, item.line, &why);
                    continue;
                }
            }
            let mode = field("mode").map(|mode| mode.trim_start_matches("0o").to_owned());
            put_some(&mut file, "mode", mode);
            for owner in ["uid", "gid"] {
                put_some(&mut file, owner, field(owner).and_then(|text| text.parse::<u32>().ok()));
            }
            files.push(Yaml::Mapping(file));
            let why = format!(
                "{source} is copied into each new container; with another content, all are replaced"
            );
            part.changed(&mut set.notes, name, item.line, &why);
        }
    }
    files
}
