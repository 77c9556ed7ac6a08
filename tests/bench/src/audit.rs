//! What the audit trail costs: a record beside its sync, and checking a million of them.

use std::path::Path;
use std::time::Instant;

use reconciler::model::ids::OwnerId;
use reconciler::model::ids::{Name, ObjectId, ReplicaKey};
use reconciler::model::journal::{Deed, Entry, Stamped};
use reconciler::model::time::Timestamp;
use reconciler::ports::Journal as _;
use tempfile::TempDir;
use windlass::journal::verify::{self, Asked, CLOCK_BACK_TOLERATED_MS, Verdict};
use windlass::journal::{AuditKey, FileJournal, Retention};

use crate::lab::Lab;
use crate::table::{Failure, Row, ms};

const RECORDS: u64 = 1_000_000;

/// Records of one append while the million is written: one sync for all of them.
const BATCH: u64 = 10_000;

/// Records of one append where a record's cost is looked for: so many that the sync is little beside
/// them, and signed as often as ever.
const MANY: u64 = 500;

const VERIFY_RUNS: usize = 3;
const VERIFY_MAX_MS: f64 = 5_000.0;
const RECORD_RUNS: usize = 51;
const RECORD_MAX_US: f64 = 20.0;

pub(crate) fn run(_: &Lab) -> Result<Vec<Row>, Failure> {
    let dir = TempDir::new().map_err(|error| error.to_string())?;
    let record = cost(&mut open(&dir, &dir.path().join("few"), true)?)?;
    let journal = dir.path().join("journal");
    let mut million = open(&dir, &journal, true)?;
    let mut seq = million.last_seq() + 1;
    while seq <= RECORDS {
        let last = (seq + BATCH - 1).min(RECORDS);
        append(&mut million, seq, last)?;
        seq = last + 1;
    }
    million.rest();
    drop(million);
    let verified = (0..VERIFY_RUNS).map(|_| check(&journal)).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![
        record,
        Row::new("audit", "verify of 1,000,000 records", "ms", verified).at_most(VERIFY_MAX_MS),
    ])
}

fn open(dir: &TempDir, journal: &Path, signs: bool) -> Result<FileJournal, Failure> {
    let owner = OwnerId("bench".to_owned());
    let first = Stamped { seq: 1, at: Timestamp(1), entry: Entry::Owner { owner: owner.clone() } };
    let said = |error: reconciler::ports::StoreError| error.to_string();
    let mut opened = FileJournal::begin(journal, &[first]).map_err(said)?;
    opened.keep(Retention { segments: None, bytes: None, age_ms: None });
    if signs {
        let (key, _) = AuditKey::load_or_make(&dir.path().join("audit.key")).map_err(said)?;
        opened.attest(key, owner).map_err(said)?;
    }
    Ok(opened)
}

/// Records as they are mostly: an intent.
fn entry(seq: u64) -> Result<Stamped, Failure> {
    let ordinal = u32::try_from(seq % 10).map_err(|error| error.to_string())?;
    let key = "shop/web".parse().map_err(|_| "no key".to_owned())?;
    let object = ObjectId::Replica(ReplicaKey::new(key, ordinal));
    let deed = Deed::Start { restart: false, in_a_row: false, earlier: false };
    let cause = "it is declared".to_owned();
    let from = Some("shop/web.yaml:1".into());
    let entry = Entry::Intent { object, node: Name::local_node(), deed, cause, from };
    let at = i64::try_from(seq).map_err(|error| error.to_string())?;
    Ok(Stamped { seq, at: Timestamp(at), entry })
}

fn append(journal: &mut FileJournal, first: u64, last: u64) -> Result<f64, Failure> {
    let entries = (first..=last).map(entry).collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now();
    journal.append(&entries).map_err(|error| error.to_string())?;
    Ok(ms(began.elapsed()))
}

/// What one record takes beside its sync: the difference between an append of many records and one
/// of a single record, in turns, shared among them. Signatures are in it.
fn cost(journal: &mut FileJournal) -> Result<Row, Failure> {
    let mut samples = Vec::new();
    for _ in 0..RECORD_RUNS {
        let next = journal.last_seq() + 1;
        let one = append(journal, next, next)?;
        let many = append(journal, next + 1, next + MANY)?;
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        let each = (many - one).max(0.0) * 1000.0 / (MANY - 1) as f64;
        samples.push(each);
    }
    Ok(Row::new("audit", "one record beside its fsync", "µs", samples).at_most(RECORD_MAX_US))
}

fn check(journal: &Path) -> Result<f64, Failure> {
    let asked = Asked {
        journal: journal.to_owned(),
        checkpoint: None,
        pubkey: None,
        clock_tolerated_ms: CLOCK_BACK_TOLERATED_MS,
    };
    let began = Instant::now();
    let verified = verify::run(&asked).map_err(|error| error.to_string())?;
    let took = ms(began.elapsed());
    match (verified.verdict, verified.last) {
        (Verdict::Whole, RECORDS) => Ok(took),
        _ => Err(format!("it is not whole: {verified:?}")),
    }
}
