//! One service: its Instance, and the Image that it may need.

use reconciler::model::quantity::Span;
use reconciler::model::spec::limits::REPLICAS_MAX;
use serde_yaml::{Mapping, Value as Yaml};

use super::item::{Item, Value};
use super::notes::Part;
use super::write::{Document, list, put, texts};
use super::{Set, limits, mounts, networks, ports, security, vars, words};

/// Labels of windlass's own begin like this.
const RESERVED_LABELS: &str = "io.windlass.";

/// What is made of a service.
pub(super) fn documents(
    service: &str,
    name: &str,
    item: &Item,
    set: &mut Set<'_>,
) -> Vec<Document> {
    let mut part = Part::new(Some(service), "", item);
    if service != name {
        let why = format!("the service is called {name} here, and {service} on its networks");
        part.changed(&mut set.notes, "name", item.line, &why);
    }
    // These two were spoken of.
    let _ = (part.take("profiles"), part.take("extends"));
    let mut deploy = part.take("deploy").map(|item| Part::new(Some(service), "deploy.", item));
    let replicas = replicas(&mut part, deploy.as_mut(), set);
    let mut spec = Mapping::new();
    let (image, source) = image(service, name, &mut part, set);
    put(&mut spec, "image", image);
    if replicas != 1 {
        put(&mut spec, "replicas", replicas);
    }
    put(&mut spec, "command", command("entrypoint", &mut part, set));
    put(&mut spec, "args", command("command", &mut part, set));
    if let Some(item) = part.take("working_dir") {
        match item.text().and_then(mounts::inner_path) {
            Some(folder) => put(&mut spec, "workdir", folder),
            None => {
                let why = "expected an absolute path inside";
                part.lost(&mut set.notes, "working_dir", item.line, why);
            }
        }
    }
    environment(&mut part, &mut spec, set);
    put(&mut spec, "resources", limits::of(&mut part, deploy.as_mut(), set));
    put(&mut spec, "ports", ports::of(&mut part, replicas, set));
    let read_only = part.truth("read_only", &mut set.notes) == Some(true);
    let mounts::Mounted { volumes, files } = mounts::of(name, &mut part, read_only, set);
    put(&mut spec, "volumes", volumes);
    put(&mut spec, "files", files);
    networks::of(service, &mut part, replicas, &mut spec, set);
    put(&mut spec, "dependsOn", depends_on(&mut part, set));
    put(&mut spec, "health", health(service, &mut part, set));
    put(&mut spec, "restart", restart(&mut part, deploy.as_mut(), set));
    put(&mut spec, "stop", stop(&mut part, set));
    if let Some(deploy) = &mut deploy {
        let update = update(service, deploy, replicas, &spec, set);
        put(&mut spec, "update", update);
    }
    put(&mut spec, "security", security::of(&mut part, read_only, set));
    for (theirs, ours) in [("init", "init"), ("tty", "tty")] {
        if let Some(truth) = part.truth(theirs, &mut set.notes) {
            put(&mut spec, ours, truth);
        }
    }
    put(&mut spec, "labels", labels(&mut part, set));
    put(&mut spec, "log", log(service, &mut part, set));
    if let Some(deploy) = deploy {
        deploy.finish(&mut set.notes);
    }
    part.finish(&mut set.notes);
    let project = set.project.clone();
    let mut documents = Vec::new();
    if let Some(source) = source {
        documents.push(Document {
            service: None,
            kind: "Image",
            name: name.to_owned(),
            project: project.clone(),
            labels: Mapping::new(),
            spec: source,
        });
    }
    let (service, name) = (Some(service.to_owned()), name.to_owned());
    let labels = Mapping::new();
    documents.push(Document { service, kind: "Instance", name, project, labels, spec });
    documents
}

fn replicas(part: &mut Part<'_>, deploy: Option<&mut Part<'_>>, set: &mut Set<'_>) -> u64 {
    let scale = part.take("scale");
    let mut count = scale;
    if let Some(deploy) = deploy {
        count = deploy.take("replicas").or(count);
        if let Some(mode) = deploy.take("mode").filter(|mode| mode.text() != Some("replicated")) {
            let why = "there is a number of replicas, and no mode: one a node cannot be said yet";
            deploy.lost(&mut set.notes, "mode", mode.line, why);
        }
    }
    let Some(item) = count else { return 1 };
    let number = item.number().and_then(|number| u64::try_from(number).ok());
    number.filter(|number| *number <= REPLICAS_MAX).unwrap_or_else(|| {
        let why = format!("expected a number from 0 to {REPLICAS_MAX}; there is one replica");
        part.lost(&mut set.notes, "scale", item.line, &why);
        1
    })
}

/// The image, and the spec of the Image object that it needs if something is said of its pulls.
fn image(
    service: &str,
    name: &str,
    part: &mut Part<'_>,
    set: &mut Set<'_>,
) -> (String, Option<Mapping>) {
    let given = part.text("image", &mut set.notes).map(str::to_owned);
    let build = part.take("build");
    let made = given.clone().unwrap_or_else(|| format!("{}-{service}:latest", set.project));
    if let Some(build) = build {
        let why = format!(
            "windlass builds no images yet: build {made} first (`docker compose build {service}`), \
             and again when its sources change, under another tag"
        );
        part.lost(&mut set.notes, "build", build.line, &why);
    } else if given.is_none() {
        part.lost(&mut set.notes, "image", 0, "the service names none, and builds none");
    }
    let Some(policy) = part.take("pull_policy") else { return (made, None) };
    let pull = match policy.text().unwrap_or_default() {
        word @ ("always" | "never") if build.is_none() => word,
        "missing" | "if_not_present" => return (made, None),
        _ => {
            let why = "an image is pulled if its node lacks it; `pull` of an Image can be always, missing or never";
            part.lost(&mut set.notes, "pull_policy", policy.line, why);
            return (made, None);
        }
    };
    let mut source = Mapping::new();
    put(&mut source, "source", texts([("registry".to_owned(), made)]));
    put(&mut source, "pull", pull);
    (name.to_owned(), Some(source))
}

/// `entrypoint` and `command`: a list, or a line that is split into one.
fn command(name: &'static str, part: &mut Part<'_>, set: &mut Set<'_>) -> Yaml {
    let Some(item) = part.take(name) else { return Yaml::Null };
    let words = match &item.value {
        Value::Text(text) => words::split(text),
        Value::List(_) | Value::Null | Value::Map(_) => {
            Some(item.items().into_iter().filter_map(Item::text).map(str::to_owned).collect())
        }
    };
    match words {
        None => part.lost(&mut set.notes, name, item.line, "a quote in it is not closed"),
        Some(words) if words.is_empty() => {
            let why =
                "it takes the image's own away, which cannot be said here; write what shall run";
            part.lost(&mut set.notes, name, item.line, why);
        }
        Some(words) => return list(words),
    }
    Yaml::Null
}

fn environment(part: &mut Part<'_>, spec: &mut Mapping, set: &mut Set<'_>) {
    let mut files = Vec::new();
    let mut variables: Vec<(String, String)> = Vec::new();
    for item in part.take("env_file").map(Item::items).unwrap_or_default() {
        let Some(path) = item.text().or_else(|| item.field("path").and_then(Item::text)) else {
            part.lost(&mut set.notes, "env_file", item.line, "it names no file");
            continue;
        };
        let raw = item.field("format").and_then(Item::text) == Some("raw");
        match (set.world.read)(set.absolute(path).as_ref()) {
            Ok(text) if variables.is_empty() && (raw || vars::is_literal(&text)) => {
                files.push(set.beside(path));
            }
            Ok(text) => {
                let why = format!(
                    "the variables of {path} are written out: windlass takes values of such files as \
                     they stand, without quotes, comments and variables in them, and in this order"
                );
                part.changed(&mut set.notes, "env_file", item.line, &why);
                variables.extend(vars::of_file(&text, &|name| set.vars.get(name)));
            }
            Err(_) if item.field("required").and_then(Item::truth) == Some(false) => {
                let why = format!("{path} is not there, and was not required");
                part.changed(&mut set.notes, "env_file", item.line, &why);
            }
            Err(why) => {
                let why =
                    format!("{path} cannot be read: {why}; make it, and name it in `envFiles`");
                part.lost(&mut set.notes, "env_file", item.line, &why);
            }
        }
    }
    let pairs = part.take("environment").map(|item| item.pairs(&['='])).unwrap_or_default();
    for (name, value, line) in pairs {
        let value = value.or_else(|| {
            let value = set.vars.get(&name);
            let why = match &value {
                Some(_) => format!("{name} has the value that it had when this was imported"),
                None => format!("{name} is not set here, so the container gets none"),
            };
            match &value {
                Some(_) => part.changed(&mut set.notes, "environment", line, &why),
                None => part.lost(&mut set.notes, "environment", line, &why),
            }
            value
        });
        variables.extend(value.map(|value| (name, value)));
    }
    put(spec, "envFiles", list(files));
    put(spec, "env", texts(variables));
}

fn depends_on(part: &mut Part<'_>, set: &mut Set<'_>) -> Vec<Yaml> {
    let Some(item) = part.take("depends_on") else { return Vec::new() };
    let mut found = Vec::new();
    let names: Vec<(&str, Option<&Item>, u32)> = match &item.value {
        Value::Map(fields) => {
            fields.iter().map(|field| (field.key.as_str(), Some(&field.item), field.line)).collect()
        }
        Value::List(_) | Value::Text(_) | Value::Null => {
            let items = item.items().into_iter();
            items.filter_map(|item| Some((item.text()?, None, item.line))).collect()
        }
    };
    for (name, says, line) in names {
        let Some(ours) = set.services.get(name).cloned() else {
            let why = format!("there is no service {name} among those that are started");
            part.lost(&mut set.notes, "depends_on", line, &why);
            continue;
        };
        let field = |field: &str| says.and_then(|says| says.field(field));
        let condition = match field("condition").and_then(Item::text) {
            Some("service_healthy") => "healthy",
            Some("service_completed_successfully") => "completed",
            Some(_) | None => "started",
        };
        if let Some(item) = field("restart").filter(|item| item.truth() == Some(true)) {
            let why = "an instance is not restarted because another one was";
            part.lost(&mut set.notes, "depends_on.restart", item.line, why);
        }
        if let Some(item) = field("required").filter(|item| item.truth() == Some(false)) {
            let why = "what an instance waits for must be declared";
            part.lost(&mut set.notes, "depends_on.required", item.line, why);
        }
        found.push(if condition == "started" {
            Yaml::from(ours)
        } else {
            texts([("instance".to_owned(), ours), ("condition".to_owned(), condition.to_owned())])
        });
    }
    found
}

fn health(service: &str, part: &mut Part<'_>, set: &mut Set<'_>) -> Mapping {
    let mut spec = Mapping::new();
    let Some(item) = part.take("healthcheck") else { return spec };
    let mut check = Part::new(Some(service), "healthcheck.", item);
    let disabled = check.take("disable").filter(|item| item.truth() == Some(true));
    let test = check.take("test");
    let mut words: Vec<String> = match test.map(|test| (&test.value, test)) {
        Some((Value::Text(text), _)) if text == "NONE" => vec![text.clone()],
        Some((Value::Text(text), _)) => vec!["CMD-SHELL".to_owned(), text.clone()],
        Some((_, test)) => {
            test.items().into_iter().filter_map(Item::text).map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    let how = if words.is_empty() { String::new() } else { words.remove(0) };
    let off = disabled.or_else(|| test.filter(|_| how == "NONE"));
    if let Some(off) = off {
        let why = "a check that the image brings with it stays; give one of your own, such as `exec: [\"true\"]`";
        check.lost(&mut set.notes, "disable", off.line, why);
        return spec;
    }
    let exec = match how.as_str() {
        "CMD" => words,
        "CMD-SHELL" => ["/bin/sh", "-c"].map(str::to_owned).into_iter().chain(words).collect(),
        _ => Vec::new(),
    };
    if exec.is_empty() {
        let why =
            "a check needs its command: write it as `health: { exec: [ … ] }`, with these times";
        part.lost(&mut set.notes, "healthcheck", item.line, why);
        return spec;
    }
    put(&mut spec, "exec", list(exec));
    for (theirs, ours) in
        [("interval", "interval"), ("timeout", "timeout"), ("start_period", "startPeriod")]
    {
        let Some(item) = check.take(theirs) else { continue };
        let text = item.text().unwrap_or_default();
        match text.parse::<Span>() {
            Ok(span) if span.0 > 0 || ours == "startPeriod" => {
                put(&mut spec, ours, span.to_string())
            }
            // Engines take it for nothing said.
            Ok(_) => {}
            Err(why) => check.lost(&mut set.notes, theirs, item.line, &why.to_string()),
        }
    }
    if let Some(item) = check.take("retries") {
        match item.number() {
            Some(number @ 1..=1000) => put(&mut spec, "retries", number),
            Some(0) => {}
            Some(_) | None => {
                check.lost(
                    &mut set.notes,
                    "retries",
                    item.line,
                    "expected a number from 1 to 1000",
                );
            }
        }
    }
    check.finish(&mut set.notes);
    spec
}

fn restart(part: &mut Part<'_>, deploy: Option<&mut Part<'_>>, set: &mut Set<'_>) -> &'static str {
    let own = part.take("restart");
    let policy = deploy.and_then(|deploy| deploy.take("restart_policy"));
    if let Some(item) = policy {
        let mut policy = Part::new(part.service(), "deploy.restart_policy.", item);
        let condition = policy.text("condition", &mut set.notes);
        policy.finish(&mut set.notes);
        if let Some(own) = own {
            let why = "`deploy.restart_policy` goes before it, as in Compose";
            part.changed(&mut set.notes, "restart", own.line, why);
        }
        return match condition {
            Some("none") => "never",
            Some("on-failure") => "on-failure",
            Some(_) | None => "always",
        };
    }
    // Compose leaves alone what ended, unless it is told otherwise.
    let Some(item) = own else { return "never" };
    match item.text().unwrap_or_default() {
        "always" => "always",
        "unless-stopped" => {
            let why = "it is `always`; to stop it, write `power: stopped`";
            part.changed(&mut set.notes, "restart", item.line, why);
            "always"
        }
        text if text.starts_with("on-failure") => {
            if text.contains(':') {
                let why = "windlass does not give up after so many times; it waits longer";
                part.lost(&mut set.notes, "restart", item.line, why);
            }
            "on-failure"
        }
        _ => "never",
    }
}

fn stop(part: &mut Part<'_>, set: &mut Set<'_>) -> Mapping {
    let mut spec = Mapping::new();
    if let Some(item) = part.take("stop_signal") {
        match item.text() {
            Some(text) if !text.starts_with(|c: char| c.is_ascii_digit()) => {
                put(&mut spec, "signal", text);
            }
            Some(_) | None => {
                part.lost(&mut set.notes, "stop_signal", item.line, "write the signal's name");
            }
        }
    }
    if let Some(item) = part.take("stop_grace_period") {
        match item.text().unwrap_or_default().parse::<Span>() {
            Ok(span) => put(&mut spec, "timeout", span.to_string()),
            Err(why) => {
                part.lost(&mut set.notes, "stop_grace_period", item.line, &why.to_string());
            }
        }
    }
    spec
}

fn update(
    service: &str,
    deploy: &mut Part<'_>,
    replicas: u64,
    of: &Mapping,
    set: &mut Set<'_>,
) -> Mapping {
    let mut spec = Mapping::new();
    let Some(item) = deploy.take("update_config") else { return spec };
    let mut config = Part::new(Some(service), "deploy.update_config.", item);
    let most = replicas.max(1);
    let number = config.take("parallelism").and_then(Item::number);
    let number = number.map_or(1, |number| u64::try_from(number).unwrap_or(1));
    // None at all means all at once.
    let number = if number == 0 { most } else { number.min(most) };
    let order = config.take("order").filter(|order| order.text() != Some("stop-first"));
    let hindrance = order.and_then(|_| hindrance(of, replicas + number));
    if let (Some(order), Some(why)) = (order, hindrance) {
        let why = format!("the old one stops before the new one starts, since {why}");
        config.lost(&mut set.notes, "order", order.line, &why);
    }
    let starts_first = order.is_some() && hindrance.is_none();
    if starts_first {
        put(&mut spec, "order", "start-first");
    }
    if number > 1 {
        put(&mut spec, if starts_first { "maxSurge" } else { "maxUnavailable" }, number);
    }
    config.finish(&mut set.notes);
    spec
}

/// Why two containers of one replica cannot run at once, if they cannot: with so many of them
/// in all.
fn hindrance(spec: &Mapping, containers: u64) -> Option<&'static str> {
    let list = |name: &str| spec.get(name).and_then(Yaml::as_sequence).into_iter().flatten();
    let is_true = |one: &Yaml, name: &str| one.get(name).and_then(Yaml::as_bool) == Some(true);
    if list("volumes").any(|one| one.get("tmpfs").is_none() && !is_true(one, "readOnly")) {
        return Some("both would write to its volumes at once; if they may, say `shared: true`");
    }
    let ports = |one: &Yaml| -> Option<u64> {
        let host = one.get("host")?;
        let text = match host.as_str() {
            Some(text) => text.to_owned(),
            None => host.as_u64()?.to_string(),
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        Some(last.parse::<u64>().ok()?.saturating_sub(first.parse().ok()?) + 1)
    };
    if list("ports").filter_map(ports).any(|ports| ports < containers) {
        return Some("its host ports are too few for both; give each range some more");
    }
    if list("networks").any(|one| one.get("address").is_some()) {
        return Some("both would need its fixed address");
    }
    if list("networks").any(|one| one.as_str() == Some("host")) && list("ports").next().is_some() {
        return Some("both would listen on one port of the node");
    }
    let restart = spec.get("restart").and_then(Yaml::as_str).unwrap_or("always");
    (restart != "always").then_some("what runs to its end would run twice; say `restart: always`")
}

fn labels(part: &mut Part<'_>, set: &mut Set<'_>) -> Yaml {
    let pairs = part.take("labels").map(|item| item.pairs(&['='])).unwrap_or_default();
    let mut found = Vec::new();
    for (name, value, line) in pairs {
        if name.starts_with(RESERVED_LABELS) || name.is_empty() {
            part.lost(&mut set.notes, "labels", line, "labels like this are windlass's own");
        } else {
            found.push((name, value.unwrap_or_default()));
        }
    }
    texts(found)
}

fn log(service: &str, part: &mut Part<'_>, set: &mut Set<'_>) -> Mapping {
    let mut spec = Mapping::new();
    let Some(item) = part.take("logging") else { return spec };
    let mut logging = Part::new(Some(service), "logging.", item);
    let driver = logging.text("driver", &mut set.notes).unwrap_or("json-file");
    put(&mut spec, "driver", driver);
    let options = logging.take("options").map(|item| item.pairs(&['='])).unwrap_or_default();
    let options = options.into_iter().map(|(name, value, _)| (name, value.unwrap_or_default()));
    put(&mut spec, "options", texts(options));
    logging.finish(&mut set.notes);
    spec
}
