//! What an image archive holds, found out before a byte of it is sent.
//!
//! Engines read what `docker save` writes: a tar with a `manifest.json`. The layout that the Open
//! Container Initiative describes (`index.json`, `oci-layout`, `blobs/`) has the same configuration
//! and the same layers under other names, so a `manifest.json` that says where they are makes the one
//! of the other. It is put *before* the file: a tar may begin with any entry, and gzip streams may
//! follow each other, so the file itself goes out as it is, and nothing is unpacked here.
//!
//! Reading order: this file (what is found), [`entries`] (the tar), [`layout`] (which image of an
//! OCI layout), [`saved`] (what `docker save` wrote).

mod entries;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzzing;
mod layout;
mod saved;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::models::SystemInfo;
use flate2::Compression;
use flate2::write::GzEncoder;
use reconciler::model::ids::hex;
use reconciler::model::spec::LocalFile;
use reconciler::ports::{DriverError, DriverErrorKind};
use serde_json::json;
use sha2::{Digest, Sha256};

use self::entries::{Archive, Opened};
use super::error;
use super::progress::Stall;

/// Bytes of a file that are read at once: few calls, and little memory beside layers of gigabytes.
const CHUNK_BYTES: usize = 1 << 18;

/// Largest index, manifest or configuration. Registries refuse larger ones, so no real image has one.
const JSON_BYTES_MAX: u64 = 4 << 20;

/// What comes of a look into an archive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The id that its one image will have: the digest of its configuration. `None` if only the
    /// engine can say, for forms that are not read here.
    pub(super) id: Option<String>,
    /// What is to be sent before the file, so that the engine understands it.
    pub(super) prefix: Vec<u8>,
}

/// What an engine runs, in the words of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Platform {
    os: String,
    architecture: String,
    /// The newest variant of the architecture that it certainly runs: 7 for `arm/v7`.
    variant: u32,
}

/// What is wrong with an archive, for people: it reads after the name of the file.
#[derive(Debug, PartialEq, Eq)]
struct Fault(String);

impl Platform {
    /// The platform that an engine says it runs. It names architectures as the kernel does.
    pub(super) fn of(info: &SystemInfo) -> Self {
        let machine = info.architecture.as_deref().unwrap_or_default();
        let (architecture, variant) = match machine {
            "x86_64" => ("amd64", 1),
            "aarch64" | "arm64" => ("arm64", 8),
            "armv7l" => ("arm", 7),
            "armv6l" => ("arm", 6),
            "armv5l" | "armv5tel" => ("arm", 5),
            "i386" | "i486" | "i586" | "i686" => ("386", 0),
            "loongarch64" => ("loong64", 0),
            other => (other, 0),
        };
        let os = info.os_type.clone().unwrap_or_else(|| "linux".to_owned());
        Self { os, architecture: architecture.to_owned(), variant }
    }
}

/// Looks into an archive: which image it holds for `platform`, and whether it is whole.
///
/// # Errors
/// [`DriverErrorKind::Refused`] with what is wrong and what to do;
/// [`DriverErrorKind::TimedOut`] if the file cannot be read on for longer than `limit`.
pub(super) async fn examine(
    operation: &str,
    file: &LocalFile,
    platform: Platform,
    limit: Duration,
) -> Result<Contents, DriverError> {
    let stall = Arc::new(Stall::new(limit));
    let given_up = Arc::new(AtomicBool::new(false));
    // A thread that reads cannot be ended from outside: it is told, also when nobody waits any more.
    let _tell = TellAtEnd(Arc::clone(&given_up));
    let pulse = Pulse { stall: Arc::clone(&stall), given_up };
    let file = file.clone();
    let work = tokio::task::spawn_blocking(move || {
        let found = look(&file, &platform, &pulse);
        // If the file is not what it was, that is what is wrong with it.
        found.map_err(|fault| changed(&file, &pulse).unwrap_or(fault))
    });
    let work = async {
        let refused = |text: &str| error::new(DriverErrorKind::Refused, operation, text);
        match work.await {
            Ok(found) => found.map_err(|Fault(text)| refused(&text)),
            Err(_) => Err(refused("reading the file was broken off")),
        }
    };
    stall.guard(operation, work).await
}

/// What to say of a file that is not the one that was declared.
pub(super) fn changed_text(found: &str, declared: &str) -> String {
    format!(
        "the file has changed: {found} found, {declared} declared; put files in place by a rename, \
         so that none is read half written (what is there is taken up when the specs are read again)"
    )
}

fn look(file: &LocalFile, platform: &Platform, pulse: &Pulse) -> Result<Contents, Fault> {
    let opened = File::open(&file.path).map_err(|failure| Fault(error::system_text(&failure)))?;
    look_into(opened, platform, pulse)
}

fn look_into(opened: File, platform: &Platform, pulse: &Pulse) -> Result<Contents, Fault> {
    let mut archive = match Archive::open(opened, pulse.clone())? {
        Opened::Tar(archive) => archive,
        Opened::OtherCompression => return Ok(Contents::default()),
    };
    let catalogue = archive.catalogue()?;
    if let Some(manifest) = catalogue.file("manifest.json") {
        let id = saved::examine(&mut archive, &catalogue, manifest)?;
        return Ok(Contents { id: Some(id), prefix: Vec::new() });
    }
    if let Some(index) = catalogue.file("index.json") {
        let image = layout::examine(&mut archive, &catalogue, index, platform)?;
        let manifest = json!([
            { "Config": image.config, "RepoTags": image.tags, "Layers": image.layers }
        ]);
        let prefix = prefix(manifest.to_string().as_bytes(), archive.is_gzip())
            .map_err(|failure| Fault(error::system_text(&failure)))?;
        return Ok(Contents { id: Some(image.id), prefix });
    }
    if catalogue.has("repositories") {
        // How engines wrote archives before they had manifests. They still read it.
        return Ok(Contents::default());
    }
    Err(Fault(
        "this is no image archive: it has neither a manifest.json, as `docker save` writes it, nor \
         the index.json of an OCI layout; if it is the tree of a root file system, declare it as \
         `source: { rootfs: … }`"
            .to_owned(),
    ))
}

/// The tar entry `manifest.json` with that content, compressed if what follows is.
fn prefix(manifest: &[u8], gzip: bool) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(manifest.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "manifest.json", manifest)?;
    // What `into_inner` would add is the end of an archive, and this one only begins.
    let entry = builder.get_ref().clone();
    if !gzip {
        return Ok(entry);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&entry)?;
    encoder.finish()
}

/// The fault that a file has changed since it was declared, if it has.
fn changed(file: &LocalFile, pulse: &Pulse) -> Option<Fault> {
    let mut opened = File::open(&file.path).ok()?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        pulse.beat().ok()?;
        match opened.read(&mut chunk).ok()? {
            0 => break,
            read => hash.update(chunk.get(..read)?),
        }
    }
    let found = format!("sha256:{}", hex(&hash.finalize()));
    (found != file.digest).then(|| Fault(changed_text(&found, &file.digest)))
}

/// Says that a look goes on, and hears whether anybody still waits for it.
#[derive(Debug, Clone)]
struct Pulse {
    stall: Arc<Stall>,
    given_up: Arc<AtomicBool>,
}

impl Pulse {
    fn beat(&self) -> Result<(), Fault> {
        self.stall.moved();
        match self.given_up.load(Ordering::Relaxed) {
            true => Err(Fault("reading it was given up".to_owned())),
            false => Ok(()),
        }
    }
}

struct TellAtEnd(Arc<AtomicBool>);

impl Drop for TellAtEnd {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
