//! Signatures beside an image in its registry: a manifest under the tag `sha256-….sig`, with a layer
//! for each signature. The layer is the document that is signed, and has the signature among its
//! annotations.
//!
//! Only registries on this host are asked, by plain HTTP and without credentials: there is no TLS in
//! windlass. Nobody who stands in between could make a signature anyway, only hide one.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reconciler::model::spec::Signature;
use reconciler::model::spec::verify::SIGNATURES_MAX;
use serde::Deserialize;

/// The form of manifest that holds signatures.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The annotation of a layer that holds a signature.
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// Largest manifest, in bytes: registries take none that is larger than 4 MiB, and one of signatures
/// has a few hundred bytes for each.
const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// Largest document that is signed, in bytes: it has some hundred, and whatever else was noted in it.
const DOCUMENT_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
struct Layer {
    digest: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// What is asked of the registry on this host.
struct Asked<'a> {
    client: Client<HttpConnector, String>,
    host: &'a str,
    repository: &'a str,
}

/// All signatures of the image `reference` with that digest; none if it has none.
///
/// # Errors
/// In words, if that cannot be told.
pub(super) async fn signatures(reference: &str, digest: &str) -> Result<Vec<Signature>, String> {
    let (host, repository) = place(reference);
    let Some(host) = host.filter(|host| is_here(host)) else {
        let registry = host.unwrap_or("docker.io");
        return Err(format!(
            "signatures are fetched from registries on this host only, and not from {registry}: put \
             what `cosign download signature` prints into a file, and name it in `verify.signatures`"
        ));
    };
    let client = Client::builder(TokioExecutor::new()).build_http();
    let asked = Asked { client, host, repository };
    let tag = format!("{}.sig", digest.replacen(':', "-", 1));
    let Some(manifest) = asked.get(&format!("manifests/{tag}"), MANIFEST_BYTES_MAX).await? else {
        return Ok(Vec::new());
    };
    let manifest: Manifest = serde_json::from_slice(&manifest)
        .map_err(|error| format!("the manifest {tag} is none of signatures: {error}"))?;
    let mut signatures = Vec::new();
    for Layer { digest, annotations } in manifest.layers {
        let Some(signature) = annotations.get(ANNOTATION) else { continue };
        if signatures.len() == SIGNATURES_MAX {
            return Err(format!("it has more than {SIGNATURES_MAX} signatures"));
        }
        let payload = asked.get(&format!("blobs/{digest}"), DOCUMENT_BYTES_MAX).await?;
        // A layer that is gone is a registry that was tidied, and another one may still verify.
        let Some(payload) = payload else { continue };
        signatures.push(Signature {
            payload: BASE64.encode(&payload).into(),
            signature: signature.as_str().into(),
        });
    }
    Ok(signatures)
}

impl Asked<'_> {
    /// What is at that place of the repository; `None` if there is nothing.
    async fn get(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
        let Self { client, host, repository } = self;
        let address = format!("http://{host}/v2/{repository}/{path}");
        let request = Request::get(&address).header(ACCEPT, MANIFEST).body(String::new());
        let request = request.map_err(|error| format!("GET {address}: {error}"))?;
        let answer = client.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("GET {address}: {}", cause.unwrap_or_else(|| error.to_string()))
        })?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if status != StatusCode::OK {
            return Err(format!("GET {address}: {status}"));
        }
        match Limited::new(answer.into_body(), bytes_max).collect().await {
            Ok(body) => Ok(Some(body.to_bytes().to_vec())),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(format!("GET {address}: more than {bytes_max} bytes"))
            }
            Err(error) => Err(format!("GET {address}: {error}")),
        }
    }
}

/// The host of a reference, if it names one, and the repository there.
fn place(reference: &str) -> (Option<&str>, &str) {
    let (name, _) = reference.split_once('@').unwrap_or((reference, ""));
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        Some(_) | None => name,
    };
    match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            (Some(host), rest)
        }
        Some(_) | None => (None, name),
    }
}

/// Whether a registry is on this host, as engines tell that they need no TLS with it.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        Some(_) | None => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_lead_to_places() {
        for (reference, host, repository) in [
            ("127.0.0.1:5000/shop/web:1@sha256:00", Some("127.0.0.1:5000"), "shop/web"),
            ("localhost/web@sha256:00", Some("localhost"), "web"),
            ("registry.example/web", Some("registry.example"), "web"),
            ("shop/web@sha256:00", None, "shop/web"),
            ("web:1", None, "web"),
        ] {
            assert_eq!(place(reference), (host, repository), "{reference}");
        }
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.0.1", "[::1]:5000"] {
            assert!(is_here(host), "{host}");
        }
        for host in
            ["registry.example", "localhost.example:5000", "10.0.0.1:5000", "127.0.0.1.example"]
        {
            assert!(!is_here(host), "{host}");
        }
    }
}
