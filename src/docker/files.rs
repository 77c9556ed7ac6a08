//! Puts files into a container that was not started yet.

use std::io;

use bollard::query_parameters::UploadToContainerOptions;
use reconciler::model::ids::hex;
use reconciler::model::spec::{Content, FileSpec, LocalFile};
use reconciler::ports::{Done, DriverError, DriverErrorKind};
use sha2::{Digest, Sha256};
use tokio_util::bytes::Bytes;

use super::connect::DockerDriver;
use super::error;

/// Largest file that is put into a container. It is held in memory on its way; what is larger
/// belongs into an image or a volume.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Sends all files in one archive. Done twice it does the same once more.
pub(super) async fn put(
    driver: &DockerDriver,
    container: &str,
    files: &[FileSpec],
) -> Result<Done, DriverError> {
    let operation = format!("put files into container {container}");
    let refused = |why: &str| error::new(DriverErrorKind::Refused, &operation, why);
    let mut contents = Vec::with_capacity(files.len());
    for file in files {
        let content = match &file.content {
            Content::Text(text) => text.as_bytes().to_vec(),
            Content::File(file) => read(file).await.map_err(|why| refused(&why))?,
        };
        contents.push((file, content));
    }
    let archive = archive(&contents).map_err(|failure| {
        refused(&format!("cannot be packed: {}", error::system_text(&failure)))
    })?;
    let body = bollard::body_full(Bytes::from(archive));
    driver
        .call(&operation, driver.deadlines().change, |session| async move {
            let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
            session.docker.upload_to_container(container, Some(options), body).await
        })
        .await?;
    Ok(Done::AsAsked)
}

/// The content of a file of this host, if it still is what was declared.
async fn read(file: &LocalFile) -> Result<Vec<u8>, String> {
    let LocalFile { path, digest } = file;
    let size = tokio::fs::metadata(path).await.map(|metadata| metadata.len());
    let failed =
        |failure: io::Error| format!("cannot read {path}: {}", error::system_text(&failure));
    if size.map_err(failed)? > FILE_BYTES_MAX {
        let limit = FILE_BYTES_MAX >> 20;
        return Err(format!("{path} is larger than {limit} MiB: put it into an image or a volume"));
    }
    let bytes = tokio::fs::read(path).await.map_err(failed)?;
    if *digest != format!("sha256:{}", hex(&Sha256::digest(&bytes))) {
        return Err(format!("{path} changed since it was declared; it is read again shortly"));
    }
    Ok(bytes)
}

/// A tar archive of files by their paths from the root. Folders are left out: the engine makes
/// those that are missing, and those that are there keep their permissions.
fn archive(files: &[(&FileSpec, Vec<u8>)]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (FileSpec { path, content: _, mode, uid, gid }, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        header.set_mode(*mode);
        header.set_uid(u64::from(*uid));
        header.set_gid(u64::from(*gid));
        // A time of its own would make two containers of one revision differ.
        header.set_mtime(0);
        archive.append_data(&mut header, path.trim_start_matches('/'), bytes.as_slice())?;
    }
    archive.into_inner()
}
