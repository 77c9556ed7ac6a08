//! Archives as `docker save` writes them: which image, and whether all of it is there.

use std::collections::{BTreeMap, BTreeSet};

use reconciler::model::ids::hex;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Fault;
use super::entries::{Archive, Catalogue};

/// One image in `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The id of the one image of an archive that is whole.
pub(super) fn examine(
    archive: &mut Archive,
    catalogue: &Catalogue,
    manifest: &[u8],
) -> Result<String, Fault> {
    let images: Vec<Saved> = serde_json::from_slice(manifest).map_err(|error| {
        Fault(format!(
            "its manifest.json cannot be read (line {}, column {}); save the image anew",
            error.line(),
            error.column()
        ))
    })?;
    let mut by_config = BTreeMap::new();
    for Saved { config, repo_tags, layers } in images {
        let (tags, needed) = by_config.entry(config).or_insert_with(|| (Vec::new(), Vec::new()));
        tags.extend(repo_tags.unwrap_or_default());
        needed.extend(layers.unwrap_or_default());
    }
    if by_config.len() > 1 {
        let names = by_config.iter().map(|(config, (tags, _))| match tags.as_slice() {
            [] => config.trim_end_matches(".json").to_owned(),
            tags => tags.join(" = "),
        });
        return Err(super::layout::several(names.collect()));
    }
    let Some((config, (_, layers))) = by_config.pop_first() else {
        return Err(Fault("the archive holds no image; save one".to_owned()));
    };
    let needed: BTreeSet<String> = layers.into_iter().chain([config.clone()]).collect();
    archive.verify(catalogue, &needed)?;
    let mut found = archive.fetch(catalogue, &BTreeSet::from([config.clone()]))?;
    let config = found.remove(&config).unwrap_or_default();
    Ok(format!("sha256:{}", hex(&Sha256::digest(&config))))
}
