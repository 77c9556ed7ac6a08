//! Which fields the decoder asks for, in tests: what it reads is compared with what is documented.

use std::cell::RefCell;
use std::collections::BTreeSet;

/// The fields of a document that were asked for, each by its way: `spec.ports[0].host`.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Fields that may be there.
    pub(crate) asked: BTreeSet<String>,
    /// Those of them that must be there.
    pub(crate) required: BTreeSet<String>,
    /// Fields that are known, and are not built.
    pub(crate) unbuilt: BTreeSet<String>,
}

thread_local! {
    static RECORD: RefCell<Record> = RefCell::default();
}

/// What this thread has asked for since it was last taken.
pub(crate) fn take() -> Record {
    RECORD.take()
}

/// The way to a mapping.
#[derive(Debug)]
pub(crate) struct Mapping(String);

impl Mapping {
    /// As messages name it, by its field and its path: messages leave `spec` out.
    pub(crate) fn new(field: &str, path: &str) -> Self {
        Self(match (field, path) {
            ("document", "") => String::new(),
            ("metadata", path) => path.to_owned(),
            (_, path) => format!("spec.{path}"),
        })
    }

    pub(crate) fn asked(&self, name: &str) {
        RECORD.with_borrow_mut(|record| record.asked.insert(format!("{}{name}", self.0)));
    }

    pub(crate) fn required(&self, name: &str) {
        RECORD.with_borrow_mut(|record| record.required.insert(format!("{}{name}", self.0)));
    }

    pub(crate) fn unbuilt(&self, names: &[&str]) {
        RECORD.with_borrow_mut(|record| {
            record.unbuilt.extend(names.iter().map(|name| format!("{}{name}", self.0)));
        });
    }
}
