//! What is known of images from outside of the declarations: nobody in here can look it up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;

/// Facts about images, by their digests. What is not there is not known, which is neither yes nor
/// no: a script that goes on as if it were known errs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// By `sha256:…` of the image.
    pub images: BTreeMap<String, ImageFacts>,
}

/// What is known of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageFacts {
    /// When it was built, as it says itself.
    pub created: Option<Timestamp>,
    /// The names of the keys by which it was found to be signed: empty if somebody looked and found
    /// none.
    pub signers: Option<Vec<String>>,
}
