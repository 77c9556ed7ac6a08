//! `windlass wait`: until objects are ready, completed or gone. It changes nothing.

use std::str::FromStr;
use std::time::Duration;

use reconciler::status::InstanceStatus;

use super::failure::Failure;
use super::get::{Kind, find};
use super::select::Selector;
use super::show::words::{some, took};
use super::{Context, Dir, Ended, LOOK_TIMEOUT, ask};
use crate::api::protocol::{Frame, Overview, PlainStatus, Request};

/// Between two looks where nothing is told: the health of a container changes in silence.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// All replicas are ready; a node answers; an image or a volume is on a node.
    Ready,
    /// All replicas ended with exit code 0.
    Completed,
    /// No container of it is left; no node holds the image or volume.
    Delete,
}

impl FromStr for For {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = text.to_ascii_lowercase();
        let word = word.strip_prefix("condition=").unwrap_or(&word);
        match word.strip_suffix("=true").unwrap_or(word) {
            "ready" => Ok(Self::Ready),
            "completed" | "complete" => Ok(Self::Completed),
            "delete" | "deleted" | "gone" => Ok(Self::Delete),
            _ => Err("it can be waited for condition=Ready, completed or delete".to_owned()),
        }
    }
}

/// What is waited for, and of what.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) what: For,
    /// A kind and names, or names of instances and replicas.
    pub(super) objects: Vec<String>,
    pub(super) selector: Option<String>,
    pub(super) project: Option<String>,
}

/// How an object stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    There,
    /// Not yet, and what is missing.
    Missing(String),
    /// Never, unless somebody does something.
    Never(String),
}

/// Runs the verb: 0 all of it came about, 1 not within the time.
pub(super) async fn run(context: &Context, options: &Options) -> Ended {
    let (kind, names) = kind_and_names(options)?;
    let selector = options.selector.as_deref().map(Selector::new).transpose()?;
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let span = context.timeout(LOOK_TIMEOUT);
    let began = std::time::Instant::now();
    let deadline = tokio::time::Instant::now() + span;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    // What happens is a hint to look.
    let mut news = session.ask(Request::Watch).await.map_err(ask::no_session)?;
    let mut told: Vec<String> = Vec::new();
    let mut waits = false;
    // What a selector selects is what it selected at first: what goes is still waited for.
    let mut objects: Option<Vec<String>> = None;
    let missing = loop {
        // The time is for what is waited for. A look has its own, also if there is none.
        let look = LOOK_TIMEOUT.duration();
        let overview = tokio::select! {
            overview = ask::overview_within(look, &session, None) => overview?,
            _ = &mut interrupted => return Err(Failure::interrupted()),
        };
        let objects = match &objects {
            Some(objects) => objects,
            None => objects.insert(picked(options, kind, names, selector.as_ref(), &overview)?),
        };
        let mut missing = Vec::new();
        for object in objects.iter() {
            match standing(options.what, kind, object, &overview) {
                Standing::There if told.contains(object) => {}
                Standing::There => {
                    context.out.note(&format!("{object}: {}", word(options.what)));
                    told.push(object.clone());
                }
                Standing::Missing(why) => missing.push((object.clone(), why)),
                Standing::Never(why) => {
                    session.close().await;
                    let failure = Failure::new(format!("{object}: {why}"));
                    return Err(failure.help(format!("`windlass describe {object}` says more")));
                }
            }
        }
        if missing.is_empty() {
            session.close().await;
            return Ok(0);
        }
        if !waits {
            let names: Vec<&str> = missing.iter().map(|(object, _)| object.as_str()).collect();
            context.out.note(&format!("waiting for {}", some(&names, 5)));
            waits = true;
        }
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => break missing,
            () = tokio::time::sleep(LOOK_AFTER) => {}
            () = heard(&mut news) => {}
            _ = &mut interrupted => return Err(Failure::interrupted()),
        }
    };
    session.close().await;
    let mut failure =
        Failure::new(format!("not {} after {}", word(options.what), took(began.elapsed())));
    failure.chain.extend(missing.iter().map(|(object, why)| format!("{object}: {why}")));
    Err(failure.help("--timeout gives it more time"))
}

/// Waits for news, and takes all that is there.
async fn heard(news: &mut tokio::sync::mpsc::UnboundedReceiver<Frame>) {
    if news.recv().await.is_none() {
        // Nobody tells any more: the next look says why.
        std::future::pending::<()>().await;
    }
    while news.try_recv().is_ok() {}
}

fn word(what: For) -> &'static str {
    match what {
        For::Ready => "ready",
        For::Completed => "completed",
        For::Delete => "deleted",
    }
}

/// `wait node n1`, `wait web db`: the first word is a kind if something follows it.
fn kind_and_names(options: &Options) -> Result<(Kind, &[String]), Failure> {
    let objects = options.objects.as_slice();
    let found = match objects {
        [kind, names @ ..] if !names.is_empty() || options.selector.is_some() => {
            Kind::named(kind).map(|kind| (kind, names))
        }
        _ => None,
    };
    let (kind, names) = found.unwrap_or((Kind::Instances, objects));
    if kind == Kind::All {
        return Err(Failure::new("`all` cannot be waited for").help("name a kind, or objects"));
    }
    if options.what == For::Completed && kind != Kind::Instances {
        return Err(Failure::new(format!("{} do not complete", kind.plural()))
            .help("they can be waited for with --for=condition=Ready or --for=delete"));
    }
    if names.is_empty() && options.selector.is_none() {
        return Err(Failure::new("nothing is named to wait for")
            .help("name objects, or select them by their labels with -l"));
    }
    Ok((kind, names))
}

/// The full names of what is waited for.
fn picked<'a>(
    options: &Options,
    kind: Kind,
    names: &[String],
    selector: Option<&Selector>,
    overview: &'a Overview,
) -> Result<Vec<String>, Failure> {
    let plain = |all: &'a [PlainStatus]| {
        all.iter().map(|one| (one.name.clone(), &one.labels)).collect::<Vec<_>>()
    };
    let known: Vec<(String, &std::collections::BTreeMap<String, String>)> = match kind {
        Kind::Instances | Kind::All => {
            overview.instances.iter().map(|one| (one.key.to_string(), &one.labels)).collect()
        }
        Kind::Images => overview.images.iter().map(|one| (one.name.clone(), &one.labels)).collect(),
        Kind::Volumes => {
            overview.volumes.iter().map(|one| (one.key.to_string(), &one.labels)).collect()
        }
        Kind::Networks => plain(&overview.networks),
        Kind::Links => plain(&overview.links),
        Kind::Flavors => plain(&overview.flavors),
        Kind::Projects => plain(&overview.projects),
        Kind::Bindings => plain(&overview.bindings),
        Kind::Waivers => plain(&overview.waivers),
        Kind::Nodes => {
            overview.nodes.iter().map(|one| (one.name.to_string(), &one.labels)).collect()
        }
    };
    let of_project = |name: &str| match &options.project {
        Some(project) => {
            name.strip_prefix(project.as_str()).is_some_and(|rest| rest.starts_with('/'))
        }
        None => true,
    };
    let mut all = Vec::new();
    if let Some(selector) = selector {
        let selected = known.iter().filter(|(name, labels)| {
            (names.is_empty() || names.contains(name))
                && of_project(name)
                && selector.selects(labels)
        });
        all.extend(selected.map(|(name, _)| name.clone()));
        if all.is_empty() && options.what != For::Delete {
            return Err(Failure::new(format!("no {} has these labels", kind.noun())));
        }
        return Ok(all);
    }
    let known: Vec<String> =
        known.into_iter().map(|(name, _)| name).filter(|name| of_project(name)).collect();
    for name in names {
        match find(kind, name, &known) {
            Ok(found) => all.extend(found.into_iter().map(|at| known[at].clone())),
            Err(failure) => {
                let parts = name.rsplit_once('/').filter(|_| kind == Kind::Instances);
                let replica = parts.and_then(|(instance, ordinal)| {
                    let at = find(kind, instance, &known).ok()?;
                    ordinal.parse::<u32>().ok()?;
                    Some(at.into_iter().map(move |at| (at, ordinal)))
                });
                match replica {
                    Some(found) => {
                        all.extend(found.map(|(at, ordinal)| format!("{}/{ordinal}", known[at])));
                    }
                    // It is gone, which is what is waited for.
                    None if options.what == For::Delete => {}
                    None => return Err(failure),
                }
            }
        }
    }
    Ok(all)
}

fn standing(what: For, kind: Kind, object: &str, overview: &Overview) -> Standing {
    let held = |nodes: usize| match (what, nodes) {
        (For::Delete, 0) | (For::Ready | For::Completed, 1..) => Standing::There,
        (For::Delete, _) => Standing::Missing("a node holds it".to_owned()),
        (For::Ready | For::Completed, _) => Standing::Missing("no node holds it".to_owned()),
    };
    match kind {
        Kind::Instances | Kind::All => {
            let name = |one: &&InstanceStatus| one.key.to_string() == object;
            match overview.instances.iter().find(name) {
                Some(one) => instance(what, one, None),
                None => {
                    let parts = object.rsplit_once('/');
                    let found = parts.and_then(|(instance, ordinal)| {
                        let one = overview
                            .instances
                            .iter()
                            .find(|one| one.key.to_string() == instance)?;
                        Some((one, ordinal.parse::<u32>().ok()?))
                    });
                    match found {
                        Some((one, ordinal)) => instance(what, one, Some(ordinal)),
                        None => gone(what),
                    }
                }
            }
        }
        Kind::Images => match overview.images.iter().find(|one| one.name == object) {
            Some(one) => match (held(one.nodes.len()), &one.message) {
                (Standing::Missing(_), Some(message)) => Standing::Missing(message.clone()),
                (standing, _) => standing,
            },
            None => gone(what),
        },
        Kind::Volumes => match overview.volumes.iter().find(|one| one.key.to_string() == object) {
            Some(one) => held(one.nodes.len()),
            None => gone(what),
        },
        Kind::Networks => match overview.networks.iter().find(|one| one.name == object) {
            Some(one) => held(one.nodes.len()),
            None => gone(what),
        },
        // What is declared is there, and that is all that there is of it.
        Kind::Links | Kind::Flavors | Kind::Projects | Kind::Bindings | Kind::Waivers => {
            let all = super::describe::plain(overview, kind);
            match (what, all.iter().any(|one| one.name == object)) {
                (For::Delete, true) => Standing::Missing("it is declared".to_owned()),
                (For::Ready | For::Completed, true) => Standing::There,
                (_, false) => gone(what),
            }
        }
        Kind::Nodes => match overview.nodes.iter().find(|one| one.name.as_str() == object) {
            Some(one) => match (what, one.ready) {
                (For::Ready | For::Completed, true) => Standing::There,
                (For::Ready | For::Completed, false) => {
                    Standing::Missing(one.message.clone().unwrap_or_default())
                }
                (For::Delete, _) => Standing::Missing("it is declared".to_owned()),
            },
            None => gone(what),
        },
    }
}

fn gone(what: For) -> Standing {
    match what {
        For::Delete => Standing::There,
        For::Ready | For::Completed => Standing::Missing("it is not there any more".to_owned()),
    }
}

fn instance(what: For, one: &InstanceStatus, ordinal: Option<u32>) -> Standing {
    let replicas = || {
        one.replicas
            .iter()
            .filter(|replica| ordinal.is_none_or(|ordinal| replica.replica.ordinal == ordinal))
    };
    let all: Vec<_> = replicas().collect();
    // What has to go does not have to be ready.
    let wanted: Vec<_> =
        all.iter().filter(|replica| replica.replica.ordinal < one.replicas_wanted).collect();
    let say = |state: &str, message: Option<&String>| match message {
        Some(message) => format!("{state}: {message}"),
        None => state.to_owned(),
    };
    let missing = match what {
        For::Delete => {
            let left: Vec<String> =
                all.iter().filter_map(|replica| replica.container.clone()).collect();
            let names: Vec<&str> = left.iter().map(String::as_str).collect();
            return match names.as_slice() {
                [] => Standing::There,
                names => Standing::Missing(format!("still there: {}", some(names, 3))),
            };
        }
        For::Ready if ordinal.is_none() && one.replicas_ready >= one.replicas_wanted => {
            return Standing::There;
        }
        For::Ready => wanted.iter().find(|replica| !replica.ready),
        For::Completed => {
            let failed = wanted.iter().find(|replica| replica.state == "Failed");
            if let Some(failed) = failed {
                return Standing::Never(say("Failed", failed.message.as_ref()));
            }
            wanted.iter().find(|replica| replica.state != "Completed")
        }
    };
    match missing {
        Some(replica) => {
            let state = say(&replica.state, replica.message.as_ref());
            Standing::Missing(if wanted.len() > 1 {
                format!("replica {} is {state}", replica.replica.ordinal)
            } else {
                state
            })
        }
        None if wanted.is_empty() => Standing::Missing("it has no replica".to_owned()),
        None => Standing::There,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_kubectl_writes_them() {
        for (text, what) in [
            ("condition=Ready", For::Ready),
            ("condition=ready=True", For::Ready),
            ("delete", For::Delete),
            ("completed", For::Completed),
            ("condition=Complete", For::Completed),
        ] {
            assert_eq!(text.parse(), Ok(what), "{text}");
        }
        assert!("condition=Happy".parse::<For>().is_err());
    }

    #[test]
    fn the_first_word_is_a_kind_if_something_follows() {
        let options = |objects: &[&str], selector: Option<&str>| Options {
            what: For::Ready,
            objects: objects.iter().map(|word| (*word).to_owned()).collect(),
            selector: selector.map(str::to_owned),
            project: None,
        };
        let of = |objects: &[&str], selector| {
            let options = options(objects, selector);
            kind_and_names(&options).map(|(kind, names)| (kind, names.len())).ok()
        };
        assert_eq!(of(&["node", "n1"], None), Some((Kind::Nodes, 1)));
        assert_eq!(of(&["node"], None), Some((Kind::Instances, 1)), "an instance of that name");
        assert_eq!(of(&["nodes"], Some("zone=a")), Some((Kind::Nodes, 0)));
        assert_eq!(of(&["web", "db"], None), Some((Kind::Instances, 2)));
        assert_eq!(of(&[], None), None);
        assert_eq!(of(&[], Some("a=b")), Some((Kind::Instances, 0)));
    }
}
