//! Compose files → specs, once: what a user of Compose needs to begin here.
//!
//! Read in this order: [`import`] (a whole file), [`notes`] (what is said about it), `item` and
//! `vars` (the file with its variables filled in), `service` (one service), `limits`, `security`,
//! `ports`, `mounts` and `networks` (parts of one), `objects` (top-level volumes and networks),
//! `write` (the text). Nothing is dropped in silence: a field that nobody takes is noted by
//! [`notes::Part::finish`].

mod advice;
mod item;
mod limits;
mod mounts;
mod networks;
pub mod notes;
mod objects;
mod ports;
mod security;
mod service;
#[cfg(test)]
mod tests;
mod vars;
mod words;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use self::item::{Field, Item};
use self::notes::{Note, Notes, Part};
use self::vars::Vars;

/// What reading a Compose file needs of the world.
pub struct World<'w> {
    /// The folder of the file; relative paths in it begin there. Absolute.
    pub folder: &'w Path,
    /// The folder that the specs will be in, if that is known. Absolute.
    pub target: Option<&'w Path>,
    /// The value of an environment variable.
    pub environment: &'w dyn Fn(&str) -> Option<String>,
    /// The text of a file, or why it cannot be read.
    pub read: &'w dyn Fn(&Path) -> Result<String, String>,
    /// Whether something is at a path.
    pub exists: &'w dyn Fn(&Path) -> bool,
    /// Profiles whose services are wanted.
    pub profiles: &'w BTreeSet<String>,
}

/// Why nothing at all can be made of a file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

impl Refused {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// What was made of a Compose file.
#[derive(Debug)]
pub struct Imported {
    /// The spec files: name and text.
    pub files: Vec<(String, String)>,
    /// What is to be said about them.
    pub notes: Vec<Note>,
}

/// The file that holds what several services share. No service has that name: names hold no `_`.
const SHARED: &str = "_shared.yaml";

/// The network that services are on if they name none.
const DEFAULT_NETWORK: &str = "default";

/// Makes specs of the Compose file `text`, which is shown as `file`.
///
/// # Errors
/// If it is no YAML, has no services, or needs a variable that is not set.
pub fn import(text: &str, file: &str, world: &World<'_>) -> Result<Imported, Refused> {
    let mut vars =
        Vars { environment: world.environment, file: BTreeMap::new(), unset: BTreeMap::new() };
    let dot_env = world.folder.join(".env");
    if (world.exists)(&dot_env) {
        let text = (world.read)(&dot_env);
        let text =
            text.map_err(|why| Refused::new(format!("read {}: {why}", dot_env.display())))?;
        vars.file = vars::of_file(&text, world.environment).into_iter().collect();
    }
    let root = item::read(text, file, &mut vars)?;
    let mut notes = Notes::default();
    for (name, line) in &vars.unset {
        let why = "it is not set here, so nothing stands in its place";
        notes.lost(None, &format!("${{{name}}}"), *line, why);
    }
    let mut top = Part::new(None, "", &root);
    let services = top.take("services");
    let Some(services) = services.filter(|services| !services.fields().is_empty()) else {
        return Err(Refused::new(format!("{file} declares no services: is it a Compose file?")));
    };
    let project = match top.take("name").and_then(Item::text) {
        Some(name) => name.to_owned(),
        None => {
            let folder = world.folder.file_name().unwrap_or_default().to_string_lossy();
            (world.environment)("COMPOSE_PROJECT_NAME").unwrap_or_else(|| folder.into_owned())
        }
    };
    // Old files say it, and it means nothing any more.
    let _ = top.take("version");
    let mut set = Set {
        world,
        vars: &vars,
        project: words::name(&project, "compose"),
        services: clean_names(services.fields(), "service"),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        configs: files_of(&mut top, "configs"),
        secrets: files_of(&mut top, "secrets"),
        needs_default: false,
        made_volumes: Vec::new(),
        notes,
    };
    if set.project != project {
        let why =
            format!("the project is called {}: names here hold only a-z, 0-9 and `-`", set.project);
        set.notes.changed(None, "name", root.line, &why);
    }
    let networks = top.take("networks").map_or(&[][..], Item::fields);
    let volumes = top.take("volumes").map_or(&[][..], Item::fields);
    set.networks = objects::network_names(networks);
    set.volumes = clean_names(volumes, "volume");
    top.finish(&mut set.notes);

    let mut documents = Vec::new();
    let wanted = wanted(services, &mut set);
    for (name, item) in &wanted {
        let clean = set.services.get(name).cloned().unwrap_or_default();
        let made = service::documents(name, &clean, item, &mut set);
        let file = format!("{clean}.yaml");
        documents.extend(made.into_iter().map(|document| (file.clone(), document)));
    }
    let shared = objects::documents(networks, volumes, &mut set);
    documents.extend(shared.into_iter().map(|document| (SHARED.to_owned(), document)));
    let mut notes = set.notes.list;
    notes.sort_by_key(|note| note.line);
    Ok(Imported { files: write::files(documents, &notes, file), notes })
}

/// So many services may extend each other in a row: people stop at three, and each costs stack.
const EXTENDS_MAX: usize = 32;

/// What is known of a whole file while its parts are translated.
struct Set<'s> {
    world: &'s World<'s>,
    vars: &'s Vars<'s>,
    project: String,
    /// Our names of services, networks and volumes, by theirs.
    services: BTreeMap<String, String>,
    networks: BTreeMap<String, String>,
    volumes: BTreeMap<String, String>,
    configs: BTreeMap<String, Item>,
    secrets: BTreeMap<String, Item>,
    /// Whether a service is on the network that nobody has to declare.
    needs_default: bool,
    /// Volumes that no top-level entry declares.
    made_volumes: Vec<String>,
    notes: Notes,
}

impl Set<'_> {
    /// An absolute path of what the file calls `path`.
    fn absolute(&self, path: &str) -> String {
        let home = (self.world.environment)("HOME");
        let path = match (path.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                PathBuf::from(format!("{home}{rest}"))
            }
            (Some(_) | None, _) => self.world.folder.join(path),
        };
        let mut parts = PathBuf::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    parts.pop();
                }
                Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                    parts.push(part)
                }
            }
        }
        parts.to_string_lossy().into_owned()
    }

    /// What a spec calls the file that the Compose file calls `path`: seen from the specs' own
    /// folder, if that is known.
    fn beside(&self, path: &str) -> String {
        let path = PathBuf::from(self.absolute(path));
        let Some(target) = self.world.target else { return path.to_string_lossy().into_owned() };
        let shared = path.components().zip(target.components()).take_while(|(a, b)| a == b).count();
        let up = target.components().count() - shared;
        // From another place altogether, a relative path says nothing to a reader.
        if shared <= 1 {
            return path.to_string_lossy().into_owned();
        }
        let mut way: PathBuf = std::iter::repeat_n("..", up).collect();
        way.extend(path.components().skip(shared));
        let way = way.to_string_lossy();
        if up == 0 { format!("./{way}") } else { way.into_owned() }
    }
}

/// Our names for theirs, no two the same.
fn clean_names(fields: &[Field], fallback: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for field in fields {
        let clean = words::name(&field.key, fallback);
        let mut free = clean.clone();
        let mut number = 2;
        while !taken.insert(free.clone()) {
            free = format!("{}-{number}", clean.chars().take(56).collect::<String>());
            number += 1;
        }
        names.insert(field.key.clone(), free);
    }
    names
}

fn files_of(top: &mut Part<'_>, name: &'static str) -> BTreeMap<String, Item> {
    let fields = top.take(name).map_or(&[][..], Item::fields);
    fields.iter().map(|field| (field.key.clone(), field.item.clone())).collect()
}

/// The services that are started, with what they extend.
fn wanted(services: &Item, set: &mut Set<'_>) -> Vec<(String, Item)> {
    let mut wanted = Vec::new();
    for Field { key, item, line } in services.fields() {
        let item = extended(key, item, services, &mut vec![key.clone()], set);
        let profiles = item.field("profiles").map(Item::items).unwrap_or_default();
        let mut names = profiles.iter().filter_map(|item| item.text());
        let chosen =
            |name: &str| set.world.profiles.contains(name) || set.world.profiles.contains("*");
        if profiles.is_empty() || names.clone().any(chosen) {
            wanted.push((key.clone(), item));
            continue;
        }
        let name = names.next().unwrap_or_default();
        let why = format!(
            "the service is left out: it belongs to a profile, and Compose starts it on demand \
             only; `--profile {name}` takes it in"
        );
        set.notes.lost(None, &format!("services.{key}"), *line, &why);
    }
    // Who is left out is waited for by nobody.
    let names: BTreeSet<&String> = wanted.iter().map(|(name, _)| name).collect();
    set.services.retain(|name, _| names.contains(name));
    wanted
}

/// A service over the one that it extends.
fn extended(
    name: &str,
    item: &Item,
    services: &Item,
    above: &mut Vec<String>,
    set: &mut Set<'_>,
) -> Item {
    let Some(extends) = item.field("extends") else { return item.clone() };
    let base = extends.text().or_else(|| extends.field("service").and_then(Item::text));
    let base = base.unwrap_or_default();
    if extends.field("file").is_some() {
        let why =
            "it is in another file; copy it over, or import what `docker compose config` prints";
        set.notes.lost(Some(name), "extends", extends.line, why);
        return item.clone();
    }
    if above.len() > EXTENDS_MAX {
        let why = format!("more than {EXTENDS_MAX} services extend each other in a row");
        set.notes.lost(Some(name), "extends", extends.line, &why);
        return item.clone();
    }
    let found = services.field(base).filter(|_| !above.iter().any(|name| name == base));
    let Some(found) = found else {
        let why = format!("there is no service `{base}` that it could extend");
        set.notes.lost(Some(name), "extends", extends.line, &why);
        return item.clone();
    };
    above.push(base.to_owned());
    let found = extended(base, found, services, above, set);
    item.over(&found)
}
