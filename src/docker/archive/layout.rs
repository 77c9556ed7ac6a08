//! OCI image layouts: which image of an index, and where its parts are.

use std::collections::{BTreeMap, BTreeSet};

use reconciler::model::ids::hex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::entries::{Archive, Catalogue, blob_digest, wrong_digest};
use super::{Fault, Platform};

/// Indexes within indexes: builders nest them once, and nobody needs more.
const NESTING_MAX: usize = 4;

/// Images of an index: far more than there are platforms and versions in any real one.
const IMAGES_MAX: usize = 500;

/// Names in an error: it is one line.
const LISTED_MAX: usize = 8;

/// An image of a layout, by the names of its parts in the archive.
#[derive(Debug)]
pub(super) struct Image {
    /// As engines know it: the digest of its configuration.
    pub(super) id: String,
    pub(super) config: String,
    pub(super) layers: Vec<String>,
    pub(super) tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    platform: Option<PlatformSpec>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct PlatformSpec {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(flatten)]
    platform: PlatformSpec,
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// An image that could be meant.
#[derive(Debug, Default)]
struct Candidate {
    platform: Option<PlatformSpec>,
    names: BTreeSet<String>,
}

/// Chooses the image for `platform`, and checks that all of it is there and unchanged.
pub(super) fn examine(
    archive: &mut Archive,
    catalogue: &Catalogue,
    index: &[u8],
    platform: &Platform,
) -> Result<Image, Fault> {
    let mut candidates = candidates(archive, catalogue, index)?;
    let chosen = choose(archive, catalogue, &mut candidates, platform)?;
    let names = candidates.remove(&chosen).map(|found| found.names).unwrap_or_default();

    let manifest: Manifest = json(&chosen, &read(archive, catalogue, &chosen)?)?;
    let config_name = blob(&manifest.config.digest)?;
    let bytes = read(archive, catalogue, &config_name)?;
    let config: Config = json(&config_name, &bytes)?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(Fault(format!(
            "`{chosen}` in it is no image that an engine can run: its configuration tells of {} \
             layers, and it has {}",
            config.rootfs.diff_ids.len(),
            manifest.layers.len()
        )));
    }
    let layers = manifest.layers.iter().map(|layer| blob(&layer.digest));
    let layers: Vec<String> = layers.collect::<Result<_, _>>()?;
    archive.verify(catalogue, &layers.iter().cloned().collect())?;
    let tags = names.into_iter().filter(|name| is_tagged(name)).collect();
    let id = manifest.config.digest;
    Ok(Image { id, config: config_name, layers, tags })
}

/// The fault that nobody can tell which image is meant.
pub(super) fn several(mut names: Vec<String>) -> Fault {
    let count = names.len();
    names.truncate(LISTED_MAX);
    let more = if count > names.len() { ", …" } else { "" };
    Fault(format!(
        "the archive must hold one image, and this one holds {count}: {}{more}; save the one that \
         is meant into an archive of its own",
        names.join(", ")
    ))
}

/// The images of an index and of the indexes in it, by the names of their manifests.
fn candidates(
    archive: &mut Archive,
    catalogue: &Catalogue,
    index: &[u8],
) -> Result<BTreeMap<String, Candidate>, Fault> {
    let index: Index = json("index.json", index)?;
    let mut found: BTreeMap<String, Candidate> = BTreeMap::new();
    let mut open: Vec<(Descriptor, BTreeSet<String>)> =
        index.manifests.into_iter().map(|manifest| (manifest, BTreeSet::new())).collect();
    for _ in 0..NESTING_MAX {
        let mut inner = Vec::new();
        for (descriptor, mut names) in std::mem::take(&mut open) {
            names.extend(descriptor.names());
            let name = blob(&descriptor.digest)?;
            if descriptor.is_index() {
                let index: Index = json(&name, &read(archive, catalogue, &name)?)?;
                inner.extend(index.manifests.into_iter().map(|inner| (inner, names.clone())));
            } else if !descriptor.is_attestation() {
                let candidate = found.entry(name).or_default();
                candidate.names.extend(names);
                candidate.platform = candidate.platform.take().or(descriptor.platform);
            }
            if found.len() + inner.len() > IMAGES_MAX {
                return Err(Fault(format!("its index lists more than {IMAGES_MAX} images")));
            }
        }
        if inner.is_empty() {
            return Ok(found);
        }
        open = inner;
    }
    Err(Fault(format!("its indexes are nested more than {NESTING_MAX} times")))
}

/// The name of the manifest of the image that is meant.
fn choose(
    archive: &mut Archive,
    catalogue: &Catalogue,
    candidates: &mut BTreeMap<String, Candidate>,
    platform: &Platform,
) -> Result<String, Fault> {
    if candidates.len() == 1
        && let Some(only) = candidates.keys().next()
    {
        return Ok(only.clone());
    }
    for (name, candidate) in candidates.iter_mut() {
        // Who left the platform out of the index said it in the configuration.
        if candidate.platform.is_none() {
            let manifest: Manifest = json(name, &read(archive, catalogue, name)?)?;
            let config = blob(&manifest.config.digest)?;
            let config: Config = json(&config, &read(archive, catalogue, &config)?)?;
            candidate.platform = Some(config.platform);
        }
    }
    let fit = |candidate: &Candidate| candidate.platform.as_ref()?.fits(platform);
    let best = candidates.values().filter_map(fit).max();
    let mut chosen = candidates.iter().filter(|(_, candidate)| fit(candidate) == best);
    match (best, chosen.next(), chosen.next()) {
        (Some(_), Some((name, _)), None) => Ok(name.clone()),
        (Some(_), _, _) => {
            let fitting = candidates.iter().filter(|(_, candidate)| fit(candidate) == best);
            Err(several(fitting.map(|(name, candidate)| candidate.show(name)).collect()))
        }
        (None, _, _) if candidates.is_empty() => {
            Err(Fault("the archive holds no image; save one".to_owned()))
        }
        (None, _, _) => {
            let shown = candidates.values().filter_map(|candidate| candidate.platform.as_ref());
            let shown: BTreeSet<String> = shown.map(PlatformSpec::show).collect();
            let shown: Vec<String> = shown.into_iter().take(LISTED_MAX).collect();
            let Platform { os, architecture, variant: _ } = platform;
            Err(Fault(format!(
                "the archive holds images for {}, and the engine runs {os}/{architecture}; save the \
                 image for that platform",
                shown.join(", ")
            )))
        }
    }
}

impl Descriptor {
    fn is_index(&self) -> bool {
        self.media_type.ends_with(".image.index.v1+json")
            || self.media_type.ends_with(".manifest.list.v2+json")
    }

    /// Builders put notes about images beside them, as images that run nowhere.
    fn is_attestation(&self) -> bool {
        let noted = |annotations: &BTreeMap<String, String>| {
            annotations.contains_key("vnd.docker.reference.type")
        };
        let nowhere = |platform: &PlatformSpec| platform.os == "unknown";
        self.annotations.as_ref().is_some_and(noted) || self.platform.as_ref().is_some_and(nowhere)
    }

    /// What it is called: containerd writes whole references, others mostly the tag alone.
    fn names(&self) -> Option<String> {
        let annotations = self.annotations.as_ref()?;
        let keys = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        keys.iter().find_map(|key| annotations.get(*key)).cloned()
    }
}

impl PlatformSpec {
    /// How well an engine's platform runs it: the newest variant that it knows is best.
    fn fits(&self, engine: &Platform) -> Option<u32> {
        let Platform { os, architecture, variant } = engine;
        if self.os != *os || self.architecture != *architecture {
            return None;
        }
        let Some(text) = self.variant.as_deref().filter(|text| !text.is_empty()) else {
            return Some(0);
        };
        let wanted = text.trim_start_matches('v').parse::<u32>().ok()?;
        (wanted <= *variant).then_some(wanted)
    }

    fn show(&self) -> String {
        let Self { os, architecture, variant } = self;
        match variant.as_deref().filter(|text| !text.is_empty()) {
            Some(variant) => format!("{os}/{architecture}/{variant}"),
            None => format!("{os}/{architecture}"),
        }
    }
}

impl Candidate {
    fn show(&self, manifest: &str) -> String {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let name = match names.as_slice() {
            [] => manifest.trim_start_matches("blobs/").get(..19).unwrap_or(manifest).to_owned(),
            names => names.join(" = "),
        };
        let platform = self.platform.as_ref().map(|platform| format!(" ({})", platform.show()));
        format!("{name}{}", platform.unwrap_or_default())
    }
}

/// The name of a blob in a layout.
fn blob(digest: &str) -> Result<String, Fault> {
    let name = digest.strip_prefix("sha256:").map(|hex| format!("blobs/sha256/{hex}"));
    name.filter(|name| blob_digest(name).is_some()).ok_or_else(|| {
        Fault(format!("it names a blob by `{digest}`, and only sha256 digests are supported"))
    })
}

/// A small blob that is what its name says.
fn read(archive: &mut Archive, catalogue: &Catalogue, name: &str) -> Result<Vec<u8>, Fault> {
    let mut found = archive.fetch(catalogue, &BTreeSet::from([name.to_owned()]))?;
    let bytes = found.remove(name).unwrap_or_default();
    let digest = hex(&Sha256::digest(&bytes));
    if blob_digest(name) == Some(&*digest) { Ok(bytes) } else { Err(wrong_digest(name, &digest)) }
}

fn json<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|error| {
        Fault(format!(
            "`{name}` in it cannot be read (line {}, column {}); save the image anew",
            error.line(),
            error.column()
        ))
    })
}

/// Whether a name is a reference with a tag, in the narrow form that every engine takes. An engine
/// refuses a whole archive for a tag that it cannot read, and an image works without one.
fn is_tagged(name: &str) -> bool {
    let Some((path, tag)) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) else {
        return false;
    };
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let part = |text: &str| {
        text.starts_with(letter)
            && text.ends_with(letter)
            && text.split(letter).all(|joint| matches!(joint, "" | "." | "-" | "_"))
    };
    let (host, rest) = match path.split_once('/') {
        Some((first, rest)) => (first.split_once(':').map_or(first, |(host, _)| host), rest),
        None => (path, path),
    };
    let port = path.split('/').next().and_then(|first| first.split_once(':'));
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    path.len() <= 255
        && part(host)
        && rest.split('/').all(part)
        && port.is_none_or(|(_, port)| path.contains('/') && port.parse::<u16>().is_ok())
        && (1..=128).contains(&tag.len())
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.chars().all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_references_become_tags() {
        for good in ["web:1", "docker.io/library/web:1.4", "127.0.0.1:5000/shop/web:v1_a", "a-b:1"]
        {
            assert!(is_tagged(good), "{good}");
        }
        for bad in
            ["1.0", "web", "host:5000/web", "Web:1", "a//b:1", "web:-1", "web:", ":1", "a b:1"]
        {
            assert!(!is_tagged(bad), "{bad}");
        }
    }

    #[test]
    fn the_newest_variant_that_runs_is_best() {
        let engine = Platform { os: "linux".into(), architecture: "arm".into(), variant: 6 };
        let spec = |variant: Option<&str>| PlatformSpec {
            os: "linux".into(),
            architecture: "arm".into(),
            variant: variant.map(str::to_owned),
        };
        let fits = |variant| spec(variant).fits(&engine);
        assert_eq!([fits(None), fits(Some("v5")), fits(Some("v6"))], [Some(0), Some(5), Some(6)]);
        assert_eq!([fits(Some("v7")), fits(Some("hard"))], [None, None]);
    }
}
