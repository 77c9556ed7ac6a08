//! The audit trail for commands: read beside a running windlass, without an engine. Nothing here
//! writes to the state directory.

use std::io::Write;
use std::path::PathBuf;

use reconciler::ports::StoreError;

use super::Settings;
pub use crate::journal::export::Exported;
pub use crate::journal::verify::{
    Asked, CLOCK_BACK_TOLERATED_MS, Finding, Verdict, Verified, What,
};
use crate::journal::{self, AuditKey, PublicKey, Statement};
use crate::state::StatePaths;

/// Checks a journal or an export: the state directory's own, if none is named.
///
/// # Errors
/// [`StoreError`] if it cannot be read: nothing is known then.
pub fn verify(asked: &Asked) -> Result<Verified, StoreError> {
    journal::verify::run(asked)
}

/// Where the journal is.
#[must_use]
pub fn journal(settings: &Settings) -> PathBuf {
    StatePaths::new(&settings.state).journal()
}

/// The key that others check signatures with.
///
/// # Errors
/// [`StoreError`] if there is none yet, or it cannot be read.
pub fn public_key(settings: &Settings) -> Result<PublicKey, StoreError> {
    key(settings).map(|key| key.public())
}

/// A signed checkpoint of the journal as it is now, and its line.
///
/// # Errors
/// [`StoreError`] if the journal or the key cannot be read.
pub fn checkpoint(settings: &Settings) -> Result<(Statement, String), StoreError> {
    journal::export::checkpoint(&journal(settings), &key(settings)?)
}

/// Writes an export.
///
/// # Errors
/// [`StoreError`] if the journal or the key cannot be read, or `out` cannot be written.
pub fn export(
    settings: &Settings,
    since_ms: Option<i64>,
    mask: bool,
    out: &mut dyn Write,
) -> Result<Exported, StoreError> {
    journal::export::write(&journal(settings), &key(settings)?, since_ms, mask, out)
}

fn key(settings: &Settings) -> Result<AuditKey, StoreError> {
    let path = StatePaths::new(&settings.state).audit_key();
    AuditKey::load(&path)?.ok_or_else(|| StoreError {
        operation: format!("read {}", path.display()),
        message: "there is no audit key yet: the first `windlass up` or `windlass apply` makes it"
            .to_owned(),
    })
}
