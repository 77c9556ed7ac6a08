//! The fields that most instances leave out, a row each.

use reconciler::model::spec::{Content, FileSpec, More};
use serde_json::Value;

/// One row for each field that was said. Never the content of a file: it may be a secret.
pub(super) fn rows(more: &More) -> Vec<(&'static str, String)> {
    let More {
        workdir,
        env_files,
        files,
        user_data,
        hostname,
        networks,
        dns,
        extra_hosts,
        update,
        placement,
        depends_on,
        security,
        init,
        tty,
        log,
        requests,
        protected,
    } = more;
    let own = |text: &Option<String>| text.clone().unwrap_or_default();
    let networks = networks.iter().map(|one| {
        let mut text = one.network.to_string();
        if !one.aliases.is_empty() {
            text.push_str(&format!(" as {}", one.aliases.join(", ")));
        }
        if let Some(address) = one.address {
            text.push_str(&format!(" at {address}"));
        }
        text
    });
    let depends =
        depends_on.iter().map(|one| format!("{} {}", one.instance, one.condition.as_str()));
    vec![
        ("Workdir", own(workdir)),
        ("Env files", joined(env_files.iter().map(|file| file.path.clone()))),
        ("Files", joined(files.iter().map(file))),
        ("User data", user_data.as_ref().map(file).unwrap_or_default()),
        ("Hostname", own(hostname)),
        ("Networks", joined(networks)),
        ("Dns", shown(&**dns)),
        ("Hosts", shown(extra_hosts)),
        ("Update", update.as_ref().map(shown).unwrap_or_default()),
        ("Placement", placement.as_ref().map(shown).unwrap_or_default()),
        ("Depends on", joined(depends)),
        ("Security", shown(&**security)),
        ("Init", init.map(|init| init.to_string()).unwrap_or_default()),
        ("Terminal", if *tty { "yes".to_owned() } else { String::new() }),
        ("Log", log.as_ref().map(shown).unwrap_or_default()),
        ("Requests", shown(requests)),
        ("Protected", if *protected { "yes".to_owned() } else { String::new() }),
    ]
}

fn file(file: &FileSpec) -> String {
    let FileSpec { path, content, mode, uid, gid } = file;
    let from = match content {
        Content::Text(text) => format!("{} bytes", text.len()),
        Content::File(file) => file.path.clone(),
    };
    let owner = if (*uid, *gid) == (0, 0) { String::new() } else { format!(", owner {uid}:{gid}") };
    format!("{path} from {from}, mode {mode:04o}{owner}")
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join("\n")
}

/// Any settings, as `name: value, name: [a, b]`.
fn shown(settings: &impl serde::Serialize) -> String {
    // A spec always has a serial form; without one there is nothing to show.
    match serde_json::to_value(settings).unwrap_or_default() {
        Value::Object(map) => {
            let said = map.iter().filter(|(_, value)| !value.is_null());
            said.map(|(name, value)| format!("{name}: {}", flow(value)))
                .collect::<Vec<_>>()
                .join(", ")
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => flow(&other),
    }
}

/// A value in one line, cut where it is a whole profile.
pub(super) fn flow(value: &Value) -> String {
    /// Longest text that is shown: a seccomp profile has thousands of characters.
    const SHOWN_CHARS_MAX: usize = 40;
    match value {
        Value::String(text) if text.chars().count() > SHOWN_CHARS_MAX => {
            format!("{}…", text.chars().take(SHOWN_CHARS_MAX).collect::<String>())
        }
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let inner = map.iter().map(|(name, value)| format!("{name}: {}", flow(value)));
            format!("{{ {} }}", inner.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
