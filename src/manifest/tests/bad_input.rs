//! The cases of `tests/bad-input`: each is a file or a folder, with what is to be said about it.
//!
//! `UPDATE_EXPECT=1` writes what is said now; look at the difference before you commit it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::super::{Loader, Style, render, summary};
use crate::hint::Hint;

#[test]
fn every_bad_input_has_its_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-input");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut cases: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_none_or(|extension| extension != "expected"));
    cases.sort();
    assert!(cases.len() >= 45, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let reading = Loader::new(case.clone(), BTreeMap::new()).read(&Hint::All);
        let shown = render(&reading.diagnostics, Style::default());
        let said = format!("{shown}\n{}\n", summary(&reading.specs, case));
        let said = said.replace(&format!("{}/", folder.display()), "");
        assert!(!reading.diagnostics.is_empty(), "{}: no error", case.display());
        let expected = case.with_extension("expected");
        if update {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_EXPECT=1 rewrites these:\n{}", wrong.join("\n"));
}
