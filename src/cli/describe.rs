//! `windlass describe`: all about one object.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use reconciler::model::ids::ObjectId;

use super::args::Format;
use super::get::{Kind, find};
use super::show::instance::{About, render};
use super::show::table::{Table, cell};
use super::show::words::{age, count32, place};
use super::show::{Ink, Style};
use super::{Context, Dir, Ended, Failure, ask};
use crate::api::protocol::{Overview, PlainStatus, PlanRow};

/// Git is asked for this long: it is a courtesy, not an answer.
const GIT_PATIENCE: Duration = Duration::from_millis(300);

/// Runs the verb. `what` is a kind and a name, or the name of an instance.
pub(super) async fn run(context: &Context, what: &[String]) -> Ended {
    let (kind, name) = match what {
        [kind, name] => (Kind::of(kind)?, name),
        [name] => (Kind::Instances, name),
        _ => return Err(Failure::new("a kind and a name are needed")),
    };
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let overview = ask::overview(context, &session, None).await;
    let plan = match kind {
        Kind::Instances => Some(ask::plan(context, &session).await),
        Kind::Images
        | Kind::Volumes
        | Kind::Networks
        | Kind::Links
        | Kind::Flavors
        | Kind::Projects
        | Kind::Bindings
        | Kind::Waivers
        | Kind::Nodes
        | Kind::All => None,
    };
    session.close().await;
    let overview = overview?;
    let rows = plan.transpose()?.map(|plan| plan.rows).unwrap_or_default();
    let names: Vec<String> = match kind {
        Kind::Instances => overview.instances.iter().map(|one| one.key.to_string()).collect(),
        Kind::Images => overview.images.iter().map(|one| one.name.clone()).collect(),
        Kind::Volumes => overview.volumes.iter().map(|one| one.key.to_string()).collect(),
        Kind::Networks
        | Kind::Links
        | Kind::Flavors
        | Kind::Projects
        | Kind::Bindings
        | Kind::Waivers => plain(&overview, kind).iter().map(|one| one.name.clone()).collect(),
        Kind::Nodes => overview.nodes.iter().map(|one| one.name.to_string()).collect(),
        Kind::All => {
            let failure = Failure::new("only one object can be described");
            return Err(failure.help("`windlass get all -o yaml` shows all of them"));
        }
    };
    let at = match find(kind, name, &names) {
        Ok(found) => one_of(name, &found, &names)?,
        // A replica means its instance.
        Err(failure) => {
            let instance = name.rsplit_once('/').map(|(instance, _)| instance);
            let found = instance.filter(|_| kind == Kind::Instances);
            found.and_then(|name| names.iter().position(|one| one == name)).ok_or(failure)?
        }
    };
    let style = &context.out.style;
    let format = context.global.output;
    match (format, kind) {
        (Format::Json | Format::Yaml, Kind::Instances | Kind::All) => {
            context.out.value(format, &overview.instances[at])?;
        }
        (Format::Json | Format::Yaml, Kind::Images) => {
            context.out.value(format, &overview.images[at])?;
        }
        (Format::Json | Format::Yaml, Kind::Volumes) => {
            context.out.value(format, &overview.volumes[at])?;
        }
        (
            Format::Json | Format::Yaml,
            Kind::Networks
            | Kind::Links
            | Kind::Flavors
            | Kind::Projects
            | Kind::Bindings
            | Kind::Waivers,
        ) => {
            context.out.value(format, &plain(&overview, kind)[at])?;
        }
        (Format::Json | Format::Yaml, Kind::Nodes) => {
            context.out.value(format, &overview.nodes[at])?;
        }
        (Format::Text | Format::Wide | Format::Name, Kind::Instances | Kind::All) => {
            let status = &overview.instances[at];
            let rows: Vec<PlanRow> = rows
                .into_iter()
                .filter(|row| matches!(&row.object, ObjectId::Replica(key) if key.instance == status.key))
                .collect();
            let commit = commit(&overview.specs, status.source.as_deref()).await;
            let about = About { status, rows: &rows, specs: &overview.specs, commit };
            context.out.print(&render(&about, style))?;
        }
        (Format::Text | Format::Wide | Format::Name, _) => {
            context.out.print(&other(&overview, kind, at, style))?;
        }
    }
    Ok(0)
}

fn one_of(name: &str, found: &[usize], names: &[String]) -> Result<usize, Failure> {
    match found {
        [at] => Ok(*at),
        several => {
            let names: Vec<&str> = several.iter().map(|at| names[*at].as_str()).collect();
            let failure = Failure::new(format!("`{name}` could be {}", names.join(" or ")));
            Err(failure.help("write the project before it"))
        }
    }
}

/// The objects of a kind that says little beside its spec.
pub(super) fn plain(overview: &Overview, kind: Kind) -> &[PlainStatus] {
    match kind {
        Kind::Networks => &overview.networks,
        Kind::Links => &overview.links,
        Kind::Flavors => &overview.flavors,
        Kind::Projects => &overview.projects,
        Kind::Bindings => &overview.bindings,
        Kind::Waivers => &overview.waivers,
        Kind::Instances | Kind::Images | Kind::Volumes | Kind::Nodes | Kind::All => &[],
    }
}

/// Anything but an instance.
fn other(overview: &Overview, kind: Kind, at: usize, style: &Style) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    let declared = |source: &Option<String>, otherwise: &str| match source {
        Some(source) => place(&overview.specs, source),
        None => otherwise.to_owned(),
    };
    let join = |nodes: &[reconciler::model::ids::Name]| {
        let names: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let message = match kind {
        Kind::Images => {
            let one = &overview.images[at];
            rows.push((
                "Image",
                format!("{}   {}", one.name, declared(&one.source, "named by an instance")),
            ));
            rows.push(("From", one.from.clone()));
            rows.push((
                "Content",
                one.content.clone().unwrap_or_else(|| "not resolved yet".into()),
            ));
            rows.push(("Nodes", join(&one.nodes)));
            one.message.clone()
        }
        Kind::Volumes => {
            let one = &overview.volumes[at];
            rows.push((
                "Volume",
                format!("{}   {}", one.key, declared(&one.source, "no longer declared")),
            ));
            rows.push(("Driver", one.driver.clone()));
            let retain = if one.retain { "its data stays" } else { "its data goes" };
            rows.push(("Retain", format!("{retain} when the declaration goes")));
            rows.push(("Nodes", join(&one.nodes)));
            one.message.clone()
        }
        Kind::Nodes => {
            let one = &overview.nodes[at];
            rows.push((
                "Node",
                format!("{}   {}", one.name, declared(&one.source, "since no Node is declared")),
            ));
            rows.push(("Endpoint", one.endpoint.clone()));
            let since = one.cordon.as_ref().map(|cordon| {
                let why = cordon.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                let (by, at) = (&cordon.by, age(style.now.since(cordon.at)));
                format!("   {at} ago by {by}{why}")
            });
            let by_spec = one.cordoned_by_spec.then(|| "   as its declaration says".to_owned());
            let more = since.or(by_spec).unwrap_or_default();
            rows.push(("Status", format!("{}{more}", one.status)));
            let version = one.version.clone().unwrap_or_else(|| "unknown".to_owned());
            let id = one.engine.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
            rows.push(("Engine", format!("{version}{id}")));
            rows.extend(super::show::capacity::rows(one));
            if let (Some(latency), Some(at)) = (one.latency_ms, one.seen_at) {
                let ago = age(style.now.since(at));
                rows.push(("Seen", format!("{ago} ago; a look takes {latency} ms")));
            }
            let others = count32(one.foreign, "other");
            rows.push(("Containers", format!("{} of ours, {others}", one.containers)));
            let conditions = one.conditions.iter();
            rows.extend(
                conditions.map(|one| ("Condition", format!("{}: {}", one.kind, one.message))),
            );
            one.message.clone()
        }
        Kind::Networks
        | Kind::Links
        | Kind::Flavors
        | Kind::Projects
        | Kind::Bindings
        | Kind::Waivers => {
            let mut table = Table::default();
            let noun = kind.noun();
            let one = &plain(overview, kind)[at];
            for (label, text) in super::show::plain::describe(noun, one, &overview.specs) {
                table.row(vec![cell(Ink::Dim, label), text.into()]);
            }
            return table.render(style);
        }
        Kind::Instances | Kind::All => None,
    };
    rows.extend(message.map(|message| ("Message", message)));
    let mut table = Table::default();
    for (label, text) in rows {
        table.row(vec![cell(Ink::Dim, label), text.into()]);
    }
    table.render(style)
}

/// The last commit of the file that an object is declared in, if that can be had for little.
async fn commit(specs: &str, source: Option<&str>) -> Option<String> {
    let path = place(specs, source?);
    let file = Path::new(path.rsplit_once(':')?.0);
    let folder = std::fs::canonicalize(file.parent()?).ok()?;
    folder.ancestors().find(|folder| folder.join(".git").exists())?;
    let git = tokio::process::Command::new("git")
        .arg("-C")
        .arg(&folder)
        .args(["log", "-1", "--format=commit %h by %ae, %ar", "--"])
        .arg(file.file_name()?)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(GIT_PATIENCE, git).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}
