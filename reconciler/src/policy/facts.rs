//! What is known of images from outside of the declarations: nobody in here can look it up.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::NativeCallContext;
use serde::{Deserialize, Serialize};

use super::script::fault::mistyped;
use super::script::run::Run;
use super::view::Record;
use super::view::image::ImageParts;
use super::view::table::{table, texts};
use crate::model::time::Timestamp;
use crate::policy::script::language::words::Words;

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

table! {
    /// Facts about an image.
    IMAGE_FACTS = "facts": ImageFacts {
        "created": Time |facts| facts.created;
        "signers": Texts |facts| facts.signers.as_ref().and_then(texts);
    }
}

/// Adds `facts(image)` to the language: what is known of an image from outside.
pub(crate) fn register(module: &mut Words) {
    module.set_native_fn("facts", |context: NativeCallContext<'_>, image: Record| {
        let Some(parts) = image.root::<ImageParts>() else {
            return mistyped("there are facts about images, such as `facts(o.image)`");
        };
        let run = Run::of(&context)?;
        run.say(|said| said.asked_for_facts = true);
        let facts = parts.digest().and_then(|digest| run.around().facts.images.get(digest));
        let facts = Arc::new(facts.cloned().unwrap_or_default());
        Ok(Record::plain(facts, format!("facts of {}", parts.shown()), &IMAGE_FACTS))
    });
}
