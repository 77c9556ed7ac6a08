//! What is known of images from outside: when they were built, as nodes tell with their lists, and by
//! whom they are signed, which is asked for once for each Image that names keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Effect, Engine};
use crate::model::ids::{Digest, Key};
use crate::model::spec::{ImageSource, ImageSpec};
use crate::model::time::Timestamp;
use crate::policy::facts::{Facts, Signed, WhoSigned};
use crate::policy::view::digest_of_reference;

/// Who could not be asked is asked again after this long: registries come back.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// An image that nobody signed is looked at again after this long: signatures come after images.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is known, and what is being asked.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// By Images that name keys.
    images: BTreeMap<Key, Asked>,
    /// Whether the evaluator has to be told.
    is_new: bool,
}

/// How a question stands.
#[derive(Debug)]
struct Asked {
    /// Of which declaration.
    declared: Digest,
    /// An answer has come, if only that there is none.
    answered: bool,
    signed: Option<Signed>,
    /// When it is asked again.
    again_at: Option<Timestamp>,
}

impl Known {
    /// Whether all questions were answered once.
    pub(super) fn is_answered(&self) -> bool {
        self.images.values().all(|asked| asked.answered)
    }

    /// When the next question is due.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.images.values().filter_map(|asked| asked.again_at).min()
    }

    pub(super) fn clock_was_put_back(&mut self, now: Timestamp) {
        for asked in self.images.values_mut() {
            asked.again_at = asked.again_at.map(|at| at.min(now + LOOK_AGAIN_AFTER));
        }
    }
}

impl Engine {
    /// Asks about Images that are new or changed. Nobody is asked where no policy is bound.
    pub(super) fn ask_who_signed(&mut self) {
        let desired = &self.snapshot.desired;
        let known = &mut self.known;
        let is_bound = !desired.bindings.is_empty();
        let before = known.images.len();
        known.images.retain(|key, asked| {
            let declared = desired.images.get(key);
            is_bound && declared.is_some_and(|declared| declared.digest == asked.declared)
        });
        known.is_new |= known.images.len() != before;
        for (key, declared) in desired.images.iter().filter(|_| is_bound) {
            if known.images.contains_key(key) {
                continue;
            }
            let Some(question) = question(key, &declared.digest, &declared.spec) else { continue };
            let asked = Asked {
                declared: declared.digest.clone(),
                answered: false,
                signed: None,
                again_at: None,
            };
            known.images.insert(key.clone(), asked);
            self.effects.push(Effect::WhoSigned(Arc::new(question)));
        }
    }

    /// Asks again what is due; whether anything was.
    pub(super) fn ask_again_who_signed(&mut self) -> bool {
        let now = self.snapshot.now;
        let mut any = false;
        for (key, asked) in &mut self.known.images {
            if asked.again_at.is_none_or(|at| at > now) {
                continue;
            }
            asked.again_at = None;
            let declared = self.snapshot.desired.images.get(key);
            if let Some(declared) = declared
                && let Some(question) = question(key, &declared.digest, &declared.spec)
            {
                any = true;
                self.effects.push(Effect::WhoSigned(Arc::new(question)));
            }
        }
        any
    }

    /// Takes an answer. One about an earlier declaration says nothing any more; one that failed
    /// leaves what was found before, since content does not change below its digest.
    pub(super) fn told_who_signed(
        &mut self,
        image: &Key,
        declared: &Digest,
        result: Result<Signed, String>,
    ) {
        let now = self.snapshot.now;
        let asked = self.known.images.get_mut(image);
        let Some(asked) = asked.filter(|asked| asked.declared == *declared) else { return };
        let is_first = !std::mem::replace(&mut asked.answered, true);
        let is_new = match result {
            Ok(signed) => {
                asked.again_at = signed.signers.is_empty().then_some(now + LOOK_AGAIN_AFTER);
                let is_new = asked.signed.as_ref() != Some(&signed);
                asked.signed = Some(signed);
                is_new
            }
            Err(_) => {
                asked.again_at = Some(now + ASK_AGAIN_AFTER);
                false
            }
        };
        self.known.is_new |= is_new;
        if is_new || is_first {
            self.want_round();
        } else {
            self.tell_wake();
        }
    }

    /// Images of a node are others now.
    pub(super) fn images_changed(&mut self) {
        self.known.is_new = true;
    }

    /// Tells the evaluator what is known, if that is new.
    pub(super) fn learn(&mut self) -> bool {
        let is_new = std::mem::take(&mut self.known.is_new);
        if is_new {
            self.evaluator.learn(Arc::new(self.facts()));
            self.scans.forget();
        }
        is_new
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        for image in self.snapshot.nodes.values().flat_map(|node| node.images.values()) {
            let Some(created) = image.created else { continue };
            for digest in image.digests.iter().filter_map(|text| digest_of_reference(text)) {
                // Whatever nodes say, the oldest word is the careful one.
                let known = facts.images.entry(digest).or_default();
                known.created = Some(known.created.map_or(created, |other| other.min(created)));
            }
        }
        for (key, asked) in &self.known.images {
            if let Some(signed) = &asked.signed {
                facts.declared.insert(key.clone(), signed.clone());
            }
        }
        facts
    }
}

/// What is to be asked about an Image: nothing if it names no keys, or no digest. A tag may lead
/// elsewhere by the time that it is fetched.
fn question(key: &Key, declared: &Digest, spec: &ImageSpec) -> Option<WhoSigned> {
    let verify = spec.verify.clone()?;
    let (reference, digest) = match &spec.source {
        ImageSource::Registry(reference) => {
            (Some(Arc::clone(reference)), digest_of_reference(reference)?)
        }
        ImageSource::Archive(file) | ImageSource::Rootfs { file, .. } => {
            (None, file.digest.clone())
        }
    };
    Some(WhoSigned { image: key.clone(), declared: declared.clone(), reference, digest, verify })
}
