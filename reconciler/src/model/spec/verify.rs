//! Signatures of images: whose keys are trusted, and where signatures are.
//!
//! What is signed is the form of cosign that is called simple signing: a small JSON document that
//! names an image by its digest. Keys and signatures are read with the spec, so that whoever
//! verifies needs no file.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::form;

/// Whose signatures an image should bear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Verify {
    /// The keys that are trusted; a signature by one of them is enough.
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Vec<form::TrustedKeyForm>", length(min = 1, max = KEYS_MAX))
    )]
    pub keys: Vec<TrustedKey>,
    /// The path of a file beside the spec that holds what `cosign download signature` prints: a
    /// JSON object a line, with `Base64Signature` and `Payload`. Without it they are those that
    /// stand beside the image in its registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::LocalPath>"))]
    pub signatures: Option<SignatureFile>,
}

/// Most keys of an image: more are a list that nobody looks through.
pub const KEYS_MAX: usize = 32;

/// Most signatures of an image that are looked at.
pub const SIGNATURES_MAX: usize = 64;

/// A key whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedKey {
    /// What it is called in verdicts and records.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// A public key, as hexadecimal digits of its usual binary form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PublicKey {
    /// 32 bytes, for Ed25519.
    Ed25519(Arc<str>),
    /// 65 bytes, a point of the curve P-256 without compression, for ECDSA with SHA-256.
    EcdsaP256(Arc<str>),
}

/// How a `SubjectPublicKeyInfo` in DER begins whose key is of Ed25519 (RFC 8410).
const ED25519_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The same with a point of P-256 (RFC 5480), up to the byte that says "without compression".
const P256_HEAD: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

impl PublicKey {
    /// The key in the body of a PEM block `PUBLIC KEY`. `None` if it is of another kind. That a
    /// point is on its curve is found when something is verified.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        use crate::model::ids::hex;
        // Both forms have one encoding and one length each, so no parser is needed.
        let rest =
            |head: &[u8], length: usize| der.strip_prefix(head).filter(|rest| rest.len() == length);
        if let Some(key) = rest(&ED25519_HEAD, 32) {
            return Some(Self::Ed25519(Arc::from(hex(key))));
        }
        let point = rest(&P256_HEAD, 64)?;
        Some(Self::EcdsaP256(Arc::from(format!("04{}", hex(point)))))
    }

    /// Tells it from all others: `sha256:` and the digest of its form in DER, as
    /// `openssl pkey -pubin -outform DER | sha256sum` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let bytes = self.bytes();
        let der = match self {
            Self::Ed25519(_) => [ED25519_HEAD.as_slice(), &bytes].concat(),
            Self::EcdsaP256(_) => {
                [P256_HEAD.as_slice(), bytes.get(1..).unwrap_or_default()].concat()
            }
        };
        format!("sha256:{}", crate::model::ids::Digest::of(&der))
    }

    /// The bytes of the key.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let (Self::Ed25519(digits) | Self::EcdsaP256(digits)) = self;
        let pairs = digits.as_bytes().chunks_exact(2);
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|one| u8::try_from(one).ok());
        pairs.filter_map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
    }
}

/// Signatures that were read from a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignatureFile {
    /// Where the file was.
    pub path: String,
    /// What it holds.
    pub signatures: Vec<Signature>,
}

/// A signature as cosign writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// What is signed, in base64: the JSON document that names the image's digest.
    pub payload: Arc<str>,
    /// The signature of these bytes, in base64.
    pub signature: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_by_their_encoding() {
        let ed25519 = [ED25519_HEAD.as_slice(), &[7; 32]].concat();
        let key = PublicKey::from_der(&ed25519).expect("a key");
        assert_eq!(key, PublicKey::Ed25519("07".repeat(32).into()));
        assert_eq!(key.bytes(), [7; 32]);
        let of_der = |der: &[u8]| format!("sha256:{}", crate::model::ids::Digest::of(der));
        assert_eq!(key.fingerprint(), of_der(&ed25519));
        let p256 = [P256_HEAD.as_slice(), &[0xab; 64]].concat();
        let key = PublicKey::from_der(&p256).expect("a key");
        assert_eq!(key.bytes(), [&[4_u8][..], &[0xab; 64]].concat());
        assert_eq!(key.fingerprint(), of_der(&p256));
        for bad in [&ed25519[..43], &p256[..90], &[&ed25519[..], &[0]].concat(), &[]] {
            assert_eq!(PublicKey::from_der(bad), None);
        }
    }
}
