//! Asking containers how they are, and what they printed last.

use std::sync::{Arc, Mutex, PoisonError};

use reconciler::engine::Event;
use reconciler::model::health::{Probe, Probed};
use reconciler::model::ids::{ContainerId, Name, ReplicaKey};
use reconciler::ports::{LogLine, LogQuery};

use super::perform::not_connected;
use super::{Input, Shell};

/// Ends of logs that are read at once: those of a thousand crash loops must not keep an engine from
/// starting them again.
pub(super) const LOGS_AT_ONCE_MAX: usize = 4;

impl Shell {
    pub(super) fn probe(&mut self, ticket: u64, node: Name, container: ContainerId, probe: Probe) {
        let sender = self.sender.clone();
        let Some(connection) = self.nodes.get(&node) else {
            let result = Probed::Unknown { reason: format!("node {node} is not connected") };
            let event = Event::Probed { ticket, node, container, result };
            let _ = sender.send(Input::Event(event));
            return;
        };
        let (driver, prober) = (connection.driver(), Arc::clone(&self.ports.prober));
        tokio::spawn(async move {
            let result = prober.probe(&*driver, &node, &container, &probe).await;
            let event = Event::Probed { ticket, node, container, result };
            let _ = sender.send(Input::Event(event));
        });
    }

    pub(super) fn read_log(
        &mut self,
        replica: ReplicaKey,
        node: &Name,
        container: ContainerId,
        lines: u32,
    ) {
        let sender = self.sender.clone();
        let driver = self.nodes.get(node).map(|connection| connection.driver());
        let places = Arc::clone(&self.logs);
        tokio::spawn(async move {
            // It is never closed.
            let _place = places.acquire().await;
            let read = Mutex::new(Vec::new());
            if let Some(driver) = driver {
                let query = LogQuery { tail: Some(lines), ..LogQuery::default() };
                let sink = |line: LogLine| {
                    read.lock().unwrap_or_else(PoisonError::into_inner).push(line.text);
                };
                // Some log drivers cannot be read, which is no fault of the container's.
                if let Err(error) = driver.logs(&container.0, query, &sink).await {
                    tracing::debug!(%replica, %error, "the end of its log cannot be read");
                }
            }
            let lines = read.into_inner().unwrap_or_else(PoisonError::into_inner);
            let _ = sender.send(Input::Event(Event::LogRead { replica, container, lines }));
        });
    }

    /// Looks into a container.
    pub(super) fn look_inside(&self, replica: ReplicaKey, node: &Name, container: ContainerId) {
        let sender = self.sender.clone();
        let driver = self.nodes.get(node).map(|connection| connection.driver());
        let node = node.clone();
        tokio::spawn(async move {
            let result = match driver {
                Some(driver) => driver.inside(&container.0).await,
                None => Err(not_connected(&node)),
            };
            if let Err(error) = &result {
                tracing::debug!(%replica, %error, "nobody could look into it");
            }
            let event = Event::LookedInside { replica, container, result };
            let _ = sender.send(Input::Event(event));
        });
    }
}
