//! What is done: each action is one call, and chooses nothing.

use std::time::Duration;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    CreateContainerOptions, RemoveContainerOptions, RemoveVolumeOptions, RenameContainerOptions,
    StartContainerOptions, StopContainerOptions,
};
use reconciler::model::ids::ContainerId;
use reconciler::model::observed::Limits;
use reconciler::ports::{Done, DriverError, DriverErrorKind, Progress};
use reconciler::step::Action;

use super::connect::DockerDriver;
use super::{convert, error, files, images, labels, networks};

/// Shorter values of variables are not looked for in messages: they stand in any text by chance.
const SECRET_BYTES_MIN: usize = 6;

/// See [`Driver::execute`](reconciler::ports::Driver::execute). That something already is as asked
/// (the engine's status 304) is success.
pub(super) async fn execute(
    driver: &DockerDriver,
    action: &Action,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Done, DriverError> {
    let change = driver.deadlines().change;
    match action {
        Action::PullImage { reference } => images::pull(driver, reference, progress).await,
        Action::LoadImage { file } => images::load(driver, file, progress).await,
        Action::ImportImage { file, command, env, tag } => {
            images::import(driver, file, command.as_deref(), env, tag, progress).await
        }
        Action::CreateVolume { name, driver: kind, options, labels, retain: _ } => {
            create_volume(driver, convert::volume_body(name, kind, options, labels)).await
        }
        Action::RemoveVolume { name } => {
            let operation = format!("remove volume {name}");
            driver
                .call(&operation, change, |session| async move {
                    session.docker.remove_volume(name, None::<RemoveVolumeOptions>).await
                })
                .await?;
            Ok(Done::AsAsked)
        }
        Action::CreateNetwork { name, spec, labels } => {
            networks::create(driver, name, spec, labels).await
        }
        Action::RemoveNetwork { name } | Action::RemoveCopy { id: name } => {
            networks::remove(driver, name).await
        }
        Action::ConnectNetwork { container, network, attachment } => {
            networks::connect(driver, container, network, attachment).await
        }
        Action::DisconnectNetwork { container, network } => {
            networks::disconnect(driver, container, network).await
        }
        Action::PutFiles { container, files: contents } => {
            files::put(driver, container, contents).await
        }
        // The engine has no word for these.
        Action::SetRules { .. } | Action::SetHosts { .. } | Action::SetGroup { .. } => {
            let text = "this driver sets neither rules nor names nor quotas";
            Err(error::new(DriverErrorKind::Refused, action.verb(), text))
        }
        Action::CreateContainer {
            name,
            image,
            config,
            labels,
            image_name: _,
            revision: _,
            incarnation: _,
            slot: _,
        } => {
            let operation = format!("create container {name}");
            let body = convert::container_body(image, config, labels);
            let created = driver
                .call(&operation, change, |session| async move {
                    let options =
                        CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
                    session.docker.create_container(Some(options), body).await
                })
                .await
                .map_err(|error| without_values(error, config.env.values()))?;
            Ok(Done::Container(ContainerId(created.id.into())))
        }
        Action::StartContainer { container, restart: _, in_a_row: _, earlier: _ } => {
            let operation = format!("start container {container}");
            driver
                .call(&operation, change, |session| async move {
                    session.docker.start_container(container, None::<StartContainerOptions>).await
                })
                .await
                .map_err(conflict_if_exists)?;
            Ok(Done::AsAsked)
        }
        Action::StopContainer { container, drain, timeout, power: _, retired: _ } => {
            tokio::time::sleep(drain.duration()).await;
            let operation = format!("stop container {container}");
            // The engine counts in seconds. Rounded up, nobody is killed early.
            let seconds = i32::try_from(timeout.0.div_ceil(1000)).unwrap_or(i32::MAX);
            let limit = Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
                + driver.deadlines().stop_margin;
            driver
                .call(&operation, limit, |session| async move {
                    let options = StopContainerOptions { t: Some(seconds), signal: None };
                    session.docker.stop_container(container, Some(options)).await
                })
                .await?;
            Ok(Done::AsAsked)
        }
        Action::PauseContainer { container } => {
            let operation = format!("pause container {container}");
            driver
                .call(&operation, change, |session| async move {
                    session.docker.pause_container(container).await
                })
                .await?;
            Ok(Done::AsAsked)
        }
        Action::UnpauseContainer { container } => {
            let operation = format!("unpause container {container}");
            driver
                .call(&operation, change, |session| async move {
                    session.docker.unpause_container(container).await
                })
                .await?;
            Ok(Done::AsAsked)
        }
        // Engines take other rates of block devices, and do nothing.
        Action::UpdateContainer { container, limits, io: _ } => {
            update(driver, container, limits).await
        }
        Action::RenameContainer { container, name } => {
            let operation = format!("rename container {container} to {name}");
            driver
                .call(&operation, change, |session| async move {
                    let options = RenameContainerOptions { name: name.clone() };
                    session.docker.rename_container(container, options).await
                })
                .await?;
            Ok(Done::AsAsked)
        }
        Action::RemoveContainer { container, incarnation: _, for_good: _ } => {
            let operation = format!("remove container {container}");
            driver
                .call(&operation, change, |session| async move {
                    let options = RemoveContainerOptions { v: true, force: true, link: false };
                    session.docker.remove_container(container, Some(options)).await
                })
                .await?;
            Ok(Done::AsAsked)
        }
    }
}

/// Creates a volume. The engine answers with the one that is there if the name is taken, so its
/// labels say whether it is the one that was asked for.
async fn create_volume(
    driver: &DockerDriver,
    body: VolumeCreateRequest,
) -> Result<Done, DriverError> {
    let name = body.name.clone().unwrap_or_default();
    let labels = body.labels.clone().unwrap_or_default();
    let operation = format!("create volume {name}");
    let volume = driver
        .call(&operation, driver.deadlines().change, |session| async move {
            session.docker.create_volume(body).await
        })
        .await?;
    if volume.labels == labels {
        return Ok(Done::AsAsked);
    }
    let text = match volume.labels.get(labels::OWNER) {
        Some(owner) => format!(
            "a volume of that name belongs to another state directory (owner {owner}); remove it \
             if its data is not needed, or take that owner's objects over with `windlass store \
             rebuild --owner {owner}` on a new state directory"
        ),
        None => "a volume of that name is there, and is not ours; remove it if its data is not \
                 needed, or name yours differently"
            .to_owned(),
    };
    Err(error::new(DriverErrorKind::Conflict, &operation, &text))
}

/// Changes limits. A cpu limit cannot be lifted: the engine takes that for "leave it", and says
/// nothing; so it is looked at afterwards.
async fn update(
    driver: &DockerDriver,
    container: &str,
    limits: &Limits,
) -> Result<Done, DriverError> {
    let operation = format!("update container {container}");
    let body = convert::update_body(limits);
    let lifts_cpus = limits.nano_cpus == 0;
    let left = driver
        .call(&operation, driver.deadlines().change, |session| async move {
            session.docker.update_container(container, body).await?;
            if !lifts_cpus {
                return Ok(None);
            }
            let inspected = session.docker.inspect_container(container, None).await?;
            Ok(inspected.host_config.and_then(|host| host.nano_cpus))
        })
        .await?;
    if left.unwrap_or(0) == 0 {
        return Ok(Done::AsAsked);
    }
    let text = "a cpu limit cannot be lifted while the container lives";
    Err(error::new(DriverErrorKind::Refused, &operation, text))
}

/// Engine 20.10 says with an error of its own (500) that what it would have to make for a start is
/// there already, left behind when it was killed. The next start ends no other way.
fn conflict_if_exists(mut error: DriverError) -> DriverError {
    if error.message.ends_with(": already exists") {
        error.kind = DriverErrorKind::Conflict;
    }
    error
}

/// Takes the values of variables out of what the engine says.
fn without_values<'a>(
    mut error: DriverError,
    values: impl Iterator<Item = &'a String>,
) -> DriverError {
    for value in values.filter(|value| value.len() >= SECRET_BYTES_MIN) {
        if error.message.contains(value.as_str()) {
            error.message = error.message.replace(value.as_str(), "***");
        }
    }
    error
}
