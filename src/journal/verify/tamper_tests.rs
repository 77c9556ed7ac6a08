//! Each way to tamper with a log, done to one that the journal itself wrote. The finding names the
//! first bad record.

use std::fs;
use std::path::{Path, PathBuf};

use reconciler::model::ids::OwnerId;
use reconciler::model::journal::{Entry, Stamped};
use reconciler::model::time::Timestamp;
use reconciler::ports::Journal as _;
use tempfile::TempDir;

use super::{Asked, CLOCK_BACK_TOLERATED_MS, Verdict, Verified, What, run};
use crate::journal::key::unhex;
use crate::journal::line::{self, Header, Line, Sum};
use crate::journal::{
    ATTEST_AFTER_ENTRIES, AuditKey, CHECKPOINTS_FILE, FileJournal, Retention, export, scan,
};
use crate::state::samples::{checkpoint, fold, small, stamp};

/// A state directory with a log in two segments: entries 1 to 6, and 7 to 12.
pub(super) struct Lab {
    dir: TempDir,
}

pub(super) fn owner_entry(name: &str) -> Entry {
    Entry::Owner { owner: OwnerId(name.to_owned()) }
}

impl Lab {
    pub(super) fn new(owner: &str) -> Self {
        let lab = Self { dir: TempDir::new().unwrap() };
        let mut journal = lab.open(owner);
        let mut row = stamp(1, vec![owner_entry(owner)]);
        row.extend((2..=6).map(small));
        journal.append(&row[..1]).unwrap();
        journal.attest(lab.key(), OwnerId(owner.to_owned())).unwrap();
        journal.append(&row[1..4]).unwrap();
        journal.append(&row[4..]).unwrap();
        journal.append(&[checkpoint(7, &fold(&row)), small(8)]).unwrap();
        for seq in 9..=12 {
            journal.append(&[small(seq)]).unwrap();
        }
        journal.rest();
        assert_eq!(lab.verify().verdict, Verdict::Whole, "{:?}", lab.verify());
        lab
    }

    /// The journal without a signer, as somebody without the key has it.
    fn open(&self, _owner: &str) -> FileJournal {
        FileJournal::open(&self.journal(), 0, &mut |_| {}).unwrap().0
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    pub(super) fn key(&self) -> AuditKey {
        AuditKey::load_or_make(&self.dir.path().join("audit.key")).unwrap().0
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            journal: self.journal(),
            checkpoint: None,
            pubkey: None,
            clock_tolerated_ms: CLOCK_BACK_TOLERATED_MS,
        }
    }

    fn verify(&self) -> Verified {
        run(&self.asked()).unwrap()
    }

    fn segment(&self, number: usize) -> PathBuf {
        scan::segments(&self.journal()).unwrap()[number].path.clone()
    }

    fn statements(&self) -> PathBuf {
        self.journal().join(CHECKPOINTS_FILE)
    }

    /// A checkpoint of the log as it is now, kept elsewhere, and the public key.
    pub(super) fn keep_elsewhere(&self) -> Asked {
        let (_, line) = export::checkpoint(&self.journal(), &self.key()).unwrap();
        let (checkpoint, pubkey) = (self.dir.path().join("kept"), self.dir.path().join("pub"));
        fs::write(&checkpoint, line).unwrap();
        fs::write(&pubkey, self.key().public().to_pem()).unwrap();
        Asked { checkpoint: Some(checkpoint), pubkey: Some(pubkey), ..self.asked() }
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().split_inclusive('\n').map(str::to_owned).collect()
}

/// The first bad record: what, which entry, in which line of which segment.
fn found(verified: &Verified) -> (What, u64, u64, String) {
    assert_eq!(verified.verdict, Verdict::NotWhole, "{verified:?}");
    let finding = verified.findings.first().expect("a finding");
    let file = finding.file.file_name().unwrap().to_string_lossy().into_owned();
    (finding.what, finding.seq, finding.line, file)
}

fn expect(verified: &Verified, what: What, seq: u64, line: u64, file: &str) {
    assert_eq!(found(verified), (what, seq, line, file.to_owned()), "{verified:?}");
}

const FIRST: &str = "0000000000000001.jsonl";
const SECOND: &str = "0000000000000007.jsonl";

/// Writes the chain anew from a line of a segment on, as it would be had it been written so: all that
/// can be done without the key.
fn rehash(journal: &Path, changed: u64) {
    let mut last: Option<Sum> = None;
    for segment in scan::segments(journal).unwrap() {
        let mut out = Vec::new();
        for (number, text) in lines(&segment.path).iter().enumerate() {
            if number == 0 {
                let (header, prev, _) = Header::read(text.as_bytes()).unwrap();
                last = Some(line::write_header(&mut out, header.first, last.unwrap_or(prev)));
                continue;
            }
            let Line { seq, at, durable, entry, .. } = Line::read(text.as_bytes()).unwrap();
            let mut entry: Entry = serde_json::from_slice(entry).unwrap();
            if seq == changed {
                entry = Entry::Settled { managed: 999 };
            }
            let stamped = Stamped { seq, at: Timestamp(at), entry };
            let salt = text.split("\"salt\":\"").nth(1).map(|rest| &rest.as_bytes()[..32]);
            let salt = salt.map(|digits| unhex(digits).unwrap().try_into().unwrap());
            last = Some(line::write(&mut out, &stamped, durable, last.unwrap(), salt).unwrap());
        }
        fs::write(&segment.path, out).unwrap();
    }
}

#[test]
fn an_edit_is_named() {
    let lab = Lab::new("us");
    let path = lab.segment(0);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"managed\":4", "\"managed\":5", 1)).unwrap();
    expect(&lab.verify(), What::Edited, 4, 5, FIRST);
    // The newest record, too: nobody can say that it was never acknowledged.
    let lab = Lab::new("us");
    let path = lab.segment(1);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"managed\":12", "\"managed\":13", 1)).unwrap();
    expect(&lab.verify(), What::Edited, 12, 7, SECOND);
    // And a header.
    fs::write(&path, text.replacen("\"first\":7", "\"first\":8", 1)).unwrap();
    expect(&lab.verify(), What::Edited, 7, 1, SECOND);
}

#[test]
fn a_deletion_in_the_middle_is_named() {
    let lab = Lab::new("us");
    let path = lab.segment(0);
    let mut text = lines(&path);
    text.drain(3..5);
    fs::write(&path, text.concat()).unwrap();
    let verified = lab.verify();
    expect(&verified, What::Deleted, 3, 4, FIRST);
    assert!(verified.findings[0].message.contains("entries 3 to 4 are missing"));

    // The end of a segment in the middle, and a whole one.
    let lab = Lab::new("us");
    let path = lab.segment(0);
    let text = lines(&path);
    fs::write(&path, text[..6].concat()).unwrap();
    expect(&lab.verify(), What::Deleted, 6, 1, SECOND);
}

#[test]
fn the_oldest_segment_does_not_go_unseen() {
    let lab = Lab::new("us");
    fs::remove_file(lab.segment(0)).unwrap();
    let verified = lab.verify();
    assert_eq!((found(&verified).0, found(&verified).1), (What::Beheaded, 1));
}

#[test]
fn retention_is_signed_and_no_loss() {
    let lab = Lab::new("us");
    let asked = lab.keep_elsewhere();
    let mut journal = lab.open("us");
    journal.attest(lab.key(), OwnerId("us".to_owned())).unwrap();
    journal.keep(Retention { segments: Some(2), bytes: None, age_ms: None });
    journal.append(&[checkpoint(13, &Default::default())]).unwrap();
    journal.rest();
    let verified = lab.verify();
    assert_eq!((verified.verdict, verified.first, verified.last), (Verdict::Whole, 7, 13));
    assert_eq!(run(&asked).unwrap().verdict, Verdict::Whole);
    // A checkpoint of entries that are not kept any more says nothing.
    journal
        .append(&[checkpoint(14, &Default::default()), checkpoint(15, &Default::default())])
        .unwrap();
    let verified = run(&asked).unwrap();
    assert_eq!(verified.verdict, Verdict::Unchecked, "{verified:?}");
}

#[test]
fn a_reorder_is_named() {
    let lab = Lab::new("us");
    let path = lab.segment(0);
    let mut text = lines(&path);
    text.swap(3, 4);
    fs::write(&path, text.concat()).unwrap();
    expect(&lab.verify(), What::Reordered, 4, 4, FIRST);
}

#[test]
fn a_duplicate_is_named() {
    let lab = Lab::new("us");
    let path = lab.segment(0);
    let mut text = lines(&path);
    text.insert(5, text[3].clone());
    fs::write(&path, text.concat()).unwrap();
    expect(&lab.verify(), What::Duplicated, 3, 6, FIRST);
}

#[test]
fn a_cut_of_the_tail_is_named_by_its_own_checkpoint_and_by_one_kept_elsewhere() {
    let lab = Lab::new("us");
    let asked = lab.keep_elsewhere();
    let path = lab.segment(1);
    let text = lines(&path);
    fs::write(&path, text[..5].concat()).unwrap();
    expect(&lab.verify(), What::Truncated, 11, 6, SECOND);
    // Its own checkpoints are cut as well: now it looks as it once was.
    let stated = lines(&lab.statements());
    fs::write(lab.statements(), stated[..stated.len() - 1].concat()).unwrap();
    assert_eq!(lab.verify().verdict, Verdict::Whole);
    expect(&run(&asked).unwrap(), What::Truncated, 11, 6, SECOND);
}

#[test]
fn a_chain_that_is_written_anew_without_the_key_is_named() {
    let lab = Lab::new("us");
    let asked = lab.keep_elsewhere();
    let stated = lines(&lab.statements());
    rehash(&lab.journal(), 10);
    let verified = lab.verify();
    assert_eq!((found(&verified).0, found(&verified).1), (What::Rewritten, 9), "{verified:?}");

    // Without checkpoints nothing vouches for it.
    fs::remove_file(lab.statements()).unwrap();
    assert_eq!(found(&lab.verify()).0, What::Unsigned);
    let verified = run(&asked).unwrap();
    assert_eq!(found(&verified).0, What::Rewritten, "{verified:?}");

    // A checkpoint that was changed to fit is not signed.
    let sum = scan::sum_at(&lab.journal(), 12).unwrap();
    let crate::journal::attest::Found::Sum(sum) = sum else { panic!("entry 12 is there") };
    let mut last = stated.last().unwrap().clone();
    let at = last.find("\"sum\":\"").unwrap() + 7;
    last.replace_range(at..at + 64, &sum.to_string());
    fs::write(lab.statements(), last).unwrap();
    assert_eq!(found(&lab.verify()).0, What::Forged);

    // Nor does a key of one's own help.
    fs::remove_file(lab.statements()).unwrap();
    let other = AuditKey::load_or_make(&lab.dir.path().join("other")).unwrap().0;
    let mut journal = lab.open("us");
    journal.attest(other, OwnerId("us".to_owned())).unwrap();
    assert_eq!(found(&lab.verify()).0, What::OtherKey);
    fs::rename(lab.dir.path().join("other"), lab.dir.path().join("audit.key")).unwrap();
    assert_eq!(lab.verify().verdict, Verdict::Whole, "who has all files has all files");
    assert_eq!(found(&run(&Asked { checkpoint: None, ..asked }).unwrap()).0, What::OtherKey);
}

#[test]
fn a_splice_from_another_log_is_named() {
    let (lab, other) = (Lab::new("us"), Lab::new("them"));
    let path = lab.segment(0);
    let mut text = lines(&path);
    // In the place of ours, with the same number.
    text[4] = lines(&other.segment(0))[4].clone();
    fs::write(&path, text.concat()).unwrap();
    expect(&lab.verify(), What::Spliced, 4, 5, FIRST);
    // Between ours.
    let lab = Lab::new("us");
    let mut text = lines(&lab.segment(0));
    text.insert(3, lines(&other.segment(0))[6].clone());
    fs::write(lab.segment(0), text.concat()).unwrap();
    expect(&lab.verify(), What::Spliced, 6, 4, FIRST);
    // A whole segment.
    let lab = Lab::new("us");
    fs::copy(other.segment(1), lab.segment(1)).unwrap();
    expect(&lab.verify(), What::Spliced, 7, 1, SECOND);
    // A whole log, whole as it is: only what was kept elsewhere tells.
    let lab = Lab::new("us");
    let asked = Asked { journal: other.journal(), ..lab.keep_elsewhere() };
    assert_eq!(found(&run(&asked).unwrap()).0, What::OtherKey);
    let both = lab.dir.path().join("both");
    let keys = [lab.key().public().to_pem(), other.key().public().to_pem()].concat();
    fs::write(&both, keys).unwrap();
    let verified = run(&Asked { pubkey: Some(both), ..asked }).unwrap();
    assert_eq!(found(&verified).0, What::OtherOwner, "{verified:?}");
}

#[test]
fn a_clock_that_was_set_back_has_its_own_word() {
    let log = |back_ms: i64| {
        let lab = Lab::new("us");
        let mut journal = lab.open("us");
        journal.attest(lab.key(), OwnerId("us".to_owned())).unwrap();
        let mut late = small(13);
        late.at = Timestamp(small(12).at.0 - back_ms);
        journal.append(&[late]).unwrap();
        journal.rest();
        lab
    };
    let lab = log(3_600_000);
    let verified = lab.verify();
    expect(&verified, What::ClockSetBack, 13, 8, SECOND);
    assert!(verified.findings[0].message.contains("3600000 ms"));
    let tolerant = Asked { clock_tolerated_ms: 4_000_000, ..lab.asked() };
    assert_eq!(run(&tolerant).unwrap().verdict, Verdict::Whole);
    let verified = log(5_000).verify();
    assert_eq!(verified.verdict, Verdict::Whole);
    assert!(verified.notes.iter().any(|note| note.contains("set back before entry 13")));
}

#[test]
fn an_unfinished_write_is_no_damage_and_is_told() {
    let lab = Lab::new("us");
    let path = lab.segment(1);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{{\"seq\":13,\"at\"")).unwrap();
    let verified = lab.verify();
    assert_eq!(verified.verdict, Verdict::Whole, "{verified:?}");
    assert!(verified.notes.iter().any(|note| note.contains("never acknowledged")));
}

#[test]
fn what_should_be_signed_and_is_not_is_named() {
    let lab = Lab::new("us");
    let mut journal = lab.open("us");
    let count = ATTEST_AFTER_ENTRIES + 14;
    // Written by somebody who cannot sign.
    for seq in 13..=count {
        journal.append(&[small(seq)]).unwrap();
    }
    let verified = lab.verify();
    assert_eq!((found(&verified).0, found(&verified).1), (What::Unsigned, 13), "{verified:?}");
    // The journal itself does in time.
    let lab = Lab::new("us");
    let mut journal = lab.open("us");
    journal.attest(lab.key(), OwnerId("us".to_owned())).unwrap();
    for seq in 13..=count {
        journal.append(&[small(seq)]).unwrap();
    }
    let verified = lab.verify();
    assert_eq!(verified.verdict, Verdict::Whole, "{verified:?}");
    assert!(verified.signed_to > 13);
}

#[test]
fn a_start_refuses_a_log_that_was_shortened_or_written_anew() {
    let lab = Lab::new("us");
    let path = lab.segment(1);
    let text = lines(&path);
    fs::write(&path, text[..5].concat()).unwrap();
    let attest = |lab: &Lab| {
        lab.open("us").attest(lab.key(), OwnerId("us".to_owned())).unwrap_err().to_string()
    };
    assert!(attest(&lab).contains("its end is lost"));
    let lab = Lab::new("us");
    rehash(&lab.journal(), 9);
    assert!(attest(&lab).contains("not the one that was signed"));
}

#[test]
fn a_log_of_version_1_is_in_order_and_unsigned() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-store/v1/journal");
    let lab = Lab::new("us");
    let verified = run(&Asked { journal: golden, ..lab.asked() }).unwrap();
    assert_eq!(verified.verdict, Verdict::Unchecked, "{verified:?}");
    assert!(verified.last > 30 && verified.findings.is_empty());
}
