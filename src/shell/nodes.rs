//! Connections to nodes: a driver, and a task that hears the node's events and connects again when
//! they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reconciler::engine::Event;
use reconciler::model::ids::{Name, OwnerId};
use reconciler::model::spec::Endpoint;
use reconciler::ports::{Driver, NodeEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Input, Shell};

/// The first wait before connecting again: an engine that was restarted is back soon.
const RECONNECT_AFTER_MIN: Duration = Duration::from_millis(100);

/// No wait is longer: connecting to a socket nobody listens on costs next to nothing.
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(2);

/// A node's driver and the task that hears its events; dropping it ends the task.
pub(super) struct Connection {
    driver: Arc<dyn Driver>,
    task: JoinHandle<()>,
}

impl Connection {
    pub(super) fn driver(&self) -> Arc<dyn Driver> {
        Arc::clone(&self.driver)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shell {
    pub(super) fn connect(&mut self, node: Name, endpoint: &Endpoint) {
        let driver = (self.ports.connect)(endpoint);
        let owner = self.engine.snapshot().records.owner.clone();
        let owner = owner.unwrap_or_else(|| OwnerId(String::new()));
        let task =
            tokio::spawn(hear(node.clone(), Arc::clone(&driver), owner, self.sender.clone()));
        self.nodes.insert(node, Connection { driver, task });
    }

    pub(super) fn disconnect(&mut self, node: &Name) {
        self.nodes.remove(node);
    }
}

async fn hear(
    node: Name,
    driver: Arc<dyn Driver>,
    owner: OwnerId,
    sender: mpsc::UnboundedSender<Input>,
) {
    let mut wait = RECONNECT_AFTER_MIN;
    loop {
        let opened = AtomicBool::new(false);
        let error = {
            let sink = |event: NodeEvent| {
                if event == NodeEvent::Opened {
                    opened.store(true, Ordering::Relaxed);
                }
                let _ = sender.send(Input::Event(Event::Hint { node: node.clone(), event }));
            };
            driver.watch(&owner, &sink).await
        };
        if sender.send(Input::Event(Event::Lost { node: node.clone(), error })).is_err() {
            return;
        }
        wait = if opened.load(Ordering::Relaxed) {
            RECONNECT_AFTER_MIN
        } else {
            (wait * 2).min(RECONNECT_AFTER_MAX)
        };
        tokio::time::sleep(wait).await;
    }
}
