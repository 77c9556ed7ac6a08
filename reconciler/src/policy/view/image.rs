//! Images, taken apart.

use std::sync::Arc;

use super::table::{maybe, table, text};
use crate::model::ids::{ImageName, Key};
use crate::model::spec::{ImageSource, ImageSpec};

/// The registry of references that name none, as engines have it.
const REGISTRY_USUAL: &str = "docker.io";

/// The tag of references with neither tag nor digest.
const TAG_USUAL: &str = "latest";

/// An image, as far as its name and its declaration tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageParts {
    /// The whole reference, as it is written.
    reference: String,
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    declared: Option<String>,
    source: &'static str,
}

impl ImageParts {
    /// What an instance runs; `spec` is what is declared under that name.
    pub(crate) fn of(name: &ImageName, spec: Option<&Arc<ImageSpec>>) -> Self {
        match name {
            ImageName::Reference(reference) => Self::parse(reference),
            ImageName::Declared(key) => match spec {
                Some(spec) => Self::declared(key, spec),
                // The declaration is missing, which is an error elsewhere; nothing is known of it.
                None => Self { declared: Some(key.to_string()), ..Self::local("unknown", None) },
            },
        }
    }

    fn declared(key: &Key, spec: &ImageSpec) -> Self {
        let image = match &spec.source {
            ImageSource::Registry(reference) => Self::parse(reference),
            ImageSource::Archive(file) => Self::local("archive", Some(file.digest.clone())),
            ImageSource::Rootfs { file, .. } => Self::local("rootfs", Some(file.digest.clone())),
        };
        Self { declared: Some(key.to_string()), ..image }
    }

    /// An image that is of no registry: its content is what its digest says.
    fn local(source: &'static str, digest: Option<String>) -> Self {
        Self {
            reference: String::new(),
            registry: String::new(),
            repository: String::new(),
            tag: None,
            digest,
            declared: None,
            source,
        }
    }

    /// The Image that declares it, if one does.
    pub(crate) fn declared_as(&self) -> Option<&str> {
        self.declared.as_deref()
    }

    /// Takes a reference apart.
    pub(crate) fn parse(reference: &str) -> Self {
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (reference, None),
        };
        let name_from = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (path, tag) = match rest[name_from..].rfind(':') {
            Some(colon) => {
                (&rest[..name_from + colon], Some(rest[name_from + colon + 1..].to_owned()))
            }
            None => (rest, None),
        };
        let tag = tag.or_else(|| digest.is_none().then(|| TAG_USUAL.to_owned()));
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first.to_owned(), rest.to_owned())
            }
            Some(_) => (REGISTRY_USUAL.to_owned(), path.to_owned()),
            None => (REGISTRY_USUAL.to_owned(), format!("library/{path}")),
        };
        let reference = reference.to_owned();
        Self { reference, registry, repository, tag, digest, declared: None, source: "registry" }
    }

    /// Its digest, if it names one.
    pub(crate) fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What a finding shows of it.
    pub(crate) fn shown(&self) -> &str {
        if self.reference.is_empty() {
            self.declared.as_deref().unwrap_or(self.source)
        } else {
            &self.reference
        }
    }
}

/// The digest in a reference, if it has one.
pub(crate) fn digest_of_reference(reference: &str) -> Option<String> {
    ImageParts::parse(reference).digest
}

table! {
    /// What scripts see of an image.
    IMAGE = "image": ImageParts {
        "ref": Text |image| text(&image.reference);
        "registry": Text |image| text(&image.registry);
        "repository": Text |image| text(&image.repository);
        "tag": Text |image| maybe(&image.tag);
        "digest": Text |image| maybe(&image.digest);
        "pinned": Flag |image| Some(image.digest.is_some());
        "declared": Text |image| maybe(&image.declared);
        "source": Text |image| text(image.source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_come_apart() {
        let cases = [
            ("nginx", "docker.io", "library/nginx", Some("latest"), false),
            ("a/b:1", "docker.io", "a/b", Some("1"), false),
            ("localhost/b:1", "localhost", "b", Some("1"), false),
            ("reg.example:5000/a/b", "reg.example:5000", "a/b", Some("latest"), false),
            ("reg.example/a:1@sha256:ab", "reg.example", "a", Some("1"), true),
            ("reg.example/a@sha256:ab", "reg.example", "a", None, true),
        ];
        for (reference, registry, repository, tag, pinned) in cases {
            let image = ImageParts::parse(reference);
            assert_eq!(image.registry, registry, "{reference}");
            assert_eq!(image.repository, repository, "{reference}");
            assert_eq!(image.tag.as_deref(), tag, "{reference}");
            assert_eq!(image.digest.is_some(), pinned, "{reference}");
        }
    }
}
