//! `windlass node`: lists nodes, keeps new things off them, empties them, and takes another engine in
//! the place of one.

use reconciler::model::cordon::NodeOrder;
use reconciler::model::ids::Name;
use reconciler::model::journal::Entry;
use reconciler::status::ReplicaStatus;

use super::saved::who;
use super::show::words::{count, meant, some};
use super::verbs::NodeVerb;
use super::{Context, Dir, Ended, Failure, ask, describe, follow, get};
use crate::api::protocol::{Frame, NodeStatus, Overview, Request};
use crate::app::{self, Session, Settings};

/// So many names are written out in a question.
const NAMES_SHOWN: usize = 5;

/// Runs the verb.
pub(super) async fn run(context: &Context, verb: NodeVerb) -> Ended {
    match verb {
        NodeVerb::List { names } => {
            let asked =
                get::Asked { names, selector: None, project: None, sort_by: None, watch: false };
            get::run(context, &get::Wanted::new("nodes", asked)?).await
        }
        NodeVerb::Describe { name } => describe::run(context, &["node".to_owned(), name]).await,
        NodeVerb::Cordon { names, reason } => {
            let (settings, overview) = look(context).await?;
            let nodes = known(&names, &overview)?;
            for node in &nodes {
                // Who drains it has cordoned it, too.
                if node.cordon.as_ref().is_some_and(|cordon| cordon.drain) {
                    return Err(Failure::new(format!("node {} is drained already", node.name))
                        .help(format!("`windlass node uncordon {}` ends that", node.name)));
                }
                let order = NodeOrder::Cordon { drain: false, why: reason.clone() };
                tell(context, &settings, &node.name, order).await?;
                context.out.note(&format!(
                    "cordoned {0}: nothing new is placed there; `windlass node uncordon {0}` ends that",
                    node.name
                ));
            }
            Ok(0)
        }
        NodeVerb::Uncordon { names } => uncordon(context, &names).await,
        NodeVerb::Drain { name, reason, no_wait } => drain(context, &name, reason, no_wait).await,
        NodeVerb::Accept { name } => accept(context, &name).await,
    }
}

async fn uncordon(context: &Context, names: &[String]) -> Ended {
    let (settings, overview) = look(context).await?;
    let nodes = known(names, &overview)?;
    for node in &nodes {
        let name = &node.name;
        if node.cordoned_by_spec {
            let at = node.source.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
            return Err(Failure::new(format!("node {name} is cordoned by its declaration{at}"))
                .help("take `cordon` and `drain` out of it, and apply it"));
        }
        if node.cordon.is_none() {
            return Err(Failure::new(format!("node {name} is not cordoned"))
                .help("`windlass node list` shows how nodes stand"));
        }
    }
    for node in &nodes {
        tell(context, &settings, &node.name, NodeOrder::Uncordon).await?;
        context.out.note(&format!("uncordoned {}; nobody moves back by itself", node.name));
    }
    Ok(0)
}

async fn drain(context: &Context, name: &str, why: Option<String>, no_wait: bool) -> Ended {
    let (settings, overview) = look(context).await?;
    let node = &known(&[name.to_owned()], &overview)?[0].name;
    let order = NodeOrder::Cordon { drain: true, why };
    if no_wait {
        tell(context, &settings, node, order).await?;
        context
            .out
            .note(&format!("draining {node}; `windlass node describe {node}` shows what is left"));
        return Ok(0);
    }
    let dir = Dir { dir: None };
    let session = ask::open_to_act(&settings, context.names_specs(&dir)).await?;
    let drained = follow_drain(context, &session, node, order).await;
    session.close().await;
    let overview = drained?;
    let left = left_on(node, &overview);
    if left.is_empty() {
        context.out.note(&format!("drained {node}: nothing is left on it"));
        return Ok(0);
    }
    for replica in &left {
        let message = replica.message.clone().unwrap_or_else(|| "it is still there".to_owned());
        context.out.complain(&format!("  {}: {message}\n", replica.replica));
    }
    let message = format!("{} left on node {node}", are(left.len()));
    let help = format!("what is on its way goes on; `windlass node uncordon {node}` calls it off");
    Err(Failure::new(message).help(help))
}

/// Has a drain begin, and waits until nothing more moves.
async fn follow_drain(
    context: &Context,
    session: &Session,
    node: &Name,
    order: NodeOrder,
) -> Result<Overview, Failure> {
    // What is moved begins to move at once, before the apply below is asked for.
    let watch = session.ask(Request::Watch).await.map_err(ask::no_session)?;
    let request = Request::Node { node: node.clone(), order, by: who() };
    recorded(&ask::one(context, session, request).await?)?;
    follow::follow(context, session, Request::Apply, Some(watch)).await?;
    ask::overview_within(super::LOOK_TIMEOUT.duration(), session, None).await
}

async fn accept(context: &Context, name: &str) -> Ended {
    let (settings, overview) = look(context).await?;
    let node = known(&[name.to_owned()], &overview)?[0];
    let name = &node.name;
    let Some(engine) = &node.another else {
        let failure = Failure::new(format!("no other engine answers for node {name}"));
        return Err(match &node.message {
            Some(message) => failure.help(format!("it does not answer: {message}")),
            None => failure.help("it answers, and is the engine that it has always been"),
        });
    };
    let replicas = replicas_of(name, &overview);
    let names: Vec<&str> = replicas.iter().map(String::as_str).collect();
    let mut text = format!(
        "node {name} at {} was engine {}, and engine {engine} answers now.\n",
        node.endpoint,
        node.engine.as_deref().unwrap_or("(not seen since windlass was started)"),
    );
    text.push_str("What the earlier engine held is forgotten: ");
    text.push_str(&match names.len() {
        0 => "no replica is recorded there".to_owned(),
        _ => format!("{} made anew on this one ({})", are(names.len()), some(&names, NAMES_SHOWN)),
    });
    text.push_str(", and the data of volumes is not carried over.\n");
    context.out.complain(&text);
    if !context.global.yes {
        let question = format!("Take engine {engine} as node {name}?");
        if !context.out.can_ask {
            let failure = Failure::new(format!("accept engine {engine}: nobody can be asked here"));
            return Err(failure.help("`--yes` accepts it without asking"));
        }
        if !context.out.ask(&question) {
            context.out.complain("Nothing was accepted.\n");
            return Err(Failure::silent(1));
        }
    }
    tell(context, &settings, name, NodeOrder::Accept { engine: engine.clone() }).await?;
    context.out.note(&format!("accepted engine {engine} as node {name}"));
    Ok(0)
}

/// Has an order written down: by the daemon, or here if none runs.
async fn tell(
    context: &Context,
    settings: &Settings,
    node: &Name,
    order: NodeOrder,
) -> Result<(), Failure> {
    let (node, by) = (node.clone(), who());
    match Session::daemon(settings).await.map_err(ask::no_session)? {
        Some(daemon) => {
            let session = Session::Daemon(Box::new(daemon));
            let request = Request::Node { node, order, by };
            recorded(&ask::one(context, &session, request).await?)
        }
        None => app::record(settings, vec![Entry::NodeOrder { node, order, by }])
            .map_err(|error| ask::failed_to_start(error.into())),
    }
}

fn recorded(frame: &Frame) -> Result<(), Failure> {
    if *frame == Frame::Recorded { Ok(()) } else { Err(ask::unexpected(frame)) }
}

async fn look(context: &Context) -> Result<(Settings, Overview), Failure> {
    let settings = context.settings(&Dir { dir: None })?;
    let session = ask::open_to_look(&settings).await?;
    let overview = ask::overview(context, &session, None).await;
    session.close().await;
    Ok((settings, overview?))
}

/// The nodes of these names, at least one.
fn known<'o>(names: &[String], overview: &'o Overview) -> Result<Vec<&'o NodeStatus>, Failure> {
    let one = |name: &String| {
        let found = overview.nodes.iter().find(|node| node.name.as_str() == name);
        found.ok_or_else(|| {
            let failure = Failure::new(format!("there is no node {name}"));
            let names = overview.nodes.iter().map(|node| node.name.as_str());
            match meant(name, names) {
                Some(meant) => failure.help(format!("did you mean `{meant}`?")),
                None => failure.help("`windlass node list` lists what there is"),
            }
        })
    };
    names.iter().map(one).collect()
}

/// Replicas that still have something on a node.
fn left_on<'o>(node: &Name, overview: &'o Overview) -> Vec<&'o ReplicaStatus> {
    let replicas = overview.instances.iter().flat_map(|one| &one.replicas);
    replicas.filter(|replica| replica.nodes.contains(node)).collect()
}

/// The names of those that are placed on a node.
fn replicas_of(node: &Name, overview: &Overview) -> Vec<String> {
    let replicas = overview.instances.iter().flat_map(|one| &one.replicas);
    let there = replicas.filter(|replica| replica.node.as_ref() == Some(node));
    there.map(|replica| replica.replica.to_string()).collect()
}

fn are(many: usize) -> String {
    let verb = if many == 1 { "is" } else { "are" };
    format!("{} {verb}", count(many, "replica"))
}
