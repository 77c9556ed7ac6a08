//! The key that signs checkpoints of the journal: made at the first start, kept beside the journal,
//! for its owner alone. Both halves are kept as other tools expect them (PKCS #8 and SPKI in PEM), so
//! that a third party can check a signature without windlass.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use reconciler::model::ids::hex;
use reconciler::ports::StoreError;

use crate::files::{FILE_MODE, failed, sync_name};

/// Bytes of a public key, and of the seed of a private one.
const KEY_BYTES: usize = 32;

/// Bytes of a signature.
pub(super) const SIGNATURE_BYTES: usize = 64;

/// What stands before the seed in PKCS #8: version 0, ed25519, an octet string in an octet string
/// (RFC 8410, section 7).
const PRIVATE_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// What stands before a public key in SPKI: ed25519, a bit string (RFC 8410, section 4).
const PUBLIC_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const PRIVATE_LABEL: &str = "PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";

/// Larger files hold no keys.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The private key of a state directory.
#[derive(Clone)]
pub struct AuditKey(SigningKey);

impl AuditKey {
    /// Reads the key, or makes one where there is none. Says whether it was made.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read or made, or is no key.
    pub fn load_or_make(path: &Path) -> Result<(Self, bool), StoreError> {
        if let Some(key) = Self::load(path)? {
            return Ok((key, false));
        }
        let mut seed = [0; KEY_BYTES];
        getrandom::fill(&mut seed).map_err(|error| failed("make the audit key", path, error))?;
        let key = Self(SigningKey::from_bytes(&seed));
        let text = pem(PRIVATE_LABEL, &[&PRIVATE_PREFIX[..], &seed].concat());
        let unfinished = path.with_extension("tmp");
        // A crash may have left one behind: nothing was signed with it.
        let _ = fs::remove_file(&unfinished);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&unfinished)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&unfinished, path))
            .map_err(|error| failed("write the audit key to", path, error))?;
        sync_name(path)?;
        Ok((key, true))
    }

    /// Reads the key, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read, or is no key.
    pub fn load(path: &Path) -> Result<Option<Self>, StoreError> {
        let Some(text) = read(path)? else { return Ok(None) };
        let seed = blocks(&text, PRIVATE_LABEL).find_map(|der| {
            <[u8; KEY_BYTES]>::try_from(der.strip_prefix(&PRIVATE_PREFIX[..])?).ok()
        });
        match seed {
            Some(seed) => Ok(Some(Self(SigningKey::from_bytes(&seed)))),
            None => Err(failed(
                "read the audit key",
                path,
                "it is no ed25519 key in PKCS #8; put the right one back, or move it away: then \
                 a new one is made, and `windlass audit verify` tells from where on",
            )),
        }
    }

    /// The half that others may know.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuditKey({})", self.public())
    }
}

/// The public half of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// As its file holds it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem(PUBLIC_LABEL, &[&PUBLIC_PREFIX[..], self.0.as_bytes()].concat())
    }

    /// All keys of a file: in PEM, or in hexadecimal digits, one a line.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read, or holds none.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, StoreError> {
        let text =
            read(path)?.ok_or_else(|| failed("read keys of", path, "there is no such file"))?;
        let from_pem = blocks(&text, PUBLIC_LABEL)
            .filter_map(|der| Self::from_bytes(der.strip_prefix(&PUBLIC_PREFIX[..])?));
        let from_hex = text.lines().filter_map(|line| Self::from_hex(line.trim()));
        let keys: Vec<Self> = from_pem.chain(from_hex).collect();
        if keys.is_empty() {
            let why = "it holds no public ed25519 key; `windlass audit key` prints one";
            return Err(failed("read keys of", path, why));
        }
        Ok(keys)
    }

    pub(super) fn from_hex(digits: &str) -> Option<Self> {
        Self::from_bytes(&unhex(digits.as_bytes())?)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes.try_into().ok()?).ok().map(Self)
    }

    /// Whether the key has signed these bytes.
    pub(super) fn signed(&self, bytes: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.0.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The bytes that hexadecimal digits mean.
pub(super) fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| (c as char).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let is_lower = digits.iter().all(|c| !c.is_ascii_uppercase());
    if !digits.len().is_multiple_of(2) || !is_lower {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn read(path: &Path) -> Result<Option<String>, StoreError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, error)),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// The contents of all PEM blocks with a label.
fn blocks<'a>(text: &'a str, label: &str) -> impl Iterator<Item = Vec<u8>> + 'a {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, from) = rest.split_once(&begin)?;
        let (inner, after) = from.split_once(&end)?;
        rest = after;
        let digits: String = inner.split_whitespace().collect();
        // One that is no base64 is as good as none.
        Some(STANDARD.decode(digits).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.key");
        assert!(AuditKey::load(&path).unwrap().is_none());
        let (key, made) = AuditKey::load_or_make(&path).unwrap();
        assert!(made);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, FILE_MODE);
        let (again, made) = AuditKey::load_or_make(&path).unwrap();
        assert!(!made);
        assert_eq!(again.public(), key.public());
        let text = fs::read_to_string(&path).unwrap();
        assert!(!format!("{key:?}").contains(text.lines().nth(1).unwrap()));
        fs::write(&path, "no key").unwrap();
        AuditKey::load_or_make(&path).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "no key", "it was written over");
    }

    #[test]
    fn public_keys_are_read_in_both_forms() {
        let dir = tempfile::tempdir().unwrap();
        let key = |name: &str| AuditKey::load_or_make(&dir.path().join(name)).unwrap().0.public();
        let (one, two) = (key("one"), key("two"));
        let path = dir.path().join("keys");
        fs::write(&path, format!("{}{two}\n", one.to_pem())).unwrap();
        assert_eq!(PublicKey::read_all(&path).unwrap(), [one, two]);
        fs::write(&path, "nothing").unwrap();
        PublicKey::read_all(&path).unwrap_err();
    }

    /// The vector of RFC 8032, section 7.1, test 2, and the encoding of RFC 8410.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let seed: [u8; 32] = unhex(seed.as_bytes()).unwrap().try_into().unwrap();
        let key = AuditKey(SigningKey::from_bytes(&seed));
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(key.public().to_string(), public);
        let signature = key.sign(&[0x72]);
        assert!(hex(&signature).starts_with("92a009a9f0d4cab8720e820b5f642540"));
        assert!(key.public().signed(&[0x72], &signature));
        assert!(!key.public().signed(&[0x73], &signature));
        assert!(
            key.public()
                .to_pem()
                .contains("MCowBQYDK2VwAyEAPUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=")
        );
    }
}
