//! Real signatures by keys that are made here, from files and from a registry that is played.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::Signer as _;
use reconciler::model::ids::Digest;
use reconciler::model::spec::verify::SIGNATURES_MAX;
use reconciler::model::spec::{PublicKey, Signature, SignatureFile, TrustedKey, Verify};
use reconciler::policy::facts::{Signed, WhoSigned};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::simple::is_signed;
use super::*;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "sha256:ffff456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Who signs.
enum Signer {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl Signer {
    fn ed25519(seed: u8) -> Self {
        Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }

    fn p256(seed: u8) -> Self {
        Self::P256(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    fn public(&self) -> PublicKey {
        let hex = reconciler::model::ids::hex;
        match self {
            Self::Ed25519(key) => PublicKey::Ed25519(hex(key.verifying_key().as_bytes()).into()),
            Self::P256(key) => {
                let point = key.verifying_key().to_encoded_point(false);
                PublicKey::EcdsaP256(hex(point.as_bytes()).into())
            }
        }
    }

    fn sign(&self, payload: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(payload).to_vec(),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(payload);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }

    fn signs(&self, digest: &str) -> Signature {
        let payload = payload(digest);
        made(&payload, &self.sign(&payload))
    }
}

fn payload(digest: &str) -> Vec<u8> {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"127.0.0.1:5000/web"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":{{"by":"ci"}}}}"#
    )
    .into_bytes()
}

fn made(payload: &[u8], signature: &[u8]) -> Signature {
    Signature { payload: BASE64.encode(payload).into(), signature: BASE64.encode(signature).into() }
}

fn trusted(name: &str, signer: &Signer) -> TrustedKey {
    TrustedKey { name: name.to_owned(), key: signer.public() }
}

fn question(reference: Option<String>, verify: Verify) -> WhoSigned {
    WhoSigned {
        image: "shop/web".parse().unwrap(),
        declared: Digest::of(b"a declaration"),
        reference: reference.map(Arc::from),
        digest: DIGEST.to_owned(),
        verify,
    }
}

#[test]
fn both_kinds_of_keys_verify() {
    for signer in [Signer::ed25519(7), Signer::p256(7)] {
        assert!(is_signed(&signer.public(), DIGEST, &signer.signs(DIGEST)));
    }
}

#[test]
fn what_does_not_verify_is_no_signature() {
    for (signer, other) in
        [(Signer::ed25519(7), Signer::ed25519(8)), (Signer::p256(7), Signer::p256(8))]
    {
        let key = signer.public();
        let (good, payload) = (signer.signs(DIGEST), payload(DIGEST));
        let signature = signer.sign(&payload);
        assert!(!is_signed(&other.public(), DIGEST, &good), "another key");
        assert!(!is_signed(&key, OTHER, &good), "of another image");
        assert!(!is_signed(&key, DIGEST, &signer.signs(OTHER)), "of another image");
        for at in (0..payload.len()).step_by(5) {
            let mut tampered = payload.clone();
            tampered[at] ^= 1;
            assert!(!is_signed(&key, DIGEST, &made(&tampered, &signature)), "byte {at}");
        }
        for length in 0..signature.len() {
            let cut = &signature[..length];
            assert!(!is_signed(&key, DIGEST, &made(&payload, cut)), "{length} bytes");
        }
        let longer = [&signature[..], &[0]].concat();
        assert!(!is_signed(&key, DIGEST, &made(&payload, &longer)), "a byte more");
        let no_base64 = Signature { signature: "§".into(), ..good.clone() };
        assert!(!is_signed(&key, DIGEST, &no_base64));
        assert!(!is_signed(&key, DIGEST, &Signature { payload: "§".into(), ..good }));
    }
    // A key of one kind does not take the other's signature, nor a point that is on no curve.
    let signature = Signer::ed25519(7).signs(DIGEST);
    assert!(!is_signed(&Signer::p256(7).public(), DIGEST, &signature));
    let nowhere = PublicKey::EcdsaP256(format!("04{}", "11".repeat(64)).into());
    assert!(!is_signed(&nowhere, DIGEST, &Signer::p256(7).signs(DIGEST)));
}

#[test]
fn what_is_signed_has_to_be_about_an_image() {
    let signer = Signer::p256(7);
    let good = String::from_utf8(payload(DIGEST)).unwrap();
    for document in [
        good.replace("cosign container image signature", "a letter"),
        good.replace("docker-manifest-digest", "digest"),
        good.replace("critical", "optional"),
        DIGEST.to_owned(),
        String::new(),
        // Which of the two would it be?
        good.replace(
            "\"image\":{",
            &format!("\"image\":{{\"docker-manifest-digest\":\"{OTHER}\","),
        ),
    ] {
        let signature = made(document.as_bytes(), &signer.sign(document.as_bytes()));
        assert!(!is_signed(&signer.public(), DIGEST, &signature), "{document}");
    }
}

#[tokio::test]
async fn signers_are_named_by_what_a_file_holds() {
    let (release, ci, stranger) = (Signer::p256(1), Signer::ed25519(2), Signer::p256(3));
    let signatures = vec![stranger.signs(DIGEST), ci.signs(DIGEST), release.signs(OTHER)];
    let file = SignatureFile { path: "/specs/web.sig".to_owned(), signatures };
    let keys = vec![trusted("release", &release), trusted("ci", &ci)];
    let verify = Verify { keys, signatures: Some(file) };
    let signed = Signatures::default().who_signed(&question(None, verify)).await;
    let expected = Signed {
        digest: DIGEST.to_owned(),
        signers: vec!["ci".to_owned()],
        fingerprints: vec![ci.public().fingerprint()],
    };
    assert_eq!(signed, Ok(expected));
}

/// A registry: what it answers, by path.
type Pages = BTreeMap<String, (u16, Vec<u8>)>;

/// Plays a registry, and gives its address.
async fn registry(pages: Pages) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (status, body) = pages.get(path).cloned().unwrap_or((404, Vec::new()));
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(&[answer.as_bytes(), &body].concat()).await;
        }
    });
    address
}

fn manifest_path() -> String {
    format!("/v2/shop/web/manifests/{}.sig", DIGEST.replace(':', "-"))
}

/// What cosign puts beside an image.
fn pages(signatures: &[Signature]) -> Pages {
    let mut pages = Pages::new();
    let mut layers = Vec::new();
    for Signature { payload, signature } in signatures {
        let payload = BASE64.decode(&**payload).unwrap();
        let digest = format!("sha256:{}", Digest::of(&payload));
        pages.insert(format!("/v2/shop/web/blobs/{digest}"), (200, payload));
        layers.push(serde_json::json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": digest,
            "annotations": { "dev.cosignproject.cosign/signature": &**signature },
        }));
    }
    let manifest = serde_json::json!({ "schemaVersion": 2, "layers": layers }).to_string();
    pages.insert(manifest_path(), (200, manifest.into_bytes()));
    pages
}

async fn asked(pages: Pages, keys: Vec<TrustedKey>) -> Result<Vec<String>, String> {
    let reference = format!("{}/shop/web:1@{DIGEST}", registry(pages).await);
    let verify = Verify { keys, signatures: None };
    let question = question(Some(reference), verify);
    Signatures::default().who_signed(&question).await.map(|signed| signed.signers)
}

#[tokio::test]
async fn signatures_stand_beside_images() {
    let (release, ci) = (Signer::p256(1), Signer::ed25519(2));
    let keys = || vec![trusted("release", &release), trusted("ci", &ci)];
    let both = pages(&[ci.signs(DIGEST), release.signs(DIGEST)]);
    assert_eq!(asked(both, keys()).await.unwrap(), ["release", "ci"]);
    let other = pages(&[Signer::p256(9).signs(DIGEST), ci.signs(OTHER)]);
    assert_eq!(asked(other, keys()).await.unwrap(), [""; 0]);
    // Nobody signed it.
    assert_eq!(asked(Pages::new(), keys()).await.unwrap(), [""; 0]);
    // What was signed has to be there, as it was.
    let mut gone = pages(&[ci.signs(DIGEST)]);
    gone.retain(|path, _| path.contains("manifests"));
    assert_eq!(asked(gone, keys()).await.unwrap(), [""; 0]);
    let mut swapped = pages(&[ci.signs(DIGEST)]);
    for (path, (_, body)) in &mut swapped {
        if path.contains("blobs") {
            *body = String::from_utf8_lossy(body).replace("\"ci\"", "\"me\"").into_bytes();
        }
    }
    assert_eq!(asked(swapped, keys()).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_fetched_is_not_known() {
    let keys = || vec![trusted("ci", &Signer::ed25519(2))];
    let with = |status: u16, body: &[u8]| Pages::from([(manifest_path(), (status, body.to_vec()))]);
    for (pages, why) in [
        (with(401, b""), "401"),
        (with(500, b""), "500"),
        (with(307, b""), "307"),
        (with(200, b"no manifest"), "is none of signatures"),
        (with(200, &vec![b' '; (1 << 20) + 1]), "more than 1048576 bytes"),
    ] {
        let said = asked(pages, keys()).await.unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    let many = vec![Signer::ed25519(2).signs(DIGEST); SIGNATURES_MAX + 1];
    assert!(asked(pages(&many), keys()).await.unwrap_err().contains("more than 64"));
    let verify = || Verify { keys: keys(), signatures: None };
    for (reference, why) in [
        (Some(format!("registry.example/web@{DIGEST}")), "on this host only"),
        (Some(format!("web@{DIGEST}")), "and not from docker.io"),
        (None, "name it in `verify.signatures`"),
    ] {
        let said = Signatures::default().who_signed(&question(reference, verify())).await;
        let said = said.unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    // It answers nobody.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reference = format!("{}/shop/web@{DIGEST}", listener.local_addr().unwrap());
    let quick = Signatures { deadline: Duration::from_millis(20), ..Signatures::default() };
    let said = quick.who_signed(&question(Some(reference), verify())).await.unwrap_err();
    assert!(said.contains("did not answer within"), "{said}");
}
