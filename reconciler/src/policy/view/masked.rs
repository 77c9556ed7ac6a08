//! Secrets: scripts see that they are there, and never what they are.
//!
//! What is masked for the record is masked before it is judged, so that no finding can tell more
//! than the record may. A value of a mapping is masked if its name or its form is that of a secret.

use std::sync::Arc;

use crate::model::ids::hex;

/// Digits of a digest that a script sees: enough to tell two values apart, and too few to be of use
/// to somebody who guesses.
const DIGITS: usize = 16;

/// Shorter values are no secrets worth the name, and too short to be told by their form.
const BYTES_MIN: usize = 20;

/// Words that the names of secrets hold.
const WORDS: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
    "AUTH_KEY",
    "_PWD",
];

/// Endings of names that only say where a secret is.
const PLACES: [&str; 4] = ["_FILE", "_PATH", "_NAME", "_ID"];

/// Beginnings of well-known kinds of secrets.
const PREFIXES: [(&str, &str); 11] = [
    ("-----BEGIN ", "a private key"),
    ("AGE-SECRET-KEY-", "a private key"),
    ("AKIA", "an access key"),
    ("ASIA", "an access key"),
    ("ghp_", "an access token"),
    ("gho_", "an access token"),
    ("github_pat_", "an access token"),
    ("glpat-", "an access token"),
    ("xoxb-", "an access token"),
    ("sk_live_", "an access token"),
    ("eyJ", "a signed token"),
];

/// The key of the digests that scripts see in place of secrets. It is the state directory's own, so
/// that digests can be compared there and nowhere else.
#[derive(Clone, Default)]
pub struct MaskKey(Arc<[u8]>);

impl MaskKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }

    fn digest(&self, text: &str) -> String {
        use sha2::Digest as _;
        let inner = sha2::Sha256::new().chain_update(&self.0).chain_update(text).finalize();
        let outer = sha2::Sha256::new().chain_update(&self.0).chain_update(inner).finalize();
        let mut digits = hex(&outer);
        digits.truncate(DIGITS);
        digits
    }
}

/// Never the key.
impl std::fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MaskKey({} bytes)", self.0.len())
    }
}

/// A secret, as scripts see it: its length, its digest, and why it is taken for one.
#[derive(Clone, PartialEq, Eq)]
pub struct Masked {
    text: Arc<str>,
    why: Arc<str>,
}

impl Masked {
    /// `text` is masked because it is `why`.
    pub(crate) fn new(text: &str, why: &str) -> Self {
        Self { text: Arc::from(text), why: Arc::from(why) }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether nothing is masked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Why it is masked.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Its digest under `key`.
    #[must_use]
    pub fn digest(&self, key: &MaskKey) -> String {
        key.digest(&self.text)
    }
}

/// Never the text.
impl std::fmt::Debug for Masked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Masked({}, {} bytes)", self.why, self.text.len())
    }
}

impl std::fmt::Display for Masked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(masked)")
    }
}

/// Why the value of that name looks like a secret, if it does.
pub(crate) fn suspicion(name: &str, value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return None;
    }
    let form = PREFIXES
        .iter()
        .find(|(prefix, _)| value.len() >= BYTES_MIN && value.starts_with(prefix))
        .map(|(_, what)| *what);
    form.or_else(|| has_name_of_secret(name).then_some("named like a secret"))
        .or_else(|| has_password(value).then_some("a password in an address"))
}

fn has_name_of_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let is_place = PLACES.iter().any(|place| name.ends_with(place));
    !is_place && WORDS.iter().any(|word| name.contains(word))
}

/// Whether it is an address such as `postgres://user:password@host/`.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_name_and_form() {
        for (name, value) in [
            ("DB_PASSWORD", "x"),
            ("my-token", "x"),
            ("DATABASE_URL", "postgres://u:p@db/x"),
            ("CONFIG", "-----BEGIN EC PRIVATE KEY-----"),
            ("X", "ghp_0123456789abcdef0123"),
        ] {
            assert!(suspicion(name, value).is_some(), "{name}");
        }
        for (name, value) in [
            ("DB_PASSWORD", ""),
            ("DB_PASSWORD_FILE", "/run/secrets/db"),
            ("MODE", "production"),
            ("URL", "https://example.org/a@b:c"),
            ("SECRET_NAME", "web"),
        ] {
            assert!(suspicion(name, value).is_none(), "{name}");
        }
    }

    #[test]
    fn digests_need_the_key_and_nothing_shows_the_text() {
        let secret = Masked::new("hunter2", "named like a secret");
        let (one, other) = (MaskKey::new(b"one"), MaskKey::new(b"other"));
        assert_eq!(secret.digest(&one), secret.digest(&one));
        assert_ne!(secret.digest(&one), secret.digest(&other));
        assert!(!format!("{secret} {secret:?} {one:?}").contains("hunter2"));
    }
}
