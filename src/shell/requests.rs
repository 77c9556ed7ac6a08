//! What commands ask of the loop. Views are answered at once; an apply or a removal is answered
//! when nothing more will happen by itself.

use reconciler::engine::{Event, Operator};
use reconciler::model::ids::{Key, ReplicaKey};
use reconciler::model::journal::Entry;
use reconciler::model::observed::Reach;
use reconciler::model::quantity::Span;
use reconciler::model::snapshot::Located;
use reconciler::model::suspend::{Suspensions, Target};
use reconciler::model::time::Timestamp;
use reconciler::ports::{ExecCommand, LogLine, LogQuery};
use reconciler::rollout::ask::{self, Ask, Refusal};
use reconciler::saved::{Made, SavedPlan};
use tokio::sync::mpsc;

use super::{End, Input, Shell, Talk, now};
use crate::api::client::Conversation;
use crate::api::protocol::{Frame, Happened, LogsOf, PIECES_MAX, Request};
use crate::api::view;

/// Someone who waits for an answer.
pub(super) struct Waiting {
    answer: mpsc::UnboundedSender<Frame>,
    what: What,
    /// The specs have to have been read at least this often.
    reading: u64,
    began_at: Timestamp,
    pub(super) steps: u32,
}

/// What someone waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// The end of an apply.
    Apply,
    /// The end of a removal of everything.
    Down,
    /// A look at everything, then whether a saved plan can be applied.
    Plan(Box<SavedPlan>),
    /// The end of a saved plan.
    Bound,
    /// The moment at which a record is durable, and no step of these is under way.
    Quiet(Vec<Target>),
    /// An answer about a rollout.
    Rollout { instance: Key, ask: Ask, by: String },
    /// The moment at which that is durable; then this is said.
    Noted(String),
    /// A view, once the loop has its bearings.
    View(Request),
}

type Answer = mpsc::UnboundedSender<Frame>;

impl Shell {
    pub(super) fn request(&mut self, request: Request, answer: Answer) {
        match request {
            Request::Hello => finish(&answer, self.hello()),
            Request::Watch => {
                let unwatched = self.unwatched.clone();
                let stands = unwatched.map(|message| Happened::Attention { message });
                let missed = self.early.take().unwrap_or_else(|| stands.into_iter().collect());
                for happened in missed {
                    // Whoever is gone again is dropped with the next thing that happens.
                    let _ = answer.send(Frame::Happened { happened });
                }
                self.watchers.push(answer);
            }
            Request::Follow => {
                // Who asks knows by this that nothing is missed from here on.
                let _ = answer.send(self.hello());
                self.followers.push(answer);
            }
            Request::By { by, request } => {
                self.note_asked(by, &request);
                self.request(*request, answer);
            }
            Request::Exec { .. } => {
                let message = "a command needs a connection that takes its input".to_owned();
                finish_with_error(&answer, message, None);
            }
            Request::Apply => {
                let reading = (self.ports.reread)();
                self.event(Event::Operator(Operator::Retry));
                self.event(Event::Operator(Operator::Refresh));
                self.watchers.push(answer.clone());
                self.wait(answer, What::Apply, reading);
            }
            Request::ApplyPlan { plan } => {
                // What is looked at from now on counts.
                let asked_at = now();
                let reading = (self.ports.reread)();
                self.event(Event::Operator(Operator::Refresh));
                self.watchers.push(answer.clone());
                let (what, began_at) = (What::Plan(plan), asked_at);
                self.waiting.push(Waiting { answer, what, reading, began_at, steps: 0 });
            }
            Request::Suspend { targets, by, why } => {
                let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
                let because = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                let message = format!("{by} suspended {}{because}", names.join(", "));
                self.tell(Happened::Attention { message });
                let operator = Operator::Suspend { targets: targets.clone(), by, why };
                self.event(Event::Operator(operator));
                self.wait(answer, What::Quiet(targets), 0);
            }
            Request::Resume { targets } => {
                let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
                let message = format!("resumed {}", names.join(", "));
                self.tell(Happened::Attention { message });
                self.event(Event::Operator(Operator::Resume { targets }));
                self.wait(answer, What::Quiet(Vec::new()), 0);
            }
            Request::Node { node, order, by } => {
                let message = format!("{by}: node {node} {order}");
                self.tell(Happened::Attention { message });
                self.event(Event::Operator(Operator::Node { node, order, by }));
                self.wait(answer, What::Quiet(Vec::new()), 0);
            }
            Request::Rollout { instance, what: ask, by } => {
                self.wait(answer, What::Rollout { instance, ask, by }, 0);
            }
            Request::Down => {
                self.event(Event::Operator(Operator::Down));
                self.watchers.push(answer.clone());
                self.wait(answer, What::Down, 0);
            }
            Request::Plan
            | Request::Save { .. }
            | Request::Overview { .. }
            | Request::Approve { .. }
            | Request::Usage
            | Request::Account { .. }
            | Request::Metrics
            | Request::Logs { .. } => self.wait(answer, What::View(request), 0),
        }
    }

    /// Puts on record who asked for what, before it is done.
    fn note_asked(&mut self, by: String, request: &Request) {
        let asked = match request {
            Request::Apply => Some(("apply", None)),
            Request::ApplyPlan { plan } => {
                let Made { by, specs, .. } = &plan.made;
                Some(("apply --plan", Some(format!("of {by}, from {specs}"))))
            }
            Request::Down => Some(("down", None)),
            Request::Approve { digest } => Some(("approve", digest.clone())),
            Request::Resume { targets } => {
                let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
                Some(("resume", Some(names.join(", "))))
            }
            // These say themselves who asks, or change nothing.
            Request::Hello
            | Request::Plan
            | Request::Overview { .. }
            | Request::Save { .. }
            | Request::Suspend { .. }
            | Request::Node { .. }
            | Request::Rollout { .. }
            | Request::By { .. }
            | Request::Logs { .. }
            | Request::Watch
            | Request::Follow
            | Request::Usage
            | Request::Account { .. }
            | Request::Metrics
            | Request::Exec { .. } => None,
        };
        let Some((verb, what)) = asked.filter(|_| !self.engine.only_looks()) else { return };
        let entry = Box::new(Entry::Asked { by, verb: verb.to_owned(), what });
        // An apply ends with a commit in any case, and its first steps bring one.
        let at_once = !matches!(request, Request::Apply);
        self.event(Event::Operator(Operator::Note { entry, at_once }));
    }

    fn hello(&self) -> Frame {
        let (version, pid) = (env!("CARGO_PKG_VERSION").to_owned(), std::process::id());
        Frame::Hello { version, specs: self.ports.specs.clone(), pid }
    }

    fn wait(&mut self, answer: Answer, what: What, reading: u64) {
        self.waiting.push(Waiting { answer, what, reading, began_at: now(), steps: 0 });
    }

    /// Answers those who have waited long enough.
    pub(super) fn answer_waiting(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            let is_ready = self.read_number >= waiting.reading && self.engine.is_oriented();
            if waiting.answer.is_closed() {
                if waiting.what == What::Bound {
                    self.event(Event::Operator(Operator::Release));
                }
                continue;
            }
            if !is_ready || !self.try_answer(&mut waiting) {
                self.waiting.push(waiting);
            }
        }
        // An approval or a conclusion changes what is planned.
        self.round();
    }

    fn try_answer(&mut self, waiting: &mut Waiting) -> bool {
        match &waiting.what {
            What::View(request) => {
                self.view(request.clone(), &waiting.answer);
                true
            }
            What::Plan(plan) => {
                let Some(changes) = self.changes_since(plan, waiting.began_at) else {
                    return false;
                };
                if changes.is_empty() {
                    self.event(Event::Operator(Operator::Bind(plan.clone())));
                    waiting.what = What::Bound;
                    return false;
                }
                let counts = self.engine.report().counts;
                let open =
                    counts.denied + counts.unknown + counts.held + counts.waiting + counts.later;
                let is_settled = self.engine.plan().is_empty() && open == 0;
                finish(&waiting.answer, Frame::Refused { changes, is_settled });
                self.watchers.retain(|watcher| !watcher.same_channel(&waiting.answer));
                true
            }
            What::Rollout { instance, ask, by } => {
                let answered = ask::answer(self.engine.snapshot(), instance, ask, by);
                let ask::Answer { entry, message } = match answered {
                    Ok(answered) => answered,
                    Err(Refusal { message, help }) => {
                        finish_with_error(&waiting.answer, message, help);
                        return true;
                    }
                };
                let entry = entry.map(Box::new);
                if let Some(entry) = entry.as_ref().filter(|_| !self.engine.only_looks()) {
                    let told = format!("{by}: {message}");
                    self.tell(Happened::Attention { message: told });
                    self.event(Event::Operator(Operator::Rollout(entry.clone())));
                    waiting.what = What::Noted(message);
                    return false;
                }
                finish(&waiting.answer, Frame::Answered { entry, message });
                true
            }
            What::Noted(message) => {
                if let Some(message) = self.engine.degraded() {
                    finish_with_error(&waiting.answer, message, None);
                    return true;
                }
                if !self.engine.is_durable() {
                    return false;
                }
                let (entry, message) = (None, message.clone());
                finish(&waiting.answer, Frame::Answered { entry, message });
                true
            }
            What::Quiet(targets) => {
                if let Some(message) = self.engine.degraded() {
                    finish_with_error(&waiting.answer, message, None);
                    return true;
                }
                if !self.engine.is_durable() || self.is_under_way(targets) {
                    return false;
                }
                finish(&waiting.answer, Frame::Recorded);
                true
            }
            What::Apply | What::Bound | What::Down => {
                let stopped = view::stopped(&self.engine).filter(|_| waiting.what == What::Bound);
                let ended = stopped.or_else(|| view::outcome(&self.engine));
                let Some(mut outcome) = ended else { return false };
                outcome.steps = waiting.steps;
                outcome.began_at = waiting.began_at;
                outcome.ended_at = now();
                if outcome.degraded.is_none() && outcome.stopped.is_none() {
                    self.event(Event::Operator(Operator::Conclude));
                }
                if waiting.what == What::Bound {
                    self.event(Event::Operator(Operator::Release));
                } else {
                    outcome.left_out.clear();
                }
                if waiting.what == What::Down {
                    self.end = Some(End::Down);
                }
                finish(&waiting.answer, Frame::Settled { outcome: Box::new(outcome) });
                self.watchers.retain(|watcher| !watcher.same_channel(&waiting.answer));
                true
            }
        }
    }

    /// What changed since a plan was saved; `None` while that cannot be told: another one is being
    /// carried out, something is under way, or not every node was looked at since `asked_at`.
    fn changes_since(&self, plan: &SavedPlan, asked_at: Timestamp) -> Option<Vec<String>> {
        let snapshot = self.engine.snapshot();
        let was_looked_at = snapshot
            .nodes
            .values()
            .all(|seen| seen.reach != Reach::Reachable || seen.seen_at >= asked_at);
        let is_busy = self.engine.is_bound() || self.engine.is_stale();
        if is_busy || !snapshot.in_flight.is_empty() || !was_looked_at {
            return None;
        }
        Some(plan.changes_since(snapshot, self.engine.plan()))
    }

    /// Whether a step of one of these is under way.
    fn is_under_way(&self, targets: &[Target]) -> bool {
        let suspended: &Suspensions = &self.engine.snapshot().records.suspended;
        let is_meant =
            |object| suspended.of(object).is_some_and(|(target, _)| targets.contains(&target));
        self.engine.snapshot().in_flight.keys().any(is_meant)
    }

    fn view(&mut self, request: Request, answer: &Answer) {
        match request {
            Request::Save { made, salt, is_new } => {
                let plan = Box::new(view::plan(&self.engine));
                let saved = Box::new(self.engine.save_plan(made, salt, is_new));
                finish(answer, Frame::Saved { plan, saved });
            }
            Request::Plan => {
                let plan = Box::new(view::plan(&self.engine));
                finish(answer, Frame::Plan { plan });
            }
            Request::Overview { only } => {
                let overview = view::overview(&self.engine, &self.ports.specs, only.as_ref());
                finish(answer, Frame::Overview { overview: Box::new(overview) });
            }
            Request::Approve { digest } => self.approve(digest, answer),
            Request::Usage => self.usage(answer.clone()),
            Request::Account { query } => self.account(query, answer.clone()),
            Request::Metrics => self.metrics(answer.clone()),
            Request::Logs { of, follow, tail, since_ms, timestamps } => {
                let since = since_ms.map(Span);
                self.logs(&of, LogQuery { follow, tail, since, timestamps }, answer);
            }
            Request::Hello
            | Request::Watch
            | Request::Follow
            | Request::By { .. }
            | Request::Exec { .. }
            | Request::Apply
            | Request::ApplyPlan { .. }
            | Request::Suspend { .. }
            | Request::Resume { .. }
            | Request::Node { .. }
            | Request::Rollout { .. }
            | Request::Down => {}
        }
    }

    fn approve(&mut self, digest: Option<String>, answer: &Answer) {
        let held = self.engine.report().held.clone();
        let frame = match (digest, held) {
            (Some(digest), Some(held)) if held.digest.0.starts_with(&digest) => {
                self.event(Event::Operator(Operator::Approve { digest }));
                Frame::Approved { objects: held.objects.into_iter().collect() }
            }
            (_, held) => Frame::Held { held },
        };
        finish(answer, frame);
    }

    fn logs(&mut self, of: &[LogsOf], query: LogQuery, answer: &Answer) {
        let mut containers: Vec<(String, Located)> = Vec::new();
        let snapshot = self.engine.snapshot();
        for LogsOf { instance, ordinal } in of {
            let found = snapshot
                .containers
                .iter()
                .filter(|(replica, _)| {
                    replica.instance == *instance
                        && ordinal.is_none_or(|ordinal| replica.ordinal == ordinal)
                })
                .filter_map(|(replica, located)| {
                    let newest =
                        located.iter().max_by_key(|at| at.container.identity.incarnation)?;
                    Some((replica.to_string(), newest.clone()))
                });
            let before = containers.len();
            containers.extend(found);
            if containers.len() == before {
                let name =
                    ordinal.map_or(instance.to_string(), |ordinal| format!("{instance}/{ordinal}"));
                finish_with_error(
                    answer,
                    format!("no container of {name} is there"),
                    Some("`windlass get instances` shows what there is".to_owned()),
                );
                return;
            }
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (name, located) in containers {
            let Some(connection) = self.nodes.get(&located.node) else { continue };
            let (driver, answer, query) = (connection.driver(), answer.clone(), query.clone());
            tasks.spawn(async move {
                let sink = |line: LogLine| {
                    let (of, LogLine { stderr, text }) = (name.clone(), line);
                    let _ = answer.send(Frame::Line { of, stderr, text });
                };
                let read = driver.logs(&located.id.0, query, &sink);
                tokio::select! {
                    result = read => result.map_err(|error| format!("{name}: {error}")),
                    () = answer.closed() => Ok(()),
                }
            });
        }
        let answer = answer.clone();
        tokio::spawn(async move {
            while let Some(joined) = tasks.join_next().await {
                if let Ok(Err(message)) = joined {
                    finish_with_error(&answer, message, None);
                    return;
                }
            }
            let _ = answer.send(Frame::End);
        });
    }
}

pub(super) fn finish(answer: &Answer, frame: Frame) {
    // A client that went away needs no answer.
    let _ = answer.send(frame);
    let _ = answer.send(Frame::End);
}

pub(super) fn finish_with_error(answer: &Answer, message: String, help: Option<String>) {
    let _ = answer.send(Frame::Error { message, help });
}

/// A handle for those who ask the shell from the same process.
#[derive(Debug, Clone)]
pub struct Asker(pub mpsc::UnboundedSender<Input>);

impl Asker {
    /// Asks, and gives the frames of the answer as they come.
    #[must_use]
    pub fn ask(&self, request: Request) -> mpsc::UnboundedReceiver<Frame> {
        let (answer, frames) = mpsc::unbounded_channel();
        // If the shell has ended, the receiver finds the channel closed.
        let _ = self.0.send(Input::Request { request, answer });
        frames
    }

    /// Has a command run in a container of a replica.
    #[must_use]
    pub fn talk(&self, replica: ReplicaKey, command: ExecCommand, by: String) -> Conversation {
        let (answer, frames) = mpsc::channel(PIECES_MAX);
        let (sender, input) = mpsc::channel(PIECES_MAX);
        let talk = Box::new(Talk { replica, command, by, answer, input, noted: None });
        // As above.
        let _ = self.0.send(Input::Talk(talk));
        Conversation { input: sender, frames }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Input")
    }
}
