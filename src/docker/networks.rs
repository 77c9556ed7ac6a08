//! Networks: made, removed, joined and left.

use bollard::models::{
    Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use reconciler::model::observed::Attachment;
use reconciler::model::spec::{NetworkSpec, Subnet};
use reconciler::ports::{Done, DriverError, DriverErrorKind};
use std::collections::BTreeMap;

use super::connect::DockerDriver;
use super::{convert, error};

/// Makes a network. The engine takes two of one name, so the name is looked for first.
pub(super) async fn create(
    driver: &DockerDriver,
    name: &str,
    spec: &NetworkSpec,
    labels: &BTreeMap<String, String>,
) -> Result<Done, DriverError> {
    let operation = format!("create network {name}");
    let body = body(name, spec, labels);
    let wanted = labels.clone();
    let taken = driver
        .call(&operation, driver.deadlines().change, |session| async move {
            match session.docker.inspect_network(name, None).await {
                Ok(present) => return Ok(Some(present.labels.unwrap_or_default())),
                Err(bollard::errors::Error::DockerResponseServerError {
                    status_code: 404, ..
                }) => {}
                Err(failure) => return Err(failure),
            }
            session.docker.create_network(body).await?;
            Ok(None)
        })
        .await?;
    match taken {
        None => Ok(Done::AsAsked),
        Some(labels) if wanted.iter().all(|(name, value)| labels.get(name) == Some(value)) => {
            Ok(Done::AsAsked)
        }
        Some(_) => {
            let text = "a network of that name is there, and is not ours; remove it if nothing \
                        needs it, or name yours differently";
            Err(error::new(DriverErrorKind::Conflict, &operation, text))
        }
    }
}

fn body(name: &str, spec: &NetworkSpec, labels: &BTreeMap<String, String>) -> NetworkCreateRequest {
    let NetworkSpec { driver, options, internal, ipv6, subnets, protected: _ } = spec;
    let own = |map: &BTreeMap<String, String>| {
        map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let subnet = |subnet: &Subnet| {
        let Subnet { subnet, range, gateway, reserved } = subnet;
        IpamConfig {
            subnet: Some(subnet.clone()),
            ip_range: range.clone(),
            gateway: gateway.clone(),
            auxiliary_addresses: (!reserved.is_empty()).then(|| own(reserved)),
        }
    };
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some(driver.clone()),
        options: Some(own(options)),
        internal: Some(*internal),
        enable_ipv6: Some(*ipv6),
        ipam: (!subnets.is_empty()).then(|| Ipam {
            driver: None,
            config: Some(subnets.iter().map(subnet).collect()),
            options: None,
        }),
        labels: Some(own(labels)),
        ..NetworkCreateRequest::default()
    }
}

/// Removes a network.
pub(super) async fn remove(driver: &DockerDriver, name: &str) -> Result<Done, DriverError> {
    let operation = format!("remove network {name}");
    driver
        .call(&operation, driver.deadlines().change, |session| async move {
            session.docker.remove_network(name).await
        })
        .await?;
    Ok(Done::AsAsked)
}

/// Puts a container on a network.
pub(super) async fn connect(
    driver: &DockerDriver,
    container: &str,
    network: &str,
    attachment: &Attachment,
) -> Result<Done, DriverError> {
    let operation = format!("connect container {container} to network {network}");
    let request = NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(convert::endpoint(attachment)),
    };
    driver
        .call(&operation, driver.deadlines().change, |session| async move {
            session.docker.connect_network(network, request).await
        })
        .await?;
    Ok(Done::AsAsked)
}

/// Takes a container off a network.
pub(super) async fn disconnect(
    driver: &DockerDriver,
    container: &str,
    network: &str,
) -> Result<Done, DriverError> {
    let operation = format!("disconnect container {container} from network {network}");
    let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(true) };
    driver
        .call(&operation, driver.deadlines().change, |session| async move {
            session.docker.disconnect_network(network, request).await
        })
        .await?;
    Ok(Done::AsAsked)
}
