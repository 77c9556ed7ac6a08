//! Signatures beside an image in a real registry, put there as cosign does, which needs no engine; and
//! in a file beside the spec, under a policy that asks for them.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use http_body_util::BodyExt as _;
use hyper::{Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reconciler::model::ids::{Digest, hex};
use reconciler::model::spec::{PublicKey, TrustedKey, Verify};
use reconciler::policy::facts::WhoSigned;
use reconciler::ports::Verifier as _;
use windlass::signatures::Signatures;

use crate::lab::Sandbox;
use crate::lab::registry::{Registry as InEngine, listens_on};
use crate::lab::wait::eventually;

/// Longer than a registry takes to listen on a starved machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What cosign signs, and the signature in base64.
fn signed(digest: &str, key: &SigningKey) -> (String, String) {
    let document = format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"shop/web"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    );
    let signature = BASE64.encode(key.sign(document.as_bytes()).to_vec());
    (document, signature)
}

/// A registry on this host. It ends when it is dropped.
struct Registry {
    child: Child,
    address: String,
    client: Client<HttpConnector, String>,
    _root: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (config, log) = (root.path().join("config.yml"), root.path().join("log"));
        let data = root.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: '{}' }} }}\nhttp: {{ addr: '127.0.0.1:0' }}\n",
            data.display()
        );
        fs::write(&config, text).expect("written");
        let into = fs::File::create(&log).expect("a log");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(into.try_clone().expect("a log"))
            .stderr(into)
            .spawn()
            .expect("setpriv starts");
        let mut address = String::new();
        eventually("the registry listens", START_TIMEOUT, || {
            let text = fs::read_to_string(&log).expect("a log");
            address = listens_on(&text).unwrap_or_default().to_owned();
            !address.is_empty()
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { child, address, client, _root: root }
    }

    async fn send(
        &self,
        method: &str,
        address: &str,
        kind: &str,
        body: &str,
    ) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(address);
        let request = request.header(header::CONTENT_TYPE, kind).body(body.to_owned());
        let answer = self.client.request(request.expect("a request")).await.expect("an answer");
        let (status, place) = (answer.status(), answer.headers().get(header::LOCATION).cloned());
        answer.into_body().collect().await.expect("a body");
        let place = place.map(|place| place.to_str().expect("a text").to_owned());
        (status, place.unwrap_or_default())
    }

    /// Puts a blob there; its digest.
    async fn blob(&self, content: &str) -> String {
        let digest = format!("sha256:{}", Digest::of(content.as_bytes()));
        let uploads = format!("http://{}/v2/shop/web/blobs/uploads/", self.address);
        let (status, place) = self.send("POST", &uploads, "application/octet-stream", "").await;
        assert_eq!(status, StatusCode::ACCEPTED);
        let sign = if place.contains('?') { '&' } else { '?' };
        let put = format!("{place}{sign}digest={digest}");
        let (status, _) = self.send("PUT", &put, "application/octet-stream", content).await;
        assert_eq!(status, StatusCode::CREATED);
        digest
    }

    /// Puts a signature beside the image with that digest.
    async fn sign(&self, digest: &str, key: &SigningKey) {
        let (document, signature) = signed(digest, key);
        let layer = self.blob(&document).await;
        let config = self.blob("{}").await;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": kind,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": config },
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "size": document.len(),
                "digest": layer,
                "annotations": { "dev.cosignproject.cosign/signature": signature },
            }],
        });
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let put = format!("http://{}/v2/shop/web/manifests/{tag}", self.address);
        let (status, _) = self.send("PUT", &put, kind, &manifest.to_string()).await;
        assert_eq!(status, StatusCode::CREATED);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_registry_is_asked_who_signed_an_image() {
    let registry = Registry::start();
    let key = SigningKey::from_bytes(&[7; 32]);
    let public = PublicKey::Ed25519(hex(key.verifying_key().as_bytes()).into());
    let keys = vec![TrustedKey { name: "release".to_owned(), key: public }];
    let digest = format!("sha256:{}", Digest::of(b"an image"));
    let question = WhoSigned {
        image: "shop/web".parse().expect("a key"),
        declared: Digest::of(b"a declaration"),
        reference: Some(format!("{}/shop/web:1@{digest}", registry.address).into()),
        digest: digest.clone(),
        verify: Verify { keys, signatures: None },
    };
    let signatures = Signatures::default();
    let signers = async || signatures.who_signed(&question).await.expect("an answer").signers;
    assert_eq!(signers().await, [""; 0], "nobody signed it yet");
    registry.sign(&digest, &SigningKey::from_bytes(&[8; 32])).await;
    assert_eq!(signers().await, [""; 0], "somebody did whom nobody trusts");
    registry.sign(&digest, &key).await;
    assert_eq!(signers().await, ["release"]);
}

/// A public key in PEM, as `openssl` writes it.
fn pem(key: &SigningKey) -> String {
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der = [head.as_slice(), key.verifying_key().as_bytes()].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der))
}

#[test]
fn what_nobody_trusted_signed_does_not_come() {
    let engine = engine!(V20_10);
    let room = Sandbox::new(engine);
    let registry = InEngine::start(engine);
    let digest = registry.push("1", room.project());
    let image = format!("{}@{digest}", registry.reference("1"));
    let (key, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
    fs::write(room.specs().join("release.pub"), pem(&key)).expect("written");
    let sign = |digest: &str, key: &SigningKey| {
        let (document, signature) = signed(digest, key);
        let line = serde_json::json!({
            "Base64Signature": signature,
            "Payload": BASE64.encode(document),
        });
        fs::write(room.specs().join("web.sig"), format!("{line}\n")).expect("written");
    };
    sign(&digest, &other);
    room.spec(
        "set.yaml",
        &format!(
            "apiVersion: windlass/v1\nkind: Image\nmetadata: {{ name: web, project: $project }}\nspec:\n  source: {{ registry: \"{image}\" }}\n  verify: {{ keys: [ {{ name: release, file: release.pub }} ], signatures: web.sig }}\n---\napiVersion: windlass/v1\nkind: Instance\nmetadata: {{ name: web, project: $project }}\nspec:\n  image: web\n  command: [sleep, '100000']\n  stop: {{ signal: KILL }}\n---\napiVersion: windlass/v1\nkind: PolicyBinding\nmetadata: {{ name: signed, project: $project }}\nspec: {{ policy: SUP-SIGNED }}\n"
        ),
    );
    let apply = || {
        let out = room.windlass(&["apply"]);
        format!("{:?} {}", out.code, [out.stdout, out.stderr].concat())
    };
    let said = apply();
    assert!(
        said.contains("SUP-SIGNED: the image is not signed by a key that is trusted"),
        "{said}"
    );
    sign(&format!("sha256:{}", Digest::of(b"another image")), &key);
    let said = apply();
    assert!(said.contains("not signed by a key that is trusted"), "{said}");
    assert!(room.containers("web").is_empty(), "nobody trusted signed it");
    sign(&digest, &key);
    let said = apply();
    assert_eq!(room.containers("web").len(), 1, "{said}");
}
