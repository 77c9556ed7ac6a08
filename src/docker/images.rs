//! How images come to a node: pulled from a registry, loaded from an archive, made of a root file
//! system.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bollard::body_try_stream;
use bollard::models::ImageInspect;
use bollard::query_parameters::{CreateImageOptions, ImportImageOptions};
use futures_util::StreamExt;
use reconciler::model::ids::ImageId;
use reconciler::model::spec::LocalFile;
use reconciler::ports::{Done, DriverError, DriverErrorKind, Progress};

use super::archive::{self, Contents, Platform};
use super::connect::{DockerDriver, Session};
use super::credentials::{self, DockerConfig, Found};
use super::error;
use super::progress::{Layers, Stall};
use super::upload::Upload;

/// How engines and registries say that it takes other credentials, in lower case.
const DENIALS: [&str; 7] = [
    "unauthorized",
    "no basic auth credentials",
    "authentication required",
    "access denied",
    "access forbidden",
    "denied: ",
    "incorrect username or password",
];

/// Pulls an image from its registry, with the credentials that `docker login` left for it.
pub(super) async fn pull(
    driver: &DockerDriver,
    reference: &str,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Done, DriverError> {
    let operation = format!("pull image {reference}");
    let stall = Stall::new(driver.deadlines().stall);
    let session = driver.session(&operation).await?;
    let config = DockerConfig::of_environment();
    let refused = |text: &str| error::new(DriverErrorKind::Refused, &operation, text);
    // A home may be on a server that does not answer.
    let found = match tokio::time::timeout(driver.deadlines().look, config.find(reference)).await {
        Ok(found) => found.map_err(|text| refused(&text))?,
        Err(_) => return Err(refused(&format!("{} cannot be read in time", config.shown()))),
    };
    let source = found.as_ref().map(|found| found.source.clone());
    let credentials = found.map(Found::into_credentials);
    let options =
        CreateImageOptions { from_image: Some(reference.to_owned()), ..Default::default() };
    let work = async {
        let mut layers = Layers::default();
        let mut stream = session.docker.create_image(Some(options), None, credentials);
        while let Some(message) = stream.next().await {
            let message = driver.checked(&operation, &session, message).await?;
            stall.moved();
            let layer = message.id.as_deref().unwrap_or_default();
            let status = message.status.as_deref().unwrap_or_default();
            if let Some(sum) = layers.take(layer, status, message.progress_detail.as_ref()) {
                progress(sum);
            }
        }
        Ok(())
    };
    stall
        .guard(&operation, work)
        .await
        .map_err(|failure| explained(failure, reference, &config, source.as_deref()))?;
    let image = inspect(driver, &operation, reference).await?;
    Ok(Done::Image { id: id_of(&image), pinned: pinned(reference, &image) })
}

/// Says of a pull that a registry refused what to do about it.
fn explained(
    failure: DriverError,
    reference: &str,
    config: &DockerConfig,
    source: Option<&str>,
) -> DriverError {
    let DriverError { kind, message } = failure;
    let said = message.to_lowercase();
    if !DENIALS.iter().any(|words| said.contains(words)) {
        return DriverError { kind, message };
    }
    let registry = credentials::registry_of(reference);
    let name = match registry {
        "" => "the Docker Hub".to_owned(),
        registry => format!("registry {registry}"),
    };
    // Some registries do not tell strangers what they hold.
    let or_none = if said.contains("does not exist") { ", or holds no such image" } else { "" };
    let login = format!("docker login {registry}");
    let login = login.trim_end();
    let text = match source {
        Some(source) => format!(
            "{name} refuses the credentials of {source}{or_none}; run `{login}` again as the user \
             that windlass runs as, or check that they may pull this image"
        ),
        None => format!(
            "{name} wants credentials, and {} has none for it{or_none}; run `{login}` as the user \
             that windlass runs as",
            config.shown()
        ),
    };
    let operation = format!("pull image {reference}");
    let said = message.strip_prefix(&operation).unwrap_or(&message).trim_start_matches(": ");
    error::new(kind, &operation, &format!("{text} (the engine says: {said})"))
}

/// Loads an archive: what `docker save` writes, or an OCI layout. It must hold one image for the
/// engine's platform.
pub(super) async fn load(
    driver: &DockerDriver,
    file: &LocalFile,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Done, DriverError> {
    let operation = format!("load image {}", file.path);
    let deadlines = driver.deadlines();
    let info = driver
        .call(&operation, deadlines.look, |session: Arc<Session>| async move {
            session.docker.info().await
        })
        .await?;
    let platform = Platform::of(&info);
    let Contents { id, prefix } =
        archive::examine(&operation, file, platform, deadlines.stall).await?;
    let session = driver.session(&operation).await?;
    let (upload, body) = Upload::open(&operation, file, prefix).await?;
    // Without `quiet` the engine tells of each layer, which shows that it still works.
    let options = ImportImageOptions { quiet: false, platform: None };
    let messages = session
        .docker
        .import_image(options, body_try_stream(body), None)
        .map(|message| message.map(|info| info.stream));
    let said = upload
        .run(driver, &session, messages, progress)
        .await
        .map_err(|failure| damaged(failure, id.is_some()))?;

    if let Some(id) = &id {
        match inspect(driver, &operation, id).await {
            Ok(image) => return Ok(Done::Image { id: id_of(&image), pinned: None }),
            // An engine may know images by something else than their configuration.
            Err(failure) if failure.kind == DriverErrorKind::NotFound => {}
            Err(failure) => return Err(failure),
        }
    }
    let mut ids = BTreeSet::new();
    for reference in said.iter().filter_map(|line| loaded_reference(line)) {
        let image = inspect(driver, &operation, reference).await.map_err(|failure| {
            if failure.kind != DriverErrorKind::NotFound {
                return failure;
            }
            // A store of containerd's takes the tag that a layout gives alone for a whole name.
            let text = format!(
                "the engine loaded it as `{reference}`, and does not find it by that name; save it \
                 under a full name such as `web:1.0`"
            );
            error::new(DriverErrorKind::Refused, &operation, &text)
        })?;
        ids.insert(id_of(&image));
    }
    let count = ids.len();
    match (ids.pop_first(), count) {
        (Some(id), 1) => Ok(Done::Image { id, pinned: None }),
        _ => {
            let text = format!("the archive must hold one image, and this one holds {count}");
            Err(error::new(DriverErrorKind::Refused, &operation, &text))
        }
    }
}

/// Says what to do where it is the engine that refused an archive.
fn damaged(failure: DriverError, was_read: bool) -> DriverError {
    let DriverError { kind, message } = failure;
    let words = ["invalid diffID", "unexpected EOF", "invalid tar header", "invalid checksum"];
    let advice = if words.iter().any(|words| message.contains(words)) {
        "the archive is damaged or was changed: save it anew"
    } else if !was_read && kind == DriverErrorKind::Refused {
        "archives in this form are left to the engine: save it anew, plain or compressed by gzip"
    } else {
        return DriverError { kind, message };
    };
    DriverError { kind, message: format!("{message}; {advice}") }
}

/// Makes an image of the tar file of a root file system.
pub(super) async fn import(
    driver: &DockerDriver,
    file: &LocalFile,
    command: Option<&[String]>,
    env: &BTreeMap<String, String>,
    tag: &str,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Done, DriverError> {
    let operation = format!("import image {}", file.path);
    let changes = changes(command, env)
        .map_err(|text| error::new(DriverErrorKind::Refused, &operation, &text))?;
    let (repository, version) = split_tag(tag);
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repository.to_owned()),
        tag: Some(version.to_owned()),
        changes,
        ..CreateImageOptions::default()
    };
    let session = driver.session(&operation).await?;
    let (upload, body) = Upload::open(&operation, file, Vec::new()).await?;
    let messages = session
        .docker
        .create_image(Some(options), Some(body_try_stream(body)), None)
        .map(|message| message.map(|info| info.status));
    upload.run(driver, &session, messages, progress).await?;
    let image = inspect(driver, &operation, tag).await?;
    Ok(Done::Image { id: id_of(&image), pinned: None })
}

async fn inspect(
    driver: &DockerDriver,
    operation: &str,
    reference: &str,
) -> Result<ImageInspect, DriverError> {
    driver
        .call(operation, driver.deadlines().look, |session: Arc<Session>| async move {
            session.docker.inspect_image(reference).await
        })
        .await
}

pub(super) fn id_of(image: &ImageInspect) -> ImageId {
    ImageId(Arc::from(image.id.as_deref().unwrap_or_default()))
}

/// The reference with the digest that the registry knows the image by.
pub(super) fn pinned(reference: &str, image: &ImageInspect) -> Option<Arc<str>> {
    let wanted = repository(reference);
    let digests = image.repo_digests.as_deref().unwrap_or_default();
    let found = digests.iter().find(|digest| repository(digest) == wanted)?;
    Some(Arc::from(found.as_str()))
}

/// The part before tag and digest, without what engines leave out of it.
pub(super) fn repository(reference: &str) -> &str {
    let (name, _) = reference.split_once('@').unwrap_or((reference, ""));
    let name = split_tag(name).0;
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// Splits `name:tag`; a colon before a slash belongs to the registry's port.
fn split_tag(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

/// The reference in the line that says what was loaded.
pub(super) fn loaded_reference(line: &str) -> Option<&str> {
    let line = line.trim();
    line.strip_prefix("Loaded image ID: ").or_else(|| line.strip_prefix("Loaded image: "))
}

/// What an imported image shall say, in the words of a Dockerfile.
fn changes(
    command: Option<&[String]>,
    env: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let mut changes = Vec::new();
    if let Some(command) = command {
        let words = serde_json::to_string(command).map_err(|error| error.to_string())?;
        changes.push(format!("CMD {words}"));
    }
    for (name, value) in env {
        if value.contains(['\n', '\r']) {
            return Err(format!("the value of {name} holds a line end, which no image can hold"));
        }
        let mut quoted = String::with_capacity(value.len());
        for c in value.chars() {
            // Else the engine would put variables in, or end the text early.
            if matches!(c, '\\' | '"' | '$') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        changes.push(format!("ENV {name}=\"{quoted}\""));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_repositories() {
        for (reference, name) in [
            ("busybox:1", "busybox"),
            ("docker.io/library/busybox@sha256:00", "busybox"),
            ("127.0.0.1:5000/shop/web:1.4", "127.0.0.1:5000/shop/web"),
            ("127.0.0.1:5000/shop/web", "127.0.0.1:5000/shop/web"),
            ("localhost:5000/web:1@sha256:00", "localhost:5000/web"),
        ] {
            assert_eq!(repository(reference), name, "{reference}");
        }
    }

    #[test]
    fn values_cannot_break_out_of_their_line() {
        let env = BTreeMap::from([("A".to_owned(), r#"say "$HOME" \o/"#.to_owned())]);
        let lines = changes(Some(&["sh".to_owned(), "-c".to_owned()]), &env).expect("lines");
        assert_eq!(lines, [r#"CMD ["sh","-c"]"#, r#"ENV A="say \"\$HOME\" \\o/""#]);
        let env = BTreeMap::from([("A".to_owned(), "x\nUSER root".to_owned())]);
        assert!(changes(None, &env).is_err());
    }

    #[test]
    fn lines_say_what_was_loaded() {
        assert_eq!(loaded_reference("Loaded image: web:1\n"), Some("web:1"));
        assert_eq!(loaded_reference("Loaded image ID: sha256:00\n"), Some("sha256:00"));
        assert_eq!(loaded_reference("Loading layer"), None);
    }
}
