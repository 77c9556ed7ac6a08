//! `windlass usage`: what was used, in sums.

use std::time::Duration;

use reconciler::model::ids::{Key, Name};
use reconciler::model::time::Timestamp;
use reconciler::usage::{By, Query};

use super::args::{Format, Output, UsageBy};
use super::audit::When;
use super::failure::Failure;
use super::show::account;
use super::{Context, Dir, Ended, ask};
use crate::api::protocol::{Frame, Request};
use crate::app::Session;

/// Without a daemon nobody has looked before, and a rate takes two looks.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What is summed.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) project: Option<String>,
    pub(super) instance: Option<String>,
    pub(super) since: Option<When>,
    pub(super) until: Option<When>,
    pub(super) by: UsageBy,
}

/// Runs the verb.
pub(super) async fn run(context: &Context, options: Options) -> Ended {
    let query = query(options)?;
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let shows_quotas = query.by == By::Project && query.instance.is_none();
    if shows_quotas && matches!(session, Session::Here(_)) {
        ask::one(context, &session, Request::Usage).await?;
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    let asked = Request::Account { query: query.clone() };
    let frame = ask::one(context, &session, asked).await?;
    let Frame::Accounted { account, mut projects } = frame else {
        return Err(ask::unexpected(&frame));
    };
    session.close().await;
    projects.retain(|one| {
        shows_quotas && query.project.as_ref().is_none_or(|project| one.name == *project)
    });
    let shown = account::Shown { query: &query, account: &account, projects: &projects };
    let out = &context.out;
    if context.global.asked == Output::Csv {
        out.print(&account::csv(&shown))?;
        return Ok(0);
    }
    match context.global.output {
        format @ (Format::Json | Format::Yaml) => out.value(format, &account::value(&shown))?,
        Format::Name => {
            out.print(
                &account.lines.iter().map(|line| format!("{}\n", line.name)).collect::<String>(),
            )?;
        }
        format @ (Format::Text | Format::Wide) => {
            if account.lines.is_empty() {
                out.note(
                    "nothing is on record: `windlass up` looks what containers on its host use",
                );
            }
            out.print(&account::text(&shown, format == Format::Wide, &out.style))?;
        }
    }
    Ok(0)
}

fn query(options: Options) -> Result<Query, Failure> {
    let Options { project, instance, since, until, by } = options;
    let of_name = |error: reconciler::model::ids::NameError| Failure::new(error.to_string());
    let project = project.map(|project| Name::new(&project)).transpose().map_err(of_name)?;
    let key = |name: &str| match (name.contains('/'), &project) {
        (false, Some(project)) => Ok(Key::new(project.clone(), Name::new(name)?)),
        (true, _) | (false, None) => name.parse::<Key>(),
    };
    let instance = instance.as_deref().map(key).transpose().map_err(of_name)?;
    let moment = |When(at)| Timestamp(at);
    let (since, until) = (since.map(moment), until.map(moment));
    if since.zip(until).is_some_and(|(since, until)| since >= until) {
        return Err(Failure::new("nothing is between --since and --until"));
    }
    let by = match by {
        UsageBy::Project => By::Project,
        UsageBy::Instance => By::Instance,
        UsageBy::Flavor => By::Flavor,
        UsageBy::Node => By::Node,
    };
    Ok(Query { project, instance, since, until, by })
}
