//! Digests of image files, taken once for each state of a file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use reconciler::model::ids::hex;
use sha2::{Digest, Sha256};

use super::scan::{self, OpenError, Stat};

/// Bytes that are read at once: few calls, and little memory beside images of gigabytes.
const CHUNK_BYTES: usize = 1 << 18;

/// Digests that were taken, by path.
#[derive(Debug, Default)]
pub(crate) struct Digests(Mutex<BTreeMap<PathBuf, (Stat, String)>>);

impl Digests {
    /// `sha256:` and the digest of a file's content.
    ///
    /// # Errors
    /// Why it cannot be read, for a label.
    pub(crate) fn of(&self, path: &Path) -> Result<String, String> {
        let (mut file, stat) = scan::open(path).map_err(|error| match error {
            OpenError::Gone => "no such file".to_owned(),
            OpenError::Other(why) => why,
        })?;
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
}
