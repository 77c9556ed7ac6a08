//! What a service may do, and what it shares with its host.

use reconciler::model::spec::limits::{
    CAPABILITIES, IPC, PRIVATE_OR_HOST, ULIMITS, USER_NAMESPACES,
};
use serde_yaml::{Mapping, Value as Yaml};

use super::Set;
use super::item::Item;
use super::notes::Part;
use super::write::{list, put, texts};

/// The `security` of an Instance.
pub(super) fn of(part: &mut Part<'_>, read_only: bool, set: &mut Set<'_>) -> Mapping {
    let mut spec = Mapping::new();
    if let Some(user) = part.text("user", &mut set.notes) {
        put(&mut spec, "user", user);
    }
    let groups = part.take("group_add").map(Item::items).unwrap_or_default();
    put(&mut spec, "groups", list(groups.iter().filter_map(|item| item.text().map(str::to_owned))));
    if read_only {
        put(&mut spec, "readOnlyRoot", true);
    }
    options(part, &mut spec, set);
    for (theirs, ours) in [("cap_add", "capAdd"), ("cap_drop", "capDrop")] {
        let mut names = Vec::new();
        for item in part.take(theirs).map(Item::items).unwrap_or_default() {
            let upper = item.text().unwrap_or_default().to_ascii_uppercase();
            let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
            if CAPABILITIES.contains(&bare) {
                names.push(bare.to_owned());
            } else {
                part.lost(&mut set.notes, theirs, item.line, "there is no such capability");
            }
        }
        put(&mut spec, ours, list(names));
    }
    if part.truth("privileged", &mut set.notes) == Some(true) {
        put(&mut spec, "privileged", true);
    }
    put(&mut spec, "devices", devices(part, set));
    let sysctls = part.take("sysctls").map(|item| item.pairs(&['='])).unwrap_or_default();
    let mut settings = Vec::new();
    for (name, value, line) in sysctls {
        match value {
            Some(value) => settings.push((name, value)),
            None => part.lost(&mut set.notes, "sysctls", line, "expected NAME=value"),
        }
    }
    put(&mut spec, "sysctls", texts(settings));
    put(&mut spec, "ulimits", ulimits(part, set));
    let mut shared = Mapping::new();
    let namespaces: [(&'static str, &str, &[&str]); 5] = [
        ("ipc", "ipc", &IPC),
        ("pid", "pid", &PRIVATE_OR_HOST),
        ("uts", "uts", &PRIVATE_OR_HOST),
        ("cgroup", "cgroup", &PRIVATE_OR_HOST),
        ("userns_mode", "user", &USER_NAMESPACES),
    ];
    for (theirs, ours, words) in namespaces {
        let Some(item) = part.take(theirs) else { continue };
        match item.text().filter(|word| words.contains(word)) {
            Some(word) => put(&mut shared, ours, word),
            None => {
                let why =
                    format!("expected one of {}: no other container's is shared", words.join(", "));
                part.lost(&mut set.notes, theirs, item.line, &why);
            }
        }
    }
    put(&mut spec, "namespaces", shared);
    spec
}

/// `security_opt`.
fn options(part: &mut Part<'_>, spec: &mut Mapping, set: &mut Set<'_>) {
    for item in part.take("security_opt").map(Item::items).unwrap_or_default() {
        let text = item.text().unwrap_or_default();
        let (name, value) = text.split_once([':', '=']).unwrap_or((text, "true"));
        match (name, value) {
            ("no-new-privileges", "true") => put(spec, "noNewPrivileges", true),
            ("no-new-privileges", "false") => {}
            ("seccomp", "unconfined") => put(spec, "seccomp", "unconfined"),
            ("seccomp", path) => {
                let found = (set.world.read)(set.absolute(path).as_ref());
                match found {
                    Ok(_) => put(spec, "seccomp", set.beside(path)),
                    Err(why) => {
                        let why = format!("{path} cannot be read: {why}");
                        part.lost(&mut set.notes, "security_opt", item.line, &why);
                    }
                }
            }
            ("apparmor", profile) => put(spec, "apparmor", profile),
            (_, _) => {
                let why = format!("`{name}` cannot be set here");
                part.lost(&mut set.notes, "security_opt", item.line, &why);
            }
        }
    }
}

fn devices(part: &mut Part<'_>, set: &mut Set<'_>) -> Vec<Yaml> {
    let mut devices = Vec::new();
    for item in part.take("devices").map(Item::items).unwrap_or_default() {
        let named = |name: &str| item.field(name).and_then(Item::text);
        let mut words = item.text().unwrap_or_default().split(':');
        let host = words.next().filter(|host| !host.is_empty()).or_else(|| named("source"));
        let inside = words.next().or_else(|| named("target"));
        let permissions = words.next().or_else(|| named("permissions"));
        let is_path = |path: &&str| path.starts_with('/');
        let Some(host) = host.filter(is_path) else {
            let why = "expected the path of a device: none is found by another name";
            part.lost(&mut set.notes, "devices", item.line, why);
            continue;
        };
        let mut device = Mapping::new();
        put(&mut device, "host", host);
        if let Some(inside) = inside.filter(|inside| is_path(inside) && *inside != host) {
            put(&mut device, "container", inside);
        }
        if let Some(permissions) = permissions.filter(|given| *given != "rwm" && !given.is_empty())
        {
            put(&mut device, "permissions", permissions);
        }
        devices.push(if device.len() == 1 { Yaml::from(host) } else { Yaml::Mapping(device) });
    }
    devices
}

fn ulimits(part: &mut Part<'_>, set: &mut Set<'_>) -> Mapping {
    let mut limits = Mapping::new();
    for field in part.take("ulimits").map(Item::fields).unwrap_or_default() {
        let number = |item: &Item| match item.number() {
            Some(-1) => Some(Yaml::from("unlimited")),
            Some(number) if number >= 0 => Some(Yaml::from(number)),
            Some(_) | None => None,
        };
        let both = (field.item.field("soft"), field.item.field("hard"));
        let limit = match both {
            (Some(soft), Some(hard)) => number(soft).zip(number(hard)).map(|(soft, hard)| {
                let mut limit = Mapping::new();
                put(&mut limit, "soft", soft);
                put(&mut limit, "hard", hard);
                Yaml::Mapping(limit)
            }),
            (_, _) => number(&field.item),
        };
        match limit.filter(|_| ULIMITS.contains(&&*field.key)) {
            Some(limit) => put(&mut limits, &field.key, limit),
            None => {
                let name = format!("ulimits.{}", field.key);
                part.lost(&mut set.notes, &name, field.line, "there is no such limit");
            }
        }
    }
    limits
}
