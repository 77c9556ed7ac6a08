//! What a container may do, and what it shares with its node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reconciler::model::spec::limits::{
    CAPABILITIES, IPC, PRIVATE_OR_HOST, ULIMITS, USER_NAMESPACES,
};
use reconciler::model::spec::{Device, Namespaces, Security, Ulimit, defaults};

use super::super::problem::Problem;
use super::super::tree::{Node, Value};
use super::fields::{Context, Fields, did_you_mean, short};
use super::files;
use super::{Surroundings, value};

/// Decodes `security`.
pub(super) fn decode(
    context: &mut Context<'_>,
    node: &Node<'_>,
    around: &Surroundings<'_>,
) -> Option<Security> {
    let mut fields = Fields::of(context, node, "security", "security.")?;
    let user = fields.take("user").and_then(|node| account(context, node, "security.user"));
    let groups = fields.take("groups").and_then(|node| {
        value::items(context, node, "security.groups", |context, node, field| {
            account(context, node, field)
        })
    });
    let mut flag = |context: &mut Context<'_>, name: &'static str| {
        let node = fields.take(name);
        let name = format!("security.{name}");
        node.and_then(|node| value::boolean(context, node, &name)).unwrap_or(false)
    };
    let read_only_root = flag(context, "readOnlyRoot");
    let no_new_privileges = flag(context, "noNewPrivileges");
    let privileged = flag(context, "privileged");
    let cap_add = fields.take("capAdd");
    let cap_add = cap_add.and_then(|node| capabilities(context, node, "security.capAdd"));
    let cap_drop = fields.take("capDrop");
    let cap_drop = cap_drop.and_then(|node| capabilities(context, node, "security.capDrop"));
    let devices = fields.take("devices");
    let devices = devices.and_then(|node| self::devices(context, node));
    let seccomp = fields.take("seccomp").and_then(|node| seccomp(context, node, around));
    let apparmor = fields.take("apparmor").and_then(|node| {
        let expected = "`unconfined`, or the name of a profile";
        value::text(context, node, "security.apparmor", expected).map(str::to_owned)
    });
    let sysctls = fields.take("sysctls").and_then(|node| {
        value::texts(context, node, "security.sysctls", |name| {
            let good = name.contains('.') && !name.contains(|c: char| c.is_whitespace());
            if good { Ok(()) } else { Err("expected a name such as `net.core.somaxconn`".into()) }
        })
    });
    let ulimits = fields.take("ulimits").and_then(|node| ulimits(context, node));
    let namespaces = fields.take("namespaces").and_then(|node| namespaces(context, node));
    fields.finish(context, &["selinux", "masks", "runtime", "deviceRules"]);
    Some(Security {
        user,
        groups: groups.unwrap_or_default().into_iter().collect(),
        read_only_root,
        no_new_privileges,
        cap_add: cap_add.unwrap_or_default(),
        cap_drop: cap_drop.unwrap_or_default(),
        privileged,
        devices: devices.unwrap_or_default(),
        seccomp,
        apparmor,
        sysctls: sysctls.unwrap_or_default(),
        ulimits: ulimits.unwrap_or_default(),
        namespaces: namespaces.unwrap_or_default(),
    })
}

/// A user or a group.
fn account(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<String> {
    let text = value::text(context, node, field, "a name or a number")?;
    let bad = text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control());
    if bad {
        context.invalid(node.span, field, "expected a name or a number, without blanks");
        return None;
    }
    Some(text.to_owned())
}

fn capabilities(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
) -> Option<BTreeSet<String>> {
    let found = value::items(context, node, field, |context, node, field| {
        let given = value::text(context, node, field, "a capability such as `NET_ADMIN`")?;
        let upper = given.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if CAPABILITIES.contains(&bare) {
            return Some(bare.to_owned());
        }
        let near = did_you_mean(bare, CAPABILITIES.iter().copied());
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        context.invalid(node.span, field, format!("no such capability{near}"));
        None
    })?;
    Some(found.into_iter().collect())
}

/// A list of `{ host, container, permissions }`, or of paths.
fn devices(context: &mut Context<'_>, node: &Node<'_>) -> Option<BTreeMap<String, Device>> {
    let mut devices = BTreeMap::new();
    let field = "security.devices";
    let found = value::items(context, node, field, |context, node, field| {
        if node.is_scalar() {
            let path = value::absolute_path(context, node, field)?;
            let permissions = defaults::device_permissions();
            let device = Device { host: path.clone(), permissions };
            return Some((node.span, path, device));
        }
        let path = format!("{field}.");
        let mut fields = Fields::of(context, node, field, &path)?;
        let host = fields.require(context, "host", "the path of the device on the node");
        let host = host.and_then(|node| value::absolute_path(context, node, &fields.name("host")));
        let inside = fields
            .take("container")
            .map(|node| value::absolute_path(context, node, &fields.name("container")));
        let permissions = fields.take("permissions").map(|node| {
            let name = fields.name("permissions");
            let given = value::text(context, node, &name, "some of `rwm`")?;
            let known = !given.is_empty() && given.chars().all(|c| "rwm".contains(c));
            if !known {
                context.invalid(node.span, &name, "expected some of r(ead), w(rite), m(ake)");
                return None;
            }
            // In one order, and each once: what is compared with what engines report.
            Some("rwm".chars().filter(|c| given.contains(*c)).collect())
        });
        fields.finish(context, &[]);
        let host = host?;
        let inside = inside.unwrap_or_else(|| Some(host.clone()))?;
        let permissions = permissions.unwrap_or_else(|| Some(defaults::device_permissions()))?;
        Some((node.span, inside, Device { host, permissions }))
    })?;
    for (span, inside, device) in found {
        if devices.insert(inside.clone(), device).is_some() {
            context.note(Problem::new(span, format!("two devices at `{inside}`")));
        }
    }
    Some(devices)
}

/// `unconfined`, or the path of a profile beside the spec.
fn seccomp(
    context: &mut Context<'_>,
    node: &Node<'_>,
    around: &Surroundings<'_>,
) -> Option<Arc<str>> {
    let field = "security.seccomp";
    let expected = "`unconfined`, or the path of a profile";
    let given = value::text(context, node, field, expected)?;
    if given == "unconfined" {
        return Some(Arc::from(given));
    }
    let (text, _) = files::content(context, node, field, given, around)?;
    match serde_json::from_str::<serde_json::Value>(&text) {
        // Without blanks: what is compared with what engines report.
        Ok(profile @ serde_json::Value::Object(_)) => Some(Arc::from(profile.to_string())),
        Ok(_) => {
            context.invalid(node.span, field, "the profile is not a JSON object");
            None
        }
        Err(error) => {
            context.invalid(node.span, field, format!("the profile is not JSON: {error}"));
            None
        }
    }
}

fn ulimits(context: &mut Context<'_>, node: &Node<'_>) -> Option<BTreeMap<String, Ulimit>> {
    let field = "security.ulimits";
    let Value::Mapping(entries) = &node.value else {
        context.wrong_type(node, field, "a mapping such as { nofile: 1024 }");
        return None;
    };
    let mut limits = BTreeMap::new();
    for entry in entries.iter() {
        let name = format!("{field}.{}", short(&entry.key));
        if !ULIMITS.contains(&&*entry.key) {
            let near = did_you_mean(&entry.key, ULIMITS.iter().copied());
            let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            context.invalid(entry.key_span, &name, format!("no such limit{near}"));
            continue;
        }
        if let Some(limit) = ulimit(context, &entry.value, &name) {
            limits.insert(entry.key.clone().into_owned(), limit);
        }
    }
    Some(limits)
}

/// A number for both, or `{ soft, hard }`; `unlimited` for none.
fn ulimit(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Ulimit> {
    let number = |context: &mut Context<'_>, node: &Node<'_>, field: &str| {
        if let Value::Scalar { text, .. } = &node.value
            && matches!(&**text, "unlimited" | "-1")
        {
            return Some(-1);
        }
        let number = value::integer(context, node, field, (0, i64::MAX as u64))?;
        i64::try_from(number).ok()
    };
    if node.is_scalar() {
        let limit = number(context, node, field)?;
        return Some(Ulimit { soft: limit, hard: limit });
    }
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let soft = fields.require(context, "soft", "the limit that holds");
    let soft = soft.and_then(|node| number(context, node, &fields.name("soft")));
    let hard_node = fields.require(context, "hard", "up to where it may be raised");
    let hard = hard_node.and_then(|node| number(context, node, &fields.name("hard")));
    let hard_name = fields.name("hard");
    fields.finish(context, &[]);
    let (soft, hard) = (soft?, hard?);
    let over = hard >= 0 && (soft < 0 || soft > hard);
    if let Some(node) = hard_node.filter(|_| over) {
        context.out_of_range(node.span, &hard_name, "the soft limit is above it");
        return None;
    }
    Some(Ulimit { soft, hard })
}

fn namespaces(context: &mut Context<'_>, node: &Node<'_>) -> Option<Namespaces> {
    let mut fields = Fields::of(context, node, "security.namespaces", "security.namespaces.")?;
    let mut word = |context: &mut Context<'_>, name: &'static str, words: &[&'static str]| {
        let node = fields.take(name)?;
        let words: Vec<_> = words.iter().map(|word| (*word, *word)).collect();
        let name = format!("security.namespaces.{name}");
        value::choice(context, node, &name, &words, &[]).map(str::to_owned)
    };
    let ipc = word(context, "ipc", &IPC);
    // Their own is what they have if nothing is said.
    let own = |word: Option<String>| word.filter(|word| word != "private");
    let pid = own(word(context, "pid", &PRIVATE_OR_HOST));
    let uts = own(word(context, "uts", &PRIVATE_OR_HOST));
    let cgroup = word(context, "cgroup", &PRIVATE_OR_HOST);
    let user = word(context, "user", &USER_NAMESPACES);
    fields.finish(context, &["network"]);
    Some(Namespaces { ipc, pid, uts, cgroup, user })
}
