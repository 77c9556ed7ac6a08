//! Networks: made, removed, joined and left.

use bollard::Docker;
use bollard::errors::Error;
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
                Err(failure) if is_missing(&failure) => {}
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

/// Removes a network. Engine 20.10 may keep the place on it of a container that is gone, and refuses
/// then for ever: such places are taken away, and nobody else's.
pub(super) async fn remove(driver: &DockerDriver, name: &str) -> Result<Done, DriverError> {
    let operation = format!("remove network {name}");
    driver
        .call(&operation, driver.deadlines().change, |session| async move {
            match session.docker.remove_network(name).await {
                Err(failure) if is_in_use(&failure) => {
                    if cut_off_the_gone(&session.docker, name).await? == 0 {
                        return Err(failure);
                    }
                    session.docker.remove_network(name).await
                }
                removed => removed,
            }
        })
        .await?;
    Ok(Done::AsAsked)
}

fn is_in_use(failure: &Error) -> bool {
    matches!(failure, Error::DockerResponseServerError { message, .. }
        if message.contains("active endpoints"))
}

fn is_missing(failure: &Error) -> bool {
    matches!(failure, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Takes the places of containers that do not exist off a network; how many. The engine knows such a
/// place by the container's name alone, so nothing is done where another one goes by that name now.
async fn cut_off_the_gone(docker: &Docker, network: &str) -> Result<usize, Error> {
    let found = docker.inspect_network(network, None).await?;
    let mut cut_off = 0;
    let places: BTreeMap<_, _> = found.containers.into_iter().flatten().collect();
    for (id, place) in places {
        let Some(name) = place.name.filter(|name| !name.is_empty()) else { continue };
        let mut is_gone = true;
        for known_as in [&id, &name] {
            match docker.inspect_container(known_as, None).await {
                Err(failure) if is_missing(&failure) => {}
                Err(failure) => return Err(failure),
                Ok(_) => is_gone = false,
            }
        }
        if is_gone {
            let request = NetworkDisconnectRequest { container: name, force: Some(true) };
            docker.disconnect_network(network, request).await?;
            cut_off += 1;
        }
    }
    Ok(cut_off)
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use reconciler::model::spec::Endpoint;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};

    use super::{DockerDriver, DriverErrorKind, remove};

    /// Two containers were on the network: one is there, and the other one only if so asked.
    #[derive(Default)]
    struct Fake {
        all_are_there: bool,
        asked: Mutex<Vec<String>>,
    }

    impl Fake {
        /// What the engine answers, in the words of 20.10.
        fn answer(&self, head: &str, body: &str) -> (u16, String) {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            let own = path.trim_start_matches("/v1.41");
            let mut asked = self.asked.lock().unwrap();
            let line = format!("{} {own} {body}", head.split(' ').next().unwrap_or_default());
            if own.starts_with("/networks") {
                asked.push(line.trim_end().to_owned());
            }
            let is_cut_off = asked.iter().any(|line| line.contains("disconnect"));
            let missing = (404, "{\"message\":\"no such container\"}".to_owned());
            match (head.split(' ').next().unwrap_or_default(), own) {
                ("GET", "/version") => (200, "{\"ApiVersion\":\"1.41\"}".to_owned()),
                ("DELETE", "/networks/t.back") if is_cut_off => (204, String::new()),
                ("DELETE", "/networks/t.back") => {
                    let why =
                        "error while removing network: network t.back id 1 has active endpoints";
                    (403, format!("{{\"message\":\"{why}\"}}"))
                }
                ("GET", "/networks/t.back") => {
                    let places = "\"a1\":{\"Name\":\"t.a.0.1\"},\"ep-b2\":{\"Name\":\"t.b.0.1\"}";
                    (200, format!("{{\"Name\":\"t.back\",\"Containers\":{{{places}}}}}"))
                }
                ("GET", "/containers/a1/json" | "/containers/t.a.0.1/json") => {
                    (200, "{}".to_owned())
                }
                ("GET", "/containers/t.b.0.1/json") if self.all_are_there => (200, "{}".to_owned()),
                (_, path) if path.starts_with("/containers") => missing,
                _ => (200, "{}".to_owned()),
            }
        }

        async fn serve(self: Arc<Self>, mut client: UnixStream) {
            let mut bytes = Vec::new();
            while client.read_buf(&mut bytes).await.is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.to_lowercase();
                let length = length.split("content-length: ").nth(1).unwrap_or("0");
                let length: usize = length.split('\r').next().unwrap().parse().unwrap();
                if body.len() < length {
                    continue;
                }
                let (status, answer) = self.answer(head, body);
                let answer = format!(
                    "HTTP/1.1 {status} said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
                    answer.len()
                );
                client.write_all(answer.as_bytes()).await.unwrap();
                bytes.clear();
            }
        }

        fn listen(self: &Arc<Self>, path: &Path) -> DockerDriver {
            let listener = UnixListener::bind(path).unwrap();
            let fake = Arc::clone(self);
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(Arc::clone(&fake).serve(client));
                }
            });
            DockerDriver::connect(&Endpoint::Unix(path.display().to_string()))
        }
    }

    #[tokio::test]
    async fn the_place_of_one_that_is_gone_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let fake = Arc::<Fake>::default();
        let driver = fake.listen(&dir.path().join("docker.sock"));
        remove(&driver, "t.back").await.unwrap();
        let asked = fake.asked.lock().unwrap().clone();
        let cut_off = "{\"Container\":\"t.b.0.1\",\"Force\":true}";
        assert_eq!(
            asked,
            [
                "DELETE /networks/t.back".to_owned(),
                "GET /networks/t.back".to_owned(),
                format!("POST /networks/t.back/disconnect {cut_off}"),
                "DELETE /networks/t.back".to_owned(),
            ]
        );
    }

    #[tokio::test]
    async fn who_is_there_keeps_its_network() {
        let dir = tempfile::tempdir().unwrap();
        let fake = Arc::new(Fake { all_are_there: true, ..Fake::default() });
        let driver = fake.listen(&dir.path().join("docker.sock"));
        let error = remove(&driver, "t.back").await.unwrap_err();
        assert_eq!(error.kind, DriverErrorKind::Refused);
        assert!(error.message.ends_with("has active endpoints"), "{error}");
        assert_eq!(fake.asked.lock().unwrap().len(), 2);
    }
}
