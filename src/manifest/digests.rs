//! Files beside specs: their digests, taken once for each state of a file, and the text of small
//! ones.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use reconciler::model::ids::hex;
use sha2::{Digest, Sha256};

use super::scan::{self, OpenError, Stat};

/// Bytes that are read at once: few calls, and little memory beside images of gigabytes.
const CHUNK_BYTES: usize = 1 << 18;

/// Largest file that is read for what it says: variables and profiles have a few thousand bytes,
/// and what they say is kept with the spec.
const CONTENT_BYTES_MAX: u64 = 256 << 10;

/// Why a file could not be opened, for a label.
fn words(error: OpenError) -> String {
    match error {
        OpenError::Gone => "no such file".to_owned(),
        OpenError::Other(why) => why,
    }
}

/// Digests that were taken, by path.
#[derive(Debug, Default)]
pub(crate) struct Digests(Mutex<BTreeMap<PathBuf, (Stat, String)>>);

impl Digests {
    /// `sha256:` and the digest of a file's content.
    ///
    /// # Errors
    /// Why it cannot be read, for a label.
    pub(crate) fn of(&self, path: &Path) -> Result<String, String> {
        let (mut file, stat) = scan::open(path).map_err(words)?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some((_, digest)) = known.filter(|(then, _)| *then == stat) {
            return Ok(digest);
        }
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match file.read(&mut chunk).map_err(|error| error.to_string())? {
                0 => break,
                read => hash.update(chunk.get(..read).unwrap_or(&[])),
            }
        }
        let digest = format!("sha256:{}", hex(&hash.finalize()));
        let mut digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(path.to_path_buf(), (stat, digest.clone()));
        Ok(digest)
    }

    /// The text of a small file, with its digest.
    ///
    /// # Errors
    /// Why it cannot be read, for a label.
    pub(crate) fn content(&self, path: &Path) -> Result<(Arc<str>, String), String> {
        let (file, stat) = scan::open(path).map_err(words)?;
        let mut bytes = Vec::new();
        let mut limited = file.take(CONTENT_BYTES_MAX + 1);
        limited.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > CONTENT_BYTES_MAX {
            return Err(format!("larger than {} KiB", CONTENT_BYTES_MAX >> 10));
        }
        let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut digests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(path.to_path_buf(), (stat, digest.clone()));
        Ok((Arc::from(text), digest))
    }
}
