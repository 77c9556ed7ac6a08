//! Effects, one arm each.

use std::sync::Arc;

use reconciler::engine::{Effect, Event};
use reconciler::model::ids::{Name, ObjectId};
use reconciler::policy::facts::WhoSigned;
use reconciler::ports::{DriverError, DriverErrorKind, Progress};
use reconciler::step::Action;

use super::{Input, Shell, instant, last_seq, now};
use crate::api::protocol::Happened;
use crate::api::{noted, view};
use crate::crash_point;

impl Shell {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Commit { ticket, entries } => self.commit(ticket, entries),
            Effect::Run { object, node, action } => self.run_step(object, node, action),
            Effect::List { node } => self.list(node),
            Effect::Inspect { node, container } => self.inspect(node, container),
            Effect::Probe { ticket, node, container, probe } => {
                self.probe(ticket, node, container, probe);
            }
            Effect::ReadLog { replica, node, container, lines } => {
                self.read_log(replica, &node, container, lines);
            }
            Effect::LookInside { replica, node, container } => {
                self.look_inside(replica, &node, container);
            }
            Effect::WhoSigned(question) => self.who_signed(question),
            Effect::Connect { node, endpoint } => self.connect(node, &endpoint),
            Effect::Disconnect { node } => self.disconnect(&node),
            Effect::Store(writes) => (self.ports.save)(writes, self.saved_seq),
            Effect::Tell(happening) => {
                let happened = view::happened(&happening);
                self.note(&happened);
                self.tell(happened);
            }
            Effect::WakeAt(at) => self.wake_at = Some(instant(at)),
            Effect::Round => self.round_wanted = true,
            Effect::Planned => {}
        }
    }

    fn commit(&mut self, ticket: u64, entries: Vec<reconciler::model::journal::Stamped>) {
        if let Some(seq) = last_seq(&entries) {
            // The records are just now what these entries make them.
            let writes = (self.ports.changed)(&self.engine.snapshot().records, &entries);
            self.unsaved.insert(ticket, (writes, seq));
        }
        // Also if nobody follows: one who begins to while they are being written is told.
        self.untold.insert(ticket, entries.iter().filter_map(noted::noted).collect());
        if let Err(error) = (self.ports.commit)(entries, ticket) {
            self.unsaved.remove(&ticket);
            self.untold.remove(&ticket);
            let result = Err(error.to_string());
            let _ = self.sender.send(Input::Written { ticket, result, wants_checkpoint: false });
        }
    }

    fn run_step(&mut self, object: ObjectId, node: Name, action: Action) {
        let sender = self.sender.clone();
        let Some(driver) = self.nodes.get(&node).map(|connection| connection.driver()) else {
            let result = Err(not_connected(&node));
            let _ = sender.send(Input::Event(Event::Finished { object, result }));
            return;
        };
        tokio::spawn(async move {
            let result = {
                let progress = |progress: Progress| {
                    let Progress { done, total } = progress;
                    let (object, node) = (object.to_string(), node.to_string());
                    let happened = Happened::Progress { object, node, done, total };
                    let _ = sender.send(Input::Progress(happened));
                };
                driver.execute(&action, &progress).await
            };
            crash_point::reached("reply");
            let _ = sender.send(Input::Event(Event::Finished { object, result }));
        });
    }

    fn list(&mut self, node: Name) {
        let sender = self.sender.clone();
        let asked_at = now();
        let asked = self.nodes.get(&node).zip(self.engine.snapshot().records.owner.clone());
        let Some((connection, owner)) = asked else {
            let result = Err(not_connected(&node));
            let _ = sender.send(Input::Event(Event::Listed { node, asked_at, result }));
            return;
        };
        let driver = connection.driver();
        tokio::spawn(async move {
            let result = driver.list(&owner).await.map(Box::new);
            let _ = sender.send(Input::Event(Event::Listed { node, asked_at, result }));
        });
    }

    fn inspect(&mut self, node: Name, container: String) {
        let sender = self.sender.clone();
        let asked_at = now();
        let asked = self.nodes.get(&node).zip(self.engine.snapshot().records.owner.clone());
        let Some((connection, owner)) = asked else {
            let result = Err(not_connected(&node));
            let event = Event::Inspected { node, container, asked_at, result };
            let _ = sender.send(Input::Event(event));
            return;
        };
        let driver = connection.driver();
        tokio::spawn(async move {
            let result = driver.inspect(&owner, &container).await.map(|found| found.map(Box::new));
            let event = Event::Inspected { node, container, asked_at, result };
            let _ = sender.send(Input::Event(event));
        });
    }

    fn who_signed(&self, question: Arc<WhoSigned>) {
        let (sender, verifier) = (self.sender.clone(), Arc::clone(&self.ports.verifier));
        tokio::spawn(async move {
            let result = verifier.who_signed(&question).await;
            let (image, declared) = (question.image.clone(), question.declared.clone());
            if let Err(error) = &result {
                tracing::warn!(%image, %error, "nobody can tell who signed it");
            }
            let _ = sender.send(Input::Event(Event::WhoSigned { image, declared, result }));
        });
    }

    /// Counts steps for those who wait for an outcome.
    fn note(&mut self, happened: &Happened) {
        if matches!(happened, Happened::Ended { error: None, .. }) {
            for waiting in &mut self.waiting {
                waiting.steps += 1;
            }
        }
    }
}

pub(super) fn not_connected(node: &Name) -> DriverError {
    let message = format!("node {node} is not connected");
    DriverError { kind: DriverErrorKind::Unreachable, message }
}
