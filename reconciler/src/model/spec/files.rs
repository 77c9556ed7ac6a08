//! What is put into a container's file system: mounts, and files with their content.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::{defaults, form};
use crate::model::ids::Key;
use crate::model::quantity::Bytes;

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// What is mounted.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub source: MountSource,
    /// The absolute path inside the container.
    #[cfg_attr(feature = "schema", schemars(with = "form::Path"))]
    pub target: String,
    /// Whether it cannot be written to.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub read_only: bool,
    /// Whether two containers may write to the volume or path at once, so that a new one can start
    /// while the old one still runs (`update.order: start-first`).
    #[serde(default, skip_serializing_if = "super::is_false")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub shared: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum MountSource {
    /// The name of a Volume; `project/name` for one of another project.
    Volume(Key),
    /// An absolute path on the node's host.
    Bind(#[cfg_attr(feature = "schema", schemars(with = "form::Path"))] String),
    /// Memory: `true`, or the most that it may hold, `64Mi`.
    Tmpfs(#[cfg_attr(feature = "schema", schemars(with = "form::Tmpfs"))] Option<Bytes>),
}

/// A file that is put into each new container before it starts. What the container makes of it
/// later is its own affair: another content is another revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FileSpec {
    /// Its absolute path inside. Folders that are missing are made.
    #[cfg_attr(feature = "schema", schemars(with = "form::Path"))]
    pub path: String,
    /// What is in it.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub content: Content,
    /// Its permissions, as `chmod` takes them.
    #[cfg_attr(feature = "schema", schemars(default, with = "form::Mode", extend("default" = form::octal(defaults::file_mode()))))]
    pub mode: u32,
    /// The number of the user who owns it.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub uid: u32,
    /// The number of the group that owns it.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub gid: u32,
}

/// What is in a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// Its text.
    #[cfg_attr(feature = "schema", schemars(rename = "content"))]
    Text(#[cfg_attr(feature = "schema", schemars(with = "form::Text"))] Arc<str>),
    /// The path of a file beside the spec that holds it.
    #[cfg_attr(feature = "schema", schemars(rename = "source"))]
    File(LocalFile),
}

/// Never the text: it may hold a secret.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
        }
    }
}

/// A file on this host, with the digest of what it held when it was declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalFile {
    /// Its absolute path.
    pub path: String,
    /// `sha256:` and the digest of its content.
    pub digest: String,
}
