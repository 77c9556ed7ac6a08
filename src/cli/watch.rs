//! `get --watch`: a line for each object that changed, as it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::args::Format;
use super::failure::Failure;
use super::get::{Kind, Picked, Wanted};
use super::show::{Style, objects, plain};
use super::{Context, Ended, ask};
use crate::api::protocol::Overview;
use crate::app::Session;
use crate::shell::now;

/// Between two looks: a person sees it as at once, and a daemon answers one in a few milliseconds.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// An object as it was shown last.
struct Seen {
    kind: Kind,
    value: Value,
    /// Its lines in a table.
    lines: Vec<String>,
}

type All = BTreeMap<(&'static str, String), Seen>;

/// Shows what there is, then what changes, until Ctrl-C.
pub(super) async fn run(
    context: &Context,
    session: &Session,
    wanted: &Wanted,
    mut overview: Overview,
) -> Ended {
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut before: Option<All> = None;
    loop {
        let picked = match wanted.picked(&overview) {
            Ok(picked) => picked,
            // An object that was named and is gone is told of below.
            Err(_) if before.is_some() => Picked::default(),
            Err(failure) => return Err(failure),
        };
        let (heads, all) = seen(context, &picked, &overview.specs)?;
        if before.is_none() && matches!(context.global.output, Format::Text | Format::Wide) {
            for head in heads {
                context.out.print(&format!("{head}\n"))?;
            }
        }
        let empty = All::new();
        let last = before.as_ref().unwrap_or(&empty);
        for (name, seen) in &all {
            if last.get(name).is_none_or(|last| last.value != seen.value) {
                tell(context, name, seen, false)?;
            }
        }
        for (name, seen) in last.iter().filter(|(name, _)| !all.contains_key(*name)) {
            tell(context, name, seen, true)?;
        }
        before = Some(all);
        tokio::select! {
            () = tokio::time::sleep(LOOK_AFTER) => {}
            _ = &mut interrupted => return Err(Failure::interrupted()),
        }
        overview = tokio::select! {
            overview = ask::overview(context, session, None) => overview?,
            _ = &mut interrupted => return Err(Failure::interrupted()),
        };
    }
}

/// The heading of each table that is not empty, and all objects.
fn seen(
    context: &Context,
    picked: &Picked<'_>,
    specs: &str,
) -> Result<(Vec<String>, All), Failure> {
    let wide = context.global.output == Format::Wide;
    // No column may wrap: a line is one object.
    let style = Style { width: None, now: now(), ..context.out.style };
    let Picked {
        instances,
        images,
        volumes,
        networks,
        links,
        flavors,
        projects,
        bindings,
        waivers,
        nodes,
    } = picked;
    let mut all = All::new();
    let mut heads = Vec::new();
    let mut add = |kind: Kind, table: String, rows: Vec<(String, usize, Value)>| {
        let mut lines = table.lines().map(str::to_owned);
        if !rows.is_empty() {
            heads.extend(lines.next());
        }
        for (name, count, value) in rows {
            let lines = lines.by_ref().take(count).collect();
            all.insert((kind.noun(), name), Seen { kind, value, lines });
        }
    };
    add(
        Kind::Instances,
        objects::instances(instances, wide, &style),
        instances
            .iter()
            .map(|one| {
                let lines = if wide { one.replicas.len() } else { 1 };
                Ok((one.key.to_string(), lines, serde_json::to_value(one)?))
            })
            .collect::<Result<_, Failure>>()?,
    );
    add(
        Kind::Images,
        objects::images(images, wide, &style),
        images
            .iter()
            .map(|one| Ok((one.name.clone(), 1, serde_json::to_value(one)?)))
            .collect::<Result<_, Failure>>()?,
    );
    add(
        Kind::Volumes,
        objects::volumes(volumes, &style),
        volumes
            .iter()
            .map(|one| Ok((one.key.to_string(), 1, serde_json::to_value(one)?)))
            .collect::<Result<_, Failure>>()?,
    );
    let tables = [
        (Kind::Networks, plain::networks(networks, &style), networks),
        (Kind::Links, plain::links(links, &style), links),
        (Kind::Flavors, plain::flavors(flavors, &style), flavors),
        (Kind::Projects, plain::projects(projects, &style), projects),
        (Kind::Bindings, plain::bindings(bindings, &style), bindings),
        (Kind::Waivers, plain::waivers(waivers, &style), waivers),
    ];
    for (kind, table, all) in tables {
        let rows = all.iter().map(|one| Ok((one.name.clone(), 1, serde_json::to_value(one)?)));
        add(kind, table, rows.collect::<Result<_, Failure>>()?);
    }
    add(
        Kind::Nodes,
        objects::nodes(nodes, wide, specs, &style),
        nodes
            .iter()
            .map(|one| Ok((one.name.to_string(), 1, serde_json::to_value(one)?)))
            .collect::<Result<_, Failure>>()?,
    );
    Ok((heads, all))
}

fn tell(
    context: &Context,
    (kind, name): &(&'static str, String),
    seen: &Seen,
    gone: bool,
) -> Result<(), Failure> {
    let text = match context.global.output {
        // One document a line: a program reads them as they come.
        Format::Json | Format::Yaml => {
            let event = if gone { "gone" } else { "seen" };
            serde_json::json!({ "event": event, "kind": kind, "object": seen.value }).to_string()
        }
        Format::Name => name.clone(),
        Format::Text | Format::Wide if gone => match seen.kind {
            Kind::Instances | Kind::All => format!("{name}  gone"),
            Kind::Images
            | Kind::Volumes
            | Kind::Networks
            | Kind::Links
            | Kind::Flavors
            | Kind::Projects
            | Kind::Bindings
            | Kind::Waivers
            | Kind::Nodes => format!("{kind} {name}  gone"),
        },
        Format::Text | Format::Wide => seen.lines.join("\n"),
    };
    context.out.print(&format!("{text}\n"))
}
