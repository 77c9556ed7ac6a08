//! The history of an instance, and what was decided or asked for about its revisions.
//!
//! `before` is the revision before the declared one: the same spec, with the image `web:0`.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::ids::{Digest, ImageName, Key, Revision};
use reconciler::model::observed::ObservedImage;
use reconciler::model::record::{ImageRecord, PastRevision};
use reconciler::model::rollout::{
    Back, BackWhy, Kept, Outcome, Paused, RestartAsked, Rollout as Asked,
};
use reconciler::model::snapshot::Snapshot;
use reconciler::model::spec::{Mount, MountSource};
use reconciler::revision::revision;
use reconciler::rollout::overlay;
use serde::Deserialize;

use super::{NOW, image_id, revision_of};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Rollout {
    /// Revisions, oldest first: `before good`, `current underWay`. What is good was kept, unless
    /// `forgotten` stands behind it.
    history: Vec<String>,
    /// `failed` or `undone`, back to revision 1.
    back: Option<String>,
    /// No node holds the image of the revision before.
    image_gone: bool,
    /// What was kept has a volume that is no longer declared.
    volume_gone: bool,
    /// The specs ask for something else since.
    asked_otherwise: bool,
    paused: bool,
    /// Incarnations that an operator asked to be replaced, by ordinal.
    restart: BTreeMap<u32, u64>,
}

const BEFORE: &str = "web:0";

fn image_before() -> ImageName {
    ImageName::Reference(Arc::from(BEFORE))
}

/// The revision before the declared one.
pub(super) fn before(snapshot: &Snapshot, key: &Key) -> Revision {
    let declared = &snapshot.desired.instances[key];
    revision(&declared.basis, &image_id(&image_before()).0)
}

pub(super) fn add(snapshot: &mut Snapshot, key: &Key, of: &Rollout) -> Result<(), String> {
    let declared = snapshot.desired.instances[key].clone();
    let id = image_id(&image_before());
    for (number, line) in (1..).zip(&of.history) {
        let mut words = line.split(' ');
        let (word, outcome) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (at, why) = (NOW, "it never got well".to_owned());
        let outcome = match outcome {
            "underWay" => Outcome::UnderWay,
            "good" => Outcome::Good,
            "failed" => Outcome::Failed { at, why },
            "setAside" => Outcome::SetAside { at, why },
            "unknown" => Outcome::Unknown,
            other => return Err(format!("{other} is no outcome")),
        };
        let (revision, image) = match word {
            "before" => (before(snapshot, key), image_before()),
            word => (revision_of(snapshot, key, word), declared.spec.image.clone()),
        };
        let mut spec = (*declared.spec).clone();
        spec.image = image.clone();
        if of.volume_gone {
            let source = MountSource::Volume("shop/gone".parse().unwrap());
            let (target, read_only, shared) = ("/data".to_owned(), false, false);
            spec.volumes.push(Mount { source, target, read_only, shared });
        }
        if words.next() != Some("forgotten") {
            let text = Arc::from(serde_json::to_string(&spec).unwrap());
            let kept = Kept { text, content: Arc::clone(&image_id(&image).0), pinned: None };
            snapshot.records.kept.entry(key.clone()).or_default().insert(number, kept);
        }
        let record = snapshot.records.instances.entry(key.clone()).or_default();
        record.history.push(PastRevision { number, revision, image, at: NOW, outcome });
    }
    let name = ImageName::Reference(Arc::clone(&id.0));
    let mut ids = BTreeMap::new();
    for (node, seen) in &mut snapshot.nodes {
        ids.insert(node.clone(), id.clone());
        if !of.image_gone {
            seen.images.insert(id.clone(), ObservedImage::default());
        }
    }
    let (source, content) = (Some(Digest::of(id.0.as_bytes())), Some(Arc::clone(&id.0)));
    let record = ImageRecord { source, content, ids, at: NOW, ..ImageRecord::default() };
    snapshot.records.images.insert(name, record);
    let by = || "ops@n1".to_owned();
    let mut asked = overlay::asked(&snapshot.desired, &declared.spec);
    if of.asked_otherwise {
        asked = Digest::of(b"something else");
    }
    let back = of.back.as_ref().map(|why| Back {
        asked,
        away: Some(2),
        to: 1,
        at: NOW,
        why: match why.as_str() {
            "undone" => BackWhy::Undone { by: by() },
            _ => BackWhy::Failed { why: "it never got well".to_owned() },
        },
    });
    let paused = of.paused.then(|| Paused { at: NOW, by: by() });
    let restart = (!of.restart.is_empty()).then(|| RestartAsked {
        at: NOW,
        by: by(),
        before: of.restart.clone(),
    });
    let asked = Asked { back, paused, restart };
    if !asked.is_empty() {
        snapshot.records.rollouts.insert(key.clone(), asked);
    }
    Ok(())
}
