//! What is known of images from outside of the declarations: nobody in here can look it up.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::NativeCallContext;
use serde::{Deserialize, Serialize};

use super::script::fault::mistyped;
use super::script::run::Run;
use super::view::Record;
use super::view::image::ImageParts;
use super::view::table::{table, texts};
use crate::model::ids::{Digest, Key};
use crate::model::spec::Verify;
use crate::model::time::Timestamp;
use crate::policy::script::language::words::Words;

/// Facts about images. What is not there is not known, which is neither yes nor no: a script that
/// goes on as if it were known errs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// By `sha256:…` of the image.
    pub images: BTreeMap<String, ImageFacts>,
    /// By declared Images, since each of them trusts keys of its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub declared: BTreeMap<Key, Signed>,
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
    /// The same keys by what they are: `sha256:…` of the public key in DER. A name is for whoever
    /// declares an Image to choose, and this is not.
    pub fingerprints: Option<Vec<String>>,
}

/// A question to whoever can look: which of the keys that an Image trusts signed its content?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoSigned {
    /// The Image.
    pub image: Key,
    /// The digest of its declaration: an answer counts for that one only.
    pub declared: Digest,
    /// Where it comes from; `None` if from a file.
    pub reference: Option<Arc<str>>,
    /// The digest of its content, `sha256:…`.
    pub digest: String,
    /// The keys, and where signatures are.
    pub verify: Verify,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The digest of the content that was signed, `sha256:…`.
    pub digest: String,
    /// The names of the keys; empty if none of them signed it.
    pub signers: Vec<String>,
    /// Their fingerprints, in the same order.
    pub fingerprints: Vec<String>,
}

impl Facts {
    /// What is known of an image.
    fn of(&self, parts: &ImageParts) -> ImageFacts {
        let Some(digest) = parts.digest() else { return ImageFacts::default() };
        let mut facts = self.images.get(digest).cloned().unwrap_or_default();
        let declared = parts.declared_as().and_then(|name| name.parse::<Key>().ok());
        let signed = declared.and_then(|key| self.declared.get(&key));
        if let Some(signed) = signed.filter(|signed| signed.digest == digest) {
            facts.signers = Some(signed.signers.clone());
            facts.fingerprints = Some(signed.fingerprints.clone());
        }
        facts
    }
}

fn maybe_texts(items: Option<&Vec<String>>) -> Option<Vec<Cow<'_, str>>> {
    items.and_then(texts)
}

table! {
    /// Facts about an image.
    IMAGE_FACTS = "facts": ImageFacts {
        "created": Time |facts| facts.created;
        "signers": Texts |facts| maybe_texts(facts.signers.as_ref());
        "fingerprints": Texts |facts| maybe_texts(facts.fingerprints.as_ref());
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
        let facts = Arc::new(run.around().facts.of(parts));
        Ok(Record::plain(facts, format!("facts of {}", parts.shown()), &IMAGE_FACTS))
    });
}
