//! Exports are checked on their own, hold no secret, and are not to be tampered with either.

use std::fs;
use std::path::PathBuf;

use reconciler::model::ids::OwnerId;
use reconciler::model::journal::Entry;
use reconciler::ports::Journal as _;
use tempfile::TempDir;

use super::tamper_tests::Lab;
use super::{Asked, Verdict, What, run};
use crate::journal::{FileJournal, export};
use crate::state::samples::{small, stamp};

/// A log with a secret in the text of a spec, exported.
fn exported(dir: &TempDir, mask: bool) -> (Lab, PathBuf) {
    let lab = Lab::new("us");
    let mut journal = FileJournal::open(&lab.journal(), 0, &mut |_| {}).unwrap().0;
    journal.attest(lab.key(), OwnerId("us".to_owned())).unwrap();
    let text = Some("env: { TOKEN: s3cret }".into());
    journal.append(&stamp(13, vec![Entry::Text { file: "web.yaml".into(), text }])).unwrap();
    journal.append(&[small(14)]).unwrap();
    let mut out = Vec::new();
    let done = export::write(&lab.journal(), &lab.key(), None, mask, &mut out).unwrap();
    assert_eq!((done.first, done.last, done.withheld), (1, 14, if mask { 2 } else { 0 }));
    let path = dir.path().join("log.export");
    fs::write(&path, out).unwrap();
    (lab, path)
}

#[test]
fn an_export_is_checked_on_its_own_and_holds_no_secret() {
    let dir = TempDir::new().unwrap();
    let (lab, path) = exported(&dir, true);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("s3cret"));
    assert!(text.contains(r#"{"withheld":["entry.text.text"],"seq":13"#), "{text}");
    let asked = Asked { journal: path, ..lab.asked() };
    let verified = run(&asked).unwrap();
    assert_eq!(verified.verdict, Verdict::Whole, "{verified:?}");
    assert_eq!((verified.last, verified.withheld, verified.signed_to), (14, 2, 14));
    let with_key = run(&Asked { journal: asked.journal, ..lab.keep_elsewhere() }).unwrap();
    assert_eq!(with_key.verdict, Verdict::Whole, "{with_key:?}");

    let (lab, path) = exported(&dir, false);
    assert!(fs::read_to_string(&path).unwrap().contains("s3cret"));
    assert_eq!(run(&Asked { journal: path, ..lab.asked() }).unwrap().verdict, Verdict::Whole);
}

#[test]
fn two_equal_secrets_do_not_look_alike() {
    let dir = TempDir::new().unwrap();
    let digest = |mask: bool| {
        let (_, path) = exported(&dir, mask);
        let text = fs::read_to_string(path).unwrap();
        let line = text.lines().find(|line| line.contains("\"seq\":13")).unwrap().to_owned();
        line.split("\"prev\"").nth(1).unwrap().to_owned()
    };
    assert_ne!(digest(true), digest(true));
}

#[test]
fn an_export_is_not_to_be_tampered_with() {
    let dir = TempDir::new().unwrap();
    let (lab, path) = exported(&dir, true);
    let good: Vec<String> =
        fs::read_to_string(&path).unwrap().split_inclusive('\n').map(str::to_owned).collect();
    let line_of = |seq: u64| {
        good.iter().position(|line| line.contains(&format!("\"seq\":{seq},\"at\":1763"))).unwrap()
    };
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = good.clone();
        change(&mut lines);
        fs::write(&path, lines.concat()).unwrap();
        let verified = run(&Asked { journal: path.clone(), ..lab.asked() }).unwrap();
        assert_eq!(verified.verdict, Verdict::NotWhole, "{verified:?}");
        (verified.findings[0].what, verified.findings[0].seq)
    };
    let edited = changed(&|lines| {
        let at = line_of(13);
        lines[at] = lines[at].replace("web.yaml", "app.yaml");
    });
    assert_eq!(edited, (What::Edited, 13));
    assert_eq!(changed(&|lines| drop(lines.remove(line_of(9)))), (What::Deleted, 9));
    let cut = changed(&|lines| lines.truncate(lines.len() - 1));
    assert_eq!(cut, (What::Truncated, 15));
    let cut = changed(&|lines| {
        let last = lines.pop().unwrap();
        lines.truncate(line_of(14));
        lines.push(last);
    });
    assert_eq!(cut, (What::Truncated, 14));
}

#[test]
fn an_export_of_late_times_begins_with_their_segment() {
    let lab = Lab::new("us");
    let mut out = Vec::new();
    let late = Some(small(9).at.0);
    let done = export::write(&lab.journal(), &lab.key(), late, true, &mut out).unwrap();
    assert_eq!((done.first, done.last), (7, 12));
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("late");
    fs::write(&path, out).unwrap();
    let verified = run(&Asked { journal: path, ..lab.asked() }).unwrap();
    assert_eq!((verified.verdict, verified.first), (Verdict::Whole, 7), "{verified:?}");
}
