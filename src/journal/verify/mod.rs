//! Whether a journal is whole, and if not, which record is the first bad one. Works on files alone:
//! a journal's directory or an export, beside a running windlass or far from it.
//!
//! The chain shows what was edited, deleted, moved or brought in from elsewhere; signed checkpoints
//! show what was cut off or written anew. Read in this order: this file, [`walk`] (along the chain),
//! [`stated`] (what signatures say of it), [`diagnose`] (what is wrong with a line that does not fit).

mod diagnose;
mod stated;
mod walk;

#[cfg(test)]
mod export_tests;
#[cfg(test)]
mod tamper_tests;

pub(super) use self::walk::Lines;

use std::fs;
use std::path::{Path, PathBuf};

use reconciler::ports::StoreError;
use serde::Serialize;

use super::key::{AuditKey, PublicKey};
use super::scan;
use super::statement::{self, BadStatement, FILE, Found};
use crate::files::{failed, is_there};

/// A clock that was set back no further than this is told, and no more: clocks are put right by some
/// seconds all the time.
pub const CLOCK_BACK_TOLERATED_MS: u64 = 60_000;

/// So many places where the clock was set back are told; the others are counted.
const CLOCK_FINDINGS_MAX: usize = 20;

/// A running windlass may drop a segment while it is read: then reading begins anew, so often.
const ATTEMPTS_MAX: u32 = 3;

/// What is to be checked, and against what.
#[derive(Debug, Clone)]
pub struct Asked {
    /// A journal's directory, a state directory, or an export.
    pub journal: PathBuf,
    /// Signed checkpoints that were kept elsewhere.
    pub checkpoint: Option<PathBuf>,
    /// The public keys that may have signed.
    pub pubkey: Option<PathBuf>,
    /// A clock that was set back by no more than this is tolerated.
    pub clock_tolerated_ms: u64,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// In one word.
    pub verdict: Verdict,
    /// What is wrong: the first bad record, and clocks that were set back too far.
    pub findings: Vec<Finding>,
    /// Whose journal it is, if it says so.
    pub owner: Option<String>,
    /// The keys that count, in hexadecimal digits.
    pub keys: Vec<String>,
    /// The first entry that was checked.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// Entries from which something is withheld: only their place in the chain can be checked, and
    /// that who exported them has signed what is left.
    pub withheld: u64,
    /// Signed checkpoints that were compared.
    pub checkpoints: usize,
    /// The last entry that is under a signature; 0 if none is.
    pub signed_to: u64,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// Whether a journal is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It is.
    Whole,
    /// It is not.
    NotWhole,
    /// That cannot be told: nothing is signed.
    Unchecked,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What.
    pub what: What,
    /// With which entry.
    pub seq: u64,
    /// In which file.
    pub file: PathBuf,
    /// In which line of it, from 1; 0 where a line is missing.
    pub line: u64,
    /// In words.
    pub message: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A line is not what it was when it was written.
    Edited,
    /// Entries are missing.
    Deleted,
    /// Entries are not in their order.
    Reordered,
    /// An entry stands there twice.
    Duplicated,
    /// An entry of another journal, or of another version of this one, stands there.
    Spliced,
    /// Entries at the end are missing.
    Truncated,
    /// Entries at the beginning are missing, and nobody has signed that they are not kept.
    Beheaded,
    /// The chain is in order, but it is not the one that was signed.
    Rewritten,
    /// A signature is not by the key that it names.
    Forged,
    /// Another key has signed than the one that counts.
    OtherKey,
    /// Another owner's journal or checkpoint.
    OtherOwner,
    /// Entries that should be under a signature are not.
    Unsigned,
    /// An entry is older than the one before it.
    ClockSetBack,
}

impl What {
    /// What it means, for who reads it first.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Edited => "somebody, or the disk, changed the file after it was written",
            Self::Deleted => "somebody removed records",
            Self::Reordered => "somebody moved records",
            Self::Duplicated => "somebody copied a record",
            Self::Spliced => "somebody put records in that were not written here",
            Self::Truncated => "somebody cut off the newest records, or put an older copy back",
            Self::Beheaded => "somebody removed the oldest records",
            Self::Rewritten => {
                "somebody wrote records anew, sums included, and did not have the key to sign them"
            }
            Self::Forged => "somebody changed a checkpoint, or made one without the key",
            Self::OtherKey => "the key was lost and made anew, or somebody signed with their own",
            Self::OtherOwner => "this is another state directory's, or parts of two were mixed",
            Self::Unsigned => "somebody removed signed checkpoints, perhaps to write records anew",
            Self::ClockSetBack => "times of records cannot be relied on around there",
        }
    }
}

/// Checks a journal.
///
/// # Errors
/// [`StoreError`] if it cannot be read: then nothing is known.
pub fn run(asked: &Asked) -> Result<Verified, StoreError> {
    let mut attempt = 1;
    loop {
        let before = listing(&asked.journal);
        let verified = once(asked);
        let is_good = verified.as_ref().is_ok_and(|verified| verified.verdict == Verdict::Whole);
        if is_good || attempt == ATTEMPTS_MAX || listing(&asked.journal) == before {
            return verified;
        }
        attempt += 1;
    }
}

/// What is in a directory just now: it changes when a segment is begun or dropped.
fn listing(journal: &Path) -> Vec<PathBuf> {
    let dir = directory(journal).unwrap_or_else(|| journal.to_owned());
    scan::segments(&dir).unwrap_or_default().into_iter().map(|segment| segment.path).collect()
}

/// The journal's directory, if it is one.
fn directory(journal: &Path) -> Option<PathBuf> {
    let inner = journal.join("journal");
    if inner.is_dir() { Some(inner) } else { journal.is_dir().then(|| journal.to_owned()) }
}

fn once(asked: &Asked) -> Result<Verified, StoreError> {
    let Asked { journal, checkpoint, pubkey, clock_tolerated_ms } = asked;
    if !is_there(journal)? {
        return Err(failed("read journal", journal, "there is no such file or directory"));
    }
    let dir = directory(journal);
    let mut notes = Vec::new();
    let keys = trusted(dir.as_deref(), pubkey.as_deref(), &mut notes)?;

    // Before the entries: a statement is never ahead of what is durable.
    let own_path = dir.as_ref().map_or_else(|| journal.clone(), |dir| dir.join(FILE));
    let own = if is_there(&own_path)? { statements(&own_path)? } else { Vec::new() };
    let other = checkpoint.as_deref().map(statements).transpose()?;
    if other.as_ref().is_some_and(Vec::is_empty) {
        let path = checkpoint.as_deref().unwrap_or(journal);
        return Err(failed("read checkpoints of", path, "it holds no signed checkpoint"));
    }
    let own = stated::Statements { path: own_path, found: own };
    let other = checkpoint.clone().zip(other);
    let other = other.map(|(path, found)| stated::Statements { path, found });

    let mut walk = walk::Walk::new(&own, other.as_ref());
    let broken = match &dir {
        Some(dir) => walk.directory(dir)?,
        None => walk.export(journal, &keys)?,
    };
    let walked = walk.finish();
    if walked.segments == 0 {
        return Err(failed("read journal", journal, "it holds no journal"));
    }
    Ok(stated::judge(stated::Case {
        is_export: dir.is_none(),
        keys,
        own: &own,
        other: other.as_ref(),
        walked,
        broken,
        clock_tolerated_ms: *clock_tolerated_ms,
        notes,
    }))
}

fn statements(path: &Path) -> Result<Found, StoreError> {
    let found = statement::read_all(path)?;
    let newer = found.iter().find_map(|one| match one {
        Err((line, BadStatement::Newer(version))) => Some((*line, *version)),
        Ok(_) | Err(_) => None,
    });
    match newer {
        Some((line, version)) => Err(failed(
            "read checkpoints of",
            path,
            format!("line {line} has version {version}: a newer windlass wrote it, use that one"),
        )),
        None => Ok(found),
    }
}

/// The keys that count: those that were given, else the one beside the journal. None, if whoever
/// has signed first is to be believed.
fn trusted(
    dir: Option<&Path>,
    pubkey: Option<&Path>,
    notes: &mut Vec<String>,
) -> Result<Vec<PublicKey>, StoreError> {
    if let Some(path) = pubkey {
        return PublicKey::read_all(path);
    }
    if let Some(path) = dir.and_then(Path::parent).map(|state| state.join("audit.key"))
        && fs::metadata(&path).is_ok()
    {
        let key = AuditKey::load(&path)?;
        notes.push(
            "the key is the one beside the journal: who can write there could have replaced both; \
             --pubkey with a copy kept elsewhere rules that out"
                .to_owned(),
        );
        return Ok(key.iter().map(AuditKey::public).collect());
    }
    notes.push(
        "the key is the one that the journal names itself; --pubkey tells whether it is yours"
            .to_owned(),
    );
    Ok(Vec::new())
}
