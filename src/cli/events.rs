//! `windlass events`: what windlass did and saw. The journal is the source.

use reconciler::model::quantity::Span;
use serde_json::json;

use super::args::Format;
use super::failure::Failure;
use super::show::noted::line;
use super::show::words::{meant, time};
use super::{Context, Dir, Ended, ask};
use crate::api::noted::noted;
use crate::api::protocol::{Frame, Noted, Request};
use crate::app::{self, Session};
use crate::shell::now;

/// What of them is shown.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Go on as they come.
    pub(super) follow: bool,
    /// Only those of so much last time.
    pub(super) since: Option<Span>,
    /// Only those of this object.
    pub(super) object: Option<String>,
}

/// Runs the verb.
pub(super) async fn run(context: &Context, options: &Options) -> Ended {
    let settings = context.settings(&Dir { dir: None })?;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut live = match options.follow {
        true => Session::daemon(&settings).await.map_err(ask::no_session)?.map(Session::from),
        false => None,
    };
    let mut frames = match &live {
        Some(session) => {
            let mut frames = session.ask(Request::Follow).await.map_err(ask::no_session)?;
            // From its first frame on nothing is missed: what is not in the journal yet is told.
            match frames.recv().await {
                Some(Frame::Hello { .. }) => Some(frames),
                Some(Frame::Error { message, help }) => return Err(ask::told(message, help)),
                Some(frame) => return Err(ask::unexpected(&frame)),
                None => return Err(Failure::new("the loop ended before it had answered")),
            }
        }
        None => None,
    };
    let mut shown = Shown::new(context, options);
    app::history(&settings, &mut |stamped| {
        if let Some(noted) = noted(&stamped) {
            shown.take(&noted);
        }
    })?;
    shown.write()?;
    if let (Some(object), false, false) = (&options.object, shown.known, options.follow) {
        return Err(unknown(object, &shown.names));
    }
    if !shown.any {
        context.out.note("no events");
    }
    if options.follow && live.is_none() {
        context
            .out
            .note("no `windlass up` holds this state directory: nothing more comes by itself");
    }
    while let Some(frames) = &mut frames {
        let frame = tokio::select! {
            frame = frames.recv() => frame,
            _ = &mut interrupted => return Err(Failure::interrupted()),
        };
        match frame {
            Some(Frame::Noted { noted }) => {
                shown.take(&noted);
                shown.write()?;
            }
            Some(Frame::Error { .. }) | None => {
                context.out.note("`windlass up` has ended: nothing more comes by itself");
                break;
            }
            Some(frame) => return Err(ask::unexpected(&frame)),
        }
    }
    if let Some(session) = live.take() {
        session.close().await;
    }
    Ok(0)
}

/// What is shown of the entries, each once.
struct Shown<'a> {
    context: &'a Context,
    object: Option<&'a str>,
    since_ms: Option<i64>,
    last_seq: u64,
    /// Whether there was an entry of the object, however old.
    known: bool,
    names: Vec<String>,
    text: String,
    /// Whether anything was shown.
    any: bool,
}

impl<'a> Shown<'a> {
    fn new(context: &'a Context, options: &'a Options) -> Self {
        let since_ms = options
            .since
            .map(|span| now().0.saturating_sub(i64::try_from(span.0).unwrap_or(i64::MAX)));
        Self {
            context,
            object: options.object.as_deref(),
            since_ms,
            last_seq: 0,
            known: false,
            names: Vec::new(),
            text: String::new(),
            any: false,
        }
    }

    fn take(&mut self, noted: &Noted) {
        if noted.seq <= self.last_seq {
            return;
        }
        self.last_seq = noted.seq;
        if let Some(wanted) = self.object {
            if !is_about(noted, wanted) {
                self.names.extend(noted.object.clone());
                return;
            }
            self.known = true;
        }
        if self.since_ms.is_some_and(|since| noted.at.0 < since) {
            return;
        }
        let Noted { seq, at, kind, object, node, message } = noted;
        let text = match self.context.global.output {
            Format::Json | Format::Yaml => json!({
                "seq": seq, "at": time(*at), "kind": kind, "object": object, "node": node,
                "message": message,
            })
            .to_string(),
            Format::Name => object.clone().unwrap_or_default(),
            Format::Text | Format::Wide => line(noted, &self.context.out.style),
        };
        if !text.is_empty() {
            self.text.push_str(&text);
            self.text.push('\n');
            self.any = true;
        }
    }

    fn write(&mut self) -> Result<(), Failure> {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() { Ok(()) } else { self.context.out.print(&text) }
    }
}

/// Whether an entry is about what is named: an instance, with or without its project, a replica, an
/// image, a volume or a node.
pub(super) fn is_about(noted: &Noted, wanted: &str) -> bool {
    let is_it = |name: &str| {
        name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(['/', ' ']))
    };
    let object = noted.object.as_deref().unwrap_or_default();
    let bare = match object.split_once(' ') {
        Some(("image" | "volume" | "node", name)) => name,
        Some(_) | None => object,
    };
    let short = bare.split_once('/').map_or(bare, |(_, short)| short);
    is_it(object)
        || is_it(bare)
        || is_it(short)
        || noted.node.as_ref().is_some_and(|node| node.as_str() == wanted)
}

pub(super) fn unknown(object: &str, names: &[String]) -> Failure {
    let failure = Failure::new(format!("the journal says nothing of `{object}`"));
    // An instance is meant more often than one of its replicas.
    let instance = |name: &String| {
        name.rsplit_once('/')
            .filter(|(_, ordinal)| ordinal.parse::<u32>().is_ok())
            .map_or(name.clone(), |(instance, _)| instance.to_owned())
    };
    let known: Vec<String> = names.iter().map(instance).collect();
    let short: Vec<&str> =
        known.iter().map(|name| name.rsplit('/').next().unwrap_or_default()).collect();
    let found = match object.contains('/') {
        true => meant(object, known.iter().map(String::as_str)),
        false => meant(object, short.iter().copied())
            .and_then(|found| short.iter().position(|name| *name == found))
            .map(|at| known[at].as_str()),
    };
    match found {
        Some(found) => failure.help(format!("did you mean `{found}`?")),
        None => failure.help("`windlass events` shows all that it says"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::protocol::NotedKind;
    use reconciler::model::ids::Name;
    use reconciler::model::time::Timestamp;

    #[test]
    fn an_object_is_known_by_all_its_names() {
        let noted = |object: &str| Noted {
            seq: 1,
            at: Timestamp(0),
            kind: NotedKind::Done,
            object: Some(object.to_owned()),
            node: Name::new("n1").ok(),
            message: String::new(),
        };
        for wanted in ["shop/web", "shop/web/0", "web", "web/0", "n1"] {
            assert!(is_about(&noted("shop/web/0"), wanted), "{wanted}");
        }
        for wanted in ["we", "shop/we", "shop/web/1", "0"] {
            assert!(!is_about(&noted("shop/web/0"), wanted), "{wanted}");
        }
        assert!(is_about(&noted("image busybox:latest on n1"), "busybox:latest"));
        assert!(is_about(&noted("volume shop/data on n1"), "data"));
    }

    #[test]
    fn what_was_meant_is_told() {
        let names = ["shop/web/0".to_owned(), "shop/db".to_owned()];
        let help = |object| unknown(object, &names).help;
        assert_eq!(help("wbe").as_deref(), Some("did you mean `shop/web`?"));
        assert_eq!(help("shop/bd").as_deref(), Some("did you mean `shop/db`?"));
    }
}
