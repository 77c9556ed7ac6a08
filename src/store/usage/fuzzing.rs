//! Values of what was used, from bytes that may be anything.

use std::collections::BTreeMap;

use reconciler::usage::Series;

use super::code::{Reader, Writer, read_marks, write_marks};

/// Reads a bucket; what is read is written as it was, if all of it is.
pub(in super::super) fn block(bytes: &[u8]) {
    let Ok(mut reader) = Reader::new(bytes) else { return };
    let mut writer = Writer::new();
    while let Ok(Some((series, amounts))) = reader.amounts() {
        writer.amounts(series, &amounts);
    }
    let written = writer.bytes();
    let mut again = Reader::new(&written).expect("as written");
    while again.amounts().expect("as written").is_some() {}
}

/// Reads the last samples.
pub(in super::super) fn marks(bytes: &[u8], names: &BTreeMap<u32, Series>) {
    if let Ok(marks) = read_marks(bytes, names) {
        let written = write_marks(&marks, |_| 0);
        let again = read_marks(&written, names).expect("as written");
        assert_eq!(again, marks, "what is written is what is read");
    }
}
