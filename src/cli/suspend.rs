//! `windlass suspend` and `windlass resume`: what is suspended gets no step of any kind, removal
//! included, until it is resumed.

use reconciler::model::ids::{Key, Name};
use reconciler::model::journal::Entry;
use reconciler::model::suspend::{Suspension, Target};

use super::args::Format;
use super::get::Kind;
use super::saved::who;
use super::show::table::{Table, cell};
use super::show::words::{age, meant};
use super::show::{Ink, Style};
use super::{Context, Dir, Ended, Failure, ask};
use crate::api::protocol::{Frame, Overview, Request, Suspended};
use crate::app::{self, Session, Settings};

/// What the command line names.
#[derive(Debug)]
pub(super) struct Wanted {
    /// A kind, perhaps, then names.
    pub(super) what: Vec<String>,
    /// A whole project.
    pub(super) project: Option<String>,
}

/// Leaves objects alone, or lists those that are.
pub(super) async fn suspend(context: &Context, wanted: &Wanted, why: Option<String>) -> Ended {
    let targets = targets(wanted)?;
    let settings = context.settings(&Dir { dir: None })?;
    let overview = overview(context, &settings).await?;
    if targets.is_empty() {
        list(context, &overview)?;
        return Ok(0);
    }
    for target in &targets {
        known(target, &overview)?;
    }
    let by = who();
    match Session::daemon(&settings).await.map_err(ask::no_session)? {
        Some(daemon) => {
            let session = Session::Daemon(Box::new(daemon));
            let request = Request::Suspend { targets: targets.clone(), by, why };
            recorded(&ask::one(context, &session, request).await?)?;
        }
        None => {
            let entry = |target: &Target| {
                let (target, by, why) = (target.clone(), by.clone(), why.clone());
                Entry::Suspended { target, by, why }
            };
            record(&settings, targets.iter().map(entry).collect())?;
        }
    }
    for target in &targets {
        context.out.note(&format!("suspended {target}; `windlass resume {target}` lets it go on"));
    }
    Ok(0)
}

/// Lets objects go on.
pub(super) async fn resume(context: &Context, wanted: &Wanted) -> Ended {
    let targets = targets(wanted)?;
    if targets.is_empty() {
        return Err(Failure::new("nothing is named that shall go on")
            .help("`windlass suspend` lists what is suspended"));
    }
    let settings = context.settings(&Dir { dir: None })?;
    let overview = overview(context, &settings).await?;
    for target in &targets {
        if !overview.suspended.iter().any(|one| one.target == *target) {
            let with = overview.suspended.iter().find(|one| covers(&one.target, target));
            let help = match with {
                Some(one) => format!("its project is: `windlass resume {}`", one.target),
                None => "`windlass suspend` lists what is".to_owned(),
            };
            return Err(Failure::new(format!("{target} is not suspended")).help(help));
        }
    }
    match Session::daemon(&settings).await.map_err(ask::no_session)? {
        Some(daemon) => {
            let session = Session::Daemon(Box::new(daemon));
            let request = Request::Resume { targets: targets.clone() };
            recorded(&ask::one(context, &session, request).await?)?;
        }
        None => {
            let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
            let (by, verb, what) = (who(), "resume".to_owned(), Some(names.join(", ")));
            let resumed = targets.iter().map(|target| Entry::Resumed { target: target.clone() });
            let asked = Entry::Asked { by, verb, what };
            record(&settings, std::iter::once(asked).chain(resumed).collect())?;
        }
    }
    for target in &targets {
        context.out.note(&format!("resumed {target}"));
    }
    Ok(0)
}

fn record(settings: &Settings, entries: Vec<Entry>) -> Result<(), Failure> {
    app::record(settings, entries).map_err(|error| ask::failed_to_start(error.into()))
}

fn recorded(frame: &Frame) -> Result<(), Failure> {
    if *frame == Frame::Recorded { Ok(()) } else { Err(ask::unexpected(frame)) }
}

async fn overview(context: &Context, settings: &Settings) -> Result<Overview, Failure> {
    let session = ask::open_to_look(settings).await?;
    let overview = ask::overview(context, &session, None).await;
    session.close().await;
    overview
}

/// What is meant by the words of the command line.
fn targets(wanted: &Wanted) -> Result<Vec<Target>, Failure> {
    let Wanted { what, project } = wanted;
    let named = |text: &str| {
        let name: Result<Name, _> = text.parse();
        name.map_err(|error| Failure::new(format!("`{text}` is no name of a project: {error}")))
    };
    if let Some(project) = project {
        if !what.is_empty() {
            return Err(Failure::new("a project is suspended as a whole: no names go with it"));
        }
        return Ok(vec![Target::Project(named(project)?)]);
    }
    if let Some((word, names)) = what.split_first()
        && word == "project"
        && !names.is_empty()
    {
        return names.iter().map(|name| named(name).map(Target::Project)).collect();
    }
    let (kind, names) = match what.split_first() {
        Some((first, rest)) if !rest.is_empty() && !first.contains('/') => match Kind::named(first)
        {
            Some(kind) => (kind, rest),
            None => (Kind::Instances, what.as_slice()),
        },
        _ => (Kind::Instances, what.as_slice()),
    };
    names.iter().map(|name| target(kind, name)).collect()
}

fn target(kind: Kind, name: &str) -> Result<Target, Failure> {
    let replica = name.rsplit_once('/').filter(|(instance, ordinal)| {
        instance.contains('/') && ordinal.bytes().all(|digit| digit.is_ascii_digit())
    });
    if let (Kind::Instances, Some((instance, _))) = (kind, replica) {
        return Err(Failure::new(format!(
            "{name} is one replica, and only a whole instance can be left alone"
        ))
        .help(format!("`windlass suspend {instance}` suspends all its replicas")));
    }
    let key = || {
        name.parse::<Key>().map_err(|error| Failure::new(format!("`{name}` is no name: {error}")))
    };
    match kind {
        Kind::Instances => Ok(Target::Instance(key()?)),
        Kind::Volumes => Ok(Target::Volume(key()?)),
        Kind::Projects => Name::new(name)
            .map(Target::Project)
            .map_err(|error| Failure::new(format!("`{name}` is no name: {error}"))),
        Kind::Images
        | Kind::Networks
        | Kind::Links
        | Kind::Flavors
        | Kind::Bindings
        | Kind::Waivers
        | Kind::Nodes
        | Kind::All => {
            Err(Failure::new("only instances, volumes and whole projects can be suspended")
                .help("`windlass suspend --project NAME` suspends all of a project"))
        }
    }
}

/// Fails for what is neither declared nor there: it would be a slip of the pen.
fn known(target: &Target, overview: &Overview) -> Result<(), Failure> {
    let instances = overview.instances.iter().map(|one| &one.key);
    let volumes = overview.volumes.iter().map(|one| &one.key);
    let (names, wanted): (Vec<String>, String) = match target {
        Target::Instance(key) => (instances.map(Key::to_string).collect(), key.to_string()),
        Target::Volume(key) => (volumes.map(Key::to_string).collect(), key.to_string()),
        Target::Project(name) => (
            instances.chain(volumes).map(|key| key.project.to_string()).collect(),
            name.to_string(),
        ),
    };
    if names.contains(&wanted) {
        return Ok(());
    }
    let kind = match target {
        Target::Instance(_) => "instance",
        Target::Volume(_) => "volume",
        Target::Project(_) => "project",
    };
    let failure = Failure::new(format!("there is no {kind} {wanted}"));
    Err(match meant(&wanted, names.iter().map(String::as_str)) {
        Some(meant) => failure.help(format!("did you mean `{meant}`?")),
        None => failure.help("`windlass get all` lists what there is"),
    })
}

/// Whether a suspended project is the one of `target`.
fn covers(suspended: &Target, target: &Target) -> bool {
    let Target::Project(project) = suspended else { return false };
    match target {
        Target::Instance(key) | Target::Volume(key) => key.project == *project,
        Target::Project(_) => false,
    }
}

/// What is suspended now.
fn list(context: &Context, overview: &Overview) -> Result<(), Failure> {
    let out = &context.out;
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &overview.suspended),
        Format::Name => {
            let names = overview.suspended.iter().map(|one| format!("{}\n", one.target));
            out.print(&names.collect::<String>())
        }
        Format::Text | Format::Wide if overview.suspended.is_empty() => {
            out.note("Nothing is suspended.");
            Ok(())
        }
        Format::Text | Format::Wide => out.print(&render(&overview.suspended, &out.style)),
    }
}

/// One line each: what, since when, by whom and why.
pub(super) fn render(suspended: &[Suspended], style: &Style) -> String {
    let mut table = Table::default();
    for Suspended { target, suspension: Suspension { at, by, why } } in suspended {
        table.row(vec![
            cell(Ink::Odd, target.to_string()),
            format!("suspended {} ago by {by}", age(style.now.since(*at))).into(),
            why.clone().unwrap_or_default().into(),
        ]);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(what: &[&str], project: Option<&str>) -> Result<Vec<String>, String> {
        let what = what.iter().map(|&word| word.to_owned()).collect();
        let wanted = Wanted { what, project: project.map(str::to_owned) };
        let found = targets(&wanted).map_err(|failure| failure.chain.join(" "))?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn targets_are_whole_objects() {
        assert_eq!(parsed(&["shop/web", "db"], None).unwrap(), ["shop/web", "default/db"]);
        assert_eq!(parsed(&["volume", "shop/data"], None).unwrap(), ["volume shop/data"]);
        assert_eq!(parsed(&[], Some("shop")).unwrap(), ["project shop"]);
        assert_eq!(parsed(&["project", "shop"], None).unwrap(), ["project shop"]);
        assert!(parsed(&["shop/web/0"], None).unwrap_err().contains("whole instance"));
        assert!(parsed(&["node", "n1"], None).unwrap_err().contains("only instances"));
        assert!(parsed(&["shop/web"], Some("shop")).unwrap_err().contains("as a whole"));
        // A name that is also the word for a kind is a name where it stands alone.
        assert_eq!(parsed(&["volume"], None).unwrap(), ["default/volume"]);
    }
}
