//! One signature: whether a key made it, and of which image.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use p256::ecdsa::signature::Verifier as _;
use reconciler::model::spec::{PublicKey, Signature};
use serde::Deserialize;

/// What stands in each document as its type.
const TYPE: &str = "cosign container image signature";

/// What is signed. Whatever else is in it is signed too, and says nothing to us.
#[derive(Debug, Deserialize)]
struct Document {
    critical: Critical,
}

#[derive(Debug, Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Whether `key` signed that the image with this digest is what it shall be.
///
/// The name in the document (`docker-reference`) is not looked at: content is the same wherever it
/// was copied to, as cosign itself has it.
pub(super) fn is_signed(key: &PublicKey, digest: &str, signature: &Signature) -> bool {
    let Signature { payload, signature } = signature;
    let (Ok(payload), Ok(signature)) = (BASE64.decode(&**payload), BASE64.decode(&**signature))
    else {
        return false;
    };
    // Nothing is read out of it before it is known whose words they are.
    verifies(key, &payload, &signature)
        && serde_json::from_slice::<Document>(&payload).is_ok_and(|Document { critical }| {
            critical.kind == TYPE && critical.image.digest == digest
        })
}

fn verifies(key: &PublicKey, payload: &[u8], signature: &[u8]) -> bool {
    let bytes = key.bytes();
    match key {
        PublicKey::Ed25519(_) => {
            let key = bytes.try_into().ok();
            let key = key.and_then(|key| ed25519_dalek::VerifyingKey::from_bytes(&key).ok());
            let signature = ed25519_dalek::Signature::from_slice(signature).ok();
            key.zip(signature).is_some_and(|(key, signature)| {
                // Strict: a weak key would verify anything.
                key.verify_strict(payload, &signature).is_ok()
            })
        }
        PublicKey::EcdsaP256(_) => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).ok();
            let signature = p256::ecdsa::Signature::from_der(signature).ok();
            key.zip(signature)
                .is_some_and(|(key, signature)| key.verify(payload, &signature).is_ok())
        }
    }
}
