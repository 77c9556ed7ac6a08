//! What is put into a container's file system: mounts, and files with their content.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::ids::Key;
use crate::model::quantity::Bytes;

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// The absolute path inside the container.
    pub target: String,
    /// Whether it cannot be written to.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountSource {
    /// A declared Volume.
    Volume(Key),
    /// An absolute path on the node's host.
    Bind(String),
    /// Memory; the size limit, if there is one.
    Tmpfs(Option<Bytes>),
}

/// A file that is put into each new container before it starts. What the container makes of it
/// later is its own affair: another content is another revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSpec {
    /// Its absolute path inside. Folders that are missing are made.
    pub path: String,
    /// What is in it.
    pub content: Content,
    /// Its permissions.
    pub mode: u32,
    /// The number of the user who owns it.
    pub uid: u32,
    /// The number of the group that owns it.
    pub gid: u32,
}

/// What is in a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// This text.
    Text(Arc<str>),
    /// What a file on this host holds.
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
