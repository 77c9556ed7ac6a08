//! `windlass audit export`.

use std::fs::{self, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::{When, settings};
use crate::app::audit::{self, Exported};
use crate::cli::{Context, Ended, Failure, bare, stdin};

/// The record tells what runs where.
const FILE_MODE: u32 = 0o600;

/// Runs the verb.
pub(super) fn run(context: &Context, out: &Path, since: Option<When>, mask: bool) -> Ended {
    let settings = settings(context)?;
    let since_ms = since.map(|when| when.0);
    if stdin::is_meant(out) {
        let mut stdout = std::io::stdout().lock();
        audit::export(&settings, since_ms, mask, &mut stdout)?;
        return Ok(0);
    }
    let shown = out.display();
    let failed = |error: std::io::Error| Failure::new(format!("write {shown}: {}", bare(&error)));
    // The whole of it or nothing.
    let mut beside = out.as_os_str().to_owned();
    beside.push(".tmp");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&beside)
        .map_err(failed)?;
    let mut file = BufWriter::new(file);
    let exported = audit::export(&settings, since_ms, mask, &mut file)
        .map_err(Failure::from)
        .and_then(|exported| {
            let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
            file.sync_all().and_then(|()| fs::rename(&beside, out)).map_err(failed)?;
            Ok(exported)
        });
    let Exported { first, last, withheld } = exported.inspect_err(|_| {
        // What is told is why it could not be written.
        let _ = fs::remove_file(&beside);
    })?;
    let withheld = match withheld {
        0 => String::new(),
        some => format!("; the texts in {} are withheld", count_of(some)),
    };
    context.out.note(&format!(
        "entries {first} to {last}{withheld}: `windlass audit verify --journal {shown}` checks it"
    ));
    Ok(0)
}

fn count_of(entries: u64) -> String {
    match usize::try_from(entries).unwrap_or(usize::MAX) {
        1 => "1 entry".to_owned(),
        some => format!("{some} entries"),
    }
}
