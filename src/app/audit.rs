//! The audit trail for commands: read beside a running windlass, without an engine. Nothing here
//! writes to the state directory.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use reconciler::ports::StoreError;

use super::Settings;
use crate::api::protocol::Request;
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

/// Puts the name of who asks beside what shall be done; what only looks is asked as it is.
pub(super) fn signed(request: Request) -> Request {
    let acts = matches!(
        request,
        Request::Apply
            | Request::ApplyPlan { .. }
            | Request::Down
            | Request::Resume { .. }
            | Request::Approve { digest: Some(_) }
    );
    if acts { Request::By { by: who(), request: Box::new(request) } } else { request }
}

/// Who we are, for records: `user@host`.
#[must_use]
pub fn who() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = named
        .filter(|user| !user.is_empty())
        .unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => user,
        host => format!("{user}@{host}"),
    }
}

fn key(settings: &Settings) -> Result<AuditKey, StoreError> {
    let path = StatePaths::new(&settings.state).audit_key();
    AuditKey::load(&path)?.ok_or_else(|| StoreError {
        operation: format!("read {}", path.display()),
        message: "there is no audit key yet: the first `windlass up` or `windlass apply` makes it"
            .to_owned(),
    })
}
