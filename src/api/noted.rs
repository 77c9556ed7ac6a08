//! Entries of the journal in words. What could be a secret is not in an entry, but for the texts of
//! specs, and those are left out here.

use std::fmt::Display;

use reconciler::model::ids::{Name, ObjectId};
use reconciler::model::journal::{Deed, Entry, ExecNote, PolicySetNote, Stamped, VerdictNote};
use reconciler::model::policies::POLICY_TEXTS;
use reconciler::model::record::{Approval, Failure, Life};
use reconciler::model::time::Timestamp;
use reconciler::policy::view::AskedNote;

use super::protocol::{Noted, NotedKind};

/// Digits of a digest that are enough to tell it from others.
const DIGITS: usize = 8;

/// What an entry says; `None` of a checkpoint, which says nothing new.
#[must_use]
pub fn noted(stamped: &Stamped) -> Option<Noted> {
    let Stamped { seq, at, entry } = stamped;
    let (kind, object, node, message) = words(entry)?;
    Some(Noted { seq: *seq, at: *at, kind, object, node: node.cloned(), message })
}

type Words<'a> = (NotedKind, Option<String>, Option<&'a Name>, String);

fn words(entry: &Entry) -> Option<Words<'_>> {
    let of = |object: &dyn Display| Some(object.to_string());
    Some(match entry {
        Entry::Checkpoint { .. } => return None,
        Entry::Owner { owner } => {
            (NotedKind::Seen, None, None, format!("a new state directory, owner {owner}"))
        }
        Entry::Root { identity } => {
            let message = format!("the specs are those in {}", identity.path);
            (NotedKind::Seen, None, None, message)
        }
        Entry::Text { file, text } => {
            let what = if text.is_some() { "a good version" } else { "gone" };
            let message = match file.strip_prefix(POLICY_TEXTS) {
                Some(policy) => format!("policies: {policy}: {what}"),
                None => format!("{file}: {what}"),
            };
            (NotedKind::Seen, None, None, message)
        }
        Entry::Node { node, engine, endpoint, cgroup_root: _ } => {
            let message = format!("engine {engine} at {endpoint}");
            (NotedKind::Seen, of(&format!("node {node}")), Some(node), message)
        }
        Entry::Declared { instance, uid: _, digest, from } => {
            let from = from.as_ref().map(|from| format!(", at {from}")).unwrap_or_default();
            let message = format!("a new spec, digest {}{from}", short(&digest.0));
            (NotedKind::Declared, of(instance), None, message)
        }
        Entry::Linked { instance, waits_for, addresses } => {
            let waits: Vec<String> = waits_for.iter().map(ToString::to_string).collect();
            let named = addresses.iter().map(|(alias, address)| match address {
                Some(address) => format!("{alias} is at {address}"),
                None => format!("{alias} has no address"),
            });
            let waits = (!waits.is_empty()).then(|| format!("starts after {}", waits.join(", ")));
            let said: Vec<String> = waits.into_iter().chain(named).collect();
            let message =
                if said.is_empty() { "no longer linked".to_owned() } else { said.join("; ") };
            (NotedKind::Decided, of(instance), None, message)
        }
        Entry::Placed { replica, node } => {
            (NotedKind::Decided, of(replica), Some(node), "placed".to_owned())
        }
        Entry::Addressed { replica, address } => {
            (NotedKind::Decided, of(replica), None, format!("its next container gets {address}"))
        }
        Entry::Cores { replica, node, cores } => {
            let message = match cores {
                Some(cores) => format!("cpus {cores} are its own"),
                None => "its cpus are everybody's again".to_owned(),
            };
            (NotedKind::Decided, of(replica), Some(node), message)
        }
        Entry::Subnet { network, subnet } => {
            let message = format!("its network gets {subnet}");
            let whose = match network.link_of_network() {
                Some((link, _)) => format!("link {link}"),
                None => format!("project {}", network.project),
            };
            (NotedKind::Decided, of(&whose), None, message)
        }
        Entry::Protected { object, labels } => {
            let message = if labels.is_some() { "protected" } else { "no longer protected" };
            (NotedKind::Decided, of(&named(object)), None, message.to_owned())
        }
        Entry::Admitted { object, digest } => {
            let message = if digest.is_some() { "admitted" } else { "no longer declared" };
            (NotedKind::Decided, of(&named(object)), None, message.to_owned())
        }
        Entry::LinksBy { node, networks } => {
            let message = if *networks {
                "links have networks of their own here, since no rules can be set"
            } else {
                "no link is left here; how the next ones are put in force is decided anew"
            };
            (NotedKind::Decided, of(&format!("node {node}")), Some(node), message.to_owned())
        }
        Entry::Resolved { image, source: _, node, id, pinned } => {
            let content = pinned.as_deref().unwrap_or(&id.0);
            let message = format!("resolved to {content}");
            (NotedKind::Decided, of(&format!("image {image}")), Some(node), message)
        }
        Entry::Intent { object, node, deed, cause, from: _ } => {
            let message = format!("{} ({cause})", deed_words(deed));
            (NotedKind::Intent, of(&name(object)), Some(node), message)
        }
        Entry::Done { object, node, deed } => {
            (NotedKind::Done, of(&name(object)), Some(node), deed_words(deed))
        }
        Entry::Failed { object, node, failure } => {
            let Failure {
                goal: _,
                count,
                at,
                retry_at,
                step,
                message,
                name_taken: _,
                unstartable: _,
            } = failure;
            let times =
                if *count == 1 { String::new() } else { format!(" {count} times in a row") };
            // What was tried stands before the reason.
            let reason = message.strip_prefix(&format!("{step} {}: ", name(object)));
            let reason = reason.unwrap_or(message);
            let again = again(*at, *retry_at);
            let message = format!("{step} failed{times}: {reason}; {again}");
            (NotedKind::Failed, of(&name(object)), Some(node), message)
        }
        Entry::Ended { replica, life } => {
            let message = match life {
                Life::New => "made anew".to_owned(),
                Life::Started => "runs, though nobody was asked to start it".to_owned(),
                Life::Stopped => "is stopped, though nobody was asked to stop it".to_owned(),
                Life::Completed { at: _ } => "completed".to_owned(),
                Life::Failed { at: _, code: Some(code) } => format!("failed with exit code {code}"),
                Life::Failed { at: _, code: None } => "failed, its exit code is unknown".to_owned(),
            };
            (NotedKind::Ended, of(replica), None, message)
        }
        Entry::Unhealthy { replica } => {
            let message = "unhealthy: another container takes its place".to_owned();
            (NotedKind::Decided, of(replica), None, message)
        }
        Entry::Healthy { replica } => {
            let message = "healthy for so long that its replacements are forgotten".to_owned();
            (NotedKind::Decided, of(replica), None, message)
        }
        Entry::Gone { replica } => {
            (NotedKind::Ended, of(replica), None, "nothing is left of it".to_owned())
        }
        Entry::Approved { approval } => {
            let Approval { digest, .. } = approval;
            let message = format!("approved the removals of {}", short(&digest.0));
            (NotedKind::Operator, None, None, message)
        }
        Entry::Retried => {
            let message = "asked that what failed be tried again at once".to_owned();
            (NotedKind::Operator, None, None, message)
        }
        Entry::Asked { by, verb, what } => {
            let what = what.as_ref().map(|what| format!(" {what}")).unwrap_or_default();
            (NotedKind::Operator, None, None, format!("{by} asked for `{verb}{what}`"))
        }
        Entry::Checkout { checkout: Some(checkout) } => {
            (NotedKind::Commit, None, None, format!("the specs are at {checkout}"))
        }
        Entry::Checkout { checkout: None } => {
            (NotedKind::Commit, None, None, "the specs are no Git checkout".to_owned())
        }
        Entry::Exec { replica, exec } => (NotedKind::Exec, of(replica), None, exec_words(exec)),
        Entry::ExecEnded { replica, exec, code, why } => {
            let how = match (code, why) {
                (_, Some(why)) => why.clone(),
                (Some(code), None) => format!("ended with exit code {code}"),
                (None, None) => "ended".to_owned(),
            };
            let ExecNote { by, program, .. } = exec;
            (NotedKind::Exec, of(replica), None, format!("`{program}` of {by}: {how}"))
        }
        Entry::Pressed { replica, node, pressure, message } => {
            let whose = match replica {
                Some(replica) => of(replica),
                None => of(&format!("node {node}")),
            };
            let message = match message {
                Some(message) => format!("{}: {message}", pressure.condition()),
                None => format!("{} is over: it {}", pressure.condition(), pressure.over()),
            };
            (NotedKind::Pressed, whose, Some(node), message)
        }
        Entry::PolicySet { set } => {
            let PolicySetNote { digest, policies } = set;
            let message = format!("{} policies, set {}", policies.len(), short(&digest.0));
            (NotedKind::Policy, None, None, message)
        }
        Entry::Verdict { verdict } => {
            let VerdictNote { object, policy, outcome, waived_by, findings, .. } = &**verdict;
            let waiver = waived_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let found = findings.join("; ");
            let found = if found.is_empty() { found } else { format!(": {found}") };
            let message = format!("{policy} {}{waiver}{}{found}", outcome.word(), when(verdict));
            (NotedKind::Policy, of(&named(object)), None, message)
        }
        Entry::Suspended { target, by, why } => {
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            (NotedKind::Operator, of(target), None, format!("suspended by {by}{why}"))
        }
        Entry::Resumed { target } => {
            (NotedKind::Operator, of(target), None, "let go on".to_owned())
        }
        Entry::NodeOrder { node, order, by } => {
            (NotedKind::Operator, None, Some(node), format!("{order} (by {by})"))
        }
        Entry::Kept { .. } => return None,
        Entry::RolledOut { instance, revision } => {
            let message = format!("revision {} is rolled out", short(&revision.0));
            (NotedKind::Settled, of(instance), None, message)
        }
        Entry::RolloutFailed { instance, revision, why } => {
            let message = format!("revision {} failed: {why}", short(&revision.0));
            (NotedKind::Failed, of(instance), None, message)
        }
        Entry::SetAside { instance, revision, asked: _, to, why } => {
            let revision = short(&revision.0);
            let message = format!("revision {revision} is set aside: {why}; back to revision {to}");
            (NotedKind::Failed, of(instance), None, message)
        }
        Entry::Undone { instance, revision: _, asked: _, to, by } => {
            let message = format!("{by} went back to revision {to}");
            (NotedKind::Operator, of(instance), None, message)
        }
        Entry::Ahead { instance, by: Some(by) } => {
            let message = format!("{by} put in force again what the specs ask for");
            (NotedKind::Operator, of(instance), None, message)
        }
        Entry::Ahead { instance, by: None } => {
            let message = "its spec asks for something else: that is in force again".to_owned();
            (NotedKind::Decided, of(instance), None, message)
        }
        Entry::RolloutPaused { instance, by } => {
            (NotedKind::Operator, of(instance), None, format!("rollout paused by {by}"))
        }
        Entry::RolloutResumed { instance, by } => {
            (NotedKind::Operator, of(instance), None, format!("rollout resumed by {by}"))
        }
        Entry::RestartAsked { instance, by } => {
            (NotedKind::Operator, of(instance), None, format!("new containers asked for by {by}"))
        }
        Entry::Restarted { instance } => {
            (NotedKind::Settled, of(instance), None, "all its containers are new".to_owned())
        }
        Entry::Settled { managed } => {
            (NotedKind::Settled, None, None, format!("{managed} objects are as declared"))
        }
    })
}

fn exec_words(exec: &ExecNote) -> String {
    let ExecNote { by, program, arguments, user, terminal } = exec;
    let mut text = format!("{by} runs `{program}`");
    match arguments {
        0 => {}
        1 => text.push_str(" with 1 argument"),
        some => text.push_str(&format!(" with {some} arguments")),
    }
    if let Some(user) = user {
        text.push_str(&format!(" as {user}"));
    }
    if *terminal {
        text.push_str(" on a terminal");
    }
    text
}

/// The object without its node, which stands beside it.
fn name(object: &ObjectId) -> String {
    object.to_string()
}

fn deed_words(deed: &Deed) -> String {
    match deed {
        Deed::FetchImage { how } => how.clone(),
        Deed::Create { incarnation: _, revision, image, limits: _, slot: _ } => {
            format!("create revision {} of image {image}", short(&revision.0))
        }
        Deed::Update { limits } => {
            let cpus = limits.nano_cpus / 1_000_000;
            format!("update to cpus {cpus}m, memory {}, pids {}", limits.memory, limits.pids)
        }
        Deed::Connect { network } => format!("connect to network {network}"),
        Deed::Disconnect { network } => format!("disconnect from network {network}"),
        Deed::SetRules { rules: _, ways } => format!("set rules that open {ways} ways"),
        Deed::SetGroup { limits } => format!("set quota to {limits}"),
        Deed::SetHosts
        | Deed::CreateVolume { .. }
        | Deed::RemoveVolume
        | Deed::CreateNetwork
        | Deed::RemoveNetwork
        | Deed::RemoveCopy
        | Deed::PutFiles
        | Deed::Start { .. }
        | Deed::Stop { .. }
        | Deed::Pause
        | Deed::Unpause
        | Deed::Rename
        | Deed::Remove { .. } => deed.verb().to_owned(),
    }
}

/// When a failed step is tried again.
fn again(at: Timestamp, retry_at: Timestamp) -> String {
    match retry_at.since(at).as_millis() {
        0 => "tried again at once".to_owned(),
        ms @ 1..1000 => format!("tried again {ms} ms later"),
        ms => format!("tried again {} s later", ms / 1000),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..DIGITS).unwrap_or(digest)
}

/// How other entries name an object that policies name by its kind: `shop/web`, `volume shop/data`.
fn named(object: &str) -> String {
    match object.split_once(' ') {
        Some(("Instance", name)) => name.to_owned(),
        Some((kind, name)) => format!("{} {name}", kind.to_lowercase()),
        None => object.to_owned(),
    }
}

/// What a policy was asked about, if that was not the declaration.
fn when(verdict: &VerdictNote) -> String {
    let Some(asked) = &verdict.asked else { return String::new() };
    match serde_json::from_value((**asked).clone()) {
        Ok(AskedNote::Action { kind, .. }) => format!(" on {}", kind.as_str()),
        Ok(AskedNote::Drift { .. }) => " on drift".to_owned(),
        Ok(AskedNote::Found { .. }) => " where it runs".to_owned(),
        Ok(AskedNote::Sent { .. }) => " as it would be made".to_owned(),
        // By a later windlass; what it found is told all the same.
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use reconciler::model::ids::ReplicaKey;

    fn told(entry: Entry) -> Option<String> {
        let noted = noted(&Stamped { seq: 1, at: Timestamp(0), entry })?;
        let object = noted.object.map(|object| format!("{object}: ")).unwrap_or_default();
        Some(format!("{object}{}", noted.message))
    }

    #[test]
    fn texts_of_specs_are_never_told() {
        let text: Option<Arc<str>> = Some(Arc::from("env: { TOKEN: s3cret }"));
        let told = told(Entry::Text { file: Arc::from("web.yaml"), text });
        assert_eq!(told.as_deref(), Some("web.yaml: a good version"));
    }

    #[test]
    fn a_checkpoint_is_no_news() {
        assert_eq!(told(Entry::Checkpoint { records: Box::default() }), None);
    }

    #[test]
    fn intents_and_ends_name_their_object() {
        let replica = ReplicaKey::new("shop/web".parse().expect("a key"), 0);
        let node = Name::new("n1").expect("a name");
        let object = ObjectId::Replica(replica.clone());
        let deed = Deed::Start { restart: true, in_a_row: false, earlier: false };
        let cause = "ended with exit code 1".to_owned();
        let intent = told(Entry::Intent { object, node, deed, cause, from: None });
        assert_eq!(intent.as_deref(), Some("shop/web/0: restart (ended with exit code 1)"));
        let life = Life::Failed { at: Timestamp(0), code: Some(3) };
        let ended = told(Entry::Ended { replica, life });
        assert_eq!(ended.as_deref(), Some("shop/web/0: failed with exit code 3"));
    }
}
