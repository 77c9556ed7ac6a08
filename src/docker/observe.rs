//! What a node holds: one list of each kind, and an inspect for what lists do not tell.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, ListNetworksOptions, ListVolumesOptions,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use reconciler::model::ids::{ContainerId, OwnerId};
use reconciler::model::observed::{NodeListing, ObservedContainer};
use reconciler::ports::{DriverError, DriverErrorKind};

use super::connect::{DockerDriver, Session};
use super::convert::{self, labels};

/// Inspects at once: an engine answers one in half a millisecond, and more of them only queue.
const INSPECTS_AT_ONCE: usize = 8;

/// See [`Driver::list`](reconciler::ports::Driver::list).
pub(super) async fn list(
    driver: &DockerDriver,
    owner: &OwnerId,
) -> Result<NodeListing, DriverError> {
    let limit = driver.deadlines().look;
    let operation = "list containers, images, volumes and networks";
    // One list of all containers, since the names of foreign ones are wanted too: a filtered one
    // beside it would cost as much again.
    let (session, containers, images, volumes, networks) = driver
        .call(operation, limit, |session| async move {
            let docker = &session.docker;
            let all = ListContainersOptions { all: true, ..Default::default() };
            let filters =
                HashMap::from([("label".to_owned(), vec![format!("{}={owner}", labels::OWNER)])]);
            let ours = ListVolumesOptions { filters: Some(filters.clone()) };
            let networks = ListNetworksOptions { filters: Some(filters) };
            let (containers, images, volumes, networks) = tokio::try_join!(
                docker.list_containers(Some(all)),
                docker.list_images(None::<ListImagesOptions>),
                docker.list_volumes(Some(ours)),
                docker.list_networks(Some(networks)),
            )?;
            Ok((session, containers, images, volumes, networks))
        })
        .await?;

    let mut foreign = Vec::new();
    let mut ours = Vec::new();
    for container in containers {
        let is_ours =
            container.labels.as_ref().is_some_and(|found| labels::identity(owner, found).is_some());
        if is_ours {
            ours.push(container);
        } else {
            foreign.extend(name_of(&container));
        }
    }
    foreign.sort();

    let found: Vec<_> = stream::iter(ours)
        .map(|listed| known_or_inspected(driver, owner, listed))
        .buffer_unordered(INSPECTS_AT_ONCE)
        .try_collect()
        .await?;
    let containers: BTreeMap<_, _> = found.into_iter().flatten().collect();
    driver.cache.retain(|id| containers.contains_key(id));

    Ok(NodeListing {
        engine: session.engine.clone(),
        containers,
        foreign,
        images: images.into_iter().map(convert::observed_image).collect(),
        volumes: volumes
            .volumes
            .into_iter()
            .flatten()
            .filter_map(|volume| convert::observed_volume(owner, volume))
            .collect(),
        networks: convert::observed_networks(owner, networks),
        fence: Default::default(),
        groups: Default::default(),
    })
}

/// See [`Driver::inspect`](reconciler::ports::Driver::inspect).
pub(super) async fn inspect(
    driver: &DockerDriver,
    owner: &OwnerId,
    container: &str,
) -> Result<Option<(ContainerId, ObservedContainer)>, DriverError> {
    // Under its id, so that an event of it can say that the answer is outdated. Callers that know
    // only the name get an answer that is not kept.
    let id = ContainerId(Arc::from(container));
    let asking = driver.cache.ask(&id);
    let found = ask(driver, owner, container).await?;
    Ok(found.map(|(found_id, container)| {
        if found_id == id {
            asking.answered(&id, &container);
        }
        (found_id, Arc::unwrap_or_clone(container))
    }))
}

/// A listed container in full; `None` if it vanished meanwhile.
async fn known_or_inspected(
    driver: &DockerDriver,
    owner: &OwnerId,
    listed: ContainerSummary,
) -> Result<Option<(ContainerId, ObservedContainer)>, DriverError> {
    let Some(id) = listed.id.as_deref().map(|id| ContainerId(Arc::from(id))) else {
        return Ok(None);
    };
    if let Some(known) = driver.cache.get(&id).filter(|known| convert::agrees(&listed, known)) {
        return Ok(Some((id, known.as_ref().clone())));
    }
    let name = id.to_string();
    inspect(driver, owner, &name).await
}

async fn ask(
    driver: &DockerDriver,
    owner: &OwnerId,
    container: &str,
) -> Result<Option<(ContainerId, Arc<ObservedContainer>)>, DriverError> {
    let operation = format!("inspect container {container}");
    let asked = driver
        .call(&operation, driver.deadlines().look, |session: Arc<Session>| async move {
            let inspected = session.docker.inspect_container(container, None).await?;
            Ok::<_, Error>((inspected, session.defaults))
        })
        .await;
    match asked {
        Ok((inspected, defaults)) => {
            let ours = convert::observed_container(owner, inspected, defaults);
            Ok(ours.map(|(id, container)| (id, Arc::new(container))))
        }
        Err(error) if error.kind == DriverErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn name_of(container: &ContainerSummary) -> Option<String> {
    let names = container.names.as_deref().unwrap_or_default();
    // Beside its own name a container is listed under those of classic links, with more slashes.
    let own = names.iter().find(|name| !name.trim_start_matches('/').contains('/'))?;
    Some(own.trim_start_matches('/').to_owned())
}
