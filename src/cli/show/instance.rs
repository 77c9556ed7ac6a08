//! All about one object: what `describe` shows.

use std::fmt::Display;

use reconciler::model::spec::{
    HealthProbe, InstanceSpec, Mount, MountSource, Port, Power, Restart, Stop, Swap,
};
use reconciler::status::{Condition, InstanceStatus, ReplicaStatus, Truth};

use super::objects::ink;
use super::table::{Cell, Table, cell};
use super::words::{age, place};
use super::{Ink, Style};
use crate::api::protocol::PlanRow;

/// What is known of an instance.
#[derive(Debug)]
pub struct About<'a> {
    /// How it stands.
    pub status: &'a InstanceStatus,
    /// What would be done to it now, and what is left and why.
    pub rows: &'a [PlanRow],
    /// The specs directory.
    pub specs: &'a str,
    /// The commit that the declaration came with, in words.
    pub commit: Option<String>,
}

/// Renders an instance.
#[must_use]
pub fn render(about: &About<'_>, style: &Style) -> String {
    let About { status, rows, specs, commit } = about;
    let mut table = Table::default();
    let mut row = |label: &str, value: Cell| {
        table.row(vec![cell(Ink::Dim, label), value]);
    };
    let commit = commit.as_ref().map(|commit| format!("  ({commit})")).unwrap_or_default();
    let at = match &status.source {
        Some(source) => format!("{}{commit}", place(specs, source)),
        None => "no longer declared".to_owned(),
    };
    row("Instance", cell(Ink::Bold, format!("{}   {at}", status.key)));
    if let Some(stale) = &status.stale {
        row("Stale", cell(Ink::Bad, format!("an earlier version is in force: {stale}")));
    }
    for condition in &status.conditions {
        let (label, value) = condition_row(condition, style);
        row(&label, value);
    }
    row("Replicas", replicas(status, style).into());
    if !status.image.is_empty() {
        row("Image", status.image.clone().into());
    }
    if let Some(spec) = &status.spec {
        for (label, text) in spec_rows(spec) {
            if !text.is_empty() {
                row(label, text.into());
            }
        }
    }
    if !status.labels.is_empty() {
        row("Labels", pairs(&status.labels).into());
    }
    row("Why now", why(status, rows).into());
    if !status.history.is_empty() {
        let plain = Style::plain(reconciler::model::time::Timestamp(0));
        row("History", super::rollouts::history(status, &plain).into());
    }
    table.render(style)
}

fn condition_row(condition: &Condition, style: &Style) -> (String, Cell) {
    let Condition { kind, status, reason, message, last_transition_time } = condition;
    let (word, ink) = match (status, kind.as_str()) {
        (Truth::True, "Ready") => ("True", Ink::Good),
        (Truth::True, "Reconciling" | "Suspended" | "Paused" | "HeldBack") => ("True", Ink::Odd),
        (Truth::False, "Ready") | (Truth::True, _) => {
            (if *status == Truth::True { "True" } else { "False" }, Ink::Bad)
        }
        (Truth::False, _) => ("False", Ink::Plain),
        (Truth::Unknown, _) => ("Unknown", Ink::Odd),
    };
    let since = last_transition_time
        .filter(|_| kind == "Ready" && *status == Truth::True)
        .map(|at| format!(", for {}", age(style.now.since(at))))
        .unwrap_or_default();
    (kind.clone(), cell(ink, format!("{word:<8} {reason}: {message}{since}")))
}

fn replicas(status: &InstanceStatus, style: &Style) -> String {
    let mut table = Table::default();
    for replica in &status.replicas {
        let ReplicaStatus { replica: key, node, state, since, address, ports, restarts, .. } =
            replica;
        let since = since.map(|at| format!("for {}", age(style.now.since(at))));
        let restarts = match restarts {
            0 => String::new(),
            1 => "1 restart".to_owned(),
            more => format!("{more} restarts"),
        };
        table.row(vec![
            key.ordinal.to_string().into(),
            cell(ink(state), state.clone()),
            since.unwrap_or_default().into(),
            node.as_ref().map(|node| format!("on {node}")).unwrap_or_default().into(),
            address.clone().unwrap_or_default().into(),
            ports.join(", ").into(),
            restarts.into(),
            revision(status, replica).into(),
            replica.message.clone().filter(|_| !replica.ready).unwrap_or_default().into(),
        ]);
    }
    let head = format!("{} of {} ready", status.replicas_ready, status.replicas_wanted);
    format!("{head}\n{}", table.render(style))
}

/// Which revision a replica shows: by its number where that is known.
fn revision(status: &InstanceStatus, replica: &ReplicaStatus) -> String {
    let Some(hash) = &replica.revision else { return String::new() };
    match status.history.iter().rev().find(|past| &*past.revision.0 == hash) {
        Some(past) => format!("revision {}", past.number),
        None => format!("revision {}", hash.get(..8).unwrap_or(hash)),
    }
}

fn spec_rows(spec: &InstanceSpec) -> Vec<(&'static str, String)> {
    let InstanceSpec {
        image: _,
        resources,
        flavor,
        replicas: _,
        power,
        command,
        args,
        env,
        ports,
        volumes,
        restart,
        health,
        stop,
        labels,
        more,
    } = spec;
    let mut limits = Vec::new();
    limits.extend(resources.cpus.map(|cpus| format!("cpus {cpus}")));
    limits.extend(resources.cpu_shares.map(|shares| format!("cpuShares {shares}")));
    limits.extend(resources.cpuset.as_ref().map(|cpus| format!("cpuset {cpus}")));
    limits.extend(resources.memory.map(|memory| format!("memory {memory}")));
    limits.extend(resources.memory_swap.map(|swap| match swap {
        Swap::Total(total) => format!("memory and swap {total}"),
        Swap::Unlimited => "swap not limited".to_owned(),
    }));
    limits.extend(resources.pids.map(|pids| format!("pids {pids}")));
    if !resources.io.is_empty() {
        limits.push("io".to_owned());
    }
    limits.extend(flavor.as_ref().map(|flavor| format!("flavor {flavor}")));
    if limits.is_empty() {
        limits.push("not limited".to_owned());
    }
    let words = |words: &Option<Vec<String>>| words.as_deref().map(shell).unwrap_or_default();
    let names: Vec<&str> = env.keys().map(String::as_str).collect();
    let env = if env.is_empty() {
        String::new()
    } else {
        format!("{}  (values are not shown)", names.join(", "))
    };
    let health = health.as_ref().map(|health| {
        let check = match &health.check {
            HealthProbe::Exec(exec) => shell(exec),
            HealthProbe::Http { port, path } => format!("http {port}{path}"),
            HealthProbe::Tcp { port } => format!("tcp {port}"),
        };
        format!("{check}, every {}", health.interval)
    });
    let power = match power {
        Power::Running => "",
        Power::Stopped => "stopped",
        Power::Paused => "paused",
    };
    let restart = match restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    };
    let Stop { signal, timeout } = stop;
    let signal = signal.as_deref().unwrap_or("the image's signal");
    let mut rows = vec![
        ("Resources", limits.join(", ")),
        ("Power", power.to_owned()),
        ("Command", words(command)),
        ("Args", words(args)),
        ("Env", env),
        ("Ports", join(ports.iter().map(port))),
        ("Volumes", join(volumes.iter().map(mount))),
        ("Health", health.unwrap_or_default()),
        ("Restart", restart.to_owned()),
        ("Stop", format!("{signal}, killed after {timeout}")),
        (
            "Container",
            if labels.is_empty() { String::new() } else { format!("labels {}", pairs(labels)) },
        ),
    ];
    rows.extend(super::settings::rows(more));
    rows
}

/// Words as a shell would want them, so that they can be copied.
fn shell(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let quote = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            return word.clone();
        }
        format!("'{}'", word.replace('\'', "'\\''").replace('\n', "\\n"))
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn port(port: &Port) -> String {
    let Port { container, protocol, host, address } = port;
    let inside = format!("{container}/{}", protocol.as_str());
    let Some(host) = host else { return inside };
    let host = if host.first == host.last {
        host.first.to_string()
    } else {
        format!("{}-{}", host.first, host.last)
    };
    format!("{}:{host}->{inside}", address.as_deref().unwrap_or("*"))
}

fn mount(mount: &Mount) -> String {
    let Mount { source, target, read_only, shared } = mount;
    let source = match source {
        MountSource::Volume(key) => format!("volume {key}"),
        MountSource::Bind(path) => format!("bind {path}"),
        MountSource::Tmpfs(Some(size)) => format!("tmpfs of {size}"),
        MountSource::Tmpfs(None) => "tmpfs".to_owned(),
    };
    let read_only = if *read_only { ", read only" } else { "" };
    let shared = if *shared { ", shared" } else { "" };
    format!("{source} at {target}{read_only}{shared}")
}

fn why(status: &InstanceStatus, rows: &[PlanRow]) -> String {
    if rows.is_empty() {
        // Gone back to, it is not the last one.
        let in_force = status.rollout.as_ref().and_then(|rollout| rollout.revision);
        return match in_force.or(status.history.last().map(|last| last.number)) {
            Some(number) => format!("nothing to do: settled at revision {number}"),
            None => "nothing to do".to_owned(),
        };
    }
    let [first, others @ ..] = rows else { return String::new() };
    let is_same = |row: &PlanRow| row.change.is_none() && row.why == first.why;
    if !others.is_empty() && rows.iter().all(is_same) {
        return first.why.clone();
    }
    let line = |row: &PlanRow| {
        let steps = row.steps.join(", ");
        match row.change {
            Some(_) => format!("{}: {} ({steps})", row.name, row.why),
            None => format!("{}: {}", row.name, row.why),
        }
    };
    join(rows.iter().map(line))
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

fn join(lines: impl Iterator<Item = impl Display>) -> String {
    lines.map(|line| line.to_string()).collect::<Vec<_>>().join("\n")
}
