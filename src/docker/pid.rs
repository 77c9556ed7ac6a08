//! Where a container is on its engine's host: its process, and its hosts file.

use std::sync::Arc;

use reconciler::ports::{DriverError, DriverErrorKind};

use super::connect::DockerDriver;

/// See [`Driver::pid`](reconciler::ports::Driver::pid).
pub(super) async fn pid(
    driver: &DockerDriver,
    container: &str,
) -> Result<Option<u32>, DriverError> {
    let operation = format!("inspect container {container}");
    let asked = driver.call(&operation, driver.deadlines().look, |session| async move {
        session.docker.inspect_container(container, None).await
    });
    match asked.await {
        Ok(found) => {
            let pid = found.state.and_then(|state| state.pid).unwrap_or(0);
            Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0))
        }
        Err(error) if error.kind == DriverErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// See [`Driver::hosts_path`](reconciler::ports::Driver::hosts_path).
pub(super) async fn hosts_path(
    driver: &DockerDriver,
    container: &str,
) -> Result<Option<Arc<str>>, DriverError> {
    let operation = format!("inspect container {container}");
    let found = driver
        .call(&operation, driver.deadlines().look, |session| async move {
            session.docker.inspect_container(container, None).await
        })
        .await?;
    Ok(found.hosts_path.filter(|path| !path.is_empty()).map(Arc::from))
}
