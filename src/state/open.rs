//! Opening the records: sled for speed, and the journal for what sled does not have.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use reconciler::model::ids::{OwnerId, hex};
use reconciler::model::journal::{Entry, Stamped};
use reconciler::model::record::Records;
use reconciler::model::time::Timestamp;
use reconciler::ports::{Journal as _, StateStore as _, StoreError};

use super::StateDir;
use crate::files::{Trouble, failed, is_there, move_aside};
use crate::journal::{self, AuditKey, FileJournal, Retention};
use crate::store::{SledStore, diff};

/// Random bytes in the id of an owner: no two state directories ever have the same.
const OWNER_BYTES: usize = 16;

/// What a state directory holds.
#[derive(Debug)]
pub struct Opened {
    /// The records. They have an owner.
    pub records: Records,
    /// The number of the last entry.
    pub seq: u64,
    /// The journal, to append to.
    pub journal: FileJournal,
    /// The store; it holds those records.
    pub store: SledStore,
    /// What had to be repaired, for the operator.
    pub repaired: Vec<String>,
}

/// Opens what a state directory holds. In a new one the journal begins with a new owner's id. What
/// the journal holds is signed.
///
/// # Errors
/// [`StoreError`] if the journal is damaged, or less is there than was acknowledged. Nothing was
/// changed then.
pub fn open_records(state: &StateDir, kept: Retention) -> Result<Opened, StoreError> {
    let paths = state.paths();
    let (store_path, journal_path) = (paths.store(), paths.journal());
    let journal_there = journal::exists(&journal_path)?;
    let store_there = is_there(&store_path)?;
    let mut repaired = Vec::new();

    let (store, records, stored_seq) = match open_store(&store_path) {
        Ok(opened) => opened,
        Err(Trouble { damaged: true, error }) if journal_there => {
            // Before anything is moved: is the journal in a state to replace it?
            journal::records_from(&journal_path)?;
            let aside = move_aside(&store_path)?;
            repaired.push(format!(
                "the store was damaged ({error}); it is kept in {} and was made anew from the \
                 journal",
                aside.display()
            ));
            open_store(&store_path)?
        }
        Err(Trouble { damaged: true, error }) => {
            return Err(failed(
                "open",
                paths.root(),
                format!(
                    "the store is damaged ({error}), and there is no journal; `windlass store \
                     rebuild --owner ID` begins anew with the containers that carry this owner in \
                     their label io.windlass.owner"
                ),
            ));
        }
        Err(trouble) => return Err(trouble.error),
    };
    if !journal_there && (stored_seq > 0 || records != Records::default()) {
        return Err(failed(
            "open journal",
            &journal_path,
            format!(
                "it is gone, though the store holds records up to entry {stored_seq}; put it back, \
                 or begin a new one from these records with `windlass store rebuild`"
            ),
        ));
    }

    let mut replay = Replay { before: None, records };
    let mut visit = |stamped: Stamped| replay.apply(&stamped);
    let (mut journal, torn) = FileJournal::open(&journal_path, stored_seq, &mut visit)?;
    repaired.extend(torn);
    journal.keep(kept);
    let Replay { mut before, mut records } = replay;
    if stored_seq == 0 && journal.last_seq() > 0 && repaired.is_empty() {
        let how = if store_there { "empty" } else { "missing" };
        repaired.push(format!("the store was {how}; it was made anew from the journal"));
    }
    if records.owner.is_none() {
        before.get_or_insert_with(|| records.clone());
        let entry = owner_entry(journal.last_seq() + 1, new_owner()?);
        journal.append(std::slice::from_ref(&entry))?;
        records.apply(entry.at, &entry.entry);
    }
    let owner = records.owner.clone().unwrap_or_else(|| OwnerId(String::new()));
    let (key, made) = AuditKey::load_or_make(&paths.audit_key())?;
    let is_signed = is_there(&journal_path.join(journal::CHECKPOINTS_FILE))?;
    journal.attest(key, owner)?;
    if made && is_signed {
        repaired.push(format!(
            "{} was gone, and a new audit key was made: what was signed before, it has not signed",
            paths.audit_key().display()
        ));
    }
    if journal.is_older() {
        // A segment of our own: an older windlass reads none of it by mistake.
        before.get_or_insert_with(|| records.clone());
        let entry = Entry::Checkpoint { records: Box::new(records.clone()) };
        journal.append(&[Stamped { seq: journal.last_seq() + 1, at: now(), entry }])?;
    }
    if let Some(before) = before {
        store.save(&diff(&before, &records), journal.last_seq())?;
    }
    Ok(Opened { records, seq: journal.last_seq(), journal, store, repaired })
}

/// Opens sled and reads all of it.
pub(super) fn open_store(path: &Path) -> Result<(SledStore, Records, u64), Trouble> {
    let store = SledStore::open_or_trouble(path)?;
    let (records, seq) = store.load_or_trouble()?;
    Ok((store, records, seq))
}

/// The entry that says who we are.
pub(super) fn owner_entry(seq: u64, owner: OwnerId) -> Stamped {
    Stamped { seq, at: now(), entry: Entry::Owner { owner } }
}

/// The time, for entries that no round has asked for.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn new_owner() -> Result<OwnerId, StoreError> {
    let mut bytes = [0; OWNER_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| StoreError {
        operation: "make an owner id".to_owned(),
        message: error.to_string(),
    })?;
    Ok(OwnerId(hex(&bytes)))
}

/// Records that follow the journal, and what they were before the first entry: copied only if there
/// is one, since mostly there is none.
struct Replay {
    before: Option<Records>,
    records: Records,
}

impl Replay {
    fn apply(&mut self, stamped: &Stamped) {
        if self.before.is_none() {
            self.before = Some(self.records.clone());
        }
        self.records.apply(stamped.at, &stamped.entry);
    }
}
