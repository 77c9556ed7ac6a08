//! `windlass store rebuild`: makes the store anew, from the best that is left.

use std::fs;
use std::path::Path;

use reconciler::model::ids::OwnerId;
use reconciler::model::journal::{Entry, Stamped};
use reconciler::model::record::Records;
use reconciler::ports::{Journal as _, StateStore as _, StoreError};

use super::StateDir;
use super::open::{now, open_store, owner_entry};
use crate::files::{Trouble, failed, is_there, move_aside, sync_name};
use crate::journal::{self, AuditKey, FileJournal};
use crate::store::{SledStore, diff};

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildReport {
    /// The records that are in force now.
    pub records: Records,
    /// The number of the last entry.
    pub seq: u64,
    /// What was done, and what is lost, for the operator.
    pub notes: Vec<String>,
}

/// Makes the store of the state directory `path` anew.
///
/// A journal that is whole is the truth. If it is damaged, or gone, or ends before the store does,
/// it is put aside, and a new one begins with a checkpoint of the newest records that can be read.
/// If nothing can be read, a new journal begins with `owner`, and takes over the containers that
/// carry it. Nothing is deleted.
///
/// # Errors
/// [`StoreError`] if another process uses the directory, if something was written by a newer
/// windlass, or if there is neither a record nor an `owner`. Nothing was changed then.
pub fn rebuild(path: &Path, owner: Option<OwnerId>) -> Result<RebuildReport, StoreError> {
    if owner.is_none() && !is_there(path)? {
        return Err(nothing_left(path));
    }
    let state = StateDir::open(path)?;
    let (store_path, journal_path) = (state.paths().store(), state.paths().journal());
    let mut notes = Vec::new();

    let journaled = read_journal(&journal_path, &mut notes)?;
    let stored = read_store(&store_path, &mut notes)?;

    let stored_seq = stored.as_ref().map_or(0, |stored| stored.seq);
    let (mut journal, mut records) = match (journaled, stored) {
        (Some(journaled), _) if journaled.whole && journaled.seq >= stored_seq => {
            let (journal, torn) = FileJournal::open(&journal_path, journaled.seq, &mut |_| {})?;
            notes.extend(torn);
            (journal, journaled.records)
        }
        (journaled, stored) => {
            let journaled_seq = journaled.as_ref().map_or(0, |journaled| journaled.seq);
            if journaled.is_some() && stored_seq > journaled_seq {
                notes.push(format!(
                    "the journal can be read up to entry {journaled_seq}, the store has \
                     {stored_seq}: the store's records are taken"
                ));
            }
            // The later of the two; an empty one counts for nothing.
            let best = [journaled, stored]
                .into_iter()
                .flatten()
                .filter(|source| source.seq > 0)
                .max_by_key(|source| source.seq);
            let entry = match (best, &owner) {
                (Some(Source { records, seq, .. }), _) => {
                    let records = Box::new(records);
                    Stamped { seq: seq + 1, at: now(), entry: Entry::Checkpoint { records } }
                }
                (None, Some(owner)) => {
                    notes.push("what was suspended is not known any more".to_owned());
                    owner_entry(1, owner.clone())
                }
                (None, None) => return Err(nothing_left(path)),
            };
            let mut records = Records::default();
            records.apply(entry.at, &entry.entry);
            (begin_anew(&journal_path, &entry, &mut notes)?, records)
        }
    };
    if let Some(owner) = owner
        && records.owner.as_ref() != Some(&owner)
    {
        let entry = owner_entry(journal.last_seq() + 1, owner);
        journal.append(std::slice::from_ref(&entry))?;
        records.apply(entry.at, &entry.entry);
        notes.push("the owner was changed to the given one".to_owned());
    }

    // A journal that nobody has signed would be taken for one whose signatures were removed.
    if let Some(owner) = &records.owner {
        let (key, _) = AuditKey::load_or_make(&state.paths().audit_key())?;
        journal.attest(key, owner.clone())?;
    }

    if is_there(&store_path)? {
        let aside = move_aside(&store_path)?;
        notes.push(format!("the old store is kept in {}", aside.display()));
    }
    let store = SledStore::open(&store_path)?;
    store.save(&diff(&Records::default(), &records), journal.last_seq())?;
    store.flush()?;
    Ok(RebuildReport { records, seq: journal.last_seq(), notes })
}

/// Records from one of the two places.
struct Source {
    records: Records,
    seq: u64,
    /// Whether all of it could be read.
    whole: bool,
}

/// What the journal says, as far as it can be read.
fn read_journal(path: &Path, notes: &mut Vec<String>) -> Result<Option<Source>, Trouble> {
    if !journal::exists(path)? {
        notes.push("there is no journal".to_owned());
        return Ok(None);
    }
    let (mut records, mut seq) = (Records::default(), 0);
    let read = journal::replay_or_trouble(path, 0, &mut |stamped| {
        records.apply(stamped.at, &stamped.entry);
        seq = stamped.seq;
    });
    match read {
        Ok(_) => {
            let contradiction = journal::contradiction(path)?;
            let whole = contradiction.is_none();
            notes.extend(contradiction);
            Ok(Some(Source { records, seq, whole }))
        }
        Err(Trouble { damaged: true, error }) => {
            notes.push(format!("the journal is damaged after entry {seq}: {error}"));
            Ok(Some(Source { records, seq, whole: false }))
        }
        Err(trouble) => Err(trouble),
    }
}

/// What the store says. One that is damaged says nothing.
fn read_store(path: &Path, notes: &mut Vec<String>) -> Result<Option<Source>, Trouble> {
    if !is_there(path)? {
        return Ok(None);
    }
    match open_store(path) {
        Ok((_, records, seq)) => Ok(Some(Source { records, seq, whole: true })),
        Err(Trouble { damaged: true, error }) => {
            notes.push(format!("the store is damaged: {error}"));
            Ok(None)
        }
        Err(trouble) => Err(trouble),
    }
}

/// Puts a journal aside, and begins a new one with `entry`. The new one is whole before the old one
/// is moved.
fn begin_anew(
    path: &Path,
    entry: &Stamped,
    notes: &mut Vec<String>,
) -> Result<FileJournal, StoreError> {
    let next = path.with_extension("new");
    if is_there(&next)? {
        fs::remove_dir_all(&next).map_err(|error| failed("remove", &next, error))?;
    }
    drop(FileJournal::begin(&next, std::slice::from_ref(entry))?);
    if is_there(path)? {
        let aside = move_aside(path)?;
        notes.push(format!("the old journal is kept in {}", aside.display()));
    }
    fs::rename(&next, path).map_err(|error| failed("rename", &next, error))?;
    sync_name(path)?;
    notes.push(format!("a new journal begins with entry {}", entry.seq));
    let (journal, _) = FileJournal::open(path, entry.seq, &mut |_| {})?;
    Ok(journal)
}

fn nothing_left(path: &Path) -> StoreError {
    failed(
        "rebuild",
        path,
        "neither the journal nor the store can be read; give the owner of the containers to take \
         over, as their label io.windlass.owner says: `windlass store rebuild --owner ID`",
    )
}
