//! The event stream of an engine.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt;
use reconciler::model::ids::{ContainerId, OwnerId};
use reconciler::ports::{DriverError, DriverErrorKind, NodeEvent};
use tokio::sync::Notify;

use super::connect::DockerDriver;
use super::convert::labels;
use super::error;

/// What changes something that we look at; `create` and `destroy` are of volumes and networks too.
/// That a container joins or leaves a network comes with each start and end; a list shows it. Health checks
/// make `exec_` events at each run, which would drown the rest; so would attach, top and copy.
const EVENTS: [&str; 18] = [
    "create",
    "start",
    "restart",
    "die",
    "oom",
    "pause",
    "unpause",
    "rename",
    "update",
    "destroy",
    "health_status",
    COMMIT,
    "pull",
    "load",
    "import",
    "tag",
    "untag",
    "delete",
];

/// Makes an image, though it is told of the container.
const COMMIT: &str = "commit";

/// See [`Driver::watch`](reconciler::ports::Driver::watch).
pub(super) async fn watch(
    driver: &DockerDriver,
    owner: &OwnerId,
    sink: &(dyn Fn(NodeEvent) + Send + Sync),
) -> DriverError {
    match follow(driver, owner, sink).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn follow(
    driver: &DockerDriver,
    owner: &OwnerId,
    sink: &(dyn Fn(NodeEvent) + Send + Sync),
) -> Result<std::convert::Infallible, DriverError> {
    let operation = "watch events";
    let limit = driver.deadlines().look;
    let session = driver.fresh_session(operation).await?;
    let opened = Arc::new(Notify::new());
    let client = driver.event_client(&session, Arc::clone(&opened));
    let client = driver.checked(operation, &session, client).await?;

    // The engine answers a moment before it begins to listen. Since it is asked for all events
    // from a time before that, it tells of that moment too.
    let options = EventsOptions {
        since: session.engine_time.clone(),
        filters: Some(filters()),
        ..EventsOptions::default()
    };
    let mut stream = client.events(Some(options));
    let first = tokio::time::timeout(limit, async {
        tokio::select! {
            biased;
            first = stream.next() => Some(first),
            () = opened.notified() => None,
        }
    });
    let mut next = match first.await {
        Ok(Some(Some(Err(failure)))) => {
            return Err(end(driver, &session, operation, Some(failure)).await);
        }
        Ok(first) => first.flatten(),
        Err(_) => return Err(error::timed_out(operation, limit)),
    };
    let _watching = driver.cache.watching();
    sink(NodeEvent::Opened);

    loop {
        let event = match next.take() {
            Some(event) => Some(event),
            None => stream.next().await,
        };
        match event {
            Some(Ok(event)) => tell(driver, owner, event, sink),
            Some(Err(failure)) => return Err(end(driver, &session, operation, Some(failure)).await),
            None => return Err(end(driver, &session, operation, None).await),
        }
    }
}

/// Why the stream ended. Whatever it was, the engine is asked anew who it is.
async fn end(
    driver: &DockerDriver,
    session: &Arc<super::connect::Session>,
    operation: &str,
    failure: Option<bollard::errors::Error>,
) -> DriverError {
    driver.forget(session).await;
    match failure {
        Some(failure) => error::driver_error(operation, &failure),
        None => error::new(DriverErrorKind::Unreachable, operation, "the engine closed the stream"),
    }
}

fn tell(
    driver: &DockerDriver,
    owner: &OwnerId,
    event: EventMessage,
    sink: &(dyn Fn(NodeEvent) + Send + Sync),
) {
    let Some(event) = meant(owner, event) else { return };
    if let NodeEvent::Container { id, .. } = &event {
        driver.cache.drop_one(id);
    }
    sink(event);
}

/// What an event means to us, if it means anything.
pub(super) fn meant(owner: &OwnerId, event: EventMessage) -> Option<NodeEvent> {
    let actor = event.actor.unwrap_or_default();
    match event.typ {
        Some(EventMessageTypeEnum::CONTAINER) if event.action.as_deref() == Some(COMMIT) => {
            Some(NodeEvent::Images)
        }
        Some(EventMessageTypeEnum::CONTAINER) => {
            // An event filter by label would hold for images and volumes too, which have none.
            let attributes = actor.attributes.unwrap_or_default();
            if attributes.get(labels::OWNER) != Some(&owner.0) {
                return None;
            }
            let id = ContainerId(Arc::from(actor.id?));
            Some(NodeEvent::Container { id, replica: labels::replica(&attributes) })
        }
        Some(EventMessageTypeEnum::IMAGE) => Some(NodeEvent::Images),
        Some(EventMessageTypeEnum::VOLUME) => Some(NodeEvent::Volumes),
        Some(EventMessageTypeEnum::NETWORK) => Some(NodeEvent::Networks),
        _ => None,
    }
}

fn filters() -> HashMap<String, Vec<String>> {
    let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    HashMap::from([
        ("type".to_owned(), all(&["container", "image", "volume", "network"])),
        ("event".to_owned(), all(&EVENTS)),
    ])
}
